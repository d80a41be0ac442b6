//! From a logical line to keyword, flags and arguments (BuildKit, `splitCommand`).

use std::ops::Range;

use super::error::DockerfileError;
use super::source::{DockerfileSource, Logical};

/// The instructions of a Dockerfile.
pub(super) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
/// The keyword of an instruction that is none of these: another version of the frontend may know
/// it. Its arguments are all of it.
pub(super) const UNKNOWN: &str = "";

/// One instruction. Ranges are bytes of `logical.text`.
#[derive(Debug, Clone)]
pub(super) struct Instruction {
    pub keyword: &'static str,
    /// The file's byte at which it starts.
    pub start: usize,
    /// The line on which it starts, from 1.
    pub line: u32,
    pub flags: Vec<Flag>,
    /// What follows the flags, trimmed.
    pub args: Range<usize>,
    /// The elements, if the arguments are a JSON array of strings.
    pub json: Option<Vec<String>>,
    pub heredocs: Vec<Heredoc>,
    /// The instruction after `ONBUILD`.
    pub trigger: Option<Box<Instruction>>,
    pub logical: Logical,
}

/// A flag such as `--from=build`.
#[derive(Debug, Clone)]
pub(super) struct Flag {
    /// As written, quotes included.
    pub raw: Range<usize>,
    /// Without quotes and escapes; `value` is empty for a flag without `=`.
    pub name: String,
    pub value: String,
    /// Where each byte of `value` stands.
    pub places: Vec<usize>,
}

impl Instruction {
    pub fn args_text(&self) -> &str {
        &self.logical.text[self.args.clone()]
    }

    /// What it is called, as it is written.
    pub fn written(&self) -> &str {
        match self.keyword {
            UNKNOWN => self.args_text().split_whitespace().next().unwrap_or_default(),
            keyword => keyword,
        }
    }

    /// The value of a flag, if it is given.
    pub fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }

    pub fn takes_heredocs(&self) -> bool {
        let inner = self.trigger.as_deref().unwrap_or(self);
        matches!(inner.keyword, "ADD" | "COPY" | "RUN" | UNKNOWN) && inner.json.is_none()
    }

    /// The arguments split at white space, with their ranges.
    pub fn words(&self) -> Vec<Range<usize>> {
        let mut words = Vec::new();
        let mut start = None;
        let space = |c: char| matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ');
        for (at, c) in self.args_text().char_indices() {
            match (space(c), start) {
                (true, Some(from)) => {
                    words.push(self.args.start + from..self.args.start + at);
                    start = None;
                }
                (false, None) => start = Some(at),
                _ => {}
            }
        }
        words.extend(start.map(|from| self.args.start + from..self.args.end));
        words
    }
}

/// Splits a logical line.
pub(super) fn split(source: &DockerfileSource, logical: Logical) -> Result<Instruction, DockerfileError> {
    let whole = trimmed(&logical.text, 0..logical.text.len());
    split_range(source, logical, whole, true)
}

fn split_range(
    source: &DockerfileSource,
    logical: Logical,
    range: Range<usize>,
    outer: bool,
) -> Result<Instruction, DockerfileError> {
    let text = &logical.text[range.clone()];
    let space = |c: char| matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ');
    let end = text.find(space).unwrap_or(text.len());
    let written = &text[..end];
    let start = logical.offset(range.start);
    let at = || source.at(start);
    let upper = written.to_uppercase();
    let Some(keyword) = KEYWORDS.into_iter().find(|keyword| *keyword == upper) else {
        let (args, line) = (trimmed(&logical.text, range), source.line(start));
        let (keyword, flags, heredocs) = (UNKNOWN, Vec::new(), Vec::new());
        return Ok(Instruction {
            keyword,
            start,
            line,
            flags,
            args,
            json: None,
            heredocs,
            trigger: None,
            logical,
        });
    };
    let (flags, rest) = flags(&logical.text, range.start + end..range.end);
    let args = trimmed(&logical.text, rest);
    let args_text = &logical.text[args.clone()];
    let mut json = None;
    if matches!(keyword, "ADD" | "CMD" | "COPY" | "ENTRYPOINT" | "RUN" | "SHELL" | "VOLUME") {
        json = json_array(args_text)
            .map_err(|reason| DockerfileError::Syntax { at: at(), reason: reason.to_owned() })?;
    }
    let mut trigger = None;
    if !outer && matches!(keyword, "ONBUILD" | "FROM" | "MAINTAINER") {
        let reason = format!("{keyword} is not allowed as an ONBUILD trigger");
        return Err(DockerfileError::Syntax { at: at(), reason });
    }
    if keyword == "ONBUILD" && args.is_empty() {
        let reason = "ONBUILD requires at least one argument".to_owned();
        return Err(DockerfileError::Syntax { at: at(), reason });
    }
    if keyword == "ONBUILD" {
        trigger = Some(Box::new(split_range(source, logical.clone(), args.clone(), false)?));
    }
    let line = source.line(start);
    Ok(Instruction { keyword, start, line, flags, args, json, heredocs: Vec::new(), trigger, logical })
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let inner = &text[range.clone()];
    let start = range.start + (inner.len() - inner.trim_start().len());
    start..start + inner.trim().len()
}

