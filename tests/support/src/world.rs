//! A project in a directory of its own, and boxwright at work on it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::witness::{Registry, busybox, tell};

/// Three boxes, each standing on the one before; `test` alone copies files.
pub const CHAIN: &str = r#"
[defaults]
context = "ci"

[box.base]
target = "base"

[box.build]
target = "build"
contexts = { base = "box:base" }

[box.test]
target = "test"
contexts = { build = "box:build" }

[channel.main]
tag = "main"
keep = { last = 1, grace = "1d" }

[channel.release]
tag = 'r[0-9]+\.[0-9]+'
keep = "forever"
immutable = true
"#;

pub const BOXES: [&str; 3] = ["base", "build", "test"];

/// A project: a git repository in a temporary directory.
pub struct World {
    directory: TempDir,
    /// Where `boxwright.toml` stands.
    pub root: PathBuf,
}

/// How a command ended.
pub struct Ended {
    pub code: i32,
    /// What stood on stdout.
    pub out: String,
    /// What stood on stderr.
    pub err: String,
}

impl World {
    /// An empty repository.
    pub fn empty() -> Self {
        let directory = TempDir::new().unwrap();
        let root = directory.path().join("project");
        fs::create_dir(&root).unwrap();
        fs::create_dir(directory.path().join("home")).unwrap();
        let world = Self { directory, root };
        world.git(&["init", "-q", "-b", "main"]);
        world
    }

    /// The three-box chain on busybox, committed, with its images in `registry`.
    pub fn chain(registry: &str) -> Self {
        let world = Self::empty();
        world.configure(registry, CHAIN);
        let steps = ["RUN echo base > /base", "RUN echo build > /build", "COPY test /test"];
        world.write("ci/Dockerfile", &dockerfile(busybox(), steps));
        world.write("ci/test/one.txt", "one\n");
        world.write("ci/test/two.sh", "echo two\n");
        world.commit();
        world
    }

    /// One box without a context, whose only step is `run`.
    pub fn single(registry: &str, run: &str) -> Self {
        let world = Self::empty();
        world.configure(registry, "[box.only]\n");
        world.write("Dockerfile", &format!("FROM {busybox}\n{run}\n", busybox = busybox()));
        world
    }

    /// Writes `boxwright.toml` for a registry.
    pub fn configure(&self, registry: &str, boxes: &str) {
        self.write("boxwright.toml", &format!("registry = \"{registry}\"\n{boxes}"));
    }

