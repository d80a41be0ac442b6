//! What to do about an error.

use std::io;

use super::error::{CliError, exit};
use crate::adapter::archive::{BadArchive, Fault};
use crate::adapter::git::RevisionError;
use crate::config::nearest;
use crate::exec::{
    BuildError, CleanError, ExplainError, ExportError, ImportError, KeysError, LedgerError, LockError,
    NoSecret, PromoteError, RunError,
};
use crate::plan::Refusal;
use crate::port::{ContextError, EngineError, SecretError};

/// Said where a configuration names a file of git's own.
const IN_GIT: &str = "it holds what a checkout logged in with; name a file of the work tree";

impl CliError {
    /// Returns what to do about it, where something can be said.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Clean(_) if self.wants_login() => {
                return Some(format!("nothing was deleted; {}", super::login::HINT));
            }
            _ if self.wants_login() => super::login::HINT,
            Self::NoConfig { .. } => "`boxwright init` writes one from the Dockerfiles it finds",
            Self::Planted { .. } => {
                "it was found above the current directory; if it is meant, name it by `-f`"
            }
            Self::Config(error) => return error.hint.clone(),
            Self::File(ContextError::Outside { .. }) => {
                "files of a repository are read inside it only; put what it leads to there"
            }
            Self::File(ContextError::InGit { .. }) => IN_GIT,
            Self::Untrusted { .. } => {
                "a run by an event that takes write access does it, or a person at a terminal"
            }
            Self::NotKnown { .. } => {
                "whoever owns the job says BOXWRIGHT_TRUST=trusted, for jobs that strangers cannot cause, or --push always for this call"
            }
            Self::Never { .. } => "take --push never, or BOXWRIGHT_PUSH=never, away",
            Self::NoPush => {
                "the credentials need the right to push; without --push always present boxes are used"
            }
            Self::OtherTrust { .. } => {
                "look at what it changes; if it is as it should be, check that revision out and build there"
            }
            Self::Build(BuildError::Secret(NoSecret { source: SecretError::Withheld { why }, .. }))
                if why.contains(super::at::LENDS_NONE) =>
            {
                "nothing was built; read what it changes, then `--lend-secrets` lends it secrets, ssh agent and host network"
            }
            Self::Unknown { what, name, known } => return Some(meant(what, name, known)),
            Self::Keys(error) => return keys_hint(error),
            Self::Explain(ExplainError::NoInputs { .. }) => {
                "inputs are stored with each image that boxwright builds; this one is older, or they could not be written then"
            }
            Self::Explain(ExplainError::NoImage { .. } | ExplainError::Name { .. }) => {
                "--against takes a promoted tag such as main, a content tag, a key of 32 hex digits, or a digest"
            }
            Self::Build(BuildError::Secret(NoSecret { source: SecretError::Outside { .. }, .. })) => {
                "nothing was built; your own configuration allows files of this machine, `[secrets] files = […]` in hosts.toml"
            }
            Self::Build(BuildError::Secret(_)) => "nothing was built",
            Self::Build(BuildError::Beyond(_)) => {
                "nothing was built; build on a later engine, or begin the Dockerfile with a line such as `# syntax=docker/dockerfile:1`, which fetches a frontend"
            }
            Self::Build(BuildError::NoRoom(_)) => {
                "nothing was built; `docker system df` says what takes it, `docker system prune` frees some"
            }
            Self::Engine(EngineError::DiskFull { .. })
            | Self::Import(ImportError::Engine(EngineError::DiskFull { .. }))
            | Self::Run(RunError::Engine(EngineError::DiskFull { .. })) => {
                "`docker system df` says what takes it, `docker system prune` frees some"
            }
            Self::Io { source, .. } | Self::Output(source) if source.kind() == io::ErrorKind::StorageFull => {
                "`df` says which disk is full"
            }
            Self::Lock(LockError::Registry { .. } | LockError::Remote { .. } | LockError::NoRef { .. }) => {
                "nothing was written"
            }
            Self::Engine(EngineError::Unreachable { .. }) => {
                "is the engine running, and may you use its socket? `docker version` tells; DOCKER_HOST names another one"
            }
            Self::Promote(PromoteError::Going { .. }) => {
                "run the command again when clean has ended: what it left can be promoted"
            }
            Self::Promote(PromoteError::Missing { channel: Some(channel), .. }) => {
                return Some(format!("run `boxwright build --channel {channel}` on this revision first"));
            }
            Self::Promote(PromoteError::Missing { .. }) => "run `boxwright build` on this revision first",
            Self::Promote(PromoteError::Gone { .. }) => {
                "`boxwright log TAG` names the promotions before, and --from TAG@N promotes one of them"
            }
            Self::Promote(PromoteError::Doubtful { .. }) => {
                "nothing was moved; whoever may push can write such a record. `boxwright log TAG` names the others; delete its tag from the ledger if it is not yours"
            }
            Self::Promote(
                PromoteError::Partly { .. } | PromoteError::Interrupted { .. } | PromoteError::Copy { .. },
            ) => "run the same command again: it goes on where it stopped",
            Self::Promote(PromoteError::Refused(
                Refusal::Older { .. } | Refusal::Withdrawn { .. } | Refusal::Behind { .. },
            )) => "--allow-older promotes it nevertheless",
            Self::Promote(PromoteError::Refused(Refusal::UnknownState { .. })) => {
                "where git can read the repository, it says what differs; `--from` promotes what stands, and needs no checkout"
            }
            Self::Promote(PromoteError::Refused(Refusal::UnknownRevision { .. })) => {
                "mend that; or --allow-older promotes it nevertheless, in whatever order"
            }
            Self::Promote(PromoteError::Refused(Refusal::Stranger { .. })) => {
                "`ledger` in boxwright.toml names another one: each project needs its own. If nobody promoted that, delete its tag from the ledger"
            }
            Self::Promote(PromoteError::Refused(Refusal::Immutable { .. })) => {
                "such a tag takes one set for ever, by the first record of it; if that is not yours, as `boxwright log TAG` tells, delete its tag from the ledger"
            }
            Self::Promote(PromoteError::Refused(Refusal::Local { .. })) => {
                "run it without --source, on boxes that were built without"
            }
            Self::Promote(PromoteError::Ledger(LedgerError::Drowned { .. })) => {
                "nothing was moved; `boxwright clean --forget TAG` takes away a record that no promotion wrote"
            }
            Self::Promote(PromoteError::ReadOnly) => {
                "nothing was moved; the credentials need the right to push there"
            }
            Self::Promote(PromoteError::Conflict { .. }) => {
                "run the command again to plan from what stands now"
            }
            Self::Run(RunError::Missing { .. })
            | Self::Export(ExportError::Run(RunError::Missing { .. })) => "run `boxwright build` first",
            Self::Archive(BadArchive { source: Fault::Io { source, .. }, .. })
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                "standard input and compressed archives are unpacked to temporary files; TMPDIR names a disk with more room"
            }
            Self::Archive(_) | Self::Import(ImportError::Image { .. } | ImportError::Pack(_)) => {
                "nothing of the archive was used"
            }
            Self::Import(ImportError::OtherKey { .. }) => {
                "`import --push` takes boxes of this very revision; without --push they are loaded into the engine"
            }
            Self::Import(ImportError::ReadOnly { .. }) => {
                "without --push the images are loaded into the engine"
            }
            Self::Build(BuildError::Unknown { .. }) => {
                "nothing was built or pushed; run the command again when the registry answers"
            }
            Self::Promote(PromoteError::Refused(Refusal::Ending { .. })) => {
                "if it is to stay, change the channel's `keep`; the sweeps after that let it be promoted again. If no clean announced that, delete the tag's `ends.` record from the ledger"
            }
            Self::Clean(CleanError::TooMuch { .. }) => {
                "nothing was deleted; look at what `boxwright clean --max-delete 100%` would do, and add --yes if it is meant"
            }
            Self::Clean(CleanError::TooMany { .. }) => {
                "nothing was deleted; if this is meant, --max-delete allows more"
            }
            Self::Clean(CleanError::TooFew { .. }) => {
                "nothing was deleted; `min` of [clean] in boxwright.toml says how many must be left"
            }
            Self::Clean(CleanError::Moved { .. }) => "nothing was deleted; make a new plan",
            Self::Clean(
                CleanError::Unreadable { .. } | CleanError::InvalidTag { .. } | CleanError::Dangling { .. },
            ) => {
                "nothing was deleted, for what it keeps is not known; push something readable over its tag, or remove that with your registry's own tools"
            }
            Self::Clean(_) | Self::Protect(_) => "nothing was deleted",
            Self::Revision(RevisionError::Unknown { .. }) => {
                "a shallow clone has few commits; `git fetch --unshallow` brings the rest"
            }
            Self::Revision(RevisionError::Unread(error)) => return Some(error.remedy()),
            _ if self.exit_code() == exit::UNREACHABLE => "`boxwright doctor` says what is wrong with it",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// Names what a misspelt name comes near, and all that is known.
