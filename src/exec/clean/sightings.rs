//! Sightings as they stand in their own repository: listed, written, forgotten.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};

use crate::exec::ledger::write::LedgerWriter;
use crate::exec::ledger::{Ledger, LedgerError};
use crate::exec::pace;
use crate::model::{Digest, Place, Record, RecordTag, Sighting, Timestamp};
use crate::port::{Deleted, RegistryError};
use crate::retention::{Age, Observed, Sightings};

/// Reads all sightings of a repository. Other tags there are nobody's business.
pub(crate) async fn list(at: Ledger<'_>) -> Result<Sightings, RegistryError> {
    let list = at.registry.tags(at.repository()).await?;
    Ok(list.tags.iter().filter_map(Sighting::read).collect())
}

/// Notes records, all as seen at `seen`, the registry's true time.
pub(crate) async fn note(
    at: LedgerWriter<'_>,
    records: impl Iterator<Item = (RecordTag, Digest)>,
    seen: Timestamp,
    is_own: bool,
) -> Result<(), LedgerError> {
    let sightings: Vec<Sighting> =
        records.map(|(place, record)| Sighting::new(&place, &record, seen, is_own)).collect();
    let writes = sightings.iter().map(|one| async move {
        let tag = one.tag().map_err(|error| at.bad_tag(&one.to_string(), error))?;
        at.write_manifest(&tag, &one.to_manifest()).await
    });
    futures_util::stream::iter(writes).buffer_unordered(pace::RECORDS).try_collect::<Vec<_>>().await.map(drop)
}

/// Returns how long each tombstone and announcement has stood.
pub(crate) fn ages(sightings: &Sightings, observed: &Observed) -> BTreeMap<RecordTag, Age> {
    let age = |(place, record): (RecordTag, Digest)| {
        let age = sightings.age(&place, &record);
        (place, age)
    };
    judging(observed).map(age).collect()
}

/// Lists the records that let something go. They were read as the very bytes that we would write.
fn judging(observed: &Observed) -> impl Iterator<Item = (RecordTag, Digest)> {
    let tombstones = observed.tombstones.iter().map(|one| (one.place(), one.to_manifest().digest().clone()));
    let endings = observed.endings.iter().map(|one| (one.place(), one.to_manifest().digest().clone()));
    tombstones.chain(endings)
}

/// Returns the sightings of what is gone: of records whose tag is no longer listed, and of tombstones and
/// announcements that another one took the place of. That of a promotion stays, for it tells that
/// the record was changed.
pub(crate) fn stale<'a>(
    sightings: &Sightings,
    observed: &Observed,
    listed: impl Iterator<Item = &'a RecordTag>,
) -> Vec<Sighting> {
    let listed: BTreeSet<Place> = listed.map(Place::of).collect();
    let judging: BTreeMap<Place, Digest> =
        judging(observed).map(|(place, digest)| (Place::of(&place), digest)).collect();
    let is_stale = |one: &&Sighting| {
        !listed.contains(one.place()) || judging.get(one.place()).is_some_and(|stands| !one.is_of(stands))
    };
    sightings.iter().filter(is_stale).cloned().collect()
}

/// Deletes sightings.
pub(crate) async fn forget(at: LedgerWriter<'_>, stale: &[Sighting]) -> Result<(), LedgerError> {
    for one in stale {
        if at.delete(one.to_manifest().digest()).await? == Deleted::Unsupported {
            break;
        }
    }
    Ok(())
}
