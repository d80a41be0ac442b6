//! Secrets and ssh agents: they arrive in the build, and nowhere else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::debian::debian;
use boxwright_testing::witness::{Registry, attempt, busybox, skopeo, tell};
use boxwright_testing::world::{Ended, World, unique, until};

/// One box on busybox with this configuration and these steps.
fn world(registry: &Registry, config: &str, steps: &str) -> World {
    world_on(registry, busybox(), config, steps)
}

fn world_on(registry: &Registry, from: &str, config: &str, steps: &str) -> World {
    let world = World::empty();
    world.configure(&registry.host, &format!("[box.only]\n{config}\n"));
    world.write("Dockerfile", &format!("FROM {from}\nRUN echo {}\n{steps}\n", unique()));
    world.commit();
    world
}

fn sha256(text: &str) -> String {
    let digest = boxwright::model::Digest::of(text.as_bytes());
    digest.hex().to_owned()
}

/// Runs with variables in the environment.
fn with(world: &World, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = world.command(arguments);
    Ended::of(command.envs(variables.iter().copied()).output().unwrap())
}

/// Everything below a directory that holds a text, in its name or its bytes.
fn holding(directory: &Path, needle: &str) -> Vec<PathBuf> {
    let list = attempt("grep", &["-rlaF", "--", needle, directory.to_str().unwrap()]);
    assert!(matches!(list.status.code(), Some(0 | 1)), "{list:?}");
    String::from_utf8(list.stdout).unwrap().lines().map(PathBuf::from).collect()
}

/// The command lines and environments of processes below this one, as far as they hold a text;
/// the environment of boxwright itself is the caller's doing and left out.
fn exposed(needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| fs::read(process.path().join(name)).unwrap_or_default();
        let holds = |bytes: &[u8]| bytes.windows(needle.len()).any(|part| part == needle.as_bytes());
        let (line, environment) = (read("cmdline"), read("environ"));
        let name = String::from_utf8_lossy(&read("comm")).trim().to_owned();
        if holds(&line) || (holds(&environment) && name != "boxwright") {
            found.push(format!("{name}: {}", String::from_utf8_lossy(&line)));
        }
    }
    found
}

