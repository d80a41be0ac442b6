//! The stat cache: the hashes of a context's files by what the system says about them, so
//! that files at rest are not read again.
//!
//! It may be missing, damaged, or written by another version or another process at any
//! time: then less is known, and nothing else changes. A file's hash is remembered only if
//! the file was at rest before the scan began ([`Stamp::is_settled`]), and only on file
//! systems whose times are known to move with every write. One write leaves no trace there
//! either: that through a shared memory map, until the system writes it back; git and make
//! miss it as well.

mod format;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::root::Root;
use super::stamp::{Moment, Stamp};
use crate::model::{Digest, Entry, RelPath};
use format::{Owner, Record, Table, Writer};

pub use format::Files;

/// The largest file that is read or written, in bytes: about two million files.
const LIMIT: u64 = 256 << 20;
/// How many roots are remembered.
const ROOTS: usize = 64;

/// What is remembered about one root.
pub struct Cache {
    file: PathBuf,
    owner: Owner,
    table: Table,
    began: Moment,
}

/// A file that was hashed in this scan.
#[derive(Debug)]
pub struct Fresh {
    pub path: RelPath,
    pub stamp: Stamp,
    pub hash: [u8; 32],
}

impl Cache {
    /// Reads what `directory` remembers about `root`; `now` is when the scan begins. Nothing
    /// if nothing can be remembered about it.
    pub fn open(directory: &Path, root: &Root, now: Moment) -> Option<Self> {
        let stat = rustix::fs::fstat(root.fd()).ok()?;
        if !keeps_times(root.fd()) {
            return None;
        }
        let stamp = Stamp::new(&stat);
        let path = root.path().as_os_str().as_bytes().to_vec();
        let file = directory.join(format!("{}.stat", &Digest::of(&path).hex()[..32]));
        let owner = Owner { path, dev: stamp.dev, ino: stamp.ino };
        let table = read(&file).and_then(|bytes| Table::read(bytes, &owner, now)).unwrap_or_default();
        Some(Self { file, owner, table, began: now })
    }

    /// Returns what is known about the files of an open directory; nothing where another
    /// file system is mounted, whose times may be worse.
    pub fn directory(&self, path: &[u8], fd: impl AsFd) -> Option<Files<'_>> {
        let stat = rustix::fs::fstat(fd).ok()?;
        (Stamp::new(&stat).dev == self.owner.dev).then(|| self.table.directory(path))
    }

    /// Tells whether a file with this stamp can be remembered.
    pub fn takes(&self, stamp: &Stamp) -> bool {
        stamp.is_settled(self.began)
    }

    /// Adds what was hashed. Whether that works does not matter to anyone.
    pub fn save(&self, fresh: Vec<Fresh>, entries: &[Entry], now: Moment) {
        // A clock that was set back during the scan vouches for nothing.
        if !fresh.is_empty() && now >= self.began {
            let _ = self.write(fresh, entries, now);
        }
    }

    fn write(&self, mut fresh: Vec<Fresh>, entries: &[Entry], now: Moment) -> io::Result<()> {
        fresh.sort_unstable_by(|a, b| split(&a.path).cmp(&split(&b.path)));
        let directory = self.file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let known = self
            .table
            .directories()
            .flat_map(|(path, files)| files.iter().map(move |record| (path, record)).collect::<Vec<_>>());
        // Files that are gone stay until there is no room; then only what this scan saw does.
        let fits = self.table.size() + fresh.iter().map(size).sum::<u64>() <= LIMIT;
        let known = known.filter(|(directory, record)| fits || is_seen(entries, directory, record.name));
        let new = fresh.iter().map(|Fresh { path, stamp, hash }| {
            let (directory, name) = split(path);
            (directory, Record { name, stamp: *stamp, hash: *hash })
        });
        let temporary = NamedTempFile::new_in(directory)?;
        let out = BufWriter::with_capacity(1 << 20, temporary);
        let mut writer = Writer::new(Limited { out, left: LIMIT }, &self.owner, now)?;
        for (directory, record) in merge(known, new) {
            writer.add(directory, &record)?;
        }
        let temporary = writer.finish()?.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        temporary.persist(&self.file)?;
        forget_oldest(directory)
    }
}

/// Joins two sorted lists of files; what is in both is taken from the second.
fn merge<'a>(
    old: impl Iterator<Item = (&'a [u8], Record<'a>)>,
    new: impl Iterator<Item = (&'a [u8], Record<'a>)>,
) -> impl Iterator<Item = (&'a [u8], Record<'a>)> {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    std::iter::from_fn(move || {
        let place = |(directory, record): &(&'a [u8], Record<'a>)| (*directory, record.name);
        match (old.peek().map(place), new.peek().map(place)) {
            (Some(first), Some(second)) if first == second => {
                old.next();
                new.next()
            }
            (Some(first), Some(second)) if first < second => old.next(),
            (Some(_), None) => old.next(),
            _ => new.next(),
        }
    })
}

/// Splits a path into the directory's and the name.
fn split(path: &RelPath) -> (&[u8], &[u8]) {
    let bytes = path.as_bytes();
    match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
        None => (b"", bytes),
    }
}

fn is_seen(entries: &[Entry], directory: &[u8], name: &[u8]) -> bool {
    let path = if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() };
    entries.binary_search_by(|entry| entry.path.as_bytes().cmp(&path)).is_ok()
}

/// About how many bytes a file takes.
fn size(fresh: &Fresh) -> u64 {
    fresh.path.as_bytes().len() as u64 + 84
}

/// Reads a file of this user, if it is there and not too large.
fn read(path: &Path) -> Option<Vec<u8>> {
    let file = fs::File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !ours || !metadata.is_file() || metadata.len() > LIMIT {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).ok()? + 1);
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Removes all but the newest files of `directory`, also what killed processes left.
fn forget_oldest(directory: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort_unstable_by(|a, b| b.cmp(a));
    files.iter().skip(ROOTS).try_for_each(|(_, path)| fs::remove_file(path))
}

/// Stops a file from growing without end.
struct Limited<W> {
    out: W,
    left: u64,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Tells whether each write to a file of this file system gives it new times that only
/// move with the system's clock. Network file systems cache times or take them from another
/// machine; FAT has no change time.
#[cfg(target_os = "linux")]
#[allow(clippy::unnecessary_cast, clippy::cast_sign_loss, clippy::cast_possible_truncation)]
fn keeps_times(fd: impl AsFd) -> bool {
    const LOCAL: [u32; 9] = [
        0xef53,      // ext2, ext3, ext4
        0x5846_5342, // XFS
        0x9123_683e, // Btrfs
        0x0102_1994, // tmpfs
        0x794c_7630, // overlayfs
        0xf2f5_2010, // F2FS
        0x2fc1_2fc1, // ZFS
        0xca45_1a4e, // bcachefs
        0x7371_7368, // squashfs
    ];
    rustix::fs::fstatfs(fd).is_ok_and(|stat| LOCAL.contains(&(stat.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn keeps_times(_: impl AsFd) -> bool {
    true
}
