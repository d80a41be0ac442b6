//! What a rollback brings back.

use crate::model::{PromotionId, PromotionRecord, Source};

/// The promotion whose images a rollback promotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// The promotion.
    pub set: PromotionRecord,
    /// The newest source that it takes back, which may not return by itself.
    pub withdrawn: Option<Source>,
    /// The registry that it is copied from; nothing if it stands in this one.
    pub copied: Option<String>,
}

impl Rollback {
    /// Takes what another promotion holds.
    pub fn of(set: PromotionRecord) -> Self {
        Self { set, withdrawn: None, copied: None }
    }
}

/// Chooses what comes before what stands, of one tag's finished promotions (`sets`) and
/// those that were begun (`plans`): the last promotion of other images. Behind a rollback it
/// goes on from the one that was brought back. Before a promotion that stopped half way comes
/// the last finished one; a rollback that stopped half way is gone on with.
pub fn rollback(sets: &[PromotionRecord], plans: &[PromotionRecord]) -> Option<Rollback> {
    let last = sets.iter().max_by_key(|set| set.seq)?;
    let unfinished = plans.iter().filter(|plan| plan.seq > last.seq).max_by_key(|plan| plan.seq);
    if let Some(plan) = unfinished {
        return match restored(plan) {
            Some(seq) => {
                let set = sets.iter().find(|set| set.seq == seq)?.clone();
                Some(Rollback { withdrawn: plan.withdrawn.clone(), ..Rollback::of(set) })
            }
            // It never stood as a whole, so nothing is said against its images.
            None => Some(Rollback { withdrawn: last.withdrawn.clone(), ..Rollback::of(last.clone()) }),
        };
    }
    let stands = restored(last).unwrap_or(last.seq);
    let before = sets.iter().filter(|set| set.seq < stands && !set.has_images_of(last));
    let set = before.max_by_key(|set| set.seq)?.clone();
    let withdrawn = match &last.withdrawn {
        Some(newest) if last.source.is_older_than(newest) => newest,
        _ => &last.source,
    };
    Some(Rollback { withdrawn: Some(withdrawn.clone()), ..Rollback::of(set) })
}

/// Returns the promotion of the same tag that this one brought back.
fn restored(set: &PromotionRecord) -> Option<u32> {
    let is_here = |from: &&PromotionId| from.tag == set.tag && set.copied.is_none();
    set.from.as_ref().filter(is_here).map(|from| from.seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn record(seq: u32, image: &str, time: i64) -> PromotionRecord {
        let source = Source { time: Some(Timestamp::from_unix(time)), ..Source::default() };
        PromotionRecord { source, ..PromotionRecord::of_image("main", seq, time, image) }
    }

    /// A record of having brought back `set`.
    fn back(seq: u32, set: &PromotionRecord, withdrawn: Option<i64>) -> PromotionRecord {
        let source = |time| Source { time: Some(Timestamp::from_unix(time)), ..Source::default() };
        let from = Some(PromotionId { tag: set.tag.clone(), seq: set.seq });
        PromotionRecord { seq, from, withdrawn: withdrawn.map(source), ..set.clone() }
    }

    fn check(sets: &[PromotionRecord], plans: &[PromotionRecord], expect: Option<(u32, Option<i64>)>) {
        let found = rollback(sets, plans);
        let time = |source: Source| source.time.unwrap().unix();
        assert_eq!(found.map(|found| (found.set.seq, found.withdrawn.map(time))), expect);
    }

    #[test]
    fn goes_back_one_promotion_at_a_time() {
        let (a, b, c) = (record(1, "a", 10), record(2, "b", 20), record(3, "c", 30));
        check(&[], &[], None);
        check(std::slice::from_ref(&a), &[], None);
        check(&[a.clone(), b.clone(), c.clone()], &[], Some((2, Some(30))));
        // The second call goes on from what the first one brought back.
        let once = back(4, &b, Some(30));
        check(&[a.clone(), b.clone(), c.clone(), once.clone()], &[], Some((1, Some(30))));
        let twice = back(5, &a, Some(30));
        check(&[a.clone(), b.clone(), c.clone(), once, twice], &[], None);
        // What changed no image is not what one means.
        check(&[a, b.clone(), record(3, "b", 40)], &[], Some((1, Some(40))));
    }

    #[test]
    fn a_promotion_that_stopped_is_undone_and_a_rollback_that_stopped_goes_on() {
        let (a, b) = (record(1, "a", 10), record(2, "b", 20));
        let sets = [a.clone(), b.clone()];
        check(&sets, &[a.clone(), b.clone(), record(3, "c", 30)], Some((2, None)));
        check(&sets, &[back(3, &a, Some(20))], Some((1, Some(20))));
    }
}
