//! Where text goes: the result to stdout, the rest to stderr.
//!
//! A reader that went away is no error: what was done stays done, and the exit code says it.
//!
//! Everything passes here, so here it is made sure that text from outside draws nothing: escape
//! sequences, marks of direction and the like are written out, a message is one line, and nothing
//! is a command of a CI's runner. Only [`paint`] gives colours, by marks that no text from outside
//! can hold once it was painted, put in a table, or shown.

use std::borrow::Cow;
use std::io::{BufRead, ErrorKind, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

use super::args::{Color, Global};
use super::ci;
use super::error::CliError;
use crate::model::{escape, is_plain, printable};

/// The process's outputs.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    pub quiet: bool,
    pub verbose: bool,
    /// Whether stderr is a terminal on which lines can be redrawn.
    pub is_live: bool,
    /// Whether a CI runs this, whose machine may be gone afterwards.
    pub is_ci: bool,
    /// Whether terminals here show more than ASCII.
    pub is_unicode: bool,
    /// Whether a runner of GitHub Actions, or of what resembles it, shows marks of errors.
    pub is_annotated: bool,
    color: Color,
}

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const NOTE: Style = AnsiColor::Yellow.on_default();
pub const DIM: Style = Style::new().dimmed();
pub const BOLD: Style = Style::new().bold();

impl Terminal {
    pub fn new(global: &Global) -> Self {
        Self { quiet: global.quiet, verbose: global.verbose, color: global.color, ..Self::bare() }
    }

