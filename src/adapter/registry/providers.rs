//! What is known of providers for as long as the process lives: what was declared, and what their
//! own APIs have told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use reqwest::header::HeaderValue;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::declared::HostConfig;
use super::provider::aws::AwsKeys;
use crate::model::{Digest, Provider, Repository};

#[derive(Default)]
pub(super) struct Providers {
    /// By host, who was declared to run it.
    pub(super) declared: BTreeMap<String, Provider>,
    /// By host, where its provider's API was declared to be.
    pub(super) apis: BTreeMap<String, String>,
    pub(super) aws: Option<AwsKeys>,
    pub(super) github: Github,
    /// Tokens of Docker Hub's own API and until when they are used, by what they were asked for:
    /// another repository may be another user's, or another host's.
    pub(super) hub: AsyncMutex<HashMap<Repository, (HeaderValue, Instant)>>,
}

/// Which version of a package a digest is, as far as GitHub has listed them.
#[derive(Default)]
pub(super) struct Github {
    pub(super) versions: Mutex<HashMap<Repository, HashMap<Digest, u64>>>,
    /// What was deleted, and can be brought back.
    pub(super) deleted: Mutex<HashMap<(Repository, Digest), u64>>,
    /// Where the packages of an owner are, by repository host and owner.
    pub(super) places: Mutex<HashMap<(String, String), Vec<String>>>,
}

impl Providers {
    pub(super) fn new(declared: &HostConfig) -> Self {
        let hosts = || declared.hosts.iter();
        Self {
            declared: hosts().filter_map(|(host, of)| Some((host.clone(), of.provider?))).collect(),
            apis: hosts().filter_map(|(host, of)| Some((host.clone(), of.api.clone()?))).collect(),
            ..Self::default()
        }
    }
}
