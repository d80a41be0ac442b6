//! What the CI's environment says about this run: which run it is, what it was started from,
//! and whether whoever caused it may write to this repository.
//!
//! [`detect`] is pure: variables and the content of the event file in, facts out. Whether a run
//! is trusted is told by the event that caused it, never by the name of a branch. What decides
//! for each service stands in `docs/ci.md`.

mod escape;
mod forge;
mod gitlab;
mod jenkins;
mod outputs;
mod woodpecker;

use serde::Serialize;
use serde_json::Value;

pub use escape::{annotation, commands, harmless};
pub use outputs::{BoxFact, Outputs, publish, summarise, variables_clash};

use crate::model::{RunId, Timestamp};

/// The largest event file that is read, in bytes.
const EVENT_LIMIT: u64 = 32 * 1024 * 1024;

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
    /// `github`, `forgejo`, `gitea`, `gitlab`, `woodpecker`, `jenkins`, `other`, or `none`.
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
    /// Whether it may write.
    pub trust: Trust,
}

impl Ci {
    /// A run of which nothing is known yet but the service.
    fn of(service: &'static str, trust: Trust) -> Self {
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
            trust,
        }
    }
}

/// Finds out what the environment says. `event` is the content of the event file, where the
/// service has one and it could be read.
pub fn detect(variable: Variables<'_>, event: Option<&Value>) -> Ci {
    let is = |name: &str| variable(name).is_some_and(|value| value != "false" && value != "0");
    // Forgejo and Gitea take over the variables of GitHub Actions.
    if is("FORGEJO_ACTIONS") {
        forge::read("forgejo", variable, event)
    } else if is("GITEA_ACTIONS") {
        forge::read("gitea", variable, event)
    } else if is("GITHUB_ACTIONS") {
        forge::read("github", variable, event)
    } else if is("GITLAB_CI") {
        gitlab::read(variable)
    } else if variable("CI").is_some_and(|value| value == "woodpecker") {
        woodpecker::read(variable)
    } else if variable("JENKINS_URL").is_some() && variable("BUILD_NUMBER").is_some() {
        jenkins::read(variable)
    } else if is("CI") {
        Ci::of("other", Trust::Unknown("this CI does not say what caused the run".to_owned()))
    } else {
        Ci::of("none", Trust::Trusted)
    }
}

/// Finds out what this process's environment says.
pub fn observe() -> Ci {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    detect(&variable, event_file(&variable).as_ref())
}

/// Reads the event file. One that cannot be read says nothing, which no rule takes for trust.
fn event_file(variable: Variables<'_>) -> Option<Value> {
    use std::io::Read;
    let file = std::fs::File::open(variable("GITHUB_EVENT_PATH")?).ok()?;
    let mut text = String::new();
    file.take(EVENT_LIMIT).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Makes a name for a run outside CI.
pub fn random_run() -> String {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("local-{:012x}", hasher.finish() >> 16)
}

/// Joins a service's prefix and its number of a run.
fn run_id(prefix: &str, id: Option<String>) -> Option<RunId> {
    format!("{prefix}{}", id?).parse().ok()
}

/// Takes a commit id, and nothing else.
fn commit(text: Option<String>) -> Option<String> {
    text.filter(|text| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn number(text: Option<String>) -> Option<u64> {
    text?.parse().ok()
}

#[cfg(test)]
mod tests;
