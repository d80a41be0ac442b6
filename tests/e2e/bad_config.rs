//! Configurations that cannot be used: where, what, what next.

use boxwright_testing::world::{CHAIN, Ended, World};

const HOST: &str = "127.0.0.1:1";

/// Expects each changed configuration to be refused with these words, by every command that
/// reads it, before anybody is asked.
#[test]
fn errors_say_where_what_and_what_next() {
    let world = World::chain(HOST);
    let good = format!("registry = \"{HOST}\"\n{CHAIN}");
    let check = |from: &str, to: &str, says: &[&str]| {
        assert!(good.contains(from), "`{from}` is not in the configuration");
        world.write("boxwright.toml", &good.replacen(from, to, 1));
        for command in [&["keys"][..], &["plan", "--format", "json"], &["build"]] {
            world.without_engine(command).fails(2, says);
        }
    };
    let contexts = "contexts = { base = \"box:base\" }";
    // Unknown keys: line, column, the nearest one.
    check(
        "[defaults]",
        "leger = \"x\"\n[defaults]",
        &["boxwright.toml:3:1", "unknown key `leger`", "`ledger`"],
    );
    check(
        "target = \"base\"",
        "tarket = \"base\"",
        &["boxwright.toml:7:1", "unknown key `tarket` in [box.base]", "`target`", "tarket = \"base\"\n"],
    );
    check("[box.base]", "[boxes.base]", &["boxwright.toml:6:2", "unknown key `boxes`", "`box`"]);
    // Wrong types.
    check(
        "target = \"base\"",
        "target = 3",
        &["boxwright.toml:7:10", "`box.base.target`", "expected a string"],
    );
    check("immutable = true", "immutable = \"yes\"", &["boxwright.toml:24:13", "expected true or false"]);
    check(contexts, "contexts = [\"box:base\"]", &["boxwright.toml:11:12", "expected a table"]);
    check("[defaults]", "[defaults", &["boxwright.toml:3:"]);
    check("last = 1", "last = 1, last = 2", &["boxwright.toml:19:", "duplicate key"]);
    // What does not exist, and circles.
    check("box:base\"", "box:bass\"", &["boxwright.toml:11:", "no box `bass`", "`base`"]);
    check(
        "target = \"base\"",
        "target = \"base\"\ncontexts = { x = \"box:test\" }",
        &["boxwright.toml:6:6", "in a circle: base → test → build → base"],
    );
    check("box:base\"", "box:build\"", &["boxwright.toml:9:6", "in a circle: build → build"]);
    check(contexts, &format!("{contexts}\nonly = [\"releas\"]"), &["boxwright.toml:12:", "`release`"]);
    // Names and tags.
    check(
        "[box.build]",
        "[box.build]\nrepository = \"base\"",
        &["boxwright.toml:10:14", "`base` and `build` share repository `base`", "channel `main`"],
    );
    check("[box.build]", "[box.build]\nrepository = \"boxwright-ledger\"", &["ledger's repository"]);
    check(
        "[box.build]",
        "[box.build]\nrepository = \"A B\"",
        &["boxwright.toml:10:14", "not a repository name"],
    );
    check("tag = \"main\"", "tag = \"feature/x\"", &["boxwright.toml:18:7", "is not a tag"]);
    check("tag = \"main\"", &format!("tag = \"{}\"", "x".repeat(129)), &["boxwright.toml:18:7", "128"]);
    check("tag = \"main\"", "tag = \"k-.*\"", &["boxwright.toml:18:7", "content tags"]);
    check("tag = \"main\"", "tag = \"(\"", &["boxwright.toml:18:7", "unclosed group"]);
    let long = format!("[box.build]\nprefix = \"{}\"", "p".repeat(95));
    check("[box.build]", &long, &["boxwright.toml:10:10", "at most 128"]);
    check("[box.build]", "[box.build]\nprefix = \"-x\"", &["boxwright.toml:10:10", "is not a tag"]);
    check("[box.build]", "[box.Build]", &["boxwright.toml:9:6", "`Build`", "lower-case"]);
    // Places.
    check(
        "\"ci\"",
        "\"../ci\"",
        &["boxwright.toml:4:11", "leads out of the repository", "relative to boxwright.toml"],
    );
    check("\"ci\"", "\"/etc\"", &["boxwright.toml:4:11", "leads out of the repository"]);
    check("\"127.0.0.1:1\"", "\"https://ghcr.io\"", &["boxwright.toml:1:12", "without https://"]);
    check("registry = ", "# registry = ", &["`registry` is missing"]);
}

