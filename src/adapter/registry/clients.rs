//! The HTTP clients: one for most hosts, and one for each that a user declared something about.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::{Certificate, Client, ClientBuilder, Identity, Url};

use super::address;
use super::declared::{HostConfig, StartError};
use super::limits::Limits;
use super::resolve::{Internal, Lookup, Resolver};
use crate::adapter::locked::locked;

pub(super) struct Clients {
    limits: Limits,
    lookup: Lookup,
    internal: Internal,
    /// By their kind, and whether they speak plain http only.
    made: Mutex<BTreeMap<(Kind, bool), Client>>,
    own: BTreeMap<String, Client>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Usual,
    /// Passes by the proxy: one elsewhere has another loopback.
    Direct,
    /// Does not reach into the private network.
    Guarded,
}

impl Clients {
    pub(super) fn new(limits: &Limits, declared: &HostConfig, lookup: Lookup) -> Result<Self, StartError> {
        let (limits, internal) = (limits.clone(), Internal::default());
        let mut clients = Self { limits, lookup, internal, made: Mutex::default(), own: BTreeMap::new() };
        for (host, settings) in &declared.hosts {
            let bad = |source| StartError { host: host.clone(), source };
            let mut builder = clients.builder(false);
            if let Some(pem) = &settings.ca {
                builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem).map_err(bad)?);
            }
            if let Some(pem) = &settings.identity {
                builder = builder.identity(Identity::from_pem(pem).map_err(bad)?);
            }
            if settings.is_direct {
                builder = builder.no_proxy();
            }
            clients.own.insert(host.clone(), builder.build().map_err(bad)?);
        }
        Ok(clients)
    }

    fn builder(&self, is_guarded: bool) -> ClientBuilder {
        let (lookup, internal) = (self.lookup.clone(), self.internal.clone());
        Client::builder()
            .user_agent(concat!("boxwright/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.limits.connect)
            .pool_max_idle_per_host(self.limits.connections)
            .dns_resolver(Resolver { lookup, internal, is_guarded })
    }

    /// Returns the client for a URL; a guarded one stays out of the private network unless the
    /// user declared the host. Most commands need one of them, and for https each reads
    /// all of the system's certificates, so they are made when they are needed.
    pub(super) fn of(&self, url: &Url, is_guarded: bool) -> Result<Client, reqwest::Error> {
        if let Some(own) = self.own.get(&address::host(url)) {
            return Ok(own.clone());
        }
        let kind = match (address::is_loopback(url), is_guarded) {
            (true, _) => Kind::Direct,
            (false, true) => Kind::Guarded,
            (false, false) => Kind::Usual,
        };
        let is_plain = url.scheme() == "http";
        let mut made = locked(&self.made);
        if let Some(client) = made.get(&(kind, is_plain)) {
            return Ok(client.clone());
        }
        let mut builder = match kind {
            Kind::Usual => self.builder(false),
            Kind::Direct => self.builder(false).no_proxy(),
            Kind::Guarded => self.builder(true),
        };
        if is_plain {
            // Nobody's word is needed where no certificate is shown.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build()?;
        made.insert((kind, is_plain), client.clone());
        Ok(client)
    }

    /// Tells whether a host is of the private network, as far as it has been talked to.
    pub(super) fn is_internal(&self, url: &Url) -> bool {
        address::is_internal(url) || url.host_str().is_some_and(|name| locked(&self.internal).contains(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::adapter::registry::declared::HostSettings;
    use crate::adapter::registry::request::Request;
    use crate::adapter::registry::wire::Transport;
    use crate::port::Failure;
    use reqwest::Method;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A server on loopback, a resolver to which every name is there, and a count of visits.
    async fn everywhere() -> (SocketAddr, Lookup, Arc<AtomicUsize>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let visits = Arc::new(AtomicUsize::new(0));
        let count = visits.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Relaxed);
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .await
                    .unwrap();
            }
        });
        let lookup: Lookup = Arc::new(move |_| Box::pin(async move { Ok(vec![at]) }));
        (at, lookup, visits)
    }

    fn url(host: &str, at: SocketAddr) -> Url {
        Url::parse(&format!("http://{host}:{}/", at.port())).unwrap()
    }

    /// 90, S1: a name that turns out to be of the private network is not connected to, once
    /// and for all, by a request that must stay out of there.
    #[tokio::test]
    async fn names_that_lead_inside_are_refused() {
        let (at, lookup, visits) = everywhere().await;
        let wire = Transport::over(Limits::default(), &HostConfig::default(), lookup).unwrap();
        let request = |guarded| Request::new(Method::GET, url("storage.example", at)).guarded(guarded);
        let error = wire.send(&request(true), wire.deadline()).await.unwrap_err();
        assert!(
            matches!(&error.failure, Failure::Unreachable { detail } if detail.contains("internal address")),
            "{error}"
        );
        assert_eq!(visits.load(Relaxed), 0);
        // The registry itself may be there, and is then known to be.
        let registry = url("storage.example", at);
        let other = url("other.example", at);
        assert!(wire.guards(&registry, &other) && !wire.guards(&registry, &registry));
        wire.send(&request(false), wire.deadline()).await.unwrap();
        assert_eq!(visits.load(Relaxed), 1);
        assert!(!wire.guards(&registry, &other) && wire.guards(&other, &registry));
    }

    /// S1: what a user has declared in a trusted place may be there too.
    #[tokio::test]
    async fn declared_hosts_may_be_inside() {
        let (at, lookup, visits) = everywhere().await;
        let host = format!("storage.example:{}", at.port());
        let declared = HostConfig { hosts: [(host, HostSettings::default())].into() };
        let wire = Transport::over(Limits::default(), &declared, lookup).unwrap();
        let request = Request::new(Method::GET, url("storage.example", at)).guarded(true);
        wire.send(&request, wire.deadline()).await.unwrap();
        assert_eq!(visits.load(Relaxed), 1);
    }

    /// 40: a certificate that cannot be read is an error, not a client without it.
    #[test]
    fn bad_certificates_stop_the_start() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
        for settings in [
            HostSettings { ca: Some(pem.clone()), ..HostSettings::default() },
            HostSettings { identity: Some(b"no key".to_vec()), ..HostSettings::default() },
        ] {
            let declared = HostConfig { hosts: [("r.example".to_owned(), settings)].into() };
            let error =
                Clients::new(&Limits::default(), &declared, super::super::resolve::system()).err().unwrap();
            assert!(error.to_string().contains("r.example"), "{error}");
        }
    }
}
