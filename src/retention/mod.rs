//! Who keeps what: leases, roots, the decision what a sweep may condemn or delete, and the
//! steps that runs and sweeps take.
//! Pure: observations in, actions out; no clock is read here.

mod clean;
mod endings;
mod job;
mod lease;
mod observed;
mod parts;
mod policy;
mod roots;
mod run;
mod settle;
mod sighted;
mod sweep;

pub use clean::{candidates, decide};
pub use endings::holds_up;
pub use job::{Job, JobAction, JobEnd, JobSaw, pause};
pub use lease::{CLAIM, LONGEST, MARGIN, goes_before, has_ended, is_live, is_short, rivals, turn_behind};
pub use observed::{
    Action, Clean, Condemned, Doomed, Goes, Held, Kept, Node, Observed, Policy, Seen, UNKEPT, Unreadable,
    Until, What,
};
pub use parts::leftovers;
pub use policy::{ChannelPolicy, Judged as JudgedSet, Policies, Refs, judge};
pub use run::{Run, RunAction, RunSaw};
pub use sighted::{Age, Sightings};
pub use sweep::{Answer, DEADLINE, Deletion, SweepAction, SweepEnd, SweepSaw, Sweeper, least_grace};
