//! Refusals in the form of the distribution-spec ("Error Codes"), and common headers.

use std::io::ErrorKind;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::adapter::embedded::EmbeddedError;
use crate::adapter::embedded::store::PutError;
use crate::model::{DigestError, RepositoryError, TagError};

/// An answer to a client.
pub type Answer = Response<Body>;

/// `Docker-Content-Digest`
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A request that is not fulfilled.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    header: Option<(HeaderName, String)>,
}

impl Refusal {
    /// Refuses with a status, a code of the specification and a sentence.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }

    /// Adds a header that the status calls for.
    pub fn with(self, name: HeaderName, value: impl Into<String>) -> Self {
        Self { header: Some((name, value.into())), ..self }
    }

    /// No credentials, or wrong ones.
    pub fn unauthorized() -> Self {
        let message = "this registry is open to the boxwright command that serves it";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
            .with(header::WWW_AUTHENTICATE, "Basic realm=\"boxwright\"")
    }

    /// No such path.
    pub fn no_endpoint() -> Self {
        Self::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such endpoint")
    }

    /// No such method on this path.
    pub fn method(allowed: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", format!("only {allowed} are supported here"))
            .with(header::ALLOW, allowed)
    }

    /// A name outside the grammar.
    pub fn name(error: RepositoryError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", error.to_string())
    }

    /// A tag outside the grammar.
    pub fn tag(error: TagError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "TAG_INVALID", error.to_string())
    }

    /// A digest outside the grammar.
    pub fn digest(error: DigestError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", error.to_string())
    }

    /// No such manifest.
    pub fn manifest_unknown(at: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", format!("no manifest {at} in this repository"))
    }

    /// Writes the answer.
    pub fn into_answer(self) -> Answer {
        let body = json!({ "errors": [{ "code": self.code, "message": self.message }] });
        let mut answer = Response::new(Body::from(body.to_string()));
        *answer.status_mut() = self.status;
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = self.header
            && let Ok(value) = HeaderValue::try_from(value)
        {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

impl From<EmbeddedError> for Refusal {
    fn from(error: EmbeddedError) -> Self {
        // An engine asks for minutes again after a 5xx and then tells the status alone; after
        // this it stops at once and passes the sentence on.
        let is_full =
            matches!(&error, EmbeddedError::Io { source, .. } if source.kind() == ErrorKind::StorageFull);
        if is_full {
            return Self::new(StatusCode::PAYLOAD_TOO_LARGE, "DENIED", error.to_string());
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error.to_string())
    }
}

impl From<PutError> for Refusal {
    fn from(error: PutError) -> Self {
        let message = error.to_string();
        let code = match error {
            PutError::Invalid(_) => "MANIFEST_INVALID",
            PutError::Unknown { .. } => "MANIFEST_BLOB_UNKNOWN",
            PutError::Size { .. } => "SIZE_INVALID",
            PutError::Store(error) => return error.into(),
        };
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

/// Builds an answer from headers that are all well-formed by construction; one that is not
/// would be an internal error, never a panic.
pub fn answer(
    status: StatusCode,
    headers: impl IntoIterator<Item = (HeaderName, String)>,
    body: impl Into<Body>,
) -> Result<Answer, Refusal> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder
        .body(body.into())
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", error.to_string()))
}
