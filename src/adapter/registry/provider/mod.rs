//! What registries have of their own beside the distribution API: how one tag, or a manifest
//! with its tags, is deleted where that API does not do it, or does more.
//!
//! Who runs a registry is known by its name or by declaration ([`Provider`]), never guessed from
//! answers. What a provider cannot do is said; no wider delete stands in for it. The user's
//! credentials go to a provider's own API only at the place known for it, or declared.

mod acr;
pub(super) mod aws;
mod ecr;
mod ghcr;
mod google;
mod harbor;
mod hub;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::address;
use super::answer::Answer;
use super::auth::{basic_header, secret_header};
use super::client::HttpRegistry;
use super::deletes;
use super::request::Request;
use crate::adapter::credentials::Credential;
use crate::adapter::untag;
use crate::model::{Digest, Provider, Repository, Tag};
use crate::port::{DeleteSupport, Deleted, Failure, Reference, Registry, RegistryError, RegistryResult};

/// How long a provider's limit is waited for, and its requests may take longer for it.
const PATIENCE: Duration = Duration::from_secs(300);

/// The longest answer that is read, in bytes.
const LIMIT: usize = 16 * 1024 * 1024;

#[async_trait]
impl Registry for HttpRegistry {
    async fn deleting(&self, repository: &Repository) -> RegistryResult<DeleteSupport> {
        match self.provider(repository) {
            Provider::Distribution => self.find_deleting(repository).await,
            Provider::Ghcr => match self.bearer(repository).await? {
                Some(_) => Ok(DeleteSupport::Manifests),
                None => Ok(DeleteSupport::Nothing),
            },
            Provider::Harbor | Provider::DockerHub => match self.basic(repository).await? {
                Some(_) => Ok(DeleteSupport::Tags),
                None => Ok(DeleteSupport::Nothing),
            },
            Provider::Ecr if self.ecr_lacks(repository).is_some() => Ok(DeleteSupport::Nothing),
            Provider::Ecr => Ok(DeleteSupport::Manifests),
            Provider::GitLab | Provider::Quay | Provider::Zot | Provider::Google | Provider::Acr => {
                match self.find_deleting(repository).await? {
                    DeleteSupport::Nothing => Ok(DeleteSupport::Nothing),
                    _ => Ok(DeleteSupport::Tags),
                }
            }
        }
    }

    async fn delete(&self, repository: &Repository, digest: &Digest) -> RegistryResult<Deleted> {
        match self.provider(repository) {
            Provider::Ghcr => self.delete_version(repository, digest).await,
            Provider::Harbor => self.delete_artifact(repository, digest).await,
            Provider::DockerHub => self.delete_from_hub(repository, digest).await,
            Provider::Google => self.delete_from_google(repository, digest).await,
            Provider::Ecr => self.delete_image(repository, digest).await,
            Provider::Distribution | Provider::GitLab | Provider::Quay | Provider::Zot | Provider::Acr => {
                self.delete_at(repository, &Reference::Digest(digest.clone())).await
            }
        }
    }

    async fn untag(&self, repository: &Repository, tag: &Tag) -> RegistryResult<Deleted> {
        match self.provider(repository) {
            Provider::Distribution => self.remove_tag(repository, tag).await,
            Provider::Ecr => match self.ecr_lacks(repository) {
                Some(why) => Ok(Deleted::Refused { why }),
                // With its last tag an image would go.
                None => {
                    let delete = async |stand_in| self.delete_image(repository, &stand_in).await;
                    untag::by_throwaway(self, repository, tag, delete).await
                }
            },
            Provider::Ghcr => {
                let delete = async |stand_in| self.delete_version(repository, &stand_in).await;
                untag::by_throwaway(self, repository, tag, delete).await
            }
            Provider::Harbor => self.delete_artifact_tag(repository, tag).await,
            Provider::DockerHub => self.delete_hub_tag(repository, tag).await,
            Provider::Acr => self.delete_acr_tag(repository, tag).await,
            Provider::GitLab | Provider::Quay | Provider::Zot | Provider::Google => {
                self.delete_at(repository, &Reference::Tag(tag.clone())).await
            }
        }
    }

    fn restores(&self, repository: &Repository) -> bool {
        self.provider(repository) == Provider::Ghcr
    }

    async fn restore(&self, repository: &Repository, digest: &Digest) -> RegistryResult<bool> {
        match self.provider(repository) {
            Provider::Ghcr => self.restore_version(repository, digest).await,
            _ => Ok(false),
        }
    }
}

impl HttpRegistry {
    pub(super) fn provider(&self, repository: &Repository) -> Provider {
        let host = repository.host();
        self.providers.declared.get(host).copied().unwrap_or_else(|| Provider::of_host(host))
    }

