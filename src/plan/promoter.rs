//! A promotion, step by step: lease, resolve, write down what is wanted, move each tag with a
//! read-back, and say last that it is done.
//!
//! | step | asks for | then |
//! | --- | --- | --- |
//! | lease | every key of the set | resolve |
//! | resolve | what stands for each box, under each tag, and in the ledger ([`super::promotion`]) | done → end |
//! | clock | too little of the lease left → lease and resolve again | the write that it was read for |
//! | find plan | somebody else has begun → resolve again: of the same set → tags; else conflict | write plan |
//! | write plan | from here on the plan record keeps the images; somebody else's stands → as above | tags, in their order |
//! | head | wanted → next tag; what was planned from → fetch; else → conflict | |
//! | fetch | the very bytes; gone → end | clock, put |
//! | put | | read back |
//! | read back | wanted → next tag; a third value → conflict; not shown yet → again | |
//! | confirm | all tags at once; one moved → conflict | clock, write set |
//! | write set | the record that it is done | end |

use std::sync::Arc;

use super::promote::{Promotion, Step};
use crate::model::Digest;

/// How often a tag is read until it shows what was written.
const READS: u8 = 5;
/// How often a promotion begins anew because its lease had lapsed.
const LEASES: u8 = 4;

/// A promotion that is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Promoter {
    at: At,
    plan: Option<Arc<Promotion>>,
    leases: u8,
    /// Somebody else's plan that was found to stand.
    taken: Option<Digest>,
    /// Whether a tag may have been written in this run.
    has_written: bool,
    /// The steps whose tags were written and read back in this run.
    moved: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    Leasing,
    Resolving,
    Finding,
    Timing(Write),
    Writing,
    Heading(usize),
    Fetching(usize),
    Putting(usize),
    ReadingBack { step: usize, reads: u8 },
    Standing(usize),
    Confirming,
    Recording,
    Releasing(Why),
    Ended(PromoterEnd),
}

/// The write that the lease is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Write {
    Plan,
    Tag(usize),
    Set,
    /// None: that success may be reported.
    Report,
}

/// What a promotion asks for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromoterAction {
    /// Lease all keys of the set.
    Lease,
    /// See what stands, and plan.
    Resolve,
    /// Look for a plan record of the same count.
    FindPlan,
    /// See what is left of the lease.
    Clock,
    /// Write the plan record and read it back.
    WritePlan,
    /// Ask what a step's tag holds.
    Head(usize),
    /// Read the content that a step's tag is to hold.
    Fetch(usize),
    /// Write a step's tag.
    Put(usize),
    /// Read a step's tag, for the `reads`-th time after the first.
    ReadBack {
        /// The step.
        step: usize,
        /// How often it was read already.
        reads: u8,
    },
    /// Tell that a step's tag stands.
    Tell(usize),
    /// Ask what all tags hold.
    Confirm,
    /// Write the set record and read it back.
    WriteSet,
    /// Give up the lease.
    Release,
    /// Nothing more.
    End(PromoterEnd),
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromoterSaw {
    /// The lease stands, or the registry takes no writes from us.
    Leased {
        /// Whether it stands.
        is_held: bool,
    },
    /// What is to be done.
    Planned(Arc<Promotion>),
    /// A plan record of the same count that is not ours, if there is one.
    Plan(Option<Digest>),
    /// Whether too little of the lease is left.
    Clock {
        /// Whether it is.
        is_short: bool,
    },
    /// It was written; records were read back as well.
    Written,
    /// What a tag holds.
    Holds(Option<Digest>),
    /// Whether the content is there.
    Content {
        /// Whether it is.
        is_there: bool,
    },
    /// What all tags hold, in their order.
    All(Vec<Option<Digest>>),
    /// It was told, or given up.
    Done,
    /// It failed.
    Failed {
        /// Whether the registry refused, so that nothing was written.
        is_refused: bool,
    },
}

