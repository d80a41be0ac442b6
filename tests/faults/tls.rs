//! TLS: who is believed, who is shown a certificate, and HTTP/2.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use axum::http::Response;
use boxwright::adapter::registry::{Declared, HostSettings, HttpRegistry};
use boxwright::model::{Digest, Repository};
use boxwright::port::{Failure, Registry};
use bytes::Bytes;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::peer::{client, declared_client, limits, manifest, tag};

/// A certificate that is its own authority.
struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pem: Vec<u8>,
    key_pem: String,
}

impl Identity {
    fn of(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        Self {
            certificate: signed.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            pem: signed.pem().into_bytes(),
            key_pem: key.serialize_pem(),
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        Arc::new(roots)
    }

    /// Makes a server's configuration; `clients` must be shown by whoever comes.
    fn serve(&self, clients: Option<&Self>, protocol: &[u8]) -> TlsAcceptor {
        // Installs the provider.
        drop(client());
        let builder = match clients {
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder(clients.roots()).build().unwrap();
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
            None => ServerConfig::builder().with_no_client_auth(),
        };
        let mut config =
            builder.with_single_cert(vec![self.certificate.clone()], self.key.clone_key()).unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Starts a server that knows nothing; counts connections, and requests that got through.
async fn server(acceptor: TlsAcceptor) -> (Repository, Arc<(AtomicUsize, AtomicUsize)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = Repository::new(&listener.local_addr().unwrap().to_string(), "a").unwrap();
    let counts = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counted = counts.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.0.fetch_add(1, Relaxed);
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![0; 4096];
            if matches!(stream.read(&mut head).await, Ok(read) if read > 0) {
                counted.1.fetch_add(1, Relaxed);
                let _ = stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .await;
            }
        }
    });
    (at, counts)
}

fn client_for(at: &Repository, ca: &Identity, shown: Option<&Identity>) -> HttpRegistry {
    let identity = shown.map(|shown| [&shown.pem[..], shown.key_pem.as_bytes()].concat());
    let settings = HostSettings { ca: Some(ca.pem.clone()), identity, ..HostSettings::default() };
    let declared = Declared { hosts: [(at.host().to_owned(), settings)].into() };
    declared_client(Default::default(), declared, limits())
}

/// 40: a certificate of an authority that is not declared, or for another name, ends it; no
/// second try, and nothing in plain.
#[tokio::test]
async fn certificates_decide() {
    let (right, other, elsewhere) =
        (Identity::of("127.0.0.1"), Identity::of("127.0.0.1"), Identity::of("elsewhere.example"));
    let check = async |shown: &Identity, trusted: &Identity| {
        let (at, counts) = server(shown.serve(None, b"http/1.1")).await;
        let outcome = client_for(&at, trusted, None).head(&at, &tag("t")).await;
        (outcome, counts.0.load(Relaxed), counts.1.load(Relaxed))
    };
    let (outcome, connections, requests) = check(&right, &right).await;
    assert_eq!((outcome.unwrap(), connections, requests), (None, 1, 1));
    for (shown, trusted) in [(&right, &other), (&elsewhere, &elsewhere)] {
        let (outcome, connections, requests) = check(shown, trusted).await;
        let error = outcome.unwrap_err();
        assert!(matches!(error.failure, Failure::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
        assert_eq!((connections, requests), (1, 0), "{error}");
    }
}

/// A certificate of one's own is shown to the host that it was declared for.
#[tokio::test]
async fn clients_show_what_was_declared() {
    let (host, mine, other) = (Identity::of("127.0.0.1"), Identity::of("ann"), Identity::of("eve"));
    for (shown, fine) in [(Some(&mine), true), (Some(&other), false), (None, false)] {
        let (at, _) = server(host.serve(Some(&mine), b"http/1.1")).await;
        let outcome = client_for(&at, &host, shown).head(&at, &tag("t")).await;
        assert_eq!(outcome.is_ok(), fine, "{outcome:?}");
    }
}

/// What an HTTP/2 server does with the request of this number.
#[derive(Clone, Copy, PartialEq)]
enum Turn {
    Answer,
    /// RST_STREAM
    Reset,
    /// GOAWAY
    GoAway,
}

/// Starts an HTTP/2 server that holds one manifest and takes every write; returns what was
/// asked, and how many connections there were.
async fn http2(
    identity: &Identity,
    turn: fn(usize) -> Turn,
) -> (Repository, Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>) {
    let acceptor = identity.serve(None, b"h2");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = Repository::new(&listener.local_addr().unwrap().to_string(), "a").unwrap();
    let (lines, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (log, count) = (lines.clone(), connections.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Relaxed);
            let (log, acceptor) = (log.clone(), acceptor.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let number = {
                        let mut log = log.lock().unwrap();
                        log.push(format!("{} {}", request.method(), request.uri().path()));
                        log.len() - 1
                    };
                    match turn(number) {
                        Turn::Reset => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                        Turn::GoAway => connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM),
                        Turn::Answer => {
                            tokio::spawn(answer(request, respond));
                        }
                    }
                }
            });
        }
    });
    (at, lines, connections)
}

