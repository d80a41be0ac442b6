//! `init`: from Dockerfiles that are there to a configuration that works.

use boxwright_testing::witness::{Registry, busybox};
use boxwright_testing::world::{World, dockerfile};

#[test]
fn what_init_writes_can_be_planned_and_built() {
    let registry = Registry::start(&[]);
    let world = World::empty();
    world.write("ci/Dockerfile", &dockerfile(busybox(), ["RUN true", "RUN true", "COPY x /x"]));
    world.write("ci/x", "x\n");
    world
        .write("tools/lint.Dockerfile", &format!("FROM {busybox}\nCOPY rules /rules\n", busybox = busybox()));
    world.write("tools/rules", "none\n");
    let shown = world.without_engine(&["init", "--print"]).good();
    assert!(!world.root.join("boxwright.toml").exists());
    let written = world.without_engine(&["init"]).good().says(&["wrote boxwright.toml", "boxwright plan"]);
    assert_eq!(written.out, "");
    let text = std::fs::read_to_string(world.root.join("boxwright.toml")).unwrap();
    assert_eq!(text, shown.out);
    assert!(text.contains(busybox()) && text.matches("\n#").count() > 10, "{text}");

    world.without_engine(&["init", "--force", "--registry", "https://x"]).fails(2, &["--registry https://x"]);
    world.without_engine(&["init", "--force", "--registry", &registry.host]).good();
    let at = ["--format", "json"];
    let plan = world.without_engine(&[&["plan"][..], &at].concat()).good();
    assert_eq!(plan.boxes("state"), ["missing"; 4]);
    let parents: Vec<_> =
        plan.json()["boxes"].as_array().unwrap().iter().map(|one| one["parents"].clone()).collect();
    let names = plan.boxes("name");
    let chained = parents.iter().filter(|parents| parents.as_array().unwrap().len() == 1).count();
    assert_eq!(chained, 2, "{names:?} {parents:?}");
    let built = world.boxwright(&[&["build"][..], &at].concat()).good();
    assert_eq!(built.boxes("action"), ["built"; 4]);
    // Each in a repository that bears the project's name as well: other projects have a `base` too.
    let project = world.root.file_name().unwrap().to_str().unwrap().to_owned();
    for (name, repository) in names.iter().zip(built.boxes("repository")) {
        let own = format!("{project}-{name}");
        assert_eq!(repository, format!("{}/{own}", registry.host));
        assert_eq!(registry.tags(&own).len(), 1, "{own}");
    }
    assert!(!registry.tags(&format!("{project}-boxwright-ledger")).is_empty());
}

#[test]
fn init_never_overwrites_unasked() {
    let world = World::empty();
    world.write("boxwright.toml", "mine\n");
    world.boxwright(&["init"]).fails(2, &["boxwright.toml is already here", "--force"]);
    assert_eq!(std::fs::read_to_string(world.root.join("boxwright.toml")).unwrap(), "mine\n");
    world.boxwright(&["init", "--force"]).good();
    assert!(std::fs::read_to_string(world.root.join("boxwright.toml")).unwrap().contains("registry"));
}

#[test]
fn init_where_nothing_is_and_where_something_is_broken() {
    let world = World::empty();
    world.boxwright(&["init"]).good();
    world.boxwright(&["plan"]).fails(2, &["no box is declared"]);
    world.write("bad/Dockerfile", "FORM x\n");
    world.write("good/Dockerfile", &format!("FROM {busybox}\n", busybox = busybox()));
    world.boxwright(&["init", "--force"]).good().says(&["bad/Dockerfile", "no box is written"]);
    let keys = world.boxwright(&["keys", "--format", "json"]).good();
    assert_eq!(keys.boxes("name"), ["good"]);
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o555);
    std::fs::set_permissions(&world.root, closed).unwrap();
    std::fs::remove_file(world.root.join("boxwright.toml")).ok();
    let (_, mut call) = world.as_ordinary_user(1234, &["init", "--force"]);
    boxwright_testing::world::Ended::of(call.output().unwrap())
        .fails(2, &["failed to write boxwright.toml", "Permission denied"]);
}

#[test]
fn init_passes_by_what_is_not_the_project_s() {
    let world = World::empty();
    world.write("Dockerfile", "FROM scratch\nCOPY a /\n");
    for other in
        ["node_modules/x/Dockerfile", "vendor/Dockerfile", "target/Dockerfile", "Dockerfile.dockerignore"]
    {
        world.write(other, "FROM scratch AS other\n");
    }
    let ended = world.boxwright(&["init"]).good().says(&["then run `boxwright plan`"]);
    assert!(!ended.err.contains("no box is written"), "{}", ended.err);
    let text = std::fs::read_to_string(world.root.join("boxwright.toml")).unwrap();
    assert_eq!(text.matches("\n[box.").count(), 1, "{text}");
    // An image that floats has to be pinned first.
    world.write("Dockerfile", "FROM debian:12\n");
    world.boxwright(&["init", "--force"]).good().says(&["then run `boxwright lock`"]);
}
