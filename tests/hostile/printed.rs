//! Names that would draw on the terminal: one payload through every door, and every command that
//! could print it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use boxwright_testing::witness::{Registry, busybox};
use boxwright_testing::world::{Ended, World, unique};
use serde_json::Value;

/// What would colour, link, clear, go back, hide, turn around, begin a line, and command a runner.
const PAYLOAD: &str = "x\u{1b}[31m\u{1b}]8;;http://evil\u{7}\u{9b}2J\u{9d}0;t\u{9c}\u{8}\u{b}\r\nFORGED  present  use\t\u{7f}\
    \u{202a}\u{202e}\u{2066}\u{2069}\u{200b}\u{200f}\u{feff}\u{ad}\u{2028}\u{2029}\u{e0041}\u{fdd0}\u{fdd1}\n\
    error: FORGED\nhint: FORGED\n::set-output name=x::y\n##[add-path]x ##vso[task.x]y ##teamcity[z]\n\
    section_start:1:x\r\u{1b}[0K";

/// Commands that read everything there is.
const COMMANDS: [&[&str]; 17] = [
    &["keys"],
    &["plan"],
    &["guard"],
    &["explain", "only"],
    &["explain", "only", "--against", "main"],
    &["build"],
    &["log", "main"],
    &["report"],
    &["clean"],
    &["clean", "--now", "+40d"],
    &["promote", "main", "--yes"],
    &["rollback", "main", "--dry-run"],
    &["rebuild", "only", "--dry-run"],
    &["run", "only", "--", "true"],
    &["lock", "--check"],
    &["export", "-o", "../boxes.tar"],
    &["doctor"],
];

/// Asserts that a text draws nothing and that nothing in it is another line than it seems.
#[track_caller]
fn draws_nothing(text: &str, what: &str) {
    let hides = |c: char| {
        matches!(u32::from(c), 0..=0x09 | 0x0B..=0x1F | 0x7F..=0x9F | 0xAD | 0x61C | 0x200B..=0x200F | 0x2028..=0x202E
            | 0x2060..=0x206F | 0xFEFF | 0xFDD0..=0xFDEF | 0xE0000..=0xE0FFF)
    };
    if let Some(at) = text.find(hides) {
        panic!("{what}: {:?} at {at} of:\n{text:?}", text[at..].chars().next());
    }
    for line in text.lines() {
        let forged = ["FORGED", "error: FORGED", "hint: FORGED", "::set-output", "section_start"];
        assert!(!forged.iter().any(|start| line.starts_with(start)), "{what}: forged `{line}` in:\n{text}");
        // An annotation ends with its line, whatever its text holds.
        let is_ours = line.starts_with("::error ");
        assert!(!line.trim_start().starts_with("::") || is_ours, "{what}: a command `{line}` in:\n{text}");
        let lower = line.to_lowercase();
        let commands = ["##[", "##vso[", "##teamcity["];
        assert!(!commands.iter().any(|mark| lower.contains(mark)), "{what}: a command in `{line}`");
    }
}

/// What is left without the colours that are boxwright's own.
fn without_colours(text: &str) -> String {
    ["\u{1b}[32m", "\u{1b}[1m\u{1b}[31m", "\u{1b}[33m", "\u{1b}[2m", "\u{1b}[1m", "\u{1b}[0m"]
        .iter()
        .fold(text.to_owned(), |text, colour| text.replace(colour, ""))
}

/// Runs a command in every way in which it prints; returns how it ended the first time.
#[track_caller]
fn each_way(world: &World, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut first = None;
    let ways: [(&[&str], (&str, &str)); 2] =
        [(&["--color", "always"], ("LANG", "C.UTF-8")), (&["--format", "json", "--verbose"], ("CI", "true"))];
    for (options, more) in ways {
        // What stands after `--` is the container's.
        let at = arguments.iter().position(|argument| *argument == "--").unwrap_or(arguments.len());
        let all = [&arguments[..at], options, &arguments[at..]].concat();
        let mut command = world.command(&all);
        command.envs([more]).envs(variables.iter().copied());
        let ended = Ended::of(command.output().unwrap());
        let what = format!("{all:?} {variables:.40?}");
        draws_nothing(&without_colours(&ended.out), &what);
        draws_nothing(&without_colours(&ended.err), &what);
        first.get_or_insert(ended);
    }
    first.unwrap()
}

