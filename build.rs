//! Tells the program which source it is made from: `0.1.0 (4a29dc1b0e6f)`.
//!
//! The revision is what `BOXWRIGHT_REVISION` says, else what cargo noted in the package, else, in
//! a clone and for a release, the commit. A debug build has none, so that a commit does not build
//! everything anew; whether files differ from the commit is for `scripts/release` to say, because
//! no build script hears of every change.

#![allow(clippy::print_stdout, reason = "this is how cargo is told")]

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BOXWRIGHT_REVISION");
    let told = env::var("BOXWRIGHT_REVISION").ok().filter(|revision| !revision.is_empty());
    let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let revision = told.or_else(|| packaged(Path::new(&root))).or_else(|| committed(&root));
    let revision = revision.map(|revision| format!(" ({revision})")).unwrap_or_default();
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=BOXWRIGHT_VERSION={version}{revision}");
}

/// What `cargo package` wrote down: `{ "git": { "sha1": "…" }, … }`.
fn packaged(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join(".cargo_vcs_info.json")).ok()?;
    let (_, after) = text.split_once("\"sha1\"")?;
    let hex: String = after.chars().skip_while(|c| !c.is_ascii_hexdigit()).take(12).collect();
    Some(hex).filter(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()))
}

fn committed(root: &str) -> Option<String> {
    if env::var("PROFILE").ok()? != "release" {
        return None;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // Not that of a repository in which a copy of this one lies.
    if Path::new(&git(&["rev-parse", "--show-toplevel"])?) != fs::canonicalize(root).ok()? {
        return None;
    }
    // Every move of HEAD is written there. A file that is missing would make each build a new one.
    let moves = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])?;
    if Path::new(&moves).exists() {
        println!("cargo::rerun-if-changed={moves}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}
