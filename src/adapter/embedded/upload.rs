//! Blob uploads: bytes go to a temporary file and into the hash as they come.
//!
//! Sessions live in this process and are forgotten with it; an upload that was cut off is
//! begun again by its client, as the distribution-spec allows.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::EmbeddedError;
use super::index::Name;
use super::layout::Layout;
use crate::adapter::locked::locked;
use crate::model::Digest;

/// How many uploads may be open at once; each holds a file open.
const MOST: usize = 256;
/// How long a session may lie unused once there are too many.
const IDLE: Duration = Duration::from_secs(600);

/// The bytes of a blob, as far as they have come.
#[derive(Debug)]
pub struct Upload {
    file: NamedTempFile,
    hash: Sha256,
    size: u64,
}

impl Upload {
    /// Begins an upload.
    pub fn new(layout: &Layout) -> Result<Self, EmbeddedError> {
        Ok(Self { file: layout.temporary()?, hash: Sha256::new(), size: 0 })
    }

    /// Adds bytes at the end. After an error the upload is of no more use.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), EmbeddedError> {
        self.file.write_all(bytes).map_err(EmbeddedError::io("write", self.file.path()))?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Returns how many bytes have come.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the file and the digest of all that came.
    pub fn finish(self) -> (NamedTempFile, Digest) {
        (self.file, Digest::from_sha256(self.hash.finalize().into()))
    }
}

/// The upload of a session, held by the one request that works on it; `None` once it is
/// finished or broken.
pub type Held = OwnedMutexGuard<Option<Upload>>;

/// Wraps an upload that has no session.
pub async fn held(upload: Upload) -> Held {
    Arc::new(AsyncMutex::new(Some(upload))).lock_owned().await
}

/// The open upload sessions of this process.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Mutex<HashMap<String, Session>>,
}

#[derive(Debug)]
struct Session {
    name: Name,
    used: Instant,
    upload: Arc<AsyncMutex<Option<Upload>>>,
}

impl Sessions {
    /// Opens a session and returns its id; `None` when too many are open and in use.
    pub fn open(&self, name: Name, upload: Upload, now: Instant) -> Option<String> {
        let mut open = locked(&self.open);
        if open.len() >= MOST {
            open.retain(|_, session| now.duration_since(session.used) < IDLE);
        }
        if open.len() >= MOST {
            return None;
        }
        let id = upload.file.path().file_name()?.to_string_lossy().into_owned();
        let upload = Arc::new(AsyncMutex::new(Some(upload)));
        open.insert(id.clone(), Session { name, used: now, upload });
        Some(id)
    }

    /// Takes hold of a session's upload, waiting for a request that works on it; `None`
    /// for a session that is not open in this repository.
    pub async fn hold(&self, name: &Name, id: &str, now: Instant) -> Option<Held> {
        let upload = {
            let mut open = locked(&self.open);
            let session = open.get_mut(id).filter(|session| session.name == *name)?;
            session.used = now;
            session.upload.clone()
        };
        Some(upload.lock_owned().await).filter(|held| held.is_some())
    }

    /// Closes a session; its upload goes away unless it was taken out before.
    pub fn close(&self, id: &str) {
        locked(&self.open).remove(id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn sessions_are_bounded_and_idle_ones_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let (sessions, start) = (Sessions::default(), Instant::now());
        let name: Name = "a".parse().unwrap();
        let open = |now| sessions.open(name.clone(), Upload::new(&layout).unwrap(), now);
        let first = open(start).unwrap();
        for _ in 1..MOST {
            open(start).unwrap();
        }
        assert_eq!(open(start), None);
        let later = start + IDLE;
        assert!(sessions.hold(&"b".parse().unwrap(), &first, later).await.is_none(), "another repository's");
        assert!(sessions.hold(&name, &first, later).await.is_some());
        assert!(open(later).is_some());
        assert!(sessions.hold(&name, &first, later).await.is_some(), "it was in use");
        assert_eq!(
            std::fs::read_dir(layout.unfinished()).unwrap().count(),
            2,
            "dropped uploads leave no file"
        );
    }
}
