//! One pattern of a `.dockerignore`, with the semantics of moby/patternmatcher.
//!
//! That package turns a pattern into a Go regular expression, text by text. Its oddities are
//! part of what Docker sends, so the same text is built here and then read as Go reads it
//! (`regexp/syntax`, Perl flags) to make an equivalent expression for the `regex` crate.

use std::borrow::Cow;
use std::fmt::Write as _;

use regex::{Regex, RegexBuilder};

use super::golang::{self, BadPattern};

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// Its cleaned text, without the `!`.
    pub text: Vec<u8>,
    /// Whether it began with `!`.
    pub exception: bool,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Regex(Box<Regex>),
}

impl Pattern {
    /// Compiles a cleaned pattern.
    pub fn new(text: Vec<u8>, exception: bool) -> Result<Self, BadPattern> {
        golang::glob(&text, b".")?;
        let kind = compile(&golang::runes(&text))?;
        Ok(Self { text, exception, kind })
    }

    /// Whether it is more than a name, a prefix or a suffix.
    pub fn is_expression(&self) -> bool {
        matches!(self.kind, Kind::Regex(_))
    }

    /// Whether this very path matches; what it stands in does not count.
    pub fn matches(&self, path: &[u8]) -> bool {
        match &self.kind {
            Kind::Exact => path == self.text,
            Kind::Prefix => path.starts_with(&self.text[..self.text.len() - 2]),
            Kind::Suffix => {
                let suffix = &self.text[2..];
                path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path)
            }
            Kind::Regex(regex) => {
                let text =
                    std::str::from_utf8(path).map_or_else(|_| Cow::Owned(golang::runes(path)), Cow::Borrowed);
                regex.is_match(&text)
            }
        }
    }

    /// The pattern without a trailing `/**` or `/*` (fsutil, `patternWithoutTrailingGlob`).
    pub fn without_trailing_glob(&self) -> &[u8] {
        let text = self.text.strip_suffix(b"/**").unwrap_or(&self.text);
        text.strip_suffix(b"/*").unwrap_or(text)
    }
}

/// Builds the text that patternmatcher's `compile` builds.
fn compile(pattern: &str) -> Result<Kind, BadPattern> {
    let mut regex = String::from("^");
    let mut kind = Kind::Exact;
    let mut special = false;
    let mut chars = pattern.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_some() {
                    regex.push_str("(.*/)?");
                    special = true;
                } else if matches!(kind, Kind::Exact) && !special {
                    kind = Kind::Prefix;
                } else {
                    regex.push_str(".*");
                    special = true;
                }
                if first {
                    kind = Kind::Suffix;
                    special = false;
                }
            }
            '*' => {
                regex.push_str("[^/]*");
                special = true;
            }
            '?' => {
                regex.push_str("[^/]");
                special = true;
            }
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => {
                regex.push('\\');
                regex.push(c);
            }
            '\\' => {
                regex.push('\\');
                if let Some(escaped) = chars.next() {
                    regex.push(escaped);
                    special = true;
                }
            }
            '[' | ']' => {
                regex.push(c);
                special = true;
            }
            _ => regex.push(c),
        }
        first = false;
    }
    if !special {
        return Ok(kind);
    }
    regex.push('$');
    // Of many patterns each has a memory of its own.
    let mut built = RegexBuilder::new(&translate(&regex)?);
    built
        .size_limit(1 << 20)
        .dfa_size_limit(1 << 17)
        .build()
        .map(|regex| Kind::Regex(Box::new(regex)))
        .map_err(|_| BadPattern)
}

/// Rewrites a Go expression, as built above, for the `regex` crate.
fn translate(go: &str) -> Result<String, BadPattern> {
    let mut out = String::with_capacity(go.len() + 16);
    let mut rest = go;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '[' => rest = class(rest, &mut out)?,
            '\\' => {
                let escaped = rest.chars().next().ok_or(BadPattern)?;
                rest = &rest[escaped.len_utf8()..];
                match (escape(escaped), escaped) {
                    (Some(c), _) => literal(&mut out, c),
                    (None, 'd' | 'D' | 's' | 'S' | 'w' | 'W') => {
                        let _ = write!(out, "[{}]", perl_class(escaped).ok_or(BadPattern)?);
                    }
                    (None, 'b') => out.push_str(r"(?-u:\b)"),
                    (None, 'A' | 'B' | 'z') => out.extend(['\\', escaped]),
                    _ => return Err(BadPattern),
                }
            }
            '(' => out.push_str("(?:"),
            ')' | '.' | '*' | '?' | '^' | '$' => out.push(c),
            _ => literal(&mut out, c),
        }
    }
    Ok(out)
}

fn literal(out: &mut String, c: char) {
    let _ = write!(out, r"\x{{{:x}}}", u32::from(c));
}

