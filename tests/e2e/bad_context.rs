//! Dockerfiles and contexts that cannot be used.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use boxwright_testing::witness::{Registry, busybox};
use boxwright_testing::world::{Ended, World, unique};

/// The chain; nothing here gets as far as asking a registry.
fn world() -> World {
    World::chain("127.0.0.1:1")
}

#[test]
fn a_dockerfile_that_is_not_there_or_cannot_be_read() {
    let world = world();
    fs::rename(world.root.join("ci/Dockerfile"), world.root.join("ci/Dockerfile.off")).unwrap();
    for command in ["keys", "plan", "build"] {
        world.without_engine(&[command]).fails(2, &["box base", "there is no ci/Dockerfile", "dockerfile ="]);
    }
    fs::create_dir(world.root.join("ci/Dockerfile")).unwrap();
    world
        .without_engine(&["keys"])
        .fails(1, &["box base: cannot read", "ci/Dockerfile", "it is a directory"]);
    fs::remove_dir(world.root.join("ci/Dockerfile")).unwrap();
    world.write("ci/Dockerfile", "FROM scratch AS base\nRUM true\n");
    // Which instructions there are is for the engine to say.
    world.without_engine(&["keys", "base"]).good();
    world.write("ci/Dockerfile", "FROM boxwright-busybox:1 AS base\nCOPY --from=9 a /\n");
    world.without_engine(&["keys"]).fails(2, &["box base", "ci/Dockerfile:2", "`9`"]);
    world.write("ci/Dockerfile", "");
    world.without_engine(&["keys"]).fails(2, &["box base", "ci/Dockerfile"]);
}

#[test]
fn a_stage_that_is_not_there_names_the_nearest() {
    let world = world();
    world.replace("boxwright.toml", "target = \"test\"", "target = \"tets\"");
    world.without_engine(&["build"]).fails(2, &["box test", "ci/Dockerfile", "`tets`", "`test`"]);
}

#[test]
fn a_copy_source_that_is_not_there() {
    let world = world();
    world.replace("ci/Dockerfile", "COPY test /test", "COPY tests /test");
    world.without_engine(&["keys", "base"]).good();
    for command in ["keys", "plan", "build"] {
        world.without_engine(&[command]).fails(
            2,
            &["box test: ci/Dockerfile:8:6: `tests` matches nothing", "    8 | COPY tests /test\n"],
        );
    }
    world.replace("ci/Dockerfile", "COPY tests", "COPY test");
    world.write("ci/.dockerignore", "test\n");
    world.without_engine(&["keys"]).fails(2, &["`test` matches nothing", ".dockerignore"]);
}

#[test]
fn a_context_outside_the_repository() {
    let world = world();
    let outside = world.beside("outside");
    fs::create_dir_all(outside.join("test")).unwrap();
    fs::copy(world.root.join("ci/Dockerfile"), outside.join("Dockerfile")).unwrap();
    fs::write(outside.join("test/secret"), "x").unwrap();
    fs::rename(world.root.join("ci"), world.root.join("moved")).unwrap();
    symlink(&outside, world.root.join("ci")).unwrap();
    world.without_engine(&["build"]).fails(2, &["box base", "ci", "leads out of"]);
    fs::remove_file(world.root.join("ci")).unwrap();
    world.without_engine(&["build"]).fails(2, &["box base", "there is no ci/Dockerfile"]);

    // A link inside of the context is copied as a link: what it points to is never read.
    fs::rename(world.root.join("moved"), world.root.join("ci")).unwrap();
    let keys = world.keys();
    symlink(outside.join("test/secret"), world.root.join("ci/test/link")).unwrap();
    let linked = world.keys();
    assert_ne!(keys[2], linked[2]);
    fs::write(outside.join("test/secret"), "y").unwrap();
    assert_eq!(world.keys(), linked);
}

#[test]
fn an_ignore_file_outside_the_repository() {
    let world = world();
    let outside = world.beside("ignore");
    fs::write(&outside, "test/one.txt\n").unwrap();
    for name in ["ci/.dockerignore", "ci/Dockerfile.dockerignore"] {
        symlink(&outside, world.root.join(name)).unwrap();
        world.without_engine(&["keys"]).fails(2, &["box base", name, "leads out of"]);
        fs::remove_file(world.root.join(name)).unwrap();
    }
    // One that stays inside is read.
    let keys = world.keys();
    world.write("ci/ignored", "test/one.txt\n");
    symlink("ignored", world.root.join("ci/.dockerignore")).unwrap();
    assert_ne!(world.keys()[2], keys[2]);
}

