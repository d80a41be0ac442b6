//! Old records: what runs used, and promotions that were begun and have ended.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt};

use super::closure::AT_ONCE;
use super::ledger::{Ledger, LedgerError};
use crate::model::{PlanRecord, RecordTag, RunRecord, Span, Tag, Timestamp};
use crate::port::Deleted;

/// How many records are looked at in one call; their age does not stand in their names.
const AT_MOST: usize = 256;

/// Removes records of `records` that are older than `keep`; returns how many. Each call looks at
/// other ones, in turns of a day, so that all are looked at whatever there is.
pub(super) async fn remove(
    ledger: Ledger<'_>,
    records: &BTreeMap<RecordTag, Tag>,
    keep: Span,
    now: Timestamp,
) -> Result<usize, LedgerError> {
    let newest = |name: &Tag| {
        let sets = records.keys().filter_map(|record| match record {
            RecordTag::Set { tag, seq } if tag == name => Some(*seq),
            _ => None,
        });
        sets.max()
    };
    let has_ended = |record: &&RecordTag| match record {
        RecordTag::Run { .. } => true,
        RecordTag::Plan { tag, seq } => newest(tag).is_some_and(|newest| *seq <= newest),
        _ => false,
    };
    let ended: Vec<&RecordTag> = records.keys().filter(has_ended).collect();
    let turn = usize::try_from(now.unix() / 86_400).unwrap_or_default();
    let first = (turn * AT_MOST).checked_rem(ended.len()).unwrap_or_default();
    let turn: Vec<&Tag> = ended
        .iter()
        .cycle()
        .skip(first)
        .take(AT_MOST.min(ended.len()))
        .filter_map(|record| records.get(*record))
        .collect();
    let looks = futures_util::stream::iter(turn).map(|tag| is_old(ledger, tag, keep, now)).buffered(AT_ONCE);
    let old: Vec<Option<&Tag>> = looks.try_collect().await?;
    let mut removed = 0;
    for tag in old.into_iter().flatten() {
        let Some(digest) = ledger.digest(tag).await? else { continue };
        match ledger.delete(&digest).await? {
            Deleted::Gone | Deleted::WasGone => removed += 1,
            Deleted::Unsupported => break,
        }
    }
    Ok(removed)
}

/// Returns the record's tag if it is old enough.
async fn is_old<'a>(
    ledger: Ledger<'_>,
    tag: &'a Tag,
    keep: Span,
    now: Timestamp,
) -> Result<Option<&'a Tag>, LedgerError> {
    let date = match RecordTag::read(tag) {
        Some(RecordTag::Run { .. }) => {
            ledger.read::<RunRecord>(tag).await.map(|run| run.map(|run| run.finished))
        }
        _ => ledger.read::<PlanRecord>(tag).await.map(|plan| plan.map(|plan| plan.0.promoted)),
    };
    match date {
        Ok(date) => Ok(date.filter(|date| now.since(*date) >= keep).map(|_| tag)),
        // One that cannot be read, a newer boxwright's perhaps, is left to whoever can.
        Err(LedgerError::Record { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
