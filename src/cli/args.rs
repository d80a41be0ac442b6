//! The command line.

mod release;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::{RunId, Span};

pub use release::{Clean, Confirming, From, Log, Promote, Rebuild, Rollback};

/// Builds the container images a CI runs in, only when they are missing, and promotes them
/// by digest.
#[derive(Debug, Parser)]
#[command(
    name = "boxwright",
    version = env!("BOXWRIGHT_VERSION"),
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done · 1 failed · 2 usage or configuration · 10 something is missing · \
                  20 registry or engine unreachable · 21 refused · 22 partly applied, run again · 130 interrupted"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The configuration; without it boxwright.toml is looked for here and in the directories above
    #[arg(short, long, global = true, value_name = "FILE", env = "BOXWRIGHT_FILE")]
    pub file: Option<PathBuf>,
    /// Where images are kept, instead of the configuration's `registry`
    #[arg(long, global = true, value_name = "HOST[/PATH]", env = "BOXWRIGHT_REGISTRY")]
    pub registry: Option<String>,
    /// A build argument for every box whose Dockerfile declares it; it enters keys
    #[arg(long = "arg", global = true, value_name = "NAME=VALUE", value_parser = pair)]
    pub args: Vec<(String, String)>,
    /// Use this working copy in place of a git pin or a directory context; also BOXWRIGHT_SOURCE_<NAME>
    #[arg(long = "source", global = true, value_name = "NAME=PATH", value_parser = pair)]
    pub sources: Vec<(String, String)>,
    /// How the result is printed
    #[arg(long, global = true, value_enum, default_value = "human", env = "BOXWRIGHT_FORMAT")]
    pub format: Format,
    /// Print nothing but the result and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print what the steps of a build print, as it comes
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value = "auto", env = "BOXWRIGHT_COLOR")]
    pub color: Color,
    /// The name of this run, for leases and records; without it the CI's own, else a random one
    #[arg(long = "run-id", alias = "run", global = true, value_name = "ID", env = "BOXWRIGHT_RUN")]
    pub run: Option<RunId>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and sentences
    Human,
    /// One JSON document on stdout, for programs
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR says otherwise
    Auto,
    /// Also where it is no terminal
    Always,
    /// Nowhere
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first boxwright.toml from the Dockerfiles that are here
    #[command(
        after_help = "Examples:\n  boxwright init                   write boxwright.toml\n  boxwright init --print           show it instead"
    )]
    Init(Init),
    /// Resolve what floats (pins that follow a ref, images by tag) and write boxwright.lock
    #[command(after_help = "Examples:\n  boxwright lock                   resolve what is new\n  \
        boxwright lock --update          resolve everything anew\n  \
        boxwright lock --update debian:bookworm\n  \
        boxwright lock --check           exit with 10 if something moved upstream")]
    Lock(Lock),
    /// Print each box's key: what its build reads, hashed. Works offline
    #[command(
        after_help = "Examples:\n  boxwright keys                   all boxes\n  boxwright keys test --format json"
    )]
    Keys(Boxes),
    /// Say what is in the registry, what would be built, and why
    #[command(after_help = "Examples:\n  boxwright plan                   the boxes as a tree\n  \
        boxwright plan --check           exit with 10 if anything would be built, and say who can\n  \
        boxwright plan --check --channel release\n\n\
        `boxwright guard` is `boxwright plan --check`, for jobs that may not build, such as those of a fork.")]
    Plan(Plan),
    /// Build and push what is missing, parents first, and lease what is used
    #[command(after_help = "Examples:\n  boxwright build                  all boxes\n  \
        boxwright build test             the box test and what it stands on\n  \
        boxwright build --jobs 4 --wait 0s\n  \
        boxwright build --fail-fast      end everything when one box has failed\n  \
        boxwright build --at 4f3c2a1 test  as that commit has it, from a clone of the repository\n  \
        boxwright build --local          for this machine alone, where nothing may be pushed")]
    Build(Build),
    /// The same as `plan --check`
    #[command(
        hide = true,
        after_help = "Examples:\n  boxwright guard                  the same as boxwright plan --check"
    )]
    Guard(PlanOf),
    /// Make new images of boxes whose recipe has not changed, such as for updates of what they install
    #[command(
        after_help = "Examples:\n  boxwright rebuild base --dry-run       say what would be made anew\n  \
        boxwright rebuild base --dependants --yes   base and all that stands on it, without asking"
    )]
    Rebuild(Rebuild),
    /// Print what a box's key is made of, and what differs from an image that stands
    #[command(
        after_help = "Examples:\n  boxwright explain build                        all inputs; works offline\n  \
        boxwright explain build --against main         what moved since main was promoted\n  \
        boxwright explain build --against 4f3c…        since the image with that key or content tag"
    )]
    Explain(Explain),
    /// Run a command in a box, on the current directory
    #[command(after_help = "Examples:\n  boxwright run build -- make check\n  boxwright run test")]
    Run(Run),
    /// Write boxes into one file: an OCI layout in a tar, which `docker load` takes too
    #[command(after_help = "Examples:\n  boxwright export -o boxes.tar\n  \
        boxwright export build test -o boxes.tar.zst --compress zstd\n  \
        boxwright export test -o - | docker load\n\n\
        What the registry lacks is taken from this machine, if `build --local` made it here.")]
    Export(Export),
    /// Check an archive that `export` wrote and load its images into the engine, or push them
    #[command(after_help = "Examples:\n  boxwright import boxes.tar               load into the engine\n  \
        boxwright import boxes.tar --push        into the registry, under the tags of their keys\n  \
        curl -sf https://example.org/boxes.tar.zst | boxwright import -\n\n\
        Nothing of an archive is used before all of it was read and checked. A plain file is read in\n\
        place; standard input and compressed files are unpacked to a temporary file (TMPDIR) first.")]
    Import(Import),
    /// Give the boxes' images a tag such as main or r2026.07, all of them together
    #[command(after_help = "Examples:\n  boxwright promote main --dry-run   say what would move\n  \
        boxwright promote main --yes       without asking, as a CI does\n  \
        boxwright promote r2026.07 --yes\n  \
        boxwright promote r2026.07 --from main --yes   what main holds, by digest; needs no checkout\n  \
        boxwright promote r2026.07 --from r2026.07 --to registry.example/live --yes")]
    Promote(Promote),
    /// Promote again what stood under a tag before; other tags stay
    #[command(
        after_help = "Examples:\n  boxwright rollback main --dry-run   say what would stand again\n  boxwright rollback main --yes"
    )]
    Rollback(Rollback),
    /// Say who promoted what to a tag, when, from which revision, and what stood there before
    #[command(after_help = "Examples:\n  boxwright log main\n  boxwright log main --format json")]
    Log(Log),
    /// Find what nothing keeps: mark it, and delete what was marked a while ago
    #[command(after_help = "Examples:\n  boxwright clean --dry-run        say what would happen\n  \
        boxwright clean --yes            do it, as a cron does\n  \
        boxwright clean --plan-out FILE  let another job do it: boxwright clean --apply FILE\n  \
        boxwright clean --now +3d --dry-run   say what would happen in three days\n  \
        boxwright clean --undo           say what of the last clean can be put back, and ask")]
    Clean(Clean),
    /// Say what stands where, what it takes, and what clean would do; or write it as a page
    #[command(
        after_help = "Examples:\n  boxwright report                 boxes, promotions, leases, what would go\n  \
        boxwright report --html boxes.html    one page that needs nothing else\n  \
        boxwright report --format json | jq .totals"
    )]
    Report(Report),
    /// Say what is wrong with configuration, engine, registry, credentials, clock and files
    #[command(
        after_help = "Examples:\n  boxwright doctor                 a table; below what is wrong stands what to do\n  \
        boxwright doctor --format json | jq '.checks[] | select(.state != \"ok\")'\n\n\
        Nothing is left behind: an upload is begun and given up to see whether one may push, and\n\
        in a run that is not trusted not even that. Credentials are not shown.\n\n\
        Exit codes: 0 no problem, warnings or not; else that of the first problem in the table:\n\
        2 configuration or credentials · 20 engine or registry does not answer · 21 refused ·\n\
        1 too little room, a clock that is far off, or what this engine cannot build"
    )]
    Doctor,
    /// Serve the embedded registry until interrupted
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Print the JSON schema of boxwright.toml, by which editors complete and check it
    #[command(after_help = "Examples:\n  boxwright schema > boxwright.schema.json\n\n\
        Editors with taplo take it from a first line `#:schema ./boxwright.schema.json` in boxwright.toml.")]
    Schema,
    /// Explain a command, or the ideas behind all of them; write the man pages
    #[command(
        after_help = "Examples:\n  boxwright help concepts          the words that the other texts use\n  \
        boxwright help build             the same as boxwright build --help\n  \
        boxwright help man ~/.local/share/man/man1"
    )]
    Help {
        /// A command, `concepts`, or `man`
        topic: Option<String>,
        /// Where `man` writes the pages
        directory: Option<PathBuf>,
    },
    /// Print a completion script for a shell
    #[command(
        after_help = "Examples:\n  boxwright completions bash > ~/.local/share/bash-completion/completions/boxwright\n  \
        boxwright completions zsh > ~/.zfunc/_boxwright\n  boxwright completions fish | source"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub struct Lock {
    /// Resolve these again; without names everything
    #[arg(long, value_name = "NAME", num_args = 0..)]
    pub update: Option<Vec<String>>,
    /// Write nothing; exit with 10 if the lock is not what would be written
    #[arg(long, conflicts_with = "update")]
    pub check: bool,
}

