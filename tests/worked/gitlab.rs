//! The same project on GitLab: the jobs of `ci/gitlab.yml` and of the example, each script run by
//! bash with a job's variables, the dotenv report handed on as GitLab does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use crate::project::Project;
use crate::runner::git;
use crate::yaml;

/// What a pipeline's jobs have in their environment.
struct Pipeline<'a> {
    project: &'a Project,
    id: u32,
    registry: String,
    variables: Vec<(&'static str, String)>,
}

/// How a job ended: its exit code and its log.
type Ended = (i32, String);

impl Pipeline<'_> {
    /// Runs the jobs whose rules hold, stage by stage, until one fails.
    fn run(&self) -> BTreeMap<String, Ended> {
        let (jobs, stages) = jobs(self.project);
        let mut done = BTreeMap::new();
        let mut handed: Vec<(String, String)> = Vec::new();
        for stage in stages {
            for (name, job) in jobs.iter().filter(|(_, job)| job["stage"] == stage) {
                if !self.is_wanted(&job["rules"]) {
                    continue;
                }
                let ended = self.job(name, job, &mut handed);
                let failed = ended.0 != 0;
                done.insert(name.clone(), ended);
                if failed {
                    return done;
                }
            }
        }
        done
    }

    fn value(&self, name: &str) -> String {
        if name == "CI_DEFAULT_BRANCH" {
            return "main".to_owned();
        }
        let found = self.variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// Evaluates `rules: if`, of which the jobs here use `&&`, `==`, `!=` and whether one is set.
    fn is_wanted(&self, rules: &Value) -> bool {
        let side = |text: &str| match text.trim().strip_prefix('$') {
            Some(name) => self.value(name),
            None => text.trim().trim_matches('"').to_owned(),
        };
        let holds = |part: &str| match (part.split_once("=="), part.split_once("!=")) {
            (Some((a, b)), _) => side(a) == side(b),
            (None, Some((a, b))) => side(a) != side(b),
            (None, None) => !side(part).is_empty(),
        };
        let rule = |rule: &Value| rule["if"].as_str().unwrap().split("&&").all(holds);
        rules.as_array().unwrap().iter().any(rule)
    }

    fn job(&self, name: &str, job: &Value, handed: &mut Vec<(String, String)>) -> Ended {
        let directory = self.project.at(&format!("w/gl-{}-{name}", self.id));
        git(
            &self.project.at(""),
            &[
                "clone",
                "--quiet",
                self.project.at("origin.git").to_str().unwrap(),
                directory.to_str().unwrap(),
            ],
        );
        git(&directory, &["fetch", "--quiet", "origin", &self.value("CI_COMMIT_SHA")]);
        git(&directory, &["checkout", "--quiet", "--detach", "FETCH_HEAD"]);
        let mut script = String::from("set -eo pipefail\n");
        for part in ["before_script", "script"] {
            for line in job[part].as_array().into_iter().flatten() {
                script.push_str(line.as_str().unwrap());
                script.push('\n');
            }
        }
        let path = self.project.at(&format!("w/gl-{}-{name}.sh", self.id));
        fs::write(&path, &script).unwrap();
        let mut command = match job["image"].as_str().and_then(|image| image.strip_prefix('$')) {
            Some(variable) => {
                let image = handed.iter().find(|(name, _)| name == variable).unwrap().1.clone();
                let mut command = Command::new("docker");
                let mount = format!("{}:/builds", directory.display());
                command.args(["run", "--rm", "-v", &mount, "-w", "/builds", &image, "sh", "-ec"]);
                command.arg(script.replace("set -eo pipefail\n", ""));
                command
            }
            None => {
                let mut command = Command::new("bash");
                command.arg(&path).current_dir(&directory).env_clear();
                command.env("PATH", std::env::var("PATH").unwrap()).env("HOME", self.project.at("home"));
                command
            }
        };
        command.envs(self.project.variables());
        let fixed =
            [("CI", "true"), ("GITLAB_CI", "true"), ("CI_DEFAULT_BRANCH", "main"), ("CI_PROJECT_ID", "5")];
        command.envs(fixed).env("CI_PIPELINE_ID", self.id.to_string());
        command.envs(self.variables.clone()).envs(handed.clone());
        for (name, value) in job["variables"].as_object().into_iter().flatten() {
            // The registry's credentials are none here: it takes everybody.
            let value = match (name.as_str(), value.as_str().unwrap()) {
                ("BOXWRIGHT_REGISTRY", "$CI_REGISTRY_IMAGE") => &self.registry,
                (_, value) if value.starts_with('$') => "",
                (_, value) => value,
            };
            command.env(name, value);
        }
        let releases = self.project.at("releases/OWNER/boxwright/releases/download");
        command.env("BOXWRIGHT_RELEASES", format!("file://{}", releases.display()));
        let output = command.stdin(Stdio::null()).output().unwrap();
        let log = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        if let Some(report) = job["artifacts"]["reports"]["dotenv"].as_str() {
            handed.extend(dotenv(&directory.join(report)));
        }
        (output.status.code().unwrap(), log)
    }
}

