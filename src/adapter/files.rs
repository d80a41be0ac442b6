//! Blobs in files: to be uploaded, and downloaded.
//!
//! Invariant: a file has its name only once all of its bytes were hashed and are the right ones.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

use crate::model::{Digest, Repository};
use crate::port::{Blob, BlobSource, BlobStream, Failure, RegistryError, RegistryReader};

/// How much of a file is in memory at once, in bytes.
const WINDOW: usize = 256 * 1024;

/// A file that is uploaded as a blob.
#[derive(Debug, Clone)]
pub struct FileBlob {
    blob: Blob,
    path: PathBuf,
}

impl FileBlob {
    /// Takes a file for what it is said to hold; the upload finds out if it does not.
    pub fn new(path: impl Into<PathBuf>, blob: Blob) -> Self {
        Self { blob, path: path.into() }
    }

    /// Hashes a file. Blocks, so call it where that is allowed.
    pub fn hash(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let mut hash = Sha256::new();
        let size = {
            let mut file = std::fs::File::open(&path)?;
            let (mut buffer, mut size) = (vec![0; WINDOW], 0);
            loop {
                match io::Read::read(&mut file, &mut buffer)? {
                    0 => break size,
                    read => {
                        hash.update(&buffer[..read]);
                        size += read as u64;
                    }
                }
            }
        };
        Ok(Self { blob: Blob { digest: Digest::from_sha256(hash.finalize().into()), size }, path })
    }
}

#[async_trait]
impl BlobSource for FileBlob {
    fn blob(&self) -> &Blob {
        &self.blob
    }

    async fn open(&self, from: u64) -> io::Result<BlobStream<'_, io::Error>> {
        let mut file = tokio::fs::File::open(&self.path).await?;
        file.seek(io::SeekFrom::Start(from)).await?;
        Ok(ReaderStream::with_capacity(file, WINDOW).boxed())
    }
}

/// Why a blob is not in its file.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The registry did not give it, or gave something else.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry does not have it.
    #[error("{repository} has no blob {digest}")]
    Missing {
        /// Where.
        repository: Repository,
        /// Which.
        digest: Digest,
    },
    /// It cannot be written.
    #[error("failed to write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Downloads a blob into a file. Bytes that are not the blob's are thrown away and asked for
/// once more.
pub async fn save(
    registry: &dyn RegistryReader,
    repository: &Repository,
    blob: &Blob,
    path: &Path,
) -> Result<(), SaveError> {
    let failed = |source| SaveError::Io { path: path.to_owned(), source };
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let mut is_second = false;
    loop {
        let temporary = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        let file = temporary.reopen().map_err(failed)?;
        match write(registry, repository, blob, tokio::fs::File::from_std(file), path).await {
            Ok(()) => {
                temporary.persist(path).map_err(|error| failed(error.error))?;
                return Ok(());
            }
            Err(SaveError::Registry(RegistryError { failure: Failure::Untrusted { .. }, .. }))
                if !is_second =>
            {
                is_second = true;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn write(
    registry: &dyn RegistryReader,
    repository: &Repository,
    blob: &Blob,
    mut file: tokio::fs::File,
    path: &Path,
) -> Result<(), SaveError> {
    let failed = |source| SaveError::Io { path: path.to_owned(), source };
    let Some(mut pieces) = registry.open_blob(repository, blob, 0).await? else {
        return Err(SaveError::Missing { repository: repository.clone(), digest: blob.digest.clone() });
    };
    while let Some(piece) = pieces.next().await {
        file.write_all(&piece?).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::adapter::memory::{Fault, MemoryRegistry, Verb};
    use crate::port::{Pushed, RegistryWriter as _};

    fn untrusted() -> Failure {
        Failure::Untrusted { detail: "not it".to_owned() }
    }

    /// 10, 13: nothing but the blob's own bytes gets the file's name, and nothing else stays.
    #[tokio::test]
    async fn a_file_comes_back_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        std::fs::write(&from, vec![7; 1_000_000]).unwrap();
        let source = FileBlob::hash(&from).unwrap();
        assert_eq!(source.blob().digest, Digest::of(&vec![7; 1_000_000]));
        let registry = MemoryRegistry::new();
        let at: Repository = "r.example/a".parse().unwrap();
        let missing = save(&registry, &at, source.blob(), &to).await.unwrap_err();
        assert!(matches!(missing, SaveError::Missing { .. }), "{missing}");
        assert_eq!(registry.push_blob(&at, &source, None).await.unwrap(), Pushed::Sent);
        // Once is forgiven, twice is not.
        for times in [2, 1] {
            (0..times).for_each(|_| registry.break_next(Verb::OpenBlob, None, Fault::Before(untrusted())));
            assert_eq!(save(&registry, &at, source.blob(), &to).await.is_ok(), times == 1);
            assert_eq!(to.exists(), times == 1);
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3 - times);
        }
        assert_eq!(std::fs::read(&to).unwrap(), vec![7; 1_000_000]);
        // A file that is no longer what it was is not taken in.
        std::fs::write(&from, vec![8; 1_000_000]).unwrap();
        assert!(registry.push_blob(&at, &source, None).await.is_err());
    }
}
