//! What holds a sweep back although it was decided on: shares, floors, and what was planned.

use crate::exec::clean::error::{CleanError, CleanOptions};
use crate::retention::{Action, Clean, Observed};

/// Tells what became of something that was planned.
pub(crate) fn moved(planned: &Action, clean: &Clean) -> String {
    let Action { repository, tag, .. } = planned;
    let kept = clean.kept.iter().find(|kept| kept.seen.repository == *repository && kept.seen.tag == *tag);
    match kept {
        Some(kept) => format!("{repository}:{tag} is kept, {}", kept.reason),
        None => format!("{repository}:{tag} is no longer what it was"),
    }
}

/// Where no share is named: how many tags of a repository may go although they are more than half of
/// it. Leases end after two days, so that a quiet weekend leaves little of a busy repository; but that
/// is no more than what was pushed on the days before. More than half, and more than anybody pushes in
/// a day, is the first cleaning ever, or a mistake: a person looks. Marking takes nothing, and so
/// counts for nothing here.
const USUAL: usize = 250;
const HALF: usize = 2;

/// Refuses what a mistaken policy would let go.
pub(crate) fn within(clean: &Clean, observed: &Observed, options: &CleanOptions) -> Result<(), CleanError> {
    let (counts, going) = (observed.counts(), clean.going());
    let (all, sum) = (counts.values().sum(), going.values().sum());
    if let Some(share) = options.max_delete.filter(|share| share.is_exceeded(sum, all)) {
        return Err(CleanError::TooMany { going: sum, all, share });
    }
    if options.max_delete.is_none() && options.planned.is_none() {
        for (repository, deleting) in clean.deleting() {
            let all = counts.get(repository).copied().unwrap_or_default();
            if deleting > USUAL && deleting > all / HALF {
                return Err(CleanError::TooMuch { repository: repository.to_owned(), going: deleting, all });
            }
        }
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
