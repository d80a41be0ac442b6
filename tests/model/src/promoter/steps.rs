//! Every way in which a promoter may go on: one request, and every answer to it.

use super::super::registry::GARBAGE;
use super::*;

/// Every way in which a promoter may go on.
pub fn steps(config: &Config, state: &State, me: usize, steps: &mut Vec<Step>) {
    let promoter = &state.promoters[me];
    if !promoter.is_alive() {
        return;
    }
    let mut push = |label: String, mut next: State| {
        start(config, &mut next, me);
        steps.push(Step { label: format!("promoter {me}: {label}"), state: Box::new(next) });
    };
    let actor = state.runs.len() + me;
    match &promoter.op {
        Op::Idle => {}
        Op::PutLease => {
            if promoter.under.is_none() {
                // What the tags hold is asked while the lease is taken, before or after.
                for view in state.store.views() {
                    let mut next = state.clone();
                    next.promoters[me].under = Some(under(config, &view, promoter));
                    push("reads tags".to_owned(), next);
                }
            }
            let mut next = state.clone();
            if promoter.taken == config.leases {
                next.promoters[me].is_crashed = true;
                return push("needs more leases than there are here".to_owned(), next);
            }
            let keys = promoter.keys.iter().fold(0, |mask, key| mask | 1 << key);
            next.store.lease(World::slot(config, actor, promoter.taken), Some(keys));
            let of = &mut next.promoters[me];
            (of.taken, of.op) = (of.taken + 1, Op::ReadLease);
            push("lease".to_owned(), next);
        }
        Op::ReadLease => {
            let slot = World::slot(config, actor, promoter.taken - 1);
            for read in state.store.leases[usize::from(slot)].reads() {
                let mut next = state.clone();
                let of = &mut next.promoters[me];
                match read.filter(|keys| keys & GARBAGE == 0) {
                    Some(_) => {
                        of.slots.push(slot);
                        of.observe(PromoterInput::Leased { is_held: true });
                    }
                    None => {
                        of.observe(PromoterInput::Failed);
                        next.store.lease(slot, None);
                    }
                }
                push("lease is read back".to_owned(), next);
            }
        }
        Op::Under => {
            for view in state.store.views() {
                let mut next = state.clone();
                let of = &mut next.promoters[me];
                of.under = Some(under(config, &view, promoter));
                match of.listed {
                    Some(_) => resolve(config, &mut next, me),
                    None => of.op = Op::List,
                }
                push("reads tags".to_owned(), next);
            }
        }
        Op::List => {
            for view in state.store.views() {
                let mut next = state.clone();
                list(config, &mut next.promoters[me], &view);
                push("lists the ledger".to_owned(), next);
            }
        }
        Op::Look => look(config, state, me, &mut push),
        Op::Find => {
            for read in state.store.plans[promoter.seq].reads() {
                let mut next = state.clone();
                let of = &mut next.promoters[me];
                let planned = of.planned.take().unwrap();
                let found = read.map(|_| NAMES.digest(0));
                of.observe(PromoterInput::Planned(planned, found.clone()));
                if let Some(found) = found.filter(|_| config.lacks(Guard::PlanOfTheSame)) {
                    of.end = Some(PromoterEnd::Stopped { why: Why::Taken(found), partly: None });
                }
                push("looks for a plan".to_owned(), next);
            }
        }
        Op::Serve(requests) => {
            for (at, request) in requests.iter().enumerate() {
                if config.is_lossy {
                    let mut next = state.clone();
                    served(&mut next.promoters[me], at, None);
                    push("put, which is lost".to_owned(), next);
                }
                let mut next = state.clone();
                serve(&mut next, me, at, request.clone());
                push(format!("put goes on: {request:?}"), next);
            }
        }
        Op::Ask => ask(config, state, me, &mut push),
    }
}

/// What one view shows under the tags.
fn under(config: &Config, view: &Store, promoter: &Promoting) -> Vec<Option<Id>> {
    promoter.keys.iter().map(|key| view.main[usize::from(config.box_of(*key))].now).collect()
}