fn every_command(world: &World) {
    for command in COMMANDS {
        each_way(world, command, &[]);
    }
    let page = world.beside("page.html");
    world.boxwright(&["report", "--html", page.to_str().unwrap()]);
    if let Ok(text) = fs::read_to_string(page) {
        draws_nothing(&text, "the page");
    }
}

/// One box, built and promoted.
fn promoted(registry: &Registry) -> World {
    let world = World::empty();
    let config =
        "[box.only]\ncontext = \"files\"\ndockerfile = \"Dockerfile\"\n[channel.main]\ntag = \"main\"\n";
    world.configure(&registry.host, config);
    world.write("files/one", "1\n");
    world.write("Dockerfile", &format!("FROM {}\nRUN echo {}\nCOPY . /files\n", busybox(), unique()));
    world.commit();
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    world
}

/// Every string of a value, one after the other replaced by the payload.
fn poisoned(value: &Value) -> Vec<Value> {
    match value {
        Value::String(_) => vec![Value::String(PAYLOAD.to_owned())],
        Value::Array(all) => {
            let one = |at: usize| {
                poisoned(&all[at]).into_iter().map(move |bad| {
                    let mut all = all.clone();
                    all[at] = bad;
                    Value::Array(all)
                })
            };
            (0..all.len()).flat_map(one).collect()
        }
        Value::Object(all) => {
            let one = |(name, old): (&String, &Value)| {
                let name = name.clone();
                poisoned(old).into_iter().map(move |bad| {
                    let mut all = all.clone();
                    all.insert(name.clone(), bad);
                    Value::Object(all)
                })
            };
            all.iter().flat_map(one).collect()
        }
        _ => Vec::new(),
    }
}

fn put(registry: &Registry, place: &str, media_type: &str, text: &str, scratch: &Path) {
    fs::write(scratch, text).unwrap();
    let (data, media) = (format!("@{}", scratch.display()), format!("Content-Type: {media_type}"));
    let (status, _, body) = registry.curl(&["-X", "PUT", "-H", &media, "--data-binary", &data], place);
    assert_eq!(status, 201, "{place}: {body}");
}

#[test]
fn a_record_that_somebody_wrote_who_may_push() {
    let registry = Registry::start(&[]);
    let world = promoted(&registry);
    let ledger = "boxwright-ledger";
    let oci = "application/vnd.oci.image.manifest.v1+json";
    world.boxwright(&["rebuild", "only", "--yes"]).good();
    world.boxwright(&["clean", "--yes"]).good();
    for kind in ["set", "plan", "run", "lease", "over"] {
        let Some(tag) = registry.records(kind).pop() else { panic!("there is no {kind} record") };
        let place = format!("{ledger}/manifests/{tag}");
        let (_, _, good) = registry.curl(&[], &place);
        let manifest: Value = serde_json::from_str(&good).unwrap();
        let payload = manifest["annotations"]["io.boxwright.payload"].as_str().unwrap();
        let payload: Value = serde_json::from_str(payload).unwrap();
        let bad = poisoned(&payload);
        assert!(bad.len() > 2, "{payload}");
        for bad in bad {
            let mut manifest = manifest.clone();
            manifest["annotations"]["io.boxwright.payload"] = Value::String(bad.to_string());
            put(&registry, &place, oci, &manifest.to_string(), &world.beside("put"));
            for command in ["log main", "report", "clean --now +40d", "promote main", "rollback main", "plan"]
            {
                let arguments: Vec<&str> = command.split(' ').collect();
                let ended = world.boxwright(&arguments);
                draws_nothing(&ended.out, &format!("{command} with {tag} {bad}"));
                draws_nothing(&ended.err, &format!("{command} with {tag} {bad}"));
            }
        }
        put(&registry, &place, oci, &good, &world.beside("put"));
    }
}

