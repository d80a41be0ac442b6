//! Pushing an image under a tag.

use bollard::query_parameters::{CreateImageOptions, TagImageOptionsBuilder};

use super::connect::DockerEngine;
use super::{answer, error, request};
use crate::model::{Digest, Repository, Tag};
use crate::port::{EngineError, ImageId, PushEvent};

/// Tags the image in the engine and pushes that tag, which stays: it keeps the layers for
/// the next build, and lets the engine resolve `FROM repository@digest` by itself.
pub async fn push(
    engine: &DockerEngine,
    image: &ImageId,
    repository: &Repository,
    tag: &Tag,
    events: &(dyn Fn(PushEvent) + Send + Sync),
) -> Result<Digest, EngineError> {
    let reference = format!("{repository}:{tag}");
    let failed = |detail: String| error::failed("push", &reference, detail);
    let docker = engine.patient().await?;
    let options = TagImageOptionsBuilder::default().repo(&repository.to_string()).tag(tag.as_str()).build();
    docker
        .tag_image(image.0.as_str(), Some(options))
        .await
        .map_err(|cause| engine.error("tag the image", &cause))?;
    let login = engine.login(repository).await.map_err(failed)?;

    // bollard's own push drops the names of layers from the answer; its pull keeps them,
    // and the two answers are alike.
    let path = format!("/images/{repository}/push");
    let query = [("tag", tag.to_string())];
    let docker = docker.with_request_modifier(move |request| {
        request::redirected(request::url_safe_auth(request), "/images/create", &path, &query)
    });
    let login = Some(login.unwrap_or_default());
    let mut answer = docker.create_image(None::<CreateImageOptions>, None, login);
    let mut digest = None;
    while let Some(info) = answer::next(&mut answer).await {
        let info = info.map_err(|cause| error::transfer(engine.address(), "push", &reference, &cause))?;
        if let Some(told) = info.status.as_deref().and_then(digest_in) {
            digest = Some(told);
        }
        if let (Some(layer), Some(progress)) = (info.id, info.progress_detail) {
            let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
            if let Some(sent) = bytes(progress.current) {
                events(PushEvent {
                    layer,
                    sent,
                    total: bytes(progress.total).filter(|total| *total >= sent),
                });
            }
        }
    }
    digest.ok_or_else(|| failed("the engine's answer ended without a digest".to_owned()))
}

/// Reads the digest from a line such as `1.0: digest: sha256:… size: 528`.
fn digest_in(status: &str) -> Option<Digest> {
    let (_, rest) = status.split_once("digest: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_digest_of_the_engines_last_line() {
        let digest = Digest::of(b"x");
        assert_eq!(digest_in(&format!("k-00: digest: {digest} size: 528")), Some(digest));
        assert_eq!(digest_in("latest: digest: sha256:zz size: 528"), None);
        assert_eq!(digest_in("The push refers to repository [h/n]"), None);
    }
}
