//! Google Artifact Registry: a tag goes alone, by the distribution API. A manifest is refused
//! while a tag or an index names it, so its tags go first (cloud.google.com, "Manage images").

use reqwest::Method;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::super::answer::Answer;
use super::super::client::{HttpRegistry, Right};
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
        let first = self.delete_unnamed(repository, digest, is_named).await?;
        if !matches!(first, Deleted::Refused { .. }) {
            return Ok(first);
        }
        let request = self.request(Method::GET, repository, "tags/list")?.limit(LIMIT);
        let list: List = body(&self.send(request, repository, Right::Pull).await?)?;
        let tags = list.manifest.get(digest.as_str()).map(|listed| listed.tag.as_slice()).unwrap_or_default();
        for tag in self.still_holding(repository, digest, tags).await? {
            self.delete_at(repository, &Reference::Tag(tag)).await?;
        }
        self.delete_unnamed(repository, digest, is_named).await
    }
}

fn is_named(answer: &Answer) -> bool {
    let refusals = ["GOOGLE_MANIFEST_DANGLING_TAG", "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE"];
    refusals.iter().any(|code| answer.has_code(code))
}
