//! Manifests that a registry refuses because it has lost what it said it has.

use std::time::Duration;

use crate::model::{RawManifest, Repository};
use crate::port::{Failure, Reference, RegistryError, RegistryWriter};

/// Writes a manifest. Where it is refused for want of something, as `is_lacking` tells, `send` sends
/// all of it and the manifest is written again: once after each of `pauses`.
pub(crate) async fn put_or_heal<E: From<RegistryError>, S: Future<Output = Result<(), E>>>(
    registry: &dyn RegistryWriter,
    repository: &Repository,
    at: &Reference,
    raw: &RawManifest,
    pauses: &[Duration],
    is_lacking: fn(&Failure) -> bool,
    send: impl Fn() -> S,
) -> Result<(), E> {
    let mut done = registry.put(repository, at, raw).await;
    for pause in pauses {
        if !done.as_ref().is_err_and(|error| is_lacking(&error.failure)) {
            break;
        }
        tokio::time::sleep(*pause).await;
        send().await?;
        done = registry.put(repository, at, raw).await;
    }
    Ok(done?)
}

/// Tells whether a refusal may be for want of something: not every registry says of what.
pub(crate) fn may_lack(failure: &Failure) -> bool {
    matches!(failure, Failure::Status { status: 400 | 404, .. })
}
