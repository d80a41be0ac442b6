//! Directories in an image's place, and working copies in the place of pinned revisions.

use std::fs;
use std::os::unix::fs::symlink;

use boxwright_testing::witness::{Registry, busybox, tell};
use boxwright_testing::world::{Ended, World, unique, until};

const CHANNELS: &str = "[channel.main]\ntag = \"main\"\n[channel.release]\ntag = 'r.*'\nimmutable = true\n";

/// No image of a directory stays in the engine; those of other tests come and go.
fn none_left() {
    let left = || tell("docker", &["image", "ls", "-q", "boxwright.invalid/context"]);
    until("images of directories are gone", || left().is_empty());
}

/// Runs a command in the box.
fn in_box(world: &World, arguments: &[&str], command: &str) -> String {
    world.boxwright(&[arguments, &["run", "only", "--", "sh", "-c", command]].concat()).good().out
}

#[test]
fn a_directory_is_read_by_from_copy_and_mount() {
    let registry = Registry::start(&[]);
    let world = World::empty();
    let contexts = "contexts = { docs = \"dir:some/docs\", Start = \"dir:start\" }";
    world.configure(&registry.host, &format!("[box.only]\n{contexts}\n"));
    let from = busybox();
    world.write(
        "Dockerfile",
        &format!(
            "FROM start AS started\nCOPY own.txt /\n\nFROM {from}\nRUN echo {}\nCOPY --from=docs sub /sub\n\
             COPY --from=docs / /all\nCOPY --from=0 / /started\nCOPY . /here\n\
             RUN --mount=from=docs,source=sub,target=/m cp -a /m/f /mounted\n",
            unique()
        ),
    );
    world.write(".dockerignore", "*\n!own.txt\n");
    world.write("own.txt", "own\n");
    for (path, text) in [
        ("start/begun", "begun\n"),
        ("some/docs/sub/f", "text\n"),
        ("some/docs/run", "#!/bin/sh\n"),
        ("some/docs/left-out", "x"),
        ("some/docs/.dockerignore", "left-out\n"),
    ] {
        world.write(path, text);
    }
    tell("chmod", &["755", world.root.join("some/docs/run").to_str().unwrap()]);
    symlink("sub/f", world.root.join("some/docs/link")).unwrap();
    fs::create_dir(world.root.join("some/docs/empty")).unwrap();
    world.commit();
    let built = world.boxwright(&["build", "--format", "json"]).good();
    assert!(!built.err.contains("not as committed"), "{}", built.err);
    none_left();
    let seen = in_box(
        &world,
        &[],
        "cd / && find all sub mounted started here | sort && cat mounted sub/f && \
        readlink all/link && test -x all/run && stat -c '%a %u %Y' all/sub/f",
    );
    let expect = "all\nall/.dockerignore\nall/empty\nall/link\nall/run\nall/sub\nall/sub/f\nhere\nhere/own.txt\n\
        mounted\nstarted\nstarted/begun\nstarted/own.txt\nsub\nsub/f\ntext\ntext\nsub/f\n644 0 0\n";
    assert_eq!(seen, expect);

    // Every byte that it reads counts, and nothing else.
    let first = world.keys();
    world.write("some/docs/left-out", "y");
    fs::create_dir(world.root.join("some/docs/.git")).unwrap();
    world.write("some/docs/.git/index", "y");
    assert_eq!(world.keys(), first);
    for path in ["some/docs/sub/f", "start/begun"] {
        let before = fs::read_to_string(world.root.join(path)).unwrap();
        world.write(path, "other");
        assert_ne!(world.keys(), first, "{path}");
        assert!(world.boxwright(&["plan"]).good().says(&["not as committed"]).out.contains("missing"));
        world.write(path, &before);
        assert_eq!(world.keys(), first);
    }
    fs::remove_file(world.root.join("some/docs/link")).unwrap();
    assert_ne!(world.keys(), first);
}

