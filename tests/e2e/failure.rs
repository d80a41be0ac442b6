//! A step that fails: what is said, what still happens, what is left.

use crate::witness::{Registry, busybox};
use crate::world::{World, unique};

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
    for jobs in ["1", "4"] {
        let ended = world.boxwright(&["build", "--format", "json", "--jobs", jobs]).exits(1);
        for line in [1, 2, 150, 299, 300] {
            for part in [format!("out {line} {text}\n"), format!("err {line}\n")] {
                assert!(ended.err.contains(&part), "`{}` is not in:\n{}", part.trim(), ended.err);
            }
        }
        assert_eq!(ended.err.matches(&format!("out 1 {text}")).count(), 1, "{}", ended.err);
        assert!(ended.err.contains("exit code: 7"), "{}", ended.err);
        let report = ended.json();
        let row = |name: &str| {
            let rows = report["boxes"].as_array().unwrap();
            rows.iter().find(|row| row["name"] == name).unwrap().clone()
        };
        assert_eq!(row("bad")["action"], "failed");
        assert!(row("bad")["digest"].is_null());
        assert_eq!(row("child")["action"], "skipped");
        assert!(row("child")["reason"].as_str().unwrap().contains("bad"));
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
    world.boxwright(&["promote", "main"]).exits(2);
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
    world.boxwright(&["lock"]).fails(1, &["there is no image", "/no/such:image"]);
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
