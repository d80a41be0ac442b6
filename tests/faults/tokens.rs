//! Logging in: tokens, who may issue them, and who may not see a password.

use std::time::Duration;

use boxwright::adapter::credentials::{Credential, Credentials, Secret};
use boxwright::model::Digest;
use boxwright::port::{Failure, Registry, RegistryError, RegistryReader, RegistryWriter};
use boxwright_testing::peer::{
    ANN, Peer, Reply, Seen, client, client_of_ann, client_with, limits, manifest, status, tag, untrusted,
};
use bytes::Bytes;

fn challenge(realm: &str) -> Reply {
    let value = format!("Bearer realm=\"{realm}\",service=\"registry\",scope=\"repository:evil:*\"");
    Reply::new(401).header("WWW-Authenticate", value)
}

fn token(text: &str) -> Reply {
    Reply::new(200).body(format!(r#"{{"token":"{text}","expires_in":300}}"#))
}

/// A registry that is its own token service; the token names the scope it was asked with.
async fn registry_with_tokens() -> Peer {
    Peer::start(|seen, _| {
        let own = format!("http://{}/token", seen.header("host").unwrap());
        if let Some((_, query)) = seen.target.split_once("/token?") {
            return token(query.split_once("scope=").unwrap().1);
        }
        match (seen.header("authorization"), seen.method.as_str()) {
            (None, _) => challenge(&own),
            (_, "POST") => Reply::new(202).header("Location", "/up"),
            (_, "PUT") => Reply::new(201),
            (_, "DELETE") => Reply::new(202),
            _ => Reply::manifest(&manifest()),
        }
    })
    .await
}

fn tokens_asked(peer: &Peer) -> Vec<Seen> {
    peer.seen().into_iter().filter(|seen| seen.target.starts_with("/token")).collect()
}

#[track_caller]
fn unauthorized<T: std::fmt::Debug>(result: Result<T, RegistryError>) {
    match result {
        Err(error) if matches!(error.failure, Failure::Unauthorized { .. }) => {
            assert!(error.failure.is_denied() && !error.failure.is_transient());
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        other => panic!("expected a 401, got {other:?}"),
    }
}

/// One token for each scope, asked for with the password and used again.
#[tokio::test]
async fn each_right_has_its_scope() {
    let peer = registry_with_tokens().await;
    let (registry, at) = (client_of_ann(&peer), peer.repository());
    for _ in 0..3 {
        registry.get(&at, &tag("t")).await.unwrap();
        registry.head(&at, &tag("t")).await.unwrap();
        registry.put(&at, &tag("t"), &manifest()).await.unwrap();
        registry.put_blob(&at, Bytes::from_static(b"x")).await.unwrap();
        registry.delete(&at, &Digest::of(b"x")).await.unwrap();
    }
    let asked = tokens_asked(&peer);
    let targets: Vec<_> = asked.iter().map(|seen| seen.target.as_str()).collect();
    assert_eq!(
        targets,
        [
            "/token?service=registry&scope=repository%3Aa%3Apull",
            "/token?service=registry&scope=repository%3Aa%3Apull%2Cpush",
            "/token?service=registry&scope=repository%3Aa%3Adelete",
        ]
    );
    assert!(asked.iter().all(|seen| seen.header("authorization") == Some(ANN)));
    let others = peer.seen().into_iter().filter(|seen| !seen.target.starts_with("/token"));
    let sent: Vec<_> = others.map(|seen| seen.header("authorization").unwrap_or("none").to_owned()).collect();
    // The first request alone went out without.
    assert_eq!(sent[..2], ["none", "Bearer repository%3Aa%3Apull"]);
    assert!(!sent[1..].contains(&"none".to_owned()) && !sent.contains(&ANN.to_owned()), "{sent:?}");
    assert_eq!(sent.len(), 1 + 3 * 6);
}

/// Anonymous reads get tokens too, without a password.
#[tokio::test]
async fn anonymous_tokens() {
    let peer = registry_with_tokens().await;
    client().get(&peer.repository(), &tag("t")).await.unwrap();
    assert_eq!(tokens_asked(&peer)[0].header("authorization"), None);
}

/// Many tasks that need the same token fetch it once.
#[tokio::test]
async fn a_token_is_fetched_once() {
    let peer = registry_with_tokens().await;
    let (registry, at, t) = (client(), peer.repository(), tag("t"));
    let reads = (0..20).map(|_| registry.get(&at, &t));
    futures_util::future::try_join_all(reads).await.unwrap();
    assert_eq!(tokens_asked(&peer).len(), 1);
}

/// 1, 44: a token that has run out is replaced once, whatever life it claimed.
#[tokio::test]
async fn stale_tokens_are_replaced() {
    for life in ["0", "-5", "3600", "null", "99999999999999999"] {
        let mut valid = 0;
        let mut issued = 0;
        let peer = Peer::start(move |seen, before| {
            if seen.target.starts_with("/token") {
                issued += 1;
                return Reply::new(200)
                    .body(format!(r#"{{"access_token":"t{issued}","expires_in":{life}}}"#));
            }
            // Each token is good for two requests.
            match seen.header("authorization") == Some(&format!("Bearer t{issued}")) && valid < 2 {
                true => {
                    valid += 1;
                    Reply::manifest(&manifest())
                }
                false => {
                    valid = 0;
                    assert!(before < 50);
                    challenge(&format!("http://{}/token", seen.header("host").unwrap()))
                }
            }
        })
        .await;
        let registry = client();
        if life == "-5" {
            untrusted(registry.get(&peer.repository(), &tag("t")).await, "no token");
            continue;
        }
        for _ in 0..6 {
            registry.get(&peer.repository(), &tag("t")).await.unwrap();
        }
        assert_eq!(tokens_asked(&peer).len(), 3, "{life}");
    }
}

/// 1: a registry that takes no token gets two and no more.
#[tokio::test]
async fn refused_tokens_end() {
    let mut issued = 0;
    let peer = Peer::start(move |seen, _| {
        issued += 1;
        match seen.target.starts_with("/token") {
            true => token(&format!("t{issued}")),
            false => challenge(&format!("http://{}/token", seen.header("host").unwrap())),
        }
    })
    .await;
    let registry = client_of_ann(&peer);
    unauthorized(registry.put(&peer.repository(), &tag("t"), &manifest()).await);
    assert_eq!(peer.count(), 3);
    unauthorized(registry.put(&peer.repository(), &tag("t"), &manifest()).await);
    assert_eq!(peer.count(), 6);
}

/// 90, S1: other realms are neither asked nor shown a password.
#[tokio::test]
async fn realms_elsewhere_are_refused() {
    let elsewhere = Peer::unwanted().await;
    let port = elsewhere.host.rsplit_once(':').unwrap().1.to_owned();
    for realm in [
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://evil.example/token".to_owned(),
        "http://evil.example/token".to_owned(),
        format!("http://ann:pw@{}/token", elsewhere.host),
        format!("ftp://127.0.0.1:{port}/"),
        "https://10.0.0.1/token".to_owned(),
        "not a url\u{1b}[2J".to_owned(),
    ] {
        // A header cannot hold a control character; the rest of the text decides.
        let realm = realm.replace('\u{1b}', "");
        let peer = Peer::start(move |_, _| challenge(&realm)).await;
        untrusted(client_of_ann(&peer).get(&peer.repository(), &tag("t")).await, "is refused");
        assert_eq!(peer.count(), 1);
    }
    assert_eq!(elsewhere.count(), 0);
}

/// S1: a token service that sends one elsewhere is not followed.
#[tokio::test]
async fn token_services_do_not_redirect() {
    let elsewhere = Peer::unwanted().await;
    let target = format!("http://{}/token", elsewhere.host);
    let peer = Peer::start(move |seen, _| match seen.target.starts_with("/token") {
        true => Reply::new(307).header("Location", &target),
        false => challenge(&format!("http://{}/token", seen.header("host").unwrap())),
    })
    .await;
    status(client_of_ann(&peer).get(&peer.repository(), &tag("t")).await, 307);
    assert_eq!(elsewhere.count(), 0);
}

/// A wrong password, a lost right, a broken service: what each is called.
#[tokio::test]
async fn token_services_that_fail() {
    let check = async |reply: Reply| {
        let peer = Peer::start(move |seen, _| match seen.target.starts_with("/token") {
            true => reply.clone(),
            false => challenge(&format!("http://{}/token", seen.header("host").unwrap())),
        })
        .await;
        let result = client_of_ann(&peer).get(&peer.repository(), &tag("t")).await;
        (result, tokens_asked(&peer).len())
    };
    let (result, asked) = check(Reply::new(401)).await;
    unauthorized(result);
    assert_eq!(asked, 1);
    let (result, _) = check(Reply::new(403)).await;
    assert!(matches!(result.unwrap_err().failure, Failure::Denied { .. }));
    let (result, asked) = check(Reply::new(503)).await;
    status(result, 503);
    assert_eq!(asked, 5);
    for body in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":5}"#] {
        untrusted(check(Reply::new(200).body(body)).await.0, "no token");
    }
    let long = format!(r#"{{"token":"{}"}}"#, "t".repeat(70_000));
    untrusted(check(Reply::new(200).body(long)).await.0, "longer than 65536 bytes");
}

/// A wrong password is shown once a request: accounts get locked for less.
#[tokio::test]
async fn wrong_passwords_are_not_repeated() {
    let peer = Peer::start(|_, _| Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\"")).await;
    let registry = client_of_ann(&peer);
    for _ in 0..2 {
        unauthorized(registry.get(&peer.repository(), &tag("t")).await);
    }
    let sent: Vec<_> =
        peer.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    assert_eq!(sent, [None, Some(ANN.to_owned()), Some(ANN.to_owned())]);
}

/// An identity token is exchanged by POST and never in a URL.
#[tokio::test]
async fn identity_tokens() {
    let peer = Peer::start(|seen, _| {
        if seen.target.starts_with("/token") {
            return Reply::new(200).body(r#"{"access_token":"access"}"#);
        }
        match seen.header("authorization") {
            Some("Bearer access") => Reply::manifest(&manifest()),
            _ => challenge(&format!("http://{}/token", seen.header("host").unwrap())),
        }
    })
    .await;
    let refresh = Credential::IdentityToken(Secret::new("re&fresh"));
    let registry = client_with(Credentials::given(&peer.host, refresh), limits());
    registry.get(&peer.repository(), &tag("t")).await.unwrap();
    let asked = &tokens_asked(&peer)[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/token"));
    assert_eq!(
        String::from_utf8_lossy(&asked.body),
        "service=registry&scope=repository%3Aa%3Apull&grant_type=refresh_token&client_id=boxwright&refresh_token=re%26fresh"
    );
}

/// A given access token is sent as it is, and a refused one is refused.
#[tokio::test]
async fn given_tokens() {
    let peer = Peer::start(|seen, _| match seen.header("authorization") {
        Some("Bearer good") => Reply::manifest(&manifest()),
        _ => challenge(&format!("http://{}/token", seen.header("host").unwrap())),
    })
    .await;
    let client_as = |token: &str| {
        let token = Credential::Bearer(Secret::new(token));
        client_with(Credentials::given(&peer.host, token), limits())
    };
    client_as("good").get(&peer.repository(), &tag("t")).await.unwrap();
    unauthorized(client_as("bad").get(&peer.repository(), &tag("t")).await);
    let error = client_as("a\nb").get(&peer.repository(), &tag("t")).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Credentials { .. }), "{error}");
    assert_eq!(tokens_asked(&peer).len(), 0);
}

/// Credentials that cannot be read are an error, not a visit without.
#[tokio::test]
async fn unreadable_credentials() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".docker")).unwrap();
    std::fs::write(home.path().join(".docker/config.json"), "{").unwrap();
    let root = home.path().as_os_str().to_owned();
    let credentials =
        Credentials::from_environment(None, |name| (name == "HOME").then(|| root.clone())).unwrap();
    let peer = registry_with_tokens().await;
    let mut short = limits();
    short.deadline = Duration::from_secs(2);
    let registry = client_with(credentials, short);
    let error = registry.get(&peer.repository(), &tag("t")).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Credentials { .. }), "{error}");
    assert_eq!(peer.count(), 1);
}
