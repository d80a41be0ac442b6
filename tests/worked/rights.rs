//! Who has what: the workflows that are shown as examples, and this project's own.
//!
//! A job that runs scripts of the project on its host, or in a container that the service starts,
//! has neither the registry's password nor the right to push; and whoever has the password says
//! for whom it is.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::yaml;

/// What a step may run beside a password: nothing that the project wrote.
const TOOLS: [&str; 15] = [
    "boxwright",
    "git",
    "gh",
    "if",
    "then",
    "else",
    "fi",
    "cd",
    "cat",
    "echo",
    "chmod",
    "install",
    "sha256sum",
    "set",
    "exec",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every workflow of GitHub's kind.
fn workflows() -> Vec<PathBuf> {
    let places = [
        ".github/workflows",
        "examples/easycrypt-like/.github/workflows",
        "examples/lampe-like/.github/workflows",
    ];
    let files = places.iter().flat_map(|place| fs::read_dir(root().join(place)).unwrap());
    files.map(|entry| entry.unwrap().path()).collect()
}

/// The commands of a script, each line's first word.
fn words(script: &str) -> Vec<String> {
    let joined = script.replace("\\\n", " ");
    let word = |line: &str| line.split_whitespace().next().map(str::to_owned);
    joined.lines().filter_map(word).filter(|word| !word.starts_with('#')).collect()
}

fn is_password(name: &str) -> bool {
    matches!(name, "BOXWRIGHT_REGISTRY_PASSWORD" | "BOXWRIGHT_REGISTRY_TOKEN")
}

fn names(env: &Value) -> Vec<&str> {
    env.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// Says what is wrong with a workflow.
fn wrongs(workflow: &Value) -> Vec<String> {
    let mut wrongs = Vec::new();
    if names(&workflow["env"]).iter().any(|name| name.starts_with("BOXWRIGHT_REGISTRY_")) {
        wrongs.push("credentials for all jobs".to_owned());
    }
    if workflow["permissions"]["packages"].is_string() || workflow["permissions"].is_string() {
        wrongs.push("the right to push for all jobs".to_owned());
    }
    for (name, job) in workflow["jobs"].as_object().unwrap() {
        let steps = || job["steps"].as_array().unwrap().iter();
        let scripts: Vec<String> = steps().filter_map(|step| step["run"].as_str()).flat_map(words).collect();
        let is_ours = |word: &String| TOOLS.contains(&word.as_str());
        let runs_scripts = job.get("container").is_some() || !scripts.iter().all(is_ours);
        let envs = || std::iter::once(&job["env"]).chain(steps().map(|step| &step["env"]));
        let has_password = envs().any(|env| names(env).into_iter().any(is_password));
        if job["permissions"].is_null() && workflow["permissions"].is_null() {
            wrongs.push(format!("{name} does not say which rights it has"));
        }
        let may_push = job["permissions"]["packages"] == "write";
        if runs_scripts && (has_password || may_push) {
            wrongs.push(format!("{name} runs the project's scripts and has a password or may push"));
        }
        if has_password && !envs().any(|env| names(env).contains(&"BOXWRIGHT_REGISTRY")) {
            wrongs.push(format!("{name} does not say for whom its password is"));
        }
        // The token that a checkout leaves lies in the working copy, which a box sees.
        let in_box = steps().any(|step| {
            step["run"].as_str().is_some_and(|run| run.contains("boxwright run ") && run.contains(" sh "))
        });
        let keeps = |step: &Value| {
            step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/checkout"))
                && step["with"]["persist-credentials"] != "false"
        };
        if in_box && may_push && steps().any(keeps) {
            wrongs.push(format!("{name} leaves its token to what runs in a box"));
        }
    }
    wrongs
}

#[test]
fn no_job_that_runs_a_project_s_scripts_has_a_password_or_may_push() {
    let files = workflows();
    assert!(files.len() >= 8, "{files:?}");
    let mut with_password = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        with_password += text.matches("BOXWRIGHT_REGISTRY_PASSWORD").count();
        assert_eq!(wrongs(&yaml::read(&text)), [""; 0], "{}", file.display());
    }
    assert!(with_password >= 8);
}

/// The check itself finds what it looks for.
#[test]
fn what_is_wrong_is_found() {
    let check = |text: &str, part: &str| {
        let found = wrongs(&yaml::read(text));
        assert!(found.iter().any(|wrong| wrong.contains(part)), "{part}: {found:?}");
    };
    let job = "jobs:\n  a:\n    permissions:\n      packages: write\n    steps:\n";
    check(&format!("{job}      - run: make check\n"), "runs the project's scripts");
    check(
        &format!("{job}      - run: |\n          boxwright build\n          ./ci/run\n"),
        "runs the project's",
    );
    check("permissions:\n  packages: write\njobs: {}\n", "for all jobs");
    check("permissions: write-all\njobs: {}\n", "for all jobs");
    check("env:\n  BOXWRIGHT_REGISTRY_PASSWORD: x\njobs: {}\n", "credentials for all jobs");
    check("jobs:\n  a:\n    steps: []\n", "does not say which rights");
    let password = "jobs:\n  a:\n    permissions:\n      contents: read\n    env:\n      BOXWRIGHT_REGISTRY_PASSWORD: x\n    steps:\n";
    check(&format!("{password}      - run: boxwright build\n"), "for whom its password is");
    check(&format!("{password}      - run: sh test.sh\n"), "runs the project's scripts");
    let boxed =
        format!("{job}      - uses: actions/checkout@v4\n      - run: boxwright run a -- sh test.sh\n");
    check(&boxed, "leaves its token");
}

#[test]
fn on_gitlab_only_jobs_that_run_boxwright_alone_have_the_password() {
    let of = |path: &str| yaml::read(&fs::read_to_string(root().join(path)).unwrap());
    let (ours, example) = (of("ci/gitlab.yml"), of("examples/lampe-like/.gitlab-ci.yml"));
    for file in [&ours, &example] {
        assert!(file["variables"].is_null() && file["default"].is_null(), "for all jobs");
    }
    let variables = &ours[".boxwright"]["variables"];
    assert!(
        names(variables).contains(&"BOXWRIGHT_REGISTRY") && names(variables).into_iter().any(is_password)
    );
    let mut count = 0;
    for (name, job) in ours.as_object().unwrap().iter().chain(example.as_object().unwrap()) {
        let script =
            job["script"].as_array().into_iter().flatten().flat_map(|line| words(line.as_str().unwrap()));
        let script: Vec<String> = script.collect();
        let has_password =
            job["extends"] == ".boxwright" || names(&job["variables"]).into_iter().any(is_password);
        if has_password && name != ".boxwright" {
            assert_eq!(script.iter().filter(|word| *word != "boxwright").count(), 0, "{name}: {script:?}");
            count += 1;
        }
    }
    assert_eq!(count, 3);
}
