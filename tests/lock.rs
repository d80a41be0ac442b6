//! Locking what floats: resolved once, kept until asked for again, refused when absent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use async_trait::async_trait;
use boxwright::adapter::context::DiskContext;
use boxwright::adapter::memory::MemoryRegistry;
use boxwright::config::{self, Lock};
use boxwright::exec::{KeysError, LockError, LockReport, ResolvedBox, Tree, keys, resolve};
use boxwright::model::{Digest, MediaType, RawManifest, Repository, Tag};
use boxwright::port::{Reference, RegistryWriter, Remote, RemoteError};

/// Reads from disk, and remembers nothing.
static CONTEXT: std::sync::LazyLock<DiskContext> = std::sync::LazyLock::new(DiskContext::default);

const CONFIG: &str = r#"
registry = "registry.example"

[pin.ec]
git = "https://example.com/ec.git"
ref = "main"

[pin.tool]
url = "https://example.com/tool.tar"

[pin.debian]
image = "debian:12"

[box.base]
args = { EC = "{pin.ec}", SHORT = "{pin.ec:8}" }

[box.tools]
dockerfile = "tools.Dockerfile"
args = { DEBIAN = "debian@{pin.debian}", SUM = "{pin.tool}" }
"#;

const BASE: &str = "FROM debian:12\nARG EC\nARG SHORT\nRUN build $EC\n";
const TOOLS: &str = "ARG DEBIAN\nFROM $DEBIAN\nARG SUM\nCOPY --from=ghcr.io/x/y:1 /a /b\n";

/// A remote that counts what it is asked.
#[derive(Default)]
struct Upstream {
    commits: Mutex<BTreeMap<String, String>>,
    served: Mutex<Vec<u8>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Remote for Upstream {
    async fn commit(&self, url: &str, reference: &str) -> Result<Option<String>, RemoteError> {
        self.asked.lock().unwrap().push(format!("{url} {reference}"));
        Ok(self.commits.lock().unwrap().get(reference).cloned())
    }

    async fn refs(&self, _: &str) -> Result<std::collections::BTreeSet<String>, RemoteError> {
        unreachable!("a lock asks for one ref at a time")
    }

    async fn text(&self, _: &str, _: usize) -> Result<String, RemoteError> {
        unreachable!("a lock reads no texts")
    }

    async fn checksum(&self, url: &str) -> Result<Digest, RemoteError> {
        self.asked.lock().unwrap().push(url.to_owned());
        Ok(Digest::of(&self.served.lock().unwrap()))
    }
}

struct World {
    root: tempfile::TempDir,
    registry: MemoryRegistry,
    upstream: Upstream,
}

impl World {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in [("Dockerfile", BASE), ("tools.Dockerfile", TOOLS)] {
            std::fs::write(root.path().join(name), text).unwrap();
        }
        let world = Self { root, registry: MemoryRegistry::new(), upstream: Upstream::default() };
        world.upstream.commits.lock().unwrap().insert("main".to_owned(), "a".repeat(40));
        world.push("docker.io/library/debian", "12", "one").await;
        world.push("ghcr.io/x/y", "1", "two").await;
        world
    }

    /// Puts an index without children, whose digest depends on `text`.
    async fn push(&self, repository: &str, tag: &str, text: &str) -> Digest {
        let body = format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"a":"{text}"}}}}"#);
        let raw = RawManifest::new(MediaType::OciIndex, body);
        let repository: Repository = repository.parse().unwrap();
        let at = Reference::Tag(tag.parse::<Tag>().unwrap());
        self.registry.put(&repository, &at, &raw).await.unwrap();
        raw.digest().clone()
    }

    async fn resolve(&self, lock: &Lock, renew: &[&str]) -> Result<LockReport, LockError> {
        let project = config::parse("boxwright.toml", CONFIG).unwrap();
        let names: Vec<String> = renew.iter().map(|&name| name.to_owned()).collect();
        let renew = move |what: &str| names.iter().any(|name| name == what || name == "*");
        let args = BTreeMap::new();
        let tree = tree(self.root.path(), &project, lock, &args);
        resolve(tree, &self.registry, &self.upstream, &renew).await
    }

    fn keys(&self, lock: &Lock) -> Result<Vec<ResolvedBox>, KeysError> {
        let project = config::parse("boxwright.toml", CONFIG).unwrap();
        let args = BTreeMap::new();
        keys(tree(self.root.path(), &project, lock, &args), &project.boxes, "registry.example")
    }
}

