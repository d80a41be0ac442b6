//! Promotion moves tags, and nothing but tags.

use boxwright_testing::witness::{Registry, skopeo};
use boxwright_testing::world::{BOXES, World};

fn at_main(registry: &Registry, tag: &str) -> Vec<String> {
    let digest = |name: &&str| {
        let seen = skopeo(&[&format!("docker://{}/{name}:{tag}", registry.host)]);
        seen["Digest"].as_str().unwrap().to_owned()
    };
    BOXES.iter().map(digest).collect()
}

#[test]
fn promotion_uploads_nothing_needs_no_engine_and_is_done_once() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["promote", "main", "--yes"]).fails(10, &["base", "boxwright build"]);
    for name in BOXES {
        assert!(registry.tags(name).is_empty());
    }
    let digests = world.boxwright(&["build", "--format", "json", "--wait", "0s"]).good().boxes("digest");
    let requests = registry.requests_during(|| {
        let report = world.without_engine(&["promote", "main", "--format", "json", "--yes"]).good();
        assert_eq!(report.boxes("action"), ["moved"; 3]);
        assert_eq!(report.boxes("digest"), digests);
    });
    let puts = |repository: &str| {
        let path = format!("PUT /v2/{repository}/manifests/main 201");
        requests.iter().filter(|request| **request == path).count()
    };
    assert_eq!(BOXES.map(puts), [1; 3], "{requests:#?}");
    let uploads: Vec<_> = requests.iter().filter(|request| request.contains("/blobs/uploads")).collect();
    assert!(uploads.is_empty(), "{uploads:#?}");
    // What it reads of images are configurations, for their labels; no layer.
    for request in requests.iter().filter(|request| request.contains("/blobs/")) {
        assert!(request.starts_with("GET "), "{request}");
        assert_eq!(requests.iter().filter(|other| *other == request).count(), 1, "{request}");
    }
    assert_eq!(at_main(&registry, "main"), digests);
    assert_eq!(registry.records("set"), ["set.main.1"]);
    assert_eq!(registry.records("plan"), ["plan.main.1"]);
    let record = |tag| registry.digest("boxwright-ledger", tag);
    assert_ne!(record("plan.main.1"), record("set.main.1"), "deleting one would take the other along");

    let requests = registry.requests_during(|| {
        let again = world.without_engine(&["promote", "main", "--yes"]).good().says(&["is up to date"]);
        assert!(again.out.contains("there"), "{}", again.out);
    });
    let wrote = |request: &&String| request.contains("/manifests/main") && !request.starts_with("HEAD");
    assert_eq!(requests.iter().find(wrote), None);
    assert_eq!(registry.records("set"), ["set.main.1"]);
}

#[test]
fn main_moves_on_with_all_boxes_and_keeps_its_record() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let first = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    world.boxwright(&["promote", "main", "--yes"]).good();
    world.write("ci/test/one.txt", "another\n");
    world.commit();
    world.boxwright(&["promote", "main", "--yes"]).fails(10, &["test", "boxwright build"]);
    assert_eq!(at_main(&registry, "main"), first);
    let second = world.boxwright(&["build", "--format", "json", "--wait", "0s"]).good().boxes("digest");
    let only_planned = world.boxwright(&["promote", "main", "--dry-run", "--format", "json"]).good();
    assert_eq!(only_planned.boxes("action"), ["there", "there", "move"]);
    assert_eq!(at_main(&registry, "main"), first);
    world.boxwright(&["promote", "main", "--yes"]).good();
    assert_eq!(at_main(&registry, "main"), second);
    assert_eq!(registry.records("set"), ["set.main.1", "set.main.2"]);
}

#[test]
fn a_release_needs_a_yes_and_never_moves() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let digests = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    let planned = world.boxwright(&["promote", "r2026.07"]).exits(10).says(&["nothing was changed", "--yes"]);
    assert!(planned.out.contains("move"), "{}", planned.out);
    assert_eq!(registry.digest("base", "r2026.07"), None);
    world.boxwright(&["promote", "r2026.07", "--yes"]).good();
    world.boxwright(&["promote", "r2026.07", "--yes"]).good().says(&["is up to date"]);

    world.write("ci/test/one.txt", "another\n");
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "r2026.08", "--yes"]).fails(21, &["r2026.08", "modified or untracked"]);
    world.commit();
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "r2026.07", "--yes"]).fails(21, &["r2026.07", "immutable", &digests[2]]);
    assert_eq!(at_main(&registry, "r2026.07"), digests);
    assert_eq!(registry.tags("test").iter().filter(|tag| tag.starts_with('r')).count(), 1);
}

#[test]
fn an_older_revision_moves_nothing_back_unless_told() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let old = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    world.write("ci/test/one.txt", "another\n");
    world.git(&["add", "--all"]);
    // Commit times are in whole seconds.
    let later = "@4000000000 +0000";
    let mut commit = std::process::Command::new("git");
    commit.current_dir(&world.root).env("GIT_COMMITTER_DATE", later);
    commit.args(["-c", "user.name=Test", "-c", "user.email=t@example.org", "commit", "-qm", "later"]);
    assert!(commit.status().unwrap().success());
    let new = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    world.boxwright(&["promote", "main", "--yes"]).good();
    world.git(&["checkout", "-q", "HEAD~1"]);
    world.boxwright(&["promote", "main", "--yes"]).fails(21, &["newer", "--allow-older"]);
    assert_eq!(at_main(&registry, "main"), new);
    world.boxwright(&["promote", "main", "--allow-older", "--yes"]).good();
    assert_eq!(at_main(&registry, "main"), old);
}

#[test]
fn tags_of_no_channel_are_refused() {
    let world = World::chain("127.0.0.1:1");
    world.boxwright(&["promote", "nightly", "--yes"]).fails(2, &["nightly", "no channel", "main", "release"]);
    let bad =
        world.boxwright(&["promote", "feature/x", "--yes"]).exits(2).says(&["feature/x", "is not a tag"]);
    assert_eq!(bad.out, "");
}
