//! What later steps and jobs read: outputs and summary of GitHub Actions, GitLab's dotenv file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::escape::{markdown, output};
use super::facts::Ci;
use crate::cli::error::CliError;
use crate::cli::table::Table;
use crate::cli::whole;
use crate::model::size;

/// What is told of a command.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Whether this run may push: for a plan as far as trust goes, for a build as it was seen.
    pub can_push: bool,
    /// The boxes, parents first.
    pub boxes: Vec<BoxFact>,
}

/// One box of [`Outputs`].
#[derive(Debug, Default, Clone)]
pub struct BoxFact {
    pub name: String,
    /// Its content tag.
    pub tag: String,
    /// The digest that stands in the registry.
    pub digest: Option<String>,
    /// What to run: `repository@digest`, or a name in this machine's engine.
    pub image: Option<String>,
    /// `present`, `built`, `missing`, `failed` or `skipped`.
    pub result: String,
    pub reason: String,
    /// The size of its layers as they are stored, in bytes.
    pub size: Option<u64>,
    pub seconds: Option<f64>,
}

/// Appends to what the CI's variables name, and writes `dotenv`, if there is one, anew.
pub fn publish(outputs: &Outputs, ci: &Ci, run: &str, dotenv: Option<&Path>) -> Result<(), CliError> {
    if let Some(path) = named("GITHUB_OUTPUT") {
        let delimiter = format!("boxwright_{}", super::random_run());
        append(&path, &github(outputs, &delimiter))?;
    }
    if let Some(path) = named("GITHUB_STEP_SUMMARY") {
        append(&path, &summary(outputs, ci, run))?;
    }
    if let Some(path) = dotenv {
        // A link there may have been committed: what it leads to is not ours to overwrite.
        whole::write(path, &variables(outputs))?;
    }
    Ok(())
}

/// Appends what a command did to the summary of the step, if the CI has one.
pub fn summarise(title: &str, table: &Table, outcome: &str) -> Result<(), CliError> {
    match named("GITHUB_STEP_SUMMARY") {
        Some(path) => append(&path, &titled(title, table, outcome)),
        None => Ok(()),
    }
}

