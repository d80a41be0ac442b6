//! Why a box is missing: what moved since it was last promoted. Nothing is written, and
//! nothing is asked for unless something is missing.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream::{self, TryStreamExt};

use crate::config::{BoxSpec, Project};
use crate::exec::explain::say;
use crate::exec::keys::ResolvedBox;
use crate::exec::ledger::inputs::InputsError;
use crate::exec::ledger::{Ledger, LedgerError};
use crate::exec::pace;
use crate::inputs::{Change, diff};
use crate::model::{Key, PromotionRecord, RecordTag, Tag};

/// How many tags of one kind are looked at: releases may be many.
const TAGS: usize = 8;
/// How many changes a reason names.
const NAMED: usize = 3;

/// What moved in a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The first changes in words.
    pub text: String,
    /// The promoted tag that they are told against.
    pub since: Tag,
}

/// The reasons that can be told, and why others cannot.
#[derive(Debug, Default)]
pub struct Reasons {
    /// By box.
    pub by_box: BTreeMap<String, Reason>,
    /// What went wrong.
    pub notes: Vec<String>,
}

/// Says what moved in each of `missing` since the newest promotion that had it. A failure is
/// a note: a plan is right without reasons.
pub async fn reasons(ledger: Ledger<'_>, project: &Project, missing: &[&ResolvedBox]) -> Reasons {
    let mut reasons = Reasons::default();
    let note = |error: &dyn std::fmt::Display| format!("what moved cannot be told: {error}");
    let bases = match bases(ledger, project, missing).await {
        Ok(bases) => bases,
        Err(error) => {
            reasons.notes.push(note(&error));
            return reasons;
        }
    };
    let told: Vec<_> = stream::iter(missing)
        .filter_map(|keyed| {
            let base = bases.get(keyed.wanted.name.as_str()).filter(|(_, key)| key != keyed.wanted.key());
            async move { base.map(|(since, key)| (keyed, since, key)) }
        })
        .map(|(keyed, since, key)| async move { (keyed, since, changes(ledger, keyed, key).await) })
        .buffered(pace::RECORDS)
        .collect()
        .await;
    for (keyed, since, changes) in told {
        match changes {
            Ok(Some(changes)) => {
                let text = short(&changes, &keyed.spec);
                reasons.by_box.insert(keyed.wanted.name.clone(), Reason { text, since: since.clone() });
            }
            Ok(None) => {}
            Err(error) => reasons.notes.push(note(&error)),
        }
    }
    reasons
}

async fn changes(
    ledger: Ledger<'_>,
    keyed: &ResolvedBox,
    old: &Key,
) -> Result<Option<Vec<Change>>, InputsError> {
    Ok(ledger.inputs(old).await?.map(|before| diff(&before, &keyed.manifest)))
}

/// Finds for each box the newest promotion that had it: of a tag that moves if there is one,
/// else of one that does not, else of one that no channel knows.
async fn bases(
    ledger: Ledger<'_>,
    project: &Project,
    missing: &[&ResolvedBox],
) -> Result<BTreeMap<String, (Tag, Key)>, LedgerError> {
    let mut last: BTreeMap<Tag, u32> = BTreeMap::new();
    for record in ledger.list().await?.into_keys() {
        if let RecordTag::Set { tag, seq } = record {
            let newest = last.entry(tag).or_default();
            *newest = seq.max(*newest);
        }
    }
    let mut ranked: BTreeMap<u8, Vec<(Tag, u32)>> = BTreeMap::new();
    for (tag, seq) in last {
        let rank = project.channel_of(&tag).map_or(2, |channel| u8::from(channel.immutable));
        ranked.entry(rank).or_default().push((tag, seq));
    }
    let mut found = BTreeMap::new();
    for tags in ranked.into_values() {
        let wanted: Vec<&str> = missing.iter().map(|keyed| keyed.wanted.name.as_str()).collect();
        if wanted.iter().all(|name| found.contains_key(*name)) {
            break;
        }
        // Of dated names the last ones are the newest.
        let mut sets: Vec<PromotionRecord> = stream::iter(tags.into_iter().rev().take(TAGS))
            .map(|(tag, seq)| set(ledger, tag, seq))
            .buffered(pace::RECORDS)
            .try_filter_map(|set| async move { Ok(set) })
            .try_collect()
            .await?;
        sets.sort_by_key(|set| std::cmp::Reverse(set.promoted));
        for set in sets {
            for of_set in set.boxes.into_iter().filter(|of_set| wanted.contains(&of_set.name.as_str())) {
                found.entry(of_set.name).or_insert((set.tag.clone(), of_set.key));
            }
        }
    }
    Ok(found)
}

async fn set(ledger: Ledger<'_>, tag: Tag, seq: u32) -> Result<Option<PromotionRecord>, LedgerError> {
    ledger.read(&ledger.tag(&RecordTag::Set { tag, seq })?).await
}

/// Names the first changes and counts the rest.
fn short(changes: &[Change], spec: &BoxSpec) -> String {
    let mut words: Vec<String> = changes.iter().map(|change| say(change, spec)).collect();
    // One parent may go by two names.
    words.dedup();
    let more = words.len().saturating_sub(NAMED);
    words.truncate(NAMED);
    let text = words.join("; ");
    if more == 0 { text } else { format!("{text}; and {more} more") }
}
