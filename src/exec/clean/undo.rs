//! Takes deletions back that took more along than they were meant to.
//!
//! A delete takes every tag of its digest. Between the last look and the delete somebody may
//! have moved a tag onto it that has to stay, and most registries leave it lost. Where one can
//! bring back what was deleted ([`Registry::restores`]) every tag that was to stay is looked for
//! afterwards. What comes back is as it was, and the next sweep decides about it anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::event::{Emit, Event};
use crate::model::{Digest, Repository, Tag};
use crate::port::{Registry, RegistryError, RegistryReader};

/// Something that was deleted.
pub(crate) struct Gone {
    /// Its place among the deletions.
    pub(crate) image: usize,
    pub(crate) repository: Repository,
    pub(crate) digest: Digest,
}

/// Looks whether what stays still stands, and brings back what was deleted last until it does.
/// `stays` holds the tags by repository; returns the places of what came back.
pub(crate) async fn undo(
    registry: &dyn Registry,
    gone: &[Gone],
    stays: &BTreeMap<String, BTreeSet<Tag>>,
    emit: Emit<'_>,
) -> Vec<usize> {
    let note = |text| emit(Event::Note { text });
    let mut back = Vec::new();
    let repositories: BTreeSet<&Repository> = gone.iter().map(|one| &one.repository).collect();
    for repository in repositories.into_iter().filter(|at| registry.restores(at)) {
        let Some(stays) = stays.get(repository.name()) else { continue };
        let unseen = |error| format!("{repository}: whether every tag still stands was not seen: {error}");
        let mut lost = match lost(registry, repository, stays).await {
            Ok(lost) => lost,
            Err(error) => {
                note(unseen(error));
                continue;
            }
        };
        for one in gone.iter().rev().filter(|one| one.repository == *repository) {
            if lost.is_empty() {
                break;
            }
            let what = format!("{repository}@{}", one.digest);
            match registry.restore(repository, &one.digest).await {
                Ok(true) => {
                    note(format!("{what} was brought back, for {} went with it or before", names(&lost)))
                }
                Ok(false) => continue,
                Err(error) => {
                    note(format!("{what} should come back, for {} is gone: {error}", names(&lost)));
                    continue;
                }
            }
            back.push(one.image);
            match still_lost(registry, repository, &lost).await {
                Ok(left) => lost = left,
                Err(error) => note(unseen(error)),
            }
        }
        if !lost.is_empty() {
            note(format!("{repository}: {} stood before this sweep, and is gone", names(&lost)));
        }
    }
    back
}

/// Returns those tags that are no longer there.
async fn lost(
    registry: &dyn RegistryReader,
    repository: &Repository,
    stays: &BTreeSet<Tag>,
) -> Result<BTreeSet<Tag>, RegistryError> {
    let listed = registry.tags(repository).await?.tags;
    still_lost(registry, repository, &stays.difference(&listed).cloned().collect()).await
}

async fn still_lost(
    registry: &dyn RegistryReader,
    repository: &Repository,
    tags: &BTreeSet<Tag>,
) -> Result<BTreeSet<Tag>, RegistryError> {
    let mut lost = BTreeSet::new();
    for tag in tags {
        if registry.head(repository, &tag.clone().into()).await?.is_none() {
            lost.insert(tag.clone());
        }
    }
    Ok(lost)
}

fn names(tags: &BTreeSet<Tag>) -> String {
    tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", ")
}