#[test]
fn the_labels_of_an_image() {
    let registry = Registry::start(&[]);
    let world = promoted(&registry);
    let tag = world.boxwright(&["plan", "--format", "json"]).good().boxes("tag").remove(0);
    let (_, headers, text) = registry.curl(&[], &format!("only/manifests/{tag}"));
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap();
    let (_, _, text) = registry.curl(&[], &format!("only/blobs/{config}"));
    let config: Value = serde_json::from_str(&text).unwrap();
    let mut labels = config["config"]["Labels"].clone();
    labels["org.opencontainers.image.title"] = Value::String("x".to_owned());
    labels[PAYLOAD] = Value::String("x".to_owned());
    for bad in poisoned(&labels) {
        let mut config = config.clone();
        config["config"]["Labels"] = bad;
        config["architecture"] = Value::String(PAYLOAD.to_owned());
        let text = config.to_string();
        let digest = boxwright::model::Digest::of(text.as_bytes()).to_string();
        fs::write(world.beside("blob"), &text).unwrap();
        let (_, begun, _) = registry.curl(&["-X", "POST"], "only/blobs/uploads/");
        let place = begun["location"].split_once("/v2/").unwrap().1.to_owned();
        let data = format!("@{}", world.beside("blob").display());
        let sent = ["-X", "PUT", "-H", "Content-Type: application/octet-stream", "--data-binary", &data];
        assert_eq!(registry.curl(&sent, &format!("{place}&digest={digest}")).0, 201);
        let mut manifest = manifest.clone();
        manifest["config"]["digest"] = Value::String(digest);
        manifest["config"]["size"] = Value::from(text.len());
        put(
            &registry,
            &format!("only/manifests/{tag}"),
            &headers["content-type"],
            &manifest.to_string(),
            &world.beside("put"),
        );
        for command in [
            &["plan"][..],
            &["report"],
            &["clean"],
            &["explain", "only", "--against", &tag],
            &["build", "--push", "never"],
        ] {
            each_way(&world, command, &[]);
        }
    }
}

#[test]
fn the_names_of_files_and_what_git_knows() {
    let registry = Registry::start(&[]);
    let world = promoted(&registry);
    let names: [&[u8]; 4] = [
        "\n FORGED\u{1b}[2J".as_bytes(),
        "\u{202e}txt.\u{200b}".as_bytes(),
        b"\xff\xfe\x9b31m",
        b"\nFORGED ##[x]\r",
    ];
    for name in names {
        fs::write(world.root.join("files").join(std::ffi::OsStr::from_bytes(name)), "1").unwrap();
    }
    let who = format!("{}\u{202e}<x@example.org>", PAYLOAD.replace(['\n', '\0'], " "));
    world.git(&["checkout", "-q", "-b", "\u{202e}\u{9b}2Jmain\u{200b}"]);
    world.git(&["add", "--all"]);
    world.git(&["-c", &format!("user.name={who}"), "commit", "-q", "-m", PAYLOAD]);
    // Those that differ from the commit are named.
    for name in names {
        fs::write(world.root.join("files").join(std::ffi::OsStr::from_bytes(name)), "2").unwrap();
    }
    every_command(&world);
}

