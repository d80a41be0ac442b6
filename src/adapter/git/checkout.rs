//! A git revision, checked out in a directory of its own beside the working copy.
//!
//! Nothing of it stands in the repository, then or afterwards. Submodules are not checked out.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;

use super::address::{Refused, Remotes};
use super::lent::Lent;
use super::{Git, Origin, Repository, Unread, find};
use crate::model::{ErrorKind, Explained, Explanation, printable};

/// The remote that is asked for what is not here.
const ORIGIN: &str = "origin";

/// Why a revision could not be checked out.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// It does not say which.
    #[error("`{revision}` names no commit here, nor one that `origin` gives out: {detail}")]
    Unknown { revision: String, detail: String },
    /// What it would be asked of may not be.
    #[error("`{revision}` names no commit here, and `origin` is not asked: {source}")]
    Refused { revision: String, source: Refused },
    /// There is no repository.
    #[error("{} is in no git repository", directory.display())]
    NoRepository {
        /// Where the configuration stands.
        directory: PathBuf,
    },
    /// The repository cannot be read.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// The temporary directory could not be made.
    #[error("failed to make a temporary directory")]
    Directory(#[from] std::io::Error),
}

impl Explained for RevisionError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Unknown { .. } => ErrorKind::Usage
                .hint("a shallow clone has few commits; `git fetch --unshallow` brings the rest"),
            Self::NoRepository { .. } => ErrorKind::Usage.into(),
            Self::Unread(error) => ErrorKind::Refused.hint(error.remedy()),
            Self::Refused { .. } => ErrorKind::Refused.into(),
            Self::Directory(_) => ErrorKind::Failed.into(),
        }
    }
}

/// A checked-out revision, gone when it is dropped.
#[derive(Debug)]
pub struct Checkout {
    /// The root of the repository that it is a revision of.
    top: PathBuf,
    hidden: Vec<String>,
    /// What is checked out there, and here.
    before: Option<String>,
    commit: String,
    /// A repository whose work tree is the revision.
    repository: Repository,
    lent: Lent,
    _directory: TempDir,
}

/// How much of a file is another one in a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file, from the repository's root.
    pub path: String,
    /// Lines that are new and lines that are gone; nothing for what is no text.
    pub lines: Option<(u64, u64)>,
}

impl Checkout {
    /// Checks out `revision` of the repository that `directory` is in; a commit that is not here
    /// is first asked of `origin`, if that is among `remotes`. `hidden` are variables that git
    /// does not see.
    pub fn new(
        directory: &Path,
        revision: &str,
        remotes: &Remotes,
        hidden: &[String],
    ) -> Result<Self, RevisionError> {
        let repository = find(directory, hidden)?;
        let repository =
            repository.ok_or_else(|| RevisionError::NoRepository { directory: directory.to_owned() })?;
        let lent = Lent::of(&repository, hidden)?;
        let top = repository.top.clone();
        let asked = Asked { repository: &repository, lent: &lent, revision, remotes, hidden };
        let before = asked.verify("HEAD");
        let commit = asked.commit()?;
        let directory = tempfile::Builder::new().prefix("boxwright-").tempdir()?;
        let tree = directory.path().canonicalize()?.join("tree");
        std::fs::create_dir(&tree)?;
        let git = asked.reaching(lent.git_at(&tree, hidden))?;
        // No hook runs at this, and attributes are those of the revision.
        git.output("read-tree", &top, &["read-tree", "-m", "-u", commit.as_str()])?;
        let repository = lent.on(&tree, &commit)?;
        let hidden = hidden.to_vec();
        Ok(Self { top, hidden, before, commit, repository, lent, _directory: directory })
    }

    /// Returns where the revision's files are: the repository's root.
    pub fn tree(&self) -> &Path {
        &self.repository.top
    }

