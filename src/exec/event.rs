//! What the protocols tell while they run.

use crate::exec::failure::Failure;
use crate::model::{Digest, Span, Timestamp};
use crate::port::{BuildEvent, DiskSpace, PushEvent, Wait};

/// Takes events; printers implement it.
pub type Emit<'a> = &'a (dyn Fn(Event) + Send + Sync);

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A lease was taken or renewed.
    Leased {
        /// How many keys it covers.
        keys: usize,
        /// When it ends, by the registry's clock.
        until: Timestamp,
    },
    /// The registry takes no writes from us, so nothing is leased or pushed.
    ReadOnly {
        /// What it said.
        why: String,
    },
    /// A box is there and is used.
    Used { name: String, digest: Digest },
    /// Another run builds this box; we wait for it.
    Waiting {
        /// The box's name.
        name: String,
        /// The other run.
        run: String,
        /// How long at most.
        patience: Span,
    },
    /// The engine may have too little room for what is to be built.
    LowDiskSpace {
        /// What it has.
        room: DiskSpace,
        /// What the builds bring at least, if nothing of it is there already, in bytes.
        needed: u64,
    },
    /// A box's build began.
    Building {
        name: String,
        /// Why it is built.
        reason: String,
        /// How many context entries are sent.
        entries: usize,
    },
    /// The engine told something about a build.
    Build {
        /// The box's name.
        name: String,
        /// What it told.
        event: BuildEvent,
    },
    /// A box is being pushed.
    Pushing {
        name: String,
        /// The reference it is pushed to.
        reference: String,
    },
    /// A push went on.
    Push {
        /// The box's name.
        name: String,
        /// How far.
        event: PushEvent,
    },
    /// Bytes went on that belong to several boxes together.
    Moved {
        /// What is done: `exporting`, `loading`.
        what: &'static str,
        /// The bytes so far.
        sent: u64,
        /// The bytes in all.
        total: u64,
    },
    /// A box was built, pushed and read back.
    Built {
        name: String,
        /// The digest that stands.
        digest: Digest,
        /// Whether it is somebody else's image that got there first.
        adopted: bool,
        /// How long it took, in seconds.
        seconds: f64,
    },
    /// A box could not be built.
    Failed {
        name: String,
        /// Why, and where its build ended.
        failure: Failure,
    },
    /// A box was not built because of another one.
    Skipped {
        name: String,
        /// Why, such as `base failed`.
        why: String,
    },
    /// A tag was moved.
    Tagged {
        /// The box's name.
        name: String,
        /// The reference that now resolves.
        reference: String,
        /// To this digest.
        digest: Digest,
    },
    /// A key was condemned.
    Condemned { reference: String },
    /// An image was deleted.
    Deleted { reference: String },
    /// A tag was removed; its image stays.
    Untagged { reference: String },
    /// A sweep comes to its next write of a kind.
    Sweeping {
        /// What is done: `marking`, `deleting`.
        what: &'static str,
        /// How many of the kind are behind it.
        done: usize,
        /// How many there are.
        all: usize,
    },
    /// A registry is left alone for a while.
    Held(Wait),
    /// Something a person should know.
    Note {
        /// What.
        text: String,
    },
}
