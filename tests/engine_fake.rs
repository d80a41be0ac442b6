//! The Docker Engine adapter against an engine that says what no good engine says.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use boxwright::adapter::engine::DockerEngine;
use boxwright::model::Digest;
use boxwright::port::{BuildRequest, Builder as _, EngineError, ImageId, ImageStore as _};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the engine says to a build or push, and whether it then ends its answer or dies.
#[derive(Clone)]
struct Script {
    version: &'static str,
    lines: Vec<String>,
    dies: bool,
    /// Whether each line's end is a chunk of its own.
    splits: bool,
}

impl Script {
    fn says(lines: &[&str]) -> Self {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Self { version: r#"{"Version":"20.10.24","ApiVersion":"1.41"}"#, lines, dies: false, splits: false }
    }

    fn and_dies(mut self) -> Self {
        self.dies = true;
        self
    }

    fn and_splits(mut self) -> Self {
        self.splits = true;
        self
    }

    async fn start(self) -> DockerEngine {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.clone().answer(stream));
            }
        });
        DockerEngine::connect(Some(&address), Arc::new(|_| Box::pin(async { Ok(None) })))
    }

    async fn answer(self, mut stream: TcpStream) {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            if path.ends_with("/version") {
                let length = self.version.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", self.version);
                stream.write_all(answer.as_bytes()).await.unwrap();
            } else if path.ends_with("/session") {
                stream.write_all(b"HTTP/1.1 101 UPGRADED\r\n\r\n").await.unwrap();
                let _ = stream.read_to_end(&mut Vec::new()).await;
                return;
            } else if path.contains("/tag?") {
                stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            } else {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
                for line in &self.lines {
                    let chunk = match self.splits {
                        true => format!("{:x}\r\n{line}\r\n2\r\n\r\n\r\n", line.len()),
                        false => format!("{:x}\r\n{line}\r\n\r\n", line.len() + 2),
                    };
                    stream.write_all(chunk.as_bytes()).await.unwrap();
                }
                if self.dies {
                    return;
                }
                stream.write_all(b"0\r\n\r\n").await.unwrap();
            }
        }
    }
}

async fn build(script: Script) -> Result<ImageId, EngineError> {
    let root = TempDir::new().unwrap();
    let request = BuildRequest::plain(
        b"FROM scratch\n",
        root.path().to_owned(),
        Vec::new(),
        "linux/amd64".parse().unwrap(),
    );
    script.start().await.build(&request, &|_| {}).await
}

async fn push(script: Script) -> Result<Digest, EngineError> {
    let image = ImageId(Digest::of(b"image"));
    let repository = "registry.example/box".parse().unwrap();
    script.start().await.push(&image, &repository, &"k-1".parse().unwrap(), &|_| {}).await
}

fn id() -> String {
    format!(r#"{{"id":"moby.image.id","aux":{{"ID":"{}"}}}}"#, Digest::of(b"image"))
}

#[tokio::test]
async fn a_build_gives_the_image_that_the_engine_names() {
    assert_eq!(build(Script::says(&[&id()])).await.unwrap(), ImageId(Digest::of(b"image")));
}

#[tokio::test]
async fn a_line_whose_end_comes_apart_from_it_is_whole() {
    let image = Digest::of(b"image");
    assert_eq!(build(Script::says(&[&id()]).and_splits()).await.unwrap(), ImageId(image.clone()));
    let pushed = format!(r#"{{"status":"k-1: digest: {image} size: 528"}}"#);
    assert_eq!(push(Script::says(&[&pushed]).and_splits()).await.unwrap(), image);
    let dead = build(Script::says(&[&id()]).and_splits().and_dies()).await;
    assert!(matches!(dead, Err(EngineError::Engine { action: "build", .. })), "{dead:?}");
}

#[tokio::test]
async fn an_error_in_a_good_answer_fails_the_build() {
    let error = r#"{"errorDetail":{"message":"it broke"},"error":"it broke"}"#;
    for lines in [&[error][..], &[&id(), error], &[error, &id()]] {
        match build(Script::says(lines)).await {
            Err(EngineError::BuildFailed { detail, .. }) => assert_eq!(detail, "it broke"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_without_an_image_fails_the_build() {
    let odd = r#"{"id":"moby.image.id","aux":{"ID":"sha256:../../etc"}}"#;
    for script in [
        Script::says(&[]),
        Script::says(&[r#"{"stream":"ok"}"#]),
        Script::says(&[odd]),
        Script::says(&["{ not json"]),
        Script::says(&[]).and_dies(),
        Script::says(&[&id()]).and_dies(),
    ] {
        let result = build(script).await;
        assert!(matches!(result, Err(EngineError::Engine { action: "build", .. })), "{result:?}");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_apart() {
    let error = r#"{"errorDetail":{"message":"write /x: no space left on device"}}"#;
    assert!(matches!(build(Script::says(&[error])).await, Err(EngineError::DiskFull { .. })));
    assert!(matches!(push(Script::says(&[error])).await, Err(EngineError::DiskFull { .. })));
}

#[tokio::test]
async fn a_push_needs_a_digest_and_no_error() {
    let digest = Digest::of(b"manifest");
    let good = format!(r#"{{"status":"k-1: digest: {digest} size: 528"}}"#);
    let error = r#"{"errorDetail":{"message":"denied"},"error":"denied"}"#;
    assert_eq!(push(Script::says(&[&good])).await.unwrap(), digest);
    for lines in [&[][..], &[error], &[&good, error], &[r#"{"status":"Pushed"}"#]] {
        let result = push(Script::says(lines)).await;
        assert!(matches!(result, Err(EngineError::Transfer { action: "push", .. })), "{result:?}");
    }
    let result = push(Script::says(&[&good]).and_dies()).await;
    assert!(matches!(result, Err(EngineError::Engine { action: "push", .. })), "{result:?}");
}

#[tokio::test]
async fn an_engine_that_is_too_old_or_none_at_all_is_refused() {
    let mut old = Script::says(&[]);
    old.version = r#"{"Version":"19.03.1","ApiVersion":"1.40"}"#;
    match old.start().await.check().await {
        Err(EngineError::TooOld { version, .. }) => assert_eq!(version, "19.03.1"),
        other => panic!("{other:?}"),
    }
    let mut other = Script::says(&[]);
    other.version = "<html>";
    let result = other.start().await.check().await;
    assert!(matches!(result, Err(EngineError::Engine { .. })), "{result:?}");
}
