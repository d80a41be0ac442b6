//! Replacing the images of keys: a tombstone ends the current generation of each, and the next
//! build makes the one after it.
//!
//! What stood stays for as long as a lease, a promotion or the grace of the tombstone keeps it.

use crate::exec::event::{Emit, Event};
use crate::exec::image::probe::{Unanswered, all_known, observe_all};
use crate::exec::keys::ResolvedBox;
use crate::exec::ledger::LedgerError;
use crate::exec::ledger::tombstone::mark;
use crate::exec::ledger::write::LedgerWriter;
use crate::exec::setting::{RegistryPorts, RunContext};
use crate::model::{Digest, Explained, Explanation, Generation, TaggedDigest, Tombstone};
use crate::plan::{Seen, State};

/// A generation that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The box.
    pub name: String,
    /// The generation that stood; nothing if none did.
    pub generation: Option<Generation>,
}

/// Why images were not replaced.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The ledger did not answer as needed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry did not say what stands; nothing was marked.
    #[error(transparent)]
    Unknown(#[from] Unanswered),
}

impl Explained for RebuildError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Ledger(error) => error.explain(),
            Self::Unknown(error) => error.explain(),
        }
    }
}

/// Finds out which generations would be replaced, and with `apply` ends them. A key of which
/// nothing stands is left alone: whoever builds it makes a new image anyway.
pub async fn replace(
    ports: RegistryPorts<'_>,
    setting: &RunContext,
    boxes: &[&ResolvedBox],
    apply: bool,
    emit: Emit<'_>,
) -> Result<Vec<Replaced>, RebuildError> {
    let wanted: Vec<_> =
        boxes.iter().map(|keyed| (keyed.wanted.clone(), keyed.spec.platform.clone())).collect();
    let seen = observe_all(ports.registry, &setting.ledger, &wanted).await;
    all_known(&seen)?;
    let mut replaced = Vec::new();
    for keyed in boxes {
        let Some(seen) = seen.get(&keyed.wanted.name) else { continue };
        let stands = seen.state != State::Missing;
        if stands && apply {
            let ledger = LedgerWriter::new(ports, &setting.ledger).map_err(LedgerError::from)?;
            end(setting, ledger, keyed, seen, emit).await?;
        }
        let generation = Some(seen.generation).filter(|_| stands);
        replaced.push(Replaced { name: keyed.wanted.name.clone(), generation });
    }
    Ok(replaced)
}

/// Ends the generation that was seen of a box.
async fn end(
    setting: &RunContext,
    ledger: LedgerWriter<'_>,
    keyed: &ResolvedBox,
    seen: &Seen,
    emit: Emit<'_>,
) -> Result<(), LedgerError> {
    let (generation, repository) = (seen.generation, &keyed.wanted.repository);
    let tag = keyed.wanted.tag.with_generation(generation).tag();
    let image = |digest: &Digest| TaggedDigest {
        repository: repository.name().to_owned(),
        tag: tag.clone(),
        digest: digest.clone(),
    };
    let tombstone = Tombstone {
        key: keyed.wanted.key().clone(),
        generation,
        marked: ledger.now().await?,
        reason: format!("replaced by run {}", setting.run),
        images: seen.state.digest().map(image).into_iter().collect(),
        parts: Default::default(),
    };
    mark(ledger, &tombstone).await?;
    emit(Event::Condemned { reference: format!("{repository}:{tag}") });
    Ok(())
}
