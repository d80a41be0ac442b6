//! Findings as lines on stderr and as rows of JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::computed::Computed;
use super::terminal::Terminal;
use crate::exec::Remark;

/// One finding of a report.
#[derive(Debug, Serialize)]
pub struct FindingRow {
    #[serde(rename = "box")]
    of_box: String,
    name: &'static str,
    file: Option<String>,
    line: Option<u32>,
    text: String,
}

/// Returns all findings, box by box.
pub fn rows(computed: &Computed) -> Vec<FindingRow> {
    let row = |name: &str, remark: Remark| FindingRow {
        of_box: name.to_owned(),
        name: remark.kind.name(),
        file: remark.file,
        line: remark.line,
        text: remark.text,
    };
    let of_box = |(name, remarks): (String, Vec<Remark>)| -> Vec<FindingRow> {
        remarks.into_iter().map(|remark| row(&name, remark)).collect()
    };
    remarks(computed).into_iter().flat_map(of_box).collect()
}

/// Says the findings that `wanted` takes; one that several boxes share is said once.
pub fn say(computed: &Computed, terminal: Terminal, wanted: impl Fn(&Remark) -> bool) {
    for line in lines(remarks(computed), wanted) {
        terminal.say(&line);
    }
}

fn remarks(computed: &Computed) -> Vec<(String, Vec<Remark>)> {
    let of_box = |keyed: &crate::exec::ResolvedBox| {
        let name = keyed.wanted.name.clone();
        let differing = computed.differing.get(&name).map_or(&[][..], Vec::as_slice);
        let remarks = keyed.remarks(differing);
        (name, remarks)
    };
    computed.boxes.iter().map(of_box).collect()
}

/// More boxes than these are not listed if it is all of them.
const MANY: usize = 4;

fn lines(remarks: Vec<(String, Vec<Remark>)>, wanted: impl Fn(&Remark) -> bool) -> Vec<String> {
    let all = remarks.len();
    let mut order: Vec<Remark> = Vec::new();
    let mut boxes: BTreeMap<Remark, Vec<String>> = BTreeMap::new();
    for (name, remarks) in remarks {
        for remark in remarks.into_iter().filter(&wanted) {
            let named = boxes.entry(remark.clone()).or_default();
            if named.is_empty() {
                order.push(remark);
            }
            if !named.contains(&name) {
                named.push(name.clone());
            }
        }
    }
    let line = |remark: Remark| {
        let place = match (&remark.file, remark.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            (None, _) => String::new(),
        };
        let names = match boxes.get(&remark) {
            Some(names) if names.len() == all && all > MANY => format!("all {all} boxes"),
            Some(names) => names.join(", "),
            None => String::new(),
        };
        format!("note: {names}: {place}{}: {}", remark.kind.name(), remark.text)
    };
    order.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::FindingKind;

    #[test]
    fn shared_findings_are_said_once() {
        let remark = |kind, line, text: &str| Remark {
            kind,
            file: Some("Dockerfile".to_owned()),
            line,
            text: text.to_owned(),
        };
        let clone = remark(FindingKind::GitClone, Some(3), "clones x");
        let unused = remark(FindingKind::UnusedContext, None, "nothing");
        let remarks = vec![
            ("a".to_owned(), vec![clone.clone(), clone.clone(), unused.clone()]),
            ("b".to_owned(), vec![clone]),
        ];
        let said = lines(remarks.clone(), |_| true);
        assert_eq!(
            said,
            ["note: a, b: Dockerfile:3: git-clone: clones x", "note: a: Dockerfile: unused-context: nothing"]
        );
        let all = "abcde".chars().map(|name| (name.to_string(), vec![unused.clone()])).collect();
        assert_eq!(lines(all, |_| true), ["note: all 5 boxes: Dockerfile: unused-context: nothing"]);
        assert_eq!(lines(remarks, |one| one.kind == FindingKind::UnusedContext), said[1..]);
    }
}
