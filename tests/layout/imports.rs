//! Which file imports from which: every `use`, and every path that is written out, followed
//! through re-exports to the file in which the name is defined.

use std::collections::{BTreeMap, BTreeSet};

/// A module's path below the crate, such as `["exec", "build", "job"]`; the root's is empty.
pub type Module = Vec<String>;

/// A file of the crate as other files see it.
#[derive(Default)]
struct Names {
    /// What its `use` lines bring in: the name, and the whole path behind it.
    used: BTreeMap<String, Module>,
    /// The paths it uses: by `use` lines that are not public, and written out.
    paths: Vec<Module>,
}

/// For each module the modules that it imports from.
pub fn imports(files: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let names: BTreeMap<&Module, Names> = files.iter().map(|(own, text)| (own, names(own, text))).collect();
    let below = |own: &Module| {
        let targets = names[own].paths.iter().map(|path| definition(&names, path, 0));
        targets.filter(|target| target != own && !target.is_empty()).collect()
    };
    files.keys().map(|own| (own.clone(), below(own))).collect()
}

/// The module whose file defines what a path names.
fn definition(names: &BTreeMap<&Module, Names>, path: &[String], depth: usize) -> Module {
    assert!(depth < 20, "re-exports of {path:?} lead in a circle");
    let mut at = Module::new();
    for (index, segment) in path.iter().enumerate() {
        let child: Module = at.iter().chain([segment]).cloned().collect();
        if names.contains_key(&child) {
            at = child;
        } else if let Some(further) = names[&at].used.get(segment) {
            let whole: Module = further.iter().chain(&path[index + 1..]).cloned().collect();
            return definition(names, &whole, depth + 1);
        } else {
            break;
        }
    }
    at
}

fn names(own: &Module, text: &str) -> Names {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).fold(
        String::new(),
        |mut code, line| {
            code.push_str(line);
            code.push('\n');
            code
        },
    );
    let mut found = Names::default();
    let mut rest = code.as_str();
    let mut body = String::new();
    while let Some(start) = use_line(rest) {
        body.push_str(&rest[..start]);
        let end = start + rest[start..].find(';').unwrap_or(rest.len() - start - 1);
        let line = &rest[start..end];
        let (is_public, tree) = line.split_once("use ").map(|(vis, tree)| (!vis.is_empty(), tree)).unwrap();
        for (name, path) in leaves(tree) {
            let path = absolute(own, &path);
            if !is_public {
                found.paths.push(path.clone());
            }
            found.used.insert(name, path);
        }
        rest = &rest[end + 1..];
    }
    body.push_str(rest);
    found.paths.extend(written_out(own, &body));
    // A module that was brought in by name: what is taken from it is named where it is called.
    let modules: Vec<(String, Module)> = found.used.iter().map(|(n, p)| (n.clone(), p.clone())).collect();
    for (name, path) in modules {
        for called in body.split(&format!("{name}::")).skip(1) {
            let word: String = called.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if name.starts_with(|c: char| c.is_lowercase()) && !word.is_empty() {
                found.paths.push(path.iter().cloned().chain([word]).collect());
            }
        }
    }
    found
}

/// Where the next `use` line begins.
fn use_line(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start();
        let is_use = bare.starts_with("use ")
            || (bare.starts_with("pub") && bare.split_once("use ").is_some_and(|(vis, _)| {
                let vis = vis.trim();
                vis == "pub" || (vis.starts_with("pub(") && vis.ends_with(')'))
            }));
        if is_use {
            return Some(at + line.len() - bare.len());
        }
        at += line.len();
    }
    None
}

/// The names of a use tree, each with its path.
fn leaves(tree: &str) -> Vec<(String, Vec<String>)> {
    let tree = tree.trim();
    let Some((head, group)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
        let path: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        let last = path.last().cloned().unwrap_or_default();
        let name = if alias.is_empty() { last } else { alias.trim().to_owned() };
        return vec![(name, path)];
    };
    let head: Vec<String> =
        head.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    let group = group.strip_suffix('}').unwrap_or(group);
    let (mut depth, mut items, mut item) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(std::mem::take(&mut item));
                continue;
            }
            _ => {}
        }
        item.push(c);
    }
    items.push(item);
    let inner = items.iter().filter(|item| !item.trim().is_empty()).flat_map(|item| leaves(item));
    inner
        .map(|(name, path)| {
            let mut whole = head.clone();
            if path == ["self"] {
                return (head.last().cloned().unwrap_or_default(), whole);
            }
            whole.extend(path);
            (name, whole)
        })
        .collect()
}

/// A path from the crate's root.
fn absolute(own: &Module, path: &[String]) -> Module {
    let mut base = own.clone();
    let mut rest = path;
    match rest.first().map(String::as_str) {
        Some("crate") => {
            base.clear();
            rest = &rest[1..];
        }
        Some("self") => rest = &rest[1..],
        Some("super") => {
            while rest.first().is_some_and(|part| part == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        _ => {}
    }
    base.extend(rest.iter().cloned());
    base
}

/// Paths that are written out where they are used.
fn written_out(own: &Module, body: &str) -> Vec<Module> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in body.match_indices(start) {
            if body[..at].ends_with(is_part) {
                continue;
            }
            let path: String = body[at..].chars().take_while(|c| is_part(*c)).collect();
            let path: Vec<String> =
                path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
            found.push(absolute(own, &path));
        }
    }
    found
}

/// Files that import one another, directly or by way of others, as groups.
pub fn circles(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<BTreeSet<Module>> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> = imports
        .keys()
        .map(|own| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![own]);
            while let Some(at) = open.pop() {
                open.extend(imports.get(at).into_iter().flatten().filter(|next| seen.insert(*next)));
            }
            (own, seen)
        })
        .collect();
    let group = |own: &&Module| {
        let mutual = reach[own].iter().filter(|other| reach.get(*other).is_some_and(|back| back.contains(own)));
        mutual.map(|other| (*other).clone()).collect::<BTreeSet<_>>()
    };
    let groups: BTreeSet<BTreeSet<Module>> = reach.keys().map(group).filter(|group| group.len() > 1).collect();
    groups.into_iter().collect()
}
