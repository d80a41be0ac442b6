//! A sweep, step by step: read leases, wait, read everything else, decide; look again before
//! anything is deleted; condemn, forget, delete.
//!
//! | step | asks for | then |
//! | --- | --- | --- |
//! | clock | when this look began | leases |
//! | leases | which keys are leased; anything unread → from the clock, at last stop | wait |
//! | wait | until every reader sees what was written before; not in the first look | rest |
//! | rest | the ledger once more, every tag, and what each needs ([`crate::retention::decide`]) | something to delete after the first look → claim |
//! | claim | clock; a lease that says which keys' images are about to go | wait, twice; the second look |
//! | condemn | clock; a tombstone for each generation that nothing keeps | too long since the look → stop |
//! | retire | clock; a tombstone whose images are gone, anew, without them and dated today | the same |
//! | announce, withdraw | clock; that a tag is to go, or no longer | the same |
//! | sight | clock; which records that decide were never seen before: their age counts from here | the same |
//! | records | leases that have ended and other old records | |
//! | settle, forget | clock; announcements and tombstones that were over a day ago | the same |
//! | keep | clock; the bytes of what is to be deleted, for as long as that can be undone | what was not kept is not deleted |
//! | head | the tag no longer holds the digest → left alone | clock |
//! | clock | too long since the look → stop | delete |
//! | delete | whatever it answers | find |
//! | find | the digest is gone → deleted | next image |
//!
//! Nothing is deleted in the run that condemned it: a fresh tombstone has its grace before it. And
//! nothing is deleted that was not claimed before the second look. Whoever promotes what a tombstone
//! ends leases it first and asks for claims then: either it sees the claim, and leaves the image
//! alone, or this sweep sees its lease, or what it promoted.
//!
//! Where deletions can be undone, none is sent whose manifest was not kept and read back before.

mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use self::step::{Answer, Deletion, Keeping, SweepAction, SweepEnd, SweepInput};
use crate::model::{Digest, Key, Span};
use crate::retention::{Clean, DEADLINE, Doomed, Goes, Kept, decide};

/// How often everything is read anew because something was deleted while it was read.
const TRIES: u8 = 3;
/// What a request may take.
const TIMEOUT: u64 = 60;

/// Returns the grace that is used where `grace` is asked for: long enough that whoever leased a
/// key before it saw the tombstone is seen by the sweep that deletes.
pub fn least_grace(grace: Span, settle: Span) -> Span {
    grace.max(Span::from_seconds(settle.seconds().saturating_mul(2).saturating_add(TIMEOUT)))
}

/// A sweep that is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sweeper {
    at: At,
    apply: bool,
    /// Whether what is deleted is kept before, so that it can be put back.
    keeps: bool,
    is_second: bool,
    tries: u8,
    looked: Duration,
    clean: Arc<Clean>,
    /// The keys that were claimed.
    claimed: BTreeSet<Key>,
    /// What must stay because an image that needs it could not be deleted.
    needed: BTreeSet<Digest>,
    /// What must stay because an image that needs it is one that the registry does not delete.
    spared: BTreeSet<Digest>,
    /// What became of keeping what is to be deleted.
    kept: BTreeMap<usize, Keeping>,
    deletions: Vec<Deletion>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    Beginning,
    Claiming,
    /// Waiting until everybody sees the claim, and we what those wrote who did not.
    Spreading {
        is_again: bool,
    },
    Leases,
    Waiting,
    Rest,
    /// Seeing whether it is too late for a write.
    Timing(Write),
    Writing(Write),
    Heading(usize),
    Finding {
        image: usize,
        answer: Option<Answer>,
    },
    Ended(SweepEnd),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Write {
    Condemn(usize),
    Retire(usize),
    Announce(usize),
    Withdraw(usize),
    Sight,
    Records,
    Settle(usize),
    Forget(usize),
    Keep,
    Delete(usize),
}

