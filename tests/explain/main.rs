//! Stored inputs and what is told from them: written with each build, held to their key, compared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod compared;
mod stored;
mod told;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use boxwright::adapter::clock::BootClock;
use boxwright::adapter::context::DiskContext;
use boxwright::adapter::memory::MemoryRegistry;
use boxwright::config::{self, Lock, Project};
use boxwright::exec::{
    self, BuildOptions, BuildReport, Compared, EnginePorts, Event, ExplainError, KeysError, Ledger, Parent,
    PromoteOptions, RegistryPorts, ResolvedBox, RunContext, Tree,
};
use boxwright::model::{Digest, Key, MediaType, RawManifest, Repository, Source, Span, StoredInputs, Tag};
use boxwright::port::{
    BlobStream, BuildEvent, BuildRequest, Builder, EngineError, ImageId, ImageStore, PushEvent, Reference,
    RegistryWriter,
};
use tokio_util::sync::CancellationToken;

/// Reads from disk, and remembers nothing.
static CONTEXT: std::sync::LazyLock<DiskContext> = std::sync::LazyLock::new(DiskContext::default);
static SECRETS: std::sync::LazyLock<boxwright::adapter::secrets::LocalSecrets> =
    std::sync::LazyLock::new(|| boxwright::adapter::secrets::LocalSecrets::new("/", Vec::new()));

const CONFIG: &str = r#"
registry = "registry.example"

[pin.tool]
file = "tool.txt"

[box.base]
target = "base"

[box.build]
target = "build"
contexts = { below = "box:base" }
args = { TOOL = "{pin.tool}" }

[box.test]
target = "test"
contexts = { build = "box:build" }

[channel.main]
tag = "main"

[channel.release]
tag = 'r[0-9]+'
immutable = true
"#;

const DOCKERFILE: &str = "\
FROM scratch AS base
COPY base.txt /

FROM below AS build
ARG TOOL
RUN build $TOOL
COPY build /src

FROM build AS test
COPY test.sh /
RUN test
";

/// An engine whose images are their labels.
struct Labeller {
    registry: Arc<MemoryRegistry>,
    built: Mutex<BTreeMap<Digest, String>>,
}

#[async_trait]
impl Builder for Labeller {
    async fn check(&self) -> Result<String, EngineError> {
        Ok("28.0.0".to_owned())
    }

    async fn build(
        &self,
        request: &BuildRequest,
        _: &(dyn Fn(BuildEvent) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        let configuration = serde_json::json!({
            "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] },
            "config": { "Labels": request.labels },
        });
        let text = configuration.to_string();
        let digest = Digest::of(text.as_bytes());
        self.built.lock().unwrap().insert(digest.clone(), text);
        Ok(ImageId(digest))
    }
}

#[async_trait]
impl ImageStore for Labeller {
    async fn size(&self, _: &ImageId) -> Result<u64, EngineError> {
        Ok(0)
    }

    async fn name(&self, _: &ImageId, _: &str) -> Result<(), EngineError> {
        unreachable!("these tests name no image")
    }

    async fn find(&self, _: &str) -> Result<Option<ImageId>, EngineError> {
        unreachable!("these tests look for no image")
    }

    async fn push(
        &self,
        image: &ImageId,
        repository: &Repository,
        tag: &Tag,
        _: &(dyn Fn(PushEvent) + Send + Sync),
    ) -> Result<Digest, EngineError> {
        let text = self.built.lock().unwrap()[&image.0].clone();
        let raw = image_manifest(&text);
        self.registry.put_blob(repository, text.into()).await.unwrap();
        self.registry.put(repository, &Reference::Tag(tag.clone()), &raw).await.unwrap();
        Ok(raw.digest().clone())
    }

    async fn load(&self, _: &[String], _: BlobStream<'static, std::io::Error>) -> Result<(), EngineError> {
        panic!("nothing is loaded here")
    }
}

fn image_manifest(configuration: &str) -> RawManifest {
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(configuration.as_bytes()),
            "size": configuration.len(),
        },
        "layers": [],
    });
    RawManifest::new(MediaType::OciManifest, manifest.to_string())
}

