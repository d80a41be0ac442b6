//! Paths of the distribution API, read from their end since names hold slashes.

use super::answer::Refusal;
use crate::adapter::embedded::index::Name;
use crate::model::{Digest, Tag};
use crate::port::Reference;

/// What a path asks for (distribution-spec, "Endpoints").
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`
    Root,
    /// `/v2/<name>/manifests/<reference>`
    Manifest(Name, Reference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(Name, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(Name),
    /// `/v2/<name>/blobs/uploads/<id>`; the id is compared and never used as a path.
    Upload(Name, String),
    /// `/v2/<name>/tags/list`
    Tags(Name),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(Name, Digest),
}

/// Reads a path; whatever is in the result passed the model's parsers.
pub fn route(path: &str) -> Result<Route, Refusal> {
    let segments: Vec<&str> = path.split('/').collect();
    let ["", "v2", rest @ ..] = segments.as_slice() else { return Err(Refusal::no_endpoint()) };
    match rest {
        [] | [""] => Ok(Route::Root),
        [name @ .., "tags", "list"] => Ok(Route::Tags(read_name(name)?)),
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
            Ok(Route::Uploads(read_name(name)?))
        }
        [name @ .., "blobs", "uploads", id] => Ok(Route::Upload(read_name(name)?, (*id).to_owned())),
        [name @ .., "manifests", at] => Ok(Route::Manifest(read_name(name)?, read_reference(at)?)),
        [name @ .., "blobs", digest] => Ok(Route::Blob(read_name(name)?, read_digest(digest)?)),
        [name @ .., "referrers", digest] => Ok(Route::Referrers(read_name(name)?, read_digest(digest)?)),
        _ => Err(Refusal::no_endpoint()),
    }
}

fn read_name(segments: &[&str]) -> Result<Name, Refusal> {
    segments.join("/").parse().map_err(Refusal::name)
}

/// Reads a digest given in a path or a query.
pub fn read_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(Refusal::digest)
}

fn read_reference(text: &str) -> Result<Reference, Refusal> {
    if text.contains(':') {
        return Ok(Reference::Digest(read_digest(text)?));
    }
    Ok(Reference::Tag(text.parse::<Tag>().map_err(Refusal::tag)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(path: &str, expect: Option<Route>) {
        assert_eq!(route(path).ok(), expect, "{path}");
    }

    #[test]
    fn names_may_hold_the_words_of_the_endpoints() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let digest = Digest::of(b"");
        let tag = |text: &str| Reference::Tag(text.parse().unwrap());
        check("/v2", Some(Route::Root));
        check("/v2/", Some(Route::Root));
        check("/v2/a/b/tags/list", Some(Route::Tags(name("a/b"))));
        check("/v2/blobs/uploads/manifests/v1", Some(Route::Manifest(name("blobs/uploads"), tag("v1"))));
        check("/v2/manifests/tags/list", Some(Route::Tags(name("manifests"))));
        check("/v2/a/blobs/uploads/", Some(Route::Uploads(name("a"))));
        check("/v2/a/blobs/uploads", Some(Route::Uploads(name("a"))));
        check("/v2/a/blobs/uploads/x", Some(Route::Upload(name("a"), "x".to_owned())));
        check(&format!("/v2/a/blobs/{digest}"), Some(Route::Blob(name("a"), digest.clone())));
        check(&format!("/v2/a/referrers/{digest}"), Some(Route::Referrers(name("a"), digest.clone())));
        check(&format!("/v2/a/manifests/{digest}"), Some(Route::Manifest(name("a"), digest.into())));
    }

    #[test]
    fn what_could_leave_a_directory_or_is_no_endpoint_is_refused() {
        for path in [
            "",
            "/",
            "/v1/",
            "/v2a/",
            "//v2/",
            "/v2/a",
            "/v2//tags/list",
            "/v2/tags/list",
            "/v2/../a/tags/list",
            "/v2/A/tags/list",
            "/v2/a%2fb/tags/list",
            "/v2/a/manifests/",
            "/v2/a/manifests/..",
            "/v2/a/manifests/sha256:../../x",
            "/v2/a/manifests/-x",
            "/v2/a/blobs/sha256:abc",
            "/v2/a/blobs/../../etc/passwd",
        ] {
            check(path, None);
        }
    }
}
