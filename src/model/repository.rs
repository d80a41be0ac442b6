//! Repositories: a registry host and a name in it.

use std::fmt;
use std::str::FromStr;

/// A repository, `host[:port]/name`, as in `ghcr.io/easycrypt/ec-base-box`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    host: Box<str>,
    name: Box<str>,
}

/// Why a text is not a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// The part before the first slash is no registry host.
    #[error(
        "`{text}` is not a registry host; expected a name or address with an optional port, such as ghcr.io or 127.0.0.1:5000"
    )]
    Host {
        /// The text, made printable.
        text: String,
    },
    /// The name does not follow the distribution grammar.
    #[error(
        "`{text}` is not a repository name; expected lower-case words joined by `.`, `_`, `-` or `/`, at most 255 characters"
    )]
    Name {
        /// The text, made printable.
        text: String,
    },
}

impl Repository {
    /// Joins a registry prefix (`ghcr.io/easycrypt` or just a host) and a name.
    pub fn new(registry: &str, name: &str) -> Result<Self, RepositoryError> {
        format!("{registry}/{name}").parse()
    }

    /// Returns the registry's host and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the name inside the registry.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Repository {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        let (host, name) = text.split_once('/').unwrap_or((text, ""));
        if !is_host(host) {
            return Err(RepositoryError::Host { text: super::printable(host, 80) });
        }
        if name.len() > 255 || !name.split('/').all(is_component) {
            return Err(RepositoryError::Name { text: super::printable(name, 80) });
        }
        Ok(Self { host: host.into(), name: name.into() })
    }
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let label = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let address = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    (address || name.split('.').all(label)) && port_is_good
}

/// One path component of the distribution-spec's name grammar:
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !text.bytes().next().is_some_and(alphanumeric) || !text.bytes().last().is_some_and(alphanumeric) {
        return false;
    }
    text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Tells whether a host, with its port if there is one, names this machine: `localhost`, or an
/// address of loopback. No name server is asked.
pub fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok_and(|address| address.is_loopback()),
        None => {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_distribution_grammar() {
        for good in ["ghcr.io/easycrypt/ec-base-box", "127.0.0.1:5000/a", "[::1]:5000/a/b", "host/a__b.c--d"]
        {
            assert_eq!(good.parse::<Repository>().unwrap().to_string(), good);
        }
        for bad in [
            "ghcr.io",
            "ghcr.io/",
            "ghcr.io/A",
            "ghcr.io/a//b",
            "h/a..b",
            "h/a._b",
            "h/-a",
            "h/a-",
            ":5/a",
            "h:0/a",
            "h:x/a",
            "../a",
            "h/../b",
        ] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_loopback_names_pass() {
        for good in ["127.0.0.1:5000", "localhost", "LOCALHOST:1", "[::1]:5000", "[::1]", "127.8.8.8"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in
            ["", ":5000", "evil.example:5000", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil", "::1"]
        {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
