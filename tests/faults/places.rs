//! Redirects, upload locations and proxies: what goes where.

use std::process::Command;

use boxwright::adapter::registry::{HostConfig, HostSettings};
use boxwright::model::Digest;
use boxwright::port::{Failure, Registry, RegistryReader, RegistryWriter};
use boxwright_testing::peer::{
    ANN, Peer, Reply, client, client_of_ann, declared_client, limits, status, tag, unreachable, untrusted,
};
use bytes::Bytes;

fn login() -> Reply {
    Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\"")
}

/// 29: storage on another host gets no authorization.
#[tokio::test]
async fn authorization_ends_with_the_registry() {
    let storage = Peer::start(|_, _| Reply::new(200).body("blob")).await;
    let target = format!("http://{}/bucket/blob?signature=s", storage.host);
    let peer = Peer::start(move |seen, _| match (seen.header("authorization"), seen.target.as_str()) {
        (None, _) => login(),
        (_, "/moved") => Reply::new(307).header("Location", &target),
        _ => Reply::new(302).header("Location", "/moved"),
    })
    .await;
    let digest = Digest::of(b"blob");
    let blob = client_of_ann(&peer).get_blob(&peer.repository(), &digest, 100).await.unwrap();
    assert_eq!(blob, Some(Bytes::from_static(b"blob")));
    let sent: Vec<_> =
        peer.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    assert_eq!(sent, [None, Some(ANN.to_owned()), Some(ANN.to_owned())]);
    assert_eq!(storage.lines(), ["GET /bucket/blob?signature=s"]);
    assert_eq!(storage.seen()[0].header("authorization"), None);
    assert_eq!(storage.seen()[0].header("cookie"), None);
}

/// 29: errors of the storage name it without its signature, and its 404 is no "missing".
#[tokio::test]
async fn storage_errors_are_errors() {
    let storage = Peer::start(|seen, before| match before {
        0 => Reply::new(404),
        1 => Reply::new(403),
        _ => {
            let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
            Reply::new(401).header("WWW-Authenticate", realm)
        }
    })
    .await;
    let target = format!("http://{}/blob?signature=secret", storage.host);
    let peer = Peer::start(move |_, _| Reply::new(307).header("Location", &target)).await;
    let (registry, digest) = (client(), Digest::of(b"blob"));
    untrusted(registry.get_blob(&peer.repository(), &digest, 100).await, "says it is here");
    let error = registry.get_blob(&peer.repository(), &digest, 100).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Denied { .. }));
    assert_eq!(error.request, format!("GET http://{}/blob", storage.host));
    // Not even where nobody answers.
    let nowhere =
        Peer::start(|_, _| Reply::new(307).header("Location", "http://127.0.0.1:1/b?sig=secret")).await;
    let error = registry.get_blob(&nowhere.repository(), &digest, 100).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1/b") && !error.contains("secret"), "{error}");
    // Nobody logs in there.
    assert!(registry.get_blob(&peer.repository(), &digest, 100).await.unwrap_err().failure.is_denied());
    assert_eq!(storage.count(), 3);
}

/// 29, 30: five hops, nowhere without a Location, no credentials in it.
#[tokio::test]
async fn redirects_that_are_not_followed() {
    let peer = Peer::start(|_, before| Reply::new(302).header("Location", format!("/{before}"))).await;
    untrusted(client().get(&peer.repository(), &tag("t")).await, "more than 5 redirects");
    assert_eq!(peer.count(), 6);
    for (location, why) in [
        ("http://user:pw@127.0.0.1/x", "credentials of its own"),
        ("ftp://127.0.0.1/x", "insecure"),
        ("http://[", "not where to"),
    ] {
        let peer = Peer::start(move |_, _| Reply::new(302).header("Location", location)).await;
        untrusted(client().get(&peer.repository(), &tag("t")).await, why);
    }
    let elsewhere = Peer::unwanted().await;
    let target = format!("http://{}/", elsewhere.host);
    let peer = Peer::start(move |_, _| Reply::new(307).header("Location", &target)).await;
    status(client().put(&peer.repository(), &tag("t"), &boxwright_testing::peer::manifest()).await, 307);
    status(client().delete(&peer.repository(), &Digest::of(b"x")).await, 307);
    assert_eq!(elsewhere.count(), 0);
}

