//! What a promotion promotes: the images of boxes, or those of another promotion.

use std::collections::BTreeMap;

use crate::exec::image::probe::{all_known, find_all};
use crate::exec::keys::ResolvedBox;
use crate::exec::ledger::past::PastRecords;
use crate::exec::ledger::{Ledger, LedgerError};
use crate::exec::promote::error::PromoteError;
use crate::exec::setting::RunContext;
use crate::model::{
    ContentTag, Digest, Key, PromotedImage, PromotionId, PromotionRecord, RawManifest, Repository,
    RepositoryError, Source, Tag,
};
use crate::plan::{Decision, Member, Rollback, Seen, Wanted, plan};
use crate::port::{Reference, RegistryReader};

/// What is promoted.
#[derive(Debug, Clone, Copy)]
pub enum PromotionSource<'a> {
    /// The images of these boxes, which are the whole set, parents first.
    Built(&'a [ResolvedBox]),
    /// The images of another promotion, by their digests.
    Recorded(&'a Rollback),
}

impl PromotionSource<'_> {
    pub(crate) fn keys(&self) -> Vec<Key> {
        match self {
            Self::Built(boxes) => boxes.iter().map(|keyed| keyed.wanted.key().clone()).collect(),
            Self::Recorded(taken) => taken.set.boxes.iter().map(|member| member.key.clone()).collect(),
        }
    }

    pub(crate) fn source<'a>(&'a self, setting: &'a RunContext) -> &'a Source {
        match self {
            Self::Built(_) => &setting.source,
            Self::Recorded(taken) => &taken.set.source,
        }
    }

    pub(crate) fn from(&self) -> Option<PromotionId> {
        match self {
            Self::Built(_) => None,
            // What was never promoted, but is copied, has no count.
            Self::Recorded(taken) => Some(taken.set.name()).filter(|name| name.seq > 0),
        }
    }

    pub(crate) fn copied(&self) -> Option<String> {
        match self {
            Self::Built(_) => None,
            Self::Recorded(taken) => taken.copied.clone(),
        }
    }

    pub(crate) fn withdrawn(&self) -> Option<Source> {
        match self {
            Self::Built(_) => None,
            Self::Recorded(taken) => taken.withdrawn.clone(),
        }
    }

    /// Asks what stands under the tag, for each image in its order.
    pub(crate) async fn under(
        &self,
        registry: &dyn RegistryReader,
        setting: &RunContext,
        tag: &Tag,
    ) -> Result<Vec<Option<Digest>>, PromoteError> {
        let at = Reference::Tag(tag.clone());
        let repositories = match self {
            Self::Built(boxes) => boxes.iter().map(|keyed| keyed.wanted.repository.clone()).collect(),
            Self::Recorded(taken) => {
                let place = |member| place(setting.ledger.host(), member);
                taken.set.boxes.iter().map(place).collect::<Result<Vec<_>, _>>()?
            }
        };
        let heads = repositories.iter().map(|repository| registry.head(repository, &at));
        Ok(futures_util::future::try_join_all(heads).await?)
    }

    /// Resolves what is promoted to digests, once, and reads the manifests, with the tombstones of a
    /// list of the ledger that is read meanwhile.
    pub(crate) async fn resolve(
        &self,
        registry: &dyn RegistryReader,
        setting: &RunContext,
        past: impl Future<Output = Result<PastRecords, LedgerError>>,
    ) -> Result<(PastRecords, Vec<Resolved>), PromoteError> {
        match self {
            Self::Built(boxes) => of_boxes(registry, boxes, past).await,
            Self::Recorded(taken) => of_set(registry, setting, &taken.set, past).await,
        }
    }
}

/// An image that is to be promoted.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub name: String,
    pub repository: Repository,
    /// The content tag it was resolved by.
    pub tag: ContentTag,
    /// The very bytes that the promoted tag is to hold.
    pub manifest: RawManifest,
}

impl Resolved {
    /// Returns it as a promotion sees it, with what stands under the promoted tag.
    pub fn member(&self, now: Option<Digest>) -> Member {
        Member {
            name: self.name.clone(),
            repository: self.repository.clone(),
            tag: self.tag.clone(),
            digest: self.manifest.digest().clone(),
            now,
        }
    }
}

