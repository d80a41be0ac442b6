//! Stored inputs and what is told from them: written with each build, held to their key, compared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use boxwright::adapter::clock::BootClock;
use boxwright::adapter::context::DiskContext;
use boxwright::adapter::memory::{Asked, Fault, MemoryRegistry, Verb};
use boxwright::config::{self, Lock, Project};
use boxwright::exec::{
    self, BuildOptions, BuildReport, Compared, Event, ExplainError, Keyed, KeysError, Ledger, Outcome,
    Parent, Ports, PromoteOptions, Setting, Tree,
};
use boxwright::inputs::Reads;
use boxwright::model::{Digest, Key, MediaType, RawManifest, Repository, Source, Span, StoredInputs, Tag};
use boxwright::port::{
    BlobStream, BuildEvent, BuildRequest, Engine, EngineError, Failure, ImageId, PushEvent, Reference,
    Registry, RunOutput, RunRequest,
};
use tokio_util::sync::CancellationToken;

/// Reads from disk, and remembers nothing.
static CONTEXT: std::sync::LazyLock<DiskContext> = std::sync::LazyLock::new(DiskContext::default);
static SECRETS: std::sync::LazyLock<boxwright::adapter::secrets::LocalSecrets> =
    std::sync::LazyLock::new(|| boxwright::adapter::secrets::LocalSecrets::new("/"));

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
impl Engine for Labeller {
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

