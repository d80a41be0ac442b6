//! Amazon ECR: an image goes with all its tags by `BatchDeleteImage`, which refuses the children
//! of an index (docs.aws.amazon.com, "BatchDeleteImage", "ImageFailure"). It wants signed
//! requests, and so keys from the environment; without them, or where the environment names another
//! registry, nothing is deleted here.

use std::time::SystemTime;

use bytes::Bytes;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::super::answer::Answer;
use super::super::client::HttpRegistry;
use super::request;
use crate::model::{Digest, Repository, Timestamp, ecr_account, printable};
use crate::port::{Deleted, Reference, RegistryError};

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.BatchDeleteImage";
const MEDIA_TYPE: &str = "application/x-amz-json-1.1";

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    failures: Vec<ImageFailure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageFailure {
    failure_code: String,
    failure_reason: Option<String>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "__type")]
    kind: String,
}

impl HttpRegistry {
    /// Says why nothing can be deleted in this registry, if so.
    pub(super) fn ecr_lacks(&self, repository: &Repository) -> Option<String> {
        let policy = "a lifecycle policy of the registry can delete in its place";
        if self.providers.aws.is_none() {
            return Some(format!("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set; {policy}"));
        }
        let (host, name) = (repository.host(), repository.name());
        if !self.authorizer.credentials.is_home(host, name) {
            return Some(format!(
                "keys of the environment are for the registry that it names: set BOXWRIGHT_REGISTRY to {host}, or to a path in it, if that is who they are for"
            ));
        }
        let is_known = ecr_account(repository.host()).is_some();
        (!is_known && self.region().is_none()).then(|| format!("AWS_REGION is not set; {policy}"))
    }

    fn region(&self) -> Option<&str> {
        self.providers.aws.as_ref()?.region.as_deref()
    }

    pub(super) async fn delete_image(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Deleted, RegistryError> {
        let (Some(keys), None) = (&self.providers.aws, self.ecr_lacks(repository)) else {
            return Ok(Deleted::Refused { why: self.ecr_lacks(repository).unwrap_or_default() });
        };
        let account = ecr_account(repository.host());
        let region = account.map(|(_, region)| region).or(self.region()).unwrap_or_default();
        let china = if region.starts_with("cn-") { ".cn" } else { "" };
        let url =
            self.api_url(repository, &format!("https://api.ecr.{region}.amazonaws.com{china}/"), &[])?;
        let mut asked = serde_json::json!({
            "repositoryName": repository.name(),
            "imageIds": [{ "imageDigest": digest.as_str() }],
        });
        if let Some((account, _)) = account {
            asked["registryId"] = account.into();
        }
        let asked = Bytes::from(asked.to_string());
        let mut sending = request(Method::POST, url.clone(), None).body(MEDIA_TYPE, asked.clone());
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = Timestamp::from_unix(i64::try_from(seconds).unwrap_or_default());
        let headers = [("content-type", MEDIA_TYPE), ("host", &authority(&url)), ("x-amz-target", TARGET)];
        for (name, value) in keys.sign("POST", url.path(), &headers, &asked, (region, "ecr"), now) {
            if let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                value.set_sensitive(true);
                sending = sending.header(name, value);
            }
        }
        sending = sending.header(HeaderName::from_static("x-amz-target"), HeaderValue::from_static(TARGET));
        let at = Reference::Digest(digest.clone());
        self.conclude(repository, &at, self.ask(sending).await, said).await
    }
}

/// The `Host` that is sent.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

fn said(answer: &Answer) -> Result<Deleted, RegistryError> {
    if !answer.status.is_success() {
        let kind = serde_json::from_slice::<Exception>(&answer.body).map(|exception| exception.kind);
        return match kind {
            Ok(kind) if kind.ends_with("RepositoryNotFoundException") => Ok(Deleted::NotFound),
            _ => Err(answer.failure()),
        };
    }
    let outcome: Outcome = super::body(answer)?;
    match outcome.failures.first() {
        None => Ok(Deleted::Gone),
        Some(failure) if failure.failure_code == "ImageNotFound" => Ok(Deleted::NotFound),
        Some(failure) => {
            let reason = failure.failure_reason.as_deref().unwrap_or("no reason given");
            Ok(Deleted::Refused { why: printable(&format!("{}: {reason}", failure.failure_code), 300) })
        }
    }
}
