//! Asking again: how often, how soon, and what never twice.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use boxwright::adapter::registry::Limits;
use boxwright::model::{Digest, MediaType, RawManifest, Repository};
use boxwright::port::{Deleted, Failure, Registry, RegistryReader, RegistryWriter};
use boxwright_testing::peer::{
    LATE, Peer, Reply, client, client_with, limits, manifest, status, tag, unreachable, untrusted,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// 5: each passing status, for each kind of request. 6: after one to a PUT it is looked up
/// whether the PUT took effect.
#[tokio::test]
async fn passing_statuses_are_tried_again() {
    for code in [408, 425, 429, 499, 500, 502, 503, 504, 520, 522, 524] {
        let mut puts = 0;
        let peer = Peer::start(move |seen, before| match (before % 3, seen.method.as_str()) {
            (_, "PUT") => {
                puts += 1;
                Reply::new(if puts < 3 { code } else { 201 })
            }
            (_, "HEAD") if puts > 0 => Reply::new(404),
            (0 | 1, _) => Reply::new(code),
            _ if seen.target.contains("tags") => Reply::new(200).body(r#"{"name":"a","tags":["x"]}"#),
            _ => Reply::manifest(&manifest()),
        })
        .await;
        let (registry, at) = (client(), peer.repository());
        let digest = manifest().digest().clone();
        assert_eq!(registry.head(&at, &tag("t")).await.unwrap(), Some(digest), "{code}");
        assert_eq!(registry.get(&at, &tag("t")).await.unwrap(), Some(manifest()), "{code}");
        assert_eq!(registry.tags(&at).await.unwrap().tags.len(), 1, "{code}");
        assert_eq!(peer.count(), 9, "{code}");
        registry.put(&at, &tag("t"), &manifest()).await.unwrap();
        let looked_up = if matches!(code, 425 | 429) { 0 } else { 2 };
        assert_eq!(peer.count(), 12 + looked_up, "{code}");
    }
}

/// 5: what is repeated is paid for by what succeeds, for all requests of a host together.
#[tokio::test]
async fn a_host_that_fails_most_requests_gets_few_of_them_twice() {
    let peer = Peer::start(|_, _| Reply::new(503)).await;
    let registry = client_with(Default::default(), Limits { retries: 10, ..limits() });
    let (at, t) = (peer.repository(), tag("t"));
    let reads = futures_util::future::join_all((0..20).map(|_| registry.get(&at, &t))).await;
    assert!(reads.iter().all(Result::is_err));
    assert_eq!(peer.count(), 30);
}

/// 3: of many requests that a host turns away, fewer and fewer are under way at once.
#[tokio::test]
async fn a_host_that_pushes_back_gets_less_at_once() {
    let peer = Peer::start(|_, before| match before {
        0..8 => Reply::new(429).header("Retry-After", 0).late(),
        _ => Reply::manifest(&manifest()).late(),
    })
    .await;
    let registry = client_with(Default::default(), Limits { connections: 8, ..limits() });
    let (at, t) = (peer.repository(), tag("t"));
    futures_util::future::try_join_all((0..8).map(|_| registry.get(&at, &t))).await.unwrap();
    let came: Vec<_> = peer.seen().iter().map(|seen| seen.at).collect();
    assert_eq!(came.len(), 16);
    // Eight at once, then four.
    assert!(came[7] - came[0] < LATE);
    assert!(came[12] - came[8] >= LATE, "five within {:?}", came[12] - came[8]);
}

/// 3: a wait is told of, once for all that wait, with its reason.
#[tokio::test]
async fn waits_are_told() {
    let peer = Peer::start(|_, before| match before {
        0..3 => Reply::new(429).header("Retry-After", 1).late(),
        _ => Reply::manifest(&manifest()),
    })
    .await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    let registry = client().telling(Arc::new(move |wait| listener.lock().unwrap().push(wait)));
    let (at, t) = (peer.repository(), tag("t"));
    futures_util::future::try_join_all((0..3).map(|_| registry.get(&at, &t))).await.unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].host.as_str(), told[0].why.as_str()), (peer.host.as_str(), "429, as it asked"));
    assert!(told[0].span.as_millis().abs_diff(1000) < 200, "{told:?}");
}

