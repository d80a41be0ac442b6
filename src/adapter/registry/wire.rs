//! Requests on the wire: one exchange, and the same again while that makes sense.
//!
//! Absent here: authorization, redirects and the meaning of an answer.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::answer::{self, Answer};
use super::clock::RegistryClock;
use super::limits::Limits;
use super::retry::{self, Repeat};
use super::{StartError, address, auth};
use crate::model::printable;
use crate::port::{Failure, RegistryError};

/// The largest part of an error or token answer that is read (rule S1).
pub(super) const SMALL: usize = 64 * 1024;

/// A request, repeatable as it stands unless its body is piped.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Payload,
    /// The longest body that a success may have; `None` leaves it unread.
    pub(super) limit: Option<usize>,
    pub(super) repeat: Repeat,
}

/// What a request carries.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    Bytes(Bytes),
    /// What comes out of a pipe, which somebody fills while the request is under way. It is
    /// sent once, whatever comes of it.
    Piped(Pipe),
}

/// The end of a pipe that is read.
pub(super) type Pipe = Arc<Mutex<Option<mpsc::Receiver<io::Result<Bytes>>>>>;

impl Request {
    pub(super) fn new(method: Method, url: Url) -> Self {
        let (headers, body) = (HeaderMap::new(), Payload::Bytes(Bytes::new()));
        Self { method, url, headers, body, limit: Some(SMALL), repeat: Repeat::Freely }
    }

    pub(super) fn limit(self, limit: usize) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Leaves the body of a success to be read by whoever asked.
    pub(super) fn streamed(self) -> Self {
        Self { limit: None, ..self }
    }

    /// Sends what comes out of `pipe`, `length` bytes.
    pub(super) fn piped(self, pipe: mpsc::Receiver<io::Result<Bytes>>, length: u64) -> Self {
        let sized = self.header(CONTENT_LENGTH, HeaderValue::from(length));
        let body = Payload::Piped(Arc::new(Mutex::new(Some(pipe))));
        Self { body, repeat: Repeat::Never, ..sized }
    }

    pub(super) fn is_piped(&self) -> bool {
        matches!(self.body, Payload::Piped(_))
    }

