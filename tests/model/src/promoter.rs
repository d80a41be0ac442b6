//! A promoter: the product's `Promoter`, and with it `promotion`, on the model's registry.

mod steps;

use std::sync::Arc;

use boxwright::model::{ContentTag, Digest, Generation, PromotedImage, PromotionRecord, Source, Timestamp};
use boxwright::plan::{Member, Past, Promotion, PromotionRequest, promotion};
use boxwright::protocol::{Promoter, PromoterAction, PromoterEnd, PromoterInput, Put, Why};

use super::registry::{At, Cell, GENERATIONS, Id, NAMES, Rec, RecBox, Request, Store};
use super::world::{Config, Guard, Harm, State, Step, World};
pub use steps::steps;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Promoting {
    pub keys: Vec<u8>,
    /// The images of an earlier promotion, if it promotes that and not what is current.
    pub recorded: Option<Vec<Id>>,
    promoter: Promoter,
    op: Op,
    /// What the tags held when they were asked for, for the plan.
    under: Option<Vec<Option<Id>>>,
    /// What the ledger held when it was listed.
    listed: Option<Listed>,
    /// What was found for each key so far.
    found: Vec<(u8, Id)>,
    /// What was planned, until it is known whether somebody else has begun.
    planned: Option<Arc<Promotion>>,
    pub slots: Vec<u8>,
    taken: u8,
    rec: Option<Rec>,
    seq: usize,
    /// What the tags really held when they were asked for.
    headed: Vec<Option<Id>>,
    /// What was looked at so far.
    looks: Vec<Option<Digest>>,
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
    /// Tags are read.
    Under,
    /// The ledger is listed.
    List,
    /// The image of the key that comes next is read.
    Look,
    /// Somebody else's plan is looked for.
    Find,
    /// The requests that are under way, all of which are answered before it goes on.
    Serve(Vec<Request>),
    Ask,
}

/// What a list of the ledger tells a promoter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Listed {
    /// The current generation of each key.
    generations: Vec<u8>,
    set: Option<(usize, Rec)>,
    plan: Option<(usize, Rec)>,
}

impl Promoting {
    pub fn new(keys: &[u8]) -> Self {
        Self {
            keys: keys.to_vec(),
            recorded: None,
            promoter: Promoter::default(),
            op: Op::Idle,
            under: None,
            listed: None,
            found: Vec::new(),
            planned: None,
            slots: Vec::new(),
            taken: 0,
            rec: None,
            seq: 0,
            headed: Vec::new(),
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

    /// Whether the last promotion is of this very set, and tags were not seen to hold it.
    fn is_overtaken(&self) -> bool {
        let set = self.listed.as_ref().and_then(|listed| listed.set.as_ref());
        let of_set = set.map(|(_, rec)| rec.boxes.iter().map(|one| one.wanted));
        let found = || self.found.iter().map(|(_, id)| *id);
        let is_there = self.under.iter().flatten().copied().eq(found().map(Some));
        !is_there && of_set.is_some_and(|wanted| wanted.eq(found()))
    }

    fn observe(&mut self, saw: PromoterInput) {
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
                promoter.observe(PromoterInput::Leased { is_held: true });
            }
            PromoterAction::Lease => promoter.op = Op::PutLease,
            PromoterAction::Resolve => {
                promoter.found.clear();
                promoter.op = if promoter.under.is_some() { Op::List } else { Op::Under };
            }
            PromoterAction::Clock => {
                let is_short = is_short && is_checked;
                promoter.is_in_window = !is_short && is_checked;
                promoter.observe(PromoterInput::Clock { is_short });
            }
            PromoterAction::WritePlan if config.lacks(Guard::PlanFirst) => {
                promoter.is_in_window = false;
                promoter.observe(PromoterInput::Written);
            }
            PromoterAction::ReadBack { steps, .. } if config.lacks(Guard::TagReadBack) => {
                let boxes = &promoter.rec.as_ref().unwrap().boxes;
                let wanted = steps.iter().map(|step| Some(NAMES.digest(boxes[*step].wanted))).collect();
                promoter.observe(PromoterInput::Holds(wanted));
            }
            PromoterAction::End(end) => {
                if matches!(end, PromoterEnd::Done { .. }) {
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

fn is_consistent(config: &Config, state: &State, promoter: &Promoting, key: u8, id: Id) -> bool {
    let image = state.store.image(id);
    let parent = config.parent(key).and_then(|parent| promoter.keys.iter().position(|one| *one == parent));
    !image.is_foreign && parent.is_none_or(|parent| Some(promoter.found[parent].1) == image.base)
}

/// Plans from what was read.
fn resolve(config: &Config, state: &mut State, me: usize) {
    let promoter = &mut state.promoters[me];
    let (under, listed) = (promoter.under.take().unwrap(), promoter.listed.take().unwrap());
    let member = |((key, (generation, id)), now): ((&u8, &(u8, Id)), Option<Id>)| Member {
        name: NAMES.box_name(config.box_of(*key)),
        repository: NAMES.repository(config.box_of(*key)),
        tag: ContentTag::new(None, NAMES.key(*key), Generation((*generation).into())).unwrap(),
        digest: NAMES.digest(*id),
        now: now.map(|id| NAMES.digest(id)),
    };
    let members = promoter.keys.iter().zip(&promoter.found).zip(under).map(member).collect();
    let record = |at: &(usize, Rec)| record(config, at.0 as u32 + 1, &at.1);
    let (set, plan) = (listed.set.as_ref().map(record), listed.plan.as_ref().map(record));
    let past = Past { set: set.as_ref(), plan: plan.as_ref(), last: 0 };
    let wish = PromotionRequest {
        tag: &NAMES.main,
        immutable: false,
        allow_older: false,
        source: &Source::default(),
        from: None,
    };
    let planned = promotion(&wish, members, past);
    let promoter = &mut state.promoters[me];
    let Ok(planned) = planned else {
        return promoter.observe(PromoterInput::Failed);
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
    if planned.is_resumed || planned.is_done() {
        return promoter.observe(PromoterInput::Planned(Arc::new(planned), None));
    }
    (promoter.planned, promoter.op) = (Some(Arc::new(planned)), Op::Find);
}

fn record(config: &Config, seq: u32, rec: &Rec) -> PromotionRecord {
    let one = |one: &RecBox| PromotedImage {
        name: NAMES.box_name(config.box_of(one.key)),
        repository: NAMES.box_name(config.box_of(one.key)),
        key: NAMES.key(one.key),
        content_tag: NAMES.tag(one.key, one.generation),
        digest: NAMES.digest(one.wanted),
        before: one.before.map(|id| NAMES.digest(id)),
    };
    PromotionRecord {
        tag: NAMES.main.clone(),
        channel: "main".to_owned(),
        seq,
        promoted: Timestamp::default(),
        run: "r".parse().unwrap(),
        source: Source::default(),
        from: None,
        copied: None,
        withdrawn: None,
        by: None,
        boxes: rec.boxes.iter().map(one).collect(),
    }
}
