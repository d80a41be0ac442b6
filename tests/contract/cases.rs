//! What every registry does.

use boxwright::model::{Digest, MediaType, RawManifest, Repository, Tag};
use boxwright::port::{Deleted, Failure, Reference, Registry, RegistryError, RegistryReader};
use bytes::Bytes;
use futures_util::future::try_join_all;

pub fn repository(host: &str, name: &str) -> Repository {
    Repository::new(host, name).unwrap()
}

pub fn tag(text: &str) -> Reference {
    Reference::Tag(text.parse().unwrap())
}

pub fn by_digest(manifest: &RawManifest) -> Reference {
    Reference::Digest(manifest.digest().clone())
}

fn descriptor(media_type: &str, bytes: &[u8]) -> String {
    let (digest, size) = (Digest::of(bytes), bytes.len());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

/// An image with one layer, spaced as no serialiser would.
pub fn image(media_type: MediaType, layer: &str) -> RawManifest {
    let (config_type, layer_type) = match media_type {
        MediaType::DockerManifest => (
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
        _ => ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"),
    };
    let (config, layer) = (descriptor(config_type, b"{}"), descriptor(layer_type, layer.as_bytes()));
    let text = format!(
        "{{  \"schemaVersion\": 2,\n\t\"mediaType\":\"{media_type}\",\"config\":{config},\r\n\"layers\":[{layer}] }} \n"
    );
    RawManifest::new(media_type, text)
}

pub fn index(media_type: MediaType, children: &[&RawManifest]) -> RawManifest {
    let children: Vec<_> = children
        .iter()
        .map(|child| {
            let plain = descriptor(child.media_type().as_str(), child.bytes());
            plain.replace('}', r#","platform":{"os":"linux","architecture":"amd64"}}"#)
        })
        .collect();
    let children = children.join(",");
    let text = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{children}]}}"#);
    RawManifest::new(media_type, text)
}

/// Uploads the blobs of [`image`] and puts it.
pub async fn push(registry: &dyn Registry, to: &Repository, at: &Reference, layer: &str) -> RawManifest {
    let image = image(MediaType::OciManifest, layer);
    push_image(registry, to, at, &image, layer).await;
    image
}

async fn push_image(
    registry: &dyn Registry,
    to: &Repository,
    at: &Reference,
    image: &RawManifest,
    layer: &str,
) {
    registry.put_blob(to, Bytes::from_static(b"{}")).await.unwrap();
    registry.put_blob(to, Bytes::from(layer.to_owned())).await.unwrap();
    registry.put(to, at, image).await.unwrap();
}

pub async fn tags(registry: &dyn RegistryReader, repository: &Repository) -> Vec<String> {
    let list = registry.tags(repository).await.unwrap();
    assert_eq!(list.invalid, [""; 0]);
    list.tags.iter().map(Tag::to_string).collect()
}

/// Checks a refusal: a 400 with this code.
pub fn refused<T: std::fmt::Debug>(result: Result<T, RegistryError>, code: &str) {
    match result {
        Err(RegistryError { failure: Failure::Status { status: 400, detail }, .. }) => {
            assert!(detail.starts_with(&format!("{code}: ")), "{detail}");
        }
        other => panic!("expected {code}, got {other:?}"),
    }
}

pub async fn what_is_absent_is_none(registry: &dyn Registry, host: &str) {
    let (there, nowhere) = (repository(host, "absent/there"), repository(host, "absent/nowhere"));
    push(registry, &there, &tag("a"), "layer").await;
    let digest = Digest::of(b"never seen");
    for repository in [&there, &nowhere] {
        for at in [tag("b"), digest.clone().into()] {
            assert_eq!(registry.head(repository, &at).await.unwrap(), None);
            assert_eq!(registry.get(repository, &at).await.unwrap(), None);
        }
        assert!(!registry.has_blob(repository, &digest).await.unwrap());
        assert_eq!(registry.get_blob(repository, &digest, 100).await.unwrap(), None);
        assert_eq!(registry.delete(repository, &digest).await.unwrap(), Deleted::NotFound);
    }
    assert_eq!(tags(registry, &nowhere).await, [""; 0]);
    assert_eq!(tags(registry, &there).await, ["a"]);
}

pub async fn bytes_come_back_as_they_were(registry: &dyn Registry, host: &str) {
    let to = repository(host, "bytes");
    let image = push(registry, &to, &tag("v1"), "layer").await;
    for at in [tag("v1"), by_digest(&image)] {
        let read = registry.get(&to, &at).await.unwrap().unwrap();
        assert_eq!((read.bytes(), read.media_type()), (image.bytes(), image.media_type()));
        assert_eq!(registry.head(&to, &at).await.unwrap().as_ref(), Some(image.digest()));
    }
    let index = index(MediaType::OciIndex, &[&image]);
    registry.put(&to, &tag("multi"), &index).await.unwrap();
    assert_eq!(registry.get(&to, &tag("multi")).await.unwrap(), Some(index));
}

