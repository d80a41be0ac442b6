//! Images that are copied within a registry and from one to another.

use boxwright::adapter::memory::{Fault, MemoryRegistry, Verb};
use boxwright::exec::{CopyError, Place, Target, copy};
use boxwright::model::{Digest, MediaType};
use boxwright::port::{Failure, Registry, RegistryReader, RegistryWriter};
use bytes::Bytes;

use crate::cases::{by_digest, index, push, repository, tag, tags};

pub async fn an_image_is_copied_with_all_it_needs(registry: &dyn Registry, host: &str) {
    let (from, to) = (repository(host, "copies/from"), repository(host, "copies/to"));
    let child = push(registry, &from, &tag("child"), "layer").await;
    let whole = index(MediaType::OciIndex, &[&child]);
    registry.put(&from, &tag("v1"), &whole).await.unwrap();
    // To another repository, and on to another registry and back.
    let elsewhere = MemoryRegistry::new();
    let (near, other) = (repository(host, "copies/near"), repository("elsewhere.example", "a"));
    let place = |repository| Place { registry, repository };
    let target = |repository| Target { registry, repository };
    let far = Place { registry: &elsewhere, repository: &other };
    let to_far = Target { registry: &elsewhere, repository: &other };
    let v2 = "v2".parse().unwrap();
    for (source, target) in [(place(&from), target(&near)), (place(&near), to_far), (far, target(&to))] {
        let at = if source.repository == &from { tag("v1") } else { tag("v2") };
        assert_eq!(&copy(source, &at, target, Some(&v2)).await.unwrap(), whole.digest());
        assert_eq!(tags(target.registry, target.repository).await, ["v2"]);
        assert_eq!(target.registry.get(target.repository, &tag("v2")).await.unwrap(), Some(whole.clone()));
        assert_eq!(
            target.registry.get(target.repository, &by_digest(&child)).await.unwrap(),
            Some(child.clone())
        );
        let layer = target.registry.get_blob(target.repository, &Digest::of(b"layer"), 100).await.unwrap();
        assert_eq!(layer, Some(Bytes::from_static(b"layer")));
    }
    let absent = copy(place(&from), &tag("v9"), target(&to), None).await.unwrap_err();
    assert!(matches!(absent, CopyError::Missing { .. }), "{absent}");
}

/// 38: a registry that says it has the blobs, and refuses the manifest for want of one, gets
/// all of them, whatever it says.
#[tokio::test]
async fn what_a_registry_wrongly_says_it_has_is_sent() {
    let registry = MemoryRegistry::new();
    let (from, to) = (repository("memory.example", "from"), repository("memory.example", "to"));
    let one = push(&registry, &from, &tag("v1"), "layer").await;
    for blob in ["{}", "layer"] {
        registry.put_blob(&to, Bytes::from(blob)).await.unwrap();
    }
    let place = |repository| Place { registry: &registry, repository };
    let target = |repository| Target { registry: &registry, repository };
    let refused = |code: &str| Fault::Before(Failure::Status { status: 400, detail: format!("{code}: no") });
    registry.break_next(Verb::Put, Some(&to), refused("MANIFEST_BLOB_UNKNOWN"));
    registry.clear_log();
    copy(place(&from), &tag("v1"), target(&to), Some(&"v1".parse().unwrap())).await.unwrap();
    let verbs: Vec<_> = registry
        .log()
        .iter()
        .filter(|asked| asked.repository.as_ref() == Some(&to))
        .map(|asked| asked.verb)
        .collect();
    use Verb::{HasBlob, Put, PutBlob};
    assert_eq!(verbs, [HasBlob, HasBlob, Put, PutBlob, PutBlob, Put, Put]);
    assert_eq!(registry.get(&to, &tag("v1")).await.unwrap(), Some(one));
    // It is done once, and for nothing else.
    registry.break_next(Verb::Put, Some(&to), refused("MANIFEST_BLOB_UNKNOWN"));
    registry.break_next(Verb::Put, Some(&to), refused("MANIFEST_BLOB_UNKNOWN"));
    copy(place(&from), &tag("v1"), target(&to), None).await.unwrap_err();
    registry.break_next(Verb::Put, Some(&to), refused("MANIFEST_INVALID"));
    registry.clear_log();
    copy(place(&from), &tag("v1"), target(&to), None).await.unwrap_err();
    assert!(!registry.log().iter().any(|asked| asked.verb == PutBlob));
}

/// 34: indexes in indexes are copied as deep as they lie for a reason, and no deeper.
#[tokio::test]
async fn indexes_lie_only_so_deep() {
    let registry = MemoryRegistry::new();
    let (from, to) = (repository("memory.example", "from"), repository("memory.example", "to"));
    let mut whole = push(&registry, &from, &tag("image"), "layer").await;
    let place = |repository| Place { registry: &registry, repository };
    let target = |repository| Target { registry: &registry, repository };
    for depth in 1..=5 {
        whole = index(MediaType::OciIndex, &[&whole]);
        registry.put(&from, &tag("v1"), &whole).await.unwrap();
        let copied = copy(place(&from), &tag("v1"), target(&to), Some(&"v1".parse().unwrap())).await;
        match depth {
            5 => assert!(matches!(copied, Err(CopyError::TooDeep { .. })), "{copied:?}"),
            _ => assert_eq!(&copied.unwrap(), whole.digest()),
        }
        let stands = registry.head(&to, &tag("v1")).await.unwrap();
        assert_eq!(stands.as_ref() == Some(whole.digest()), depth < 5);
    }
}
