//! Bytes and digests that do not fit, and bodies that are not what they should be.

use boxwright::model::{Digest, MediaType, RawManifest};
use boxwright::port::{Failure, Reference, Registry, RegistryReader, RegistryWriter};
use boxwright_testing::peer::{Peer, Reply, client, manifest, status, tag, untrusted};
use bytes::Bytes;

fn other() -> Digest {
    Digest::of(b"something else")
}

fn by_digest() -> Reference {
    Reference::Digest(manifest().digest().clone())
}

/// 16: a HEAD that names no digest, or nonsense, is followed by a GET.
#[tokio::test]
async fn head_without_a_digest() {
    for claim in ["", "sha256:short", "md5:abc"] {
        let peer = Peer::start(move |_, _| {
            Reply::new(200)
                .header("Docker-Content-Digest", claim)
                .header("Content-Type", MediaType::OciManifest)
                .body(manifest().bytes().to_vec())
        })
        .await;
        let head = client().head(&peer.repository(), &tag("t")).await.unwrap();
        assert_eq!(head.as_ref(), Some(manifest().digest()));
        assert_eq!(peer.lines(), ["HEAD /v2/a/manifests/t", "GET /v2/a/manifests/t"]);
    }
}

/// 15: registries without HEAD are asked by GET, from then on at once.
#[tokio::test]
async fn registries_without_head() {
    for (code, second) in [(405, "GET"), (501, "GET"), (400, "HEAD")] {
        let peer = Peer::start(move |seen, _| match seen.method.as_str() {
            "HEAD" => Reply::new(code),
            _ => Reply::manifest(&manifest()),
        })
        .await;
        let registry = client();
        for _ in 0..2 {
            let head = registry.head(&peer.repository(), &tag("t")).await.unwrap();
            assert_eq!(head.as_ref(), Some(manifest().digest()));
        }
        let methods: Vec<_> = peer.seen().into_iter().map(|seen| seen.method).collect();
        assert_eq!(methods[..3], ["HEAD", "GET", second], "{code}");
    }
}

/// 12, S7: the bytes decide, and a claim that contradicts them spoils the answer.
#[tokio::test]
async fn claims_are_checked() {
    let peer =
        Peer::start(|_, _| Reply::manifest(&manifest()).header("Docker-Content-Digest", other())).await;
    // Two headers: the first one is right, so is the answer.
    assert!(client().get(&peer.repository(), &tag("t")).await.is_ok());
    let lying = || {
        Reply::new(200)
            .header("Content-Type", MediaType::OciManifest)
            .header("Docker-Content-Digest", other())
            .body(manifest().bytes().to_vec())
    };
    let peer = Peer::start(move |_, _| lying()).await;
    untrusted(client().get(&peer.repository(), &tag("t")).await, "it claims");
    untrusted(client().get(&peer.repository(), &by_digest()).await, "it claims");
    untrusted(client().head(&peer.repository(), &by_digest()).await, "another digest");
    // Bytes of another digest than asked for, honestly labelled.
    let peer = Peer::start(|_, _| Reply::manifest(&RawManifest::new(MediaType::OciManifest, "{}"))).await;
    untrusted(client().get(&peer.repository(), &by_digest()).await, "another digest");
    assert_eq!(peer.count(), 1);
}

/// 13: a blob's bytes are hashed.
#[tokio::test]
async fn blobs_are_checked() {
    let peer = Peer::start(|_, _| Reply::new(200).body("not it")).await;
    untrusted(client().get_blob(&peer.repository(), &Digest::of(b"it"), 100).await, "another digest");
    assert_eq!(peer.count(), 2, "once more, and no more");
    let peer = Peer::start(|_, before| Reply::new(200).body(if before == 0 { "not it" } else { "it" })).await;
    let read = client().get_blob(&peer.repository(), &Digest::of(b"it"), 100).await.unwrap();
    assert_eq!(read.as_deref(), Some(&b"it"[..]));
    let peer = Peer::start(|_, _| Reply::new(200)).await;
    untrusted(client().get_blob(&peer.repository(), &Digest::of(b"it"), 100).await, "and is empty");
}

