//! Records in the ledger: read, listed, and by a [`write::LedgerWriter`] written.

pub(super) mod expire;
pub(super) mod history;
pub(super) mod inputs;
pub(super) mod lease;
pub(super) mod past;
pub(super) mod tombstone;
pub(super) mod write;

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt};

use crate::exec::pace;
use crate::model::{
    Digest, ErrorKind, Explained, Explanation, Key, RawManifest, Record, RecordError, RecordTag, Repository,
    Tag, Timestamp, chain,
};
use crate::port::{Failure, RegistryError, RegistryReader};

/// The ledger of one project, as it is read.
#[derive(Clone, Copy)]
pub struct Ledger<'a> {
    pub(crate) registry: &'a dyn RegistryReader,
    pub(crate) repository: &'a Repository,
}

/// Why a record could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The registry did not answer as needed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A record cannot be made or read.
    #[error("ledger {repository}, tag {tag}: {source}")]
    Record { repository: Repository, tag: String, source: RecordError },
    /// So many of a tag's newest promotions cannot be read that what they were is not known.
    #[error("ledger {repository}: none of the {count} newest records down to {tag} can be read")]
    Drowned {
        repository: Repository,
        /// How many were tried.
        count: usize,
        /// The last one that was.
        tag: Tag,
    },
    /// Somebody ends generations of a key for ever.
    #[error("tombstones of key {key} are being written faster than they are read")]
    Outrun { key: Key },
    /// Another record stands where ours was just written.
    #[error("ledger {repository}: {tag} was written, but reads back as {found}")]
    NotOurs { repository: Repository, tag: Tag, found: String },
}

impl Explained for LedgerError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Registry(error) => error.explain(),
            Self::Record { .. } | Self::Drowned { .. } | Self::Outrun { .. } | Self::NotOurs { .. } => {
                ErrorKind::Unreachable.into()
            }
        }
    }
}

/// The records of a ledger by what their tags say.
pub(crate) type Records = BTreeMap<RecordTag, Tag>;

/// A record as it stands.
pub(crate) struct Stood<R> {
    pub record: R,
    pub digest: Digest,
}

/// What stands under a record's tag.
pub(crate) enum Found<R> {
    Stands(Stood<R>),
    /// Something that does not say what it has to.
    Unreadable {
        why: String,
    },
    Vanished,
}

impl<'a> Ledger<'a> {
    /// Uses `repository` of `registry` as the ledger.
    pub fn new(registry: &'a dyn RegistryReader, repository: &'a Repository) -> Self {
        Self { registry, repository }
    }

    /// Returns its repository.
    pub fn repository(&self) -> &Repository {
        self.repository
    }

    /// Returns the tag of a record.
    pub(crate) fn tag(&self, record: &RecordTag) -> Result<Tag, LedgerError> {
        record.tag().map_err(|error| self.bad_tag(&record.to_string(), error))
    }

    /// Returns the registry's time.
    pub async fn now(&self) -> Result<Timestamp, LedgerError> {
        Ok(self.registry.now(self.repository.host()).await?)
    }

    /// Reads until what was written shows: a registry may need a moment, and that it shows
    /// nothing says nothing.
    pub(crate) async fn read_back(&self, tag: &Tag, manifest: &RawManifest) -> Result<(), LedgerError> {
        let found = self.appears(tag).await?;
        if found.as_ref() != Some(manifest.digest()) {
            return Err(LedgerError::NotOurs {
                repository: self.repository.clone(),
                tag: tag.clone(),
                found: found.map_or_else(|| "missing".to_owned(), |digest| digest.to_string()),
            });
        }
        Ok(())
    }

    /// Asks for what stands under a tag until something does, for two seconds: whoever has written it,
    /// or has seen it listed, may be asking before the registry serves it.
    pub(crate) async fn appears(&self, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        let mut found = self.registry.head(self.repository, &tag.clone().into()).await?;
        for pause in pace::READS {
            if found.is_some() {
                break;
            }
            tokio::time::sleep(pause).await;
            found = self.registry.head(self.repository, &tag.clone().into()).await?;
        }
        Ok(found)
    }

    /// Reads a record; nothing if it is not there.
    pub async fn read<R: Record>(&self, tag: &Tag) -> Result<Option<R>, LedgerError> {
        let Some(raw) = self.registry.get(self.repository, &tag.clone().into()).await? else {
            return Ok(None);
        };
        R::read_at(tag, &raw).map(Some).map_err(|source| self.bad(tag, source))
    }

