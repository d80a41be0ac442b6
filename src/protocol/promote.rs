//! A promotion, step by step: lease, resolve, write down what is wanted, move the tags, read
//! them back, and say last that it is done.
//!
//! All tags are looked at before the first one moves, and they move together: the time that
//! it takes, and in which some have moved and some have not, does not grow with their number.
//!
//! | step | asks for | then |
//! | --- | --- | --- |
//! | lease | every key of the set, and meanwhile what each tag holds | resolve |
//! | resolve | the ledger, and the very bytes of what stands for each box ([`crate::plan::promotion`]); somebody else has begun → resolve again: of the same set → look; else conflict | done → end; else clock, write plan |
//! | clock | too little of the lease left → lease and resolve again | the write that it was read for |
//! | write plan | from here on the plan record keeps the images | look |
//! | look | what each tag holds, a third value → conflict; the plan record, somebody else's stands → as above | all wanted → clock, write set; else clock, put |
//! | put | those tags that do not hold what is wanted | read back |
//! | read back | every tag, once all are written: of two promotions that end well one stands whole. A third value → conflict; not shown yet → again; a put that failed → end | clock, write set |
//! | write set | the record that it is done | clock, release |
//! | release | the lease, however it ended: what stands is kept by its tags and records | end |

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::Digest;
use crate::plan::{Promotion, Step};

/// How often a tag is read until it shows what was written.
const READS: u8 = 5;
/// How often a promotion begins anew because its lease had lapsed.
const LEASES: u8 = 4;

/// A promotion that is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Promoter {
    at: At,
    plan: Option<Arc<Promotion>>,
    leases: u8,
    /// Somebody else's plan that was found to stand.
    taken: Option<Digest>,
    /// Whether a tag may have been written in this run.
    has_written: bool,
    /// The steps whose tags were last seen to hold what is wanted.
    standing: BTreeSet<usize>,
    /// The steps whose tags were written and read back in this run.
    moved: BTreeSet<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
enum At {
    #[default]
    Leasing,
    Resolving,
    Timing(Write),
    Writing,
    Looking {
        is_new: bool,
    },
    Putting,
    ReadingBack {
        steps: Vec<usize>,
        reads: u8,
        has_failed: bool,
    },
    Recording,
    Releasing(PromoterEnd),
    Ended(PromoterEnd),
}

/// The write that the lease is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Write {
    Plan,
    Tags,
    Set,
    /// None: that success may be reported.
    Report,
}

/// What a promotion asks for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromoterAction {
    /// Lease all keys of the set.
    Lease,
    /// See what stands, and plan; see whether somebody else has begun a promotion of that count.
    Resolve,
    /// See what is left of the lease.
    Clock,
    /// Write the plan record.
    WritePlan,
    /// Ask what all tags hold.
    Look {
        /// Whether the plan record was only just written, and is to be read back as well.
        is_new: bool,
    },
    /// Write the tags of these steps.
    Put(Vec<usize>),
    /// Read the tags of these steps, for the `reads`-th time after the first.
    ReadBack {
        steps: Vec<usize>,
        /// How often they were read already.
        reads: u8,
    },
    /// Write the set record and read it back.
    WriteSet,
    /// Give up the lease.
    Release,
    /// Nothing more.
    End(PromoterEnd),
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromoterInput {
    /// The lease stands, or the registry takes no writes from us.
    Leased {
        /// Whether it stands.
        is_held: bool,
    },
    /// What is to be done, and a plan record of the same count that is not ours, if there is one.
    Planned(Arc<Promotion>, Option<Digest>),
    /// A plan record that is not ours stands where ours was written.
    Taken(Digest),
    /// Whether too little of the lease is left.
    Clock {
        /// Whether it is.
        is_short: bool,
    },
    /// The record was written.
    Written,
    /// What the tags hold, for all steps in their order.
    Looked(Vec<Option<Digest>>),
    /// What came of the writes, in the order in which they were asked for.
    Put(Vec<Put>),
    /// What the tags hold, in the order in which they were asked for.
    Holds(Vec<Option<Digest>>),
    /// It was given up.
    Done,
    /// It failed.
    Failed,
}

