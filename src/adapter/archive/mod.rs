//! Archives of boxes in a file or a stream: everything is read and checked before anything is
//! used, and nothing in them becomes a file.
//!
//! From the outside in: `expand` undoes gzip and zstd within bounds, `scan` reads the tar file
//! once and hashes it, this file holds its documents against each other and against what was
//! found, `layers` unpacks each layer to compare it with its image's configuration, and `blob`
//! lends blobs.

mod blob;
mod error;
mod expand;
mod layers;
mod scan;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

pub use self::error::{BadArchive, Fault};

pub(super) use self::blob::ArchivedBlob;
use self::expand::{BUFFER, Packing, expand};
use crate::model::{
    ArchiveError, Contents, Descriptor, Digest, INDEX_FILE, MANIFEST_LIMIT, MediaType, RawManifest, children,
    read_index,
};
use crate::port::{Archive, BlobSource};

/// How much of an archive is read; tests lower it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The size of the archive, and of each layer, unpacked, in bytes.
    pub bytes: u64,
    /// The number of its entries.
    pub entries: usize,
    /// How many times its packed size anything may have unpacked, once it is larger than `free`.
    pub ratio: u64,
    /// The unpacked size, in bytes, from which on the ratio counts.
    pub free: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 40, entries: 100_000, ratio: 200, free: 1 << 28 }
    }
}

/// An archive of boxes in a file.
pub struct ArchiveFile {
    blobs: BTreeMap<Digest, ArchivedBlob>,
    contents: Contents,
}

impl ArchiveFile {
    /// Opens an archive and checks everything in it; `-` is standard input. A plain file is read
    /// in place, anything else is unpacked to a temporary file without a name. Blocks.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, BadArchive> {
        let opened = plain(path, limits).and_then(|file| Self::check(file, limits));
        opened.map_err(|source| BadArchive { path: path.to_owned(), source })
    }

    fn check(mut file: File, limits: &Limits) -> Result<Self, Fault> {
        let found = scan::scan(BufReader::with_capacity(BUFFER, &mut file), limits)?;
        let file = Arc::new(file);
        let blobs = found.blobs.into_iter().map(|(digest, place)| {
            let blob = ArchivedBlob::new(Arc::clone(&file), digest.clone(), place);
            (digest, blob)
        });
        let index = found.documents.get(INDEX_FILE).ok_or(ArchiveError::Foreign { file: INDEX_FILE })?;
        let boxes = read_index(index)?;
        let mut archive = Self { blobs: blobs.collect(), contents: Contents::default() };
        let mut manifests = BTreeMap::new();
        for one in &boxes {
            let root = archive.manifest(&one.root)?;
            for child in children(&root)? {
                manifests.insert(child.digest.clone(), archive.manifest(&child)?);
            }
            manifests.insert(root.digest().clone(), root);
        }
        archive.contents = Contents::new(boxes, &manifests)?;
        archive.contents.check(&found.documents)?;
        archive.is_complete()?;
        layers::check(&archive, limits)?;
        Ok(archive)
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest, Fault> {
        let media_type: MediaType = descriptor.media_type.parse().map_err(ArchiveError::from)?;
        Ok(RawManifest::new(media_type, self.read(&descriptor.digest, MANIFEST_LIMIT)?))
    }

    /// Checks that the archive has what its boxes refer to, in the sizes that they say, and
    /// nothing else.
    fn is_complete(&self) -> Result<(), Fault> {
        let contents = &self.contents;
        for digest in contents.manifests().keys() {
            self.find(digest)?;
        }
        for (digest, size) in contents.blobs() {
            let other = self.find(digest)?.blob().size;
            if other != *size {
                return Err(ArchiveError::Size { digest: digest.clone(), said: *size, other }.into());
            }
        }
        let is_known = |digest: &Digest| {
            contents.blobs().contains_key(digest) || contents.manifests().contains_key(digest)
        };
        match self.blobs.keys().find(|digest| !is_known(digest)) {
            Some(digest) => Err(Fault::Stray { digest: digest.clone() }),
            None => Ok(()),
        }
    }

    fn find(&self, digest: &Digest) -> Result<&ArchivedBlob, Fault> {
        self.blobs.get(digest).ok_or_else(|| ArchiveError::Missing { digest: digest.clone() }.into())
    }
}

impl Archive for ArchiveFile {
    fn contents(&self) -> &Contents {
        &self.contents
    }

    fn blob(&self, digest: &Digest) -> Option<&dyn BlobSource> {
        self.blobs.get(digest).map(|blob| blob as &dyn BlobSource)
    }
}

/// Opens a file that is plain tar where it stands, and puts down anything else.
fn plain(path: &Path, limits: &Limits) -> Result<File, Fault> {
    if path.as_os_str() == "-" {
        return put_down(BufReader::with_capacity(BUFFER, io::stdin().lock()), limits);
    }
    let opening = |source| Fault::Io { action: "open", source };
    let mut file = File::open(path).map_err(opening)?;
    if !file.metadata().map_err(opening)?.is_file() {
        return put_down(BufReader::with_capacity(BUFFER, file), limits);
    }
    let mut reader = BufReader::with_capacity(BUFFER, &mut file);
    if Packing::of(&mut reader)? != Packing::Plain {
        return put_down(reader, limits);
    }
    file.seek(SeekFrom::Start(0)).map_err(Fault::read)?;
    Ok(file)
}

fn put_down(from: impl io::BufRead, limits: &Limits) -> Result<File, Fault> {
    let mut file = tempfile::tempfile().map_err(|source| Fault::Io { action: "unpack", source })?;
    expand(from, limits, "the archive", &mut |piece| file.write_all(piece))?;
    file.seek(SeekFrom::Start(0)).map_err(Fault::read)?;
    Ok(file)
}
