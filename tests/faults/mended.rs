//! Faults in front of a real registry that the client has to mend: what it asks again, and
//! what then stands.

use std::time::Duration;

use boxwright::adapter::credentials::{Credential, Credentials, Secret};
use boxwright::adapter::registry::Limits;
use boxwright::model::{Digest, MediaType, RawManifest, Repository};
use boxwright::port::{Deleted, Failure, Registry, RegistryReader, RegistryWriter, Whole};
use boxwright_testing::engine::{image, push};
use boxwright_testing::peer::{ANN, Reply, Seen, client, client_with, limits, tag, unreachable, untrusted};
use boxwright_testing::process::Server;
use boxwright_testing::proxy::{Fault, Proxy};
use bytes::Bytes;
use futures_util::TryStreamExt;

const MISSING: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;

/// Bytes of which no two kilobytes are alike.
fn bytes(size: u32) -> Bytes {
    (0..size / 4).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

fn repository(server: &Server) -> Repository {
    Repository::new(&server.host, "a").unwrap()
}

/// A registry whose tokens are good for so many requests each.
async fn guarded(server: &Server, uses: usize) -> Proxy {
    let (mut issued, mut left) = (0, 0);
    Proxy::start(&server.host, move |seen, _| {
        if seen.target.starts_with("/token") {
            assert_eq!(seen.header("authorization"), Some(ANN));
            (issued, left) = (issued + 1, uses);
            return Fault::Instead(
                Reply::new(200).body(format!(r#"{{"token":"t{issued}","expires_in":300}}"#)),
            );
        }
        if seen.header("authorization") == Some(&format!("Bearer t{issued}")) && left > 0 {
            left -= 1;
            return Fault::None;
        }
        let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
        Fault::Instead(Reply::new(401).header("WWW-Authenticate", realm))
    })
    .await
}

/// 1: tokens for one request each carry a whole push, and none is asked for twice in a row.
#[tokio::test]
async fn tokens_for_one_request_carry_a_push() {
    let server = Server::start(&[]);
    for uses in [1, 2, 3] {
        let proxy = guarded(&server, uses).await;
        let credential = Credential::Basic { user: "ann".to_owned(), password: Secret::new("hunter2") };
        let registry = client_with(Credentials::given(&proxy.host, credential), limits());
        let at = proxy.repository("a");
        let made = image(&Default::default(), &format!("tokens {uses}"));
        let digest = push(&registry, &at, &"t".parse().unwrap(), made).await;
        assert_eq!(registry.head(&at, &tag("t")).await.unwrap().as_ref(), Some(&digest));
        let read = client().get(&repository(&server), &tag("t")).await.unwrap();
        assert_eq!(read.unwrap().digest(), &digest);
        let lines = proxy.lines();
        assert!(!lines.windows(2).any(|two| two.iter().all(|line| line.contains("/token"))), "{lines:#?}");
    }
}

/// 8: cut anywhere, an upload ends with the right bytes.
#[tokio::test]
async fn an_upload_cut_at_every_64_kib_arrives() {
    let server = Server::start(&[]);
    let blob = bytes(512 * 1024);
    for cut in (0..8).map(|part| part * 64 * 1024) {
        let mut cuts = 0;
        let proxy = Proxy::start(&server.host, move |seen, _| {
            if seen.length() < 1024 && seen.header("transfer-encoding").is_none() {
                return Fault::None;
            }
            cuts += 1;
            if cuts == 1 { Fault::CutRequest(cut) } else { Fault::None }
        })
        .await;
        let at = proxy.repository(&format!("cut-{cut}"));
        client().push_blob(&at, &Whole::new(blob.clone()), None).await.unwrap();
        let stands = Repository::new(&server.host, at.name()).unwrap();
        let read = client().get_blob(&stands, &Digest::of(&blob), blob.len()).await.unwrap();
        assert_eq!(read.as_ref(), Some(&blob), "cut after {cut}");
        let lines = proxy.lines();
        assert!(lines.len() > 2, "{lines:#?}");
        let sent = proxy.seen().iter().filter(|seen| matches!(seen.method.as_str(), "PUT" | "PATCH")).count();
        assert!(sent >= 2, "nothing was cut: {lines:#?}");
    }
}

/// 9: cut anywhere, a download goes on by a range, and its bytes are right.
#[tokio::test]
async fn a_download_cut_at_every_64_kib_goes_on() {
    let server = Server::start(&[]);
    let blob = bytes(512 * 1024);
    client().put_blob(&repository(&server), blob.clone()).await.unwrap();
    for cut in (1..8).map(|part| part * 64 * 1024) {
        let proxy = Proxy::start(&server.host, move |_, before| match before {
            0 => Fault::CutAnswer(cut),
            _ => Fault::None,
        })
        .await;
        let wanted = Whole::new(blob.clone());
        let wanted = boxwright::port::BlobSource::blob(&wanted);
        let registry = client();
        let stream = registry.open_blob(&proxy.repository("a"), wanted, 0).await.unwrap().unwrap();
        let read: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert_eq!(read.concat(), blob, "cut after {cut}");
        let ranges: Vec<_> =
            proxy.seen().iter().map(|seen| seen.header("range").map(str::to_owned)).collect();
        assert_eq!(ranges.len(), 2);
        assert!(ranges[0].is_none() && ranges[1].as_ref().unwrap().starts_with("bytes="), "{ranges:?}");
    }
}

/// 10, 12, 13: whatever a registry's bytes turn into on their way, none of them are believed.
#[tokio::test]
async fn bytes_that_changed_on_their_way() {
    let server = Server::start(&[]);
    let made = image(&Default::default(), "changed");
    let (config, _, manifest) = made.clone();
    push(&client(), &repository(&server), &"t".parse().unwrap(), made).await;
    let always = async |make: fn() -> Fault| Proxy::start(&server.host, move |_, _| make()).await;
    let flip = || Fault::change(|reply| reply.body.iter_mut().for_each(|byte| *byte ^= 1));
    let longer = || Fault::change(|reply| reply.body.push(b' '));
    let shorter = || Fault::change(|reply| reply.body.truncate(reply.body.len() - 1));
    let claim = || {
        let other = Digest::of(b"other").to_string();
        Fault::change(move |reply| reply.set("docker-content-digest", Some(&other)))
    };
    for make in [flip, longer, shorter, claim] {
        let proxy = always(make).await;
        let (registry, at) = (client(), proxy.repository("a"));
        untrusted(registry.get(&at, &tag("t")).await, "digest");
        untrusted(registry.get(&at, &manifest.digest().clone().into()).await, "digest");
    }
    for make in [flip, shorter] {
        let proxy = always(make).await;
        untrusted(client().get_blob(&proxy.repository("a"), &Digest::of(&config), 10_000).await, "");
    }
    let proxy = always(|| Fault::CutAnswer(10)).await;
    unreachable(client().get(&proxy.repository("a"), &tag("t")).await);
    // What follows an answer on its connection is not the next one's.
    let proxy = always(|| Fault::Overlong).await;
    for _ in 0..3 {
        let read = client().get(&proxy.repository("a"), &tag("t")).await;
        assert!(read.as_ref().is_ok_and(|read| read.as_ref() == Some(&manifest)), "{read:?}");
    }
}

/// 11: a real answer that drips is left at the deadline.
#[tokio::test]
async fn a_dripping_registry_is_left() {
    let server = Server::start(&[]);
    let made = image(&Default::default(), "drip");
    push(&client(), &repository(&server), &"t".parse().unwrap(), made).await;
    let proxy = Proxy::start(&server.host, |_, _| Fault::Drip(Duration::from_secs(1))).await;
    let short = Limits { deadline: Duration::from_millis(1500), ..limits() };
    let began = std::time::Instant::now();
    unreachable(client_with(Default::default(), short).get(&proxy.repository("a"), &tag("t")).await);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// 11: one that is only slow is waited for.
#[tokio::test]
async fn a_slow_registry_is_waited_for() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(&server.host, |_, _| Fault::Late(Duration::from_millis(200))).await;
    let at = proxy.repository("a");
    let digest = push(&client(), &at, &"t".parse().unwrap(), image(&Default::default(), "slow")).await;
    assert_eq!(client().head(&at, &tag("t")).await.unwrap(), Some(digest));
    // Nothing was asked twice: both blobs, the manifest, and the look at it.
    assert_eq!(proxy.lines().len(), 6, "{:#?}", proxy.lines());
}

/// 6: a PUT whose answer is lost, or comes as an error, has taken effect and is repeated.
#[tokio::test]
async fn puts_that_took_effect_are_repeated() {
    let server = Server::start(&[]);
    let lost: [fn() -> Fault; 3] =
        [|| Fault::LostAnswer, || Fault::change(|reply| *reply = Reply::new(502)), || Fault::Twice];
    for (number, make) in lost.into_iter().enumerate() {
        let mut strikes = 0;
        let proxy = Proxy::start(&server.host, move |seen, _| {
            strikes += usize::from(seen.method == "PUT");
            if seen.method == "PUT" && strikes % 2 == 1 { make() } else { Fault::None }
        })
        .await;
        let (registry, at) = (client(), proxy.repository("a"));
        let name = format!("t{number}");
        let made = image(&Default::default(), &format!("effect {number}"));
        let digest = push(&registry, &at, &name.parse().unwrap(), made).await;
        assert_eq!(client().head(&repository(&server), &tag(&name)).await.unwrap(), Some(digest));
    }
}

/// 7: after a 5xx to a DELETE it is known whether the image is gone, and a tag that was moved
/// off it in the meantime stays.
#[tokio::test]
async fn a_delete_of_unknown_outcome_is_looked_up() {
    let server = Server::start(&[]);
    let at = repository(&server);
    let is_delete = |seen: &Seen| seen.method == "DELETE";
    let refused = Proxy::start(&server.host, move |seen, _| match is_delete(seen) {
        true => Fault::Instead(Reply::new(500)),
        false => Fault::None,
    })
    .await;
    let done = Proxy::start(&server.host, move |seen, _| match is_delete(seen) {
        true => Fault::change(|reply| *reply = Reply::new(500)),
        false => Fault::None,
    })
    .await;
    let doomed = push(&client(), &at, &"main".parse().unwrap(), image(&Default::default(), "doomed")).await;
    let answer = client().delete(&refused.repository("a"), &doomed).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(client().head(&at, &tag("main")).await.unwrap().as_ref(), Some(&doomed));
    // Somebody moves the tag; what is asked for is the digest.
    let next = push(&client(), &at, &"main".parse().unwrap(), image(&Default::default(), "next")).await;
    let answer = client().delete(&done.repository("a"), &doomed).await.unwrap();
    assert!(matches!(answer, Deleted::Gone | Deleted::NotFound), "{answer:?}");
    assert_eq!(client().head(&at, &doomed.into()).await.unwrap(), None);
    assert_eq!(client().head(&at, &tag("main")).await.unwrap(), Some(next));
    let deletes = |proxy: &Proxy| proxy.seen().iter().filter(|seen| is_delete(seen)).count();
    assert_eq!((deletes(&refused), deletes(&done)), (1, 1));
}

/// 14: a registry that remembers blobs which are gone says that they are there, takes manifests
/// that need them, and gives nothing. Nobody believes it, and an upload heals it.
#[tokio::test]
async fn a_stale_cache_is_not_believed() {
    let server = Server::start(&["--cache"]);
    let (registry, at) = (client(), repository(&server));
    let (config, layer, manifest) = image(&Default::default(), "stale");
    let t = "t".parse().unwrap();
    let digest = push(&registry, &at, &t, (config.clone(), layer.clone(), manifest.clone())).await;
    registry.delete(&at, &digest).await.unwrap();
    server.collect();
    // The registry would take a broken image now.
    let head =
        reqwest::Client::new().head(format!("http://{}/v2/a/blobs/{}", server.host, Digest::of(&config)));
    assert_eq!(head.send().await.unwrap().status(), 200);
    assert!(!registry.has_blob(&at, &Digest::of(&config)).await.unwrap());
    registry.put(&at, &t.clone().into(), &manifest).await.unwrap();
    assert!(registry.get_blob(&at, &Digest::of(&config), 10_000).await.is_err());
    // Whoever has the bytes brings them, and all is well.
    push(&registry, &at, &t, (config.clone(), layer, manifest)).await;
    let read = registry.get_blob(&at, &Digest::of(&config), 10_000).await.unwrap();
    assert_eq!(read, Some(config));
}

/// 17: whatever stands is found with the types that are asked for, and what does not is missing.
#[tokio::test]
async fn a_real_registry_shows_all_types() {
    let server = Server::start(&[]);
    let (registry, at) = (client(), repository(&server));
    let made = image(&Default::default(), "types");
    let child = made.2.clone();
    push(&registry, &at, &"image".parse().unwrap(), made).await;
    let (digest, size) = (child.digest(), child.bytes().len());
    for media_type in [MediaType::OciIndex, MediaType::DockerList] {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{{"mediaType":"{}","digest":"{digest}","size":{size}}}]}}"#,
            child.media_type()
        );
        let index = RawManifest::new(media_type, text);
        registry.put(&at, &tag("index"), &index).await.unwrap();
        assert_eq!(registry.head(&at, &tag("index")).await.unwrap().as_ref(), Some(index.digest()));
        assert_eq!(registry.get(&at, &tag("index")).await.unwrap(), Some(index));
    }
    assert_eq!(registry.head(&at, &tag("nothing")).await.unwrap(), None);
}

