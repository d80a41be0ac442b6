//! Cleaning: marked in one run, deleted in a later one, and only what nothing keeps.

use boxwright_testing::witness::{Registry, forget_images, skopeo, tell};
use boxwright_testing::world::{BOXES, World};

/// Every tag of the three boxes.
fn all_tags(registry: &Registry) -> Vec<String> {
    let of_box =
        |name: &&str| registry.tags(name).into_iter().map(|tag| format!("{name}:{tag}")).collect::<Vec<_>>();
    BOXES.iter().flat_map(of_box).collect()
}

#[test]
fn exactly_the_unpromoted_boxes_go_and_main_still_works() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let kept = world.boxwright(&["build", "--format", "json"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    world.replace("ci/Dockerfile", "echo build", "echo built");
    let left = world.boxwright(&["build", "--format", "json"]).good();
    assert_eq!(left.boxes("action"), ["use", "built", "built"]);
    let doomed: Vec<String> = [1, 2].map(|at| format!("{}:{}", BOXES[at], left.boxes("tag")[at])).to_vec();
    let before = all_tags(&registry);

    // Nothing is past its lease; a dry run never writes; nothing goes in the run that marks it.
    world.without_engine(&["clean", "--yes"]).good().says(&["nothing to do"]);
    let ledger = registry.tags("boxwright-ledger");
    world.without_engine(&["clean", "--now", "+3d"]).good().says(&["nothing was changed", "--yes"]);
    assert_eq!(registry.tags("boxwright-ledger"), ledger);
    let marking = world.without_engine(&["clean", "--now", "+3d", "--yes", "--format", "json"]).good();
    assert_eq!(actions(&marking.json(), "condemned"), doomed);
    assert_eq!(all_tags(&registry), before);
    assert_eq!(registry.records("over").len(), 2);
    world.without_engine(&["clean", "--now", "+3d"]).good();
    // Too early still: the grace is a day.
    world.without_engine(&["clean", "--now", "+20h", "--yes"]).good();
    assert_eq!(all_tags(&registry), before);

    let sweeping = world.without_engine(&["clean", "--now", "+5d", "--yes", "--format", "json"]).good();
    assert_eq!(actions(&sweeping.json(), "deleted"), doomed);
    let mut expect = before.clone();
    expect.retain(|tag| !doomed.contains(tag));
    assert_eq!(all_tags(&registry), expect);

    for (index, name) in BOXES.iter().enumerate() {
        let image = format!("{}/{name}:main", registry.host);
        let seen = skopeo(&[&format!("docker://{image}")]);
        assert_eq!(seen["Digest"].as_str().unwrap(), kept.boxes("digest")[index]);
    }
    let image = format!("{}/test:main", registry.host);
    forget_images(&registry.host);
    tell("docker", &["pull", "-q", &image]);
    assert_eq!(
        tell("docker", &["run", "--rm", &image, "cat", "/test/one.txt", "/base", "/build"]),
        "one\nbase\nbuild\n"
    );

    // A key that was condemned comes back as its next generation.
    let again = world.boxwright(&["build", "--format", "json", "--wait", "0s"]).good();
    assert_eq!(again.boxes("action"), ["use", "built", "built"]);
    assert!(again.boxes("tag")[1].ends_with(".g1"), "{}", again.out);
    let labels = registry.labels("build", &format!(":{}", again.boxes("tag")[1]));
    assert_eq!(labels["io.boxwright.generation"], "1");
}

/// `repository:tag` of the images with this action.
fn actions(report: &serde_json::Value, action: &str) -> Vec<String> {
    let images = report["images"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    images
        .filter(|image| image["action"] == action)
        .map(|image| format!("{}:{}", text(&image["repository"]), text(&image["tag"])))
        .collect()
}

#[test]
fn a_lease_taken_in_time_keeps_what_was_marked() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let built = world.boxwright(&["build", "base", "--format", "json"]).good();
    world.boxwright(&["clean", "--now", "+3d", "--yes"]).good();
    // What is condemned is never used again: the next generation is built and leased.
    let next = world.boxwright(&["build", "base", "--format", "json", "--wait", "0s"]).good();
    assert_eq!(next.boxes("action"), ["built"]);
    assert_ne!(next.boxes("digest"), built.boxes("digest"));
    world.boxwright(&["clean", "--now", "+26h", "--yes"]).good();
    let tags = registry.tags("base");
    assert!(tags.contains(&next.boxes("tag")[0]), "{tags:?}");
    world.without_engine(&["plan", "base", "--check"]).good();
}

#[test]
fn a_digest_with_a_foreign_tag_is_never_deleted() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let built = world.boxwright(&["build", "--format", "json"]).good();
    let (digest, tag) = (&built.boxes("digest")[1], &built.boxes("tag")[1]);
    world.boxwright(&["clean", "--now", "+3d", "--yes"]).good();
    let source = format!("docker://{}/build:{tag}", registry.host);
    let target = format!("docker://{}/build:somebody-elses", registry.host);
    tell("skopeo", &["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", &source, &target]);
    world.boxwright(&["clean", "--now", "+5d", "--yes"]).good();
    assert_eq!(registry.digest("build", "somebody-elses").as_ref(), Some(digest));
    // Its parent is needed by it; its child is not.
    assert_eq!(registry.tags("base").len(), 1);
    assert!(registry.tags("test").is_empty());
}

