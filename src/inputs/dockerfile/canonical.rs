//! The text of an instruction as it enters the manifest: what cannot change its meaning is
//! evened out, everything else is kept as written.

use std::collections::BTreeMap;

use super::instruction::{Instruction, quoted_words};

/// Writes an instruction.
///
/// The keyword is in upper case and one space stands between words. Words are split as the
/// instruction splits them; shell text keeps its inner white space. JSON arrays are written
/// without white space. Here-documents follow verbatim. A stage index after `--from=` is
/// written as `#` and the stage's position among the reachable ones.
pub(super) fn text(instruction: &Instruction, escape: char, positions: &BTreeMap<usize, usize>) -> String {
    let mut out = String::from(instruction.keyword);
    for flag in &instruction.flags {
        out.push(' ');
        let index =
            flag.value.parse::<usize>().ok().filter(|_| flag.name == "from" && instruction.keyword == "COPY");
        match index.and_then(|index| positions.get(&index)) {
            Some(position) => out.push_str(&format!("--from=#{position}")),
            None => out.push_str(&instruction.logical.text[flag.raw.clone()]),
        }
    }
    let args = match (&instruction.trigger, &instruction.json) {
        (Some(trigger), _) => text(trigger, escape, positions),
        (None, Some(json)) => {
            let strings: Vec<String> =
                json.iter().map(|text| serde_json::Value::from(text.as_str()).to_string()).collect();
            format!("[{}]", strings.join(","))
        }
        (None, None) => arguments(instruction, escape),
    };
    if !args.is_empty() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&args);
    }
    for heredoc in &instruction.heredocs {
        out.push('\n');
        out.push_str(&heredoc.body);
        out.push_str(&heredoc.name);
    }
    out
}

fn arguments(instruction: &Instruction, escape: char) -> String {
    let text = instruction.args_text();
    match instruction.keyword {
        "ADD" | "COPY" | "EXPOSE" | "VOLUME" if instruction.heredocs.is_empty() => {
            let words: Vec<&str> =
                instruction.words().into_iter().map(|word| &instruction.logical.text[word]).collect();
            words.join(" ")
        }
        "FROM" => {
            let mut words: Vec<String> = Vec::new();
            for (index, word) in instruction.words().into_iter().enumerate() {
                let word = &instruction.logical.text[word];
                words.push(match index {
                    1 => word.to_uppercase(),
                    2 => word.to_lowercase(),
                    _ => word.to_owned(),
                });
            }
            words.join(" ")
        }
        "ARG" | "ENV" | "LABEL" => {
            let words = quoted_words(text, escape);
            let pairs = words.iter().all(|word| word.contains('=')) || instruction.keyword == "ARG";
            if pairs { words.join(" ") } else { text.to_owned() }
        }
        _ => text.to_owned(),
    }
}
