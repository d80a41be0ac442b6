//! Keeps what a sweep is about to delete: the manifests' bytes, in records of the ledger, several in
//! each. What is not kept, or does not read back, is said, and is then not deleted.

use std::collections::BTreeMap;

use futures_util::StreamExt;

use crate::exec::clean::error::CleanOptions;
use crate::exec::clean::sightings;
use crate::exec::ledger::LedgerError;
use crate::exec::ledger::write::LedgerWriter;
use crate::exec::pace;
use crate::exec::setting::nonce;
use crate::model::{Digest, KeptManifest, RawManifest, Record, Repository, RunId, UNDO_LIMIT, UndoRecord};
use crate::port::{DeleteSupport, Registry};
use crate::protocol::Keeping;
use crate::retention::{Doomed, Goes};

/// What a record says of each manifest beside its bytes, in bytes at most: names, with their quotes escaped.
const OVERHEAD: usize = 1024;
/// Manifests that are held in memory at once.
const READ_AT_ONCE: usize = 256;

/// Keeps manifests, for as long as deletions can be undone.
pub(crate) struct Keeper<'a> {
    pub registry: &'a dyn Registry,
    pub ledger: LedgerWriter<'a>,
    /// Where it is noted that a record is a sweep's own.
    pub sightings: Option<LedgerWriter<'a>>,
    pub options: &'a CleanOptions,
    pub run: &'a RunId,
}

/// Manifests on their way into one record, with their places among the deletions.
#[derive(Default)]
struct Batch {
    size: usize,
    manifests: Vec<(usize, KeptManifest)>,
}

impl Keeper<'_> {
    /// Keeps the manifests of all that is to be deleted; tells what became of each.
    pub async fn keep(&self, doomed: &[Doomed]) -> BTreeMap<usize, Keeping> {
        let mut kept = BTreeMap::new();
        let mut wanted = Vec::new();
        for repository in &self.options.repositories {
            let mine = |one: &&Doomed| one.goes != Goes::Tag && one.seen.repository == repository.name();
            let mut of_this = doomed.iter().enumerate().filter(|(_, one)| mine(one)).peekable();
            if of_this.peek().is_none() {
                continue;
            }
            match self.registry.deleting(repository).await {
                // Every sweep would keep it anew, and none could take it away again.
                Ok(DeleteSupport::Nothing) => kept.extend(of_this.map(|(at, _)| (at, Keeping::Unsupported))),
                Ok(_) | Err(_) => wanted.extend(of_this.map(|(at, one)| (at, one, repository))),
            }
        }
        // In the order of their deletion.
        wanted.sort_by_key(|(at, ..)| *at);
        let mut batch = Batch::default();
        for some in wanted.chunks(READ_AT_ONCE) {
            let reads = some.iter().map(|(at, one, repository)| async move {
                (*at, *one, self.read(repository, &one.seen.digest).await)
            });
            let read: Vec<_> = futures_util::stream::iter(reads).buffered(pace::REQUESTS).collect().await;
            for (at, one, read) in read {
                let manifest = match read {
                    Ok(manifest) => manifest,
                    Err(keeping) => {
                        kept.insert(at, keeping);
                        continue;
                    }
                };
                let Some(key) = one.key.clone() else { continue };
                let size = manifest.bytes().len() + OVERHEAD;
                if batch.size + size > UNDO_LIMIT {
                    kept.extend(self.write(std::mem::take(&mut batch)).await);
                }
                let tag = (one.goes == Goes::Image).then(|| one.seen.tag.clone());
                let manifest = KeptManifest::new(one.seen.repository.clone(), tag, key, &manifest);
                batch.size += size;
                batch.manifests.push((at, manifest));
            }
        }
        kept.extend(self.write(batch).await);
        kept
    }

    /// Reads a manifest that is to be deleted.
    async fn read(&self, repository: &Repository, digest: &Digest) -> Result<RawManifest, Keeping> {
        match self.registry.get(repository, &digest.clone().into()).await {
            Ok(Some(manifest)) if manifest.bytes().len() <= UNDO_LIMIT => Ok(manifest),
            Ok(Some(manifest)) => Err(Keeping::Failed(format!(
                "its manifest of {} bytes is too large to be kept; [clean] undo = \"0s\" deletes without",
                manifest.bytes().len()
            ))),
            Ok(None) => Err(Keeping::Gone),
            Err(error) => Err(Keeping::Failed(format!("its manifest could not be kept: {error}"))),
        }
    }

    /// Writes a record; tells what became of its manifests.
    async fn write(&self, batch: Batch) -> Vec<(usize, Keeping)> {
        let (places, manifests): (Vec<usize>, Vec<KeptManifest>) = batch.manifests.into_iter().unzip();
        if places.is_empty() {
            return Vec::new();
        }
        let keeping = match self.record(manifests).await {
            Ok(()) => Keeping::Kept,
            Err(error) => Keeping::Failed(format!("its manifest could not be kept: {error}")),
        };
        places.into_iter().map(|at| (at, keeping.clone())).collect()
    }

    async fn record(&self, manifests: Vec<KeptManifest>) -> Result<(), LedgerError> {
        // The registry's true time, however far ahead the sweep looks.
        let kept = self.ledger.now().await?;
        let expiry = kept.after(self.options.undo);
        let record = UndoRecord { kept, expiry, run: self.run.clone(), nonce: nonce(), manifests };
        let digest = self.ledger.write(&self.ledger.tag(&record.place())?, &record).await?;
        match self.sightings {
            Some(at) => sightings::note(at, std::iter::once((record.place(), digest)), kept, true).await,
            None => Ok(()),
        }
    }
}
