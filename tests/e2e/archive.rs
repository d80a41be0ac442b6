//! Boxes in a file: written from a registry, read by skopeo, docker and tar, and by boxwright
//! into an engine and into another registry.

use std::fs;

use boxwright_testing::witness::{Registry, attempt, skopeo, tell};
use boxwright_testing::world::{BOXES, Ended, World, unique};

/// Layers of an image, as skopeo names them.
fn layers(image: &str) -> Vec<String> {
    let layers = skopeo(&[image])["Layers"].clone();
    layers.as_array().unwrap().iter().map(|layer| layer.as_str().unwrap().to_owned()).collect()
}

fn references(world: &World) -> Vec<String> {
    let report = world.boxwright(&["plan", "--format", "json"]).good();
    let (repositories, tags) = (report.boxes("repository"), report.boxes("tag"));
    repositories.iter().zip(tags).map(|(repository, tag)| format!("{repository}:{tag}")).collect()
}

#[test]
fn an_archive_is_what_other_programs_take() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.replace("ci/Dockerfile", "RUN echo base > /base", "RUN echo base > /base && chmod 4751 /base");
    world.boxwright(&["export", "-o", "early.tar"]).fails(10, &["box base: ", "boxwright build"]);
    assert!(!world.root.join("early.tar").exists());
    world.boxwright(&["build"]).good();
    let built = references(&world);
    world.boxwright(&["export", "-o", "boxes.tar"]).good().says(&["wrote boxes.tar"]);
    let path = world.root.join("boxes.tar").display().to_string();
    for (name, reference) in BOXES.iter().zip(&built) {
        let stored = layers(&format!("docker://{reference}"));
        assert_eq!(layers(&format!("oci-archive:{path}:{name}")), stored, "{name}");
        // A docker archive names layers by what they unpack to.
        assert_eq!(layers(&format!("docker-archive:{path}:{reference}")).len(), stored.len(), "{name}");
    }
    let members = tell("tar", &["-tf", &path]);
    let shared = members.lines().filter(|line| line.starts_with("blobs/")).count();
    let distinct: std::collections::BTreeSet<&str> = members.lines().collect();
    assert_eq!(shared + 3, distinct.len(), "{members}");

    tell(
        "docker",
        &[&["image", "rm", "--force"][..], &built.iter().map(String::as_str).collect::<Vec<_>>()].concat(),
    );
    let said = tell("docker", &["load", "-i", &path]);
    assert!(built.iter().all(|reference| said.contains(reference)), "{said}");
    let mode = ["run", "--rm", "--network=none", &built[2], "stat", "-c%a", "/base"];
    assert_eq!(tell("docker", &mode).trim(), "4751");

    tell(
        "docker",
        &[&["image", "rm", "--force"][..], &built.iter().map(String::as_str).collect::<Vec<_>>()].concat(),
    );
    let loaded = world.boxwright(&["import", "boxes.tar", "--format", "json"]).good();
    assert_eq!(loaded.boxes("action"), ["loaded"; 3]);
    assert_eq!(tell("docker", &mode).trim(), "4751");
}

#[test]
fn the_same_boxes_give_the_same_bytes_however_they_are_packed() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    for (file, how) in
        [("1.tar", &[][..]), ("2.tar", &[]), ("z", &["--compress=zstd"]), ("g", &["--compress=gzip"])]
    {
        world.boxwright(&[&["export", "-o", file][..], how].concat()).good();
    }
    let read = |file: &str| fs::read(world.root.join(file)).unwrap();
    let plain = read("1.tar");
    assert!(plain == read("2.tar"));
    assert!(plain == zstd::decode_all(&read("z")[..]).unwrap());
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&read("g")[..]), &mut unpacked).unwrap();
    assert!(plain == unpacked);
    let piped = world.command(&["export", "--quiet", "-o", "-"]).output().unwrap();
    assert!(piped.status.success() && piped.stdout == plain);
    // One box is an archive without the others' layers.
    world.boxwright(&["export", "base", "-o", "base.tar"]).good();
    assert!(tell("tar", &["-tf", world.root.join("base.tar").to_str().unwrap()]).lines().count() < 10);
    // Nothing of an archive that cannot be written is left.
    world.boxwright(&["export", "-o", "none/boxes.tar"]).fails(2, &["failed to write none/boxes.tar"]);
}

