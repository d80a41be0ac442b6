//! What a registry answered, and what may be concluded from it.

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::request;
use super::rest::BodyStream;
use super::shown::SentSecrets;
use crate::model::{Digest, printable};
use crate::port::{Failure, RegistryError};

/// How many requests are left until [`RESET`].
pub(super) const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// When there are more again, in seconds of Unix time.
pub(super) const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// One answer; the body is complete and within the limit that the request set, or not begun.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What comes after that, if the request left it unread.
    pub(super) rest: Option<BodyStream>,
    /// What its request showed, and nobody is to be told.
    pub(super) shown: SentSecrets,
    /// What one must be allowed to do for another answer.
    pub(super) scope: Option<String>,
}

impl Answer {
    /// Returns a header as text; one that is no text counts as absent.
    pub(super) fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.headers.get(name.into())?.to_str().ok()
    }

    /// Returns the digest that the registry claims, if it is one.
    pub(super) fn claimed_digest(&self) -> Option<Digest> {
        self.header(HeaderName::from_static("docker-content-digest"))?.parse().ok()
    }

    /// Tells whether the registry says that the thing is not there.
    ///
    /// A 404 with a page of some web server in it says nothing about an image.
    ///
    /// # Errors
    /// Untrusted if the 404 does not come from a registry.
    pub(super) fn is_absent(&self) -> Result<bool, RegistryError> {
        if self.status != StatusCode::NOT_FOUND {
            return Ok(false);
        }
        if self.method == Method::HEAD || self.body.is_empty() || self.errors().is_some() {
            return Ok(true);
        }
        Err(self.untrusted(format!("a 404 that is not a registry's ({})", self.detail())))
    }

    /// Tells whether the registry has had enough for now, where its status says that something
    /// is forbidden: it names a time, or says that nothing is left (docs.github.com, "Rate limits
    /// for the REST API").
    pub(super) fn is_limit(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
            && (self.header(RETRY_AFTER).is_some() || self.header(REMAINING) == Some("0"))
    }

    /// Turns an answer that is no success into its error.
    pub(super) fn failure(&self) -> RegistryError {
        let detail = self.detail();
        let scoped = |detail: String| match &self.scope {
            Some(scope) => format!("{detail}; it takes {scope}"),
            None => detail,
        };
        let failure = match self.status.as_u16() {
            401 => Failure::Unauthorized { detail: scoped(detail) },
            // A limit is no refusal.
            403 if self.is_limit() => Failure::Status { status: 403, detail },
            403 => Failure::Denied { detail: scoped(detail) },
            405 => Failure::Unsupported { detail },
            400..500 if self.has_code("UNSUPPORTED") => Failure::Unsupported { detail },
            status => Failure::Status { status, detail },
        };
        self.error(failure)
    }

    /// Refuses the answer.
    pub(super) fn untrusted(&self, detail: impl Into<String>) -> RegistryError {
        self.error(Failure::Untrusted { detail: self.shown.taken_out_of(&detail.into()) })
    }

    fn error(&self, failure: Failure) -> RegistryError {
        RegistryError { request: request::name(&self.method, &self.url), failure }
    }

    /// Tells whether the registry gave this error code (distribution-spec, "Error codes").
    pub(super) fn has_code(&self, code: &str) -> bool {
        self.errors().is_some_and(|errors| errors.iter().any(|error| error.code == code))
    }

    /// The same, where an API has one message in place of a registry's errors.
    pub(super) fn message(&self) -> String {
        #[derive(Deserialize)]
        struct Body {
            #[serde(alias = "detail", alias = "Message")]
            message: String,
        }
        match serde_json::from_slice::<Body>(&self.body) {
            Ok(body) => printable(&self.shown.taken_out_of(&body.message), 300),
            Err(_) => self.detail(),
        }
    }

    fn errors(&self) -> Option<Vec<ErrorEntry>> {
        Some(serde_json::from_slice::<ErrorBody>(&self.body).ok()?.errors)
    }

    /// What the registry said, on one printable line.
    fn detail(&self) -> String {
        let said = match self.errors() {
            Some(errors) if !errors.is_empty() => {
                let lines = errors.iter().take(3).map(|error| match error.message.as_deref() {
                    Some(message) if !message.is_empty() => format!("{}: {message}", error.code),
                    _ => error.code.clone(),
                });
                lines.collect::<Vec<_>>().join("; ")
            }
            _ => String::from_utf8_lossy(&self.body).trim().to_owned(),
        };
        if said.is_empty() {
            return self.status.canonical_reason().unwrap_or("no explanation").to_owned();
        }
        printable(&self.shown.taken_out_of(&said), 300)
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    message: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    impl Answer {
        /// What a GET of `url` is answered with.
        pub(in super::super) fn to_get(url: &str, status: u16, headers: HeaderMap, body: &str) -> Self {
            Self {
                method: Method::GET,
                url: url.parse().unwrap(),
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                body: Bytes::copy_from_slice(body.as_bytes()),
                rest: None,
                shown: SentSecrets::default(),
                scope: None,
            }
        }
    }

    fn answer(status: u16, body: &str) -> Answer {
        let url = "https://user:secret@r.example/v2/a/manifests/b?sig=secret";
        Answer::to_get(url, status, HeaderMap::new(), body)
    }

    #[test]
    fn errors_name_the_image_and_no_secret() {
        let text = answer(500, "<b>\u{1b}[2J</b>\nmore").failure().to_string();
        assert_eq!(text, "r.example/a:b: the registry answered 500 (<b>\\u{1b}[2J</b>\\nmore)");
        let text = answer(503, "").failure().to_string();
        assert!(text.ends_with("answered 503 (Service Unavailable)"), "{text}");
        let body = r#"{"errors":[{"code":"DENIED","message":"no\u001b[31m"},{"code":"X"}]}"#;
        assert_eq!(
            answer(403, body).failure().failure.to_string(),
            "permission denied (DENIED: no\\u{1b}[31m; X)"
        );
        assert!(answer(500, &"x".repeat(5000)).failure().to_string().len() < 400);
    }

    #[test]
    fn unsupported_is_a_status_or_a_code() {
        let unsupported = r#"{"errors":[{"code":"UNSUPPORTED"}]}"#;
        assert!(matches!(answer(405, "").failure().failure, Failure::Unsupported { .. }));
        assert!(matches!(answer(400, unsupported).failure().failure, Failure::Unsupported { .. }));
        assert!(matches!(answer(500, unsupported).failure().failure, Failure::Status { status: 500, .. }));
        assert!(matches!(answer(401, unsupported).failure().failure, Failure::Unauthorized { .. }));
    }

    #[test]
    fn a_404_counts_only_from_a_registry() {
        assert!(answer(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#).is_absent().unwrap());
        assert!(answer(404, "").is_absent().unwrap());
        assert!(!answer(500, "").is_absent().unwrap());
        for page in ["404 page not found", "<html>", r#"{"message":"no such route"}"#] {
            let error = answer(404, page).is_absent().unwrap_err();
            assert!(matches!(error.failure, Failure::Untrusted { .. }), "{error}");
        }
    }
}
