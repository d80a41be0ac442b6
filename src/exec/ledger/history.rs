//! A tag's past, as the ledger tells it.

use std::collections::BTreeMap;

use crate::exec::ledger::{Found, Ledger, LedgerError};
use crate::model::{PlanRecord, PromotionRecord, Record, RecordTag, Tag, last_count};

/// Every promotion of one tag that the ledger knows of.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The finished ones, the newest first.
    pub sets: Vec<PromotionRecord>,
    /// Those that were begun after the last finished one, the newest first.
    pub unfinished: Vec<PromotionRecord>,
    /// What is not believed.
    pub aside: Vec<Aside>,
}

/// A record that is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    pub tag: Tag,
    /// Why.
    pub why: String,
}

/// Reads a tag's past. What cannot be read, or counts what nobody can have promoted, is set aside.
pub async fn history(ledger: Ledger<'_>, promoted: &Tag) -> Result<History, LedgerError> {
    let (mut sets, mut plans) = (BTreeMap::new(), BTreeMap::new());
    for (record, tag) in ledger.list().await? {
        match record {
            RecordTag::Set { tag: name, seq } if name == *promoted => drop(sets.insert(seq, tag)),
            RecordTag::Plan { tag: name, seq } if name == *promoted => drop(plans.insert(seq, tag)),
            _ => {}
        }
    }
    let last = last_count(sets.keys().chain(plans.keys()).copied());
    let beyond = sets.split_off(&last.saturating_add(1)).into_values();
    let beyond = beyond.chain(plans.split_off(&last.saturating_add(1)).into_values());
    let why = || format!("its count does not follow on {last}");
    let mut aside: Vec<Aside> = beyond.map(|tag| Aside { tag, why: why() }).collect();
    let sets: Vec<PromotionRecord> = read(ledger, sets.into_values().rev().collect(), &mut aside).await?;
    let finished = sets.first().map_or(0, |set| set.seq);
    let begun = plans.split_off(&finished.saturating_add(1)).into_values().rev().collect();
    let unfinished: Vec<PlanRecord> = read(ledger, begun, &mut aside).await?;
    Ok(History { sets, unfinished: unfinished.into_iter().map(|plan| plan.0).collect(), aside })
}

async fn read<R: Record>(
    ledger: Ledger<'_>,
    tags: Vec<Tag>,
    aside: &mut Vec<Aside>,
) -> Result<Vec<R>, LedgerError> {
    let mut records = Vec::new();
    for (tag, found) in ledger.look_at::<R>(tags).await? {
        match found {
            Found::Stands(stood) => records.push(stood.record),
            Found::Unreadable { why } => aside.push(Aside { tag, why }),
            Found::Vanished => aside.push(Aside { tag, why: "it is listed, but leads nowhere".to_owned() }),
        }
    }
    Ok(records)
}
