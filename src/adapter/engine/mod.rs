//! The Docker Engine, over its API: builds with the BuildKit inside it, pushes, runs.
//!
//! What is absent: TLS to a remote engine, Docker contexts.

mod agent;
mod answer;
mod auth;
mod build;
mod connect;
mod contexts;
mod error;
mod load;
mod packet;
mod pull;
mod push;
mod request;
mod run;
mod save;
mod secret;
mod session;
mod solve;
mod sync;
mod terminal;
mod trace;

use std::io;
use std::path::Path;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

pub use auth::{AuthSource, Login};
pub use connect::DockerEngine;

use super::room;
use crate::model::{Digest, Repository, Tag};
use crate::port::{
    BlobStream, BuildEvent, BuildRequest, Builder, DiskSpace, EngineError, ImageId, ImageStore, PushEvent,
    RunOutput, RunRequest, Runtime, SavedImage,
};

#[async_trait]
impl Builder for DockerEngine {
    async fn check(&self) -> Result<String, EngineError> {
        self.version().await
    }

    async fn build(
        &self,
        request: &BuildRequest,
        events: &(dyn Fn(BuildEvent) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        build::build(self, request, events).await
    }
}

#[async_trait]
impl ImageStore for DockerEngine {
    async fn room(&self) -> Result<Option<DiskSpace>, EngineError> {
        let docker = self.docker().await?;
        if !self.is_local() {
            return Ok(None);
        }
        let told = docker.info().await.map_err(|cause| self.error("tell about itself", &cause))?;
        // A socket may lead out of a container or a virtual machine.
        Ok(told.docker_root_dir.and_then(|path| room::of(Path::new(&path)).ok()))
    }

    async fn size(&self, image: &ImageId) -> Result<u64, EngineError> {
        let found = self.docker().await?.inspect_image(image.0.as_str()).await;
        let found = found.map_err(|cause| self.error("inspect an image", &cause))?;
        // An engine that does not tell would make a limit meaningless, so it is an error.
        let size = found.size.and_then(|size| u64::try_from(size).ok());
        let detail = || "it did not tell the size".to_owned();
        size.ok_or_else(|| EngineError::Engine { action: "inspect an image", detail: detail() })
    }

    async fn name(&self, image: &ImageId, reference: &str) -> Result<(), EngineError> {
        contexts::name(self, image, reference).await
    }

    async fn find(&self, reference: &str) -> Result<Option<ImageId>, EngineError> {
        match self.docker().await?.inspect_image(reference).await {
            Ok(found) => Ok(found.id.and_then(|id| id.parse().ok()).map(ImageId)),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(cause) => Err(self.error("look for an image", &cause)),
        }
    }

    async fn push(
        &self,
        image: &ImageId,
        repository: &Repository,
        tag: &Tag,
        events: &(dyn Fn(PushEvent) + Send + Sync),
    ) -> Result<Digest, EngineError> {
        push::push(self, image, repository, tag, events).await
    }

    async fn save(&self, image: &ImageId) -> Result<SavedImage, EngineError> {
        save::save(self, image).await
    }

    async fn load(
        &self,
        references: &[String],
        tar: BlobStream<'static, io::Error>,
    ) -> Result<(), EngineError> {
        load::load(self, references, tar).await
    }
}

#[async_trait]
impl Runtime for DockerEngine {
    async fn run(
        &self,
        request: &RunRequest,
        output: &(dyn Fn(RunOutput) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<i64, EngineError> {
        run::run(self, request, output, cancel).await
    }
}
