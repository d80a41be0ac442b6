//! A tag's past, as the ledger tells it.

use super::ledger::{Ledger, LedgerError};
use crate::model::{PlanRecord, RecordTag, SetRecord, Tag};

/// Every promotion of one tag that the ledger knows of.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The finished ones, the newest first.
    pub sets: Vec<SetRecord>,
    /// Those that were begun after the last finished one, the newest first.
    pub unfinished: Vec<SetRecord>,
}

/// Reads a tag's past.
pub async fn history(ledger: Ledger<'_>, promoted: &Tag) -> Result<History, LedgerError> {
    let (mut sets, mut plans) = (Vec::new(), Vec::new());
    for (record, tag) in ledger.list().await? {
        match record {
            RecordTag::Set { tag: name, .. } if name == *promoted => sets.push(tag),
            RecordTag::Plan { tag: name, seq } if name == *promoted => plans.push((seq, tag)),
            _ => {}
        }
    }
    let (mut sets, _) = ledger.read_all::<SetRecord>(sets).await?;
    sets.sort_by_key(|set| std::cmp::Reverse(set.seq));
    let last = sets.first().map_or(0, |set| set.seq);
    let begun = plans.into_iter().filter(|(seq, _)| *seq > last).map(|(_, tag)| tag).collect();
    let (unfinished, _) = ledger.read_all::<PlanRecord>(begun).await?;
    let mut unfinished: Vec<SetRecord> = unfinished.into_iter().map(|plan| plan.0).collect();
    unfinished.sort_by_key(|plan| std::cmp::Reverse(plan.seq));
    Ok(History { sets, unfinished })
}
