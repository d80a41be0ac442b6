//! The tar stream that is sent to the builder: exactly the entries that were hashed, with
//! normalised metadata, so that the same entries give the same bytes on every machine.
//!
//! Each file is hashed again while it is sent. One that is no longer what was hashed ends
//! the stream before the archive's end, so no builder can take it for whole.

use std::io::{self, Read, Write};
use std::path::Path;

use ::tar::{EntryType, Header};

use super::root::{Root, io_error};
use crate::model::{Digest, Entry, EntryKind, FileHasher, RelPath};
use crate::port::ContextError;

/// The Dockerfile's name in the stream. It cannot be that of an entry: `.boxwright` is
/// never part of a context ([`super::DiskContext`]).
pub const DOCKERFILE: &str = ".boxwright/Dockerfile";

const BUFFER: usize = 256 << 10;

/// Why a stream broke off.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The context could not be read, or is no longer what was hashed.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The other side stopped taking bytes.
    #[error("the tar stream was not taken")]
    Write(#[from] io::Error),
}

/// Writes `entries`, sorted by path bytes, and the Dockerfile as a tar archive. Blocks.
pub fn write(root: &Path, entries: &[Entry], dockerfile: &[u8], mut out: impl Write) -> Result<(), TarError> {
    let root = Root::open(root)?;
    let mut buffer = vec![0; BUFFER];
    let mut parents = Parents::default();
    for entry in entries {
        let path = entry.path.as_bytes();
        parents.write(path, &mut out)?;
        match &entry.kind {
            EntryKind::File { digest, size, executable } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                head(&mut out, EntryType::Regular, path, mode, *size, b"")?;
                copy(&root, &entry.path, (digest, *size, *executable), &mut buffer, &mut out)?;
                pad(&mut out, *size)?;
            }
            EntryKind::Symlink { target } => head(&mut out, EntryType::Symlink, path, 0o777, 0, target)?,
            EntryKind::Directory => parents.directory(path, &mut out)?,
        }
    }
    parents.write(DOCKERFILE.as_bytes(), &mut out)?;
    let size = dockerfile.len() as u64;
    head(&mut out, EntryType::Regular, DOCKERFILE.as_bytes(), 0o644, size, b"")?;
    out.write_all(dockerfile)?;
    pad(&mut out, size)?;
    out.write_all(&[0; 1024])?;
    out.flush()?;
    Ok(())
}

/// Copies a file's bytes and checks that they are those that were hashed.
fn copy(
    root: &Root,
    path: &RelPath,
    (digest, size, executable): (&Digest, u64, bool),
    buffer: &mut [u8],
    out: &mut impl Write,
) -> Result<(), TarError> {
    let changed = || TarError::Context(ContextError::Changed { path: root.join(path) });
    let source = root.file(path).map_err(|error| match error {
        ContextError::Changing { path } => ContextError::Changed { path },
        other => other,
    })?;
    if source.size != size || source.executable != executable {
        return Err(changed());
    }
    let mut file = source.file.take(size);
    let mut hasher = FileHasher::new();
    loop {
        let count = file.read(buffer).map_err(|error| io_error("read", &root.join(path), error))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        out.write_all(&buffer[..count])?;
    }
    if hasher.finish() == (digest.clone(), size) { Ok(()) } else { Err(changed()) }
}

/// The directories that have been written: those above the last path.
#[derive(Default)]
struct Parents(Vec<u8>);

impl Parents {
    /// Writes the directories above `path` that are not written yet.
    fn write(&mut self, path: &[u8], out: &mut impl Write) -> io::Result<()> {
        for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            self.directory(&path[..end], out)?;
        }
        Ok(())
    }

    fn directory(&mut self, path: &[u8], out: &mut impl Write) -> io::Result<()> {
        let name = [path, b"/"].concat();
        // Paths are sorted by bytes, so all below one directory stand together.
        if !self.0.starts_with(&name) {
            head(out, EntryType::Directory, &name, 0o755, 0, b"")?;
            self.0 = name;
        }
        Ok(())
    }
}

/// Writes a header; a name or link target that does not fit goes before it, as GNU tar does.
fn head(
    out: &mut impl Write,
    kind: EntryType,
    name: &[u8],
    mode: u32,
    size: u64,
    link: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    for (long, text) in [(EntryType::GNULongLink, link), (EntryType::GNULongName, name)] {
        if text.len() > 100 {
            let size = text.len() as u64 + 1;
            head(out, long, b"././@LongLink", 0o644, size, b"")?;
            out.write_all(text)?;
            out.write_all(&[0])?;
            pad(out, size)?;
        }
    }
    let old = header.as_old_mut();
    put(&mut old.name, name);
    put(&mut old.linkname, link);
    header.set_cksum();
    out.write_all(header.as_bytes())
}

fn put(field: &mut [u8; 100], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Fills the last block of `size` bytes of content.
fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    let rest = usize::try_from(size % 512).unwrap_or(0);
    if rest > 0 { out.write_all(&[0; 512][rest..]) } else { Ok(()) }
}