    /// Returns the root of the repository that it is a revision of.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Returns a repository whose work tree is the revision.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Returns the commit.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Compares it with what is checked out in the repository.
    pub fn changes(&self) -> Result<Vec<Change>, Unread> {
        let git = self.lent.git(&self.hidden);
        let fixed = ["diff-tree", "-r", "-z", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv"];
        let mut words = fixed.to_vec();
        match &self.before {
            Some(before) => words.extend([before.as_str(), self.commit.as_str()]),
            None => words.extend(["--root", self.commit.as_str()]),
        }
        let text = git.output("diff-tree", &self.top, &words)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let change = |line: &str| {
            let mut words = line.splitn(3, '\t');
            let (new, gone, path) = (words.next()?, words.next()?, words.next()?);
            let lines = new.parse().ok().zip(gone.parse().ok());
            Some(Change { path: path.to_owned(), lines })
        };
        Ok(text.split('\0').filter_map(change).collect())
    }
}

/// A revision that was asked for.
struct Asked<'a> {
    repository: &'a Repository,
    lent: &'a Lent,
    revision: &'a str,
    remotes: &'a Remotes,
    hidden: &'a [String],
}

impl Asked<'_> {
    /// Finds the commit that it names.
    fn commit(&self) -> Result<String, RevisionError> {
        let revision = self.revision;
        let shown = || printable(revision, 120);
        let unknown = |detail: String| RevisionError::Unknown { revision: shown(), detail };
        if revision.is_empty() || revision.starts_with(['-', '+']) || revision.contains(':') {
            return Err(unknown("expected a commit, a branch or a tag".to_owned()));
        }
        if let Some(commit) = self.verify(revision) {
            return Ok(commit);
        }
        let origin = Origin::of(self.repository, ORIGIN, self.hidden)?;
        let origin = origin.ok_or_else(|| unknown("there is no remote `origin`".to_owned()))?;
        let refused = |source| RevisionError::Refused { revision: shown(), source };
        self.remotes.check(&origin.url).map_err(refused)?;
        let git = self.lent.git(self.hidden).reaching(&self.remotes.protocols()).configured(&origin.headers);
        let words = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--end-of-options"];
        let mut command = git.command(&[&words[..], &[&origin.url, revision]].concat());
        let output = command.stdin(Stdio::null()).output();
        let output = output.map_err(|error| unknown(error.to_string()))?;
        if !output.status.success() {
            return Err(unknown(said(&output.stderr)));
        }
        // A branch or tag that is only there: what was just fetched.
        let found = self.verify(revision).or_else(|| self.verify("FETCH_HEAD"));
        found.ok_or_else(|| unknown("what it gave out is no commit".to_owned()))
    }

    fn verify(&self, revision: &str) -> Option<String> {
        let peeled = format!("{revision}^{{commit}}");
        let words = ["rev-parse", "--verify", "--quiet", "--end-of-options", &peeled];
        let git = self.lent.git(self.hidden);
        let commit = git.output("rev-parse", &self.repository.top, &words).ok()?;
        Some(String::from_utf8(commit).ok()?.trim_end_matches('\n').to_owned())
    }

    /// Lets a git fetch the files that a partial clone has left out.
    fn reaching(&self, git: Git) -> Result<Git, RevisionError> {
        let origin = Origin::of(self.repository, ORIGIN, self.hidden)?.filter(|origin| origin.is_promisor);
        let Some(origin) = origin.filter(|origin| self.remotes.check(&origin.url).is_ok()) else {
            return Ok(git);
        };
        for (section, key, value) in [
            ("core", "repositoryformatversion", "1"),
            ("extensions", "partialclone", ORIGIN),
            ("remote \"origin\"", "url", &origin.url),
            ("remote \"origin\"", "promisor", "true"),
        ] {
            self.lent.set(section, key, value)?;
        }
        Ok(git.reaching(&self.remotes.protocols()).configured(&origin.headers))
    }
}

