//! What is looked at before the first build, so that no box is built and pushed for the sake of
//! one that cannot be: secrets, what the engine can do, and room.

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::build::engine_needs::unmet;
use crate::exec::build::error::BuildError;
use crate::exec::build::secrets;
use crate::exec::event::{Emit, Event};
use crate::exec::keys::ResolvedBox;
use crate::exec::setting::EnginePorts;
use crate::model::EntryKind;
use crate::plan::{Seen, plan};
use crate::port::{DiskSpace, EngineError};

/// Where less is free than this, in bytes, no build ends well.
const LEAST: u64 = 16_000_000;

/// Checks the boxes that are about to be built; the engine is asked for its `version` only if there
/// are some. One that does not answer is left to the first build to tell of.
pub(super) async fn check(
    ports: EnginePorts<'_>,
    version: impl Future<Output = Result<&str, EngineError>>,
    boxes: &[ResolvedBox],
    seen: &BTreeMap<String, Seen>,
    emit: Emit<'_>,
) -> Result<(), BuildError> {
    let decisions = plan(boxes.iter().map(|keyed| &keyed.wanted), seen, true);
    let missing = boxes.iter().zip(decisions).filter(|(_, decision)| decision.is_build());
    let missing: Vec<&ResolvedBox> = missing.map(|(keyed, _)| keyed).collect();
    if missing.is_empty() {
        return Ok(());
    }
    secrets::check(ports.secrets, &missing).await?;
    let Ok(version) = version.await else { return Ok(()) };
    if let Some(beyond) = unmet(version, missing.iter().copied()) {
        return Err(beyond.into());
    }
    let Ok(Some(room)) = ports.store.room().await else { return Ok(()) };
    if room.free < LEAST {
        let DiskSpace { path, free } = room;
        return Err(BuildError::NoRoom { path, free });
    }
    let needed = bytes_needed(&missing, seen);
    if room.free < needed {
        emit(Event::LowDiskSpace { room, needed });
    }
    Ok(())
}

/// Returns what is known of the bytes that the builds bring into the engine, as far as it has none
/// of them yet: contexts, the images that stand which they begin with, and those they take the
/// place of. Layers are counted as they are stored, compressed; what steps write is not known.
fn bytes_needed(missing: &[&ResolvedBox], seen: &BTreeMap<String, Seen>) -> u64 {
    let entries = missing.iter().flat_map(|keyed| {
        let directories = keyed.directories.values().flat_map(|directory| &directory.entries);
        keyed.manifest.entries.iter().chain(directories)
    });
    let files = entries.filter_map(|entry| match &entry.kind {
        EntryKind::File { digest, size, .. } => Some((digest, *size)),
        EntryKind::Symlink { .. } | EntryKind::Directory => None,
    });
    // The engine keeps equal files of one context once, and may keep those of others apart.
    let files: BTreeMap<_, u64> = files.collect();
    let parents = missing.iter().flat_map(|keyed| &keyed.wanted.parents);
    let images: BTreeSet<&String> = missing.iter().map(|keyed| &keyed.wanted.name).chain(parents).collect();
    let images = images.into_iter().filter_map(|name| seen.get(name)?.size());
    files.into_values().chain(images).fold(0, u64::saturating_add)
}
