//! TLS, two hosts, names and proxies, in a network of the test's own.

use std::time::{Duration, Instant};

use boxwright::adapter::credentials::{Credential, Credentials, Secret};
use boxwright::adapter::registry::{HostConfig, HostSettings, HttpRegistry, Limits};
use boxwright::model::{Digest, Repository};
use boxwright::port::{Failure, RegistryError, RegistryReader};
use boxwright_testing::peer::{
    ANN, Reply, Seen, declared_client, limits, manifest, tag, unreachable, untrusted,
};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::network::{Authority, INSIDE, ONE, TWO, TlsPeer, is_outside, plain};

fn at(host: &str) -> Repository {
    Repository::new(host, "a").unwrap()
}

async fn head(registry: &HttpRegistry, host: &str) -> Result<Option<Digest>, RegistryError> {
    registry.head(&at(host), &tag("t")).await
}

fn anonymous(declared: HostConfig) -> HttpRegistry {
    declared_client(Credentials::anonymous(), declared, limits())
}

/// A client that knows `ann`'s password at one host.
fn of_ann(host: &str, declared: HostConfig) -> HttpRegistry {
    let credential = Credential::Basic { user: "ann".to_owned(), password: Secret::new("hunter2") };
    declared_client(Credentials::given(host, credential), declared, limits())
}

fn login() -> Reply {
    Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\"")
}

