//! The commit a working tree stands on, by asking the user's `git`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::model::{Source, Timestamp};

/// A working tree as git sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worktree {
    /// The commit and its time.
    pub source: Source,
    /// The repository's root.
    pub root: Option<PathBuf>,
    /// Paths that differ from the commit: modified, added, untracked and ignored ones,
    /// relative to the root; a directory stands for all it holds.
    pub differing: BTreeSet<Vec<u8>>,
}

/// Reads the working tree that `directory` is in. Without git, or outside a repository,
/// nothing is known, which is no error. `hidden` are variables that git does not see.
pub fn worktree(directory: &Path, hidden: &[String]) -> Worktree {
    let git = Git { directory, hidden };
    let status = || {
        git.output(&[
            "status",
            "--porcelain=v1",
            "-z",
            "--untracked-files=normal",
            "--ignored=traditional",
            "--no-renames",
        ])
    };
    // Each costs a process, so all are asked at once.
    let (root, head, status) = std::thread::scope(|scope| {
        let head = scope.spawn(|| git.line(&["log", "-1", "--format=%H %ct"]));
        let status = scope.spawn(status);
        let root = git.line(&["rev-parse", "--show-toplevel"]);
        (root, head.join().ok().flatten(), status.join().ok().flatten())
    });
    let Some(root) = root else { return Worktree::default() };
    let head = head.unwrap_or_default();
    let (revision, time) = head.split_once(' ').unwrap_or_default();
    let differing = status
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter_map(|entry| entry.get(3..))
        .map(|path| path.strip_suffix(b"/").unwrap_or(path).to_vec())
        .collect();
    Worktree {
        source: Source {
            revision: (!revision.is_empty()).then(|| revision.to_owned()),
            time: time.parse().ok().map(Timestamp::from_unix),
            dirty: false,
            local: Vec::new(),
        },
        root: Some(PathBuf::from(root)),
        differing,
    }
}

impl Worktree {
    /// Tells whether `path`, relative to the root, differs from the commit.
    pub fn differs(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
        ends.chain([path.len()]).any(|end| self.differing.contains(&path[..end]))
    }
}

/// The user's git at work in a directory.
struct Git<'a> {
    directory: &'a Path,
    hidden: &'a [String],
}

impl Git<'_> {
    fn line(&self, arguments: &[&str]) -> Option<String> {
        let text = String::from_utf8(self.output(arguments)?).ok()?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn output(&self, arguments: &[&str]) -> Option<Vec<u8>> {
        let fixed: [&OsStr; 2] = [OsStr::new("-C"), self.directory.as_os_str()];
        let mut command = Command::new("git");
        for variable in self.hidden {
            command.env_remove(variable);
        }
        let output = command
            .args(fixed)
            .args(arguments)
            // A status must not write the index: another git may be at work.
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        output.status.success().then_some(output.stdout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(directory: &Path, arguments: &[&str]) {
        let status = Command::new("git")
            .args(["-C", directory.to_str().unwrap(), "-c", "user.name=a", "-c", "user.email=a@b"])
            .args(arguments)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{arguments:?}");
    }

    #[test]
    fn tells_the_commit_and_what_differs_from_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        assert_eq!(worktree(at, &[]), Worktree::default());
        git(at, &["init", "-q"]);
        std::fs::create_dir(at.join("new")).unwrap();
        for (name, text) in [(".gitignore", "*.o\n"), ("kept", "1"), ("changed", "1")] {
            std::fs::write(at.join(name), text).unwrap();
        }
        git(at, &["add", "."]);
        git(at, &["commit", "-q", "-m", "x", "--date", "@1000000 +0000"]);
        for (name, text) in [("changed", "2"), ("new/file", "1"), ("a.o", "1")] {
            std::fs::write(at.join(name), text).unwrap();
        }
        let tree = worktree(at, &[]);
        assert_eq!(tree.source.revision.as_ref().unwrap().len(), 40);
        assert!(tree.source.time.is_some());
        for (path, differs) in
            [("kept", false), ("changed", true), ("new/file", true), ("a.o", true), ("change", false)]
        {
            assert_eq!(tree.differs(path.as_bytes()), differs, "{path}");
        }
    }
}
