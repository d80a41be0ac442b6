//! The five-box project, from its first push to its release, its forks and its cron.

use serde_json::json;

use crate::project::{Project, dispatch};
use crate::runner::Job;

const REPOSITORIES: [&str; 5] =
    ["ec-base-box", "ec-base-build-box", "ec-build-box", "ec-test-box", "ec-doc-box"];

#[track_caller]
fn ends(job: &Job, result: &str) {
    assert_eq!(job.result, result, "{}", job.log);
}

#[track_caller]
fn says(job: &Job, parts: &[&str]) {
    for part in parts {
        assert!(job.log.contains(part), "`{part}` is not in:\n{}", job.log);
    }
}

/// The boxes that a build says it built.
fn built(job: &Job) -> Vec<&str> {
    let lines = job.log.lines().filter_map(|line| line.split_once(" built ").map(|(name, _)| name.trim()));
    lines.filter(|name| !name.contains(' ')).collect()
}

#[test]
fn main_a_pull_request_its_merge_a_release_and_a_second_attempt() {
    let project = Project::of("easycrypt-like");
    let stands = |repository: &str, tag: &str| project.registry.digest(repository, tag);

    let first = project.workflow("ci.yml", &project.event("push", "github/push.branch", 1));
    for job in ["boxes", "check unit", "check stdlib", "promote"] {
        ends(&first[job], "success");
    }
    says(&first["check stdlib"], &["checked stdlib"]);
    assert_eq!(built(&first["boxes"]).len(), 5, "{}", first["boxes"].log);
    let images: serde_json::Value = serde_json::from_str(&first["boxes"].outputs["images"]).unwrap();
    let main = REPOSITORIES.map(|repository| stands(repository, "main").unwrap());
    for (name, (repository, digest)) in
        ["base", "base-build", "build", "test", "doc"].iter().zip(REPOSITORIES.iter().zip(&main))
    {
        assert_eq!(images[name], format!("{}/{repository}@{digest}", project.registry.host));
    }
    let rows: Vec<&str> = first["boxes"].summary.lines().filter(|line| line.starts_with("| ")).collect();
    assert_eq!(rows.len(), 7, "{}", first["boxes"].summary);
    assert!(rows[2].starts_with("| base | built | not built yet for these inputs | "), "{}", rows[2]);
    assert!(rows[2].contains(" kB | ") || rows[2].contains(" MB | "), "no size in {}", rows[2]);

    // A pull request of the same repository moves one box, and builds it.
    project.git(&["switch", "--quiet", "--create", "topic"]);
    project.append("scripts/docker/tools/provers.sh", "echo prover eprover\n");
    project.commit("more provers");
    let change =
        project.workflow("ci.yml", &project.event("pull_request", "github/pull_request.same-repository", 2));
    ends(&change["check unit"], "success");
    ends(&change["promote"], "skipped");
    assert_eq!(built(&change["boxes"]), ["test"]);
    assert_eq!(stands("ec-test-box", "main").as_ref(), Some(&main[3]));

    // Its merge builds nothing, and yet main moves.
    project.git(&["switch", "--quiet", "main"]);
    project.git(&["merge", "--quiet", "--no-ff", "--message", "Merge topic", "topic"]);
    project.push("main");
    let merged = project.workflow("ci.yml", &project.event("push", "github/push.branch", 3));
    assert!(built(&merged["boxes"]).is_empty(), "{}", merged["boxes"].log);
    ends(&merged["promote"], "success");
    assert_eq!(merged["boxes"].outputs["images"], change["boxes"].outputs["images"]);
    let moved = stands("ec-test-box", "main").unwrap();
    assert_ne!(moved, main[3]);
    assert!(change["boxes"].outputs["images"].contains(&moved));

    // A release tag takes the same digests; the second attempt of its run finds it done.
    let mut release = project.event("push", "github/push.tag", 4);
    release.reference = ("tag", "r2026.07".to_owned());
    let released = project.workflow("ci.yml", &release);
    ends(&released["promote"], "success");
    assert!(built(&released["boxes"]).is_empty());
    for repository in REPOSITORIES {
        assert_eq!(stands(repository, "r2026.07"), stands(repository, "main"), "{repository}");
    }
    release.attempt = 2;
    let again = project.workflow("ci.yml", &release);
    ends(&again["promote"], "success");
    says(&again["promote"], &["r2026.07 is up to date"]);
    let runs = project.registry.records("run");
    for run in ["run.gh-1.1", "run.gh-2.1", "run.gh-3.1", "run.gh-4.1", "run.gh-4.2"] {
        assert!(runs.iter().any(|record| record == run), "{run} is not in {runs:?}");
    }
}

