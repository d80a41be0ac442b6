//! What Dockerfiles need and the engine at hand cannot do: looked for before the first build,
//! so that no box is built and pushed for the sake of one that cannot be built.

use std::collections::BTreeMap;

use super::keys::Keyed;
use super::make::Maker;
use crate::inputs::{Need, NeedKind};
use crate::plan::{Action, Seen, plan};

/// The engine's own frontend cannot read what the boxes to be built need.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this engine is Docker Engine {version}, which is too old for {}", list(places))]
pub struct Beyond {
    /// The engine's version.
    pub version: String,
    /// The boxes, each with a place in its Dockerfile.
    pub places: Vec<(String, Need)>,
}

fn list(places: &[(String, Need)]) -> String {
    let place = |(name, Need { kind, at }): &(String, Need)| {
        format!(
            "\nbox {name}: {at}: {kind} needs Docker Engine {} or later{}",
            kind.least_engine(),
            at.excerpt()
        )
    };
    places.iter().map(place).collect()
}

/// Returns every place in these boxes that is beyond an engine of this version.
pub fn beyond<'a>(version: &str, boxes: impl Iterator<Item = &'a Keyed>) -> Option<Beyond> {
    let major: u32 = version.split('.').next()?.parse().ok()?;
    let mut places = Vec::new();
    for keyed in boxes {
        // Another frontend is fetched, whatever the engine's own can do.
        if keyed.needs().iter().any(|need| matches!(need.kind, NeedKind::Syntax(_))) {
            continue;
        }
        let beyond = keyed.needs().iter().filter(|need| need.kind.least_engine() > major);
        places.extend(beyond.map(|need| (keyed.wanted.name.clone(), need.clone())));
    }
    (!places.is_empty()).then(|| Beyond { version: version.to_owned(), places })
}

/// Checks the boxes that are about to be built. An engine that does not answer is left to the
/// first build to tell of.
pub(super) async fn check(
    maker: &Maker<'_>,
    boxes: &[Keyed],
    seen: &BTreeMap<String, Seen>,
) -> Result<(), Beyond> {
    let wanted: Vec<_> = boxes.iter().map(|keyed| keyed.wanted.clone()).collect();
    let rows = plan(&wanted, seen);
    let missing = boxes.iter().zip(rows).filter(|(_, row)| row.action == Action::Build);
    let missing: Vec<&Keyed> = missing.map(|(keyed, _)| keyed).collect();
    if missing.iter().all(|keyed| keyed.needs().is_empty()) {
        return Ok(());
    }
    let Ok(version) = maker.version().await else { return Ok(()) };
    beyond(version, missing.into_iter()).map_or(Ok(()), Err)
}
