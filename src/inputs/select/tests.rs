//! Tables over sources and paths.

use super::sources::above;
use super::*;
use crate::inputs::{At, golang};

fn source(path: &str) -> Source {
    let shape = if path.contains(['*', '?', '[']) { Shape::Glob } else { Shape::Plain };
    Source { path: path.to_owned(), shape, exclude: Vec::new(), at: At::default() }
}

fn selection(sources: &[&str], ignore: &str) -> Selection {
    let reads = Reads::Some(sources.iter().map(|path| source(path)).collect());
    let ignore = Dockerignore::parse("i", ignore.as_bytes()).unwrap();
    Selection::new(&reads, ignore, &mut Links::new(&mut |_| None))
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

#[test]
fn directories() {
    for (sources, ignore, directory, expect) in [
        (&["a/b"][..], "", "a", Visit::Pass),
        (&["a/b"], "", "a/b", Visit::Take),
        (&["a/b"], "", "a/b/c", Visit::Take),
        (&["a/b"], "", "a/bc", Visit::Prune),
        (&["a/b"], "", "x", Visit::Prune),
        (&[], "", "x", Visit::Prune),
        (&["a/*/c"], "", "a/x", Visit::Pass),
        (&["a/*/c"], "", "a/x/c", Visit::Take),
        (&["a/*/c"], "", "a/x/d", Visit::Prune),
        (&["*.d"], "", "x.d/y", Visit::Take),
        (&["[^a]x/y"], "", "bx", Visit::Pass),
        (&["p/[a-z]"], "", "q", Visit::Prune),
        (&["a"], "a", "a", Visit::Prune),
        (&["a"], "a\n!a/b", "a", Visit::Pass),
        (&["a"], "a\n!a/b", "a/b", Visit::Take),
        (&["a"], "a\n!a/b", "a/c", Visit::Prune),
        (&["a/b"], "a", "a", Visit::Prune),
    ] {
        assert_eq!(selection(sources, ignore).directory(&path(directory)), expect, "{sources:?} {directory}");
    }
}

#[test]
fn leaves() {
    for (sources, ignore, leaf, expect) in [
        (&["a/b"][..], "", "a/b", Visit::Take),
        (&["a/b"], "", "a/b/c", Visit::Take),
        (&["a/b"], "", "a/bc", Visit::Pass),
        (&["a/b"], "", "a", Visit::Pass),
        (&["a/b"], "a/b", "a/b", Visit::Pass),
        (&["*.rs"], "", "x.rs", Visit::Take),
        (&["*.rs"], "", "d/x.rs", Visit::Pass),
        (&["a"], "**/*.log", "a/x.log", Visit::Pass),
        // A walk with wildcards does not go through links.
        (&["*/x"], "", "d", Visit::Pass),
        (&["arr[[]0].txt"], "", "arr[0].txt", Visit::Take),
    ] {
        assert_eq!(selection(sources, ignore).leaf(&path(leaf)), expect, "{sources:?} {leaf}");
    }
}

#[test]
fn the_whole_context_takes_links_as_they_are() {
    let whole = Selection::whole(Dockerignore::parse("i", b"x").unwrap());
    assert_eq!(whole.leaf(&path("a")), Visit::Take);
    assert_eq!(whole.leaf(&path("x")), Visit::Pass);
    assert_eq!(whole.directory(&path("a")), Visit::Take);
}

/// What of a tree is taken that has these links besides; `whole` if all of it.
fn taken(sources: &[Source], links: &[(&str, &str)], tree: &[&str]) -> String {
    let mut read = |path: &[u8]| {
        let found = links.iter().find(|(name, _)| name.as_bytes() == path);
        found.map(|(_, target)| target.as_bytes().into())
    };
    let mut read = Links::new(&mut read);
    let reads = Reads::Some(sources.to_vec());
    let mut selection = Selection::new(&reads, Dockerignore::default(), &mut read);
    let look = |selection: &Selection| -> Vec<Entry> {
        let is_seen = |text: &&&str| {
            let pass = |above: &[u8]| selection.directory(&RelPath::new(above).unwrap()) != Visit::Prune;
            above(text.as_bytes()).all(pass) && selection.leaf(&path(text)) == Visit::Take
        };
        let links: Vec<&str> = links.iter().map(|(name, _)| *name).collect();
        let all: Vec<&str> = tree.iter().copied().chain(links.iter().copied()).collect();
        let entry = |text: &&str| Entry {
            path: path(text),
            kind: match links.contains(text) {
                true => EntryKind::Symlink { target: (*b"x").into() },
                false => EntryKind::Directory,
            },
        };
        let mut entries: Vec<Entry> = all.iter().filter(is_seen).map(entry).collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries
    };
    let mut entries = look(&selection);
    if selection.follow(&entries, &mut read) {
        entries = look(&selection);
    }
    if selection.grown().is_some() {
        return "whole".to_owned();
    }
    let lost = selection.missing(&entries).into_iter().map(|one| match one.leads {
        Some(leads) => format!("!{} is {leads}", one.source.path),
        None => format!("!{}", one.source.path),
    });
    let shown = entries.iter().map(|entry| entry.path.to_string());
    shown.chain(lost).collect::<Vec<_>>().join(" ")
}

#[test]
fn links_are_taken_with_what_they_lead_to() {
    let links = [
        ("link", "real/file"),
        ("chain", "link"),
        ("dir", "real"),
        ("real/up", "../other"),
        ("g/one", "../real/file"),
        ("g/two", "/other"),
        ("root", "."),
        ("gone", "nowhere"),
        ("out", "../../etc/passwd"),
        ("a", "b"),
        ("b", "a"),
        ("odd", "x[y"),
        ("w/root", "/"),
    ];
    let tree = ["real/file", "real/more", "other/f", "g/plain", "x[y/f", "xay/f", "unread"];
    for (sources, expect) in [
        (&["link"][..], "link real/file"),
        (&["chain"], "chain link real/file"),
        (&["dir/file"], "dir real/file"),
        (&["dir"], "dir real/file real/more real/up"),
        (&["dir/up/f"], "dir other/f real/up"),
        // What a directory holds is copied as it is.
        (&["g"], "g/one g/plain g/two"),
        (&["g/*"], "g/one g/plain g/two other/f real/file"),
        (&["d*/file"], ""),
        (&["*/file"], "real/file"),
        (&["dir/*e"], "dir real/file real/more"),
        (&["dir/u*"], "dir other/f real/up"),
        (&["odd/*"], "odd x[y/f"),
        (&["root"], "whole"),
        (&["root/link"], "link real/file root"),
        (&["w/*"], "whole"),
        (&["gone"], "gone !gone is a symbolic link that leads to `nowhere`"),
        (&["gone*"], "gone"),
        (&["out"], "out !out is a symbolic link that leads to `etc/passwd`"),
        (&["a"], "a b !a is a symbolic link that leads to itself"),
        (&["a/x", "other"], "a b other/f !a/x is a symbolic link that leads to itself"),
    ] {
        let sources: Vec<Source> = sources.iter().map(|path| source(path)).collect();
        assert_eq!(taken(&sources, &links, &tree), expect, "{sources:?}");
    }
}

#[test]
fn of_patterns_what_matches_is_taken() {
    let links = [("sub/link", "../package.json"), ("packages/l", "a")];
    let tree = [
        "package.json",
        "sub/package.json",
        "sub/deep/package.json",
        "sub/deep/other",
        "sub/deep/docs/x.md",
        "sub/x.md",
        "packages/a/package.json",
        "packages/a/b/package.json",
        "packages/keep.md",
    ];
    let all = "package.json packages/a/b/package.json packages/a/package.json sub/deep/package.json sub/package.json";
    for (from, shape, exclude, expect) in [
        ("", "**/package.json", &[][..], all),
        ("", "*/package.json", &[], "sub/package.json"),
        ("packages", "*/package.json", &[], "packages/a/package.json"),
        ("packages", "**/package.json", &[], "packages/a/b/package.json packages/a/package.json"),
        // A directory that matches is read with all that it holds; a link as it is.
        (
            "",
            "su*",
            &[],
            "sub/deep/docs/x.md sub/deep/other sub/deep/package.json sub/link sub/package.json sub/x.md",
        ),
        ("sub", "l*", &[], "sub/link"),
        ("", "**/package.json", &["packages"], "package.json sub/deep/package.json sub/package.json"),
        ("", "**/package.json", &["**/deep", "*/a"], "package.json sub/package.json"),
        (
            "sub",
            "",
            &["*.md"],
            "sub/deep/docs/x.md sub/deep/other sub/deep/package.json sub/link sub/package.json",
        ),
        ("sub", "", &["deep", "!deep/other", "link"], "sub/deep/other sub/package.json sub/x.md"),
        ("", "", &["**/*.md", "**/package.json", "sub/link", "packages/l"], "sub/deep/other"),
        (
            "sub",
            "",
            &["["],
            "sub/deep/docs/x.md sub/deep/other sub/deep/package.json sub/link sub/package.json sub/x.md",
        ),
        // What a wildcard matches is kept: engines differ in whether it can be left out.
        ("s*/*.md", "glob", &["*.md"], "sub/x.md"),
        ("s*", "glob", &["*.md", "deep/**", "link"], "sub/package.json"),
    ] {
        let shape = match shape {
            "" => Shape::Plain,
            "glob" => Shape::Glob,
            pattern => Shape::Parents(pattern.to_owned()),
        };
        let exclude = exclude.iter().map(|pattern| (*pattern).to_owned()).collect();
        let source = Source { shape, exclude, ..source(from) };
        assert_eq!(taken(std::slice::from_ref(&source), &links, &tree), expect, "{source:?}");
    }
}

#[test]
fn sources_without_an_entry_are_missing() {
    let entry = |text: &str| Entry { path: path(text), kind: crate::model::EntryKind::Directory };
    let entries = [entry("a-b"), entry("a/x"), entry("c")];
    let selection = selection(&["a", "c", "b", "*.nope", "a/y"], "");
    let missing: Vec<_> =
        selection.missing(&entries).into_iter().map(|missing| missing.source.path).collect();
    assert_eq!(missing, ["b", "a/y"]);
}

/// The relation to one source, by its definition.
fn of(source: &Source, path: &[u8]) -> Relation {
    let pattern = source.path.as_bytes();
    let matches = |path: &[u8]| {
        if source.shape == Shape::Glob { golang::glob(pattern, path) == Ok(true) } else { path == pattern }
    };
    let fits = |(part, name): (&[u8], &[u8])| {
        if source.shape == Shape::Glob { golang::glob(part, name) == Ok(true) } else { part == name }
    };
    let parts = || pattern.split(|byte| *byte == b'/');
    let names = || path.split(|byte| *byte == b'/');
    if matches(path) {
        Relation::Matched
    } else if above(path).any(matches) {
        Relation::Inside
    } else if names().count() < parts().count() && parts().zip(names()).all(fits) {
        Relation::Above
    } else {
        Relation::Outside
    }
}

proptest::proptest! {
    #[test]
    fn many_sources_are_as_each_alone(
        sources in proptest::collection::vec("[ab*?-]{1,2}(/[ab*?-]{1,2}){0,2}", 0..5),
        paths in proptest::collection::vec("[ab-]{1,2}(/[ab-]{1,2}){0,3}", 1..12),
    ) {
        let all: Vec<Source> = sources.iter().map(|path| source(path)).collect();
        let quick = Selection::new(&Reads::Some(all.clone()), Dockerignore::default(), &mut Links::new(&mut |_| None));
        for path in paths {
            let each: Vec<Relation> = all.iter().map(|source| of(source, path.as_bytes())).collect();
            let order = [Relation::Matched, Relation::Inside, Relation::Above];
            let expect = order.into_iter().find(|relation| each.contains(relation));
            proptest::prop_assert_eq!(quick.relation(path.as_bytes()), expect.unwrap_or(Relation::Outside), "{}", path);
        }
    }
}
