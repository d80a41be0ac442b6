//! How long a sweep, and what it leaves behind, may live.

use std::time::Duration;

use crate::model::Span;

/// How long after it began its look a sweep may write or delete. Retired tombstones stay a day
/// longer, so no sweep that was suspended meets an image that was built after its tombstone was
/// forgotten.
pub const DEADLINE: Duration = Duration::from_secs(2 * 3600);
/// How long a retired tombstone stays: longer than any sweep that saw its images may live.
pub(super) const RETIRED: Span = Span::from_seconds(86_400);
