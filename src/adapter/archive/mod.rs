//! Archives of boxes in a file or a stream: everything is read and checked before anything is
//! used, and nothing in them becomes a file.
//!
//! From the outside in: `expand` undoes gzip and zstd within bounds, `scan` reads the tar file
//! once and hashes it, this file holds its documents against each other and against what was
//! found, `layers` unpacks each layer to compare it with its image's configuration, and `blob`
//! lends blobs.

mod blob;
mod blobs;
mod error;
mod expand;
mod layers;
mod limits;
mod scan;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use self::blobs::Blobs;
use self::expand::{BUFFER, Packing, expand};
use crate::model::{
    ArchiveError, Contents, Descriptor, Digest, INDEX_FILE, MANIFEST_LIMIT, MediaType, RawManifest, children,
    read_index,
};
use crate::port::{Archive, BlobSource};

pub(super) use self::blob::ArchivedBlob;
pub use self::error::{BadArchive, Fault};
pub use self::limits::Limits;

/// An archive of boxes in a file.
pub struct ArchiveFile {
    blobs: Blobs,
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
        let mut archive = Self { blobs: Blobs(blobs.collect()), contents: Contents::default() };
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
        layers::check(&archive.contents, &archive.blobs, limits)?;
        Ok(archive)
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest, Fault> {
        let media_type: MediaType = descriptor.media_type.parse().map_err(ArchiveError::from)?;
        Ok(RawManifest::new(media_type, self.blobs.read(&descriptor.digest, MANIFEST_LIMIT)?))
    }

    /// Checks that the archive has what its boxes refer to, in the sizes that they say, and
    /// nothing else.
    fn is_complete(&self) -> Result<(), Fault> {
        let contents = &self.contents;
        for digest in contents.manifests().keys() {
            self.blobs.find(digest)?;
        }
        for (digest, size) in contents.blobs() {
            let other = self.blobs.find(digest)?.blob().size;
            if other != *size {
                return Err(ArchiveError::Size { digest: digest.clone(), said: *size, other }.into());
            }
        }
        let is_known = |digest: &Digest| {
            contents.blobs().contains_key(digest) || contents.manifests().contains_key(digest)
        };
        match self.blobs.0.keys().find(|digest| !is_known(digest)) {
            Some(digest) => Err(Fault::Stray { digest: digest.clone() }),
            None => Ok(()),
        }
    }
}

impl Archive for ArchiveFile {
    fn contents(&self) -> &Contents {
        &self.contents
    }

    fn blob(&self, digest: &Digest) -> Option<&dyn BlobSource> {
        self.blobs.0.get(digest).map(|blob| blob as &dyn BlobSource)
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
