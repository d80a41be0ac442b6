//! Azure Container Registry: a tag goes by the registry's own API, a manifest by the
//! distribution's (learn.microsoft.com, "Azure Container Registry REST API": `DELETE
//! /acr/v1/{name}/_tags/{reference}`, 202). A locked image or tag is refused with 405.

use reqwest::Method;

use super::super::address;
use super::super::client::{HttpRegistry, Right};
use super::{meaning, request};
use crate::model::{Repository, Tag};
use crate::port::{Deleted, Reference, RegistryError};

impl HttpRegistry {
    pub(super) async fn delete_acr_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Deleted, RegistryError> {
        let mut url = self.root(repository.host())?;
        url.set_path(&format!("acr/v1/{}/_tags/{tag}", address::server_name(repository)));
        let sent = self.send(request(Method::DELETE, url, None), repository, Right::Delete).await;
        let at = Reference::Tag(tag.clone());
        self.conclude(repository, &at, sent, |answer| meaning(answer, &[405])).await
    }
}
