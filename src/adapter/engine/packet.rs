//! The messages by which BuildKit asks for a directory and gets it (fsutil, `wire.proto`).
//!
//! Paths are bytes here. In the published definition they are strings, but the engine does
//! not check, and a file's name need not be UTF-8.

use bytes::Bytes;

use crate::model::{Entry, EntryKind};

/// The largest piece of a file in one packet, in bytes.
pub const PIECE: usize = 128 << 10;

/// The kinds of packet.
pub const STAT: i32 = 0;
pub const REQUEST: i32 = 1;
pub const DATA: i32 = 2;
pub const FINISH: i32 = 3;

/// Bits of a mode as Go's `os.FileMode` has them.
const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;

/// One message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Packet {
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// With [`STAT`]: an entry, or none after the last one.
    #[prost(message, optional, tag = "2")]
    pub stat: Option<Stat>,
    /// With [`REQUEST`] and [`DATA`]: which entry, counted from 0.
    #[prost(uint32, tag = "3")]
    pub id: u32,
    /// With [`DATA`]: a piece of the file; empty at its end.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// An entry's metadata. What is left out is 0: owner and group.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Stat {
    #[prost(bytes = "bytes", tag = "1")]
    pub path: Bytes,
    #[prost(uint32, tag = "2")]
    pub mode: u32,
    #[prost(int64, tag = "5")]
    pub size: i64,
    /// Nanoseconds since 1970.
    #[prost(int64, tag = "6")]
    pub time: i64,
    #[prost(bytes = "bytes", tag = "7")]
    pub link: Bytes,
}

impl Packet {
    /// Tells of an entry.
    pub fn entry(entry: &Entry) -> Self {
        let (mode, size, link) = match &entry.kind {
            EntryKind::File { size, executable, .. } => {
                (if *executable { 0o755 } else { 0o644 }, i64::try_from(*size).unwrap_or(i64::MAX), &[][..])
            }
            EntryKind::Symlink { target } => (SYMLINK | 0o777, 0, &target[..]),
            EntryKind::Directory => (DIRECTORY | 0o755, 0, &[][..]),
        };
        let path = Bytes::copy_from_slice(entry.path.as_bytes());
        let stat = Stat { path, mode, size, time: 0, link: Bytes::copy_from_slice(link) };
        Self { kind: STAT, stat: Some(stat), ..Self::default() }
    }

    /// Gives a file a time made from its bytes, so that the engine sees every change of it.
    pub fn with_time_of(mut self, entry: &Entry) -> Self {
        if let (Some(stat), EntryKind::File { digest, .. }) = (&mut self.stat, &entry.kind) {
            stat.time = digest.hex().get(..15).and_then(|hex| i64::from_str_radix(hex, 16).ok()).unwrap_or(0);
        }
        self
    }

    /// Carries a piece of a file; an empty one is its end.
    pub fn data(id: u32, piece: &[u8]) -> Self {
        Self { kind: DATA, id, data: Bytes::copy_from_slice(piece), ..Self::default() }
    }
}
