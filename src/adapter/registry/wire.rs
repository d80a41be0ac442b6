//! Requests on the wire: one exchange, and the same again while that makes sense.
//!
//! Absent here: authorization, redirects and the meaning of an answer.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::answer::{self, Answer};
use super::clock::RegistryClock;
use super::limits::Limits;
use super::retry::{self, Repeat};
use super::{StartError, address, auth};
use crate::model::printable;
use crate::port::{Failure, RegistryError};

/// The largest part of an error or token answer that is read (rule S1).
pub(super) const SMALL: usize = 64 * 1024;

/// A request, repeatable as it stands.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The longest body that a success may have.
    pub(super) limit: usize,
    pub(super) repeat: Repeat,
}

impl Request {
    pub(super) fn new(method: Method, url: Url) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, url, headers, body, limit: SMALL, repeat: Repeat::Freely }
    }

    pub(super) fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
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
        Self { body, ..typed }
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
    client: Client,
    connections: Semaphore,
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
enum Broken {
    /// No connection: nothing was sent.
    Refused(String),
    /// The other side is not who it should be, or speaks another language; it will not change.
    Wrong(String),
    /// The connection was lost or silent after something was sent.
    Lost(String),
    /// The body is longer than the request allows.
    TooLong,
}

impl Wire {
    pub(super) fn new(limits: Limits) -> Result<Self, StartError> {
        let client = || {
            Client::builder()
                .user_agent(concat!("boxwright/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .connect_timeout(limits.connect)
                .read_timeout(limits.idle)
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
                client: client.clone(),
                connections: Semaphore::new(self.limits.connections),
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
            let outcome = match timeout_at(deadline, host.exchange(request)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Broken::Lost(format!("nothing within {:?}", self.limits.deadline))),
            };
            tries += 1;
            let wait = match &outcome {
                Ok(answer) => self.wait_after(&host, request, answer, tries),
                Err(Broken::Refused(_)) => self.wait_while_down(&host),
                Err(Broken::Lost(_)) if request.repeat == Repeat::Freely => self.wait_before(tries),
                Err(Broken::Lost(_) | Broken::Wrong(_) | Broken::TooLong) => None,
            };
            match wait.map(|wait| Instant::now() + wait).filter(|until| *until < deadline) {
                Some(until) => sleep_until(until).await,
                None => return outcome.map_err(|broken| request.error(broken.failure(request.limit))),
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
    async fn exchange(&self, request: &Request) -> Result<Answer, Broken> {
        // The semaphore is never closed; without a permit the request would still be right.
        let _permit = self.connections.acquire().await.ok();
        let Request { method, url, headers, body, .. } = request.clone();
        let mut sending = self.client.request(method.clone(), url.clone()).headers(headers);
        if matches!(method, Method::PUT | Method::POST) {
            sending = sending.body(body);
        }
        let mut response = sending.send().await.map_err(Broken::from)?;
        let status = response.status();
        let limit = if status.is_success() { request.limit } else { SMALL };
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(Broken::from)? {
            let room = limit - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                if status.is_success() {
                    return Err(Broken::TooLong);
                }
                break;
            }
        }
        Ok(Answer { method, url, status, headers: response.headers().clone(), body: body.freeze() })
    }
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
    fn failure(self, limit: usize) -> Failure {
        match self {
            Self::Refused(detail) | Self::Wrong(detail) | Self::Lost(detail) => {
                Failure::Unreachable { detail }
            }
            Self::TooLong => Failure::Untrusted { detail: format!("longer than {limit} bytes") },
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
