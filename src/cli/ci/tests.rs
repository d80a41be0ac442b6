//! Tables: for each service what its variables and event files say.

use super::*;

const SHA: &str = "5f3c0b1e8a7d4c2f9e6b1a0d3c5e7f9a1b2c3d4e";

fn detected(variables: &[(&str, &str)], event: Option<&Value>) -> Ci {
    let variable =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    detect(&variable, event)
}

fn recorded(file: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ci").join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What a run of GitHub Actions has in its environment for this event.
fn github<'a>(event: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let fixed = [
        ("CI", "true"),
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", event),
        ("GITHUB_RUN_ID", "1658821493"),
        ("GITHUB_RUN_ATTEMPT", "1"),
        ("GITHUB_SHA", SHA),
        ("GITHUB_ACTOR", "octocat"),
    ];
    // What stands last would be passed over: the first one counts.
    more.iter().copied().chain(fixed).collect()
}

/// `expect` is the word for trust, and a part of why.
fn check(file: &str, fork: Option<bool>, expect: (&str, &str)) {
    let event = file.split('/').nth(1).unwrap().split('.').next().unwrap();
    let ci = detected(&github(event, &[]), Some(&recorded(&format!("{file}.json"))));
    assert_eq!(ci.fork, fork, "{file}");
    assert_eq!(ci.trust.word(), expect.0, "{file}: {:?}", ci.trust);
    assert!(ci.trust.why().unwrap_or_default().contains(expect.1), "{file}: {:?}", ci.trust);
}

#[test]
fn github_trusts_by_the_event() {
    let trusted = ("trusted", "");
    let fork = ("untrusted", "comes from a fork");
    for event in ["push.branch", "push.tag", "schedule", "workflow_dispatch", "merge_group", "release"] {
        check(&format!("github/{event}"), Some(false), trusted);
    }
    check("github/pull_request.same-repository", Some(false), trusted);
    check("github/pull_request.renamed", Some(false), trusted);
    check("github/pull_request.fork", Some(true), fork);
    check("github/pull_request.deleted-fork", Some(true), ("untrusted", "gone"));
    check("github/pull_request_review.fork", Some(true), fork);
    // Its token may write and its secrets are there, whoever wrote what it checks out.
    check("github/pull_request_target.fork", Some(true), fork);
    check("github/pull_request_target.same-repository", Some(false), trusted);
    check("github/workflow_run.push", Some(false), trusted);
    check("github/workflow_run.same-repository", Some(false), trusted);
    check("github/workflow_run.fork", Some(true), fork);
    check("github/workflow_run.issue_comment", Some(false), ("untrusted", "issue_comment"));
    check("github/issue_comment", None, ("untrusted", "issue_comment"));
    for event in ["pull_request", "push", "workflow_run"] {
        check(&format!("github/{event}.dependabot"), Some(false), ("untrusted", "Dependabot"));
    }
}

#[test]
fn the_actor_counts_and_a_branch_name_never() {
    let event = recorded("github/push.branch.json");
    let by_robot = github("push", &[("GITHUB_ACTOR", "dependabot[bot]")]);
    assert_eq!(detected(&by_robot, Some(&event)).trust.word(), "untrusted");
    // The one who caused the run before counts, whoever is told to have sent the event.
    let mut event = recorded("github/workflow_run.dependabot.json");
    event["sender"]["login"] = "octocat".into();
    let ci = detected(&github("workflow_run", &[]), Some(&event));
    assert!(ci.trust.why().unwrap_or_default().contains("the workflow run before"), "{:?}", ci.trust);
    let fork = recorded("github/pull_request.fork.json");
    for (name, value) in
        [("GITHUB_HEAD_REF", "main"), ("GITHUB_REF", "refs/heads/main"), ("GITHUB_REF_NAME", "main")]
    {
        let ci = detected(&github("pull_request", &[(name, value)]), Some(&fork));
        assert_eq!(ci.trust.word(), "untrusted", "{name}");
    }
}

