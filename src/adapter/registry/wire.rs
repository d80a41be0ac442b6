//! Requests on the wire: the same again while that makes sense.
//!
//! Absent here: authorization, redirects and the meaning of an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Method, Url};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::address;
use super::answer::Answer;
use super::broken::Broken;
use super::clients::Clients;
use super::declared::{HostConfig, StartError};
use super::host::Host;
use super::limits::Limits;
use super::request::{self, Repeat, Request};
use super::resolve::{self, Lookup};
use super::retry;
use crate::adapter::locked::locked;
use crate::port::{RegistryError, Wait};

/// Is told whenever a host is waited for.
pub type OnWait = Arc<dyn Fn(Wait) + Send + Sync>;

/// Waits that nobody would notice are not told of.
const NOTICED: Duration = Duration::from_secs(1);

/// All servers talked to, by origin, those apart that a registry named and that must not be
/// of the private network.
pub(super) struct Transport {
    limits: Limits,
    clients: Clients,
    hosts: Mutex<HashMap<(String, bool), Arc<Host>>>,
    pub(super) on_wait: Option<OnWait>,
}

impl Transport {
    pub(super) fn new(limits: Limits, declared: &HostConfig) -> Result<Self, StartError> {
        Self::over(limits, declared, resolve::system())
    }

    /// Makes one that looks up names in a way of its own.
    pub(super) fn over(limits: Limits, declared: &HostConfig, lookup: Lookup) -> Result<Self, StartError> {
        let clients = Clients::new(&limits, declared, lookup)?;
        Ok(Self { limits, clients, hosts: Mutex::default(), on_wait: None })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limits.deadline
    }

    /// Tells whether a host is of the private network, as far as it has been talked to.
    pub(super) fn is_internal(&self, url: &Url) -> bool {
        self.clients.is_internal(url)
    }

    /// Tells whether a request to `url`, which `registry` named, must stay out of the private
    /// network (rule S1).
    pub(super) fn guards(&self, registry: &Url, url: &Url) -> bool {
        url.host_str() != registry.host_str() && !self.is_internal(registry)
    }

    pub(super) fn host(&self, url: &Url) -> Result<Arc<Host>, RegistryError> {
        self.host_as(url, false)
    }

    fn host_as(&self, url: &Url, is_guarded: bool) -> Result<Arc<Host>, RegistryError> {
        let mut hosts = locked(&self.hosts);
        let key = (url.origin().ascii_serialization(), is_guarded);
        if let Some(host) = hosts.get(&key) {
            return Ok(host.clone());
        }
        let client = self.clients.of(url, is_guarded).map_err(|error| RegistryError {
            request: request::name(&Method::GET, url),
            failure: Broken::from(error).failure(),
        })?;
        let host = Arc::new(Host::new(address::host(url), client, &self.limits));
        hosts.insert(key, host.clone());
        Ok(host)
    }

    /// Sends a request until there is an answer worth having; the last one is returned
    /// whatever its status is. The time for which we hold it back ourselves, lest too much is
    /// under way, is not the request's.
    pub(super) async fn send(&self, request: &Request, deadline: Instant) -> Result<Answer, RegistryError> {
        let host = self.host_as(&request.url, request.is_guarded)?;
        let mut deadline = deadline;
        let mut tries = 0;
        loop {
            if let Some((until, why)) = host.held().filter(|(until, _)| *until < deadline) {
                self.tell(&host, until.saturating_duration_since(Instant::now()), why);
                sleep_until(until).await;
            }
            let queued = Instant::now();
            let pass = match request.is_piped() {
                true => None,
                false => Some(host.gate.pass().await),
            };
            deadline += queued.elapsed();
            let exchange = host.exchange(request, pass, self.limits.idle);
            let outcome = match timeout_at(deadline, exchange).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Broken::Lost(format!("nothing within {:?}", self.limits.deadline))),
            };
            tries += 1;
            let wait = match &outcome {
                Ok(answer) => self.wait_after(&host, request, answer, tries),
                Err(Broken::Refused(_)) if request.repeat != Repeat::Never => {
                    host.wait_while_down(&self.limits)
                }
                Err(Broken::Lost(_)) if request.repeat == Repeat::Freely => self.wait_before(&host, tries),
                Err(_) => None,
            };
            match wait.filter(|wait| Instant::now() + *wait < deadline) {
                Some(wait) => {
                    self.tell(&host, wait, self.why(&outcome));
                    sleep(wait).await;
                }
                None => return outcome.map_err(|broken| request.error(broken.failure())),
            }
        }
    }

    /// The wait before another try, if there is one for this request and this host.
    fn wait_before(&self, host: &Host, tries: u32) -> Option<Duration> {
        (tries < self.limits.tries && host.budget.spend()).then(|| retry::backoff(tries, &self.limits))
    }

    fn wait_after(&self, host: &Host, request: &Request, answer: &Answer, tries: u32) -> Option<Duration> {
        if !answer.status.is_server_error() && answer.status.as_u16() != 429 {
            host.budget.earn();
        }
        if !retry::is_repeatable(Repeat::Freely, answer) {
            return None;
        }
        let longest = request.patience.unwrap_or(self.limits.longest_wait);
        let asked = retry::asked_wait(answer, longest);
        // Also where this very request is not sent again, the next one has to wait.
        if let Some(asked) = asked {
            host.hold(asked, asked_by(answer));
        }
        if !retry::is_repeatable(request.repeat, answer) {
            return None;
        }
        match asked {
            // Who names a time wants to be asked again, so that costs nothing.
            Some(asked) => {
                (tries < self.limits.tries).then(|| asked.max(retry::backoff(tries, &self.limits)))
            }
            None => self.wait_before(host, tries),
        }
    }

    fn why(&self, outcome: &Result<Answer, Broken>) -> String {
        match outcome {
            Ok(answer) if retry::asked_wait(answer, self.limits.longest_wait).is_some() => asked_by(answer),
            Ok(answer) => answer.status.as_u16().to_string(),
            Err(broken) => broken.word().to_owned(),
        }
    }

    fn tell(&self, host: &Host, span: Duration, why: String) {
        let Some(on_wait) = self.on_wait.as_ref().filter(|_| span >= NOTICED) else { return };
        if host.is_news(Instant::now() + span) {
            on_wait(Wait { host: host.name.clone(), span, why });
        }
    }
}

fn asked_by(answer: &Answer) -> String {
    format!("{}, as it asked", answer.status.as_u16())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::port::Failure;
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
        let wire = Transport::new(Limits::default(), &HostConfig::default()).unwrap();
        let error = wire.send(&Request::new(Method::GET, url), wire.deadline()).await.unwrap_err();
        assert!(matches!(error.failure, Failure::Unreachable { .. }), "{error}");
        // One TLS handshake record, and no request.
        assert_eq!(*locked(&met), [22], "{error}");
    }
}
