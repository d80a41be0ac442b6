//! Tables: for each service what its variables and event files say.

use super::*;
use crate::model::RunId;

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
    for event in ["push", "tag", "release", "cron", "manual"] {
        check(event, "trusted");
    }
    for event in ["pull_request", "pull_request_closed", "pull_request_metadata", "deployment"] {
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
    for plugin in [
        "ghprbPullId",
        "GITHUB_PR_NUMBER",
        "gitlabMergeRequestIid",
        "gitlabActionType",
        "GERRIT_CHANGE_NUMBER",
        "GERRIT_EVENT_TYPE",
        "pullRequestId",
        "BITBUCKET_PULL_REQUEST_ID",
        "BITBUCKET_PAYLOAD",
        "PHID",
    ] {
        check(&[(plugin, "12")], None, "unknown");
        check(&[(plugin, "12"), ("CHANGE_FORK", "mallory")], None, "untrusted");
    }
    // An installation that was not told its own address has no JENKINS_URL.
    for mark in ["JENKINS_HOME", "HUDSON_URL", "HUDSON_HOME", "EXECUTOR_NUMBER"] {
        let of =
            |more: &[(&str, &str)]| detected(&[&[(mark, "x"), ("BUILD_NUMBER", "1")], more].concat(), None);
        assert_eq!((of(&[]).service, of(&[]).trust.word()), ("jenkins", "trusted"), "{mark}");
        assert_eq!(of(&[("CHANGE_FORK", "mallory")]).trust.word(), "untrusted", "{mark}");
    }
}

/// For each service a push, which nobody vouches for, and where it tells of forks one of those.
#[test]
fn services_that_do_not_tell_are_unknown_and_a_fork_is_a_fork() {
    let check = |service: &str, variables: &[(&str, &str)], expect: &str| {
        // Most set `CI` as well, and some do not.
        for more in [&[][..], &[("CI", "true")]] {
            let ci = detected(&[variables, more].concat(), None);
            assert_eq!((ci.service, ci.trust.word()), (service, expect), "{variables:?}");
            assert_eq!(ci.fork, (expect == "untrusted").then_some(true), "{variables:?}");
        }
    };
    for (service, mark) in [
        ("azure", ("TF_BUILD", "True")),
        ("codebuild", ("CODEBUILD_BUILD_ID", "boxes:1a2b")),
        ("teamcity", ("TEAMCITY_VERSION", "2024.03")),
        ("bitbucket", ("BITBUCKET_BUILD_NUMBER", "7")),
        ("circleci", ("CIRCLECI", "true")),
        ("buildkite", ("BUILDKITE", "true")),
        ("drone", ("DRONE", "true")),
        ("appveyor", ("APPVEYOR", "True")),
        ("travis", ("TRAVIS", "true")),
        ("semaphore", ("SEMAPHORE", "true")),
        ("cirrus", ("CIRRUS_CI", "true")),
        ("prow", ("PROW_JOB_ID", "1a2b")),
        ("taskcluster", ("TASKCLUSTER_ROOT_URL", "https://tc.example")),
        ("bamboo", ("bamboo_buildKey", "BX-1")),
        ("gocd", ("GO_PIPELINE_NAME", "boxes")),
        ("codefresh", ("CF_BUILD_ID", "1a2b")),
        ("harness", ("HARNESS_BUILD_ID", "1a2b")),
        ("cloudbuild", ("BUILDER_OUTPUT", "/builder/outputs")),
        ("bitrise", ("BITRISE_IO", "true")),
        ("buddy", ("BUDDY_WORKSPACE_ID", "1")),
        ("screwdriver", ("SCREWDRIVER", "true")),
        ("vela", ("VELA", "true")),
        ("zuul", ("ZUUL_BUILD", "1a2b")),
    ] {
        check(service, &[mark], "unknown");
    }
    let azure = ("TF_BUILD", "True");
    check("azure", &[azure, ("BUILD_REASON", "IndividualCI")], "unknown");
    check("azure", &[azure, ("SYSTEM_PULLREQUEST_ISFORK", "True")], "untrusted");
    check("azure", &[azure, ("SYSTEM_PULLREQUEST_ISFORK", "False")], "unknown");
    check("circleci", &[("CIRCLECI", "true"), ("CIRCLE_PR_USERNAME", "mallory")], "untrusted");
    check("circleci", &[("CIRCLECI", "true"), ("CIRCLE_PULL_REQUEST", "https://x/pull/1")], "unknown");
    let buildkite = |from, expect| {
        let here = ("BUILDKITE_REPO", "git@github.com:octo/boxes.git");
        check("buildkite", &[("BUILDKITE", "true"), here, ("BUILDKITE_PULL_REQUEST_REPO", from)], expect);
    };
    buildkite("https://github.com/Octo/boxes", "unknown");
    buildkite("git://github.com/mallory/boxes.git", "untrusted");
    buildkite("https://github.com/octo/other.git", "untrusted");
    for (service, mark, from, here) in [
        ("appveyor", "APPVEYOR", "APPVEYOR_PULL_REQUEST_HEAD_REPO_NAME", "APPVEYOR_REPO_NAME"),
        ("travis", "TRAVIS", "TRAVIS_PULL_REQUEST_SLUG", "TRAVIS_REPO_SLUG"),
        ("semaphore", "SEMAPHORE", "SEMAPHORE_GIT_PR_SLUG", "SEMAPHORE_GIT_REPO_SLUG"),
    ] {
        let of = |slug| [(mark, "true"), (from, slug), (here, "octo/boxes")];
        check(service, &of("mallory/boxes"), "untrusted");
        check(service, &of("octo/boxes"), "unknown");
    }
}

