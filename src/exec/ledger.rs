//! Records in the ledger: written, read back, listed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{
    Digest, EMPTY_BLOB, Key, Lease, Record, RecordError, RecordTag, Repository, RunId, SetRecord, Span, Tag,
    Timestamp,
};
use crate::plan::Past;
use crate::port::{Clock, Deleted, Failure, Reference, Registry, RegistryError};

/// The ledger of one project.
#[derive(Clone, Copy)]
pub struct Ledger<'a> {
    registry: &'a dyn Registry,
    repository: &'a Repository,
}

/// Why a record could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The registry did not answer as needed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A record cannot be made or read.
    #[error("ledger {repository}, tag {tag}: {source}")]
    Record {
        /// The ledger.
        repository: Repository,
        /// The record's tag.
        tag: String,
        /// What is wrong with it.
        source: RecordError,
    },
    /// Another record stands where ours was just written.
    #[error("ledger {repository}: {tag} was written, but reads back as {found}")]
    NotOurs {
        /// The ledger.
        repository: Repository,
        /// The record's tag.
        tag: Tag,
        /// What was read.
        found: String,
    },
    /// The list holds names that are no tags.
    #[error("ledger {repository} lists `{name}`, which is no tag")]
    Foreign {
        /// The ledger.
        repository: Repository,
        /// The name.
        name: String,
    },
}

/// A lease that this process holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// The lease as it was written.
    pub lease: Lease,
    /// Its record's digest.
    pub digest: Digest,
    /// Elapsed time when it was taken.
    taken: Duration,
    span: Span,
}

impl Held {
    /// Returns what is left of it, by a clock that counts suspended time.
    pub fn left(&self, clock: &dyn Clock) -> Span {
        let gone = clock.elapsed().saturating_sub(self.taken).as_secs();
        Span::from_seconds(self.span.seconds().saturating_sub(gone))
    }

    /// Returns the registry's time now, counted on from when the lease was taken.
    pub fn now(&self, clock: &dyn Clock) -> Timestamp {
        let gone = clock.elapsed().saturating_sub(self.taken).as_secs();
        self.lease.taken.after(Span::from_seconds(gone))
    }
}

impl<'a> Ledger<'a> {
    /// Uses `repository` of `registry` as the ledger.
    pub fn new(registry: &'a dyn Registry, repository: &'a Repository) -> Self {
        Self { registry, repository }
    }

    /// Returns the registry's time.
    pub async fn now(&self) -> Result<Timestamp, LedgerError> {
        Ok(self.registry.now(self.repository.host()).await?)
    }

    /// Writes a record and reads it back; returns its digest.
    pub async fn write<R: Record>(&self, tag: &Tag, record: &R) -> Result<Digest, LedgerError> {
        let manifest = record.to_manifest();
        let at = Reference::Tag(tag.clone());
        let first = self.registry.put(self.repository, &at, &manifest).await;
        if let Err(error) = first {
            // A registry refuses a manifest whose blobs it lacks: the first record of a ledger.
            if !matches!(error.failure, Failure::Status { status: 400 | 404, .. }) {
                return Err(error.into());
            }
            self.registry.put_blob(self.repository, Bytes::from_static(EMPTY_BLOB)).await?;
            self.registry.put(self.repository, &at, &manifest).await?;
        }
        let found = self.registry.head(self.repository, &at).await?;
        if found.as_ref() != Some(manifest.digest()) {
            return Err(LedgerError::NotOurs {
                repository: self.repository.clone(),
                tag: tag.clone(),
                found: found.map_or_else(|| "missing".to_owned(), |digest| digest.to_string()),
            });
        }
        Ok(manifest.digest().clone())
    }

    /// Reads a record; nothing if it is not there.
    pub async fn read<R: Record>(&self, tag: &Tag) -> Result<Option<R>, LedgerError> {
        let Some(raw) = self.registry.get(self.repository, &tag.clone().into()).await? else {
            return Ok(None);
        };
        R::from_manifest(&raw).map(Some).map_err(|source| self.bad(tag, source))
    }

