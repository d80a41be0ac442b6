//! Removing one tag from registries that take a DELETE in different ways.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use boxwright::model::{Digest, RawManifest};
use boxwright::port::{DeleteSupport, Deleted, Registry};
use boxwright_testing::peer::{Peer, Reply, client, manifest};

/// How a registry takes `DELETE /manifests/<tag>`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Takes {
    /// Not at all.
    Nothing,
    /// As one of the tag.
    Tag,
    /// As one of the manifest, with all its tags.
    Manifest,
    /// As one of the tag, and what is left without tags goes too.
    LastTag,
}

#[derive(Default)]
struct Store {
    manifests: BTreeMap<String, Vec<u8>>,
    tags: BTreeMap<String, String>,
}

/// A registry that holds one image under `doomed` and `release`.
async fn registry(takes: Takes, deletes: bool) -> (Peer, Arc<Mutex<Store>>) {
    let image = manifest();
    let digest = image.digest().to_string();
    let mut store = Store::default();
    store.manifests.insert(digest.clone(), image.bytes().to_vec());
    for tag in ["doomed", "release"] {
        store.tags.insert(tag.to_owned(), digest.clone());
    }
    let store = Arc::new(Mutex::new(store));
    let shared = store.clone();
    let peer = Peer::start(move |seen, _| {
        let Store { manifests, tags } = &mut *shared.lock().unwrap();
        let Some((_, at)) = seen.target.split_once("/manifests/") else {
            return match seen.method.as_str() {
                "POST" => Reply::new(202).header("Location", "/up"),
                _ => Reply::new(201),
            };
        };
        let at = at.to_owned();
        let is_tag = !at.contains(':');
        let digest = if is_tag { tags.get(&at).cloned() } else { Some(at.clone()) };
        let found = digest.filter(|digest| manifests.contains_key(digest));
        match (seen.method.as_str(), found) {
            ("PUT", _) => {
                let digest = Digest::of(&seen.body).to_string();
                manifests.insert(digest.clone(), seen.body.clone());
                tags.insert(at, digest);
                Reply::new(201)
            }
            ("DELETE", _) if !deletes || (is_tag && takes == Takes::Nothing) => Reply::new(405),
            (_, None) => Reply::new(404),
            ("DELETE", Some(digest)) => {
                if is_tag && takes != Takes::Manifest {
                    tags.remove(&at);
                    if takes == Takes::LastTag && !tags.values().any(|other| *other == digest) {
                        manifests.remove(&digest);
                    }
                } else {
                    manifests.remove(&digest);
                    tags.retain(|_, other| *other != digest);
                }
                Reply::new(202)
            }
            (_, Some(digest)) => {
                Reply::manifest(&RawManifest::new(manifest().media_type(), manifests[&digest].clone()))
            }
        }
    })
    .await;
    (peer, store)
}

/// 27: whatever a registry takes a DELETE for, one tag goes and the other stays.
#[tokio::test]
async fn one_tag_goes_wherever_anything_can_be_deleted() {
    for takes in [Takes::Nothing, Takes::Tag, Takes::Manifest, Takes::LastTag] {
        let (peer, store) = registry(takes, true).await;
        let (client, at) = (client(), peer.repository());
        assert_eq!(client.deleting(&at).await.unwrap(), DeleteSupport::Manifests);
        assert_eq!(client.untag(&at, &"doomed".parse().unwrap()).await.unwrap(), Deleted::Gone, "{takes:?}");
        {
            let store = store.lock().unwrap();
            assert_eq!(store.tags.keys().collect::<Vec<_>>(), ["release"], "{takes:?}");
            assert_eq!(
                store.manifests.keys().collect::<Vec<_>>(),
                [manifest().digest().as_str()],
                "{takes:?}"
            );
        }
        // What was seen decides how the next one goes.
        let before = peer.count();
        client.untag(&at, &"release".parse().unwrap()).await.unwrap();
        assert!(store.lock().unwrap().tags.is_empty());
        let lines = peer.lines().split_off(before);
        match takes {
            Takes::Tag => {
                assert_eq!(client.deleting(&at).await.unwrap(), DeleteSupport::Tags);
                assert_eq!(lines, ["DELETE /v2/a/manifests/release"]);
            }
            _ => {
                assert_eq!(client.deleting(&at).await.unwrap(), DeleteSupport::Manifests);
                // The image itself was never named.
                assert!(!lines.iter().any(|line| line.contains(manifest().digest().as_str())), "{lines:?}");
            }
        }
    }
}

/// 27: where nothing can be deleted nothing is touched.
#[tokio::test]
async fn where_nothing_can_be_deleted_nothing_is_touched() {
    let (peer, store) = registry(Takes::Nothing, false).await;
    let (client, at) = (client(), peer.repository());
    for _ in 0..2 {
        assert_eq!(client.untag(&at, &"doomed".parse().unwrap()).await.unwrap(), Deleted::Unsupported);
        assert_eq!(client.deleting(&at).await.unwrap(), DeleteSupport::Nothing);
    }
    assert_eq!(store.lock().unwrap().tags.len(), 2);
    let writes = peer.lines().iter().filter(|line| !line.starts_with("GET ")).count();
    assert_eq!(writes, 1, "{:?}", peer.lines());
    assert_eq!(client.untag(&at, &"never".parse().unwrap()).await.unwrap(), Deleted::NotFound);
}
