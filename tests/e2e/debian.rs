//! The chain that a project would really have: Debian with packages, a build, a test.

use boxwright_testing::witness::{Registry, attempt, pinned};
use boxwright_testing::world::{World, dockerfile};

/// The Debian image that `scripts/setup` made for this machine's release.
pub fn debian() -> String {
    let list = attempt("docker", &["image", "ls", "--format={{.Repository}}:{{.Tag}}", "boxwright-debian"]);
    let list = String::from_utf8(list.stdout).unwrap();
    pinned(list.lines().next().expect("scripts/setup makes boxwright-debian"))
}

#[test]
fn a_debian_base_with_packages_is_built_used_and_promoted() {
    let registry = Registry::start(&[]);
    let world = World::empty();
    let boxes = boxwright_testing::world::CHAIN
        .replace("target = \"base\"", "target = \"base\"\nrepository = \"team/base\"")
        .replace("target = \"build\"", "target = \"build\"\nrepository = \"team/build\"")
        .replace("target = \"test\"", "target = \"test\"\nrepository = \"team/test\"");
    world.configure(&registry.host, &boxes);
    let install = "RUN apt-get update && apt-get install -y --no-install-recommends make \\\n \
        && rm -rf /var/lib/apt/lists/*";
    let steps = [install, "COPY Makefile /src/\nRUN make -C /src", "COPY test.sh /src/\nRUN sh /src/test.sh"];
    world.write("ci/Dockerfile", &dockerfile(&debian(), steps));
    world.write("ci/Makefile", "program:\n\techo 'echo works' > program\n");
    world.write("ci/test.sh", "test \"$(sh /src/program)\" = works\n");
    world.write("Makefile", "check:\n\tsh /src/program\n");
    world.commit();

    let first = world.boxwright(&["build", "--format", "json"]).good();
    assert_eq!(first.boxes("action"), ["built"; 3]);
    let second = world.without_engine(&["build", "--format", "json"]).good();
    assert_eq!(second.boxes("action"), ["use"; 3]);
    assert_eq!(registry.records("lease").len(), 2);
    let checked = world.boxwright(&["run", "test", "--", "make", "check"]).good();
    assert!(checked.out.ends_with("works\n"), "{}", checked.out);

    world.replace("ci/test.sh", "works", "\"works\"");
    let third = world.boxwright(&["build", "--format", "json"]).good();
    assert_eq!(third.boxes("action"), ["use", "use", "built"]);
    world.git(&["checkout", "-q", "."]);
    world.without_engine(&["promote", "main", "--yes"]).good();
    for now in ["+3d", "+5d"] {
        world.without_engine(&["clean", "--now", now, "--yes"]).good();
    }
    for (index, name) in ["team/base", "team/build", "team/test"].iter().enumerate() {
        let digest = Some(first.boxes("digest")[index].clone());
        assert_eq!(registry.digest(name, "main"), digest);
        assert_eq!(registry.tags(name).len(), 2, "{name}");
    }
}
