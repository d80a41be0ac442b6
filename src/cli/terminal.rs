//! Where text goes: the result to stdout, the rest to stderr.
//!
//! A reader that went away is no error: what was done stays done, and the exit code says it.

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

use super::args::{Color, Global};
use super::ci;
use super::error::CliError;

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
    /// Whether a runner of GitHub Actions, or of what resembles it, reads along for commands.
    pub is_read_for_commands: bool,
    color: Color,
}

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const NOTE: Style = AnsiColor::Yellow.on_default();
pub const DIM: Style = Style::new().dimmed();
pub const BOLD: Style = Style::new().bold();

impl Terminal {
    pub fn new(global: &Global) -> Self {
        let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let is_read_for_commands = std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true");
        let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty()) || is_read_for_commands;
        Self {
            quiet: global.quiet,
            verbose: global.verbose,
            is_live: std::io::stderr().is_terminal() && !is_dumb && !is_ci,
            is_unicode: is_unicode(|name| std::env::var(name).ok()),
            is_ci,
            is_read_for_commands,
            color: global.color,
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

    /// Makes sure that nothing in a text is taken for a workflow command.
    fn safe(self, text: &str) -> Cow<'_, str> {
        if self.is_read_for_commands { ci::harmless(text).into() } else { text.into() }
    }

    /// Marks an error for a CI that shows such marks; elsewhere nothing is written.
    pub fn annotate(self, title: &str, place: Option<(&str, u32)>, message: &str) {
        if self.is_read_for_commands {
            let line = ci::annotation(title, place, message) + "\n";
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
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
        let choice = self.choice(stdout.is_terminal());
        // What is no terminal takes bytes as they are.
        let text = if stdout.is_terminal() { self.shown(text) } else { text.into() };
        let mut out = anstream::AutoStream::new(stdout.lock(), choice);
        match out.write_all(self.safe(&text).as_bytes()).and_then(|()| out.flush()) {
            Err(source) if source.kind() != ErrorKind::BrokenPipe => Err(CliError::Output(source)),
            _ => Ok(()),
        }
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

    /// Writes a line to stderr even when quiet.
    pub fn warn(self, line: &str) {
        let stderr = std::io::stderr();
        let choice = self.choice(stderr.is_terminal());
        let line = if stderr.is_terminal() { self.shown(line) } else { line.into() };
        let mut err = anstream::AutoStream::new(stderr.lock(), choice);
        let _ = err.write_all(self.safe(&line).as_bytes()).and_then(|()| err.write_all(b"\n"));
    }
}

/// Puts text in a style.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
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
            c if c.is_ascii() => out.push(c),
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
}
