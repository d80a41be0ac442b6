//! The Docker Engine adapter against a real engine and a real registry, both from
//! `scripts/`. A missing engine is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boxwright::adapter::context::DiskContext;
use boxwright::adapter::engine::{AuthSource, DockerEngine};
use boxwright::model::{Digest, Entry, RelPath};
use boxwright::port::{
    BuildEvent, BuildRequest, Context, ContextFilter, Engine, EngineError, ImageId, Scan, StepState, Visit,
};
use tempfile::TempDir;

struct All;

impl ContextFilter for All {
    fn directory(&self, _: &RelPath) -> Visit {
        Visit::Take
    }

    fn leaf(&self, _: &RelPath, _: bool) -> Visit {
        Visit::Take
    }
}

fn anonymous() -> AuthSource {
    Arc::new(|_| Box::pin(async { Ok(None) }))
}

fn engine() -> DockerEngine {
    let host = std::env::var("DOCKER_HOST").ok();
    DockerEngine::connect(host.as_deref(), anonymous()).expect("no engine: run scripts/setup")
}

fn entries(root: &Path) -> Vec<Entry> {
    match DiskContext.scan(root, &All).unwrap() {
        Scan::Entries(entries) => entries,
        Scan::Widen(path) => panic!("{path}"),
    }
}

fn request(root: &Path, dockerfile: &str) -> BuildRequest {
    BuildRequest {
        dockerfile: dockerfile.as_bytes().to_vec(),
        root: root.to_owned(),
        entries: entries(root),
        target: None,
        args: BTreeMap::new(),
        labels: BTreeMap::new(),
        platform: "linux/amd64".parse().unwrap(),
        network: None,
        extra_hosts: Vec::new(),
        shm_size: None,
        no_cache: false,
    }
}

async fn build(request: &BuildRequest) -> (Result<ImageId, EngineError>, Vec<BuildEvent>) {
    let events = Mutex::new(Vec::new());
    let result = engine().build(request, &|event| events.lock().unwrap().push(event)).await;
    (result, events.into_inner().unwrap())
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Another text each time, so that no step is in the engine's cache.
fn unique() -> String {
    let dir = TempDir::new().unwrap();
    dir.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned()
}

struct Registry {
    dir: TempDir,
    address: String,
}

impl Registry {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let output = Command::new(script()).arg("start").arg(dir.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let address = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self { dir, address }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = Command::new(script()).arg("stop").arg(self.dir.path()).status();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/registry")
}

#[tokio::test]
async fn check_tells_the_version() {
    let version = engine().check().await.unwrap();
    assert_eq!(version, docker(&["version", "--format", "{{.Server.Version}}"]));
}

#[tokio::test]
async fn builds_labels_logs_and_caches() {
    let root = TempDir::new().unwrap();
    let text = unique();
    fs::create_dir(root.path().join("sub")).unwrap();
    fs::write(root.path().join("sub/file"), &text).unwrap();
    let mut request = request(
        root.path(),
        "FROM boxwright-busybox:1\nARG WHO\nCOPY . /in\nRUN cat /in/sub/file && echo \"for $WHO\" && ls -lanR /in\n",
    );
    request.labels.insert("key".to_owned(), "a b&c=\"d\"".to_owned());
    request.args.insert("WHO".to_owned(), "you & me".to_owned());
    let (image, events) = build(&request).await;
    let id = image.unwrap().0.to_string();
    assert_eq!(
        docker(&["image", "inspect", &id, "--format", "{{index .Config.Labels \"key\"}}"]),
        "a b&c=\"d\""
    );
    let log: Vec<u8> = events
        .iter()
        .filter_map(
            |event| if let BuildEvent::Log { bytes, .. } = event { Some(bytes.to_vec()) } else { None },
        )
        .flatten()
        .collect();
    let log = String::from_utf8(log).unwrap();
    println!("{log}");
    for e in &events {
        if let BuildEvent::Step { .. } = e {
            println!("{e:?}");
        }
    }
    assert!(log.contains(&text) && log.contains("for you & me"), "{log}");
    let (again, events) = build(&request).await;
    assert_eq!(again.unwrap().0.to_string(), id);
    let cached = |event: &BuildEvent| matches!(event, BuildEvent::Step { name, state: StepState::Cached, .. } if name.contains("RUN"));
    assert!(events.iter().any(cached), "{events:?}");
}

#[tokio::test]
async fn pushes_to_a_registry() {
    let registry = Registry::start();
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("file"), unique()).unwrap();
    let (image, _) = build(&request(root.path(), "FROM boxwright-busybox:1\nCOPY file /\n")).await;
    let repository = format!("{}/box", registry.address).parse().unwrap();
    let layers = Mutex::new(Vec::new());
    let digest = engine()
        .push(&image.unwrap(), &repository, &"k-1".parse().unwrap(), &|event| {
            layers.lock().unwrap().push(event)
        })
        .await
        .unwrap();
    println!("{:?}", layers.lock().unwrap());
    let url = format!("http://{}/v2/box/manifests/k-1", registry.address);
    let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json";
    let output = Command::new("curl").args(["-sSf", "--noproxy", "*", "-H", accept, &url]).output().unwrap();
    assert_eq!(Digest::of(&output.stdout), digest);
}
