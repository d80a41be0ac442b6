//! Writing to the ledger: what is written is read back, what is deleted is deleted by its digest.

use std::ops::Deref;

use bytes::Bytes;

use crate::exec::heal::{may_lack, put_or_heal};
use crate::exec::ledger::{Found, Ledger, LedgerError};
use crate::exec::pace;
use crate::exec::setting::{RegistryPorts, nonce};
use crate::model::{Digest, EMPTY_BLOB, RawManifest, Record, Repository, Tag, throwaway};
use crate::port::{DeleteSupport, Deleted, Registry, RegistryResult};

/// The ledger, for whoever may write to it.
#[derive(Clone, Copy)]
pub struct LedgerWriter<'a> {
    ledger: Ledger<'a>,
    pub(crate) registry: &'a dyn Registry,
}

impl<'a> Deref for LedgerWriter<'a> {
    type Target = Ledger<'a>;

    fn deref(&self) -> &Ledger<'a> {
        &self.ledger
    }
}

impl<'a> LedgerWriter<'a> {
    /// Uses `repository` as the ledger, unless this run writes nothing.
    pub fn new(ports: RegistryPorts<'a>, repository: &'a Repository) -> RegistryResult<Self> {
        Ok(Self { ledger: Ledger::new(ports.registry, repository), registry: ports.writer()? })
    }

    /// Writes a record and reads it back; returns its digest.
    pub async fn write<R: Record>(&self, tag: &Tag, record: &R) -> Result<Digest, LedgerError> {
        self.write_manifest(tag, &record.to_manifest()).await
    }

    /// Writes a record's manifest and reads it back; returns its digest.
    pub(crate) async fn write_manifest(
        &self,
        tag: &Tag,
        manifest: &RawManifest,
    ) -> Result<Digest, LedgerError> {
        self.put(tag, manifest).await?;
        self.read_back(tag, manifest).await?;
        Ok(manifest.digest().clone())
    }

    pub(crate) async fn put(&self, tag: &Tag, manifest: &RawManifest) -> RegistryResult<()> {
        let (registry, repository, at) = (self.registry, self.repository, tag.clone().into());
        // The first record of a ledger is refused for want of its blob. Where many runs write that at
        // once, docker-registry loses it again to another's upload of it.
        let blob = || async { registry.put_blob(repository, Bytes::from_static(EMPTY_BLOB)).await.map(drop) };
        put_or_heal(registry, repository, &at, manifest, &pace::UPLOADS, may_lack, blob).await
    }

    /// Deletes a record by its digest, so that another one under its tag is not hit.
    pub async fn delete(&self, digest: &Digest) -> Result<Deleted, LedgerError> {
        Ok(self.registry.delete(self.repository, digest).await?)
    }

    /// Removes a record's tag alone, whatever it holds: it is given to a manifest made for that, which
    /// is then deleted. Where nothing can be deleted it stays as it is.
    pub async fn remove(&self, tag: &Tag) -> Result<Deleted, LedgerError> {
        if self.registry.deleting(self.repository).await? == DeleteSupport::Nothing {
            return Ok(Deleted::Unsupported);
        }
        let stand_in = throwaway(&nonce());
        self.write_manifest(tag, &stand_in).await?;
        self.delete(stand_in.digest()).await
    }

    /// Deletes a record whose time, which stands in its tag, is over; nothing if it has vanished.
    pub(crate) async fn expire<R: Record>(&self, tag: &Tag) -> Result<Option<Deleted>, LedgerError> {
        Ok(match self.look::<R>(tag).await? {
            Found::Stands(record) => Some(self.delete(&record.digest).await?),
            // DeleteSupport what stands there may take another record along.
            Found::Unreadable { .. } => Some(self.remove(tag).await?),
            Found::Vanished => None,
        })
    }
}
