//! Commands that change names which others share: told to, asked, and neither.

use boxwright_testing::witness::Registry;
use boxwright_testing::world::{World, at_a_terminal};
use serde_json::json;

/// Each command with what its plan shows, and its code where it was not told to do it.
const COMMANDS: [(&[&str], &str, i32); 6] = [
    (&["promote", "main"], "move", 10),
    (&["promote", "r1.0", "--from", "main"], "move", 10),
    (&["rollback", "main"], "move", 10),
    (&["rebuild", "base"], "in place of 0", 10),
    (&["clean", "--now", "+3d"], "condemn", 0),
    (&["clean", "--forget", "set.old.1"], "would forget", 0),
];

/// A project with two promotions of main, a third set that was built, garbage, and a record that
/// cannot be read.
fn project() -> (Registry, World) {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    for (text, is_promoted) in [("1\n", true), ("2\n", true), ("garbage\n", false), ("3\n", false)] {
        world.write("ci/test/one.txt", text);
        world.git(&["add", "--all"]);
        world.git(&["commit", "-q", "--allow-empty", "--message=state"]);
        world.boxwright(&["build"]).good();
        if is_promoted {
            world.boxwright(&["promote", "main", "--yes"]).good();
        }
    }
    // Another image's manifest is no record.
    let (_, headers, body) = registry.curl(&[], "boxwright-ledger/manifests/set.main.1");
    let kind = format!("Content-Type: {}", headers["content-type"]);
    let mut manifest: serde_json::Value = serde_json::from_str(&body).unwrap();
    manifest["annotations"] = json!({});
    let text = manifest.to_string();
    let put = ["-X", "PUT", "-H", &kind, "--data-binary", &text];
    assert_eq!(registry.curl(&put, "boxwright-ledger/manifests/set.old.1").0, 201);
    (registry, world)
}

/// Calls, and asserts that the registry was read alone.
#[track_caller]
fn reads(registry: &Registry, call: impl FnOnce()) {
    let requests = registry.requests_during(call);
    assert!(!requests.is_empty());
    let is_read = |request: &&String| request.starts_with("GET ") || request.starts_with("HEAD ");
    assert_eq!(requests.iter().find(|request| !is_read(request)), None);
}

#[test]
fn a_plan_changes_nothing_until_somebody_says_so() {
    let (registry, world) = project();
    for (command, shown, left) in COMMANDS {
        let yes = format!("to apply: boxwright {} --yes", command.join(" "));
        let call = |more: &[&str]| world.without_engine(&[command, more].concat());
        reads(&registry, || {
            let dry = call(&["--dry-run"]).good().says(&["nothing was changed: dry run", &yes]);
            assert!(dry.out.contains(shown), "{command:?}: {}", dry.out);
        });
        reads(&registry, || {
            let untold = call(&[]).exits(left).says(&["nothing was changed: dry run", &yes]);
            assert!(untold.out.contains(shown), "{command:?}: {}", untold.out);
            call(&["-q"]).exits(left);
            call(&["--yes", "--dry-run"]).exits(2);
        });
        // For a person: asked, who says no, presses return, or goes away.
        let asked = |answer| at_a_terminal(&world.command(command), answer);
        reads(&registry, || {
            for answer in ["n\n", "\n", ""] {
                let no = asked(answer).exits(left);
                let question = no.out.find("apply this? [y/N]").unwrap_or_else(|| panic!("{}", no.out));
                assert!(no.out[..question].contains(shown), "{command:?}: {}", no.out);
                assert!(no.out.contains("nothing was changed; to apply: "), "{}", no.out);
            }
            // A terminal in a CI is nobody.
            let mut in_ci = world.command(command);
            in_ci.env("CI", "true").env("BOXWRIGHT_TRUST", "trusted");
            let ended = at_a_terminal(&in_ci, "y\n").exits(left);
            assert!(!ended.out.contains("apply this?"), "{}", ended.out);
        });
    }
    let json = world.without_engine(&["promote", "main", "--format", "json"]).exits(10).json();
    assert_eq!((&json["applied"], &json["seq"]), (&json!(false), &json!(3)));
    let json = world.without_engine(&["rebuild", "base", "--format", "json"]).exits(10).json();
    assert_eq!(json["boxes"], json!([{ "name": "base", "generation": 0 }]));
}