#[test]
fn a_deployment_is_of_whom_its_event_says() {
    check("github/deployment", None, ("unknown", "which repository"));
    check("github/deployment_status", None, ("unknown", "which repository"));
    check("github/deployment_status.same-repository", Some(false), ("trusted", ""));
    check("github/deployment_status.fork", Some(true), ("untrusted", "comes from a fork"));
    // A check's pull requests tell as well, and a ref with a good name does not.
    let mut event = recorded("github/deployment_status.json");
    event["check_run"] = serde_json::json!({ "pull_requests": [
        { "head": { "repo": { "id": 2000 } }, "base": { "repo": { "id": 1000 } } },
    ] });
    assert_eq!(detected(&github("deployment_status", &[]), Some(&event)).trust.word(), "untrusted");
    for payload in [None, Some(serde_json::json!({ "workflow_run": {} }))] {
        let ci = detected(&github("deployment", &[]), payload.as_ref());
        assert_ne!(ci.trust.word(), "trusted");
    }
}

#[test]
fn a_job_that_looks_like_two_services_is_believed_what_is_said_against_it() {
    let push = [("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "push"), ("GITHUB_RUN_ID", "1")];
    let check = |more: &[(&str, &str)], expect: (&str, &str)| {
        let ci = detected(&[&push[..], more].concat(), None);
        assert_eq!((ci.service, ci.trust.word()), expect, "{more:?}");
    };
    check(&[], ("github", "trusted"));
    check(&[("CI", "true")], ("github", "trusted"));
    check(&[("TF_BUILD", "True")], ("github", "unknown"));
    let fork = [("GITLAB_CI", "true"), ("CI_PIPELINE_SOURCE", "merge_request_event")];
    check(&fork, ("github", "untrusted"));
    check(&[("JENKINS_URL", "x"), ("BUILD_NUMBER", "1"), ("CHANGE_FORK", "m")], ("github", "untrusted"));
}

#[test]
fn the_owner_of_a_job_settles_what_is_not_known_and_may_lower_all() {
    let levels = || [Trust::Trusted, Trust::Unknown("a".to_owned()), Trust::Untrusted("b".to_owned())];
    for (word, expect) in [
        (None, ["trusted", "unknown", "untrusted"]),
        (Some(""), ["trusted", "unknown", "untrusted"]),
        (Some("trusted"), ["trusted", "trusted", "untrusted"]),
        (Some("unknown"), ["unknown", "unknown", "untrusted"]),
        (Some("untrusted"), ["untrusted", "untrusted", "untrusted"]),
    ] {
        let got = levels().map(|found| judged(found, word).unwrap().word());
        assert_eq!(got, expect, "{word:?}");
    }
    for bad in ["Trusted", "yes", "1", " trusted", "trusted\n", "\u{fffd}"] {
        for found in levels() {
            let error = judged(found, Some(bad)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
            assert!(error.to_string().contains("BOXWRIGHT_TRUST"), "{error}");
        }
    }
}

#[test]
fn elsewhere_a_person_is_trusted_and_an_unknown_ci_is_not() {
    let ci = detected(&[], None);
    assert_eq!((ci.service, ci.trust, ci.run), ("none", Trust::Trusted, None));
    assert_eq!(detected(&[("CI", "false")], None).service, "none");
    for mark in ["CONTINUOUS_INTEGRATION", "BUILD_NUMBER"] {
        assert_eq!(detected(&[(mark, "1")], None).trust.word(), "unknown", "{mark}");
    }
    // What is read is the environment's alone.
    assert_eq!(detected(&[("TF_BUILD", "False")], None).service, "none");
    let ci = detected(&[("CI", "true")], None);
    assert_eq!((ci.service, ci.trust.word()), ("other", "unknown"));
    assert!(random_run().parse::<RunId>().is_ok());
}
