//! The embedded registry over its real HTTP interface, and by skopeo over HTTP and on disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use boxwright::adapter::embedded::{Collected, EmbeddedError, EmbeddedServer, PortChoice, Store};
use boxwright::model::Digest;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const HOUR: Duration = Duration::from_secs(3600);

/// A server over a directory of its own, and a client for it.
struct Fixture {
    home: tempfile::TempDir,
    server: EmbeddedServer,
    client: reqwest::Client,
}

impl Fixture {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let server = EmbeddedServer::start(home.path(), PortChoice::Any, None).await.unwrap();
        // An error means that another test of this process was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { home, server, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.server.addr()))
    }

    async fn send(&self, method: Method, path: &str) -> Response {
        self.request(method, path).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.send(Method::GET, path).await;
        assert_eq!(answer.status(), 200, "{path}");
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let answer = self.request(Method::POST, &path).body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(header(&answer, "location"), format!("/v2/{name}/blobs/{digest}"));
        digest
    }

    async fn put(&self, name: &str, at: &str, media_type: &str, body: impl Into<reqwest::Body>) -> Response {
        let path = format!("/v2/{name}/manifests/{at}");
        let request = self.request(Method::PUT, &path).header("content-type", media_type);
        request.body(body).send().await.unwrap()
    }

    /// Pushes an image whose only blob is the empty config; `note` makes it unique.
    async fn push_image(&self, name: &str, at: &str, note: &str) -> Digest {
        self.push_blob(name, b"{}").await;
        let text = image(note);
        assert_eq!(self.put(name, at, OCI, text.clone()).await.status(), 201);
        Digest::of(text.as_bytes())
    }

    async fn status(&self, name: &str, at: impl std::fmt::Display) -> StatusCode {
        self.send(Method::HEAD, &format!("/v2/{name}/manifests/{at}")).await.status()
    }

    fn registry(&self) -> std::path::PathBuf {
        self.home.path().join("registry")
    }
}

fn image(note: &str) -> String {
    let config =
        json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}"), "size": 2 });
    json!({ "schemaVersion": 2, "mediaType": OCI, "config": config, "layers": [], "annotations": { "note": note } })
        .to_string()
}

fn header(answer: &Response, name: &str) -> String {
    let value = answer.headers().get(name).unwrap_or_else(|| panic!("no header {name}"));
    value.to_str().unwrap().to_owned()
}

