//! Uploads that are cut, turned away, or taken in parts.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use boxwright::adapter::registry::Limits;
use boxwright::model::{Digest, Repository};
use boxwright::port::{Blob, BlobSource, BlobStream, Failure, Pushed, RegistryWriter, Whole};
use boxwright_testing::peer::{
    ANN, Peer, Reply, Seen, client, client_of_ann, client_with, limits, status, unreachable, untrusted,
};
use bytes::Bytes;

const SESSION: &str = "/v2/a/blobs/uploads/s";

/// A blob of `size` bytes, of which no two hundred are alike.
fn blob(size: u32) -> Bytes {
    (0..size).map(|at| (at ^ (at >> 8)).to_le_bytes()[0]).collect::<Vec<_>>().into()
}

/// What a server that keeps what it was sent has, and how it behaves.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    stored: bool,
    /// How many bodies are still cut after so many bytes.
    cuts: usize,
    after: usize,
}

/// A registry that keeps the beginning of a body that was cut, as the embedded one does.
async fn keeping(cuts: usize, after: usize) -> (Peer, Arc<Mutex<Kept>>) {
    let kept = Arc::new(Mutex::new(Kept { cuts, after, ..Kept::default() }));
    let shared = kept.clone();
    let peer = Peer::start(move |seen, _| {
        let mut kept = shared.lock().unwrap();
        let so_far = |kept: &Kept| format!("0-{}", kept.bytes.len().saturating_sub(1));
        match seen.method.as_str() {
            "POST" => {
                kept.bytes.clear();
                Reply::new(202).header("Location", SESSION)
            }
            "GET" if seen.target.starts_with(SESSION) => {
                Reply::new(204).header("Location", SESSION).header("Range", so_far(&kept))
            }
            "PUT" => {
                let from = match seen.header("content-range") {
                    Some(range) => range.split_once('-').unwrap().0.parse().unwrap(),
                    // Nothing has no range.
                    None if seen.body.is_empty() => kept.bytes.len(),
                    None => 0,
                };
                assert_eq!(from, kept.bytes.len(), "it goes on where it was");
                if kept.cuts > 0 {
                    kept.cuts -= 1;
                    let taken = seen.body.len().min(kept.after);
                    kept.bytes.extend(&seen.body[..taken]);
                    return Reply::reset();
                }
                kept.bytes.extend(&seen.body);
                kept.stored = true;
                Reply::new(201)
            }
            _ => Reply::new(404),
        }
    })
    .await;
    (peer, kept)
}

fn puts(peer: &Peer) -> Vec<Seen> {
    peer.seen().into_iter().filter(|seen| seen.method == "PUT").collect()
}

/// 8: what was cut goes on from where the registry says, wherever that is.
#[tokio::test]
async fn a_cut_upload_goes_on_where_it_was() {
    let bytes = blob(300_000);
    for after in [2, 65_536, 65_537, 199_999, 300_000] {
        let (peer, kept) = keeping(1, after).await;
        client().put_blob(&peer.repository(), bytes.clone()).await.unwrap();
        assert_eq!(kept.lock().unwrap().bytes, bytes, "{after}");
        let puts = puts(&peer);
        assert_eq!(puts.len(), 2, "{after}");
        let range = puts[1].header("content-range");
        match after {
            300_000 => assert_eq!(range, None),
            after => assert_eq!(range, Some(format!("{after}-299999").as_str())),
        }
        assert_eq!(puts[1].body.len(), 300_000 - after);
    }
}

