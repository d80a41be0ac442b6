//! Docker Hub: a tag goes by Hub's own API (`DELETE /v2/repositories/{name}/tags/{tag}/`, with a
//! token of `POST /v2/auth/token`), a manifest by the registry's, which answers 403 as long as a
//! tag or another image names it (docs.docker.com, "Docker Hub API", "Registry API").

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use tokio::time::Instant;

use super::super::address;
use super::super::answer::Answer;
use super::super::auth::secret_header;
use super::super::client::HttpRegistry;
use super::{body, meaning, request};
use crate::adapter::credentials::Credential;
use crate::model::{Digest, Repository, Tag};
use crate::port::{Deleted, Failure, Reference, RegistryError};

const API: &str = "https://hub.docker.com/";

/// Tags asked for at a time.
const PAGE: usize = 100;

/// How long a token is used; Hub's live longer.
const LIFE: Duration = Duration::from_secs(240);

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Page {
    next: Option<String>,
    results: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    digest: Option<String>,
}

impl HttpRegistry {
    pub(super) async fn delete_hub_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Deleted, RegistryError> {
        let url = self.hub_url(repository, &["tags", tag.as_str(), ""])?;
        let sent = self.ask(request(Method::DELETE, url, Some(self.hub_token(repository).await?))).await;
        self.conclude(repository, &Reference::Tag(tag.clone()), sent, |answer| meaning(answer, &[])).await
    }

    pub(super) async fn delete_from_hub(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Deleted, RegistryError> {
        let first = self.delete_unnamed(repository, digest, is_named).await?;
        if !matches!(first, Deleted::Refused { .. }) {
            return Ok(first);
        }
        let tags = self.hub_tags(repository, digest).await?;
        for tag in self.still_holding(repository, digest, &tags).await? {
            self.delete_hub_tag(repository, &tag).await?;
        }
        self.delete_unnamed(repository, digest, is_named).await
    }

    /// Returns the tags that Hub lists with a digest.
    async fn hub_tags(&self, repository: &Repository, digest: &Digest) -> Result<Vec<String>, RegistryError> {
        let mut tags = Vec::new();
        for page in 1..=self.authorizer.wire.limits().pages {
            let mut url = self.hub_url(repository, &["tags"])?;
            url.set_query(Some(&format!("page_size={PAGE}&page={page}")));
            let token = self.hub_token(repository).await?;
            let list: Page = body(&self.ask(request(Method::GET, url, Some(token))).await?)?;
            let is_it = |listed: &Listed| listed.digest.as_deref() == Some(digest.as_str());
            tags.extend(list.results.into_iter().filter(is_it).map(|listed| listed.name));
            if list.next.is_none() {
                break;
            }
        }
        Ok(tags)
    }

    fn hub_url(&self, repository: &Repository, path: &[&str]) -> Result<Url, RegistryError> {
        let name = address::server_name(repository);
        let path: Vec<&str> =
            ["v2", "repositories"].into_iter().chain(name.split('/')).chain(path.iter().copied()).collect();
        self.api_url(repository, API, &path)
    }

    async fn hub_token(&self, repository: &Repository) -> Result<HeaderValue, RegistryError> {
        // Of many requests that need it, one asks for it.
        let mut tokens = self.providers.hub.lock().await;
        if let Some((token, _)) = tokens.get(repository).filter(|(_, until)| Instant::now() < *until) {
            return Ok(token.clone());
        }
        let url = self.api_url(repository, API, &["v2", "auth", "token"])?;
        let asking = request(Method::POST, url, None);
        let Credential::Basic { user, password } = self.credential(repository).await? else {
            let detail = "Docker Hub's API takes a user and a password or token".to_owned();
            return Err(asking.error(Failure::Unauthorized { detail }));
        };
        let shown = serde_json::json!({ "identifier": user, "secret": password.expose() });
        let answer = self.ask(asking.body("application/json", Bytes::from(shown.to_string()))).await?;
        let token: Token = body(&answer)?;
        let header = secret_header(&format!("Bearer {}", token.access_token));
        let header = header.ok_or_else(|| answer.untrusted("it holds no token"))?;
        tokens.insert(repository.clone(), (header.clone(), Instant::now() + LIFE));
        Ok(header)
    }
}

fn is_named(answer: &Answer) -> bool {
    answer.status == StatusCode::FORBIDDEN && !answer.is_limit()
}
