//! A runner of GitHub Actions, as far as the workflows here need one: it reads the workflow's
//! YAML, checks out, sets the documented variables and files, and runs the steps with bash.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::expression::{fill, holds};
use crate::yaml;

/// What caused a run, and what it is given.
#[derive(Clone)]
pub struct Event {
    pub name: &'static str,
    /// The content of the event file.
    pub payload: Value,
    pub sha: String,
    /// `branch` or `tag`, and its name.
    pub reference: (&'static str, String),
    pub run: u32,
    pub attempt: u32,
    /// The registry as this run's token reaches it.
    pub registry: String,
    /// Steps are stopped as a cancelled job's are, once the log holds this.
    pub cancel_at: Option<&'static str>,
}

/// How a job ended.
#[derive(Debug, Default, Clone)]
pub struct Job {
    /// `success`, `failure`, `cancelled` or `skipped`.
    pub result: String,
    /// The exit code of the last step.
    pub code: i32,
    pub log: String,
    pub summary: String,
    pub outputs: BTreeMap<String, String>,
}

/// A machine that runs workflows of one repository.
pub struct Runner<'a> {
    /// A directory for everything.
    pub home: &'a Path,
    /// What is cloned.
    pub origin: &'a Path,
    /// The variables of the machine.
    pub variables: Vec<(String, String)>,
}

/// One job at work.
struct Work<'a> {
    runner: &'a Runner<'a>,
    event: &'a Event,
    /// `github`, `needs`, `steps`, `matrix`, `inputs`.
    context: Value,
    workspace: PathBuf,
    env: Vec<(String, String)>,
    path: Vec<PathBuf>,
    container: Option<String>,
    job: Job,
}

impl Runner<'_> {
    /// Runs a workflow; returns its jobs by name, those of a matrix as `name part`.
    pub fn workflow(&self, file: &str, event: &Event) -> BTreeMap<String, Job> {
        let text = show(self.origin, &event.sha, &format!(".github/workflows/{file}"));
        let workflow = yaml::read(&text);
        let on = &workflow["on"];
        let is_on = on.get(event.name).is_some() || on == event.name;
        assert!(is_on, "{file} does not run on {}", event.name);
        let jobs = workflow["jobs"].as_object().unwrap();
        let needs = |job: &Value| -> Vec<String> {
            match &job["needs"] {
                Value::String(one) => vec![one.clone()],
                Value::Array(several) => several.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
                _ => Vec::new(),
            }
        };
        let mut done: BTreeMap<String, Job> = BTreeMap::new();
        let mut waiting: Vec<(&String, &Value)> = jobs.iter().collect();
        while !waiting.is_empty() {
            // The first that needs none of those which wait as well.
            let is_free = |(_, job): &(&String, &Value)| {
                needs(job).iter().all(|need| waiting.iter().all(|(name, _)| *name != need))
            };
            let (name, job) = waiting.remove(waiting.iter().position(is_free).unwrap());
            let needs = needs(job);
            let of_need = |need: &String| {
                let belongs = |name: &str| name == need || name.starts_with(&format!("{need} "));
                done.iter().filter(move |(name, _)| belongs(name)).map(|(_, job)| job).collect::<Vec<_>>()
            };
            let mut context = self.context(event);
            for need in &needs {
                let outputs: BTreeMap<_, _> = of_need(need)[0].outputs.clone();
                context["needs"][need] = json!({ "outputs": outputs });
            }
            let is_ready = needs.iter().all(|need| of_need(need).iter().all(|job| job.result == "success"));
            let is_wanted = job.get("if").is_none_or(|text| holds(text.as_str().unwrap(), &context));
            if !(is_ready && is_wanted) {
                done.insert(name.clone(), Job { result: "skipped".to_owned(), ..Job::default() });
                continue;
            }
            for (suffix, matrix) in matrix(&job["strategy"]["matrix"]) {
                context["matrix"] = matrix;
                let ended = self.job(&format!("{name}{suffix}"), &workflow, job, event, context.clone());
                done.insert(format!("{name}{suffix}"), ended);
            }
        }
        done
    }

    fn context(&self, event: &Event) -> Value {
        let (kind, name) = &event.reference;
        json!({
            "github": {
                "actor": "octocat",
                "token": "t0ken",
                "event_name": event.name,
                "event": event.payload,
                "ref_type": kind,
                "ref_name": name,
                "repository_owner": "OWNER",
                "server_url": format!("file://{}/releases", self.home.display()),
            },
            "inputs": event.payload.get("inputs").cloned().unwrap_or(json!({})),
            "steps": {}, "needs": {}, "matrix": {},
        })
    }

    fn job(&self, name: &str, workflow: &Value, job: &Value, event: &Event, context: Value) -> Job {
        let workspace =
            self.home.join(format!("w/{}-{}-{}", event.run, event.attempt, name.replace(' ', "-")));
        fs::create_dir_all(workspace.join("temp")).unwrap();
        let image = job["container"]["image"].as_str().map(|text| fill(text, &context));
        let mut work = Work {
            runner: self,
            event,
            workspace,
            env: Vec::new(),
            path: vec![self.home.join("bin")],
            container: image,
            job: Job { result: "success".to_owned(), ..Job::default() },
            context,
        };
        work.add_env(&workflow["env"]);
        work.add_env(&job["env"]);
        for step in job["steps"].as_array().unwrap() {
            work.step(step);
            if work.job.result != "success" {
                break;
            }
        }
        if let Some(outputs) = job["outputs"].as_object() {
            for (name, text) in outputs {
                work.job.outputs.insert(name.clone(), fill(text.as_str().unwrap(), &work.context));
            }
        }
        work.job
    }
}