    /// Writes the user's own `hosts.toml`.
    pub fn declare(&self, text: &str) {
        let directory = self.beside("home/.config/boxwright");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("hosts.toml"), text).unwrap();
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts one text in place of another, which has to be there.
    pub fn replace(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.root.join(path)).unwrap();
        assert!(text.contains(from), "`{from}` is not in {path}");
        self.write(path, &text.replacen(from, to, 1));
    }

    /// A place for files beside the project.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        let who = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-C"];
        tell("git", &[&who[..], &[self.root.to_str().unwrap()], arguments].concat())
    }

    /// Commits everything.
    pub fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "--message=state"]);
    }

    /// Prepares a call in the project, with nothing of the caller's environment but what
    /// finds programs and the engine.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_in(&self.root, arguments)
    }

    /// As [`World::command`], in another directory.
    pub fn command_in(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(crate::program());
        command.args(arguments).current_dir(directory).env_clear();
        for name in ["PATH", "DOCKER_HOST"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.env("HOME", self.beside("home")).env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Prepares a call by somebody who is not root: the caller, or else uid 1234 with the
    /// group `gid`. Everything here is theirs from then on.
    pub fn as_ordinary_user(&self, gid: u32, arguments: &[&str]) -> (u32, Command) {
        let me = fs::metadata("/proc/self").unwrap().uid();
        let plain = self.command(arguments);
        if me != 0 {
            return (me, plain);
        }
        // Where the tests are built may be closed to others.
        let program = self.beside("boxwright");
        tell("cp", &[plain.get_program().to_str().unwrap(), program.to_str().unwrap()]);
        let everything = self.directory.path().to_str().unwrap();
        tell("chown", &["-R", &format!("1234:{gid}"), everything]);
        let mut command = Command::new("setpriv");
        command.args(["--reuid=1234", &format!("--regid={gid}"), "--clear-groups"]).arg(program);
        command.args(arguments).current_dir(&self.root).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        (1234, command)
    }

    /// Runs boxwright in the project.
    pub fn boxwright(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    /// Runs boxwright where no engine is.
    pub fn without_engine(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command(arguments);
        Ended::of(command.env("DOCKER_HOST", crate::witness::NO_ENGINE).output().unwrap())
    }

    /// Starts boxwright and leaves it running.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running(Some(self.command(arguments).spawn().unwrap()))
    }

    /// The keys of all boxes, in their order.
    pub fn keys(&self) -> Vec<String> {
        self.boxwright(&["keys", "--format", "json"]).good().boxes("key")
    }
}

/// A Dockerfile of three stages, one step each.
pub fn dockerfile(image: &str, [base, build, test]: [&str; 3]) -> String {
    format!("FROM {image} AS base\n{base}\n\nFROM base AS build\n{build}\n\nFROM build AS test\n{test}\n")
}

impl Ended {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert!(!err.contains("panicked"), "{err}");
        let code = output.status.code();
        let code = code.unwrap_or_else(|| panic!("signal {:?}: {err}", output.status.signal()));
        Self { code, out, err }
    }

    /// Asserts that it ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Asserts success.
    #[track_caller]
    pub fn good(self) -> Self {
        self.exits(0)
    }

    /// Asserts that stderr holds each of these.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "`{part}` is not in:\n{}", self.err);
        }
        self
    }

    /// Asserts that it ended with `code` and one error message holding `parts`, and that
    /// stdout carries no result.
    #[track_caller]
    pub fn fails(self, code: i32, parts: &[&str]) -> Self {
        let ended = self.exits(code).says(parts);
        let errors = ended.err.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{}", ended.err);
        assert_eq!(ended.out, "");
        ended
    }

    /// What stdout holds, which has to be JSON and nothing else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// One field of every box of a JSON report.
    #[track_caller]
    pub fn boxes(&self, field: &str) -> Vec<String> {
        let report = self.json();
        let boxes = report["boxes"].as_array().unwrap();
        let text =
            |one: &Value| one[field].as_str().unwrap_or_else(|| panic!("no {field} in {one:#}")).to_owned();
        boxes.iter().map(text).collect()
    }
}

/// Runs a prepared call at a terminal of its own, where `answer` is typed. What it writes to either
/// output stands in `out`.
pub fn at_a_terminal(command: &Command, answer: &str) -> Ended {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]).current_dir(command.get_current_dir().unwrap());
    // Nobody sits at a terminal of a CI.
    script.env_remove("CI").env_remove("GITHUB_ACTIONS");
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = script.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), answer.as_bytes()).unwrap();
    Ended::of(child.wait_with_output().unwrap())
}

/// A boxwright that runs; killed if the test gives it up.
pub struct Running(Option<Child>);

impl Running {
    /// Sends a signal and waits; returns how it ended and how long that took.
    pub fn signal(mut self, name: &str) -> (Ended, Duration) {
        let child = self.0.take().unwrap();
        let began = Instant::now();
        tell("kill", &["-s", name, &child.id().to_string()]);
        let ended = Ended::of(child.wait_with_output().unwrap());
        (ended, began.elapsed())
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        Ended::of(self.0.take().unwrap().wait_with_output().unwrap())
    }

    /// Lends the process.
    pub fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until something is so; fails after half a minute.
#[track_caller]
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "still waiting: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A text that no earlier test run has used, so that no step is in the engine's cache.
pub fn unique() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}-{}", std::process::id(), now.as_nanos())
}

/// The content tags of each box, by curl: exactly one each.
#[track_caller]
pub fn content_tags(registry: &Registry) -> Vec<String> {
    let one = |name: &&str| {
        let mut tags = registry.tags(name);
        tags.retain(|tag| tag.starts_with("k-"));
        assert_eq!(tags.len(), 1, "{name}: {tags:?}");
        tags.remove(0)
    };
    BOXES.iter().map(one).collect()
}
