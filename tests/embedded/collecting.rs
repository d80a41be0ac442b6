//! The store: what is collected, what is kept, and what is damaged.

use std::time::SystemTime;

use boxwright::adapter::embedded::{Collected, EmbeddedError, Store};
use boxwright::model::Digest;
use reqwest::Method;
use serde_json::json;

use crate::{Fixture, HOUR, INDEX, OCI, image};

#[tokio::test]
async fn collecting_removes_old_blobs_that_nothing_needs() {
    let fixture = Fixture::new().await;
    let store = fixture.server.store().clone();
    let kept = fixture.push_image("a", "v1", "kept").await;
    let gone = fixture.push_image("a", "v2", "gone").await;
    fixture.push_blob("a", b"loose").await;
    std::fs::write(fixture.registry().join("tmp/upload-abandoned"), "1234567").unwrap();
    std::fs::write(fixture.registry().join("blobs/sha256/notes.txt"), "mine").unwrap();
    fixture.send(Method::DELETE, &format!("/v2/a/manifests/{gone}")).await;
    let now = SystemTime::now();
    assert_eq!(store.collect(HOUR, now).unwrap(), Collected::default(), "all is young");
    let bytes = (5 + 7 + image("gone").len()) as u64;
    assert_eq!(store.collect(HOUR, now + 2 * HOUR).unwrap(), Collected { files: 3, bytes });
    assert_eq!(fixture.status("a", &kept).await, 200);
    let config = format!("/v2/a/blobs/{}", Digest::of(b"{}"));
    assert_eq!(fixture.send(Method::HEAD, &config).await.status(), 200);
    assert!(fixture.registry().join("blobs/sha256/notes.txt").exists());
}

#[tokio::test]
async fn all_that_a_kept_manifest_reaches_is_kept() {
    let fixture = Fixture::new().await;
    let child = Digest::of(image("child").as_bytes());
    fixture.push_image("a", child.as_str(), "child").await;
    let subject = Digest::of(image("subject").as_bytes());
    fixture.push_image("a", subject.as_str(), "subject").await;
    let descriptor = |digest: &Digest, note: &str| json!({ "mediaType": OCI, "digest": digest, "size": image(note).len() });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [descriptor(&child, "child")], "subject": descriptor(&subject, "subject") });
    fixture.put("a", "v1", INDEX, index.to_string()).await;
    for digest in [&child, &subject] {
        fixture.send(Method::DELETE, &format!("/v2/a/manifests/{digest}")).await;
    }
    let later = SystemTime::now() + 2 * HOUR;
    assert_eq!(fixture.server.store().collect(HOUR, later).unwrap(), Collected::default());
    std::fs::remove_file(fixture.registry().join("blobs/sha256").join(subject.hex())).unwrap();
    assert!(fixture.server.store().collect(HOUR, later).is_ok(), "a subject may be missing");
    std::fs::remove_file(fixture.registry().join("blobs/sha256").join(child.hex())).unwrap();
    assert!(fixture.server.store().collect(HOUR, later).is_err(), "a child may not");
}

#[tokio::test]
async fn asking_for_a_blob_keeps_it_for_the_manifest_to_come() {
    let fixture = Fixture::new().await;
    let digest = fixture.push_blob("a", b"loose").await;
    let path = fixture.registry().join("blobs/sha256").join(digest.hex());
    let age = || std::fs::File::open(&path).unwrap().set_modified(SystemTime::now() - 2 * HOUR).unwrap();
    let collect = || fixture.server.store().collect(HOUR, SystemTime::now()).unwrap().files;
    for (method, url) in [
        (Method::HEAD, format!("/v2/a/blobs/{digest}")),
        (Method::POST, format!("/v2/b/blobs/uploads/?mount={digest}&from=a")),
    ] {
        age();
        fixture.send(method, &url).await;
        assert_eq!(collect(), 0, "{url}");
    }
    age();
    fixture.push_blob("a", b"loose").await;
    assert_eq!(collect(), 0, "pushed again");
    age();
    assert_eq!(collect(), 1);
}

#[tokio::test]
async fn collecting_stops_where_it_cannot_see() {
    let fixture = Fixture::new().await;
    let digest = fixture.push_image("a", "v1", "x").await;
    let loose = fixture.push_blob("a", b"loose").await;
    let blobs = fixture.registry().join("blobs/sha256");
    let later = SystemTime::now() + 2 * HOUR;
    std::fs::write(blobs.join(digest.hex()), "{").unwrap();
    let damaged = fixture.server.store().collect(HOUR, later);
    assert!(matches!(damaged, Err(EmbeddedError::Unfollowable { .. })), "{damaged:?}");
    assert_eq!(fixture.send(Method::GET, "/v2/a/manifests/v1").await.status(), 500, "never false bytes");
    std::fs::remove_file(blobs.join(digest.hex())).unwrap();
    assert!(fixture.server.store().collect(HOUR, later).is_err());
    assert!(blobs.join(loose.hex()).exists());
}

#[tokio::test]
async fn a_damaged_index_is_an_error_and_stays_as_it_is() {
    let fixture = Fixture::new().await;
    fixture.push_image("a", "v1", "x").await;
    let index = fixture.registry().join("index.json");
    for text in ["", "{", "[]", r#"{"manifests":7}"#] {
        std::fs::write(&index, text).unwrap();
        let opened = Store::open(&fixture.registry());
        assert!(matches!(&opened, Err(EmbeddedError::Damaged { path, .. }) if *path == index), "{opened:?}");
        assert_eq!(fixture.put("a", "v2", OCI, image("x")).await.status(), 500);
        assert_eq!(fixture.status("a", "v1").await, 500, "not 404: it is unknown, not missing");
        assert_eq!(std::fs::read_to_string(&index).unwrap(), text);
    }
    std::fs::remove_file(&index).unwrap();
    assert!(Store::open(&fixture.registry()).is_err());
    assert!(!index.exists());
}

#[tokio::test]
async fn a_store_whose_making_was_cut_off_is_finished_and_a_newer_layout_is_refused() {
    let fixture = Fixture::new().await;
    fixture.push_image("a", "v1", "x").await;
    let tombstone = fixture.registry().join("oci-layout");
    let text = std::fs::read_to_string(&tombstone).unwrap();
    assert_eq!(text, r#"{"imageLayoutVersion":"1.0.0"}"#);
    std::fs::remove_file(&tombstone).unwrap();
    Store::open(&fixture.registry()).unwrap();
    assert_eq!(std::fs::read_to_string(&tombstone).unwrap(), text);
    assert_eq!(fixture.status("a", "v1").await, 200);
    std::fs::write(&tombstone, text.replace("1.0.0", "2.0.0")).unwrap();
    assert!(matches!(Store::open(&fixture.registry()), Err(EmbeddedError::Damaged { .. })));
}