/// What came of the write of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was written.
    Written,
    /// The registry refused, so that nothing was written.
    Refused,
    /// It failed, and may have been written.
    Unknown,
}

/// How a promotion ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PromoterEnd {
    /// All tags stand, and it is recorded.
    Done {
        /// The steps whose tags were moved now.
        moved: BTreeSet<usize>,
    },
    /// It stopped.
    Stopped {
        /// Why.
        why: Why,
        /// The steps whose tags are not known to hold what is wanted, none being left if it was
        /// at the set record; only if some tag has moved or may have.
        partly: Option<Vec<usize>>,
    },
}

/// Why a promotion stopped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Why {
    /// Something failed, or was refused.
    Failed,
    /// The registry takes no writes from us.
    ReadOnly,
    /// Somebody else's plan record stands.
    Taken(Digest),
    /// A tag holds something else.
    Conflict {
        step: usize,
        /// What it holds.
        found: Option<Digest>,
        /// What it should hold.
        expected: Option<Digest>,
    },
    /// The lease lapsed again and again.
    Lapsed,
}

impl Promoter {
    /// Returns the plan, once there is one.
    pub fn plan(&self) -> Option<&Promotion> {
        self.plan.as_deref()
    }

    /// Returns the steps whose tags were last seen to hold what is wanted.
    pub fn standing(&self) -> &BTreeSet<usize> {
        &self.standing
    }

    /// Returns what is to be done next.
    pub fn next(&self) -> PromoterAction {
        match &self.at {
            At::Leasing => PromoterAction::Lease,
            At::Resolving => PromoterAction::Resolve,
            At::Timing(_) => PromoterAction::Clock,
            At::Writing => PromoterAction::WritePlan,
            At::Looking { is_new } => PromoterAction::Look { is_new: *is_new },
            At::Putting => PromoterAction::Put(self.left()),
            At::ReadingBack { steps, reads, .. } => {
                PromoterAction::ReadBack { steps: steps.clone(), reads: *reads }
            }
            At::Recording => PromoterAction::WriteSet,
            At::Releasing(_) => PromoterAction::Release,
            At::Ended(end) => PromoterAction::End(end.clone()),
        }
    }

    /// Takes in what came of it.
    pub fn observe(mut self, saw: PromoterInput) -> Self {
        self.at = match (self.at.clone(), saw) {
            (At::Releasing(end), _) => At::Ended(end),
            (At::Resolving, PromoterInput::Failed) if !self.has_written => {
                At::Releasing(PromoterEnd::Stopped { why: Why::Failed, partly: None })
            }
            (At::Leasing, PromoterInput::Leased { is_held: true }) => At::Resolving,
            (At::Leasing, PromoterInput::Leased { is_held: false }) => self.stop(Why::ReadOnly),
            (At::Resolving, PromoterInput::Planned(plan, found)) => {
                let (is_done, is_resumed) = (plan.is_done(), plan.is_resumed);
                self.plan = Some(plan);
                self.standing.clear();
                match (self.taken.clone(), found) {
                    _ if is_done => At::Timing(Write::Report),
                    _ if is_resumed => At::Looking { is_new: false },
                    // Their set is another one.
                    (Some(taken), _) => self.stop(Why::Taken(taken)),
                    (None, Some(found)) => self.taken_by(found),
                    (None, None) => At::Timing(Write::Plan),
                }
            }
            (At::Looking { is_new: true }, PromoterInput::Taken(found)) => self.taken_by(found),
            (At::Timing(_), PromoterInput::Clock { is_short: true }) => {
                self.leases += 1;
                if self.leases < LEASES { At::Leasing } else { self.stop(Why::Lapsed) }
            }
            (At::Timing(Write::Plan), PromoterInput::Clock { .. }) => At::Writing,
            (At::Timing(Write::Tags), PromoterInput::Clock { .. }) => At::Putting,
            (At::Timing(Write::Set), PromoterInput::Clock { .. }) => At::Recording,
            (At::Timing(Write::Report), PromoterInput::Clock { .. }) => {
                At::Releasing(PromoterEnd::Done { moved: self.moved.clone() })
            }
            (At::Writing, PromoterInput::Written) => At::Looking { is_new: true },
            (At::Looking { .. }, PromoterInput::Looked(found)) if found.len() == self.steps().len() => {
                self.looked(found)
            }
            (At::Putting, PromoterInput::Put(puts)) if puts.len() == self.left().len() => {
                self.has_written |= puts.iter().any(|put| *put != Put::Refused);
                let failed = self.left().into_iter().zip(puts).filter(|(_, put)| *put != Put::Written);
                let failed: BTreeSet<usize> = failed.map(|(step, _)| step).collect();
                let steps = (0..self.steps().len()).filter(|step| !failed.contains(step)).collect();
                self.reading(steps, 0, !failed.is_empty())
            }
            (At::ReadingBack { steps, reads, has_failed }, PromoterInput::Holds(found))
                if found.len() == steps.len() =>
            {
                self.read_back(&steps, found, reads, has_failed)
            }
            (At::Recording, PromoterInput::Written) => At::Timing(Write::Report),
            // A failure, or an answer to something else, of which nothing can be relied on.
            _ => self.stop(Why::Failed),
        };
        self
    }

