//! To whom credentials are lent.
//!
//! What the environment holds belongs to the registry, and the path in it, that the environment
//! names as well. A host that only the repository under build names is shown none of it: whoever
//! can change a file there could else have it sent anywhere.

use std::fmt;

use crate::model::Repository;

/// A registry, or a part of one: `ghcr.io`, `ghcr.io/my-org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    host: String,
    /// Whole segments; nothing for the whole registry.
    path: Option<String>,
}

impl Place {
    /// Reads `HOST[:PORT][/PATH]`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('/');
        let whole = Repository::new(text, "a").ok()?;
        let path = whole.name().strip_suffix("/a").map(str::to_owned);
        Some(Self { host: usual_name(whole.host()).to_owned(), path })
    }

    /// Tells whether a repository is in it; without one, whether all that `host` has is.
    pub fn holds(&self, host: &str, repository: Option<&str>) -> bool {
        let is_below = |path: &str| {
            let rest = repository.and_then(|name| name.strip_prefix(path));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.is_at(host) && self.path.as_deref().is_none_or(is_below)
    }

    /// Tells whether it is at this host.
    pub fn is_at(&self, host: &str) -> bool {
        self.host == usual_name(host)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.path.as_deref().map_or(Ok(()), |path| write!(f, "/{path}"))
    }
}

/// Docker Hub has three names, of which references have the first.
pub(super) fn usual_name(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// What a run may do with credentials, which its cause decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lending {
    /// All that they are good for.
    #[default]
    All,
    /// Reading. What the user's files hold is lent beneath the place that the environment names,
    /// if it names one.
    Reading,
    /// Reading beneath the place that the environment names, and nothing elsewhere.
    ReadingAtHome,
}

impl Lending {
    /// Tells whether the user's files are looked at for a place.
    pub(super) fn opens_files(self, home: Option<&Place>, is_home: bool) -> bool {
        match self {
            Self::All => true,
            Self::Reading => home.is_none() || is_home,
            Self::ReadingAtHome => is_home,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_holds_whole_segments() {
        let check = |place: &str, host: &str, repository: Option<&str>, expect: bool| {
            let place = Place::parse(place).unwrap();
            assert_eq!(place.holds(host, repository), expect, "{place}: {host} {repository:?}");
        };
        for (repository, expect) in [
            (Some("my-org"), true),
            (Some("my-org/box"), true),
            (Some("my-org/a/b"), true),
            (Some("my-org-private/box"), false),
            (Some("my-organisation"), false),
            (Some("other/my-org/box"), false),
            (Some("my"), false),
            (None, false),
        ] {
            check("ghcr.io/my-org", "ghcr.io", repository, expect);
            check("ghcr.io/my-org/", "ghcr.io", repository, expect);
            check("ghcr.io/my-org", "ghcr.io:444", repository, false);
            check("ghcr.io/my-org", "ghcr.io.evil.example", repository, false);
            check("ghcr.io", "ghcr.io", repository, true);
        }
        check("registry-1.docker.io/me", "docker.io", Some("me/box"), true);
        check("docker.io/me", "registry-1.docker.io", Some("me/box"), true);
        check("127.0.0.1:5000", "127.0.0.1:5000", None, true);
        check("127.0.0.1:5000", "127.0.0.1:5001", None, false);
        for bad in ["", "/", "https://ghcr.io", "ghcr.io/My-Org", "ghcr.io//a", "a b"] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }
}