struct World {
    root: tempfile::TempDir,
    project: Project,
    registry: Arc<MemoryRegistry>,
    engine: Labeller,
    setting: RunContext,
    events: Mutex<Vec<Event>>,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let registry = Arc::new(MemoryRegistry::new());
        let world = Self {
            project: config::parse("boxwright.toml", CONFIG).unwrap(),
            engine: Labeller { registry: Arc::clone(&registry), built: Mutex::default() },
            registry,
            setting: RunContext {
                registry: "registry.example".to_owned(),
                ledger: "registry.example/boxwright-ledger".parse().unwrap(),
                run: "test".parse().unwrap(),
                attempt: 1,
                lease: Span::from_seconds(86_400),
                by: None,
                source: Source::default(),
            },
            events: Mutex::default(),
            root,
        };
        world.write("Dockerfile", DOCKERFILE);
        world.write("tool.txt", "7\n");
        world.write("base.txt", "base\n");
        world.write("build/a", "a\n");
        world.write("build/b", "b\n");
        world.write("test.sh", "test\n");
        world
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn try_keys(&self) -> Result<Vec<ResolvedBox>, KeysError> {
        self.keys_with(&BTreeMap::new())
    }

    /// The keys with arguments for every box.
    fn keys_with(&self, args: &BTreeMap<String, String>) -> Result<Vec<ResolvedBox>, KeysError> {
        let lock = Lock::default();
        let (root, project) = (self.root.path(), &self.project);
        let root = root.canonicalize().unwrap();
        let tree =
            Tree { context: &*CONTEXT, root: &root, project, lock: &lock, args, sources: &BTreeMap::new() };
        exec::keys(tree, &self.project.boxes, "registry.example")
    }

    fn keys(&self) -> Vec<ResolvedBox> {
        self.try_keys().unwrap()
    }

    fn ports(&self) -> RegistryPorts<'_> {
        RegistryPorts::new(&*self.registry, &BootClock)
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger::new(&*self.registry, &self.setting.ledger)
    }

    async fn build(&self) -> (Vec<ResolvedBox>, BuildReport) {
        let boxes = self.keys();
        let options = BuildOptions { jobs: 2, wait: Span::default(), no_cache: false, fail_fast: false };
        let emit = |event| self.events.lock().unwrap().push(event);
        let cancel = CancellationToken::new();
        let engine = EnginePorts { builder: &self.engine, store: &self.engine, secrets: &*SECRETS };
        let report = exec::build(self.ports(), engine, &self.setting, &boxes, &options, &emit, &cancel);
        let report = report.await.unwrap();
        (boxes, report)
    }

    async fn promote(&self, tag: &str) {
        let tag: Tag = tag.parse().unwrap();
        let channel = self.project.channel_of(&tag).unwrap();
        let options = PromoteOptions {
            keep: None,
            tag,
            channel: channel.name.clone(),
            immutable: channel.immutable,
            allow_older: false,
            shown: None,
            apply: true,
        };
        exec::promote(
            self.ports(),
            &self.setting,
            exec::PromotionSource::Built(&self.keys()),
            &options,
            &|_| {},
            &CancellationToken::new(),
        )
        .await
        .unwrap();
    }

    /// Compares a box with what `text` names.
    async fn compare(&self, name: &str, text: &str) -> Result<Compared, ExplainError> {
        let boxes = self.keys();
        let keyed = boxes.iter().find(|keyed| keyed.wanted.name == name).unwrap();
        let repository = &keyed.wanted.repository;
        let older = exec::against(&*self.registry, repository, &keyed.spec.platform, text).await?;
        exec::compare(self.ledger(), &boxes, keyed, &older.key).await
    }

    async fn reasons(&self) -> (BTreeMap<String, (String, String)>, Vec<String>) {
        let boxes = self.keys();
        let missing: Vec<&ResolvedBox> = boxes.iter().collect();
        let told = exec::reasons(self.ledger(), &self.project, &missing).await;
        let pairs = told.by_box.into_iter().map(|(name, why)| (name, (why.text, why.since.to_string())));
        (pairs.collect(), told.notes)
    }

    /// Puts other bytes where the inputs of a key stand.
    async fn tamper(&self, key: &Key, packed: &[u8], size: u64) {
        let ledger = &self.setting.ledger;
        let digest = self.registry.put_blob(ledger, packed.to_vec().into()).await.unwrap();
        let at: Tag = format!("inputs.{key}").parse().unwrap();
        let raw = StoredInputs { digest, size }.to_manifest();
        self.registry.put(ledger, &at.into(), &raw).await.unwrap();
    }
}

/// A comparison as lines, indented by generation.
fn lines(compared: &Compared, depth: usize) -> Vec<String> {
    let indent = "  ".repeat(depth);
    let mut out = Vec::new();
    for difference in &compared.differences {
        out.push(format!("{indent}{}", difference.text));
        match &difference.parent {
            None => {}
            Some(Parent::Untold(why)) => out.push(format!("{indent}({why})")),
            Some(Parent::Compared(parent)) => out.extend(lines(parent, depth + 1)),
        }
    }
    out
}
