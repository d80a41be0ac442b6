//! A stranger who wrote every byte of the repository, and the registries that it names; and somebody
//! else on the machine. Attempts by somebody who did not write what they meet.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::fake::{Fake, Wants};
use boxwright_testing::witness::{NO_ENGINE, tell};
use boxwright_testing::world::{Ended, World};

/// What a server answers to a request.
type Answer = Box<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

const CANARY: &str = "canary-0f-the-runner";

/// Runs it as a run that is not trusted does, with these variables besides.
fn stranger(world: &World, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = world.command(arguments);
    command.env("BOXWRIGHT_TRUST", "untrusted").env("DOCKER_HOST", NO_ENGINE);
    let began = Instant::now();
    let ended = Ended::of(command.envs(variables.iter().copied()).output().unwrap());
    assert!(began.elapsed() < Duration::from_secs(60), "{arguments:?} took {:?}", began.elapsed());
    let all = format!("{}{}", ended.out, ended.err);
    assert!(!all.contains(CANARY), "{arguments:?}: {all}");
    ended
}

/// A project of one box with nothing in it, and this configuration besides.
fn project(registry: &str, config: &str) -> World {
    let world = World::empty();
    world.configure(registry, config);
    world.write("Dockerfile", "FROM scratch\nARG T\nLABEL t=$T\n");
    world.commit();
    world
}

#[test]
fn a_report_for_later_jobs_is_written_through_no_link() {
    let world = project("embedded", "[box.only]\n");
    let victim = world.beside("authorized_keys");
    let is_whole = || assert_eq!(fs::read_to_string(&victim).unwrap(), CANARY);
    fs::write(&victim, CANARY).unwrap();
    symlink("../authorized_keys", world.root.join("boxwright.env")).unwrap();
    symlink("../authorized_keys", world.root.join("plan.json")).unwrap();
    world.git(&["add", "--force", "boxwright.env", "plan.json"]);
    stranger(&world, &[], &["plan", "--dotenv", "boxwright.env"]).good();
    is_whole();
    let report = world.root.join("boxwright.env");
    assert!(report.symlink_metadata().unwrap().is_file());
    assert!(fs::read_to_string(&report).unwrap().contains("BOXWRIGHT_MISSING=only\n"));
    stranger(&world, &[], &["clean", "--plan-out", "plan.json"]).good();
    is_whole();
    // A pipe would be waited for, and a device be gone.
    for place in ["pipe", "directory"] {
        let at = world.root.join(place);
        match place {
            "pipe" => drop(tell("mkfifo", &[at.to_str().unwrap()])),
            _ => fs::create_dir(&at).unwrap(),
        }
        stranger(&world, &[("BOXWRIGHT_DOTENV", place)], &["plan"]).exits(2).says(&["is no file"]);
        assert!(!at.symlink_metadata().unwrap().is_file());
    }
}