async fn answer(request: axum::http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let method = request.method().clone();
    let mut body = request.into_body();
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
    }
    let head = |status: u16| Response::builder().status(status);
    let (head, body) = match method.as_str() {
        "POST" => (head(202).header("location", "/v2/a/blobs/uploads/s"), Bytes::new()),
        "PUT" => (head(201), Bytes::new()),
        "GET" => {
            (head(200).header("content-type", manifest().media_type().as_str()), manifest().bytes().clone())
        }
        _ => (head(404), Bytes::new()),
    };
    let mut stream = respond.send_response(head.body(()).unwrap(), body.is_empty()).unwrap();
    if !body.is_empty() {
        stream.send_data(body, true).unwrap();
    }
}

/// HTTP/2 where it is offered: many requests, one connection.
#[tokio::test]
async fn http2_is_one_connection() {
    let identity = Identity::of("127.0.0.1");
    let (at, lines, connections) = http2(&identity, |_| Turn::Answer).await;
    let registry = client_for(&at, &identity, None);
    let t = tag("t");
    assert_eq!(registry.get(&at, &t).await.unwrap(), Some(manifest()));
    futures_util::future::try_join_all((0..40).map(|_| registry.get(&at, &t))).await.unwrap();
    assert_eq!(lines.lock().unwrap().len(), 41);
    assert_eq!(connections.load(Relaxed), 1);
}

/// 43: a stream that is reset and a connection that is ended: what can be sent again is, and a
/// body that came from a pipe is not sent before it was asked what became of it.
#[tokio::test]
async fn http2_ends_of_streams_and_connections() {
    let identity = Identity::of("127.0.0.1");
    for turn in
        [(|number| if number == 0 { Turn::Reset } else { Turn::Answer }) as fn(usize) -> Turn, |number| {
            if number == 0 { Turn::GoAway } else { Turn::Answer }
        }]
    {
        let (at, lines, _) = http2(&identity, turn).await;
        let registry = client_for(&at, &identity, None);
        assert_eq!(registry.get(&at, &tag("t")).await.unwrap(), Some(manifest()));
        assert_eq!(*lines.lock().unwrap(), ["GET /v2/a/manifests/t"; 2]);
    }
    for turn in
        [(|number| if number == 1 { Turn::Reset } else { Turn::Answer }) as fn(usize) -> Turn, |number| {
            if number == 1 { Turn::GoAway } else { Turn::Answer }
        }]
    {
        let (at, lines, _) = http2(&identity, turn).await;
        let registry = client_for(&at, &identity, None);
        let bytes = Bytes::from(vec![7; 300_000]);
        registry.put_blob(&at, bytes.clone()).await.unwrap();
        let lines = lines.lock().unwrap().clone();
        let puts = lines.iter().filter(|line| line.starts_with("PUT")).count();
        let first = lines.iter().position(|line| line.starts_with("PUT")).unwrap();
        assert_eq!(puts, 2, "{lines:?}");
        assert_eq!(lines[first + 1], "GET /v2/a/blobs/uploads/s", "{lines:?}");
        assert_eq!(lines[first + 2], format!("GET /v2/a/blobs/{}", Digest::of(&bytes)), "{lines:?}");
    }
}