/// 5: five tries and no more; the last answer is the error.
#[tokio::test]
async fn tries_end() {
    let peer = Peer::start(|_, _| Reply::new(503).body("busy")).await;
    let error = client().get(&peer.repository(), &tag("t")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{}/a:t: the registry answered 503 (busy)", peer.host));
    assert_eq!(peer.count(), 5);
}

/// 2: what does not pass is asked once.
#[tokio::test]
async fn refusals_are_final() {
    for code in [400, 401, 403, 404, 405, 409, 501] {
        let peer = Peer::start(move |_, _| Reply::new(code)).await;
        let outcome = client().put(&peer.repository(), &tag("t"), &manifest()).await;
        assert!(outcome.is_err(), "{code}");
        assert_eq!(peer.count(), 1, "{code}");
    }
}

/// 2: a refusal names the repository and what one would have to be allowed.
#[tokio::test]
async fn refusals_name_what_is_missing() {
    let denied = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
    let peer = Peer::start(move |_, _| Reply::new(403).body(denied)).await;
    let at = peer.repository();
    let put = client().put(&at, &tag("t"), &manifest()).await.unwrap_err().to_string();
    assert_eq!(
        put,
        format!("{}/a:t: permission denied (DENIED: no; it takes repository:a:pull,push)", peer.host)
    );
    let delete = client().delete(&at, manifest().digest()).await.unwrap_err().to_string();
    assert!(delete.contains("it takes repository:a:delete"), "{delete}");
}

/// 3: the whole host waits as long as it asks.
#[tokio::test]
async fn retry_after_holds_the_whole_host() {
    let peer = Peer::start(|_, before| match before {
        0 => Reply::new(429).header("Retry-After", 1),
        _ => Reply::manifest(&manifest()),
    })
    .await;
    let (registry, at) = (client(), peer.repository());
    let (one, two) = (tag("one"), tag("two"));
    let (first, second) = tokio::join!(registry.get(&at, &one), async {
        while peer.count() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        registry.get(&at, &two).await
    });
    assert_eq!((first.unwrap(), second.unwrap()), (Some(manifest()), Some(manifest())));
    let seen = peer.seen();
    assert_eq!(seen.len(), 3);
    for later in &seen[1..] {
        let waited = later.at - seen[0].at;
        assert!(waited >= Duration::from_millis(950) && waited < Duration::from_secs(60), "{waited:?}");
    }
}

/// 3: who asks to be left alone is, also by what follows a request that is not sent twice; and
/// that wait is told of.
#[tokio::test]
async fn what_is_not_sent_again_holds_the_host_as_well() {
    let busy = || Reply::new(503).header("Retry-After", 2);
    // A PUT is followed by a look, an upload by the question how far it came, a DELETE by a look.
    let check = async |kind: &'static str| {
        let mut strikes = 0;
        let peer = Peer::start(move |seen, _| match seen.method.as_str() {
            "POST" => Reply::new(202).header("Location", "/up"),
            method if method == kind => {
                strikes += 1;
                if strikes == 1 { busy() } else { Reply::new(if kind == "PUT" { 201 } else { 202 }) }
            }
            "GET" if seen.target == "/up" => Reply::new(204).header("Range", "0-0"),
            _ => Reply::new(404),
        })
        .await;
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = told.clone();
        let registry = client().telling(Arc::new(move |wait| listener.lock().unwrap().push(wait)));
        (registry, peer, told)
    };
    let whats = ["manifest", "blob", "delete"].map(async |what| {
        let (registry, peer, told) = check(if what == "delete" { "DELETE" } else { "PUT" }).await;
        let at = peer.repository();
        match what {
            "manifest" => registry.put(&at, &tag("t"), &manifest()).await.unwrap(),
            "blob" => drop(registry.put_blob(&at, "blob".into()).await.unwrap()),
            _ => assert_eq!(registry.delete(&at, manifest().digest()).await.unwrap(), Deleted::Gone),
        }
        let seen = peer.seen();
        let busy = seen.iter().position(|seen| matches!(seen.method.as_str(), "PUT" | "DELETE")).unwrap();
        let waited = seen[busy + 1].at - seen[busy].at;
        assert!(waited >= Duration::from_millis(1950), "{what}: {waited:?}");
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1, "{what}: {told:?}");
        assert_eq!(told[0].why, "503, as it asked");
    });
    futures_util::future::join_all(whats).await;
}

/// 4: a wait that the deadline does not allow is not begun.
#[tokio::test]
async fn huge_waits_are_clamped() {
    let peer = Peer::start(|_, _| Reply::new(429).header("Retry-After", "999999")).await;
    let mut short = limits();
    (short.deadline, short.longest_wait) = (Duration::from_secs(60), Duration::from_secs(120));
    let start = Instant::now();
    status(client_with(Default::default(), short).get(&peer.repository(), &tag("t")).await, 429);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(peer.count(), 1);
}

