//! Building with the engine's BuildKit.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::connect::DockerEngine;
use super::contexts;
use super::solve::{build_one, open};
use super::sync::Offer;
use crate::model::Platform;
use crate::port::{BuildEvent, BuildRequest, EngineError, ImageId};

/// Builds; the engine cancels the build when the future is dropped, as its connection ends.
pub async fn build(
    engine: &DockerEngine,
    request: &BuildRequest,
    events: &(dyn Fn(BuildEvent) + Send + Sync),
) -> Result<ImageId, EngineError> {
    let names = contexts::provide(engine, request, events).await?;
    let built = build_one(engine, request, events).await;
    names.remove().await;
    built
}

impl DockerEngine {
    /// Opens a build session and closes it: an engine without BuildKit has none.
    pub async fn try_session(&self, platform: Platform) -> Result<(), EngineError> {
        self.docker().await?;
        let nothing = BuildRequest::plain(b"", PathBuf::new(), Vec::new(), platform);
        let closed = CancellationToken::new();
        let _close = closed.clone().drop_guard();
        let offer = Arc::new(Offer::new(&nothing, closed.clone()));
        open(self, &nothing, &offer, closed).await.map(drop)
    }
}
