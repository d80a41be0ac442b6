//! The step machines of the protocols: what a run, a job, a promotion and a sweep do next, from what
//! they have seen. They are pure; `exec` carries out what they ask for, and the model check explores
//! them as they are.

mod job;
mod lease;
mod promote;
mod run;
mod sweep;

pub use job::{Job, JobAction, JobEnd, JobInput, pause};
pub use lease::{CLAIM, LONGEST, MARGIN, goes_before, has_ended, is_live, is_short, rivals, turn_behind};
pub use promote::{Promoter, PromoterAction, PromoterEnd, PromoterInput, Put, Why};
pub use run::{Run, RunAction, RunInput};
pub use sweep::{Answer, Deletion, Keeping, SweepAction, SweepEnd, SweepInput, Sweeper, least_grace};
