//! Files of a repository, which may be hostile: opened beneath its root, whatever links and pipes
//! stand there.
//!
//! A link may lead anywhere inside the root but for its `.git`, and nowhere else. Nothing that could
//! block or never end is read: only files, and of those only so much. What goes wrong is told
//! without a word of what stands in the file.

use std::fs::{File, FileType};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::context::root::{Root, io_error};
use crate::model::RelPath;
use crate::port::ContextError;

/// Reads a file of at most `limit` bytes; nothing if it is not there. `path` is relative to `root`,
/// or an absolute one that is below it.
pub fn read(root: &Path, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ContextError> {
    let Some(found) = find(root, path)? else { return Ok(None) };
    if found.below.is_in_git() {
        return Err(ContextError::InGit { path: found.shown });
    }
    let (file, path) = found.open()?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| io_error("read", &path, source))?;
    if bytes.len() as u64 > limit {
        return Err(io_error("read", &path, io::Error::other(format!("it has more than {limit} bytes"))));
    }
    Ok(Some(bytes))
}

/// The same of a text.
pub fn read_text(root: &Path, path: &Path, limit: u64) -> Result<Option<String>, ContextError> {
    let Some(bytes) = read(root, path, limit)? else { return Ok(None) };
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| io_error("read", &root.join(path), io::Error::other("it is not UTF-8 text")))
}

/// Opens a file, one in `.git` as well; nothing if there is none.
pub fn open(root: &Path, path: &Path) -> Result<Option<(File, PathBuf)>, ContextError> {
    find(root, path)?.map(Found::open).transpose()
}

/// Something that stands below a root.
struct Found {
    root: PathBuf,
    below: RelPath,
    /// As it was named.
    shown: PathBuf,
}

impl Found {
    fn open(self) -> Result<(File, PathBuf), ContextError> {
        Ok((Root::open(&self.root)?.file(&self.below)?.file, self.shown))
    }
}

/// Looks where a path leads; nothing if there is nothing.
fn find(root: &Path, path: &Path) -> Result<Option<Found>, ContextError> {
    let shown = root.join(path);
    let fail = |source| io_error("read", &shown, source);
    let root = root.canonicalize().map_err(|source| io_error("find", root, source))?;
    let real = match shown.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let below =
        real.strip_prefix(&root).ok().and_then(|below| RelPath::new(below.as_os_str().as_bytes()).ok());
    let Some(below) = below else { return Err(ContextError::Outside { path: shown, root }) };
    // Looked at first, for the word; what is opened then is looked at again.
    if let Some(kind) = other(real.metadata().map_err(fail)?.file_type()) {
        return Err(fail(io::Error::other(format!("it is a {kind}, not a file"))));
    }
    Ok(Some(Found { root, below, shown }))
}

/// What it is if it is no file.
fn other(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("directory"),
        kind if kind.is_fifo() => Some("FIFO"),
        kind if kind.is_socket() => Some("socket"),
        _ => Some("device"),
    }
}

/// Returns the root of the repository that a directory is in, as far as its files go: the nearest
/// directory above with a `.git` in it, else the directory itself.
pub fn bounds(directory: &Path) -> &Path {
    let has_git = |above: &&Path| above.join(".git").symlink_metadata().is_ok();
    directory.ancestors().find(has_git).unwrap_or(directory)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, Mode, mknodat};

    use super::*;

    fn check(root: &Path, path: &str, expect: Result<Option<&str>, &str>) {
        match (read_text(root, Path::new(path), 10), expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found.as_deref(), expect, "{path}"),
            (Err(error), Err(part)) => {
                let text = crate::model::chain(&error);
                assert!(text.contains(part) && !text.contains("canary"), "{path}: {text}");
            }
            (found, _) => panic!("{path}: {found:?}"),
        }
    }

    #[test]
    fn links_lead_anywhere_inside_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(directory.path().join("out"), "canary").unwrap();
        fs::write(root.join("sub/file"), "text").unwrap();
        for (name, target) in [
            ("in", "sub/file"),
            ("absolute", root.join("sub/file").to_str().unwrap()),
            ("again", "in"),
            ("directory", "sub"),
            ("sub/up", "../sub/file"),
            ("out", "../out"),
            ("far", "/etc/passwd"),
            ("up", ".."),
            ("zero", "/dev/zero"),
            ("dangling", "nowhere"),
            ("loop", "loop"),
            ("git", ".git/config"),
            ("gits", ".git"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        for name in ["sub/file", "in", "absolute", "again", "directory/file", "sub/up", "sub/../in"] {
            check(&root, name, Ok(Some("text")));
        }
        check(&root, root.join("in").to_str().unwrap(), Ok(Some("text")));
        for name in ["out", "far", "up/out", "zero", "../out", "/etc/passwd"] {
            check(&root, name, Err("leads out of"));
        }
        fs::create_dir(root.join(".git")).unwrap();
        fs::write(root.join(".git/config"), "canary").unwrap();
        for name in [".git/config", "git", "gits/config", "sub/../.git/config"] {
            check(&root, name, Err("is in a `.git`"));
        }
        check(&root, "dangling", Ok(None));
        check(&root, "absent", Ok(None));
        check(&root, "loop", Err("symbolic links"));
        check(&root, ".", Err("leads out of"));
    }

    #[test]
    fn what_is_no_file_or_never_ends_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        mknodat(CWD, root.join("fifo"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        fs::create_dir(root.join("directory")).unwrap();
        fs::File::create(root.join("sparse")).unwrap().set_len(10 << 30).unwrap();
        fs::write(root.join("binary"), b"\xff").unwrap();
        check(root, "fifo", Err("it is a FIFO, not a file"));
        check(root, "socket", Err("it is a socket, not a file"));
        check(root, "directory", Err("it is a directory, not a file"));
        check(root, "sparse", Err("it has more than 10 bytes"));
        check(root, "binary", Err("it is not UTF-8 text"));
        check(root, "fifo/x", Err("Not a directory"));
    }
}
