//! The tombstone that ends a generation.

use crate::exec::ledger::LedgerError;
use crate::exec::ledger::write::LedgerWriter;
use crate::model::{RecordTag, Tombstone};

/// Writes a tombstone and reads it back. Somebody else's ends the generation as well as ours.
pub(crate) async fn mark(ledger: LedgerWriter<'_>, tombstone: &Tombstone) -> Result<(), LedgerError> {
    let record = RecordTag::Over { key: tombstone.key.clone(), generation: tombstone.generation };
    let tag = ledger.tag(&record)?;
    match ledger.write(&tag, tombstone).await {
        Err(LedgerError::NotOurs { .. }) if ledger.read::<Tombstone>(&tag).await?.is_some() => Ok(()),
        written => written.map(drop),
    }
}