    pub(super) fn once(self) -> Self {
        Self { repeat: Repeat::Unprocessed, ..self }
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(self, media_type: &'static str, body: Bytes) -> Self {
        let typed = self.header(reqwest::header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        Self { body: Payload::Bytes(body), ..typed }
    }

    pub(super) fn error(&self, failure: Failure) -> RegistryError {
        RegistryError { request: answer::name(&self.method, &self.url), failure }
    }
}

/// What is known of one server, for as long as the process lives.
pub(super) struct Host {
    pub(super) clock: RegistryClock,
    pub(super) auth: auth::State,
    /// It answers no HEAD of manifests.
    pub(super) cannot_head: AtomicBool,
    /// It keeps no lists of referrers.
    pub(super) no_referrers: AtomicBool,
    /// It deletes tags alone, as was seen.
    pub(super) deletes_tags: AtomicBool,
    client: Client,
    connections: Arc<Semaphore>,
    /// Nothing is sent before this moment, because the registry asked so.
    hold: Mutex<Option<Instant>>,
    /// Since when connections are refused.
    down: Mutex<Option<Instant>>,
}

/// All servers talked to, and the two clients.
pub(super) struct Wire {
    limits: Limits,
    proxied: Client,
    direct: Client,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// No connection: nothing was sent.
    Refused(String),
    /// The other side is not who it should be, or speaks another language; it will not change.
    Wrong(String),
    /// The connection was lost or silent after something was sent.
    Lost(String),
    /// The body is longer than this, which the request allows.
    TooLong(usize),
}

impl Wire {
    pub(super) fn new(limits: Limits) -> Result<Self, StartError> {
        let client = || {
            Client::builder()
                .user_agent(concat!("boxwright/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .connect_timeout(limits.connect)
                .pool_max_idle_per_host(limits.connections)
        };
        let proxied = client().build().map_err(StartError)?;
        // A proxy elsewhere has another loopback.
        let direct = client().no_proxy().build().map_err(StartError)?;
        Ok(Self { limits, proxied, direct, hosts: Mutex::default() })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limits.deadline
    }

    pub(super) fn host(&self, url: &Url) -> Arc<Host> {
        let client = if address::is_loopback(url) { &self.direct } else { &self.proxied };
        let mut hosts = locked(&self.hosts);
        let host = hosts.entry(url.origin().ascii_serialization()).or_insert_with(|| {
            Arc::new(Host {
                clock: RegistryClock::default(),
                auth: auth::State::default(),
                cannot_head: AtomicBool::new(false),
                no_referrers: AtomicBool::new(false),
                deletes_tags: AtomicBool::new(false),
                client: client.clone(),
                connections: Arc::new(Semaphore::new(self.limits.connections)),
                hold: Mutex::default(),
                down: Mutex::default(),
            })
        });
        host.clone()
    }

    /// Sends a request until there is an answer worth having; the last one is returned
    /// whatever its status is.
    pub(super) async fn send(&self, request: &Request, deadline: Instant) -> Result<Answer, RegistryError> {
        let host = self.host(&request.url);
        let mut tries = 0;
        loop {
            let hold = *locked(&host.hold);
            if let Some(until) = hold.filter(|until| *until < deadline) {
                sleep_until(until).await;
            }
            let outcome = match timeout_at(deadline, host.exchange(request, self.limits.idle)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Broken::Lost(format!("nothing within {:?}", self.limits.deadline))),
            };
            tries += 1;
            let wait = match &outcome {
                Ok(answer) => self.wait_after(&host, request, answer, tries),
                Err(Broken::Refused(_)) => self.wait_while_down(&host),
                Err(Broken::Lost(_)) if request.repeat == Repeat::Freely => self.wait_before(tries),
                Err(Broken::Lost(_) | Broken::Wrong(_) | Broken::TooLong(_)) => None,
            };
            match wait.map(|wait| Instant::now() + wait).filter(|until| *until < deadline) {
                Some(until) => sleep_until(until).await,
                None => return outcome.map_err(|broken| request.error(broken.failure())),
            }
        }
    }

    fn wait_before(&self, tries: u32) -> Option<Duration> {
        (tries < self.limits.tries).then(|| retry::backoff(tries, &self.limits))
    }

    fn wait_after(&self, host: &Host, request: &Request, answer: &Answer, tries: u32) -> Option<Duration> {
        *locked(&host.down) = None;
        host.clock.observe(answer);
        if !request.repeat.allows(answer.status) {
            return None;
        }
        let asked = retry::asked_wait(answer, &self.limits);
        if let Some(asked) = asked {
            let until = Instant::now() + asked;
            let mut hold = locked(&host.hold);
            *hold = Some(hold.map_or(until, |other| other.max(until)));
        }
        let own = self.wait_before(tries)?;
        Some(asked.map_or(own, |asked| asked.max(own)))
    }

    /// The patience with a host that refuses connections is shared by all its requests:
    /// two hundred of them must not wait one after the other.
    fn wait_while_down(&self, host: &Host) -> Option<Duration> {
        let since = *locked(&host.down).get_or_insert_with(Instant::now);
        (since.elapsed() < self.limits.refused).then(|| self.limits.refused / 8)
    }
}

impl Host {
    async fn exchange(&self, request: &Request, idle: Duration) -> Result<Answer, Broken> {
        // The semaphore is never closed; without a permit the request would still be right.
        let permit = self.connections.clone().acquire_owned().await.ok();
        let Request { method, url, headers, body, .. } = request.clone();
        let mut sending = self.client.request(method.clone(), url.clone()).headers(headers);
        if matches!(method, Method::PUT | Method::POST | Method::PATCH) {
            sending = sending.body(body.into_body());
        }
        // Whoever fills a pipe sees to it that the request goes on.
        let response = match request.is_piped() {
            true => sending.send().await?,
            false => before(idle, sending.send()).await??,
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let mut answer = Answer { method, url, status, headers, body: Bytes::new(), rest: None };
        let mut rest = Rest { response, idle, _permit: permit };
        match request.limit {
            None if status.is_success() => answer.rest = Some(rest),
            limit => {
                let limit = limit.filter(|_| status.is_success()).unwrap_or(SMALL);
                answer.body = rest.whole(limit, status.is_success()).await?;
            }
        }
        Ok(answer)
    }
}

impl Payload {
    fn into_body(self) -> reqwest::Body {
        match self {
            Self::Bytes(bytes) => bytes.into(),
            Self::Piped(pipe) => {
                let pipe = locked(&pipe).take();
                let pieces = stream::unfold(pipe, async |pipe| {
                    let mut pipe = pipe?;
                    let piece = pipe.recv().await?;
                    Some((piece, Some(pipe)))
                });
                reqwest::Body::wrap_stream(pieces)
            }
        }
    }
}

/// The body of an answer, as far as it has not been read.
#[derive(Debug)]
pub(super) struct Rest {
    response: reqwest::Response,
    idle: Duration,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Rest {
    /// Reads what comes next.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Broken> {
        Ok(before(self.idle, self.response.chunk()).await??)
    }

    /// Reads everything, or of an error the beginning.
    async fn whole(&mut self, limit: usize, is_success: bool) -> Result<Bytes, Broken> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            let room = limit - body.len();
            body.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() > room {
                if is_success {
                    return Err(Broken::TooLong(limit));
                }
                break;
            }
        }
        Ok(body.freeze())
    }
}

async fn before<F: Future>(idle: Duration, work: F) -> Result<F::Output, Broken> {
    timeout(idle, work).await.map_err(|_| Broken::Lost(format!("nothing for {idle:?}")))
}

impl From<reqwest::Error> for Broken {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut detail = error.to_string();
        let mut wrong = error.is_builder();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            detail.push_str(": ");
            detail.push_str(&inner.to_string());
            wrong |= is_tls(inner);
            cause = inner.source();
        }
        let detail = printable(&detail, 500);
        match (wrong, error.is_connect()) {
            (true, _) => Self::Wrong(detail),
            (false, true) => Self::Refused(detail),
            (false, false) => Self::Lost(detail),
        }
    }
}

/// Tells whether TLS itself refused: a bad certificate, a wrong name, http on an https port.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    // An I/O error shows the cause of what it wraps, and not what it wraps.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|inner| is_tls(inner))
}

impl Broken {
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Refused(detail) | Self::Wrong(detail) | Self::Lost(detail) => {
                Failure::Unreachable { detail }
            }
            Self::TooLong(limit) => Failure::Untrusted { detail: format!("longer than {limit} bytes") },
        }
    }
}

/// Locks; what a panicking thread left behind here is still whole.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn http_on_an_https_port_is_neither_spoken_nor_tried_again() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("https://{}/v2/", listener.local_addr().unwrap())).unwrap();
        let met = Arc::new(Mutex::new(Vec::new()));
        let seen = met.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut hello = [0; 4096];
                let _ = stream.read(&mut hello).await.unwrap();
                locked(&seen).push(hello[0]);
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            }
        });
        let wire = Wire::new(Limits::default()).unwrap();
        let error = wire.send(&Request::new(Method::GET, url), wire.deadline()).await.unwrap_err();
        assert!(matches!(error.failure, Failure::Unreachable { .. }), "{error}");
        // One TLS handshake record, and no request.
        assert_eq!(*locked(&met), [22], "{error}");
    }
}
