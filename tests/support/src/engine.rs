//! An engine that builds nothing but really pushes: each build is an image with the
//! request's labels and bytes of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use boxwright::adapter::memory::MemoryRegistry;
use boxwright::exec::{EnginePorts, ResolvedBox};
use boxwright::model::{Digest, Key, MediaType, RawManifest, Repository, Tag};
use boxwright::port::{
    BlobStream, BuildEvent, BuildRequest, Builder, EngineError, ImageId, ImageStore, PushEvent, Registry,
    RegistryWriter,
};
use bytes::Bytes;
use tokio::sync::Notify;

use crate::project::SECRETS;

/// Tells the builds of a test process apart.
static NONCE: AtomicU32 = AtomicU32::new(0);

type Hook<R> = Box<dyn FnMut(&str, &R) + Send>;

/// What the engine does and has done.
pub struct Script<R = MemoryRegistry> {
    /// Boxes whose build fails.
    pub fail: BTreeSet<String>,
    /// How long builds take.
    pub delay: BTreeMap<String, Duration>,
    /// How long pushes take until their tags are written.
    pub push_delay: BTreeMap<String, Duration>,
    /// Boxes whose build waits until it is let go.
    pub block: BTreeMap<String, Arc<Notify>>,
    /// Whether equal requests give equal bytes.
    pub is_reproducible: bool,
    /// Called with the box when its build begins, and just before its tag is pushed.
    pub on_build: Option<Hook<R>>,
    pub before_push: Option<Hook<R>>,
    /// What was asked for.
    pub built: Vec<(String, BuildRequest)>,
    pub pushed: Vec<String>,
    pub checks: usize,
    images: BTreeMap<Digest, (String, Bytes)>,
}

impl<R> Default for Script<R> {
    fn default() -> Self {
        Self {
            fail: BTreeSet::new(),
            delay: BTreeMap::new(),
            push_delay: BTreeMap::new(),
            block: BTreeMap::new(),
            is_reproducible: false,
            on_build: None,
            before_push: None,
            built: Vec::new(),
            pushed: Vec::new(),
            checks: 0,
            images: BTreeMap::new(),
        }
    }
}

/// The engine, and the registry that it pushes to.
pub struct FakeEngine<R = MemoryRegistry> {
    registry: Arc<R>,
    names: BTreeMap<Key, String>,
    pub script: Mutex<Script<R>>,
}

impl<R: Registry> FakeEngine<R> {
    /// Builds these boxes.
    pub fn new(registry: Arc<R>, boxes: &[ResolvedBox]) -> Self {
        let name = |keyed: &ResolvedBox| (keyed.wanted.key().clone(), keyed.wanted.name.clone());
        let (names, script) = (boxes.iter().map(name).collect(), Mutex::default());
        Self { registry, names, script }
    }

    /// Lends it to a build.
    pub fn ports(&self) -> EnginePorts<'_> {
        EnginePorts { builder: self, store: self, secrets: &*SECRETS }
    }

    /// Changes the script.
    pub fn set(&self, change: impl FnOnce(&mut Script<R>)) {
        change(&mut self.script.lock().unwrap());
    }

    /// Returns the boxes that were built, in their order.
    pub fn built(&self) -> Vec<String> {
        self.script.lock().unwrap().built.iter().map(|(name, _)| name.clone()).collect()
    }

    pub fn pushed(&self) -> Vec<String> {
        self.script.lock().unwrap().pushed.clone()
    }

    /// Returns the last request for a box.
    pub fn request(&self, name: &str) -> BuildRequest {
        let script = self.script.lock().unwrap();
        script.built.iter().rev().find(|(built, _)| built == name).unwrap().1.clone()
    }
}

/// Writes an image with these labels; `nonce` keeps equal ones apart.
pub fn image(labels: &BTreeMap<String, String>, nonce: &str) -> (Bytes, Bytes, RawManifest) {
    let layer = Bytes::from(format!("layer {nonce}"));
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Labels": labels },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer)] },
        "history": [{ "comment": nonce }],
    });
    let config = Bytes::from(config.to_string());
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OciManifest.as_str(),
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(&config), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": Digest::of(&layer), "size": layer.len(),
        }],
    });
    (config, layer, RawManifest::new(MediaType::OciManifest, manifest.to_string()))
}