/// Checks that a host was not talked to, because it could not show who it is.
#[track_caller]
fn is_turned_away(answer: Result<Option<Digest>, RegistryError>, host: &str) {
    let error = answer.unwrap_err();
    assert!(matches!(error.failure, Failure::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(host), "{error}");
}

/// 40: who cannot show a good certificate for the name is not talked to, once and for all; a
/// declared authority is trusted for its host alone.
#[tokio::test]
async fn certificates() {
    if is_outside("secure::certificates") {
        return;
    }
    let (ours, theirs) = (Authority::new(), Authority::new());
    let good = |_: &Seen, _: usize| Reply::manifest(&manifest());
    let server = TlsPeer::start(ONE, "registry.test", ours.server("registry.test"), good).await;
    let trusted = anonymous(ours.declared(&[&server.host]));
    assert_eq!(head(&trusted, &server.host).await.unwrap().as_ref(), Some(manifest().digest()));
    assert_eq!(server.lines(), ["HEAD /v2/a/manifests/t"]);
    // Nobody said that this authority is good.
    is_turned_away(head(&anonymous(HostConfig::default()), &server.host).await, &server.host);
    is_turned_away(head(&anonymous(theirs.declared(&[&server.host])), &server.host).await, &server.host);
    // It was said of another host.
    is_turned_away(head(&anonymous(ours.declared(&["storage.test:1"])), &server.host).await, &server.host);
    // The certificate is somebody else's.
    let wrong = server.host.replace("registry.test", "other.test");
    is_turned_away(head(&anonymous(ours.declared(&[&wrong])), &wrong).await, &wrong);
    assert_eq!((server.lines().len(), server.visits()), (1, 5));
    let late = TlsPeer::start(ONE, "registry.test", ours.late_server("registry.test"), good).await;
    is_turned_away(head(&anonymous(ours.declared(&[&late.host])), &late.host).await, &late.host);
    assert_eq!((late.lines().len(), late.visits()), (0, 1));
}

/// 40: a server that wants a certificate gets the declared one, and no other server does.
#[tokio::test]
async fn client_certificates() {
    if is_outside("secure::client_certificates") {
        return;
    }
    let ours = Authority::new();
    let good = |_: &Seen, _: usize| Reply::manifest(&manifest());
    let server = TlsPeer::start(ONE, "registry.test", ours.strict_server("registry.test"), good).await;
    is_turned_away(head(&anonymous(ours.declared(&[&server.host])), &server.host).await, &server.host);
    assert_eq!(server.lines(), [""; 0]);
    let showing = |identity: Vec<u8>| {
        let mut declared = ours.declared(&[&server.host]);
        declared.hosts.get_mut(&server.host).unwrap().identity = Some(identity);
        anonymous(declared)
    };
    is_turned_away(head(&showing(Authority::new().identity()), &server.host).await, &server.host);
    assert_eq!(server.lines(), [""; 0]);
    assert!(head(&showing(ours.identity()), &server.host).await.unwrap().is_some());
}

/// 40: plain http on a port where TLS is due is not spoken, by anybody who did not say so.
#[tokio::test]
async fn http_where_tls_is_due() {
    if is_outside("secure::http_where_tls_is_due") {
        return;
    }
    let listener = TcpListener::bind((ONE, 0)).await.unwrap();
    let host = format!("registry.test:{}", listener.local_addr().unwrap().port());
    let firsts = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = firsts.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes).await;
            seen.lock().unwrap().push(bytes[0]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    is_turned_away(head(&of_ann(&host, HostConfig::default()), &host).await, &host);
    // A handshake, and nothing but.
    assert_eq!(*firsts.lock().unwrap(), [22]);
    let plain = HostSettings { plain: true, ..HostSettings::default() };
    let declared = HostConfig { hosts: [(host.clone(), plain)].into() };
    assert_eq!(head(&anonymous(declared), &host).await.unwrap(), None);
    assert_eq!(firsts.lock().unwrap()[1..], [b'H']);
}

/// 29: a registry that keeps its blobs elsewhere: no authorization goes there, over TLS as well.
#[tokio::test]
async fn storage_elsewhere() {
    if is_outside("secure::storage_elsewhere") {
        return;
    }
    let ours = Authority::new();
    let storage = TlsPeer::start(TWO, "storage.test", ours.server("storage.test"), |_, _| {
        Reply::new(200).body("blob").header("Set-Cookie", "a=b")
    })
    .await;
    let target = format!("https://{}/blob?signature=s", storage.host);
    let server =
        TlsPeer::start(ONE, "registry.test", ours.server("registry.test"), move |seen, _| {
            match seen.header("authorization") {
                None => login(),
                Some(_) => Reply::new(307).header("Location", &target).header("Set-Cookie", "c=d"),
            }
        })
        .await;
    let registry = of_ann(&server.host, ours.declared(&[&server.host, &storage.host]));
    for _ in 0..2 {
        let blob = registry.get_blob(&at(&server.host), &Digest::of(b"blob"), 10).await.unwrap();
        assert_eq!(blob, Some(Bytes::from_static(b"blob")));
    }
    assert!(server.seen().iter().skip(1).all(|seen| seen.header("authorization") == Some(ANN)));
    assert_eq!(storage.lines(), ["GET /blob?signature=s"; 2]);
    for seen in storage.seen() {
        assert_eq!(
            (seen.header("authorization"), seen.header("cookie"), seen.header("referer")),
            (None, None, None)
        );
    }
}

/// 30: from https nobody is led to http, and from the internet nobody is led inside, neither by
/// an address nor by a name.
#[tokio::test]
async fn redirects_that_lead_astray() {
    if is_outside("secure::redirects_that_lead_astray") {
        return;
    }
    let ours = Authority::new();
    let open = plain(TWO, "storage.test", |_, _| Reply::new(200).body("blob")).await;
    let inside = TlsPeer::start(INSIDE, "inside.test", ours.server("inside.test"), |_, _| {
        Reply::new(200).body("blob")
    })
    .await;
    let port = inside.host.rsplit_once(':').unwrap().1;
    for target in [
        format!("http://{}/blob", open.host),
        format!("https://{INSIDE}:{port}/blob"),
        format!("https://{}/blob", inside.host),
        format!("https://[::ffff:10.9.9.9]:{port}/blob"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://localhost/blob".to_owned(),
    ] {
        let location = target.clone();
        let server = TlsPeer::start(ONE, "registry.test", ours.server("registry.test"), move |_, _| {
            Reply::new(307).header("Location", &location)
        })
        .await;
        let registry = anonymous(ours.declared(&[&server.host]));
        let answer = registry.get_blob(&at(&server.host), &Digest::of(b"blob"), 10).await;
        assert!(answer.is_err(), "{target}: {answer:?}");
        assert_eq!(server.lines().len(), 1, "{target}");
    }
    assert_eq!((open.count(), inside.visits()), (0, 0));
}

/// 90: a token service that is not the registry's own, is not https, or lies inside is neither
/// asked nor shown a password.
#[tokio::test]
async fn token_services_that_lead_astray() {
    if is_outside("secure::token_services_that_lead_astray") {
        return;
    }
    let ours = Authority::new();
    let token = |_: &Seen, _: usize| Reply::new(200).body(r#"{"token":"t"}"#);
    let open = plain(ONE, "registry.test", token).await;
    let other = TlsPeer::start(TWO, "storage.test", ours.server("storage.test"), token).await;
    let inside = TlsPeer::start(INSIDE, "inside.test", ours.server("inside.test"), token).await;
    for realm in [
        format!("http://{}/token", open.host),
        format!("https://{}/token", other.host),
        format!("https://{}/token", inside.host),
        "https://169.254.169.254/token".to_owned(),
    ] {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"r\"");
        let server = TlsPeer::start(ONE, "registry.test", ours.server("registry.test"), move |_, _| {
            Reply::new(401).header("WWW-Authenticate", &challenge)
        })
        .await;
        let hosts = [server.host.as_str(), &other.host, &inside.host];
        let registry = of_ann(&server.host, ours.declared(&hosts));
        untrusted(head(&registry, &server.host).await, "is refused");
        assert!(server.seen().iter().all(|seen| seen.header("authorization").is_none()));
    }
    assert_eq!((open.count(), other.visits(), inside.visits()), (0, 0, 0));
    // Not even one that was declared, if its name leads inside.
    let hidden = TcpListener::bind((INSIDE, 443)).await.unwrap();
    let server = TlsPeer::start(ONE, "registry.test", ours.server("registry.test"), |_, _| {
        Reply::new(401).header("WWW-Authenticate", "Bearer realm=\"https://inside.test/token\"")
    })
    .await;
    let mut declared = ours.declared(&[&server.host]);
    declared.hosts.get_mut(&server.host).unwrap().realm = Some("inside.test".to_owned());
    let error = head(&of_ann(&server.host, declared), &server.host).await.unwrap_err().to_string();
    assert!(error.contains("inside.test") && error.contains("internal address"), "{error}");
    let visit = tokio::time::timeout(Duration::from_millis(50), hidden.accept()).await;
    assert!(visit.is_err(), "{visit:?}");
    // Its own is asked, on another port as well.
    let own = TlsPeer::start(ONE, "registry.test", ours.server("registry.test"), token).await;
    let challenge = format!("Bearer realm=\"https://{}/token\"", own.host);
    let server =
        TlsPeer::start(ONE, "registry.test", ours.server("registry.test"), move |seen, _| {
            match seen.header("authorization") {
                Some("Bearer t") => Reply::manifest(&manifest()),
                _ => Reply::new(401).header("WWW-Authenticate", &challenge),
            }
        })
        .await;
    let registry = of_ann(&server.host, ours.declared(&[&server.host, &own.host]));
    assert!(head(&registry, &server.host).await.unwrap().is_some());
    assert_eq!(own.seen()[0].header("authorization"), Some(ANN));
}

/// 41: a name that nobody knows, a port that nobody listens on, a way on which packets vanish:
/// each ends within its patience and names the host.
#[tokio::test]
async fn hosts_that_are_not_there() {
    if is_outside("secure::hosts_that_are_not_there") {
        return;
    }
    let short = Limits {
        deadline: Duration::from_secs(6),
        connect: Duration::from_secs(1),
        refused: Duration::from_millis(500),
        ..limits()
    };
    let client = |declared| declared_client(Credentials::anonymous(), declared, short.clone());
    for host in ["nowhere.test", "registry.test:1", "hole.test"] {
        let began = Instant::now();
        let answer = head(&client(HostConfig::default()), host).await;
        let (took, error) = (began.elapsed(), answer.as_ref().unwrap_err().to_string());
        assert!(error.contains(host), "{error}");
        unreachable(answer);
        assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(60), "{host}: {took:?}");
    }
    // Where one of two ways is a hole, the other one is taken, and soon.
    let ours = Authority::new();
    let server =
        TlsPeer::start(ONE, "dual.test", ours.server("dual.test"), |_, _| Reply::manifest(&manifest())).await;
    let began = Instant::now();
    let patient = Limits { connect: Duration::from_secs(60), ..Limits::default() };
    let client = declared_client(Credentials::anonymous(), ours.declared(&[&server.host]), patient);
    let found = head(&client, &server.host).await.unwrap();
    assert!(found.is_some() && began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// A proxy that tunnels to wherever it is asked, or wants a login first; it keeps what it saw.
async fn tunnels(login: Option<&'static str>) -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((TWO, 0)).await.unwrap();
    let host = format!("proxy.test:{}", listener.local_addr().unwrap().port());
    let heads = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                seen.lock().unwrap().push(head.clone());
                if login.is_some_and(|login| !head.to_lowercase().contains(&login.to_lowercase())) {
                    let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
                    return stream.write_all(refusal).await.unwrap();
                }
                let target = head.split(' ').nth(1).unwrap();
                let mut there = TcpStream::connect(target).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut there).await;
            });
        }
    });
    (host, heads)
}

