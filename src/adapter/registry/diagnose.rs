//! What is asked of a registry to find out what is wrong with it, and nothing is left of.

use bytes::Bytes;
use reqwest::header::{DATE, HeaderName};
use reqwest::{Method, StatusCode};

use super::client::{HttpRegistry, Right};
use super::request::Request;
use super::session;
use crate::model::{Provider, Repository, Timestamp, printable};
use crate::port::RegistryError;

/// How a host answered at the base of the distribution API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The HTTP status: 200, or 401 where one has to log in.
    pub status: u16,
    /// The version of the API that it names.
    pub api: Option<String>,
    /// Where it was asked, `https://…`.
    pub url: String,
    /// Its own time.
    pub date: Option<Timestamp>,
}

impl HttpRegistry {
    /// Returns who runs a repository's host, as far as is known.
    pub fn provider_of(&self, repository: &Repository) -> Provider {
        self.provider(repository)
    }

    /// Asks a host for the base of the API, without logging in.
    pub async fn greet(&self, host: &str) -> Result<Greeting, RegistryError> {
        let wire = &self.authorizer.wire;
        let url = self.root(host)?;
        let request = Request::new(Method::GET, url.join("v2/").unwrap_or(url));
        let answer = wire.send(&request, wire.deadline()).await?;
        let api = answer.header(HeaderName::from_static("docker-distribution-api-version"));
        Ok(Greeting {
            status: answer.status.as_u16(),
            api: api.map(|text| printable(text, 80)),
            url: request.url.to_string(),
            date: answer.header(DATE).and_then(Timestamp::from_http_date),
        })
    }

    /// Begins an upload and gives it up: whoever may do that may push. Returns whether the
    /// registry let go of it at once; others do so when nothing comes for a while.
    pub async fn try_upload(&self, repository: &Repository) -> Result<bool, RegistryError> {
        let begin = self.request(Method::POST, repository, "blobs/uploads/")?;
        let begin = begin.body("application/octet-stream", Bytes::new());
        let answer = self.send(begin, repository, Right::Push).await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(answer.failure());
        }
        let Ok(url) = session::target(&answer, &answer.url) else { return Ok(false) };
        let cancel = Request::new(Method::DELETE, url).once();
        let answer = self.send(cancel, repository, Right::Push).await;
        Ok(answer.is_ok_and(|answer| answer.status.is_success()))
    }
}
