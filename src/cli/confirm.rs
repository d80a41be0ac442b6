//! The one rule of commands that change names which others share: `promote`, `rollback`, `rebuild`
//! and `clean` print their plan, and apply it only where somebody says so.
//!
//! | | |
//! |---|---|
//! | `--dry-run` | prints the plan and changes nothing, exit 0 |
//! | `--yes` | applies it |
//! | neither, on a terminal | prints the plan and asks |
//! | neither, elsewhere | prints the plan and changes nothing, exit 10 if there is something to do; `clean` 0 |
//!
//! A command asks [`Confirm::is_told`] first: it is told to apply what it will find. Else it makes
//! its plan with nothing applied, and what to do with that is decided by [`Confirm::decide`].

use std::ffi::OsString;

use super::args::Confirming;
use super::error::{CliError, exit};
use super::interrupt;
use super::session::Session;
use super::terminal::{Terminal, ask};

/// What was said about applying a plan before there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    DryRun,
    Yes,
    /// Nothing, and there is a person to ask.
    Ask,
    /// Nothing, and nobody is there.
    Nothing,
}

/// The rule, for one call.
#[derive(Debug, Clone)]
pub struct Confirm {
    title: String,
    said: Said,
    /// How a call ends that would have had something to do, and was not told to do it.
    left: u8,
    /// The command that applies the plan.
    again: String,
    terminal: Terminal,
}

/// What becomes of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is applied.
    Apply,
    /// It is left as it is.
    Leave {
        /// How the call ends.
        code: u8,
        /// Whether somebody has seen the plan, and need not see it again.
        is_shown: bool,
    },
}

impl Confirm {
    /// `title` names the call in a CI's summary.
    pub fn new(title: String, options: Confirming, terminal: Terminal) -> Self {
        let said = match options {
            Confirming { dry_run: true, .. } => Said::DryRun,
            Confirming { yes: true, .. } => Said::Yes,
            _ if terminal.can_ask() => Said::Ask,
            _ => Said::Nothing,
        };
        let again = again(std::env::args_os().skip(1));
        Self { title, said, left: exit::MISSING, again, terminal }
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    /// The same for a command that reports even where it was not told to do anything.
    pub fn or_report(self) -> Self {
        Self { left: exit::DONE, ..self }
    }

    /// The same where what applies the plan is another command.
    pub fn by(self, again: String) -> Self {
        Self { said: Said::DryRun, again, ..self }
    }

    /// Tells whether the plan is applied whatever it is.
    pub fn is_told(&self) -> bool {
        self.said == Said::Yes
    }

    /// Tells whether somebody is asked about the plan.
    pub fn is_asking(&self) -> bool {
        self.said == Said::Ask
    }

    /// Fails where something would be changed that this run may not change, before anything is done.
    pub fn may_write(&self, session: &Session, what: &'static str) -> Result<(), CliError> {
        match self.said {
            Said::Yes | Said::Ask => session.may_write(what),
            Said::DryRun | Said::Nothing => Ok(()),
        }
    }

    /// Decides about a plan, which is shown to whoever is asked; nothing if there is nothing to do.
    pub async fn decide(&self, plan: Option<String>) -> Result<Decision, CliError> {
        let leave = |code, is_shown| Ok(Decision::Leave { code, is_shown });
        let Some(plan) = plan else { return leave(exit::DONE, false) };
        match self.said {
            Said::Yes => Ok(Decision::Apply),
            Said::DryRun => leave(exit::DONE, false),
            Said::Nothing => leave(self.left, false),
            Said::Ask => {
                let terminal = self.terminal;
                // Where stdout is no terminal, whoever is asked would see nothing of it.
                terminal.warn_text(&plan);
                let cancel = interrupt::token();
                let answer = tokio::task::spawn_blocking(move || ask(terminal, "apply this?"));
                let is_yes = tokio::select! {
                    biased;
                    () = cancel.cancelled() => return Err(CliError::Interrupted),
                    answer = answer => answer.map_err(|_| CliError::CutOff)?,
                };
                if is_yes { Ok(Decision::Apply) } else { leave(self.left, true) }
            }
        }
    }

    /// Says that the plan was not applied, and what applies it.
    pub fn not_applied(&self) -> String {
        match self.said {
            Said::Ask => format!("nothing was changed; to apply: {}", self.again),
            _ => format!("nothing was changed: dry run; to apply: {}", self.again),
        }
    }
}

/// Returns the call that applies what a call with these arguments shows.
fn again(arguments: impl Iterator<Item = OsString>) -> String {
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let mut words: Vec<String> = arguments.filter(|word| word != "--dry-run").map(quoted).collect();
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.insert(end, "--yes".to_owned());
    format!("boxwright {}", words.join(" "))
}

/// Quotes a word where a shell would take it for something else.
fn quoted(word: String) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,%[]".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn decided(options: Confirming, plan: Option<&str>) -> (Decision, Decision) {
        // Tests have no terminal, and if they have one they are quiet.
        let mut terminal = Terminal::bare();
        terminal.quiet = true;
        let confirm = Confirm::new("boxwright clean".to_owned(), options, terminal);
        let plan = plan.map(str::to_owned);
        let reporting = confirm.clone().or_report().decide(plan.clone()).await.unwrap();
        (confirm.decide(plan).await.unwrap(), reporting)
    }

    #[tokio::test]
    async fn a_plan_is_applied_only_if_somebody_says_so() {
        let dry_run = Confirming { dry_run: true, yes: false };
        let yes = Confirming { dry_run: false, yes: true };
        let leave = |code| Decision::Leave { code, is_shown: false };
        assert_eq!(decided(dry_run, Some("plan")).await, (leave(0), leave(0)));
        assert_eq!(decided(yes, Some("plan")).await, (Decision::Apply, Decision::Apply));
        assert_eq!(decided(Confirming::default(), Some("plan")).await, (leave(10), leave(0)));
        for options in [dry_run, yes, Confirming::default()] {
            assert_eq!(decided(options, None).await, (leave(0), leave(0)), "{options:?}");
        }
    }

    #[test]
    fn the_command_that_applies_a_plan_is_the_same_with_a_yes() {
        let check = |words: &[&str], expect| {
            assert_eq!(again(words.iter().map(OsString::from)), expect, "{words:?}");
        };
        check(&["promote", "main"], "boxwright promote main --yes");
        check(
            &["promote", "--dry-run", "r1", "--from", "main@3"],
            "boxwright promote r1 --from main@3 --yes",
        );
        check(&["-f", "a b's", "clean"], r"boxwright -f 'a b'\''s' clean --yes");
        check(&["rebuild", "--dependants", "--", "base"], "boxwright rebuild --dependants --yes -- base");
    }
}