#[test]
fn a_plan_is_applied_where_somebody_says_so() {
    let (registry, world) = project();
    let yes = |command: &[&str]| at_a_terminal(&world.command(command), "y\n").good();
    let promoted = yes(&["promote", "main"]);
    assert!(promoted.out.contains("promoting from branch main, "), "{}", promoted.out);
    assert!(registry.records("set").contains(&"set.main.3".to_owned()));
    // Now there is nothing to ask.
    let done = yes(&["promote", "main"]);
    assert!(done.out.contains("is up to date") && !done.out.contains("apply this?"), "{}", done.out);
    world.without_engine(&["promote", "main"]).good().says(&["is up to date"]);
    yes(&["rollback", "main"]);
    assert!(registry.records("set").contains(&"set.main.4".to_owned()));
    yes(&["promote", "r1.0", "--from", "main@3"]);
    assert!(registry.digest("test", "r1.0").is_some());
    yes(&["clean", "--forget", "set.old.1"]);
    assert_eq!(registry.digest("boxwright-ledger", "set.old.1"), None);
    assert!(registry.records("over").is_empty());
    let swept = yes(&["clean", "--now", "+3d"]);
    assert!(swept.out.contains("2 condemned"), "{}", swept.out);
    // The one that was never promoted, and the one that main does not keep.
    assert_eq!(registry.records("over").len(), 2);
    yes(&["rebuild", "base"]);
    assert!(registry.tags("base").iter().any(|tag| tag.ends_with(".g1")), "{:?}", registry.tags("base"));
}

#[test]
fn a_promotion_says_who_did_it_and_from_which_branch() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let call = |environment: &[(&str, &str)], arguments: &[&str]| {
        let mut command = world.command(arguments);
        boxwright_testing::world::Ended::of(command.envs(environment.iter().copied()).output().unwrap())
    };
    world.git(&["switch", "-q", "-c", "topic"]);
    call(&[], &["build"]).good();
    call(&[("USER", "ann")], &["promote", "main", "--yes"]).good().says(&["promoting from branch topic, "]);
    world.write("ci/test/one.txt", "changed\n");
    call(&[], &["build"]).good();
    let github = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_ACTOR", "bob"),
        ("GITHUB_RUN_ID", "7"),
        ("USER", "runner"),
    ];
    let dirty = "with inputs that are not committed";
    call(&[], &["promote", "main"]).exits(10).says(&["promoting from branch topic, ", dirty]);
    let ended = call(&github, &["promote", "main", "--yes"]).good();
    assert!(!ended.err.contains("promoting from"), "a CI knows its branch: {}", ended.err);
    // What is no name is left out.
    call(&[("USER", "a\nb")], &["rollback", "main", "--yes"]).good();
    let log = world.without_engine(&["log", "main", "--format", "json"]).good().json();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let by: Vec<_> = log["promotions"].as_array().unwrap().iter().map(|one| one["by"].clone()).collect();
    assert_eq!(by, [json!(null), json!("bob"), json!(format!("ann@{}", host.trim()))]);
    let table = world.without_engine(&["log", "main"]).good().out;
    assert!(table.contains(&format!("ann@{}", host.trim())) && table.contains("bob"), "{table}");
}

#[test]
fn the_old_words_do_as_before() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let plan = world.without_engine(&["plan", "--check", "--run", "r-1"]).exits(10);
    let guard = world.without_engine(&["guard", "--run-id", "r-1"]).exits(10);
    assert_eq!((&plan.out, &plan.err), (&guard.out, &guard.err));
    guard.says(&["missing: base", "ask someone with push access to run `boxwright build --at "]);
    let help = world.boxwright(&["--help"]).good().out;
    assert!(!help.contains("guard") && help.contains("--run-id") && !help.contains("--run "), "{help}");
}