    /// Deletes a manifest by the distribution API where that refuses, by the answers that
    /// `is_denied` knows, what something else names.
    async fn delete_unnamed(
        &self,
        repository: &Repository,
        digest: &Digest,
        is_denied: fn(&Answer) -> bool,
    ) -> Result<Deleted, RegistryError> {
        let at = Reference::Digest(digest.clone());
        let sent = self.send_delete(repository, &at).await;
        self.conclude(repository, &at, sent, |answer| match is_denied(answer) {
            true => Ok(Deleted::Refused { why: answer.message() }),
            false => deletes::meaning(answer),
        })
        .await
    }

    /// Returns those of the tags in a list that hold `digest` at this moment.
    async fn still_holding(
        &self,
        repository: &Repository,
        digest: &Digest,
        listed: &[String],
    ) -> Result<Vec<Tag>, RegistryError> {
        let mut holding = Vec::new();
        for tag in listed.iter().filter_map(|tag| tag.parse::<Tag>().ok()) {
            if self.head_manifest(repository, &tag.clone().into()).await?.as_ref() == Some(digest) {
                holding.push(tag);
            }
        }
        Ok(holding)
    }

    /// Returns the URL of `path` in the API that belongs to a repository's host; each part is
    /// escaped as a whole. `usual` is where it is unless something else is declared; a place that
    /// is known for one host is not shown another one's credentials.
    fn api_url(&self, repository: &Repository, usual: &str, path: &[&str]) -> Result<Url, RegistryError> {
        let host = repository.host();
        let error = |failure| RegistryError { request: format!("the API of {host}"), failure };
        let declared = self.providers.apis.get(host).map(String::as_str);
        let place = match self.provider(repository) {
            own @ (Provider::Ghcr | Provider::DockerHub) if Provider::of_host(host) != own => {
                let detail =
                    "where to show them is not known: hosts.toml declares no `api` for it".to_owned();
                declared.ok_or_else(|| error(Failure::Credentials { detail }))?
            }
            _ => declared.unwrap_or(usual),
        };
        let unfit = || Failure::Unreachable { detail: "its declared place is no URL".to_owned() };
        let mut url = Url::parse(place).map_err(|_| error(unfit()))?;
        let is_safe = url.scheme() == "https" || self.plain.contains(host) || address::is_loopback(&url);
        if !is_safe {
            let detail = "they would travel in plain http".to_owned();
            return Err(error(Failure::Credentials { detail }));
        }
        url.path_segments_mut().map_err(|()| error(unfit()))?.pop_if_empty().extend(path);
        Ok(url)
    }

    /// Sends a request to a provider's own API, which it may ask to wait for long.
    async fn ask(&self, request: Request) -> Result<Answer, RegistryError> {
        if self.authorizer.credentials.only_read() {
            let detail = "this run is lent credentials for reading alone".to_owned();
            return Err(request.error(Failure::Denied { detail }));
        }
        let wire = &self.authorizer.wire;
        wire.send(&request.limit(LIMIT).patient(PATIENCE), wire.deadline() + PATIENCE).await
    }

    async fn credential(&self, repository: &Repository) -> Result<Credential, RegistryError> {
        let host = repository.host();
        let name = address::server_name(repository);
        let found = self.authorizer.credentials.lookup(host, Some(&name)).await;
        found.map_err(|failure| RegistryError { request: format!("the API of {host}"), failure })
    }

    /// Returns what is shown to an API that takes tokens, if there is something: APIs take the
    /// password, or the token in its place, as it is.
    async fn bearer(&self, repository: &Repository) -> Result<Option<HeaderValue>, RegistryError> {
        Ok(match self.credential(repository).await? {
            Credential::Anonymous => None,
            Credential::Basic { password: token, .. }
            | Credential::Bearer(token)
            | Credential::IdentityToken(token) => secret_header(&format!("Bearer {}", token.expose())),
        })
    }

    /// Returns what is shown to an API that takes a user and a password, if there are some.
    async fn basic(&self, repository: &Repository) -> Result<Option<HeaderValue>, RegistryError> {
        Ok(match self.credential(repository).await? {
            Credential::Basic { user, password } => basic_header(&user, &password),
            _ => None,
        })
    }
}

/// Begins a request that shows `authorization`.
fn request(method: Method, url: Url, authorization: Option<HeaderValue>) -> Request {
    let is_read = method == Method::GET;
    let request = Request::new(method, url);
    let request = if is_read { request } else { request.once() };
    match authorization {
        Some(value) => request.header(AUTHORIZATION, value),
        None => request,
    }
}

/// Reads the body of a success.
fn body<T: DeserializeOwned>(answer: &Answer) -> Result<T, RegistryError> {
    if !answer.status.is_success() {
        return Err(answer.failure());
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| answer.untrusted(format!("it is not as documented: {error}")))
}

/// What the answers of these APIs to a delete have in common; `refusals` are the statuses with
/// which one says that it will not.
fn meaning(answer: &Answer, refusals: &[u16]) -> Result<Deleted, RegistryError> {
    match answer.status {
        StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Ok(Deleted::Gone),
        StatusCode::NOT_FOUND => Ok(Deleted::NotFound),
        status if refusals.contains(&status.as_u16()) => Ok(Deleted::Refused { why: answer.message() }),
        _ => Err(answer.failure()),
    }
}
