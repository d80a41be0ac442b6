//! What is told of boxes without asking the registry.

use std::collections::{BTreeMap, BTreeSet};

use boxwright::config;
use boxwright::exec::{self, ResolvedBox};
use boxwright::inputs::Reads;

use crate::{CONFIG, DOCKERFILE, World};

#[test]
fn triggers_of_a_parent_read_the_context_of_its_child() {
    let world = World::new();
    let with = |trigger: &str| {
        world.write(
            "Dockerfile",
            &DOCKERFILE.replace("COPY base.txt /\n", &format!("COPY base.txt /\n{trigger}\n")),
        );
        world.try_keys()
    };
    let read = |keyed: &ResolvedBox| -> Vec<String> {
        keyed.manifest.entries.iter().map(|entry| entry.path.to_string()).collect()
    };
    let plain = with("ONBUILD RUN make").unwrap();
    let keys = with("ONBUILD COPY test.sh /").unwrap();
    let all: Vec<String> = [read(&plain[1]), vec!["test.sh".to_owned()]].concat();
    assert_eq!(read(&keys[1]).into_iter().collect::<BTreeSet<_>>(), all.into_iter().collect());
    // It fires once: the child's child is as it was, and the box itself reads what it read.
    assert_eq!((read(&keys[0]), read(&keys[2])), (read(&plain[0]), read(&plain[2])));
    world.write("test.sh", "changed\n");
    assert_ne!(world.keys()[1].wanted.tag, keys[1].wanted.tag);

    let keys = with("ONBUILD COPY . /").unwrap();
    let Reads::Whole { reason, line, .. } = keys[1].reads() else { panic!("{:?}", keys[1].reads()) };
    let expect = "Dockerfile:3 is an ONBUILD trigger of `below`: COPY reads the whole context";
    assert_eq!((reason.as_str(), *line), (expect, 5));
    let error = with("ONBUILD COPY --from=other:1 /a /b").unwrap_err().to_string();
    let expect =
        "box build: Dockerfile:3:9 of its parent base is an ONBUILD trigger that copies from `other:1`";
    assert_eq!(error.lines().next(), Some(expect));
    // To copy from a box is not to stand on it.
    let copies = DOCKERFILE
        .replace("COPY base.txt /\n", "COPY base.txt /\nONBUILD COPY test.sh /\n")
        .replace("FROM below AS build", "FROM scratch AS build\nCOPY --from=below / /");
    world.write("Dockerfile", &copies);
    assert_eq!(read(&world.keys()[1]), read(&plain[1]));
}

#[test]
fn a_link_to_the_whole_context_gives_its_reason() {
    let world = World::new();
    world.write("Dockerfile", &DOCKERFILE.replace("COPY base.txt /\n", "COPY link /\n"));
    std::os::unix::fs::symlink("build/..", world.root.path().join("link")).unwrap();
    let keys = world.keys();
    let Reads::Whole { reason, line, .. } = keys[0].reads() else { panic!("{:?}", keys[0].reads()) };
    assert_eq!((reason.as_str(), *line), ("`link` leads to the whole context", 2));
}

#[test]
fn remarks_have_names_and_can_be_silenced() {
    let mut world = World::new();
    let dockerfile = DOCKERFILE.replace(
        "RUN build $TOOL",
        "ARG API_TOKEN\nRUN git clone https://x/y && curl -O https://x/z\nADD https://x/w /",
    );
    world.write("Dockerfile", &dockerfile);
    let said = |world: &World| -> Vec<String> {
        let differing = ["build/a".to_owned(), "build/b".to_owned(), "c\u{1b}".to_owned()];
        let remarks = world.keys()[1].remarks(&differing);
        let line = |one: &exec::Remark| match (&one.file, one.line) {
            (Some(file), line) => format!("{} {file}:{}", one.kind.name(), line.unwrap_or_default()),
            (None, _) => format!("{}: {}", one.kind.name(), one.text),
        };
        remarks.iter().map(line).collect()
    };
    let all = [
        "secret-argument Dockerfile:6",
        "git-clone Dockerfile:7",
        "download Dockerfile:7",
        "unchecked-add Dockerfile:8",
        "unused-context Dockerfile:0",
        "dirty: not as committed: build/a and 2 more",
    ];
    let contexts = "contexts = { below = \"box:base\" }";
    let unused = "contexts = { below = \"box:base\", nobody = \"box:base\" }";
    let config = CONFIG.replace(contexts, unused);
    world.project = config::parse("boxwright.toml", &config).unwrap();
    assert_eq!(said(&world), all);
    // Where the whole context is read, .git had better be ignored.
    world.write(".git/HEAD", "ref\n");
    assert_eq!(said(&world), all);
    world.write("Dockerfile", &dockerfile.replace("COPY build /src", "COPY . /src"));
    let error = world.keys_with(&BTreeMap::new()).unwrap_err().to_string();
    assert_eq!(error, "box build: the build reads .git, which is another one in each clone");
    world.write("Dockerfile", &dockerfile);
    let allow = format!("{unused}\nallow = [\"git-clone\", \"secret-argument\", \"dirty\"]");
    let config = format!("{}\n[lint]\nallow = [\"download\"]\n", config.replace(unused, &allow));
    world.project = config::parse("boxwright.toml", &config).unwrap();
    assert_eq!(said(&world), ["unchecked-add Dockerfile:8", "unused-context Dockerfile:0"]);
}

#[test]
fn an_argument_for_every_box_is_refused_where_it_is_declared_and_looks_like_a_secret() {
    let world = World::new();
    world.write("Dockerfile", &DOCKERFILE.replace("ARG TOOL", "ARG TOOL\nARG API_TOKEN"));
    let keys = |name: &str| world.keys_with(&BTreeMap::from([(name.to_owned(), "hunter2".to_owned())]));
    let error = keys("API_TOKEN").unwrap_err().to_string();
    assert!(error.starts_with("box build: argument API_TOKEN looks like a secret"), "{error}");
    assert!(!error.contains("hunter2"));
    assert!(keys("OTHER_TOKEN").is_ok(), "nobody declares it, so it goes nowhere");
}
