//! The modifiers of `${NAME…}`, as in BuildKit's `shell/lex.go`.

use std::fmt::Write as _;

use regex::Regex;

/// Applies `-`, `+`, `?`, `#` or `%`, with or without a colon before it.
pub(super) fn apply(
    name: &str,
    value: Value,
    operator: char,
    null_is_unset: bool,
    word: String,
) -> Result<String, String> {
    let value = match value {
        Value::Unknown => return Ok(String::new()),
        Value::Known(value) => Some(value),
        Value::Unset => None,
    };
    let usable = value.clone().filter(|value| !(null_is_unset && value.is_empty()));
    match operator {
        '-' => Ok(usable.unwrap_or(word)),
        '+' => Ok(usable.map_or_else(String::new, |_| word)),
        '?' => usable.ok_or_else(|| {
            let default = if value.is_none() { "unset" } else { "empty" };
            let reason = if word.is_empty() { format!("is not allowed to be {default}") } else { word };
            format!("{name}: {reason}")
        }),
        _ => {
            let greedy = word.starts_with(operator);
            let pattern = if greedy { &word[1..] } else { &word };
            let value = value.unwrap_or_default();
            if operator == '#' {
                without_prefix(pattern, &value, greedy)
            } else {
                without_suffix(pattern, &value, greedy)
            }
        }
    }
}

/// Replaces the first match of a pattern, or all, by at most `limit` bytes together.
pub(super) fn replace(
    value: &str,
    pattern: &str,
    replacement: &str,
    all: bool,
    limit: usize,
) -> Result<String, String> {
    let regex = shell_pattern(pattern, true, false)?;
    if !all {
        return Ok(match regex.find(value) {
            Some(found) => [&value[..found.start()], replacement, &value[found.end()..]].concat(),
            None => value.to_owned(),
        });
    }
    let (mut out, mut done) = (String::new(), 0);
    for found in regex.captures_iter(value) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&value[done..whole.start()]);
        found.expand(replacement, &mut out);
        done = whole.end();
        if out.len() > limit {
            return Err(format!("its variables expand to more than {limit} bytes"));
        }
    }
    out.push_str(&value[done..]);
    Ok(out)
}

fn without_prefix(pattern: &str, value: &str, greedy: bool) -> Result<String, String> {
    let regex = shell_pattern(pattern, greedy, true)?;
    Ok(regex.find(value).map_or(value, |found| &value[found.end()..]).to_owned())
}

/// Trims the shortest or longest suffix by trimming a prefix of the reverse.
fn without_suffix(pattern: &str, value: &str, greedy: bool) -> Result<String, String> {
    let mut units: Vec<String> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let mut unit = String::from(c);
        if c == '\\' {
            unit.extend(chars.next());
        }
        units.push(unit);
    }
    let pattern: String = units.into_iter().rev().collect();
    let reversed: String = value.chars().rev().collect();
    Ok(without_prefix(&pattern, &reversed, greedy)?.chars().rev().collect())
}

/// The longest pattern, in bytes: matching takes as long as it and the value together.
const PATTERN: usize = 1_000;

/// BuildKit's `convertShellPatternToRegex`.
fn shell_pattern(pattern: &str, greedy: bool, anchored: bool) -> Result<Regex, String> {
    if pattern.len() > PATTERN {
        return Err(format!("a pattern in a substitution has more than {PATTERN} bytes"));
    }
    let mut out = String::from(if anchored { "^" } else { "" });
    let literal = |out: &mut String, c: char| {
        let _ = write!(out, r"\x{{{:x}}}", u32::from(c));
    };
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => out.push_str(if greedy { ".*" } else { ".*?" }),
            '?' => out.push('.'),
            '\\' if matches!(chars.peek(), Some('}' | '/')) => {}
            '\\' => match chars.next() {
                Some(escaped @ ('*' | '?' | '\\')) => literal(&mut out, escaped),
                _ => return Err(format!("invalid pattern ({pattern}) in substitution")),
            },
            _ => literal(&mut out, c),
        }
    }
    Regex::new(&out).map_err(|_| format!("invalid pattern ({pattern}) in substitution"))
}

/// What is known about a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Known(String),
    Unset,
    Unknown,
}
