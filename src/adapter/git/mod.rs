//! The user's `git`, asked about repositories that may be hostile.
//!
//! A repository is data here and never configuration: no git that boxwright starts reads the
//! `config` of the repository under build, nor looks for a repository itself. [`find`] finds it,
//! and asks whose it is, as git does; `lent` lends its objects, refs and index to a git
//! directory of ours, with a `config` of ours. So nothing that the repository's configuration can
//! name (hooks, file system monitors, filters, diff programs, helpers, remotes) is ever run. What
//! the user's own and the system's git configuration name is theirs, and is run: an lfs filter,
//! a credential helper.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `find` | where the repository is, and whether it is this user's |
//! | `lent` | a git directory of ours over somebody's repository |
//! | `command` | what every git is started with |
//! | `index` | whether an index is whole |
//! | `worktree` | the commit, its time, and what differs from it |
//! | `checkout` | a revision in a directory of its own |
//! | `origin` | where a remote's name leads |
//! | `address` | which addresses git may be sent to |

mod address;
mod checkout;
mod command;
mod find;
mod index;
mod lent;
mod origin;
mod worktree;

pub use address::{Refused, Remotes as AllowedRemotes, Route};
pub use checkout::{Change, Checkout, RevisionError};
pub use find::{Repository, find};
pub use worktree::{Worktree, look, worktree, worktree_of};

pub(super) use command::Git;
pub(super) use origin::Origin;

use std::path::PathBuf;

/// Why git cannot say what stands in a repository that is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is somebody else's, who could make it say anything.
    #[error("{} belongs to user {owner}, and this is user {me}", path.display())]
    Owner {
        /// The work tree, which `safe.directory` would name.
        top: PathBuf,
        /// What is theirs.
        path: PathBuf,
        /// Who they are.
        owner: u32,
        /// Who this is.
        me: u32,
    },
    /// There is nothing to ask.
    #[error("there is no git program")]
    NoProgram,
    /// What stands there is none.
    #[error("{} {why}", path.display())]
    Broken {
        /// The `.git`, or the file in it.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// git gave up.
    #[error("git cannot read {}: `git {action}` {how}", top.display())]
    Failed {
        /// The work tree.
        top: PathBuf,
        /// What it was asked to do.
        action: &'static str,
        /// How that ended. Not what it said: that may quote what the repository links to.
        how: String,
    },
}

impl Unread {
    /// Returns what to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Owner { top, .. } => format!(
                "if it is to be believed, run `git config --global --add safe.directory {}`, or make it yours",
                quoted(&top.display().to_string())
            ),
            Self::NoProgram => "install git, or put it in the PATH".to_owned(),
            Self::Broken { .. } => "`git status` should work there first; else check it out anew".to_owned(),
            Self::Failed { top, .. } => format!(
                "`git -C {} status` says more; `git fsck` tells what is broken",
                quoted(&top.display().to_string())
            ),
        }
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", crate::model::printable(word, 400).replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Runs the user's git as a user does; returns what it printed.
    pub fn git(directory: &Path, arguments: &[&str]) -> String {
        let who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"];
        let output = Command::new("git").arg("-C").arg(directory).args(who).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn a_word_is_one_to_a_shell() {
        assert_eq!(quoted("/a/b-c_1.d"), "/a/b-c_1.d");
        assert_eq!(quoted("/a b"), "'/a b'");
        assert_eq!(quoted("it's\u{1b}"), "'it'\\''s\\u{1b}'");
    }
}