/// Which boxes.
#[derive(Debug, Args)]
pub struct Boxes {
    /// The boxes; without names all that are not reserved for a channel
    #[arg(value_name = "BOX")]
    pub names: Vec<String>,
    /// Take the boxes of this channel
    #[arg(long, value_name = "NAME", conflicts_with = "names")]
    pub channel: Option<String>,
}

#[derive(Debug, Args)]
pub struct Plan {
    /// Exit with 10 if anything would be built, and say what to do about it
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    pub of: PlanOf,
}

/// What is planned, and who is told.
#[derive(Debug, Args)]
pub struct PlanOf {
    #[command(flatten)]
    pub boxes: Boxes,
    #[command(flatten)]
    pub tell: Tell,
}

#[derive(Debug, Args)]
pub struct Build {
    #[command(flatten)]
    pub boxes: Boxes,
    /// How many boxes to build at once
    #[arg(short, long, default_value_t = 2, env = "BOXWRIGHT_JOBS", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// How long to wait for another run that builds the same box; 0s builds at once
    #[arg(long, default_value = "10m", env = "BOXWRIGHT_WAIT")]
    pub wait: Span,
    /// Ignore the engine's build cache
    #[arg(long)]
    pub no_cache: bool,
    #[command(flatten)]
    pub failing: Failing,
    #[command(flatten)]
    pub writing: Writing,
    /// Build what is missing for this machine alone, where `boxwright run` finds it; write nothing to the registry
    #[arg(long)]
    pub local: bool,
    /// Build from this commit, branch or tag, in a directory of its own; what is not here is asked of origin
    #[arg(long, value_name = "REVISION", conflicts_with = "sources")]
    pub at: Option<String>,
    /// Lend what --at builds secrets, the ssh agent and the host's network, after showing what it changes
    #[arg(long, requires = "at")]
    pub lend_secrets: bool,
    #[command(flatten)]
    pub tell: Tell,
}

