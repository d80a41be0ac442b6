//! Old records: what runs used, and promotions that were begun and have ended.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt};

use crate::exec::ledger::write::LedgerWriter;
use crate::exec::ledger::{Found, Ledger, LedgerError};
use crate::exec::pace;
use crate::model::{Digest, PlanRecord, RecordTag, RunRecord, Span, Tag, Timestamp};
use crate::port::Deleted;

/// How many records are looked at in one call; their age does not stand in their names.
const AT_MOST: usize = 256;

/// Removes records of `records` that are older than `keep`; returns how many. Each call looks at
/// other ones, in turns of a day, so that all are looked at whatever there is.
pub(crate) async fn remove(
    ledger: LedgerWriter<'_>,
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
    let looks =
        futures_util::stream::iter(turn).map(|tag| old(*ledger, tag, keep, now)).buffered(pace::REQUESTS);
    let old: Vec<Option<Digest>> = looks.try_collect().await?;
    let mut removed = 0;
    for digest in old.into_iter().flatten() {
        match ledger.delete(&digest).await? {
            Deleted::Gone | Deleted::NotFound => removed += 1,
            Deleted::Refused { .. } => {}
            Deleted::Unsupported => break,
        }
    }
    Ok(removed)
}

/// Returns the digest of a record that is old enough. It says itself that it stands under this tag,
/// so deleting it takes no other record along.
async fn old(
    ledger: Ledger<'_>,
    tag: &Tag,
    keep: Span,
    now: Timestamp,
) -> Result<Option<Digest>, LedgerError> {
    let (date, digest) = match RecordTag::read(tag) {
        Some(RecordTag::Run { .. }) => match ledger.look::<RunRecord>(tag).await? {
            Found::Stands(run) => (run.record.finished, run.digest),
            // One that cannot be read, a newer boxwright's perhaps, is left to whoever can.
            Found::Unreadable { .. } | Found::Vanished => return Ok(None),
        },
        _ => match ledger.look::<PlanRecord>(tag).await? {
            Found::Stands(plan) => (plan.record.0.promoted, plan.digest),
            Found::Unreadable { .. } | Found::Vanished => return Ok(None),
        },
    };
    Ok((now.since(date) >= keep).then_some(digest))
}
