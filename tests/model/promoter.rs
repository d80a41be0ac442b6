//! A promoter: the product's `Promoter`, and with it `promotion`, on the model's registry.

use std::sync::Arc;

use boxwright::model::{ContentTag, Digest, Generation, SetBox, SetRecord, Source, Timestamp};
use boxwright::plan::{
    Look, Member, Past, Promoter, PromoterAction, PromoterEnd, PromoterSaw, Put, Why, Wish, promotion,
};

use super::registry::{At, Cell, GENERATIONS, Id, NAMES, Rec, RecBox, Request, Store};
use super::world::{Config, Guard, Harm, State, Step, World};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Promoting {
    pub keys: Vec<u8>,
    promoter: Promoter,
    op: Op,
    /// What was found for each key so far.
    found: Vec<(u8, Id)>,
    pub slots: Vec<u8>,
    taken: u8,
    rec: Option<Rec>,
    seq: usize,
    /// What the tags really held when they were asked for.
    headed: Vec<Option<Id>>,
    /// What the tag holds whose content is looked for next.
    head: Option<Option<Id>>,
    /// What was looked at so far.
    looks: Vec<Look>,
    /// What was read back so far.
    holds: Vec<Option<Digest>>,
    pub is_in_window: bool,
    pub end: Option<PromoterEnd>,
    is_crashed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Op {
    Idle,
    PutLease,
    ReadLease,
    /// The marker and tag of a generation of the key that comes next are read.
    Look {
        generation: u8,
    },
    /// Tags and ledger are read.
    Read,
    /// The requests that are under way, all of which are answered before it goes on.
    Serve(Vec<Request>),
    Ask,
}

impl Promoting {
    pub fn new(keys: &[u8]) -> Self {
        Self {
            keys: keys.to_vec(),
            promoter: Promoter::default(),
            op: Op::Idle,
            found: Vec::new(),
            slots: Vec::new(),
            taken: 0,
            rec: None,
            seq: 0,
            headed: Vec::new(),
            head: None,
            looks: Vec::new(),
            holds: Vec::new(),
            is_in_window: false,
            end: None,
            is_crashed: false,
        }
    }

    pub fn is_alive(&self) -> bool {
        self.end.is_none() && !self.is_crashed
    }

    pub fn is_serving(&self) -> bool {
        matches!(self.op, Op::Serve(_))
    }

    pub fn is_done(&self) -> bool {
        matches!(self.end, Some(PromoterEnd::Done { .. }))
    }

    pub fn saw_conflict(&self) -> bool {
        matches!(self.end, Some(PromoterEnd::Stopped { why: Why::Conflict { .. } | Why::Taken(_), .. }))
    }

    /// The plan that it has written.
    pub fn begun(&self) -> Option<(usize, &Rec)> {
        self.rec.as_ref().map(|rec| (self.seq, rec))
    }

    pub fn crash(&mut self) -> Vec<Request> {
        let op = std::mem::replace(&mut self.op, Op::Idle);
        self.is_crashed = true;
        self.is_in_window = false;
        match op {
            Op::Serve(requests) => requests,
            _ => Vec::new(),
        }
    }

    fn is_leased(&self, store: &Store) -> bool {
        self.slots.last().is_some_and(|&slot| store.is_live[usize::from(slot)])
    }

    fn observe(&mut self, saw: PromoterSaw) {
        self.promoter = self.promoter.clone().observe(saw);
        self.op = Op::Idle;
    }
}

fn now(cells: &[Cell<Rec>]) -> Option<(usize, &Rec)> {
    let last = cells.iter().rposition(|cell| cell.now.is_some())?;
    Some((last, cells[last].now.as_ref()?))
}

/// Brings a promoter to its next request.
pub fn start(config: &Config, state: &mut State, me: usize) {
    loop {
        let promoter = &state.promoters[me];
        if !promoter.is_alive() || promoter.op != Op::Idle {
            return;
        }
        let is_short = !promoter.is_leased(&state.store);
        let is_checked = !config.lacks(Guard::ClockBeforePlan) && !config.lacks(Guard::LeaseBeforePromotion);
        let promoter = &mut state.promoters[me];
        match promoter.promoter.next() {
            PromoterAction::Lease if config.lacks(Guard::LeaseBeforePromotion) => {
                promoter.observe(PromoterSaw::Leased { is_held: true });
            }
            PromoterAction::Lease => promoter.op = Op::PutLease,
            PromoterAction::Resolve => {
                promoter.found.clear();
                promoter.op = Op::Look { generation: 0 };
            }
            PromoterAction::Clock => {
                let is_short = is_short && is_checked;
                promoter.is_in_window = !is_short && is_checked;
                promoter.observe(PromoterSaw::Clock { is_short });
            }
            PromoterAction::WritePlan if config.lacks(Guard::PlanFirst) => {
                promoter.is_in_window = false;
                promoter.observe(PromoterSaw::Written);
            }
            PromoterAction::ReadBack { steps, .. } if config.lacks(Guard::TagReadBack) => {
                let boxes = &promoter.rec.as_ref().unwrap().boxes;
                let wanted = steps.iter().map(|step| Some(NAMES.digest(boxes[*step].wanted))).collect();
                promoter.observe(PromoterSaw::Holds(wanted));
            }
            PromoterAction::End(end) => {
                if matches!(end, PromoterEnd::Done { .. }) {
                    if is_short && !config.lacks(Guard::LeaseBeforePromotion) {
                        state.harm.get_or_insert(Harm::Late);
                    }
                    check_moved(config, state, me);
                }
                let promoter = &mut state.promoters[me];
                promoter.is_in_window = false;
                promoter.end = Some(end);
            }
            _ => promoter.op = Op::Ask,
        }
    }
}

/// A promotion that nobody else meddled with has moved every tag.
fn check_moved(config: &Config, state: &mut State, me: usize) {
    let promoter = &state.promoters[me];
    let alone = state.promoters.len() == 1 && !state.is_meddled;
    let all = promoter.found.iter().zip(&promoter.keys);
    let stands =
        |((_, id), key): ((u8, Id), u8)| state.store.main[usize::from(config.box_of(key))].now == Some(id);
    if alone && !all.map(|(found, key)| (*found, *key)).all(stands) {
        state.harm.get_or_insert(Harm::Unmoved);
    }
}

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
                match read {
                    Some(_) => {
                        of.slots.push(slot);
                        of.observe(PromoterSaw::Leased { is_held: true });
                    }
                    None => {
                        of.observe(PromoterSaw::Failed);
                        next.store.lease(slot, None);
                    }
                }
                push("lease is read back".to_owned(), next);
            }
        }
        Op::Look { generation } => look(config, state, me, *generation, &mut push),
        Op::Read => {
            for view in state.store.views() {
                let mut next = state.clone();
                resolve(config, &mut next, &view, me);
                push("reads tags and ledger".to_owned(), next);
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

fn look(config: &Config, state: &State, me: usize, generation: u8, push: &mut impl FnMut(String, State)) {
    let promoter = &state.promoters[me];
    let key = promoter.keys[promoter.found.len()];
    for marker in state.store.markers[usize::from(key)][usize::from(generation)].reads() {
        if marker.is_some() && !config.lacks(Guard::MarkerCheck) {
            let mut next = state.clone();
            next.promoters[me].op = Op::Look { generation: generation + 1 };
            next.promoters[me].is_crashed = usize::from(generation) + 1 == GENERATIONS;
            push("sees a marker".to_owned(), next);
            continue;
        }
        for read in state.store.cell(At::Content(key, generation)).reads() {
            let mut next = state.clone();
            let of = &mut next.promoters[me];
            match read.filter(|id| state.store.has(*id)) {
                // What is missing is not promoted; neither is what stands on another image.
                Some(id) if is_consistent(config, state, promoter, key, id) => {
                    of.found.push((generation, id));
                    let is_last = of.found.len() == of.keys.len();
                    of.op = if is_last { Op::Read } else { Op::Look { generation: 0 } };
                }
                _ => of.observe(PromoterSaw::Failed),
            }
            push(format!("looks at key {key}"), next);
        }
    }
}

fn is_consistent(config: &Config, state: &State, promoter: &Promoting, key: u8, id: Id) -> bool {
    let image = state.store.image(id);
    let parent = config.parent(key).and_then(|parent| promoter.keys.iter().position(|one| *one == parent));
    !image.is_foreign && parent.is_none_or(|parent| Some(promoter.found[parent].1) == image.base)
}

/// Plans from what one view shows.
fn resolve(config: &Config, state: &mut State, view: &Store, me: usize) {
    let promoter = &state.promoters[me];
    let member = |(key, (generation, id)): (&u8, &(u8, Id))| Member {
        name: NAMES.box_name(config.box_of(*key)),
        repository: NAMES.repository(config.box_of(*key)),
        tag: ContentTag::new(None, NAMES.key(*key), Generation((*generation).into())).unwrap(),
        digest: NAMES.digest(*id),
        now: view.main[usize::from(config.box_of(*key))].now.map(|id| NAMES.digest(id)),
    };
    let members = promoter.keys.iter().zip(&promoter.found).map(member).collect();
    let record = |at: (usize, &Rec)| record(config, at.0 as u32 + 1, at.1);
    let (set, plan) = (now(&view.sets).map(record), now(&view.plans).map(record));
    let past = Past { set: set.as_ref(), plan: plan.as_ref() };
    let wish = Wish {
        tag: &NAMES.main,
        immutable: false,
        allow_older: false,
        source: &Source::default(),
        from: None,
    };
    let planned = promotion(&wish, members, past);
    let promoter = &mut state.promoters[me];
    let Ok(planned) = planned else {
        return promoter.observe(PromoterSaw::Failed);
    };
    let boxes = planned.steps.iter().zip(promoter.keys.iter().zip(&promoter.found));
    let boxes = boxes.map(|(step, (key, (generation, id)))| RecBox {
        key: *key,
        generation: *generation,
        wanted: *id,
        before: step.before.as_ref().map(|before| NAMES.id(before)),
    });
    promoter.rec = Some(Rec { by: me as u8, boxes: boxes.collect() });
    promoter.seq = planned.seq as usize - 1;
    if promoter.seq >= state.store.plans.len() {
        promoter.is_crashed = true;
        return;
    }
    promoter.observe(PromoterSaw::Planned(Arc::new(planned)));
}

fn record(config: &Config, seq: u32, rec: &Rec) -> SetRecord {
    let one = |one: &RecBox| SetBox {
        name: NAMES.box_name(config.box_of(one.key)),
        repository: NAMES.box_name(config.box_of(one.key)),
        key: NAMES.key(one.key),
        content_tag: NAMES.tag(one.key, one.generation),
        digest: NAMES.digest(one.wanted),
        before: one.before.map(|id| NAMES.digest(id)),
    };
    SetRecord {
        tag: NAMES.main.clone(),
        channel: "main".to_owned(),
        seq,
        promoted: Timestamp::default(),
        run: "r".parse().unwrap(),
        source: Source::default(),
        from: None,
        copied: None,
        withdrawn: None,
        boxes: rec.boxes.iter().map(one).collect(),
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
        promoter.observe(PromoterSaw::Put(vec![Put::Written; steps.len()]));
    }
}

/// One request, and every answer to it.
fn ask(config: &Config, state: &State, me: usize, push: &mut impl FnMut(String, State)) {
    let promoter = &state.promoters[me];
    let rec = promoter.rec.clone().unwrap_or(Rec { by: 0, boxes: Vec::new() });
    let main = |step: usize| At::Main(config.box_of(rec.boxes[step].key));
    let observed = |saw: PromoterSaw| {
        let mut next = state.clone();
        next.promoters[me].observe(saw);
        next
    };
    let digest = |id: Option<Id>| id.map(|id| NAMES.digest(id));
    match promoter.promoter.next() {
        PromoterAction::FindPlan => {
            for read in state.store.plans[promoter.seq].reads() {
                let found = read.map(|_| NAMES.digest(0));
                push("looks for a plan".to_owned(), observed(PromoterSaw::Plan(found)));
            }
        }
        PromoterAction::WritePlan => {
            let mut next = observed(PromoterSaw::Written);
            next.promoters[me].is_in_window = false;
            next.store.plan(promoter.seq, rec.clone());
            if config.lacks(Guard::SetLast) {
                record_set(config, &mut next, me, rec);
            }
            push("writes its plan".to_owned(), next);
        }
        PromoterAction::Look => {
            let step = promoter.looks.len();
            let one = &rec.boxes[step];
            // A tag and its content are two requests.
            let Some(head) = promoter.head else {
                let cell = state.store.cell(main(step));
                for read in cell.reads() {
                    let found = match read.filter(|id| state.store.has(*id)) {
                        found if found == Some(one.wanted) => found,
                        _ if config.lacks(Guard::ExpectedOld) => one.before,
                        found => found,
                    };
                    let mut next = state.clone();
                    let of = &mut next.promoters[me];
                    of.head = Some(found);
                    of.headed.truncate(step);
                    of.headed.push(cell.now);
                    push(format!("head {step}"), next);
                }
                return;
            };
            let mut next = state.clone();
            let of = &mut next.promoters[me];
            of.looks.push(Look { holds: digest(head), is_there: state.store.has(one.wanted) });
            of.head = None;
            if of.looks.len() == rec.boxes.len() {
                let looks = std::mem::take(&mut of.looks);
                of.observe(PromoterSaw::Looked(looks));
            }
            push(format!("fetch {step}"), next);
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
                    of.observe(PromoterSaw::Holds(holds));
                }
                push(format!("read back {step}"), next);
            }
        }
        PromoterAction::WriteSet => {
            let mut next = observed(PromoterSaw::Written);
            next.promoters[me].is_in_window = false;
            record_set(config, &mut next, me, rec);
            push("writes its set".to_owned(), next);
        }
        PromoterAction::Release => {
            let mut next = observed(PromoterSaw::Done);
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
