//! How one registry wants to be shown who asks, and the tokens that it gave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use reqwest::Url;
use reqwest::header::HeaderValue;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

/// What one registry asks for, and what it was given.
#[derive(Default)]
pub(super) struct Login {
    pub(super) scheme: Mutex<Option<Scheme>>,
    pub(super) tokens: Mutex<HashMap<String, Arc<AsyncMutex<Option<Token>>>>>,
}

/// A challenge whose realm has been checked.
#[derive(Clone)]
pub(super) enum Scheme {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

pub(super) struct Token {
    pub(super) header: HeaderValue,
    pub(super) until: Instant,
}
