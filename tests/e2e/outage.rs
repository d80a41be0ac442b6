//! A registry or an engine that does not answer, or not as it should: never "missing".

use std::io::{Read, Write};
use std::net::TcpListener;

use boxwright_testing::witness::{NO_ENGINE, Registry};
use boxwright_testing::world::{BOXES, Ended, World};

#[test]
fn a_stopped_registry_is_unknown_and_never_missing() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    registry.stop();
    for command in
        [&["plan"][..], &["plan", "--check"], &["guard"], &["build"], &["promote", "main", "--yes"]]
    {
        let ended = world
            .without_engine(command)
            .fails(20, &[&format!("cannot reach registry {}: connection refused", registry.host)]);
        assert!(!ended.err.contains("missing"), "{command:?}: {}", ended.err);
    }
    world.boxwright(&["run", "test", "--", "true"]).fails(20, &[&registry.host]);
    let json = world.boxwright(&["plan", "--format", "json"]).exits(20);
    assert_eq!(json.out, "");
    registry.restart();
    world.without_engine(&["plan", "--check"]).good();
}

#[test]
fn a_wrong_password_is_unknown_and_is_not_shown() {
    let registry = Registry::start(&["--auth", "worker:right-secret"]);
    let world = World::chain(&registry.host);
    let call = |password: &str, arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.env("BOXWRIGHT_REGISTRY_USERNAME", "worker").env("BOXWRIGHT_REGISTRY_PASSWORD", password);
        command.env("BOXWRIGHT_REGISTRY", &registry.host);
        let ended = Ended::of(command.output().unwrap());
        assert!(!ended.err.contains("secret") && !ended.out.contains("secret"), "{}", ended.err);
        ended
    };
    call("right-secret", &["plan", "--check"]).exits(10);
    let promote: [&[&str]; 2] = [&["promote", "main", "--dry-run"], &["promote", "main", "--yes"]];
    for command in [&["plan"][..], &["plan", "--check"], &["guard"], promote[0], promote[1]] {
        let ended = call("wrong-secret", command).fails(20, &[&registry.host, "credentials"]);
        let ended = ended.says(&["hint: log in to that registry"]);
        assert!(!ended.err.contains("missing") && !ended.err.contains("again"), "{}", ended.err);
        world.boxwright(command).fails(20, &[&registry.host, "not logged in"]);
    }
    for command in [&["build"][..], &["run", "test", "--", "true"], &["clean"], &["export", "-o", "x.tar"]] {
        call("wrong-secret", command).exits(20).says(&["log in to that registry"]);
    }
    assert!(registry.tags("boxwright-ledger").is_empty());
    let half = world.command(&["plan"]).env("BOXWRIGHT_REGISTRY_USERNAME", "worker").output().unwrap();
    Ended::of(half).fails(2, &["BOXWRIGHT_REGISTRY_PASSWORD"]);

    let built = call("right-secret", &["build", "--format", "json"]).good();
    assert_eq!(built.boxes("action"), ["built"; 3]);
    for (name, digest) in BOXES.iter().zip(built.boxes("digest")) {
        assert_eq!(registry.digest(name, &digest), Some(digest));
    }
    let inside = call("right-secret", &["run", "test", "--", "cat", "/test/one.txt"]).good();
    assert_eq!(inside.out, "one\n");
}

#[test]
fn an_absent_tag_is_missing() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let plan = world.without_engine(&["plan"]).good().says(&["3 boxes to build"]);
    assert_eq!(plan.out.matches("missing").count(), 3, "{}", plan.out);
    world.without_engine(&["plan", "--check"]).exits(10);
    world.without_engine(&["guard"]).exits(10).says(&[
        "missing: ",
        "missing: base: ",
        "missing: test: ",
        "`boxwright build --at ",
        " base build test`",
    ]);
    world.without_engine(&["run", "test", "--", "true"]).fails(10, &["test", "boxwright build"]);
    assert!(registry.tags("boxwright-ledger").is_empty(), "looking takes no lease");
}

#[test]
fn without_an_engine_nothing_missing_can_be_built() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let failed = world.without_engine(&["build"]).exits(20);
    failed.says(&["no container engine answers at", NO_ENGINE, "hint: ", "DOCKER_HOST"]);
    for name in BOXES {
        assert!(registry.tags(name).is_empty());
    }
    assert!(registry.records("lease").is_empty(), "what does not stand needs no lease");
    for host in ["tcp://127.0.0.1:1", "ssh://nobody@example.org", "/var/run/docker.sock"] {
        let output = world.command(&["build", "base"]).env("DOCKER_HOST", host).output().unwrap();
        Ended::of(output).exits(20).says(&["no container engine answers at", host]);
    }
}

#[test]
fn without_an_engine_nothing_is_replaced() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    world.without_engine(&["rebuild", "base", "--yes"]).exits(20).says(&["no container engine answers"]);
    // A tombstone would make everybody build it.
    assert!(registry.records("over").is_empty());
    world.without_engine(&["plan", "--check"]).good();
}

#[test]
fn a_broken_repository_is_unknown() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    registry.break_repository("build");
    let ended = world.without_engine(&["plan"]).fails(20, &["build", "500"]);
    assert!(!ended.err.contains("missing"));
    world.without_engine(&["build"]).fails(20, &["build", "500"]);
    world.without_engine(&["promote", "main", "--yes"]).fails(20, &["build", "500"]);
    assert_eq!(registry.digest("base", "main"), None);
    world.without_engine(&["clean", "--now", "+5d", "--yes"]).fails(20, &["build", "nothing was deleted"]);
}

/// Starts a server that answers everything with one body; returns its address.
fn answering(body: &'static str) -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = server.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json";
            let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    host
}

#[test]
fn an_engine_that_is_too_old_is_said() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let old = answering(r#"{"Version":"19.03.1","ApiVersion":"1.40","MinAPIVersion":"1.12"}"#);
    let mut command = world.command(&["build"]);
    let ended = Ended::of(command.env("DOCKER_HOST", format!("tcp://{old}")).output().unwrap());
    ended.exits(20).says(&["error: the container engine 19.03.1 is too old", "20.10"]);
    assert!(registry.tags("base").is_empty() && registry.records("lease").is_empty());
}

#[test]
fn something_else_at_the_address_is_no_registry() {
    let host = answering("<html>\u{1b}[31mhello</html>");
    let world = World::chain(&host);
    let ended = world.without_engine(&["plan"]).fails(20, &[&host]);
    assert!(!ended.err.contains('\u{1b}'), "{}", ended.err);
    world.without_engine(&["build"]).fails(20, &[&host]);
}
