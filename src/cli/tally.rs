//! How far the boxes of a run are, in one line.

use crate::exec::Event;

/// Counts boxes by what is being done with them.
#[derive(Debug, Default)]
pub struct Tally {
    pub all: usize,
    building: usize,
    pushing: usize,
    done: usize,
    failed: usize,
}

impl Tally {
    /// Takes in what happened; returns the line if that changes it.
    pub fn take(&mut self, event: &Event) -> Option<String> {
        let Self { all, building, pushing, done, failed } = self;
        match event {
            // A key is leased for each box of a build, before anything else.
            Event::Leased { keys, .. } => *all = (*all).max(*keys),
            Event::Building { .. } => *building += 1,
            Event::Pushing { .. } => (*building, *pushing) = (building.saturating_sub(1), *pushing + 1),
            Event::Used { .. } => *done += 1,
            Event::Built { .. } => {
                // One that another run built meanwhile is not pushed.
                if *pushing > 0 {
                    *pushing -= 1
                } else {
                    *building = building.saturating_sub(1)
                }
                *done += 1;
            }
            Event::Failed { .. } => {
                *building = building.saturating_sub(1);
                *failed += 1;
            }
            Event::Skipped { .. } => *failed += 1,
            _ => return None,
        }
        Some(self.text())
    }

    fn text(&self) -> String {
        let Self { all, building, pushing, done, failed } = self;
        let parts = [(building, "building"), (pushing, "pushing"), (failed, "failed")];
        let parts =
            parts.iter().filter(|(count, _)| **count > 0).map(|(count, what)| format!("{count} {what}"));
        [format!("{done} of {all} boxes")].into_iter().chain(parts).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::{Digest, Timestamp};
    use crate::port::EngineError;

    #[test]
    fn every_box_is_counted_once() {
        let mut tally = Tally::default();
        let name = || "a".to_owned();
        let built = || Event::Built { name: name(), digest: Digest::of(b""), adopted: false, seconds: 0.0 };
        let building = || Event::Building { name: name(), reason: String::new(), entries: 0 };
        for (event, expect) in [
            (Event::Leased { keys: 4, until: Timestamp::default() }, "0 of 4 boxes"),
            (building(), "0 of 4 boxes, 1 building"),
            (building(), "0 of 4 boxes, 2 building"),
            (Event::Pushing { name: name(), reference: name() }, "0 of 4 boxes, 1 building, 1 pushing"),
            (built(), "1 of 4 boxes, 1 building"),
            (
                Event::Failed { name: name(), failure: EngineError::Interrupted.into() },
                "1 of 4 boxes, 1 failed",
            ),
            (Event::Skipped { name: name(), why: name() }, "1 of 4 boxes, 2 failed"),
            (Event::Used { name: name(), digest: Digest::of(b"") }, "2 of 4 boxes, 2 failed"),
        ] {
            assert_eq!(tally.take(&event).unwrap(), expect);
        }
        assert_eq!(tally.take(&Event::Note { text: name() }), None);
    }
}
