//! A step that fails: what is said, what still happens, what is left.

use std::time::{Duration, Instant};

use crate::interrupt::runs;
use boxwright_testing::witness::{Registry, busybox};
use boxwright_testing::world::{Ended, World, unique, until};

/// `bad` fails, `child` stands on it, `apart` does not.
fn project(registry: &Registry, step: &str) -> World {
    let world = World::empty();
    let boxes = "[box.bad]\ntarget = \"bad\"\n\n[box.child]\ntarget = \"child\"\n\
        contexts = { bad = \"box:bad\" }\n\n[box.apart]\ntarget = \"apart\"\n";
    world.configure(&registry.host, boxes);
    let dockerfile = format!(
        "FROM {busybox} AS bad\n{step}\nFROM bad AS child\nRUN true\n\
         FROM {busybox} AS apart\nRUN echo {}\n",
        unique(),
        busybox = busybox()
    );
    world.write("Dockerfile", &dockerfile);
    world
}

#[test]
fn a_failed_step_fails_its_box_and_its_dependants_alone() {
    let registry = Registry::start(&[]);
    let text = unique();
    // More lines than anybody keeps by default, on both streams.
    let step =
        format!("RUN for i in $(seq 1 300); do echo \"out $i {text}\"; echo \"err $i\" >&2; done; exit 7");
    let world = project(&registry, &step);
    let all = [1, 2, 150, 299, 300].map(|line| [format!("out {line} {text}\n"), format!("err {line}\n")]);
    for (jobs, is_ci) in [("1", false), ("4", true)] {
        let mut command = world.command(&["build", "--format", "json", "--jobs", jobs, "--push", "always"]);
        if is_ci {
            command.env("CI", "true");
        }
        let ended = Ended::of(command.output().unwrap()).exits(1);
        let report = ended.json();
        // A file holds all that was printed; where it goes with the machine it is shown as well.
        let row = |name: &str| {
            let rows = report["boxes"].as_array().unwrap();
            rows.iter().find(|row| row["name"] == name).unwrap().clone()
        };
        let bad = row("bad");
        let log = bad["log"].as_str().unwrap();
        let written = std::fs::read_to_string(log).unwrap();
        assert!(ended.err.contains(&format!("whole log: {log}\n")), "{}", ended.err);
        for part in all.iter().flatten() {
            assert!(written.contains(part), "`{}` is not in:\n{written}", part.trim());
            let is_last = part.contains(" 299") || part.contains(" 300");
            assert!(is_last || ended.err.contains(part) == is_ci, "{part}");
        }
        if is_ci {
            assert_eq!(ended.err.matches(&format!("out 1 {text}")).count(), 1, "{}", ended.err);
        } else {
            assert!(ended.err.contains("\n  … 580 lines before these\n"), "{}", ended.err);
            let last = ended.err.split("lines before these\n").nth(1).unwrap();
            assert_eq!(last.lines().take_while(|line| !line.contains("whole log")).count(), 20);
            // Which stream's lines come last is the engine's affair.
            assert!(last.contains("  out 300 ") || last.contains("  err 300\n"), "{last}");
        }
        assert!(ended.err.contains("bad failed: Dockerfile:2:1: RUN for i in "), "{}", ended.err);
        assert!(ended.err.contains("exit code: 7"), "{}", ended.err);
        assert!(ended.err.contains("child not built: bad failed\n"), "{}", ended.err);
        assert_eq!((&bad["place"], &bad["action"]), (&"Dockerfile:2:1".into(), &"failed".into()));
        assert!(bad["digest"].is_null() && bad["lease_until"].is_null(), "{bad:#}");
        assert!(row("apart")["lease_until"].is_string(), "{:#}", row("apart"));
        assert_eq!(row("child")["action"], "skipped");
        assert_eq!(row("child")["reason"], "not built: bad failed");
        let expect = if jobs == "1" { "built" } else { "use" };
        assert_eq!(row("apart")["action"], expect);
    }
    assert!(registry.tags("bad").is_empty() && registry.tags("child").is_empty());
    assert_eq!(registry.tags("apart").len(), 1);
    // The keys that do not stand are given back, so that nobody waits for this run.
    for lease in registry.records("lease") {
        let (_, _, body) = registry.curl(&[], &format!("boxwright-ledger/manifests/{lease}"));
        let keys = world.boxwright(&["keys", "--format", "json"]).good();
        for (name, key) in keys.boxes("name").iter().zip(keys.boxes("key")) {
            assert_eq!(body.contains(&key), name == "apart", "{name}: {body}");
        }
    }
    let human = world.boxwright(&["build"]).exits(1);
    for (name, word) in [("bad", "failed"), ("child", "skipped"), ("apart", "present")] {
        let line = human.out.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.contains(word), "{}", human.out);
    }
    world.boxwright(&["promote", "main", "--yes"]).exits(2);
}

