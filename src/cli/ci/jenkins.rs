//! Jenkins (its "Global Variable Reference": core, git and multibranch plugins).

use super::facts::{Ci, Trust, Variables, commit, number};
use crate::model::Digest;

/// Variables of plugins that build changes in jobs of one branch, or from everybody, and do not
/// tell for sure where a change comes from.
const PLUGINS: [&str; 16] = [
    // GitHub pull request builder, GitHub integration.
    "ghprbPullId",
    "GITHUB_PR_NUMBER",
    // GitLab.
    "gitlabMergeRequestIid",
    "gitlabMergeRequestId",
    "gitlabActionType",
    // Gerrit trigger, Gerrit code review: whoever may sign in may propose a change.
    "GERRIT_CHANGE_NUMBER",
    "GERRIT_CHANGE_ID",
    "GERRIT_PATCHSET_REVISION",
    "GERRIT_EVENT_TYPE",
    // Bitbucket's and Stash's builders of pull requests, and the one that pushes them.
    "pullRequestId",
    "sourceRepositoryOwner",
    "BITBUCKET_PULL_REQUEST_ID",
    "BITBUCKET_PULL_REQUEST_LINK",
    "BITBUCKET_SOURCE_BRANCH",
    "BITBUCKET_PAYLOAD",
    // Phabricator.
    "PHID",
];

/// Tells whether this is a build of Jenkins. An installation that was not told its own address
/// has no `JENKINS_URL`.
pub fn is_here(variable: Variables<'_>) -> bool {
    let marks = ["JENKINS_URL", "JENKINS_HOME", "HUDSON_URL", "HUDSON_HOME", "EXECUTOR_NUMBER"];
    variable("BUILD_NUMBER").is_some() && marks.into_iter().any(|name| variable(name).is_some())
}

/// Reads a build's variables. A build that is run again has a number of its own.
pub fn read(variable: Variables<'_>) -> Ci {
    let change = variable("CHANGE_ID");
    // Set to the name of the forked repository if the change comes from one, else unset.
    let fork = variable("CHANGE_FORK").is_some();
    let told_by_plugin = PLUGINS.into_iter().find(|name| variable(name).is_some());
    let trust = match told_by_plugin {
        _ if fork => Trust::Untrusted("the change request comes from a fork".to_owned()),
        Some(name) => Trust::Unknown(format!("{name} does not tell whether the change comes from outside")),
        None => Trust::Trusted,
    };
    // A job's name may hold anything; its number counts within it.
    let job = Digest::of(variable("JOB_NAME").unwrap_or_default().as_bytes());
    let run = variable("BUILD_NUMBER")
        .and_then(|number| format!("jk-{}-{number}", job.hex().get(..8)?).parse().ok())
        .map(|run| (run, 1));
    let tag = variable("TAG_NAME");
    let branch = ["CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH"].into_iter().find_map(variable);
    Ci {
        run,
        revision: commit(variable("GIT_COMMIT")),
        branch: branch.filter(|_| tag.is_none()),
        tag,
        fork: told_by_plugin.is_none().then_some(fork),
        // The first is of a plugin.
        actor: ["BUILD_USER_ID", "CHANGE_AUTHOR"].into_iter().find_map(variable),
        event: Some(if change.is_some() { "change request" } else { "build" }.to_owned()),
        change: number(change),
        ..Ci::of("jenkins", trust)
    }
}
