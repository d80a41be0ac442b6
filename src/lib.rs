//! boxwright
pub mod adapter;
pub mod inputs;
pub mod model;
pub mod port;
