//! A scripted HTTP server on loopback, and clients with short limits.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use boxwright::adapter::credentials::{Credential, Credentials, Secret};
use boxwright::adapter::registry::{HostConfig, HttpRegistry, Limits};
use boxwright::model::{MediaType, RawManifest, Repository};
use boxwright::port::{Failure, Reference, RegistryError};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream,
};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Seen {
    /// Reads the head of a request; `None` when the client has gone away.
    pub async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head).await.ok()? == 0 {
                return None;
            }
        }
        let text = String::from_utf8(head).unwrap();
        let mut lines = text.lines();
        let mut words = lines.next().unwrap().split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Some(Self { at: Instant::now(), method, target, headers, body: Vec::new() })
    }

    /// Returns how long the body is that follows the head.
    pub fn length(&self) -> usize {
        self.header("content-length").map_or(0, |length| length.parse().unwrap())
    }

    /// Returns the request as `METHOD target`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What the server does.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    manner: Manner,
    /// The length that is announced; none for none.
    announced: Option<Option<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    Plain,
    /// More is announced than sent.
    Truncated,
    /// A while after the request.
    Late,
    /// A byte at a time.
    Dripping,
    /// The connection is closed without a word.
    Reset,
    /// Nothing is ever said.
    Silent,
    /// The body comes, and then nothing more.
    ThenSilent,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), manner: Manner::Plain, announced: None }
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// An answer with a manifest, as a good registry gives it.
    pub fn manifest(manifest: &RawManifest) -> Self {
        Self::new(200)
            .header("Content-Type", manifest.media_type())
            .header("Docker-Content-Digest", manifest.digest())
            .body(manifest.bytes().to_vec())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Puts another value in a header's place, or takes it away.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    pub fn truncated(self) -> Self {
        Self { manner: Manner::Truncated, ..self }
    }

    /// Announces another length than the body has.
    pub fn announcing(self, length: usize) -> Self {
        Self { announced: Some(Some(length)), ..self }
    }

    /// Announces no length: the body ends with the connection.
    pub fn unsized_body(self) -> Self {
        Self { announced: Some(None), ..self }
    }

    pub fn then_silent(self) -> Self {
        Self { manner: Manner::ThenSilent, ..self }
    }

    pub fn dripping(self) -> Self {
        Self { manner: Manner::Dripping, ..self }
    }

    pub fn late(self) -> Self {
        Self { manner: Manner::Late, ..self }
    }

    pub fn reset() -> Self {
        Self { manner: Manner::Reset, ..Self::new(0) }
    }

    pub fn silent() -> Self {
        Self { manner: Manner::Silent, ..Self::new(0) }
    }
}

/// The server; it ends with the test's runtime.
pub struct Peer {
    pub host: String,
    log: Arc<Mutex<Vec<Seen>>>,
}

/// How long an answer takes that is late.
pub const LATE: Duration = Duration::from_millis(500);

pub type Script = Arc<Mutex<dyn FnMut(&Seen, usize) -> Reply + Send>>;

impl Peer {
    /// Starts a server; `script` gets each request with the number of those before it.
    pub async fn start(script: impl FnMut(&Seen, usize) -> Reply + Send + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script).await
    }

    pub async fn start_at(
        at: SocketAddr,
        script: impl FnMut(&Seen, usize) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let log: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (script, shared): (Script, _) = (Arc::new(Mutex::new(script)), log.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away is none of the server's business.
                tokio::spawn(answer(stream, script.clone(), shared.clone()));
            }
        });
        Self { host, log }
    }

    /// A server that takes and returns nothing but 500.
    pub async fn unwanted() -> Self {
        Self::start(|_, _| Reply::new(500)).await
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.log.lock().unwrap().len()
    }

    /// The requests as `METHOD target`.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    pub fn repository(&self) -> Repository {
        Repository::new(&self.host, "a").unwrap()
    }
}