#[test]
fn a_fork_goes_on_with_what_is_there_and_else_says_what_a_maintainer_does() {
    let project = Project::of("easycrypt-like");
    project.boxwright(&["build"]).exits(0);
    project.boxwright(&["promote", "main", "--yes"]).exits(0);
    let before = project.everything(&REPOSITORIES);

    // It changes no box: everything is there, and nothing is written.
    project.append("theories/Trivial.ec", "lemma more : true.\n");
    project.commit("a lemma");
    let present = project.workflow("ci.yml", &project.event("pull_request", "github/pull_request.fork", 5));
    for job in ["boxes", "check unit", "check stdlib"] {
        ends(&present[job], "success");
    }
    says(&present["boxes"], &["nothing is leased", "not trusted: the pull request comes from a fork"]);
    assert!(present["boxes"].summary.contains("untrusted"), "{}", present["boxes"].summary);
    assert_eq!(project.everything(&REPOSITORIES), before);

    // It moves a box.
    project.append("scripts/docker/tools/opam.sh", "echo dune\n");
    let revision = project.commit("more tools");
    let event = project.event("pull_request", "github/pull_request.fork", 6);
    let missing = project.workflow("ci.yml", &event);
    ends(&missing["boxes"], "failure");
    assert_eq!(missing["boxes"].code, 10);
    ends(&missing["check"], "skipped");
    let key = project.boxwright(&["keys", "base-build", "--format", "json"]).exits(0);
    let keys: serde_json::Value = serde_json::from_str(&key.out).unwrap();
    let key = keys["boxes"][1]["key"].as_str().unwrap();
    let command = format!("boxwright build --at {revision} base-build build doc test");
    says(
        &missing["boxes"],
        &[key, "since main:", "tools/opam.sh", &command, "::error title=box base-build is missing::"],
    );
    assert_eq!(project.everything(&REPOSITORIES), before);

    // A maintainer runs that command, in a clone that stands elsewhere and lacks the commit.
    let origin = project.at("origin.git");
    crate::runner::git(&project.at(""), &["clone", "--quiet", origin.to_str().unwrap(), "maintainer"]);
    let mut call = project.command(&command.split(' ').skip(1).collect::<Vec<_>>());
    let built = call.current_dir(project.at("maintainer")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let worktrees = crate::runner::git(&project.at("maintainer"), &["worktree", "list"]);
    assert_eq!(worktrees.lines().count(), 1, "{worktrees}");
    let label = project.registry.labels("ec-base-build-box", &format!(":k-{key}"));
    assert_eq!(label["org.opencontainers.image.revision"], revision);

    let after = project.everything(&REPOSITORIES);
    let again = project.workflow("ci.yml", &crate::runner::Event { attempt: 2, ..event });
    ends(&again["check unit"], "success");
    assert_eq!(project.everything(&REPOSITORIES), after);
}

#[test]
fn a_cancelled_run_leaves_nothing_half_done_and_its_second_attempt_goes_on() {
    let mut project = Project::of("easycrypt-like");
    project.wait = "10m";
    project.boxwright(&["build", "base"]).exits(0);
    project.append("scripts/docker/tools/opam.sh", "sleep 3\n");
    project.commit("a slow step");
    let mut event = project.event("push", "github/push.branch", 7);
    event.cancel_at = Some("base-build building");
    let cancelled = project.workflow("ci.yml", &event);
    ends(&cancelled["boxes"], "cancelled");
    assert_eq!(cancelled["boxes"].code, 130, "{}", cancelled["boxes"].log);
    for repository in &REPOSITORIES[1..] {
        assert!(project.registry.tags(repository).is_empty(), "{repository}");
    }
    let again = project.workflow("ci.yml", &crate::runner::Event { attempt: 2, cancel_at: None, ..event });
    let mut names = built(&again["boxes"]);
    names.sort_unstable();
    assert_eq!(names, ["base-build", "build", "doc", "test"], "{}", again["boxes"].log);
    ends(&again["promote"], "success");
}

#[test]
fn the_cron_rebuilds_or_opens_a_change_and_cleans_and_a_person_rebuilds_by_hand() {
    let project = Project::of("easycrypt-like");
    project.boxwright(&["build"]).exits(0);
    project.boxwright(&["promote", "main", "--yes"]).exits(0);
    let stands = |tag: &str| REPOSITORIES.map(|repository| project.registry.digest(repository, tag).unwrap());
    let first = stands("main");

    // Nothing moved upstream: new images of the same keys, for the packages in them.
    let event = project.event("schedule", "github/schedule", 8);
    let quiet = project.workflow("cron.yml", &event);
    ends(&quiet["refresh"], "success");
    ends(&quiet["clean"], "success");
    let told = |job: &str, title: &str| assert!(quiet[job].summary.contains(title), "{}", quiet[job].summary);
    told("refresh", "### boxwright promote main\n\npromoted main &#40;&#35;2&#41;\n");
    told("clean", "### boxwright clean\n\nnothing to do");
    let second = stands("main");
    for (index, repository) in REPOSITORIES.iter().enumerate() {
        assert_ne!(first[index], second[index], "{repository}");
        assert_eq!(project.registry.labels(repository, ":main")["io.boxwright.generation"], "1");
    }
    assert_eq!(project.registry.records("over").len(), 5);
    assert!(!project.at("home/gh.log").exists());

    // What a pin follows moves: a change is opened for review, and nothing is built or moved.
    let ec = project.at("easycrypt.git");
    crate::runner::git(&ec, &["commit", "--quiet", "--allow-empty", "-m", "two"]);
    let before = project.everything(&REPOSITORIES);
    let event = project.event("schedule", "github/schedule", 9);
    let moved = project.workflow("cron.yml", &event);
    ends(&moved["refresh"], "success");
    let asked = std::fs::read_to_string(project.at("home/gh.log")).unwrap();
    assert_eq!(asked, "gh pr create --fill\n");
    let changed = crate::runner::git(&project.at("origin.git"), &["diff", "--name-only", "main", "boxes-9"]);
    assert_eq!(changed, "boxwright.lock");
    assert_eq!(project.everything(&REPOSITORIES), before);

    // By hand: one box and what stands on it.
    let mut event = project.event("workflow_dispatch", "github/workflow_dispatch", 10);
    event.payload = dispatch(json!({ "box": "build" }));
    let by_hand = project.workflow("rebuild.yml", &event);
    ends(&by_hand["rebuild"], "success");
    says(&by_hand["rebuild"], &["generation 2", "boxes that depend on it are rebuilt with it: doc, test"]);
    let third = stands("main");
    assert_eq!(third[..2], second[..2]);
    assert!((2..5).all(|index| third[index] != second[index]));

    // A box with the name of an option, or a command in it, is only a box that is not there.
    for (run, name) in (11..).zip(["--help", "base; boxwright clean --yes", "$(false)"]) {
        let mut event = event.clone();
        event.payload = dispatch(json!({ "box": name }));
        event.run = run;
        let refused = project.workflow("rebuild.yml", &event);
        ends(&refused["rebuild"], "failure");
        says(&refused["rebuild"], &["there is no box"]);
    }
}
