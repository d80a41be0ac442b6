//! What stands in the registry for a box: present, missing, broken or unknown.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::OnceCell;

use crate::exec::image::labels::{Inspected, Unread, inspect};
use crate::exec::keys::ResolvedBox;
use crate::exec::ledger::past::PastRecords;
use crate::exec::ledger::{Ledger, LedgerError};
use crate::exec::pace;
use crate::model::{
    AnyError, ErrorKind, Explained, Explanation, Generation, Key, Platform, RawManifest, RecordTag,
    Repository,
};
use crate::plan::{Recorded, Seen, State, Wanted};
use crate::port::{RegistryError, RegistryReader};

/// Observes all boxes at once. A box that is unknown says so in its state; nothing here fails.
pub async fn observe_all(
    registry: &dyn RegistryReader,
    ledger: &Repository,
    wanted: &[(Wanted, Platform)],
) -> BTreeMap<String, Seen> {
    let tombstones = &OnceCell::new();
    futures_util::stream::iter(wanted)
        .map(|(want, platform)| async move {
            (want.name.clone(), observe_beside(registry, ledger, want, platform, tombstones).await)
        })
        .buffer_unordered(pace::REQUESTS)
        .collect()
        .await
}

/// What stands for a box, and the bytes of its manifest where it is present.
pub(crate) struct Found {
    pub seen: Seen,
    pub manifest: Option<RawManifest>,
}

/// Observes all boxes at once, in their order, with the tombstones of a list of the ledger that is
/// read meanwhile.
pub(crate) async fn find_all<E>(
    registry: &dyn RegistryReader,
    boxes: &[ResolvedBox],
    past: impl Future<Output = Result<PastRecords, E>>,
) -> Result<(PastRecords, Vec<Found>), E> {
    let find = async |keyed: &ResolvedBox, generation| {
        find(registry, &keyed.wanted, generation, &keyed.spec.platform).await
    };
    let first = join_all(boxes.iter().map(|keyed| find(keyed, Generation(0))));
    let (past, first) = futures_util::try_join!(past, first.map(Ok))?;
    // What a tombstone ends does not count, whatever its tag holds.
    let found =
        boxes.iter().zip(first).map(async |(keyed, first)| match past.generation(keyed.wanted.key()) {
            Generation(0) => first,
            current => find(keyed, current).await,
        });
    let found = join_all(found).await;
    Ok((past, found))
}

/// How many tombstones of a key are asked for one by one before all are listed.
const LOOKS: u32 = 8;
/// How many are asked for in all.
const LOOKS_AT_MOST: u32 = 64;

/// Observes one box: the current generation of its key, and what stands under its tag.
pub async fn observe(
    registry: &dyn RegistryReader,
    ledger: &Repository,
    want: &Wanted,
    platform: &Platform,
) -> Seen {
    observe_beside(registry, ledger, want, platform, &OnceCell::new()).await
}

/// Observes one of several boxes: of `tombstones`, a list of the ledger, all need one at most.
async fn observe_beside(
    registry: &dyn RegistryReader,
    ledger: &Repository,
    want: &Wanted,
    platform: &Platform,
    tombstones: &OnceCell<PastRecords>,
) -> Seen {
    let list = Ledger::new(registry, ledger);
    let mut generation = Generation(0);
    for looks in 1..=LOOKS_AT_MOST {
        // Tombstone and tag are asked for together; the tag's answer counts only without a tombstone.
        let (over, found) = tokio::join!(
            is_over(registry, ledger, want.key(), generation),
            find(registry, want, generation, platform),
        );
        match over {
            // A key is rebuilt a few times; where somebody wrote more tombstones one list tells of all.
            Ok(true) if looks == LOOKS => match tombstones.get_or_try_init(|| list.tombstones()).await {
                Ok(past) => generation = past.generation(want.key()).max(generation.next()),
                Err(error) => return Seen { generation, state: State::Unknown(error.into()) },
            },
            Ok(true) => generation = generation.next(),
            Ok(false) => return found.seen,
            Err(error) => return Seen { generation, state: State::Unknown(error.into()) },
        }
    }
    let outrun = LedgerError::Outrun { key: want.key().clone() };
    Seen { generation, state: State::Unknown(outrun.into()) }
}

/// Returns the sizes of what stands, in bytes.
pub(crate) fn sizes(seen: &BTreeMap<String, Seen>) -> BTreeMap<String, u64> {
    seen.iter().filter_map(|(name, seen)| Some((name.clone(), seen.size()?))).collect()
}

async fn is_over(
    registry: &dyn RegistryReader,
    ledger: &Repository,
    key: &Key,
    generation: Generation,
) -> Result<bool, RegistryError> {
    let tombstone = RecordTag::Over { key: key.clone(), generation };
    // `over.`, a key and a number: never longer than a tag may be.
    let Ok(tag) = tombstone.tag() else { return Ok(false) };
    Ok(registry.head(ledger, &tag.into()).await?.is_some())
}

/// Looks at one generation of a box, whether a tombstone ends it or not.
async fn find(
    registry: &dyn RegistryReader,
    want: &Wanted,
    generation: Generation,
    platform: &Platform,
) -> Found {
    let at = want.tag.with_generation(generation).tag().into();
    let inspected = inspect(registry, &want.repository, &at, platform).await;
    let absent = |state| Found { seen: Seen { generation, state }, manifest: None };
    let broken = |why: &str| absent(State::Broken { why: why.to_owned() });
    match inspected {
        Ok(None) => absent(State::Missing),
        Err(Unread::Registry(error)) => absent(State::Unknown(error.into())),
        Err(Unread::Broken(why)) => absent(State::Broken { why }),
        Ok(Some(Inspected { labels, .. })) if labels.key.as_ref() != Some(want.key()) => {
            broken("its labels hold another key")
        }
        Ok(Some(Inspected { labels, .. })) if labels.generation != Some(generation) => {
            broken("its labels hold another generation")
        }
        Ok(Some(Inspected { manifest, labels, size })) => {
            let (digest, recorded) = (manifest.digest().clone(), Recorded { parents: labels.parents, size });
            let seen = Seen { generation, state: State::Present { digest, recorded } };
            Found { seen, manifest: Some(manifest) }
        }
    }
}

/// The registry did not say whether a box is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error} (box {name})")]
pub struct Unanswered {
    pub name: String,
    /// The request that failed and how.
    pub error: AnyError,
}

impl Explained for Unanswered {
    fn explain(&self) -> Explanation<'_> {
        Explanation { kind: ErrorKind::Unreachable, ..self.error.explain() }
    }
}

/// Checks that the registry said of each box what stands.
pub fn all_known(seen: &BTreeMap<String, Seen>) -> Result<(), Unanswered> {
    for (name, seen) in seen {
        if let State::Unknown(error) = &seen.state {
            return Err(Unanswered { name: name.clone(), error: error.clone() });
        }
    }
    Ok(())
}
