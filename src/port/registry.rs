//! The registry, as boxwright needs it: who only reads holds a [`RegistryReader`], and cannot write.

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::blob::{Blob, BlobSource, BlobStream, Whole};
use crate::model::{
    Descriptor, Digest, ErrorKind, Explained, Explanation, RawManifest, Repository, Tag, Timestamp,
};

/// What a registry says to a request.
pub type RegistryResult<T> = Result<T, RegistryError>;

/// An OCI registry (distribution-spec 1.1), of which only the reading half can be reached.
///
/// `None` and an empty list mean that the registry said so; whatever it did not say is an
/// error. All bytes that are returned were hashed and match the digest they were asked by.
#[async_trait]
pub trait RegistryReader: Send + Sync {
    /// Returns the time by the registry's own `Date`.
    async fn now(&self, host: &str) -> RegistryResult<Timestamp>;

    /// Asks what digest stands at `at`.
    async fn head(&self, repository: &Repository, at: &Reference) -> RegistryResult<Option<Digest>>;

    /// Reads the manifest at `at`, raw.
    async fn get(&self, repository: &Repository, at: &Reference) -> RegistryResult<Option<RawManifest>>;

    /// Lists all tags, completely or not at all.
    async fn tags(&self, repository: &Repository) -> RegistryResult<TagList>;

    /// Lists the manifests that name `subject` as their subject (distribution-spec, "Listing
    /// Referrers"): by the registry's own list, else by the tag that stands in for it.
    async fn referrers(&self, repository: &Repository, subject: &Digest) -> RegistryResult<Vec<Descriptor>>;

    /// Tells whether the registry keeps such lists itself, or may do so: one that was asked and has
    /// none does not. What refers to something is then named in the list of tags.
    fn lists_referrers(&self, _: &Repository) -> bool {
        true
    }

    /// Asks whether a blob is there, by its first byte. The others may still be lost, so a yes is
    /// good for skipping an upload and for nothing else.
    async fn has_blob(&self, repository: &Repository, digest: &Digest) -> RegistryResult<bool>;

    /// Opens a blob of any size for reading from byte `from` on.
    ///
    /// Read from the start, the stream ends in an error instead of its last piece if size or
    /// digest are not `blob`'s. Read from anywhere else, whoever reads has to hash.
    async fn open_blob(
        &self,
        repository: &Repository,
        blob: &Blob,
        from: u64,
    ) -> RegistryResult<Option<BlobStream<'_, RegistryError>>>;

    /// Reads a blob of at most `limit` bytes.
    async fn get_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: usize,
    ) -> RegistryResult<Option<Bytes>>;
}

/// A registry that is added to: nothing that stands goes, but for what a tag held.
#[async_trait]
pub trait RegistryWriter: RegistryReader {
    /// Writes a manifest's raw bytes under `at`; children, config and layers must be there.
    async fn put(
        &self,
        repository: &Repository,
        at: &Reference,
        manifest: &RawManifest,
    ) -> RegistryResult<()>;

    /// Uploads a blob of any size; one that is there is uploaded again. With `mount`, a
    /// repository of the same registry that holds it, the registry is first asked to take it
    /// from there.
    async fn push_blob(
        &self,
        repository: &Repository,
        blob: &dyn BlobSource,
        mount: Option<&Repository>,
    ) -> RegistryResult<Pushed>;

    /// Uploads a small blob and returns its digest.
    async fn put_blob(&self, repository: &Repository, bytes: Bytes) -> RegistryResult<Digest> {
        let whole = Whole::new(bytes);
        self.push_blob(repository, &whole, None).await?;
        Ok(whole.blob().digest.clone())
    }
}

/// All of a registry: what is read and written, and housekeeping.
#[async_trait]
pub trait Registry: RegistryWriter {
    /// Asks what can be deleted here. Nothing is deleted to find out.
    async fn deleting(&self, repository: &Repository) -> RegistryResult<DeleteSupport>;

    /// Deletes a manifest and with it every tag that points to it.
    async fn delete(&self, repository: &Repository, digest: &Digest) -> RegistryResult<Deleted>;

    /// Removes one tag; what it points to and all its other tags stay. Where a tag cannot be
    /// removed alone this is `Unsupported` and nothing has changed.
    async fn untag(&self, repository: &Repository, tag: &Tag) -> RegistryResult<Deleted>;

