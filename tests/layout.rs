//! Holds the architecture: which module may use which, and what must not appear where.

#![allow(clippy::unwrap_used, clippy::panic)]

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

/// Every source file with its module's name and its text, test modules left out.
fn product() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let of_module = |path: PathBuf| {
        let relative = path.strip_prefix(&root).unwrap().to_owned();
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let is_test = relative.iter().any(|part| part == "tests" || part == "tests.rs");
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
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
            let found =
                text.lines().position(|line| line.contains(word) && !line.trim_start().starts_with("//"));
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

/// The files that a file imports from its own folder or below it, as paths within that folder.
fn imported(own: &Path, text: &str, files: &BTreeMap<PathBuf, String>) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for line in text.lines().map(|line| line.trim_start().trim_start_matches("pub ")) {
        let Some(mut rest) = line.strip_prefix("use ") else { continue };
        let mut base = own.to_owned();
        rest = rest.strip_prefix("self::").unwrap_or(rest);
        while let Some(further) = rest.strip_prefix("super::") {
            base = base.parent().map(Path::to_owned).unwrap_or_default();
            rest = further;
        }
        let below = |from: &Path, path: &str| {
            path.split("::").fold(from.to_owned(), |at, name| {
                let further = at.join(name.trim());
                if files.contains_key(&further) { further } else { at }
            })
        };
        let (path, names) = rest.trim_end_matches(';').split_once('{').unwrap_or((rest, ""));
        let at = below(&base, path.trim_end_matches([';', ':']));
        match names.trim_end_matches('}') {
            "" => found.extend([at]),
            names => found.extend(names.split(',').map(|name| below(&at, name))),
        }
    }
    found.remove(own);
    found
}

#[test]
fn no_file_of_the_registry_is_below_itself() {
    let module = |path: &Path| path.strip_prefix("adapter/registry").ok().map(|path| path.with_extension(""));
    let named = |path: PathBuf| if path.ends_with("mod") { path.parent().unwrap().to_owned() } else { path };
    let files: BTreeMap<PathBuf, String> =
        product().into_iter().filter_map(|(_, path, text)| Some((named(module(&path)?), text))).collect();
    let mut above: BTreeMap<PathBuf, BTreeSet<PathBuf>> =
        files.iter().map(|(own, text)| (own.clone(), imported(own, text, &files))).collect();
    let count: usize = above.values().map(BTreeSet::len).sum();
    assert!(above.len() > 30 && count > 100, "only {count} imports of {} files were seen", above.len());
    // What imports nothing that is left is at the bottom; a circle has no bottom.
    while let Some(bottom) = above.iter().find(|(_, below)| below.is_empty()).map(|(own, _)| own.clone()) {
        above.remove(&bottom);
        for below in above.values_mut() {
            below.remove(&bottom);
        }
    }
    assert!(above.is_empty(), "these import one another: {above:#?}");
}