/// How a promotion ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PromoterEnd {
    /// All tags stand, and it is recorded.
    Done {
        /// The steps whose tags were moved now.
        moved: Vec<usize>,
    },
    /// It stopped.
    Stopped {
        /// Why.
        why: Why,
        /// The step at which it did, all of them being past if it was at the set record; only
        /// if some tag has moved or may have.
        partly: Option<usize>,
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
        /// The step.
        step: usize,
        /// What it holds.
        found: Option<Digest>,
        /// What it should hold.
        expected: Option<Digest>,
    },
    /// The content of a step is gone.
    Gone(usize),
    /// The lease lapsed again and again.
    Lapsed,
}

impl Default for Promoter {
    fn default() -> Self {
        Self { at: At::Leasing, plan: None, leases: 0, taken: None, has_written: false, moved: Vec::new() }
    }
}

impl Promoter {
    /// Returns the plan, once there is one.
    pub fn plan(&self) -> Option<&Promotion> {
        self.plan.as_deref()
    }

    /// Returns what is to be done next.
    pub fn next(&self) -> PromoterAction {
        match &self.at {
            At::Leasing => PromoterAction::Lease,
            At::Resolving => PromoterAction::Resolve,
            At::Finding => PromoterAction::FindPlan,
            At::Timing(_) => PromoterAction::Clock,
            At::Writing => PromoterAction::WritePlan,
            At::Heading(step) => PromoterAction::Head(*step),
            At::Fetching(step) => PromoterAction::Fetch(*step),
            At::Putting(step) => PromoterAction::Put(*step),
            At::ReadingBack { step, reads } => PromoterAction::ReadBack { step: *step, reads: *reads },
            At::Standing(step) => PromoterAction::Tell(*step),
            At::Confirming => PromoterAction::Confirm,
            At::Recording => PromoterAction::WriteSet,
            At::Releasing(_) => PromoterAction::Release,
            At::Ended(end) => PromoterAction::End(end.clone()),
        }
    }

