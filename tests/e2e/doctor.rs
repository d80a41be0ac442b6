//! `doctor` on a machine that is as it should be, and on ones that are not.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boxwright_testing::witness::{NO_ENGINE, Registry};
use boxwright_testing::world::{Ended, World};
use serde_json::Value;

const USER: [(&str, &str); 2] =
    [("BOXWRIGHT_REGISTRY_USERNAME", "user"), ("BOXWRIGHT_REGISTRY_PASSWORD", "s3cret-word")];

fn doctor(world: &World, environment: &[(&str, &str)]) -> Ended {
    let mut command = world.command(&["doctor", "--format", "json"]);
    command.envs(environment.iter().copied());
    if environment.iter().any(|(name, _)| *name == USER[0].0) {
        // Credentials are for whom the environment names.
        let config = fs::read_to_string(world.root.join("boxwright.toml")).unwrap();
        command.env("BOXWRIGHT_REGISTRY", config.split('"').nth(1).unwrap());
    }
    Ended::of(command.output().unwrap())
}

/// The state of a check, and all that is said of it.
#[track_caller]
fn check(ended: &Ended, name: &str) -> (String, String) {
    let report = ended.json();
    let of_name = |one: &&Value| one["check"] == name;
    let found = report["checks"].as_array().unwrap().iter().find(of_name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {}", ended.out));
    (found["state"].as_str().unwrap().to_owned(), format!("{} → {}", found["finding"], found["remedy"]))
}

#[track_caller]
fn says(ended: &Ended, name: &str, state: &str, parts: &[&str]) {
    let (found, text) = check(ended, name);
    assert_eq!(found, state, "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
}

#[test]
fn on_a_good_machine_all_is_well_and_nothing_is_left() {
    let registry = Registry::start(&["--auth", "user:s3cret-word"]);
    let world = World::chain(&registry.host);
    let mut ended = None;
    let requests = registry.requests_during(|| ended = Some(doctor(&world, &USER)));
    let ended = ended.unwrap().good();
    let report = ended.json();
    for one in report["checks"].as_array().unwrap() {
        assert_eq!(one["state"], "ok", "{one}");
        assert!(one.get("remedy").is_none(), "{one}");
    }
    let engine = boxwright_testing::witness::tell("docker", &["version", "--format", "{{.Server.Version}}"]);
    says(&ended, "engine", "ok", &[engine.trim(), "docker.sock"]);
    says(&ended, "configuration", "ok", &["3 boxes, 2 channels"]);
    says(&ended, "registry", "ok", &[&registry.host, "registry/2.0", "distribution"]);
    says(&ended, "credentials", "ok", &["from BOXWRIGHT_REGISTRY_USERNAME and"]);
    says(&ended, "push", "ok", &["4 repositories"]);
    says(&ended, "delete", "ok", &["manifests with all their tags"]);
    assert!(!ended.out.contains("s3cret-word") && !ended.err.contains("s3cret-word"));
    // Every upload that was begun was given up, and nothing else was written.
    let count = |start: &str, end: &str| {
        requests.iter().filter(|line| line.starts_with(start) && line.ends_with(end)).count()
    };
    assert_eq!((count("POST ", "/blobs/uploads/ 202"), count("DELETE ", " 204")), (4, 4), "{requests:#?}");
    assert_eq!(count("DELETE ", " 404"), 4, "{requests:#?}");
    assert_eq!(count("PUT ", "") + count("PATCH ", ""), 0, "{requests:#?}");
    let (_, _, catalog) = registry.curl(&[], "_catalog");
    assert_eq!(catalog.trim(), r#"{"repositories":[]}"#);
    assert!(!world.root.join(".boxwright").exists());

    // People get a table.
    let mut command = world.command(&["doctor"]);
    command.envs(USER).env("BOXWRIGHT_REGISTRY", &registry.host);
    let human = Ended::of(command.output().unwrap()).good().says(&["nothing is wrong"]);
    assert!(human.out.starts_with("STATE  CHECK "), "{}", human.out);
    assert!(human.out.lines().skip(1).all(|line| line.starts_with("ok ")), "{}", human.out);
}

#[test]
fn what_is_broken_does_not_hide_the_rest() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    // No engine.
    let ended = doctor(&world, &[("DOCKER_HOST", NO_ENGINE)]).exits(20);
    says(&ended, "engine", "problem", &[NO_ENGINE, "there is no /nonexistent", "DOCKER_HOST"]);
    says(&ended, "push", "ok", &[]);
    let ended = doctor(&world, &[("DOCKER_HOST", "ssh://host")]).exits(20);
    says(&ended, "engine", "problem", &["unix:///path or tcp://"]);
    let ended = doctor(&world, &[("DOCKER_HOST", "tcp://127.0.0.1:1")]).exits(20);
    says(&ended, "engine", "problem", &["does an engine listen there, without TLS"]);
    // No registry.
    registry.stop();
    let ended = doctor(&world, &[]).exits(20);
    says(&ended, "engine", "ok", &[]);
    says(&ended, "registry", "problem", &["onnection refused", "is it running"]);
    assert!(!ended.out.contains("\"push\""), "{}", ended.out);
    // No key, for a Dockerfile that cannot be read; its code comes first.
    world.write("ci/Dockerfile", "FROM a AS base\n\nCOPY a\n");
    let ended = doctor(&world, &[]).exits(2);
    says(&ended, "keys", "problem", &["ci/Dockerfile:3:1", "COPY"]);
    says(&ended, "registry", "problem", &[]);
    // No configuration at all.
    let empty = World::empty();
    let ended = doctor(&empty, &[]).exits(2);
    says(&ended, "configuration", "problem", &["no boxwright.toml", "boxwright init"]);
    says(&ended, "engine", "ok", &[]);
    says(&ended, "temporary files", "ok", &["free for"]);
    let human = empty.without_engine(&["doctor"]).exits(2).says(&["2 problems, 0 warnings"]);
    let lines: Vec<&str> = human.out.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("problem  engine")).unwrap();
    assert!(lines[at + 1].trim_start().starts_with("→ there is no "), "{}", human.out);
}

#[test]
fn a_socket_that_is_closed_to_the_user_names_its_group() {
    let directory = tempfile::TempDir::new().unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = directory.path().join("docker.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o060)).unwrap();
    let world = World::single("127.0.0.1:1", "RUN true");
    let (user, mut command) = world.as_ordinary_user(1234, &["doctor", "--format", "json"]);
    // Group 1 is daemon on every Debian.
    let is_known = user == 1234 && chown(&path, Some(0), Some(1)).is_ok();
    command.env("DOCKER_HOST", format!("unix://{}", path.display()));
    let ended = Ended::of(command.output().unwrap()).exits(20);
    says(&ended, "engine", "problem", &["ermission denied", "belongs to the group"]);
    if is_known {
        says(&ended, "engine", "problem", &["group daemon", "sudo usermod -aG daemon"]);
    }
}

#[test]
fn who_may_not_read_or_push_is_told() {
    let registry = Registry::start(&["--auth", "user:s3cret-word"]);
    let world = World::chain(&registry.host);
    let wrong = [USER[0], ("BOXWRIGHT_REGISTRY_PASSWORD", "wr0ng-word")];
    let ended = doctor(&world, &wrong).exits(21);
    says(&ended, "registry", "ok", &[]);
    says(&ended, "pull", "problem", &["4 of 4 repositories", "user or password is wrong"]);
    assert!(!ended.out.contains("wr0ng-word"), "{}", ended.out);
    // Once is enough.
    assert!(!ended.out.contains("\"push\"") && !ended.out.contains("\"delete\""), "{}", ended.out);
    let ended = doctor(&world, &USER[..1]).exits(2);
    says(&ended, "credentials", "problem", &["need each other"]);

    let open = Registry::start(&[]);
    let reader = open.beside("reader", &["--readonly"]);
    world.replace("boxwright.toml", &registry.host, &reader.host);
    let ended = doctor(&world, &[]).exits(21);
    says(&ended, "pull", "ok", &["4 repositories can be read"]);
    says(&ended, "push", "problem", &["4 of 4", "read-only", "missing ones cannot be built"]);
    says(&ended, "delete", "warning", &["deletes nothing", "`clean` keeps everything"]);

    // In a run that an outsider caused nothing is tried.
    world.replace("boxwright.toml", &reader.host, &open.host);
    let event = world.beside("event.json");
    fs::write(
        &event,
        r#"{"pull_request":{"head":{"repo":{"full_name":"a/b"}},"base":{"repo":{"full_name":"c/d"}}}}"#,
    )
    .unwrap();
    let fork = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "pull_request"),
        ("GITHUB_EVENT_PATH", event.to_str().unwrap()),
    ];
    let requests = open.requests_during(|| {
        let ended = doctor(&world, &fork).good();
        says(&ended, "push", "ok", &["not tried", "not trusted"]);
    });
    assert!(
        requests.iter().all(|line| line.starts_with("GET ") || line.starts_with("HEAD ")),
        "{requests:?}"
    );
}

