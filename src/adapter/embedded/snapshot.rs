//! `index.json` as last read, so that it is parsed only when it is another file.
//!
//! Each use still looks at the file that stands there now. A replaced file is another inode,
//! and the one that was read is kept open, so its number cannot come back; a file that
//! another program wrote in place differs in time or size.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex};

use super::index::Contents;
use crate::adapter::locked::locked;

/// The last index that was read, if any.
#[derive(Debug, Default)]
pub struct Snapshot {
    latest: Mutex<Option<Latest>>,
}

#[derive(Debug)]
struct Latest {
    stamp: Stamp,
    contents: Arc<Contents>,
    _open: File,
}

#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

impl Snapshot {
    /// Returns what an open `index.json` says. The outer error is the system's, the inner one
    /// the parser's.
    pub fn read(&self, mut file: File) -> io::Result<Result<Arc<Contents>, serde_json::Error>> {
        let stamp = Stamp::of(&file)?;
        let mut latest = locked(&self.latest);
        if let Some(latest) = latest.as_ref().filter(|latest| latest.stamp == stamp) {
            return Ok(Ok(latest.contents.clone()));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Contents::read(&bytes).map(|contents| {
            let contents = Arc::new(contents);
            *latest = Some(Latest { stamp, contents: contents.clone(), _open: file });
            contents
        }))
    }
}
