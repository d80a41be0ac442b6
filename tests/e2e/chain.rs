//! base → build → test: built once, then used without an engine, whoever asks.

use boxwright_testing::witness::{NO_ENGINE, Registry};
use boxwright_testing::world::{BOXES, Ended, World, content_tags};
use serde_json::Value;

#[test]
fn the_first_build_builds_three_and_the_second_none_without_an_engine() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["plan", "--check"]).exits(10);
    let first = world.boxwright(&["build", "--format", "json"]).good();
    assert_eq!(first.boxes("action"), ["built"; 3]);
    assert_eq!(first.boxes("state"), ["missing"; 3]);
    assert_eq!(first.boxes("name"), BOXES);
    let digests = first.boxes("digest");
    let tags = content_tags(&registry);
    assert_eq!(tags, first.boxes("tag"));
    for ((name, tag), digest) in BOXES.iter().zip(&tags).zip(&digests) {
        assert_eq!(registry.digest(name, tag).as_ref(), Some(digest), "{name}");
    }
    let leases = registry.records("lease");
    assert_eq!(leases.len(), 1);

    let second = world.without_engine(&["build", "--format", "json"]).good();
    assert_eq!(second.boxes("action"), ["use"; 3]);
    assert_eq!(second.boxes("digest"), digests);
    assert_eq!(content_tags(&registry), tags);
    let both = registry.records("lease");
    assert_eq!(both.len(), 2, "a hit has to take a lease of its own");
    assert!(both.contains(&leases[0]));
    let until = second.boxes("lease_until");
    assert!(until.iter().all(|until| until.as_str() >= first.boxes("lease_until")[0].as_str()));
    assert_eq!(registry.records("run").len(), 2);
}

#[test]
fn each_box_stands_on_its_parents_digest_and_says_so() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let built = world.boxwright(&["build", "--format", "json"]).good();
    let (keys, digests) = (built.boxes("key"), built.boxes("digest"));
    let revision = world.git(&["rev-parse", "HEAD"]);
    let labels: Vec<_> = BOXES
        .iter()
        .zip(&digests)
        .map(|(name, digest)| registry.labels(name, &format!("@{digest}")))
        .collect();
    for (index, labels) in labels.iter().enumerate() {
        assert_eq!(labels["io.boxwright.key"], keys[index]);
        assert_eq!(labels["io.boxwright.generation"], "0");
        assert_eq!(labels["org.opencontainers.image.revision"], revision.trim());
        let parents: Value = serde_json::from_str(&labels["io.boxwright.parents"]).unwrap();
        let expect = match index {
            0 => serde_json::json!({}),
            _ => serde_json::json!({ keys[index - 1].clone(): digests[index - 1] }),
        };
        assert_eq!(parents, expect, "{}", BOXES[index]);
    }
    // The layers of the parent are the first ones of the child: it was really built on it.
    let layers = |index: usize| {
        let (_, _, body) = registry.curl(&[], &format!("{}/manifests/{}", BOXES[index], digests[index]));
        let manifest: Value = serde_json::from_str(&body).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for child in [1, 2] {
        assert!(layers(child).starts_with(&layers(child - 1)));
        assert_eq!(layers(child).len(), layers(child - 1).len() + 1);
    }
}

#[test]
fn only_what_is_missing_is_built_and_a_lost_image_comes_back() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let built = world.boxwright(&["build", "build", "--format", "json"]).good();
    assert_eq!(built.boxes("name"), ["base", "build"]);
    assert!(registry.tags("test").is_empty());
    let all = world.boxwright(&["build", "--format", "json"]).good();
    assert_eq!(all.boxes("action"), ["use", "use", "built"]);

    let digest = &all.boxes("digest")[1];
    let (status, ..) = registry.curl(&["-X", "DELETE"], &format!("build/manifests/{digest}"));
    assert_eq!(status, 202);
    let plan = world.boxwright(&["plan", "--format", "json"]).good();
    assert_eq!(plan.boxes("state"), ["present", "missing", "present"]);
    assert_eq!(plan.boxes("action"), ["use", "build", "wait"]);
    world.boxwright(&["build", "--wait", "0s"]).good();
    world.without_engine(&["plan", "--check"]).good();
    assert_eq!(content_tags(&registry), all.boxes("tag"));
}

