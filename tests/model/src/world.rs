//! Everybody at once: what may happen next, and what must never have happened.

use boxwright::retention::DEADLINE;
use stateright::{Model, Property};

use super::promoter::Promoting;
use super::registry::{At, Cell, GARBAGE, GENERATIONS, Id, Image, Mark, Rec, RecBox, Request, Store};
use super::runner::Running;
use super::sweeper::Sweeping;

/// A guard of the protocol, which a variant leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    LeaseBeforeProbe,
    LeaseReadBack,
    TombstoneCheck,
    LookBeforePush,
    ReadBack,
    ClockBeforeReport,
    LookAfterLapse,
    NewLeaseBeforeRelease,
    NextGeneration,
    LeasesBeforeRoots,
    SecondLedgerRead,
    Wait,
    Grace,
    Sighting,
    UnreadableLease,
    HeadBeforeDelete,
    ForeignTags,
    Closure,
    FindAfterDelete,
    SweeperDeadline,
    RetiredTombstones,
    UnreadStops,
    LeaseBeforePromotion,
    ClaimBeforeDelete,
    ClaimCheck,
    ClaimWait,
    PlanFirst,
    PlanOfTheSame,
    PartsRemembered,
    PartsOfOthers,
    ClockBeforePlan,
    ExpectedOld,
    TagReadBack,
    ReadBackAll,
    SetLast,
    /// No guard but an assumption: no pause longer than the margin goes unnoticed.
    NoLongPause,
}

/// What of an image has no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartKind {
    /// The image is an index, which holds it together.
    Child,
    /// It refers to the image.
    Referrer,
}

/// Who takes part, in what.
#[derive(Debug, Clone)]
pub struct Config {
    pub name: &'static str,
    /// For each run, the keys it wants, parents first.
    pub runs: Vec<Vec<u8>>,
    /// For each promoter, the keys of its set.
    pub promoters: Vec<Vec<u8>>,
    /// For each promoter of what was recorded before, the keys whose first images it wants.
    pub rollbacks: Vec<Vec<u8>>,
    /// For each promotion that was recorded before, the keys of its set.
    pub history: Vec<Vec<u8>>,
    /// How many of the last promotions are kept.
    pub kept: usize,
    /// How often each sweeper may run.
    pub sweeps: Vec<u8>,
    /// How many boxes there are: the keys of box b are b, b + boxes, …
    pub boxes: u8,
    pub keys: u8,
    pub days: u8,
    pub crashes: u8,
    /// How many leases a run may take.
    pub leases: u8,
    /// Keys whose images stand at first, unleased.
    pub standing: Vec<u8>,
    /// Keys whose standing images were marked before the first day.
    pub marked: Vec<u8>,
    /// What each standing image has without a tag.
    pub part: Option<PartKind>,
    /// A stranger's tag stands on this key's image, or on an index of theirs with its child.
    pub foreign: Option<u8>,
    /// The tag of this key is moved by a stranger at some time.
    pub moved: Option<u8>,
    /// Keys whose images main holds at first.
    pub promoted: Vec<u8>,
    /// Main is moved by a stranger at some time.
    pub meddler: bool,
    /// A stranger writes a tombstone of what stands, dated to the first day, at some time.
    pub is_forging: bool,
    /// A stranger writes over a lease what cannot be read, at some time.
    pub is_garbling: bool,
    /// Which writes may be seen late.
    pub late: u8,
    pub is_reproducible: bool,
    /// A registry that may lose a lease though it took it.
    pub is_lossy: bool,
    /// Builds of the last key may fail.
    pub is_failing: bool,
    /// Requests of sweepers may fail.
    pub is_flaky: bool,
    /// Whether leases may end before their time.
    pub is_ending: bool,
    /// Whether sweeps after everybody has ended are counted.
    pub is_counting: bool,
    /// Whether each read of a look is a step of its own.
    pub is_fine: bool,
    pub without: Option<Guard>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "",
            runs: vec![],
            promoters: vec![],
            rollbacks: vec![],
            history: vec![],
            kept: 1,
            sweeps: vec![],
            boxes: 1,
            keys: 1,
            days: 2,
            crashes: 0,
            leases: 2,
            standing: vec![],
            marked: vec![],
            part: None,
            foreign: None,
            moved: None,
            promoted: vec![],
            meddler: false,
            is_forging: false,
            is_garbling: false,
            late: 0,
            is_reproducible: false,
            is_lossy: false,
            is_failing: false,
            is_flaky: false,
            is_ending: true,
            is_counting: false,
            is_fine: false,
            without: None,
        }
    }
}

