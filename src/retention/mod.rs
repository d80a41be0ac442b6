//! Who keeps what: leases, roots, the decision what a sweep may condemn or delete, and the
//! steps that runs and sweeps take.
//! Pure: observations in, actions out; no clock is read here.

mod clean;
mod history;
mod job;
mod lease;
mod run;
mod sweep;

pub use clean::{Clean, Condemned, Doomed, Kept, Node, Observed, Policy, Seen, decide};
pub use history::{Keep, kept};
pub use job::{Job, JobAction, JobEnd, JobSaw, Judged, Stands, pause};
pub use lease::{LONGEST, MARGIN, goes_first, has_ended, is_live, is_short};
pub use run::{Run, RunAction, RunSaw};
pub use sweep::{Answer, DEADLINE, Deletion, SweepAction, SweepEnd, SweepSaw, Sweeper, least_grace};
