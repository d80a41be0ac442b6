//! Manifests (distribution-spec, "Pulling manifests", "Pushing Manifests", "Content Management").

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use futures_util::StreamExt as _;

use super::answer::{Answer, CONTENT_DIGEST, Refusal, answer};
use super::app::{App, blocking};
use crate::adapter::embedded::index::Name;
use crate::model::{ManifestError, MediaType, RawManifest};
use crate::port::Reference;

/// The largest manifest that is taken, in bytes; the size that the distribution-spec asks
/// for ("Pushing Manifests").
const LIMIT: usize = 4 * 1024 * 1024;
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// Answers what is stored, whatever `Accept` says.
pub async fn read(app: &App, name: Name, at: Reference) -> Result<Answer, Refusal> {
    let store = app.store.clone();
    let asked = at.to_string();
    let found = blocking(move || store.manifest(&name, &at)).await?;
    let manifest = found.ok_or_else(|| Refusal::manifest_unknown(asked))?;
    let headers = [
        (header::CONTENT_TYPE, manifest.media_type().to_string()),
        (CONTENT_DIGEST, manifest.digest().to_string()),
    ];
    answer(StatusCode::OK, headers, manifest.bytes().clone())
}

/// Takes a manifest whose content is all here.
pub async fn write(app: &App, name: Name, at: Reference, request: Request) -> Result<Answer, Refusal> {
    let sent = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::to_str);
    let Some(Ok(sent)) = sent else { return Err(invalid("a Content-Type is needed")) };
    let media_type: MediaType = sent.parse().map_err(|error: ManifestError| invalid(error.to_string()))?;
    let bytes = gather(request.into_body()).await?;
    let manifest = RawManifest::new(media_type, bytes);
    let digest = manifest.digest().clone();
    let tag = match &at {
        Reference::Tag(tag) => Some(tag.clone()),
        Reference::Digest(named) if *named == digest => None,
        Reference::Digest(named) => {
            let message = format!("the manifest has digest {digest}, not {named}");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message));
        }
    };
    let location = format!("/v2/{name}/manifests/{digest}");
    let store = app.store.clone();
    let subject = blocking(move || store.put(&name, tag, &manifest)).await?;
    let headers = [(header::LOCATION, location), (CONTENT_DIGEST, digest.to_string())];
    let subject = subject.map(|subject| (SUBJECT, subject.to_string()));
    answer(StatusCode::CREATED, headers.into_iter().chain(subject), "")
}

async fn gather(body: Body) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        bytes.extend_from_slice(&frame.map_err(|error| invalid(error.to_string()))?);
        if bytes.len() > LIMIT {
            let message = format!("a manifest may have at most {LIMIT} bytes");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message));
        }
    }
    Ok(bytes)
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message)
}

/// Deletes a tag alone, or a manifest with all its tags.
pub async fn delete(app: &App, name: Name, at: Reference) -> Result<Answer, Refusal> {
    let store = app.store.clone();
    let asked = at.to_string();
    if blocking(move || store.delete(&name, &at)).await? {
        answer(StatusCode::ACCEPTED, [], "")
    } else {
        Err(Refusal::manifest_unknown(asked))
    }
}
