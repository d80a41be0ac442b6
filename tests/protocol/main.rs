//! The protocols over the reference registry, a fake engine and a fake clock: what is
//! built, promoted and deleted, and what is left behind when anything fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod attached;
mod build;
mod clean;
mod clean_faults;
mod clean_races;
mod copy;
mod interrupt;
mod kills;
mod lease;
mod ledger;
mod net;
mod pauses;
mod policies;
mod promote;
mod promote_faults;
mod promote_stopped;
mod rebuild;
mod retention;
mod rollback;
mod together;
mod undo;
mod unknown;
mod unreadable;
mod world;
