//! What Dockerfiles need and the engine at hand cannot do.

use crate::exec::keys::ResolvedBox;
use crate::inputs::{Need, NeedKind};
use crate::model::{ErrorKind, Explained, Explanation};

/// The engine's own frontend cannot read what the boxes to be built need.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this engine is Docker Engine {version}, which is too old for {}", list(places))]
pub struct UnmetRequirements {
    pub version: String,
    /// The boxes, each with a place in its Dockerfile.
    pub places: Vec<(String, Need)>,
}

impl Explained for UnmetRequirements {
    fn explain(&self) -> Explanation<'_> {
        ErrorKind::Failed.hint(
            "build on a later engine, or begin the Dockerfile with a line such as `# syntax=docker/dockerfile:1`, which fetches a frontend",
        )
    }
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
pub fn unmet<'a>(version: &str, boxes: impl Iterator<Item = &'a ResolvedBox>) -> Option<UnmetRequirements> {
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
    (!places.is_empty()).then(|| UnmetRequirements { version: version.to_owned(), places })
}
