//! The marker that ends a generation.

use crate::exec::ledger::LedgerError;
use crate::exec::ledger::write::LedgerWriter;
use crate::model::{Marker, RecordTag};

/// Writes a marker and reads it back. Somebody else's ends the generation as well as ours.
pub(crate) async fn mark(ledger: LedgerWriter<'_>, marker: &Marker) -> Result<(), LedgerError> {
    let record = RecordTag::Over { key: marker.key.clone(), generation: marker.generation };
    let tag = ledger.tag(&record)?;
    match ledger.write(&tag, marker).await {
        Err(LedgerError::NotOurs { .. }) if ledger.read::<Marker>(&tag).await?.is_some() => Ok(()),
        written => written.map(drop),
    }
}
