//! What a user says of registry hosts, where it is trusted.

use std::collections::BTreeMap;

use crate::model::{ErrorKind, Explained, Explanation, Provider};

/// What a user has declared about hosts, in a place that is trusted.
#[derive(Debug, Clone, Default)]
pub struct HostConfig {
    /// By host, as in references: `registry.example:5000`.
    pub hosts: BTreeMap<String, HostSettings>,
}

/// What a user has declared about one host.
#[derive(Debug, Clone, Default)]
pub struct HostSettings {
    /// It is talked to in plain http; loopback is, unless certificates are declared for it.
    pub plain: bool,
    /// Another host that may issue its tokens: a self-hosted GitLab's.
    pub realm: Option<String>,
    /// Certificates that are trusted beside the system's, as PEM.
    pub ca: Option<Vec<u8>>,
    /// A certificate and its key to show, as PEM.
    pub identity: Option<Vec<u8>>,
    /// It is reached without the environment's proxy.
    pub is_direct: bool,
    /// Who runs it, where its name does not say so.
    pub provider: Option<Provider>,
    /// Where its provider's own API is, where that is not the usual place.
    pub api: Option<String>,
}

/// What was declared about a host cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the certificates or the key declared for {host} cannot be used")]
pub struct StartError {
    pub(super) host: String,
    pub(super) source: reqwest::Error,
}

impl Explained for StartError {
    fn explain(&self) -> Explanation<'_> {
        ErrorKind::Usage.into()
    }
}