/// Answers one request by the script.
pub async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Script,
    log: Arc<Mutex<Vec<Seen>>>,
) -> std::io::Result<()> {
    let mut stream = BufStream::new(stream);
    let Some(mut seen) = Seen::read(&mut stream).await else { return Ok(()) };
    seen.body = vec![0; seen.length()];
    stream.read_exact(&mut seen.body).await?;
    let before = {
        let mut log = log.lock().unwrap();
        log.push(seen.clone());
        log.len() - 1
    };
    let reply = (script.lock().unwrap())(&seen, before);
    let longer = if reply.manner == Manner::Truncated { 100 } else { 0 };
    let announced = reply.announced.unwrap_or(Some(reply.body.len() + longer));
    let mut head = format!("HTTP/1.1 {} Scripted\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(announced) = announced
        && reply.status != 204
        && !(300..400).contains(&reply.status)
    {
        head.push_str(&format!("Content-Length: {announced}\r\n"));
    }
    head.push_str("\r\n");
    match reply.manner {
        Manner::Reset => return Ok(()),
        Manner::Silent => {
            sleep(Duration::from_secs(600)).await;
            return Ok(());
        }
        Manner::Late => sleep(LATE).await,
        Manner::Plain | Manner::Truncated | Manner::Dripping | Manner::ThenSilent => {}
    }
    stream.write_all(head.as_bytes()).await?;
    if seen.method == "HEAD" {
        return stream.shutdown().await;
    }
    if reply.manner == Manner::Dripping {
        for byte in reply.body {
            stream.write_all(&[byte]).await?;
            stream.flush().await?;
            sleep(Duration::from_millis(50)).await;
        }
    } else {
        stream.write_all(&reply.body).await?;
    }
    if reply.manner == Manner::ThenSilent {
        stream.flush().await?;
        sleep(Duration::from_secs(600)).await;
    }
    stream.shutdown().await
}

/// Limits under which a test takes no time.
pub fn limits() -> Limits {
    Limits {
        deadline: Duration::from_secs(30),
        tries: 5,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_secs(2),
        refused: Duration::from_millis(100),
        idle: Duration::from_secs(10),
        ..Limits::default()
    }
}

pub fn client() -> HttpRegistry {
    client_with(Credentials::anonymous(), limits())
}

pub fn client_with(credentials: Credentials, limits: Limits) -> HttpRegistry {
    declared_client(credentials, HostConfig::default(), limits)
}

pub fn declared_client(credentials: Credentials, declared: HostConfig, limits: Limits) -> HttpRegistry {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    HttpRegistry::new(Arc::new(credentials), declared, limits).unwrap()
}

/// A client that knows `ann`'s password at this server.
pub fn client_of_ann(peer: &Peer) -> HttpRegistry {
    let password = Secret::new("hunter2");
    let credential = Credential::Basic { user: "ann".to_owned(), password };
    client_with(Credentials::given(&peer.host, credential), limits())
}

/// What a header of `ann`'s is.
pub const ANN: &str = "Basic YW5uOmh1bnRlcjI=";

pub fn tag(text: &str) -> Reference {
    Reference::Tag(text.parse().unwrap())
}

pub fn manifest() -> RawManifest {
    RawManifest::new(MediaType::OciManifest, r#"{"schemaVersion":2}"#)
}

/// Checks that an answer was refused, for a reason that holds `why`.
#[track_caller]
pub fn untrusted<T: std::fmt::Debug>(result: Result<T, RegistryError>, why: &str) {
    match result {
        Err(RegistryError {
            failure: failure @ (Failure::Untrusted { .. } | Failure::TooLong { .. }),
            ..
        }) if failure.to_string().contains(why) => {}
        other => panic!("expected a refusal for `{why}`, got {other:?}"),
    }
}

/// Checks that an answer was an error with this status.
#[track_caller]
pub fn status<T: std::fmt::Debug>(result: Result<T, RegistryError>, expect: u16) {
    match result {
        Err(RegistryError { failure: Failure::Status { status, .. }, .. }) if status == expect => {}
        other => panic!("expected {expect}, got {other:?}"),
    }
}

#[track_caller]
pub fn unreachable<T: std::fmt::Debug>(result: Result<T, RegistryError>) {
    assert!(
        matches!(&result, Err(RegistryError { failure: Failure::Unreachable { .. }, .. })),
        "expected no answer, got {result:?}"
    );
}
