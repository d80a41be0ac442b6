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

/// Words an error with its causes, each said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        // A transparent error repeats its cause's words.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    text
}

/// Shows a line of a file with a mark below the column that is meant; of a long line the part
/// around it. `line` and `column` count from 1, columns in characters.
pub fn excerpt(line: usize, column: usize, text: &str) -> String {
    let skipped = if column > 160 { column - 80 } else { 0 };
    let shown: String = text.chars().skip(skipped).take(201).collect();
    // A tab has no width of its own, and the mark must stand below its place.
    let shown = printable(&shown.replace('\t', " "), 200);
    format!("{line:>5} | {shown}\n      | {:>width$}", "^", width = column - skipped)
}

/// Writes a number of bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn marks_a_place_in_a_line() {
        assert_eq!(super::excerpt(7, 3, "\tab"), "    7 |  ab\n      |   ^");
        let long = "x".repeat(500);
        let shown = super::excerpt(1, 300, &long);
        let (line, mark) = shown.split_once('\n').unwrap();
        assert_eq!((line.chars().count(), mark.find('^')), (8 + 201, Some(8 + 79)));
    }

    #[test]
    fn sizes_for_people() {
        assert_eq!(super::size(999), "999 B");
        assert_eq!(super::size(1_540_000), "1.5 MB");
    }

    #[test]
    fn escapes_terminal_control_and_cuts() {
        assert_eq!(super::printable("a\u{1b}[2Jb\n", 80), "a\\u{1b}[2Jb\\n");
        assert_eq!(super::printable("abcdef", 3), "abc…");
    }
}
