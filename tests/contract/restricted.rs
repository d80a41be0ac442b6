//! Registries that refuse: the model by its knobs, the real one by its configuration.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use boxwright::adapter::credentials::{Credential, Credentials, Secret};
use boxwright::adapter::memory::{Fault, MemoryRegistry, Verb};
use boxwright::model::{RawManifest, Span, Timestamp};
use boxwright::port::{Deleted, Failure, Registry, RegistryError, RegistryReader, RegistryWriter, TagList};
use boxwright_testing::process::{Server, client, client_with};
use bytes::Bytes;

use crate::cases::{push, repository, tag};

/// Checks that `registry` shows `image` and takes nothing in.
async fn reads_only(registry: &dyn Registry, host: &str, image: &RawManifest) {
    let at = repository(host, "a");
    assert_eq!(registry.get(&at, &tag("v1")).await.unwrap().as_ref(), Some(image));
    assert_eq!(registry.head(&at, &tag("v1")).await.unwrap().as_ref(), Some(image.digest()));
    let put = registry.put(&at, &tag("v2"), image).await.unwrap_err();
    let upload = registry.put_blob(&at, Bytes::from_static(b"x")).await.unwrap_err();
    for error in [put, upload] {
        assert!(error.failure.is_denied() && !error.failure.is_transient(), "{error}");
        assert!(matches!(error.failure, Failure::Unsupported { .. }), "{error}");
    }
    assert_eq!(registry.delete(&at, image.digest()).await.unwrap(), Deleted::Unsupported);
    assert_eq!(registry.head(&at, &tag("v2")).await.unwrap(), None);
    assert_eq!(registry.head(&at, &tag("v1")).await.unwrap().as_ref(), Some(image.digest()));
}

#[tokio::test]
async fn read_only_in_memory() {
    let registry = MemoryRegistry::new();
    let image = push(&registry, &repository("memory.example", "a"), &tag("v1"), "layer").await;
    registry.set_read_only(true);
    reads_only(&registry, "memory.example", &image).await;
}

#[tokio::test]
async fn read_only_over_http() {
    let writable = Server::start(&[]);
    let image = push(&client(), &repository(&writable.host, "a"), &tag("v1"), "layer").await;
    let reader = writable.beside("reader", &["--readonly"]);
    reads_only(&client(), &reader.host, &image).await;
}

/// Checks that writes work and deletes do not.
async fn keeps_everything(registry: &dyn Registry, host: &str) {
    let at = repository(host, "a");
    let image = push(registry, &at, &tag("v1"), "layer").await;
    assert_eq!(registry.delete(&at, image.digest()).await.unwrap(), Deleted::Unsupported);
    assert_eq!(registry.head(&at, &tag("v1")).await.unwrap().as_ref(), Some(image.digest()));
}

#[tokio::test]
async fn deletes_off_in_memory() {
    let registry = MemoryRegistry::new();
    registry.set_deletes(false);
    keeps_everything(&registry, "memory.example").await;
}

#[tokio::test]
async fn deletes_off_over_http() {
    let server = Server::start(&["--no-delete"]);
    keeps_everything(&client(), &server.host).await;
}

#[tokio::test]
async fn passwords() {
    let server = Server::start(&["--auth", "ann:right"]);
    let at = repository(&server.host, "a");
    let client_as = |password: &str| {
        let password = Secret::new(password);
        client_with(Credentials::given(&server.host, Credential::Basic { user: "ann".into(), password }))
    };
    push(&client_as("right"), &at, &tag("v1"), "layer").await;
    for registry in [client_as("wrong"), client()] {
        let answers = [
            registry.head(&at, &tag("v1")).await.unwrap_err(),
            registry.get(&at, &tag("nothing")).await.unwrap_err(),
            registry.tags(&repository(&server.host, "nowhere")).await.unwrap_err(),
            registry.put_blob(&at, Bytes::from_static(b"x")).await.unwrap_err(),
        ];
        for error in answers {
            assert!(matches!(error.failure, Failure::Unauthorized { .. }), "{error}");
            assert!(error.failure.is_denied() && !error.to_string().contains("wrong"), "{error}");
        }
        // Telling the time needs no login.
        registry.now(&server.host).await.unwrap();
    }
}

#[tokio::test]
async fn the_registrys_time_is_about_ours() {
    let server = Server::start(&[]);
    let registry = client();
    let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = registry.now(&server.host).await.unwrap().unix();
    let off = now - i64::try_from(system.as_secs()).unwrap();
    assert!((-2..30).contains(&off), "{off} s off");
    // From then on it is free: no registry is asked.
    let host = server.host.clone();
    drop(server);
    let later = registry.now(&host).await.unwrap();
    assert!(later.since(Timestamp::from_unix(now)) < Span::from_seconds(60));
}

/// Checks that every request says that there was no answer.
async fn is_silent(registry: &dyn Registry, host: &str) {
    fn check<T: std::fmt::Debug>(result: Result<T, RegistryError>) {
        let error = result.unwrap_err();
        assert!(matches!(error.failure, Failure::Unreachable { .. }), "{error}");
        assert!(error.failure.is_transient() && !error.failure.is_denied());
    }
    let (at, digest) = (repository(host, "a"), boxwright::model::Digest::of(b"x"));
    check(registry.head(&at, &tag("v1")).await);
    check(registry.get(&at, &tag("v1")).await);
    check(registry.tags(&at).await);
    check(registry.has_blob(&at, &digest).await);
    check(registry.get_blob(&at, &digest, 10).await);
    check(registry.put_blob(&at, Bytes::from_static(b"x")).await);
    check(registry.delete(&at, &digest).await);
}

#[tokio::test]
async fn stopped_in_memory() {
    let registry = MemoryRegistry::new();
    registry.break_when(|asked| {
        (asked.verb != Verb::Now)
            .then(|| Fault::Before(Failure::Unreachable { detail: "connection refused".into() }))
    });
    is_silent(&registry, "memory.example").await;
}

#[tokio::test]
async fn stopped_over_http() {
    let server = Server::start(&[]);
    let host = server.host.clone();
    drop(server);
    let start = Instant::now();
    is_silent(&client(), &host).await;
    // The patience is shared: seven requests wait no longer than one.
    let took = start.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_restart_is_waited_for() {
    let server = Server::start(&[]);
    let registry = client();
    let at = repository(&server.host, "a");
    let host = server.host.clone();
    drop(server);
    let (asked, server) = tokio::join!(registry.tags(&at), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let port = host.rsplit_once(':').unwrap().1.to_owned();
        tokio::task::spawn_blocking(move || Server::start(&["--port", &port])).await.unwrap()
    });
    assert_eq!(server.host, host);
    assert_eq!(asked.unwrap(), TagList::default());
}
