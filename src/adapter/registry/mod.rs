//! A registry over HTTP (OCI distribution-spec 1.1), as real ones answer.
//!
//! Invariants: no bytes are returned whose hash was not checked; no answer is read as
//! "missing" but a registry's own 404; credentials go to no other host than they are for.
//!
//! From the outside in: this file names rights and URLs; `manifests`, `blobs`, `tags`,
//! `referrers` and `deletes` say what answers mean; `upload` (with `feed`) and `download` move
//! blobs of any size, with the `hash` of all bytes; `session` follows redirects; `auth` (with
//! `challenge` and `realm`) authorizes; `wire` sends, with the waits of `retry`; `host` knows one
//! server: its `clock`, and the `gate` that lets through as much as it bears. What was `shown`
//! to a server is told to nobody. `provider` holds what registries have of their own.

mod address;
mod answer;
mod auth;
mod blobs;
mod broken;
mod challenge;
mod clients;
mod clock;
mod deletes;
mod diagnose;
mod download;
mod feed;
mod gate;
mod hash;
mod host;
mod limits;
mod manifests;
mod provider;
mod realm;
mod referrers;
mod remembered;
mod request;
mod resolve;
mod retry;
mod session;
mod shown;
mod tags;
mod upload;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Method, Url};
use tokio::time::Instant;

use self::answer::Answer;
use self::auth::Authorizer;
use self::host::Host;
use self::provider::Providers;
use self::remembered::Remembered;
use self::request::Request;
use self::wire::Wire;
use super::credentials::Credentials;
use crate::model::{Descriptor, Digest, Provider, RawManifest, Repository, Tag, Timestamp, printable};
use crate::port::{
    Blob, BlobSource, BlobStream, Deleted, Deleting, Failure, Pushed, Reference, Registry, RegistryError,
    TagList, Wait,
};

pub use self::diagnose::Greeting;
pub use self::limits::Limits;
pub use self::provider::AwsKeys;

/// Is told whenever a host is waited for.
pub type OnWait = Arc<dyn Fn(Wait) + Send + Sync>;

/// What a user has declared about hosts, in a place that is trusted.
#[derive(Debug, Clone, Default)]
pub struct Declared {
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
    /// The host.
    host: String,
    source: reqwest::Error,
}

/// All registries, over HTTP.
pub struct HttpRegistry {
    authorizer: Authorizer,
    plain: BTreeSet<String>,
    /// Hosts that certificates were declared for.
    secure: BTreeSet<String>,
    /// Whether deletes are answered, by repository.
    deleting: Mutex<HashMap<Repository, bool>>,
    remembered: Option<Remembered>,
    providers: Providers,
}

/// What a request needs to be allowed to do.
#[derive(Debug, Clone, Copy)]
enum Right {
    Pull,
    Push,
    Delete,
}

impl Right {
    /// Returns the scope of a token (docs.docker.com, "Token Scope Documentation").
    fn scope(self, repository: &Repository) -> String {
        let actions = match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete",
        };
        format!("repository:{}:{actions}", address::server_name(repository))
    }
}

impl HttpRegistry {
    /// Makes a client; a process needs one. The TLS provider must have been installed before.
    pub fn new(
        credentials: Arc<Credentials>,
        declared: Declared,
        limits: Limits,
    ) -> Result<Self, StartError> {
        let wire = Wire::new(limits, &declared)?;
        let of = |(host, settings): (&String, &HostSettings)| Some((host.clone(), settings.realm.clone()?));
        let realms = declared.hosts.iter().filter_map(of).collect();
        let those = |is: fn(&HostSettings) -> bool| {
            let hosts = declared.hosts.iter().filter(|(_, settings)| is(settings));
            hosts.map(|(host, _)| host.clone()).collect()
        };
        let plain = those(|settings| settings.plain);
        let secure = those(|settings| settings.ca.is_some() || settings.identity.is_some());
        let providers = Providers::new(&declared);
        let authorizer = Authorizer { wire, credentials, realms };
        Ok(Self { authorizer, plain, secure, deleting: Mutex::default(), remembered: None, providers })
    }

    /// Tells of each wait that a person would notice.
    #[must_use]
    pub fn telling(mut self, on_wait: OnWait) -> Self {
        self.authorizer.wire.on_wait = Some(on_wait);
        self
    }

    /// Keeps small blobs in `directory`, so that they are read from a registry only once.
    #[must_use]
    pub fn remembering(self, directory: PathBuf) -> Self {
        Self { remembered: Some(Remembered::new(directory)), ..self }
    }

