//! Names of outside images, as people write them.

use std::fmt;
use std::str::FromStr;

use super::{Digest, Repository, Tag};

/// The name of an image with everything that names leave out put in: `debian:12` is
/// `docker.io/library/debian:12`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image name: {reason}")]
pub struct ImageNameError {
    text: String,
    reason: String,
}

impl ImageName {
    /// Returns where it is kept.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Returns its tag; `latest` if it names neither tag nor digest.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// Returns its digest, which then decides.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the same image by digest alone.
    pub fn at(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.repository)
    }
}

impl FromStr for ImageName {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, ImageNameError> {
        let error = |reason: String| ImageNameError { text: super::printable(text, 120), reason };
        let read: oci_spec::distribution::Reference = text.parse().map_err(|why| error(format!("{why}")))?;
        let repository = Repository::new(read.registry(), read.repository());
        let repository = repository.map_err(|why| error(why.to_string()))?;
        let tag = read.tag().map(str::parse::<Tag>).transpose().map_err(|why| error(why.to_string()))?;
        let digest =
            read.digest().map(str::parse::<Digest>).transpose().map_err(|why| error(why.to_string()))?;
        Ok(Self { repository, tag, digest })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        assert_eq!(text.parse::<ImageName>().unwrap().to_string(), expect);
    }

    #[test]
    fn what_is_left_out_is_put_in() {
        check("debian", "docker.io/library/debian:latest");
        check("debian:12", "docker.io/library/debian:12");
        check("rust/tools:1", "docker.io/rust/tools:1");
        check("127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t");
        check("localhost/a:t", "localhost/a:t");
        let digest = Digest::of(b"");
        check(&format!("debian:12@{digest}"), &format!("docker.io/library/debian:12@{digest}"));
        check(&format!("ghcr.io/a@{digest}"), &format!("ghcr.io/a@{digest}"));
        for bad in ["", "A", "a:b:c", "a@sha256:1", "../x", "a b"] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }
}
