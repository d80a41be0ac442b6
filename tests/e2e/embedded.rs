//! The embedded registry: the same road with nothing but an engine.

use std::io::{BufRead, BufReader};

use boxwright_testing::witness::{busybox, forget_images, skopeo, tell};
use boxwright_testing::world::{BOXES, World, dockerfile, unique};

fn chain() -> World {
    let world = World::chain("embedded");
    let steps = [&format!("RUN echo {} > /base", unique()), "RUN echo build > /build", "COPY test /test"];
    world.write("ci/Dockerfile", &dockerfile(busybox(), steps));
    world.commit();
    world
}

/// The address at which the store was served last.
fn host(world: &World) -> String {
    let port = std::fs::read_to_string(world.root.join(".boxwright/port")).unwrap();
    format!("127.0.0.1:{}", port.trim())
}

#[test]
fn the_whole_road_on_one_machine() {
    let world = chain();
    let built = world.boxwright(&["build", "--format", "json"]).good();
    assert_eq!(built.boxes("action"), ["built"; 3]);
    assert_eq!(world.without_engine(&["build", "--format", "json"]).good().boxes("action"), ["use"; 3]);
    world.without_engine(&["promote", "main", "--yes"]).good();
    world.without_engine(&["promote", "main", "--yes"]).good().says(&["is up to date"]);
    let store = world.root.join(".boxwright/registry");
    for (name, key) in BOXES.iter().zip(built.boxes("key")) {
        // On disk a manifest of Docker's types has an OCI twin, so the digest is another.
        let config = skopeo(&["--config", &format!("oci:{}:{name}:main", store.display())]);
        assert_eq!(config["config"]["Labels"]["io.boxwright.key"], key, "{name}");
    }
    assert_eq!(world.git(&["status", "--porcelain"]), "", "the store is no part of the repository");
    world.replace("ci/Dockerfile", "echo build", "echo built");
    let left = world.boxwright(&["build", "--format", "json"]).good();
    let inside = world.boxwright(&["run", "test", "--", "cat", "/build"]).good();
    assert_eq!(inside.out, "built\n");
    for now in ["+3d", "+5d"] {
        world.without_engine(&["clean", "--now", now, "--yes"]).good();
    }
    let index = std::fs::read_to_string(world.root.join(".boxwright/registry/index.json")).unwrap();
    for (at, name) in BOXES.iter().enumerate() {
        assert!(index.contains(&format!("\"{name}:main\"")), "{index}");
        let (kept, gone) = (&built.boxes("tag")[at], &left.boxes("tag")[at]);
        assert!(index.contains(&format!("\"{name}:{kept}\"")), "{name}");
        assert!(kept == gone || !index.contains(&format!("\"{name}:{gone}\"")), "{name}");
    }
    forget_images(&host(&world));
}

#[test]
fn two_builds_at_once_share_the_store() {
    let world = chain();
    let runs = [world.start(&["build", "--format", "json"]), world.start(&["build", "--format", "json"])];
    let [one, two] = runs.map(|run| run.end().good());
    assert_eq!(one.boxes("digest"), two.boxes("digest"));
    let store = world.root.join(".boxwright/registry");
    for (name, tag) in BOXES.iter().zip(one.boxes("tag")) {
        skopeo(&[&format!("oci:{}:{name}:{tag}", store.display())]);
    }
    forget_images(&host(&world));
}

#[test]
fn serve_answers_others_until_it_is_stopped() {
    let world = chain();
    let mut serving = world.start(&["registry", "serve"]);
    let mut out = BufReader::new(serving.child().stdout.take().unwrap());
    let mut address = String::new();
    out.read_line(&mut address).unwrap();
    let address = address.trim();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let url = format!("http://{address}/v2/");
    let code = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*"];
    assert_eq!(tell("curl", &[&code[..], &[&url]].concat()), "401");
    let login = world.root.join(".boxwright/login/config.json");
    // Commands work beside it, and what they build can be pulled from it.
    let built = world.boxwright(&["build", "base", "--format", "json"]).good();
    let image = format!("docker://{address}/base:{}", built.boxes("tag")[0]);
    assert_eq!(
        skopeo(&["--authfile", login.to_str().unwrap(), &image])["Digest"].as_str().unwrap(),
        built.boxes("digest")[0]
    );
    let (ended, took) = serving.signal("TERM");
    assert!(ended.code == 0 || ended.code == 130, "{}", ended.code);
    assert!(took.as_secs() < 6, "{took:?}");
    assert!(!login.exists(), "its password is good for nothing any more");
    forget_images(address);
}

#[test]
fn a_store_that_cannot_be_used_is_said() {
    let world = chain();
    world.write(".boxwright/registry/index.json", "{");
    world.without_engine(&["plan"]).fails(1, &["index.json", "damaged"]);
    std::fs::remove_dir_all(world.root.join(".boxwright")).unwrap();
    world.write(".boxwright", "a file\n");
    world.without_engine(&["plan"]).fails(1, &[".boxwright"]);
    std::fs::remove_file(world.root.join(".boxwright")).unwrap();
    world.write(".boxwright/port", "no port\n");
    world.without_engine(&["plan"]).fails(1, &["port", "no port", "delete it"]);
}