    /// Takes in what came of it.
    pub fn observe(mut self, saw: PromoterSaw) -> Self {
        self.at = match (self.at.clone(), saw) {
            (At::Releasing(why), _) => At::Ended(PromoterEnd::Stopped { why, partly: None }),
            (At::Putting(step), PromoterSaw::Failed { is_refused }) => {
                self.has_written |= !is_refused;
                self.stop(step, Why::Failed)
            }
            (At::ReadingBack { step, .. }, PromoterSaw::Failed { .. }) => {
                self.has_written = true;
                self.stop(step, Why::Failed)
            }
            (At::Resolving, PromoterSaw::Failed { .. }) if !self.has_written => At::Releasing(Why::Failed),
            (at, PromoterSaw::Failed { .. }) => self.stop(at.step(self.steps().len()), Why::Failed),
            (At::Leasing, PromoterSaw::Leased { is_held: true }) => At::Resolving,
            (At::Leasing, PromoterSaw::Leased { is_held: false }) => self.stop(0, Why::ReadOnly),
            (At::Resolving, PromoterSaw::Planned(plan)) => {
                let (is_done, is_resumed) = (plan.is_done(), plan.is_resumed);
                self.plan = Some(plan);
                match (is_done, is_resumed, self.taken.clone()) {
                    (true, _, _) => At::Timing(Write::Report),
                    (false, true, _) => self.heading(0),
                    // Their set is another one.
                    (false, false, Some(found)) => self.stop(0, Why::Taken(found)),
                    (false, false, None) => At::Finding,
                }
            }
            (At::Finding, PromoterSaw::Plan(None)) => At::Timing(Write::Plan),
            (At::Finding | At::Writing, PromoterSaw::Plan(Some(found))) => {
                self.taken = Some(found);
                At::Resolving
            }
            (At::Timing(_), PromoterSaw::Clock { is_short: true }) => {
                self.leases += 1;
                if self.leases < LEASES { At::Leasing } else { self.stop(0, Why::Lapsed) }
            }
            (At::Timing(Write::Plan), PromoterSaw::Clock { .. }) => At::Writing,
            (At::Timing(Write::Tag(step)), PromoterSaw::Clock { .. }) => At::Putting(step),
            (At::Timing(Write::Set), PromoterSaw::Clock { .. }) => At::Recording,
            (At::Timing(Write::Report), PromoterSaw::Clock { .. }) => {
                At::Ended(PromoterEnd::Done { moved: self.moved.clone() })
            }
            (At::Writing, PromoterSaw::Written) => self.heading(0),
            (At::Heading(step), PromoterSaw::Holds(found)) => match self.step(step) {
                Some(of) if found.as_ref() == Some(&of.member.digest) => At::Standing(step),
                Some(of) if found == of.before => At::Fetching(step),
                of => {
                    let expected = of.and_then(|of| of.before.clone());
                    self.stop(step, Why::Conflict { step, found, expected })
                }
            },
            (At::Fetching(step), PromoterSaw::Content { is_there: true }) => At::Timing(Write::Tag(step)),
            (At::Fetching(step), PromoterSaw::Content { is_there: false }) => {
                self.stop(step, Why::Gone(step))
            }
            (At::Putting(step), PromoterSaw::Written) => At::ReadingBack { step, reads: 0 },
            (At::ReadingBack { step, reads }, PromoterSaw::Holds(found)) => match self.step(step) {
                Some(of) if found.as_ref() == Some(&of.member.digest) => {
                    self.has_written = true;
                    self.moved.push(step);
                    At::Standing(step)
                }
                // A registry may show the old value for a while; a third one is somebody else's.
                Some(of) if (found.is_none() || found == of.before) && reads + 1 < READS => {
                    At::ReadingBack { step, reads: reads + 1 }
                }
                of => {
                    let expected = of.map(|of| of.member.digest.clone());
                    self.stop(step, Why::Conflict { step, found, expected })
                }
            },
            (At::Standing(step), PromoterSaw::Done) => self.heading(step + 1),
            (At::Confirming, PromoterSaw::All(found)) => {
                let wanted = self.steps().iter().map(|step| Some(&step.member.digest));
                let held = found.iter().map(Option::as_ref);
                let moved = wanted.zip(held).position(|(wanted, held)| wanted != held);
                match moved {
                    None if found.len() == self.steps().len() => At::Timing(Write::Set),
                    moved => {
                        let step = moved.unwrap_or_default();
                        let expected = self.step(step).map(|of| of.member.digest.clone());
                        let found = found.get(step).cloned().flatten();
                        self.stop(self.steps().len(), Why::Conflict { step, found, expected })
                    }
                }
            }
            (At::Recording, PromoterSaw::Written) => At::Timing(Write::Report),
            // An answer to something else: nothing it says can be relied on.
            (at, _) => self.stop(at.step(self.steps().len()), Why::Failed),
        };
        self
    }

    fn steps(&self) -> &[Step] {
        self.plan.as_ref().map_or(&[], |plan| &plan.steps)
    }

    fn step(&self, index: usize) -> Option<&Step> {
        self.steps().get(index)
    }

    fn heading(&self, step: usize) -> At {
        if step < self.steps().len() { At::Heading(step) } else { At::Confirming }
    }

    /// Stops at a step. As long as no tag has moved, a refusal is only a refusal.
    fn stop(&self, step: usize, why: Why) -> At {
        let before = self.steps().iter().take(step);
        let has_moved = before.into_iter().any(|of| of.before.as_ref() != Some(&of.member.digest));
        let is_partly = has_moved || self.has_written || step > 0 && step == self.steps().len();
        At::Ended(PromoterEnd::Stopped { why, partly: is_partly.then_some(step) })
    }
}

impl At {
    /// Returns the step it is at.
    fn step(&self, all: usize) -> usize {
        match self {
            Self::Heading(step)
            | Self::Fetching(step)
            | Self::Putting(step)
            | Self::Standing(step)
            | Self::ReadingBack { step, .. }
            | Self::Timing(Write::Tag(step)) => *step,
            Self::Confirming | Self::Recording | Self::Timing(Write::Set | Write::Report) => all,
            Self::Leasing
            | Self::Resolving
            | Self::Finding
            | Self::Writing
            | Self::Releasing(_)
            | Self::Timing(Write::Plan)
            | Self::Ended(_) => 0,
        }
    }
}
