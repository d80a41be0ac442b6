//! Small blobs that were read before, kept on disk by their digest.
//!
//! Image configurations are asked for in every run, and their bytes can never change. What
//! is read back is hashed again, so that a damaged or planted file is only a miss; whatever
//! fails here is a miss as well.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::hash;
use crate::model::Digest;

/// The largest blob that is kept, in bytes.
const LARGEST: usize = 256 * 1024;
/// How long a blob is kept after it was last written.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// A directory of blobs.
#[derive(Debug, Clone)]
pub(super) struct Remembered(PathBuf);

impl Remembered {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Returns a blob that is kept and whole.
    pub(super) fn read(&self, digest: &Digest) -> Option<Bytes> {
        let path = self.path(digest);
        let size = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?.len();
        if size > LARGEST as u64 {
            return None;
        }
        let bytes = std::fs::read(path).ok()?;
        hash::matches(&bytes, digest).then(|| bytes.into())
    }

    /// Keeps a blob, if it is small; its bytes must have been checked.
    pub(super) fn keep(&self, digest: &Digest, bytes: &[u8]) {
        if bytes.len() <= LARGEST {
            let _ = self.write(digest, bytes);
        }
    }

    fn write(&self, digest: &Digest, bytes: &[u8]) -> std::io::Result<()> {
        let is_new = !self.0.exists();
        std::fs::create_dir_all(&self.0)?;
        let mut file = NamedTempFile::new_in(&self.0)?;
        file.write_all(bytes)?;
        file.persist(self.path(digest))?;
        if !is_new {
            forget_old(&self.0)?;
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.0.join(format!("{}-{}", digest.algorithm(), digest.hex()))
    }
}

/// Removes what was written long ago, also what killed processes left.
fn forget_old(directory: &Path) -> std::io::Result<()> {
    let now = SystemTime::now();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let age = now.duration_since(entry.metadata()?.modified()?).unwrap_or_default();
        if age > KEPT {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whole_blobs_come_back_and_others_are_misses() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Remembered::new(directory.path().join("blobs"));
        let digest = Digest::of(b"abc");
        assert_eq!(kept.read(&digest), None);
        kept.keep(&digest, b"abc");
        assert_eq!(kept.read(&digest).as_deref(), Some(&b"abc"[..]));
        std::fs::write(kept.path(&digest), b"abd").unwrap();
        assert_eq!(kept.read(&digest), None);
        kept.keep(&digest, b"abc");
        assert_eq!(kept.read(&digest).as_deref(), Some(&b"abc"[..]));
        let large = vec![0; LARGEST + 1];
        kept.keep(&Digest::of(&large), &large);
        assert_eq!(kept.read(&Digest::of(&large)), None);
    }

    #[test]
    fn old_blobs_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Remembered::new(directory.path().to_owned());
        kept.keep(&Digest::of(b"old"), b"old");
        let long_ago = SystemTime::now() - KEPT - Duration::from_secs(60);
        std::fs::File::options()
            .write(true)
            .open(kept.path(&Digest::of(b"old")))
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        kept.keep(&Digest::of(b"new"), b"new");
        assert_eq!(kept.read(&Digest::of(b"old")), None);
        assert!(kept.read(&Digest::of(b"new")).is_some());
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        let kept = Remembered::new(directory.path().join("file/below"));
        kept.keep(&Digest::of(b"abc"), b"abc");
        assert_eq!(kept.read(&Digest::of(b"abc")), None);
    }
}