    /// The same where the command line cannot be read.
    pub fn bare() -> Self {
        let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let is_annotated = std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true");
        let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty()) || is_annotated;
        Self {
            quiet: false,
            verbose: false,
            is_live: std::io::stderr().is_terminal() && !is_dumb && !is_ci,
            is_unicode: is_unicode(|name| std::env::var(name).ok()),
            is_ci,
            is_annotated,
            color: Color::Auto,
        }
    }

    /// Returns how wide stdout is, in columns; nothing where it is no terminal.
    pub fn width() -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|width| *width > 0)
    }

    /// Tells whether what is redrawn on stderr may be coloured.
    pub fn is_colored(self) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// Returns text as the terminals here can show it.
    pub fn shown(self, text: &str) -> Cow<'_, str> {
        if self.is_unicode || text.is_ascii() { text.into() } else { ascii(text).into() }
    }

    /// Returns text as it is written to a terminal or not: nothing in it but letters, the ends of
    /// its lines, and our own colours.
    fn safe(self, text: &str, is_terminal: bool) -> String {
        // What is no terminal takes bytes as they are.
        let text = if is_terminal { self.shown(text) } else { text.into() };
        // Whether a runner reads along is not always known: it may stand outside of a container.
        drawn(&ci::harmless(&text))
    }

    /// Marks an error for a CI that shows such marks; elsewhere nothing is written.
    pub fn annotate(self, title: &str, place: Option<(&str, u32)>, message: &str) {
        if self.is_annotated {
            let line = drawn(&ci::annotation(title, place, message)) + "\n";
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    /// Tells whether there is a person who can be asked. A CI may give a job a terminal; nobody sits there.
    pub fn can_ask(self) -> bool {
        !self.quiet && !self.is_ci && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Returns it saying nothing but warnings, unless told to be verbose.
    pub fn hushed(self) -> Self {
        Self { quiet: !self.verbose, ..self }
    }

    fn choice(self, is_terminal: bool) -> anstream::ColorChoice {
        match self.color {
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
            // NO_COLOR and CLICOLOR_FORCE are looked at by anstream.
            Color::Auto if is_terminal => anstream::ColorChoice::Auto,
            Color::Auto => match std::env::var_os("CLICOLOR_FORCE") {
                Some(value) if value != "0" => anstream::ColorChoice::Auto,
                _ => anstream::ColorChoice::Never,
            },
        }
    }

    /// Writes a part of the result. A file that did not take it in holds no result.
    pub fn result(self, text: &str) -> Result<(), CliError> {
        let stdout = std::io::stdout();
        let is_terminal = stdout.is_terminal();
        let mut out = anstream::AutoStream::new(stdout.lock(), self.choice(is_terminal));
        written(out.write_all(self.safe(text, is_terminal).as_bytes()).and_then(|()| out.flush()))
    }

    /// Writes a result that is all our own, as it is: a script, a schema.
    pub fn own(self, text: &str) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Writes bytes of a program in a box, as they are.
    pub fn raw(self, bytes: &[u8], is_error: bool) -> std::io::Result<()> {
        if is_error {
            let mut err = std::io::stderr().lock();
            err.write_all(bytes).and_then(|()| err.flush())
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
    }

    /// Writes a line about what goes on, unless told to be quiet.
    pub fn say(self, line: &str) {
        if !self.quiet {
            self.warn(line);
        }
    }

    /// Writes a line to stderr even when quiet. However many it would be, it is one.
    pub fn warn(self, line: &str) {
        self.write(&line.replace('\n', "\\n"));
    }

    /// Writes a message of several lines to stderr. Those after the first stand further in, so that
    /// none of them looks like another message.
    pub fn warn_lines(self, text: &str) {
        let mut lines = text.lines();
        let mut out = lines.next().unwrap_or_default().to_owned();
        for line in lines {
            out.push_str(if line.starts_with("  ") { "\n" } else { "\n  " });
            out.push_str(line);
        }
        self.write(&out);
    }

    /// Writes a table or the like to stderr, as it would stand on stdout.
    pub fn warn_text(self, text: &str) {
        self.write(text.trim_end());
    }

    fn write(self, text: &str) {
        let stderr = std::io::stderr();
        let is_terminal = stderr.is_terminal();
        let mut err = anstream::AutoStream::new(stderr.lock(), self.choice(is_terminal));
        let text = self.safe(text, is_terminal) + "\n";
        let _ = err.write_all(text.as_bytes());
    }
}

fn written(result: std::io::Result<()>) -> Result<(), CliError> {
    match result {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => Err(CliError::Output(source)),
        _ => Ok(()),
    }
}

/// The styles that there are, and the marks that stand for them until they are written:
/// noncharacters, which are for a program's own use.
const STYLES: [(char, Style); 5] =
    [('\u{fdd0}', GOOD), ('\u{fdd1}', BAD), ('\u{fdd2}', NOTE), ('\u{fdd3}', DIM), ('\u{fdd4}', BOLD)];
const PLAIN: char = '\u{fdd5}';

/// Asks a person; without a terminal there is nobody to ask.
pub fn ask(terminal: Terminal, question: &str) -> bool {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !terminal.can_ask() {
        return false;
    }
    let _ = stderr.write_all(format!("{question} [y/N] ").as_bytes()).and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Puts one line of text, from wherever, in a style.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    let text = printable(&text.to_string(), usize::MAX);
    match STYLES.iter().find(|(_, known)| *known == style) {
        Some((mark, _)) => format!("{mark}{text}{PLAIN}"),
        None => text,
    }
}

/// Writes text out: marks as colours, line ends as such, all else that is not plain as escapes.
fn drawn(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match STYLES.iter().find(|(mark, _)| *mark == c) {
            Some((_, style)) => out.push_str(&style.to_string()),
            None if c == PLAIN => out.push_str(&format!("{BOLD:#}")),
            None if c == '\n' || is_plain(c) => out.push(c),
            None => escape(&mut out, c),
        }
    }
    out
}

/// Reads the character set from the locale's variables; the first that is set decides.
fn is_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Puts ASCII in the place of what boxwright draws with, and `?` in the place of all else.
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '→' => out.push_str("->"),
            '…' => out.push_str("..."),
            '│' | '├' => out.push('|'),
            '└' => out.push('`'),
            '─' | '·' => out.push('-'),
            c if c.is_ascii() || !is_plain(c) => out.push(c),
            _ => out.push('?'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_tells_what_can_be_shown() {
        let of = |pairs: &[(&str, &str)]| {
            is_unicode(|name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(of(&[("LANG", "en_US.UTF-8")]));
        assert!(of(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8"), ("LANG", "C")]));
        assert!(!of(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]));
        assert!(!of(&[]));
        assert_eq!(ascii("├─ a → b…é"), "|- a -> b...?");
    }

    #[test]
    fn only_our_own_colours_are_drawn() {
        assert_eq!(drawn(&paint(GOOD, "ok")), "\u{1b}[32mok\u{1b}[0m");
        assert_eq!(drawn(&paint(Style::new(), "a\nb")), "a\\nb");
        assert_eq!(drawn("a\u{1b}[31mb\u{9b}2Jc\rd\u{202e}\n"), "a\\u{1b}[31mb\\u{9b}2Jc\\rd\\u{202e}\n");
        let marks = STYLES.map(|(mark, _)| mark.to_string()).concat() + "\u{fdd5}";
        assert!(
            !drawn(&paint(BOLD, marks))["\u{1b}[1m".len()..].trim_end_matches("\u{1b}[0m").contains('\u{1b}')
        );
    }
}