    /// Tells whether what was deleted can be brought back, for a while.
    fn restores(&self, _: &Repository) -> bool {
        false
    }

    /// Brings back a manifest that was deleted through this very port, with all the tags it had;
    /// `false` if that cannot be done.
    async fn restore(&self, _: &Repository, _: &Digest) -> RegistryResult<bool> {
        Ok(false)
    }
}

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// By tag.
    Tag(Tag),
    /// By digest.
    Digest(Digest),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl Reference {
    /// Names an image of a repository, as every tool takes it: `host/name:tag` or `host/name@sha256:…`.
    pub fn within(&self, repository: &Repository) -> String {
        match self {
            Self::Tag(tag) => format!("{repository}:{tag}"),
            Self::Digest(digest) => format!("{repository}@{digest}"),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

/// All tags of a repository; an absent repository has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagList {
    pub tags: BTreeSet<Tag>,
    /// Listed names that are no valid tags: they cannot be asked for, so what they keep
    /// is unknown.
    pub invalid: Vec<String>,
}

/// What can be deleted in a repository. A wider delete never stands in for a narrower one:
/// what cannot be deleted is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteSupport {
    /// A tag alone; and a manifest, with all its tags.
    Tags,
    /// A manifest, with all its tags. A single tag is removed by giving it to a manifest made
    /// for that, which is then deleted.
    Manifests,
    /// Nothing.
    Nothing,
}

/// How a blob came to be where it was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// Its bytes were sent.
    Sent,
    /// The registry took it from another repository of its own.
    Mounted,
}

/// How a delete ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Gone,
    /// It was not there.
    NotFound,
    /// This registry does not delete that (405, or deletion switched off).
    Unsupported,
    /// This registry deletes, but not this one, however often it is asked: it is needed, or
    /// protected, or the last of its kind. It is as it was, but for tags that had to go first.
    Refused {
        /// What it said.
        why: String,
    },
}

/// A request that failed, worded by the registry or the image that it was about.
#[derive(Debug, thiserror::Error)]
pub struct RegistryError {
    /// Method and URL, without credentials and query.
    pub request: String,
    pub failure: Failure,
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, failure } = self;
        match (asked_of(request), failure) {
            (Some((host, about)), Failure::Unreachable { detail }) => {
                write!(f, "cannot reach registry {host}: {detail}")?;
                // Content that is lost in the middle is another matter than a registry that is away.
                if about.contains('@') { write!(f, " ({})", about.trim_start_matches('/')) } else { Ok(()) }
            }
            (Some((host, about)), failure) => write!(f, "{host}{about}: {failure}"),
            (None, failure) => write!(f, "{request}: {failure}"),
        }
    }
}

/// Splits a request of the distribution API into the registry and what of it was asked for: nothing,
/// `/name`, `/name:tag` or `/name@digest`. Tombstones are not told: nobody asked for one by name.
fn asked_of(request: &str) -> Option<(&str, String)> {
    let (host, path) = request.split_once("://")?.1.split_once('/')?;
    // The API of Docker Hub, which is no registry, has paths of its own below this.
    let path = path.strip_prefix("v2/").filter(|_| host != "hub.docker.com")?;
    let verbs = ["/manifests/", "/blobs/", "/referrers/", "/tags/"];
    let Some((name, verb, at)) =
        verbs.iter().find_map(|verb| path.rsplit_once(verb).map(|(name, at)| (name, *verb, at)))
    else {
        return Some((host, String::new()));
    };
    let is_digest = at.starts_with("sha256:") || at.starts_with("sha512:");
    let at = match verb {
        _ if is_digest => format!("@{at}"),
        "/manifests/" if !at.starts_with("over.") => format!(":{at}"),
        _ => String::new(),
    };
    Some((host, format!("/{name}{at}")))
}