/// Neither through a link at its place nor through one on the way there.
#[test]
fn no_file_is_written_where_a_committed_link_leads() {
    let world = project("embedded", "[box.only]\n");
    let outside = world.beside("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(world.root.join("real")).unwrap();
    symlink("../outside", world.root.join("out")).unwrap();
    symlink("out", world.root.join("twice")).unwrap();
    symlink("../out", world.root.join("real/nested")).unwrap();
    symlink(".git", world.root.join("inside")).unwrap();
    symlink(".git/hooks", world.root.join("hooks")).unwrap();
    symlink("../nowhere", world.root.join("dangling")).unwrap();
    symlink("real", world.root.join("good")).unwrap();
    fs::create_dir_all(world.root.join(".git/hooks")).unwrap();
    let absolute = world.root.join("out/x");
    let many = [
        "out/x",
        "./out/x",
        "twice/x",
        "good/nested/x",
        "inside/x",
        "inside/hooks/pre-commit",
        "hooks/pre-commit",
        "dangling/x",
        // What is written after a link is what the system makes of it.
        "real/../out/x",
        "good/../twice/x",
        "real/../hooks/pre-commit",
        "out/../x",
        "good/../../x",
        absolute.to_str().unwrap(),
    ];
    for at in many {
        for arguments in [
            &["plan", "--dotenv", at][..],
            &["clean", "--plan-out", at],
            &["report", "--html", at],
            &["export", "-o", at],
        ] {
            stranger(&world, &[], arguments).exits(2).says(&["by a link in the repository"]);
        }
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    let written = ["../x", "../nowhere", ".git/x", ".git/hooks/pre-commit"];
    assert!(written.iter().all(|at| !world.root.join(at).exists()));
    // From a directory below, and from outside the repository.
    for (at, file) in [("real", "nested/x"), ("real", "../out/x"), ("..", absolute.to_str().unwrap())] {
        let mut command = world.command_in(&world.root.join(at), &["report", "--html", file]);
        command.arg("-f").arg(world.root.join("boxwright.toml")).env("BOXWRIGHT_TRUST", "untrusted");
        Ended::of(command.output().unwrap()).exits(2).says(&["by a link in the repository"]);
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    // A link in the file's own place is replaced, wherever it leads; one to a directory is none.
    symlink("../outside/x", world.root.join("last")).unwrap();
    symlink(".git/hooks/pre-commit", world.root.join("hook")).unwrap();
    for at in ["last", "hook", "real/../last"] {
        stranger(&world, &[], &["plan", "--dotenv", at]).good();
        assert!(world.root.join(at).symlink_metadata().unwrap().is_file(), "{at}");
    }
    stranger(&world, &[], &["plan", "--dotenv", "hooks"]).exits(2).says(&["is no file"]);
    assert!(!outside.join("x").exists() && !world.root.join(".git/hooks/pre-commit").exists());
    stranger(&world, &[], &["plan", "--dotenv", "good/x"]).good();
    // Who names the place itself means it.
    let named = outside.join("x");
    for at in [named.to_str().unwrap(), "../outside/y", "real/../../outside/z"] {
        stranger(&world, &[], &["plan", "--dotenv", at]).good();
    }
    assert!(world.root.join("real/x").exists());
    assert!(["x", "y", "z"].iter().all(|name| outside.join(name).exists()));
}

#[test]
fn nothing_that_a_checkout_logged_in_with_is_read() {
    let world = project("embedded", "[box.only]\n");
    let header = format!("AUTHORIZATION: basic {CANARY}");
    world.git(&["config", "http.https://github.com/.extraheader", &header]);
    symlink(".git/config", world.root.join("innocent")).unwrap();
    symlink(".git", world.root.join("sub")).unwrap();
    for file in [".git/config", "innocent", "sub/config", "sub/../.git/config"] {
        let pin = format!(
            "[pin.t]\nfile = \"{file}\"\npattern = \"basic (.*)\"\n[box.only]\nargs = {{ T = \"{{pin.t}}\" }}\n"
        );
        let dockerfile = format!("[box.only]\ndockerfile = \"{file}\"\n");
        for config in [pin, dockerfile] {
            world.configure("embedded", &config);
            for arguments in [&["lock"][..], &["keys"], &["plan"], &["explain", "only"]] {
                let ended = stranger(&world, &[], arguments);
                if arguments != ["lock"] {
                    ended.exits(2).says(&["in a `.git`"]);
                }
            }
        }
        world.configure("embedded", &format!("[protect]\nfiles = [\"{file}\"]\n[box.only]\n"));
        stranger(&world, &[], &["clean"]).exits(2).says(&["in a `.git`"]);
    }
    for directory in [".git", "sub", ".git/refs"] {
        world.write("Dockerfile", "FROM scratch\nCOPY . /\n");
        world.configure(
            "embedded",
            &format!("[box.only]\ncontext = \"{directory}\"\ndockerfile = \"Dockerfile\"\n"),
        );
        stranger(&world, &[], &["keys"]).exits(2).says(&["in a `.git`"]);
        world.configure("embedded", &format!("[box.only]\ncontexts = {{ g = \"dir:{directory}\" }}\n"));
        world.write("Dockerfile", "FROM scratch\nCOPY --from=g . /\n");
        stranger(&world, &[], &["keys"]).exits(2).says(&["in a `.git`"]);
    }
}

#[test]
fn a_configuration_that_somebody_else_put_above_is_not_taken() {
    let world = project("embedded", "[box.only]\n");
    let above = world.beside("boxwright.toml");
    fs::write(&above, "registry = \"evil.example/x\"\n[box.only]\nssh = true\n").unwrap();
    fs::write(world.beside("Dockerfile"), "FROM scratch\n").unwrap();
    fs::remove_file(world.root.join("boxwright.toml")).unwrap();
    fs::create_dir_all(world.root.join("deep/er")).unwrap();
    let keys = |at: &str, more: &[&str]| {
        let mut command = world.command_in(&world.root.join(at), &[&["keys"][..], more].concat());
        Ended::of(command.output().unwrap())
    };
    keys("deep/er", &[]).good();
    if tell("id", &["-u"]).trim() != "0" {
        return;
    }
    tell("chown", &["65534", above.to_str().unwrap()]);
    for at in ["", "deep/er"] {
        keys(at, &[]).fails(2, &["belongs to user 65534", "name it by `-f`"]);
    }
    keys("", &["-f", above.to_str().unwrap()]).good();
    // A checkout of somebody else, as jobs in containers have it, is one from below too.
    tell("chown", &["-R", "65534", world.root.to_str().unwrap()]);
    keys("deep/er", &[]).good();
}

#[test]
fn no_place_is_another_one_however_it_is_written() {
    let host = Fake::start(Wants::Token(String::new()));
    let port = host.host.rsplit(':').next().unwrap();
    let place = format!("{}/team", host.host);
    let variables = [
        ("BOXWRIGHT_REGISTRY_HOST", &*place),
        ("BOXWRIGHT_REGISTRY_USERNAME", "worker"),
        ("BOXWRIGHT_REGISTRY_PASSWORD", CANARY),
    ];
    let world = project(&host.host, "[box.only]\n");
    let login = world.beside("home/.docker");
    fs::create_dir_all(&login).unwrap();
    let auth = |host: &str| format!("\"{host}\":{{\"auth\":\"d29ya2VyOnMzY3JldA==\"}}");
    let hosts = [host.host.clone(), format!("localhost:{port}"), format!("{}/private", host.host)];
    let hosts = hosts.iter().map(|host| auth(host)).collect::<Vec<_>>().join(",");
    fs::write(login.join("config.json"), format!("{{\"auths\":{{{hosts}}}}}")).unwrap();
    let shown = || host.shown().into_iter().filter(|text| text.starts_with("Basic ")).count();
    for registry in [
        format!("127.0.0.1:{port}/team-evil"),
        format!("127.0.0.1:{port}/teams"),
        format!("127.0.0.1:{port}/private"),
        format!("127.1:{port}/private"),
        format!("0x7f.1:{port}/private"),
        format!("2130706433:{port}/private"),
        format!("017700000001:{port}/private"),
        format!("localhost:{port}/team"),
        format!("LOCALHOST:{port}/team"),
        format!("[::ffff:127.0.0.1]:{port}/team"),
    ] {
        world.configure(&registry, "[box.only]\n");
        stranger(&world, &variables, &["plan"]);
        assert_eq!(shown(), 0, "{registry}: {:?}", host.seen());
    }
    // What is no name comes no further than the configuration.
    host.forget();
    for (registry, name) in [
        (format!("127.0.0.1:{port}/team/../private"), "only"),
        (format!("127.0.0.1:{port}/team%2F..%2Fprivate"), "only"),
        (format!("127.0.0.1:{port}/team//private"), "only"),
        (format!("127.0.0.1.:{port}/team"), "only"),
        (format!("worker:{CANARY}@127.0.0.1:{port}/team").replace(CANARY, "x"), "only"),
        (format!("http://127.0.0.1:{port}/team"), "only"),
        (place.clone(), "../private/x"),
        (place.clone(), "a/../../private/x"),
        (place.clone(), "%2e%2e/private"),
        (place.clone(), "a?b"),
        (place.clone(), "a#b"),
        (place.clone(), "a@b"),
    ] {
        for config in [format!("[box.only]\nrepository = \"{name}\"\n"), "[box.only]\n".to_owned()] {
            let ledger = if name == "only" { "ledger" } else { name };
            world.configure(&registry, &format!("ledger = \"{ledger}\"\n{config}"));
            stranger(&world, &variables, &["plan"]).fails(2, &["boxwright.toml:", "is not a "]);
        }
    }
    assert!(host.seen().is_empty(), "{:?}", host.seen());
    // Only the place itself is.
    world.configure(&place, "[box.only]\n");
    stranger(&world, &variables, &["plan"]);
    assert!(shown() > 0, "{:?}", host.seen());
}

#[test]
fn no_variable_makes_a_directory_of_the_repository_the_user_s_own() {
    let inside = Fake::start(Wants::Nobody("an answer"));
    let config =
        format!("[pin.a]\nurl = \"http://{}/\"\n[box.only]\nargs = {{ T = \"{{pin.a}}\" }}\n", inside.host);
    let world = project("embedded", &config);
    let hosts = format!("[host.\"{}\"]\n[git]\nallow = [\"/\"]\n[secrets]\nfiles = [\"/\"]\n", inside.host);
    for place in ["hosts.toml", "boxwright/hosts.toml", ".config/boxwright/hosts.toml"] {
        world.write(place, &hosts);
    }
    for (name, value) in [
        ("HOME", "."),
        ("HOME", ""),
        ("XDG_CONFIG_HOME", "."),
        ("XDG_CONFIG_HOME", ".config"),
        ("BOXWRIGHT_HOSTS", "hosts.toml"),
        ("DOCKER_CONFIG", "."),
        ("XDG_RUNTIME_DIR", "."),
    ] {
        assert_ne!(stranger(&world, &[(name, value)], &["lock"]).code, 0, "{name}={value}");
    }
    assert!(inside.seen().is_empty(), "{:?}", inside.seen());
}

#[test]
fn no_program_of_the_repository_is_run_whatever_the_path_is() {
    let world =
        project("127.0.0.1:1", "[pin.a]\ngit = \"https://127.0.0.1:1/x\"\nref = \"main\"\n[box.only]\n");
    let ran = world.beside("ran");
    let login = world.beside("home/.docker");
    fs::create_dir_all(&login).unwrap();
    fs::write(login.join("config.json"), "{\"credsStore\":\"x\",\"credHelpers\":{\"127.0.0.1:1\":\"x\"}}")
        .unwrap();
    for program in ["git", "ssh", "docker", "docker-credential-x", "git-remote-https", "id", "uname"] {
        world.write(program, &format!("#!/bin/sh\necho {program} >> {}\n", ran.display()));
        fs::set_permissions(world.root.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    for path in [format!(".:{path}"), format!(":{path}"), ".".to_owned(), ":".to_owned(), String::new()] {
        for arguments in [&["plan"][..], &["lock"], &["doctor"], &["promote", "main", "--dry-run"]] {
            for trust in ["trusted", "untrusted"] {
                let mut command = world.command(arguments);
                command.env("PATH", &path).env("BOXWRIGHT_TRUST", trust).env("DOCKER_HOST", NO_ENGINE);
                command.output().unwrap();
                assert!(!ran.exists(), "PATH={path} {arguments:?}: {}", fs::read_to_string(&ran).unwrap());
            }
        }
    }
}

#[test]
fn what_stands_in_place_of_the_store_is_neither_waited_for_nor_read_whole() {
    let world = project("embedded", "[box.only]\n");
    let home = world.root.join(".boxwright");
    let fifo = |path: &Path| drop(tell("mkfifo", &[path.to_str().unwrap()]));
    let deep = |path: &Path| fs::write(path, "[".repeat(1 << 20)).unwrap();
    let large = |path: &Path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
    type Make<'a> = &'a dyn Fn(&Path);
    let makes: [(&str, Make<'_>); 3] = [("fifo", &fifo), ("deep", &deep), ("large", &large)];
    for place in ["registry/index.json", "registry/oci-layout", "registry/lock", "port"] {
        for (what, make) in makes {
            if what != "fifo" && place == "registry/lock" {
                continue;
            }
            let _ = fs::remove_dir_all(&home);
            world.without_engine(&["plan"]).good();
            let at = home.join(place);
            fs::remove_file(&at).unwrap();
            make(&at);
            let plain = world.command(&["plan"]);
            let mut command = std::process::Command::new("prlimit");
            command.args([&format!("--as={}", 3_u64 << 30), "--cpu=30"]).arg(plain.get_program()).arg("plan");
            command.current_dir(&world.root).env_clear();
            command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let began = Instant::now();
            let ended = Ended::of(command.env("DOCKER_HOST", NO_ENGINE).output().unwrap());
            ended.exits(1).says(&[&format!(".boxwright/{place}")]);
            assert!(began.elapsed() < Duration::from_secs(30), "{what} {place}");
        }
    }
    // No login is left where a link leads.
    fs::remove_dir_all(&home).unwrap();
    world.without_engine(&["plan"]).good();
    let docker = world.beside("home/.docker");
    fs::create_dir_all(&docker).unwrap();
    fs::write(docker.join("config.json"), CANARY).unwrap();
    symlink(&docker, home.join("login")).unwrap();
    world.without_engine(&["registry", "serve"]).exits(1).says(&[".boxwright/login"]);
    assert_eq!(fs::read_to_string(docker.join("config.json")).unwrap(), CANARY);
}

/// A registry that answers everything by `answer`, to which it hands the request's first line; what
/// it was asked is noted.
fn evil(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (note, answer) = (Arc::clone(&seen), Arc::new(answer));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (note, answer) = (Arc::clone(&note), Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let Some(line) = lines.next() else { return };
                lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
                note.lock().unwrap().push(line.clone());
                let answer = answer(&line);
                // An endless body is an answer that is sent again and again.
                let is_endless = answer.ends_with(b"[[[[");
                while stream.write_all(&answer).is_ok() && is_endless {}
            });
        }
    });
    (host, seen)
}

fn reply(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
        .into()
}

#[test]
fn a_registry_leads_nobody_to_another_server_nor_to_an_end_of_memory() {
    let inside = Fake::start(Wants::Nobody("an answer"));
    let login = [("BOXWRIGHT_REGISTRY_USERNAME", "worker"), ("BOXWRIGHT_REGISTRY_PASSWORD", CANARY)];
    let json = "Content-Type: application/json\r\n";
    let absent = |_: &str| reply("404 Not Found", "", r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#);
    let check = |what: &str, codes: &[i32], answer: Answer| {
        let (host, seen) = evil(move |line| answer(line));
        let world = project(&format!("{host}/team"), "[box.only]\n[channel.main]\ntag = \"main\"\n");
        // It is where the credentials are for: it was taken over.
        let place = ("BOXWRIGHT_REGISTRY", &*format!("{host}/team"));
        for arguments in [&["plan"][..], &["clean"]] {
            let ended = stranger(&world, &[login[0], login[1], place], arguments);
            assert!(codes.contains(&ended.code), "{what} {arguments:?}: {}", ended.err);
        }
        let seen = seen.lock().unwrap();
        assert!(
            !seen.is_empty() && seen.iter().all(|line| line.starts_with("GET ") || line.starts_with("HEAD "))
        );
        assert_eq!(inside.shown(), [""; 0], "{what}");
    };
    // The next page, on another server.
    let next = format!("Link: <http://{}/v2/x/tags/list>; rel=\"next\"\r\n{json}", inside.host);
    check(
        "page",
        &[0, 20],
        Box::new(move |line| match line.contains("tags/list") {
            true => reply("200 OK", &next, r#"{"name":"x","tags":["a"]}"#),
            false => absent(line),
        }),
    );
    assert!(inside.seen().is_empty(), "{:?}", inside.seen());
    // A token service that is one of the cloud's own machines, or a file.
    for realm in ["http://169.254.169.254/latest", "http://10.0.0.1/", "file:///etc/passwd", "//x", ""] {
        let asks = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"x\"\r\n{json}");
        check(realm, &[20], Box::new(move |_| reply("401 Unauthorized", &asks, "{}")));
    }
    // What it serves has no end.
    check(
        "flood",
        &[20],
        Box::new(|line| match line.contains("HEAD ") {
            true => reply("200 OK", "", ""),
            false => {
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[[[[[[[[[[[[[[[[".repeat(1000)
            }
        }),
    );
    // Nor what it says about it.
    check(
        "words",
        &[20],
        Box::new(|_| {
            let text = "\u{1b}]0;x\u{7}\n::error::x\n##vso[task.complete]".repeat(100);
            let error = serde_json::json!({ "errors": [{ "code": "X", "message": text }] }).to_string();
            reply("400 Bad Request", "Content-Type: application/json\r\n", &error)
        }),
    );
}

#[test]
fn git_is_led_nowhere_by_a_file_that_a_box_left_in_place_of_its_directory() {
    // What runs in a box may write the working copy, and so its `.git`.
    let world = project("embedded", "[box.only]\n");
    let other = world.beside("private");
    tell("git", &["init", "-q", "-b", "main", other.to_str().unwrap()]);
    let who = ["-c", "user.name=a", "-c", "user.email=a@b", "-C", other.to_str().unwrap()];
    tell("git", &[&who[..], &["commit", "-q", "--allow-empty", "-m", CANARY]].concat());
    fs::write(
        other.join(".git/config"),
        format!("[core]\n[remote \"{CANARY}\"]\nurl = https://{CANARY}@x\n"),
    )
    .unwrap();
    let dot = world.root.join(".git");
    let kept = world.beside("kept");
    fs::rename(&dot, &kept).unwrap();
    let attempts: [(&str, &dyn Fn()); 4] = [
        ("a file of the machine", &|| symlink("/etc/hostname", &dot).unwrap()),
        ("a pipe", &|| drop(tell("mkfifo", &[dot.to_str().unwrap()]))),
        ("endless", &|| symlink("/dev/zero", &dot).unwrap()),
        ("committed", &|| {
            tell("cp", &["-r", kept.to_str().unwrap(), world.root.join("lib").to_str().unwrap()]);
            fs::write(&dot, "gitdir: lib\n").unwrap();
        }),
    ];
    for (what, make) in attempts {
        make();
        let plan = stranger(&world, &[], &["plan"]).good();
        assert!(plan.err.contains("the revision is unknown"), "{what}: {}", plan.err);
        fs::remove_file(&dot).unwrap();
    }
    // A name of a branch is a text, and quoted where it is handed on.
    fs::rename(&kept, &dot).unwrap();
    let branch = "$(touch${IFS}ran);`id`";
    world.git(&["checkout", "-q", "-b", branch]);
    let said = stranger(&world, &[("GITHUB_HEAD_REF", branch)], &["guard"]);
    assert!(!said.err.contains(branch), "{}", said.err);
}