#[test]
fn no_configuration_or_an_unreadable_one() {
    let world = World::empty();
    world.boxwright(&["plan"]).fails(2, &["no boxwright.toml in", "or above", "boxwright init"]);
    world.boxwright(&["plan", "-f", "other.toml"]).fails(2, &["other.toml", "No such file"]);
    world.boxwright(&["plan", "-f", "."]).fails(2, &["failed to read", "directory"]);
    world.write("boxwright.toml", "");
    world.boxwright(&["plan"]).fails(2, &["boxwright.toml", "`registry` is missing"]);
    std::fs::write(world.root.join("boxwright.toml"), [0xff, 0xfe, 0]).unwrap();
    world.boxwright(&["plan"]).fails(2, &["boxwright.toml", "UTF-8"]);
    world.configure(HOST, "");
    world.boxwright(&["plan"]).fails(2, &["no box is declared", "[box.base]", "boxwright init"]);
}

#[test]
fn a_variable_that_is_there_and_empty_is_not_set() {
    let world = World::single("embedded", "RUN true");
    let names = ["FILE", "REGISTRY", "FORMAT", "COLOR", "RUN", "JOBS", "WAIT", "PUSH", "FAIL_FAST", "DOTENV"];
    let with = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        for name in names {
            command.env(format!("BOXWRIGHT_{name}"), "");
        }
        Ended::of(command.output().unwrap())
    };
    with(&["keys"]).good();
    // Those of a command as well as those of all.
    with(&["build", "nope"]).fails(2, &["there is no box `nope`"]);
    // What is written on the command line is meant.
    with(&["keys", "--file", ""]).fails(2, &["--file"]);
}

#[test]
fn names_that_nobody_declared() {
    let world = World::chain(HOST);
    for command in ["keys", "plan", "build", "guard"] {
        world.without_engine(&[command, "tset"]).fails(2, &["no box `tset`", "base, build, test"]);
        let channel = [command, "--channel", "releas"];
        world.without_engine(&channel).fails(2, &["no channel `releas`", "main, release"]);
    }
    world.boxwright(&["biuld"]).exits(2).says(&["unrecognized subcommand", "'build'"]);
    world.boxwright(&["build", "--jobs", "0"]).exits(2).says(&["--jobs"]);
    world.boxwright(&["build", "--wait", "soon"]).exits(2).says(&["--wait", "soon"]);
    world.boxwright(&["plan", "--run-id", "a b"]).exits(2).says(&["a b", "run id"]);
    world.boxwright(&["plan", "--registry", "https://x"]).fails(2, &["--registry", "https://x"]);
    world.boxwright(&["plan", "--arg", "novalue"]).exits(2).says(&["NAME=VALUE"]);
}

#[test]
fn a_pin_that_cannot_be_read_names_its_place_and_the_documents() {
    let world = World::single("127.0.0.1:1", "ARG J\nRUN true");
    let pin = |lines: &str| {
        let config =
            format!("[pin.j]\nfile = \"a.json\"\n{lines}\n[box.only]\nargs = {{ J = \"{{pin.j}}\" }}\n");
        world.configure("127.0.0.1:1", &config);
        world.without_engine(&["keys"])
    };
    pin("field = \"a.b\"").fails(2, &["pin j: boxwright.toml:3:8: there is no a.json\n    3 | file = "]);
    world.write("a.json", "{bad\n");
    pin("field = \"a.b\"")
        .fails(2, &["pin j: a.json:1:2: cannot be parsed: key must be a string\n    1 | {bad\n      |  ^"]);
    world.write("a.json", "{\"a\": 1}\n");
    pin("field = \"a.b\"")
        .fails(2, &["pin j: boxwright.toml:4:9: a.json has no field `a.b`\n    4 | field = \"a.b\"\n"]);
    world.write("b.json", "{\"a\": 2}\n");
    pin("field = \"a\"\nalso = [\"b.json\"]").fails(
        2,
        &["pin j: boxwright.toml:3:8: a.json holds `1`, but b.json holds `2`\n    3 | file = \"a.json\"\n"],
    );
    pin("pattern = \"v=(.*)\"").fails(2, &["pin j: boxwright.toml:4:11: a.json does not match `v=(.*)`\n"]);
    std::fs::remove_file(world.root.join("a.json")).unwrap();
    let outside = world.beside("a.json");
    std::fs::write(&outside, "{\"a\": 1}\n").unwrap();
    std::os::unix::fs::symlink(&outside, world.root.join("a.json")).unwrap();
    pin("field = \"a\"").fails(2, &["pin j: boxwright.toml:3:8: a.json leads out of"]);
}