/// The file that a variable names.
fn named(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn append(path: &Path, text: &str) -> Result<(), CliError> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|source| CliError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

impl Outputs {
    fn named(&self, results: &[&str]) -> String {
        let named = self.boxes.iter().filter(|one| results.contains(&one.result.as_str()));
        named.map(|one| one.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The boxes that have no image, in words separated by spaces.
    fn missing(&self) -> String {
        let missing = self.boxes.iter().filter(|one| one.image.is_none());
        missing.map(|one| one.name.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// The outputs of a step. Per box `tag_<box>`, `digest_<box>` and `image_<box>`; all images once
/// more as one JSON object, which a job can hand on as one output.
fn github(outputs: &Outputs, delimiter: &str) -> String {
    let mut out = String::new();
    let mut add = |name: &str, value: &str| out.push_str(&output(name, value, delimiter));
    add("missing", &outputs.missing());
    add("built", &outputs.named(&["built"]));
    add("can_push", if outputs.can_push { "true" } else { "false" });
    let mut images = BTreeMap::new();
    for one in &outputs.boxes {
        add(&format!("tag_{}", one.name), &one.tag);
        add(&format!("digest_{}", one.name), one.digest.as_deref().unwrap_or_default());
        add(&format!("image_{}", one.name), one.image.as_deref().unwrap_or_default());
        images.extend(one.image.as_ref().map(|image| (&one.name, image)));
    }
    add("images", &serde_json::json!(images).to_string());
    out
}

/// The variables of later GitLab jobs. Of each box the image alone, which holds the digest: a
/// report may hold few variables (docs.gitlab.com, "artifacts:reports:dotenv").
fn variables(outputs: &Outputs) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "BOXWRIGHT_MISSING={}", outputs.missing());
    let _ = writeln!(out, "BOXWRIGHT_BUILT={}", outputs.named(&["built"]));
    let _ = writeln!(out, "BOXWRIGHT_CAN_PUSH={}", outputs.can_push);
    for one in &outputs.boxes {
        let image = one.image.as_deref().unwrap_or_default();
        let _ = writeln!(out, "{}={image}", variable(&one.name));
    }
    out
}

fn variable(name: &str) -> String {
    format!("BOXWRIGHT_IMAGE_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Returns two boxes whose variables would be one, if there are such.
pub fn variables_clash<'a>(names: impl Iterator<Item = &'a str>) -> Option<(&'a str, &'a str)> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for name in names {
        if let Some(first) = seen.insert(variable(name), name) {
            return Some((first, name));
        }
    }
    None
}

/// A table of the boxes, under a line that says which run this is.
fn summary(outputs: &Outputs, ci: &Ci, run: &str) -> String {
    let mut words = vec![format!("run {run}")];
    words.extend(ci.event.clone());
    words.extend(ci.change.map(|number| format!("change {number}")));
    words.extend(ci.tag.iter().map(|tag| format!("tag {tag}")));
    words.extend(ci.revision.iter().map(|revision| revision.get(..12).unwrap_or(revision).to_owned()));
    words.push(match ci.trust.why() {
        None => ci.trust.word().to_owned(),
        Some(why) => format!("{}: {why}", ci.trust.word()),
    });
    let words: Vec<String> = words.iter().map(|word| markdown(word)).collect();
    let mut out = format!(
        "### boxwright\n\n{}\n\n| box | result | why | size | time | image |\n\
         | --- | --- | --- | ---: | ---: | --- |\n",
        words.join(" · ")
    );
    for one in &outputs.boxes {
        let cells = [
            markdown(&one.name),
            markdown(&one.result),
            markdown(one.reason.lines().next().unwrap_or_default()),
            one.size.map_or_else(String::new, size),
            one.seconds.map_or_else(String::new, crate::cli::figures::duration),
            markdown(one.image.as_deref().unwrap_or(&one.tag)),
        ];
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
    out
}

/// A table under a title and a line that says how it ended; a table without rows is left out.
fn titled(title: &str, table: &Table, outcome: &str) -> String {
    let mut out = format!("### {}\n\n{}\n\n", markdown(title), markdown(outcome));
    let rows: Vec<Vec<&str>> = table.texts().collect();
    if let [heading, _, ..] = rows.as_slice() {
        let ruler = vec!["---"; heading.len()];
        let lines = rows.iter().take(1).chain([&ruler]).chain(&rows[1..]);
        for cells in lines {
            let cells: Vec<String> = cells.iter().map(|cell| markdown(cell)).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ci::Trust;

    fn outputs() -> Outputs {
        let fact = |name: &str, result: &str, image: Option<&str>| BoxFact {
            name: name.to_owned(),
            tag: format!("k-{name}"),
            digest: image.and_then(|image| image.split_once('@')).map(|(_, digest)| digest.to_owned()),
            image: image.map(str::to_owned),
            result: result.to_owned(),
            reason: "file a|b\n::error::c changed".to_owned(),
            size: Some(1_540_000),
            seconds: None,
        };
        let boxes = vec![
            fact("base", "present", Some("h/base@sha256:1")),
            fact("base-build", "built", Some("h/bb@sha256:2")),
            fact("test", "missing", None),
        ];
        Outputs { can_push: true, boxes }
    }

    #[test]
    fn the_outputs_of_a_step() {
        assert_eq!(
            github(&outputs(), "D"),
            "missing=test\nbuilt=base-build\ncan_push=true\n\
             tag_base=k-base\ndigest_base=sha256:1\nimage_base=h/base@sha256:1\n\
             tag_base-build=k-base-build\ndigest_base-build=sha256:2\nimage_base-build=h/bb@sha256:2\n\
             tag_test=k-test\ndigest_test=\nimage_test=\n\
             images={\"base\":\"h/base@sha256:1\",\"base-build\":\"h/bb@sha256:2\"}\n"
        );
    }

    #[test]
    fn what_has_no_image_is_missing_whatever_became_of_it() {
        let mut all = outputs();
        all.boxes[2].result = "failed".to_owned();
        assert_eq!(all.missing(), "test");
        // A box that was there and is built upon anew has none either.
        all.boxes[0].image = None;
        assert_eq!(all.missing(), "base test");
    }

    #[test]
    fn files_of_a_ci_are_added_to_and_a_dotenv_file_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (added, anew) = (directory.path().join("added"), directory.path().join("anew"));
        for text in ["a=1\n", "b=2\n"] {
            append(&added, text).unwrap();
            whole::write(&anew, text).unwrap();
        }
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!((read(&added).as_str(), read(&anew).as_str()), ("a=1\nb=2\n", "b=2\n"));
        let error = whole::write(&directory.path().join("no/such"), "").unwrap_err();
        assert!(error.text().contains("no/such"), "{}", error.text());
    }

    #[test]
    fn the_variables_of_later_jobs() {
        assert_eq!(
            variables(&outputs()),
            "BOXWRIGHT_MISSING=test\nBOXWRIGHT_BUILT=base-build\nBOXWRIGHT_CAN_PUSH=true\n\
             BOXWRIGHT_IMAGE_BASE=h/base@sha256:1\nBOXWRIGHT_IMAGE_BASE_BUILD=h/bb@sha256:2\n\
             BOXWRIGHT_IMAGE_TEST=\n"
        );
        assert_eq!(variables_clash(["a-b", "c", "a_b"].into_iter()), Some(("a-b", "a_b")));
        assert_eq!(variables_clash(["a-b", "c"].into_iter()), None);
    }

    #[test]
    fn a_summary_is_a_table_whatever_the_names() {
        let mut ci = Ci::of("github", Trust::Untrusted("the pull request comes from a fork".to_owned()));
        ci.event = Some("pull_request".to_owned());
        ci.change = Some(12);
        ci.tag = Some("a|b](x)".to_owned());
        let text = summary(&outputs(), &ci, "gh-7");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "### boxwright");
        assert!(lines[2].starts_with("run gh-7 · pull&#95;request · change 12 · tag a&#124;b"), "{text}");
        assert!(lines[2].ends_with("untrusted&#58; the pull request comes from a fork"), "{text}");
        let rows = &lines[4..9];
        assert_eq!(lines.len(), 10, "{text}");
        assert!(rows.iter().all(|row| row.matches('|').count() == 7), "{text}");
        assert!(rows[2].contains("| file a&#124;b | 1.5 MB |  | h/base&#64;sha256&#58;1 |"), "{text}");
    }

    #[test]
    fn a_summary_of_what_was_done() {
        let mut table = Table::new(&["BOX", "ACTION"]);
        let plain = anstyle::Style::new();
        assert_eq!(titled("boxwright clean", &table, "9 kept"), "### boxwright clean\n\n9 kept\n\n");
        table.row([(plain, "a|b".to_owned()), (plain, "gone\n# x".to_owned())]);
        let text = titled("t", &table, "done");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[4..6], ["| BOX | ACTION |", "| --- | --- |"]);
        assert_eq!(lines.len(), 8, "{text}");
        assert!(!lines[6].contains("a|b"), "{text}");
    }
}