impl Write {
    /// Returns what comes after it.
    fn next(self) -> Self {
        match self {
            Self::Condemn(index) => Self::Condemn(index + 1),
            Self::Retire(index) => Self::Retire(index + 1),
            Self::Announce(index) => Self::Announce(index + 1),
            Self::Withdraw(index) => Self::Withdraw(index + 1),
            Self::Sight => Self::Records,
            Self::Records => Self::Settle(0),
            Self::Settle(index) => Self::Settle(index + 1),
            Self::Forget(index) => Self::Forget(index + 1),
            Self::Keep => Self::Delete(0),
            Self::Delete(image) => Self::Delete(image + 1),
        }
    }
}

impl Sweeper {
    /// Begins a sweep; without `apply` it only decides.
    pub fn new(apply: bool) -> Self {
        Self {
            at: At::Beginning,
            apply,
            keeps: false,
            is_second: false,
            tries: 0,
            looked: Duration::ZERO,
            clean: Arc::default(),
            claimed: BTreeSet::new(),
            needed: BTreeSet::new(),
            spared: BTreeSet::new(),
            kept: BTreeMap::new(),
            deletions: Vec::new(),
        }
    }

    /// With `keeps` it deletes no manifest before that is kept.
    #[must_use]
    pub fn keeping(self, keeps: bool) -> Self {
        Self { keeps, ..self }
    }

    /// Returns what it has decided.
    pub fn clean(&self) -> &Clean {
        &self.clean
    }

    /// Returns the keys whose images are about to go.
    pub fn claims(&self) -> BTreeSet<Key> {
        self.clean.delete.iter().filter_map(|doomed| doomed.key.clone()).collect()
    }

    /// Returns what became of the deletions so far, in their order.
    pub fn deletions(&self) -> &[Deletion] {
        &self.deletions
    }

    /// Returns what is to be done next.
    pub fn next(&self) -> SweepAction {
        match self.at {
            At::Beginning | At::Timing(_) => SweepAction::Clock,
            At::Claiming => SweepAction::Claim,
            At::Leases => SweepAction::Leases,
            At::Spreading { .. } | At::Waiting => SweepAction::Wait,
            At::Rest => SweepAction::Rest,
            At::Writing(Write::Condemn(index)) => SweepAction::Condemn(index),
            At::Writing(Write::Retire(index)) => SweepAction::Retire(index),
            At::Writing(Write::Announce(index)) => SweepAction::Announce(index),
            At::Writing(Write::Withdraw(index)) => SweepAction::Withdraw(index),
            At::Writing(Write::Sight) => SweepAction::Sight,
            At::Writing(Write::Records) => SweepAction::Records,
            At::Writing(Write::Settle(index)) => SweepAction::Settle(index),
            At::Writing(Write::Forget(index)) => SweepAction::Forget(index),
            At::Writing(Write::Keep) => SweepAction::Keep,
            At::Writing(Write::Delete(image)) => SweepAction::Delete(image),
            At::Heading(image) => SweepAction::Head(image),
            At::Finding { image, .. } => SweepAction::Find(image),
            At::Ended(end) => SweepAction::End(end),
        }
    }

