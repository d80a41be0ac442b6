//! `run`: a command in a box is like a command outside of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use boxwright_testing::witness::{Registry, attempt, tell};
use boxwright_testing::world::{Ended, Running, World, unique, until};

/// A project with one box that stands, and its registry.
fn standing() -> (Registry, World) {
    let registry = Registry::start(&[]);
    let world = World::single(&registry.host, "RUN mkdir /etc/x && echo in-the-box > /etc/x/who");
    world.boxwright(&["build"]).good();
    (registry, world)
}

/// The containers whose command holds `word`, running or not.
fn containers(word: &str) -> Vec<String> {
    let list = tell("docker", &["ps", "--all", "--no-trunc", "--format={{.ID}} {{.Command}}"]);
    list.lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
}

#[test]
fn a_command_ends_when_nobody_reads_what_it_prints() {
    let (_registry, world) = standing();
    let word = unique();
    let mut command = world.command(&["run", "only", "--", "sh", "-c", &format!(": {word}; yes")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "y\n");
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(30), "it goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(child.wait().unwrap().code(), Some(141));
    assert_eq!(containers(&word), [""; 0]);
}

#[test]
fn code_output_directory_user_and_environment_are_the_callers() {
    let (_registry, world) = standing();
    let run = |arguments: &[&str]| world.boxwright(&[&["run", "only", "--"], arguments].concat());
    assert_eq!(run(&["cat", "/etc/x/who"]).good().out, "in-the-box\n");
    for code in ["0", "1", "3", "42", "125", "255"] {
        run(&["sh", "-c", &format!("exit {code}")]).exits(code.parse().unwrap());
    }
    let ended = run(&["sh", "-c", "echo to-out; echo to-err >&2; printf end; exit 4"]).exits(4);
    assert_eq!(ended.out, "to-out\nend");
    assert_eq!(ended.err, "to-err\n");

    world.write("sub/here.txt", "from outside\n");
    let inside = run(&["sh", "-c", "pwd; cat sub/here.txt; id -u; id -g; echo made > sub/made"]).good();
    let made = std::fs::metadata(world.root.join("sub/made")).unwrap();
    assert_eq!(inside.out, format!("/work\nfrom outside\n{}\n{}\n", made.uid(), made.gid()));
    let sub = world.root.join("sub");
    let from = |arguments: &[&str]| Ended::of(world.command_in(&sub, arguments).output().unwrap());
    assert_eq!(from(&["run", "only", "--", "cat", "here.txt"]).good().out, "from outside\n");
    let elsewhere = from(&["run", "--mount", "/src/deep", "only", "--", "sh", "-c", "pwd; ls"]).good();
    assert_eq!(elsewhere.out, "/src/deep\nhere.txt\nmade\n");

    let mut command =
        world.command(&["run", "-e", "GIVEN=a b=c", "-e", "HANDED", "-e", "ABSENT", "only", "--", "env"]);
    let ended = Ended::of(command.env("HANDED", "on").env("KEPT", "back").output().unwrap()).good();
    let lines: Vec<&str> = ended.out.lines().collect();
    assert!(lines.contains(&"GIVEN=a b=c") && lines.contains(&"HANDED=on"), "{}", ended.out);
    assert!(!ended.out.contains("ABSENT") && !ended.out.contains("KEPT"), "{}", ended.out);

    let bytes = run(&["sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x"]).good();
    assert_eq!(bytes.out.len(), 300_000);
    run(&["no-such-command"]).exits(127).says(&["no-such-command"]);
    world.boxwright(&["run", "--mount", "here", "only", "--", "true"]).fails(2, &["--mount", "absolute"]);
}

#[test]
fn another_user_keeps_their_uid() {
    let (_registry, world) = standing();
    let socket = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = socket.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned();
    let group = std::fs::metadata(socket).unwrap().gid();
    let (uid, mut call) = world.as_ordinary_user(group, &["run", "only", "--", "id", "-u"]);
    let ended = Ended::of(call.output().unwrap()).good();
    assert_eq!(ended.out, format!("{uid}\n"));
    assert_eq!(world.boxwright(&["run", "--image-user", "only", "--", "id", "-u"]).good().out, "0\n");
}

#[test]
fn output_comes_while_the_command_runs_and_input_goes_in() {
    let (_registry, world) = standing();
    let script = "echo first; read line; echo got $line >&2; cat; echo last";
    let mut command = world.command(&["run", "only", "--", "sh", "-c", script]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"second\nthird\n").unwrap();
    drop(input);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "third\nlast\n");
    let ended = Ended::of(child.wait_with_output().unwrap()).good();
    assert_eq!(ended.err, "got second\n");
}

#[test]
fn a_signal_removes_the_container() {
    let (_registry, world) = standing();
    for signal in ["INT", "TERM", "HUP"] {
        let word = unique();
        // It ignores what it can: only the engine's kill ends it.
        let script = format!("trap '' INT TERM HUP; echo up {word}; sleep 100");
        let mut running = world.start(&["run", "only", "--", "sh", "-c", &script]);
        wait_for_line(&mut running);
        assert_eq!(containers(&word).len(), 1);
        let (ended, took) = running.signal(signal);
        ended.exits(130);
        assert!(took < Duration::from_secs(50), "{signal}: {took:?}");
        assert_eq!(containers(&word), Vec::<String>::new(), "{signal}");
    }
    let word = unique();
    world.boxwright(&["run", "only", "--", "echo", &word]).good();
    assert_eq!(containers(&word), Vec::<String>::new());
}

/// Reads the first line, so that the command is known to run.
fn wait_for_line(running: &mut Running) {
    let mut out = BufReader::new(running.child().stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.starts_with("up "), "{line}");
}

#[test]
fn a_box_is_run_by_digest_even_if_the_engine_forgot_it() {
    let (registry, world) = standing();
    boxwright_testing::witness::forget_images(&registry.host);
    let began = Instant::now();
    assert_eq!(world.boxwright(&["run", "only", "--", "cat", "/etc/x/who"]).good().out, "in-the-box\n");
    until("the container is gone", || containers("/etc/x/who").is_empty() || began.elapsed().as_secs() > 5);
    world.boxwright(&["run", "onyl", "--", "true"]).fails(2, &["no box `onyl`", "`only`"]);
    world.boxwright(&["run"]).exits(2).says(&["<BOX>"]);
    let gone = attempt("docker", &["ps", "-aq", "--filter=name=boxwright-", "--filter=status=exited"]);
    assert_eq!(String::from_utf8_lossy(&gone.stdout), "");
}

#[test]
fn user_and_network_are_the_image_s_and_none_where_that_is_asked_for() {
    let registry = Registry::start(&[]);
    let world = World::single(&registry.host, "USER 4321");
    world.boxwright(&["build"]).good();
    let uid = world.boxwright(&["run", "--image-user", "only", "--", "id", "-u"]).good();
    assert_eq!(uid.out, "4321\n");
    let interfaces =
        world.boxwright(&["run", "--network", "none", "only", "--", "ls", "/sys/class/net"]).good();
    assert_eq!(interfaces.out, "lo\n");
}