#[test]
fn a_registry_that_does_not_delete_is_said() {
    let registry = Registry::start(&["--no-delete"]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build", "base"]).good();
    world.boxwright(&["clean", "--now", "+3d", "--yes"]).good();
    let kept = world.boxwright(&["clean", "--now", "+5d", "--yes"]).good();
    assert!(format!("{}{}", kept.out, kept.err).contains("the registry does not delete"), "{}", kept.out);
    world.boxwright(&["clean", "--now", "+5d", "--yes", "--strict"]).exits(21);
    assert_eq!(registry.tags("base").len(), 1);
}

#[test]
fn an_unreadable_repository_stops_the_sweep() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    world.boxwright(&["clean", "--now", "+3d", "--yes"]).good();
    let before = all_tags(&registry);
    registry.stop();
    world.boxwright(&["clean", "--now", "+5d", "--yes"]).fails(20, &["nothing was deleted"]);
    registry.restart();
    assert_eq!(all_tags(&registry), before);
    for bad in ["--now=yesterday", "--now=+3", "--now=2001-01-01T00:00:00Z"] {
        world.boxwright(&["clean", bad]).fails(2, &["--now"]);
    }
}

#[test]
fn a_clean_is_undone_while_the_registry_has_the_blobs() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let built = world.boxwright(&["build", "--format", "json"]).good();
    let before = all_tags(&registry);
    let manifests: Vec<Vec<u8>> =
        (0..3).map(|at| manifest(&registry, BOXES[at], &built.boxes("digest")[at])).collect();
    world.without_engine(&["clean", "--undo"]).good().says(&["nothing to undo"]);
    world.without_engine(&["clean", "--now", "+3d", "--yes"]).good();
    let swept = world.without_engine(&["clean", "--now", "+5d", "--yes", "--run", "cron-7"]).good();
    swept.says(&["clean --undo cron-7"]);
    assert_eq!(all_tags(&registry), [] as [&str; 0]);

    // A dry run says what it would do, and does nothing.
    let plan = world.without_engine(&["clean", "--undo", "--format", "json"]).exits(10);
    assert_eq!(plan.json()["undoes"]["run"], "cron-7");
    assert_eq!(actions(&plan.json(), "restore").len(), 3);
    assert_eq!(all_tags(&registry), [] as [&str; 0]);
    world.without_engine(&["clean", "--undo", "somebody-elses"]).exits(10);

    let undone = world.without_engine(&["clean", "--undo", "cron-7", "--yes", "--format", "json"]).good();
    assert_eq!(actions(&undone.json(), "restored").len(), 3);
    assert_eq!(all_tags(&registry), before);
    for (at, name) in BOXES.iter().enumerate() {
        // By other programs: the same bytes, and an image that can be pulled whole.
        assert_eq!(manifest(&registry, name, &built.boxes("digest")[at]), manifests[at]);
        let image = format!("docker://{}/{name}:{}", registry.host, built.boxes("tag")[at]);
        assert_eq!(skopeo(&[&image])["Digest"].as_str().unwrap(), built.boxes("digest")[at]);
        let copy = format!("dir:{}", world.root.join(format!("copy-{name}")).display());
        tell("skopeo", &["copy", "-q", "--src-tls-verify=false", &image, &copy]);
    }
    // They are leased, and used as they are.
    world.without_engine(&["clean", "--now", "+1d"]).good().says(&["nothing to do"]);
    let again = world.boxwright(&["build", "--format", "json"]).good();
    assert_eq!(again.boxes("action"), ["use", "use", "use"]);
    assert_eq!(again.boxes("digest"), built.boxes("digest"));
}

/// A manifest's bytes, as curl gets them.
fn manifest(registry: &Registry, name: &str, digest: &str) -> Vec<u8> {
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    let url = format!("http://{}/v2/{name}/manifests/{digest}", registry.host);
    tell("curl", &["-sf", "-H", accept, &url]).into_bytes()
}