#[test]
fn directories_that_cannot_be_used_are_named() {
    let world = World::empty();
    world.configure("127.0.0.1:1", "[box.only]\ncontexts = { docs = \"dir:docs\" }\n");
    world.write("Dockerfile", "FROM docs\n");
    world.boxwright(&["keys"]).fails(2, &["box only: context docs", "docs"]);
    fs::create_dir(world.root.join("docs")).unwrap();
    world.boxwright(&["keys"]).fails(2, &["box only: context docs", "holds nothing"]);
    world.write("docs/f", "x");
    world.boxwright(&["keys"]).good();
    fs::remove_dir_all(world.root.join("docs")).unwrap();
    fs::create_dir(world.beside("elsewhere")).unwrap();
    symlink(world.beside("elsewhere"), world.root.join("docs")).unwrap();
    world.boxwright(&["keys"]).fails(2, &["docs leads out of"]);
    world.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let keys = world.boxwright(&["plan"]).exits(20);
    assert!(keys.err.contains("nothing uses the context `docs`"), "{}", keys.err);
}

#[test]
fn a_build_that_fails_leaves_no_image_of_its_directory() {
    let registry = Registry::start(&[]);
    let world = World::empty();
    world.configure(&registry.host, "[box.only]\ncontexts = { docs = \"dir:docs\" }\n");
    let from = busybox();
    let steps = format!("COPY --from=docs /f /\nRUN echo {} && false", unique());
    world.write("Dockerfile", &format!("FROM {from}\n{steps}\n"));
    world.write("docs/f", "x");
    world.boxwright(&["build"]).exits(1);
    none_left();
}

/// A pinned revision that the stage `ec` would fetch, in a box and in one that stands on it.
fn pinned(registry: &Registry) -> World {
    let world = World::empty();
    let config = "[pin.ec]\ngit = \"https://git.invalid/ec.git\"\nref = \"main\"\n\
        [pin.tool]\nurl = \"https://git.invalid/tool\"\n\
        [box.only]\ntarget = \"only\"\nargs = { EC_REV = \"{pin.ec}\" }\n\
        [box.other]\ntarget = \"other\"\n\
        [box.upper]\ntarget = \"upper\"\ncontexts = { only = \"box:only\" }\n";
    world.configure(&registry.host, &format!("{config}{CHANNELS}"));
    let from = busybox();
    world.write(
        "Dockerfile",
        &format!(
            "FROM {from} AS ec\nARG EC_REV\nRUN mkdir /src && echo pinned $EC_REV > /src/what\n\n\
             FROM {from} AS only\nARG EC_REV\nRUN echo {} && echo $EC_REV > /rev\nCOPY --from=ec /src /src\n\n\
             FROM only AS upper\nRUN touch /upper\n\nFROM {from} AS other\nRUN touch /other\n",
            unique()
        ),
    );
    let commit = "0123456789".repeat(4);
    let lock = "version = 1\n\n[pin.ec]\ngit = \"https://git.invalid/ec.git\"\nref = \"main\"\n";
    world.write("boxwright.lock", &format!("{lock}commit = \"{commit}\"\n"));
    let copy = world.beside("ec");
    fs::create_dir_all(copy.join("src")).unwrap();
    fs::create_dir_all(copy.join(".git")).unwrap();
    fs::write(copy.join("src/what"), "working copy\n").unwrap();
    fs::write(copy.join(".git/HEAD"), "1").unwrap();
    world.commit();
    world
}

