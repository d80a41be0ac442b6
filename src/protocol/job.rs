//! One box of a run, step by step: use what fits, wait for whoever goes first, or build,
//! push and read back.
//!
//! A look reads the tombstone of each generation and what stands under the tag of the first one
//! that no tombstone ends; so a condemned tag is never written, and never used.
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
use crate::plan::{Decision, Reason};

/// How often an image is pushed before the push has failed.
const PUSHES: u8 = 3;
/// How often what was just written is read until it shows.
const READS: u8 = 5;

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
        generation: Generation,
        /// Why.
        reason: String,
    },
    /// See what is left of the lease.
    Clock,
    /// Lease the keys again.
    Lease,
    /// Push what was built under the tag of a generation.
    Push { generation: Generation },
    /// Nothing more.
    End(JobEnd),
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobInput {
    /// Nobody goes first any more.
    Waited,
    /// What a look says is to be done.
    Looked {
        /// The first generation that no tombstone ends.
        generation: Generation,
        /// What to do, by the parents that stand.
        decision: Decision,
    },
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
    Lost,
    /// It failed for good; whoever carried it out knows why.
    Failed,
}

/// How a box ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum JobEnd {
    /// It was there.
    Used {
        digest: Digest,
        generation: Generation,
        /// How it came to be there.
        reason: String,
    },
    /// It was built, or another run's image got there first.
    Built {
        digest: Digest,
        generation: Generation,
        /// Whether the image is another run's.
        adopted: bool,
        /// Why it was built.
        reason: String,
    },
    /// It is missing, and may not be pushed from here.
    Forbidden(String),
    /// What was carried out last failed.
    Failed,
    /// Something moved each time that it was begun; what did so last.
    GaveUp(String),
}

impl Job {
    /// How often a box is begun anew because something moved while it was made.
    pub const TRIES: u8 = 4;

