//! Removing one tag where a registry deletes manifests only, each with all its tags: the tag
//! is given to a throwaway manifest, and that is deleted.
//!
//! Whatever such a delete takes along, it is nothing but this tag. A tag that somebody moves
//! in between is no longer the throwaway's, so it stays.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use crate::model::{Digest, EMPTY_BLOB, Repository, Tag, throwaway};
use crate::port::{DeleteSupport, Deleted, Reference, Registry, RegistryError};

/// Removes `tag`; `delete` deletes the throwaway, which has this digest and stands at this tag
/// alone. Where nothing can be deleted, or `delete` says so, the tag is as it was.
pub async fn by_throwaway<R: Registry + ?Sized>(
    registry: &R,
    repository: &Repository,
    tag: &Tag,
    delete: impl AsyncFnOnce(Digest) -> Result<Deleted, RegistryError>,
) -> Result<Deleted, RegistryError> {
    let at = Reference::Tag(tag.clone());
    let Some(stood) = registry.get(repository, &at).await? else { return Ok(Deleted::NotFound) };
    if registry.deleting(repository).await? == DeleteSupport::Nothing {
        return Ok(Deleted::Unsupported);
    }
    let stand_in = throwaway(&nonce());
    registry.put_blob(repository, Bytes::from_static(EMPTY_BLOB)).await?;
    registry.put(repository, &at, &stand_in).await?;
    match delete(stand_in.digest().clone()).await? {
        kept @ (Deleted::Unsupported | Deleted::Refused { .. }) => {
            registry.put(repository, &at, &stood).await?;
            Ok(kept)
        }
        Deleted::Gone | Deleted::NotFound => Ok(Deleted::Gone),
    }
}

/// Returns the digest of nothing that is anywhere: deleting it shows whether deletes are
/// answered, and deletes nothing.
pub fn nowhere() -> Digest {
    Digest::of(nonce().as_bytes())
}

/// The standard library seeds its hash maps well enough for names that no two runs share.
fn nonce() -> String {
    let bits = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", bits(), bits())
}
