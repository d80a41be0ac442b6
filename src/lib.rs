//! boxwright builds the container images a CI runs in ("boxes"), only when they are missing,
//! and promotes them by digest. There is no server and no database: the registry is the only
//! state.
//!
//! # How it works
//!
//! A box's inputs (the instructions, arguments, files and parents that its build can read)
//! are written down as a canonical manifest, whose hash is the box's key. The key stands in
//! the image's tag, so asking whether a box is up to date is asking whether a tag exists.
//! What a run uses is leased; what is promoted gets a second tag on the same digest; what
//! neither a lease nor a promotion nor a foreign tag keeps is condemned by one sweep and
//! deleted by a later one.
//!
//! # Where things are
//!
//! Adapters observe, a pure core turns what was observed into a plan, [`exec`] carries it out
//! step by step, [`cli`] prints.
//!
//! | module | what it holds | may use |
//! | --- | --- | --- |
//! | [`model`] | values: digests, tags, keys, leases, manifests | nothing |
//! | [`config`] | `boxwright.toml`, checked | model |
//! | [`inputs`] | Dockerfile and context → input manifest → key | model, and the filter type of port |
//! | [`plan`] | wanted + observed → ordered steps | model |
//! | [`retention`] | roots, what a sweep may delete | model |
//! | [`protocol`] | the steps of runs, jobs, promotions and sweeps; leases | model, plan, retention |
//! | [`port`] | the traits through which the outside is reached | model |
//! | [`exec`] | the protocols; the only callers of ports | all of the above |
//! | [`adapter`] | registry over HTTP, embedded registry, engine, disk | port, model |
//! | [`cli`] | commands, settings, output, exit codes | everything |
//!
//! `tests/layout` holds these directions, and that no file imports from one that imports from it,
//! however far around. So each file can be read without those above it.
//!
//! # Where to look first
//!
//! | the question | where it is answered | and before that |
//! | --- | --- | --- |
//! | Where is a tag written? | a content tag: `JobRunner::push` in `exec/build/job.rs`; a promoted one: `PromotionExecutor::act` in `exec/promote/carry.rs`; a record's: `Ledger::put` in `exec/ledger/mod.rs` | when, and under which guards: [`protocol`] |
//! | Where is a digest judged? | what stands under a tag: `exec/image/probe.rs`; whether it was made on the parents that stand: `exec/build/judge.rs`; whether it may be deleted: [`retention::decide`] | its labels: `exec/image/labels.rs` |
//! | Where does an exit code come from? | `CliError::exit_code` in `cli/error.rs` | the kind of an error, its place and its hint: [`model::Explained`], beside the error; those of [`exec`] stand in the `error.rs` of the room that failed |
//! | Where does a line of a Dockerfile enter a key? | its text: `inputs/dockerfile/canonical.rs`, for the stages that `analysis.rs` beside it finds in reach; its bytes: `inputs/manifest/encode.rs` | the files it reads: `inputs/select`; all together: `exec/keys/derive.rs` |
//!
//! The rooms of [`exec`] are told on its own page.
//!
//! # What must stay true
//!
//! - What is unknown is never missing and never present: a registry that does not answer stops
//!   the run before anything is built, pushed or deleted.
//! - What is hashed is what is sent to the builder, and what is sent is what was hashed.
//! - Nothing is reported as standing before it was read back.
//! - Nothing is deleted in the run that condemned it, and never a digest that a tag points to
//!   which is not ours.

pub mod adapter;
pub mod cli;
pub mod config;
pub mod exec;
pub mod inputs;
pub mod model;
pub mod plan;
pub mod port;
pub mod protocol;
pub mod retention;
