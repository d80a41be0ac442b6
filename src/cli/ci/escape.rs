//! Text from outside, made harmless for what reads a CI's log and files: workflow commands,
//! `NAME=value` files, Markdown.
//!
//! Names, file names and logs may hold anything. None of it may become a command of the runner,
//! an output of its own, or markup.

use std::fmt::Write;

use crate::model::printable;

/// Writes a workflow command that marks an error (docs.github.com, "Workflow commands"). `file`
/// is relative to the repository's root.
pub fn annotation(title: &str, place: Option<(&str, u32)>, message: &str) -> String {
    let mut properties = String::new();
    if let Some((file, line)) = place {
        let _ = write!(properties, "file={},line={line},", property(file));
    }
    format!("::error {properties}title={}::{}", property(title), data(message))
}

/// Escapes a command's message, so that it stays one line.
fn data(text: &str) -> String {
    commands(text, "\\[").replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Breaks the commands that are looked for anywhere in a line, by another bracket: the older form
/// of GitHub's (`##[`), Azure's (`##vso[`) and TeamCity's (`##teamcity[`).
pub fn commands(text: &str, bracket: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("##") {
        let word = rest[at + 2..].bytes().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let end = at + 2 + word;
        // `###` begins anew at its second sign.
        let end = if rest[at + 2..].starts_with('#') { at + 1 } else { end };
        out.push_str(&rest[..end]);
        rest = &rest[end..];
        if let Some(after) = rest.strip_prefix('[') {
            out.push_str(bracket);
            rest = after;
        }
    }
    out + rest
}

/// Breaks whatever a runner would take for a command in lines of a log: `::` at a line's
/// beginning, which a lone carriage return makes as well, and what [`commands`] breaks anywhere.
pub fn harmless(text: &str) -> String {
    let text = commands(text, "\\[");
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive(['\n', '\r']) {
        let start = line.len() - line.trim_start().len();
        if line[start..].starts_with("::") {
            out.push_str(&line[..start]);
            out.push('\\');
            out.push_str(&line[start..]);
        } else {
            out.push_str(line);
        }
    }
    out
}

/// Writes an output: `name=value`, or with a delimiter of its own if the value has lines.
/// `delimiter` must not be foreseeable by whoever made the value.
pub fn output(name: &str, value: &str, delimiter: &str) -> String {
    if !value.contains(['\n', '\r']) {
        return format!("{name}={value}\n");
    }
    // A value that holds the delimiter was made for it: what is left of it says so.
    let value = value.replace(delimiter, "…");
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

/// Escapes text for a cell of a Markdown table: no line ends, no markup, no HTML, no mentions.
pub fn markdown(text: &str) -> String {
    let mut out = String::new();
    for c in printable(text, 400).chars() {
        match c {
            ' ' | '-' | ',' | '/' | '.' | ';' => out.push(c),
            c if c.is_ascii_punctuation() => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    // Without a scheme this alone makes a link.
    out.replace("www.", "www&#46;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_annotation_is_one_command_whatever_it_holds() {
        let hostile = "x,line=9::warning::y\n::add-mask::z\r%0A";
        let text = annotation("box a", Some((hostile, 3)), hostile);
        assert_eq!(
            text,
            "::error file=x%2Cline=9%3A%3Awarning%3A%3Ay%0A%3A%3Aadd-mask%3A%3Az%0D%250A,line=3,title=box a::\
             x,line=9::warning::y%0A::add-mask::z%0D%250A"
        );
        assert_eq!(annotation("t", None, "m"), "::error title=t::m");
    }

    #[test]
    fn no_line_of_a_log_is_a_command() {
        let cases = [
            ("::set-output name=x::y", "\\::set-output name=x::y"),
            ("a\n  \t::error::b\r::stop-commands::x", "a\n  \t\\::error::b\r\\::stop-commands::x"),
            ("ok ::error:: ##[add-path]/tmp", "ok ::error:: ##\\[add-path]/tmp"),
            ("a::b\nplain", "a::b\nplain"),
            (
                "x ##vso[task.setvariable]y ###[a] ##teamcity[b ## [c ##",
                "x ##vso\\[task.setvariable]y ###\\[a] ##teamcity\\[b ## [c ##",
            ),
        ];
        for (text, expect) in cases {
            assert_eq!(harmless(text), expect);
        }
    }

    #[test]
    fn a_value_with_lines_ends_at_its_own_delimiter_alone() {
        assert_eq!(output("a", "b=c", "END"), "a=b=c\n");
        assert_eq!(output("a", "b\rc=d", "END"), "a<<END\nb\rc=d\nEND\n");
        assert_eq!(output("a", "b\nEND\ncan_push=true", "END"), "a<<END\nb\n…\ncan_push=true\nEND\n");
    }

    #[test]
    fn a_cell_holds_no_markup() {
        let text = markdown("a|b\n<img src=x> [x](http://y) `c` @me **d** _e_ www.z.org #1");
        for bad in ["|", "<", ">", "[", "]", "(", "`", "@", "*", "_", " #1", "://", "www.", "\n"] {
            assert!(!text.contains(bad), "{bad}: {text}");
        }
        assert_eq!(markdown("ci/test-one.txt, 3"), "ci/test-one.txt, 3");
    }

    /// What GitHub's runner does with a line: commands are looked for after leading white space.
    fn commands(text: &str) -> usize {
        let is_command = |line: &&str| {
            let line = line.to_lowercase();
            line.trim_start().starts_with("::")
                || ["##[", "##vso[", "##teamcity["].iter().any(|mark| line.contains(mark))
        };
        text.split(['\n', '\r']).filter(is_command).count()
    }

    proptest! {
        #[test]
        fn whatever_is_logged_no_command_is_seen(parts in prop::collection::vec(prop::sample::select(
            vec!["::", "##[", "##vso[", "TEAMCITY", "\n", "\r", " ", "\t", "x", "#", "[", "\\", ":", "\u{a0}", "é"]), 0..12))
        {
            let text = parts.concat();
            prop_assert_eq!(commands(&harmless(&text)), 0, "{:?}", harmless(&text));
            let one = annotation(&text, Some((&text, 1)), &text);
            prop_assert_eq!(one.lines().count(), 1);
            prop_assert!(!one.contains('\r'));
        }

        /// Reads an output file as the runner does; exactly one output is in it.
        #[test]
        fn whatever_the_value_one_output_is_read(parts in prop::collection::vec(prop::sample::select(
            vec!["END", "\n", "\r", "=", "<<", "a", "b=c", "<<END"]), 0..12))
        {
            let text = output("name", &parts.concat(), "END");
            let mut lines = text.split('\n');
            let first = lines.next().unwrap();
            if first == "name<<END" {
                let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "END").collect();
                prop_assert!(!body.is_empty());
            } else {
                prop_assert!(first.starts_with("name="));
            }
            prop_assert_eq!(lines.collect::<Vec<_>>(), [""]);
        }
    }
}
