//! The commit a working tree stands on, and what differs from it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::lent::Lent;
use super::{Repository, Unread, find};
use crate::model::{Source, Timestamp};

/// How deep submodules are looked into.
const DEEPEST: usize = 16;

/// A working tree as git sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worktree {
    /// The commit and its time.
    pub source: Source,
    /// The repository's root; nothing where there is no repository.
    pub root: Option<PathBuf>,
    /// The branch that is checked out, if one is.
    pub branch: Option<String>,
    /// Paths that differ from the commit: modified, added, untracked and ignored ones,
    /// relative to the root; a directory stands for all it holds.
    pub differing: BTreeSet<Vec<u8>>,
}

impl Worktree {
    /// Tells whether `path`, relative to the root, differs from the commit.
    pub fn differs(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
        ends.chain([path.len()]).any(|end| self.differing.contains(&path[..end]))
    }
}

/// Reads the working tree that `directory` is in; outside a repository there is nothing to know.
/// `hidden` are variables that git does not see.
pub fn worktree(directory: &Path, hidden: &[String]) -> Result<Worktree, Unread> {
    match find(directory, hidden)? {
        Some(repository) => of(&repository, hidden, DEEPEST),
        None => Ok(Worktree::default()),
    }
}

/// Tells why a working tree cannot be read, as far as that can be told without reading it.
pub fn look(directory: &Path, hidden: &[String]) -> Result<(), Unread> {
    match find(directory, hidden)? {
        Some(_) if !super::command::is_installed() => Err(Unread::NoProgram),
        _ => Ok(()),
    }
}

/// Reads the working tree of a repository.
pub fn worktree_of(repository: &Repository, hidden: &[String]) -> Result<Worktree, Unread> {
    of(repository, hidden, DEEPEST)
}

fn of(repository: &Repository, hidden: &[String], deepest: usize) -> Result<Worktree, Unread> {
    let lent = Lent::of(repository, hidden)?;
    let (git, top) = (lent.git(hidden), &repository.top);
    let status = || {
        git.output(
            "status",
            top,
            &[
                "status",
                "--porcelain=v2",
                "--branch",
                "-z",
                "--untracked-files=normal",
                "--ignored=traditional",
                "--no-renames",
                // Looked at below: git would run with what is configured in them.
                "--ignore-submodules=all",
            ],
        )
    };
    let time = || git.output("rev-list", top, &["rev-list", "--no-walk", "--timestamp", "HEAD"]);
    let staged = || git.output("ls-files", top, &["ls-files", "--stage", "-z"]);
    // Each costs a process, so all are asked at once.
    let (status, time, staged) = std::thread::scope(|scope| {
        let (time, staged) = (scope.spawn(time), scope.spawn(staged));
        let gone = |_| Unread::Failed { top: top.clone(), action: "status", how: "was cut off".to_owned() };
        let status = status()?;
        Ok::<_, Unread>((status, time.join().map_err(gone)?, staged.join().map_err(gone)??))
    })?;
    let mut tree = Worktree { root: Some(top.clone()), ..Worktree::default() };
    let head = parse(&status, &mut tree);
    if let Some(head) = head {
        let time = String::from_utf8_lossy(&time?).into_owned();
        let time = time.split_once(' ').filter(|(_, commit)| commit.trim_end() == head);
        let failed = |how: &str| Unread::Failed { top: top.clone(), action: "rev-list", how: how.to_owned() };
        let time = time.and_then(|(time, _)| time.parse().ok());
        let time = time.ok_or_else(|| failed("does not tell the commit's time; try again"))?;
        tree.source.revision = Some(head);
        tree.source.time = Some(Timestamp::from_unix(time));
    }
    for (commit, path) in links(&staged) {
        submodule(top, commit, path, hidden, deepest, &mut tree.differing)?;
    }
    Ok(tree)
}

/// Reads `git status --porcelain=v2 --branch -z`: the commit, nothing before the first one, the
/// branch, and the paths that differ.
fn parse(status: &[u8], tree: &mut Worktree) -> Option<String> {
    let mut head = None;
    for line in status.split(|byte| *byte == 0) {
        // So many words stand before the path.
        let words = match line.first() {
            Some(b'1') => 8,
            Some(b'2') => 9,
            Some(b'u') => 10,
            Some(b'?' | b'!') => 1,
            _ => {
                let commit = line.strip_prefix(b"# branch.oid ").filter(|commit| *commit != b"(initial)");
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                head = head.or_else(|| commit.map(text));
                let branch = line.strip_prefix(b"# branch.head ").filter(|name| *name != b"(detached)");
                tree.branch = tree.branch.take().or_else(|| branch.map(text));
                continue;
            }
        };
        if let Some(path) = line.splitn(words + 1, |byte| *byte == b' ').nth(words) {
            tree.differing.insert(path.strip_suffix(b"/").unwrap_or(path).to_vec());
        }
    }
    head
}

/// Returns the commits of submodules in `git ls-files --stage -z`, with their paths.
fn links(staged: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    staged.split(|byte| *byte == 0).filter_map(|line| {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let commit = line.get(..tab)?.strip_prefix(b"160000 ")?.split(|byte| *byte == b' ').next()?;
        Some((commit, line.get(tab + 1..)?))
    })
}