/// What a failure ends.
#[derive(Debug, Args)]
pub struct Failing {
    /// End everything when one box has failed
    #[arg(long, env = "BOXWRIGHT_FAIL_FAST", overrides_with = "keep_going")]
    pub fail_fast: bool,
    /// Build what does not stand on a box that has failed; the default
    #[arg(long, overrides_with = "fail_fast")]
    pub keep_going: bool,
}

/// Whether a command that writes may do so.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Writing {
    /// When to lease, push or delete
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", env = "BOXWRIGHT_PUSH")]
    pub push: Push,
}

/// When the registry is written to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Push {
    /// If this run is trusted and the registry takes it
    #[default]
    Auto,
    /// Also where nothing tells whether it is trusted; fail where nothing can be written
    Always,
    /// Not at all
    Never,
}

/// Where a command tells later jobs what it found.
#[derive(Debug, Args)]
pub struct Tell {
    /// Write a file of variables for later jobs, such as GitLab's dotenv report
    #[arg(long, value_name = "FILE", env = "BOXWRIGHT_DOTENV")]
    pub dotenv: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// The box
    #[arg(value_name = "BOX")]
    pub name: String,
    /// Say what differs from this image: a promoted tag, a content tag, a key or a digest
    #[arg(long, value_name = "TAG|KEY|DIGEST")]
    pub against: Option<String>,
}