#[test]
fn an_event_that_cannot_be_read_or_is_half_there_is_no_ground_for_trust() {
    for event in ["pull_request", "pull_request_target", "workflow_run", "", "fork", "watch", "discussion"] {
        for payload in [None, Some(serde_json::json!({})), Some(serde_json::json!([1]))] {
            let ci = detected(&github(event, &[]), payload.as_ref());
            assert_eq!(ci.trust.word(), "untrusted", "{event}");
        }
    }
    // A name that another repository has taken over does not make up for another id.
    let mut event = recorded("github/pull_request.fork.json");
    event["pull_request"]["head"]["repo"]["full_name"] = "octo/boxes".into();
    assert_eq!(detected(&github("pull_request", &[]), Some(&event)).trust.word(), "untrusted");
    for place in ["head", "base"] {
        let mut event = recorded("github/pull_request.same-repository.json");
        event["pull_request"][place]["repo"] = serde_json::json!({});
        assert_eq!(detected(&github("pull_request", &[]), Some(&event)).trust.word(), "untrusted");
    }
}

#[test]
fn github_tells_run_attempt_source_and_change() {
    let variables = github(
        "pull_request",
        &[
            ("GITHUB_RUN_ATTEMPT", "3"),
            ("GITHUB_HEAD_REF", "topic"),
            ("GITHUB_REF_TYPE", "branch"),
            ("GITHUB_REF_NAME", "12/merge"),
        ],
    );
    let ci = detected(&variables, Some(&recorded("github/pull_request.fork.json")));
    assert_eq!(ci.run, Some(("gh-1658821493".parse().unwrap(), 3)));
    assert_eq!((ci.branch.as_deref(), ci.tag, ci.change), (Some("topic"), None, Some(12)));
    assert_eq!(
        (ci.service, ci.event.as_deref(), ci.revision.as_deref()),
        ("github", Some("pull_request"), Some(SHA))
    );

    let variables = github("push", &[("GITHUB_REF_TYPE", "tag"), ("GITHUB_REF_NAME", "r2026.07")]);
    let ci = detected(&variables, Some(&recorded("github/push.tag.json")));
    assert_eq!((ci.branch, ci.tag.as_deref()), (None, Some("r2026.07")));
    assert_eq!(ci.time, Some("2026-07-01T08:00:00Z".parse().unwrap()));
    let after =
        detected(&github("workflow_run", &[]), Some(&recorded("github/workflow_run.same-repository.json")));
    assert_eq!(after.change, Some(12));

    let odd = github("push", &[("GITHUB_RUN_ID", "../x"), ("GITHUB_SHA", "main")]);
    let ci = detected(&odd, None);
    assert_eq!((ci.run, ci.revision), (None, None));
    let no_commit = "g".repeat(40);
    assert_eq!(detected(&github("push", &[("GITHUB_SHA", &no_commit)]), None).revision, None);
}

#[test]
fn forgejo_and_gitea_are_told_apart_and_read_alike() {
    let of = |service, event, file: &str| {
        let marks: &[(&str, &str)] = match service {
            "forgejo" => &[("FORGEJO_ACTIONS", "true"), ("GITEA_ACTIONS", "true")],
            _ => &[("GITEA_ACTIONS", "true")],
        };
        detected(&github(event, marks), Some(&recorded(&format!("{service}/{file}.json"))))
    };
    let ci = of("forgejo", "pull_request", "pull_request.fork");
    assert_eq!((ci.service, ci.trust.word(), ci.fork), ("forgejo", "untrusted", Some(true)));
    assert_eq!(ci.run, Some(("fj-1658821493".parse().unwrap(), 1)));
    assert_eq!(of("forgejo", "pull_request", "pull_request.same-repository").trust, Trust::Trusted);
    let ci = of("gitea", "pull_request", "pull_request.fork");
    assert_eq!((ci.service, ci.trust.word()), ("gitea", "untrusted"));
    let ci = of("gitea", "push", "push.branch");
    assert_eq!((ci.run, ci.trust), (Some(("gt-1658821493".parse().unwrap(), 1)), Trust::Trusted));
}

