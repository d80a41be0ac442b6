//! Dockerfiles and contexts that are odd, and that the engine takes.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use boxwright_testing::witness::{attempt, busybox, tell};
use boxwright_testing::world::{World, unique};

/// A project of one box, whose Dockerfile this is; its images stay on this machine.
fn project(dockerfile: &str) -> World {
    let world = World::empty();
    world.configure("embedded", "[box.only]\n");
    world.write("Dockerfile", dockerfile);
    world
}

#[test]
fn what_only_another_frontend_knows_is_passed_on() {
    for (line, named) in [
        ("COPY --link=True a /", None),
        ("COPY --link=1 --chmod=u=rw a /", None),
        ("HEALTHCHECK --interval=5 CMD x", None),
        ("EXPOSE 80/quic", None),
        ("COPY --lnik a /", Some("`COPY --lnik` (did you mean `--link`?)")),
        ("FETCH --everything", Some("the instruction `FETCH`")),
        ("RUN --mount=type=brand-new,target=/x true", Some("`type=brand-new` in --mount")),
    ] {
        let world = project(&format!("FROM scratch\n{line}\n"));
        world.write("a", "a");
        world.write("b", "b");
        world.commit();
        let keys = world.keys();
        let plan = world.without_engine(&["plan"]).good();
        assert_eq!(plan.err.contains("nothing is known about"), named.is_some(), "{line}: {}", plan.err);
        assert!(plan.err.contains(named.unwrap_or_default()), "{line}: {}", plan.err);
        // What is known to read one file reads that one; what is not known may read any.
        world.write("b", "other");
        assert_eq!(world.keys() != keys, named.is_some(), "{line}");
    }
}

/// What stands below `/x` in what docker makes of a project, by docker alone.
fn by_docker(world: &World) -> Result<String, String> {
    let tag = format!("boxwright-witness:{}", unique());
    let built = attempt("docker", &["build", "--quiet", "--tag", &tag, world.root.to_str().unwrap()]);
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned());
    }
    let told = tell("docker", &[&["run", "--rm", &tag][..], &LIST].concat());
    tell("docker", &["rmi", "--force", &tag]);
    Ok(told)
}

const LIST: [&str; 3] = [
    "sh",
    "-c",
    "cd /x && find . | sort | while read f; do echo \"$f $(readlink $f || cat $f 2>/dev/null)\"; done",
];

/// The same by boxwright.
fn by_boxwright(world: &World) -> String {
    world.boxwright(&["build", "--local"]).good();
    world.boxwright(&[&["run", "only", "--"][..], &LIST].concat()).good().out
}

/// Projects with links: the Dockerfile's lines, which docker and boxwright make the same of.
#[test]
fn links_bring_what_they_lead_to_and_nothing_else() {
    let world = project("");
    for (path, text) in
        [("real/file", "f"), ("real/more", "m"), ("other/f", "o"), ("unread", "u"), ("g/plain", "p")]
    {
        world.write(path, text);
    }
    for (link, target) in [
        ("link", "real/file"),
        ("chain", "./link"),
        ("dir", "real"),
        ("real/up", "../other"),
        ("g/one", "../real/file"),
        ("abs", "/real"),
        ("above", "../../real/file"),
        ("dirs", "dir"),
    ] {
        symlink(target, world.root.join(link)).unwrap();
    }
    for (lines, read) in [
        ("COPY link /x/", &["link", "real/file"][..]),
        ("COPY chain /x/y", &["chain", "link", "real/file"]),
        ("COPY dir /x/", &["dir", "real/file", "real/more", "real/up"]),
        ("COPY dir/file /x/", &["dir", "real/file"]),
        ("COPY dirs/more /x/", &["dir", "dirs", "real/more"]),
        ("COPY dir/up/f /x/", &["dir", "other/f", "real/up"]),
        ("COPY abs/file above /x/", &["above", "abs", "real/file"]),
        ("COPY g/* /x/", &["g/one", "g/plain", "real/file"]),
        ("COPY g /x/", &["g/one", "g/plain"]),
        ("COPY dir/m* /x/", &["dir", "real/more"]),
        ("ADD link chain /x/", &["chain", "link", "real/file"]),
    ] {
        world.write("Dockerfile", &format!("FROM {}\n{lines}\n", busybox()));
        let explained = world.without_engine(&["explain", "only", "--format", "json"]).good().json();
        let entries = explained["entries"].as_array().unwrap_or_else(|| panic!("{explained:#}"));
        let entries: Vec<&str> = entries.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
        assert_eq!(entries, read, "{lines}");
        // Without BuildKit docker does not look for a pattern through a link.
        let made = by_boxwright(&world);
        let expect =
            if lines.contains("dir/m") { ". \n./more m\n".to_owned() } else { by_docker(&world).unwrap() };
        assert_eq!(made, expect, "{lines}");
    }
}

