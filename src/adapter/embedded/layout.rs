//! The directory: a standard OCI image layout, and how it is changed.
//!
//! Nothing half-written ever stands under its final name: files are written to `tmp/`,
//! synced and renamed. `index.json` is looked at anew each time and replaced under an exclusive
//! lock, so several processes can serve one store and lose no update. Blobs are added and
//! their age is renewed under the shared lock, which keeps the collector away.
//!
//! Files are synced before the rename, directories are not: after a power cut a push may be
//! missing, but no name ever holds other bytes than it says.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::NamedTempFile;

use super::index::Contents;
use super::snapshot::Snapshot;
use super::{EmbeddedError, private};
use crate::model::Digest;

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// An OCI image layout directory (OCI image-spec, "Image Layout").
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
    snapshot: Arc<Snapshot>,
}

/// The store's lock; the system lets go of it when the file closes, even after a crash.
pub struct Lock {
    _file: File,
}

impl Layout {
    /// Opens the layout at `dir`, making it where there is none.
    pub fn open(dir: &Path) -> Result<Self, EmbeddedError> {
        let layout = Self { dir: dir.to_owned(), snapshot: Arc::default() };
        layout.close()?;
        let lock = layout.exclusive()?;
        let marker = dir.join("oci-layout");
        match private::read(&marker, 4096) {
            Ok(bytes) => check_version(&marker, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The marker comes last: a layout with a marker and no index is damaged.
                if !layout.index_path().exists() {
                    layout.replace_index(&lock, &Contents::default())?;
                }
                layout.replace(&marker, LAYOUT.as_bytes())?;
            }
            Err(error) => return Err(EmbeddedError::io("read", &marker)(error)),
        }
        drop(lock);
        layout.contents()?;
        Ok(layout)
    }

    /// Makes the directories, and takes what stands in them from other users, as earlier versions
    /// left it open. The directory above the blobs comes last: while it is open, not all is done.
    fn close(&self) -> Result<(), EmbeddedError> {
        private::directory(&self.dir)?;
        let blobs = self.dir.join("blobs");
        let was_open = private::is_open(&blobs);
        if was_open {
            private::directory(&self.blobs())?;
            private::directory(&self.unfinished())?;
            for directory in [&self.dir, &self.blobs(), &self.unfinished()] {
                private::files_in(directory)?;
            }
        }
        private::directory(&blobs)?;
        private::directory(&self.blobs())?;
        private::directory(&self.unfinished())
    }