impl Config {
    pub fn lacks(&self, guard: Guard) -> bool {
        self.without == Some(guard)
    }

    pub fn box_of(&self, key: u8) -> u8 {
        key % self.boxes
    }

    /// The key that a key's image is built on.
    pub fn parent(&self, key: u8) -> Option<u8> {
        (self.box_of(key) > 0).then(|| key - 1)
    }

    fn slots(&self) -> usize {
        (self.runs.len() + self.promoters.len() + self.rollbacks.len()) * usize::from(self.leases)
    }
}

/// What must never happen; found where it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Harm {
    /// Success was reported though the lease had ended.
    Late,
    /// A push began on a tag that another run had reported before the push's last look.
    Overwritten,
    /// An image was deleted by the run that had condemned it.
    SameRun,
    /// An image was to be deleted for a tombstone that no sweep had seen for the grace.
    Unseen,
    /// A delete was sent for a tag that had visibly moved.
    Blind,
    /// Something was deleted in a run that could not read something.
    Unread,
    /// An image was deleted before one that needs it.
    Order,
    /// A tag was moved from a value that was not planned from.
    Third,
    /// A set was recorded of which a tag never stood.
    Unset,
    /// A promotion was reported whose tag holds something else, with nobody else about.
    Unmoved,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub store: Store,
    pub runs: Vec<Running>,
    pub promoters: Vec<Promoting>,
    pub sweepers: Vec<Sweeping>,
    pub day: u8,
    pub crashes: u8,
    pub harm: Option<Harm>,
    /// Whether a promoted tag has stood, by box.
    pub stood: Vec<bool>,
    pub is_meddled: bool,
    /// Complete sweeps, a day apart, since nobody leased or wanted anything.
    pub quiet: u8,
    pub quiet_day: Option<u8>,
}

/// A step with where it leads.
#[derive(Clone)]
pub struct Step {
    pub label: String,
    pub state: Box<State>,
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        self.label == other.label && self.state == other.state
    }
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.label)
    }
}

pub struct World(pub Config);

impl World {
    fn initial(&self) -> State {
        let config = &self.0;
        let boxes = usize::from(config.boxes);
        let promotions = (config.promoters.len() + config.rollbacks.len()) * 2 + 1 + config.history.len();
        let sizes = [config.keys.into(), boxes, config.slots(), config.sweeps.len(), promotions];
        let mut store = Store::new(sizes, config.late);
        let mut made: Vec<Option<Id>> = vec![None; config.keys.into()];
        for &key in &config.standing {
            let base = config.parent(key).and_then(|parent| made[usize::from(parent)]);
            let image = Image { key, generation: 0, base, part: None, is_foreign: false, is_stored: true };
            let id = store.add(image.clone());
            let part = config.part.map(|_| store.add(Image { base: None, ..image.clone() }));
            store.images[usize::from(id)].part = part;
            store.content[usize::from(key)][0] = Cell::holding(id);
            made[usize::from(key)] = Some(id);
            if config.marked.contains(&key) {
                let mark = Mark { day: 0, image: Some(id), part, by: (9, 9), seen: Some((0, true)) };
                store.tombstones[usize::from(key)][0] = Cell::holding(mark);
            }
            if config.promoted.contains(&key) {
                store.main[usize::from(config.box_of(key))] = Cell::holding(id);
            }
            if config.foreign == Some(key) {
                let theirs = config.part.filter(|part| *part == PartKind::Child);
                let theirs = theirs.map(|_| store.add(Image { part, is_foreign: true, ..image }));
                store.foreign[usize::from(config.box_of(key))] = Some(theirs.unwrap_or(id));
            }
        }
        for (seq, keys) in config.history.iter().enumerate() {
            let one = |key: &u8| RecBox {
                key: *key,
                generation: 0,
                wanted: made[usize::from(*key)].expect("what was promoted stood"),
                before: None,
            };
            store.sets[seq] = Cell::holding(Rec { by: 9, boxes: keys.iter().map(one).collect() });
        }
        let rollbacks = config.rollbacks.iter().map(|keys| {
            let wanted = keys.iter().map(|key| made[usize::from(*key)].expect("it stood"));
            let mut promoting = Promoting::new(keys);
            promoting.recorded = Some(wanted.collect());
            promoting
        });
        let promoters = config.promoters.iter().map(|keys| Promoting::new(keys)).chain(rollbacks).collect();
        let mut state = State {
            store,
            runs: config.runs.iter().map(|keys| Running::new(keys)).collect(),
            promoters,
            sweepers: config.sweeps.iter().map(|_| Sweeping::default()).collect(),
            day: u8::from(!config.marked.is_empty()),
            crashes: 0,
            harm: None,
            stood: vec![false; boxes],
            is_meddled: false,
            quiet: 0,
            quiet_day: None,
        };
        (0..state.runs.len()).for_each(|at| super::runner::start(config, &mut state, at));
        (0..state.promoters.len()).for_each(|at| super::promoter::start(config, &mut state, at));
        state
    }