/// What went wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// 401: no credentials, or ones that the registry does not take.
    #[error("not logged in, or the credentials are not accepted ({detail})")]
    Unauthorized { detail: String },
    /// 403: the credentials lack a right.
    #[error("permission denied ({detail})")]
    Denied { detail: String },
    /// 405: this registry, or this repository, cannot do that.
    #[error("the registry does not support this ({detail})")]
    Unsupported { detail: String },
    /// Any other status that settles nothing: 429, 5xx, or one that the protocol does not foresee.
    #[error("the registry answered {status} ({detail})")]
    Status { status: u16, detail: String },
    /// No answer: refused, unresolved, reset, timed out, a bad certificate.
    #[error("no answer: {detail}")]
    Unreachable { detail: String },
    /// An answer that contradicts the protocol or itself; nothing in it is believed.
    #[error("the answer cannot be trusted: {detail}")]
    Untrusted { detail: String },
    /// An answer that is longer than what was asked for may be.
    #[error("the answer cannot be trusted: longer than {limit} bytes")]
    TooLong {
        /// The most that is read, in bytes.
        limit: usize,
    },
    /// What was to be sent could not be read, or is not what it was said to be.
    #[error("the source of the upload fails: {detail}")]
    Source { detail: String },
    /// Credentials could not be obtained from the user's configuration or helper.
    #[error("credentials cannot be read: {detail}")]
    Credentials { detail: String },
}

impl Explained for RegistryError {
    fn explain(&self) -> Explanation<'_> {
        let meaning: Explanation<'_> = match &self.failure {
            Failure::Denied { .. } => ErrorKind::Refused.hint(LOGIN),
            Failure::Unsupported { .. } => ErrorKind::Refused.into(),
            Failure::Unauthorized { .. } | Failure::Credentials { .. } => ErrorKind::Unreachable.hint(LOGIN),
            Failure::Status { .. }
            | Failure::Unreachable { .. }
            | Failure::Untrusted { .. }
            | Failure::TooLong { .. } => ErrorKind::Unreachable.into(),
            Failure::Source { .. } => ErrorKind::Failed.into(),
        };
        Explanation { request: Some(&self.request), ..meaning }
    }
}

/// What to do where other credentials would help: then it does not help to run it again.
const LOGIN: &str = "log in to that registry with `docker login` or `podman login`, or set BOXWRIGHT_REGISTRY_USERNAME and BOXWRIGHT_REGISTRY_PASSWORD, and BOXWRIGHT_REGISTRY to the registry (and path) that they are for";

impl Failure {
    /// Tells whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                matches!(status, 408 | 425 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524)
            }
            Self::Unreachable { .. } => true,
            Self::Unauthorized { .. }
            | Self::Denied { .. }
            | Self::Unsupported { .. }
            | Self::Untrusted { .. }
            | Self::Source { .. }
            | Self::TooLong { .. }
            | Self::Credentials { .. } => false,
        }
    }

    /// Tells whether a write was refused for want of rights, as a fork's or a read-only
    /// registry's is.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Denied { .. } | Self::Unsupported { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(request: &str, failure: Failure) -> String {
        RegistryError { request: request.to_owned(), failure }.to_string()
    }

    #[test]
    fn a_failure_names_what_was_asked_for_and_no_url() {
        let lost = || Failure::Unreachable { detail: "connection refused".to_owned() };
        let busy = || Failure::Status { status: 503, detail: "busy".to_owned() };
        let lost_at = told("GET https://r.example/v2/a/blobs/sha256:00", lost());
        assert_eq!(lost_at, "cannot reach registry r.example: connection refused (a@sha256:00)");
        for path in ["", "a/b/manifests/main", "a/blobs/uploads/", "a/tags/list"] {
            let text = told(&format!("GET http://127.0.0.1:1/v2/{path}"), lost());
            assert_eq!(text, "cannot reach registry 127.0.0.1:1: connection refused");
        }
        for (path, about) in [
            ("", "r.example"),
            ("a/b/manifests/main", "r.example/a/b:main"),
            ("a/manifests/sha256:00", "r.example/a@sha256:00"),
            ("a/blobs/sha256:00", "r.example/a@sha256:00"),
            ("a/blobs/uploads/x", "r.example/a"),
            ("a/tags/list", "r.example/a"),
            ("a/manifests/over.00.g0", "r.example/a"),
            ("manifests/manifests/main", "r.example/manifests:main"),
        ] {
            let text = told(&format!("PUT https://r.example/v2/{path}"), busy());
            assert_eq!(text, format!("{about}: the registry answered 503 (busy)"));
        }
        // Neither a token service, nor a registry's storage, nor a provider's own API is a place in a registry.
        let storage = "GET https://minio.example/bucket/docker/registry/v2/blobs/sha256/ab/data";
        let hub = "GET https://hub.docker.com/v2/namespaces/a/repositories/b/tags/c";
        for request in ["GET https://auth.example/token", storage, hub, "GET user", "x"] {
            assert_eq!(told(request, busy()), format!("{request}: the registry answered 503 (busy)"));
        }
    }
}
