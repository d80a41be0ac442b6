//! GitLab CI (docs.gitlab.com, "Predefined CI/CD variables reference").

use super::facts::{Ci, Trust, Variables, commit, number, run_id};
use crate::model::printable;

/// What takes the Developer role in the project to cause.
const OURS: [&str; 6] = ["push", "web", "schedule", "api", "chat", "webide"];

/// Reads a job's variables.
pub fn read(variable: Variables<'_>) -> Ci {
    let source = variable("CI_PIPELINE_SOURCE").unwrap_or_default();
    let (fork, trust) = trust(&source, variable);
    let change = variable("CI_MERGE_REQUEST_IID").or_else(|| variable("CI_EXTERNAL_PULL_REQUEST_IID"));
    let branches = [
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
        "CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_NAME",
        "CI_COMMIT_BRANCH",
    ];
    Ci {
        // A retried job keeps its pipeline's id, and adds to its record.
        run: run_id("gl-", variable("CI_PIPELINE_ID")).map(|run| (run, 1)),
        revision: commit(variable("CI_COMMIT_SHA")),
        time: variable("CI_COMMIT_TIMESTAMP").and_then(|at| at.parse().ok()),
        branch: branches.into_iter().find_map(variable),
        tag: variable("CI_COMMIT_TAG"),
        change: number(change),
        fork,
        actor: variable("GITLAB_USER_LOGIN"),
        event: Some(source).filter(|source| !source.is_empty()),
        ..Ci::of("gitlab", trust)
    }
}

fn trust(source: &str, variable: Variables<'_>) -> (Option<bool>, Trust) {
    // A child pipeline of a merge request has another source, and these variables.
    if source == "merge_request_event" || variable("CI_MERGE_REQUEST_IID").is_some() {
        // In a fork's own project the registry of the variables is the fork's, too.
        let from = variable("CI_MERGE_REQUEST_SOURCE_PROJECT_ID");
        let to = [variable("CI_MERGE_REQUEST_PROJECT_ID"), variable("CI_PROJECT_ID")];
        return compare(from.as_deref(), &[to[0].as_deref(), to[1].as_deref()], "merge request");
    }
    if source == "external_pull_request_event" {
        let from = variable("CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY");
        let to = variable("CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY");
        return compare(from.as_deref(), &[to.as_deref()], "pull request");
    }
    if OURS.contains(&source) {
        return (Some(false), Trust::Trusted);
    }
    // Started by a token or by another pipeline, whose cause is not told: a protected ref is one
    // that only members may move.
    if variable("CI_COMMIT_REF_PROTECTED").is_some_and(|value| value == "true") {
        return (Some(false), Trust::Trusted);
    }
    let source = printable(source, 40);
    (None, Trust::Untrusted(format!("a pipeline by `{source}` on a ref that is not protected")))
}

fn compare(from: Option<&str>, to: &[Option<&str>], what: &str) -> (Option<bool>, Trust) {
    match from {
        Some(_) if to.iter().all(|to| *to == from) => (Some(false), Trust::Trusted),
        Some(_) if to.iter().all(Option::is_some) => {
            (Some(true), Trust::Untrusted(format!("the {what} comes from a fork")))
        }
        _ => (None, Trust::Untrusted(format!("the variables do not say where the {what} comes from"))),
    }
}
