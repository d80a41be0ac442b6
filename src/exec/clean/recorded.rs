//! What the ledger says, as a sweep reads it: whoever may push can write any of it, so what keeps
//! something is believed, and what lets something go is only where nothing else can be meant.

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::clean::error::CleanError;
use crate::exec::clean::survey::{Survey, tags_of};
use crate::exec::ledger::{Found, Records, Stood};
use crate::model::{
    Key, Lease, PlanRecord, PromotionId, PromotionRecord, Purpose, Record, RecordTag, Span, Tag, Timestamp,
};
use crate::retention::{JudgedSet, Observed, Sightings, Unreadable, Until, judge};

/// How many of a tag's promotions are read at once, the newest first.
const SETS: usize = 32;
/// How far ahead of our time a promotion may be dated, for clocks of one registry that differ.
const SLACK: Span = Span::from_seconds(3600);

impl Survey<'_> {
    /// Returns the keys of these leases.
    pub async fn leased(
        &self,
        tags: Vec<Tag>,
        unreadable: &mut BTreeSet<Unreadable>,
    ) -> Result<BTreeSet<Key>, CleanError> {
        let expiry = |tag: &Tag| match RecordTag::read(tag) {
            Some(RecordTag::Lease { expiry, .. }) => Until::Expiry(expiry),
            _ => Until::Forgotten,
        };
        let leases = self.keeping::<Lease>(tags, expiry, unreadable).await?;
        // A sweep's claim keeps nothing.
        let leases = leases.into_iter().map(|stood| stood.record);
        let keeping = leases.filter(|lease| lease.purpose != Purpose::Cleaning);
        Ok(keeping.flat_map(|lease| lease.keys).collect())
    }

    /// Reads records that let something go, each only what the look finds to be so as well. One
    /// that cannot be read lets nothing go, and one that has vanished was forgotten by another
    /// sweep: nothing stands there any more.
    pub async fn judging<R: Record>(
        &self,
        tags: Vec<Tag>,
        unreadable: &mut BTreeSet<Unreadable>,
    ) -> Result<Vec<R>, CleanError> {
        let mut records = Vec::new();
        for (tag, look) in self.ledger.look_at::<R>(tags).await? {
            match look {
                // What says more than we read is known by other bytes than ours.
                Found::Stands(stood) if stood.record.to_manifest().digest() != &stood.digest => {
                    let why = "it says more than this boxwright can read".to_owned();
                    unreadable.insert(Unreadable { tag: tag.to_string(), why, stops: None });
                }
                Found::Stands(stood) => records.push(stood.record),
                Found::Unreadable { why } => {
                    unreadable.insert(Unreadable { tag: tag.to_string(), why, stops: None });
                }
                Found::Vanished => {}
            }
        }
        Ok(records)
    }

    /// Reads records that keep something. One that cannot be read may have kept anything.
    async fn keeping<R: Record>(
        &self,
        tags: Vec<Tag>,
        until: impl Fn(&Tag) -> Until,
        unreadable: &mut BTreeSet<Unreadable>,
    ) -> Result<Vec<Stood<R>>, CleanError> {
        let mut records = Vec::new();
        for (tag, look) in self.ledger.look_at::<R>(tags).await? {
            let why = match look {
                Found::Stands(stood) => {
                    records.push(stood);
                    continue;
                }
                Found::Unreadable { why } => why,
                // Given up, or replaced by one that the list does not hold yet; or damaged.
                Found::Vanished if self.ledger.list().await?.values().any(|listed| *listed == tag) => {
                    "it is listed, but leads nowhere".to_owned()
                }
                Found::Vanished => {
                    let repository = self.ledger.repository().clone();
                    return Err(CleanError::Dangling { repository, tag });
                }
            };
            unreadable.insert(Unreadable { tag: tag.to_string(), why, stops: Some(until(&tag)) });
        }
        Ok(records)
    }

    /// Reads promotions. None can have been made after now, and none changes: such a one was made up.
    async fn promotions<R: Record>(
        &self,
        tags: Vec<Tag>,
        set: impl Fn(R) -> PromotionRecord,
        sightings: Option<&Sightings>,
        observed: &mut Observed,
    ) -> Result<Vec<(PromotionRecord, Option<Timestamp>)>, CleanError> {
        let mut sets = Vec::new();
        for Stood { record, digest } in
            self.keeping::<R>(tags, |_| Until::Forgotten, &mut observed.unreadable).await?
        {
            let place = record.place();
            let set = set(record);
            let known = sightings.and_then(|sightings| sightings.knows(&place, &digest));
            let seen = sightings.map(|sightings| sightings.since(&place, &digest).unwrap_or(self.now));
            let why = match known {
                _ if set.promoted > self.now.after(SLACK) => "it is dated in the future",
                Some(false) => "it is not the one that was first seen there",
                known => {
                    if known.is_none() && sightings.is_some() {
                        observed.unseen.insert((place, digest));
                    }
                    sets.push((set, seen));
                    continue;
                }
            };
            let stops = Some(Until::Forgotten);
            observed.unreadable.insert(Unreadable { tag: place.to_string(), why: why.to_owned(), stops });
        }
        Ok(sets)
    }

    /// Reads promotions, as many as may keep something, and judges them.
    pub async fn judged(
        &self,
        records: &Records,
        sightings: Option<&Sightings>,
        observed: &mut Observed,
    ) -> Result<Vec<JudgedSet>, CleanError> {
        let mut sets: BTreeMap<&Tag, Vec<&Tag>> = BTreeMap::new();
        let mut newest: BTreeMap<&Tag, u32> = BTreeMap::new();
        for (record, tag) in records {
            // By name and count, so that the newest comes last.
            if let RecordTag::Set { tag: name, seq } = record {
                sets.entry(name).or_default().push(tag);
                newest.insert(name, *seq);
            }
        }
        let is_begun = |record: &RecordTag| match record {
            RecordTag::Plan { tag, seq } => newest.get(tag).is_none_or(|newest| newest < seq),
            _ => false,
        };
        let begun = tags_of(records, is_begun);
        let plans = self.promotions(begun, |plan: PlanRecord| plan.0, sightings, observed).await?;
        let plans = plans.into_iter().map(|(plan, _)| plan).collect();
        let there: BTreeSet<Tag> = observed.all_tags().cloned().collect();
        let mut read: Vec<PromotionRecord> = Vec::new();
        let mut seen: BTreeMap<PromotionId, Timestamp> = BTreeMap::new();
        while !sets.is_empty() {
            let batch = sets.values_mut().flat_map(|left| left.split_off(left.len().saturating_sub(SETS)));
            let batch = batch.cloned().collect();
            for (set, since) in
                self.promotions(batch, |set: PromotionRecord| set, sightings, observed).await?
            {
                seen.extend(since.map(|since| (set.name(), since)));
                read.push(set);
            }
            let judged = judge(read.clone(), Vec::new(), &seen, &there, self.policies, self.refs, self.now);
            // What was replaced before something that is not kept is not kept either.
            sets.retain(|name, left| {
                let mut of_tag = judged.iter().filter(|judged| judged.set.tag == **name);
                let newest = of_tag.clone().max_by_key(|judged| judged.set.seq);
                let ends = of_tag.by_ref().min_by_key(|judged| judged.set.seq).is_some_and(|oldest| {
                    !oldest.is_kept && newest.is_some_and(|newest| !newest.set.has_images_of(&oldest.set))
                });
                !left.is_empty() && !ends
            });
        }
        Ok(judge(read, plans, &seen, &there, self.policies, self.refs, self.now))
    }
}
