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
        let mut details = Vec::new();
        let mut wrong = error.is_builder();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            details.push(inner.to_string());
            wrong |= is_tls(inner) || inner.is::<InternalAddress>();
            cause = inner.source();
        }
        let detail = printable(&cause_of(&error.to_string(), &details), 500);
        match (wrong, error.is_connect()) {
            (true, _) => Self::Wrong(detail),
            (false, true) => Self::Refused(detail),
            (false, false) => Self::Lost(detail),
        }
    }
}

/// Words what went wrong, without the names of the layers that it passed through.
fn cause_of(outermost: &str, causes: &[String]) -> String {
    let layers = ["client error (", "tcp connect error", "error sending request"];
    // What http/2 says goes on after these words.
    let is_layer =
        |text: &str| text == "connection error" || layers.iter().any(|layer| text.starts_with(layer));
    let mut words: Vec<&str> = causes.iter().map(String::as_str).filter(|text| !is_layer(text)).collect();
    words.dedup();
    let said = if words.is_empty() {
        causes.last().map_or(outermost, String::as_str).to_owned()
    } else {
        words.join(": ")
    };
    // The number is of no use beside its words.
    let said = said.split_once(" (os error ").map_or(&*said, |(words, _)| words);
    match said.chars().next().filter(|first| first.is_ascii_uppercase()) {
        Some(first) if said[1..].starts_with(|second: char| second.is_ascii_lowercase()) => {
            format!("{}{}", first.to_ascii_lowercase(), &said[1..])
        }
        _ => said.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_that_an_error_passed_are_not_told() {
        let told = |causes: &[&str]| {
            let causes: Vec<String> = causes.iter().map(|&cause| cause.to_owned()).collect();
            cause_of("error sending request", &causes)
        };
        let refused = "Connection refused (os error 111)";
        assert_eq!(told(&["client error (Connect)", "tcp connect error", refused]), "connection refused");
        let dns = ["client error (Connect)", "dns error", "failed to look up: Name or service not known"];
        assert_eq!(told(&dns), "dns error: failed to look up: Name or service not known");
        assert_eq!(told(&["operation timed out"]), "operation timed out");
        let away = [
            "client error (SendRequest)",
            "connection error",
            "connection error received: not a result of an error",
        ];
        assert_eq!(told(&away), "connection error received: not a result of an error");
        assert_eq!(told(&["client error (SendRequest)"]), "client error (SendRequest)");
        assert_eq!(told(&[]), "error sending request");
        assert_eq!(told(&["TLS says no"]), "TLS says no");
    }
}