/// Pushes an image with its blobs.
pub async fn push(
    registry: &dyn RegistryWriter,
    repository: &Repository,
    tag: &Tag,
    (config, layer, manifest): (Bytes, Bytes, RawManifest),
) -> Digest {
    registry.put_blob(repository, config).await.unwrap();
    registry.put_blob(repository, layer).await.unwrap();
    registry.put(repository, &tag.clone().into(), &manifest).await.unwrap();
    manifest.digest().clone()
}

#[async_trait]
impl<R: Registry> Builder for FakeEngine<R> {
    async fn check(&self) -> Result<String, EngineError> {
        self.script.lock().unwrap().checks += 1;
        Ok("26.1.5".to_owned())
    }

    async fn build(
        &self,
        request: &BuildRequest,
        _events: &(dyn Fn(BuildEvent) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        let key: Key = request.labels["io.boxwright.key"].parse().unwrap();
        let name = self.names[&key].clone();
        let (delay, block) = {
            let mut script = self.script.lock().unwrap();
            script.built.push((name.clone(), request.clone()));
            if let Some(hook) = &mut script.on_build {
                hook(&name, &self.registry);
            }
            (script.delay.get(&name).copied(), script.block.get(&name).cloned())
        };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        if let Some(block) = block {
            block.notified().await;
        }
        let mut script = self.script.lock().unwrap();
        if script.fail.contains(&name) {
            return Err(EngineError::BuildFailed {
                step: "RUN make".to_owned(),
                detail: "exit 2".to_owned(),
            });
        }
        let nonce = if script.is_reproducible {
            "same".to_owned()
        } else {
            NONCE.fetch_add(1, Ordering::Relaxed).to_string()
        };
        let labels = serde_json::json!(request.labels).to_string();
        let id = Digest::of(format!("{labels} {nonce}").as_bytes());
        script.images.insert(id.clone(), (nonce, Bytes::from(labels)));
        Ok(ImageId(id))
    }
}

#[async_trait]
impl<R: Registry> ImageStore for FakeEngine<R> {
    async fn size(&self, _: &ImageId) -> Result<u64, EngineError> {
        Ok(5_000)
    }

    async fn name(&self, _: &ImageId, _: &str) -> Result<(), EngineError> {
        unreachable!("these tests name no image")
    }

    async fn find(&self, _: &str) -> Result<Option<ImageId>, EngineError> {
        Ok(None)
    }

    async fn push(
        &self,
        id: &ImageId,
        repository: &Repository,
        tag: &Tag,
        _events: &(dyn Fn(PushEvent) + Send + Sync),
    ) -> Result<Digest, EngineError> {
        let (labels, nonce, name, delay) = {
            let script = self.script.lock().unwrap();
            let (nonce, labels) = &script.images[&id.0];
            let labels: BTreeMap<String, String> = serde_json::from_slice(labels).unwrap();
            let key: Key = labels["io.boxwright.key"].parse().unwrap();
            let name = self.names[&key].clone();
            let delay = script.push_delay.get(&name).copied().unwrap_or_default();
            (labels, nonce.clone(), name, delay)
        };
        tokio::time::sleep(delay).await;
        {
            let mut script = self.script.lock().unwrap();
            if let Some(hook) = &mut script.before_push {
                hook(&name, &self.registry);
            }
            script.pushed.push(format!("{}:{tag}", repository.name()));
        }
        let reference = format!("{repository}:{tag}");
        let lost = |error: boxwright::port::RegistryError| EngineError::Transfer {
            action: "push",
            reference: reference.clone(),
            detail: error.to_string(),
            is_denied: error.failure.is_denied(),
        };
        let (config, layer, manifest) = image(&labels, &nonce);
        self.registry.put_blob(repository, config).await.map_err(lost)?;
        self.registry.put_blob(repository, layer).await.map_err(lost)?;
        self.registry.put(repository, &tag.clone().into(), &manifest).await.map_err(lost)?;
        Ok(manifest.digest().clone())
    }

    async fn load(&self, _: &[String], _: BlobStream<'static, std::io::Error>) -> Result<(), EngineError> {
        unreachable!("these tests load nothing")
    }
}
