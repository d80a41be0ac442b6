//! Input manifests in the ledger: stored once an image stands, read to say what moved since.

use crate::exec::keys::ResolvedBox;
use crate::exec::ledger::write::LedgerWriter;
use crate::exec::ledger::{Ledger, LedgerError};
use crate::inputs::{InputManifest, PACKED_LIMIT, PackError};
use crate::model::{
    Digest, ErrorKind, Explained, Explanation, Key, RecordTag, Repository, StoredInputs, Tag,
};
use crate::port::RegistryError;

/// Why inputs could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum InputsError {
    /// The ledger did not answer as needed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry did not take or give the layer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What was to be stored or is stored cannot be used.
    #[error("ledger {repository}: the inputs of key {key} are unusable: {source}")]
    Unusable { repository: Repository, key: Key, source: PackError },
    /// The record's layer is gone.
    #[error("ledger {repository}: the inputs of key {key} are damaged: blob {digest} is missing")]
    NoLayer { repository: Repository, key: Key, digest: Digest },
    /// The worker that packed or unpacked them ended without a result.
    #[error("the inputs of key {key} were not worked through")]
    CutOff { key: Key },
}

impl Explained for InputsError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Ledger(error) => error.explain(),
            Self::Registry(error) => error.explain(),
            Self::Unusable { .. } | Self::NoLayer { .. } | Self::CutOff { .. } => ErrorKind::Failed.into(),
        }
    }
}

/// Stores the inputs of a box unless they stand.
pub(crate) async fn store(ledger: LedgerWriter<'_>, keyed: &ResolvedBox) -> Result<(), InputsError> {
    let key = keyed.wanted.key();
    let tag = tag(*ledger, key)?;
    if ledger.has(&tag).await? {
        return Ok(());
    }
    let manifest = keyed.manifest.clone();
    let packed =
        work(key, move || manifest.pack()).await?.map_err(|source| unusable(*ledger, key, source))?;
    let size = packed.len() as u64;
    let digest = ledger.registry.put_blob(ledger.repository(), packed.into()).await?;
    match ledger.write_manifest(&tag, &StoredInputs { digest, size }.to_manifest()).await {
        // Another run's, packed by another version: it says the same.
        Ok(_) | Err(LedgerError::NotOurs { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Ledger<'_> {
    /// Reads the inputs that a key was computed from; nothing if they were not stored.
    pub async fn inputs(self, key: &Key) -> Result<Option<InputManifest>, InputsError> {
        let tag = tag(self, key)?;
        let Some(raw) = self.registry.get(self.repository, &tag.clone().into()).await? else {
            return Ok(None);
        };
        let StoredInputs { digest, size } =
            StoredInputs::from_manifest(&raw).map_err(|source| self.bad(&tag, source))?;
        if size > PACKED_LIMIT as u64 {
            let source = PackError::TooLarge { limit: PACKED_LIMIT as u64 };
            return Err(unusable(self, key, source));
        }
        let packed = self.registry.get_blob(self.repository, &digest, PACKED_LIMIT).await?;
        let packed = packed.ok_or_else(|| InputsError::NoLayer {
            repository: self.repository.clone(),
            key: key.clone(),
            digest,
        })?;
        let wanted = key.clone();
        let read = work(key, move || InputManifest::unpack(&packed, &wanted)).await?;
        read.map(Some).map_err(|source| unusable(self, key, source))
    }
}

fn tag(ledger: Ledger<'_>, key: &Key) -> Result<Tag, LedgerError> {
    ledger.tag(&RecordTag::Inputs { key: key.clone() })
}

fn unusable(ledger: Ledger<'_>, key: &Key, source: PackError) -> InputsError {
    InputsError::Unusable { repository: ledger.repository.clone(), key: key.clone(), source }
}

/// Compressing and hashing a hundred thousand entries takes its time: not on the runtime.
async fn work<T: Send + 'static>(
    key: &Key,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InputsError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| InputsError::CutOff { key: key.clone() })
}
