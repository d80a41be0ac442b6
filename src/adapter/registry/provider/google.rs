//! Google Artifact Registry: a tag goes alone, by the distribution API. A manifest is refused
//! while a tag or an index names it, so its tags go first (cloud.google.com, "Manage images").

use reqwest::Method;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::super::client::{HttpRegistry, Right};
use super::super::deletes::meaning;
use super::{LIMIT, body};
use crate::model::{Digest, Repository};
use crate::port::{Deleted, Reference, RegistryError};

/// Its list of tags tells what they hold.
#[derive(Deserialize)]
struct List {
    #[serde(default)]
    manifest: BTreeMap<String, Listed>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    tag: Vec<String>,
}

impl HttpRegistry {
    pub(super) async fn delete_from_google(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Deleted, RegistryError> {
        let first = self.delete_google_manifest(repository, digest).await?;
        if !matches!(first, Deleted::Refused { .. }) {
            return Ok(first);
        }
        let request = self.request(Method::GET, repository, "tags/list")?.limit(LIMIT);
        let list: List = body(&self.send(request, repository, Right::Pull).await?)?;
        let tags = list.manifest.get(digest.as_str()).map(|listed| listed.tag.as_slice()).unwrap_or_default();
        for tag in self.still_holding(repository, digest, tags).await? {
            self.delete_at(repository, &Reference::Tag(tag)).await?;
        }
        self.delete_google_manifest(repository, digest).await
    }

    async fn delete_google_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Deleted, RegistryError> {
        let at = Reference::Digest(digest.clone());
        let sent = self.send_delete(repository, &at).await;
        let refusals = ["GOOGLE_MANIFEST_DANGLING_TAG", "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE"];
        self.conclude(repository, &at, sent, |answer| {
            match refusals.iter().any(|code| answer.has_code(code)) {
                true => Ok(Deleted::Refused { why: answer.message() }),
                false => meaning(answer),
            }
        })
        .await
    }
}