pub async fn docker_types_keep_their_type(registry: &dyn Registry, host: &str) {
    let to = repository(host, "docker");
    let image = image(MediaType::DockerManifest, "layer");
    push_image(registry, &to, &tag("one"), &image, "layer").await;
    let list = index(MediaType::DockerList, &[&image]);
    registry.put(&to, &tag("list"), &list).await.unwrap();
    for (name, expect) in [("one", &image), ("list", &list)] {
        let read = registry.get(&to, &tag(name)).await.unwrap().unwrap();
        assert_eq!(&read, expect, "{name}");
        assert!(read.document().is_ok());
        assert_eq!(registry.head(&to, &tag(name)).await.unwrap().as_ref(), Some(expect.digest()));
    }
}

pub async fn records_are_taken_in(registry: &dyn Registry, host: &str) {
    let ledger = repository(host, "ledger");
    let empty = descriptor("application/vnd.oci.empty.v1+json", b"{}");
    let record = |note: &str| {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"application/vnd.boxwright.lease.v1+json","config":{empty},"layers":[{empty}],"annotations":{{"note":"{note}"}}}}"#,
            MediaType::OciManifest
        );
        RawManifest::new(MediaType::OciManifest, text)
    };
    registry.put_blob(&ledger, Bytes::from_static(b"{}")).await.unwrap();
    let (one, two) = (record("one"), record("two ä\\n"));
    registry.put(&ledger, &tag("lease.20261121T074400Z.run-1.abc"), &one).await.unwrap();
    registry.put(&ledger, &tag("lease.20261121T074400Z.run-2.abc"), &two).await.unwrap();
    registry.delete(&ledger, one.digest()).await.unwrap();
    assert_eq!(tags(registry, &ledger).await, ["lease.20261121T074400Z.run-2.abc"]);
    assert_eq!(registry.get(&ledger, &by_digest(&two)).await.unwrap(), Some(two));
}

pub async fn retagging_raw_bytes_keeps_the_digest(registry: &dyn Registry, host: &str) {
    let to = repository(host, "retag");
    let image = push(registry, &to, &tag("k-1"), "layer").await;
    let read = registry.get(&to, &tag("k-1")).await.unwrap().unwrap();
    registry.put(&to, &tag("main"), &read).await.unwrap();
    assert_eq!(registry.head(&to, &tag("main")).await.unwrap().as_ref(), Some(image.digest()));
    assert_eq!(tags(registry, &to).await, ["k-1", "main"]);
}

pub async fn a_digest_can_be_put_without_a_tag(registry: &dyn Registry, host: &str) {
    let to = repository(host, "untagged");
    let first = push(registry, &to, &tag("a"), "first").await;
    let second = image(MediaType::OciManifest, "second");
    push_image(registry, &to, &by_digest(&second), &second, "second").await;
    assert_eq!(registry.get(&to, &by_digest(&second)).await.unwrap().as_ref(), Some(&second));
    assert_eq!(tags(registry, &to).await, ["a"]);
    refused(registry.put(&to, &by_digest(&first), &second).await, "DIGEST_INVALID");
}

pub async fn the_last_writer_of_a_tag_wins(registry: &dyn Registry, host: &str) {
    let to = repository(host, "moved");
    let first = push(registry, &to, &tag("main"), "first").await;
    let second = push(registry, &to, &tag("main"), "second").await;
    assert_eq!(registry.head(&to, &tag("main")).await.unwrap().as_ref(), Some(second.digest()));
    assert_eq!(registry.get(&to, &by_digest(&first)).await.unwrap(), Some(first));
}

pub async fn a_delete_takes_all_tags_along(registry: &dyn Registry, host: &str) {
    let to = repository(host, "deleted");
    let gone = push(registry, &to, &tag("k-1"), "gone").await;
    registry.put(&to, &tag("release"), &gone).await.unwrap();
    let kept = push(registry, &to, &tag("kept"), "kept").await;
    assert_eq!(tags(registry, &to).await, ["k-1", "kept", "release"]);
    assert_eq!(registry.delete(&to, gone.digest()).await.unwrap(), Deleted::Gone);
    for at in [tag("k-1"), tag("release"), by_digest(&gone)] {
        assert_eq!(registry.head(&to, &at).await.unwrap(), None, "{at}");
    }
    assert_eq!(tags(registry, &to).await, ["kept"]);
    assert_eq!(registry.delete(&to, gone.digest()).await.unwrap(), Deleted::NotFound);
    assert_eq!(registry.delete(&to, kept.digest()).await.unwrap(), Deleted::Gone);
    assert_eq!(tags(registry, &to).await, [""; 0]);
    // The blobs are still there, so it can come back by one PUT.
    registry.put(&to, &tag("again"), &gone).await.unwrap();
    assert_eq!(tags(registry, &to).await, ["again"]);
}

