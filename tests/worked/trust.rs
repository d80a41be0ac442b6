//! Two identities on one registry: a run that an outsider caused writes nothing, whatever its
//! token may do.

use crate::project::{Ended, Project, event};

/// Runs boxwright with the token of a maintainer, in a run that `recorded` caused.
fn call(project: &Project, name: &str, recorded: &str, arguments: &[&str]) -> Ended {
    let path = project.at("event.json");
    std::fs::write(&path, event(recorded).to_string()).unwrap();
    let mut command = project.command(arguments);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_EVENT_NAME", name).env("GITHUB_EVENT_PATH", path);
    command.env("GITHUB_RUN_ID", "66").env("GITHUB_SHA", "0".repeat(40));
    Ended::of(command.output().unwrap())
}

#[test]
fn a_run_that_an_outsider_caused_writes_nothing_even_with_a_token_that_may() {
    let project = Project::of("lampe-like");
    project.boxwright(&["build"]).exits(0);
    project.boxwright(&["promote", "main", "--yes"]).exits(0);
    let before = project.everything(&["lampe-ci"]);
    let requests = project.registry.requests_during(|| {
        for (name, recorded) in [
            ("pull_request_target", "github/pull_request_target.fork"),
            ("workflow_run", "github/workflow_run.fork"),
            ("issue_comment", "github/issue_comment"),
            ("pull_request", "github/pull_request.dependabot"),
        ] {
            let call = |arguments: &[&str]| call(&project, name, recorded, arguments);
            // What is there is used; nothing says that it was.
            let used = call(&["build"]).exits(0);
            assert!(used.err.contains("not trusted"), "{}", used.err);
            let refused = call(&["build", "--push", "always"]).exits(21);
            assert!(
                refused.err.contains("--push always is refused: this run is not trusted"),
                "{}",
                refused.err
            );
            let writing = [
                &["promote", "main", "--yes"][..],
                &["rollback", "main", "--yes"],
                &["rebuild", "ci", "--yes"],
                &["clean", "--yes"],
            ];
            for refused in writing {
                let ended = call(refused).exits(21);
                assert!(ended.err.contains("not trusted"), "{}", ended.err);
            }
        }
        // What is missing stays missing.
        project.write("Lampe/lean-toolchain", "leanprover/lean4:evil\n");
        project.write("stdlib/lampe/lean-toolchain", "leanprover/lean4:evil\n");
        let missing =
            call(&project, "pull_request_target", "github/pull_request_target.fork", &["build"]).exits(10);
        assert!(missing.err.contains("missing: ci"), "{}", missing.err);
        call(&project, "pull_request_target", "github/pull_request_target.fork", &["guard"]).exits(10);
    });
    let writes: Vec<&String> = requests
        .iter()
        .filter(|request| !request.starts_with("GET ") && !request.starts_with("HEAD "))
        .collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert!(requests.len() > 20, "the log was not read: {requests:?}");
    assert_eq!(project.everything(&["lampe-ci"]), before);

    // The same tree by an event that takes write access is built and pushed.
    call(&project, "push", "github/push.branch", &["build"]).exits(0);
    assert!(project.registry.records("run").iter().any(|record| record == "run.gh-66.1"));
}

#[test]
fn a_stranger_s_build_is_lent_no_secret() {
    let project = Project::of("lampe-like");
    let config = std::fs::read_to_string(project.at("work/boxwright.toml")).unwrap();
    let lent = "[box.ci]\nsecrets = { token = { env = \"PASSWORD\" } }\n";
    project.write("boxwright.toml", &config.replace("[box.ci]\n", lent));
    project.append(
        "docker/Dockerfile",
        "RUN --mount=type=secret,id=token cp /run/secrets/token /opt/ci/token\n",
    );
    let path = project.at("event.json");
    let call = |recorded: &str, name: &str| {
        std::fs::write(&path, event(recorded).to_string()).unwrap();
        let mut command = project.command(&["build", "--local"]);
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_EVENT_NAME", name).env("GITHUB_EVENT_PATH", &path);
        Ended::of(command.env("PASSWORD", "t0p").output().unwrap())
    };
    let refused = call("github/pull_request_target.fork", "pull_request_target").exits(21);
    assert!(refused.err.contains("withheld: this run is not trusted"), "{}", refused.err);
    let lent = call("github/push.branch", "push").exits(0);
    let image =
        lent.out.lines().find(|line| line.starts_with("ci ")).unwrap().split(' ').next_back().unwrap();
    assert_eq!(
        boxwright_testing::witness::tell("docker", &["run", "--rm", image, "cat", "/opt/ci/token"]),
        "t0p"
    );
    boxwright_testing::witness::tell("docker", &["rmi", image]);
}