#[test]
fn links_that_lead_nowhere_are_named() {
    let world = project("");
    world.write("f", "f");
    for (link, target, leads) in [
        ("gone", "nowhere", "leads to `nowhere`"),
        ("out", "../../../etc/passwd", "leads to `etc/passwd`"),
        ("abs", "/etc/passwd", "leads to `etc/passwd`"),
        ("self", "self", "leads to itself"),
        ("one", "two/x", "leads to itself"),
        ("two", "one", "leads to itself"),
    ] {
        symlink(target, world.root.join(link)).unwrap();
        world.write("Dockerfile", &format!("FROM {}\nCOPY f {link} /x/\n", busybox()));
        by_docker(&world).unwrap_err();
        if link != "one" {
            let place = format!("Dockerfile:2:8: `{link}` is, or stands below, a symbolic link that {leads}");
            world.without_engine(&["keys"]).fails(2, &[&place]);
        }
    }
}

#[test]
fn of_parents_and_exclude_only_what_matches_is_read() {
    let world = project("");
    for path in ["package.json", "a/package.json", "a/b/package.json", "a/b/x.md", "c/x.md", "c/y"] {
        world.write(path, "text");
    }
    for (line, read) in [
        ("COPY --parents **/package.json ./", &["a/b/package.json", "a/package.json", "package.json"][..]),
        ("COPY --parents */package.json ./", &["a/package.json"]),
        ("COPY --parents a/./**/package.json ./", &["a/b/package.json", "a/package.json"]),
        ("COPY --parents a/./b/package.json ./", &["a/b/package.json"]),
        ("COPY --parents --exclude=a/b **/package.json ./", &["a/package.json", "package.json"]),
        ("COPY --exclude=**/*.md a c /", &["a/b/package.json", "a/package.json", "c/y"]),
        ("ADD --exclude=b a /", &["a/package.json"]),
        ("COPY --exclude=* --exclude=!y c /", &["c/y"]),
    ] {
        world.write("Dockerfile", &format!("FROM scratch\n{line}\n"));
        let explained = world.without_engine(&["explain", "only", "--format", "json"]).good().json();
        let entries = explained["entries"].as_array().unwrap();
        let entries: Vec<&str> = entries.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
        assert_eq!(entries, read, "{line}");
    }
}

#[test]
fn what_no_context_can_hold_is_left_out_and_named() {
    let world = project(&format!("FROM {}\nCOPY d /x/\n", busybox()));
    world.write("d/file", "f");
    world.write("d/sub/file", "f");
    world.commit();
    let keys = world.keys();
    tell("mkfifo", &[world.root.join("d/queue").to_str().unwrap()]);
    let _socket = UnixListener::bind(world.root.join("d/sub/fsmonitor--daemon.ipc")).unwrap();
    let _unread = UnixListener::bind(world.root.join("unread")).unwrap();
    assert_eq!(world.keys(), keys);
    let plan = world.without_engine(&["plan"]).good();
    let says = "special-file: `d/queue` is a FIFO, which no build context can hold; it is left out";
    let plan = plan.says(&[says, "special-file: `d/sub/fsmonitor--daemon.ipc` is a socket"]);
    assert!(!plan.err.contains("unread"), "{}", plan.err);
    assert_eq!(by_boxwright(&world), ". \n./file f\n./sub \n./sub/file f\n");
    world.write("boxwright.toml", "registry = \"embedded\"\n[box.only]\nallow = [\"special-file\"]\n");
    let plan = world.without_engine(&["plan"]).good();
    assert!(!plan.err.contains("special-file"), "{}", plan.err);
}

#[test]
fn a_repository_that_is_copied_is_named_and_refused_unless_it_is_meant() {
    let world = project(&format!("FROM {}\nCOPY deps /deps\n", busybox()));
    world.write("deps/file", "f");
    world.commit();
    world.write("deps/lib/f", "f");
    let lib = world.root.join("deps/lib");
    let at = lib.to_str().unwrap();
    tell("git", &["init", "-q", at]);
    let who = ["-C", at, "-c", "user.name=Test", "-c", "user.email=test@example.org"];
    tell("git", &[&who[..], &["add", "f"]].concat());
    tell("git", &[&who[..], &["commit", "-q", "--message=state"]].concat());
    let says = "box only: the build reads deps/lib/.git, which is another one in each clone";
    for command in ["keys", "plan"] {
        world.without_engine(&[command]).fails(2, &[says, "allow = [\"git-directory\"]"]);
    }
    world.write("Dockerfile", "FROM scratch\nCOPY . /\n");
    let says = "box only: the build reads .git, deps/lib/.git, which is another one in each clone";
    world.without_engine(&["keys"]).fails(2, &[says]);
    // What is not named is not known to be read.
    world.write("Dockerfile", "FROM scratch\nFETCH\n");
    let plan = world.without_engine(&["plan"]).good();
    plan.says(&["git-directory: .git, deps/lib/.git may be another one in each clone"]);
    world.write("Dockerfile", "FROM scratch\nCOPY deps /\n");
    world.write(".dockerignore", "**/.git\n");
    world.without_engine(&["keys"]).good();
    world.write(".dockerignore", "");
    world.configure("embedded", "[box.only]\nallow = [\"git-directory\"]\n");
    let plan = world.without_engine(&["plan"]).good();
    // What stands in the inner repository is in no commit of this one.
    plan.says(&["dirty: not as committed: "]);
    world.commit();
    world.write("deps/lib/f", "changed");
    world.without_engine(&["plan"]).good().says(&["dirty: not as committed: deps/lib/"]);
    // The file of a submodule is the same everywhere.
    world.configure("embedded", "[box.only]\n");
    tell("rm", &["-r", lib.join(".git").to_str().unwrap()]);
    world.write("deps/lib/.git", "gitdir: ../../.git/modules/lib\n");
    world.without_engine(&["keys"]).good();
}

