//! Directories that a Dockerfile names as images: each is made an image before the build, under
//! a name of its own, and loses that name when the build has ended.

use bollard::Docker;
use bollard::query_parameters::{RemoveImageOptionsBuilder, TagImageOptionsBuilder};

use super::connect::DockerEngine;
use super::solve::build_one;
use crate::port::{BuildEvent, BuildRequest, EngineError, ImageId};

/// Makes an image hold exactly the entries of a context.
const DOCKERFILE: &[u8] = b"FROM scratch\nCOPY . /\n";

/// Names in the engine, taken away by [`Names::remove`] or when it is dropped.
pub struct Names {
    docker: Docker,
    names: Vec<String>,
}

/// Makes the images that a build names.
pub async fn provide(
    engine: &DockerEngine,
    request: &BuildRequest,
    events: &(dyn Fn(BuildEvent) + Send + Sync),
) -> Result<Names, EngineError> {
    let mut names = Names { docker: engine.docker().await?, names: Vec::new() };
    for context in &request.contexts {
        let (root, entries) = (context.root.clone(), context.entries.clone());
        let alone = BuildRequest::plain(DOCKERFILE, root, entries, request.platform.clone());
        let made = build_one(engine, &alone, events).await;
        let named = match made {
            Ok(image) => names.give(engine, &image, &context.reference).await,
            Err(error) => Err(error),
        };
        if let Err(error) = named {
            names.remove().await;
            return Err(error);
        }
    }
    Ok(names)
}

impl Names {
    async fn give(
        &mut self,
        engine: &DockerEngine,
        image: &ImageId,
        reference: &str,
    ) -> Result<(), EngineError> {
        self.names.push(reference.to_owned());
        name(engine, image, reference).await
    }

    /// Takes the names away. Failing to is no failure of the build: the engine keeps images.
    pub async fn remove(mut self) {
        remove(&self.docker, &std::mem::take(&mut self.names)).await;
    }
}

/// Gives an image a name that stays.
pub async fn name(engine: &DockerEngine, image: &ImageId, reference: &str) -> Result<(), EngineError> {
    let (name, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
    let options = TagImageOptionsBuilder::default().repo(name).tag(tag).build();
    let tagged = engine.docker().await?.tag_image(image.0.as_str(), Some(options)).await;
    tagged.map_err(|cause| engine.error("name an image", &cause))
}

impl Drop for Names {
    fn drop(&mut self) {
        if self.names.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (docker, names) = (self.docker.clone(), std::mem::take(&mut self.names));
            runtime.spawn(async move { remove(&docker, &names).await });
        }
    }
}

async fn remove(docker: &Docker, names: &[String]) {
    for name in names {
        let options = RemoveImageOptionsBuilder::default().build();
        let _ = docker.remove_image(name, Some(options), None).await;
    }
}
