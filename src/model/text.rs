//! Text from outside, made safe to print.
//!
//! What is told apart here is what a reader of a terminal, a log or a page can be shown as it is,
//! and what moves a cursor, hides, reorders or ends a line. The latter is shown as an escape.

use unicode_width::UnicodeWidthStr;

/// Whether a character shows itself, in its place in its line, and does nothing else.
///
/// Those that do not: control characters (C0, C1, DEL), which begin escape sequences and end lines;
/// what Unicode lets a display ignore (`Default_Ignorable_Code_Point`: zero-width characters,
/// direction marks, fillers, variation selectors, tags); format characters beside these; line and
/// paragraph separators; noncharacters, which this program draws styles with.
pub fn is_plain(c: char) -> bool {
    let hidden = matches!(u32::from(c),
        0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
        | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB
        | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF
        | 0x600..=0x605 | 0x6DD | 0x70F | 0x890..=0x891 | 0x8E2 | 0x110BD | 0x110CD | 0x13430..=0x1343F);
    let is_none = matches!(u32::from(c), 0xFDD0..=0xFDEF) || u32::from(c) & 0xFFFE == 0xFFFE;
    !(c.is_control() || hidden || is_none)
}

/// Makes text from outside safe for one line of a terminal, a log or a table: what is not plain is
/// escaped, line ends too, and it is cut after `limit` characters.
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        if is_plain(c) { out.push(c) } else { escape(&mut out, c) }
    }
    out
}

/// Adds a character as it is written in source text: `\n`, `\u{202e}`.
pub fn escape(out: &mut String, c: char) {
    out.extend(c.escape_default());
}

/// Makes a line of a program's output safe for one line of ours: escape sequences are left out,
/// colours with them, and what a progress bar has drawn over.
pub fn output_line(line: &str) -> String {
    let line = line.trim_end_matches(['\n', '\r', ' ', '\t']);
    let shown = line.rsplit('\r').next().unwrap_or_default();
    printable(&without_sequences(shown), usize::MAX)
}

/// Leaves out escape sequences (ECMA-48: CSI, the strings OSC, DCS, SOS, PM and APC, and short
/// ones), those that are not ended up to the end.
fn without_sequences(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let kind = match c {
            '\u{1b}' => chars.next(),
            // The 8-bit forms.
            '\u{80}'..='\u{9f}' => char::from_u32(u32::from(c) - 0x40),
            // A tab has no width of its own.
            '\t' => {
                out.push(' ');
                continue;
            }
            c => {
                out.push(c);
                continue;
            }
        };
        match kind {
            Some('[') => drop(chars.find(|c| matches!(c, '@'..='~'))),
            Some(']' | 'P' | 'X' | '^' | '_') => {
                let mut before = '\0';
                chars.find(|c| {
                    let ends = matches!(c, '\u{7}' | '\u{9c}') || (before, *c) == ('\u{1b}', '\\');
                    before = *c;
                    ends
                });
            }
            Some(' '..='/') => drop(chars.find(|c| !matches!(c, ' '..='/'))),
            _ => {}
        }
    }
    out
}

/// How many columns of a terminal a text takes.
pub fn width(text: &str) -> usize {
    text.width()
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
    // A tab has no width of its own, and the mark must stand below its place.
    let line_of =
        |count| -> String { text.chars().skip(skipped).take(count).collect::<String>().replace('\t', " ") };
    let shown = printable(&line_of(201), 200);
    let before = width(&printable(&line_of(column.saturating_sub(skipped + 1)), usize::MAX));
    format!("{line:>5} | {shown}\n      | {:before$}^", "")
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
        for hidden in "\r\t\0\u{7f}\u{9b}\u{9d}\u{ad}\u{200b}\u{200d}\u{200e}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\
            \u{feff}\u{fe0f}\u{fdd0}\u{ffff}\u{e0041}\u{e0100}\u{115f}\u{3164}\u{180e}\u{61c}\u{10ffff}"
            .chars()
        {
            let shown = super::printable(&hidden.to_string(), 9);
            assert!(shown.is_ascii() && shown.starts_with('\\'), "{hidden:?} is {shown}");
        }
        let plain = "aé漢👍├─→…\u{a0}е\u{301}";
        assert_eq!(super::printable(plain, 90), plain);
    }

    #[test]
    fn of_a_program_s_output_the_words_are_left() {
        for (line, expect) in [
            ("\u{1b}[1;32mgreen\u{1b}[0m \u{1b}[38:5:1mred\u{1b}[m\n", "green red"),
            ("a\u{1b}[2J\u{1b}[1;1Hb\u{1b}[?25lc", "abc"),
            ("\u{1b}]8;;https://evil/\u{1b}\\link\u{1b}]8;;\u{7} \u{1b}]0;title\u{9c}t", "link t"),
            ("\u{9b}31mx\u{9d}0;t\u{7}y", "xy"),
            ("\u{1b}Pq#0\u{1b}\\x\u{1b}(By\u{1b}cz\u{1b}", "xyz"),
            ("\u{1b}]0;never ended", ""),
            ("10%\r50%\r100%\r\n", "100%"),
            ("a\tb\u{202e}c\u{7}\n", "a b\\u{202e}c\\u{7}"),
            ("", ""),
        ] {
            assert_eq!(super::output_line(line), expect, "{line:?}");
        }
    }

    #[test]
    fn a_mark_stands_below_what_is_shown() {
        assert_eq!(
            super::excerpt(1, 3, "漢\u{1b}x"),
            format!("    1 | 漢\\u{{1b}}x\n      | {}^", " ".repeat(8))
        );
    }
}
