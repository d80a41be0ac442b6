//! Why there is no answer, and whether there may be one later.

use super::resolve::InternalAddress;
use crate::model::printable;
use crate::port::Failure;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// No connection: nothing was sent.
    Refused(String),
    /// The other side is not who it should be, or speaks another language; it will not change.
    Wrong(String),
    /// The connection was lost or silent after something was sent.
    Lost(String),
    /// The body is longer than this, which the request allows.
    TooLong(usize),
}

impl From<reqwest::Error> for Broken {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut detail = error.to_string();
        let mut wrong = error.is_builder();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            detail.push_str(": ");
            detail.push_str(&inner.to_string());
            wrong |= is_tls(inner) || inner.is::<InternalAddress>();
            cause = inner.source();
        }
        let detail = printable(&detail, 500);
        match (wrong, error.is_connect()) {
            (true, _) => Self::Wrong(detail),
            (false, true) => Self::Refused(detail),
            (false, false) => Self::Lost(detail),
        }
    }
}

/// Tells whether TLS itself refused: a bad certificate, a wrong name, http on an https port.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    // An I/O error shows the cause of what it wraps, and not what it wraps.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|inner| is_tls(inner))
}

impl Broken {
    /// Says it in a word or two.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Refused(_) => "no connection",
            Self::Wrong(_) | Self::TooLong(_) => "no usable answer",
            Self::Lost(_) => "no answer",
        }
    }

    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Refused(detail) | Self::Wrong(detail) | Self::Lost(detail) => {
                Failure::Unreachable { detail }
            }
            Self::TooLong(limit) => Failure::TooLong { limit },
        }
    }
}