/// The jobs of the example and of what it includes, with what they extend; and the stages.
fn jobs(project: &Project) -> (Map<String, Value>, Vec<String>) {
    let of = |path: &Path| yaml::read(&fs::read_to_string(path).unwrap());
    let own = of(&project.at("work/.gitlab-ci.yml"));
    assert!(own["include"][0]["remote"].as_str().unwrap().ends_with("/ci/gitlab.yml"));
    let included = of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/gitlab.yml"));
    let mut all: Map<String, Value> = included.as_object().unwrap().clone();
    all.extend(own.as_object().unwrap().clone());
    let stages =
        own["stages"].as_array().unwrap().iter().map(|stage| stage.as_str().unwrap().to_owned()).collect();
    let mut jobs = Map::new();
    for (name, job) in all.iter().filter(|(_, job)| job.get("script").is_some()) {
        let mut whole = match job["extends"].as_str() {
            Some(base) => all[base].as_object().unwrap().clone(),
            None => Map::new(),
        };
        whole.extend(job.as_object().unwrap().clone());
        jobs.insert(name.clone(), Value::Object(whole));
    }
    (jobs, stages)
}

/// Reads a dotenv report by the rules that GitLab has for it.
fn dotenv(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.len() <= 5 * 1024 && text.lines().count() <= 20, "{text}");
    let pair = |line: &str| {
        let (name, value) = line.split_once('=').unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{line}");
        (name.to_owned(), value.to_owned())
    };
    text.lines().map(pair).collect()
}

#[test]
fn pushes_merge_requests_forks_releases_and_the_schedule() {
    let project = Project::of("lampe-like");
    let sha = |project: &Project| project.git(&["rev-parse", "HEAD"]);
    let pipeline = |id, source: &str, more: Vec<(&'static str, String)>| {
        project.git(&["push", "--quiet", "--force", "origin", &format!("HEAD:refs/heads/gl-{id}")]);
        let mut variables = vec![("CI_PIPELINE_SOURCE", source.to_owned()), ("CI_COMMIT_SHA", sha(&project))];
        variables.extend(more);
        Pipeline { project: &project, id, registry: project.registry.host.clone(), variables }
    };
    let on_main = || vec![("CI_COMMIT_BRANCH", "main".to_owned()), ("CI_COMMIT_REF_NAME", "main".to_owned())];
    let request = |from: &str| {
        let pairs = [
            ("CI_MERGE_REQUEST_IID", "3"),
            ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", from),
            ("CI_MERGE_REQUEST_PROJECT_ID", "5"),
        ];
        pairs.map(|(name, value)| (name, value.to_owned())).to_vec()
    };
    let codes = |done: &BTreeMap<String, Ended>| {
        done.iter().map(|(name, (code, _))| (name.clone(), *code)).collect::<Vec<_>>()
    };
    let expect = |pairs: &[(&str, i32)]| {
        pairs.iter().map(|(name, code)| ((*name).to_owned(), *code)).collect::<Vec<_>>()
    };

    let done = pipeline(1, "push", on_main()).run();
    assert_eq!(codes(&done), expect(&[("boxes", 0), ("promote", 0), ("test", 0)]), "{done:?}");
    assert!(done["test"].1.contains("tested with lean v4.21.0"), "{done:?}");
    let main = project.registry.digest("lampe-ci", "main").unwrap();

    project.write("rust-toolchain.toml", "[toolchain]\nchannel = \"1.86.0\"\n");
    project.commit("rust");
    // A fork's merge request, with a token that could push, and then with one that cannot.
    let before = project.everything(&["lampe-ci"]);
    for registry in [&project.registry.host, &project.fork.host] {
        let id = if *registry == project.fork.host { 3 } else { 2 };
        let mut fork = pipeline(id, "merge_request_event", request("9"));
        fork.registry.clone_from(registry);
        let done = fork.run();
        assert_eq!(codes(&done), expect(&[("boxes", 10)]), "{done:?}");
        let command = format!("boxwright build --at {} ci", sha(&project));
        assert!(done["boxes"].1.contains(&command), "{done:?}");
        assert_eq!(project.everything(&["lampe-ci"]), before);
    }
    let done = pipeline(4, "merge_request_event", request("5")).run();
    assert_eq!(codes(&done), expect(&[("boxes", 0), ("test", 0)]), "{done:?}");
    assert_eq!(project.registry.digest("lampe-ci", "main").as_ref(), Some(&main));
    let done = pipeline(5, "push", on_main()).run();
    assert_eq!(codes(&done), expect(&[("boxes", 0), ("promote", 0), ("test", 0)]), "{done:?}");
    assert!(!done["boxes"].1.contains("ci building"), "{done:?}");
    assert_ne!(project.registry.digest("lampe-ci", "main"), Some(main));

    let tag = [("CI_COMMIT_TAG", "v1.2.3"), ("CI_COMMIT_REF_NAME", "v1.2.3")]
        .map(|(name, value)| (name, value.to_owned()));
    let done = pipeline(6, "push", tag.to_vec()).run();
    assert_eq!(codes(&done), expect(&[("boxes", 0), ("promote", 0), ("test", 0)]), "{done:?}");
    assert_eq!(project.registry.digest("lampe-ci", "v1.2.3"), project.registry.digest("lampe-ci", "main"));
    let done = pipeline(7, "schedule", on_main()).run();
    assert_eq!(codes(&done), expect(&[("clean", 0)]), "{done:?}");
    assert!(project.registry.records("run").iter().any(|record| record == "run.gl-6.1"));
}
