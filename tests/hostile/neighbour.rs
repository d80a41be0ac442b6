//! Another build on the same engine, another user of the same machine.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use boxwright_testing::witness::{Registry, attempt, busybox, tell};
use boxwright_testing::world::{Ended, World, unique};

/// What the CI says of a run that a fork's pull request caused, of one that nobody can tell of, and
/// of one by somebody who may push.
#[derive(Clone, Copy)]
enum Who {
    Fork,
    Unknown,
    Us,
}

impl Who {
    fn call(self, world: &World, arguments: &[&str]) -> Ended {
        let mut command = world.command(arguments);
        let event = world.beside("event.json");
        let repository = r#"{"id": 1, "full_name": "we/project"}"#;
        let text = format!(
            r#"{{"repository": {repository}, "pull_request": {{"number": 3, "base": {{"repo": {repository}}},
                "head": {{"repo": {{"id": 2, "full_name": "they/project"}}}}}}}}"#
        );
        fs::write(&event, text).unwrap();
        match self {
            Self::Us => &mut command,
            Self::Unknown => command.env("CI", "true"),
            Self::Fork => command
                .env("GITHUB_ACTIONS", "true")
                .env("GITHUB_EVENT_NAME", "pull_request")
                .env("GITHUB_EVENT_PATH", &event),
        };
        Ended::of(command.output().unwrap())
    }
}

/// A box whose only step says what its cache mount holds, and leaves a word in it.
fn cached(registry: &Registry, ledger: &str, mount: &str, word: &str) -> World {
    let world = World::empty();
    let config = format!("registry = \"{}\"\nledger = \"{ledger}\"\n[box.only]\n", registry.host);
    world.write("boxwright.toml", &config);
    let step =
        format!(": nonce; echo \"saw:$(cat /c/* 2>/dev/null | tr '\\n' ' '):\" && echo {word} > /c/{word}");
    world.write("Dockerfile", &format!("FROM {}\nARG ID=any\nRUN {mount} {step}\n", busybox()));
    world.commit();
    world
}

/// What the step of [`cached`] sees now.
fn saw(world: &World, who: Who) -> String {
    let text = fs::read_to_string(world.root.join("Dockerfile")).unwrap();
    world.write("Dockerfile", &text.replace(": nonce", &format!(": {}", unique())));
    let built = who.call(world, &["build", "--local", "-v"]).good();
    world.write("Dockerfile", &text);
    let line = built.err.lines().find(|line| line.contains("saw:") && !line.contains("RUN"));
    let line = line.unwrap_or_else(|| panic!("{}", built.err));
    line.split_once("saw:").unwrap().1.trim_end_matches(':').trim().to_owned()
}

/// Leaves a word in a cache mount as somebody does who asks the engine itself.
fn by_hand(mount: &str, word: &str) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let text = format!("FROM boxwright-busybox:1\nRUN {mount} : {}; echo {word} > /c/{word}\n", unique());
    fs::write(at("Dockerfile"), text).unwrap();
    tell("tar", &["-cf", &at("tar"), "-C", &at(""), "Dockerfile"]);
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned();
    let (data, tar) = (format!("@{}", at("tar")), "Content-Type: application/x-tar");
    let url = "http://localhost/v1.41/build?version=2";
    let told = tell("curl", &["-sS", "--unix-socket", &socket, "-H", tar, "--data-binary", &data, url]);
    assert!(told.contains("moby.image.id"), "{told}");
}

