//! What the CI's environment says about this run.

use crate::model::RunId;

/// Returns the run's name and attempt from CI variables, which `variable` reads; nothing
/// outside a known CI.
pub fn run_of(variable: impl Fn(&str) -> Option<String>) -> Option<(RunId, u32)> {
    let named = |id: &str, prefix: &str| format!("{prefix}{}", variable(id)?).parse().ok();
    let number = |name: &str| variable(name).and_then(|text| text.parse().ok()).unwrap_or(1);
    // GitHub Actions, and Forgejo and Gitea, which take over its variables.
    if let Some(run) = named("GITHUB_RUN_ID", "gh-") {
        return Some((run, number("GITHUB_RUN_ATTEMPT")));
    }
    // A retried GitLab job keeps its pipeline's id; each job is its own attempt at nothing.
    named("CI_PIPELINE_ID", "gl-").map(|run| (run, 1))
}

/// Makes a name for a run outside CI.
pub fn random_run() -> String {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("local-{:012x}", hasher.finish() >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expect: Option<(&str, u32)>) {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let run = run_of(variable).map(|(run, attempt)| (run.to_string(), attempt));
        assert_eq!(run, expect.map(|(run, attempt)| (run.to_owned(), attempt)));
    }

    #[test]
    fn reads_run_and_attempt() {
        check(&[("GITHUB_RUN_ID", "123"), ("GITHUB_RUN_ATTEMPT", "2")], Some(("gh-123", 2)));
        check(&[("CI_PIPELINE_ID", "77")], Some(("gl-77", 1)));
        check(&[("GITHUB_RUN_ID", "../x")], None);
        check(&[], None);
        assert!(random_run().parse::<RunId>().is_ok());
    }
}
