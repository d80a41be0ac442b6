//! A run: the product's `Run` and `Job` on the model's registry, one request at a time.

use std::collections::BTreeMap;

use boxwright::model::Generation;
use boxwright::plan::{Decision, Parent, Reason, Recorded, Seen, State as Probed, decide};
use boxwright::protocol::{Job, JobAction, JobEnd, JobInput, Run, RunAction, RunInput};

mod steps;

pub use steps::steps;

use super::registry::{At, Cell, GENERATIONS, Id, NAMES, Request, Store};
use super::world::{Config, Guard, Harm, State, Step, World};

/// What a look saw of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Look {
    pub generation: u8,
    pub found: Option<Id>,
}

/// A box that a run will report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Made {
    pub generation: u8,
    pub id: Id,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Running {
    pub keys: Vec<u8>,
    run: Run,
    job: Option<Job>,
    /// The place of the box that is made or looked at.
    at: usize,
    op: Op,
    looks: Vec<Look>,
    pub made: Vec<Option<Made>>,
    built: Option<Id>,
    /// Whether what was built has been pushed, and is read back.
    has_pushed: bool,
    /// Slots of the leases held, the current one last.
    pub slots: Vec<u8>,
    taken: u8,
    has_built: bool,
    pub is_lapsed: bool,
    /// What another run has reported under the tag that a push is about to be made to, at the
    /// time of the last look.
    acknowledged: bool,
    pub is_in_window: bool,
    pub reported: bool,
    pub has_adopted: bool,
    end: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Op {
    Idle,
    PutLease,
    ReadLease,
    Look {
        generation: u8,
    },
    /// The tombstone is absent; the tag is still to be read.
    Tag {
        generation: u8,
    },
    Build,
    Serve(Request),
    Release,
}

impl Running {
    pub fn new(keys: &[u8]) -> Self {
        Self {
            keys: keys.to_vec(),
            run: Run::default(),
            job: None,
            at: 0,
            op: Op::Idle,
            looks: Vec::new(),
            made: vec![None; keys.len()],
            built: None,
            has_pushed: false,
            slots: Vec::new(),
            taken: 0,
            has_built: false,
            is_lapsed: false,
            acknowledged: false,
            is_in_window: false,
            reported: false,
            has_adopted: false,
            end: false,
        }
    }

    pub fn is_alive(&self) -> bool {
        !self.end
    }

    pub fn is_serving(&self) -> bool {
        matches!(self.op, Op::Serve(_))
    }

    /// Ends it; returns the request that the server may go on with.
    pub fn crash(&mut self) -> Option<Request> {
        let op = std::mem::replace(&mut self.op, Op::Idle);
        self.stop();
        match op {
            Op::Serve(request) => Some(request),
            _ => None,
        }
    }

    fn stop(&mut self) {
        self.end = true;
        self.is_in_window = false;
        // What no longer matters would tell states apart that behave alike.
        (self.op, self.run, self.job, self.built) = (Op::Idle, Run::default(), None, None);
        (self.at, self.has_built, self.has_pushed, self.acknowledged) = (0, false, false, false);
        self.looks.clear();
        if !self.reported {
            self.made.fill(None);
        }
    }

    fn mask(&self) -> u8 {
        self.keys.iter().fold(0, |mask, key| mask | 1 << key)
    }

    /// The keys of the boxes that stand.
    fn standing(&self) -> u8 {
        let made = self.keys.iter().zip(&self.made).filter(|(_, made)| made.is_some());
        made.fold(0, |mask, (key, _)| mask | 1 << key)
    }

    pub fn is_leased(&self, store: &Store) -> bool {
        self.slots.last().is_some_and(|&slot| store.is_live[usize::from(slot)])
    }
}

fn decision(config: &Config, store: &Store, run: &Running, at: usize, look: Look) -> (Generation, Decision) {
    let key = run.keys[at];
    let generation = Generation(look.generation.into());
    let state = match look.found.map(|id| (id, store.image(id))) {
        None => Probed::Missing,
        Some((_, image)) if image.is_foreign || image.generation != look.generation => {
            Probed::Broken { why: String::new() }
        }
        Some((id, _)) => {
            let recorded = Recorded { parents: NAMES.parents(store, id), size: 0 };
            Probed::Present { digest: NAMES.digest(id), recorded }
        }
    };
    let parent = config.parent(key).and_then(|parent| run.keys.iter().position(|one| *one == parent));
    let made = parent.and_then(|parent| Some((run.keys[parent], NAMES.digest(run.made[parent]?.id))));
    let parents =
        made.iter().map(|(key, made)| ("base", &NAMES.keys[usize::from(*key)], Parent::Stands(made)));
    let decision = match decide(&Seen { generation, state }, parents, true) {
        // Reasons are left out: they would tell states apart that behave alike.
        Decision::Build(reason) if !matches!(reason, Reason::Missing(_)) => {
            Decision::Build(Reason::Broken(String::new()))
        }
        decision => decision,
    };
    (generation, decision)
}

/// Brings a run to its next request.
pub fn start(config: &Config, state: &mut State, me: usize) {
    loop {
        let run = &state.runs[me];
        if run.end || run.op != Op::Idle {
            return;
        }
        let is_short = !run.is_leased(&state.store) && !config.lacks(Guard::ClockBeforeReport);
        let run = &mut state.runs[me];
        match run.run.next() {
            RunAction::Lease if config.lacks(Guard::LeaseBeforeProbe) => {
                run.run = run.run.clone().observe(RunInput::Leased { is_held: true });
            }
            RunAction::Lease | RunAction::Renew => run.op = Op::PutLease,
            RunAction::Probe => {
                (run.at, run.looks, run.op) = (0, Vec::new(), Op::Look { generation: 0 });
            }
            RunAction::Look if config.lacks(Guard::LookAfterLapse) && run.is_lapsed => {
                run.is_lapsed = false;
                run.run = run.run.clone().observe(RunInput::Looked { has_moved: false });
            }
            RunAction::Look if config.lacks(Guard::ReadBack) => {
                run.run = run.run.clone().observe(RunInput::Looked { has_moved: false });
            }
            RunAction::Look => {
                (run.at, run.looks, run.op) = (0, Vec::new(), Op::Look { generation: 0 });
            }
            RunAction::Make => make(config, state, me),
            RunAction::Clock => {
                // Between the first lease and the late one of a variant there is none to lapse.
                let is_short = is_short && !config.lacks(Guard::LeaseBeforeProbe);
                run.run = run.run.clone().observe(RunInput::Clock { is_short });
            }
            RunAction::Settle { is_lost } => {
                if is_lost {
                    for at in 0..run.keys.len() {
                        if run.made[at].map(|made| made.id) != run.looks[at].found {
                            run.made[at] = None;
                        }
                    }
                }
                if config.lacks(Guard::LeaseBeforeProbe) && run.slots.is_empty() {
                    run.op = Op::PutLease;
                } else if run.standing() == run.mask() {
                    run.run = run.run.clone().observe(RunInput::Settled { is_held: true });
                } else if run.standing() == 0 || config.lacks(Guard::NewLeaseBeforeRelease) {
                    run.op = Op::Release;
                } else {
                    run.op = Op::PutLease;
                }
            }
            RunAction::Release => run.op = Op::Release,
            RunAction::Report => {
                run.reported = run.standing() != 0;
                if run.reported && !run.is_leased(&state.store) {
                    state.harm.get_or_insert(Harm::Late);
                }
                state.runs[me].stop();
            }
            RunAction::Stop => run.stop(),
        }
    }
}

/// Goes on with the box that is made, or with the next one.
fn make(config: &Config, state: &mut State, me: usize) {
    let is_short = !state.runs[me].is_leased(&state.store) && !config.lacks(Guard::LeaseBeforeProbe);
    let run = &mut state.runs[me];
    let Some(job) = run.job.clone() else {
        if run.at == run.keys.len() {
            let saw = RunInput::Made { has_built: run.has_built, is_lapsed: run.is_lapsed };
            run.run = run.run.clone().observe(saw);
            run.has_built = false;
            return;
        }
        let (at, key) = (run.at, run.keys[run.at]);
        let parent = config.parent(key).and_then(|parent| run.keys.iter().position(|one| *one == parent));
        if parent.is_some_and(|parent| run.made[parent].is_none()) {
            run.made[at] = None;
            run.at += 1;
            return;
        }
        let (generation, decision) = decision(config, &state.store, run, at, run.looks[at]);
        state.runs[me].job = Some(Job::new(generation, decision));
        return;
    };
    let action = job.next();
    run.has_pushed &= matches!(action, JobAction::Look { .. });
    match action {
        JobAction::Wait => run.job = Some(job.observe(JobInput::Waited)),
        JobAction::Look { .. } => run.op = Op::Look { generation: 0 },
        JobAction::Build { .. } => run.op = Op::Build,
        JobAction::Clock => {
            run.is_in_window = !is_short;
            run.job = Some(job.observe(JobInput::Clock { is_short }));
        }
        JobAction::Lease => run.op = Op::PutLease,
        JobAction::Push { generation } => {
            // A push may take longer than any lease.
            run.is_in_window = false;
            let generation = if config.lacks(Guard::NextGeneration) { 0 } else { generation.0 as u8 };
            let at = At::Content(run.keys[run.at], generation);
            run.op = Op::Serve(Request::Store(at, run.built.unwrap()));
            if run.acknowledged {
                state.harm.get_or_insert(Harm::Overwritten);
            }
        }
        JobAction::End(end) => {
            run.made[run.at] = match end {
                JobEnd::Used { digest, generation, .. } => {
                    Some(Made { generation: generation.0 as u8, id: NAMES.id(&digest) })
                }
                JobEnd::Built { digest, generation, adopted, .. } => {
                    run.has_built = true;
                    run.has_adopted |= adopted;
                    Some(Made { generation: generation.0 as u8, id: NAMES.id(&digest) })
                }
                JobEnd::Forbidden(_) | JobEnd::Failed | JobEnd::GaveUp(_) => None,
            };
            run.job = None;
            run.built = None;
            run.at += 1;
        }
    }
}
