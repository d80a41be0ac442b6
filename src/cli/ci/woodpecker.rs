//! Woodpecker CI (woodpecker-ci.org, "Built-in environment variables").

use super::facts::{Ci, Trust, Variables, commit, number, run_id};
use crate::model::printable;

/// What takes push access to cause.
const OURS: [&str; 5] = ["push", "tag", "release", "cron", "manual"];

/// Reads a step's variables. A restarted pipeline has a number of its own.
pub fn read(variable: Variables<'_>) -> Ci {
    let event = variable("CI_PIPELINE_EVENT").unwrap_or_default();
    let (fork, trust) = if OURS.contains(&event.as_str()) {
        (Some(false), Trust::Trusted)
    } else if event.starts_with("pull_request") {
        let why = "Woodpecker does not say whether a pull request comes from a fork";
        (None, Trust::Unknown(why.to_owned()))
    } else if event == "deployment" {
        let why = "Woodpecker does not say where what is deployed comes from";
        (None, Trust::Unknown(why.to_owned()))
    } else {
        let event = printable(&event, 40);
        (None, Trust::Untrusted(format!("anybody may be able to cause the event `{event}`")))
    };
    let branch = variable("CI_COMMIT_SOURCE_BRANCH").or_else(|| variable("CI_COMMIT_BRANCH"));
    let tag = variable("CI_COMMIT_TAG");
    Ci {
        run: run_id("wp-", variable("CI_PIPELINE_NUMBER")).map(|run| (run, 1)),
        revision: commit(variable("CI_COMMIT_SHA")),
        branch: branch.filter(|_| tag.is_none()),
        tag,
        change: number(variable("CI_COMMIT_PULL_REQUEST")),
        fork,
        actor: ["CI_PIPELINE_AUTHOR", "CI_COMMIT_AUTHOR"].into_iter().find_map(variable),
        event: Some(event).filter(|event| !event.is_empty()),
        ..Ci::of("woodpecker", trust)
    }
}