#[test]
fn what_a_stranger_s_build_caches_is_seen_by_no_build_of_ours() {
    let registry = Registry::start(&[]);
    for mount in ["--mount=type=cache,target=/c", "--mount=type=cache,id=ID,target=/c"] {
        let mount = mount.replace("ID", &unique());
        let at = |ledger: &str, word: &str| cached(&registry, ledger, &mount, word);
        let ledger = format!("ledger-{}", unique());
        assert_eq!(saw(&at(&ledger, "planted"), Who::Fork), "");
        assert_eq!(saw(&at(&ledger, "guessed"), Who::Unknown), "");
        by_hand(&mount, "foreign");
        assert_eq!(saw(&at(&ledger, "one"), Who::Us), "", "{mount}");
        assert_eq!(saw(&at(&ledger, "two"), Who::Us), "one", "a project's builds share it");
        assert_eq!(saw(&at(&ledger, "more"), Who::Fork), "planted", "and so do strangers'");
        assert_eq!(saw(&at(&format!("{ledger}-b"), "other"), Who::Us), "", "another project");
    }
}

#[test]
fn a_namespace_of_one_s_own_leads_to_no_other() {
    let registry = Registry::start(&[]);
    let (id, ledger) = (unique(), format!("ledger-{}", unique()));
    let mount = format!("--mount=type=cache,id={id},target=/c");
    let ours = cached(&registry, &ledger, &mount, "ours");
    assert_eq!(saw(&ours, Who::Us), "");
    // The namespace is no secret: it is a hash of what is known.
    let trusted = |project: &str| {
        let text = format!("boxwright cache mounts\0trusted\0{project}");
        boxwright::model::Digest::of(text.as_bytes()).hex()[..32].to_owned()
    };
    let namespace = trusted(&format!("{}/{ledger}", registry.host));
    for mount in [
        format!("--mount=type=cache,id={namespace}/{id},target=/c"),
        format!("--mount=type=cache,id=../{namespace}/{id},target=/c"),
        format!("--mount=type=cache,id=/{namespace}/{id},target=/c"),
    ] {
        assert_eq!(saw(&cached(&registry, &ledger, &mount, "planted"), Who::Fork), "");
    }
    let theirs = cached(&registry, &ledger, &mount, "planted");
    theirs.replace(
        "boxwright.toml",
        "[box.only]\n",
        &format!("[box.only]\nargs = {{ BUILDKIT_CACHE_MOUNT_NS = \"{namespace}\" }}\n"),
    );
    assert_eq!(saw(&theirs, Who::Fork), "");
    theirs.replace("Dockerfile", "ARG ID=any", "ARG BUILDKIT_CACHE_MOUNT_NS");
    Who::Fork.call(&theirs, &["build", "--local"]).fails(2, &["Dockerfile:2:1", "BUILDKIT_CACHE_MOUNT_NS"]);
    assert_eq!(saw(&ours, Who::Us), "ours");
}

/// What a stranger's run built of the very same inputs is nobody else's image.
#[test]
fn a_local_image_is_found_by_its_own_level_alone() {
    let registry = Registry::start(&[]);
    let world = World::single(&registry.host, &format!("RUN echo {}", unique()));
    let run = |who: Who| who.call(&world, &["run", "only", "--", "true"]);
    Who::Fork.call(&world, &["build", "--local"]).good();
    run(Who::Fork).good();
    for who in [Who::Us, Who::Unknown] {
        run(who).exits(10);
        let archive = world.beside("archive.tar");
        who.call(&world, &["export", "-o", archive.to_str().unwrap()]).exits(10);
    }
    Who::Us.call(&world, &["build", "--local"]).good();
    run(Who::Us).good();
    run(Who::Unknown).exits(10);
}

#[test]
fn no_key_and_no_layer_moves_with_the_level() {
    let registry = Registry::start(&[]);
    let world = cached(&registry, "ledger", "--mount=type=cache,target=/c", &unique());
    let keys = |who: Who| who.call(&world, &["keys", "--format", "json"]).good().boxes("key");
    assert_eq!(keys(Who::Us), keys(Who::Fork));
    let steps = |who: Who| {
        let built = who.call(&world, &["build", "--local", "-v"]).good();
        let step = built.err.lines().find(|line| line.contains("/2] RUN")).map(str::to_owned);
        step.unwrap_or_else(|| panic!("{}", built.err))
    };
    assert!(!steps(Who::Us).ends_with("cached"));
    assert!(steps(Who::Us).ends_with("cached"), "the same level has its layers again");
    assert!(!steps(Who::Fork).ends_with("cached"), "what a cache was mounted in belongs to its level");
}