/// 13: what was not the blob is not kept for the next time.
#[tokio::test]
async fn wrong_bytes_are_not_kept() {
    let kept = tempfile::tempdir().unwrap();
    let peer = Peer::start(|_, before| Reply::new(200).body(if before < 2 { "not it" } else { "it" })).await;
    let registry = client().remembering(kept.path().to_owned());
    let (at, it) = (peer.repository(), Digest::of(b"it"));
    untrusted(registry.get_blob(&at, &it, 100).await, "another digest");
    assert_eq!(std::fs::read_dir(kept.path()).unwrap().count(), 0);
    for _ in 0..2 {
        assert_eq!(registry.get_blob(&at, &it, 100).await.unwrap().as_deref(), Some(&b"it"[..]));
    }
    assert_eq!(peer.count(), 3);
}

/// 14: a stale cache says that a blob is there, and gives nothing.
#[tokio::test]
async fn a_blob_is_there_if_a_byte_of_it_is() {
    let has = async |reply: Reply, blob: &'static [u8]| {
        let peer = Peer::start(move |seen, _| match seen.method.as_str() {
            "HEAD" => Reply::new(200),
            _ => reply.clone(),
        })
        .await;
        let outcome = client().has_blob(&peer.repository(), &Digest::of(blob)).await;
        assert!(peer.seen().iter().all(|seen| seen.header("range") == Some("bytes=0-0")));
        outcome
    };
    let part = Reply::new(206).header("Content-Range", "bytes 0-0/2");
    assert!(has(part.body("i"), b"it").await.unwrap());
    assert!(has(Reply::new(200).body("it"), b"it").await.unwrap());
    for gone in [Reply::new(200), Reply::new(200).announcing(2), Reply::new(404), Reply::new(416)] {
        assert!(!has(gone, b"it").await.unwrap());
    }
    // Nothing has no first byte.
    for nothing in [Reply::new(200), Reply::new(416)] {
        assert!(has(nothing, b"").await.unwrap());
    }
    status(has(Reply::new(400), b"it").await, 400);
}

/// A registry that takes in something else than was sent has not taken it in.
#[tokio::test]
async fn writes_are_checked() {
    let peer = Peer::start(|seen, _| match seen.method.as_str() {
        "POST" => Reply::new(202).header("Location", "/up"),
        _ => Reply::new(201).header("Docker-Content-Digest", other()),
    })
    .await;
    untrusted(client().put(&peer.repository(), &tag("t"), &manifest()).await, "took in");
    untrusted(client().put_blob(&peer.repository(), Bytes::from_static(b"x")).await, "took in");
    // 200 is no 201: some other server answered.
    let peer = Peer::start(|_, _| Reply::new(200)).await;
    status(client().put(&peer.repository(), &tag("t"), &manifest()).await, 200);
    status(client().put_blob(&peer.repository(), Bytes::from_static(b"x")).await, 200);
}

/// 17: all four types, for HEAD, GET and by digest.
#[tokio::test]
async fn all_types_are_accepted() {
    let peer = Peer::start(|_, _| Reply::manifest(&manifest())).await;
    client().head(&peer.repository(), &tag("t")).await.unwrap();
    client().get(&peer.repository(), &by_digest()).await.unwrap();
    assert_eq!(peer.count(), 2);
    for seen in peer.seen() {
        for media_type in MediaType::ALL {
            assert!(seen.header("accept").unwrap().contains(media_type.as_str()), "{seen:?}");
        }
    }
}