/// Resolves boxes by their keys, and checks that they were built on each other.
async fn of_boxes(
    registry: &dyn RegistryReader,
    boxes: &[ResolvedBox],
    past: impl Future<Output = Result<PastRecords, LedgerError>>,
) -> Result<(PastRecords, Vec<Resolved>), PromoteError> {
    let (past, found) = find_all(registry, boxes, past).await?;
    let wanted: Vec<_> = boxes.iter().map(|keyed| keyed.wanted.clone()).collect();
    let seen = wanted.iter().zip(&found).map(|(want, found)| (want.name.clone(), found.seen.clone()));
    let seen: BTreeMap<String, Seen> = seen.collect();
    all_known(&seen)?;
    let decisions = plan(&wanted, &seen, true);
    let absent = |(want, decision): (&Wanted, &Decision)| {
        (!matches!(decision, Decision::Use(_))).then(|| (want.name.clone(), decision.why()))
    };
    let (missing, whys): (Vec<String>, Vec<String>) =
        wanted.iter().zip(&decisions).filter_map(absent).unzip();
    if let Some(why) = whys.into_iter().next() {
        return Err(PromoteError::missing(missing, why));
    }
    let resolved = wanted.into_iter().zip(found).map(|(want, found)| {
        let missing = || PromoteError::missing(vec![want.name.clone()], "was not read".to_owned());
        let manifest = found.manifest.ok_or_else(missing)?;
        let tag = want.tag.with_generation(found.seen.generation);
        Ok(Resolved { name: want.name, repository: want.repository, tag, manifest })
    });
    Ok((past, resolved.collect::<Result<_, PromoteError>>()?))
}

/// Reads the images of another promotion: each has to be there.
///
/// A tombstone that ends a generation ends it for builds alone. What one names may be about to be
/// deleted, though: a sweep says so before it looks who leases it, and we lease before we look.
async fn of_set(
    registry: &dyn RegistryReader,
    setting: &RunContext,
    set: &PromotionRecord,
    past: impl Future<Output = Result<PastRecords, LedgerError>>,
) -> Result<(PastRecords, Vec<Resolved>), PromoteError> {
    let read_one = async |member: &PromotedImage| {
        let repository = place(setting.ledger.host(), member)?;
        let manifest = registry.get(&repository, &member.digest.clone().into()).await?;
        Ok::<_, PromoteError>((repository, manifest))
    };
    let read_all = || futures_util::future::try_join_all(set.boxes.iter().map(&read_one));
    let past = async { Ok::<_, PromoteError>(past.await?) };
    let (past, mut read) = futures_util::try_join!(past, read_all())?;
    let over = set.boxes.iter().filter(|member| {
        let tag = ContentTag::read(&member.content_tag);
        tag.is_some_and(|tag| past.is_over(&member.key, tag.generation()))
    });
    let over: Vec<&PromotedImage> = over.collect();
    if !over.is_empty() {
        let claims = Ledger::new(registry, &setting.ledger).claims(&past.listed).await?;
        for (member, claim) in over.into_iter().flat_map(|one| claims.iter().map(move |claim| (one, claim))) {
            if claim.keys.contains(&member.key) {
                let (name, until) = (member.name.clone(), claim.expiry.human());
                return Err(PromoteError::Going { name, digest: member.digest.clone(), until });
            }
        }
        // What a sweep deleted that has just ended was perhaps seen before it had.
        read = read_all().await?;
    }
    let resolved = set.boxes.iter().zip(read).map(|(member, (repository, manifest))| {
        let missing = |why: String| PromoteError::missing(vec![member.name.clone()], why);
        let tag = ContentTag::read(&member.content_tag)
            .ok_or_else(|| missing(format!("its record names the tag {}", member.content_tag)))?;
        let manifest = manifest.ok_or_else(|| PromoteError::Gone {
            name: member.name.clone(),
            repository: repository.clone(),
            digest: member.digest.clone(),
        })?;
        Ok(Resolved { name: member.name.clone(), repository, tag, manifest })
    });
    let resolved = resolved.collect::<Result<_, PromoteError>>()?;
    Ok((past, resolved))
}

/// Returns where an image of another promotion is kept.
fn place(host: &str, member: &PromotedImage) -> Result<Repository, PromoteError> {
    let missing =
        |error: RepositoryError| PromoteError::missing(vec![member.name.clone()], error.to_string());
    Repository::new(host, &member.repository).map_err(missing)
}

impl PromoteError {
    /// Names the channel, if what is missing is reserved for some: no other build makes it.
    pub(crate) fn in_channel(self, content: PromotionSource<'_>, channel: &str) -> Self {
        match (self, content) {
            (Self::Missing { names, why, .. }, PromotionSource::Built(boxes)) => {
                let reserved = boxes.iter().filter(|keyed| !keyed.spec.only.is_empty());
                let is_reserved = reserved.into_iter().any(|keyed| names.contains(&keyed.wanted.name));
                let channel = is_reserved.then(|| channel.to_owned());
                Self::Missing { names, why, channel }
            }
            (error, _) => error,
        }
    }
}
