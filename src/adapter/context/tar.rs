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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;
    use crate::adapter::context::DiskContext;
    use crate::port::{Context, ContextFilter, Scan, Visit};

    struct All;

    impl ContextFilter for All {
        fn directory(&self, _: &RelPath) -> Visit {
            Visit::Take
        }

        fn leaf(&self, _: &RelPath, _: bool) -> Visit {
            Visit::Take
        }
    }

    fn scan(root: &Path) -> Vec<Entry> {
        match DiskContext.scan(root, &All).unwrap() {
            Scan::Entries(entries) => entries,
            Scan::Widen(path) => panic!("{path}"),
        }
    }

    fn archive(root: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(root, &scan(root), b"FROM scratch\n", &mut bytes).unwrap();
        bytes
    }

    fn tree() -> TempDir {
        let root = TempDir::new().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::create_dir_all(at("a-b/empty")).unwrap();
        fs::write(at("a/b/file"), "text").unwrap();
        fs::write(at("a/run"), "#!").unwrap();
        fs::set_permissions(at("a/run"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("b/file", at("a/link")).unwrap();
        fs::write(at(&"n".repeat(100)), vec![1; 512]).unwrap();
        fs::write(at(&"n".repeat(101)), vec![2; 513]).unwrap();
        symlink("t".repeat(300), at("z")).unwrap();
        root
    }

    #[test]
    fn another_reader_finds_the_entries_and_the_dockerfile() {
        let root = tree();
        let bytes = archive(root.path());
        let mut found = Vec::new();
        for entry in ::tar::Archive::new(&bytes[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
            assert_eq!(header.username_bytes(), Some(&b""[..]));
            let (kind, mode) = (header.entry_type(), header.mode().unwrap());
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let link = entry.link_name_bytes().map(|link| String::from_utf8(link.into_owned()).unwrap());
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.push((path, kind, mode, link, content));
        }
        let dir = |path: &str| (path.to_owned(), EntryType::Directory, 0o755, None, Vec::new());
        let file = |path: &str, mode, content: &[u8]| {
            (path.to_owned(), EntryType::Regular, mode, None, content.to_vec())
        };
        let link = |path: &str, target: &str| {
            (path.to_owned(), EntryType::Symlink, 0o777, Some(target.to_owned()), Vec::new())
        };
        let expect = [
            dir("a-b/"),
            dir("a-b/empty/"),
            dir("a/"),
            dir("a/b/"),
            file("a/b/file", 0o644, b"text"),
            link("a/link", "b/file"),
            file("a/run", 0o755, b"#!"),
            file(&"n".repeat(100), 0o644, &[1; 512]),
            file(&"n".repeat(101), 0o644, &[2; 513]),
            link("z", &"t".repeat(300)),
            dir(".boxwright/"),
            file(DOCKERFILE, 0o644, b"FROM scratch\n"),
        ];
        assert_eq!(found, expect);
    }

    #[test]
    fn the_same_entries_give_the_same_bytes() {
        let (one, other) = (tree(), tree());
        let file = fs::File::options().write(true).open(other.path().join("a/b/file")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        for (path, mode) in [("a/b/file", 0o600), ("a/run", 0o700), ("a/b", 0o700)] {
            fs::set_permissions(other.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(archive(one.path()), archive(other.path()));
    }

    #[test]
    fn names_that_are_not_utf_8_arrive() {
        let root = TempDir::new().unwrap();
        let name = [&b"\xff\n"[..], &[0xfe; 150]].concat();
        fs::write(root.path().join(std::ffi::OsStr::from_bytes(&name)), "").unwrap();
        let bytes = archive(root.path());
        let mut archive = ::tar::Archive::new(&bytes[..]);
        let first = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(*first.path_bytes(), *name);
    }

    #[test]
    fn what_changed_after_it_was_hashed_breaks_the_stream_off() {
        let changes: [(&str, fn(&Path)); 6] = [
            ("same size", |file| fs::write(file, "TEXT").unwrap()),
            ("longer", |file| fs::write(file, "text and more").unwrap()),
            ("shorter", |file| fs::write(file, "").unwrap()),
            ("executable", |file| fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap()),
            ("a link", |file| {
                fs::remove_file(file).unwrap();
                symlink("../run", file).unwrap();
            }),
            ("a directory", |file| {
                fs::remove_file(file).unwrap();
                fs::create_dir(file).unwrap();
            }),
        ];
        for (what, change) in changes {
            let root = tree();
            let entries = scan(root.path());
            let file = root.path().join("a/b/file");
            change(&file);
            let mut bytes = Vec::new();
            match write(root.path(), &entries, b"FROM scratch\n", &mut bytes) {
                Err(TarError::Context(ContextError::Changed { path })) => assert_eq!(path, file, "{what}"),
                other => panic!("{what}: {other:?}"),
            }
            let whole = bytes.windows(DOCKERFILE.len()).any(|part| part == DOCKERFILE.as_bytes());
            assert!(!whole, "{what}: the builder has a Dockerfile");
        }
    }
}
