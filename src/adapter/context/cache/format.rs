//! The stat cache's file: a header that says whose it is, the directories and their files
//! sorted by name, and a SHA-256 over all of it. Numbers are little-endian.
//!
//! ```text
//! file      = magic, text root, u64 dev, u64 ino, i64 written, directory*, sha256
//! directory = text path ("" for the root), u32 length of the records, record*
//! record    = text name, u64 dev, ino, size, (i64 s, u32 ns) mtime, ctime, sha256
//! text      = u16 length, bytes
//! ```

use std::io::{self, Write};
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::adapter::context::stamp::{Moment, Stamp};

/// Names the format and its version; another one is another file.
const MAGIC: &[u8; 16] = b"boxwright-stat 1";
/// The bytes of a hash.
const HASH: usize = 32;
/// The bytes of a record after its name.
const TAIL: usize = 3 * 8 + 2 * 12 + HASH;

/// Whose files a cache knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The root's path.
    pub path: Vec<u8>,
    /// The root's device.
    pub dev: u64,
    /// The root's inode.
    pub ino: u64,
}

/// One file that a cache knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its name in its directory.
    pub name: &'a [u8],
    /// What it was when it was hashed.
    pub stamp: Stamp,
    /// The hash that its content has in a key.
    pub hash: [u8; HASH],
}

/// A cache's content, checked.
#[derive(Debug, Default)]
pub struct Table {
    bytes: Vec<u8>,
    /// Where each directory's path and records stand, sorted by path.
    directories: Vec<(Range<usize>, Range<usize>)>,
}

impl Table {
    /// Takes what a file holds; nothing unless it is whole, of this format, about this
    /// owner, and not written in the future of `now` (then the clock was set back).
    pub fn read(bytes: Vec<u8>, owner: &Owner, now: Moment) -> Option<Self> {
        let end = bytes.len().checked_sub(HASH)?;
        let mut rest = Bytes { bytes: &bytes[..end], at: 0 };
        let good = rest.take(MAGIC.len())? == MAGIC
            && rest.text()? == owner.path
            && rest.u64()? == owner.dev
            && rest.u64()? == owner.ino
            && rest.i64()? <= now.0;
        if !good || Sha256::digest(&bytes[..end])[..] != bytes[end..] {
            return None;
        }
        let mut directories: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        while rest.at < end {
            let path = rest.text_range()?;
            let length = usize::try_from(rest.u32()?).ok()?;
            let start = rest.at;
            rest.take(length)?;
            if directories.last().is_some_and(|(last, _)| bytes[last.clone()] >= bytes[path.clone()]) {
                return None;
            }
            directories.push((path, start..rest.at));
        }
        Some(Self { bytes, directories })
    }

    /// Returns what is known about a directory's files, the root's for an empty path.
    pub fn directory(&self, path: &[u8]) -> Files<'_> {
        let found = self.directories.binary_search_by(|(range, _)| self.bytes[range.clone()].cmp(path)).ok();
        found.map_or_else(Files::default, |index| self.files(index))
    }

    /// Returns how many bytes it takes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// All directories in order.
    pub fn directories(&self) -> impl Iterator<Item = (&[u8], Files<'_>)> {
        (0..self.directories.len())
            .map(|index| (&self.bytes[self.directories[index].0.clone()], self.files(index)))
    }

    fn files(&self, index: usize) -> Files<'_> {
        let mut rest = Bytes { bytes: &self.bytes[self.directories[index].1.clone()], at: 0 };
        let mut records = Vec::with_capacity(rest.bytes.len() / (TAIL + 16));
        while let (Some(name), Some(tail)) = (rest.text(), rest.take(TAIL)) {
            records.push((name, tail));
        }
        Files(records)
    }
}

/// What is known about the files of one directory, sorted by name.
#[derive(Debug, Default)]
pub struct Files<'t>(Vec<(&'t [u8], &'t [u8])>);

impl<'t> Files<'t> {
    /// Returns what is known about a file.
    pub fn find(&self, name: &[u8]) -> Option<Record<'t>> {
        let index = self.0.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        record(self.0[index])
    }

    /// All files in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'t>> {
        self.0.iter().copied().filter_map(record)
    }
}

fn record<'t>((name, tail): (&'t [u8], &[u8])) -> Option<Record<'t>> {
    let mut rest = Bytes { bytes: tail, at: 0 };
    let (dev, ino, size) = (rest.u64()?, rest.u64()?, rest.u64()?);
    let (mtime, ctime) = ((rest.i64()?, rest.u32()?), (rest.i64()?, rest.u32()?));
    let hash = rest.array()?;
    Some(Record { name, stamp: Stamp { dev, ino, size, mtime, ctime }, hash })
}

/// Bytes that are read from the front.
struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn text_range(&mut self) -> Option<Range<usize>> {
        let length = usize::from(self.array().map(u16::from_le_bytes)?);
        self.take(length)?;
        Some(self.at - length..self.at)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let range = self.text_range()?;
        Some(&self.bytes[range])
    }
}

/// Writes a cache; directories and their files come sorted.
pub struct Writer<W> {
    out: W,
    sum: Sha256,
    path: Vec<u8>,
    records: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Starts a file.
    pub fn new(out: W, owner: &Owner, now: Moment) -> io::Result<Self> {
        let mut writer = Self { out, sum: Sha256::new(), path: Vec::new(), records: Vec::new() };
        let mut header = MAGIC.to_vec();
        text(&mut header, &owner.path)?;
        for number in [owner.dev, owner.ino] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        header.extend_from_slice(&now.0.to_le_bytes());
        writer.put(&header)?;
        Ok(writer)
    }

    /// Adds a file.
    pub fn add(&mut self, directory: &[u8], record: &Record<'_>) -> io::Result<()> {
        if self.path != directory {
            self.flush()?;
            self.path = directory.to_vec();
        }
        let out = &mut self.records;
        text(out, record.name)?;
        let Stamp { dev, ino, size, mtime, ctime } = record.stamp;
        for number in [dev, ino, size] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for (seconds, nanoseconds) in [mtime, ctime] {
            out.extend_from_slice(&seconds.to_le_bytes());
            out.extend_from_slice(&nanoseconds.to_le_bytes());
        }
        out.extend_from_slice(&record.hash);
        Ok(())
    }

    /// Ends the file.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        self.out.write_all(&self.sum.finalize())?;
        Ok(self.out)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let mut head = Vec::new();
        text(&mut head, &self.path)?;
        let length = u32::try_from(self.records.len()).map_err(io::Error::other)?;
        head.extend_from_slice(&length.to_le_bytes());
        self.put(&head)?;
        let records = std::mem::take(&mut self.records);
        self.put(&records)?;
        self.records = records;
        self.records.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.out.write_all(bytes)
    }
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}
