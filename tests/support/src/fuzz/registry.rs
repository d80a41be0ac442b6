//! A registry that answers whatever it likes, to our client over HTTP.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use boxwright::adapter::credentials::{Credential, Credentials, Secret};
use boxwright::adapter::registry::{HostConfig, HttpRegistry, Limits};
use boxwright::model::{Digest, Repository, Tag};
use boxwright::port::{Reference, RegistryError, RegistryReader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// What stands between two answers of an input.
const NEXT: &[u8] = b"\n\0\n";
const PASSWORD: &str = "hunter2-hunter2";

type Answers = Arc<Mutex<VecDeque<Vec<u8>>>>;

/// A server on loopback that gives the answers that are set, the last one for ever.
struct Registrar {
    runtime: Runtime,
    host: String,
    answers: Answers,
}

impl Registrar {
    fn new() -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let answers = Answers::default();
        let (given, own) = (Arc::clone(&answers), host.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut left = given.lock().unwrap();
                let answer = if left.len() > 1 { left.pop_front() } else { left.front().cloned() };
                drop(left);
                tokio::spawn(answer_one(stream, answer.unwrap_or_default(), own.clone()));
            }
        });
        Self { runtime, host, answers }
    }

    fn client(&self) -> HttpRegistry {
        let password = Secret::new(PASSWORD);
        let credential = Credential::Basic { user: "user".to_owned(), password };
        let credentials = Credentials::given(&self.host, credential);
        let limits = Limits {
            deadline: Duration::from_secs(2),
            tries: 2,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(1),
            refused: Duration::from_millis(1),
            pages: 3,
            ..Limits::default()
        };
        HttpRegistry::new(Arc::new(credentials), HostConfig::default(), limits).unwrap()
    }
}

/// Writes a status, the header lines and the body of an answer; its framing is ours.
async fn answer_one(mut stream: TcpStream, answer: Vec<u8>, host: String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&answer);
    let text = text.replace("$HOST", &host);
    let (lines, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut lines = lines.lines();
    let status = lines.next().and_then(|status| status.parse().ok()).unwrap_or(200u16).clamp(200, 599);
    let mut out = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n").into_bytes();
    let framing = ["content-length", "transfer-encoding", "connection", "upgrade", "content-encoding"];
    for line in lines.filter(|line| !framing.iter().any(|name| line.to_lowercase().trim().starts_with(name)))
    {
        out.extend(line.bytes().filter(|byte| *byte >= b' ' && *byte != 127));
        out.extend(b"\r\n");
    }
    out.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
    if !head.starts_with(b"HEAD ") {
        out.extend(body.bytes());
    }
    let _ = stream.write_all(&out).await;
    let _ = stream.shutdown().await;
}

/// Asks a registry that answers what the input says. Accepts it if any question was answered.
pub fn registry(bytes: &[u8]) -> bool {
    thread_local! {
        static REGISTRAR: RefCell<Option<Registrar>> = const { RefCell::new(None) };
    }
    REGISTRAR.with_borrow_mut(|registrar| {
        let registrar = registrar.get_or_insert_with(Registrar::new);
        let mut answers: VecDeque<Vec<u8>> = VecDeque::new();
        let mut rest = bytes;
        while let Some(at) = rest.windows(NEXT.len()).position(|window| window == NEXT) {
            answers.push_back(rest[..at].to_vec());
            rest = &rest[at + NEXT.len()..];
        }
        answers.push_back(rest.to_vec());
        *registrar.answers.lock().unwrap() = answers;
        let client = registrar.client();
        let repository = Repository::new(&registrar.host, "team/box").unwrap();
        let tag: Tag = "main".parse().unwrap();
        registrar.runtime.block_on(async {
            let tags = judge(client.tags(&repository).await);
            let at = Reference::Tag(tag);
            let head = judge(client.head(&repository, &at).await);
            let got = match judge(client.get(&repository, &at).await) {
                Some(Some(raw)) => {
                    assert_eq!(raw.digest(), &Digest::of(raw.bytes()));
                    let _ = raw.document();
                    true
                }
                other => other.is_some(),
            };
            let referrers = judge(client.referrers(&repository, &Digest::of(b"x")).await);
            tags.is_some() || head.is_some() || got || referrers.is_some()
        })
    })
}

fn judge<T>(result: Result<T, RegistryError>) -> Option<T> {
    let error = match result {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 10_000, "{} bytes", text.len());
    assert!(!text.contains(['\u{1b}', '\0', '\r']) && !text.contains(PASSWORD), "{text:?}");
    None
}
