//! Which file imports from which: every `use`, and every path that is written out, followed
//! through re-exports to the file in which the name is defined.

use std::collections::{BTreeMap, BTreeSet};

/// A module's path below the crate, such as `["exec", "build", "job"]`; the root's is empty.
pub type Module = Vec<String>;

/// For each module those that it imports from.
pub type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// A file of the crate as other files see it.
#[derive(Default)]
struct Names {
    /// What its `use` lines bring in: the name, and the whole path behind it.
    used: BTreeMap<String, Module>,
    /// The paths it uses: by `use` lines that are not public, and written out.
    paths: Vec<Module>,
}

/// Reads the imports of files from their texts; comments do not count.
pub fn imports(files: &BTreeMap<Module, String>) -> Imports {
    let names: BTreeMap<&Module, Names> =
        files.iter().map(|(own, text)| (own, names(own, text, files))).collect();
    let below = |own: &Module| {
        let targets = names[own].paths.iter().map(|path| definition(&names, path, 0));
        targets.filter(|target| target != own && !target.is_empty()).collect()
    };
    files.keys().map(|own| (own.clone(), below(own))).collect()
}

/// Returns the text with empty lines in the place of what is compiled for tests alone.
pub fn without_tests(text: &str) -> String {
    let (mut product, mut within): (String, Option<&str>) = (String::new(), None);
    for line in text.lines() {
        let bare = line.trim_start();
        let indent = &line[..line.len() - bare.len()];
        match within {
            // The first line that ends something and is indented no further ends the item.
            Some(start) if indent == start && bare.ends_with(['}', ';']) => within = None,
            Some(_) => {}
            None if bare == "#[cfg(test)]" => within = Some(indent),
            None => product.push_str(line),
        }
        product.push('\n');
    }
    product
}

/// Files that import one another, directly or by way of others, as groups.
pub fn circles(imports: &Imports) -> Vec<BTreeSet<&Module>> {
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
    let group = |own: &Module| -> BTreeSet<&Module> {
        let back = |other: &&&Module| reach.get(**other).is_some_and(|reach| reach.contains(own));
        reach[own].iter().filter(back).copied().collect()
    };
    let groups: BTreeSet<_> = reach.keys().map(|own| group(own)).filter(|group| group.len() > 1).collect();
    groups.into_iter().collect()
}

/// The module whose file defines what a path names.
fn definition(names: &BTreeMap<&Module, Names>, path: &[String], depth: usize) -> Module {
    assert!(depth < 20, "re-exports of {path:?} lead in a circle");
    let mut at = Module::new();
    for (index, segment) in path.iter().enumerate() {
        let child = below(&at, segment);
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

fn names(own: &Module, text: &str, files: &BTreeMap<Module, String>) -> Names {
    let mut names = Names::default();
    let code = text.split_inclusive('\n').filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.collect();
    let (mut rest, mut body) = (code.as_str(), String::new());
    while let Some(start) = use_line(rest) {
        body.push_str(&rest[..start]);
        let end = start + rest[start..].find(';').unwrap_or(rest.len() - start - 1);
        let (visibility, tree) = rest[start..end].split_once("use ").unwrap_or_default();
        for (name, path) in leaves(tree) {
            let Some(path) = absolute(own, &path, files) else { continue };
            if visibility.is_empty() {
                names.paths.push(path.clone());
            }
            names.used.insert(name, path);
        }
        rest = &rest[end + 1..];
    }
    body.push_str(rest);
    for (start, path) in written_out(&body) {
        // What is taken from a module that was brought in by name, or that lies below this file.
        let path = match names.used.get(&start) {
            Some(module) => Some(module.iter().chain(&path[1..]).cloned().collect()),
            None => absolute(own, &path, files),
        };
        names.paths.extend(path);
    }
    names
}

/// Where the next `use` line begins.
fn use_line(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start();
        let visibility = bare.split_once("use ").map(|(visibility, _)| visibility.trim());
        if visibility.is_some_and(|word| {
            word.is_empty() || word == "pub" || (word.starts_with("pub(") && word.ends_with(')'))
        }) {
            return Some(at + line.len() - bare.len());
        }
        at += line.len();
    }
    None
}

/// The names of a use tree, each with its path.
fn leaves(tree: &str) -> Vec<(String, Module)> {
    let tree = tree.trim();
    let parts = |path: &str| -> Module {
        path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    };
    let Some((head, group)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
        let path = parts(path);
        let last = path.last().cloned().unwrap_or_default();
        return vec![(if alias.is_empty() { last } else { alias.trim().to_owned() }, path)];
    };
    let head = parts(head);
    let (mut depth, mut items) = (0, vec![String::new()]);
    for c in group.strip_suffix('}').unwrap_or(group).chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        items.last_mut().unwrap().push(c);
    }
    let inner = items.iter().filter(|item| !item.trim().is_empty()).flat_map(|item| leaves(item));
    let whole = |(name, path): (String, Module)| match path.first().map(String::as_str) {
        Some("self") => (head.last().cloned().unwrap_or_default(), head.clone()),
        _ => (name, head.iter().chain(&path).cloned().collect()),
    };
    inner.map(whole).collect()
}

/// A path from the crate's root; nothing for one into another crate.
fn absolute(own: &Module, path: &[String], files: &BTreeMap<Module, String>) -> Option<Module> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    let (base, rest) = match path.first()?.as_str() {
        "crate" => (&[][..], &path[1..]),
        "self" => (&own[..], &path[1..]),
        "super" => (own.get(..own.len().checked_sub(ups)?)?, &path[ups..]),
        first => {
            files.get(&below(own, first))?;
            (&own[..], path)
        }
    };
    Some(base.iter().chain(rest).cloned().collect())
}

fn below(own: &Module, name: &str) -> Module {
    own.iter().cloned().chain([name.to_owned()]).collect()
}

/// Paths of more than one part that are written out where they are used, each with its first part.
fn written_out(body: &str) -> Vec<(String, Module)> {
    let words = body.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let paths = words.map(|word| word.split("::").filter(|part| !part.is_empty()).map(str::to_owned));
    let paths = paths.map(Iterator::collect::<Module>).filter(|path| path.len() > 1);
    paths.map(|path| (path[0].clone(), path)).collect()
}