#[test]
fn a_stranger_s_build_has_neither_the_host_s_network_nor_a_frontend() {
    let registry = Registry::start(&[]);
    let world = World::single(&registry.host, &format!("RUN echo {}", unique()));
    world.commit();
    let plain = fs::read_to_string(world.root.join("boxwright.toml")).unwrap();
    let refused = |what: &str| {
        for who in [Who::Fork, Who::Unknown] {
            let ended = who.call(&world, &["build", "--local"]);
            ended.fails(21, &["box only", what, "withheld: this run is not trusted"]);
        }
    };
    world.write("boxwright.toml", &plain.replace("[box.only]", "[box.only]\nnetwork = \"host\""));
    refused("the host's network");
    Who::Us.call(&world, &["build", "--local"]).good();
    world.write("boxwright.toml", &plain);
    let frontend = format!("evil.example.org/frontend@sha256:{}", "e".repeat(64));
    world.replace("Dockerfile", "FROM", &format!("# syntax={frontend}\nFROM"));
    refused("the frontend `evil.example.org/frontend");
    // By an argument, too.
    world.replace("Dockerfile", &format!("# syntax={frontend}\n"), "");
    let argument = format!("[box.only]\nargs = {{ BUILDKIT_SYNTAX = \"{frontend}\" }}");
    world.write("boxwright.toml", &plain.replace("[box.only]", &argument));
    refused("the frontend `evil.example.org/frontend");
}

/// Everything below a directory that somebody else could open, or that is a way out of it.
fn open_to_others(directory: &Path) -> Vec<String> {
    let list = tell("find", &[directory.to_str().unwrap(), "-perm", "/077", "-o", "-type", "l"]);
    list.lines().map(str::to_owned).collect()
}

/// Asks by curl as uid 65534, or as this one where that cannot be; returns the status.
fn as_another(url: &str, arguments: &[&str]) -> String {
    let fixed = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*", url];
    let me = fs::metadata("/proc/self").unwrap().uid();
    let other = ["--reuid=65534", "--regid=65534", "--clear-groups", "curl"];
    match me {
        0 => tell("setpriv", &[&other[..], &fixed, arguments].concat()),
        _ => tell("curl", &[&fixed[..], arguments].concat()),
    }
}