#[test]
fn gitlab_compares_projects_and_looks_at_protection_where_the_cause_is_not_told() {
    let check = |source: &str, more: &[(&str, &str)], fork: Option<bool>, expect: &str| {
        let fixed = [
            ("CI", "true"),
            ("GITLAB_CI", "true"),
            ("CI_PIPELINE_ID", "77"),
            ("CI_PROJECT_ID", "5"),
            ("CI_PIPELINE_SOURCE", source),
            ("CI_COMMIT_BRANCH", "main"),
        ];
        let ci = detected(&[more, &fixed].concat(), None);
        assert_eq!((ci.trust.word(), ci.fork), (expect, fork), "{source} {more:?}: {:?}", ci.trust);
        assert_eq!(ci.run, Some(("gl-77".parse().unwrap(), 1)));
    };
    for source in ["push", "web", "schedule", "api", "chat", "webide"] {
        check(source, &[], Some(false), "trusted");
    }
    let request = |from, to| {
        [
            ("CI_MERGE_REQUEST_IID", "3"),
            ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", from),
            ("CI_MERGE_REQUEST_PROJECT_ID", to),
        ]
    };
    check("merge_request_event", &request("5", "5"), Some(false), "trusted");
    // A member runs a fork's pipeline in the parent project, and the fork runs its own.
    check("merge_request_event", &request("9", "5"), Some(true), "untrusted");
    check(
        "merge_request_event",
        &[&request("9", "5")[..], &[("CI_PROJECT_ID", "9")]].concat(),
        Some(true),
        "untrusted",
    );
    check(
        "merge_request_event",
        &[&request("5", "5")[..], &[("CI_PROJECT_ID", "9")]].concat(),
        Some(true),
        "untrusted",
    );
    check("merge_request_event", &[], None, "untrusted");
    check("merge_request_event", &[("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "5")], None, "untrusted");
    // A child pipeline of a merge request is one of it; protection does not make up for that.
    let child = [&request("9", "5")[..], &[("CI_COMMIT_REF_PROTECTED", "true")]].concat();
    check("parent_pipeline", &child, Some(true), "untrusted");
    for source in ["parent_pipeline", "pipeline", "trigger", "ondemand_dast_scan", ""] {
        check(source, &[("CI_COMMIT_REF_PROTECTED", "true")], Some(false), "trusted");
        check(source, &[("CI_COMMIT_REF_PROTECTED", "false")], None, "untrusted");
        check(source, &[], None, "untrusted");
    }
    let external = |from| {
        [
            ("CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY", from),
            ("CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY", "octo/boxes"),
        ]
    };
    check("external_pull_request_event", &external("octo/boxes"), Some(false), "trusted");
    check("external_pull_request_event", &external("mallory/boxes"), Some(true), "untrusted");
    check("external_pull_request_event", &[], None, "untrusted");

    let ci = detected(
        &[
            ("GITLAB_CI", "true"),
            ("CI_PIPELINE_SOURCE", "push"),
            ("CI_COMMIT_SHA", SHA),
            ("CI_COMMIT_TAG", "r2026.07"),
            ("CI_COMMIT_TIMESTAMP", "2026-07-01T10:00:00+02:00"),
        ],
        None,
    );
    assert_eq!((ci.tag.as_deref(), ci.branch, ci.revision.as_deref()), (Some("r2026.07"), None, Some(SHA)));
    assert_eq!(ci.time, Some("2026-07-01T08:00:00Z".parse().unwrap()));
    for kind in ["MERGE_REQUEST", "EXTERNAL_PULL_REQUEST"] {
        let [number, branch] = ["IID", "SOURCE_BRANCH_NAME"].map(|what| format!("CI_{kind}_{what}"));
        let variables =
            [("GITLAB_CI", "true"), (&number, "12"), (&branch, "topic"), ("CI_COMMIT_BRANCH", "x")];
        let ci = detected(&variables, None);
        assert_eq!((ci.change, ci.branch.as_deref()), (Some(12), Some("topic")), "{kind}");
    }
}

#[test]
fn woodpecker_does_not_tell_of_forks() {
    let check = |event: &str, expect: &str| {
        let ci = detected(
            &[
                ("CI", "woodpecker"),
                ("CI_PIPELINE_NUMBER", "8"),
                ("CI_PIPELINE_EVENT", event),
                ("CI_COMMIT_SHA", SHA),
                ("CI_COMMIT_BRANCH", "main"),
                ("CI_COMMIT_PULL_REQUEST", "4"),
            ],
            None,
        );
        assert_eq!(ci.trust.word(), expect, "{event}");
        assert_eq!((ci.run, ci.change), (Some(("wp-8".parse().unwrap(), 1)), Some(4)));
    };
    for event in ["push", "tag", "release", "deployment", "cron", "manual"] {
        check(event, "trusted");
    }
    for event in ["pull_request", "pull_request_closed", "pull_request_metadata"] {
        check(event, "unknown");
    }
    check("something-new", "untrusted");
    let of = |more: &[(&str, &str)]| {
        let fixed = [("CI", "woodpecker"), ("CI_PIPELINE_EVENT", "push"), ("CI_COMMIT_BRANCH", "main")];
        let ci = detected(&[more, &fixed].concat(), None);
        (ci.branch, ci.tag)
    };
    assert_eq!(of(&[]), (Some("main".to_owned()), None));
    assert_eq!(of(&[("CI_COMMIT_SOURCE_BRANCH", "topic")]).0.as_deref(), Some("topic"));
    assert_eq!(of(&[("CI_COMMIT_TAG", "r1.0")]), (None, Some("r1.0".to_owned())));
}

#[test]
fn jenkins_names_the_forked_repository() {
    let check = |more: &[(&str, &str)], fork: Option<bool>, expect: &str| {
        let fixed = [
            ("JENKINS_URL", "https://ci.example.org/"),
            ("BUILD_NUMBER", "153"),
            ("JOB_NAME", "boxes/main"),
            ("GIT_COMMIT", SHA),
        ];
        let ci = detected(&[more, &fixed].concat(), None);
        assert_eq!((ci.trust.word(), ci.fork), (expect, fork), "{more:?}");
        ci
    };
    let ci = check(&[("BRANCH_NAME", "main")], Some(false), "trusted");
    // The first digits of the SHA-256 of `boxes/main`, by sha256sum.
    assert_eq!(ci.run, Some(("jk-dc8d80e0-153".parse().unwrap(), 1)));
    assert_eq!(ci.branch.as_deref(), Some("main"));
    let ci = check(
        &[("CHANGE_ID", "12"), ("CHANGE_BRANCH", "topic"), ("BRANCH_NAME", "PR-12")],
        Some(false),
        "trusted",
    );
    assert_eq!((ci.change, ci.branch.as_deref()), (Some(12), Some("topic")));
    let ci = check(&[("BRANCH_NAME", "r1.0"), ("TAG_NAME", "r1.0")], Some(false), "trusted");
    assert_eq!((ci.branch, ci.tag.as_deref()), (None, Some("r1.0")));
    check(&[("CHANGE_ID", "12"), ("CHANGE_FORK", "mallory")], Some(true), "untrusted");
    check(&[("ghprbPullId", "12")], None, "unknown");
    check(&[("gitlabMergeRequestIid", "12")], None, "unknown");
}

#[test]
fn elsewhere_a_person_is_trusted_and_an_unknown_ci_is_not() {
    let ci = detected(&[], None);
    assert_eq!((ci.service, ci.trust, ci.run), ("none", Trust::Trusted, None));
    assert_eq!(detected(&[("CI", "false")], None).service, "none");
    let ci = detected(&[("CI", "true")], None);
    assert_eq!((ci.service, ci.trust.word()), ("other", "unknown"));
    assert!(random_run().parse::<RunId>().is_ok());
}