    /// The slot of a run's or promoter's n-th lease.
    pub fn slot(config: &Config, actor: usize, number: u8) -> u8 {
        (actor * usize::from(config.leases)) as u8 + number
    }

    fn environment(&self, state: &State, steps: &mut Vec<Step>) {
        let config = &self.0;
        let mut push = |label: String, state: State| steps.push(Step { label, state: Box::new(state) });
        for slot in 0..state.store.is_live.len() {
            if config.is_ending && state.store.is_live[slot] && !self.is_in_window(state, slot) {
                let mut next = state.clone();
                next.store.is_live[slot] = false;
                push(format!("lease {slot} ends"), next);
            }
        }
        if state.day < config.days && !self.is_busy(state) {
            let mut next = state.clone();
            next.day += 1;
            // A claim lasts little longer than its sweep may delete.
            next.store.claims.fill(Cell::default());
            next.store.settle();
            push("a day passes".to_owned(), next);
        }
        for at in 0..state.store.orphans.len() {
            let mut next = state.clone();
            let request = next.store.orphans.remove(at);
            let label = format!("server goes on with {request:?}");
            let left = next.store.serve(request);
            next.store.orphans.extend(left);
            push(label, next);
        }
        // Between the look at a tag and the delete nobody can be kept from moving it.
        let is_between = state.sweepers.iter().any(|sweeper| sweeper.is_about_to_write());
        if !state.is_meddled
            && !is_between
            && let Some(key) = config.moved
        {
            let mut next = state.clone();
            let id = next.store.add(Image::of_stranger(key));
            next.store.hold(At::Content(key, 0), id);
            next.is_meddled = true;
            push(format!("a stranger moves the tag of key {key}"), next);
        }
        for key in 0..config.keys {
            let Some(id) = state.store.cell(At::Content(key, 0)).now else { continue };
            if state.is_meddled || !config.is_forging {
                break;
            }
            // Who writes over a tombstone while its images go may leave their parts for ever.
            if config.part.is_some() && state.sweepers.iter().any(Sweeping::is_alive) {
                break;
            }
            let mut next = state.clone();
            let part = state.store.image(id).part;
            let mark = Mark { day: 0, image: Some(id), part, by: (8, 8), seen: None };
            next.store.mark(key, 0, Some(mark));
            next.is_meddled = true;
            // Sweeps count from what the stranger left.
            (next.quiet, next.quiet_day) = (0, None);
            next.sweepers.iter_mut().for_each(Sweeping::disturb);
            push(format!("a stranger marks key {key}"), next);
        }
        for slot in 0..state.store.is_live.len() {
            if !state.is_meddled && config.is_garbling && state.store.is_live[slot] {
                let mut next = state.clone();
                next.store.leases[slot] = Cell::holding(GARBAGE);
                next.is_meddled = true;
                push(format!("a stranger writes over lease {slot}"), next);
            }
        }
        if !state.is_meddled && config.meddler {
            let mut next = state.clone();
            let id = next.store.add(Image::of_stranger(0));
            next.store.hold(At::Main(config.boxes - 1), id);
            next.is_meddled = true;
            push("a stranger moves main".to_owned(), next);
        }
    }

