//! Text from outside, made safe to print.

/// Makes text from outside safe for a terminal and a log line: control characters are
/// escaped, and it is cut after `limit` characters.
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_terminal_control_and_cuts() {
        assert_eq!(super::printable("a\u{1b}[2Jb\n", 80), "a\\u{1b}[2Jb\\n");
        assert_eq!(super::printable("abcdef", 3), "abc…");
    }
}