/// What git said of a fetch, without lines that quote the repository's own files.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains("alternate"));
    printable(&lines.collect::<Vec<_>>().join("; "), 400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::git::tests::git;

    fn commit_file(directory: &Path, text: &str) -> String {
        std::fs::write(directory.join("file"), text).unwrap();
        git(directory, &["add", "file"]);
        git(directory, &["commit", "-q", "-m", text]);
        git(directory, &["rev-parse", "HEAD"])
    }

    fn checkout(at: &Path, revision: &str) -> Result<Checkout, RevisionError> {
        Checkout::new(at, revision, &Remotes::new(vec!["/".to_owned()]), &[])
    }

    fn head(checkout: &Checkout) -> String {
        let tree = super::super::worktree_of(checkout.repository(), &[]).unwrap();
        assert_eq!(tree.differing, std::collections::BTreeSet::new());
        tree.source.revision.unwrap()
    }

    #[test]
    fn an_older_revision_stands_beside_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        git(at, &["init", "-q", "-b", "main"]);
        let first = commit_file(at, "one");
        let second = commit_file(at, "two");
        let hook = at.join(".git/hooks/post-checkout");
        std::fs::create_dir_all(at.join(".git/hooks")).unwrap();
        std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", at.join("ran").display())).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&hook, mode).unwrap();
        let before = git(at, &["reflog"]);
        let checkout = checkout(at, &first[..10]).unwrap();
        let tree = checkout.tree().to_owned();
        assert_eq!(std::fs::read_to_string(tree.join("file")).unwrap(), "one");
        assert_eq!((head(&checkout), checkout.commit()), (first.clone(), first.as_str()));
        let changed = Change { path: "file".to_owned(), lines: Some((1, 1)) };
        assert_eq!(checkout.changes().unwrap(), [changed]);
        assert_eq!(std::fs::read_to_string(at.join("file")).unwrap(), "two");
        drop(checkout);
        assert!(!tree.exists() && !at.join("ran").exists());
        assert_eq!(git(at, &["worktree", "list"]).lines().count(), 1);
        assert_eq!((git(at, &["rev-parse", "HEAD"]), git(at, &["reflog"])), (second, before));
    }

    #[test]
    fn what_is_not_here_is_asked_of_origin() {
        let directory = tempfile::tempdir().unwrap();
        let (theirs, ours) = (directory.path().join("theirs"), directory.path().join("ours"));
        std::fs::create_dir(&theirs).unwrap();
        git(&theirs, &["init", "-q", "-b", "main"]);
        commit_file(&theirs, "one");
        git(directory.path(), &["clone", "-q", "theirs", "ours"]);
        git(&theirs, &["checkout", "-q", "-b", "topic"]);
        let new = commit_file(&theirs, "new");
        let refs = git(&ours, &["for-each-ref"]);
        for revision in [new.as_str(), "topic"] {
            let checkout = checkout(&ours, revision).unwrap();
            assert_eq!(head(&checkout), new, "{revision}");
        }
        assert_eq!(git(&ours, &["for-each-ref"]), refs);
        for bad in ["no-such-branch", "", "--help", &"0".repeat(40), "topic:refs/heads/topic"] {
            let error = checkout(&ours, bad).unwrap_err();
            assert!(matches!(error, RevisionError::Unknown { .. }), "{bad}: {error}");
        }
        assert_eq!(git(&ours, &["for-each-ref"]), refs);
        let error = Checkout::new(&ours, "topic", &Remotes::default(), &[]).unwrap_err();
        assert!(matches!(error, RevisionError::Refused { .. }), "{error}");
        // An option of git's that runs a program.
        let ran = directory.path().join("ran");
        let hostile = format!("--upload-pack=touch {}; true", ran.display());
        let error = checkout(&ours, &hostile).unwrap_err();
        assert!(matches!(error, RevisionError::Unknown { .. }) && !ran.exists(), "{error}");
    }

    #[test]
    fn a_partial_clone_fetches_what_it_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let (theirs, ours) = (directory.path().join("theirs"), directory.path().join("ours"));
        std::fs::create_dir(&theirs).unwrap();
        git(&theirs, &["init", "-q", "-b", "main"]);
        git(&theirs, &["config", "uploadpack.allowFilter", "true"]);
        git(&theirs, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        let first = commit_file(&theirs, "one");
        commit_file(&theirs, "two");
        let url = format!("file://{}", theirs.display());
        git(directory.path(), &["clone", "-q", "--filter=blob:none", &url, "ours"]);
        let remotes = Remotes::new(vec!["file:///".to_owned()]);
        let checkout = Checkout::new(&ours, &first, &remotes, &[]).unwrap();
        assert_eq!(std::fs::read_to_string(checkout.tree().join("file")).unwrap(), "one");
        let error = Checkout::new(&ours, &first, &Remotes::default(), &[]).unwrap_err();
        assert!(matches!(error, RevisionError::Unread(_)), "{error}");
    }
}
