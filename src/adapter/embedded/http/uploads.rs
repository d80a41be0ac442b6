//! Uploads (distribution-spec, "Pushing blobs", "Mounting a blob from another repository").

use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use futures_util::StreamExt as _;

use super::answer::{Answer, CONTENT_DIGEST, Refusal, answer};
use super::app::{App, blocking, query};
use super::route::read_digest;
use crate::adapter::embedded::EmbeddedError;
use crate::adapter::embedded::index::Name;
use crate::adapter::embedded::upload::{Held, Upload, held};
use crate::model::Digest;

/// How many bytes are gathered before they are hashed and written.
const WINDOW: usize = 1024 * 1024;

/// Opens a session, takes a whole blob (`?digest=`), or mounts one (`?mount=`): every blob
/// is in every repository already.
pub async fn begin(app: &App, name: Name, request: Request) -> Result<Answer, Refusal> {
    let query = query(&request)?;
    if let Some(digest) = query.get("mount") {
        let digest = read_digest(digest)?;
        let (layout, wanted) = (app.store.layout.clone(), digest.clone());
        if blocking(move || layout.renew(&wanted)).await?.is_some() {
            return created(&name, &digest);
        }
    }
    let layout = app.store.layout.clone();
    let upload = blocking(move || Upload::new(&layout)).await?;
    if let Some(digest) = query.get("digest") {
        let digest = read_sha256(digest)?;
        let held = receive(held(upload).await, request.into_body()).await?;
        return keep(app, &name, held, digest).await;
    }
    match app.sessions.open(name.clone(), upload, Instant::now()) {
        Some(id) => answer(StatusCode::ACCEPTED, progress(&name, &id, 0), ""),
        None => Err(Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TOOMANYREQUESTS",
            "too many uploads are open; finish or cancel some",
        )),
    }
}

/// Tells how far an upload has come.
pub async fn status(app: &App, name: Name, id: String) -> Result<Answer, Refusal> {
    let held = hold(app, &name, &id).await?;
    answer(StatusCode::NO_CONTENT, progress(&name, &id, size(&held)), "")
}

/// Takes a part of a blob.
pub async fn extend(app: &App, name: Name, id: String, request: Request) -> Result<Answer, Refusal> {
    let held = hold(app, &name, &id).await?;
    check_range(&request, size(&held))?;
    let held = receive(held, request.into_body()).await?;
    answer(StatusCode::ACCEPTED, progress(&name, &id, size(&held)), "")
}

/// Takes the last part, which may be empty, and gives the blob its name.
pub async fn finish(app: &App, name: Name, id: String, request: Request) -> Result<Answer, Refusal> {
    let query = query(&request)?;
    let digest = query.get("digest").map(String::as_str).unwrap_or_default();
    let digest = read_sha256(digest)?;
    let held = hold(app, &name, &id).await?;
    check_range(&request, size(&held))?;
    let held = receive(held, request.into_body()).await?;
    let answer = keep(app, &name, held, digest).await;
    app.sessions.close(&id);
    answer
}

/// Forgets an upload.
pub async fn cancel(app: &App, name: Name, id: String) -> Result<Answer, Refusal> {
    let mut held = hold(app, &name, &id).await?;
    *held = None;
    app.sessions.close(&id);
    answer(StatusCode::NO_CONTENT, [], "")
}

async fn hold(app: &App, name: &Name, id: &str) -> Result<Held, Refusal> {
    app.sessions.hold(name, id, Instant::now()).await.ok_or_else(unknown)
}

fn unknown() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload is open in this repository")
}

fn size(held: &Held) -> u64 {
    held.as_ref().map_or(0, Upload::size)
}

/// Streams a body into an upload; what came before a connection broke stays in it.
async fn receive(mut held: Held, body: Body) -> Result<Held, Refusal> {
    let mut frames = body.into_data_stream();
    let mut gathered = Vec::new();
    loop {
        let frame = frames.next().await;
        if let Some(Ok(bytes)) = &frame {
            gathered.extend_from_slice(bytes);
        }
        let is_last = !matches!(frame, Some(Ok(_)));
        if gathered.len() >= WINDOW || (is_last && !gathered.is_empty()) {
            (held, gathered) = blocking(move || append(held, gathered)).await?;
        }
        match frame {
            Some(Ok(_)) => {}
            None => return Ok(held),
            Some(Err(error)) => {
                let message = format!("the upload broke off: {error}");
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message));
            }
        }
    }
}

fn append(mut held: Held, mut bytes: Vec<u8>) -> Result<(Held, Vec<u8>), Refusal> {
    let upload = held.as_mut().ok_or_else(unknown)?;
    if let Err(error) = upload.append(&bytes) {
        *held = None;
        return Err(error.into());
    }
    bytes.clear();
    Ok((held, bytes))
}

async fn keep(app: &App, name: &Name, mut held: Held, digest: Digest) -> Result<Answer, Refusal> {
    let upload = held.take().ok_or_else(unknown)?;
    let (store, wanted) = (app.store.clone(), digest.clone());
    let actual = blocking::<_, EmbeddedError>(move || store.keep(upload, &wanted)).await?;
    if actual == digest {
        created(name, &digest)
    } else {
        let message = format!("the bytes have digest {actual}, not {digest}");
        Err(Refusal::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message))
    }
}

/// Reads the digest of a blob to be stored, which is always a SHA-256 one.
fn read_sha256(text: &str) -> Result<Digest, Refusal> {
    let digest = read_digest(text)?;
    if digest.algorithm() == "sha256" {
        Ok(digest)
    } else {
        Err(Refusal::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "only sha256 digests are stored here"))
    }
}

/// Checks that a part follows on what came before; one without `Content-Range` does.
fn check_range(request: &Request, size: u64) -> Result<(), Refusal> {
    let Some(range) = request.headers().get(header::CONTENT_RANGE) else { return Ok(()) };
    let bounds = range.to_str().ok().and_then(read_range);
    let length = request.headers().get(header::CONTENT_LENGTH).map(HeaderValue::to_str);
    let length = length.map(|text| text.ok().and_then(|text| text.parse::<u64>().ok()));
    match bounds {
        Some((start, count)) if start == size && length.is_none_or(|length| length == Some(count)) => Ok(()),
        _ => Err(Refusal::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BLOB_UPLOAD_INVALID",
            format!("{size} bytes have come; the next part must begin there and be as long as it says"),
        )
        .with(header::RANGE, so_far(size))),
    }
}

/// Reads `start-end` and returns the start and the count of bytes.
fn read_range(text: &str) -> Option<(u64, u64)> {
    let (start, end) = text.split_once('-')?;
    let (start, end) = (start.parse::<u64>().ok()?, end.parse::<u64>().ok()?);
    Some((start, end.checked_sub(start)?.checked_add(1)?))
}

fn so_far(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

/// Headers of an upload that goes on. The location is relative, so it holds for whatever
/// name the client reached us by.
fn progress(name: &Name, id: &str, size: u64) -> [(HeaderName, String); 3] {
    [
        (header::LOCATION, format!("/v2/{name}/blobs/uploads/{id}")),
        (header::RANGE, so_far(size)),
        (HeaderName::from_static("docker-upload-uuid"), id.to_owned()),
    ]
}

fn created(name: &Name, digest: &Digest) -> Result<Answer, Refusal> {
    let location = format!("/v2/{name}/blobs/{digest}");
    answer(StatusCode::CREATED, [(header::LOCATION, location), (CONTENT_DIGEST, digest.to_string())], "")
}