    /// Reads `index.json` as it is now.
    pub fn contents(&self) -> Result<Arc<Contents>, EmbeddedError> {
        let path = self.index_path();
        let damaged = |detail: String| EmbeddedError::Damaged { path: path.clone(), detail };
        let file = match private::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged("it is missing".to_owned()));
            }
            Err(error) => return Err(EmbeddedError::io("open", &path)(error)),
        };
        let read = self.snapshot.read(file).map_err(EmbeddedError::io("read", &path))?;
        read.map_err(|error| damaged(error.to_string()))
    }

    /// Changes `index.json`: reads it, lets `change` edit it, and replaces it, all under the
    /// exclusive lock. An error from `change` leaves everything as it was.
    pub fn update<T, E: From<EmbeddedError>>(
        &self,
        change: impl FnOnce(&mut Contents) -> Result<T, E>,
    ) -> Result<T, E> {
        let lock = self.exclusive()?;
        let before = self.contents()?;
        let mut after = Contents::clone(&before);
        let result = change(&mut after)?;
        if after != *before {
            self.replace_index(&lock, &after)?;
        }
        Ok(result)
    }

    /// Returns where a blob stands; a digest holds nothing that could leave the directory.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.algorithm()).join(digest.hex())
    }

    /// Returns the directory of the blobs, which all have SHA-256 digests.
    pub fn blobs(&self) -> PathBuf {
        self.dir.join("blobs/sha256")
    }

    /// Returns the directory of unfinished uploads.
    pub fn unfinished(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// Opens a blob; `None` if it is not there.
    pub fn blob(&self, digest: &Digest) -> Result<Option<(File, u64)>, EmbeddedError> {
        let path = self.blob_path(digest);
        match private::open(&path) {
            Ok(file) => {
                let size = file.metadata().map_err(EmbeddedError::io("read", &path))?.len();
                Ok(Some((file, size)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EmbeddedError::io("open", &path)(error)),
        }
    }

    /// Asks for a blob's size on behalf of a client that may skip its upload: the blob
    /// counts as new from here on, so the collector leaves it until its manifest comes.
    pub fn renew(&self, digest: &Digest) -> Result<Option<u64>, EmbeddedError> {
        let _lock = self.shared()?;
        let Some((file, size)) = self.blob(digest)? else { return Ok(None) };
        // Fails only in another user's store, which this process could not collect either.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(size))
    }

    /// Makes a file for bytes that have no name yet; it goes away unless it is kept.
    pub fn temporary(&self) -> Result<NamedTempFile, EmbeddedError> {
        let tmp = self.unfinished();
        tempfile::Builder::new()
            .prefix("upload-")
            .rand_bytes(16)
            .permissions(fs::Permissions::from_mode(private::FILE))
            .tempfile_in(&tmp)
            .map_err(EmbeddedError::io("create a file in", &tmp))
    }

    /// Gives finished bytes their name; `digest` must have been computed from them.
    pub fn keep_blob(&self, file: NamedTempFile, digest: &Digest) -> Result<(), EmbeddedError> {
        let path = self.blob_path(digest);
        file.as_file().sync_data().map_err(EmbeddedError::io("write", &path))?;
        let _lock = self.shared()?;
        file.persist(&path).map_err(|error| EmbeddedError::io("write", &path)(error.error))?;
        Ok(())
    }

    /// Writes a small blob while the caller holds the exclusive lock.
    pub fn write_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), EmbeddedError> {
        self.replace(&self.blob_path(digest), bytes)
    }

    /// Waits for the lock that keeps all others out.
    pub fn exclusive(&self) -> Result<Lock, EmbeddedError> {
        self.lock(File::lock)
    }

    /// Waits for the lock that keeps changes of the index and the collector out.
    fn shared(&self) -> Result<Lock, EmbeddedError> {
        self.lock(File::lock_shared)
    }

    fn lock(&self, take: impl FnOnce(&File) -> io::Result<()>) -> Result<Lock, EmbeddedError> {
        let path = self.dir.join("lock");
        let file = private::open_or_create(&path).map_err(EmbeddedError::io("open", &path))?;
        take(&file).map_err(EmbeddedError::io("lock", &path))?;
        Ok(Lock { _file: file })
    }

    fn index_path(&self) -> PathBuf {
        self.dir.join("index.json")
    }

    fn replace_index(&self, _held: &Lock, contents: &Contents) -> Result<(), EmbeddedError> {
        let path = self.index_path();
        let text = contents
            .write()
            .map_err(|error| EmbeddedError::Damaged { path: path.clone(), detail: error.to_string() })?;
        self.replace(&path, &text)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), EmbeddedError> {
        let mut file = self.temporary()?;
        let written = file.write_all(bytes).and_then(|()| file.as_file().sync_data());
        written.map_err(EmbeddedError::io("write", path))?;
        file.persist(path).map_err(|error| EmbeddedError::io("replace", path)(error.error))?;
        Ok(())
    }
}

fn check_version(path: &Path, bytes: &[u8]) -> Result<(), EmbeddedError> {
    let version = serde_json::from_slice::<serde_json::Value>(bytes)
        .ok()
        .and_then(|value| value.get("imageLayoutVersion")?.as_str().map(str::to_owned));
    match version.as_deref() {
        Some("1.0.0") => Ok(()),
        _ => Err(EmbeddedError::Damaged {
            path: path.to_owned(),
            detail: "its imageLayoutVersion is not 1.0.0".to_owned(),
        }),
    }
}
