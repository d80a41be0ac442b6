//! Boxes built by the engine, and pushed out of its store.

use std::collections::BTreeMap;

use tokio::sync::OnceCell;

use crate::exec::KeysError;
use crate::exec::build::engine_needs::unmet;
use crate::exec::build::error::BoxError;
use crate::exec::build::outcome::Parents;
use crate::exec::build::step_log::Tail;
use crate::exec::build::{secrets, step_log};
use crate::exec::event::{Emit, Event};
use crate::exec::failure::Failure;
use crate::exec::image::labels::{GENERATION_LABEL, KEY_LABEL, PARENTS_LABEL};
use crate::exec::keys::ResolvedBox;
use crate::exec::setting::{EnginePorts, RunContext};
use crate::model::{Digest, Generation, Key, chain};
use crate::port::{BuildRequest, EngineError, ImageId};

/// Builds the boxes of one run.
pub(crate) struct BoxBuilder<'a> {
    pub ports: EnginePorts<'a>,
    setting: &'a RunContext,
    no_cache: bool,
    version: OnceCell<String>,
    emit: Emit<'a>,
}

impl<'a> BoxBuilder<'a> {
    pub fn new(ports: EnginePorts<'a>, setting: &'a RunContext, no_cache: bool, emit: Emit<'a>) -> Self {
        Self { ports, setting, no_cache, version: OnceCell::new(), emit }
    }

    /// Returns the engine's version, which is asked for once.
    pub async fn version(&self) -> Result<&str, EngineError> {
        self.version.get_or_try_init(|| self.ports.builder.check()).await.map(String::as_str)
    }

    /// Builds a box on these parents, without giving its image a name.
    pub async fn build(
        &self,
        keyed: &ResolvedBox,
        generation: Generation,
        parents: &Parents,
        reason: &str,
    ) -> Result<ImageId, Failure> {
        let version = self.version().await?;
        // A box that stood when the run began can still have to be built.
        if let Some(beyond) = unmet(version, std::iter::once(keyed)) {
            return Err(beyond.into());
        }
        let request = self.request(keyed, generation, parents)?;
        let (emit, name) = (self.emit, keyed.wanted.name.clone());
        let entries = request.entries.len();
        emit(Event::Building { name: name.clone(), reason: reason.to_owned(), entries });
        let tail = Tail::default();
        let on_build = |event| {
            tail.event(&event);
            emit(Event::Build { name: name.clone(), event });
        };
        let image = secrets::build(self.ports, keyed, request, &on_build).await;
        let image = image.map_err(|error| step_log::failure(error, keyed, tail))?;
        if let Some(limit) = keyed.spec.max_size {
            let size = self.ports.store.size(&image).await?;
            if size > limit {
                return Err(BoxError::TooLarge { size, limit }.into());
            }
        }
        Ok(image)
    }

    /// Pushes an image that was built for a box.
    pub async fn push(
        &self,
        keyed: &ResolvedBox,
        image: &ImageId,
        generation: Generation,
    ) -> Result<Digest, EngineError> {
        let tag = keyed.wanted.tag.with_generation(generation).tag();
        let repository = &keyed.wanted.repository;
        let (emit, name) = (self.emit, keyed.wanted.name.clone());
        emit(Event::Pushing { name: name.clone(), reference: format!("{repository}:{tag}") });
        let on_push = {
            let name = name.clone();
            move |event| emit(Event::Push { name: name.clone(), event })
        };
        let pushed = self.ports.store.push(image, repository, &tag, &on_push).await;
        if let Err(error) = &pushed
            && error.is_transient()
        {
            emit(Event::Note { text: format!("{name}: {}; looking again", chain(error)) });
        }
        pushed
    }

    fn request(
        &self,
        keyed: &ResolvedBox,
        generation: Generation,
        parents: &Parents,
    ) -> Result<BuildRequest, KeysError> {
        let by_key: BTreeMap<&Key, &Digest> = parents
            .iter()
            .filter_map(|(name, made)| Some((keyed.parents.get(name)?, &made.digest)))
            .collect();
        let images = parents.iter().map(|(name, made)| (name.clone(), made.reference())).collect();
        let mut labels = BTreeMap::from([
            (KEY_LABEL.to_owned(), keyed.wanted.key().to_string()),
            (GENERATION_LABEL.to_owned(), generation.0.to_string()),
            (PARENTS_LABEL.to_owned(), serde_json::json!(by_key).to_string()),
        ]);
        if let Some(revision) = &self.setting.source.revision {
            labels.insert("org.opencontainers.image.revision".to_owned(), revision.clone());
        }
        keyed.request(&images, labels, self.no_cache)
    }
}
