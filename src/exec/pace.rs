//! How much is under way at once, how often something is tried, and how long it is waited for.

use std::time::Duration;

/// Requests at once; the client lets through what a host bears.
pub(crate) const REQUESTS: usize = 32;
/// Records at once that are written one by one, or are large to read.
pub(crate) const RECORDS: usize = 8;
/// Blobs at once, or packed inputs: each may be large.
pub(crate) const BLOBS: usize = 4;

/// How often what others write as well is written until it holds what all of them wrote.
pub(crate) const SHARED: usize = 5;
/// What is waited before each upload of the blob of all records for one of them.
pub(crate) const UPLOADS: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(300)];
/// What is waited before something is read again that was written or listed, and does not show.
pub(crate) const READS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(450),
    Duration::from_millis(1350),
];
/// What is waited before a box that another run builds is looked for again, first and at most.
pub(crate) const POLL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long the answer to a write is waited for once a sweep or a promotion is to stop.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// How long a build that is stopped still waits for an answer.
pub(crate) const LAST: Duration = Duration::from_secs(2);
