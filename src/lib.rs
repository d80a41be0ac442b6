//! boxwright
pub mod adapter;
pub mod config;
pub mod inputs;
pub mod model;
pub mod plan;
pub mod port;
pub mod retention;