/// The escapes that stand for one character.
fn escape(c: char) -> Option<char> {
    match c {
        'a' => Some('\u{7}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c),
        _ => None,
    }
}

/// Go's ASCII-only `\d`, `\s` and `\w`, to be put inside brackets.
fn perl_class(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "0-9",
        'D' => "[^0-9]",
        's' => r"\t\n\x0c\r ",
        'S' => r"[^\t\n\x0c\r ]",
        'w' => "0-9A-Za-z_",
        'W' => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

/// Reads a class as Go's `parseClass` does; returns what follows its `]`.
fn class<'a>(mut rest: &'a str, out: &mut String) -> Result<&'a str, BadPattern> {
    out.push('[');
    if let Some(negated) = rest.strip_prefix('^') {
        out.push('^');
        rest = negated;
    }
    let mut first = true;
    loop {
        if let (false, Some(after)) = (first, rest.strip_prefix(']')) {
            out.push(']');
            return Ok(after);
        }
        first = false;
        if let Some((name, after)) = rest.strip_prefix("[:").and_then(|named| named.split_once(":]")) {
            if !NAMED.contains(&name.strip_prefix('^').unwrap_or(name)) {
                return Err(BadPattern);
            }
            let _ = write!(out, "[:{name}:]");
            rest = after;
            continue;
        }
        let perl = rest.strip_prefix('\\').and_then(|escaped| escaped.chars().next()).and_then(perl_class);
        if let Some(set) = perl {
            out.push_str(set);
            rest = &rest[2..];
            continue;
        }
        let (low, after) = class_char(rest)?;
        rest = after;
        let mut high = low;
        if let Some(range) =
            rest.strip_prefix('-').filter(|range| !range.is_empty() && !range.starts_with(']'))
        {
            (high, rest) = class_char(range)?;
        }
        if high < low {
            return Err(BadPattern);
        }
        literal(out, low);
        out.push('-');
        literal(out, high);
    }
}

const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

fn class_char(text: &str) -> Result<(char, &str), BadPattern> {
    let mut chars = text.chars();
    let c = match chars.next().ok_or(BadPattern)? {
        '\\' => chars.next().and_then(escape).ok_or(BadPattern)?,
        c => c,
    };
    Ok((c, chars.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, path: &[u8], expect: bool) {
        let pattern = Pattern::new(pattern.as_bytes().to_vec(), false).unwrap();
        assert_eq!(pattern.matches(path), expect, "{pattern:?} {}", path.escape_ascii());
    }

    #[test]
    fn matches_one_path_as_moby_does() {
        for (pattern, path, expect) in [
            ("**", "file", true),
            ("**", "dir/file", true),
            ("**/foo", "foo", true),
            ("**/foo", "a/b/foo", true),
            ("**/foo", "a/xfoo", false),
            ("**foo", "a/xfoo", true),
            ("**file", "dir/dir/file.txt", false),
            ("dir/**", "dir", false),
            ("dir/**", "dir/a/b", true),
            ("dir/**", "dirx/a", false),
            ("dir**", "dirx/a", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/dir2/file", true),
            ("**/*.txt", "a/b.txt", true),
            ("**/**/*.txt", "b.txt", true),
            ("a**/*.txt", "a/b.txt", true),
            ("a**b", "a/x/b", true),
            ("a**b", "a/x/cb", false),
            ("*.go", "x.go", true),
            ("*.go", "d/x.go", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-z]x", "bx", true),
            ("[^a-z]x", "bx", false),
            ("[^a]x", "/x", true),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
            ("a.b", "axb", false),
            ("a^b", "a^b", true),
            ("a^b*", "a^bc", false),
            (
                "dist/proxy.py-2.4.0rc3.dev36+g08acad9-*.whl",
                "dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3.whl",
                true,
            ),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("x\\d*", "x7y", true),
            ("foo\\bar", "foobar", false),
            ("[a&&b]x", "&x", true),
            ("[[:digit:]]*", "7", true),
            ("[*]", "/]", true),
            ("a b#*", "a b#c", true),
        ] {
            check(pattern, path.as_bytes(), expect);
        }
    }

    #[test]
    fn bytes_that_are_no_text_count_as_one_character() {
        check("a?c", b"a\xffc", true);
        check("a?c", b"a\xff\xfec", false);
        check("??", "é".as_bytes(), false);
        check("a*", b"a\xc3", true);
        check("**/a*", b"x\n/ab", false);
    }

    #[test]
    fn refuses_what_moby_refuses() {
        for bad in ["[", "a[", "\\", "[b-a]*", "x\\m*", "[]a]", "[[:nope:]]"] {
            assert!(Pattern::new(bad.as_bytes().to_vec(), false).is_err(), "{bad}");
        }
    }
}