    /// Asks whether a record stands.
    pub async fn has(&self, tag: &Tag) -> Result<bool, LedgerError> {
        Ok(self.registry.head(self.repository, &tag.clone().into()).await?.is_some())
    }

    /// Lists all records by what their tags say; tags of others are passed over.
    pub async fn list(&self) -> Result<Records, LedgerError> {
        Ok(self.listing().await?.0)
    }

    /// Lists all records, and beside them the names that are none that we know: a stranger's, or of
    /// a kind that a newer boxwright writes.
    pub async fn listing(&self) -> Result<(Records, Vec<String>), LedgerError> {
        let list = self.registry.tags(self.repository).await?;
        let (mut records, mut others) = (Records::new(), list.invalid);
        for tag in list.tags {
            match RecordTag::read(&tag) {
                Some(record) => drop(records.insert(record, tag)),
                None => others.push(tag.to_string()),
            }
        }
        Ok((records, others))
    }

    /// Looks at what stands under a record's tag, for whoever goes on without what cannot be read.
    pub(crate) async fn look<R: Record>(&self, tag: &Tag) -> Result<Found<R>, LedgerError> {
        let digest = |raw: &RawManifest| raw.digest().clone();
        match self.registry.get(self.repository, &tag.clone().into()).await {
            Ok(None) => Ok(Found::Vanished),
            Ok(Some(raw)) => Ok(match R::read_at(tag, &raw) {
                Ok(record) => Found::Stands(Stood { record, digest: digest(&raw) }),
                Err(error) => Found::Unreadable { why: chain(&error) },
            }),
            // Too large, of no kind that there is, or not what it says it is.
            Err(RegistryError { failure: Failure::Untrusted { detail }, .. }) => {
                Ok(Found::Unreadable { why: detail })
            }
            Err(RegistryError { failure: failure @ Failure::TooLong { .. }, .. }) => {
                Ok(Found::Unreadable { why: failure.to_string() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Looks at what a list names, which may be listed before it is served: it is waited for.
    pub(crate) async fn look_listed<R: Record>(&self, tag: &Tag) -> Result<Found<R>, LedgerError> {
        match self.look(tag).await? {
            Found::Vanished if self.appears(tag).await?.is_some() => self.look(tag).await,
            found => Ok(found),
        }
    }

    /// Looks at several of a list at once, in their order.
    pub(crate) async fn look_at<R: Record>(
        &self,
        tags: Vec<Tag>,
    ) -> Result<Vec<(Tag, Found<R>)>, LedgerError> {
        let looks = tags.into_iter().map(|tag| async move {
            let look = self.look_listed(&tag).await?;
            Ok::<_, LedgerError>((tag, look))
        });
        futures_util::stream::iter(looks).buffered(pace::REQUESTS).try_collect().await
    }

    /// Returns the digest under a record's tag.
    pub async fn digest(&self, tag: &Tag) -> Result<Option<Digest>, LedgerError> {
        Ok(self.registry.head(self.repository, &tag.clone().into()).await?)
    }

    /// Reads those of these records that are there and can be read. One that is not was given up or
    /// forgotten, and is not waited for: whoever is still writing a lease reads it back before he
    /// looks at those of others, and so sees ours.
    pub(crate) async fn readable<R: Record>(&self, tags: Vec<Tag>) -> Result<Vec<R>, LedgerError> {
        let looks = tags.iter().map(|tag| self.look::<R>(tag));
        let looks = futures_util::stream::iter(looks).buffered(pace::REQUESTS);
        let readable = looks.try_filter_map(async |look| {
            Ok(match look {
                Found::Stands(stood) => Some(stood.record),
                Found::Unreadable { .. } | Found::Vanished => None,
            })
        });
        readable.try_collect().await
    }

    pub(crate) fn bad(&self, tag: &Tag, source: RecordError) -> LedgerError {
        LedgerError::Record { repository: self.repository.clone(), tag: tag.to_string(), source }
    }

    pub(crate) fn bad_tag(&self, tag: &str, error: crate::model::TagError) -> LedgerError {
        LedgerError::Record { repository: self.repository.clone(), tag: tag.to_owned(), source: error.into() }
    }
}
