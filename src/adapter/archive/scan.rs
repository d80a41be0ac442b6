//! The entries of an archive, read once from the front: names, places, sizes, hashes.
//!
//! No entry ever becomes a file, so that neither its name nor its kind can reach anything; a
//! name that is not one of ours is refused all the same, because another program would use it.

use std::collections::BTreeMap;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::error::Fault;
use super::limits::Limits;
use crate::model::{BLOCK, Digest, Member, TarHeader, TarKind, blob_path, tar_padding};

/// The longest of the documents at the top, in bytes.
const DOCUMENT: u64 = 4 * 1024 * 1024;
/// Zeros behind the end mark: tar programs fill up their last record.
const FILL: u64 = 64 * 1024;
const PIECE: usize = 256 * 1024;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub documents: BTreeMap<&'static str, Vec<u8>>,
    pub blobs: BTreeMap<Digest, Place>,
}

/// Where a blob's bytes are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub start: u64,
    pub size: u64,
}

/// Reads a plain tar file to its end.
pub(super) fn scan(from: impl Read, limits: &Limits) -> Result<Found, Fault> {
    let mut scan = Scan { from, at: 0, buffer: vec![0; PIECE] };
    let mut found = Found::default();
    let mut number = 0;
    let mut seen_directories = Vec::new();
    loop {
        let mut block = [0; BLOCK];
        let is_first = scan.at == 0;
        let place = || match number {
            0 => "in its first header, if it is a tar at all".to_owned(),
            _ => format!("after {number} entries, without an end mark"),
        };
        match scan.fill(&mut block)? {
            BLOCK => {}
            0 if is_first => return Err(Fault::Empty),
            _ => return Err(Fault::Truncated { place: place() }),
        }
        let header =
            TarHeader::read(&block).map_err(|source| Fault::Header { number: number + 1, source })?;
        let Some(TarHeader { name, kind, size }) = header else {
            scan.end()?;
            return Ok(found);
        };
        number += 1;
        if number > limits.entries {
            let limit = limits.entries.to_string();
            return Err(Fault::Limit { what: "the number of its entries".to_owned(), limit });
        }
        let member = Member::read(&name).ok_or_else(|| Fault::name(&name))?;
        let shown = || String::from_utf8_lossy(&name).into_owned();
        let is_new = match (member, kind) {
            (Member::Directory, TarKind::Directory) => {
                let is_new = !seen_directories.contains(&name);
                seen_directories.push(name.clone());
                is_new
            }
            (Member::Document(file), TarKind::File) => {
                if size > DOCUMENT {
                    return Err(Fault::Limit {
                        what: format!("the size of {file}"),
                        limit: format!("{DOCUMENT} bytes"),
                    });
                }
                let mut bytes = Vec::new();
                scan.content(size, file, &mut |piece| bytes.extend_from_slice(piece))?;
                found.documents.insert(file, bytes).is_none()
            }
            (Member::Blob(digest), TarKind::File) => {
                let start = scan.at;
                let mut hash = Sha256::new();
                scan.content(size, &blob_path(&digest), &mut |piece| hash.update(piece))?;
                let computed = Digest::from_sha256(hash.finalize().into());
                if computed != digest {
                    return Err(Fault::Digest { digest, found: computed });
                }
                found.blobs.insert(digest, Place { start, size }).is_none()
            }
            _ => return Err(Fault::name(&name)),
        };
        if !is_new {
            return Err(Fault::Duplicate { name: shown() });
        }
    }
}

struct Scan<R> {
    from: R,
    at: u64,
    buffer: Vec<u8>,
}

impl<R: Read> Scan<R> {
    /// Reads until the buffer is full or there is no more.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let mut length = 0;
        while length < buffer.len() {
            match self.from.read(&mut buffer[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::read(error)),
            }
        }
        self.at += length as u64;
        Ok(length)
    }

    /// Passes on an entry's content; what fills its last block has to be zeros.
    fn content(&mut self, size: u64, name: &str, take: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        let cut = || Fault::Truncated { place: format!("in {name}") };
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let count = self.fill(&mut buffer[..wanted])?;
            if count == 0 {
                return Err(cut());
            }
            take(&buffer[..count]);
            left -= count as u64;
        }
        let padding = tar_padding(size);
        if self.fill(&mut buffer[..padding])? < padding {
            return Err(cut());
        }
        let is_clean = buffer[..padding].iter().all(|byte| *byte == 0);
        self.buffer = buffer;
        if is_clean { Ok(()) } else { Err(Fault::Padding { place: "between its entries" }) }
    }

    /// Reads what follows the first block of the end mark.
    fn end(&mut self) -> Result<(), Fault> {
        let mut block = [0; BLOCK];
        if self.fill(&mut block)? < BLOCK {
            return Err(Fault::Truncated { place: "in its end mark".to_owned() });
        }
        let mut filled = 0;
        loop {
            if block.iter().any(|byte| *byte != 0) {
                return Err(Fault::Padding { place: "behind its end" });
            }
            let count = self.fill(&mut block)?;
            block[count..].fill(0);
            filled += count as u64;
            if filled > FILL {
                return Err(Fault::Padding { place: "behind its end" });
            }
            if count == 0 {
                return Ok(());
            }
        }
    }
}
