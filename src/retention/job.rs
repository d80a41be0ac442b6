//! One box of a run, step by step: use what fits, wait for whoever goes first, or build,
//! push and read back.
//!
//! A look reads the marker of each generation and what stands under the tag of the first one
//! that no marker ends; so a condemned tag is never written, and never used.
//!
//! | step | asks for | then |
//! | --- | --- | --- |
//! | wait | runs with earlier leases | look |
//! | look before the build | fits → used | build |
//! | build | the engine | look |
//! | look before the push | fits → adopted; another generation → from the top | clock |
//! | clock | too little of the lease left → lease, look again | push |
//! | push | done → read back; its answer lost → look before the push again | read back |
//! | read back | fits → built; not shown yet → again after a pause | from the top |

use std::time::Duration;

use crate::model::{Digest, Generation};

/// How often a box is begun anew because something moved while it was made.
const TRIES: u8 = 4;
/// How often an image is pushed before the push has failed.
const PUSHES: u8 = 3;
/// How often what was just written is read until it shows.
const READS: u8 = 5;

/// What stands for a box, judged against the parents it must stand on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stands {
    /// The first generation that no marker ends.
    pub generation: Generation,
    /// What stands under its tag.
    pub image: Judged,
}

/// An image as a run may use it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Judged {
    /// It is the box's, and stands on the parents that stand.
    Fits(Digest),
    /// The registry said that nothing is there.
    Missing,
    /// It cannot be used.
    Unfit(String),
    /// The registry did not say.
    Unknown(String),
}

/// One box that is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Job {
    at: At,
    tries: u8,
    pushes: u8,
    /// Why it is built.
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    Waiting,
    Looking,
    Building(Generation),
    Checking(Generation),
    Timing(Generation),
    Leasing(Generation),
    Pushing(Generation),
    ReadingBack { pushed: Digest, reads: u8 },
    Ended(JobEnd),
}

/// What a box asks for next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobAction {
    /// Wait for runs that lease the key and go first.
    Wait,
    /// Look at what stands, after a pause.
    Look {
        /// How long to wait before.
        pause: Duration,
    },
    /// Build the image of a generation.
    Build {
        /// The generation.
        generation: Generation,
        /// Why.
        reason: String,
    },
    /// See what is left of the lease.
    Clock,
    /// Lease the keys again.
    Lease,
    /// Push what was built under the tag of a generation.
    Push {
        /// The generation.
        generation: Generation,
    },
    /// Nothing more.
    End(JobEnd),
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobSaw {
    /// Nobody goes first any more.
    Waited,
    /// What stands.
    Stands(Stands),
    /// An image was built.
    Built,
    /// Whether too little of the lease is left for a visible write.
    Clock {
        /// Whether it is.
        is_short: bool,
    },
    /// The keys are leased again.
    Leased,
    /// The engine pushed this.
    Pushed(Digest),
    /// A push ended without an answer that settles it: it may have taken effect.
    Lost(String),
    /// It failed for good.
    Failed(String),
}

/// How a box ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum JobEnd {
    /// It was there.
    Used {
        /// Its digest.
        digest: Digest,
        /// Its generation.
        generation: Generation,
        /// How it came to be there.
        reason: String,
    },
    /// It was built, or another run's image got there first.
    Built {
        /// Its digest.
        digest: Digest,
        /// Its generation.
        generation: Generation,
        /// Whether the image is another run's.
        adopted: bool,
        /// Why it was built.
        reason: String,
    },
    /// It is missing, and may not be pushed from here.
    Forbidden(String),
    /// It failed.
    Failed(String),
}

impl Job {
    /// Begins with what the run's look saw of the box.
    pub fn new(first: Stands, can_write: bool) -> Self {
        let mut job = Self { at: At::Waiting, tries: 0, pushes: 0, reason: String::new() };
        match first.image {
            Judged::Fits(digest) => {
                let (generation, reason) = (first.generation, "present".to_owned());
                job.at = At::Ended(JobEnd::Used { digest, generation, reason });
            }
            // What an earlier look could not tell is looked at again.
            image => job.reason = image.why(first.generation),
        }
        if job.at == At::Waiting && !can_write {
            let reason = &job.reason;
            let why = format!("{reason}, and this registry takes no push from here");
            job.at = At::Ended(JobEnd::Forbidden(why));
        }
        job
    }

