//! A first `boxwright.toml` from the Dockerfiles that are there, which explains itself.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::RegistryChoice;

/// A Dockerfile that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its path, relative to the repository's root, with `/`.
    pub path: String,
    /// Its stages, in their order.
    pub stages: Vec<FoundStage>,
}

/// One stage of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundStage {
    /// Its name, or nothing if it has none.
    pub name: Option<String>,
    /// The line it begins on, from 1.
    pub line: u32,
    /// The position of the stage it stands on, if it stands on one.
    pub on: Option<usize>,
    /// The image it stands on, if it stands on one.
    pub image: Option<String>,
}

const HEAD: &str = r#"# Which images this project's CI runs in, and how they are kept.
# `boxwright plan` says what would be built; `boxwright build` builds and pushes what is missing.

# Where images are kept: a registry host with an optional path, such as "ghcr.io/my-org",
# or "embedded": a store under .boxwright/ on this machine, good for trying things out.
registry = REGISTRY

# The repository of boxwright's own small records: leases, promotions. Each project needs its own.
ledger = "LEDGER"

[temporary]
# How long an image that was not promoted stays after a run last used it.
keep = "2d"
"#;

const CHANNELS: &str = r#"
# Channels: tags that images are promoted to, all boxes together.

[channel.main]
# `boxwright promote main --yes`: the newest set, for everybody's jobs.
tag = "main"
keep = { last = 1, grace = "1d" }

[channel.release]
# `boxwright promote r2026.07 --yes`: a tag that never moves and is never deleted.
tag = 'r[0-9]+\.[0-9]+'
keep = "forever"
immutable = true
"#;

/// Writes the text of a first configuration: a box for each named stage that others stand on
/// or that ends a chain, each standing on the box before it. Images are kept in `registry`, in
/// repositories that bear the name of the `project`, so that another one may be kept beside it.
pub fn first_config(found: &[Found], registry: &RegistryChoice, project: &str) -> String {
    let project = words(project);
    let own = |name: &str| if project.is_empty() { name.to_owned() } else { format!("{project}-{name}") };
    let head = HEAD.replace("REGISTRY", &format!("\"{registry}\""));
    let mut out = head.replace("LEDGER", &own("boxwright-ledger"));
    if found.is_empty() {
        out.push_str(
            "\n# No Dockerfile was found. A box is one image:\n\n# [box.build]\n# context = \".\"\n# dockerfile = \"Dockerfile\"\n# target = \"build\"\n",
        );
        out.push_str(CHANNELS);
        return out;
    }
    let mut names = BTreeSet::new();
    for file in found {
        let boxes = propose(file, found.len() > 1, &mut names);
        for (index, stage) in file.stages.iter().enumerate() {
            let Some(name) = &boxes[index] else { continue };
            let _ = writeln!(out, "\n# {}, line {}", file.path, stage.line);
            if let Some(image) = &stage.image {
                let _ = writeln!(out, "# stands on {image}, which is not a box; name it by digest to pin it");
            }
            let _ = writeln!(out, "[box.{name}]");
            if !project.is_empty() {
                let _ = writeln!(out, "repository = \"{}\"", own(name));
            }
            let directory = file.path.rsplit_once('/').map_or("", |(directory, _)| directory);
            if !directory.is_empty() {
                let _ = writeln!(out, "context = {}", quoted(directory));
            }
            if file.path.rsplit('/').next() != Some("Dockerfile") {
                let _ = writeln!(out, "dockerfile = {}", quoted(&file.path));
            }
            if let Some(target) = &stage.name {
                let _ = writeln!(out, "target = {}", quoted(target));
            }
            if let Some((parent, parent_box)) = parent(file, &boxes, index) {
                let _ = writeln!(out, "contexts = {{ {} = \"box:{parent_box}\" }}", key(parent));
            }
        }
    }
    out.push_str(CHANNELS);
    out
}

