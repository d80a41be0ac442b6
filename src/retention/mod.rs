//! Who keeps what: leases, roots, the decision what a sweep may condemn or delete, and the
//! steps that runs and sweeps take.
//! Pure: observations in, actions out; no clock is read here.

mod clean;
mod endings;
mod observed;
mod parts;
mod policy;
mod roots;
mod settle;
mod sighted;
mod times;
mod undo;

pub use clean::{candidates, decide};
pub use endings::holds_up;
pub use observed::{
    Action, Clean, Condemned, Doomed, Goes, Held, Kept, Node, Observed, Policy, UNKEPT, Unreadable, Until,
    What,
};
pub use parts::leftovers;
pub use policy::{ChannelPolicy, Judged as JudgedSet, Policies, Refs, judge};
pub use sighted::{Age, Sightings};
pub use times::DEADLINE;
pub use undo::{PutBack, Remains, RemainsState, Revived, latest, put_back, revive};