#[test]
fn helpers_that_are_missing_or_slow_are_told() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let directory = world.beside("home/.docker");
    fs::create_dir_all(&directory).unwrap();
    let config = directory.join("config.json");
    fs::write(&config, r#"{"credsStore":"nowhere"}"#).unwrap();
    let ended = doctor(&world, &[]).exits(2);
    says(
        &ended,
        "credentials",
        "problem",
        &["docker-credential-nowhere is not in PATH", "install the helper"],
    );
    says(&ended, "clock", "ok", &[]);

    let bin = world.beside("bin");
    fs::create_dir(&bin).unwrap();
    let helper = bin.join("docker-credential-nowhere");
    let answer = r#"{"Username":"u","Secret":"s3cret-word"}"#;
    fs::write(&helper, format!("#!/bin/sh\nsleep 2.5\necho '{answer}'\n")).unwrap();
    fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let ended = doctor(&world, &[("PATH", &path)]).good();
    says(&ended, "credentials", "warning", &["docker-credential-nowhere took ", "config.json"]);
    assert!(!ended.out.contains("s3cret-word"), "{}", ended.out);

    let auths = format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpzM2NyZXQtd29yZA=="}}}}}}"#, registry.host);
    fs::write(&config, auths).unwrap();
    fs::set_permissions(&config, PermissionsExt::from_mode(0o644)).unwrap();
    let ended = doctor(&world, &[]).good();
    says(&ended, "credentials", "warning", &["config.json", "others on this machine can read", "chmod 600"]);
    fs::set_permissions(&config, PermissionsExt::from_mode(0o600)).unwrap();
    says(&doctor(&world, &[]).good(), "credentials", "ok", &["config.json"]);
}