fn tree<'a>(
    root: &'a Path,
    project: &'a config::Project,
    lock: &'a Lock,
    args: &'a BTreeMap<String, String>,
) -> Tree<'a> {
    static NONE: BTreeMap<String, PathBuf> = BTreeMap::new();
    Tree { context: &*CONTEXT, root, project, lock, args, sources: &NONE }
}

#[tokio::test]
async fn everything_that_floats_is_resolved_at_once() {
    let world = World::new().await;
    let report = world.resolve(&Lock::default(), &[]).await.unwrap();
    let names: Vec<String> = report.moved.iter().map(|moved| moved.what.clone()).collect();
    let images = ["image docker.io/library/debian:12", "image ghcr.io/x/y:1"];
    assert_eq!(names, [images[0], images[1], "pin debian", "pin ec", "pin tool"]);
    assert_eq!(report.lock.pins["tool"].value, Digest::of(b"").to_string());
    // It reads back from its own text, and nothing moves when nothing moved.
    let read = Lock::parse("boxwright.lock", &report.lock.to_text()).unwrap();
    assert_eq!(read, report.lock);
    let asked = world.upstream.asked.lock().unwrap().len();
    assert!(world.resolve(&read, &[]).await.unwrap().moved.is_empty());
    assert_eq!(world.upstream.asked.lock().unwrap().len(), asked, "what is locked is not asked for again");
}

#[tokio::test]
async fn keys_hold_what_was_locked_and_nothing_that_moved_since() {
    let world = World::new().await;
    let unlocked = world.keys(&Lock::default()).unwrap_err();
    assert!(unlocked.to_string().contains("is not in boxwright.lock"), "{unlocked}");
    let lock = world.resolve(&Lock::default(), &[]).await.unwrap().lock;
    let before = world.keys(&lock).unwrap();
    assert_eq!(before[0].manifest.arguments["SHORT"], "a".repeat(8));
    let debian = lock.images[&"debian:12".parse().unwrap()].clone();
    assert_eq!(before[0].manifest.images["debian:12"], format!("docker.io/library/debian@{debian}"));
    // Upstream moves: keys stay until the lock is updated, then exactly those that use it move.
    world.upstream.commits.lock().unwrap().insert("main".to_owned(), "b".repeat(40));
    assert_eq!(world.keys(&lock).unwrap()[0].wanted, before[0].wanted);
    let report = world.resolve(&lock, &["ec"]).await.unwrap();
    assert_eq!(report.moved.len(), 1);
    assert_eq!(report.moved[0].old.as_deref(), Some("a".repeat(40).as_str()));
    let after = world.keys(&report.lock).unwrap();
    assert_ne!(after[0].wanted.tag, before[0].wanted.tag);
    assert_eq!(after[1].wanted.tag, before[1].wanted.tag);
}

#[tokio::test]
async fn an_image_that_moved_upstream_is_told_and_taken_when_asked() {
    let world = World::new().await;
    let lock = world.resolve(&Lock::default(), &[]).await.unwrap().lock;
    let moved = world.push("docker.io/library/debian", "12", "newer").await;
    assert!(world.resolve(&lock, &[]).await.unwrap().moved.is_empty());
    let report = world.resolve(&lock, &["docker.io/library/debian:12"]).await.unwrap();
    assert_eq!(report.moved.len(), 1);
    assert_eq!(report.moved[0].new.as_deref(), Some(moved.as_str()));
    let all = world.resolve(&lock, &["*"]).await.unwrap();
    let names: Vec<&str> = all.moved.iter().map(|moved| moved.what.as_str()).collect();
    assert_eq!(names, ["image docker.io/library/debian:12", "pin debian"]);
}

