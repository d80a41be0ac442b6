//! What registries do wrong, and what may not come of it: each fault is played by a scripted
//! server, or by a proxy in front of a real registry. The numbers in comments are the rows of the
//! project's table of faults, `faults/table.tsv`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "faults/canary.rs"]
mod canary;
#[path = "faults/digests.rs"]
mod digests;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/downloads.rs"]
mod downloads;
#[allow(dead_code, reason = "shared with the tests of the protocols")]
#[path = "protocol/engine.rs"]
mod engine;
#[path = "faults/exhaustive.rs"]
mod exhaustive;
#[path = "faults/lists.rs"]
mod lists;
#[path = "faults/mended.rs"]
mod mended;
#[path = "faults/network.rs"]
mod network;
#[path = "faults/peer.rs"]
mod peer;
#[path = "faults/places.rs"]
mod places;
#[allow(dead_code, reason = "shared with the contract")]
#[path = "contract/process.rs"]
mod process;
#[path = "protocol/project.rs"]
mod project;
#[path = "faults/provider_fake.rs"]
mod provider_fake;
#[path = "faults/providers.rs"]
mod providers;
#[path = "faults/proxy.rs"]
mod proxy;
#[path = "faults/retries.rs"]
mod retries;
#[path = "faults/scene.rs"]
mod scene;
#[path = "faults/secure.rs"]
mod secure;
#[path = "faults/seen_late.rs"]
mod seen_late;
#[path = "faults/streams.rs"]
mod streams;
#[path = "faults/tokens.rs"]
mod tokens;
#[path = "faults/untag.rs"]
mod untag;
#[path = "faults/uploads.rs"]
mod uploads;
