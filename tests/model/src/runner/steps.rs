//! Every way in which a run may go on: one request, and every answer to it.

use super::super::registry::GARBAGE;
use super::*;

/// Every way in which a run may go on.
pub fn steps(config: &Config, state: &State, me: usize, steps: &mut Vec<Step>) {
    let run = &state.runs[me];
    if run.end {
        return;
    }
    let mut push = |label: &str, mut next: State| {
        start(config, &mut next, me);
        steps.push(Step { label: format!("run {me}: {label}"), state: Box::new(next) });
    };
    match &run.op {
        Op::Idle => {}
        Op::PutLease => {
            if run.taken == config.leases {
                return push("needs more leases than there are here", crashed(state, me));
            }
            let slot = World::slot(config, me, run.taken);
            let keys =
                if matches!(run.run.next(), RunAction::Settle { .. }) { run.standing() } else { run.mask() };
            for is_lost in [false, true] {
                if is_lost && !config.is_lossy {
                    continue;
                }
                let mut next = state.clone();
                next.store.lease(slot, Some(keys));
                if is_lost {
                    next.store.leases[usize::from(slot)] = Cell::default();
                }
                let run = &mut next.runs[me];
                run.taken += 1;
                run.op = Op::ReadLease;
                if config.lacks(Guard::LeaseReadBack) {
                    leased(&mut next, me, Some(keys));
                }
                push(if is_lost { "lease, which is lost" } else { "lease" }, next);
            }
        }
        Op::ReadLease => {
            let slot = World::slot(config, me, run.taken - 1);
            for read in state.store.leases[usize::from(slot)].reads() {
                let mut next = state.clone();
                leased(&mut next, me, read.filter(|keys| keys & GARBAGE == 0));
                push(if read.is_some() { "lease reads back" } else { "lease does not read back" }, next);
            }
        }
        Op::Look { generation } => {
            let key = run.keys[run.at];
            let tombstones = state.store.tombstones[usize::from(key)][usize::from(*generation)].reads();
            for tombstone in tombstones {
                let mut next = state.clone();
                if tombstone.is_some() && !config.lacks(Guard::TombstoneCheck) {
                    if usize::from(*generation) + 1 == GENERATIONS {
                        push("needs more generations than there are here", crashed(state, me));
                        continue;
                    }
                    next.runs[me].op = Op::Look { generation: generation + 1 };
                    push("sees a tombstone", next);
                    continue;
                }
                next.runs[me].op = Op::Tag { generation: *generation };
                if config.is_fine {
                    push("sees no tombstone", next);
                    continue;
                }
                for (label, next) in tag_reads(config, &next, me, *generation) {
                    push(label, next);
                }
            }
        }
        Op::Tag { generation } => {
            for (label, next) in tag_reads(config, state, me, *generation) {
                push(label, next);
            }
        }
        Op::Build => {
            let job = run.job.clone().unwrap();
            if config.is_failing && run.at + 1 == run.keys.len() {
                let mut next = state.clone();
                next.runs[me].op = Op::Idle;
                next.runs[me].job = Some(job.clone().observe(JobInput::Failed));
                push("build fails", next);
            }
            let JobAction::Build { generation, .. } = job.next() else { return };
            let mut next = state.clone();
            let key = run.keys[run.at];
            let parent = config.parent(key).and_then(|parent| run.keys.iter().position(|one| *one == parent));
            let base = parent.and_then(|parent| run.made[parent]).map(|made| made.id);
            let id = next.store.build(key, generation.0 as u8, base, config.is_reproducible);
            let run = &mut next.runs[me];
            (run.op, run.built) = (Op::Idle, Some(id));
            run.job = Some(job.observe(JobInput::Built));
            push("builds", next);
        }
        Op::Serve(request) => {
            // A tag that is lost though the push was answered well.
            let is_lost = config.is_lossy && matches!(request, Request::Link(..));
            if is_lost {
                let mut next = state.clone();
                pushed(&mut next, me);
                push("push, which is lost", next);
            }
            let mut next = state.clone();
            match next.store.serve(request.clone()) {
                Some(left) => next.runs[me].op = Op::Serve(left),
                None => pushed(&mut next, me),
            }
            push(&format!("push: {request:?}"), next);
        }
        Op::Release => {
            let mut next = state.clone();
            let is_settling = matches!(run.run.next(), RunAction::Settle { .. });
            let keeps = is_settling && run.standing() != 0;
            let old = run.slots.len() - usize::from(keeps && !config.lacks(Guard::NewLeaseBeforeRelease));
            for slot in next.runs[me].slots.drain(..old).collect::<Vec<_>>() {
                next.store.lease(slot, None);
            }
            let run = &mut next.runs[me];
            if keeps && config.lacks(Guard::NewLeaseBeforeRelease) {
                run.op = Op::PutLease;
            } else {
                run.op = Op::Idle;
                let saw = if is_settling { RunInput::Settled { is_held: keeps } } else { RunInput::Released };
                run.run = run.run.clone().observe(saw);
            }
            push("gives leases up", next);
        }
    }
}