pub async fn a_child_can_be_deleted_under_its_index(registry: &dyn Registry, host: &str) {
    let to = repository(host, "dangling");
    let child = push(registry, &to, &tag("child"), "layer").await;
    let index = index(MediaType::OciIndex, &[&child]);
    registry.put(&to, &tag("multi"), &index).await.unwrap();
    assert_eq!(registry.delete(&to, child.digest()).await.unwrap(), Deleted::Gone);
    assert_eq!(tags(registry, &to).await, ["multi"]);
    assert_eq!(registry.get(&to, &tag("multi")).await.unwrap(), Some(index));
    assert_eq!(registry.get(&to, &by_digest(&child)).await.unwrap(), None);
}

pub async fn missing_parts_are_refused(registry: &dyn Registry, host: &str) {
    let to = repository(host, "incomplete");
    let image = image(MediaType::OciManifest, "layer");
    registry.put_blob(&to, Bytes::from_static(b"{}")).await.unwrap();
    refused(registry.put(&to, &tag("a"), &image).await, "MANIFEST_BLOB_UNKNOWN");
    let index = index(MediaType::OciIndex, &[&image]);
    refused(registry.put(&to, &tag("b"), &index).await, "MANIFEST_BLOB_UNKNOWN");
    for at in [tag("a"), tag("b"), by_digest(&image), by_digest(&index)] {
        assert_eq!(registry.get(&to, &at).await.unwrap(), None, "{at}");
    }
    assert_eq!(tags(registry, &to).await, [""; 0]);
    registry.put_blob(&to, Bytes::from_static(b"layer")).await.unwrap();
    registry.put(&to, &tag("a"), &image).await.unwrap();
    registry.put(&to, &tag("b"), &index).await.unwrap();
    assert_eq!(tags(registry, &to).await, ["a", "b"]);
}

pub async fn what_is_no_manifest_is_refused(registry: &dyn Registry, host: &str) {
    let to = repository(host, "junk");
    let good = push(registry, &to, &tag("good"), "layer").await;
    let not_json = RawManifest::new(MediaType::OciManifest, "<html>");
    let other_type = RawManifest::new(MediaType::DockerManifest, good.bytes().clone());
    for junk in [not_json, other_type] {
        refused(registry.put(&to, &tag("junk"), &junk).await, "MANIFEST_INVALID");
    }
    assert_eq!(tags(registry, &to).await, ["good"]);
}

pub async fn bytes_that_are_no_text_are_kept(registry: &dyn Registry, host: &str) {
    let to = repository(host, "binary");
    let good = push(registry, &to, &tag("good"), "layer").await;
    let text = std::str::from_utf8(good.bytes()).unwrap();
    let (head, _) = text.trim_end().rsplit_once('}').unwrap();
    let bytes = [head.as_bytes(), b",\"annotations\":{\"a\":\"\xff\"}}"].concat();
    let odd = RawManifest::new(MediaType::OciManifest, bytes);
    registry.put(&to, &tag("odd"), &odd).await.unwrap();
    let read = registry.get(&to, &tag("odd")).await.unwrap();
    assert!(read.as_ref().is_some_and(|read| read.document().is_err()));
    assert_eq!(read, Some(odd));
}

pub async fn blobs_belong_to_a_repository(registry: &dyn Registry, host: &str) {
    let (to, other) = (repository(host, "blobs/one"), repository(host, "blobs/two"));
    let bytes: Bytes = (0..=255).cycle().take(100_000).collect::<Vec<u8>>().into();
    assert!(!registry.has_blob(&to, &Digest::of(&bytes)).await.unwrap());
    let digest = registry.put_blob(&to, bytes.clone()).await.unwrap();
    assert_eq!(digest, Digest::of(&bytes));
    // Again is as good as once.
    assert_eq!(registry.put_blob(&to, bytes.clone()).await.unwrap(), digest);
    assert!(registry.has_blob(&to, &digest).await.unwrap());
    assert_eq!(registry.get_blob(&to, &digest, bytes.len()).await.unwrap(), Some(bytes.clone()));
    let error = registry.get_blob(&to, &digest, bytes.len() - 1).await.unwrap_err();
    assert!(matches!(error.failure, Failure::TooLong { .. }), "{error}");
    assert!(!registry.has_blob(&other, &digest).await.unwrap());
    assert_eq!(registry.get_blob(&other, &digest, bytes.len()).await.unwrap(), None);
    assert_eq!(tags(registry, &to).await, [""; 0]);
}

pub async fn many_at_once(registry: &dyn Registry, host: &str) {
    let to = repository(host, "many");
    let image = push(registry, &to, &tag("t-00"), "layer").await;
    let names: Vec<_> = (0..100).map(|number| format!("t-{number:02}")).collect();
    let puts = names.iter().map(|name| {
        let (to, image, at) = (&to, &image, tag(name));
        async move { registry.put(to, &at, image).await }
    });
    try_join_all(puts).await.unwrap();
    assert_eq!(tags(registry, &to).await, names);
}