/// Adds what differs in a submodule; where another commit is checked out that is all of it.
fn submodule(
    top: &Path,
    commit: &[u8],
    path: &[u8],
    hidden: &[String],
    deepest: usize,
    differing: &mut BTreeSet<Vec<u8>>,
) -> Result<(), Unread> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let at = top.join(OsStr::from_bytes(path));
    let is_directory = fs::symlink_metadata(&at).is_ok_and(|found| found.is_dir());
    let inside = match find::at(&at, hidden)? {
        Some(repository) if is_directory && deepest > 0 => of(&repository, hidden, deepest - 1)?,
        // One that is not checked out is an empty directory.
        None if is_directory && fs::read_dir(&at).is_ok_and(|mut entries| entries.next().is_none()) => {
            return Ok(());
        }
        None if !at.exists() => return Ok(()),
        _ => Worktree::default(),
    };
    if inside.source.revision.as_deref().map(str::as_bytes) == Some(commit) {
        differing.extend(inside.differing.into_iter().map(|below| [path, b"/", &below].concat()));
    } else {
        differing.insert(path.to_vec());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::git::tests::git;

    fn differ(tree: &Worktree, paths: &[(&str, bool)]) {
        for (path, differs) in paths {
            assert_eq!(tree.differs(path.as_bytes()), *differs, "{path}");
        }
    }

    #[test]
    fn tells_the_commit_and_what_differs_from_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        assert_eq!(worktree(at, &[]).unwrap(), Worktree::default());
        git(at, &["init", "-q"]);
        let empty = worktree(at, &[]).unwrap();
        assert_eq!((empty.root.as_deref(), empty.source.revision), (Some(at), None));
        git(at, &["checkout", "-q", "-b", "topic/one"]);
        std::fs::create_dir(at.join("new")).unwrap();
        for (name, text) in [(".gitignore", "*.o\n"), ("kept", "1"), ("changed", "1"), ("a b", "1")] {
            std::fs::write(at.join(name), text).unwrap();
        }
        git(at, &["add", "."]);
        git(at, &["commit", "-q", "-m", "x", "--date", "@1000000 +0000"]);
        for (name, text) in [("changed", "2"), ("new/file", "1"), ("a.o", "1"), ("a b", "2")] {
            std::fs::write(at.join(name), text).unwrap();
        }
        let tree = worktree(at, &[]).unwrap();
        assert_eq!(tree.source.revision, Some(git(at, &["rev-parse", "HEAD"])));
        assert_eq!(tree.branch.as_deref(), Some("topic/one"));
        let time = git(at, &["log", "-1", "--format=%ct"]).parse().unwrap();
        assert_eq!(tree.source.time, Some(Timestamp::from_unix(time)));
        differ(
            &tree,
            &[
                ("kept", false),
                ("changed", true),
                ("a b", true),
                ("new/file", true),
                ("a.o", true),
                ("change", false),
            ],
        );
    }

    #[test]
    fn linked_worktrees_shallow_clones_and_other_formats_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let main = at.join("main");
        std::fs::create_dir(&main).unwrap();
        git(&main, &["init", "-q", "--object-format=sha256"]);
        for text in ["1", "2"] {
            std::fs::write(main.join("file"), text).unwrap();
            git(&main, &["add", "."]);
            git(&main, &["commit", "-q", "-m", text]);
        }
        git(&main, &["worktree", "add", "-q", "--detach", "../linked", "HEAD~1"]);
        git(at, &["clone", "-q", "--depth=1", &format!("file://{}", main.display()), "shallow"]);
        git(&main, &["pack-refs", "--all"]);
        git(&main, &["update-index", "--split-index"]);
        for (name, revision) in [("main", "HEAD"), ("linked", "HEAD~1"), ("shallow", "HEAD")] {
            let tree = worktree(&at.join(name), &[]).unwrap();
            assert_eq!(tree.source.revision, Some(git(&main, &["rev-parse", revision])), "{name}");
            assert_eq!(tree.differing, BTreeSet::new(), "{name}");
            assert_eq!(tree.branch.is_none(), name == "linked", "{name}");
            std::fs::write(at.join(name).join("file"), "other").unwrap();
            differ(&worktree(&at.join(name), &[]).unwrap(), &[("file", true)]);
        }
    }

    #[test]
    fn submodules_are_looked_into() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        for name in ["lib", "main"] {
            std::fs::create_dir(at.join(name)).unwrap();
            git(&at.join(name), &["init", "-q"]);
            std::fs::write(at.join(name).join("file"), "1").unwrap();
            git(&at.join(name), &["add", "."]);
            git(&at.join(name), &["commit", "-q", "-m", "x"]);
        }
        let main = at.join("main");
        git(&main, &["submodule", "add", "-q", "../lib", "sub"]);
        git(&main, &["commit", "-q", "-m", "sub"]);
        assert_eq!(worktree(&main, &[]).unwrap().differing, BTreeSet::new());
        // The submodule is a repository of its own to whoever begins there.
        let sub = worktree(&main.join("sub"), &[]).unwrap();
        assert_eq!(sub.source.revision, Some(git(&at.join("lib"), &["rev-parse", "HEAD"])));
        std::fs::write(main.join("sub/file"), "2").unwrap();
        std::fs::write(main.join("sub/new"), "2").unwrap();
        let check = |paths: &[(&str, bool)]| differ(&worktree(&main, &[]).unwrap(), paths);
        check(&[("sub/file", true), ("sub/new", true), ("sub/kept", false), ("file", false)]);
        git(&main.join("sub"), &["add", "."]);
        git(&main.join("sub"), &["commit", "-q", "-m", "y"]);
        check(&[("sub/kept", true), ("file", false)]);
        std::fs::remove_file(main.join("sub/.git")).unwrap();
        check(&[("sub/file", true), ("file", false)]);
    }
}
