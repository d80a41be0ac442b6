//! What holds a sweep back although it was decided on: shares, floors, and what was planned.

use super::clean::{CleanError, CleanOptions};
use crate::retention::{Action, Clean, Observed};

/// Tells what became of something that was planned.
pub(super) fn moved(planned: &Action, clean: &Clean) -> String {
    let Action { repository, tag, .. } = planned;
    let kept = clean.kept.iter().find(|kept| kept.seen.repository == *repository && kept.seen.tag == *tag);
    match kept {
        Some(kept) => format!("{repository}:{tag} is kept, {}", kept.reason),
        None => format!("{repository}:{tag} is no longer what it was"),
    }
}

/// Refuses what a mistaken policy would let go.
pub(super) fn within(clean: &Clean, observed: &Observed, options: &CleanOptions) -> Result<(), CleanError> {
    let (counts, going) = (observed.counts(), clean.going());
    let (all, sum) = (counts.values().sum(), going.values().sum());
    if let Some(share) = options.max_delete.filter(|share| share.is_exceeded(sum, all)) {
        return Err(CleanError::TooMany { going: sum, all, share });
    }
    for (repository, going) in going {
        let all = counts.get(repository).copied().unwrap_or_default();
        let left = all.saturating_sub(going);
        if usize::try_from(options.min).is_ok_and(|min| left < min) {
            return Err(CleanError::TooFew {
                repository: repository.to_owned(),
                left,
                all,
                min: options.min,
            });
        }
    }
    Ok(())
}
