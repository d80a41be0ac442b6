//! Options of the commands that change names which others share, and of `log`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::{Failing, Tell, Writing};
use crate::model::{RunId, Share, Tag, TagError};

/// Whether a command that changes names which others share does so.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Confirming {
    /// Print the plan and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Apply the plan without asking; where there is no terminal nothing is changed otherwise
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Promote {
    /// The tag to promote to; it belongs to the channel whose pattern it matches
    pub tag: Tag,
    #[command(flatten)]
    pub confirming: Confirming,
    /// Let boxes of an older revision replace those of a newer one
    #[arg(long)]
    pub allow_older: bool,
    /// Promote the images of another promotion, by digest: the last one of TAG, or its promotion number N
    #[arg(long, value_name = "TAG[@N]")]
    pub from: Option<From>,
    /// Copy the images to another registry or path, with all that belongs to them, and promote there
    #[arg(long, value_name = "HOST[/PATH]")]
    pub to: Option<String>,
    #[command(flatten)]
    pub writing: Writing,
}

/// A promotion to promote from: `main`, or `main@12`.
#[derive(Debug, Clone)]
pub struct From {
    pub tag: Tag,
    /// The last one if there is none.
    pub seq: Option<u32>,
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tag, seq) = match text.split_once('@') {
            Some((tag, seq)) => (tag, Some(seq.parse().map_err(|_| format!("`{seq}` is not a count"))?)),
            None => (text, None),
        };
        Ok(Self { tag: tag.parse().map_err(|error: TagError| error.to_string())?, seq })
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tag.fmt(f)?;
        self.seq.map_or(Ok(()), |seq| write!(f, "@{seq}"))
    }
}

#[derive(Debug, Args)]
pub struct Rollback {
    /// The tag
    pub tag: Tag,
    #[command(flatten)]
    pub confirming: Confirming,
    #[command(flatten)]
    pub writing: Writing,
}

#[derive(Debug, Args)]
pub struct Rebuild {
    /// The boxes
    #[arg(value_name = "BOX", required = true)]
    pub names: Vec<String>,
    /// Rebuild what stands on them as well
    #[arg(long)]
    pub dependants: bool,
    #[command(flatten)]
    pub confirming: Confirming,
    /// How many boxes to build at once
    #[arg(short, long, default_value_t = 2, env = "BOXWRIGHT_JOBS", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    #[command(flatten)]
    pub failing: Failing,
    #[command(flatten)]
    pub writing: Writing,
    #[command(flatten)]
    pub tell: Tell,
}

#[derive(Debug, Args)]
pub struct Log {
    /// The tag
    pub tag: Tag,
}

#[derive(Debug, Default, Clone, Args)]
pub struct Clean {
    #[command(flatten)]
    pub confirming: Confirming,
    /// Write the plan to a file, for another call to apply; nothing is changed
    #[arg(long, value_name = "FILE", conflicts_with = "yes")]
    pub plan_out: Option<PathBuf>,
    /// Apply the plan in a file: exactly that, or nothing (21) if the registry has moved
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plan_out", "now"])]
    pub apply: Option<PathBuf>,
    /// Refuse (21) if more than this share of all tags would go, instead of the configuration's
    #[arg(long, value_name = "SHARE", env = "BOXWRIGHT_MAX_DELETE")]
    pub max_delete: Option<Share>,
    /// Evaluate retention as of this future time, +DURATION or TIME; leases that end before it count as ended
    #[arg(long, value_name = "TIME|+DURATION")]
    pub now: Option<String>,
    /// Exit with 21 if the registry does not delete
    #[arg(long)]
    pub strict: bool,
    /// Instead of cleaning, remove this record of the ledger, which cannot be read and so stops every
    /// deletion. What it kept is kept no longer
    #[arg(long, value_name = "TAG", conflicts_with_all = ["plan_out", "apply", "now", "strict", "max_delete"])]
    pub forget: Vec<Tag>,
    /// Instead of cleaning, put back what the newest clean deleted, or that of run RUN: for 7 days (`undo`
    /// of [clean]), as long as the registry has its blobs
    #[arg(
        long,
        value_name = "RUN",
        num_args = 0..=1,
        conflicts_with_all = ["plan_out", "apply", "now", "strict", "max_delete", "forget"]
    )]
    pub undo: Option<Option<RunId>>,
    #[command(flatten)]
    pub writing: Writing,
}
