//! GitHub's container registry: a digest is one *version* of a package, with all its tags, and
//! is deleted by GitHub's REST API (docs.github.com, "REST API endpoints for packages").
//!
//! No tag goes alone. A package's last tagged version (400) and a public one of more than 5,000
//! downloads are refused: facts, not failures. For 30 days a deleted version can be brought back.
//! GitHub also answers 404 where a right is missing, so the registry is asked whether it is gone.

use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::super::answer::Answer;
use super::super::client::HttpRegistry;
use super::super::request::Request;
use super::{body, meaning, request};
use crate::adapter::locked::locked;
use crate::model::{Digest, Repository};
use crate::port::{Deleted, Failure, Reference, RegistryError};

const API: &str = "https://api.github.com/";

/// Versions asked for at a time: the most there are.
const PAGE: usize = 100;

#[derive(Deserialize)]
struct Version {
    id: u64,
    /// Its digest.
    name: String,
}

#[derive(Deserialize)]
struct Account {
    login: String,
    r#type: String,
}

impl HttpRegistry {
    pub(super) async fn delete_version(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Deleted, RegistryError> {
        let at = Reference::Digest(digest.clone());
        let id = match self.find_version(repository, digest).await? {
            Ok(id) => id,
            Err(list) => {
                return match self.head_manifest(repository, &at).await? {
                    None => Ok(Deleted::NotFound),
                    Some(_) if list.status.is_success() => {
                        Err(list.untrusted(format!("{} is not in it, but in the registry", digest.short())))
                    }
                    Some(_) => Err(list.failure()),
                };
            }
        };
        let request = self.versions(Method::DELETE, repository, &[&id.to_string()]).await?;
        let deleted = self.conclude(repository, &at, self.ask(request).await, said).await?;
        let state = &self.providers.github;
        if let Some(versions) = locked(&state.versions).get_mut(repository) {
            versions.remove(digest);
        }
        if deleted == Deleted::Gone {
            locked(&state.deleted).insert((repository.clone(), digest.clone()), id);
        }
        Ok(deleted)
    }

    pub(super) async fn restore_version(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let key = (repository.clone(), digest.clone());
        let Some(id) = locked(&self.providers.github.deleted).get(&key).copied() else { return Ok(false) };
        let request = self.versions(Method::POST, repository, &[&id.to_string(), "restore"]).await?;
        let error = match self.ask(request).await {
            Ok(answer) if answer.status.is_success() => None,
            Ok(answer) => Some(answer.failure()),
            Err(error) => Some(error),
        };
        match error {
            Some(error) if self.head_manifest(repository, &digest.clone().into()).await?.is_none() => {
                Err(error)
            }
            _ => {
                locked(&self.providers.github.deleted).remove(&key);
                Ok(true)
            }
        }
    }

    /// Finds the version of a digest; else returns the answer that does not have it.
    async fn find_version(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Result<u64, Answer>, RegistryError> {
        let versions = &self.providers.github.versions;
        if let Some(id) = locked(versions).get(repository).and_then(|ids| ids.get(digest)) {
            return Ok(Ok(*id));
        }
        let mut page = 1;
        loop {
            let mut request = self.versions(Method::GET, repository, &[]).await?;
            request.url.set_query(Some(&format!("per_page={PAGE}&page={page}")));
            let answer = self.ask(request).await?;
            if answer.status == StatusCode::NOT_FOUND {
                return Ok(Err(answer));
            }
            let list: Vec<Version> = body(&answer)?;
            let count = list.len();
            {
                let mut versions = locked(versions);
                let known = versions.entry(repository.clone()).or_default();
                // What is no digest is no version of an image.
                known.extend(list.into_iter().filter_map(|one| Some((one.name.parse().ok()?, one.id))));
                if let Some(id) = known.get(digest) {
                    return Ok(Ok(*id));
                }
            }
            if count < PAGE {
                return Ok(Err(answer));
            }
            page += 1;
            if page > self.authorizer.wire.limits().pages {
                return Err(answer.untrusted(format!("more than {} pages", page - 1)));
            }
        }
    }

    async fn versions(
        &self,
        method: Method,
        repository: &Repository,
        path: &[&str],
    ) -> Result<Request, RegistryError> {
        let (owner, package) = repository.name().split_once('/').unwrap_or((repository.name(), ""));
        let place = self.place(repository, owner).await?;
        let place = place.iter().map(String::as_str);
        let front = place.chain(["packages", "container", package, "versions"]);
        self.github(method, repository, &front.chain(path.iter().copied()).collect::<Vec<_>>()).await
    }

    /// Finds out where an owner's packages are: `/orgs/{org}`, `/user` for one's own, else
    /// `/users/{user}`.
    async fn place(&self, repository: &Repository, owner: &str) -> Result<Vec<String>, RegistryError> {
        let key = (repository.host().to_owned(), owner.to_owned());
        if let Some(place) = locked(&self.providers.github.places).get(&key) {
            return Ok(place.clone());
        }
        let asked = self.ask(self.github(Method::GET, repository, &["users", owner]).await?).await?;
        let account: Account = body(&asked)?;
        let place = if account.r#type == "Organization" {
            vec!["orgs".to_owned(), account.login]
        } else {
            let own = self.ask(self.github(Method::GET, repository, &["user"]).await?).await?;
            let own = match own.status.as_u16() {
                // A workflow's token is nobody's.
                403 | 404 if !own.is_limit() => None,
                _ => Some(body::<Account>(&own)?),
            };
            match own.is_some_and(|own| own.login.eq_ignore_ascii_case(&account.login)) {
                true => vec!["user".to_owned()],
                false => vec!["users".to_owned(), account.login],
            }
        };
        locked(&self.providers.github.places).insert(key, place.clone());
        Ok(place)
    }

    async fn github(
        &self,
        method: Method,
        repository: &Repository,
        path: &[&str],
    ) -> Result<Request, RegistryError> {
        let url = self.api_url(repository, API, path)?;
        let Some(token) = self.bearer(repository).await? else {
            let detail = "GitHub's API takes a token, and there is none".to_owned();
            return Err(Request::new(method, url).error(Failure::Unauthorized { detail }));
        };
        Ok(request(method, url, Some(token))
            .header(ACCEPT, HeaderValue::from_static("application/vnd.github+json"))
            .header(HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28")))
    }
}

/// What GitHub says to a delete. Its refusals share their statuses with errors, so it is the
/// words that tell them.
fn said(answer: &Answer) -> Result<Deleted, RegistryError> {
    let words = answer.message();
    let is_denied = words.contains("last tagged version")
        || words.contains("5000 downloads")
        || words.contains("5,000 downloads");
    match answer.status.as_u16() {
        400 | 403 | 422 if is_denied => Ok(Deleted::Refused { why: words }),
        _ => meaning(answer, &[]),
    }
}
