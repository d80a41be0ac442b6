//! What a registry holds for a project, for people to look at: the content of every tag with
//! its size, the live leases, and the promotions. Nothing is written.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};

use crate::exec::ledger::{Ledger, LedgerError};
use crate::exec::pace;
use crate::model::{
    Digest, Document, Lease, MediaType, PromotionRecord, RecordTag, Repository, Tag, Timestamp,
};
use crate::port::{Reference, RegistryError, RegistryReader};
use crate::protocol::is_live;

/// What is stored for one manifest, itself included, with sizes in bytes.
pub type Stored = BTreeMap<Digest, u64>;

/// Resolves tags whose digest is not known; one that has vanished meanwhile is left out.
pub async fn resolve(
    registry: &dyn RegistryReader,
    tags: Vec<(Repository, Tag)>,
) -> Result<BTreeMap<(String, Tag), Digest>, RegistryError> {
    let found: Vec<Option<((String, Tag), Digest)>> = futures_util::stream::iter(tags)
        .map(|(repository, tag)| async move {
            let digest = registry.head(&repository, &tag.clone().into()).await?;
            Ok::<_, RegistryError>(digest.map(|digest| ((repository.name().to_owned(), tag), digest)))
        })
        .buffer_unordered(pace::REQUESTS)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// Reads what each manifest refers to. What is not there has no size.
pub async fn stored(
    registry: &dyn RegistryReader,
    images: BTreeSet<(Repository, Digest)>,
) -> Result<BTreeMap<Digest, Stored>, RegistryError> {
    futures_util::stream::iter(images)
        .map(|(repository, digest)| async move {
            let mut stored = Stored::new();
            let mut waiting = vec![digest.clone()];
            while let Some(digest) = waiting.pop() {
                let at = Reference::from(digest.clone());
                let Some(raw) = registry.get(&repository, &at).await? else { continue };
                stored.insert(digest, raw.bytes().len() as u64);
                match raw.document() {
                    Ok(Document::Image(image)) => {
                        let parts = std::iter::once(image.config).chain(image.layers);
                        stored.extend(parts.map(|part| (part.digest, part.size)));
                    }
                    Ok(Document::Index(index)) => {
                        let manifests = index.manifests.into_iter();
                        let manifests = manifests.filter(|one| one.media_type.parse::<MediaType>().is_ok());
                        waiting
                            .extend(manifests.map(|one| one.digest).filter(|one| !stored.contains_key(one)));
                    }
                    // What cannot be understood still takes its own room.
                    Err(_) => {}
                }
            }
            Ok((digest, stored))
        })
        .buffer_unordered(pace::REQUESTS)
        .try_collect()
        .await
}

/// Reads the live leases, the one that ends last first, and the promotions, the newest first.
pub async fn claims(
    ledger: Ledger<'_>,
    now: Timestamp,
) -> Result<(Vec<Lease>, Vec<PromotionRecord>), LedgerError> {
    let (mut leases, mut sets) = (Vec::new(), Vec::new());
    for (record, tag) in ledger.list().await? {
        match record {
            RecordTag::Lease { expiry, .. } if is_live(expiry, now) => leases.push(tag),
            RecordTag::Set { .. } => sets.push(tag),
            _ => {}
        }
    }
    // What has vanished was given up or forgotten since, and what cannot be read says nothing.
    let mut leases = ledger.readable::<Lease>(leases).await?;
    let mut sets = ledger.readable::<PromotionRecord>(sets).await?;
    leases.sort_by_key(|lease| std::cmp::Reverse((lease.expiry, lease.run.clone())));
    sets.sort_by_key(|set| std::cmp::Reverse((set.promoted, set.tag.clone(), set.seq)));
    Ok((leases, sets))
}
