//! Elapsed time on this machine.

use std::time::Duration;

/// A clock that only tells how much time has passed, suspended time included.
///
/// Points in time that are compared between machines come from the registry
/// ([`super::RegistryReader::now`]), never from here.
pub trait Clock: Send + Sync {
    /// Returns the time since some fixed moment of this boot.
    fn elapsed(&self) -> Duration;
}