    /// Asks whether a record stands.
    pub async fn has(&self, tag: &Tag) -> Result<bool, LedgerError> {
        Ok(self.registry.head(self.repository, &tag.clone().into()).await?.is_some())
    }

    /// Lists all records by what their tags say; tags of others are passed over.
    pub async fn list(&self) -> Result<BTreeMap<RecordTag, Tag>, LedgerError> {
        let list = self.registry.tags(self.repository).await?;
        if let Some(name) = list.invalid.into_iter().next() {
            return Err(LedgerError::Foreign {
                repository: self.repository.clone(),
                name: crate::model::printable(&name, 80),
            });
        }
        Ok(list.tags.into_iter().filter_map(|tag| Some((RecordTag::read(&tag)?, tag))).collect())
    }

    /// Deletes a record by its digest, so that another one under its tag is not hit.
    pub async fn delete(&self, digest: &Digest) -> Result<Deleted, LedgerError> {
        Ok(self.registry.delete(self.repository, digest).await?)
    }

    /// Returns the digest under a record's tag.
    pub async fn digest(&self, tag: &Tag) -> Result<Option<Digest>, LedgerError> {
        Ok(self.registry.head(self.repository, &tag.clone().into()).await?)
    }

    /// Takes a lease on `keys` for `span`.
    pub async fn lease(
        &self,
        run: &RunId,
        attempt: u32,
        keys: Vec<Key>,
        span: Span,
        clock: &dyn Clock,
    ) -> Result<Held, LedgerError> {
        let now = self.now().await?;
        let taken = clock.elapsed();
        let lease =
            Lease { taken: now, expiry: now.after(span), run: run.clone(), attempt, nonce: nonce(), keys };
        let tag = lease.tag().map_err(|error| self.bad_tag("lease", error))?;
        let digest = self.write(&tag, &lease).await?;
        Ok(Held { lease, digest, taken, span })
    }

    /// Reads all leases that are live at `now`.
    pub async fn live_leases(&self, now: Timestamp) -> Result<Vec<Lease>, LedgerError> {
        let mut leases = Vec::new();
        for (record, tag) in self.list().await? {
            let RecordTag::Lease { expiry, .. } = record else { continue };
            if crate::retention::is_live(expiry, now)
                && let Some(lease) = self.read::<Lease>(&tag).await?
            {
                leases.push(lease);
            }
        }
        Ok(leases)
    }

    /// Reads the last finished and the last begun promotion of a tag.
    pub async fn past(&self, promoted: &Tag) -> Result<PastRecords, LedgerError> {
        let (mut set, mut plan) = (None, None);
        for (record, tag) in self.list().await? {
            match record {
                RecordTag::Set { tag: name, seq } if name == *promoted => {
                    set = set.filter(|(last, _)| *last > seq).or(Some((seq, tag)));
                }
                RecordTag::Plan { tag: name, seq } if name == *promoted => {
                    plan = plan.filter(|(last, _)| *last > seq).or(Some((seq, tag)));
                }
                _ => {}
            }
        }
        let mut past = PastRecords::default();
        if let Some((_, tag)) = set {
            past.set = self.read(&tag).await?;
        }
        if let Some((_, tag)) = plan {
            past.plan = self.read(&tag).await?;
        }
        Ok(past)
    }

    fn bad(&self, tag: &Tag, source: RecordError) -> LedgerError {
        LedgerError::Record { repository: self.repository.clone(), tag: tag.to_string(), source }
    }

    pub(super) fn bad_tag(&self, tag: &str, error: crate::model::TagError) -> LedgerError {
        LedgerError::Record { repository: self.repository.clone(), tag: tag.to_owned(), source: error.into() }
    }
}

/// The last records of a tag's promotions.
#[derive(Debug, Clone, Default)]
pub struct PastRecords {
    set: Option<SetRecord>,
    plan: Option<SetRecord>,
}

impl PastRecords {
    /// Lends them to a plan.
    pub fn as_past(&self) -> Past<'_> {
        Past { set: self.set.as_ref(), plan: self.plan.as_ref() }
    }
}

/// Eight hex digits that no other process of this moment has.
pub(super) fn nonce() -> String {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds this from the system's random source, once a process.
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("{:08x}", hasher.finish() as u32)
}
