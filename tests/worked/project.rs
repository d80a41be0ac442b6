//! One of the worked examples as a repository of its own: an origin, a maintainer's clone, a
//! registry with an image to stand on, and a machine that runs its workflows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use boxwright_testing::witness::{Registry, tell};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::runner::{Event, Runner, git, program};

/// A project under test.
pub struct Project {
    directory: TempDir,
    /// The same images, by a token that reads. It ends before the directory that both share is
    /// gone, so it stands first.
    pub fork: Registry,
    pub registry: Registry,
    /// How long runs wait for each other: not at all where there is one at a time.
    pub wait: &'static str,
}

/// How a call of boxwright ended.
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Project {
    /// Copies an example, locks it and pushes it to an origin.
    pub fn of(example: &str) -> Self {
        let registry = Registry::start(&[]);
        let fork = registry.beside("fork", &["--readonly"]);
        let project = Self { directory: TempDir::new().unwrap(), registry, fork, wait: "0s" };
        project.move_base("boxwright-busybox:1");
        let at = |name: &str| project.at(name);
        for name in ["home", "bin", "w", "releases/OWNER/boxwright/releases/download/v0.1.0"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
        tell("cp", &["-R", source.to_str().unwrap(), at("work").to_str().unwrap()]);
        project.release();
        project.upstream();
        git(&at(""), &["init", "--quiet", "--bare", "-b", "main", "origin.git"]);
        let work = at("work");
        git(&work, &["init", "--quiet", "-b", "main"]);
        git(&work, &["remote", "add", "origin", at("origin.git").to_str().unwrap()]);
        project.boxwright(&["lock"]).exits(0);
        project.commit("begin");
        project.push("main");
        project
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts an image of the engine where the boxes' base is looked for.
    pub fn move_base(&self, image: &str) {
        let name = format!("{}/busybox:1", self.registry.host);
        tell("docker", &["tag", image, &name]);
        tell("docker", &["push", "--quiet", &name]);
    }

    /// A release of boxwright for the installing step: a script that stands for the program.
    fn release(&self) {
        let at = self.at("releases/OWNER/boxwright/releases/download/v0.1.0");
        let machine = tell("uname", &["-m"]);
        let name = format!("boxwright-{}-linux", machine.trim());
        let text = format!("#!/bin/sh\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_boxwright"));
        program(&at.join(&name), &text);
        let sum = Command::new("sha256sum").arg(&name).current_dir(&at).output().unwrap();
        fs::write(at.join(format!("{name}.sha256")), sum.stdout).unwrap();
    }

    /// What the pins follow, and a stand-in for GitHub's command, which notes what it is asked.
    fn upstream(&self) {
        let ec = self.at("easycrypt.git");
        fs::create_dir(&ec).unwrap();
        git(&ec, &["init", "--quiet", "-b", "main"]);
        git(&ec, &["commit", "--quiet", "--allow-empty", "-m", "one"]);
        let config = format!(
            "[url \"file://{}\"]\n\tinsteadOf = https://github.com/EasyCrypt/easycrypt.git\n\
             [safe]\n\tdirectory = *\n",
            ec.display()
        );
        fs::write(self.at("home/.gitconfig"), config).unwrap();
        // A remote beside the project is the user's own; where nothing is known of github.com it is
        // looked up in vain, and git never goes there.
        let allowed =
            format!("[git]\nallow = [\"file://{}\"]\n[host.\"github.com\"]\n", self.at("").display());
        fs::create_dir_all(self.at("home/.config/boxwright")).unwrap();
        fs::write(self.at("home/.config/boxwright/hosts.toml"), allowed).unwrap();
        let log = self.at("home/gh.log");
        program(&self.at("bin/gh"), &format!("#!/bin/sh\necho \"gh $*\" >> '{}'\n", log.display()));
    }

    /// What every process of this project has in its environment.
    pub fn variables(&self) -> Vec<(String, String)> {
        let mut out = vec![
            ("BOXWRIGHT_ARG_BASE".to_owned(), format!("{}/busybox:1", self.registry.host)),
            ("BOXWRIGHT_WAIT".to_owned(), self.wait.to_owned()),
            ("RUST_BACKTRACE".to_owned(), "1".to_owned()),
        ];
        out.extend(std::env::var("DOCKER_HOST").ok().map(|host| ("DOCKER_HOST".to_owned(), host)));
        out
    }

    /// Runs the workflows of this project.
    pub fn workflow(
        &self,
        file: &str,
        event: &Event,
    ) -> std::collections::BTreeMap<String, crate::runner::Job> {
        let (home, origin) = (self.at(""), self.at("origin.git"));
        Runner { home: &home, origin: &origin, variables: self.variables() }.workflow(file, event)
    }

    /// Prepares a maintainer's call of boxwright in their clone.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_boxwright"));
        command.args(arguments).current_dir(self.at("work")).env_clear();
        command.env("PATH", std::env::var("PATH").unwrap()).env("HOME", self.at("home"));
        command.env("BOXWRIGHT_REGISTRY", &self.registry.host).envs(self.variables());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs boxwright in the maintainer's clone.
    pub fn boxwright(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.at("work"), arguments)
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.at("work").join(path), text).unwrap();
    }

    pub fn append(&self, path: &str, text: &str) {
        let before = fs::read_to_string(self.at("work").join(path)).unwrap();
        self.write(path, &(before + text));
    }

    /// Commits everything and returns the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn push(&self, to: &str) {
        self.git(&["push", "--quiet", "--force", "origin", &format!("HEAD:refs/heads/{to}")]);
    }

    /// An event of GitHub, as recorded, on what the clone's HEAD is; the clone pushes it first to
    /// where a runner fetches it from.
    pub fn event(&self, name: &'static str, recorded: &str, run: u32) -> Event {
        let sha = self.git(&["rev-parse", "HEAD"]);
        self.git(&["push", "--quiet", "--force", "origin", &format!("HEAD:refs/pull/{run}/head")]);
        let is_change = name.starts_with("pull_request");
        let reference = if is_change { format!("{run}/merge") } else { "main".to_owned() };
        Event {
            name,
            payload: event(recorded),
            sha,
            reference: ("branch", reference),
            run,
            attempt: 1,
            registry: if recorded.contains("fork") {
                self.fork.host.clone()
            } else {
                self.registry.host.clone()
            },
            cancel_at: None,
        }
    }

    /// Everything that stands in the registry: tags and digests of all repositories.
    pub fn everything(&self, repositories: &[&str]) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for name in [repositories, &["boxwright-ledger"]].concat() {
            let tags = self.registry.tags(name);
            all.extend(tags.into_iter().map(|tag| {
                let digest = self.registry.digest(name, &tag).unwrap();
                (format!("{name}:{tag}"), digest)
            }));
        }
        all
    }
}

/// A recorded event file.
pub fn event(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/ci/{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The event of a workflow that a person starts.
pub fn dispatch(inputs: Value) -> Value {
    let mut event = event("github/workflow_dispatch");
    event["inputs"] = if inputs.is_null() { json!({}) } else { inputs };
    event
}

impl Ended {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}
