//! A registry over HTTP (OCI distribution-spec 1.1), as real ones answer.
//!
//! Invariants: no bytes are returned whose hash was not checked; no answer is read as
//! "missing" but a registry's own 404; credentials go to no other host than they are for.
//!
//! From the outside in: `client` names rights and URLs; `manifests`, `blobs`, `tags`, `referrers`
//! and `deletes` say what answers mean, and `provider` what registries have of their own; `upload`
//! (with `feed`) and `download` move blobs of any size, with the `hash` of all bytes; `session`
//! follows redirects; `auth` (with `challenge` and `realm`) authorizes, and a host's `login` keeps
//! what came of it; `wire` sends, with the waits of `retry`; `host` knows one server: its `clock`,
//! and the `gate` that lets through as much as it bears. A `request` and its `answer` are at the
//! bottom; what was `shown` to a server is told to nobody. Nothing in here uses what is above it.

mod address;
mod answer;
mod auth;
mod blobs;
mod broken;
mod challenge;
mod client;
mod clients;
mod clock;
mod declared;
mod deletes;
mod diagnose;
mod download;
mod feed;
mod gate;
mod guard;
mod hash;
mod host;
mod issue;
mod limits;
mod login;
mod manifests;
mod provider;
mod providers;
mod realm;
mod referrers;
mod remembered;
mod request;
mod resolve;
mod rest;
mod retry;
mod session;
mod shown;
mod tags;
mod upload;
mod wire;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;

use self::request::Request;
use crate::model::{Descriptor, Digest, RawManifest, Repository, Timestamp};
use crate::port::{
    Blob, BlobSource, BlobStream, Pushed, Reference, RegistryError, RegistryReader, RegistryResult,
    RegistryWriter, TagList,
};

pub use self::client::HttpRegistry;
pub use self::declared::{HostConfig, HostSettings, StartError};
pub use self::diagnose::Greeting;
pub use self::guard::{Guard, Kept};
pub use self::issue::{Asked, Issued, repositories};
pub use self::limits::Limits;
pub use self::provider::aws::AwsKeys;
pub use self::wire::OnWait;

#[async_trait]
impl RegistryReader for HttpRegistry {
    async fn now(&self, host: &str) -> RegistryResult<Timestamp> {
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

    async fn head(&self, repository: &Repository, at: &Reference) -> RegistryResult<Option<Digest>> {
        self.head_manifest(repository, at).await
    }

    async fn get(&self, repository: &Repository, at: &Reference) -> RegistryResult<Option<RawManifest>> {
        self.get_manifest(repository, at).await
    }

    async fn tags(&self, repository: &Repository) -> RegistryResult<TagList> {
        self.list_tags(repository).await
    }

    async fn referrers(&self, repository: &Repository, subject: &Digest) -> RegistryResult<Vec<Descriptor>> {
        self.list_referrers(repository, subject).await
    }

    fn lists_referrers(&self, repository: &Repository) -> bool {
        self.may_list(repository)
    }

    async fn has_blob(&self, repository: &Repository, digest: &Digest) -> RegistryResult<bool> {
        self.holds_blob(repository, digest).await
    }

    async fn open_blob(
        &self,
        repository: &Repository,
        blob: &Blob,
        from: u64,
    ) -> RegistryResult<Option<BlobStream<'_, RegistryError>>> {
        self.stream_blob(repository, blob, from).await
    }

    async fn get_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: usize,
    ) -> RegistryResult<Option<Bytes>> {
        self.read_blob(repository, digest, limit).await
    }
}

#[async_trait]
impl RegistryWriter for HttpRegistry {
    async fn put(
        &self,
        repository: &Repository,
        at: &Reference,
        manifest: &RawManifest,
    ) -> RegistryResult<()> {
        self.put_manifest(repository, at, manifest).await
    }

    async fn push_blob(
        &self,
        repository: &Repository,
        blob: &dyn BlobSource,
        mount: Option<&Repository>,
    ) -> RegistryResult<Pushed> {
        self.upload_blob(repository, blob, mount).await
    }
}
