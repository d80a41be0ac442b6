//! What every registry does with blobs of any size, with referrers and with single tags.

use async_trait::async_trait;
use boxwright::model::{Digest, MediaType, RawManifest, Repository, Tag};
use boxwright::port::{
    Blob, BlobSource, BlobStream, DeleteSupport, Deleted, Failure, Pushed, Registry, RegistryError, Whole,
};
use bytes::Bytes;
use futures_util::TryStreamExt as _;

use crate::cases::{by_digest, image, index, push, refused, repository, tag, tags};

/// Five megabytes and a bit, in which no two kilobytes are alike.
fn large() -> Bytes {
    let bytes: Vec<u8> =
        (0..1_300_000_u32).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    bytes.into()
}

async fn read(
    registry: &dyn Registry,
    at: &Repository,
    blob: &Blob,
    from: u64,
) -> Result<Vec<u8>, RegistryError> {
    let pieces: Vec<Bytes> = registry.open_blob(at, blob, from).await?.unwrap().try_collect().await?;
    Ok(pieces.concat())
}

pub async fn blobs_of_any_size_stream_both_ways(registry: &dyn Registry, host: &str) {
    let to = repository(host, "streams");
    for bytes in [large(), Bytes::from_static(b"x"), Bytes::new()] {
        let source = Whole::new(bytes.clone());
        let blob = source.blob();
        assert!(registry.open_blob(&to, blob, 0).await.unwrap().is_none());
        for _ in 0..2 {
            assert_eq!(registry.push_blob(&to, &source, None).await.unwrap(), Pushed::Sent);
        }
        assert!(registry.has_blob(&to, &blob.digest).await.unwrap());
        for from in [0, blob.size / 2, blob.size.saturating_sub(1), blob.size] {
            let rest = &bytes[usize::try_from(from).unwrap()..];
            assert_eq!(read(registry, &to, blob, from).await.unwrap(), rest, "{from} of {}", blob.size);
        }
    }
    // Another size than it has.
    let bytes = large();
    for size in [bytes.len() as u64 - 1, bytes.len() as u64 + 1] {
        let wrong = Blob { digest: Digest::of(&bytes), size };
        let error = read(registry, &to, &wrong, 0).await.unwrap_err();
        assert!(matches!(error.failure, Failure::Untrusted { .. }), "{error}");
    }
}

/// A source that holds something else than it says.
struct Liar(Blob, Whole);

#[async_trait]
impl BlobSource for Liar {
    fn blob(&self) -> &Blob {
        &self.0
    }

    async fn open(&self, from: u64) -> std::io::Result<BlobStream<'_, std::io::Error>> {
        self.1.open(from).await
    }
}

pub async fn a_blob_that_is_not_what_it_says_is_refused(registry: &dyn Registry, host: &str) {
    let to = repository(host, "lies");
    let truth = large();
    let mut lie = truth.to_vec();
    lie[100] ^= 1;
    let blob = Blob { digest: Digest::of(&truth), size: truth.len() as u64 };
    for bytes in [lie.clone(), lie[..100].to_vec()] {
        let source = Liar(blob.clone(), Whole::new(bytes.into()));
        assert!(registry.push_blob(&to, &source, None).await.is_err());
        assert!(!registry.has_blob(&to, &blob.digest).await.unwrap());
    }
}

pub async fn blobs_are_mounted_from_another_repository(registry: &dyn Registry, host: &str) {
    let (from, to) = (repository(host, "mounts/from"), repository(host, "mounts/to"));
    let source = Whole::new(large());
    // What is not there cannot be mounted, and is uploaded.
    assert_eq!(registry.push_blob(&from, &source, Some(&to)).await.unwrap(), Pushed::Sent);
    assert_eq!(registry.push_blob(&to, &source, Some(&from)).await.unwrap(), Pushed::Mounted);
    assert_eq!(read(registry, &to, source.blob(), 0).await.unwrap(), large());
    // With its blobs mounted an image can be put elsewhere.
    let one = push(registry, &from, &tag("v1"), "layer").await;
    let there = async |text: &str| {
        let blob = Whole::new(Bytes::from(text.to_owned()));
        registry.push_blob(&to, &blob, Some(&from)).await.unwrap()
    };
    assert_eq!((there("{}").await, there("layer").await), (Pushed::Mounted, Pushed::Mounted));
    registry.put(&to, &tag("v1"), &one).await.unwrap();
    assert_eq!(registry.get(&to, &tag("v1")).await.unwrap(), Some(one));
}