impl Work<'_> {
    fn add_env(&mut self, env: &Value) {
        let mut filled = filled(env, &self.context);
        // Images are in a registry of this machine, as this run's token reaches it.
        for (_, value) in filled
            .iter_mut()
            .filter(|(name, value)| name == "BOXWRIGHT_REGISTRY" && value.starts_with("ghcr.io/"))
        {
            value.clone_from(&self.event.registry);
        }
        self.env.extend(filled);
    }

    fn step(&mut self, step: &Value) {
        if step.get("if").is_some_and(|text| !holds(text.as_str().unwrap(), &self.context)) {
            return;
        }
        match step["uses"].as_str() {
            Some(action) if action.starts_with("actions/checkout@") => self.checkout(),
            Some(action) if action.starts_with("OWNER/boxwright@") => self.action(action, step),
            Some(other) => panic!("no such action here: {other}"),
            None => self.run(step, Vec::new(), "-e"),
        }
    }

    fn checkout(&mut self) {
        let at = self.workspace.join("repo");
        let origin = self.runner.origin.to_str().unwrap();
        git(&self.workspace, &["clone", "--quiet", "--no-checkout", origin, "repo"]);
        git(&at, &["fetch", "--quiet", "origin", &self.event.sha]);
        git(&at, &["checkout", "--quiet", "--detach", &self.event.sha]);
    }

    /// Runs the steps of this project's own action.
    fn action(&mut self, name: &str, step: &Value) {
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/action.yml")).unwrap();
        let action = yaml::read(&text);
        let (repository, reference) = name.split_once('@').unwrap();
        let outer = self.context.clone();
        let mut inputs = Map::new();
        for (name, input) in action["inputs"].as_object().unwrap() {
            let given = step["with"].get(name).and_then(Value::as_str).map(|text| fill(text, &outer));
            let default = || input["default"].as_str().unwrap().to_owned();
            inputs.insert(name.clone(), given.unwrap_or_else(default).into());
        }
        if let Some(with) = step["with"].as_object() {
            assert!(with.keys().all(|name| inputs.contains_key(name)), "an input that the action lacks");
        }
        self.context["inputs"] = inputs.into();
        self.context["github"]["action_repository"] = repository.into();
        self.context["github"]["action_ref"] = reference.into();
        self.context["steps"] = json!({});
        for step in action["runs"]["steps"].as_array().unwrap() {
            if self.job.result == "success" {
                assert_eq!(step["shell"], "bash", "a step of an action has to name its shell");
                let is_wanted =
                    step.get("if").is_none_or(|text| holds(text.as_str().unwrap(), &self.context));
                if is_wanted {
                    self.run(step, Vec::new(), "-eo pipefail");
                }
            }
        }
        let mut outputs = Map::new();
        for (name, output) in action["outputs"].as_object().unwrap() {
            let value = fill(output["value"].as_str().unwrap(), &self.context);
            outputs.insert(name.clone(), value.into());
        }
        self.context = outer;
        self.keep(step, outputs);
    }

    fn keep(&mut self, step: &Value, outputs: Map<String, Value>) {
        if let Some(id) = step["id"].as_str() {
            self.context["steps"][id] = json!({ "outputs": outputs });
        }
    }

    /// Runs one script, and reads what it left in the runner's files.
    fn run(&mut self, step: &Value, more: Vec<(String, String)>, options: &str) {
        let script = fill(step["run"].as_str().unwrap(), &self.context);
        let temp = self.workspace.join("temp");
        let file = |name: &str| temp.join(name);
        fs::write(file("script.sh"), script).unwrap();
        for name in ["output", "path", "summary"] {
            fs::write(file(name), "").unwrap();
        }
        fs::write(file("event.json"), self.event.payload.to_string()).unwrap();
        let log = File::create(file("log")).unwrap();
        let mut command = self.command(&file("script.sh"), options);
        command.envs(self.variables(&temp)).envs(self.env.clone()).envs(filled(&step["env"], &self.context));
        command.envs(more);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let child = command.spawn().unwrap();
        let (code, was_cancelled) = self.wait(child, &file("log"));
        let text = fs::read_to_string(file("log")).unwrap();
        self.job.log.push_str(&text);
        self.job.code = code;
        self.job.summary.push_str(&fs::read_to_string(file("summary")).unwrap());
        for line in fs::read_to_string(file("path")).unwrap().lines() {
            self.path.insert(0, PathBuf::from(line));
        }
        let outputs = outputs(&fs::read_to_string(file("output")).unwrap());
        self.keep(step, outputs);
        self.job.result = match (code, was_cancelled) {
            (_, true) => "cancelled".to_owned(),
            (0, false) => "success".to_owned(),
            _ => "failure".to_owned(),
        };
    }

    fn command(&self, script: &Path, options: &str) -> Command {
        let repo = self.workspace.join("repo");
        let Some(image) = &self.container else {
            let mut command = Command::new("bash");
            command.args(["--noprofile", "--norc"]).args(options.split(' ')).arg(script);
            command.current_dir(repo).env_clear();
            let system = std::env::var("PATH").unwrap();
            let mut path: Vec<String> = self.path.iter().map(|path| path.display().to_string()).collect();
            path.push(system);
            command.env("PATH", path.join(":"));
            return command;
        };
        let mut command = Command::new("docker");
        let mount = format!("{}:/__w", self.workspace.display());
        command.args(["run", "--rm", "-v", &mount, "-w", "/__w/repo", image, "sh", "-e"]);
        command.arg(Path::new("/__w/temp").join(script.file_name().unwrap()));
        command
    }

    fn variables(&self, temp: &Path) -> Vec<(String, String)> {
        let Event { name, sha, reference: (kind, reference), run, attempt, .. } = self.event;
        let path = |name: &str| temp.join(name).display().to_string();
        let (run, attempt, repo) = (run.to_string(), attempt.to_string(), self.workspace.join("repo"));
        let mut out: Vec<(String, String)> = [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_ACTOR", "octocat"),
            ("GITHUB_EVENT_NAME", name),
            ("GITHUB_EVENT_PATH", &path("event.json")),
            ("GITHUB_OUTPUT", &path("output")),
            ("GITHUB_PATH", &path("path")),
            ("GITHUB_STEP_SUMMARY", &path("summary")),
            ("GITHUB_SHA", sha),
            ("GITHUB_REF_TYPE", kind),
            ("GITHUB_REF_NAME", reference),
            ("GITHUB_RUN_ID", &run),
            ("GITHUB_RUN_ATTEMPT", &attempt),
            ("GITHUB_WORKSPACE", &repo.display().to_string()),
            ("RUNNER_TEMP", &temp.display().to_string()),
            ("HOME", &self.runner.home.join("home").display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        out.extend(self.runner.variables.clone());
        out
    }

    /// Waits, or stops the step as a runner does whose job is cancelled: an interrupt for the
    /// step's own process, then a request to end, then everything is killed.
    fn wait(&self, mut child: Child, log: &Path) -> (i32, bool) {
        let group = format!("-{}", child.id());
        let began = Instant::now();
        let mut left =
            vec![("-KILL", group), ("-TERM", child.id().to_string()), ("-INT", child.id().to_string())];
        let mut next = None;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return (status.code().unwrap_or(-1), next.is_some());
            }
            assert!(began.elapsed() < Duration::from_secs(120), "a step does not end");
            let is_due = match (next, self.event.cancel_at) {
                (Some(at), _) => Instant::now() >= at,
                (None, Some(text)) => fs::read_to_string(log).unwrap().contains(text),
                (None, None) => false,
            };
            if is_due && let Some((signal, whom)) = left.pop() {
                Command::new("kill").args([signal, "--", &whom]).status().unwrap();
                next = Some(Instant::now() + Duration::from_secs(4));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn filled(env: &Value, context: &Value) -> Vec<(String, String)> {
    let pairs = env.as_object().into_iter().flatten();
    pairs.map(|(name, text)| (name.clone(), fill(text.as_str().unwrap(), context))).collect()
}

/// Reads an output file as the runner does (docs.github.com, "RunContext an output parameter").
fn outputs(text: &str) -> Map<String, Value> {
    let mut out = Map::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, value) = match (line.split_once('='), line.split_once("<<")) {
            (Some((name, value)), _) if !name.contains("<<") => (name, value.to_owned()),
            (_, Some((name, end))) => {
                let body: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
                (name, body.join("\n"))
            }
            _ => panic!("`{line}` is no output"),
        };
        out.insert(name.to_owned(), value.into());
    }
    out
}

fn matrix(matrix: &Value) -> Vec<(String, Value)> {
    let Some(of) = matrix.as_object() else { return vec![(String::new(), json!({}))] };
    assert_eq!(of.len(), 1, "a matrix of one list");
    let (name, values) = of.iter().next().unwrap();
    let values = values.as_array().unwrap().iter().map(|value| value.as_str().unwrap());
    values.map(|value| (format!(" {value}"), json!({ name: value }))).collect()
}

/// Runs git; it has to succeed.
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
    let output = Command::new("git").arg("-C").arg(directory).args(who).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn show(repository: &Path, sha: &str, path: &str) -> String {
    git(repository, &["show", &format!("{sha}:{path}")])
}

/// Writes a program that a step may call.
pub fn program(path: &Path, text: &str) {
    let mut file = File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    file.set_permissions(mode).unwrap();
}
