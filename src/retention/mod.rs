//! Who keeps what: leases, roots, and the decision what a sweep may condemn or delete.
//! Pure: observations in, decisions out; no clock is read here.

mod clean;
mod history;
mod lease;

pub use clean::{Clean, Condemned, Doomed, Kept, Node, Observed, Policy, Seen, decide};
pub use history::{Keep, kept};
pub use lease::{LONGEST, MARGIN, goes_first, is_live, is_short};
