//! Getting an image into the engine by digest.

use bollard::errors::Error as Bollard;
use bollard::query_parameters::CreateImageOptionsBuilder;

use super::connect::DockerEngine;
use super::{answer, error};
use crate::model::{Digest, Platform, Repository};
use crate::port::EngineError;

/// Pulls `repository@digest` unless the engine holds it; returns that reference.
pub async fn ensure(
    engine: &DockerEngine,
    repository: &Repository,
    digest: &Digest,
    platform: &Platform,
) -> Result<String, EngineError> {
    let reference = format!("{repository}@{digest}");
    let docker = engine.patient().await?;
    match docker.inspect_image(&reference).await {
        Ok(_) => return Ok(reference),
        Err(Bollard::DockerResponseServerError { status_code: 404, .. }) => {}
        Err(cause) => return Err(engine.error("look for the image", &cause)),
    }
    let login = engine.login(repository).await;
    let login = login.map_err(|detail| error::failed("pull", &reference, detail))?;
    let options = CreateImageOptionsBuilder::default()
        .from_image(&repository.to_string())
        .tag(digest.as_str())
        .platform(platform.as_str())
        .build();
    let mut answer = docker.create_image(Some(options), None, login);
    while let Some(info) = answer::next(&mut answer).await {
        info.map_err(|cause| error::transfer(engine.address(), "pull", &reference, &cause))?;
    }
    Ok(reference)
}
