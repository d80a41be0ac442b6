//! Finding the repository that a directory is in, and whose it is.
//!
//! Only what is called `.git` counts: a directory that looks like a bare repository is content,
//! which anybody can commit. A `.git` that is a file or a link, as linked worktrees, submodules
//! and `--separate-git-dir` have it, is followed once, to wherever it leads, but not into the work
//! tree that it stands in: what lies there may have been committed. What it leads to must be the
//! user's own like the rest, and lends objects, refs and index, never configuration.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::{Git, Unread};

/// The largest file of a repository that is read whole, in bytes; git's own are far smaller.
const LIMIT: u64 = 16 * 1024 * 1024;

/// A repository with a work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The root of the work tree.
    pub top: PathBuf,
    /// Where `HEAD` and the index are.
    pub(super) own: PathBuf,
    /// Where objects and refs are; another directory for a linked worktree.
    pub(super) common: PathBuf,
}

/// Finds the repository that `directory`, an absolute path, is in; nothing where there is none.
/// `hidden` are variables that git does not see.
pub fn find(directory: &Path, hidden: &[String]) -> Result<Option<Repository>, Unread> {
    for top in directory.ancestors() {
        if let Some(repository) = at(top, hidden)? {
            return Ok(Some(repository));
        }
    }
    Ok(None)
}

/// Finds the repository whose work tree has its root here.
pub(super) fn at(top: &Path, hidden: &[String]) -> Result<Option<Repository>, Unread> {
    let dot = top.join(".git");
    let broken = |why| Unread::Broken { path: dot.clone(), why };
    let kind = match fs::symlink_metadata(&dot) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(_) => return Err(broken("cannot be looked at")),
    };
    // Asked first: what is not ours is not read either.
    let own = if kind.is_dir() {
        dot.clone()
    } else {
        belongs(top, [&dot], hidden)?;
        let leads = fs::metadata(&dot).map_err(|_| broken("leads nowhere"))?;
        let led = if leads.is_dir() { Some(dot.clone()) } else { named(&dot).map(|path| top.join(path)) };
        let led = led.ok_or_else(|| broken("names no git directory"))?;
        let led = led.canonicalize().map_err(|_| broken("leads nowhere"))?;
        if led.starts_with(top.canonicalize().map_err(|_| broken("stands nowhere"))?) {
            return Err(broken("leads into the work tree, whose files anybody may have committed"));
        }
        led
    };
    belongs(top, [top, &dot, &own], hidden)?;
    let common = match read(&own.join("commondir")) {
        Ok(None) => own.clone(),
        Ok(Some(text)) => {
            let path = own.join(OsStr::from_bytes(trimmed(&text)));
            path.canonicalize()
                .map_err(|_| broken("is a linked worktree of a repository that is not there"))?
        }
        Err(_) => return Err(broken("holds a `commondir` that cannot be read")),
    };
    if !common.join("objects").is_dir() || !common.join("refs").is_dir() {
        return Err(broken("is no git directory"));
    }
    let head = own.join("HEAD");
    match read(&head) {
        Ok(Some(text)) if is_head(trimmed(&text)) => {
            Ok(Some(Repository { top: top.to_owned(), own, common }))
        }
        Ok(_) => Err(Unread::Broken { path: head, why: "names neither a branch nor a commit" }),
        Err(_) => Err(Unread::Broken { path: head, why: "cannot be read" }),
    }
}

/// Tells whether this is what a `HEAD` holds: a ref's name or a commit.
fn is_head(text: &[u8]) -> bool {
    let is_commit = matches!(text.len(), 40 | 64) && text.iter().all(u8::is_ascii_hexdigit);
    is_commit || text.strip_prefix(b"ref:").is_some_and(|name| name.trim_ascii().starts_with(b"refs/"))
}

/// Returns what a `.git` file names.
fn named(dot: &Path) -> Option<PathBuf> {
    let text = read(dot).ok()??;
    let path = trimmed(text.strip_prefix(b"gitdir: ")?);
    (!path.is_empty() && !path.contains(&b'\n')).then(|| PathBuf::from(OsStr::from_bytes(path)))
}

fn trimmed(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}

/// Reads a file of a repository. One that is a link (`repo` makes such) must lead to a file of the
/// same name: git quotes what it cannot read, and is shown no other file of this machine. Nothing
/// that could block is opened.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let path = match path.canonicalize() {
        Ok(real) if real.file_name() == path.file_name() || is_dot_git(path) => real,
        Ok(_) => return Err(io::Error::other("it is a link to something else")),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(&path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::other("it is too large"));
    }
    Ok(Some(bytes))
}

fn is_dot_git(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new(".git"))
}

/// Fails unless all of this is the user's own, or they said that it is to be believed. These are
/// git's rules (git-config, `safe.directory`), which git does not apply itself where it is told
/// which repository to use.
fn belongs<'p>(
    top: &Path,
    paths: impl IntoIterator<Item = &'p (impl AsRef<Path> + ?Sized + 'p)>,
    hidden: &[String],
) -> Result<(), Unread> {
    let me = rustix::process::geteuid().as_raw();
    let sudo = || std::env::var("SUDO_UID").ok().and_then(|id| id.parse::<u32>().ok());
    let is_mine = |owner: u32| owner == me || (me == 0 && Some(owner) == sudo());
    for path in paths {
        let path = path.as_ref();
        let broken = |_| Unread::Broken { path: path.to_owned(), why: "cannot be looked at" };
        let owner = fs::symlink_metadata(path).map_err(broken)?.uid();
        if !is_mine(owner) && !is_declared_safe(top, hidden)? {
            return Err(Unread::Owner { top: top.to_owned(), path: path.to_owned(), owner, me });
        }
    }
    Ok(())
}