#[test]
fn the_log_is_shown_when_quiet_and_once_when_verbose() {
    let registry = Registry::start(&[]);
    let text = unique();
    let world = World::single(&registry.host, &format!("RUN printf 'no newline {text}' ; exit 3"));
    for flag in ["-q", "-v"] {
        let ended = world.boxwright(&["build", flag]).exits(1);
        // The step's own words are its name as well.
        let shown = ended.err.matches(&format!("no newline {text}")).count();
        let named = ended.err.matches(&format!("'no newline {text}'")).count();
        assert_eq!(shown - named, 1, "{flag}: {}", ended.err);
    }
    assert!(registry.tags("only").is_empty());
    assert!(registry.records("lease").is_empty());
}

#[test]
fn an_image_that_cannot_be_pulled_names_itself() {
    let registry = Registry::start(&[]);
    let world = World::single(&registry.host, "");
    world.write("Dockerfile", &format!("FROM {}/no/such:image\n", registry.host));
    world.boxwright(&["lock"]).fails(1, &["/no/such:image does not exist"]);
    let digest = format!("sha256:{}", "0".repeat(64));
    world.write("Dockerfile", &format!("FROM {}/no/such@{digest}\n", registry.host));
    world.boxwright(&["build"]).exits(1).says(&["only failed", "/no/such@sha256:0000"]);
    assert!(registry.tags("only").is_empty());
}

#[test]
fn a_push_that_is_refused_leaves_no_tag() {
    let registry = Registry::start(&[]);
    let world = World::single(&registry.host, &format!("RUN echo {}", unique()));
    // The ledger takes records; the box's own repository cannot be written.
    registry.block_repository("only");
    let ended = world.boxwright(&["build"]);
    assert!(matches!(ended.code, 1 | 20), "{}: {}", ended.code, ended.err);
    ended.says(&["only"]);
    assert!(registry.records("lease").is_empty());
}

#[test]
fn a_build_that_takes_too_long_is_stopped_in_the_engine() {
    let registry = Registry::start(&[]);
    let word = unique();
    let world = project(&registry, &format!("RUN echo now sleeping && sleep 300 && echo {word}"));
    world.replace("boxwright.toml", "[box.bad]\n", "[box.bad]\ntimeout = \"12s\"\n");
    let began = Instant::now();
    let building = world.start(&["build", "--jobs", "2"]);
    until("the step runs", || runs(&word));
    let ended = building.end().exits(1).says(&[
        "bad failed: Dockerfile:2:1: RUN echo now sleeping",
        "not built within its timeout of 12s; the build was stopped\n  now sleeping\n  whole log: ",
        "child not built: bad failed",
        "apart built: ",
    ]);
    assert!(began.elapsed() < Duration::from_secs(60), "{}", ended.err);
    until("the step is gone", || !runs(&word));
    assert!(registry.tags("bad").is_empty());
    assert_eq!(registry.tags("apart").len(), 1);
    // The time is no input: the image of a later, longer try has the same key.
    let key = world.keys();
    world.replace("boxwright.toml", "12s", "400s");
    assert_eq!(world.keys(), key);
    world.replace("boxwright.toml", "400s", "0s");
    world.boxwright(&["keys"]).fails(2, &["boxwright.toml:3:11", "`box.bad.timeout` must be at least 1s"]);
}

#[test]
fn the_first_failure_can_end_all() {
    let registry = Registry::start(&[]);
    let world = project(&registry, &format!("RUN sleep 1; exit 9 # {}", unique()));
    let word = unique();
    world.replace("Dockerfile", "RUN echo", &format!("RUN sleep 200; echo {word}"));
    let ended = world.boxwright(&["build", "--jobs", "2", "--fail-fast", "--format", "json"]).exits(1);
    let report = ended.json();
    let rows = report["boxes"].as_array().unwrap();
    let reasons: Vec<&str> = rows.iter().map(|row| row["reason"].as_str().unwrap()).collect();
    let stopped = "not built: stopped, for bad failed";
    assert_eq!(reasons.iter().filter(|reason| **reason == stopped).count(), 2, "{reasons:?}");
    until("the other step is gone", || !runs(&word));
    for name in ["bad", "child", "apart"] {
        assert!(registry.tags(name).is_empty());
    }
}