    /// Whether the owner of a slot is between its look at the clock and the end of its write.
    fn is_in_window(&self, state: &State, slot: usize) -> bool {
        let owner = slot / usize::from(self.0.leases);
        let runs = state.runs.iter().map(|run| run.is_in_window);
        let mut all = runs.chain(state.promoters.iter().map(|promoter| promoter.is_in_window));
        all.nth(owner).unwrap_or(false) && !self.0.lacks(Guard::NoLongPause)
    }

    /// Whether a request is under way, or a write that the clock was looked at for: neither
    /// takes a day.
    fn is_busy(&self, state: &State) -> bool {
        let window = |is_in: bool| is_in && !self.0.lacks(Guard::NoLongPause);
        !state.store.orphans.is_empty()
            || state.runs.iter().any(|run| run.is_serving() || window(run.is_in_window))
            || state.promoters.iter().any(|one| one.is_serving() || window(one.is_in_window))
            || state
                .sweepers
                .iter()
                .any(|sweeper| sweeper.is_serving() || window(sweeper.is_about_to_write()))
    }

    fn crash(&self, state: &State, steps: &mut Vec<Step>) {
        if state.crashes >= self.0.crashes {
            return;
        }
        let mut push = |label: String, next: State, left: Vec<Request>| {
            let mut next = State { crashes: next.crashes + 1, ..next };
            // Of what was under way, each request may have got through or not.
            for some in 1..1_usize << left.len() {
                let mut goes_on = next.clone();
                let through = left.iter().enumerate().filter(|(at, _)| some >> at & 1 == 1);
                goes_on.store.orphans.extend(through.map(|(_, request)| request.clone()));
                steps.push(Step { label: format!("{label}, its request goes on"), state: Box::new(goes_on) });
            }
            next.quiet = 0;
            steps.push(Step { label, state: Box::new(next) });
        };
        for at in 0..state.runs.len() {
            if state.runs[at].is_alive() {
                let mut next = state.clone();
                let left = next.runs[at].crash();
                push(format!("run {at} crashes"), next, left.into_iter().collect());
            }
        }
        for at in 0..state.promoters.len() {
            if state.promoters[at].is_alive() {
                let mut next = state.clone();
                let left = next.promoters[at].crash();
                push(format!("promoter {at} crashes"), next, left);
            }
        }
        for at in 0..state.sweepers.len() {
            if state.sweepers[at].is_alive() {
                let mut next = state.clone();
                let left = next.sweepers[at].crash();
                push(format!("sweeper {at} crashes"), next, left.into_iter().collect());
            }
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.initial()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for at in 0..state.runs.len() {
            super::runner::steps(&self.0, state, at, steps);
        }
        for at in 0..state.promoters.len() {
            super::promoter::steps(&self.0, state, at, steps);
        }
        for at in 0..state.sweepers.len() {
            super::sweeper::steps(&self.0, state, at, steps);
        }
        self.environment(state, steps);
        self.crash(state, steps);
    }

    fn next_state(&self, _: &State, step: Step) -> Option<State> {
        Some(*step.state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::checks::properties()
    }
}

/// The time on a sweeper's clock.
pub fn elapsed(config: &Config, day: u8) -> std::time::Duration {
    if config.lacks(Guard::SweeperDeadline) { DEADLINE / 2 } else { DEADLINE * 12 * u32::from(day) }
}

/// Notes a whole sweep that began when nobody wanted anything any more.
pub fn note_sweep(state: &mut State, looked: u8) {
    if state.quiet_day.is_none_or(|day| day < looked) {
        state.quiet += 1;
        state.quiet_day = Some(looked);
    }
}

/// All generations, as numbers.
pub fn generations() -> impl Iterator<Item = u8> {
    0..GENERATIONS as u8
}