#[derive(Debug, Args)]
pub struct Run {
    /// The box
    #[arg(value_name = "BOX")]
    pub name: String,
    /// Where the current directory is mounted, and where the command starts
    #[arg(long, value_name = "PATH", default_value = "/work")]
    pub mount: String,
    /// Set a variable, or hand one on from here; none that begins with BOXWRIGHT_
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Run as the image's own user instead of the caller
    #[arg(long)]
    pub image_user: bool,
    /// The network: none, or one that the engine has; never that of the host
    #[arg(long, value_name = "MODE")]
    pub network: Option<String>,
    /// The command; without one the image's own
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    pub boxes: Boxes,
    /// The file, which appears when it is complete; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Compress the whole archive; layers mostly are compressed already
    #[arg(long, value_enum, value_name = "HOW")]
    pub compress: Option<Compress>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compress {
    /// gzip, which everything reads
    Gzip,
    /// Zstandard, which is faster and smaller
    Zstd,
}

#[derive(Debug, Args)]
pub struct Import {
    /// The archive, plain or compressed; - is standard input
    #[arg(value_name = "FILE")]
    pub archive: PathBuf,
    /// Push the images to the registry instead; their keys have to be those of the inputs here.
    /// `always` does it also where nothing tells whether this run is trusted
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true)]
    pub push: Option<Option<Push>>,
    /// What --push alone means
    #[arg(long, hide = true, value_enum, default_value = "auto", env = "BOXWRIGHT_PUSH")]
    pub push_when: Push,
}

#[derive(Debug, Args)]
pub struct Report {
    /// Write a page to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// Serve the store under .boxwright/ on loopback, for this machine's user alone
    ///
    /// Its password is made anew each time. It stands in .boxwright/login/config.json while it is
    /// served, as a Docker configuration: `docker --config .boxwright/login pull …`.
    #[command(
        after_help = "Examples:\n  boxwright registry serve         until interrupted\n  boxwright registry serve --port 5000"
    )]
    Serve {
        /// The port; without it the one the store remembers
        #[arg(long)]
        port: Option<u16>,
    },
}

#[derive(Debug, Args)]
pub struct Init {
    /// Replace a boxwright.toml that is there
    #[arg(long)]
    pub force: bool,
    /// Print the file instead of writing it
    #[arg(long)]
    pub print: bool,
}

/// Takes variables that are there and empty, as a CI leaves them, for ones that are not set.
pub fn without_empty(mut command: clap::Command) -> clap::Command {
    let is_empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let arguments = command.get_arguments().filter(|argument| argument.get_env().is_some_and(is_empty));
    for id in arguments.map(|argument| argument.get_id().clone()).collect::<Vec<_>>() {
        command = command.mut_arg(id, |argument| argument.env(None::<&'static str>));
    }
    let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, without_empty))
}