    /// Takes in what came of it.
    pub fn observe(mut self, saw: SweepInput) -> Self {
        self.at = match (self.at.clone(), saw) {
            (At::Ended(end), _) => At::Ended(end),
            (_, SweepInput::Interrupted) => At::Ended(SweepEnd::Interrupted),
            (At::Beginning, SweepInput::Clock(now)) => {
                self.looked = now;
                if self.claimed.is_empty() { At::Leases } else { At::Claiming }
            }
            (At::Claiming, SweepInput::Done) => At::Spreading { is_again: false },
            (At::Spreading { is_again: false }, SweepInput::Done) => At::Spreading { is_again: true },
            (At::Spreading { is_again: true }, SweepInput::Done) => At::Leases,
            (At::Leases | At::Rest, SweepInput::Unsettled) if self.tries + 1 < TRIES => {
                self.tries += 1;
                At::Beginning
            }
            (At::Leases, SweepInput::Done) if self.is_second => At::Waiting,
            (At::Leases, SweepInput::Done) | (At::Waiting, SweepInput::Done) => At::Rest,
            (At::Rest, SweepInput::Observed(observed, policy)) => {
                let mut clean = decide(&observed, policy);
                if self.is_second {
                    hold_back(&mut clean, &self.claimed);
                }
                self.clean = Arc::new(clean);
                self.tries = 0;
                if !self.apply {
                    At::Ended(SweepEnd::Done)
                } else if !self.is_second && !self.clean.delete.is_empty() {
                    self.is_second = true;
                    self.claimed = self.claims();
                    At::Beginning
                } else {
                    self.marking(Write::Condemn(0))
                }
            }
            (At::Timing(Write::Delete(image)), SweepInput::Clock(now)) if self.is_late(now) => self.end(
                image,
                Deletion::Failed(
                    "the machine was suspended or too slow: what was read of the registry is out of date"
                        .to_owned(),
                ),
            ),
            (At::Timing(_), SweepInput::Clock(now)) if self.is_late(now) => At::Ended(SweepEnd::Late),
            (At::Timing(write), SweepInput::Clock(_)) => At::Writing(write),
            (At::Writing(Write::Keep), SweepInput::Kept(kept)) => {
                self.kept = kept;
                self.heading(0)
            }
            (At::Writing(write), SweepInput::Done) => self.marking(write.next()),
            (At::Heading(image), SweepInput::Holds(found)) => match self.doomed(image) {
                Some(doomed) if found.as_ref() == Some(&doomed.seen.digest) => {
                    At::Timing(Write::Delete(image))
                }
                // Somebody else may have deleted it.
                Some(_) if found.is_none() => At::Finding { image, answer: None },
                _ => self.end(image, Deletion::Changed),
            },
            (At::Writing(Write::Delete(image)), SweepInput::Answered(Answer::Unsupported)) => {
                self.end(image, Deletion::Unsupported)
            }
            (At::Writing(Write::Delete(image)), SweepInput::Answered(Answer::Refused(why))) => {
                self.end(image, Deletion::Refused(why))
            }
            (At::Writing(Write::Delete(image)), SweepInput::Answered(answer)) => {
                At::Finding { image, answer: Some(answer) }
            }
            // Whatever it answered: gone is what can no longer be found.
            (At::Finding { image, .. }, SweepInput::Holds(None)) => self.end(image, Deletion::Done),
            (At::Finding { image, answer }, SweepInput::Holds(Some(_))) => {
                let deletion = match answer {
                    None => Deletion::Changed,
                    Some(Answer::Failed(why)) => Deletion::Failed(why),
                    Some(Answer::Taken | Answer::Unsupported | Answer::Refused(_)) => {
                        Deletion::Failed("the registry took the delete, but it is still there".to_owned())
                    }
                };
                self.end(image, deletion)
            }
            (At::Finding { image, answer: Some(Answer::Failed(why)) }, SweepInput::Failed(_)) => {
                self.end(image, Deletion::Failed(why))
            }
            (At::Heading(image) | At::Finding { image, .. }, SweepInput::Failed(why)) => {
                self.end(image, Deletion::Failed(why))
            }
            // Whatever else was not read, was not written or does not belong here.
            (_, _) => At::Ended(SweepEnd::Failed),
        };
        self
    }

    fn is_late(&self, now: Duration) -> bool {
        now.saturating_sub(self.looked) >= DEADLINE
    }

    fn doomed(&self, image: usize) -> Option<&Doomed> {
        self.clean.delete.get(image)
    }