/// Names a box for each stage that is worth one.
fn propose(file: &Found, several: bool, taken: &mut BTreeSet<String>) -> Vec<Option<String>> {
    let last = file.stages.len().saturating_sub(1);
    let mut boxes = Vec::new();
    for (index, stage) in file.stages.iter().enumerate() {
        let is_worth_one = stage.name.is_some() || index == last;
        boxes.push(is_worth_one.then(|| {
            let directory = file.path.rsplit_once('/').and_then(|(path, _)| path.rsplit('/').next());
            let own = stage.name.as_deref().or(directory).unwrap_or("box");
            let own = match directory {
                Some(directory) if several && stage.name.is_some() => format!("{directory}-{own}"),
                _ => own.to_owned(),
            };
            let base = box_name(&own);
            let candidates =
                std::iter::once(base.clone()).chain((2..).map(|number| format!("{base}-{number}")));
            let name = candidates.into_iter().find(|name| !taken.contains(name)).unwrap_or(base);
            taken.insert(name.clone());
            name
        }));
    }
    boxes
}

/// The nearest stage below this one that is a box, and its box.
fn parent<'a>(file: &'a Found, boxes: &'a [Option<String>], index: usize) -> Option<(&'a str, &'a str)> {
    let at = file.stages[index].on?;
    let stage = file.stages.get(at)?;
    Some((stage.name.as_deref()?, boxes.get(at)?.as_deref()?))
}

/// Makes a box's name of any text.
fn box_name(text: &str) -> String {
    let name = words(text);
    if name.is_empty() { "box".to_owned() } else { name }
}

/// Joins what a name may hold of any text, so that the name of a repository may begin with it.
fn words(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

pub(super) fn key(text: &str) -> String {
    let is_bare =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_bare { text.to_owned() } else { quoted(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn stage(name: Option<&str>, line: u32, on: Option<usize>, image: Option<&str>) -> FoundStage {
        FoundStage { name: name.map(str::to_owned), line, on, image: image.map(str::to_owned) }
    }

    #[test]
    fn the_stages_of_one_file_become_a_chain_of_boxes() {
        let file = Found {
            path: "ci/Dockerfile".to_owned(),
            stages: vec![
                stage(Some("base"), 1, None, Some("debian:12")),
                stage(Some("ec.build"), 4, Some(0), None),
                stage(None, 9, Some(1), None),
            ],
        };
        let text = first_config(&[file], &RegistryChoice::Embedded, "My Project");
        let project = parse("boxwright.toml", &text).unwrap();
        let boxes: Vec<_> =
            project.boxes.iter().map(|spec| (spec.name.as_str(), spec.target.as_deref())).collect();
        assert_eq!(boxes, [("base", Some("base")), ("ec-build", Some("ec.build")), ("ci", None)]);
        assert_eq!(project.boxes[2].parents().collect::<Vec<_>>(), ["ec-build"]);
        let kept: Vec<_> = project.boxes.iter().map(|spec| spec.repository.as_str()).collect();
        assert_eq!(kept, ["my-project-base", "my-project-ec-build", "my-project-ci"]);
        assert_eq!(project.ledger, "my-project-boxwright-ledger");
        assert_eq!(project.boxes[1].dockerfile.to_str(), Some("ci/Dockerfile"));
        assert!(text.contains("# ci/Dockerfile, line 4"), "{text}");
        assert!(text.contains("debian:12"), "{text}");
    }

    #[test]
    fn several_files_never_share_a_name() {
        let file =
            |path: &str| Found { path: path.to_owned(), stages: vec![stage(Some("build"), 1, None, None)] };
        let at: RegistryChoice = "ghcr.io/my-org/".parse().unwrap();
        let text =
            first_config(&[file("a/Dockerfile"), file("b/a/Dockerfile"), file("x.Dockerfile")], &at, "…");
        let project = parse("boxwright.toml", &text).unwrap();
        assert_eq!(project.registry, at);
        let names: Vec<_> = project.boxes.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["a-build", "a-build-2", "build"]);
        assert!(project.boxes.iter().all(|spec| spec.repository == spec.name));
        assert_eq!(project.find("build").unwrap().dockerfile.to_str(), Some("x.Dockerfile"));
    }

    #[test]
    fn odd_names_are_quoted() {
        assert_eq!(box_name("Ünï_Box.1"), "n-box-1");
        assert_eq!(box_name("---"), "box");
        assert_eq!(quoted("a\"b"), "'a\"b'");
    }
}