pub async fn referrers_are_listed(registry: &dyn Registry, host: &str) {
    let to = repository(host, "referrers");
    let subject = push(registry, &to, &tag("v1"), "layer").await;
    assert_eq!(registry.referrers(&to, subject.digest()).await.unwrap(), []);
    assert_eq!(registry.referrers(&repository(host, "nowhere"), subject.digest()).await.unwrap(), []);
    let plain = image(MediaType::OciManifest, "layer");
    let text = std::str::from_utf8(plain.bytes()).unwrap();
    let (head, _) = text.trim_end().rsplit_once('}').unwrap();
    let of = format!(
        r#""subject":{{"mediaType":"{}","digest":"{}","size":{}}}"#,
        subject.media_type(),
        subject.digest(),
        subject.bytes().len()
    );
    let signature =
        RawManifest::new(MediaType::OciManifest, format!(r#"{head},"artifactType":"a/b",{of}}}"#));
    registry.put(&to, &by_digest(&signature), &signature).await.unwrap();
    // For registries that keep no list the one who pushes keeps it under this tag.
    let stand_in = Tag::of_referrers(subject.digest());
    assert_eq!(stand_in.as_str(), format!("sha256-{}", subject.digest().hex()));
    registry.put(&to, &stand_in.into(), &index(MediaType::OciIndex, &[&signature])).await.unwrap();
    let found = registry.referrers(&to, subject.digest()).await.unwrap();
    let digests: Vec<_> = found.iter().map(|found| &found.digest).collect();
    assert_eq!(digests, [signature.digest()]);
    assert_eq!(found[0].size, signature.bytes().len() as u64);
}

pub async fn a_tag_goes_alone(registry: &dyn Registry, host: &str) {
    let to = repository(host, "untag");
    let shared = push(registry, &to, &tag("k-1"), "shared").await;
    for name in ["k-2", "release"] {
        registry.put(&to, &tag(name), &shared).await.unwrap();
    }
    assert_ne!(registry.deleting(&to).await.unwrap(), DeleteSupport::Nothing);
    let untag = async |name: &str| registry.untag(&to, &name.parse().unwrap()).await.unwrap();
    // The first time a registry shows how it deletes tags, from then on that is known.
    assert_eq!(untag("k-1").await, Deleted::Gone);
    assert_eq!(tags(registry, &to).await, ["k-2", "release"]);
    assert_eq!(untag("k-2").await, Deleted::Gone);
    assert_eq!(tags(registry, &to).await, ["release"]);
    assert_eq!(registry.get(&to, &tag("release")).await.unwrap(), Some(shared.clone()));
    assert_eq!(registry.head(&to, &tag("k-1")).await.unwrap(), None);
    for gone in ["k-1", "never"] {
        assert_eq!(untag(gone).await, Deleted::NotFound);
    }
    refused(
        registry.put(&to, &tag("x"), &image(MediaType::OciManifest, "absent")).await,
        "MANIFEST_BLOB_UNKNOWN",
    );
    assert_eq!(tags(registry, &to).await, ["release"]);
}

pub async fn a_tag_goes_and_its_image_stays_without_any(registry: &dyn Registry, host: &str) {
    let to = repository(host, "bare");
    let only = push(registry, &to, &tag("only"), "layer").await;
    assert_eq!(registry.untag(&to, &"only".parse().unwrap()).await.unwrap(), Deleted::Gone);
    assert_eq!(tags(registry, &to).await, [""; 0]);
    assert_eq!(registry.get(&to, &by_digest(&only)).await.unwrap(), Some(only));
}