    /// Goes on to the first write from `write` on that there is to do. What may still fail as a
    /// whole goes before the first image.
    fn marking(&mut self, write: Write) -> At {
        let clean = Arc::clone(&self.clean);
        let (index, all, then) = match write {
            Write::Condemn(index) => (index, clean.condemn.len(), Write::Retire(0)),
            Write::Retire(index) => (index, clean.retire.len(), Write::Announce(0)),
            Write::Announce(index) => (index, clean.announce.len(), Write::Withdraw(0)),
            Write::Withdraw(index) => (index, clean.withdraw.len(), Write::Sight),
            // One write, whatever there is to note.
            Write::Sight => (0, usize::from(!clean.sight.is_empty()), Write::Records),
            // Whether a record is over is asked for anew, so that it is never too late for it.
            Write::Records => return At::Writing(write),
            Write::Settle(index) => (index, clean.settled.len(), Write::Forget(0)),
            Write::Forget(index) => (index, clean.forget.len(), Write::Keep),
            Write::Keep => {
                let is_deleted = |one: &Doomed| one.goes != Goes::Tag;
                let is_wanted = self.keeps && clean.delete.iter().any(is_deleted);
                (0, usize::from(is_wanted), Write::Delete(0))
            }
            Write::Delete(image) => return self.heading(image),
        };
        if index < all { At::Timing(write) } else { self.marking(then) }
    }

    /// Goes on to the first image from `image` on that may be deleted.
    fn heading(&mut self, image: usize) -> At {
        let clean = Arc::clone(&self.clean);
        for (image, doomed) in clean.delete.iter().enumerate().skip(image) {
            let digest = &doomed.seen.digest;
            let deletion = if self.needed.contains(digest) {
                Deletion::Failed("an image that needs it could not be deleted".to_owned())
            } else if self.spared.contains(digest) {
                Deletion::Refused("an image that needs it stays".to_owned())
            } else {
                match self.keeping_of(image, doomed) {
                    Some(Keeping::Kept) => return At::Heading(image),
                    // Another sweep may have deleted it; should it stand after all, it stays.
                    Some(Keeping::Gone) => return At::Finding { image, answer: None },
                    Some(Keeping::Unsupported) => Deletion::Unsupported,
                    Some(Keeping::Failed(why)) => Deletion::Failed(why.clone()),
                    None => Deletion::Failed("its manifest was not kept".to_owned()),
                }
            };
            self.note(image, deletion);
        }
        At::Ended(SweepEnd::Done)
    }

    /// Returns whether an image is kept; a tag that goes alone takes no manifest along.
    fn keeping_of(&self, image: usize, doomed: &Doomed) -> Option<&Keeping> {
        if !self.keeps || doomed.goes == Goes::Tag { Some(&Keeping::Kept) } else { self.kept.get(&image) }
    }

    fn end(&mut self, image: usize, deletion: Deletion) -> At {
        self.note(image, deletion);
        self.heading(image + 1)
    }

    fn note(&mut self, image: usize, deletion: Deletion) {
        let clean = Arc::clone(&self.clean);
        let needs = clean.delete.get(image).into_iter().flat_map(|doomed| doomed.needs.iter().cloned());
        match deletion {
            Deletion::Done => {}
            Deletion::Unsupported | Deletion::Refused(_) => self.spared.extend(needs),
            Deletion::Changed | Deletion::Failed(_) => self.needed.extend(needs),
        }
        self.deletions.push(deletion);
    }
}

/// Keeps what was not claimed before this look, and what that needs: it comes first.
fn hold_back(clean: &mut Clean, claimed: &BTreeSet<Key>) {
    let Clean { delete, kept, .. } = clean;
    let mut needed: BTreeSet<Digest> = BTreeSet::new();
    delete.retain(|doomed| {
        let is_claimed = doomed.key.as_ref().is_none_or(|key| claimed.contains(key));
        let goes = is_claimed && !needed.contains(&doomed.seen.digest);
        if !goes {
            needed.extend(doomed.needs.iter().cloned());
            let reason = "goes with the next sweep: this one had not claimed it".to_owned();
            kept.push(Kept { seen: doomed.seen.clone().into(), reason });
        }
        goes
    });
}

#[cfg(test)]
mod tests;