    /// Somebody else has begun: perhaps with the same set.
    fn taken_by(&mut self, found: Digest) -> At {
        self.taken = Some(found);
        At::Resolving
    }

    fn looked(&mut self, found: Vec<Option<Digest>>) -> At {
        let mut wrong = None;
        for (step, found) in found.into_iter().enumerate() {
            let Some(of) = self.step(step) else { continue };
            if found.as_ref() == Some(&of.member.digest) {
                self.standing.insert(step);
            } else if found != of.before {
                let expected = of.before.clone();
                wrong.get_or_insert(Why::Conflict { step, found, expected });
            }
        }
        match wrong {
            Some(why) => self.stop(why),
            None if self.left().is_empty() => At::Timing(Write::Set),
            None => At::Timing(Write::Tags),
        }
    }

    fn read_back(&mut self, steps: &[usize], found: Vec<Option<Digest>>, reads: u8, has_failed: bool) -> At {
        let (mut again, mut wrong) = (Vec::new(), None);
        for (&step, found) in steps.iter().zip(found) {
            let Some(of) = self.step(step) else { continue };
            let (before, wanted) = (of.before.clone(), of.member.digest.clone());
            if found.as_ref() == Some(&wanted) {
                if self.standing.insert(step) {
                    self.moved.insert(step);
                }
                continue;
            }
            let stood = self.standing.remove(&step);
            // A registry may show the old value for a while; a third one is somebody else's.
            if !stood && (found.is_none() || found == before) && reads + 1 < READS {
                again.push(step);
            } else {
                wrong.get_or_insert(Why::Conflict { step, found, expected: Some(wanted) });
            }
        }
        match wrong {
            Some(why) => self.stop(why),
            None => self.reading(again, reads + 1, has_failed),
        }
    }

    /// Reads tags, or goes on if none is left to be read.
    fn reading(&self, steps: Vec<usize>, reads: u8, has_failed: bool) -> At {
        match (steps.is_empty(), has_failed) {
            (false, _) => At::ReadingBack { steps, reads, has_failed },
            (true, true) => self.stop(Why::Failed),
            (true, false) => At::Timing(Write::Set),
        }
    }

    fn steps(&self) -> &[Step] {
        self.plan.as_ref().map_or(&[], |plan| &plan.steps)
    }

    fn step(&self, index: usize) -> Option<&Step> {
        self.steps().get(index)
    }

    /// Returns the steps whose tags are not known to hold what is wanted.
    fn left(&self) -> Vec<usize> {
        (0..self.steps().len()).filter(|step| !self.standing.contains(step)).collect()
    }

    /// Stops. As long as no tag has moved, a refusal is only a refusal.
    fn stop(&self, why: Why) -> At {
        let moves =
            |step: &usize| self.step(*step).is_some_and(|of| of.before.as_ref() != Some(&of.member.digest));
        let has_moved = self.has_written || self.standing.iter().any(moves);
        // The set record alone is left to be written.
        let is_whole = !self.standing.is_empty() && self.left().is_empty();
        let partly = (has_moved || is_whole).then(|| self.left());
        At::Releasing(PromoterEnd::Stopped { why, partly })
    }
}
