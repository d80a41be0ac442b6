//! A whole run that builds, step by step: lease all keys, look at all boxes, make what is
//! missing, look again, record, report.
//!
//! | step | asks for | then |
//! | --- | --- | --- |
//! | lease | every key of the run, parents' too | probe |
//! | probe | tombstone and tag of every box; one unknown → give the lease up, stop | make |
//! | make | each box, parents first ([`crate::protocol::Job`]) | clock |
//! | clock | too little of the lease left → lease again, look again | look again, if anything was built or the lease had lapsed |
//! | look again | something else stands → make again | clock |
//! | settle | keep the claim on what stands, give up the rest; write the run's record | clock, for the last time |
//! | report | nothing: after the last clock nothing is waited for | |
//!
//! What is reported was looked at under a lease that has not lapsed since.

/// How often a run makes its boxes because what it had read was moved under it.
const ROUNDS: u8 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Run {
    at: At,
    round: u8,
    /// Whether the registry takes writes from us.
    can_write: bool,
    /// Whether what stands was not looked at since the lease was taken again.
    is_lapsed: bool,
    /// Whether something was built that was not looked at again.
    has_built: bool,
    is_settled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Leasing,
    Probing,
    Making,
    Timing,
    Renewing,
    Looking,
    /// What stands is settled; whatever had moved is not there.
    Settling {
        is_lost: bool,
    },
    Releasing,
    Reporting,
    Stopped,
}

/// What a run asks for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunAction {
    /// Lease all keys.
    Lease,
    /// Look at all boxes.
    Probe,
    /// Make all boxes, parents first.
    Make,
    /// See what is left of the lease.
    Clock,
    /// Lease the same keys again.
    Renew,
    /// Look at all boxes again, and compare.
    Look,
    /// Lease what stands, if that is not all, and only then give up the leases before; write
    /// the record.
    Settle {
        /// Whether boxes that were not found again count as failed.
        is_lost: bool,
    },
    /// Give up the lease, so that nobody waits for it.
    Release,
    /// Report what stands.
    Report,
    /// Report why nothing was done.
    Stop,
}

/// What came of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunInput {
    /// The lease stands, or the registry takes no writes from us.
    Leased {
        /// Whether it stands.
        is_held: bool,
    },
    /// What stands is known.
    Probed,
    /// Every box ended.
    Made {
        /// Whether any was built.
        has_built: bool,
        /// Whether the lease had to be taken again meanwhile.
        is_lapsed: bool,
    },
    /// Whether too little of the lease is left.
    Clock {
        /// Whether it is.
        is_short: bool,
    },
    /// The lease was taken again.
    Renewed,
    /// Whether a box that is to be reported no longer stands as it did.
    Looked {
        /// Whether there is one.
        has_moved: bool,
    },
    /// It is recorded.
    Settled {
        /// Whether anything stands that is leased.
        is_held: bool,
    },
    /// The leases are given up.
    Released,
    /// The run is to be stopped; what ran was dropped.
    Interrupted,
    /// It failed, and the run with it.
    Failed,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            at: At::Leasing,
            round: 1,
            can_write: false,
            is_lapsed: false,
            has_built: false,
            is_settled: false,
        }
    }
}

impl Run {
    /// Returns what is to be done next.
    pub fn next(&self) -> RunAction {
        match self.at {
            At::Leasing => RunAction::Lease,
            At::Probing => RunAction::Probe,
            At::Making => RunAction::Make,
            At::Timing => RunAction::Clock,
            At::Renewing => RunAction::Renew,
            At::Looking => RunAction::Look,
            At::Settling { is_lost } => RunAction::Settle { is_lost },
            At::Releasing => RunAction::Release,
            At::Reporting => RunAction::Report,
            At::Stopped => RunAction::Stop,
        }
    }

    /// Takes in what came of it.
    pub fn observe(mut self, saw: RunInput) -> Self {
        self.at = match (self.at, saw) {
            (At::Probing, RunInput::Failed) => At::Releasing,
            (_, RunInput::Failed) => At::Stopped,
            (At::Leasing, RunInput::Leased { is_held }) => {
                self.can_write = is_held;
                At::Probing
            }
            (At::Probing, RunInput::Probed) => At::Making,
            (At::Probing | At::Making, RunInput::Interrupted) => At::Settling { is_lost: false },
            (At::Making, RunInput::Made { has_built, is_lapsed }) => {
                self.has_built |= has_built;
                self.is_lapsed |= is_lapsed;
                if self.can_write { At::Timing } else { At::Settling { is_lost: false } }
            }
            (At::Timing, RunInput::Clock { is_short: true }) => At::Renewing,
            (At::Timing, RunInput::Clock { is_short: false }) => {
                if self.is_lapsed || (self.has_built && self.round < ROUNDS) {
                    At::Looking
                } else if self.is_settled {
                    At::Reporting
                } else {
                    At::Settling { is_lost: false }
                }
            }
            (At::Renewing, RunInput::Renewed) => {
                self.is_lapsed = true;
                At::Looking
            }
            (At::Looking, RunInput::Looked { has_moved: false }) => {
                (self.is_lapsed, self.has_built) = (false, false);
                At::Timing
            }
            (At::Looking, RunInput::Looked { has_moved: true }) => {
                (self.is_lapsed, self.has_built, self.is_settled) = (false, false, false);
                if self.round < ROUNDS {
                    self.round += 1;
                    At::Making
                } else {
                    At::Settling { is_lost: true }
                }
            }
            (At::Settling { .. }, RunInput::Settled { is_held }) => {
                self.is_settled = true;
                if is_held && self.can_write { At::Timing } else { At::Reporting }
            }
            // Whatever was waited for when the run was stopped: what it holds ends by itself.
            (_, RunInput::Interrupted) => At::Reporting,
            (At::Releasing, RunInput::Released) => At::Stopped,
            (At::Leasing | At::Releasing | At::Reporting | At::Stopped, _) => At::Stopped,
            // An answer to something else: nothing it says can be relied on.
            (At::Probing | At::Making | At::Timing | At::Renewing | At::Looking | At::Settling { .. }, _) => {
                At::Releasing
            }
        };
        self
    }
}
