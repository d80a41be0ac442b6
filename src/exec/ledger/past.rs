//! What a promotion reads in the ledger: the tag's last promotions, and every tombstone, of one list.

use std::collections::BTreeMap;

use crate::exec::ledger::{Found, Ledger, LedgerError};
use crate::model::{
    Digest, Generation, Key, PlanRecord, PromotionRecord, Record, RecordTag, Tag, UntagNotice, last_count,
};
use crate::plan::Past;

/// How many records of a tag are looked at for one that can be read: past more of them than this
/// nobody goes.
const READS: usize = 16;

/// The last records of a tag's promotions.
#[derive(Debug, Clone, Default)]
pub struct PastRecords {
    /// What the ledger held when it was listed.
    pub(crate) listed: BTreeMap<RecordTag, Tag>,
    set: Option<PromotionRecord>,
    plan: Option<PromotionRecord>,
    /// The announcement that the tag is to go, as it stands.
    pub(crate) ending: Option<UntagNotice>,
    /// The count of the next promotion, and its plan record if it has begun.
    pub(crate) next: Option<(u32, Option<Digest>)>,
}

impl PastRecords {
    /// Lends them to a plan.
    pub fn as_past(&self) -> Past<'_> {
        let last = self.next.as_ref().map_or(0, |(next, _)| next.saturating_sub(1));
        Past { set: self.set.as_ref(), plan: self.plan.as_ref(), last }
    }

    /// Tells whether the last finished promotion is of images with these digests.
    pub(crate) fn is_last<'d>(&self, digests: impl Iterator<Item = &'d Digest>) -> bool {
        self.set.as_ref().is_some_and(|set| set.boxes.iter().map(|member| &member.digest).eq(digests))
    }

    /// Tells whether a tombstone ends a generation of a key.
    pub(crate) fn is_over(&self, key: &Key, generation: Generation) -> bool {
        self.listed.contains_key(&RecordTag::Over { key: key.clone(), generation })
    }

    /// Returns the current generation of a key: the first one that no tombstone ends.
    pub(crate) fn generation(&self, key: &Key) -> Generation {
        let mut generation = Generation(0);
        // Tombstones of one key may be many, but no more than there are.
        while self.is_over(key, generation) && generation < generation.next() {
            generation = generation.next();
        }
        generation
    }
}

impl Ledger<'_> {
    /// Reads the last finished and the last begun promotion of a tag, and asks whether the next one
    /// has begun since the ledger was listed.
    pub async fn past(&self, promoted: &Tag) -> Result<PastRecords, LedgerError> {
        let listed = self.list().await?;
        let (mut sets, mut plans, mut endings) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (record, tag) in &listed {
            match record {
                RecordTag::Set { tag: name, seq } if name == promoted => drop(sets.insert(*seq, tag)),
                RecordTag::Plan { tag: name, seq } if name == promoted => drop(plans.insert(*seq, tag)),
                RecordTag::Ends { tag: name, seq } if name == promoted => drop(endings.insert(*seq, tag)),
                _ => {}
            }
        }
        let last = last_count(sets.keys().chain(plans.keys()).copied());
        for of in [&mut sets, &mut plans] {
            of.retain(|seq, _| *seq <= last);
        }
        let next = last.saturating_add(1);
        let ending = sets.keys().next_back().copied().and_then(|seq| endings.remove(&seq));
        let (set, ending, plan, begun) = futures_util::try_join!(
            self.newest(sets.into_values().rev()),
            self.newest(ending.into_iter()),
            self.newest::<PlanRecord>(plans.into_values().next_back().into_iter()),
            self.begun(promoted, next),
        )?;
        let plan = plan.map(|plan| plan.0);
        Ok(PastRecords { listed, set, ending, plan, next: Some((next, begun)) })
    }

    /// Reads the tombstones alone, and nobody's past.
    pub(crate) async fn tombstones(&self) -> Result<PastRecords, LedgerError> {
        Ok(PastRecords { listed: self.list().await?, ..PastRecords::default() })
    }

    /// Returns the digest of a promotion's plan record, if it has begun.
    pub(crate) async fn begun(&self, promoted: &Tag, seq: u32) -> Result<Option<Digest>, LedgerError> {
        self.digest(&self.tag(&RecordTag::Plan { tag: promoted.clone(), seq })?).await
    }

    /// Reads the first of these that can be read. What somebody wrote over a record is no reason not
    /// to go on from the one before. The newest may not be served yet: whoever took it for gone would
    /// promote the same set once more.
    async fn newest<R: Record>(&self, tags: impl Iterator<Item = &Tag>) -> Result<Option<R>, LedgerError> {
        for (at, tag) in tags.enumerate() {
            let found = if at == 0 { self.look_listed(tag).await? } else { self.look(tag).await? };
            if let Found::Stands(stood) = found {
                return Ok(Some(stood.record));
            }
            if at + 1 == READS {
                let (repository, tag) = (self.repository().clone(), tag.clone());
                return Err(LedgerError::Drowned { repository, count: READS, tag });
            }
        }
        Ok(None)
    }
}