/// Tells whether the user's own or the system's configuration believes this work tree.
fn is_declared_safe(top: &Path, hidden: &[String]) -> Result<bool, Unread> {
    let words = ["config", "--null", "--type=path", "--get-all", "safe.directory"];
    // Without a value it ends with 1.
    let values = Git::of_the_user(hidden).output("config", top, &words).unwrap_or_default();
    let values = values.split(|byte| *byte == 0).map(|value| Path::new(OsStr::from_bytes(value)));
    // The last, after the last zero, is none.
    let count = values.clone().count().saturating_sub(1);
    Ok(is_among(top, values.take(count)))
}

fn is_among<'v>(top: &Path, values: impl Iterator<Item = &'v Path>) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let top = real(top);
    values.fold(false, |is_safe, value| match value.as_os_str().as_bytes() {
        // An empty value takes back what stood before it.
        b"" => false,
        b"*" => true,
        bytes => {
            is_safe
                || match bytes.strip_suffix(b"/*") {
                    Some(above) => {
                        let above = real(Path::new(OsStr::from_bytes(above)));
                        top != above && top.starts_with(above)
                    }
                    None => top == real(value),
                }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mark(at: &Path) {
        for name in ["objects", "refs"] {
            fs::create_dir_all(at.join(name)).unwrap();
        }
        fs::write(at.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    }

    #[test]
    fn a_head_says_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().canonicalize().unwrap();
        mark(&at.join(".git"));
        for (text, is_one) in [
            ("ref: refs/heads/main\n", true),
            (&"a".repeat(40), true),
            (&"a".repeat(39), false),
            ("ref: ", false),
            ("ref: ../x", false),
            ("", false),
        ] {
            fs::write(at.join(".git/HEAD"), text).unwrap();
            assert_eq!(find(&at, &[]).is_ok(), is_one, "{text}");
        }
        fs::remove_file(at.join(".git/HEAD")).unwrap();
        assert!(why(find(&at, &[])).contains("neither a branch nor a commit"));
        fs::write(at.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        symlink("../HEAD", at.join(".git/HEAD")).unwrap();
        assert!(find(&at, &[]).is_ok());
        symlink("/etc/passwd", at.join(".git/commondir")).unwrap();
        assert!(why(find(&at, &[])).contains("commondir"));
    }

    fn why(found: Result<Option<Repository>, Unread>) -> String {
        found.unwrap_err().to_string()
    }

    #[test]
    fn only_what_is_called_git_counts() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().canonicalize().unwrap();
        let bare = at.join("sub/bare");
        mark(&bare);
        fs::write(bare.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(find(&bare, &[]).unwrap(), None);
        mark(&at.join(".git"));
        let found = find(&bare, &[]).unwrap().unwrap();
        assert_eq!((found.top, found.own), (at.clone(), at.join(".git")));
    }

    #[test]
    fn a_git_file_leads_out_of_the_work_tree_and_not_into_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().canonicalize().unwrap();
        let tree = at.join("tree");
        mark(&tree.join("planted"));
        mark(&at.join("main.git/worktrees/a"));
        mark(&at.join("main.git"));
        fs::write(at.join("main.git/worktrees/a/commondir"), "../..\n").unwrap();
        let dot = tree.join(".git");
        for (text, expect) in [
            ("gitdir: planted\n", Err("into the work tree")),
            ("gitdir: ../tree/planted", Err("into the work tree")),
            ("gitdir: ../main.git\n", Ok("main.git")),
            ("gitdir: ../main.git/worktrees/a\n", Ok("main.git/worktrees/a")),
            ("gitdir: ../none\n", Err("leads nowhere")),
            ("gitdir: ..\n", Err("no git directory")),
            ("gitdir:\n", Err("names no git directory")),
            ("", Err("names no git directory")),
        ] {
            fs::write(&dot, text).unwrap();
            match expect {
                Ok(own) => {
                    let found = find(&tree, &[]).unwrap().unwrap();
                    assert_eq!((found.own, found.common), (at.join(own), at.join("main.git")), "{text}");
                }
                Err(part) => assert!(why(find(&tree, &[])).contains(part), "{text}"),
            }
        }
        fs::remove_file(&dot).unwrap();
        symlink("planted", &dot).unwrap();
        assert!(why(find(&tree, &[])).contains("into the work tree"));
        fs::remove_file(&dot).unwrap();
        symlink("../main.git", &dot).unwrap();
        assert_eq!(find(&tree, &[]).unwrap().unwrap().own, at.join("main.git"));
        fs::remove_file(&dot).unwrap();
        symlink("/dev/zero", &dot).unwrap();
        assert!(why(find(&tree, &[])).contains("names no git directory"));
    }

    #[test]
    fn safe_directories_are_gits() {
        let check = |values: &[&str], expect| {
            assert_eq!(is_among(Path::new("/a/b"), values.iter().map(Path::new)), expect, "{values:?}");
        };
        check(&[], false);
        check(&["/a/b"], true);
        check(&["/a/b/"], true);
        check(&["/a", "/a/b/c", "a/b"], false);
        check(&["/a/*"], true);
        check(&["/a/b/*"], false);
        check(&["*"], true);
        check(&["*", ""], false);
        check(&["", "/a/b"], true);
    }
}