#[test]
fn the_embedded_registry_opens_to_nobody_else_on_the_machine() {
    let world = World::empty();
    world.configure("embedded", "[box.only]\n[channel.main]\ntag = \"main\"\n");
    world.write("Dockerfile", &format!("FROM {}\nRUN echo {}\n", busybox(), unique()));
    world.commit();
    let built = world.boxwright(&["build", "--format", "json"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    assert_eq!(open_to_others(&world.root.join(".boxwright")), [""; 0]);

    let mut serving = world.start(&["registry", "serve"]);
    let mut out = BufReader::new(serving.child().stdout.take().unwrap());
    let mut address = String::new();
    out.read_line(&mut address).unwrap();
    let at = |path: &str| format!("http://{}/v2/{path}", address.trim());
    let manifest = at(&format!("only/manifests/{}", built.boxes("tag")[0]));
    for (url, arguments) in [
        (at(""), &[][..]),
        (at("only/tags/list"), &[]),
        (manifest.clone(), &[]),
        (manifest.clone(), &["-I"]),
        (manifest.clone(), &["-X", "DELETE"]),
        (manifest.clone(), &["-X", "PUT", "--data", "{}"]),
        (manifest.clone(), &["--user", "boxwright:"]),
        (manifest.clone(), &["--user", "boxwright:boxwright"]),
        (manifest.clone(), &["-H", "Authorization: Bearer x"]),
        (at("only/blobs/uploads/"), &["-X", "POST"]),
        (at("only/blobs/uploads/?mount=sha256:0&from=only"), &["-X", "POST"]),
    ] {
        assert_eq!(as_another(&url, arguments), "401", "{url} {arguments:?}");
    }
    // Neither a page in a browser nor a name that leads here comes as far as a password.
    assert_eq!(as_another(&manifest, &["-H", "Origin: http://evil.example"]), "403");
    assert_eq!(as_another(&manifest, &["-H", "Host: evil.example"]), "403");
    let preflight = ["-X", "OPTIONS", "-H", "Origin: http://evil.example"];
    assert_eq!(as_another(&manifest, &preflight), "403");

    // What the user's own tools are handed works, is the user's alone, and goes with the server.
    let login = world.root.join(".boxwright/login/config.json");
    assert_eq!(open_to_others(&world.root.join(".boxwright")), [""; 0]);
    let image = format!("docker://{}/only:main", address.trim());
    let inspect = ["inspect", "--tls-verify=false", "--authfile", login.to_str().unwrap(), &image];
    assert!(tell("skopeo", &inspect).contains(&built.boxes("digest")[0]));
    let old = fs::read_to_string(&login).unwrap();
    serving.signal("TERM");
    assert!(!login.exists());
    // A password is good for one run.
    let mut serving = world.start(&["registry", "serve"]);
    let mut out = BufReader::new(serving.child().stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    fs::write(world.beside("old.json"), &old).unwrap();
    let old = world.beside("old.json");
    let inspect = ["inspect", "--tls-verify=false", "--authfile", old.to_str().unwrap(), &image];
    assert!(!attempt("skopeo", &inspect).status.success());
    boxwright_testing::witness::forget_images(address.trim());
}

#[test]
fn a_store_that_others_could_read_is_closed_and_no_link_is_followed() {
    let world = World::empty();
    world.configure("embedded", "[box.only]\n");
    world.write("Dockerfile", "FROM scratch\n");
    world.without_engine(&["plan"]).good();
    let home = world.root.join(".boxwright");
    // As earlier versions left it.
    let loosen = format!("chmod -R a+rX {0} && printf x > {0}/registry/blobs/sha256/old", home.display());
    tell("sh", &["-c", &loosen]);
    assert!(open_to_others(&home).len() > 4);
    tell("sh", &["-c", &format!("umask 0; chmod 0644 {}/registry/blobs/sha256/old", home.display())]);
    world.without_engine(&["plan"]).good();
    assert_eq!(open_to_others(&home.join("registry")), [""; 0]);

    // A repository brings links: to a directory, whose rights must stay, and to a file, whose
    // text must not be seen.
    let outside = world.beside("outside");
    fs::create_dir(&outside).unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(world.beside("secret"), "t0psecret\n").unwrap();
    let (secret, outside) = (world.beside("secret"), outside.as_path());
    for (place, target) in [
        (".boxwright", outside),
        (".boxwright/registry", outside),
        (".boxwright/registry/blobs", outside),
        (".boxwright/registry/tmp", outside),
        (".boxwright/registry/blobs/sha256", outside),
        (".boxwright/registry/index.json", &secret),
        (".boxwright/registry/oci-layout", &secret),
        (".boxwright/registry/lock", &secret),
        (".boxwright/port", &secret),
    ] {
        fs::remove_dir_all(&home).or_else(|_| fs::remove_file(&home)).unwrap();
        let place = world.root.join(place);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        symlink(target, &place).unwrap();
        let ended = world.without_engine(&["plan"]).fails(1, &[place.to_str().unwrap()]);
        assert!(!ended.err.contains("t0p"), "{}", ended.err);
        assert_eq!(fs::metadata(outside).unwrap().permissions().mode() & 0o777, 0o755, "{place:?}");
        assert_eq!(fs::read_dir(outside).unwrap().count(), 0, "{place:?}");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "t0psecret\n");
    }
}
