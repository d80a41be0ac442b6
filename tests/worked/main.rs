//! The worked examples, run as their CI would run them: each step of each workflow by bash, with
//! the variables and files of a runner, on a real engine and a real registry. A second, read-only
//! registry process over the same images stands in for the token of a fork.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod docs;
mod easycrypt;
mod expression;
mod gitlab;
mod lampe;
mod project;
mod release;
mod rights;
mod runner;
mod trust;
mod yaml;