/// 6: after a lost answer to a PUT it is asked what stands there before it is sent again.
#[tokio::test]
async fn a_lost_answer_to_a_put_is_looked_up() {
    let lines = async |standing: Reply| {
        let peer = Peer::start(move |seen, before| match (seen.method.as_str(), before) {
            ("PUT", 0) => Reply::reset(),
            ("PUT", _) => Reply::new(201),
            _ => standing.clone(),
        })
        .await;
        client().put(&peer.repository(), &tag("t"), &manifest()).await.unwrap();
        for request in peer.seen().iter().filter(|seen| seen.method == "PUT") {
            assert_eq!(&request.body[..], &manifest().bytes()[..]);
            assert_eq!(request.header("content-type"), Some(manifest().media_type().as_str()));
        }
        peer.seen().into_iter().map(|seen| seen.method).collect::<Vec<_>>()
    };
    let stands = |digest: &Digest| Reply::new(200).header("Docker-Content-Digest", digest);
    assert_eq!(lines(stands(manifest().digest())).await, ["PUT", "HEAD"]);
    for other in [Reply::new(404), stands(&Digest::of(b"what stood there before")), Reply::new(403)] {
        assert_eq!(lines(other).await, ["PUT", "HEAD", "PUT"]);
    }
}

/// 34: a manifest that registries need not take is not sent.
#[tokio::test]
async fn huge_manifests_are_not_sent() {
    let peer = Peer::start(|_, _| Reply::new(201)).await;
    let put = async |size: usize| {
        let manifest = RawManifest::new(MediaType::OciManifest, vec![b' '; size]);
        client().put(&peer.repository(), &tag("t"), &manifest).await
    };
    put(4 * 1024 * 1024).await.unwrap();
    assert_eq!(peer.count(), 1);
    let error = put(4 * 1024 * 1024 + 1).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Source { .. }), "{error}");
    assert_eq!(peer.count(), 1);
}

/// 7: a DELETE with an unknown outcome is not sent twice: what has come of it is looked up.
#[tokio::test]
async fn a_delete_is_not_repeated_blindly() {
    let digest = Digest::of(b"x");
    let check = async |deleting: Reply, looking: Reply| {
        let peer = Peer::start(move |seen, _| match seen.method.as_str() {
            "DELETE" => deleting.clone(),
            _ => looking.clone(),
        })
        .await;
        let outcome = client().delete(&peer.repository(), &digest).await;
        let deletes = peer.seen().iter().filter(|seen| seen.method == "DELETE").count();
        assert_eq!((deletes, peer.count() > 1), (1, true));
        outcome
    };
    let is_there = || Reply::new(200).header("Docker-Content-Digest", Digest::of(b"x"));
    status(check(Reply::new(500), is_there()).await, 500);
    unreachable(check(Reply::reset(), is_there()).await);
    status(check(Reply::new(500), Reply::new(503)).await, 500);
    assert_eq!(check(Reply::new(500), Reply::new(404)).await.unwrap(), Deleted::Gone);
    assert_eq!(check(Reply::reset(), Reply::new(404)).await.unwrap(), Deleted::Gone);
    // 28: "not found" counts if it is not found either.
    assert_eq!(check(Reply::new(404), Reply::new(404)).await.unwrap(), Deleted::NotFound);
    untrusted(check(Reply::new(404), is_there()).await, "it is here, and it is not");
    // 17: a HEAD whose 404 is some proxy's does not make it missing.
    let peer = Peer::start(|seen, _| match seen.method.as_str() {
        "GET" => Reply::manifest(&manifest()),
        _ => Reply::new(404),
    })
    .await;
    untrusted(client().delete(&peer.repository(), manifest().digest()).await, "it is here, and it is not");
    // One that was turned away was not carried out.
    let peer = Peer::start(|_, before| Reply::new(if before == 0 { 429 } else { 202 })).await;
    assert_eq!(client().delete(&peer.repository(), &digest).await.unwrap(), Deleted::Gone);
    assert_eq!(peer.count(), 2);
}

/// 27, 28: what a DELETE's answer means.
#[tokio::test]
async fn deletes_that_are_not_supported() {
    let unsupported = r#"{"errors":[{"code":"UNSUPPORTED","message":"no"}]}"#;
    let check = async |reply: Reply| {
        let peer = Peer::start(move |_, _| reply.clone()).await;
        client().delete(&peer.repository(), &Digest::of(b"x")).await
    };
    assert_eq!(check(Reply::new(405)).await.unwrap(), Deleted::Unsupported);
    assert_eq!(check(Reply::new(400).body(unsupported)).await.unwrap(), Deleted::Unsupported);
    assert_eq!(check(Reply::new(404).body(unsupported)).await.unwrap(), Deleted::Unsupported);
    assert_eq!(check(Reply::new(200)).await.unwrap(), Deleted::Gone);
    assert_eq!(check(Reply::new(204)).await.unwrap(), Deleted::Gone);
    assert_eq!(check(Reply::new(404)).await.unwrap(), Deleted::NotFound);
    status(check(Reply::new(400)).await, 400);
    assert!(check(Reply::new(403)).await.unwrap_err().failure.is_denied());
}

