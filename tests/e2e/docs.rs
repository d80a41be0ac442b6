//! The commands of the documentation, run as they stand, and what is shown of their output.
//!
//! In a `console` block a line that begins with `$ ` is a command; its end `# exit N` says how it
//! ends, if not well. The lines below it, but for `…`, are what it prints, with other digests,
//! sizes and times. A page's commands run one after another in one project; the README has one
//! project for its session and one for the reader's own. `docs/ci.md` is tried by `tests/worked`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use regex::Regex;

use boxwright_testing::witness::{Registry, forget_images, tell};
use boxwright_testing::world::{Ended, World};

/// Commands of the README that no test runs as they stand, and why.
const ELSEWHERE: [(&str, &str); 5] = [
    ("scripts/demo", "its commands are those of the session"),
    ("scripts/check", "it runs this test"),
    ("cargo install --path .", "a release build takes minutes; the program is the one that is tested"),
    ("scripts/release", "tests/worked/release.rs"),
    ("docker run --rm ghcr.io/OWNER/boxwright:v0.1.0 --version", "tests/worked/release.rs"),
];

/// A command as a page shows it.
struct Shown {
    heading: String,
    command: String,
    code: i32,
    output: Vec<String>,
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn commands(page: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let (mut heading, mut language) = (String::new(), None);
    for line in page.lines() {
        match (line.strip_prefix("```"), language) {
            (Some(_), Some(_)) => language = None,
            (Some(kind), None) => language = Some(kind),
            (None, None) => {
                if let Some(title) = line.strip_prefix('#') {
                    title.trim_start_matches('#').trim().clone_into(&mut heading);
                }
            }
            (None, Some("console")) => match line.strip_prefix("$ ") {
                Some(command) => {
                    let (command, comment) = command.split_once(" #").unwrap_or((command, ""));
                    let code = comment.trim().strip_prefix("exit ").unwrap_or("0");
                    found.push(Shown {
                        heading: heading.clone(),
                        command: command.trim().to_owned(),
                        code: code.parse().unwrap(),
                        output: Vec::new(),
                    });
                }
                None => found.last_mut().unwrap().output.push(line.to_owned()),
            },
            (None, Some(_)) => {}
        }
    }
    found
}

/// A line without what differs from run to run.
fn outline(line: &str) -> String {
    let rules = [
        (r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{12}\b", "HEX"),
        (r"127\.0\.0\.1:\d+", "HOST"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "TIME"),
        (r"\d+(\.\d+)? ([kMG]?B|bytes)\b", "SIZE"),
        (r"\d+(\.\d+)?s\b", "SECONDS"),
        (r"^ *\d+:\d\d ", ""),
        (r"\s+", " "),
    ];
    let mut line = line.to_owned();
    for (pattern, name) in rules {
        line = Regex::new(pattern).unwrap().replace_all(&line, name).into_owned();
    }
    line.trim().to_owned()
}

/// Runs a command line in a project by a shell that finds boxwright.
pub fn shell(world: &World, program: &str, command: &str, variables: &[(&str, &str)]) -> Ended {
    let ours = Path::new(env!("CARGO_BIN_EXE_boxwright")).parent().unwrap();
    let path = format!("{}:{}", ours.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new(program);
    shell.args(["-c", command]).current_dir(&world.root).env_clear().env("PATH", &path);
    shell.env("HOME", world.beside("home")).envs(variables.iter().copied()).stdin(Stdio::null());
    shell.envs(std::env::var_os("DOCKER_HOST").map(|host| ("DOCKER_HOST", host)));
    Ended::of(shell.output().unwrap())
}

impl Shown {
    /// Runs it, and holds what it prints against what is shown.
    #[track_caller]
    fn works(&self, world: &World, command: &str, variables: &[(&str, &str)]) {
        let ended = shell(world, "sh", command, variables).exits(self.code);
        let printed: BTreeSet<String> = ended.out.lines().chain(ended.err.lines()).map(outline).collect();
        for line in self.output.iter().filter(|line| !line.is_empty() && line.trim() != "…") {
            assert!(
                printed.contains(&outline(line)),
                "{command} does not print `{}` but {printed:#?}",
                outline(line)
            );
        }
    }
}

/// Names in the engine that a project's embedded registry left.
fn forget(world: &World) {
    if let Ok(port) = fs::read_to_string(world.root.join(".boxwright/port")) {
        forget_images(&format!("127.0.0.1:{}", port.trim()));
    }
}

#[track_caller]
fn check(name: &str, least: usize) {
    let commands = commands(&page(&format!("docs/{name}")));
    assert!(commands.len() >= least, "{name}: {} commands", commands.len());
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    for one in commands {
        one.works(&world, &one.command, &[]);
    }
    forget(&world);
}

#[test]
fn configuration() {
    check("configuration.md", 10);
}

#[test]
fn keys() {
    check("keys.md", 6);
}

#[test]
fn registries() {
    check("registries.md", 12);
}

/// A Dockerfile with the stages of this project's own, of which each takes a moment.
fn stages(image: &str) -> String {
    format!(
        "FROM {image} AS base\nRUN echo base > /base\n\n\
         FROM base AS build\nCOPY rust.sh /tmp/rust.sh\nRUN sh /tmp/rust.sh && rm /tmp/rust.sh\n\n\
         FROM build AS test\nRUN printf '#!/bin/sh\\necho made\\n' > /bin/make && chmod +x /bin/make\n\
         ARG NOTE=\nCOPY versions.sh /usr/local/bin/versions\n"
    )
}

fn write_context(world: &World, at: &str) {
    world.write(&format!("{at}rust.sh"), "echo rust > /rust\n");
    let versions = format!("{at}versions.sh");
    world.write(&versions, "#!/bin/sh\necho skopeo version 1.9.3\n");
    tell("chmod", &["+x", world.root.join(versions).to_str().unwrap()]);
}

/// A registry with the image that boxes stand on, and that image's name.
fn base() -> (Registry, String) {
    let registry = Registry::start(&[]);
    let image = format!("{}/debian:bookworm", registry.host);
    tell("docker", &["tag", "boxwright-busybox:1", &image]);
    tell("docker", &["push", "--quiet", &image]);
    (registry, image)
}

#[test]
fn the_session_of_the_readme() {
    let (_registry, image) = base();
    let world = World::empty();
    world.write("boxwright.toml", &page("boxwright.toml"));
    let from = format!("ARG DEBIAN=debian:bookworm-slim\n{}", stages("${DEBIAN}"));
    world.write("images/Dockerfile", &from);
    write_context(&world, "images/");
    world.commit();
    let demo = page("scripts/demo");
    let mut count = 0;
    for mut one in commands(&page("README.md")).into_iter().filter(|one| one.heading == "A session") {
        let command = one.command.clone();
        assert!(demo.contains(&format!("\nshow {command}\n")), "scripts/demo does not show `{command}`");
        if command.starts_with("boxwright run ") {
            // What the program in the box prints is its own.
            one.output.clear();
        }
        // The steps of this Dockerfile are others.
        one.output.retain(|line| !line.contains(" ["));
        one.works(&world, &command, &[("BOXWRIGHT_ARG_DEBIAN", &image)]);
        count += 1;
    }
    assert!(count >= 8, "{count}");
    forget(&world);
}

#[test]
fn what_the_readme_says_to_a_project() {
    let (_registry, image) = base();
    let live = Registry::start(&[]);
    let world = World::empty();
    world.write("Dockerfile", &stages(&image));
    write_context(&world, "");
    world.commit();
    let mut count = 0;
    let mut heading = String::new();
    for one in commands(&page("README.md")) {
        if one.heading == "A session" || ELSEWHERE.iter().any(|(command, _)| one.command == *command) {
            continue;
        }
        if one.heading != heading {
            match one.heading.as_str() {
                "What enters a key" => world.replace("versions.sh", "echo", "echo our"),
                "Releases" => {
                    world.commit();
                    let again = "boxwright build && boxwright promote main --yes";
                    shell(&world, "sh", again, &[]).good();
                }
                _ => {}
            }
            heading.clone_from(&one.heading);
        }
        let command = one.command.replace("registry.example.com/live", &format!("{}/live", live.host));
        one.works(&world, &command, &[]);
        count += 1;
    }
    assert!(count >= 14, "{count}");
    assert_eq!(live.tags("live/project-test").len(), 2, "{:?}", live.tags("live/project-test"));
    forget(&world);
}

#[test]
fn no_command_is_left_out_without_a_reason() {
    let readme = commands(&page("README.md"));
    for (command, _) in ELSEWHERE {
        assert!(readme.iter().any(|one| one.command == command), "{command}");
    }
    let pages = tell("git", &["-C", env!("CARGO_MANIFEST_DIR"), "ls-files", "*.md"]);
    let tried = ["README.md", "docs/ci.md", "docs/configuration.md", "docs/keys.md", "docs/registries.md"];
    for name in pages.lines() {
        let text = page(name);
        for language in text.split("\n```").skip(1).step_by(2).map(|block| block.lines().next().unwrap()) {
            assert!(["console", "toml", "yaml"].contains(&language), "{name}: a block of `{language}`");
            assert!(language != "console" || tried.contains(&name), "{name}: commands that no test runs");
        }
    }
}

/// What is shown of configurations is read by the program.
#[test]
fn shown_configurations_are_configurations() {
    let mut count = 0;
    for name in ["README.md", "docs/ci.md", "docs/configuration.md", "docs/registries.md", "docs/keys.md"] {
        let text = page(name);
        for block in text.split("\n```toml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()) {
            count += 1;
            if block.starts_with("[host") || block.starts_with("[git]") {
                boxwright::config::parse_hosts("hosts.toml", block).unwrap();
                continue;
            }
            let whole = match block.contains("[box.") {
                true => block.to_owned(),
                false => format!("registry = \"r.example\"\n{block}\n[box.a]\n"),
            };
            boxwright::config::parse("boxwright.toml", &whole).unwrap();
        }
    }
    assert!(count >= 3, "{count}");
}
