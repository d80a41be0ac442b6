//! `boxwright.toml` → a checked [`Project`].
//!
//! Parsing is pure: text in, project or error out. What is checked here never has to be
//! doubted later: names exist, parents come before their children, tags can be written.
//! Deliberately absent: reading files, the environment, the network.

mod document;
mod hosts;
mod init;
mod lint;
mod lock;
mod mirror;
mod parse;
mod pin;
mod pin_error;
mod project;
mod template;
mod yaml;

pub use document::{ConfigError, Place, nearest};
pub use hosts::{HostSpec, Hosts, parse_hosts};
pub use init::{Found, FoundStage, first_config};
pub use lint::SECRET_HINT;
pub use lock::{Lock, LockedPin};
pub use mirror::Mirrors;
pub use parse::{host_platform, parse};
pub use pin::{PinFormat, extract};
pub use pin_error::PinError;
pub use project::{
    BoxSpec, Channel, ContextSource, Pin, PinSource, Project, Protect, RegistryChoice, Retention,
};
pub use template::{Template, TemplateError};

/// The JSON schema (draft 2020-12) of `boxwright.toml`.
pub const SCHEMA: &str = include_str!("schema.json");