#[test]
fn an_archive_is_pushed_where_its_keys_are_wanted_and_nowhere_else() {
    let (registry, other) = (Registry::start(&[]), Registry::start(&[]));
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    let digests = world.boxwright(&["plan", "--format", "json"]).good().boxes("digest");
    world.boxwright(&["export", "-o", "boxes.tar"]).good();
    world.configure(&other.host, boxwright_testing::world::CHAIN);
    let none = |registry: &Registry| BOXES.iter().all(|name| registry.tags(name).is_empty());

    // Who may not write learns so before anything is sent.
    let reader = other.beside("reader", &["--readonly"]);
    world
        .boxwright(&["import", "boxes.tar", "--push", "--registry", &reader.host])
        .fails(21, &["takes no push from here"]);
    assert!(none(&other));
    let fork = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "pull_request"),
        ("GITHUB_REPOSITORY", "a/b"),
        ("GITHUB_HEAD_REF", "topic"),
    ];
    let mut untrusted = world.command(&["import", "boxes.tar", "--push"]);
    let event = world.beside("event.json");
    fs::write(&event, r#"{"pull_request":{"head":{"repo":{"full_name":"fork/b"}}}}"#).unwrap();
    let untrusted = untrusted.envs(fork).env("GITHUB_EVENT_PATH", &event).output().unwrap();
    let said = String::from_utf8_lossy(&untrusted.stderr);
    assert_eq!(untrusted.status.code(), Some(21), "{said}");
    assert!(none(&other));
    // An archive that was spoiled, and one of other inputs.
    let mut bytes = fs::read(world.root.join("boxes.tar")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(world.root.join("spoiled.tar"), bytes).unwrap();
    world
        .boxwright(&["import", "spoiled.tar", "--push"])
        .fails(1, &["the content of sha256:", "nothing of the archive was used"]);
    world.replace("ci/test/one.txt", "one", "two");
    world.boxwright(&["import", "boxes.tar", "--push"]).fails(21, &["the archive holds test with key"]);
    assert!(none(&other));
    world.replace("ci/test/one.txt", "two", "one");

    let pushed = world.boxwright(&["import", "boxes.tar", "--push", "--format", "json"]).good();
    assert_eq!(pushed.boxes("action"), ["built"; 3]);
    assert_eq!(pushed.boxes("digest"), digests);
    assert!(pushed.json()["boxes"][0]["lease_until"].is_string());
    // As other programs see it, and as good as if it had been built there.
    for (reference, digest) in references(&world).iter().zip(&digests) {
        assert_eq!(skopeo(&[&format!("docker://{reference}")])["Digest"], digest.as_str());
    }
    world.boxwright(&["guard"]).good();
    world.boxwright(&["explain", "test", "--against", &world.keys()[2]]).good();
    let again = world.boxwright(&["import", "boxes.tar", "--push", "--format", "json"]).good();
    assert_eq!(again.boxes("action"), ["use"; 3]);
    assert!(attempt("docker", &["image", "inspect", &references(&world)[0]]).status.code() != Some(0));
}

#[test]
fn what_was_built_for_one_machine_alone_goes_to_another() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    // What is built for this machine has a name of its own in the engine, which others share.
    world.replace(
        "ci/Dockerfile",
        "echo build >",
        &format!("echo build >/dev/null {}; echo build >", unique()),
    );
    world.boxwright(&["build", "base"]).good();
    let reader = registry.beside("reader", &["--readonly"]);
    let fork = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        Ended::of(command.env("BOXWRIGHT_REGISTRY", &reader.host).output().unwrap())
    };
    world.write("ci/test/one.txt", &format!("from the fork {}\n", unique()));
    fork(&["export", "-o", "boxes.tar"]).fails(10, &["box build: not built yet for these inputs"]);
    fork(&["build", "--local"]).good();
    let ended = fork(&["export", "-o", "boxes.tar", "--format", "json"]).good();
    let repositories = ended.boxes("repository");
    assert_eq!(repositories[0], format!("{}/base", reader.host));
    for (repository, name) in repositories[1..].iter().zip(["/build", "/test"]) {
        // Between them what tells levels of trust and projects apart.
        assert!(repository.starts_with("boxwright.invalid/local/") && repository.ends_with(name));
    }
    // The same bytes each time, and a layout that others read.
    fork(&["export", "-o", "again.tar"]).good();
    assert!(
        fs::read(world.root.join("boxes.tar")).unwrap() == fs::read(world.root.join("again.tar")).unwrap()
    );
    let at = format!("oci-archive:{}:test", world.root.join("boxes.tar").display());
    let labels = skopeo(&["--config", &at])["config"]["Labels"].clone();
    assert_eq!(labels["io.boxwright.key"], world.keys()[2].as_str());

    // Another machine, whose engine has none of it.
    let names: Vec<String> =
        repositories.iter().zip(ended.boxes("tag")).map(|(name, tag)| format!("{name}:{tag}")).collect();
    for name in &names[1..] {
        tell("docker", &["rmi", "--force", name]);
    }
    fork(&["run", "test", "--", "true"]).exits(10);
    fork(&["import", "boxes.tar"]).good();
    let ran = fork(&["run", "test", "--", "cat", "/base", "/build", "/test/one.txt"]).good();
    assert!(ran.out.starts_with("base\nbuild\nfrom the fork "), "{}", ran.out);
    // It is no image of the registry's parents, and not pushed as one.
    world.boxwright(&["import", "boxes.tar", "--push"]).exits(1).says(&["test", "parent build"]);
    assert_eq!(registry.tags("test").len(), 0);
    for name in &names[1..] {
        attempt("docker", &["rmi", "--force", name]);
    }
}

#[test]
fn only_what_is_named_is_exported_and_its_size_is_that_of_its_layers() {
    use std::os::unix::fs::PermissionsExt;
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    let report = world.boxwright(&["export", "build", "-o", "one.tar", "--format", "json"]).good();
    assert_eq!(report.boxes("name"), ["build"]);
    let raw = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", references(&world)[1])];
    let manifest: serde_json::Value = serde_json::from_str(&tell("skopeo", &raw)).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
    let bytes: u64 = layers.map(|layer| layer["size"].as_u64().unwrap()).sum();
    assert_eq!(report.json()["boxes"][0]["bytes"], bytes);
    // As any file that the caller makes.
    let mask = u32::from_str_radix(tell("sh", &["-c", "umask"]).trim(), 8).unwrap();
    let mode = fs::metadata(world.root.join("one.tar")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666 & !mask);
}