#[test]
fn caches_that_steps_mount_are_named() {
    let lines = "RUN --mount=type=cache,id=cargo,target=/c --mount=type=cache,target=/d --mount=type=tmpfs,target=/e true";
    let world = project(&format!("FROM {}\n{lines}\n", busybox()));
    let plan = world.without_engine(&["plan"]).good();
    let plan = plan
        .says(&["Dockerfile:2: cache-mount: mounts the cache cargo,", "cache-mount: mounts the cache /d,"]);
    assert_eq!(plan.err.matches("cache-mount").count(), 2, "{}", plan.err);
    world.configure("embedded", "[box.only]\nallow = [\"cache-mount\"]\n");
    let plan = world.without_engine(&["plan"]).good();
    assert!(!plan.err.contains("cache-mount"), "{}", plan.err);
}

#[test]
fn an_argument_that_no_box_declares_is_told() {
    let world = project("");
    world.configure("embedded", "[box.one]\ntarget = \"one\"\n[box.two]\ntarget = \"two\"\n");
    world.write("Dockerfile", "FROM scratch AS one\nARG VERSION\nFROM scratch AS two\nARG OTHER\n");
    let told = |arguments: &[&str]| {
        let ended = world.without_engine(arguments).good();
        ended.err.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let missed = "warning: none of the boxes one, two declares the argument `VERSOIN`, which so changes nothing; \
        did you mean `VERSION`?";
    for command in ["keys", "plan"] {
        assert_eq!(told(&[command, "--arg", "VERSOIN=1", "--arg", "VERSION=2"]), [missed], "{command}");
    }
    let far = "warning: none of the boxes one, two declares the argument `X`, which so changes nothing";
    assert_eq!(told(&["keys", "--arg", "X=1"]), [far]);
    assert!(told(&["keys", "--arg", "OTHER=1", "--arg", "HTTP_PROXY=x", "--arg", "TARGETARCH=x"]).is_empty());
    assert!(told(&["keys"]).is_empty());
}

#[test]
fn a_frontend_is_an_image_from_outside() {
    let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
    let world = project("# syntax=docker/dockerfile:1\nFROM scratch\n# note\n");
    world
        .without_engine(&["keys"])
        .fails(2, &["image docker.io/docker/dockerfile:1 is not in boxwright.lock"]);
    let lock = |name: &str, digest: &str| {
        world.write("boxwright.lock", &format!("version = 1\n\n[image.\"{name}\"]\ndigest = \"{digest}\"\n"));
    };
    lock("docker.io/docker/dockerfile:1", &digest("a"));
    let first = world.keys();
    lock("docker.io/docker/dockerfile:1", &digest("b"));
    let second = world.keys();
    assert_ne!(first, second);
    // A mirror moves no key; comments of a known frontend do not either.
    world.write("Dockerfile", "# syntax=docker/dockerfile:1\nFROM scratch\n# another\n");
    assert_eq!(world.keys(), second);
    // No context of that name takes its place.
    world.write("other/f", "f");
    world.configure("embedded", "[box.only]\ncontexts = { \"docker/dockerfile:1\" = \"dir:other\" }\n");
    let explained = world.without_engine(&["explain", "only", "--format", "json"]).good();
    assert!(explained.out.contains(&digest("b")), "{}", explained.out);
    // The argument goes before the line.
    world.configure("embedded", "[box.only]\nargs = { BUILDKIT_SYNTAX = \"r.example/front:2 x\" }\n");
    world.without_engine(&["keys"]).fails(2, &["image r.example/front:2 is not in boxwright.lock"]);
    lock("r.example/front:2", &digest("c"));
    let strange = world.keys();
    // Of a frontend that is not known all may count.
    world.write("Dockerfile", "# syntax=docker/dockerfile:1\nFROM scratch\n# one more\n");
    assert_ne!(world.keys(), strange);
}
