//! What registries do wrong, and what may not come of it: each fault is played by a scripted
//! server. The numbers in comments are the rows of the project's table of faults.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "faults/digests.rs"]
mod digests;
#[path = "faults/downloads.rs"]
mod downloads;
#[path = "faults/lists.rs"]
mod lists;
#[path = "faults/peer.rs"]
mod peer;
#[path = "faults/places.rs"]
mod places;
#[path = "faults/retries.rs"]
mod retries;
#[path = "faults/tokens.rs"]
mod tokens;
#[path = "faults/untag.rs"]
mod untag;
#[path = "faults/uploads.rs"]
mod uploads;
