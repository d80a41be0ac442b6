//! Downloads that are cut, too long, too short, or of something else.

use boxwright::model::Digest;
use boxwright::port::{Blob, RegistryError, RegistryReader};
use boxwright_testing::peer::{Peer, Reply, client, client_with, limits, status, unreachable, untrusted};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

fn bytes() -> Bytes {
    (0..200_000_u32).map(|at| (at ^ (at >> 8)).to_le_bytes()[0]).collect::<Vec<_>>().into()
}

fn blob() -> Blob {
    Blob { digest: Digest::of(&bytes()), size: 200_000 }
}

async fn read(peer: &Peer, from: u64) -> Result<Bytes, RegistryError> {
    let registry = client();
    let pieces = registry.open_blob(&peer.repository(), &blob(), from).await?.expect("it is there");
    let pieces: Vec<Bytes> = pieces.try_collect().await?;
    Ok(pieces.concat().into())
}

fn range(seen: &boxwright_testing::peer::Seen) -> usize {
    let range = seen.header("range").map(|range| range.trim_start_matches("bytes=").trim_end_matches('-'));
    range.map_or(0, |from| from.parse().unwrap())
}

fn part(from: usize, to: usize) -> Reply {
    let reply = match from {
        0 => Reply::new(200),
        from => Reply::new(206).header("Content-Range", format!("bytes {from}-199999/200000")),
    };
    reply.body(bytes()[from..to].to_vec())
}

/// 9: what was cut is taken up where it was.
#[tokio::test]
async fn a_cut_download_goes_on_where_it_was() {
    let peer = Peer::start(|seen, _| {
        let from = range(seen);
        let to = (from + 60_000).min(200_000);
        part(from, to).announcing(200_000 - from)
    })
    .await;
    assert_eq!(read(&peer, 0).await.unwrap(), bytes());
    let from: Vec<_> = peer.seen().iter().map(range).collect();
    assert_eq!(from, [0, 60_000, 120_000, 180_000]);
    assert_eq!(read(&peer, 150_000).await.unwrap(), bytes().slice(150_000..));
}

/// 9, 10: the hash is over all bytes, whichever connection they came by.
#[tokio::test]
async fn pieces_of_something_else_do_not_add_up() {
    for wrong in [7, 199_000] {
        let peer = Peer::start(move |seen, before| {
            let from = range(seen);
            let to = if before == 0 { 60_000 } else { 200_000 };
            let mut reply = part(from, to).announcing(200_000 - from);
            if (from..to).contains(&wrong) {
                reply.body[wrong - from] ^= 1;
            }
            reply
        })
        .await;
        untrusted(read(&peer, 0).await, "its bytes are not those of");
        assert_eq!(peer.count(), 2);
    }
}

/// 9: a registry without ranges gives everything again, of which only the rest is taken.
#[tokio::test]
async fn registries_without_ranges() {
    let peer = Peer::start(|_, before| match before {
        0 => part(0, 60_000).announcing(200_000),
        _ => part(0, 200_000),
    })
    .await;
    assert_eq!(read(&peer, 0).await.unwrap(), bytes());
    assert_eq!(peer.count(), 2);
    // A range that was not asked for.
    let peer = Peer::start(|_, before| match before {
        0 => part(0, 60_000).announcing(200_000),
        _ => part(70_000, 200_000),
    })
    .await;
    untrusted(read(&peer, 0).await, "does not fit");
}

/// 9: what never gets on ends.
#[tokio::test]
async fn a_download_that_does_not_get_on_ends() {
    let peer = Peer::start(|seen, _| part(range(seen), range(seen)).announcing(200_000 - range(seen))).await;
    unreachable(read(&peer, 0).await);
    assert_eq!(peer.count(), 5);
    let peer = Peer::start(|_, before| match before {
        0 => part(0, 60_000).announcing(200_000),
        _ => Reply::new(404),
    })
    .await;
    untrusted(read(&peer, 0).await, "is no more");
    let peer = Peer::start(|_, before| match before {
        0 => part(0, 60_000).announcing(200_000),
        _ => Reply::new(403),
    })
    .await;
    assert!(read(&peer, 0).await.unwrap_err().failure.is_denied());
    let peer = Peer::start(|_, _| Reply::new(503)).await;
    status(read(&peer, 0).await, 503);
}