/// 42: an https registry is reached through the proxy's tunnel, in which the proxy sees no
/// password; what the proxy wants to be shown is shown to it alone, and told to nobody.
#[tokio::test]
async fn tunnels_through_a_proxy() {
    if let Ok(host) = std::env::var(ASKED) {
        return ask(&host).await;
    }
    if is_outside("secure::tunnels_through_a_proxy") {
        return;
    }
    let ours = Authority::new();
    let (proxy, heads) = tunnels(Some("proxy-authorization: Basic dXNlcjpzZWNyZXQ=")).await;
    let server = TlsPeer::start(ONE, "registry.test", ours.server("registry.test"), |seen, _| {
        match seen.header("authorization") {
            None => login(),
            Some(_) => Reply::manifest(&manifest()),
        }
    })
    .await;
    // The environment is this process's own: it runs one test.
    let run = async |user: &str, excepted: &str| {
        let exe = std::env::current_exe().unwrap();
        let mut inner = tokio::process::Command::new(exe);
        inner.args(["--exact", "secure::tunnels_through_a_proxy", "--nocapture"]);
        inner.env("HTTPS_PROXY", format!("http://{user}{proxy}")).env("NO_PROXY", excepted);
        inner.env(ASKED, &server.host).env(TRUSTED, String::from_utf8_lossy(&ours.pem).as_ref());
        let output = inner.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).unwrap()
    };
    let told = run("user:secret@", "").await;
    assert!(told.contains("answer: Ok(Some("), "{told}");
    let connect = format!("CONNECT {} HTTP/1.1", server.host);
    for head in heads.lock().unwrap().drain(..) {
        assert!(head.starts_with(&connect), "{head}");
        assert!(!head.contains("hunter2") && !head.contains(ANN), "{head}");
    }
    assert!(server.seen().iter().all(|seen| seen.header("proxy-authorization").is_none()));
    // A wrong or missing login: no answer, and no word of the password.
    for user in ["user:wr0ng@", ""] {
        let asked = server.visits();
        let told = run(user, "").await;
        assert!(told.contains("answer: Err(") && told.contains(&server.host), "{told}");
        assert!(told.contains("407") || told.to_lowercase().contains("prox"), "{told}");
        assert!(!told.contains("wr0ng") && !told.contains("hunter2"), "{told}");
        assert_eq!(server.visits(), asked);
    }
    heads.lock().unwrap().clear();
    let told = run("user:secret@", "registry.test").await;
    assert!(told.contains("answer: Ok(Some("), "{told}");
    assert_eq!(heads.lock().unwrap().len(), 0);
}

const ASKED: &str = "BOXWRIGHT_TEST_ASKED";
const TRUSTED: &str = "BOXWRIGHT_TEST_TRUSTED";

/// Asks one question with this process's proxy, and says what a person would be told.
async fn ask(host: &str) {
    let ca = Some(std::env::var(TRUSTED).unwrap().into_bytes());
    let settings = HostSettings { ca, ..HostSettings::default() };
    let registry = of_ann(host, HostConfig { hosts: [(host.to_owned(), settings)].into() });
    let told = head(&registry, host).await.map_err(|error| error.to_string());
    std::io::Write::write_all(&mut std::io::stdout(), format!("\nanswer: {told:?}\n").as_bytes()).unwrap();
}
