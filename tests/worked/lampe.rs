//! The project of one box and many pins, on GitHub.

use boxwright_testing::world::at_a_terminal;
use serde_json::Value;

use crate::project::{Ended, Project};

#[test]
fn a_moved_pin_builds_its_merge_moves_main_and_a_rebuild_replaces_it() {
    let project = Project::of("lampe-like");
    let main = || project.registry.digest("lampe-ci", "main").unwrap();
    let run = |file: &str, event| {
        let mut jobs = project.workflow(file, &event);
        let (_, job) = jobs.pop_first().unwrap();
        assert_eq!(job.result, "success", "{}", job.log);
        job
    };
    let first = run("ci.yml", project.event("push", "github/push.branch", 1));
    assert!(first.log.contains("tested with lean v4.21.0"), "{}", first.log);
    let before = main();

    // Another field of a pinned file moves nothing; the pinned one does.
    let text = std::fs::read_to_string(project.at("work/Cargo.toml")).unwrap();
    project.write("Cargo.toml", &text.replace("0.1.0", "0.2.0"));
    project.commit("version");
    let same = run("ci.yml", project.event("pull_request", "github/pull_request.same-repository", 2));
    assert!(!same.log.contains("ci building"), "{}", same.log);
    for file in ["Lampe/lean-toolchain", "stdlib/lampe/lean-toolchain"] {
        project.write(file, "leanprover/lean4:v4.22.0\n");
    }
    project.commit("lean");
    let change = run("ci.yml", project.event("pull_request", "github/pull_request.same-repository", 3));
    assert!(change.log.contains("ci building") && change.log.contains("lean v4.22.0"), "{}", change.log);
    assert_eq!(main(), before);
    let merged = run("ci.yml", project.event("push", "github/push.branch", 4));
    assert!(!merged.log.contains("ci building"), "{}", merged.log);
    let after = main();
    assert_ne!(after, before);

    run("rebuild.yml", project.event("workflow_dispatch", "github/workflow_dispatch", 5));
    assert_ne!(main(), after);
    let tags = project.registry.tags("lampe-ci");
    assert!(
        tags.iter().any(|tag| tag.starts_with("rust-1.85.1-lean-v4.22.0-k-") && tag.ends_with(".g1")),
        "{tags:?}"
    );
    run("cron.yml", project.event("schedule", "github/schedule", 6));
    assert_eq!(project.registry.tags("lampe-ci"), tags);
}

#[test]
fn a_fork_without_its_box_builds_it_for_itself_and_runs_in_it() {
    let project = Project::of("lampe-like");
    project.boxwright(&["build"]).exits(0);
    let before = project.everything(&["lampe-ci"]);
    for file in ["Lampe/lean-toolchain", "stdlib/lampe/lean-toolchain"] {
        project.write(file, "leanprover/lean4:v4.99.0\n");
    }
    project.commit("lean");
    let event = crate::project::event("github/pull_request.fork");
    std::fs::write(project.at("event.json"), event.to_string()).unwrap();
    let call = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_EVENT_NAME", "pull_request");
        command.env("GITHUB_EVENT_PATH", project.at("event.json"));
        command.env("GITHUB_OUTPUT", project.at("output")).env("BOXWRIGHT_REGISTRY", &project.fork.host);
        Ended::of(command.output().unwrap())
    };
    call(&["run", "ci", "--", "sh", "test.sh"]).exits(10);
    let built = call(&["build", "--local", "--format", "json"]).exits(0);
    let report: Value = serde_json::from_str(&built.out).unwrap();
    assert_eq!(report["boxes"][0]["action"], "built");
    assert!(report["boxes"][0]["digest"].is_null(), "{}", built.out);
    assert_eq!((&report["ci"]["trust"], &report["ci"]["fork"]), (&"untrusted".into(), &true.into()));
    let ran = call(&["run", "ci", "--", "sh", "test.sh"]).exits(0);
    assert_eq!(ran.out, "tested with lean v4.99.0\n");
    let outputs = std::fs::read_to_string(project.at("output")).unwrap();
    let image = outputs.lines().find_map(|line| line.strip_prefix("image_ci=")).unwrap();
    assert_eq!(
        boxwright_testing::witness::tell("docker", &["run", "--rm", image, "cat", "/opt/ci/lean"]),
        "v4.99.0\n"
    );
    assert!(outputs.contains("built=ci\n") && outputs.contains("can_push=false\n"), "{outputs}");
    boxwright_testing::witness::tell("docker", &["rmi", image]);
    assert_eq!(project.everything(&["lampe-ci"]), before);
}

#[test]
fn a_rebuild_asks_at_a_terminal_and_does_nothing_elsewhere_unless_told() {
    let project = Project::of("lampe-like");
    project.boxwright(&["build"]).exits(0);
    let before = project.everything(&["lampe-ci"]);
    let told = project.boxwright(&["rebuild", "ci"]).exits(10);
    assert!(told.err.contains("nothing was changed") && told.out.contains("generation 1"), "{}", told.err);
    let call = |answer| at_a_terminal(&project.command(&["rebuild", "ci"]), answer);
    let asked = call("n\n").exits(10).out;
    assert!(asked.contains("apply this? [y/N]") && asked.contains("nothing was changed"), "{asked}");
    assert_eq!(project.everything(&["lampe-ci"]), before);
    call("y\n").good();
    assert!(project.registry.tags("lampe-ci").iter().any(|tag| tag.ends_with(".g1")));
    let again = project.boxwright(&["rebuild", "ci", "--yes", "--format", "json"]).exits(0);
    let report: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    let reason = "generation 1 of this key was replaced or condemned";
    assert_eq!(report["boxes"][0]["reason"], reason, "{}", again.out);
    assert!(again.err.contains(&format!("ci building: {reason}; ")), "{}", again.err);
    // What was replaced is kept as long as a lease covers its key.
    project.boxwright(&["clean", "--yes"]).exits(0);
    assert_eq!(project.registry.tags("lampe-ci").len(), 3);
}