/// 13: bytes that are not the blob's are told before the last of them are handed out; 10, 14:
/// so are lengths that are not its length.
#[tokio::test]
async fn bytes_of_something_else() {
    let mut other = bytes().to_vec();
    other[7] ^= 1;
    let peer = Peer::start(move |_, _| Reply::new(200).body(other.clone())).await;
    let registry = client();
    let mut pieces = registry.open_blob(&peer.repository(), &blob(), 0).await.unwrap().unwrap();
    let (mut handed, mut last) = (0, None);
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => handed += piece.len(),
            Err(error) => last = Some(error),
        }
    }
    assert!(handed < 200_000);
    untrusted::<()>(Err(last.unwrap()), "its bytes are not those of");
    for length in [0, 199_999, 200_001] {
        let mut body = bytes().to_vec();
        body.resize(length, 0);
        let sized = body.clone();
        let peer = Peer::start(move |_, _| Reply::new(200).body(sized.clone())).await;
        untrusted(read(&peer, 0).await, "does not fit a blob of 200000 bytes");
        assert_eq!(peer.count(), 1);
        // The same without saying so beforehand.
        let peer = Peer::start(move |_, _| Reply::new(200).body(body.clone()).unsized_body()).await;
        match length {
            200_001 => untrusted(read(&peer, 0).await, "longer than 200000 bytes"),
            _ => assert!(read(&peer, 0).await.is_err(), "{length}"),
        }
    }
}

/// 11: one that falls silent is taken up again.
#[tokio::test]
async fn a_silent_download_is_taken_up_again() {
    let peer = Peer::start(|seen, before| match before {
        0 => part(0, 60_000).announcing(200_000).then_silent(),
        _ => part(range(seen), 200_000),
    })
    .await;
    let mut short = limits();
    short.idle = std::time::Duration::from_millis(200);
    let registry = client_with(Default::default(), short);
    let pieces = registry.open_blob(&peer.repository(), &blob(), 0).await.unwrap().unwrap();
    let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), bytes());
    assert_eq!(peer.count(), 2);
}

/// 11: one that drips is left as one that is silent is, and no number of beginnings makes up
/// for it.
#[tokio::test]
async fn a_dripping_download_ends() {
    let peer = Peer::start(|seen, _| part(range(seen), 200_000).dripping()).await;
    let mut short = limits();
    (short.idle, short.least) = (std::time::Duration::from_millis(200), 20);
    let registry = client_with(Default::default(), short);
    let pieces = registry.open_blob(&peer.repository(), &blob(), 0).await.unwrap().unwrap();
    let outcome: Result<Vec<Bytes>, _> = pieces.try_collect().await;
    let text = outcome.unwrap_err().to_string();
    assert!(text.contains("next to nothing in 200ms"), "{text}");
    assert_eq!(peer.count(), 5);
}

/// 1, 29: what is taken up again asks the registry again, with a fresh token, and the storage
/// it leads to gets none.
#[tokio::test]
async fn a_download_is_taken_up_again_with_a_fresh_token() {
    let storage = Peer::start(|seen, before| match before {
        0 => part(0, 60_000).announcing(200_000),
        _ => part(range(seen), 200_000),
    })
    .await;
    let target = format!("http://{}/bucket/blob?signature=s", storage.host);
    let (mut issued, mut used) = (0, 0);
    let peer = Peer::start(move |seen, _| {
        if seen.target.starts_with("/token") {
            issued += 1;
            return Reply::new(200).body(format!(r#"{{"token":"t{issued}"}}"#));
        }
        // Each token is good for one request.
        if seen.header("authorization") == Some(&format!("Bearer t{issued}")) && used < issued {
            used = issued;
            return Reply::new(307).header("Location", &target);
        }
        let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
        Reply::new(401).header("WWW-Authenticate", realm)
    })
    .await;
    assert_eq!(read(&peer, 0).await.unwrap(), bytes());
    assert_eq!(storage.seen().iter().map(range).collect::<Vec<_>>(), [0, 60_000]);
    assert!(storage.seen().iter().all(|seen| seen.header("authorization").is_none()));
    let shown: Vec<_> =
        peer.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    // Without, the first token fetched and shown; the same again, the second fetched and shown.
    assert_eq!(shown, [None, None, bearer("t1"), bearer("t1"), None, bearer("t2")]);
}
