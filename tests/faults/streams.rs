//! HTTP/2: streams that are reset and connections that say goodbye.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::{Method, Request, Response};
use boxwright::adapter::credentials::Credentials;
use boxwright::adapter::registry::HttpRegistry;
use boxwright::model::{Digest, Repository};
use boxwright::port::{Registry, RegistryReader, RegistryWriter};
use boxwright_testing::peer::{declared_client, limits, manifest, tag};
use bytes::Bytes;
use h2::Reason;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::network::{Authority, ONE, is_outside};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    /// The stream is reset after the request was read.
    Reset(Reason),
    /// The connection says goodbye after the request was read, and takes it along.
    Goodbye,
}

/// A request as it came in: `METHOD path`, and how long its body was.
type Came = (String, usize);

/// An HTTP/2 registry that holds the test's manifest; the first requests have these fates.
struct Streams {
    host: String,
    came: Arc<Mutex<Vec<Came>>>,
    connections: Arc<AtomicUsize>,
}

impl Streams {
    async fn start(authority: &Authority, fates: Vec<Fate>) -> Self {
        let listener = TcpListener::bind((ONE, 0)).await.unwrap();
        let host = format!("registry.test:{}", listener.local_addr().unwrap().port());
        let mut config = authority.server("registry.test");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (came, connections) = (Arc::<Mutex<Vec<Came>>>::default(), Arc::<AtomicUsize>::default());
        let (shared, count) = (came.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (acceptor, fates, came) = (acceptor.clone(), fates.clone(), shared.clone());
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await.unwrap();
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        let line = format!("{} {}", request.method(), request.uri().path());
                        let fate = {
                            let mut came = came.lock().unwrap();
                            came.push((line, 0));
                            fates.get(came.len() - 1).copied().unwrap_or(Fate::Answered)
                        };
                        match fate {
                            Fate::Reset(reason) => respond.send_reset(reason),
                            Fate::Goodbye => {
                                connection.abrupt_shutdown(Reason::NO_ERROR);
                                continue;
                            }
                            Fate::Answered => {
                                let came = came.clone();
                                tokio::spawn(answer(request, respond, came));
                            }
                        }
                    }
                });
            }
        });
        Self { host, came, connections }
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.came().into_iter().map(|(line, _)| line).collect()
    }

    fn count(&self, method: &str) -> usize {
        self.lines().iter().filter(|line| line.starts_with(method)).count()
    }
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    came: Arc<Mutex<Vec<Came>>>,
) {
    let (head, mut body) = request.into_parts();
    let place = came.lock().unwrap().len() - 1;
    let mut length = 0;
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
        length += piece.len();
    }
    came.lock().unwrap()[place].1 = length;
    let manifest = manifest();
    let mut response = Response::builder();
    let mut sent = Bytes::new();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/v2/a/manifests/t") => {
            response = response.header("content-type", manifest.media_type().as_str());
            sent = manifest.bytes().clone();
        }
        (&Method::POST, _) => response = response.status(202).header("location", "/v2/a/blobs/uploads/s"),
        (&Method::PUT, _) => response = response.status(201),
        (&Method::DELETE, _) => response = response.status(202),
        _ => response = response.status(404),
    }
    let response = response.header("date", "Sat, 21 Nov 2026 07:44:00 GMT").body(()).unwrap();
    if let Ok(mut stream) = respond.send_response(response, sent.is_empty())
        && !sent.is_empty()
    {
        let _ = stream.send_data(sent, true);
    }
}

/// Starts a server whose first requests have these fates, and a client for it.
async fn open(ours: &Authority, fates: Vec<Fate>) -> (HttpRegistry, Streams, Repository) {
    let server = Streams::start(ours, fates).await;
    let at = Repository::new(&server.host, "a").unwrap();
    let declared = ours.declared(&[&server.host]);
    (declared_client(Credentials::anonymous(), declared, limits()), server, at)
}

/// Many requests, one connection.
#[tokio::test]
async fn all_streams_share_a_connection() {
    if is_outside("streams::all_streams_share_a_connection") {
        return;
    }
    let (registry, server, at) = open(&Authority::new(), Vec::new()).await;
    let t = tag("t");
    assert_eq!(registry.get(&at, &t).await.unwrap(), Some(manifest()));
    futures_util::future::try_join_all((0..40).map(|_| registry.get(&at, &t))).await.unwrap();
    assert_eq!((server.came().len(), server.connections.load(Ordering::Relaxed)), (41, 1));
}

/// 43: what can be sent again is sent again, with its whole body; what cannot is looked up.
#[tokio::test]
async fn streams_that_end_early() {
    if is_outside("streams::streams_that_end_early") {
        return;
    }
    let ours = Authority::new();
    for fate in [Fate::Reset(Reason::REFUSED_STREAM), Fate::Reset(Reason::INTERNAL_ERROR), Fate::Goodbye] {
        let (registry, server, at) = open(&ours, vec![fate, fate]).await;
        assert_eq!(registry.get(&at, &tag("t")).await.unwrap(), Some(manifest()), "{fate:?}");
        assert_eq!(server.lines(), ["GET /v2/a/manifests/t"; 3], "{fate:?}");
        if fate == Fate::Goodbye {
            assert_eq!(server.connections.load(Ordering::Relaxed), 3);
        }
        let (registry, server, at) = open(&ours, vec![fate]).await;
        registry.put(&at, &tag("t"), &manifest()).await.unwrap();
        let put = ("PUT /v2/a/manifests/t".to_owned(), manifest().bytes().len());
        assert_eq!(server.came().last(), Some(&put), "{fate:?}");
        // Between the two it may be asked whether the first one has taken effect.
        assert_eq!(server.count("PUT"), 2, "{fate:?}: {:?}", server.lines());
        // A DELETE that may have been carried out is not sent twice.
        let (registry, server, at) = open(&ours, vec![fate]).await;
        let answer = registry.delete(&at, &Digest::of(b"x")).await;
        let deletes = server.count("DELETE");
        match fate {
            // Refused streams were not processed (RFC 9113, section 8.7).
            Fate::Reset(Reason::REFUSED_STREAM) => assert!(deletes <= 2, "{:?}", server.lines()),
            _ => assert_eq!(deletes, 1, "{fate:?}: {:?}", server.lines()),
        }
        assert!(answer.is_ok(), "{fate:?}: {answer:?}");
    }
}

/// 43: a body that came from a pipe is gone: it is asked what became of it before another is sent.
#[tokio::test]
async fn uploads_whose_stream_ends_early() {
    if is_outside("streams::uploads_whose_stream_ends_early") {
        return;
    }
    let ours = Authority::new();
    let bytes = Bytes::from(vec![7; 300_000]);
    for fate in [Fate::Reset(Reason::INTERNAL_ERROR), Fate::Goodbye] {
        let (registry, server, at) = open(&ours, vec![Fate::Answered, fate]).await;
        registry.put_blob(&at, bytes.clone()).await.unwrap();
        let lines = server.lines();
        let first = lines.iter().position(|line| line.starts_with("PUT")).unwrap();
        assert_eq!(server.count("PUT"), 2, "{lines:?}");
        assert_eq!(lines[first + 1], "GET /v2/a/blobs/uploads/s", "{lines:?}");
        assert_eq!(lines[first + 2], format!("GET /v2/a/blobs/{}", Digest::of(&bytes)), "{lines:?}");
        assert_eq!(server.came().last().unwrap().1, bytes.len());
    }
}
