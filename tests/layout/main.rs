//! Holds the architecture: which module may use which, and what must not appear where.

#![allow(clippy::unwrap_used, clippy::panic)]

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use besides itself.
fn allowed() -> BTreeMap<&'static str, Vec<&'static str>> {
    BTreeMap::from([
        ("model", vec![]),
        ("port", vec!["model"]),
        ("inputs", vec!["model", "port"]),
        ("config", vec!["model", "inputs"]),
        ("plan", vec!["model"]),
        ("retention", vec!["model"]),
        ("protocol", vec!["model", "plan", "retention"]),
        ("exec", vec!["config", "inputs", "model", "plan", "port", "protocol", "retention"]),
        ("adapter", vec!["model", "port"]),
        (
            "cli",
            vec!["adapter", "config", "exec", "inputs", "model", "plan", "port", "protocol", "retention"],
        ),
    ])
}

fn sources(directory: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// Every source file with its module's name and its text, tests left out.
fn product() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let of_module = |path: PathBuf| {
        let relative = path.strip_prefix(&root).unwrap().to_owned();
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let is_test = |part: &str| part.trim_end_matches(".rs").ends_with("tests");
        let is_test = relative.iter().any(|part| is_test(part.to_str().unwrap()));
        let text = imports::without_tests(&fs::read_to_string(&path).unwrap());
        (!is_test).then_some((module, relative, text))
    };
    files.into_iter().filter_map(of_module).collect()
}

/// The modules named behind `crate::` on one line.
fn used(line: &str) -> Vec<&str> {
    let after = line.split("crate::").skip(1);
    let word =
        |text: &str| text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    after.map(|text| &text[..word(text)]).filter(|name| !name.is_empty()).collect()
}

#[test]
fn imports_point_one_way() {
    let allowed = allowed();
    let mut checked = 0;
    for (module, path, text) in product() {
        if module == "lib" || module == "main" {
            continue;
        }
        let may = allowed.get(module.as_str()).unwrap_or_else(|| panic!("{module} is not in the picture"));
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for name in used(line) {
                checked += 1;
                let is_known = allowed.contains_key(name);
                let is_good = !is_known || name == module || may.contains(&name);
                assert!(is_good, "{}:{}: {module} must not use {name}", path.display(), number + 1);
            }
            assert!(!line.contains("use crate::{"), "{}:{}: one path a use", path.display(), number + 1);
        }
    }
    assert!(checked > 100, "only {checked} imports were seen");
}

#[test]
fn the_core_has_no_outside() {
    let words = [
        "async fn",
        "std::fs",
        "std::env::var",
        "TcpStream",
        "UdpSocket",
        "SystemTime",
        "Instant::now",
        "tokio::",
    ];
    for (module, path, text) in product() {
        if !["model", "inputs", "plan", "protocol", "retention", "config"].contains(&module.as_str()) {
            continue;
        }
        for word in words {
            let found = text.lines().find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            assert_eq!(found, None, "{}: {word} does not belong in {module}", path.display());
        }
    }
}

#[test]
fn the_protocols_reach_the_outside_through_ports_alone() {
    for (module, path, text) in product() {
        if module == "exec" {
            for word in ["std::fs", "std::env::var", "reqwest", "bollard", "std::process::Command"] {
                assert!(!text.contains(word), "{}: {word}", path.display());
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (_, path, text) in product() {
        assert!(text.starts_with("//!"), "{} has no opening comment", path.display());
    }
}

#[test]
fn no_file_is_below_itself() {
    let module = |path: &Path| -> imports::Module {
        let parts = path.with_extension("");
        let parts = parts.iter().map(|part| part.to_str().unwrap().to_owned());
        parts.filter(|part| !["mod", "lib"].contains(&part.as_str())).collect()
    };
    let files = product().into_iter().filter(|(name, ..)| name != "main");
    let files = files.map(|(_, path, text)| (module(&path), text)).collect();
    let imports = imports::imports(&files);
    let count: usize = imports.values().map(BTreeSet::len).sum();
    assert!(files.len() > 300 && count > 1500, "only {count} imports of {} files were seen", files.len());
    let circles: Vec<String> =
        imports::circles(&imports).iter().map(|circle| drawn(circle, &imports)).collect();
    assert!(circles.is_empty(), "these import one another:\n{}", circles.join("\n"));
}

/// A circle, each of its files with what it imports from the others.
fn drawn(circle: &BTreeSet<&imports::Module>, imports: &imports::Imports) -> String {
    let line = |own: &&imports::Module| {
        let others = imports[*own].iter().filter(|other| circle.contains(other));
        let others: Vec<String> = others.map(|other| other.join("::")).collect();
        format!("  {} imports from {}\n", own.join("::"), others.join(", "))
    };
    circle.iter().map(line).collect()
}