#[tokio::test]
async fn a_ref_or_image_that_is_not_there_is_named_before_any_build() {
    let world = World::new().await;
    world.upstream.commits.lock().unwrap().clear();
    let error = world.resolve(&Lock::default(), &[]).await.unwrap_err().to_string();
    assert_eq!(error, "pin ec: https://example.com/ec.git has no ref main");
    let world = World::new().await;
    std::fs::write(world.root.path().join("Dockerfile"), BASE.replace("debian:12", "debian:absent")).unwrap();
    let error = world.resolve(&Lock::default(), &[]).await.unwrap_err().to_string();
    assert!(error.starts_with("docker.io/library/debian:absent does not exist"), "{error}");
}

#[tokio::test]
async fn what_is_no_longer_used_leaves_the_lock() {
    let world = World::new().await;
    let lock = world.resolve(&Lock::default(), &[]).await.unwrap().lock;
    std::fs::write(world.root.path().join("tools.Dockerfile"), "ARG DEBIAN\nFROM $DEBIAN\nARG SUM\n")
        .unwrap();
    let report = world.resolve(&lock, &[]).await.unwrap();
    assert_eq!(report.moved.len(), 1);
    assert_eq!((report.moved[0].what.as_str(), &report.moved[0].new), ("image ghcr.io/x/y:1", &None));
}

#[tokio::test]
async fn a_mirror_is_read_in_its_stead_and_moves_no_key() {
    let world = World::new().await;
    let mirrored = world.push("mirror.example/hub/library/debian", "12", "as the mirror has it").await;
    let text = format!("{CONFIG}\n[mirror]\n\"docker.io\" = \"mirror.example/hub/\"\n");
    let project = config::parse("boxwright.toml", &text).unwrap();
    let (args, empty) = (BTreeMap::new(), Lock::default());
    let with_mirror = |lock| tree(world.root.path(), &project, lock, &args);
    world.registry.clear_log();
    let all = resolve(with_mirror(&empty), &world.registry, &world.upstream, &|_: &str| false).await.unwrap();
    // The lock names the image, not the mirror.
    assert_eq!(all.lock.images[&"debian:12".parse().unwrap()], mirrored);
    assert_eq!(all.lock.pins["debian"].value, mirrored.to_string());
    let hosts = world.registry.log();
    let hosts: std::collections::BTreeSet<_> =
        hosts.iter().map(|asked| asked.repository.as_ref().unwrap().host()).collect();
    assert_eq!(hosts.into_iter().collect::<Vec<_>>(), ["ghcr.io", "mirror.example"]);
    // One lock gives one key, with the mirror and without, and the engine pulls that digest there.
    let there = keys(with_mirror(&all.lock), &project.boxes, "registry.example").unwrap();
    let here = world.keys(&all.lock).unwrap();
    let dockerfile = |keyed: &ResolvedBox| {
        let request = keyed.request(&BTreeMap::new(), BTreeMap::new(), false).unwrap();
        String::from_utf8(request.dockerfile).unwrap()
    };
    for (there, here) in there.iter().zip(&here) {
        assert_eq!(there.wanted, here.wanted);
    }
    assert!(dockerfile(&there[0]).contains(&format!("FROM mirror.example/hub/library/debian@{mirrored}")));
    assert!(dockerfile(&here[0]).contains(&format!("FROM docker.io/library/debian@{mirrored}")));
    assert!(dockerfile(&there[1]).contains("--from=ghcr.io/x/y@"));
}

#[test]
fn mirrors_are_hosts_and_places_below_them() {
    for (line, at, why) in [
        ("\"https://docker.io\" = \"m.example\"", "4:1", "is not a registry host"),
        ("\"docker.io/library\" = \"m.example\"", "4:1", "is not a registry host"),
        ("\"docker.io\" = \"https://m.example\"", "4:15", "is not a registry host"),
        ("\"docker.io\" = \"m.example/A\"", "4:15", "is not a repository name"),
        ("\"docker.io\" = true", "4:15", "expected a string"),
    ] {
        let text = format!("registry = \"r.example\"\n[box.a]\n[mirror]\n{line}\n");
        let error = config::parse("boxwright.toml", &text).unwrap_err();
        assert_eq!(format!("{}:{}", error.line, error.column), at, "{error}");
        assert!(error.message.contains(why), "{error}");
    }
}