#[test]
fn what_a_plan_says_is_what_a_build_does() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let all = world.boxwright(&["build", "--format", "json"]).good();
    let delete = |index: usize| {
        let path = format!("{}/manifests/{}", BOXES[index], all.boxes("digest")[index]);
        assert_eq!(registry.curl(&["-X", "DELETE"], &path).0, 202);
    };
    // The engine still has the layers of the base: what comes out is what was deleted, so what stands
    // on it stays.
    delete(0);
    let plan =
        world.boxwright(&["plan"]).good().says(&["1 box to build, and 2 that stand on what comes out"]);
    assert!(
        plan.out.contains("parent base is built first; used if that comes out as before"),
        "{}",
        plan.out
    );
    let plan = world.boxwright(&["plan", "--format", "json"]).good();
    assert_eq!(plan.boxes("action"), ["build", "wait", "wait"]);
    let built = world.boxwright(&["build", "--wait", "0s", "--format", "json"]).good();
    let is_same = built.boxes("digest")[0] == all.boxes("digest")[0];
    assert_eq!(built.boxes("action"), if is_same { ["built", "use", "use"] } else { ["built"; 3] });
    // Another base has all that stands on it built.
    delete(0);
    let plan = world.boxwright(&["plan", "--format", "json"]).good();
    assert_eq!(plan.boxes("action"), ["build", "wait", "wait"]);
    let built = world.boxwright(&["build", "--wait", "0s", "--no-cache", "--format", "json"]).good();
    assert_eq!(built.boxes("action"), ["built"; 3]);
    assert!(built.boxes("reason")[1].contains("another image of parent base"), "{:?}", built.boxes("reason"));
}

#[test]
fn without_push_right_what_is_present_is_used_and_what_is_missing_is_said() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    let fork = registry.beside("fork", &["--readonly"]);
    let at_fork = ["--registry", &fork.host];
    let call = |arguments: &[&str]| {
        let mut command = world.command(&[arguments, &at_fork].concat());
        Ended::of(command.env("DOCKER_HOST", NO_ENGINE).output().unwrap())
    };
    let before = registry.tags("boxwright-ledger");
    let used = call(&["build", "--format", "json"]).good().says(&["takes no writes from here"]);
    assert_eq!(used.boxes("action"), ["use"; 3]);
    assert!(used.json()["boxes"][0]["lease_until"].is_null(), "{}", used.out);
    call(&["guard"]).good();
    assert_eq!(registry.tags("boxwright-ledger"), before);

    world.write("ci/test/one.txt", "changed\n");
    let key = world.keys().remove(2);
    let missing = call(&["build", "--format", "json"]).exits(10);
    assert_eq!(missing.boxes("action"), ["use", "use", "failed"]);
    assert!(missing.boxes("reason")[2].contains("takes no push from here"), "{}", missing.out);
    let told =
        ["missing: ", "test", &key, "no earlier promotion", "boxwright build test` on", "not committed"];
    call(&["guard"]).exits(10).says(&told);
    world.commit();
    let revision = world.git(&["rev-parse", "HEAD"]);
    let command = format!("`boxwright build --at {} test`", revision.trim());
    call(&["guard"]).exits(10).says(&["missing: ", &key, &command, "--local"]);
    call(&["build"]).exits(10).says(&["missing: ", &key, &command, "--local"]);
    call(&["build", "--push", "always"]).exits(21).says(&["--push always"]);
    assert_eq!(registry.tags("boxwright-ledger"), before);
    assert_eq!(content_tags(&registry).len(), 3);
    // What stands on a missing box is missing with it.
    world.replace("ci/Dockerfile", "echo base", "echo other");
    let missing = call(&["build", "--format", "json"]).exits(10);
    assert_eq!(missing.boxes("reason")[1..], ["not built: base is missing"; 2]);
    missing.says(&["missing: base: ", "missing: build: ", "missing: test: "]);
}