/// 28: a DELETE that says 404 has worked if nothing is there, and a registry that still shows
/// the image has not deleted it.
#[tokio::test]
async fn a_404_to_a_delete_is_not_taken_at_its_word() {
    let server = Server::start(&[]);
    let at = repository(&server);
    let stands = push(&client(), &at, &"t".parse().unwrap(), image(&Default::default(), "stands")).await;
    let proxy = Proxy::start(&server.host, |seen, _| match seen.method.as_str() {
        "DELETE" => Fault::Instead(Reply::new(404).body(MISSING)),
        _ => Fault::None,
    })
    .await;
    let answer = client().delete(&proxy.repository("a"), &stands).await;
    let head = client().head(&proxy.repository("a"), &stands.clone().into()).await.unwrap();
    assert_eq!(head.as_ref(), Some(&stands));
    untrusted(answer, "it is here, and it is not");
    assert_eq!(client().delete(&at, &Digest::of(b"nothing")).await.unwrap(), Deleted::NotFound);
}

/// 33: a registry mounts, or says 202, or 401: the blob is there in the end.
#[tokio::test]
async fn mounts_that_are_declined_are_uploads() {
    let server = Server::start(&[]);
    let blob = Whole::new(bytes(100_000));
    let digest = boxwright::port::BlobSource::blob(&blob).digest.clone();
    client().push_blob(&repository(&server), &blob, None).await.unwrap();
    let decline: [fn(&mut Reply); 2] = [|_| {}, |reply| *reply = Reply::new(401)];
    for (number, change) in decline.into_iter().enumerate() {
        let proxy = Proxy::start(&server.host, move |seen, _| match seen.target.contains("mount=") {
            true if number == 1 => Fault::change(change),
            _ => Fault::None,
        })
        .await;
        let to = proxy.repository(&format!("b{number}"));
        client().push_blob(&to, &blob, Some(&proxy.repository("a"))).await.unwrap();
        assert!(
            client().has_blob(&Repository::new(&server.host, to.name()).unwrap(), &digest).await.unwrap()
        );
        assert!(proxy.lines()[0].contains("mount="), "{:?}", proxy.lines());
        assert_eq!(proxy.lines().iter().any(|line| line.starts_with("PUT")), number == 1);
    }
}

/// 2: a refusal is final and names the repository.
#[tokio::test]
async fn a_refusal_names_the_repository() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(&server.host, |_, _| {
        let body = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
        Fault::Instead(Reply::new(403).body(body))
    })
    .await;
    let at = proxy.repository("team/box");
    let error = client().put_blob(&at, Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Denied { .. }), "{error}");
    assert!(error.to_string().contains("team/box") && error.to_string().contains("DENIED"), "{error}");
    assert_eq!(proxy.lines().len(), 1);
}
