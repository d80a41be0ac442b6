use std::path::Path;

use super::*;
use crate::config::PinSource;
use crate::model::Keep;

const GOOD: &str = r#"
registry = "ghcr.io/easycrypt"
ledger = "ledger"

[temporary]
keep = "3d"

[clean]
grace = "12h"

[defaults]
context = "scripts/docker"

[pin.lean]
file = "Lampe/lean-toolchain"
also = ["stdlib/lampe/lean-toolchain"]

[pin.noir]
file = "Cargo.toml"
field = "dependencies.noirc_driver.rev"

[box.test]
contexts = { build = "box:build" }
only = ["release"]

[box.build]
repository = "ec-build-box"
target = "build"
contexts = { base-build = "box:base", debian = "image:debian:12" }
args = { LEAN = "{pin.lean}", NOIR = "{pin.noir:8}" }
max-size = "4GiB"
prefix = "lean-{pin.lean}"

[box.base]
dockerfile = "docker/base.Dockerfile"

[channel.main]
tag = "main"
keep = { last = 1, grace = "2d" }

[channel.release]
tag = 'r[0-9]+\.[0-9]+'
keep = "forever"
immutable = true
"#;

#[test]
fn reads_a_whole_project_with_parents_first() {
    let project = parse("boxwright.toml", GOOD).unwrap();
    let names: Vec<&str> = project.boxes.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["base", "build", "test"]);
    assert_eq!(project.lease.to_string(), "3d");
    assert_eq!(project.retention.grace.to_string(), "12h");
    let build = project.find("build").unwrap();
    assert_eq!(build.dockerfile, Path::new("scripts/docker/Dockerfile"));
    assert_eq!(build.max_size, Some(4 << 30));
    assert_eq!(build.pins().collect::<Vec<_>>(), ["lean", "noir", "lean"]);
    assert_eq!(project.find("base").unwrap().dockerfile, Path::new("docker/base.Dockerfile"));
    let main: Vec<&str> = project.boxes_of("main").iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(main, ["base", "build"]);
    assert_eq!(project.boxes_of("release").len(), 3);
    let Keep::Rules(rules) = &project.channels["main"].keep else { panic!("main is kept for ever") };
    assert_eq!((rules.last, rules.grace.seconds()), (Some(1), 172_800));
    assert_eq!(rules.only, Some("main".parse().unwrap()));
    assert!(matches!(project.channels["release"].keep, Keep::Forever));
    assert_eq!(project.channel_of(&"r2026.07".parse().unwrap()).unwrap().name, "release");
    assert!(project.channel_of(&"r2026.07-rc".parse().unwrap()).is_none());
}

/// Replaces `from` in the good file and expects an error at `place` with `message` and `hint`.
fn check(from: &str, to: &str, place: &str, message: &str, hint: &str) {
    let text = GOOD.replacen(from, to, 1);
    assert_ne!(text, GOOD, "`{from}` is not in the file");
    let error = parse("b.toml", &text).expect_err(message);
    assert_eq!(format!("{}:{}", error.line, error.column), place, "{error}");
    assert!(error.message.contains(message), "{error}");
    assert!(error.hint.clone().unwrap_or_default().contains(hint), "{:?}", error.hint);
}

#[test]
fn errors_name_place_and_remedy() {
    check("max-size", "max-sise", "31:1", "unknown key `max-sise` in [box.build]", "`max-size`");
    check("ledger =", "leger =", "3:1", "unknown key `leger`", "`ledger`");
    check("\"ghcr.io/easycrypt\"", "\"https://ghcr.io\"", "2:12", "not a registry host", "without https://");
    check("\"3d\"", "3", "6:8", "`temporary.keep` is an integer; expected a string", "");
    check("\"3d\"", "\"40d\"", "6:8", "between 1s and 30d", "");
    check("box:base\"", "box:bose\"", "29:12", "there is no box `bose`", "`base`");
    check("{pin.noir:8}", "{pin.nori}", "30:8", "there is no pin `nori`", "`noir`");
    check("{pin.noir:8}", "{pin.noir", "30:38", "is not a pin", "");
    check("[\"release\"]", "[\"relase\"]", "24:8", "there is no channel `relase`", "`release`");
    check("scripts/docker", "../docker", "12:11", "leads out of the repository", "");
    check("scripts/docker", "/docker", "12:11", "leads out of the repository", "");
    check("4GiB", "4 GB or so", "31:12", "is not a size", "");
    check("tag = \"main\"", "tag = \"feature/x\"", "38:7", "is not a tag", "");
    check("tag = \"main\"", "tag = \".*\"", "38:7", "would also match content tags", "");
    check("tag = \"main\"", "tag = \"(\"", "38:7", "unclosed group", "");
    check("last = 1", "last = 0", "39:17", "must be at least 1", "");
    check("\"forever\"", "\"always\"", "43:8", "neither \"forever\" nor", "");
    check("\"ec-build-box\"", "\"base\"", "27:14", "share repository `base`", "");
    check("\"ec-build-box\"", "\"ledger\"", "27:14", "is the ledger's repository", "");
    check("\"ec-build-box\"", "\"EC\"", "27:14", "is not a repository name", "");
    check("[box.test]", "[box.Test]", "22:6", "box name `Test`", "");
    check("Cargo.toml", "Cargo.txt", "20:9", "`field` needs a .toml, .json or .yaml file", "pattern");
    check("\"image:debian:12\"", "\"dir:a/../../b\"", "29:48", "leads out of the repository", "");
    check(
        "\"image:debian:12\"",
        "\"debian:12\"",
        "29:48",
        "names neither a box, an image nor a directory",
        "dir:PATH",
    );
    check("keep = { last = 1, grace = \"2d\" }", "keep = {", "41:1", "", "");
    check("lean-{pin.lean}", "a/b", "32:10", "is not a tag", "");
    check("lean-{pin.lean}", &"a".repeat(100), "32:10", "at most 128", "");
}

