//! Pushes and pulls, and the logins that they show.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use boxwright::adapter::engine::{AuthSource, Login};
use boxwright::model::{Digest, Repository};
use boxwright::port::{BuildRequest, EngineError, ImageStore as _};
use tempfile::TempDir;

use crate::{Registry, build, engine, engine_with, pushed, request, unique};

/// An image that no other test has: with the last of its names the engine lets it go.
fn labelled(root: &Path) -> BuildRequest {
    request(root, &format!("FROM boxwright-busybox:1\nLABEL a={}\n", unique()))
}

#[tokio::test]
async fn a_push_returns_the_digest_that_the_registry_serves() {
    let registry = Registry::start();
    let (_, digest) = pushed(&registry).await;
    let url = format!("http://{}/v2/some/box/manifests/k-1", registry.address);
    let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json";
    let output = Command::new("curl").args(["-sSf", "--noproxy", "*", "-H", accept, &url]).output().unwrap();
    assert_eq!(Digest::of(&output.stdout), digest);
}

#[tokio::test]
async fn what_was_pushed_is_built_on_without_the_registry() {
    let registry = Registry::start();
    let (repository, digest) = pushed(&registry).await;
    registry.stop();
    let root = TempDir::new().unwrap();
    let dockerfile = format!(
        "FROM {repository}@{digest} AS a\nFROM scratch\nCOPY --from=a /file /\n\
        COPY --from={repository}@{digest} /file /again\n"
    );
    build(&request(root.path(), &dockerfile)).await.0.unwrap();
}

#[tokio::test]
async fn a_refused_push_tells_why() {
    let registry = Registry::start_with(&["--readonly"]);
    let root = TempDir::new().unwrap();
    let (image, _) = build(&labelled(root.path())).await;
    let repository = format!("{}/box", registry.address).parse().unwrap();
    match engine().push(&image.unwrap(), &repository, &"t".parse().unwrap(), &|_| {}).await {
        Err(EngineError::Transfer { action: "push", reference, detail, .. }) => {
            assert_eq!(reference, format!("{repository}:t"));
            // Engine 20.10 names the status, later ones its meaning.
            assert!(detail.contains("405") || detail.contains("Method not allowed"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn logs_in_with_a_password_that_base64_writes_with_plus_and_slash() {
    let registry = Registry::start_with(&["--auth", "user:~~~???>>>"]);
    let root = TempDir::new().unwrap();
    let (image, _) = build(&labelled(root.path())).await;
    let image = image.unwrap();
    let repository: Repository = format!("{}/box", registry.address).parse().unwrap();
    let tag = "t".parse().unwrap();
    for (password, good) in [("~~~???>>>", true), ("wrong", false)] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let auth: AuthSource = Arc::new(move |host| {
            log.lock().unwrap().push(host.to_owned());
            let login = Login::Password { username: "user".to_owned(), password: password.to_owned() };
            Box::pin(async { Ok(Some(login)) })
        });
        let result = engine_with(auth).push(&image, &repository, &tag, &|_| {}).await;
        assert_eq!(result.is_ok(), good, "{result:?}");
        assert_eq!(asked.lock().unwrap().join(","), repository.to_string());
    }
}
