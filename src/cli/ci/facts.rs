//! What is known of a run in a CI, and what services have in common in telling it.

use serde::Serialize;

use crate::model::{RunId, Timestamp, is_who};

/// Reads a variable; an empty one counts as absent.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Whether whoever caused a run may write to the repository it runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// They may.
    Trusted,
    /// They need not be able to, and this is why: nothing is written.
    Untrusted(String),
    /// The environment does not say. Only `--push always` writes.
    Unknown(String),
}

impl Trust {
    /// Returns the word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted(_) => "untrusted",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Orders the three: the more, the less may be done.
    pub(super) fn doubt(&self) -> u8 {
        match self {
            Self::Trusted => 0,
            Self::Unknown(_) => 1,
            Self::Untrusted(_) => 2,
        }
    }

    /// Returns why it is not trusted.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Trusted => None,
            Self::Untrusted(why) | Self::Unknown(why) => Some(why),
        }
    }
}

impl Serialize for Trust {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// What is known about a run in a CI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ci {
    /// `github`, `forgejo`, `gitea`, `gitlab`, `woodpecker`, `jenkins`, one of `others`, `other`,
    /// or `none`.
    pub service: &'static str,
    /// The event that caused it, as the service names it.
    pub event: Option<String>,
    /// The run and its attempt, from 1.
    #[serde(skip)]
    pub run: Option<(RunId, u32)>,
    /// The commit that the service started it for.
    pub revision: Option<String>,
    /// That commit's time, where the service tells it.
    #[serde(skip)]
    pub time: Option<Timestamp>,
    /// The branch, of a pull request its own.
    pub branch: Option<String>,
    /// The git tag.
    pub tag: Option<String>,
    /// The number of the pull or merge request.
    pub change: Option<u64>,
    /// Whether the change comes from another repository; nothing where that is not told.
    pub fork: Option<bool>,
    /// Who caused it, as the service names them.
    #[serde(skip)]
    pub actor: Option<String>,
    /// Whether it may write.
    pub trust: Trust,
}

impl Ci {
    /// A run of which nothing is known yet but the service.
    pub(super) fn of(service: &'static str, trust: Trust) -> Self {
        Self {
            service,
            event: None,
            run: None,
            revision: None,
            time: None,
            branch: None,
            tag: None,
            change: None,
            fork: None,
            actor: None,
            trust,
        }
    }
}

/// Returns who is behind a run: whom the CI names, or else the user and the machine.
pub fn who(ci: &Ci, variable: Variables<'_>) -> Option<String> {
    let user = || ["USER", "LOGNAME"].into_iter().find_map(variable);
    let name = match ci.service {
        "none" => {
            let user = user().unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
            Some(format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy()))
        }
        _ => ci.actor.clone(),
    };
    // What could not stand in a record is left out of it.
    name.filter(|name| is_who(name))
}

/// Tells whether a mark's value takes it back.
pub(super) fn says_no(value: &str) -> bool {
    value.eq_ignore_ascii_case("false") || value == "0"
}

/// Makes a name for a run outside CI.
pub fn random_run() -> String {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("local-{:012x}", hasher.finish() >> 16)
}

/// Joins a service's prefix and its number of a run.
pub(super) fn run_id(prefix: &str, id: Option<String>) -> Option<RunId> {
    format!("{prefix}{}", id?).parse().ok()
}

/// Takes a commit id, and nothing else.
pub(super) fn commit(text: Option<String>) -> Option<String> {
    text.filter(|text| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

pub(super) fn number(text: Option<String>) -> Option<u64> {
    text?.parse().ok()
}