/// Answers as an empty registry would, dated `ahead` of this machine.
fn registry_ahead(ahead: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut writer = stream;
                let mut head = String::new();
                while reader.read_line(&mut head).is_ok_and(|length| length > 0) {
                    if !head.ends_with("\r\n\r\n") {
                        continue;
                    }
                    let status = match head.split(' ').next().unwrap() {
                        "POST" => "202 Accepted\r\nLocation: /v2/upload",
                        "DELETE" => "204 No Content",
                        _ if head.starts_with("GET /v2/ ") => "200 OK",
                        _ => "404 Not Found",
                    };
                    let now = (SystemTime::now() + ahead).duration_since(UNIX_EPOCH).unwrap().as_secs();
                    let date =
                        boxwright_testing::witness::tell("date", &["-u", "-R", "-d", &format!("@{now}")]);
                    let date = date.trim().replace("+0000", "GMT");
                    let answer = format!("HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n");
                    if writer.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                    head.clear();
                }
            });
        }
    });
    host
}

#[test]
fn a_clock_that_is_off_is_told_with_what_leases_allow() {
    let world = World::single(&registry_ahead(Duration::from_secs(3600)), "RUN true");
    let ended = doctor(&world, &[]).exits(1);
    says(&ended, "clock", "problem", &["ahead of this machine's", "more than the 10m that a lease", "NTP"]);
    says(&ended, "push", "ok", &[]);
    let world = World::single(&registry_ahead(Duration::from_secs(120)), "RUN true");
    says(&doctor(&world, &[]).good(), "clock", "warning", &["ahead of this machine's", "timedatectl"]);
}

#[test]
fn the_embedded_registry_is_looked_at_where_there_is_one() {
    let world = World::single("embedded", "RUN true");
    let ended = doctor(&world, &[]).good();
    says(&ended, "registry", "ok", &["embedded, and nothing is kept there yet"]);
    assert!(!world.root.join(".boxwright").exists());
    world.boxwright(&["build"]).good();
    let ended = doctor(&world, &[]).good();
    says(&ended, "registry", "ok", &["http://127.0.0.1:", "answers"]);
    says(&ended, "push", "ok", &["2 repositories"]);
    says(&ended, "store", "ok", &[".boxwright"]);
}
