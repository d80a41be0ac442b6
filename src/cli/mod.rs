//! The command line: one file a command, settings merged once, results printed, errors
//! turned into exit codes in one place.

mod advice;
mod args;
mod at;
mod build;
mod buildlog;
mod ci;
mod clean;
mod computed;
mod confirm;
mod doctor;
mod error;
mod explain;
mod export;
mod figures;
mod findings;
mod help;
mod hosts;
mod import;
mod init;
mod interrupt;
mod json;
mod keys;
mod loaded;
mod lock;
mod log;
mod plan;
mod progress;
mod promote;
mod rebuild;
mod registry;
mod report;
mod rollback;
mod run;
mod session;
mod sources;
mod steps;
mod table;
mod tally;
mod terminal;
mod undeclared;
mod whole;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches};

use self::args::{Cli, Command};
use self::error::{CliError, exit};
use self::terminal::{BAD, NOTE, Terminal, paint};
use crate::config;
use crate::model::{Explanation, printable};

pub use ci::{Ci, Trust, Variables, detect};

/// Runs a command line and returns the process's exit code.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let parsed = args::without_empty(Cli::command()).try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results, not errors; clap knows where each goes.
            if !error.use_stderr() {
                let _ = error.print();
                return exit::DONE;
            }
            let told = one_line(error).render().to_string();
            told.trim_end().lines().for_each(|line| Terminal::bare().warn(line));
            return exit::USAGE;
        }
    };
    let terminal = Terminal::new(&cli.global);
    let global = &cli.global;
    let result = match &cli.command {
        Command::Init(options) => init::run(options, global, terminal).await,
        Command::Lock(options) => lock::run(options, global, terminal).await,
        Command::Keys(options) => keys::run(options, global, terminal).await,
        Command::Plan(options) => plan::run(&options.of, options.check, global, terminal).await,
        Command::Build(options) => build::run(options, global, terminal).await,
        Command::Guard(options) => plan::run(options, true, global, terminal).await,
        Command::Rebuild(options) => rebuild::run(options, global, terminal).await,
        Command::Explain(options) => explain::run(options, global, terminal).await,
        Command::Export(options) => export::run(options, global, terminal).await,
        Command::Import(options) => import::run(options, global, terminal).await,
        Command::Run(options) => run::run(options, global, terminal).await,
        Command::Promote(options) => promote::run(options, global, terminal).await,
        Command::Rollback(options) => rollback::run(options, global, terminal).await,
        Command::Log(options) => log::run(options, global, terminal).await,
        Command::Clean(options) => clean::run(options, global, terminal).await,
        Command::Doctor => doctor::run(global, terminal).await,
        Command::Report(options) => report::run(options, global, terminal).await,
        Command::Registry(options) => registry::run(options, global, terminal).await,
        Command::Schema => terminal.own(config::SCHEMA).map(|()| exit::DONE),
        Command::Help { topic, directory } => help::run(topic.as_deref(), directory.as_deref(), terminal),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "boxwright", &mut script);
            terminal.own(&String::from_utf8_lossy(&script)).map(|()| exit::DONE)
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            report(&error, global, terminal);
            error.exit_code()
        }
    }
}

/// Escapes what an error of the command line quotes. What a CI hands on as an argument or in a
/// variable, a branch's name perhaps, need not be one line.
fn one_line(mut error: clap::Error) -> clap::Error {
    let shown = |text: &String| printable(text, usize::MAX);
    let quoted: Vec<(ContextKind, ContextValue)> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, ContextValue::String(shown(text)))),
            ContextValue::Strings(texts) => {
                Some((kind, ContextValue::Strings(texts.iter().map(shown).collect())))
            }
            _ => None,
        })
        .collect();
    for (kind, value) in quoted {
        error.insert(kind, value);
    }
    error
}

fn report(error: &CliError, global: &args::Global, terminal: Terminal) {
    let text = error.text();
    terminal.warn_lines(&format!("{} {text}", paint(BAD, "error:")));
    let Explanation { place, hint, request, .. } = error.explain();
    let place = place.map(|(file, line)| (session::from_workspace(global, file), line));
    terminal.annotate("boxwright", place.as_ref().map(|(file, line)| (file.as_str(), *line)), &text);
    if let Some(request) = request.filter(|_| terminal.verbose) {
        terminal.warn(&format!("{} {request}", paint(NOTE, "request:")));
    }
    if let Some(hint) = hint {
        terminal.warn(&format!("{} {hint}", paint(NOTE, "hint:")));
    }
}
