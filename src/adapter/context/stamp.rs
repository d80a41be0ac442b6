//! What tells that a file is still the one that was read, without reading it.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;

/// How long before a scan a file must have been at rest to be remembered, in seconds: the
/// coarsest clock of a file system in use, and some more.
const MARGIN: i64 = 3;

/// Seconds and nanoseconds since 1970.
pub type Moment = (i64, u32);

/// The current time, by the clock that file systems use.
pub fn now() -> Moment {
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => (seconds(since), since.subsec_nanos()),
        Err(error) => (-seconds(error.duration()), 0),
    }
}

/// Device, inode, size and times of a file. One that is written to gets another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub dev: u64,
    pub ino: u64,
    pub size: u64,
    pub mtime: Moment,
    pub ctime: Moment,
}

impl Stamp {
    /// Takes it from what the system says.
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss, clippy::cast_possible_truncation)]
    // The types differ by platform; nanoseconds fit.
    pub fn new(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        }
    }

    /// Tells whether any write after `moment` gives another stamp, however coarse the file
    /// system's clock: git's rule for "racily clean" entries. The times of one that was
    /// written just now, or in the future, may stay as they are when it is written again.
    pub fn is_settled(&self, moment: Moment) -> bool {
        let latest = self.mtime.max(self.ctime);
        (latest.0.saturating_add(MARGIN), latest.1) <= moment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_just_now_or_later_is_not_settled() {
        let now = (1000, 500);
        for (mtime, ctime, expect) in [
            ((0, 0), (997, 500), true),
            ((997, 500), (0, 0), true),
            ((0, 0), (997, 501), false),
            ((997, 501), (0, 0), false),
            ((1000, 0), (1000, 0), false),
            ((5000, 0), (0, 0), false),
            ((0, 0), (i64::MAX, 0), false),
            ((i64::MIN, 0), (i64::MIN, 0), true),
        ] {
            let stamp = Stamp { dev: 1, ino: 2, size: 3, mtime, ctime };
            assert_eq!(stamp.is_settled(now), expect, "{mtime:?} {ctime:?}");
        }
    }

    #[test]
    fn now_is_after_2026() {
        assert!(now().0 > 1_767_225_600);
    }
}