    /// Returns what is to be done next.
    pub fn next(&self) -> JobAction {
        match &self.at {
            At::Waiting => JobAction::Wait,
            At::Looking => JobAction::Look { pause: Duration::ZERO },
            At::Building(generation) => {
                JobAction::Build { generation: *generation, reason: self.reason.clone() }
            }
            At::Checking(_) => JobAction::Look { pause: Duration::from_secs(self.pushes.into()) },
            At::Timing(_) => JobAction::Clock,
            At::Leasing(_) => JobAction::Lease,
            At::Pushing(generation) => JobAction::Push { generation: *generation },
            At::ReadingBack { reads, .. } => JobAction::Look { pause: pause(*reads) },
            At::Ended(end) => JobAction::End(end.clone()),
        }
    }

    /// Takes in what came of it.
    pub fn observe(mut self, saw: JobSaw) -> Self {
        self.at = match (self.at.clone(), saw) {
            (_, JobSaw::Failed(why)) => At::Ended(JobEnd::Failed(why)),
            (_, JobSaw::Stands(Stands { image: Judged::Unknown(why), .. })) => At::Ended(JobEnd::Failed(why)),
            (At::Waiting, JobSaw::Waited) => At::Looking,
            (At::Looking, JobSaw::Stands(Stands { generation, image: Judged::Fits(digest) })) => {
                let reason = "another run has built it".to_owned();
                At::Ended(JobEnd::Used { digest, generation, reason })
            }
            (At::Looking, JobSaw::Stands(stands)) => At::Building(stands.generation),
            (At::Building(generation), JobSaw::Built) => At::Checking(generation),
            (At::Checking(generation), JobSaw::Stands(stands)) => match stands.image {
                _ if stands.generation != generation => {
                    return self.again("its generation was condemned while it was built".to_owned());
                }
                Judged::Fits(digest) => self.built(digest, generation, true),
                _ => At::Timing(generation),
            },
            (At::Timing(generation), JobSaw::Clock { is_short: true }) => At::Leasing(generation),
            (At::Timing(generation), JobSaw::Clock { is_short: false }) => At::Pushing(generation),
            // Whatever happened while the lease was short is looked at before the push.
            (At::Leasing(generation), JobSaw::Leased) => At::Checking(generation),
            (At::Pushing(_), JobSaw::Pushed(pushed)) => At::ReadingBack { pushed, reads: 0 },
            (At::Pushing(generation), JobSaw::Lost(why)) => {
                self.pushes += 1;
                if self.pushes < PUSHES { At::Checking(generation) } else { At::Ended(JobEnd::Failed(why)) }
            }
            (At::ReadingBack { pushed, reads }, JobSaw::Stands(stands)) => match stands.image {
                Judged::Fits(digest) => {
                    let adopted = digest != pushed;
                    self.built(digest, stands.generation, adopted)
                }
                Judged::Missing if reads + 1 < READS => At::ReadingBack { pushed, reads: reads + 1 },
                image => {
                    return self.again(format!("after the push: {}", image.why(stands.generation)));
                }
            },
            (at, saw) => At::Ended(JobEnd::Failed(format!("{saw:?} does not belong to {at:?}"))),
        };
        self
    }

    fn again(mut self, reason: String) -> Self {
        self.tries += 1;
        self.pushes = 0;
        self.at = if self.tries < TRIES {
            At::Waiting
        } else {
            At::Ended(JobEnd::Failed(format!("gave up after {TRIES} tries: {reason}")))
        };
        self.reason = reason;
        self
    }

    fn built(&self, digest: Digest, generation: Generation, adopted: bool) -> At {
        At::Ended(JobEnd::Built { digest, generation, adopted, reason: self.reason.clone() })
    }
}

impl Judged {
    fn why(self, generation: Generation) -> String {
        match self {
            Self::Fits(digest) => format!("{digest} is there"),
            Self::Missing => generation.why_missing(),
            Self::Unfit(why) | Self::Unknown(why) => why,
        }
    }
}

/// How long to wait before what was just written is read once more, after `reads` reads.
pub fn pause(reads: u8) -> Duration {
    reads.checked_sub(1).map_or(Duration::ZERO, |times| Duration::from_millis(50 * 3_u64.pow(times.into())))
}
