//! CI services that are known by their variables and of which no rule says that a run is
//! trusted: what they tell of a fork lowers trust, what they tell of its absence is no promise.
//!
//! Each is documented by its service ("predefined", "built-in" or "environment" variables).

use super::facts::{Ci, Trust, Variables};

/// One service.
struct Service {
    name: &'static str,
    /// A variable that stands in each of its jobs.
    mark: &'static str,
    /// Finds out whether the change comes from another repository, where variables tell.
    fork: fn(Variables<'_>) -> Option<bool>,
}

const SERVICES: [Service; 23] = [
    Service { name: "azure", mark: "TF_BUILD", fork: azure },
    Service { name: "codebuild", mark: "CODEBUILD_BUILD_ID", fork: untold },
    Service { name: "teamcity", mark: "TEAMCITY_VERSION", fork: untold },
    Service { name: "bitbucket", mark: "BITBUCKET_BUILD_NUMBER", fork: untold },
    Service { name: "circleci", mark: "CIRCLECI", fork: circleci },
    Service { name: "buildkite", mark: "BUILDKITE", fork: buildkite },
    Service { name: "drone", mark: "DRONE", fork: untold },
    Service { name: "appveyor", mark: "APPVEYOR", fork: appveyor },
    Service { name: "travis", mark: "TRAVIS", fork: travis },
    Service { name: "semaphore", mark: "SEMAPHORE", fork: semaphore },
    Service { name: "cirrus", mark: "CIRRUS_CI", fork: untold },
    Service { name: "prow", mark: "PROW_JOB_ID", fork: untold },
    Service { name: "taskcluster", mark: "TASKCLUSTER_ROOT_URL", fork: untold },
    Service { name: "bamboo", mark: "bamboo_buildKey", fork: untold },
    Service { name: "gocd", mark: "GO_PIPELINE_NAME", fork: untold },
    Service { name: "codefresh", mark: "CF_BUILD_ID", fork: untold },
    Service { name: "harness", mark: "HARNESS_BUILD_ID", fork: untold },
    Service { name: "cloudbuild", mark: "BUILDER_OUTPUT", fork: untold },
    Service { name: "bitrise", mark: "BITRISE_IO", fork: untold },
    Service { name: "buddy", mark: "BUDDY_WORKSPACE_ID", fork: untold },
    Service { name: "screwdriver", mark: "SCREWDRIVER", fork: untold },
    Service { name: "vela", mark: "VELA", fork: untold },
    Service { name: "zuul", mark: "ZUUL_BUILD", fork: untold },
];

/// Reads the variables of every one of these services that is there.
pub fn read(variable: Variables<'_>) -> Vec<Ci> {
    let is = |name: &str| variable(name).is_some_and(|value| !super::says_no(&value));
    SERVICES.iter().filter(|service| is(service.mark)).map(|service| service.read(variable)).collect()
}

impl Service {
    fn read(&self, variable: Variables<'_>) -> Ci {
        let fork = (self.fork)(variable).filter(|is_fork| *is_fork);
        let trust = match fork {
            Some(_) => Trust::Untrusted("the change comes from a fork".to_owned()),
            None => Trust::Unknown(format!("{} does not say for sure what caused the run", self.name)),
        };
        Ci { fork, ..Ci::of(self.name, trust) }
    }
}

fn untold(_: Variables<'_>) -> Option<bool> {
    None
}

/// `System.PullRequest.IsFork`.
fn azure(variable: Variables<'_>) -> Option<bool> {
    variable("SYSTEM_PULLREQUEST_ISFORK").map(|value| value.eq_ignore_ascii_case("true"))
}

/// These are set for pull requests of forks alone.
fn circleci(variable: Variables<'_>) -> Option<bool> {
    let of_forks = ["CIRCLE_PR_NUMBER", "CIRCLE_PR_USERNAME", "CIRCLE_PR_REPONAME"];
    Some(of_forks.into_iter().any(|name| variable(name).is_some()))
}

fn buildkite(variable: Variables<'_>) -> Option<bool> {
    differ(variable("BUILDKITE_PULL_REQUEST_REPO"), variable("BUILDKITE_REPO"))
}

fn appveyor(variable: Variables<'_>) -> Option<bool> {
    differ(variable("APPVEYOR_PULL_REQUEST_HEAD_REPO_NAME"), variable("APPVEYOR_REPO_NAME"))
}

fn travis(variable: Variables<'_>) -> Option<bool> {
    differ(variable("TRAVIS_PULL_REQUEST_SLUG"), variable("TRAVIS_REPO_SLUG"))
}

fn semaphore(variable: Variables<'_>) -> Option<bool> {
    differ(variable("SEMAPHORE_GIT_PR_SLUG"), variable("SEMAPHORE_GIT_REPO_SLUG"))
}

/// Compares the repository of a change with this one; both may be addresses of any kind.
fn differ(from: Option<String>, here: Option<String>) -> Option<bool> {
    let (from, here) = (from?, here?);
    Some(owner_and_name(&from) != owner_and_name(&here))
}

/// The last two parts of a repository's address.
fn owner_and_name(address: &str) -> (Option<String>, Option<String>) {
    let address = address.trim_end_matches('/').to_lowercase();
    let address = address.strip_suffix(".git").unwrap_or(&address);
    let mut parts = address.rsplit(['/', ':']).map(str::to_owned);
    let name = parts.next();
    (parts.next(), name)
}