/// 10: a body that ends early is no body.
#[tokio::test]
async fn truncated_bodies_are_asked_for_again() {
    let peer = Peer::start(|_, before| match before {
        0 => Reply::manifest(&manifest()).truncated(),
        _ => Reply::manifest(&manifest()),
    })
    .await;
    assert_eq!(client().get(&peer.repository(), &tag("t")).await.unwrap(), Some(manifest()));
    assert_eq!(peer.count(), 2);
    let peer = Peer::start(|_, _| Reply::manifest(&manifest()).truncated()).await;
    unreachable(client().get(&peer.repository(), &tag("t")).await);
    assert_eq!(peer.count(), 5);
}

/// 11: silence and dripping end at the deadline.
#[tokio::test]
async fn slow_servers_are_left() {
    for reply in [Reply::silent(), Reply::manifest(&manifest()).dripping()] {
        let peer = Peer::start(move |_, _| reply.clone()).await;
        let mut short = limits();
        short.deadline = Duration::from_millis(400);
        let start = Instant::now();
        unreachable(client_with(Default::default(), short).get(&peer.repository(), &tag("t")).await);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(350) && took < Duration::from_secs(60), "{took:?}");
    }
}

/// 11: a connection that falls silent is given up before the deadline.
#[tokio::test]
async fn idle_connections_are_replaced() {
    let peer = Peer::start(|_, before| match before {
        0 => Reply::silent(),
        _ => Reply::manifest(&manifest()),
    })
    .await;
    let mut short = limits();
    short.idle = Duration::from_millis(200);
    let registry = client_with(Default::default(), short);
    assert_eq!(registry.get(&peer.repository(), &tag("t")).await.unwrap(), Some(manifest()));
    assert_eq!(peer.count(), 2);
}

/// 41: each outage is waited for, not only the first of a process.
#[tokio::test]
async fn outages_are_waited_for_again() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let patience = Duration::from_secs(4);
    let registry = client_with(Default::default(), Limits { refused: patience, ..limits() });
    let (at, t) = (Repository::new(&free.to_string(), "a").unwrap(), tag("t"));
    for _ in 0..2 {
        let (read, ()) = tokio::join!(registry.get(&at, &t), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let listener = TcpListener::bind(free).await.unwrap();
            let accepted = timeout(Duration::from_secs(60), listener.accept()).await;
            let (mut stream, _) = accepted.expect("it is asked again").unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        });
        assert_eq!(read.unwrap(), None);
        tokio::time::sleep(patience).await;
    }
    unreachable(registry.get(&at, &t).await);
}

/// No more than so many requests are under way at once.
#[tokio::test]
async fn connections_are_limited() {
    let peer = Peer::start(|_, _| Reply::manifest(&manifest()).late()).await;
    let registry = client_with(Default::default(), Limits { connections: 3, ..limits() });
    let (at, t) = (peer.repository(), tag("t"));
    futures_util::future::try_join_all((0..9).map(|_| registry.get(&at, &t))).await.unwrap();
    let came: Vec<_> = peer.seen().iter().map(|seen| seen.at).collect();
    assert_eq!(came.len(), 9);
    for (early, late) in came.iter().zip(&came[3..]) {
        assert!(*late - *early >= LATE, "four within {:?}", *late - *early);
    }
}

/// Telling the time: one answer is enough, and nonsense is none.
#[tokio::test]
async fn the_date_is_read_once_and_must_be_one() {
    let peer = Peer::start(|_, _| Reply::new(401).header("Date", "Sat, 21 Nov 2026 07:44:00 GMT")).await;
    let registry = client();
    for _ in 0..3 {
        let now = registry.now(&peer.host).await.unwrap().unix();
        assert!((1_795_247_040..1_795_247_060).contains(&now), "{now}");
    }
    assert_eq!(peer.lines(), ["GET /v2/"]);
    // Of many that ask at once, one is sent.
    let peer =
        Peer::start(|_, _| Reply::new(200).header("Date", "Sat, 21 Nov 2026 07:44:00 GMT").late()).await;
    let registry = client();
    futures_util::future::try_join_all((0..8).map(|_| registry.now(&peer.host))).await.unwrap();
    assert_eq!(peer.count(), 1);
    for reply in [Reply::new(200), Reply::new(200).header("Date", "tomorrow")] {
        let peer = Peer::start(move |_, _| reply.clone()).await;
        boxwright_testing::peer::untrusted(client().now(&peer.host).await, "Date");
    }
    let peer = Peer::unwanted().await;
    status(client().now(&peer.host).await, 500);
    let error = client().now("no host").await.unwrap_err();
    assert!(matches!(error.failure, Failure::Unreachable { .. }), "{error}");
}
