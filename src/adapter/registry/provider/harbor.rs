//! Harbor 2: `/api/v2.0/projects/{project}/repositories/{repository}/artifacts` (Harbor's
//! `swagger.yaml`; the name of a repository is escaped twice).
//!
//! A tag goes alone. An artifact goes with its tags, and an index with those of its children that
//! have no tag: that is more than is asked for, so an index stays. 412 means that something
//! needs it, or that a rule makes it immutable.

use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::super::client::HttpRegistry;
use super::super::request::Request;
use super::{body, meaning, request};
use crate::model::{Digest, Repository, Tag};
use crate::port::{Deleted, Reference, RegistryError};

/// What an artifact says of itself.
#[derive(Deserialize)]
struct Artifact {
    digest: String,
    /// The children of an index.
    references: Option<Vec<serde_json::Value>>,
}

impl HttpRegistry {
    pub(super) async fn delete_artifact_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Deleted, RegistryError> {
        let name = tag.as_str();
        // Named by the tag itself, whatever it holds by now.
        let request = self.artifact(Method::DELETE, repository, &[name, "tags", name]).await?;
        let (at, sent) = (Reference::Tag(tag.clone()), self.ask(request).await);
        self.conclude(repository, &at, sent, |answer| meaning(answer, &[412])).await
    }

    pub(super) async fn delete_artifact(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Deleted, RegistryError> {
        let at = Reference::Digest(digest.clone());
        let path = [digest.as_str()];
        let found = self.ask(self.artifact(Method::GET, repository, &path).await?).await?;
        if found.status != StatusCode::NOT_FOUND {
            let artifact: Artifact = body(&found)?;
            if artifact.digest != digest.as_str() {
                return Err(found.untrusted(format!("it is about {}", artifact.digest)));
            }
            if artifact.references.is_some_and(|children| !children.is_empty()) {
                let why = "it is an index, and Harbor would delete its untagged children with it".to_owned();
                return Ok(Deleted::Refused { why });
            }
        }
        let sent = self.ask(self.artifact(Method::DELETE, repository, &path).await?).await;
        self.conclude(repository, &at, sent, |answer| meaning(answer, &[412])).await
    }

    async fn artifact(
        &self,
        method: Method,
        repository: &Repository,
        path: &[&str],
    ) -> Result<Request, RegistryError> {
        let root = self.root(repository.host())?;
        let (project, name) = repository.name().split_once('/').unwrap_or((repository.name(), ""));
        let name = name.replace('/', "%2F");
        let front = ["api", "v2.0", "projects", project, "repositories", &name, "artifacts"];
        let path: Vec<&str> = front.into_iter().chain(path.iter().copied()).collect();
        let url: Url = self.api_url(repository, root.as_str(), &path)?;
        let shown: Option<HeaderValue> = self.basic(repository).await?;
        Ok(request(method, url, shown))
    }
}
