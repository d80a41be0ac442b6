//! boxwright
pub mod adapter;
pub mod cli;
pub mod config;
pub mod exec;
pub mod inputs;
pub mod model;
pub mod plan;
pub mod port;
pub mod retention;