#[test]
fn an_unknown_ci_writes_only_when_told_to() {
    let project = Project::of("lampe-like");
    let call = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        Ended::of(command.env("CI", "true").output().unwrap())
    };
    let held = call(&["build"]).exits(10);
    assert!(held.err.contains("--push always"), "{}", held.err);
    assert!(project.registry.tags("lampe-ci").is_empty());
    call(&["build", "--push", "never"]).exits(10);
    call(&["build", "--push", "always"]).exits(0);
    assert_eq!(project.registry.tags("lampe-ci").len(), 1);
    call(&["build", "--push", "never"]).exits(0);
}

#[test]
fn nothing_from_outside_becomes_a_command_of_the_runner() {
    let project = Project::of("lampe-like");
    project.boxwright(&["build"]).exits(0);
    project.boxwright(&["promote", "main", "--yes"]).exits(0);
    // A Dockerfile whose step prints commands and fails; a file whose name is one.
    let hostile = "::set-output name=can_push::true\n::add-path::/tmp/evil\n##[add-path]/tmp/evil";
    let dockerfile = std::fs::read_to_string(project.at("work/docker/Dockerfile")).unwrap();
    project.write("docker/##[add-path]x|<b>y", "1");
    let step = format!("COPY *y /\nRUN printf '{}\\r::error::x\\n' && false\n", hostile.replace('\n', "\\n"));
    project.write("docker/Dockerfile", &(dockerfile + &step));
    for arguments in [
        &["build", "-v"][..],
        &["build"],
        &["plan"],
        &["plan", "--format", "json"],
        &["explain", "ci", "--against", "main"],
    ] {
        let path = project.at("event.json");
        std::fs::write(&path, event("github/push.branch").to_string()).unwrap();
        for name in ["output", "summary"] {
            std::fs::write(project.at(name), "").unwrap();
        }
        let mut command = project.command(arguments);
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_EVENT_NAME", "push").env("GITHUB_EVENT_PATH", path);
        command.env("GITHUB_OUTPUT", project.at("output")).env("GITHUB_STEP_SUMMARY", project.at("summary"));
        let ended = Ended::of(command.output().unwrap());
        let text = ended.out + "\n" + &ended.err;
        assert!(text.contains("add-path"), "{arguments:?} does not show it:\n{text}");
        for line in text.split(['\n', '\r']) {
            let is_ours = ["::error title=", "::error file=docker/Dockerfile,line="];
            let is_ours = is_ours.iter().any(|begin| line.starts_with(begin));
            assert!(is_ours || !line.trim_start().starts_with("::"), "{arguments:?}: {line}");
            assert!(!line.contains("##["), "{arguments:?}: {line}");
        }
        let summary = std::fs::read_to_string(project.at("summary")).unwrap();
        for bad in ["<b>", "x|<", "##["] {
            assert!(!summary.contains(bad), "{summary}");
        }
        let outputs = std::fs::read_to_string(project.at("output")).unwrap();
        assert_eq!(outputs.matches("can_push=").count(), usize::from(!outputs.is_empty()), "{outputs}");
    }
}

#[test]
fn an_error_with_a_place_is_marked_there() {
    let project = Project::of("lampe-like");
    let marked = |file: &str, text: &str, mark: &str| {
        let before = std::fs::read_to_string(project.at("work").join(file)).unwrap();
        project.write(file, text);
        let mut command = project.command(&["plan"]);
        // The workspace is the root of the checkout, the project a directory in it.
        command
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_WORKSPACE", project.at(""))
            .env("GITHUB_EVENT_NAME", "push");
        let ended = Ended::of(command.output().unwrap()).exits(2);
        assert!(ended.err.lines().any(|line| line.starts_with(mark)), "{mark}: {}", ended.err);
        project.write(file, &before);
    };
    marked(
        "boxwright.toml",
        "registry = \"x.example.org\"\nboxes = 1\n",
        "::error file=work/boxwright.toml,line=2,title=boxwright::",
    );
    marked(
        "docker/Dockerfile",
        "FROM a\n\nCOPY a\n",
        "::error file=work/docker/Dockerfile,line=3,title=boxwright::box ci",
    );
    let text = std::fs::read_to_string(project.at("work/docker/Dockerfile")).unwrap();
    let mark = format!(
        "::error file=work/docker/Dockerfile,line={},title=boxwright::box ci",
        text.lines().count() + 1
    );
    marked("docker/Dockerfile", &(text.clone() + "COPY nothing /\n"), &mark);

    // A build that fails is marked at its instruction, with what that printed last.
    project.write("docker/Dockerfile", &(text + "RUN echo last words; exit 4\n"));
    let mut command = project.command(&["build", "--local"]);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", project.at(""));
    let ended = Ended::of(command.output().unwrap()).exits(1);
    let mark = mark.replace("boxwright::box ci", "box ci failed::docker/Dockerfile%3A");
    let mark = mark.replace("%3A", ":");
    let line = ended.err.lines().find(|line| line.starts_with(&mark));
    assert!(line.is_some_and(|line| line.ends_with("exit code: 4%0Alast words")), "{mark}: {}", ended.err);
}