/// Programs that write down what they were started with, and then do what the real ones do.
fn spies(world: &World) -> (PathBuf, String) {
    let (bin, seen) = (world.beside("bin"), world.beside("seen"));
    fs::create_dir(&bin).unwrap();
    let git = tell("sh", &["-c", "command -v git"]);
    let spy = |name: &str, then: &str| {
        let note = format!("echo {name} $* >> {0}; tr '\\0' '\\n' < /proc/$$/environ >> {0}", seen.display());
        fs::write(bin.join(name), format!("#!/bin/sh\n{note}\n{then}\n")).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    spy("git", &format!("exec {} \"$@\"", git.trim()));
    spy("docker-credential-spy", "echo credentials not found in native keychain; exit 1");
    let docker = world.beside("home/.docker");
    fs::create_dir(&docker).unwrap();
    fs::write(docker.join("config.json"), r#"{"credsStore":"spy"}"#).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    (seen, path)
}

#[test]
fn secrets_arrive_and_stand_nowhere_else() {
    let registry = Registry::start(&[]);
    let canary = format!("canary-{}", unique());
    let in_file = format!("first-{}\nsecond-{}\n", unique(), unique());
    let lines: Vec<&str> = in_file.lines().collect();
    let steps = format!(
        "RUN --mount=type=secret,id=tok,required=true test \"$(sha256sum < /run/secrets/tok | cut -c1-64)\" = {}\n\
         RUN --mount=type=secret,id=key,target=/key test \"$(sha256sum < /key | cut -c1-64)\" = {}\n\
         RUN --mount=type=secret,id=none test ! -e /run/secrets/none\n\
         RUN --mount=type=secret,id=tok --mount=type=secret,id=key sleep 1; \
         cat /run/secrets/*; echo; echo \"<$(cat /run/secrets/tok)>\" >&2; \
         dd if=/run/secrets/tok bs=1 count=9 2>/dev/null; sleep 1; dd if=/run/secrets/tok bs=1 skip=9 2>/dev/null; \
         echo; echo and more",
        sha256(&canary),
        sha256(&in_file),
    );
    let config = "secrets = { tok = { env = \"CANARY\" }, key = { file = \"~/.key\" } }";
    let world = world(&registry, config, &steps);
    fs::write(world.beside("home/.key"), &in_file).unwrap();
    world.declare("[secrets]\nfiles = [\"~/.key\"]\n");
    let (seen, path) = spies(&world);

    let mut command = world.command(&["build", "-v", "--format", "json"]);
    command.env("CANARY", &canary).env("PATH", path);
    // While it runs, nobody else is started with a secret.
    let is_over = AtomicBool::new(false);
    let (built, exposed) = std::thread::scope(|scope| {
        let needles = [&canary[..], lines[0], lines[1]];
        let is_over = &is_over;
        let watch = scope.spawn(move || {
            let mut found = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                found.extend(needles.iter().flat_map(|needle| exposed(needle)));
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            found
        });
        let built = Ended::of(command.output().unwrap());
        is_over.store(true, Ordering::Relaxed);
        (built, watch.join().unwrap())
    });
    let built = built.good();
    assert_eq!(exposed, Vec::<String>::new());
    let spied = fs::read_to_string(seen).unwrap();
    assert!(spied.contains("docker-credential-spy get") && spied.contains("git -c"), "{spied}");
    // What the step printed is there, but for the values.
    assert!(built.err.contains("<***>") && built.err.contains("and more"), "{}", built.err);
    assert_eq!(built.err.matches("***").count(), 4, "{}", built.err);

    let digest = built.boxes("digest").remove(0);
    let at = format!("docker://{}/only@{digest}", registry.host);
    let config = tell("skopeo", &["inspect", "--tls-verify=false", "--config", &at]);
    let history = tell("docker", &["history", "--no-trunc", &format!("{}/only@{digest}", registry.host)]);
    let image = world.beside("image.tar");
    tell("docker", &["save", "-o", image.to_str().unwrap(), &format!("{}/only@{digest}", registry.host)]);
    tell("tar", &["-C", world.beside("home").to_str().unwrap(), "-xf", image.to_str().unwrap()]);
    fs::remove_file(world.beside("home/.key")).unwrap();
    let key = world.root.join(".boxwright");
    for needle in [&canary[..], lines[0], lines[1], &sha256(&canary)[..20]] {
        let texts = [&built.out, &built.err, &spied, &config, &history, &format!("{:?}", skopeo(&[&at]))];
        // The hash stands in the Dockerfile of this test, and so in the steps' names.
        if needle != &sha256(&canary)[..20] {
            assert!(texts.iter().all(|text| !text.contains(needle)), "{texts:#?}");
            assert_eq!(holding(&registry.directory(), needle), Vec::<PathBuf>::new());
            assert_eq!(holding(&world.beside(""), needle), Vec::<PathBuf>::new());
        } else {
            // So the search does find what is there.
            assert!(config.contains(needle) && built.err.contains(needle), "{config}");
            assert!(!holding(&world.root, needle).is_empty());
        }
        assert!(!key.exists() || holding(&key, needle).is_empty());
    }
    // Another value is another way to the same image: nothing to build, and nothing to read.
    let again = world.without_engine(&["build", "--format", "json"]).good();
    assert_eq!(again.boxes("action"), ["use"]);
}

#[test]
fn keys_hold_names_alone() {
    let registry = Registry::start(&[]);
    let config = "secrets = { tok = { env = \"A\" } }";
    let world = world(&registry, config, "RUN --mount=type=secret,id=tok true");
    let key = || with(&world, &["keys", "--format", "json"], &[("A", "1"), ("B", "2")]).good().boxes("key");
    let first = key();
    world.replace("boxwright.toml", "\"A\"", "\"B\"");
    assert_eq!(key(), first);
    world.replace("boxwright.toml", "{ env = \"B\" }", "{ file = \"/nowhere\" }");
    assert_eq!(key(), first);
    world.replace("boxwright.toml", "tok =", "other =");
    assert_eq!(key(), first);
    world.replace("Dockerfile", "id=tok", "id=other");
    assert_ne!(key(), first);
}

#[test]
fn a_failing_step_does_not_tell() {
    let registry = Registry::start(&[]);
    let canary = format!("canary-{}", unique());
    let step = "RUN --mount=type=secret,id=CANARY cat /run/secrets/CANARY; echo; false";
    let world = world(&registry, "secrets = [\"CANARY\"]", step);
    for flags in [&["build"][..], &["build", "-q"], &["build", "-v", "--format", "json"]] {
        let failed = with(&world, flags, &[("CANARY", &canary)]).exits(1).says(&["***"]);
        assert!(!failed.err.contains(&canary) && !failed.out.contains(&canary), "{}", failed.err);
    }
    // Nor do the logs that are kept, which the search does find.
    let home = world.beside("home");
    assert_eq!(holding(&home, "***").len(), 3);
    assert_eq!(holding(&home, &canary), Vec::<PathBuf>::new());
}

/// Nothing was built, and nothing is leased any more.
fn untouched(registry: &Registry) {
    assert!(registry.tags("only").is_empty());
    assert!(registry.records("lease").is_empty());
}

#[test]
fn what_is_not_there_is_said_before_anything_is_built() {
    let registry = Registry::start(&[]);
    let world = World::empty();
    let boxes = "[box.base]\ntarget = \"base\"\n[box.only]\ncontexts = { base = \"box:base\" }\n\
        secrets = { tok = { env = \"TOK\" } }\n";
    world.configure(&registry.host, boxes);
    let from = busybox();
    let steps = "RUN --mount=type=secret,id=tok true";
    world.write("Dockerfile", &format!("FROM {from} AS base\nRUN echo {}\nFROM base\n{steps}\n", unique()));
    let says = ["box only: secret tok", "the environment variable TOK is not set", "nothing was built"];
    world.boxwright(&["build"]).fails(2, &says);
    with(&world, &["build"], &[("TOK", "")]).fails(2, &["box only: secret tok", "TOK is empty"]);
    world.replace("boxwright.toml", "{ env = \"TOK\" }", "{ file = \"~/absent\" }");
    let absent = world.beside("home/absent");
    world.declare("[secrets]\nfiles = [\"~/absent\"]\n");
    world.boxwright(&["build"]).fails(2, &["box only: secret tok", absent.to_str().unwrap(), "No such file"]);
    fs::write(&absent, vec![b'x'; 600_000]).unwrap();
    world.boxwright(&["build", "only"]).exits(1).says(&["secret tok", "more than 512000 bytes"]);
    assert_eq!(registry.tags("base").len(), 1);
    untouched_but_leased(&registry);
    // A box that needs none of it is built.
    world.boxwright(&["build", "base"]).good();
    // The agent.
    world.replace("boxwright.toml", "secrets = { tok = { file = \"~/absent\" } }", "ssh = true");
    world.replace("Dockerfile", "type=secret,id=tok", "type=ssh");
    world.boxwright(&["build"]).fails(2, &["box only: ssh agent", "SSH_AUTH_SOCK is not set"]);
    let socket = world.beside("no.sock");
    let nowhere = [("SSH_AUTH_SOCK", socket.to_str().unwrap())];
    with(&world, &["build"], &nowhere)
        .fails(2, &["box only: ssh agent", "no ssh agent answers at", "no.sock"]);
    assert!(registry.tags("only").is_empty());
}

/// The first box stands, and is leased; the second does not.
fn untouched_but_leased(registry: &Registry) {
    assert!(registry.tags("only").is_empty());
    assert_eq!(registry.records("lease").len(), 1);
}

#[test]
fn what_a_step_needs_has_to_be_declared() {
    let registry = Registry::start(&[]);
    let world = world(&registry, "", "RUN echo\nRUN --mount=type=secret,id=tok,required true");
    for command in ["keys", "plan", "build"] {
        let says = ["Dockerfile:4", "needs the secret `tok`", "[box.only]", "secrets = { \"tok\" = { env ="];
        world.without_engine(&[command]).fails(2, &says);
    }
    world.replace("Dockerfile", "type=secret,id=tok,required", "type=ssh,id=deploy,required=true");
    world.boxwright(&["build"]).fails(2, &["Dockerfile:4", "ssh agent `deploy`", "ssh = [\"deploy\"]"]);
    world.replace("Dockerfile", ",id=deploy", "");
    world.boxwright(&["build"]).fails(2, &["Dockerfile:4", "ssh agent `default`", "ssh = true"]);
    // A stage that is not built needs nothing; one that can do without is built without.
    world.replace("Dockerfile", "type=ssh,required=true true", "type=secret,id=tok true");
    world.boxwright(&["build"]).good();
    // What is declared for nothing is told, and not read.
    world.replace("boxwright.toml", "[box.only]\n", "[box.only]\nssh = true\nsecrets = [\"UNSET\"]\n");
    world.replace("Dockerfile", "RUN echo\n", "RUN echo other\n");
    let says =
        ["Dockerfile: unused-secret: nothing mounts the secret `UNSET`", "mounts the ssh agent `default`"];
    world.boxwright(&["build"]).good().says(&says);
    assert_eq!(registry.tags("only").len(), 2);
}

#[test]
fn what_would_show_a_secret_is_refused() {
    let registry = Registry::start(&[]);
    let config = "args = { NPM_TOKEN = \"x\" }";
    let world = world(&registry, config, "ARG NPM_TOKEN\nARG DEPLOY_PASSWORD\nCOPY . /src");
    world.boxwright(&["build"]).fails(2, &["argument `NPM_TOKEN` looks like a secret", "type=secret,id=…"]);
    world.replace("boxwright.toml", config, "secrets = { tok = { file = \"sub/../tok\" } }");
    fs::create_dir(world.root.join("sub")).unwrap();
    world.write("tok", "hunter2");
    world
        .boxwright(&["keys", "--arg", "DEPLOY_PASSWORD=x"])
        .fails(2, &["DEPLOY_PASSWORD looks like a secret"]);
    world
        .boxwright(&["keys"])
        .fails(2, &["secret tok: sub/../tok is sent with the build context", ".dockerignore"]);
    world.write(".dockerignore", "tok\n.git\n");
    world.boxwright(&["keys"]).good();
    untouched(&registry);
}

/// An ssh agent with one key of its own.
struct SshAgent {
    child: Child,
    socket: PathBuf,
    /// The public key's blob in hex digits.
    key: String,
}

impl SshAgent {
    fn start(directory: &Path) -> Self {
        let (socket, key) = (directory.join("agent.sock"), directory.join("id"));
        let paths = [socket.to_str().unwrap(), key.to_str().unwrap()];
        let child = Command::new("ssh-agent").args(["-D", "-a", paths[0]]).stdout(Stdio::null()).spawn();
        let mut agent = Self { child: child.unwrap(), socket: socket.clone(), key: String::new() };
        until("the agent listens", || socket.exists());
        tell("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "canary", "-f", paths[1]]);
        let add = Command::new("ssh-add").args(["-q", paths[1]]).env("SSH_AUTH_SOCK", paths[0]).status();
        assert!(add.unwrap().success());
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let blob = STANDARD.decode(public.split(' ').nth(1).unwrap()).unwrap();
        agent.key = blob.iter().map(|byte| format!("{byte:02x}")).collect();
        agent
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for the keys, and for their removal; prints the agent's answers to two questions, the second one asked in two pieces.
const ASK: &str = r#"use IO::Socket::UNIX; $| = 1;
    my $agent = IO::Socket::UNIX->new(Peer => $ENV{SSH_AUTH_SOCK}) or die "no agent: $!";
    $agent->autoflush(1);
    sub answer { read $agent, my $head, 4; read $agent, my $body, unpack("N", $head); unpack "H*", $body }
    print $agent pack("NC", 1, 11); print "listed ", answer(), "\n";
    print $agent pack("n", 0); sleep 1; print $agent pack("nC", 1, 19); print "removed ", answer(), "\n";
"#;

#[test]
fn an_agent_is_reached_and_can_only_list_and_sign() {
    let registry = Registry::start(&[]);
    let step = "COPY ask /\nRUN --mount=type=ssh,required test -S \"$SSH_AUTH_SOCK\" && perl /ask";
    let world = world_on(&registry, &debian(), "ssh = true", step);
    world.write("ask", ASK);
    let agent = SshAgent::start(&world.beside("home"));
    let lent = [("SSH_AUTH_SOCK", agent.socket.to_str().unwrap())];
    let built = with(&world, &["build", "-v"], &lent).good();
    let said = |word: &str| -> String {
        let line = built.err.lines().find(|line| line.contains(word) && !line.contains("RUN"));
        line.unwrap_or_else(|| panic!("{}", built.err)).split(word).nth(1).unwrap().trim().to_owned()
    };
    // The public key's blob stands behind the answer's kind, the count and its own length.
    assert_eq!(said("listed ")[..18], *"0c0000000100000033");
    assert_eq!(said("listed ")[18..][..102], agent.key);
    assert_eq!(said("removed "), "05", "SSH_AGENT_FAILURE");
    let left = Command::new("ssh-add").arg("-L").env("SSH_AUTH_SOCK", &agent.socket).output().unwrap();
    assert!(left.status.success() && left.stdout.starts_with(b"ssh-ed25519 "), "{left:?}");
}
