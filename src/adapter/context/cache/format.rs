//! The stat cache's file: the files of each directory sorted by name, then an index of the
//! directories sorted by path, then where that begins and its hash. Numbers are little-endian.
//!
//! ```text
//! file   = record*, index, u64 start of the index, SHA-256 of the index
//! index  = magic, text root, u64 dev, u64 ino, i64 written, place*
//! place  = text path ("" for the root), u64 start of its records, u32 length, SHA-256 of them
//! record = text name, u64 dev, ino, size, (i64 s, u32 ns) mtime, ctime, SHA-256 of the content
//! text   = u16 length, bytes
//! ```
//!
//! So a directory's records are read when it is listed, by whoever lists it, and what is
//! damaged is as if it were not there.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use sha2::{Digest as _, Sha256};

use crate::adapter::context::stamp::{Moment, Stamp};

/// Names the format and its version; another one is another file.
const MAGIC: &[u8; 16] = b"boxwright-stat 1";
/// The bytes of a hash.
const HASH: usize = 32;
/// The bytes of a record after its name.
const TAIL: usize = 3 * 8 + 2 * 12 + HASH;
/// The bytes after the index.
const FOOT: usize = 8 + HASH;

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

/// An open cache whose index is good.
#[derive(Debug)]
pub struct Table {
    file: File,
    index: Vec<u8>,
    size: u64,
    /// Sorted by path.
    places: Vec<Place>,
}

/// Where a directory's path stands in the index, and its records in the file.
#[derive(Debug)]
struct Place {
    path: Range<usize>,
    start: u64,
    length: usize,
    sum: [u8; HASH],
}

impl Table {
    /// Reads a file's index; nothing unless it is whole, of this format, about this owner,
    /// and not written in the future of `now` (then the clock was set back).
    pub fn open(file: File, owner: &Owner, now: Moment) -> Option<Self> {
        let size = file.metadata().ok()?.len();
        let end = size.checked_sub(FOOT as u64)?;
        let foot = bytes_at(&file, end, FOOT)?;
        let start = Bytes(&foot).u64()?;
        let index = bytes_at(&file, start, usize::try_from(end.checked_sub(start)?).ok()?)?;
        if Sha256::digest(&index)[..] != foot[8..] {
            return None;
        }
        let mut rest = Bytes(&index);
        let good = rest.take(MAGIC.len())? == MAGIC
            && rest.text()? == owner.path
            && rest.u64()? == owner.dev
            && rest.u64()? == owner.ino
            && rest.i64()? <= now.0;
        let mut places = Vec::new();
        while good && !rest.0.is_empty() {
            let path = rest.text()?.len();
            let at = index.len() - rest.0.len();
            let (start, length) = (rest.u64()?, usize::try_from(rest.u32()?).ok()?);
            places.push(Place { path: at - path..at, start, length, sum: rest.array()? });
        }
        good.then_some(Self { file, index, size, places })
    }

    /// Returns what is known about a directory's files, the root's for an empty path.
    pub fn directory(&self, path: &[u8]) -> Files {
        let found = self.places.binary_search_by(|place| self.index[place.path.clone()].cmp(path));
        found.map_or_else(|_| Files::default(), |index| self.files(&self.places[index]))
    }

    /// All directories in order.
    pub fn directories(&self) -> impl Iterator<Item = (&[u8], Files)> {
        self.places.iter().map(|place| (&self.index[place.path.clone()], self.files(place)))
    }

    /// Returns how many bytes it takes.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn files(&self, place: &Place) -> Files {
        let is_good = |bytes: &Vec<u8>| Sha256::digest(bytes)[..] == place.sum;
        let inside = place.start.checked_add(place.length as u64).is_some_and(|end| end <= self.size);
        let bytes = inside.then(|| bytes_at(&self.file, place.start, place.length)).flatten();
        bytes.filter(is_good).map_or_else(Files::default, Files::new)
    }
}

fn bytes_at(file: &File, start: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, start).ok()?;
    Some(bytes)
}

/// What is known about the files of one directory.
#[derive(Debug, Default)]
pub struct Files {
    bytes: Vec<u8>,
    /// Where the names stand, sorted by name.
    names: Vec<Range<usize>>,
}

impl Files {
    fn new(bytes: Vec<u8>) -> Self {
        let mut names = Vec::with_capacity(bytes.len() / (TAIL + 8));
        let mut rest = Bytes(&bytes);
        while let (Some(name), Some(_)) = (rest.text(), rest.take(TAIL)) {
            let end = bytes.len() - rest.0.len() - TAIL;
            names.push(end - name.len()..end);
        }
        Self { bytes, names }
    }

    /// Returns what is known about a file. `hint` is where the one after the last is, which
    /// is the next one for who asks in order.
    pub fn find(&self, name: &[u8], hint: &mut usize) -> Option<Record<'_>> {
        let is_it = |range: &Range<usize>| self.bytes[range.clone()] == *name;
        if !self.names.get(*hint).is_some_and(is_it) {
            *hint = self.names.binary_search_by(|range| self.bytes[range.clone()].cmp(name)).ok()?;
        }
        *hint += 1;
        self.record(*hint - 1)
    }

    /// All files in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.names.len()).filter_map(|index| self.record(index))
    }

    fn record(&self, index: usize) -> Option<Record<'_>> {
        let name = self.names.get(index)?;
        let mut rest = Bytes(&self.bytes[name.end..]);
        let (dev, ino, size) = (rest.u64()?, rest.u64()?, rest.u64()?);
        let (mtime, ctime) = ((rest.i64()?, rest.u32()?), (rest.i64()?, rest.u32()?));
        let (name, hash) = (&self.bytes[name.clone()], rest.array()?);
        Some(Record { name, stamp: Stamp { dev, ino, size, mtime, ctime }, hash })
    }
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
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

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.array().map(u16::from_le_bytes)?);
        self.take(length)
    }
}

/// Writes a cache; directories and their files come sorted.
pub struct Writer<W> {
    out: W,
    written: u64,
    index: Vec<u8>,
    path: Vec<u8>,
    records: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Starts a file.
    pub fn new(out: W, owner: &Owner, now: Moment) -> io::Result<Self> {
        let mut index = MAGIC.to_vec();
        text(&mut index, &owner.path)?;
        for number in [owner.dev, owner.ino] {
            index.extend_from_slice(&number.to_le_bytes());
        }
        index.extend_from_slice(&now.0.to_le_bytes());
        Ok(Self { out, written: 0, index, path: Vec::new(), records: Vec::new() })
    }

    /// Makes it a file of the next version.
    #[cfg(test)]
    pub fn newer(mut self) -> Self {
        self.index[MAGIC.len() - 1] += 1;
        self
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
        self.out.write_all(&self.index)?;
        self.out.write_all(&self.written.to_le_bytes())?;
        self.out.write_all(&Sha256::digest(&self.index))?;
        Ok(self.out)
    }

    /// Writes the records of one directory.
    fn flush(&mut self) -> io::Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        text(&mut self.index, &self.path)?;
        let length = u32::try_from(self.records.len()).map_err(io::Error::other)?;
        self.index.extend_from_slice(&self.written.to_le_bytes());
        self.index.extend_from_slice(&length.to_le_bytes());
        self.index.extend_from_slice(&Sha256::digest(&self.records));
        self.out.write_all(&self.records)?;
        self.written += u64::from(length);
        self.records.clear();
        Ok(())
    }
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}