/// Tombstones and records as one view shows them.
fn list(config: &Config, promoter: &mut Promoting, view: &Store) {
    let is_over = |key: u8, generation: usize| {
        view.tombstones[usize::from(key)][generation].now.is_some() && !config.lacks(Guard::TombstoneCheck)
    };
    if promoter.recorded.is_some() {
        // What is over for builds may be promoted again, unless a sweep has claimed it.
        let claims = view.claims.iter().fold(0, |keys, cell| keys | cell.now.unwrap_or_default());
        let is_going =
            |key: &u8| view.tombstones[usize::from(*key)][0].now.is_some() && claims & (1 << key) != 0;
        if promoter.keys.iter().any(is_going) && !config.lacks(Guard::ClaimCheck) {
            return promoter.observe(PromoterInput::Failed);
        }
    }
    let is_over = |key: u8, generation: usize| promoter.recorded.is_none() && is_over(key, generation);
    let current = |key: &u8| (0..GENERATIONS).find(|generation| !is_over(*key, *generation));
    let Some(generations) = promoter.keys.iter().map(|key| Some(current(key)? as u8)).collect() else {
        promoter.is_crashed = true;
        return;
    };
    let owned = |(at, rec): (usize, &Rec)| (at, rec.clone());
    let (set, plan) = (now(&view.sets).map(owned), now(&view.plans).map(owned));
    promoter.listed = Some(Listed { generations, set, plan });
    promoter.op = Op::Look;
}

fn look(config: &Config, state: &State, me: usize, push: &mut impl FnMut(String, State)) {
    let promoter = &state.promoters[me];
    let place = promoter.found.len();
    let key = promoter.keys[place];
    let generation = promoter.listed.as_ref().unwrap().generations[place];
    let reads = match &promoter.recorded {
        Some(recorded) => vec![Some(recorded[place])],
        None => state.store.cell(At::Content(key, generation)).reads(),
    };
    for read in reads {
        let mut next = state.clone();
        let of = &mut next.promoters[me];
        match read.filter(|id| state.store.has(*id)) {
            // What is missing is not promoted; neither is what stands on another image.
            Some(id) if is_consistent(config, state, promoter, key, id) => {
                of.found.push((generation, id));
                match of.found.len() == of.keys.len() {
                    true if of.is_overtaken() => of.op = Op::Under,
                    true => resolve(config, &mut next, me),
                    false => {}
                }
            }
            _ => of.observe(PromoterInput::Failed),
        }
        push(format!("looks at key {key}"), next);
    }
}

/// One of the requests that are under way goes on at the registry.
fn serve(state: &mut State, me: usize, at: usize, request: Request) {
    if let Request::Link(At::Main(of), _) = request {
        state.stood[usize::from(of)] = true;
    }
    let left = state.store.serve(request);
    served(&mut state.promoters[me], at, left);
}

/// What is left of a request; with the last one all are answered.
fn served(promoter: &mut Promoting, at: usize, left: Option<Request>) {
    let Op::Serve(requests) = &mut promoter.op else { unreachable!("no request is under way") };
    match left {
        Some(left) => requests[at] = left,
        None => drop(requests.remove(at)),
    }
    if requests.is_empty() {
        let PromoterAction::Put(steps) = promoter.promoter.next() else { unreachable!("nothing is put") };
        promoter.is_in_window = false;
        promoter.observe(PromoterInput::Put(vec![Put::Written; steps.len()]));
    }
}

