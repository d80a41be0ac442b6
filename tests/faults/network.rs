//! Servers behind TLS, with certificates that are made for one test, and a network of the
//! test's own in which names and addresses can be anything.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use boxwright::adapter::registry::{HostConfig, HostSettings};
use boxwright_testing::peer::{Peer, Reply, Seen, answer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Whoever signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    /// Its own certificate, as PEM.
    pub pem: Vec<u8>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        Self { pem: own.pem().into_bytes(), der: own.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str, has_ended: bool) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if has_ended {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A certificate and its key as a client shows them, as PEM.
    pub fn identity(&self) -> Vec<u8> {
        let (certificate, key) = self.sign("client.test", false);
        [certificate.pem(), key.serialize_pem()].concat().into_bytes()
    }

    /// What a server needs that is called `name`.
    pub fn server(&self, name: &str) -> ServerConfig {
        self.config(self.sign(name, false), false)
    }

    /// The same, with a certificate that has ended.
    pub fn late_server(&self, name: &str) -> ServerConfig {
        self.config(self.sign(name, true), false)
    }

    /// The same, of a server that wants to see one of our certificates.
    pub fn strict_server(&self, name: &str) -> ServerConfig {
        self.config(self.sign(name, false), true)
    }

    fn config(&self, (certificate, key): (rcgen::Certificate, KeyPair), is_strict: bool) -> ServerConfig {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let builder = match is_strict {
            true => builder.with_client_cert_verifier(verifier),
            false => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }

    /// Declares that certificates of ours are good for these hosts.
    pub fn declared(&self, hosts: &[&str]) -> HostConfig {
        let trusted = HostSettings { ca: Some(self.pem.clone()), ..HostSettings::default() };
        HostConfig { hosts: hosts.iter().map(|host| ((*host).to_owned(), trusted.clone())).collect() }
    }
}

/// A scripted server behind TLS; `host` is what it is called.
pub struct TlsPeer {
    pub host: String,
    log: Arc<Mutex<Vec<Seen>>>,
    /// Connections, those that came to nothing included.
    visits: Arc<Mutex<usize>>,
}

impl TlsPeer {
    /// Starts a server at an address, called `name`.
    pub async fn start(
        address: &str,
        name: &str,
        config: ServerConfig,
        script: impl FnMut(&Seen, usize) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let host = format!("{name}:{}", listener.local_addr().unwrap().port());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (log, visits) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<Mutex<usize>>::default());
        let (script, shared, count) = (Arc::new(Mutex::new(script)), log.clone(), visits.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                let (acceptor, script, log) = (acceptor.clone(), script.clone(), shared.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let _ = answer(stream, script, log).await;
                });
            }
        });
        Self { host, log, visits }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    pub fn visits(&self) -> usize {
        *self.visits.lock().unwrap()
    }
}

/// The machines of the test's own network: two of the public internet, one that is not.
pub const ONE: &str = "203.0.113.1";
pub const TWO: &str = "203.0.113.2";
pub const INSIDE: &str = "10.9.9.9";

/// What is called how there. From `dual.test` no answer ever comes over IPv6.
const NAMES: &str = "203.0.113.1 registry.test other.test\n203.0.113.2 storage.test proxy.test\n\
     10.9.9.9 inside.test\n203.0.113.1 dual.test\n2001:db8:2::5 dual.test\n2001:db8:2::5 hole.test\n";

const NETWORK: &str = r#"set -e
ip link set lo up
for address in 203.0.113.1 203.0.113.2 10.9.9.9; do ip addr add $address/32 dev lo; done
ip link add hole type veth peer name ground
ip link set hole up; ip link set ground up
ip -6 addr add 2001:db8:2::1/64 dev hole nodad
ip -6 neigh add 2001:db8:2::5 lladdr 02:00:00:00:00:05 dev hole
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/resolv.conf" /etc/resolv.conf
exec "$2" --exact "$3" --nocapture"#;

const INNER: &str = "BOXWRIGHT_TEST_NETWORK";

/// Runs the test of this name again in a network and with names of its own, and says `true`;
/// in there it says `false`, and the test is to be done.
pub fn is_outside(test: &str) -> bool {
    if std::env::var_os(INNER).is_some() {
        return false;
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("hosts"), format!("127.0.0.1 localhost\n{NAMES}")).unwrap();
    // Nobody is there to resolve what has no name here.
    std::fs::write(home.path().join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        .unwrap();
    let mut command = Command::new("unshare");
    let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    command.args(["--net", "--mount"]);
    if !is_root {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["sh", "-c", NETWORK, "sh"])
        .arg(home.path())
        .arg(std::env::current_exe().unwrap())
        .arg(test);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command.env(INNER, "1").env("PATH", format!("{path}:/usr/sbin:/sbin")).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    true
}

/// A server without TLS at an address there, called `name`.
pub async fn plain(
    address: &str,
    name: &str,
    script: impl FnMut(&Seen, usize) -> Reply + Send + 'static,
) -> Peer {
    let at: SocketAddr = format!("{address}:0").parse().unwrap();
    let mut peer = Peer::start_at(at, script).await;
    peer.host = format!("{name}:{}", peer.host.rsplit_once(':').unwrap().1);
    peer
}