/// Goes on once a push was answered.
fn pushed(state: &mut State, me: usize) {
    let run = &mut state.runs[me];
    (run.op, run.has_pushed) = (Op::Idle, true);
    let digest = NAMES.digest(run.built.unwrap());
    run.job = run.job.take().map(|job| job.observe(JobInput::Pushed(digest)));
}

/// Goes on once a lease was read back, or was not.
fn leased(state: &mut State, me: usize, read: Option<u8>) {
    let mine = state.store.leases.len() / (state.runs.len() + state.promoters.len()) * me;
    let run = &mut state.runs[me];
    run.op = Op::Idle;
    let slot = run.taken - 1 + mine as u8;
    let is_held = read.is_some();
    let action = run.run.next();
    if is_held {
        run.slots.push(slot);
    } else {
        state.store.lease(slot, None);
    }
    let run = &mut state.runs[me];
    match action {
        RunAction::Make => {
            run.is_lapsed = true;
            let saw = if is_held { JobInput::Leased } else { JobInput::Failed };
            run.job = run.job.take().map(|job| job.observe(saw));
        }
        RunAction::Settle { .. } if is_held && run.standing() != run.mask() && run.slots.len() > 1 => {
            run.op = Op::Release;
        }
        RunAction::Settle { .. } if is_held => {
            run.run = run.run.clone().observe(RunInput::Settled { is_held });
        }
        RunAction::Lease if is_held => run.run = run.run.clone().observe(RunInput::Leased { is_held }),
        RunAction::Renew if is_held => {
            run.is_lapsed = true;
            run.run = run.run.clone().observe(RunInput::Renewed);
        }
        _ => run.run = run.run.clone().observe(RunInput::Failed),
    }
}

fn tag_reads(config: &Config, state: &State, me: usize, generation: u8) -> Vec<(&'static str, State)> {
    let run = &state.runs[me];
    let key = run.keys[run.at];
    let cell = if config.lacks(Guard::NextGeneration) { 0 } else { generation };
    let reads = state.store.cell(At::Content(key, cell)).reads();
    let stored = reads.into_iter().map(|read| read.filter(|id| state.store.has(*id)));
    let see = |found: Option<Id>| {
        let mut next = state.clone();
        // Whether the tag was acknowledged by somebody when it was looked at before a push.
        let is_ours = |other: &Running| {
            other.reported
                && other.keys.iter().zip(&other.made).any(|(one, made)| {
                    *one == key
                        && made.is_some_and(|made| Some(made.id) == found && made.generation == generation)
                })
        };
        let acknowledged = state.runs.iter().any(is_ours);
        let is_checking = run.built.is_some();
        let is_faked = config.lacks(Guard::LookBeforePush) && is_checking && !run.has_pushed;
        let is_skipped = config.lacks(Guard::ReadBack) && run.has_pushed;
        let found = match run.built {
            _ if is_faked => None,
            Some(built) if is_skipped => Some(built),
            _ => found,
        };
        saw(config, &mut next, me, Look { generation, found });
        next.runs[me].acknowledged = acknowledged && is_checking;
        (if found.is_some() { "finds an image" } else { "finds nothing" }, next)
    };
    stored.map(see).collect()
}

/// Takes a look in.
fn saw(config: &Config, state: &mut State, me: usize, look: Look) {
    let run = &state.runs[me];
    if let Some(job) = run.job.clone() {
        let (generation, decision) = decision(config, &state.store, run, run.at, look);
        let run = &mut state.runs[me];
        run.op = Op::Idle;
        run.job = Some(job.observe(JobInput::Looked { generation, decision }));
        return;
    }
    let run = &mut state.runs[me];
    run.looks.push(look);
    run.at += 1;
    if run.at < run.keys.len() {
        run.op = Op::Look { generation: 0 };
        return;
    }
    run.op = Op::Idle;
    run.at = 0;
    let saw = match run.run.next() {
        RunAction::Probe => RunInput::Probed,
        _ => {
            let now: BTreeMap<usize, Option<Id>> =
                run.looks.iter().map(|look| look.found).enumerate().collect();
            let has_moved = run
                .made
                .iter()
                .enumerate()
                .any(|(at, made)| made.is_some_and(|made| now[&at] != Some(made.id)));
            run.is_lapsed = false;
            RunInput::Looked { has_moved }
        }
    };
    run.run = run.run.clone().observe(saw);
}

fn crashed(state: &State, me: usize) -> State {
    let mut next = state.clone();
    next.runs[me].stop();
    next
}