/// 31: relative and absolute Locations; the query stays; credentials do not cross.
#[tokio::test]
async fn upload_locations() {
    let storage = Peer::start(|_, _| Reply::new(201)).await;
    for (location, own) in [
        ("/up?state=a%2Bb%3D&x".to_owned(), true),
        ("up?state=a%2Bb%3D&x".to_owned(), true),
        ("http://{own}/up?state=a%2Bb%3D&x".to_owned(), true),
        (format!("http://{}/up?state=a%2Bb%3D&x", storage.host), false),
    ] {
        let peer = Peer::start(move |seen, _| match (seen.header("authorization"), seen.method.as_str()) {
            (None, _) => login(),
            (_, "POST") => {
                let location = location.replace("{own}", seen.header("host").unwrap());
                Reply::new(202).header("Location", location)
            }
            _ => Reply::new(201),
        })
        .await;
        client_of_ann(&peer).put_blob(&peer.repository(), Bytes::from_static(b"blob")).await.unwrap();
        let taker = if own { &peer } else { &storage };
        let put = taker.seen().pop().unwrap();
        assert_eq!((put.method.as_str(), &put.body[..]), ("PUT", &b"blob"[..]));
        let query = put.target.split_once("up?").unwrap().1;
        assert!(query.starts_with("state=a%2Bb%3D&x&digest=sha256%3A"), "{query}");
        assert_eq!(put.header("authorization"), own.then_some(ANN));
    }
    let peer = Peer::start(|_, _| Reply::new(202)).await;
    untrusted(client().put_blob(&peer.repository(), Bytes::from_static(b"x")).await, "not where to");
}

/// 41, 42: run in a process of its own, because proxies are an environment's.
#[tokio::test]
async fn proxies_and_names() {
    const INNER: &str = "BOXWRIGHT_TEST_PROXY";
    let Ok(proxy) = std::env::var(INNER) else {
        let proxy = Peer::start(|seen, _| Reply::new(if seen.method == "CONNECT" { 407 } else { 404 })).await;
        let mut inner = Command::new(std::env::current_exe().unwrap());
        inner.args(["--exact", "places::proxies_and_names"]).env(INNER, &proxy.host);
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            inner.env(name, format!("http://ann:hunter2@{}", proxy.host));
        }
        inner.env("NO_PROXY", "no-such-host.invalid").env_remove("no_proxy").env_remove("REQUEST_METHOD");
        let output = tokio::task::spawn_blocking(move || inner.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        // Of all that was asked inside, the proxy saw what is plain, not local and not excepted,
        // and a tunnel for the rest.
        assert_eq!(proxy.lines(), ["HEAD http://plain.example/v2/a/manifests/t", "CONNECT tls.example:443"]);
        return;
    };
    let plain = HostSettings { plain: true, ..HostSettings::default() };
    let direct = HostSettings { plain: true, is_direct: true, ..HostSettings::default() };
    let hosts = [("plain.example".to_owned(), plain), ("direct.invalid".to_owned(), direct)];
    let declared = HostConfig { hosts: hosts.into() };
    let mut once = limits();
    once.refused = std::time::Duration::ZERO;
    let registry = declared_client(Default::default(), declared, once);
    let head = async |host: &str| {
        let repository = boxwright::model::Repository::new(host, "a").unwrap();
        registry.head(&repository, &tag("t")).await
    };
    assert_eq!(head("plain.example").await.unwrap(), None);
    let refused = head("tls.example").await.unwrap_err().to_string();
    assert!(refused.contains("tls.example") && !refused.contains("hunter2"), "{refused}");
    unreachable(head("direct.invalid").await);
    let unresolved = head("no-such-host.invalid").await.unwrap_err().to_string();
    assert!(unresolved.starts_with("cannot reach registry no-such-host.invalid: "), "{unresolved}");
    let local = Peer::start(|_, _| Reply::new(404)).await;
    assert_eq!(head(&local.host).await.unwrap(), None);
    assert_eq!(local.count(), 1);
    assert_ne!(local.host, proxy);
    unreachable(head("127.0.0.1:1").await);
}
