//! From bytes to logical lines: parser directives, comments, continuation, here-documents.
//!
//! Follows BuildKit's `parser.Parse`. Where BuildKit's versions differ (white space between
//! `<<` and the word), the newer reading is taken only if the here-document is terminated.

use std::collections::{BTreeMap, HashMap};

use super::error::DockerfileError;
use super::instruction::{self, Heredoc, Instruction};
use super::shell::{Lexer, NoEnv};
use super::source::{DockerfileSource, Logical};

/// A parsed Dockerfile, before any meaning is given to it.
#[derive(Debug)]
pub(super) struct Parsed {
    /// `check`, `escape` and `syntax`, in lower case, with their values and lines.
    pub directives: BTreeMap<String, (String, u32)>,
    pub escape: char,
    pub instructions: Vec<Instruction>,
}

/// How many instructions a file may have. BuildKit has no limit; nobody has met it.
const INSTRUCTIONS: usize = 100_000;
/// The longest line, in bytes (Go, `bufio.MaxScanTokenSize`).
const LINE: usize = 64 << 10;

/// A line with its end, and where it starts.
type Line<'a> = (&'a str, usize);

pub(super) fn parse(source: &DockerfileSource) -> Result<Parsed, DockerfileError> {
    let text = source.text();
    let start = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut offset = start;
    for line in text[start..].split_inclusive('\n') {
        if line.len() > LINE {
            let reason = format!("a line has more than {LINE} bytes; BuildKit reads none that is as long");
            return Err(DockerfileError::Syntax { at: source.at(offset), reason });
        }
        lines.push((line, offset));
        offset += line.len();
    }
    let mut parsed = Parsed { directives: BTreeMap::new(), escape: '\\', instructions: Vec::new() };
    let mut next = directives(source, &lines, &mut parsed)?;
    let mut ends = Ends::default();
    while let Some(line) = lines.get(next) {
        next += 1;
        let Some(first) = content(*line, true) else { continue };
        let (piece, mut continues) = without_continuation(first.0, parsed.escape);
        if piece.is_empty() && !continues {
            continue;
        }
        let mut logical = Logical::default();
        logical.push(piece, first.1);
        while let (true, Some(line)) = (continues, lines.get(next)) {
            next += 1;
            let Some(more) = content(*line, false) else { continue };
            if more.0.trim_start().is_empty() {
                continue;
            }
            let (piece, goes_on) = without_continuation(more.0, parsed.escape);
            continues = goes_on;
            logical.push(piece, more.1);
        }
        if logical.text.trim().is_empty() {
            continue;
        }
        let mut instruction = instruction::split(source, logical)?;
        if instruction.takes_heredocs() {
            next = heredocs(source, &lines, &mut ends, next, &mut instruction)?;
        }
        if parsed.instructions.len() == INSTRUCTIONS {
            let reason = format!("it has more than {INSTRUCTIONS} instructions");
            return Err(DockerfileError::Syntax { at: source.at(instruction.start), reason });
        }
        parsed.instructions.push(instruction);
    }
    Ok(parsed)
}

/// Reads the parser directives; returns the first line that is none.
fn directives(
    source: &DockerfileSource,
    lines: &[Line<'_>],
    parsed: &mut Parsed,
) -> Result<usize, DockerfileError> {
    if let Some(offset) = elsewhere(lines) {
        let reason = "some engines take their frontend from this line, and others do not; \
            write `# syntax=…`, as the first line";
        return Err(DockerfileError::Syntax { at: source.at(offset), reason: reason.to_owned() });
    }
    for (index, (line, offset)) in lines.iter().enumerate() {
        let Some((name, value)) = directive(line.trim_end_matches(['\r', '\n'])) else { return Ok(index) };
        let at = source.at(*offset);
        if name == "escape" {
            parsed.escape = match value {
                "\\" => '\\',
                "`" => '`',
                _ => {
                    let reason = format!("invalid escape token `{value}`; expected \\ or `");
                    return Err(DockerfileError::Syntax { at, reason });
                }
            };
        }
        let line = at.line;
        if parsed.directives.insert(name.clone(), (value.to_owned(), line)).is_some() {
            let reason = format!("only one {name} parser directive can be used");
            return Err(DockerfileError::Syntax { at, reason });
        }
    }
    Ok(lines.len())
}

/// Finds a frontend that is named in another form than the one that all engines read (BuildKit,
/// `parser.DetectSyntax`): below `#!`, after `//`, in JSON.
fn elsewhere(lines: &[Line<'_>]) -> Option<usize> {
    let has_shebang = lines.first().is_some_and(|(line, _)| line.starts_with("#!"));
    let below = &lines[usize::from(has_shebang)..];
    let named = |sign: &str| {
        let mut read =
            below.iter().map_while(|(line, at)| Some((directive_after(sign, line.trim())?.0, *at)));
        read.find(|(name, _)| name == "syntax").map(|(_, at)| at)
    };
    let begun = below.iter().find(|(line, _)| !line.trim().is_empty());
    let json = begun.filter(|(line, _)| line.trim_start().starts_with('{')).map(|(_, at)| *at);
    named("//").or(json).or_else(|| named("#").filter(|_| has_shebang))
}

/// `# name = value`, if the name is one that BuildKit knows.
fn directive(line: &str) -> Option<(String, &str)> {
    directive_after("#", line)
}

fn directive_after<'a>(sign: &str, line: &'a str) -> Option<(String, &'a str)> {
    let (name, value) = line.trim_start().strip_prefix(sign)?.trim_start().split_once('=')?;
    let name = name.trim_end().to_lowercase();
    let value = value.trim();
    (matches!(name.as_str(), "syntax" | "escape" | "check") && !value.is_empty()).then_some((name, value))
}

/// A line without its end; nothing if it is a comment.
fn content((line, offset): Line<'_>, trim: bool) -> Option<(&str, usize)> {
    let line = line.trim_end_matches(['\r', '\n']);
    let trimmed = line.trim_start();
    if trimmed.starts_with('#') {
        return None;
    }
    Some(if trim { (trimmed, offset + (line.len() - trimmed.len())) } else { (line, offset) })
}

/// Takes the continuation character away, if it is there and not escaped itself.
fn without_continuation(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest, true),
        _ => (line, false),
    }
}