#[test]
fn what_a_build_prints_and_what_its_steps_are_called() {
    let registry = Registry::start(&[]);
    let world = promoted(&registry);
    let octal: String = PAYLOAD.bytes().map(|byte| format!("\\{byte:03o}")).collect();
    let name = PAYLOAD.replace(['\n', '\r', '\u{b}', '\u{2028}', '\u{2029}'], " ");
    for end in ["exit 3", "true"] {
        let step = format!("RUN printf '{octal}'; printf '{octal}' >&2; : '{name}' {}; {end}", unique());
        let text = fs::read_to_string(world.root.join("Dockerfile")).unwrap();
        world.write("Dockerfile", &format!("{text}{step}\n"));
        for command in [&["plan"][..], &["explain", "only"], &["build"], &["guard"]] {
            each_way(&world, command, &[]);
        }
        each_way(
            &world,
            &["build", "--local", "--no-cache"],
            &[("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "push")],
        );
        world.write("Dockerfile", &text);
    }
    // What no frontend takes is an error that quotes it.
    for line in ["", "COPY --from=", "RUN --mount=", "ENV ", "FROM ", "ARG ", "RUN <<"] {
        world.write("Dockerfile", &format!("FROM scratch\n{line}{name}\n"));
        each_way(&world, &["keys"], &[]);
        each_way(&world, &["init", "--print"], &[]);
    }
}

#[test]
fn arguments_and_variables() {
    let world = World::single("127.0.0.1:9", "RUN true");
    world.commit();
    for text in [PAYLOAD, "\u{202e}\nerror: FORGED"] {
        for arguments in [
            &[text][..],
            &["plan", text],
            &["plan", "--", text],
            &["keys", text],
            &["explain", text],
            &["explain", "only", "--against", text],
            &["keys", "--arg", &format!("only={text}")],
            &["keys", "--arg", &format!("{text}=1")],
            &["keys", "--source", &format!("{text}={text}")],
            &["keys", "--run-id", text],
            &["keys", "--format", text],
            &[&format!("--format={text}"), "keys"],
            &["keys", "--file", text],
            &["keys", "--registry", text],
            &["plan", "--registry", text],
            &["promote", text, "--yes"],
            &["promote", "main", "--from", text, "--yes"],
            &["promote", "main", "--to", text, "--yes"],
            &["rollback", text],
            &["log", text],
            &["rebuild", text],
            &["clean", "--now", text],
            &["clean", "--apply", text],
            &["lock", "--update", text],
            &["build", "--at", text],
            &["build", "--wait", text],
            &["import", text],
            &["help", text],
            &["completions", text],
        ] {
            each_way(&world, arguments, &[]);
        }
        for variable in [
            "BOXWRIGHT_REGISTRY",
            "BOXWRIGHT_RUN",
            "BOXWRIGHT_FILE",
            "BOXWRIGHT_FORMAT",
            "BOXWRIGHT_PUSH",
            "BOXWRIGHT_ARG_X",
            "BOXWRIGHT_SOURCE_X",
            "BOXWRIGHT_HOSTS",
            "DOCKER_HOST",
            "DOCKER_CONFIG",
            "BOXWRIGHT_DOTENV",
            "SSH_AUTH_SOCK",
            "HTTPS_PROXY",
            "BOXWRIGHT_CACHE",
        ] {
            each_way(&world, &["keys"], &[(variable, text)]);
        }
    }
}

#[test]
fn what_a_configuration_holds() {
    let world = World::single("127.0.0.1:9", "RUN true");
    world.commit();
    let escaped: String = PAYLOAD
        .chars()
        .map(|c| match u32::from(c) {
            code if c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' => {
                char::from_u32(code).unwrap().to_string()
            }
            code => format!("\\U{code:08X}"),
        })
        .collect();
    let raw = PAYLOAD.replace(['\n', '\r', '\0'], " ");
    for text in [
        format!("registry = \"127.0.0.1:9\"\n[box.\"{escaped}\"]\n"),
        format!("registry = \"{escaped}\"\n[box.a]\n"),
        format!("registry = \"127.0.0.1:9\"\n\"{escaped}\" = 1\n[box.a]\n"),
        format!("registry = \"127.0.0.1:9\"\nledger = \"{escaped}\"\n[box.a]\n"),
        format!("registry = \"127.0.0.1:9\"\n[box.only]\ntarget = \"{escaped}\"\n"),
        format!("registry = \"127.0.0.1:9\"\n[box.only]\ncontext = \"{escaped}\"\n"),
        format!("registry = \"127.0.0.1:9\"\n[box.only]\ndockerfile = \"{escaped}\"\n"),
        format!("registry = \"127.0.0.1:9\"\n[box.only]\nrepository = \"{escaped}\"\n"),
        format!("registry = \"127.0.0.1:9\"\n[box.only]\nnetwork = \"{escaped}\"\n"),
        format!("registry = \"127.0.0.1:9\"\n[box.only]\nargs = {{ \"{escaped}\" = \"{escaped}\" }}\n"),
        format!("registry = \"127.0.0.1:9\"\n[box.only]\nargs = {{ BUILDKIT_X = \"{escaped}\" }}\n"),
        format!("registry = \"127.0.0.1:9\"\n[box.only]\nallow = [\"{escaped}\"]\n"),
        format!(
            "registry = \"127.0.0.1:9\"\n[box.only]\nsecrets = {{ \"{escaped}\" = {{ env = \"{escaped}\" }} }}\n"
        ),
        format!("registry = \"127.0.0.1:9\"\n[box.only]\nextra-hosts = [\"{escaped}\"]\n"),
        format!(
            "registry = \"127.0.0.1:9\"\n[box.only]\ncontexts = {{ \"{escaped}\" = \"box:{escaped}\" }}\n"
        ),
        format!("registry = \"127.0.0.1:9\"\n[box.only]\n[channel.\"{escaped}\"]\ntag = \"main\"\n"),
        format!("registry = \"127.0.0.1:9\"\n[box.only]\n[channel.main]\ntag = \"{escaped}\"\n"),
        format!(
            "registry = \"127.0.0.1:9\"\n[box.only]\n[channel.main]\ntag = \"main\"\nkeep = \"{escaped}\"\n"
        ),
        format!(
            "registry = \"127.0.0.1:9\"\n[pin.x]\nfile = \"{escaped}\"\nfield = \"{escaped}\"\n[box.only]\nargs = {{ A = \"{{pin.x}}\" }}\n"
        ),
        format!(
            "registry = \"127.0.0.1:9\"\n[pin.x]\ngit = \"{escaped}\"\nref = \"{escaped}\"\n[box.only]\n"
        ),
        format!("registry = \"127.0.0.1:9\"\n[pin.x]\nurl = \"{escaped}\"\n[box.only]\n"),
        format!("registry = \"127.0.0.1:9\"\n[pin.x]\nimage = \"{escaped}\"\n[box.only]\n"),
        format!("registry = \"127.0.0.1:9\"\n[protect]\nfiles = [\"{escaped}\"]\n[box.only]\n"),
        format!("registry = \"127.0.0.1:9\"\n[mirror]\n\"{escaped}\" = \"{escaped}\"\n[box.only]\n"),
        format!("{raw}\n"),
        format!("registry = \"127.0.0.1:9\" # {raw}\n[box.only]\nx = \n"),
    ] {
        world.write("boxwright.toml", &text);
        for command in [&["keys"][..], &["explain", "only"], &["promote", "main", "--yes"], &["lock"]] {
            let ended = world.without_engine(command);
            draws_nothing(&ended.out, &text);
            draws_nothing(&ended.err, &text);
        }
    }
    world.configure("127.0.0.1:9", "[box.only]\n");
    for text in [
        raw.clone(),
        format!("[pin.\"{escaped}\"]\nvalue = \"{escaped}\"\n"),
        format!("[image.\"{escaped}\"]\n"),
    ] {
        world.write("boxwright.lock", &text);
        each_way(&world, &["keys"], &[]);
    }
    fs::remove_file(world.root.join("boxwright.lock")).unwrap();
    world.write(".dockerignore", &format!("[{raw}\n"));
    each_way(&world, &["keys"], &[]);
}

#[test]
fn what_a_ci_says() {
    let registry = Registry::start(&[]);
    let world = promoted(&registry);
    let (output, summary, dotenv) = (world.beside("output"), world.beside("summary"), world.beside("dotenv"));
    let files =
        [("GITHUB_OUTPUT", &output), ("GITHUB_STEP_SUMMARY", &summary), ("BOXWRIGHT_DOTENV", &dotenv)];
    let event = world.beside("event.json");
    let payload = serde_json::json!({
        "sender": { "login": PAYLOAD }, "repository": { "full_name": PAYLOAD, "id": PAYLOAD },
        "head_commit": { "timestamp": PAYLOAD },
        "workflow_run": { "event": PAYLOAD, "head_repository": { "full_name": PAYLOAD, "id": PAYLOAD } },
        "pull_request": { "number": PAYLOAD, "head": { "ref": PAYLOAD, "repo": { "id": PAYLOAD } }, "base": { "repo": { "id": PAYLOAD } } },
    });
    fs::write(&event, payload.to_string()).unwrap();
    let services: [&[&str]; 5] =
        [&["GITHUB_ACTIONS"], &["GITEA_ACTIONS"], &["GITLAB_CI"], &["JENKINS_URL", "BUILD_NUMBER"], &["CI"]];
    for service in services {
        let kinds = [PAYLOAD, "workflow_run", "pull_request", "push"];
        for kind in &kinds[..if service == ["GITHUB_ACTIONS"] { 4 } else { 1 }] {
            for arguments in [
                &["build"][..],
                &["plan"],
                &["guard"],
                &["promote", "main", "--yes"],
                &["clean"],
                &["doctor"],
            ] {
                let mut command = world.command(arguments);
                command.envs(service.iter().map(|name| (*name, "true"))).envs(files);
                for name in [
                    "GITHUB_ACTOR",
                    "GITHUB_RUN_ID",
                    "GITHUB_RUN_ATTEMPT",
                    "GITHUB_SHA",
                    "GITHUB_HEAD_REF",
                    "GITHUB_REF_NAME",
                    "GITHUB_REF_TYPE",
                    "GITHUB_WORKSPACE",
                    "GITHUB_REPOSITORY",
                    "CI_PIPELINE_SOURCE",
                    "CI_PIPELINE_ID",
                    "CI_PROJECT_ID",
                    "CI_COMMIT_SHA",
                    "CI_COMMIT_REF_NAME",
                    "CI_COMMIT_BRANCH",
                    "CI_COMMIT_TAG",
                    "CI_MERGE_REQUEST_IID",
                    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID",
                    "JOB_NAME",
                    "BUILD_NUMBER",
                    "CHANGE_ID",
                    "CHANGE_FORK",
                    "BRANCH_NAME",
                    "TAG_NAME",
                    "GIT_COMMIT",
                ] {
                    command.env(name, PAYLOAD);
                }
                command.env("GITHUB_EVENT_NAME", kind).env("GITHUB_EVENT_PATH", &event);
                let ended = Ended::of(command.output().unwrap());
                let what = format!("{service:?} {kind:.12} {arguments:?}");
                draws_nothing(&ended.out, &what);
                draws_nothing(&ended.err, &what);
            }
            for (name, path) in files {
                let text = fs::read_to_string(path).unwrap_or_default();
                let _ = fs::remove_file(path);
                draws_nothing(&text, name);
                let known =
                    ["missing", "built", "can_push", "tag_only", "digest_only", "image_only", "images"];
                let variables = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
                if name == "GITHUB_OUTPUT" {
                    variables.for_each(|name| assert!(known.contains(&name), "{name} in:\n{text}"));
                } else if name == "BOXWRIGHT_DOTENV" {
                    variables.for_each(|name| assert!(name.starts_with("BOXWRIGHT_"), "{name} in:\n{text}"));
                }
            }
        }
    }
}

/// A registry whose every answer is `status` with `body`.
fn answering(status: &str, headers: &str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let head =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read(&mut [0; 8192]);
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    host
}

#[test]
fn what_a_registry_answers() {
    let errors =
        serde_json::json!({ "errors": [{ "code": PAYLOAD, "message": PAYLOAD, "detail": PAYLOAD }] })
            .to_string();
    let tags = serde_json::json!({ "name": PAYLOAD, "tags": [PAYLOAD, "\u{202e}main"] }).to_string();
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": PAYLOAD, "config": { "digest": PAYLOAD, "mediaType": PAYLOAD, "size": 1 }, "layers": [] }).to_string();
    let line: String = PAYLOAD.chars().filter(|c| *c == '\t' || !(c.is_ascii_control())).collect();
    let hostile = format!("Docker-Content-Digest: {line}\r\nContent-Type: {line}\r\nDate: {line}\r\n");
    let challenge = format!(
        "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:9/{line}\",service=\"{line}\",scope=\"{line}\"\r\n"
    );
    let away = format!("Location: http://127.0.0.1:9/{line}\r\n");
    for (status, headers, body) in [
        ("403 Forbidden", "", errors.clone()),
        ("404 Not Found", "Content-Type: application/json\r\n", errors.clone()),
        ("400 Bad", "", PAYLOAD.to_owned()),
        ("401 Unauthorized", "", errors.clone()),
        ("401 Unauthorized", &challenge, errors),
        ("200 OK", "Content-Type: application/json\r\n", tags),
        ("200 OK", &hostile, manifest),
        ("200 OK", &hostile, PAYLOAD.to_owned()),
        ("307 Temporary Redirect", &away, String::new()),
    ] {
        let host = answering(status, headers, body);
        let world = World::empty();
        world.configure(&host, "[box.only]\n[channel.main]\ntag = \"main\"\n");
        world.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
        world.commit();
        for command in [
            "plan",
            "log main",
            "report",
            "clean",
            "promote main",
            "explain only --against main",
            "build --local",
            "doctor",
        ] {
            let arguments: Vec<&str> = command.split(' ').collect();
            let ours = world.command(&arguments);
            // Whatever it makes of such answers, it need not go on for long.
            let mut limited = Command::new("timeout");
            limited.arg("20").arg(ours.get_program()).args(ours.get_args()).current_dir(&world.root);
            limited.env_clear().envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let limited = limited.output().unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            let what = format!("{command} at {status} {headers:.30}");
            draws_nothing(&text(limited.stdout), &what);
            draws_nothing(&text(limited.stderr), &what);
        }
    }
}
