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
use std::path::{Component, Path, PathBuf};

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
    repository(directory).unwrap_or(directory)
}

fn repository(directory: &Path) -> Option<&Path> {
    let has_git = |above: &&Path| above.join(".git").symlink_metadata().is_ok();
    directory.ancestors().find(has_git)
}

/// Links that the system follows in one path.
const LINKS: usize = 40;

/// Returns where a path leads, if not whoever wrote it down has chosen that: on the way is a link that
/// stands in a repository, and the place is outside that repository or in its `.git`. `here` is what
/// the path is relative to, as the system names it. What the system does not follow leads nowhere.
pub fn astray(here: &Path, path: &Path) -> Option<PathBuf> {
    let parts = |path: &Path| -> Vec<PathBuf> {
        path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect()
    };
    let (mut real, mut left, mut links) = (here.to_owned(), parts(path), 0);
    let mut roots: Vec<PathBuf> = Vec::new();
    while let Some(part) = left.pop() {
        if part == Path::new("..") {
            real.pop();
            continue;
        }
        let at = real.join(&part);
        let Ok(target) = at.read_link() else {
            real = at;
            continue;
        };
        links += 1;
        if links > LINKS {
            return None;
        }
        let ours = Some(bounds(here)).filter(|ours| real.starts_with(ours));
        roots.extend(repository(&real).or(ours).map(Path::to_owned));
        left.extend(parts(&target));
    }
    let is_git = |part: Component<'_>| part.as_os_str().eq_ignore_ascii_case(".git");
    let is_inside =
        |root: &PathBuf| real.strip_prefix(root).is_ok_and(|below| !below.components().any(is_git));
    (!roots.iter().all(is_inside)).then_some(real)
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
    fn a_place_is_astray_only_by_a_link_of_a_repository() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        let root = top.join("root");
        for path in ["root/.git/hooks", "root/deep/er", "root/lib/.git", "outside", "plain"] {
            fs::create_dir_all(top.join(path)).unwrap();
        }
        let absolute = root.join("out");
        for (at, target) in [
            ("root/in", "deep"),
            ("root/shallow", "deep/er"),
            ("root/deep/er/up", "../../lib"),
            ("root/deep/er/top", "../.."),
            ("root/out", "../outside"),
            ("root/deep/out", "er/nested"),
            ("root/deep/er/nested", "../../../outside"),
            ("root/twice", "out"),
            ("root/absolute", absolute.to_str().unwrap()),
            ("root/git", ".git"),
            ("root/hooks", "deep/../.git/hooks"),
            ("root/dangling", "../nowhere"),
            ("root/inside", "nowhere"),
            ("root/loop", "loop"),
            ("root/back", "../plain/into"),
            ("root/lib/super", "../deep"),
            ("plain/into", "../root/deep"),
            ("plain/by", "../root/twice"),
            ("plain/other", "../outside"),
        ] {
            symlink(target, top.join(at)).unwrap();
        }
        let check = |path: &str, expect: Option<&str>| {
            let expect = expect.map(|path| top.join(path));
            assert_eq!(astray(&root, Path::new(path)), expect, "{path}");
            assert_eq!(astray(&top, &root.join(path)), expect, "{path}, from elsewhere");
        };
        // Written down as it is, or by a link that stays inside.
        for path in [
            "",
            ".",
            "deep/er",
            "absent/x",
            "..",
            "../outside",
            "deep/../../outside",
            "/etc",
            ".git/hooks",
            "in/er",
            "shallow/up",
            "in/er/../er",
            "shallow/..",
            "inside",
            "loop",
            "loop/x",
            "deep/er/top/in",
            "back",
            "../plain/other",
            "../plain/into/er",
            "lib/../deep",
        ] {
            check(path, None);
        }
        for (path, expect) in [
            ("out", "outside"),
            ("./out/", "outside"),
            ("out/sub", "outside/sub"),
            ("deep/../out", "outside"),
            ("in/../out", "outside"),
            ("in/er/../../out", "outside"),
            ("../root/out", "outside"),
            ("../plain/../root/out", "outside"),
            ("out/..", ""),
            ("out/../plain", "plain"),
            ("in/../../outside", "outside"),
            ("deep/out", "outside"),
            ("shallow/nested", "outside"),
            ("twice", "outside"),
            ("absolute/x", "outside/x"),
            ("git", "root/.git"),
            ("git/hooks", "root/.git/hooks"),
            ("hooks", "root/.git/hooks"),
            ("shallow/top/.git/hooks", "root/.git/hooks"),
            ("dangling", "nowhere"),
            ("dangling/../outside", "outside"),
            ("../plain/by", "outside"),
            ("lib/super", "root/deep"),
            ("back/../.git/hooks", "root/.git/hooks"),
        ] {
            check(path, Some(expect));
        }
        // Without a `.git` the directory itself is what is not believed.
        assert_eq!(astray(&top.join("plain"), Path::new("other")), Some(top.join("outside")));
        assert_eq!(astray(&top, Path::new("outside")), None);
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