#[test]
fn a_working_copy_takes_the_place_of_a_pinned_revision() {
    let registry = Registry::start(&[]);
    let world = pinned(&registry);
    let copy = world.beside("ec");
    let source = format!("ec={}", copy.display());
    let local = ["--source", &source[..]];
    let call = |arguments: &[&str]| world.boxwright(&[&local[..], arguments].concat());
    let pinned = world.boxwright(&["keys", "--format", "json"]).good();
    let keys = call(&["keys", "--format", "json"]).good();
    assert_eq!(locals(&pinned), ["", "", ""]);
    let names = keys.boxes("name");
    let marked: Vec<String> =
        names.iter().zip(locals(&keys)).map(|(name, local)| format!("{name}:{local}")).collect();
    assert_eq!(marked, ["only:ec", "other:", "upper:ec"]);
    let moved: Vec<bool> =
        pinned.boxes("key").iter().zip(keys.boxes("key")).map(|(before, now)| *before != now).collect();
    assert_eq!(moved, [true, false, true]);
    for command in ["keys", "plan"] {
        let table = call(&[command]).good().out;
        let lines: Vec<&str> = table.lines().filter(|line| line.ends_with("local ec")).collect();
        assert_eq!(lines.len(), 2, "{table}");
    }

    call(&["build"]).good();
    none_left();
    let seen = in_box(&world, &local, "cat /src/what /rev && test ! -e /.git && ls /src");
    let value = seen.lines().nth(1).unwrap().to_owned();
    assert!(value.starts_with("local-") && value.len() == 46, "{seen}");
    assert_eq!(seen, format!("working copy\n{value}\nwhat\n"));
    let record = registry.curl(&[], &format!("boxwright-ledger/manifests/{}", registry.records("run")[0])).2;
    assert!(record.contains(r#"\"local\":[\"ec\"]"#), "{record}");

    // It is hashed by content: not by path, not by what git does to it.
    let key = || call(&["keys", "--format", "json"]).good().boxes("key");
    fs::write(copy.join(".git/HEAD"), "2").unwrap();
    assert_eq!(key(), keys.boxes("key"));
    let elsewhere = world.beside("elsewhere");
    tell("cp", &["-r", copy.to_str().unwrap(), elsewhere.to_str().unwrap()]);
    let mut command = world.command(&["keys", "--format", "json"]);
    let by_variable = Ended::of(command.env("BOXWRIGHT_SOURCE_EC", &elsewhere).output().unwrap()).good();
    assert_eq!(by_variable.boxes("key"), keys.boxes("key"));
    fs::write(copy.join("src/what"), "edited\n").unwrap();
    assert_ne!(key()[0], keys.boxes("key")[0]);
    fs::write(copy.join("src/what"), "working copy\n").unwrap();

    // What was built so can go to a channel that moves, and to no release.
    call(&["promote", "r1", "--yes"])
        .fails(21, &["r1 is immutable", "working copies: ec", "without --source"]);
    assert!(registry.records("set").is_empty() && registry.digest("other", "r1").is_none());
    world.boxwright(&["promote", "r1", "--yes"]).fails(10, &["only"]);
    call(&["promote", "main", "--yes"]).good();
    let record = registry.curl(&[], "boxwright-ledger/manifests/set.main.1").2;
    assert!(record.contains(r#"\"local\":[\"ec\"]"#), "{record}");
    // The same boxes as pinned.
    world.boxwright(&["build", "--wait", "0s"]).good();
    assert!(in_box(&world, &[], "cat /src/what").starts_with("pinned 0123456789"));
    world.boxwright(&["promote", "r1", "--yes"]).good();
}

/// The working copies of each box of a JSON report.
fn locals(report: &Ended) -> Vec<String> {
    let boxes = report.json()["boxes"].as_array().unwrap().clone();
    let words = |one: &serde_json::Value| -> String {
        let names = one["local"].as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    boxes.iter().map(words).collect()
}

#[test]
fn what_no_working_copy_can_stand_in_for() {
    let registry = Registry::start(&[]);
    let world = pinned(&registry);
    let copy = world.beside("ec").display().to_string();
    let known = ["names no git pin and no directory context", "ec"];
    for name in ["tool", "only", "nothing"] {
        world.boxwright(&["keys", "--source", &format!("{name}={copy}")]).fails(2, &known);
    }
    for path in [format!("{copy}/absent"), format!("{copy}/src/what")] {
        let says = format!("--source ec: {path} is not a directory");
        world.boxwright(&["keys", "--source", &format!("ec={path}")]).fails(2, &[&says]);
    }
    world.boxwright(&["keys", "--source", "ec"]).exits(2);
    // Without a stage of that name the build sees the value alone.
    world.replace("Dockerfile", " AS ec", " AS fetch");
    world.replace("Dockerfile", "--from=ec", "--from=fetch");
    let note = "no stage is called `ec`";
    let source = format!("ec={copy}");
    assert!(world.boxwright(&["plan", "--source", &source]).good().err.contains(note));
    assert!(!world.boxwright(&["plan"]).good().err.contains(note));
    // A lock never holds a working copy.
    let before = fs::read_to_string(world.root.join("boxwright.lock")).unwrap();
    world.replace("boxwright.toml", "[pin.tool]\nurl = \"https://git.invalid/tool\"\n", "");
    world.boxwright(&["lock", "--source", &source]).good();
    assert_eq!(fs::read_to_string(world.root.join("boxwright.lock")).unwrap().matches("local-").count(), 0);
    assert!(before.contains("0123456789"));
}
