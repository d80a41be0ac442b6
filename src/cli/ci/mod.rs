//! What the CI's environment says about this run: which run it is, what it was started from,
//! and whether whoever caused it may write to this repository.
//!
//! [`detect`] is pure: variables and the content of the event file in, facts out. Whether a run
//! is trusted is told by the event that caused it, never by the name of a branch. What decides
//! for each service stands in `docs/ci.md`.

mod escape;
mod facts;
mod forge;
mod gitlab;
mod jenkins;
mod others;
mod outputs;
mod woodpecker;

use serde_json::Value;

use self::facts::says_no;
use super::error::CliError;
use crate::model::printable;

pub use escape::{annotation, commands, harmless};
pub use facts::{Ci, Trust, Variables, random_run, who};
pub use outputs::{BoxFact, Outputs, publish, summarise, variables_clash};

/// The largest event file that is read, in bytes.
const EVENT_LIMIT: u64 = 32 * 1024 * 1024;

/// Finds out what the environment says. `event` is the content of the event file, where the
/// service has one and it could be read.
///
/// Where several services have left their marks, the first one is believed what it says of the
/// run, and all of them what they say against it: a job of one may be made to look like another's.
pub fn detect(variable: Variables<'_>, event: Option<&Value>) -> Ci {
    let is = |name: &str| variable(name).is_some_and(|value| !says_no(&value));
    let mut found = Vec::new();
    // Forgejo and Gitea take over the variables of GitHub Actions.
    if is("FORGEJO_ACTIONS") {
        found.push(forge::read("forgejo", variable, event));
    } else if is("GITEA_ACTIONS") {
        found.push(forge::read("gitea", variable, event));
    } else if is("GITHUB_ACTIONS") {
        found.push(forge::read("github", variable, event));
    }
    if is("GITLAB_CI") {
        found.push(gitlab::read(variable));
    }
    if variable("CI").is_some_and(|value| value == "woodpecker") {
        found.push(woodpecker::read(variable));
    }
    if jenkins::is_here(variable) {
        found.push(jenkins::read(variable));
    }
    found.extend(others::read(variable));
    let least = found.iter().map(|ci| ci.trust.clone()).max_by_key(Trust::doubt);
    let first = found.into_iter().next();
    match (first, least) {
        (Some(ci), Some(trust)) => Ci { trust, ..ci },
        _ if is("CI") || is("CONTINUOUS_INTEGRATION") || variable("BUILD_NUMBER").is_some() => {
            Ci::of("other", Trust::Unknown("this CI does not say what caused the run".to_owned()))
        }
        _ => Ci::of("none", Trust::Trusted),
    }
}

/// Puts the word of the job's owner, `BOXWRIGHT_TRUST`, over what was found: it makes of
/// *unknown* what it says, and lowers all else. Nothing turns *untrusted* into anything.
pub fn judged(found: Trust, word: Option<&str>) -> Result<Trust, CliError> {
    let why = || "BOXWRIGHT_TRUST says so".to_owned();
    let said = match word {
        None | Some("") => return Ok(found),
        Some("trusted") => Trust::Trusted,
        Some("unknown") => Trust::Unknown(why()),
        Some("untrusted") => Trust::Untrusted(why()),
        Some(other) => {
            let text = printable(other, 60);
            let hint = "expected trusted, unknown or untrusted";
            return Err(CliError::Usage(format!("BOXWRIGHT_TRUST={text}: {hint}")));
        }
    };
    Ok(match &found {
        Trust::Unknown(_) if said == Trust::Trusted => said,
        _ if said.doubt() > found.doubt() => said,
        _ => found,
    })
}

/// Finds out what this process's environment says.
pub fn observe() -> Result<Ci, CliError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let ci = detect(&variable, event_file(&variable).as_ref());
    // What is no text is no word for trust either.
    let word = std::env::var_os("BOXWRIGHT_TRUST").map(|word| word.to_string_lossy().into_owned());
    let trust = judged(ci.trust.clone(), word.as_deref())?;
    Ok(Ci { trust, ..ci })
}

/// Reads the event file. One that cannot be read says nothing, which no rule takes for trust.
fn event_file(variable: Variables<'_>) -> Option<Value> {
    use std::io::Read;
    let file = std::fs::File::open(variable("GITHUB_EVENT_PATH")?).ok()?;
    let mut text = String::new();
    file.take(EVENT_LIMIT).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests;