fn meant(what: &str, name: &str, known: &[String]) -> String {
    let words: Vec<&str> = known.iter().map(String::as_str).collect();
    let all = match (what, words.is_empty()) {
        ("command", _) => "`boxwright --help` lists all".to_owned(),
        (_, true) => "boxwright.toml declares none".to_owned(),
        (_, false) => format!("boxwright.toml declares {}", words.join(", ")),
    };
    match nearest(name, &words) {
        Some(near) => format!("did you mean `{near}`? {all}"),
        None => all,
    }
}

/// Says how a secret or an ssh agent is declared.
fn declare(name: &str, what: &str, id: &str) -> String {
    let line = match (what, id) {
        ("secret", _) => {
            format!("secrets = {{ \"{id}\" = {{ env = \"VARIABLE\" }} }}, or {{ file = \"PATH\" }}")
        }
        (_, "default") => "ssh = true, which lends the agent at SSH_AUTH_SOCK".to_owned(),
        _ => format!("ssh = [\"{id}\"], which lends the agent at SSH_AUTH_SOCK"),
    };
    format!("declare it in [box.{name}]: {line}")
}

fn keys_hint(error: &KeysError) -> Option<String> {
    let text = match error {
        KeysError::NoDockerfile { .. } => {
            "`dockerfile = \"…\"` of the box says where it is; without one it is `Dockerfile` in the box's context"
        }
        KeysError::NoContext { .. } => "`context = \"…\"` of the box says where it is, from boxwright.toml",
        KeysError::NothingMatches { .. } => {
            "paths are relative to the box's context, and what .dockerignore excludes is not in it"
        }
        KeysError::Context { source: ContextError::InGit { .. }, .. } => IN_GIT,
        KeysError::Outside { .. } => "a box is built from files in or below the directory of boxwright.toml",
        KeysError::Context { source: ContextError::Io { source, .. }, .. }
            if source.kind() != io::ErrorKind::PermissionDenied =>
        {
            return None;
        }
        KeysError::Context { source: ContextError::Io { .. }, .. } => {
            "make it readable, or leave it out of the context by .dockerignore"
        }
        KeysError::Unused { .. } => "declare it in a stage that the box uses, or take it out of `args`",
        KeysError::PinFile { .. } => "paths of pins are relative to boxwright.toml",
        KeysError::NotLocked { .. } => {
            "run `boxwright lock` and commit boxwright.lock: every build then uses the same"
        }
        KeysError::SecretArgument { .. } => crate::config::SECRET_HINT,
        KeysError::Git { .. } => {
            "name `**/.git` in .dockerignore; or say that it is meant, by `allow = [\"git-directory\"]` of the box"
        }
        KeysError::SecretSent { .. } => "list it in .dockerignore, or keep it outside the context",
        KeysError::Undeclared { name, what, id, .. } => return Some(declare(name, what, id)),
        KeysError::Trigger { .. } => {
            "copy it in the box's own Dockerfile, where its digest and instructions enter the key"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