/// The rules of channel `main` where `keep` is written there.
fn rules(keep: &str) -> Keep {
    let text = GOOD.replacen("{ last = 1, grace = \"2d\" }", keep, 1);
    parse("b.toml", &text).unwrap_or_else(|error| panic!("{error}")).channels["main"].keep.clone()
}

#[test]
fn channels_say_what_they_keep() {
    let Keep::Rules(age) = rules("\"30d\"") else { panic!("for ever") };
    assert_eq!(
        (age.age.unwrap().to_string(), age.grace.to_string(), age.min),
        ("30d".to_owned(), "1d".to_owned(), 1)
    );
    let text = "{ last = 3, for = \"90d\", min = 2, semver = \">=1.4\", tags = 'v2.*', \
                ref = \"refs/heads/{tag}\", git = \"https://example.com/a.git\" }";
    let Keep::Rules(all) = rules(text) else { panic!("for ever") };
    assert_eq!((all.last, all.min), (Some(3), 2));
    assert_eq!(all.versions.unwrap().to_string(), ">=1.4");
    assert!(all.tags.unwrap().is_match("v2.1"));
    assert_eq!(all.git_ref.unwrap().remote, "https://example.com/a.git");
    let check = |keep: &str, place: &str, message: &str, hint: &str| {
        check("{ last = 1, grace = \"2d\" }", keep, place, message, hint);
    };
    check("{ lats = 1 }", "39:10", "unknown key `lats` in [channel.main.keep]", "`last`");
    check("{ grace = \"1d\" }", "39:8", "no rule that keeps anything", "one of last, for");
    check("{ semver = \"new\" }", "39:19", "semver", "");
    check("{ ref = \"main\" }", "39:16", "full ref name", "refs/heads/{tag}");
    check("{ ref = \"refs/heads/main\" }", "39:16", "same ref for every tag", "");
    check("{ last = 1, git = \"x\" }", "39:26", "goes with `ref`", "");
    check("{ tags = '(' }", "39:17", "unclosed group", "");
}

#[test]
fn what_the_readme_shows_is_read() {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once("## What is kept").unwrap();
    let shown = rest.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let project = parse("b.toml", &format!("registry = \"r.example\"\n[box.a]\n{shown}")).unwrap();
    assert_eq!((project.channels.len(), project.retention.min), (3, 1));
    assert!(project.channels.values().all(|channel| matches!(channel.keep, Keep::Rules(_))));
}

#[test]
fn protection_and_limits_are_read() {
    let more = "[clean]\nmax-delete = \"50%\"\nmin = 2\nrecords = \"90d\"\n";
    let text = GOOD.replacen("[clean]", more, 1)
        + "\n[protect]\nfiles = [\"deployed.txt\"]\nurls = [\"https://example.com/live\"]\n\
         repositories = [\"ghcr.io/org/live\"]\n";
    let project = parse("b.toml", &text).unwrap();
    assert_eq!(project.retention.max_delete.unwrap().to_string(), "50%");
    assert_eq!((project.retention.min, project.retention.records.to_string()), (2, "90d".to_owned()));
    assert_eq!(project.protect.repositories[0].to_string(), "ghcr.io/org/live");
    check("[clean]", "[protect]\nfile = []\n[clean]", "9:1", "unknown key `file` in [protect]", "`files`");
    check("[clean]", "[protect]\nurls = [\"ftp://x\"]\n[clean]", "9:9", "http or https", "");
    check("[clean]", "[protect]\ndigests = [\"abc\"]\n[clean]", "9:12", "is not a digest", "");
    check("grace = \"12h\"", "max-delete = \"120%\"", "9:14", "is not a share", "");
}

