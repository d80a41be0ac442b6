//! The distribution API, as clients and leases rely on it.

use boxwright::model::Digest;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{DOCKER, Fixture, INDEX, OCI, header, image, refused};

#[tokio::test]
async fn answers_carry_the_headers_that_clients_and_leases_rely_on() {
    let fixture = Fixture::new().await;
    let digest = fixture.push_image("a/b", "v1", "x").await;
    for (method, path, status) in [
        (Method::GET, "/v2/", 200),
        (Method::GET, "/v2/a/b/manifests/v1", 200),
        (Method::GET, "/v2/a/b/manifests/none", 404),
        (Method::GET, "/nothing", 404),
        (Method::POST, "/v2/a/b/manifests/v1", 405),
    ] {
        let answer = fixture.send(method, path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(header(&answer, "docker-distribution-api-version"), "registry/2.0");
        assert!(header(&answer, "date").ends_with(" GMT"), "{path}");
    }
    let head = fixture.send(Method::HEAD, "/v2/a/b/manifests/v1").await;
    assert_eq!(header(&head, "docker-content-digest"), digest.as_str());
    assert_eq!(header(&head, "content-length"), image("x").len().to_string());
    assert_eq!(header(&head, "content-type"), OCI);
    let got = fixture.send(Method::GET, &format!("/v2/a/b/manifests/{digest}")).await;
    assert_eq!(got.text().await.unwrap(), image("x"));
    assert_eq!(fixture.status("other", &digest).await, 404, "manifests belong to repositories");
}

#[tokio::test]
async fn blobs_come_in_parts_and_go_in_ranges() {
    let fixture = Fixture::new().await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = Digest::of(&bytes);
    let begun = fixture.send(Method::POST, "/v2/a/blobs/uploads/").await;
    assert_eq!(begun.status(), 202);
    let place = header(&begun, "location");
    let part = |range: &str, bytes: &[u8]| {
        let request = fixture.request(Method::PATCH, &place).header("content-range", range);
        request.body(bytes.to_vec()).send()
    };
    let first = part("0-1999999", &bytes[..2_000_000]).await.unwrap();
    assert_eq!((first.status().as_u16(), header(&first, "range").as_str()), (202, "0-1999999"));
    for (range, sent) in [
        ("0-9", &bytes[..10]),
        ("2000001-2000010", &bytes[..10]),
        ("2000000-2000005", &bytes[..10]),
        ("bytes 2-3/5", &bytes[..2]),
        ("9-2", &bytes[..2]),
        ("0-18446744073709551615", &bytes[..2]),
    ] {
        refused(part(range, sent).await.unwrap(), 416, "BLOB_UPLOAD_INVALID").await;
    }
    let status = fixture.send(Method::GET, &place).await;
    assert_eq!((status.status().as_u16(), header(&status, "range").as_str()), (204, "0-1999999"));
    let last =
        fixture.request(Method::PUT, &format!("{place}?digest={}", digest.as_str().replace(':', "%3A")));
    let last = last.header("content-range", "2000000-2999999").body(bytes[2_000_000..].to_vec());
    assert_eq!(last.send().await.unwrap().status(), 201);
    refused(fixture.send(Method::GET, &place).await, 404, "BLOB_UPLOAD_UNKNOWN").await;

    let path = format!("/v2/a/blobs/{digest}");
    let head = fixture.send(Method::HEAD, &path).await;
    assert_eq!(header(&head, "content-length"), "3000000");
    let whole = fixture.send(Method::GET, &path).await.bytes().await.unwrap();
    assert_eq!(whole, bytes);
    let range =
        fixture.request(Method::GET, &path).header("range", "bytes=1000000-1000009").send().await.unwrap();
    assert_eq!(range.status(), 206);
    assert_eq!(header(&range, "content-range"), "bytes 1000000-1000009/3000000");
    assert_eq!(range.bytes().await.unwrap(), bytes[1_000_000..1_000_010]);
    let past = fixture.request(Method::GET, &path).header("range", "bytes=3000000-").send().await.unwrap();
    assert_eq!(header(&past, "content-range"), "bytes */3000000");
    refused(past, 416, "SIZE_INVALID").await;
    refused(fixture.send(Method::DELETE, &path).await, 405, "UNSUPPORTED").await;
}

#[tokio::test]
async fn bytes_that_are_not_their_digest_never_get_its_name() {
    let fixture = Fixture::new().await;
    let wrong = Digest::of(b"right");
    let whole = fixture.request(Method::POST, &format!("/v2/a/blobs/uploads/?digest={wrong}")).body("wrong");
    refused(whole.send().await.unwrap(), 400, "DIGEST_INVALID").await;
    let place = header(&fixture.send(Method::POST, "/v2/a/blobs/uploads/").await, "location");
    refused(fixture.send(Method::PUT, &place).await, 400, "DIGEST_INVALID").await;
    let sha512 = format!("{place}?digest=sha512:{}", "0".repeat(128));
    refused(fixture.send(Method::PUT, &sha512).await, 400, "DIGEST_INVALID").await;
    refused(fixture.send(Method::PUT, &place.replace("/a/", "/b/")).await, 400, "DIGEST_INVALID").await;
    let elsewhere = format!("{}?digest={wrong}", place.replace("/a/", "/b/"));
    refused(fixture.send(Method::PUT, &elsewhere).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    let last = fixture.request(Method::PUT, &format!("{place}?digest={wrong}")).body("wrong");
    refused(last.send().await.unwrap(), 400, "DIGEST_INVALID").await;
    refused(fixture.send(Method::GET, &format!("/v2/a/blobs/{wrong}")).await, 404, "BLOB_UNKNOWN").await;
    assert_eq!(std::fs::read_dir(fixture.registry().join("blobs/sha256")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(fixture.registry().join("tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn mounts_and_cancelled_uploads() {
    let fixture = Fixture::new().await;
    let digest = fixture.push_blob("a", b"shared").await;
    let mount = fixture.send(Method::POST, &format!("/v2/b/blobs/uploads/?mount={digest}&from=a")).await;
    assert_eq!((mount.status().as_u16(), header(&mount, "location")), (201, format!("/v2/b/blobs/{digest}")));
    let absent = Digest::of(b"absent");
    let declined = fixture.send(Method::POST, &format!("/v2/b/blobs/uploads/?mount={absent}&from=a")).await;
    assert_eq!(declined.status(), 202);
    let place = header(&declined, "location");
    assert_eq!(fixture.send(Method::DELETE, &place).await.status(), 204);
    refused(fixture.send(Method::DELETE, &place).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    assert_eq!(std::fs::read_dir(fixture.registry().join("tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn uploads_that_ended_make_room_for_others() {
    let fixture = Fixture::new().await;
    let open = || fixture.send(Method::POST, "/v2/a/blobs/uploads/");
    for _ in 0..130 {
        let place = header(&open().await, "location");
        assert_eq!(fixture.send(Method::DELETE, &place).await.status(), 204);
        let finish = format!("{}?digest={}", header(&open().await, "location"), Digest::of(b""));
        assert_eq!(fixture.send(Method::PUT, &finish).await.status(), 201);
    }
    for _ in 0..256 {
        assert_eq!(open().await.status(), 202);
    }
    refused(open().await, 429, "TOOMANYREQUESTS").await;
}

#[tokio::test]
async fn manifests_are_checked_before_they_are_taken() {
    let fixture = Fixture::new().await;
    refused(fixture.put("a", "v1", OCI, image("x")).await, 400, "MANIFEST_BLOB_UNKNOWN").await;
    fixture.push_blob("a", b"{}").await;
    refused(
        fixture.put("a", "v1", OCI, image("x").replace("\"size\":2", "\"size\":3")).await,
        400,
        "SIZE_INVALID",
    )
    .await;
    refused(fixture.put("a", "v1", OCI, "<html>").await, 400, "MANIFEST_INVALID").await;
    refused(fixture.put("a", "v1", DOCKER, image("x")).await, 400, "MANIFEST_INVALID").await;
    refused(fixture.put("a", "v1", "text/plain", image("x")).await, 400, "MANIFEST_INVALID").await;
    refused(fixture.put("a", "-v1", OCI, image("x")).await, 400, "TAG_INVALID").await;
    refused(fixture.put("A", "v1", OCI, image("x")).await, 400, "NAME_INVALID").await;
    refused(fixture.put("a", Digest::of(b"").as_str(), OCI, image("x")).await, 400, "DIGEST_INVALID").await;
    let at_limit = image(&"x".repeat(4 * 1024 * 1024 - image("").len()));
    assert_eq!(fixture.put("a", "large", OCI, at_limit.clone()).await.status(), 201);
    refused(fixture.put("a", "larger", OCI, at_limit + " ").await, 413, "SIZE_INVALID").await;
    assert_eq!(fixture.json("/v2/a/tags/list").await["tags"], json!(["large"]));
}

#[tokio::test]
async fn an_index_needs_its_children_in_its_own_repository() {
    let fixture = Fixture::new().await;
    let child = Digest::of(image("child").as_bytes());
    fixture.push_image("other", child.as_str(), "child").await;
    let child_size = image("child").len();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [{ "mediaType": OCI, "digest": child, "size": child_size }] });
    refused(fixture.put("a", "v1", INDEX, index.to_string()).await, 400, "MANIFEST_BLOB_UNKNOWN").await;
    fixture.push_image("a", child.as_str(), "child").await;
    assert_eq!(fixture.put("a", "v1", INDEX, index.to_string()).await.status(), 201);
    assert_eq!(fixture.status("a", &child).await, 200, "a child needs no tag");
    assert_eq!(fixture.json("/v2/a/tags/list").await["tags"], json!(["v1"]));
}

#[tokio::test]
async fn deleting_a_tag_leaves_its_manifest_and_deleting_a_manifest_takes_its_tags() {
    let fixture = Fixture::new().await;
    let digest = fixture.push_image("a", "v1", "x").await;
    fixture.push_image("a", "v2", "x").await;
    fixture.push_image("b", "v1", "x").await;
    assert_eq!(fixture.send(Method::DELETE, "/v2/a/manifests/v1").await.status(), 202);
    assert_eq!(fixture.status("a", "v1").await, 404);
    assert_eq!(fixture.status("a", "v2").await, 200);
    refused(fixture.send(Method::DELETE, "/v2/a/manifests/v1").await, 404, "MANIFEST_UNKNOWN").await;
    assert_eq!(fixture.send(Method::DELETE, "/v2/a/manifests/v2").await.status(), 202);
    assert_eq!(fixture.status("a", &digest).await, 200, "the last tag leaves it too");
    assert_eq!(fixture.json("/v2/a/tags/list").await["tags"], json!([]));
    fixture.push_image("a", "v3", "x").await;
    assert_eq!(fixture.send(Method::DELETE, &format!("/v2/a/manifests/{digest}")).await.status(), 202);
    assert_eq!(fixture.status("a", "v3").await, 404);
    refused(fixture.send(Method::GET, "/v2/a/tags/list").await, 404, "NAME_UNKNOWN").await;
    assert_eq!(fixture.status("b", "v1").await, 200, "another repository's is its own");
}

#[tokio::test]
async fn tags_are_sorted_and_paged() {
    let fixture = Fixture::new().await;
    refused(fixture.send(Method::GET, "/v2/a/tags/list").await, 404, "NAME_UNKNOWN").await;
    for tag in ["b", "a", "Z", "c", "a.1"] {
        fixture.push_image("a", tag, "x").await;
    }
    assert_eq!(fixture.json("/v2/a/tags/list").await["tags"], json!(["Z", "a", "a.1", "b", "c"]));
    let first = fixture.send(Method::GET, "/v2/a/tags/list?n=2").await;
    assert_eq!(header(&first, "link"), "</v2/a/tags/list?n=2&last=a>; rel=\"next\"");
    assert_eq!(fixture.json("/v2/a/tags/list?n=2&last=a").await["tags"], json!(["a.1", "b"]));
    let last = fixture.send(Method::GET, "/v2/a/tags/list?n=2&last=a.1").await;
    assert!(last.headers().get("link").is_none(), "a full last page has no next");
    let none = fixture.send(Method::GET, "/v2/a/tags/list?n=0").await;
    assert!(none.headers().get("link").is_none());
    assert_eq!(none.text().await.unwrap(), r#"{"name":"a","tags":[]}"#);
    refused(fixture.send(Method::GET, "/v2/a/tags/list?n=x").await, 400, "PAGINATION_NUMBER_INVALID").await;
}

#[tokio::test]
async fn referrers_are_listed_and_filtered() {
    let fixture = Fixture::new().await;
    let subject = fixture.push_image("a", "v1", "x").await;
    let refer = |kind: Option<&str>| {
        let mut document: Value = serde_json::from_str(&image("sig")).unwrap();
        document["subject"] = json!({ "mediaType": OCI, "digest": subject, "size": image("x").len() });
        if let Some(kind) = kind {
            document["artifactType"] = json!(kind);
        }
        document.to_string()
    };
    let typed = fixture.put("a", "sig", OCI, refer(Some("test/sig"))).await;
    assert_eq!(header(&typed, "oci-subject"), subject.as_str());
    let plain = refer(None);
    fixture.put("a", Digest::of(plain.as_bytes()).as_str(), OCI, plain.clone()).await;
    let list = fixture.json(&format!("/v2/a/referrers/{subject}")).await;
    assert_eq!(list["mediaType"], INDEX);
    let kinds =
        list["manifests"].as_array().unwrap().iter().map(|entry| entry["artifactType"].as_str().unwrap());
    let mut kinds: Vec<_> = kinds.collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["application/vnd.oci.empty.v1+json", "test/sig"]);
    let path = format!("/v2/a/referrers/{subject}?artifactType=test%2Fsig");
    let filtered = fixture.send(Method::GET, &path).await;
    assert_eq!(header(&filtered, "oci-filters-applied"), "artifactType");
    let filtered = fixture.json(&path).await;
    assert_eq!(filtered["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(filtered["manifests"][0]["annotations"]["note"], "sig");
    assert_eq!(fixture.json(&format!("/v2/nowhere/referrers/{subject}")).await["manifests"], json!([]));
}
