//! A git revision, checked out in a directory of its own beside the working copy.
//!
//! Hooks of the repository do not run. Submodules are not checked out.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::model::printable;

/// Why a revision could not be checked out.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// It does not say which.
    #[error("`{revision}` names no commit here, nor one that `origin` gives out: {detail}")]
    Unknown {
        /// What was asked for.
        revision: String,
        /// What git said.
        detail: String,
    },
    /// git failed.
    #[error("git {action}: {detail}")]
    Git {
        /// What it was asked to do.
        action: &'static str,
        /// What it said.
        detail: String,
    },
    /// The temporary directory could not be made.
    #[error("failed to make a temporary directory")]
    Directory(#[from] std::io::Error),
}

/// A checked-out revision, gone when it is dropped.
#[derive(Debug)]
pub struct Checkout {
    repository: PathBuf,
    hidden: Vec<String>,
    tree: PathBuf,
    _directory: TempDir,
}

impl Checkout {
    /// Checks out `revision` of the repository that `directory` is in; a commit that is not here
    /// is first asked of `origin`. `hidden` are variables that git does not see.
    pub fn new(directory: &Path, revision: &str, hidden: &[String]) -> Result<Self, RevisionError> {
        let git = |action, arguments: &[&OsStr]| git(directory, hidden, action, arguments);
        let commit = commit(directory, hidden, revision)?;
        let temporary = tempfile::Builder::new().prefix("boxwright-").tempdir()?;
        let tree = temporary.path().canonicalize()?.join("tree");
        let words = ["worktree", "add", "--quiet", "--detach"].map(OsStr::new);
        git("worktree add", &[&words[..], &[tree.as_os_str(), OsStr::new(&commit)]].concat())?;
        Ok(Self { repository: directory.to_owned(), hidden: hidden.to_vec(), tree, _directory: temporary })
    }

    /// Returns where the revision's files are: the repository's root.
    pub fn tree(&self) -> &Path {
        &self.tree
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let words = ["worktree", "remove", "--force"].map(OsStr::new);
        let arguments = [&words[..], &[self.tree.as_os_str()]].concat();
        // What stays behind, `git worktree prune` forgets: its directory is gone.
        let _ = git(&self.repository, &self.hidden, "worktree remove", &arguments);
    }
}

/// Returns the root of the repository that `directory` is in.
pub fn root(directory: &Path, hidden: &[String]) -> Result<PathBuf, RevisionError> {
    let words = ["rev-parse", "--show-toplevel"].map(OsStr::new);
    Ok(PathBuf::from(git(directory, hidden, "rev-parse", &words)?))
}

/// Finds the commit that a revision names.
fn commit(directory: &Path, hidden: &[String], revision: &str) -> Result<String, RevisionError> {
    let unknown = |detail: String| RevisionError::Unknown { revision: printable(revision, 120), detail };
    if revision.is_empty() || revision.starts_with('-') {
        return Err(unknown("expected a commit, a branch or a tag".to_owned()));
    }
    let peeled = format!("{revision}^{{commit}}");
    let verify = || {
        let words = ["rev-parse", "--verify", "--quiet", "--end-of-options", &peeled].map(OsStr::new);
        git(directory, hidden, "rev-parse", &words)
    };
    if let Ok(commit) = verify() {
        return Ok(commit);
    }
    let words = ["fetch", "--quiet", "--no-tags", "origin", revision].map(OsStr::new);
    git(directory, hidden, "fetch", &words).map_err(|error| unknown(error.to_string()))?;
    if let Ok(commit) = verify() {
        return Ok(commit);
    }
    // A branch or tag that is only there: what was just fetched.
    let words = ["rev-parse", "--verify", "FETCH_HEAD^{commit}"].map(OsStr::new);
    git(directory, hidden, "rev-parse", &words).map_err(|error| unknown(error.to_string()))
}

fn git(
    directory: &Path,
    hidden: &[String],
    action: &'static str,
    arguments: &[&OsStr],
) -> Result<String, RevisionError> {
    let fail = |detail: String| RevisionError::Git { action, detail: printable(detail.trim(), 400) };
    let mut command = Command::new("git");
    for variable in hidden {
        command.env_remove(variable);
    }
    let output = command
        // No code of the repository runs before a build does.
        .args(["-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", "-C"])
        .arg(directory)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| fail(error.to_string()))?;
    if !output.status.success() {
        return Err(fail(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let text = String::from_utf8(output.stdout).map_err(|_| fail("its answer is not UTF-8".to_owned()))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(directory: &Path, arguments: &[&str]) -> String {
        let who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"];
        let output = Command::new("git").arg("-C").arg(directory).args(who).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit_file(directory: &Path, text: &str) -> String {
        std::fs::write(directory.join("file"), text).unwrap();
        run(directory, &["add", "file"]);
        run(directory, &["commit", "-q", "-m", text]);
        run(directory, &["rev-parse", "HEAD"])
    }

    #[test]
    fn an_older_revision_stands_beside_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        run(at, &["init", "-q", "-b", "main"]);
        let first = commit_file(at, "one");
        commit_file(at, "two");
        let hook = at.join(".git/hooks/post-checkout");
        std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", at.join("ran").display())).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&hook, mode).unwrap();
        let checkout = Checkout::new(at, &first[..10], &[]).unwrap();
        let tree = checkout.tree().to_owned();
        assert_eq!(std::fs::read_to_string(tree.join("file")).unwrap(), "one");
        assert_eq!(run(&tree, &["rev-parse", "HEAD"]), first);
        assert_eq!(std::fs::read_to_string(at.join("file")).unwrap(), "two");
        drop(checkout);
        assert!(!tree.exists() && !at.join("ran").exists());
        assert_eq!(run(at, &["worktree", "list"]).lines().count(), 1);
    }

    #[test]
    fn what_is_not_here_is_asked_of_origin() {
        let directory = tempfile::tempdir().unwrap();
        let (theirs, ours) = (directory.path().join("theirs"), directory.path().join("ours"));
        std::fs::create_dir(&theirs).unwrap();
        run(&theirs, &["init", "-q", "-b", "main"]);
        commit_file(&theirs, "one");
        run(directory.path(), &["clone", "-q", "theirs", "ours"]);
        run(&theirs, &["checkout", "-q", "-b", "topic"]);
        let new = commit_file(&theirs, "new");
        for revision in [new.as_str(), "topic"] {
            let checkout = Checkout::new(&ours, revision, &[]).unwrap();
            assert_eq!(run(checkout.tree(), &["rev-parse", "HEAD"]), new, "{revision}");
        }
        for bad in ["no-such-branch", "", "--help", &"0".repeat(40)] {
            let error = Checkout::new(&ours, bad, &[]).unwrap_err();
            assert!(matches!(error, RevisionError::Unknown { .. }), "{bad}: {error}");
        }
        // An option of git's that runs a program.
        let ran = directory.path().join("ran");
        let hostile = format!("--upload-pack=touch {}; true", ran.display());
        let error = Checkout::new(&ours, &hostile, &[]).unwrap_err();
        assert!(matches!(error, RevisionError::Unknown { .. }) && !ran.exists(), "{error}");
    }
}