/// Asserts a refusal's status and code.
async fn refused(answer: Response, status: u16, code: &str) {
    let got = answer.status();
    let body = answer.bytes().await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{got}: {body:?}"));
    assert_eq!((got.as_u16(), body["errors"][0]["code"].as_str()), (status, Some(code)), "{body}");
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_over_one_store_lose_nothing() {
    let one = Fixture::new().await;
    one.push_blob("a", b"{}").await;
    let two = EmbeddedServer::start(one.home.path(), PortChoice::Any, None).await.unwrap();
    let mut pushes = tokio::task::JoinSet::new();
    for n in 0..60 {
        let addr = if n % 2 == 0 { one.server.addr() } else { two.addr() };
        let url = format!("http://{addr}/v2/a/manifests/t{n:02}");
        let request = one.client.put(url).header("content-type", OCI).body(image(&n.to_string()));
        pushes.spawn(async move { request.send().await.unwrap().status() });
    }
    while let Some(status) = pushes.join_next().await {
        assert_eq!(status.unwrap(), 201);
    }
    assert_eq!(one.json("/v2/a/tags/list").await["tags"].as_array().unwrap().len(), 60);
}

#[tokio::test]
async fn only_programs_on_this_machine_are_answered() {
    let fixture = Fixture::new().await;
    let rebound =
        fixture.request(Method::GET, "/v2/").header("host", "evil.example:80").send().await.unwrap();
    refused(rebound, 403, "DENIED").await;
    let page = fixture.request(Method::POST, "/v2/a/blobs/uploads/").header("origin", "http://evil.example");
    refused(page.send().await.unwrap(), 403, "DENIED").await;
    let localhost = format!("localhost:{}", fixture.server.addr().port());
    let named = fixture.request(Method::GET, "/v2/").header("host", localhost).send().await.unwrap();
    assert_eq!(named.status(), 200);
}

#[tokio::test]
async fn hostile_bytes_get_an_answer_or_a_closed_connection() {
    let fixture = Fixture::new().await;
    let addr = fixture.server.addr();
    for (text, expect) in [
        ("GET /v2/ HTTP/1.1\r\n\r\n".to_owned(), "403"),
        ("GET /v2/ HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n".to_owned(), "403"),
        ("GET http://evil/v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "403"),
        ("GET /v2/a/tags/list?n=%ff&last=%00&&&= HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "400"),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "404"),
        (format!("GET /v2/{}tags/list HTTP/1.1\r\nHost: localhost\r\n\r\n", "a/".repeat(20_000)), "400"),
        ("\0\u{1}\u{2} nonsense\r\n\r\n".to_owned(), "400"),
        (
            "PUT /v2/a/manifests/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: \u{e4}\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
            "400",
        ),
    ] {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer[9..], expect.as_bytes(), "{text:.100}");
    }
    assert_eq!(fixture.send(Method::GET, "/v2/").await.status(), 200, "it still serves");
}

#[tokio::test]
async fn an_upload_that_breaks_off_goes_on_where_it_was() {
    let fixture = Fixture::new().await;
    let place = header(&fixture.send(Method::POST, "/v2/a/blobs/uploads/").await, "location");
    let mut stream = tokio::net::TcpStream::connect(fixture.server.addr()).await.unwrap();
    let head = format!("PATCH {place} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; 3_000_000]).await.unwrap();
    // Until a window of it has been written; the rest is lost with the connection.
    while std::fs::read_dir(fixture.registry().join("tmp"))
        .unwrap()
        .all(|file| file.unwrap().metadata().unwrap().len() == 0)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(stream);
    let come = header(&fixture.send(Method::GET, &place).await, "range");
    let come = come.strip_prefix("0-").unwrap().parse::<usize>().unwrap() + 1;
    assert!((1..=3_000_000).contains(&come), "{come}");
    let whole = vec![b'x'; 4_000_000];
    let finish = fixture.request(Method::PUT, &format!("{place}?digest={}", Digest::of(&whole)));
    let finish = finish.header("content-range", format!("{come}-3999999")).body(whole[come..].to_vec());
    assert_eq!(finish.send().await.unwrap().status(), 201);
}

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
    let marker = fixture.registry().join("oci-layout");
    let text = std::fs::read_to_string(&marker).unwrap();
    assert_eq!(text, r#"{"imageLayoutVersion":"1.0.0"}"#);
    std::fs::remove_file(&marker).unwrap();
    Store::open(&fixture.registry()).unwrap();
    assert_eq!(std::fs::read_to_string(&marker).unwrap(), text);
    assert_eq!(fixture.status("a", "v1").await, 200);
    std::fs::write(&marker, text.replace("1.0.0", "2.0.0")).unwrap();
    assert!(matches!(Store::open(&fixture.registry()), Err(EmbeddedError::Damaged { .. })));
}

#[tokio::test]
async fn a_server_keeps_its_port_says_what_it_did_and_stops() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().join(".boxwright");
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = {
        let lines = lines.clone();
        move |line: &str| lines.lock().unwrap().push(line.to_owned())
    };
    let server = EmbeddedServer::start(&home, PortChoice::Remembered, Some(Arc::new(log))).await.unwrap();
    let addr = server.addr();
    assert!(addr.ip().is_loopback());
    assert_eq!(std::fs::read_to_string(home.join(".gitignore")).unwrap(), "*\n");
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /v2/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(*lines.lock().unwrap(), ["GET /v2/x 404"]);
    server.stop().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "stopped");
    let again = EmbeddedServer::start(&home, PortChoice::Remembered, None).await.unwrap();
    assert_eq!(again.addr(), addr);
    drop(again);
    while tokio::net::TcpStream::connect(addr).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs skopeo; it is part of the test environment, so its absence is a failure.
async fn skopeo(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy"]).args(arguments).env("NO_PROXY", "127.0.0.1");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = output.expect("skopeo must be installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Writes an image as the engine pushes it, in skopeo's `dir:` form, and returns its digest.
fn docker_image(dir: &Path) -> Digest {
    let mut tar = tar::Builder::new(Vec::new());
    let mut entry = tar::Header::new_ustar();
    entry.set_size(5);
    entry.set_mode(0o644);
    tar.append_data(&mut entry, "hello", &b"world"[..]).unwrap();
    let layer = tar.into_inner().unwrap();
    let diff = Digest::of(&layer);
    let config = json!({ "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [diff] } });
    let config = config.to_string();
    let blob = |kind: &str, bytes: &[u8]| {
        std::fs::write(dir.join(Digest::of(bytes).hex()), bytes).unwrap();
        json!({ "mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len() })
    };
    let manifest = json!({ "schemaVersion": 2, "mediaType": DOCKER,
        "config": blob("application/vnd.docker.container.image.v1+json", config.as_bytes()),
        "layers": [blob("application/vnd.docker.image.rootfs.diff.tar", &layer)] });
    let manifest = manifest.to_string();
    std::fs::write(dir.join("manifest.json"), &manifest).unwrap();
    std::fs::write(dir.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    Digest::of(manifest.as_bytes())
}

#[tokio::test]
async fn skopeo_copies_over_http_and_reads_the_layout_on_disk() {
    let fixture = Fixture::new().await;
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    let digest = docker_image(&from);
    let http = format!("docker://{}/team/base:v1.0", fixture.server.addr());
    let (from, to) = (format!("dir:{}", from.display()), format!("dir:{}", to.display()));
    let disk = |tag: &str| format!("oci:{}:team/base:{tag}", fixture.registry().display());

    skopeo(&["copy", "--preserve-digests", "--dest-tls-verify=false", &from, &http]).await.unwrap();
    let seen = skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &http]).await.unwrap();
    assert_eq!(seen.trim(), digest.as_str());
    skopeo(&["copy", "--src-tls-verify=false", &http, &to]).await.unwrap();
    let copied = std::fs::read(scratch.path().join("to/manifest.json")).unwrap();
    assert_eq!(Digest::of(&copied), digest);

    let oci = http.replace("v1.0", "oci");
    let convert = ["copy", "--format", "oci", "--dest-tls-verify=false", &from, &oci];
    skopeo(&convert).await.unwrap();
    for tag in ["v1.0", "oci"] {
        let inspected = skopeo(&["inspect", &disk(tag)]).await.unwrap();
        assert!(inspected.contains("\"Architecture\": \"amd64\""), "{inspected}");
        skopeo(&["copy", &disk(tag), &to]).await.unwrap();
    }
    assert!(skopeo(&["inspect", &disk("none")]).await.is_err());

    // What skopeo writes into the layout is served, and what was there before still is.
    skopeo(&["copy", &disk("oci"), &disk("direct")]).await.unwrap();
    assert_eq!(fixture.json("/v2/team/base/tags/list").await["tags"], json!(["direct", "oci", "v1.0"]));
    fixture.server.store().collect(HOUR, SystemTime::now() + 2 * HOUR).unwrap();
    skopeo(&["copy", &disk("v1.0"), &to]).await.unwrap();
    skopeo(&["copy", "--src-tls-verify=false", &http.replace("v1.0", "direct"), &to]).await.unwrap();
}