#[test]
fn a_file_that_may_not_be_read() {
    let world = world();
    fs::set_permissions(world.root.join("ci/test/one.txt"), fs::Permissions::from_mode(0o0)).unwrap();
    for command in ["keys", "build"] {
        let (_, mut call) = world.as_ordinary_user(1234, &[command]);
        let ended = Ended::of(call.output().unwrap());
        ended.fails(1, &["box test", "ci/test/one.txt", "Permission denied"]);
    }
    // Only the box that reads it is concerned.
    let (_, mut call) = world.as_ordinary_user(1234, &["keys", "build"]);
    Ended::of(call.output().unwrap()).good();
    fs::set_permissions(world.root.join("ci/test"), fs::Permissions::from_mode(0o0)).unwrap();
    let (_, mut call) = world.as_ordinary_user(1234, &["keys"]);
    Ended::of(call.output().unwrap()).fails(1, &["box test", "ci/test", "Permission denied"]);
    fs::set_permissions(world.root.join("ci/test"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_no_build_can_read() {
    let world = world();
    boxwright_testing::witness::tell("mkfifo", &[world.root.join("ci/test/pipe").to_str().unwrap()]);
    let keys = |world: &World| world.without_engine(&["keys"]).good().out;
    let with = keys(&world);
    world.without_engine(&["plan"]).exits(20).says(&["special-file", "test/pipe"]);
    std::fs::remove_file(world.root.join("ci/test/pipe")).unwrap();
    assert_eq!(keys(&world), with);
}

#[test]
fn arguments_that_fit_nothing() {
    let world = world();
    world.replace("boxwright.toml", "target = \"test\"", "target = \"test\"\nargs = { VERSION = \"1\" }");
    world.without_engine(&["keys"]).fails(2, &["box test", "ci/Dockerfile", "VERSION"]);
    world.replace("boxwright.toml", "args = { VERSION", "args = { X = \"{pin.rust}\", VERSION");
    world.without_engine(&["keys"]).fails(2, &["no pin `rust`", "boxwright.toml:"]);
}

/// Two boxes of which the second stands on the first, each with a file of its own.
fn pair(registry: &Registry, second: &str) -> World {
    let world = World::empty();
    let boxes = "[box.a]\ndockerfile = \"D1\"\n[box.b]\ndockerfile = \"D2\"\ncontexts = { a = \"box:a\" }\n";
    world.configure(&registry.host, boxes);
    world.write("D1", &format!("FROM {}\nLABEL a={}\n", busybox(), unique()));
    world.write("D2", second);
    world.commit();
    world
}

#[test]
fn what_the_engine_cannot_do_is_told_before_anything_is_built() {
    let registry = Registry::start(&[]);
    let needs = "FROM a\nCOPY --from=a /bin/sh /x\nRUN <<E\ntrue\nE\nRUN --network=none true\n";
    let world = pair(&registry, &format!("{needs}HEALTHCHECK --start-interval=1s CMD true\n"));
    world.boxwright(&["build"]).fails(
        1,
        &[
            "this engine is Docker Engine 20.10",
            "box b: D2:3:1: a here-document needs Docker Engine 23 or later",
            "    3 | RUN <<E\n",
            "box b: D2:6:5: `RUN --network` needs Docker Engine 23",
            "box b: D2:7:13: `HEALTHCHECK --start-interval` needs Docker Engine 25",
            "nothing was built",
        ],
    );
    // Nor is anything built for this machine alone.
    let local = world.boxwright(&["build", "--local"]).fails(1, &["box b: D2:3:1: a here-document needs"]);
    assert!(!local.err.contains("building"), "{}", local.err);
    assert!(registry.tags("a").is_empty(), "the parent was pushed");
    // What none of them is known to take is the engine's to refuse.
    world.write("D2", "FROM a\nRUN --bogus true\n");
    world.without_engine(&["keys"]).good();
    let ended = world.boxwright(&["build"]).exits(1);
    assert!(format!("{}{}", ended.out, ended.err).contains("bogus"), "{}{}", ended.out, ended.err);
}

/// The frontend of this engine reads the whole file that it is sent.
#[test]
fn what_another_stage_needs_stops_no_box() {
    let registry = Registry::start(&[]);
    let world = World::empty();
    world.configure(&registry.host, "[box.a]\ntarget = \"a\"\n");
    let others = "FROM scratch AS z\nRUN <<E\necho hi\nE\nCOPY --link f /\n";
    let steps = format!("FROM {} AS a\nLABEL a={}\n", busybox(), unique());
    world.write("Dockerfile", &format!("{others}{steps}FROM a\nRUN --network=none true\n"));
    world.commit();
    world.boxwright(&["build"]).good();
}
