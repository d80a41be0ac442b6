//! Why is this rebuilt? From what stands in the registry, without the older commit.

use boxwright_testing::witness::Registry;
use boxwright_testing::world::{CHAIN, World, dockerfile};
use serde_json::{Value, json};

/// The chain on nothing: its steps only copy.
fn chain(registry: &str) -> World {
    let world = World::empty();
    world.configure(registry, CHAIN);
    let steps = ["COPY base.txt /base", "COPY build.txt /build", "COPY test /test"];
    world.write("ci/Dockerfile", &dockerfile("scratch", steps));
    world.write("ci/base.txt", "base\n");
    world.write("ci/build.txt", "build\n");
    world.write("ci/test/one.txt", "one\n");
    world.write("ci/test/two.sh", "echo two\n");
    world.commit();
    world
}

#[test]
fn the_one_file_that_changed_is_named_against_an_image_of_an_earlier_commit() {
    let registry = Registry::start(&[]);
    let world = chain(&registry.host);
    let before = world.boxwright(&["build", "--format", "json"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    assert_eq!(registry.records("inputs").len(), 3);

    world.write("ci/test/two.sh", "echo three\n");
    world.commit();
    let plan = world.without_engine(&["plan", "--format", "json"]).good();
    assert_eq!(plan.boxes("reason"), ["present", "present", "test/two.sh changed"]);
    assert_eq!(plan.json()["boxes"][2]["since"], "main");
    world.without_engine(&["plan"]).good().says(&["compared with main"]);
    let guard = world.without_engine(&["guard"]).exits(10);
    assert!(guard.out.contains("test/two.sh changed"), "{}", guard.out);

    let key = &before.boxes("key")[2];
    for name in ["main", key, &before.boxes("tag")[2], &before.boxes("digest")[2]] {
        let said = world.without_engine(&["explain", "test", "--against", name]).good();
        assert!(said.out.contains("\n  test/two.sh changed\n"), "{name}: {}", said.out);
        assert_eq!(said.out.lines().count(), 4, "{}", said.out);
    }
    let same = world.without_engine(&["explain", "build", "--against", "main"]).good();
    assert!(same.out.starts_with("build: nothing differs from main (sha256:"), "{}", same.out);

    world.replace("ci/Dockerfile", "base.txt /base", "base.txt /lower");
    let deep =
        world.without_engine(&["explain", "test", "--against", "main", "--format", "json"]).good().json();
    assert_eq!((&deep["name"], &deep["old_key"]), (&json!("test"), &json!(key)));
    let build = &deep["changes"][0];
    assert_eq!((&build["kind"], &build["parent"]["name"]), (&json!("parent"), &json!("build")));
    let base = &build["parent"]["changes"][0]["parent"]["changes"][0];
    let expect = json!({
        "kind": "instruction", "line": 2, "old": "COPY base.txt /base", "new": "COPY base.txt /lower",
        "text": "Dockerfile instruction changed: COPY base.txt /lower (line 2)",
    });
    assert_eq!(base, &expect);
    assert_eq!(deep["changes"][1]["text"], "test/two.sh changed");

    world
        .without_engine(&["explain", "test", "--against", "r2026.07"])
        .fails(10, &["test:r2026.07 does not exist", "hint: "]);
    let none = "0".repeat(32);
    world
        .without_engine(&["explain", "test", "--against", &none])
        .fails(10, &["holds no inputs of key", &none, "hint: inputs are stored with each image"]);
    world.without_engine(&["explain", "test", "--against", "a/b"]).fails(2, &["`a/b` is not a tag"]);
    world.without_engine(&["explain", "nobody"]).fails(2, &["no box `nobody`"]);
}

#[test]
fn inputs_are_printed_without_a_registry() {
    let world = chain("127.0.0.1:1");
    world.replace("ci/Dockerfile", "COPY test /test", "COPY . /test");
    let said = world.without_engine(&["explain", "test"]).good();
    for part in [
        "instructions of ci/Dockerfile\n",
        "\n     8  COPY . /test\n",
        "\nparents\n  build  ",
        "context: 5 entries, ",
        "; all of it, because COPY reads the whole context (ci/Dockerfile:8)\n",
        "  test/two.sh\n",
    ] {
        assert!(said.out.contains(part), "`{part}` is not in:\n{}", said.out);
    }
    let json = world.without_engine(&["explain", "test", "--format", "json"]).good().json();
    assert_eq!(json["key"], world.keys()[2].as_str());
    assert_eq!(json["whole_context"]["line"], 8);
    let entry = &json["entries"][4];
    assert_eq!((&entry["path"], &entry["kind"]), (&json!("test/two.sh"), &json!("file")));
    assert_eq!(entry["size"], "echo two\n".len());
}

#[test]
fn findings_stand_in_the_plan_until_they_are_silenced() {
    let registry = Registry::start(&[]);
    let world = chain(&registry.host);
    world.replace("ci/Dockerfile", "COPY build.txt", "RUN git clone https://x.invalid/y\nCOPY build.txt");
    world.commit();
    world.write("ci/test/one.txt", "dirty\n");
    let plan = world.without_engine(&["plan"]).good();
    let said = plan.says(&[
        "note: build: ci/Dockerfile:5: git-clone: clones https://x.invalid/y",
        "note: test: dirty: not as committed: ci/test/one.txt",
    ]);
    assert!(said.err.find("git-clone") < said.err.find("to build"), "{}", said.err);
    let rows = |world: &World| {
        let report = world.without_engine(&["plan", "--format", "json"]).good().json();
        let name =
            |one: &Value| format!("{} {}", one["box"].as_str().unwrap(), one["name"].as_str().unwrap());
        report["findings"].as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(rows(&world), ["build git-clone", "test dirty"]);
    world.configure(&registry.host, &format!("[lint]\nallow = [\"git-clone\", \"dirty\"]\n{CHAIN}"));
    assert_eq!(rows(&world), Vec::<String>::new());
    let quiet = world.without_engine(&["plan"]).good();
    assert!(!quiet.err.contains("note:"), "{}", quiet.err);
}
