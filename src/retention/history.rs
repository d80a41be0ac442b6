//! What the past promotions of a tag keep.

use std::collections::BTreeMap;

use crate::model::{SetRecord, Span, Timestamp};

/// What is kept of each channel's past, by the channel's name: how many promotions, and for
/// how long replaced ones stay beyond that. Nothing, and no entry, mean all of it.
pub type Keep = BTreeMap<String, Option<(u32, Span)>>;

/// Returns the promotions of one tag that keep their images, of those that were finished
/// (`sets`) and those that were begun (`plans`).
///
/// A promotion that was begun after the last finished one may still be gone on with, so it
/// is kept; it does not count. Neither does one that changed no image.
pub fn kept(mut sets: Vec<SetRecord>, plans: Vec<SetRecord>, keep: &Keep, now: Timestamp) -> Vec<SetRecord> {
    sets.sort_by_key(|set| std::cmp::Reverse(set.seq));
    let newest = sets.first().map_or(0, |set| set.seq);
    let mut kept: Vec<SetRecord> = plans.into_iter().filter(|plan| plan.seq > newest).collect();
    let mut newer = 0;
    let mut replaced: Option<Timestamp> = None;
    for (index, set) in sets.iter().enumerate() {
        if let Some(after) = index.checked_sub(1).and_then(|index| sets.get(index))
            && !after.has_images_of(set)
        {
            newer += 1;
            replaced = Some(after.promoted);
        }
        let is_kept = match keep.get(&set.channel) {
            Some(Some((count, grace))) => {
                newer < *count || replaced.is_none_or(|replaced| now.since(replaced) < *grace)
            }
            Some(None) | None => true,
        };
        if is_kept {
            kept.push(set.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Key, SetBox, Source};

    fn record(seq: u32, promoted: i64, image: &str) -> SetRecord {
        let member = SetBox {
            name: "base".to_owned(),
            repository: "base".to_owned(),
            key: Key::of(image.as_bytes()),
            content_tag: "k".parse().unwrap(),
            digest: Digest::of(image.as_bytes()),
            before: None,
        };
        SetRecord {
            tag: "main".parse().unwrap(),
            channel: "main".to_owned(),
            seq,
            promoted: Timestamp::from_unix(promoted),
            run: "r".parse().unwrap(),
            source: Source::default(),
            from: None,
            withdrawn: None,
            boxes: vec![member],
        }
    }

    /// Checks which counts are kept at time 1000 when `count` promotions and 100 s are.
    fn check(count: u32, sets: &[SetRecord], plans: &[SetRecord], expect: &[u32]) {
        let keep = Keep::from([("main".to_owned(), Some((count, Span::from_seconds(100))))]);
        let kept = kept(sets.to_vec(), plans.to_vec(), &keep, Timestamp::from_unix(1000));
        let mut seqs: Vec<u32> = kept.iter().map(|record| record.seq).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, expect);
    }

    #[test]
    fn the_newest_are_kept_and_replaced_ones_for_a_while() {
        let sets = [record(1, 10, "a"), record(2, 20, "b"), record(3, 30, "c")];
        check(1, &sets, &[], &[3]);
        check(2, &sets, &[], &[2, 3]);
        let recent = [record(1, 10, "a"), record(2, 20, "b"), record(3, 950, "c")];
        check(1, &recent, &[], &[2, 3]);
        // The last one stands, whatever the count says.
        check(0, &sets, &[], &[3]);
    }

    #[test]
    fn a_promotion_that_changed_no_image_does_not_count() {
        let sets = [record(1, 10, "a"), record(2, 20, "b"), record(3, 950, "b")];
        check(1, &sets, &[], &[2, 3]);
        check(2, &sets, &[], &[1, 2, 3]);
    }

    #[test]
    fn an_unfinished_promotion_is_kept_and_does_not_count() {
        let sets = [record(1, 10, "a"), record(2, 20, "b")];
        check(1, &sets, &[record(2, 20, "b"), record(3, 30, "c")], &[2, 3]);
        // One that a later promotion went past keeps nothing.
        check(1, &[record(4, 40, "d")], &[record(3, 30, "c"), record(4, 40, "d")], &[4]);
    }

    #[test]
    fn a_channel_without_limits_or_without_declaration_keeps_all() {
        let sets = vec![record(1, 10, "a"), record(2, 20, "b")];
        for keep in [Keep::new(), Keep::from([("main".to_owned(), None)])] {
            assert_eq!(kept(sets.clone(), vec![], &keep, Timestamp::from_unix(1000)).len(), 2);
        }
    }
}