/// 36 and no type at all.
#[tokio::test]
async fn types_that_are_not_taken() {
    for (media_type, why) in [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", "not an OCI or Docker schema 2"),
        ("text/html", "not an OCI or Docker schema 2"),
    ] {
        let peer =
            Peer::start(move |_, _| Reply::new(200).header("Content-Type", media_type).body("{}")).await;
        untrusted(client().get(&peer.repository(), &tag("t")).await, why);
    }
    let peer = Peer::start(|_, _| Reply::new(200).body("{}")).await;
    untrusted(client().get(&peer.repository(), &tag("t")).await, "no media type");
    let peer = Peer::start(|_, _| {
        Reply::new(200).header("Content-Type", format!("{}; charset=utf-8", MediaType::DockerList)).body("{}")
    })
    .await;
    let read = client().get(&peer.repository(), &tag("t")).await.unwrap().unwrap();
    assert_eq!(read.media_type(), MediaType::DockerList);
}

/// 34: what is too long is not read to its end.
#[tokio::test]
async fn bodies_have_limits() {
    let peer = Peer::start(|seen, _| {
        let length = if seen.target.contains("blobs") { 11 } else { 8 * 1024 * 1024 + 1 };
        Reply::new(200).header("Content-Type", MediaType::OciManifest).body(vec![b' '; length])
    })
    .await;
    untrusted(client().get(&peer.repository(), &tag("t")).await, "longer than 8388608 bytes");
    untrusted(client().get_blob(&peer.repository(), &other(), 10).await, "longer than 10 bytes");
    assert_eq!(peer.count(), 2);
}

/// 39: an error page is cut and made harmless.
#[tokio::test]
async fn error_pages_are_escaped_and_cut() {
    let mut page = b"<html>\x1b[2J\x1b]0;owned\x07\r\n::add-mask::x\n\xff".to_vec();
    page.resize(20 * 1024 * 1024, b'x');
    let peer = Peer::start(move |_, _| Reply::new(403).body(page.clone())).await;
    let error = client().get(&peer.repository(), &tag("t")).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Denied { .. }));
    let text = error.to_string();
    assert!(text.contains("<html>\\u{1b}[2J\\u{1b}]0;owned\\u{7}\\r\\n::add-mask::x\\n"), "{text}");
    assert!(text.len() < 600 && !text.chars().any(char::is_control), "{text}");
}

/// 39: an error page is not read to its end, which may never come.
#[tokio::test]
async fn error_pages_are_not_read_to_their_end() {
    let page = vec![b'x'; 100 * 1024];
    let peer =
        Peer::start(move |_, _| Reply::new(403).body(page.clone()).announcing(1 << 30).then_silent()).await;
    let error = client().get(&peer.repository(), &tag("t")).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Denied { .. }), "{error}");
}

/// 9 of the corner cases: a web server's 404 does not make a box missing.
#[tokio::test]
async fn a_404_of_something_else_is_no_answer() {
    let peer = Peer::start(|_, _| Reply::new(404).body("404 page not found\n")).await;
    let (registry, at) = (client(), peer.repository());
    untrusted(registry.get(&at, &tag("t")).await, "not a registry's");
    untrusted(registry.tags(&at).await, "not a registry's");
    untrusted(registry.get_blob(&at, &other(), 10).await, "not a registry's");
    untrusted(registry.delete(&at, &other()).await, "not a registry's");
}

/// 9 of the corner cases: nothing but a 404 means "missing".
#[tokio::test]
async fn only_404_is_missing() {
    for code in [401, 403, 429, 500, 302, 204, 410] {
        let peer = Peer::start(move |_, _| Reply::new(code)).await;
        let (registry, at) = (client(), peer.repository());
        assert!(registry.head(&at, &tag("t")).await.is_err(), "{code}");
        assert!(registry.get(&at, &tag("t")).await.is_err(), "{code}");
        assert!(registry.tags(&at).await.is_err(), "{code}");
        assert!(registry.has_blob(&at, &other()).await.is_err(), "{code}");
        assert!(registry.get_blob(&at, &other(), 10).await.is_err(), "{code}");
        assert!(registry.delete(&at, &other()).await.is_err() || code == 204, "{code}");
    }
}