#[test]
fn findings_are_silenced_by_name_for_all_boxes_or_one() {
    let text = GOOD
        .replace("[defaults]", "[lint]\nallow = [\"git-clone\"]\n\n[defaults]")
        .replace("[box.base]", "[box.base]\nallow = [\"latest\", \"dirty\"]");
    let project = parse("b.toml", &text).unwrap();
    let allowed = |name: &str| -> Vec<&str> {
        project.find(name).unwrap().allow.iter().map(|kind| kind.name()).collect()
    };
    assert_eq!(allowed("base"), ["latest", "git-clone", "dirty"]);
    assert_eq!(allowed("build"), ["git-clone"]);
    check(
        "[box.base]",
        "[box.base]\nallow = [\"gitclone\"]",
        "35:10",
        "no finding `gitclone`",
        "`git-clone`",
    );
    check("[box.base]", "[box.base]\nallow = [\"x\"]", "35:10", "no finding `x`", "secret-argument, latest,");
    check("[clean]", "[lint]\nalow = []\n[clean]", "9:1", "unknown key `alow` in [lint]", "`allow`");
}

#[test]
fn an_argument_that_looks_like_a_secret_is_refused_without_showing_it() {
    let secret = |allow: &str| {
        let text = GOOD.replace("args = {", &format!("{allow}args = {{ NPM_TOKEN = \"hunter2\","));
        parse("b.toml", &text)
    };
    let error = secret("").unwrap_err();
    assert_eq!((error.line, error.column), (30, 10));
    assert_eq!(error.text.trim_start(), "NPM_TOKEN = …");
    assert!(error.message.contains("`NPM_TOKEN` looks like a secret"), "{error}");
    assert!(error.hint.as_deref().unwrap().contains("--mount=type=secret"));
    assert!(!format!("{error}{error:?}").contains("hunter2"));
    assert!(secret("allow = [\"secret-argument\"]\n").is_ok());
    assert!(secret("allow = [\"latest\"]\n").is_err());
}

#[test]
fn a_pin_is_of_one_kind() {
    let pin = |text: &str| {
        let text = GOOD.replace("file = \"Cargo.toml\"\nfield = \"dependencies.noirc_driver.rev\"", text);
        assert_ne!(text, GOOD);
        parse("b.toml", &text)
    };
    let git = pin("git = \"https://example.com/n.git\"\nref = \"main\"").unwrap();
    assert!(matches!(&git.pins["noir"].source, PinSource::Git { reference, .. } if reference == "main"));
    assert!(matches!(pin("image = \"debian:12\"").unwrap().pins["noir"].source, PinSource::Image(_)));
    for (text, message) in [
        ("git = \"x\"", "`pin.noir.ref` is missing"),
        ("git = \"--upload-pack=x\"\nref = \"main\"", "must not be empty, begin with `-`"),
        ("git = \"x\"\nref = \"m\"\nurl = \"https://x\"", "needs one of file, git, image and url"),
        ("image = \"debian:12\"\nref = \"main\"", "`ref` does not go with `image`"),
        ("url = \"ftp://x\"", "expected an http or https address"),
        ("ref = \"main\"", "needs one of file, git, image and url"),
        ("image = \"Debian\"", "is not an image name"),
    ] {
        let error = pin(text).unwrap_err();
        assert!(error.message.contains(message), "{error}");
    }
}

#[test]
fn a_circle_is_named() {
    let text = GOOD.replace("[box.base]", "[box.base]\ncontexts = { t = \"box:test\" }");
    let error = parse("b.toml", &text).unwrap_err();
    assert!(error.message.contains("in a circle: base → test → build → base"), "{error}");
    assert_eq!(error.line, 34);
}

#[test]
fn no_box_and_no_registry_are_errors() {
    assert!(parse("b", "registry = \"embedded\"").unwrap_err().message.contains("no box"));
    assert!(parse("b", "[box.a]").unwrap_err().message.contains("`registry` is missing"));
}

#[test]
fn the_place_is_shown() {
    let error = parse("b.toml", "registry = \"embedded\"\n  leger = 1\n[box.a]\n").unwrap_err();
    let expect = "b.toml:2:3: unknown key `leger`\n    2 |   leger = 1\n      |   ^";
    assert_eq!(error.to_string(), expect);
}
