//! `help`: a command's help, the concepts, the man pages.

use std::path::Path;

use clap::CommandFactory;

use super::args::Cli;
use super::error::{CliError, exit};
use super::terminal::Terminal;

const CONCEPTS: &str = include_str!("concepts.txt");

pub fn run(topic: Option<&str>, directory: Option<&Path>, terminal: Terminal) -> Result<u8, CliError> {
    let mut command = Cli::command();
    command.build();
    match (topic, directory) {
        (None, _) => terminal.result(&command.render_long_help().to_string())?,
        (Some("concepts"), None) => terminal.result(CONCEPTS)?,
        (Some("man"), Some(directory)) => man(directory, terminal)?,
        (Some("man"), None) => {
            return Err(CliError::Usage("help man: name a directory for the pages".to_owned()));
        }
        (Some(topic), Some(_)) => {
            return Err(CliError::Usage(format!("help {topic}: only `man` takes a directory")));
        }
        (Some(topic), None) => match command.find_subcommand_mut(topic) {
            Some(found) => terminal.result(&found.render_long_help().to_string())?,
            None => {
                let known = command.get_subcommands().map(|one| one.get_name().to_owned());
                let known = known.chain(["concepts".to_owned(), "man".to_owned()]).collect();
                return Err(CliError::Unknown { what: "command", name: topic.to_owned(), known });
            }
        },
    }
    Ok(exit::DONE)
}

/// Writes a page for boxwright and for each command.
fn man(directory: &Path, terminal: Terminal) -> Result<(), CliError> {
    let failed = |source| CliError::Io { action: "write", path: directory.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let mut command = Cli::command();
    command.build();
    pages(&command, directory).map_err(failed)?;
    terminal.say(&format!("wrote the man pages to {}", directory.display()));
    Ok(())
}

fn pages(command: &clap::Command, directory: &Path) -> std::io::Result<()> {
    command.get_subcommands().try_for_each(|one| pages(one, directory))?;
    // What stands in the place of a date is the only thing that the foot of a page shows.
    let version = concat!("boxwright ", env!("BOXWRIGHT_VERSION"));
    clap_mangen::Man::new(command.clone()).date(version).generate_to(directory).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_shows_examples() {
        let command = Cli::command();
        let mut waiting: Vec<&clap::Command> = command.get_subcommands().collect();
        let mut seen = 0;
        while let Some(one) = waiting.pop() {
            seen += 1;
            let children: Vec<&clap::Command> = one.get_subcommands().collect();
            let help = one.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(!children.is_empty() || help.contains("Examples:\n  boxwright "), "{}", one.get_name());
            waiting.extend(children);
        }
        assert!(seen > 15, "{seen}");
    }
}