    async fn run(
        &self,
        _: &RunRequest,
        _: &(dyn Fn(RunOutput) + Send + Sync),
        _: &CancellationToken,
    ) -> Result<i64, EngineError> {
        panic!("nothing is run here")
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
    setting: Setting,
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
            setting: Setting {
                registry: "registry.example".to_owned(),
                ledger: "registry.example/boxwright-ledger".parse().unwrap(),
                run: "test".parse().unwrap(),
                attempt: 1,
                lease: Span::from_seconds(86_400),
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

    fn try_keys(&self) -> Result<Vec<Keyed>, KeysError> {
        let (lock, args) = (Lock::default(), BTreeMap::new());
        let (root, project) = (self.root.path(), &self.project);
        let root = root.canonicalize().unwrap();
        let tree = Tree {
            context: &*CONTEXT,
            root: &root,
            project,
            lock: &lock,
            args: &args,
            sources: &BTreeMap::new(),
        };
        exec::keys(tree, &self.project.boxes, "registry.example")
    }

    fn keys(&self) -> Vec<Keyed> {
        self.try_keys().unwrap()
    }

    fn ports(&self) -> Ports<'_> {
        Ports { registry: &*self.registry, engine: &self.engine, clock: &BootClock, secrets: &*SECRETS }
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger::new(&*self.registry, &self.setting.ledger)
    }

    async fn build(&self) -> (Vec<Keyed>, BuildReport) {
        let boxes = self.keys();
        let options = BuildOptions { jobs: 2, wait: Span::default(), no_cache: false, fail_fast: false };
        let emit = |event| self.events.lock().unwrap().push(event);
        let cancel = CancellationToken::new();
        let report =
            exec::build(self.ports(), &self.setting, &boxes, &options, &emit, &cancel).await.unwrap();
        (boxes, report)
    }

    async fn promote(&self, tag: &str) {
        let tag: Tag = tag.parse().unwrap();
        let channel = self.project.channel_of(&tag).unwrap();
        let options = PromoteOptions {
            tag,
            channel: channel.name.clone(),
            immutable: channel.immutable,
            allow_older: false,
            apply: true,
        };
        exec::promote(
            self.ports(),
            &self.setting,
            exec::Content::Boxes(&self.keys()),
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
        let missing: Vec<&Keyed> = boxes.iter().collect();
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

fn of_inputs(asked: &Asked) -> bool {
    asked.reference.as_ref().is_some_and(|reference| reference.starts_with("inputs."))
}

#[tokio::test]
async fn inputs_are_stored_once_with_each_image_that_is_built() {
    let world = World::new();
    let (boxes, report) = world.build().await;
    assert!(report.boxes.values().all(|one| one.outcome == Outcome::Built));
    for keyed in &boxes {
        let stored = world.ledger().inputs(keyed.wanted.key()).await.unwrap().unwrap();
        assert_eq!(stored.to_bytes(), keyed.manifest.to_bytes(), "{}", keyed.wanted.name);
    }
    // A hit asks for nothing, and a box that is built again only whether they stand.
    world.registry.clear_log();
    world.build().await;
    assert!(!world.registry.log().iter().any(of_inputs));
    let base = &boxes[0].wanted;
    let digest = report.boxes["base"].digest.clone().unwrap();
    world.registry.delete(&base.repository, &digest).await.unwrap();
    world.registry.clear_log();
    let (_, again) = world.build().await;
    assert_eq!(again.boxes["base"].outcome, Outcome::Built);
    let log = world.registry.log();
    let verbs: Vec<Verb> = log.iter().filter(|asked| of_inputs(asked)).map(|asked| asked.verb).collect();
    assert_eq!(verbs, [Verb::Head]);
    assert!(!log.iter().any(|asked| {
        asked.verb == Verb::PutBlob && asked.repository.as_ref() == Some(&world.setting.ledger)
    }));
}

#[tokio::test]
async fn a_ledger_that_takes_no_inputs_fails_no_build() {
    let world = World::new();
    world.registry.break_when(|asked| {
        let lost = || Failure::Unreachable { detail: "lost".to_owned() };
        (asked.verb == Verb::Put && of_inputs(asked)).then(|| Fault::Before(lost()))
    });
    let (boxes, report) = world.build().await;
    assert!(report.boxes.values().all(|one| one.outcome == Outcome::Built && one.digest.is_some()));
    let notes: Vec<String> = {
        let events = world.events.lock().unwrap();
        let note = |event: &Event| match event {
            Event::Note { text } => Some(text.clone()),
            _ => None,
        };
        events.iter().filter_map(note).collect()
    };
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].contains("base: its inputs were not stored") && notes[0].contains("lost"), "{notes:?}");
    assert!(world.ledger().inputs(boxes[0].wanted.key()).await.unwrap().is_none());
}

#[tokio::test]
async fn inputs_that_are_not_those_of_their_key_are_refused() {
    let world = World::new();
    let (boxes, _) = world.build().await;
    let key = boxes[0].wanted.key();
    let other = boxes[1].manifest.pack().unwrap();
    world.tamper(key, &other, other.len() as u64).await;
    let error = world.ledger().inputs(key).await.unwrap_err().to_string();
    let expect = format!("the inputs of key {key} are unusable: their key is {}", boxes[1].wanted.key());
    assert!(error.ends_with(&expect), "{error}");
    world.tamper(key, b"not gzip", 8).await;
    let error = world.ledger().inputs(key).await.unwrap_err().to_string();
    assert!(error.ends_with("cannot be decompressed"), "{error}");
    // What says that it is too large is not fetched.
    world.tamper(key, &other, 1 << 40).await;
    world.registry.clear_log();
    let error = world.ledger().inputs(key).await.unwrap_err().to_string();
    assert!(error.contains("more than 67108864 bytes"), "{error}");
    assert!(!world.registry.log().iter().any(|asked| asked.verb == Verb::GetBlob));
    world.registry.break_when(|asked| {
        let lost = || Failure::Unreachable { detail: "lost".to_owned() };
        (asked.verb == Verb::GetBlob).then(|| Fault::Before(lost()))
    });
    let good = world.ledger().inputs(boxes[1].wanted.key()).await.unwrap_err();
    assert!(good.to_string().contains("lost"), "{good}");
}

#[tokio::test]
async fn a_comparison_names_what_moved_down_to_the_parents() {
    let world = World::new();
    let (before, _) = world.build().await;
    world.promote("main").await;
    assert!(world.compare("test", "main").await.unwrap().differences.is_empty());

    world.write("build/b", "changed\n");
    let test = world.compare("test", "main").await.unwrap();
    assert_eq!(lines(&test, 0), ["parent build moved", "  build/b changed"]);

    world.write("base.txt", "base too\n");
    world.write("tool.txt", "8\n");
    world.write("build/c", "new\n");
    std::fs::remove_file(world.root.path().join("build/a")).unwrap();
    world.write("Dockerfile", &DOCKERFILE.replace("RUN test", "RUN test --all"));
    let test = world.compare("test", "main").await.unwrap();
    let expect = [
        "Dockerfile instruction changed: RUN test --all (line 11)",
        "parent build moved",
        "  argument TOOL changed",
        "  parent base moved",
        "    base.txt changed",
        "  pin tool moved",
        "  build/a removed",
        "  build/b changed",
        "  build/c added",
    ];
    assert_eq!(lines(&test, 0), expect);
    let Some(Parent::Compared(build)) = &test.differences[1].parent else { panic!("{test:?}") };
    let values = |at: usize| (build.differences[at].old.as_deref(), build.differences[at].new.as_deref());
    assert_eq!(values(0), (Some("7"), Some("8")));
    assert_eq!(values(1).0, Some(before[0].wanted.key().as_str()));
    assert!(values(3).0.unwrap().starts_with("file, 2 bytes, sha256:"), "{:?}", values(3));
    assert_eq!(values(3).1, None);
    assert_eq!(test.differences[0].old.as_deref(), Some("RUN test"));

    // By key and by content tag it is the same; a parent whose inputs are gone is told of.
    for text in [before[2].wanted.key().to_string(), before[2].wanted.tag.to_string()] {
        assert_eq!(lines(&world.compare("test", &text).await.unwrap(), 0), expect);
    }
    let record: Tag = format!("inputs.{}", before[0].wanted.key()).parse().unwrap();
    let digest = world.ledger().digest(&record).await.unwrap().unwrap();
    world.ledger().delete(&digest).await.unwrap();
    let test = world.compare("test", "main").await.unwrap();
    let untold = format!("  (its inputs of key {} were not stored)", before[0].wanted.key());
    assert_eq!(lines(&test, 0)[4], untold);
}

#[tokio::test]
async fn a_parent_that_two_boxes_share_is_told_once() {
    let mut world = World::new();
    let both = "\n[box.test]\ncontexts = { base = \"box:base\", build = \"box:build\" }\ntarget = \"test\"\n";
    let config =
        CONFIG.replace("\n[box.test]\ntarget = \"test\"\ncontexts = { build = \"box:build\" }\n", both);
    assert_ne!(config, CONFIG);
    world.project = config::parse("boxwright.toml", &config).unwrap();
    let dockerfile = DOCKERFILE
        .replace("FROM scratch AS base", "FROM scratch AS bottom")
        .replace("COPY test.sh /", "COPY --from=base / /base\nCOPY test.sh /");
    world.project.boxes[0].target = Some("bottom".to_owned());
    world.write("Dockerfile", &dockerfile);
    world.build().await;
    world.promote("main").await;
    world.write("base.txt", "changed\n");
    let told = lines(&world.compare("test", "main").await.unwrap(), 0);
    let expect = [
        "parent base moved",
        "  base.txt changed",
        "parent build moved",
        "  parent base moved",
        "  (base is told above)",
    ];
    assert_eq!(told, expect);
    let (reasons, _) = world.reasons().await;
    assert_eq!(reasons["test"].0, "parent base moved; parent build moved");
}

#[tokio::test]
async fn what_cannot_be_compared_with_is_said() {
    let world = World::new();
    let (before, _) = world.build().await;
    let says = |error: ExplainError, expect: &str| assert_eq!(error.to_string(), expect);
    world.write("test.sh", "changed\n");
    let error = world.compare("test", "main").await.unwrap_err();
    says(error, "there is no image registry.example/test main");
    let error = world.compare("test", "feature/x").await.unwrap_err();
    says(error, "`feature/x` is not a tag, a key or a digest");
    let none = Key::of(b"none");
    let error = world.compare("test", none.as_str()).await.unwrap_err();
    says(error, &format!("ledger registry.example/boxwright-ledger holds no inputs of key {none}"));
    let plain = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let repository: Repository = "registry.example/test".parse().unwrap();
    world.registry.put_blob(&repository, plain.into()).await.unwrap();
    let foreign: Tag = "foreign".parse().unwrap();
    world.registry.put(&repository, &foreign.into(), &image_manifest(plain)).await.unwrap();
    let error = world.compare("test", "foreign").await.unwrap_err();
    says(error, "image registry.example/test foreign does not tell its inputs: its labels hold no key");
    // A digest is looked at as a tag is; a key needs no image.
    let digest = world.registry.head(&repository, &before[2].wanted.tag.tag().into()).await.unwrap().unwrap();
    let same = world.compare("test", digest.as_str()).await.unwrap();
    assert_eq!(lines(&same, 0), ["test.sh changed"]);
    world.registry.delete(&repository, &digest).await.unwrap();
    let same = world.compare("test", before[2].wanted.key().as_str()).await.unwrap();
    assert_eq!(lines(&same, 0), ["test.sh changed"]);
    world
        .registry
        .break_when(|_| Some(Fault::Before(Failure::Status { status: 503, detail: String::new() })));
    let error = world.compare("test", "main").await.unwrap_err();
    assert!(matches!(error, ExplainError::Registry(_)), "{error}");
}

#[tokio::test]
async fn a_reason_names_three_changes_since_the_tag_that_moves() {
    let world = World::new();
    assert_eq!(world.reasons().await, Default::default());
    world.build().await;
    world.promote("main").await;
    world.registry.advance(Span::from_seconds(60));
    // A release is newer, but main is what one works against.
    world.write("base.txt", "for the release\n");
    world.build().await;
    world.promote("r2").await;
    world.write("base.txt", "base\n");
    for name in ["build/c", "build/d", "build/e"] {
        world.write(name, "new\n");
    }
    world.write("tool.txt", "8\n");
    let (told, notes) = world.reasons().await;
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(told.get("base"), None, "it is as it was promoted");
    let since = |text: &str| (text.to_owned(), "main".to_owned());
    assert_eq!(told["build"], since("argument TOOL changed; pin tool moved; build/c added; and 2 more"));
    assert_eq!(told["test"], since("parent build moved"));

    // Promoted again, the newest set counts.
    world.build().await;
    world.promote("main").await;
    world.write("build/a", "changed\n");
    let (told, _) = world.reasons().await;
    assert_eq!(told["build"], since("build/a changed"));

    world.registry.break_when(|asked| {
        let lost = || Failure::Unreachable { detail: "lost".to_owned() };
        (asked.verb == Verb::Tags).then(|| Fault::Before(lost()))
    });
    let (told, notes) = world.reasons().await;
    assert!(told.is_empty());
    assert!(notes[0].starts_with("what moved cannot be told: ") && notes.len() == 1, "{notes:?}");
}

#[tokio::test]
async fn without_a_tag_that_moves_the_newest_release_counts() {
    let world = World::new();
    world.build().await;
    world.promote("r1").await;
    world.registry.advance(Span::from_seconds(60));
    world.write("test.sh", "second\n");
    world.write("build/a", "second\n");
    world.build().await;
    world.promote("r2").await;
    world.write("test.sh", "third\n");
    let (told, _) = world.reasons().await;
    assert_eq!(told["test"], ("test.sh changed".to_owned(), "r2".to_owned()));
}

#[test]
fn triggers_of_a_parent_read_the_context_of_its_child() {
    let world = World::new();
    let with = |trigger: &str| {
        world.write(
            "Dockerfile",
            &DOCKERFILE.replace("COPY base.txt /\n", &format!("COPY base.txt /\n{trigger}\n")),
        );
        world.try_keys()
    };
    let read = |keyed: &Keyed| -> Vec<String> {
        keyed.manifest.entries.iter().map(|entry| entry.path.to_string()).collect()
    };
    let plain = with("ONBUILD RUN make").unwrap();
    let keys = with("ONBUILD COPY test.sh /").unwrap();
    let all: Vec<String> = [read(&plain[1]), vec!["test.sh".to_owned()]].concat();
    assert_eq!(read(&keys[1]).into_iter().collect::<BTreeSet<_>>(), all.into_iter().collect());
    // It fires once: the child's child is as it was, and the box itself reads what it read.
    assert_eq!((read(&keys[0]), read(&keys[2])), (read(&plain[0]), read(&plain[2])));
    world.write("test.sh", "changed\n");
    assert_ne!(world.keys()[1].wanted.tag, keys[1].wanted.tag);

    let keys = with("ONBUILD COPY . /").unwrap();
    let Reads::Whole { reason, line } = keys[1].reads() else { panic!("{:?}", keys[1].reads()) };
    let expect = "Dockerfile:3 is an ONBUILD trigger of `below`: COPY reads the whole context";
    assert_eq!((reason.as_str(), *line), (expect, 5));
    let error = with("ONBUILD COPY --from=other:1 /a /b").unwrap_err().to_string();
    let expect =
        "box build: Dockerfile:3:9 of its parent base is an ONBUILD trigger that copies from `other:1`";
    assert_eq!(error.lines().next(), Some(expect));
    // To copy from a box is not to stand on it.
    let copies = DOCKERFILE
        .replace("COPY base.txt /\n", "COPY base.txt /\nONBUILD COPY test.sh /\n")
        .replace("FROM below AS build", "FROM scratch AS build\nCOPY --from=below / /");
    world.write("Dockerfile", &copies);
    assert_eq!(read(&world.keys()[1]), read(&plain[1]));
}

#[test]
fn a_link_on_the_way_to_a_source_gives_its_reason() {
    let world = World::new();
    world.write("Dockerfile", &DOCKERFILE.replace("COPY base.txt /\n", "COPY link/a /\n"));
    std::os::unix::fs::symlink("build", world.root.path().join("link")).unwrap();
    let keys = world.keys();
    let Reads::Whole { reason, line } = keys[0].reads() else { panic!("{:?}", keys[0].reads()) };
    assert_eq!((reason.as_str(), *line), ("`link` is a symbolic link, and `link/a` reads through it", 2));
}

#[test]
fn remarks_have_names_and_can_be_silenced() {
    let mut world = World::new();
    let dockerfile = DOCKERFILE.replace(
        "RUN build $TOOL",
        "ARG API_TOKEN\nRUN git clone https://x/y && curl -O https://x/z\nADD https://x/w /",
    );
    world.write("Dockerfile", &dockerfile);
    let said = |world: &World| -> Vec<String> {
        let differing = ["build/a".to_owned(), "build/b".to_owned(), "c\u{1b}".to_owned()];
        let remarks = world.keys()[1].remarks(&differing);
        let line = |one: &exec::Remark| match (&one.file, one.line) {
            (Some(file), line) => format!("{} {file}:{}", one.kind.name(), line.unwrap_or_default()),
            (None, _) => format!("{}: {}", one.kind.name(), one.text),
        };
        remarks.iter().map(line).collect()
    };
    let all = [
        "secret-argument Dockerfile:6",
        "git-clone Dockerfile:7",
        "download Dockerfile:7",
        "unchecked-add Dockerfile:8",
        "unused-context Dockerfile:0",
        "dirty: not as committed: build/a and 2 more",
    ];
    let contexts = "contexts = { below = \"box:base\" }";
    let unused = "contexts = { below = \"box:base\", nobody = \"box:base\" }";
    let config = CONFIG.replace(contexts, unused);
    world.project = config::parse("boxwright.toml", &config).unwrap();
    assert_eq!(said(&world), all);
    // Where the whole context is read, .git had better be ignored.
    world.write(".git/HEAD", "ref\n");
    assert_eq!(said(&world), all);
    world.write("Dockerfile", &dockerfile.replace("COPY build /src", "COPY . /src"));
    assert!(said(&world)[5].starts_with("git-directory: the context holds .git"), "{:?}", said(&world));
    world.write("Dockerfile", &dockerfile);
    let allow = format!("{unused}\nallow = [\"git-clone\", \"secret-argument\", \"dirty\"]");
    let config = format!("{}\n[lint]\nallow = [\"download\"]\n", config.replace(unused, &allow));
    world.project = config::parse("boxwright.toml", &config).unwrap();
    assert_eq!(said(&world), ["unchecked-add Dockerfile:8", "unused-context Dockerfile:0"]);
}

#[test]
fn an_argument_for_every_box_is_refused_where_it_is_declared_and_looks_like_a_secret() {
    let world = World::new();
    world.write("Dockerfile", &DOCKERFILE.replace("ARG TOOL", "ARG TOOL\nARG API_TOKEN"));
    let (lock, root) = (Lock::default(), world.root.path().canonicalize().unwrap());
    let keys = |name: &str| {
        let args = BTreeMap::from([(name.to_owned(), "hunter2".to_owned())]);
        let project = &world.project;
        let tree = Tree {
            context: &*CONTEXT,
            root: &root,
            project,
            lock: &lock,
            args: &args,
            sources: &BTreeMap::new(),
        };
        exec::keys(tree, &world.project.boxes, "registry.example")
    };
    let error = keys("API_TOKEN").unwrap_err().to_string();
    assert!(error.starts_with("box build: argument API_TOKEN looks like a secret"), "{error}");
    assert!(!error.contains("hunter2"));
    assert!(keys("OTHER_TOKEN").is_ok(), "nobody declares it, so it goes nowhere");
}
