//! `docs/ci.md`: its commands work, and what it shows of workflows is what the examples say.

use std::fs;
use std::path::Path;

use crate::project::Project;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The blocks of one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fences = text.split("```").skip(1).step_by(2);
    fences.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

#[test]
fn every_command_of_the_page_works() {
    let text = fs::read_to_string(root().join("docs/ci.md")).unwrap();
    let project = Project::of("easycrypt-like");
    let mut count = 0;
    for line in blocks(&text, "console").into_iter().flat_map(str::lines) {
        let command = line.strip_prefix("$ boxwright ").unwrap_or_else(|| panic!("`{line}` is no command"));
        let arguments: Vec<&str> = command.split(' ').collect();
        project.boxwright(&arguments).exits(0);
        count += 1;
    }
    assert!(count >= 10, "only {count} commands were found");
    let made = fs::read_to_string(project.at("work/boxwright.env")).unwrap();
    assert!(made.contains("BOXWRIGHT_IMAGE_BASE_BUILD="), "{made}");
}

#[test]
fn what_is_shown_of_workflows_is_theirs() {
    let mut files = vec![root().join("ci/gitlab.yml"), root().join("examples/lampe-like/.gitlab-ci.yml")];
    for example in ["easycrypt-like", "lampe-like"] {
        let at = root().join("examples").join(example).join(".github/workflows");
        files.extend(fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()));
    }
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let page = fs::read_to_string(root().join("docs/ci.md")).unwrap();
    let shown = blocks(&page, "yaml");
    assert!(shown.len() >= 5);
    for block in shown {
        assert!(texts.iter().any(|text| text.contains(block)), "no workflow holds:\n{block}");
    }
}

/// The figures of the page's last section.
#[test]
fn the_examples_are_as_short_as_the_page_says() {
    let lines = |file: &str| {
        let text = fs::read_to_string(root().join("examples").join(file)).unwrap();
        text.lines().filter(|line| !line.trim().is_empty()).count()
    };
    assert_eq!(lines("easycrypt-like/.github/workflows/ci.yml"), 58);
    assert_eq!(lines("lampe-like/.github/workflows/ci.yml"), 26);
}

/// Everything that names a release names the one that this source becomes.
#[test]
fn one_version_is_named_everywhere() {
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    let listed = boxwright_testing::witness::tell("git", &["-C", root().to_str().unwrap(), "ls-files"]);
    let mut count = 0;
    let is_read = |name: &&str| {
        let of_ours = !name.starts_with("tests/") && !name.starts_with("src/");
        of_ours && [".md", ".yml", ".toml"].iter().any(|end| name.ends_with(end))
    };
    for name in listed.lines().filter(is_read) {
        let text = fs::read_to_string(root().join(name)).unwrap();
        for place in ["OWNER/boxwright@", "OWNER/boxwright/v", "OWNER/boxwright:", "BOXWRIGHT_VERSION: "] {
            for found in text.match_indices(place) {
                let rest = text[found.0 + place.trim_end_matches('v').len()..].trim_start();
                assert!(rest.starts_with(version), "{name}: {place}{}", rest.lines().next().unwrap());
                count += 1;
            }
        }
    }
    assert!(count >= 15, "{count}");
}
