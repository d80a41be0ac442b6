//! The build script: which source a program says it is made from.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The script, compiled.
fn script(directory: &Path) -> PathBuf {
    let program = directory.join("script");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/build.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let status = Command::new(rustc).args(["--edition=2024", source, "-o"]).arg(&program).status().unwrap();
    assert!(status.success());
    program
}

/// The version it tells for a package in `root`, and the files that cargo is to watch.
fn told(script: &Path, root: &Path, variables: &[(&str, &str)]) -> (String, Vec<PathBuf>) {
    let mut command = Command::new(script);
    command.current_dir(root).env_remove("BOXWRIGHT_REVISION").env("CARGO_PKG_VERSION", "1.2.3");
    command.env("CARGO_MANIFEST_DIR", root).envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let all = |name: &str| -> Vec<String> {
        let name = format!("cargo::{name}=");
        text.lines().filter_map(|line| line.strip_prefix(&name)).map(str::to_owned).collect()
    };
    let version = all("rustc-env").remove(0).strip_prefix("BOXWRIGHT_VERSION=").unwrap().to_owned();
    let watched = all("rerun-if-changed").into_iter().filter(|file| file != "build.rs").map(PathBuf::from);
    (version, watched.collect())
}

fn git(root: &Path, arguments: &[&str]) -> String {
    let who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
    let output = Command::new("git").arg("-C").arg(root).args(who).args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_program_says_which_source_it_is_made_from() {
    let directory = TempDir::new().unwrap();
    let script = script(directory.path());
    let root = directory.path().join("clone");
    fs::create_dir(&root).unwrap();
    let release = [("PROFILE", "release")];
    assert_eq!(told(&script, &root, &release), ("1.2.3".to_owned(), Vec::new()));

    git(&root, &["init", "--quiet"]);
    git(&root, &["commit", "--quiet", "--allow-empty", "--message", "one"]);
    let commit = git(&root, &["rev-parse", "HEAD"]);
    let (version, watched) = told(&script, &root, &release);
    assert_eq!(version, format!("1.2.3 ({})", &commit[..12]));
    // A watched file that is not there would build everything anew each time.
    assert!(!watched.is_empty() && watched.iter().all(|file| file.exists()), "{watched:?}");
    let moved = fs::read_to_string(&watched[0]).unwrap();
    git(&root, &["commit", "--quiet", "--allow-empty", "--message", "two"]);
    assert_ne!(fs::read_to_string(&watched[0]).unwrap(), moved);

    // A debug build is not built anew for a commit, and what is told goes before.
    assert_eq!(told(&script, &root, &[("PROFILE", "debug")]), ("1.2.3".to_owned(), Vec::new()));
    let given = [("PROFILE", "release"), ("BOXWRIGHT_REVISION", "abc-changed")];
    assert_eq!(told(&script, &root, &given), ("1.2.3 (abc-changed)".to_owned(), Vec::new()));

    // A package, even one that lies in somebody's repository.
    let package = root.join("vendor/boxwright");
    fs::create_dir_all(&package).unwrap();
    assert_eq!(told(&script, &package, &release), ("1.2.3".to_owned(), Vec::new()));
    let noted = format!("{{\n  \"git\": {{\n    \"sha1\": \"{commit}\"\n  }},\n  \"path_in_vcs\": \"\"\n}}");
    fs::write(package.join(".cargo_vcs_info.json"), noted).unwrap();
    assert_eq!(told(&script, &package, &release).0, format!("1.2.3 ({})", &commit[..12]));
}
