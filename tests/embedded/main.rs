//! The embedded registry over its real HTTP interface, and by skopeo over HTTP and on disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod clients;
mod collecting;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boxwright::adapter::credentials::Credential;
use boxwright::adapter::embedded::{EmbeddedServer, PortChoice};
use boxwright::model::Digest;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const HOUR: Duration = Duration::from_secs(3600);

/// What a client of a server shows.
fn authorization(server: &EmbeddedServer) -> String {
    let Credential::Basic { user, password } = server.credential() else { panic!("no password") };
    let text = STANDARD.encode(format!("{user}:{}", password.expose()));
    format!("Basic {text}")
}

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
        let shown = [("authorization".parse().unwrap(), authorization(&server).parse().unwrap())];
        let client = reqwest::Client::builder().no_proxy().default_headers(shown.into_iter().collect());
        Self { home, server, client: client.build().unwrap() }
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
