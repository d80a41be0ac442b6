//! What a sweep asks for, what comes of it, and how it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Digest;
use crate::retention::{Observed, Policy};

/// How a sweep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SweepEnd {
    /// It went through.
    Done,
    /// Something was not read or not written; nothing was deleted.
    Failed,
    /// It was suspended for too long before it wrote its tombstones; nothing was deleted.
    Late,
    /// It was told to stop.
    Interrupted,
}

/// What became of one deletion.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Deletion {
    /// It is gone.
    Done,
    /// It changed since it was decided on, and was left alone.
    Changed,
    /// The registry does not delete.
    Unsupported,
    /// The registry deletes, but not this one, or not one that needs it.
    Refused(String),
    /// It did not work.
    Failed(String),
}

/// What became of keeping a manifest before it is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Keeping {
    /// Its bytes are kept, and were read back.
    Kept,
    /// It is not kept, for the registry deletes nothing.
    Unsupported,
    /// It was not there to be kept.
    Gone,
    /// It is not kept.
    Failed(String),
}

/// What a registry said to a delete.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It took it, or there was nothing.
    Taken,
    /// It does not delete.
    Unsupported,
    /// It does not delete this one.
    Refused(String),
    /// It failed, or did not answer.
    Failed(String),
}

/// What a sweep asks for next. Numbers are places in its [`Clean`](crate::retention::Clean).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweepAction {
    /// See how much time has passed on this machine, suspended time included.
    Clock,
    /// Lease what is about to go, for as long as this look may last.
    Claim,
    /// Read all leases.
    Leases,
    /// Wait until every reader sees what was written before.
    Wait,
    /// Read everything else.
    Rest,
    /// Write a tombstone.
    Condemn(usize),
    /// Write a tombstone anew, without images.
    Retire(usize),
    /// Announce that the tag of a promotion is to go.
    Announce(usize),
    /// Write an announcement anew, without tags.
    Withdraw(usize),
    /// Note the records that no sweep has seen before.
    Sight,
    /// Delete records whose time is over, whatever was read: leases that have ended among them.
    Records,
    /// Delete an announcement that was withdrawn.
    Settle(usize),
    /// Delete a retired tombstone.
    Forget(usize),
    /// Keep the manifests of all that is to be deleted, so that they can be put back.
    Keep,
    /// Ask what the tag of an image holds.
    Head(usize),
    /// Delete an image.
    Delete(usize),
    /// Ask whether an image is gone.
    Find(usize),
    /// Nothing more.
    End(SweepEnd),
}

/// What came of an action.
#[derive(Debug, Clone)]
pub enum SweepInput {
    /// The time that has passed.
    Clock(Duration),
    /// It was done.
    Done,
    /// Everything was read.
    Observed(Box<Observed>, Policy),
    /// Something vanished while it was read.
    Unsettled,
    /// It is to stop; what was asked for was not waited for to its end.
    Interrupted,
    /// What became of keeping what is to be deleted; what is not named was not kept.
    Kept(BTreeMap<usize, Keeping>),
    /// What a tag holds, or whether a digest is there.
    Holds(Option<Digest>),
    /// What a registry said to a delete.
    Answered(Answer),
    /// It failed.
    Failed(String),
}