/// 8: as long as it gets on, it goes on: cut every 64 KiB, a megabyte takes seventeen bodies.
#[tokio::test]
async fn an_upload_that_gets_on_goes_on() {
    let bytes = blob(1_050_000);
    let (peer, kept) = keeping(usize::MAX, 65_536).await;
    let kept_too = kept.clone();
    let (outcome, ()) =
        tokio::join!(async { client().put_blob(&peer.repository(), bytes.clone()).await }, async move {
            while kept_too.lock().unwrap().bytes.len() < 1_000_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            kept_too.lock().unwrap().cuts = 0;
        });
    outcome.unwrap();
    assert_eq!(kept.lock().unwrap().bytes, bytes);
    assert!(puts(&peer).len() > 16);
    // And one that does not get on ends.
    let (peer, _) = keeping(usize::MAX, 0).await;
    unreachable(client().put_blob(&peer.repository(), bytes).await);
    assert_eq!(puts(&peer).len(), 5);
}

/// 8: a session that is lost begins anew.
#[tokio::test]
async fn uploads_begin_anew() {
    for broken in [
        Reply::reset(),
        Reply::new(500),
        Reply::new(404),
        Reply::new(404).body(r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#),
    ] {
        let peer = Peer::start(move |seen, before| match (seen.method.as_str(), before) {
            ("POST", 0) => Reply::new(202).header("Location", "/up/0"),
            ("POST", _) => Reply::new(202).header("Location", "/up/1"),
            ("PUT", 1) => broken.clone(),
            ("PUT", _) => Reply::new(201),
            _ => Reply::new(404),
        })
        .await;
        client().put_blob(&peer.repository(), Bytes::from_static(b"blob")).await.unwrap();
        let digest = Digest::of(b"blob").to_string().replace(':', "%3A");
        let writes: Vec<_> = peer.lines().into_iter().filter(|line| !line.starts_with("GET ")).collect();
        assert_eq!(
            writes,
            [
                "POST /v2/a/blobs/uploads/".to_owned(),
                format!("PUT /up/0?digest={digest}"),
                "POST /v2/a/blobs/uploads/".to_owned(),
                format!("PUT /up/1?digest={digest}"),
            ]
        );
        assert_eq!(puts(&peer)[1].body, b"blob");
    }
}

/// 6: the answer to the upload is lost, and the blob is there: by its last byte, not by a HEAD.
#[tokio::test]
async fn a_lost_answer_to_an_upload_is_looked_up() {
    for is_there in [true, false] {
        let peer = Peer::start(move |seen, _| match (seen.method.as_str(), seen.header("range")) {
            ("POST", _) => Reply::new(202).header("Location", SESSION),
            ("PUT", _) if is_there => Reply::reset(),
            ("HEAD", _) => Reply::new(200),
            ("GET", Some("bytes=3-")) if is_there => {
                Reply::new(206).header("Content-Range", "bytes 3-3/4").body("b")
            }
            ("GET", _) if seen.target.contains("sha256") => Reply::new(200),
            _ => Reply::new(if seen.method == "PUT" { 500 } else { 404 }),
        })
        .await;
        let outcome = client().put_blob(&peer.repository(), Bytes::from_static(b"blob")).await;
        match is_there {
            true => assert_eq!((outcome.is_ok(), puts(&peer).len()), (true, 1)),
            false => status(outcome, 500),
        }
    }
}

/// 1: a token that ran out in mid-upload is replaced, twice and no more.
#[tokio::test]
async fn a_token_that_runs_out_is_replaced() {
    for stale in [1, 2, 3] {
        let (mut issued, mut refused) = (0, 0);
        let peer = Peer::start(move |seen, before| {
            if seen.target.starts_with("/token") {
                issued += 1;
                return Reply::new(200).body(format!(r#"{{"token":"t{issued}"}}"#));
            }
            let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
            let challenge = || Reply::new(401).header("WWW-Authenticate", &realm);
            if before == 0 {
                return challenge();
            }
            match seen.method.as_str() {
                "POST" => Reply::new(202).header("Location", SESSION),
                "PUT" if refused < stale => {
                    refused += 1;
                    challenge()
                }
                "PUT" => Reply::new(201),
                _ => Reply::new(204).header("Location", SESSION).header("Range", "0-0"),
            }
        })
        .await;
        let outcome = client_of_ann(&peer).put_blob(&peer.repository(), blob(100_000)).await;
        let sent: Vec<_> =
            puts(&peer).iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
        let expect: Vec<_> = (1..=4).map(|token| format!("Bearer t{token}")).collect();
        match stale {
            3 => {
                let error = outcome.unwrap_err();
                assert!(matches!(error.failure, Failure::Unauthorized { .. }), "{error}");
                assert_eq!(sent, expect[..3]);
            }
            stale => {
                outcome.unwrap();
                assert_eq!(sent, expect[..=stale]);
            }
        }
    }
}

/// 32: a body that is too long goes in parts, none shorter than the registry takes but the
/// last, and 416 is answered by asking where it is.
#[tokio::test]
async fn parts_where_the_whole_is_too_long() {
    const MIB: usize = 1024 * 1024;
    let bytes = blob(52 * 1024 * 1024);
    let got = Arc::new(Mutex::new((Vec::new(), 0)));
    let shared = got.clone();
    let peer = Peer::start(move |seen, _| {
        let (so_far, parts) = &mut *shared.lock().unwrap();
        let range = |length: usize| format!("0-{}", length.saturating_sub(1));
        match seen.method.as_str() {
            "POST" => Reply::new(202).header("Location", SESSION).header("OCI-Chunk-Min-Length", 20 * MIB),
            "PUT" if seen.body.len() > 16 * MIB => Reply::new(413),
            "PATCH" => {
                *parts += 1;
                let from: usize =
                    seen.header("content-range").unwrap().split_once('-').unwrap().0.parse().unwrap();
                // The second one is not taken for what it is; half of it is.
                if *parts == 2 {
                    so_far.extend_from_slice(&seen.body[..MIB]);
                    return Reply::new(416);
                }
                assert_eq!(from, so_far.len());
                so_far.extend_from_slice(&seen.body);
                Reply::new(202).header("Location", SESSION).header("Range", range(so_far.len()))
            }
            "PUT" => {
                so_far.extend_from_slice(&seen.body);
                Reply::new(201)
            }
            _ => Reply::new(204).header("Location", SESSION).header("Range", range(so_far.len())),
        }
    })
    .await;
    let mut patient = limits();
    patient.deadline = Duration::from_secs(60);
    client_with(Default::default(), patient).put_blob(&peer.repository(), bytes.clone()).await.unwrap();
    assert!(got.lock().unwrap().0 == bytes);
    let parts: Vec<_> =
        peer.seen().iter().filter(|seen| seen.method == "PATCH").map(|seen| seen.body.len()).collect();
    assert_eq!(parts, [20 * MIB, 20 * MIB, 20 * MIB, 11 * MIB]);
    // A small one has nothing to gain from parts.
    let peer = Peer::start(|seen, _| match seen.method.as_str() {
        "POST" => Reply::new(202).header("Location", SESSION),
        _ => Reply::new(413),
    })
    .await;
    status(client().put_blob(&peer.repository(), Bytes::from_static(b"x")).await, 413);
    assert_eq!(peer.count(), 2);
}

/// 8, 32: parts of which nothing is taken end it, and so does a registry that says to have more
/// than it was sent.
#[tokio::test]
async fn parts_that_lead_nowhere_end() {
    let taking = |range: &'static str| {
        Peer::start(move |seen, _| match seen.method.as_str() {
            "POST" => Reply::new(202).header("Location", SESSION),
            "PUT" => Reply::new(413),
            "GET" if !seen.target.starts_with(SESSION) => Reply::new(404),
            _ => Reply::new(202).header("Location", SESSION).header("Range", range),
        })
    };
    let bytes = blob(17 * 1024 * 1024);
    let peer = taking("0-0").await;
    let pushed = async |peer: &Peer| {
        let patient = Limits { deadline: Duration::from_secs(60), ..limits() };
        let registry = client_with(Default::default(), patient);
        let at = peer.repository();
        let pushing = registry.put_blob(&at, bytes.clone());
        tokio::time::timeout(Duration::from_secs(60), pushing).await.expect("it ends")
    };
    untrusted(pushed(&peer).await, "nothing of a part");
    let parts = |peer: &Peer| peer.seen().iter().filter(|seen| seen.method == "PATCH").count();
    // The first of five tries was the whole, which is too long.
    assert_eq!(parts(&peer), 4);
    let peer = taking("0-99999999999").await;
    untrusted(pushed(&peer).await, "it has 100000000000 bytes, and was sent");
    assert_eq!(parts(&peer), 1);
}

/// 33: whatever a registry answers to a mount that is not a yes, the blob is uploaded.
#[tokio::test]
async fn a_mount_that_is_declined_becomes_an_upload() {
    for (declined, posts) in [(202, 1), (401, 2), (403, 2), (404, 2), (405, 2), (400, 2)] {
        let peer = Peer::start(move |seen, _| match seen.method.as_str() {
            "POST" if seen.target.contains("mount=") && declined != 202 => Reply::new(declined),
            "POST" => Reply::new(202).header("Location", SESSION),
            _ => Reply::new(201),
        })
        .await;
        let (from, source) = (Repository::new(&peer.host, "b").unwrap(), Whole::new(blob(10)));
        let pushed = client().push_blob(&peer.repository(), &source, Some(&from)).await.unwrap();
        assert_eq!(pushed, Pushed::Sent, "{declined}");
        let digest = source.blob().digest.to_string().replace(':', "%3A");
        assert_eq!(peer.lines()[0], format!("POST /v2/a/blobs/uploads/?mount={digest}&from=b"));
        assert_eq!(peer.seen().iter().filter(|seen| seen.method == "POST").count(), posts, "{declined}");
        assert_eq!(puts(&peer).len(), 1, "{declined}");
    }
    // One of another registry is no offer at all.
    let peer = Peer::start(|seen, _| match seen.method.as_str() {
        "POST" => Reply::new(202).header("Location", SESSION),
        _ => Reply::new(201),
    })
    .await;
    let elsewhere = "elsewhere.example/b".parse().unwrap();
    client().push_blob(&peer.repository(), &Whole::new(blob(10)), Some(&elsewhere)).await.unwrap();
    assert_eq!(peer.lines()[0], "POST /v2/a/blobs/uploads/");
}

/// 33: a token for a mount is asked for with both scopes; a service that does not give it
/// does not stop the upload.
#[tokio::test]
async fn a_mount_asks_for_both_repositories() {
    let peer = Peer::start(|seen, _| {
        if seen.target.starts_with("/token") {
            let both = seen.target.matches("scope=").count() == 2;
            return if both { Reply::new(403) } else { Reply::new(200).body(r#"{"token":"t"}"#) };
        }
        if seen.header("authorization").is_none() {
            let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
            return Reply::new(401).header("WWW-Authenticate", realm);
        }
        match seen.method.as_str() {
            "POST" => Reply::new(202).header("Location", SESSION),
            _ => Reply::new(201),
        }
    })
    .await;
    let from = Repository::new(&peer.host, "b").unwrap();
    let registry = client_of_ann(&peer);
    registry.push_blob(&peer.repository(), &Whole::new(blob(10)), Some(&from)).await.unwrap();
    let tokens: Vec<_> = peer.seen().into_iter().filter(|seen| seen.target.starts_with("/token")).collect();
    assert_eq!(tokens[0].target, "/token?scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull");
    assert_eq!(tokens[0].header("authorization"), Some(ANN));
}

/// 11: a registry that takes nothing any more is left, long before a deadline of the whole.
#[tokio::test]
async fn an_upload_that_stalls_is_left() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = Repository::new(&listener.local_addr().unwrap().to_string(), "a").unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            if head[..read].starts_with(b"POST") {
                let answer = "HTTP/1.1 202 Accepted\r\nLocation: /up\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            // Whatever else comes is neither read nor answered.
            open.push(stream);
        }
    });
    let mut short = limits();
    (short.idle, short.tries, short.deadline) = (Duration::from_millis(300), 1, Duration::from_millis(500));
    let start = Instant::now();
    let outcome = client_with(Default::default(), short).put_blob(&at, blob(40_000_000)).await;
    unreachable(outcome);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

/// A source that fails, or holds something else than it says, is never taken in.
#[tokio::test]
async fn sources_that_are_not_what_they_say() {
    struct Source(Blob, Vec<Result<Bytes, ()>>);
    #[async_trait]
    impl BlobSource for Source {
        fn blob(&self) -> &Blob {
            &self.0
        }
        async fn open(&self, _from: u64) -> std::io::Result<BlobStream<'_, std::io::Error>> {
            let pieces = self.1.clone().into_iter();
            let pieces = pieces.map(|piece| piece.map_err(|()| std::io::Error::other("disk on fire")));
            Ok(Box::pin(futures_util::stream::iter(pieces)))
        }
    }
    let (right, size) = (blob(100_000), 100_000);
    let mut wrong = right.to_vec();
    wrong[99_999] ^= 1;
    let said = Blob { digest: Digest::of(&right), size };
    for (pieces, why) in [
        (vec![Ok(Bytes::from(wrong))], "its bytes are not those of"),
        (vec![Ok(right.slice(..99_999))], "it ends after 99999 of 100000 bytes"),
        (vec![Ok(right.slice(..70_000)), Err(())], "disk on fire"),
    ] {
        let (peer, kept) = keeping(0, 0).await;
        let error =
            client().push_blob(&peer.repository(), &Source(said.clone(), pieces), None).await.unwrap_err();
        assert!(matches!(&error.failure, Failure::Source { detail } if detail.contains(why)), "{error}");
        assert!(!kept.lock().unwrap().stored);
        assert_eq!(peer.seen().iter().filter(|seen| seen.method == "POST").count(), 1);
    }
}

/// 31: an upload that is sent to another host goes there without credentials, and is asked
/// about there.
#[tokio::test]
async fn an_upload_elsewhere_has_no_credentials() {
    let storage = Peer::start(|seen, before| match (seen.method.as_str(), before) {
        ("PUT", 0) => Reply::reset(),
        ("PUT", _) => Reply::new(201),
        _ => Reply::new(204).header("Range", "0-1"),
    })
    .await;
    let target = format!("http://{}/up?state=s", storage.host);
    let peer = Peer::start(move |seen, _| match (seen.header("authorization"), seen.method.as_str()) {
        (None, _) => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\""),
        _ => Reply::new(202).header("Location", &target),
    })
    .await;
    client_of_ann(&peer).put_blob(&peer.repository(), Bytes::from_static(b"blob")).await.unwrap();
    let seen = storage.seen();
    assert_eq!(seen.iter().map(|seen| seen.method.as_str()).collect::<Vec<_>>(), ["PUT", "GET", "PUT"]);
    assert!(seen.iter().all(|seen| seen.header("authorization").is_none()));
    assert_eq!((seen[2].header("content-range"), &seen[2].body[..]), (Some("2-3"), &b"ob"[..]));
    assert_eq!(peer.seen().iter().filter(|seen| seen.method != "POST").count(), 0);
}

/// A registry that claims to have taken in something else has not taken it in.
#[tokio::test]
async fn claims_about_uploads_are_checked() {
    let peer = Peer::start(|seen, _| match seen.method.as_str() {
        "POST" => Reply::new(202).header("Location", SESSION),
        _ => Reply::new(201).header("Docker-Content-Digest", Digest::of(b"other")),
    })
    .await;
    untrusted(client().put_blob(&peer.repository(), blob(10)).await, "took in");
}