    /// Signs what is asked of Amazon's own API.
    #[must_use]
    pub fn signing(mut self, keys: Option<AwsKeys>) -> Self {
        self.providers.aws = keys;
        self
    }

    fn root(&self, host: &str) -> Result<Url, RegistryError> {
        address::root(host, &self.plain, &self.secure).ok_or_else(|| RegistryError {
            request: printable(host, 120),
            failure: Failure::Unreachable { detail: "not a registry host".to_owned() },
        })
    }

    /// Returns what is known of a repository's host.
    fn host(&self, repository: &Repository) -> Result<Arc<Host>, RegistryError> {
        self.authorizer.wire.host(&self.root(repository.host())?)
    }

    /// Starts a request for `path` within a repository; the path needs no escaping.
    fn request(&self, method: Method, repository: &Repository, path: &str) -> Result<Request, RegistryError> {
        let mut url = self.root(repository.host())?;
        url.set_path(&format!("v2/{}/{path}", address::server_name(repository)));
        Ok(Request::new(method, url))
    }

    async fn send(
        &self,
        request: Request,
        repository: &Repository,
        right: Right,
    ) -> Result<Answer, RegistryError> {
        self.send_until(request, repository, right, self.authorizer.wire.deadline()).await
    }

    async fn send_until(
        &self,
        request: Request,
        repository: &Repository,
        right: Right,
        deadline: Instant,
    ) -> Result<Answer, RegistryError> {
        let root = self.root(repository.host())?;
        session::send(&self.authorizer, &root, request, &right.scope(repository), deadline).await
    }
}

#[async_trait]
impl Registry for HttpRegistry {
    async fn now(&self, host: &str) -> Result<Timestamp, RegistryError> {
        let wire = &self.authorizer.wire;
        let (url, deadline) = (self.root(host)?, wire.deadline());
        let host = wire.host(&url)?;
        let clock = &host.clock;
        // Of many that ask, one sends a request; the others' time passes meanwhile.
        let _alone = clock.alone().await;
        if let Some(now) = clock.now() {
            return Ok(now);
        }
        // A 401 tells the time as well, so nobody logs in for this.
        let request = Request::new(Method::GET, url.join("v2/").unwrap_or(url));
        let answer = wire.send(&request, deadline).await?;
        match clock.now() {
            Some(now) => Ok(now),
            None if answer.status.is_server_error() => Err(answer.failure()),
            None => Err(answer.untrusted("it has no valid Date")),
        }
    }

    async fn head(&self, repository: &Repository, at: &Reference) -> Result<Option<Digest>, RegistryError> {
        self.head_manifest(repository, at).await
    }

    async fn get(
        &self,
        repository: &Repository,
        at: &Reference,
    ) -> Result<Option<RawManifest>, RegistryError> {
        self.get_manifest(repository, at).await
    }

    async fn put(
        &self,
        repository: &Repository,
        at: &Reference,
        manifest: &RawManifest,
    ) -> Result<(), RegistryError> {
        self.put_manifest(repository, at, manifest).await
    }

    async fn tags(&self, repository: &Repository) -> Result<TagList, RegistryError> {
        self.list_tags(repository).await
    }

    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        self.list_referrers(repository, subject).await
    }

    fn lists_referrers(&self, repository: &Repository) -> bool {
        self.may_list(repository)
    }

    async fn deleting(&self, repository: &Repository) -> Result<Deleting, RegistryError> {
        self.provider_deleting(repository).await
    }

    async fn untag(&self, repository: &Repository, tag: &Tag) -> Result<Deleted, RegistryError> {
        self.provider_untag(repository, tag).await
    }

    async fn delete(&self, repository: &Repository, digest: &Digest) -> Result<Deleted, RegistryError> {
        self.provider_delete(repository, digest).await
    }

    fn restores(&self, repository: &Repository) -> bool {
        self.provider(repository) == Provider::Ghcr
    }

    async fn restore(&self, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        self.provider_restore(repository, digest).await
    }

    async fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        self.holds_blob(repository, digest).await
    }

    async fn push_blob(
        &self,
        repository: &Repository,
        blob: &dyn BlobSource,
        mount: Option<&Repository>,
    ) -> Result<Pushed, RegistryError> {
        self.upload_blob(repository, blob, mount).await
    }

    async fn open_blob(
        &self,
        repository: &Repository,
        blob: &Blob,
        from: u64,
    ) -> Result<Option<BlobStream<'_, RegistryError>>, RegistryError> {
        self.stream_blob(repository, blob, from).await
    }

    async fn get_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, RegistryError> {
        self.read_blob(repository, digest, limit).await
    }
}