/// One request, and every answer to it.
fn ask(config: &Config, state: &State, me: usize, push: &mut impl FnMut(String, State)) {
    let promoter = &state.promoters[me];
    let rec = promoter.rec.clone().unwrap_or(Rec { by: 0, boxes: Vec::new() });
    let main = |step: usize| At::Main(config.box_of(rec.boxes[step].key));
    let observed = |saw: PromoterInput| {
        let mut next = state.clone();
        next.promoters[me].observe(saw);
        next
    };
    let digest = |id: Option<Id>| id.map(|id| NAMES.digest(id));
    match promoter.promoter.next() {
        PromoterAction::WritePlan => {
            let mut next = observed(PromoterInput::Written);
            next.promoters[me].is_in_window = false;
            next.store.plan(promoter.seq, rec.clone());
            if config.lacks(Guard::SetLast) {
                record_set(config, &mut next, me, rec);
            }
            push("writes its plan".to_owned(), next);
        }
        PromoterAction::Look { .. } => {
            let step = promoter.looks.len();
            let one = &rec.boxes[step];
            let cell = state.store.cell(main(step));
            for read in cell.reads() {
                let found = match read.filter(|id| state.store.has(*id)) {
                    found if found == Some(one.wanted) => found,
                    _ if config.lacks(Guard::ExpectedOld) => one.before,
                    found => found,
                };
                let mut next = state.clone();
                let of = &mut next.promoters[me];
                of.headed.truncate(step);
                of.headed.push(cell.now);
                of.looks.push(digest(found));
                if of.looks.len() == rec.boxes.len() {
                    let looks = std::mem::take(&mut of.looks);
                    of.observe(PromoterInput::Looked(looks));
                }
                push(format!("head {step}"), next);
            }
        }
        PromoterAction::Put(steps) => {
            let mut next = state.clone();
            let of = &mut next.promoters[me];
            let headed = std::mem::take(&mut of.headed);
            let put = |step: &usize| Request::Store(main(*step), rec.boxes[*step].wanted);
            of.op = Op::Serve(steps.iter().map(put).collect());
            let is_third = |step: &usize| {
                let one = &rec.boxes[*step];
                headed[*step] != one.before && headed[*step] != Some(one.wanted)
            };
            if config.late == 0 && steps.iter().any(is_third) {
                next.harm.get_or_insert(Harm::Third);
            }
            push(format!("puts {steps:?}"), next);
        }
        PromoterAction::ReadBack { steps, .. } => {
            let step = steps[promoter.holds.len()];
            let is_skipped = config.lacks(Guard::ReadBackAll) && promoter.promoter.standing().contains(&step);
            let reads = match is_skipped {
                true => vec![Some(rec.boxes[step].wanted)],
                false => state.store.cell(main(step)).reads(),
            };
            for read in reads {
                let mut next = state.clone();
                let of = &mut next.promoters[me];
                of.holds.push(digest(read.filter(|id| state.store.has(*id))));
                if of.holds.len() == steps.len() {
                    let holds = std::mem::take(&mut of.holds);
                    of.observe(PromoterInput::Holds(holds));
                }
                push(format!("read back {step}"), next);
            }
        }
        PromoterAction::WriteSet => {
            let mut next = observed(PromoterInput::Written);
            next.promoters[me].is_in_window = false;
            record_set(config, &mut next, me, rec);
            push("writes its set".to_owned(), next);
        }
        PromoterAction::Release => {
            let mut next = observed(PromoterInput::Done);
            let is_done =
                matches!(next.promoters[me].promoter.next(), PromoterAction::End(PromoterEnd::Done { .. }));
            if is_done && !promoter.is_leased(&state.store) && !config.lacks(Guard::LeaseBeforePromotion) {
                next.harm.get_or_insert(Harm::Late);
            }
            next.promoters[me].is_in_window = false;
            for slot in &promoter.slots {
                next.store.lease(*slot, None);
            }
            next.promoters[me].slots.clear();
            push("gives its lease up".to_owned(), next);
        }
        _ => {}
    }
}

fn record_set(config: &Config, state: &mut State, me: usize, rec: Rec) {
    if !rec.boxes.iter().all(|one| {
        let of = usize::from(config.box_of(one.key));
        state.stood[of] || state.store.main[of].now == Some(one.wanted)
    }) {
        state.harm.get_or_insert(Harm::Unset);
    }
    let seq = state.promoters[me].seq;
    state.store.set(seq, rec);
}
