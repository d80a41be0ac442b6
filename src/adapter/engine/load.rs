//! Loading images from a tar stream.

use std::io;

use bollard::query_parameters::ImportImageOptions;

use super::connect::DockerEngine;
use super::{answer, error};
use crate::port::{BlobStream, EngineError};

/// Hands the stream to the engine, which unpacks it whole before it takes in anything.
pub async fn load(
    engine: &DockerEngine,
    references: &[String],
    tar: BlobStream<'static, io::Error>,
) -> Result<(), EngineError> {
    let docker = engine.patient().await?;
    let action = "load images";
    let body = bollard::body_try_stream(tar);
    let mut answer = docker.import_image(ImportImageOptions::default(), body, None);
    while let Some(info) = answer::next(&mut answer).await {
        info.map_err(|cause| error::engine(engine.address(), action, &cause))?;
    }
    for reference in references {
        docker.inspect_image(reference).await.map_err(|cause| engine.error(action, &cause))?;
    }
    Ok(())
}