/// A JSON array of strings; nothing if it is no JSON array at all.
pub(super) fn json_array(text: &str) -> Result<Option<Vec<String>>, &'static str> {
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return Ok(None) };
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    });
    let all: Option<Vec<String>> = strings.collect();
    all.map(Some).ok_or("when using JSON array syntax, arrays must be comprised of strings only")
}

/// Reads the leading `--flags` (BuildKit, `extractBuilderFlags`); returns what follows them.
fn flags(text: &str, range: Range<usize>) -> (Vec<Flag>, Range<usize>) {
    let mut flags = Vec::new();
    let mut at = range.start;
    loop {
        let rest = &text[at..range.end];
        let from = at + (rest.len() - rest.trim_start().len());
        if !text[from..range.end].starts_with("--") {
            return (flags, from..range.end);
        }
        let (word, places, end) = flag_word(text, from..range.end);
        if word == "--" {
            return (flags, end..range.end);
        }
        let (name, value) = word[2..].split_once('=').map_or((&word[2..], None), |(n, v)| (n, Some(v)));
        let skipped = value.map_or(word.len(), |value| word.len() - value.len());
        flags.push(Flag {
            raw: from..end,
            name: name.to_owned(),
            value: value.unwrap_or_default().to_owned(),
            places: places[skipped..].to_vec(),
        });
        at = end;
    }
}

/// Reads one word, without quotes and escapes, with the place of each of its bytes.
fn flag_word(text: &str, range: Range<usize>) -> (String, Vec<usize>, usize) {
    let (mut word, mut places) = (String::new(), Vec::new());
    let mut quote = None;
    let mut chars = text[range.clone()].char_indices().peekable();
    while let Some((at, mut c)) = chars.next() {
        let mut place = range.start + at;
        match quote {
            None if c.is_whitespace() => return (word, places, place),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                continue;
            }
            Some(open) if c == open => {
                quote = None;
                continue;
            }
            _ => {}
        }
        if c == '\\' {
            let Some((at, escaped)) = chars.next() else { continue };
            (place, c) = (range.start + at, escaped);
        }
        word.push(c);
        places.extend(place..place + c.len_utf8());
    }
    (word, places, range.end)
}

/// Splits `NAME=value "a b"=c` into words that keep their quotes (BuildKit, `parseWords`).
pub(super) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quote, mut blank_ok) = (None, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if blank_ok || !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            blank_ok = false;
            continue;
        }
        match quote {
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                blank_ok = true;
            }
            Some(open) if c == open => quote = None,
            _ => {}
        }
        if c == escape && quote != Some('\'') {
            let Some(escaped) = chars.next() else { continue };
            word.push(c);
            word.push(escaped);
            continue;
        }
        word.push(c);
    }
    if blank_ok || !word.is_empty() {
        words.push(word);
    }
    words
}

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heredoc {
    pub name: String,
    /// Its lines with their line ends, without the terminator.
    pub body: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_quotes_and_escapes() {
        for (text, expect) in [
            ("a=1  b=2", vec!["a=1", "b=2"]),
            ("a='x y' b=\"c\\\" d\"", vec!["a='x y'", "b=\"c\\\" d\""]),
            ("a=x\\ y", vec!["a=x\\ y"]),
            ("a=1\\", vec!["a=1"]),
            ("", vec![]),
        ] {
            assert_eq!(quoted_words(text, '\\'), expect, "{text}");
        }
    }

    #[test]
    fn flags_end_at_the_first_other_word() {
        let text = " --from=\"a b\" --link  --x=a\\ b src --not-one";
        let (flags, rest) = flags(text, 0..text.len());
        let read: Vec<_> = flags.iter().map(|flag| (flag.name.as_str(), flag.value.as_str())).collect();
        assert_eq!(read, [("from", "a b"), ("link", ""), ("x", "a b")]);
        assert_eq!(&text[flags[0].places[0]..=flags[0].places[2]], "a b");
        assert_eq!(&text[rest], "src --not-one");
    }

    #[test]
    fn json_is_an_array_of_strings_or_no_json() {
        assert_eq!(json_array(r#"["a", "b"]"#), Ok(Some(vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!(json_array("[ -f x ]"), Ok(None));
        assert!(json_array("[1]").is_err());
    }
}
