//! stdout carries the result and nothing else; a reader that leaves changes nothing.

use std::process::Stdio;

use boxwright_testing::witness::{NO_ENGINE, Registry};
use boxwright_testing::world::{BOXES, Ended, World};

#[test]
fn json_stands_alone_on_stdout() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    // Untracked and changed files make notes; they are no result.
    world.write("ci/test/one.txt", "changed\n");
    let fields =
        ["name", "repository", "key", "tag", "platforms", "digest", "parents", "lease_until", "seconds"];
    let more = ["state", "action", "reason"];
    let commands: [&[&str]; 6] = [
        &["keys"],
        &["plan"],
        &["build", "-v"],
        &["build", "--color", "always"],
        &["guard"],
        &["plan", "--check", "base"],
    ];
    for command in commands {
        let ended = world.boxwright(&[command, &["--format", "json", "--run-id", "run-7"]].concat()).good();
        let report = ended.json();
        assert_eq!(report["schema"], 1);
        assert_eq!(report["run"], "run-7");
        for one in report["boxes"].as_array().unwrap() {
            for field in fields.iter().chain(&more) {
                assert!(one.get(field).is_some(), "{command:?}: no {field} in {one:#}");
            }
            let host = format!("{}/{}", registry.host, one["name"].as_str().unwrap());
            assert_eq!(one["repository"], host);
        }
        assert!(!ended.out.contains('\u{1b}'));
    }
    for command in [&["promote", "main", "--yes"][..], &["clean"], &["clean", "--now", "+3d", "--yes"]] {
        let ended = world.boxwright(&[command, &["--format", "json"]].concat()).good();
        assert_eq!(ended.json()["schema"], 1, "{command:?}");
    }
    let guard =
        world.boxwright(&["guard", "--format", "json", "--registry", &format!("{}/none", registry.host)]);
    assert_eq!(guard.exits(10).boxes("state"), ["missing"; 3]);
}

#[test]
fn quiet_leaves_the_result_and_errors() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.write("ci/test/one.txt", "changed\n");
    for command in
        [&["keys"][..], &["plan"], &["build"], &["build"], &["promote", "main", "--yes"], &["clean"]]
    {
        let ended = world.boxwright(&[command, &["-q"]].concat()).good();
        assert_eq!(ended.err, "", "{command:?}");
        for name in BOXES {
            assert!(ended.out.contains(name), "{command:?}: {}", ended.out);
        }
        assert!(!ended.out.contains('\u{1b}'), "no colour in a pipe");
    }
    registry.stop();
    world.without_engine(&["plan", "-q"]).fails(20, &["error: "]);
    world.boxwright(&["plan", "-q", "-v"]).exits(2);
}

#[test]
fn a_result_that_is_not_taken_in_is_an_error() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    for command in [&["keys"][..], &["plan"], &["plan", "--format", "json"], &["completions", "bash"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let child = world.command(command).stdout(full).output().unwrap();
        Ended::of(child).fails(1, &["write the result", "No space left"]);
    }
}

#[test]
fn a_reader_that_went_away_changes_nothing() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let call = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        let mut child = command.env("DOCKER_HOST", engine()).spawn().unwrap();
        drop(child.stdout.take());
        drop(child.stderr.take());
        Ended::of(child.wait_with_output().unwrap())
    };
    call(&["plan", "--check"]).exits(10);
    call(&["plan", "--check", "--format", "json", "-v"]).exits(10);
    call(&["build", "-v"]).good();
    assert_eq!(registry.tags("test").len(), 1);
    call(&["promote", "main", "--yes"]).good();
    assert!(registry.digest("test", "main").is_some());
    call(&["run", "base", "--", "sh", "-c", "seq 1 100000; exit 5"]).exits(5);
    call(&["--help"]).good();
    call(&["completions", "bash"]).good();
    call(&["plan", "nothing"]).exits(2);
    // The same with both closed from the beginning.
    let script = "\"$0\" plan --check >&- 2>&-; echo $?";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_boxwright")]).current_dir(&world.root);
    shell.env("DOCKER_HOST", NO_ENGINE).stderr(Stdio::inherit());
    assert_eq!(String::from_utf8(shell.output().unwrap().stdout).unwrap(), "0\n");
}

fn engine() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_default()
}

#[test]
fn completions_help_and_version_are_results() {
    let world = World::empty();
    for (shell, word) in
        [("bash", "complete -F"), ("zsh", "#compdef boxwright"), ("fish", "complete -c boxwright")]
    {
        let ended = world.without_engine(&["completions", shell]).good();
        assert!(ended.out.contains(word) && ended.out.contains("promote"), "{shell}: {}", ended.out);
        assert_eq!(ended.err, "");
    }
    world.boxwright(&["completions", "tcsh"]).exits(2);
    let help = world.boxwright(&["--help"]).good();
    assert!(help.out.contains("Exit codes:") && help.out.contains("clean"), "{}", help.out);
    assert!(world.boxwright(&["--version"]).good().out.starts_with("boxwright "));
    assert_eq!(world.boxwright(&[]).exits(2).out, "");
}

#[test]
fn plain_lines_and_a_terminal_say_the_same() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let plain = world.boxwright(&["build"]).good();
    for name in BOXES {
        assert!(plain.err.contains(&format!("{name} building: ")), "{}", plain.err);
        assert!(plain.err.contains(&format!("{name} built: sha256:")), "{}", plain.err);
    }
    assert!(plain.err.contains("RUN echo base > /base"), "{}", plain.err);
    assert!(plain.err.contains("leased 3 keys until "), "{}", plain.err);
    let terminal = format!("{} build", env!("CARGO_BIN_EXE_boxwright"));
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &terminal, "/dev/null"]).current_dir(&world.root).stdin(Stdio::null());
    script.env("TERM", "xterm").env_remove("CI").env_remove("NO_COLOR");
    let output = script.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    for word in ["present", "sha256:", "\u{1b}["] {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}
