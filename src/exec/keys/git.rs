//! Git repositories in what a build reads: index, logs and packs differ from clone to clone.

use crate::model::Entry;

/// How many are named.
const NAMED: usize = 5;

/// Where each `.git` stands, one for each.
fn found(entries: &[Entry]) -> Vec<(&[u8], bool)> {
    let mut found: Vec<(&[u8], bool)> = Vec::new();
    for entry in entries {
        let path = entry.path.as_bytes();
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let is_git = |end: &usize| path[..*end].rsplit(|byte| *byte == b'/').next() == Some(b".git");
        let Some(end) = ends.chain([path.len()]).find(is_git) else { continue };
        let at = (&path[..end], end < path.len());
        if found.last() != Some(&at) {
            found.push(at);
        }
    }
    found
}

fn shown<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut paths: Vec<String> =
        paths.map(|path| crate::model::printable(&String::from_utf8_lossy(path), 120)).collect();
    let more = paths.len().saturating_sub(NAMED);
    if more > 0 {
        paths.truncate(NAMED);
        paths.push(format!("{more} more"));
    }
    paths
}

/// The repositories, and a `.git` at the top, which may be the file of a work tree.
pub fn repositories(entries: &[Entry]) -> Vec<String> {
    let found = found(entries).into_iter();
    shown(found.filter(|(path, is_directory)| *is_directory || *path == b".git").map(|(path, _)| path))
}

/// All that is called `.git`, files of submodules included.
pub fn all(entries: &[Entry]) -> Vec<String> {
    shown(found(entries).into_iter().map(|(path, _)| path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EntryKind, RelPath};

    #[test]
    fn each_is_named_once() {
        let check = |paths: &[&str], expect: &str, every: &str| {
            let entry = |path: &&str| Entry {
                path: RelPath::new(path.as_bytes()).unwrap(),
                kind: EntryKind::Directory,
            };
            let entries: Vec<Entry> = paths.iter().map(entry).collect();
            assert_eq!(repositories(&entries).join(" "), expect, "{paths:?}");
            assert_eq!(all(&entries).join(" "), every, "{paths:?}");
        };
        check(&["a", ".gitignore", "a.git/x", "b/.github/x"], "", "");
        check(&[".git/HEAD", ".git/index", "a"], ".git", ".git");
        check(&[".git"], ".git", ".git");
        check(&["deps/lib/.git/HEAD", "deps/lib/.git/modules/.git/x"], "deps/lib/.git", "deps/lib/.git");
        check(&["a/.git", "b/.git/HEAD", "b/c"], "b/.git", "a/.git b/.git");
    }
}