/// Where each line stands that could end a here-document, so that none is looked for twice.
#[derive(Default)]
struct Ends<'a> {
    whole: HashMap<&'a str, Vec<usize>>,
    without_tabs: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Ends<'a> {
    /// Finds the first line from `next` on that ends a here-document.
    fn after(&mut self, lines: &[Line<'a>], next: usize, announced: &Announced) -> Option<usize> {
        let known = if announced.tabs { &mut self.without_tabs } else { &mut self.whole };
        if known.is_empty() {
            for (index, (line, _)) in lines.iter().enumerate() {
                let line = line.trim_end_matches(['\r', '\n']);
                let line = if announced.tabs { line.trim_start_matches('\t') } else { line };
                known.entry(line).or_default().push(index);
            }
        }
        let found = known.get(announced.name.as_str())?;
        found.get(found.partition_point(|index| *index < next)).copied()
    }
}

/// Collects the here-documents that an instruction announces; returns the line after them.
fn heredocs<'a>(
    source: &DockerfileSource,
    lines: &[Line<'a>],
    ends: &mut Ends<'a>,
    mut next: usize,
    instruction: &mut Instruction,
) -> Result<usize, DockerfileError> {
    for announced in announced(&instruction.logical.text) {
        let takes_any = instruction.trigger.as_deref().unwrap_or(instruction).keyword == instruction::UNKNOWN;
        match ends.after(lines, next, &announced) {
            Some(end) => {
                let body = lines[next..end].iter().map(|(line, _)| *line).collect();
                let heredoc = Heredoc { name: announced.name, body };
                match &mut instruction.trigger {
                    Some(trigger) => trigger.heredocs.push(heredoc),
                    None => instruction.heredocs.push(heredoc),
                }
                next = end + 1;
            }
            None if announced.spaced || takes_any => {}
            None => {
                let reason = format!("here-document `{}` is not terminated", announced.name);
                return Err(DockerfileError::Syntax { at: source.at(instruction.start), reason });
            }
        }
    }
    Ok(next)
}

/// A here-document as a line announces it.
pub(super) struct Announced {
    pub name: String,
    /// `<<-`: leading tabs do not count.
    tabs: bool,
    /// White space follows the `<<`.
    spaced: bool,
}

/// The here-documents that a line announces (BuildKit, `heredocsFromLine`).
fn announced(line: &str) -> Vec<Announced> {
    if !line.contains("<<") {
        return Vec::new();
    }
    let lexer =
        Lexer { raw_quotes: true, raw_escapes: true, skip_unset: true, heredocs: true, ..Lexer::new('\\') };
    let words = lexer.expand(line, &NoEnv).map(|expansion| expansion.words).unwrap_or_default();
    words.iter().filter_map(|word| heredoc_word(word)).collect()
}

/// Reads `3<<-"EOF"` (BuildKit, `ParseHeredoc`).
pub(super) fn heredoc_word(word: &str) -> Option<Announced> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let tabs = rest.starts_with('-');
    let rest = if tabs { &rest[1..] } else { rest };
    let name = rest.trim_start();
    if name.is_empty() || name.contains('<') {
        return None;
    }
    let words = Lexer { skip_unset: true, ..Lexer::new('\\') }.expand(name, &NoEnv).ok()?.words;
    let [name_only] = words.as_slice() else { return None };
    Some(Announced { name: name_only.clone(), tabs, spaced: rest.len() != name.len() })
}