    /// Begins with what is to be done by the run's look.
    pub fn new(generation: Generation, decision: Decision) -> Self {
        let reason = decision.why();
        let at = match decision {
            Decision::Use(digest) => {
                let reason = reason.clone();
                At::Ended(JobEnd::Used { digest, generation, reason })
            }
            Decision::Refuse(reason) => {
                let why = format!("{reason}, and this registry takes no push from here");
                At::Ended(JobEnd::Forbidden(why))
            }
            // What an earlier look could not tell is looked at again.
            Decision::Build(_) | Decision::Wait { .. } | Decision::Stop => At::Waiting,
        };
        Self { at, tries: 0, pushes: 0, reason }
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
    pub fn observe(mut self, saw: JobInput) -> Self {
        self.at = match (self.at.clone(), saw) {
            (_, JobInput::Failed | JobInput::Looked { decision: Decision::Stop, .. }) => {
                At::Ended(JobEnd::Failed)
            }
            (At::Waiting, JobInput::Waited) => At::Looking,
            (At::Looking, JobInput::Looked { generation, decision: Decision::Use(digest) }) => {
                let reason = "another run has built it".to_owned();
                At::Ended(JobEnd::Used { digest, generation, reason })
            }
            (At::Looking, JobInput::Looked { generation, .. }) => At::Building(generation),
            (At::Building(generation), JobInput::Built) => At::Checking(generation),
            (At::Checking(built), JobInput::Looked { generation, decision }) => match decision {
                _ if generation != built => {
                    return self.again("its generation was condemned while it was built".to_owned());
                }
                Decision::Use(digest) => self.built(digest, generation, true),
                _ => At::Timing(generation),
            },
            (At::Timing(generation), JobInput::Clock { is_short: true }) => At::Leasing(generation),
            (At::Timing(generation), JobInput::Clock { is_short: false }) => At::Pushing(generation),
            // Whatever happened while the lease was short is looked at before the push.
            (At::Leasing(generation), JobInput::Leased) => At::Checking(generation),
            (At::Pushing(_), JobInput::Pushed(pushed)) => At::ReadingBack { pushed, reads: 0 },
            (At::Pushing(generation), JobInput::Lost) => {
                self.pushes += 1;
                if self.pushes < PUSHES { At::Checking(generation) } else { At::Ended(JobEnd::Failed) }
            }
            (At::ReadingBack { pushed, reads }, JobInput::Looked { generation, decision }) => {
                match decision {
                    Decision::Use(digest) => {
                        let adopted = digest != pushed;
                        self.built(digest, generation, adopted)
                    }
                    Decision::Build(Reason::Missing(_)) if reads + 1 < READS => {
                        At::ReadingBack { pushed, reads: reads + 1 }
                    }
                    decision => return self.again(format!("after the push: {}", decision.why())),
                }
            }
            // Whatever that is, it does not belong there.
            _ => At::Ended(JobEnd::Failed),
        };
        self
    }

    fn again(mut self, reason: String) -> Self {
        self.tries += 1;
        self.pushes = 0;
        self.at =
            if self.tries < Self::TRIES { At::Waiting } else { At::Ended(JobEnd::GaveUp(reason.clone())) };
        self.reason = reason;
        self
    }

    fn built(&self, digest: Digest, generation: Generation, adopted: bool) -> At {
        At::Ended(JobEnd::Built { digest, generation, adopted, reason: self.reason.clone() })
    }
}

/// How long to wait before what was just written is read once more, after `reads` reads.
pub fn pause(reads: u8) -> Duration {
    reads.checked_sub(1).map_or(Duration::ZERO, |times| Duration::from_millis(50 * 3_u64.pow(times.into())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{ContentTag, Key, Repository};
    use crate::plan::{Parent, Recorded, Seen, State, Wanted, decide, plan};

    /// A registry and a build: of each box, parents first, what stands and what comes out.
    #[derive(Debug, Clone)]
    struct One {
        parents: Vec<usize>,
        /// What stands: nothing, something broken, or an image that records each parent rightly,
        /// wrongly or not at all.
        stands: Option<Option<Vec<u8>>>,
        /// Whether a build makes the very image again.
        is_reproducible: bool,
    }

    fn boxes() -> impl Strategy<Value = Vec<One>> {
        let recorded = proptest::collection::vec(0_u8..6, 5);
        let stands = proptest::option::weighted(0.8, proptest::option::weighted(0.9, recorded));
        let one = (proptest::collection::vec(any::<bool>(), 5), stands, any::<bool>());
        proptest::collection::vec(one, 1..6).prop_map(|all| {
            let one = |(at, (on, stands, is_reproducible)): (usize, (Vec<bool>, _, bool))| {
                let parents = (0..at).filter(|parent| on[*parent]).collect();
                One { parents, stands, is_reproducible }
            };
            all.into_iter().enumerate().map(one).collect()
        })
    }

    fn name(at: usize) -> String {
        format!("box{at}")
    }

    fn key(at: usize) -> Key {
        Key::of(name(at).as_bytes())
    }

    /// The image that stands, or one that a build makes anew.
    fn image(at: usize, is_new: bool) -> Digest {
        Digest::of(format!("{at} {is_new}").as_bytes())
    }

    fn seen(at: usize, one: &One) -> Seen {
        let recorded = |kinds: &Vec<u8>| {
            let parent = |parent: &usize| match kinds[*parent] {
                0 => None,
                1 => Some((key(*parent), Digest::of(b"another"))),
                _ => Some((key(*parent), image(*parent, false))),
            };
            Recorded { parents: one.parents.iter().filter_map(parent).collect(), size: 0 }
        };
        let state = match &one.stands {
            None => State::Missing,
            Some(None) => State::Broken { why: "broken".to_owned() },
            Some(Some(kinds)) => State::Present { digest: image(at, false), recorded: recorded(kinds) },
        };
        Seen { generation: Generation(0), state }
    }

    /// Carries a job out in a world where nothing else moves; returns how it ends and whether it built.
    fn carry_out(
        first: Decision,
        mut seen: Seen,
        on: &[(String, Key, Digest)],
        out: Digest,
        may_push: bool,
    ) -> (JobEnd, bool) {
        let on = || on.iter().map(|(name, key, digest)| (name.as_str(), key, Parent::Stands(digest)));
        let first = match first {
            Decision::Wait { .. } => decide(&seen, on(), may_push),
            first => first,
        };
        let mut job = Job::new(seen.generation, first);
        let mut has_built = false;
        loop {
            let saw = match job.next() {
                JobAction::Wait => JobInput::Waited,
                JobAction::Look { .. } => {
                    JobInput::Looked { generation: seen.generation, decision: decide(&seen, on(), true) }
                }
                JobAction::Build { .. } => {
                    has_built = true;
                    JobInput::Built
                }
                JobAction::Clock => JobInput::Clock { is_short: false },
                JobAction::Lease => JobInput::Leased,
                JobAction::Push { .. } => {
                    let parents = on().filter_map(|(_, key, parent)| match parent {
                        Parent::Stands(digest) => Some((key.clone(), digest.clone())),
                        _ => None,
                    });
                    let recorded = Recorded { parents: parents.collect(), size: 0 };
                    seen.state = State::Present { digest: out.clone(), recorded };
                    JobInput::Pushed(out.clone())
                }
                JobAction::End(end) => return (end, has_built),
            };
            job = job.observe(saw);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// What is printed is what is carried out.
        #[test]
        fn a_build_does_what_its_plan_says(all in boxes(), may_push in any::<bool>()) {
            let wanted: Vec<Wanted> = all.iter().enumerate().map(|(at, one)| Wanted {
                name: name(at),
                repository: Repository::new("127.0.0.1:5000", "box").unwrap(),
                tag: ContentTag::new(None, key(at), Generation(0)).unwrap(),
                parents: one.parents.iter().map(|parent| name(*parent)).collect(),
            }).collect();
            let observed = all.iter().enumerate().map(|(at, one)| (name(at), seen(at, one)));
            let observed: BTreeMap<String, Seen> = observed.collect();
            let planned = plan(&wanted, &observed, may_push);
            prop_assert_eq!(planned.len(), all.len());

            let mut made: BTreeMap<usize, Digest> = BTreeMap::new();
            for ((at, one), planned) in all.iter().enumerate().zip(planned) {
                let on: Option<Vec<_>> = one.parents.iter()
                    .map(|parent| Some((name(*parent), key(*parent), made.get(parent)?.clone())))
                    .collect();
                // Without a parent there is nothing to build on.
                let Some(on) = on else {
                    prop_assert!(matches!(planned, Decision::Refuse(_)), "{planned:?}");
                    continue;
                };
                let first = observed[&name(at)].clone();
                let recorded = match &first.state {
                    State::Present { recorded, .. } => recorded.parents.clone(),
                    _ => BTreeMap::new(),
                };
                let out = image(at, !one.is_reproducible);
                let (end, has_built) = carry_out(planned.clone(), first, &on, out, may_push);
                match planned {
                    Decision::Use(digest) => {
                        prop_assert!(!has_built);
                        let is_used = matches!(&end, JobEnd::Used { digest: used, .. } if *used == digest);
                        prop_assert!(is_used, "{end:?}");
                    }
                    Decision::Build(why) => {
                        prop_assert!(has_built);
                        let told = matches!(&end, JobEnd::Built { reason, .. } if *reason == why.to_string());
                        prop_assert!(told, "{end:?}");
                    }
                    Decision::Wait { parent } => {
                        prop_assert!(one.parents.iter().any(|one| name(*one) == parent));
                        let is_as_before = on.iter().all(|(_, key, digest)| recorded.get(key) == Some(digest));
                        prop_assert_eq!(has_built, !is_as_before);
                    }
                    Decision::Refuse(_) => {
                        prop_assert!(!has_built && matches!(end, JobEnd::Forbidden(_)), "{end:?}");
                    }
                    Decision::Stop => prop_assert!(false, "nothing is unknown here"),
                }
                if let JobEnd::Used { digest, .. } | JobEnd::Built { digest, .. } = end {
                    made.insert(at, digest);
                }
            }
        }
    }
}
