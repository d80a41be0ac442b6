//! What registries do wrong, and what may not come of it: each fault is played by a scripted
//! server, or by a proxy in front of a real registry. The numbers in comments are the rows of the
//! project's table of faults, `faults/table.tsv`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod canary;
mod digests;
mod disk;
mod downloads;
mod exhaustive;
mod lists;
mod mended;
mod network;
mod places;
mod provider_fake;
mod providers;
mod retries;
mod scene;
mod secure;
mod seen_late;
mod streams;
mod tokens;
mod untag;
mod uploads;
