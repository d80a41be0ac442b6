//! The commands of the documentation, run as they stand.
//!
//! In a `console` block a line that begins with `$ ` is a command; its end `# exit N` says how it
//! ends, if not well. A page's commands run one after another in one project.

use std::fs;
use std::path::Path;

use crate::witness::Registry;
use crate::world::World;

/// The commands of a page with the exit codes they have.
fn commands(page: &str) -> Vec<(String, i32)> {
    let mut found = Vec::new();
    let mut is_console = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(kind) => is_console = kind == "console",
            None if is_console => {
                let Some(command) = line.strip_prefix("$ ") else { continue };
                let (command, code) = command.rsplit_once("# exit ").unwrap_or((command, "0"));
                found.push((command.trim().to_owned(), code.trim().parse().unwrap()));
            }
            None => {}
        }
    }
    found
}

#[track_caller]
fn check(page: &str, least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let commands = commands(&fs::read_to_string(path).unwrap());
    assert!(commands.len() >= least, "{page}: {} commands", commands.len());
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let program = Path::new(env!("CARGO_BIN_EXE_boxwright")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    for (command, code) in commands {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &command]).current_dir(&world.root).env_clear().env("PATH", &path);
        shell.env("HOME", world.beside("home"));
        shell.envs(std::env::var_os("DOCKER_HOST").map(|host| ("DOCKER_HOST", host)));
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{page}: {command}\n{said}");
    }
    let port = world.root.join(".boxwright/port");
    if let Ok(port) = fs::read_to_string(port) {
        crate::witness::forget_images(&format!("127.0.0.1:{}", port.trim()));
    }
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
