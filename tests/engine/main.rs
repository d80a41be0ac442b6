//! The Docker Engine adapter against a real engine and a real registry, both from
//! `scripts/`. A missing engine is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod builds;
mod pushes;
mod runs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boxwright::adapter::context::DiskContext;
use boxwright::adapter::engine::{AuthSource, DockerEngine};
use boxwright::model::{Digest, Entry, RelPath, Repository};
use boxwright::port::{
    BuildEvent, BuildRequest, Builder as _, Context, ContextFilter, EngineError, ImageId, ImageStore as _,
    StepState, Visit,
};
use tempfile::TempDir;

struct All;

impl ContextFilter for All {
    fn directory(&self, _: &RelPath) -> Visit {
        Visit::Take
    }

    fn leaf(&self, _: &RelPath) -> Visit {
        Visit::Take
    }
}

fn anonymous() -> AuthSource {
    Arc::new(|_| Box::pin(async { Ok(None) }))
}

fn engine() -> DockerEngine {
    engine_with(anonymous())
}

fn engine_with(auth: AuthSource) -> DockerEngine {
    let host = std::env::var("DOCKER_HOST").ok();
    DockerEngine::connect(host.as_deref(), auth)
}

fn entries(root: &Path) -> Vec<Entry> {
    DiskContext::default().scan(root, &All).unwrap().entries
}

fn request(root: &Path, dockerfile: &str) -> BuildRequest {
    BuildRequest::plain(dockerfile.as_bytes(), root.to_owned(), entries(root), "linux/amd64".parse().unwrap())
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
        Self::start_with(&[])
    }

    fn start_with(options: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let output = Command::new(script()).arg("start").arg(dir.path()).args(options).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let address = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self { dir, address }
    }
}

impl Registry {
    fn stop(&self) {
        let _ = Command::new(script()).arg("stop").arg(self.dir.path()).status();
    }
}

impl Drop for Registry {
    /// Takes the images that were pushed out of the engine, too.
    fn drop(&mut self) {
        self.stop();
        for depth in ["*", "*/*"] {
            let filter = format!("reference={}/{depth}", self.address);
            let format = "{{.Repository}}:{{.Tag}}\n{{.Repository}}@{{.Digest}}";
            let list = ["image", "ls", "--digests", "--filter", &filter, "--format", format];
            let output = Command::new("docker").args(list).output().unwrap();
            for name in String::from_utf8_lossy(&output.stdout).lines() {
                let _ = Command::new("docker").args(["rmi", name]).output();
            }
        }
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

/// What the steps of a build printed.
fn printed(events: &[BuildEvent]) -> String {
    let log = |event: &BuildEvent| match event {
        BuildEvent::Log { bytes, .. } => Some(bytes.to_vec()),
        BuildEvent::Step { .. } => None,
    };
    String::from_utf8_lossy(&events.iter().filter_map(log).flatten().collect::<Vec<_>>()).into_owned()
}

/// The states of the step whose name holds `part`, in the order told.
fn states(events: &[BuildEvent], part: &str) -> Vec<StepState> {
    let step = |event: &BuildEvent| match event {
        BuildEvent::Step { name, state, .. } if name.contains(part) => Some(state.clone()),
        _ => None,
    };
    events.iter().filter_map(step).collect()
}

/// Waits for something to come true; false after ten seconds.
async fn soon(what: impl Fn() -> bool) -> bool {
    for _ in 0..500 {
        if what() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// Tells whether a process with this word among its arguments runs.
fn runs(word: &str) -> bool {
    let holds = |dir: fs::DirEntry| {
        fs::read(dir.path().join("cmdline"))
            .is_ok_and(|line| line.windows(word.len()).any(|part| part == word.as_bytes()))
    };
    fs::read_dir("/proc").unwrap().flatten().any(holds)
}

#[tokio::test]
async fn an_absent_engine_is_unreachable() {
    let dir = TempDir::new().unwrap();
    let absent = format!("unix://{}", dir.path().join("absent").display());
    let cases = [
        (absent.as_str(), "not found"),
        ("ssh://host", "expected unix://"),
        ("tcp://127.0.0.1:1", "onnection refused"),
        ("unix:///dev/null", "onnection refused"),
    ];
    for (host, why) in cases {
        match DockerEngine::connect(Some(host), anonymous()).check().await {
            Err(EngineError::Unreachable { address, detail }) => {
                assert_eq!(address, host);
                assert!(detail.contains(why), "{detail}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Builds an image of its own and pushes it.
async fn pushed(registry: &Registry) -> (Repository, Digest) {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("file"), unique()).unwrap();
    let (image, _) = build(&request(root.path(), "FROM boxwright-busybox:1\nCOPY file /\n")).await;
    let repository = format!("{}/some/box", registry.address).parse().unwrap();
    let events = Mutex::new(Vec::new());
    let tell = |event| events.lock().unwrap().push(event);
    let digest = engine().push(&image.unwrap(), &repository, &"k-1".parse().unwrap(), &tell).await.unwrap();
    assert!(events.lock().unwrap().iter().any(|event| event.sent > 0 && event.layer.len() == 12));
    (repository, digest)
}
