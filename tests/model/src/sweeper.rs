//! A sweeper: the product's `Sweeper`, and with it `decide`, on the model's registry.

mod observed;

use std::collections::BTreeMap;

use boxwright::model::{Digest, Record, Span, Timestamp};
use boxwright::protocol::{Answer, Deletion, Keeping, SweepAction, SweepEnd, SweepInput, Sweeper};
use boxwright::retention::{Goes, Policy};

use self::observed::observed;
use super::registry::{At, Id, Mark, NAMES, Request, Store};
use super::world::{Config, Guard, Harm, State, Step, elapsed, generations, note_sweep};

const DAY: u64 = 86_400;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Sweeping {
    sweep: Option<Sweeper>,
    runs: u8,
    op: Op,
    /// What is read first: the keys of leases, or what the variant reads then.
    leased: u8,
    early: Option<Box<Store>>,
    looks: u8,
    /// How often it has still to wait for its claim to show.
    spreads: u8,
    day: u8,
    /// Whether something could not be read in this run.
    is_unread: bool,
    began_quiet: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
enum Op {
    #[default]
    Idle,
    Serve(Request),
}

impl Sweeping {
    pub fn is_alive(&self) -> bool {
        self.sweep.is_some()
    }

    pub fn is_serving(&self) -> bool {
        matches!(self.op, Op::Serve(_))
    }

    /// Whether it has seen that it is not too late for its next write, and not written yet.
    pub fn is_about_to_write(&self) -> bool {
        self.sweep.as_ref().is_some_and(|sweep| {
            matches!(
                sweep.next(),
                SweepAction::Condemn(_)
                    | SweepAction::Retire(_)
                    | SweepAction::Sight
                    | SweepAction::Forget(_)
                    | SweepAction::Delete(_)
            )
        })
    }

    /// What it goes by is no longer what it was when it began.
    pub fn disturb(&mut self) {
        self.began_quiet = false;
    }

    pub fn crash(&mut self) -> Option<Request> {
        let op = std::mem::take(&mut self.op);
        *self = Self { runs: self.runs, ..Self::default() };
        match op {
            Op::Serve(request) => Some(request),
            _ => None,
        }
    }
}

pub fn steps(config: &Config, state: &State, me: usize, steps: &mut Vec<Step>) {
    let of = &state.sweepers[me];
    let mut push = |label: String, mut next: State| {
        start(config, &mut next, me);
        steps.push(Step { label: format!("sweeper {me}: {label}"), state: Box::new(next) });
    };
    let Some(sweep) = &of.sweep else {
        if of.runs < config.sweeps[me] {
            let mut next = state.clone();
            let began_quiet = config.is_counting && is_quiet(state);
            let of = &mut next.sweepers[me];
            *of = Sweeping {
                sweep: Some(Sweeper::new(true).keeping(true)),
                runs: of.runs + 1,
                began_quiet,
                ..Sweeping::default()
            };
            push("begins".to_owned(), next);
        }
        return;
    };
    let observe = |state: &State, saw: SweepInput| {
        let mut next = state.clone();
        let of = &mut next.sweepers[me];
        of.sweep = Some(sweep.clone().observe(saw));
        next
    };
    let clean = sweep.clean();
    match sweep.next() {
        SweepAction::Wait if config.late == 0 => {}
        // What is kept of a deletion keeps nothing from another.
        SweepAction::Keep if !config.is_flaky => {}
        SweepAction::Keep => {
            push("keeps what is to go".to_owned(), observe(state, SweepInput::Kept(all_kept(sweep))));
            push("keeps nothing of it".to_owned(), observe(state, SweepInput::Kept(BTreeMap::new())));
        }
        SweepAction::Clock
        | SweepAction::Records
        | SweepAction::End(_)
        // No policy lets a tag of the model go.
        | SweepAction::Announce(_)
        | SweepAction::Withdraw(_)
        | SweepAction::Settle(_) => {}
        SweepAction::Claim => {
            let keys = sweep.claims().iter().fold(0, |keys, key| keys | 1 << NAMES.key_of(key));
            let mut next = observe(state, SweepInput::Done);
            next.store.claim(me, Some(keys));
            next.sweepers[me].spreads = 2;
            push("claims what is to go".to_owned(), next);
        }
        SweepAction::Leases => {
            for view in state.store.views() {
                let mut next = observe(state, SweepInput::Done);
                if config.lacks(Guard::LeasesBeforeRoots) {
                    next.sweepers[me].early = Some(Box::new(view));
                } else {
                    next.sweepers[me].leased = leased(&view);
                }
                next.sweepers[me].day = state.day;
                next.sweepers[me].looks += 1;
                push("reads leases".to_owned(), next);
            }
            if config.is_flaky {
                // A variant takes what it could not read for nothing.
                let saw = if config.lacks(Guard::UnreadStops) {
                    SweepInput::Done
                } else {
                    SweepInput::Failed(String::new())
                };
                let mut next = observe(state, saw);
                next.sweepers[me].is_unread = true;
                next.sweepers[me].leased = 0;
                next.sweepers[me].day = state.day;
                push("cannot read leases".to_owned(), next);
            }
        }
        SweepAction::Wait => {
            let mut next = observe(state, SweepInput::Done);
            // Without the grace nothing lies between a tombstone and the read of leases but the wait.
            // What a claim is waited for would stand behind these.
            let spares = [Guard::ClaimWait, Guard::SecondLedgerRead];
            let is_spared = of.spreads > 0 && spares.iter().any(|guard| config.lacks(*guard));
            if !is_spared && !config.lacks(Guard::Wait) && !config.lacks(Guard::Grace) {
                next.store.settle();
            }
            next.sweepers[me].spreads = of.spreads.saturating_sub(1);
            push("has waited".to_owned(), next);
        }
        SweepAction::Rest => {
            for mut view in state.store.views() {
                let mut keys = of.leased;
                if config.lacks(Guard::LeasesBeforeRoots) && of.looks == 1 {
                    // The first look only says whether there is anything to look at.
                    keys = 0;
                } else if config.lacks(Guard::LeasesBeforeRoots) {
                    keys = leased(&view);
                    view = (**of.early.as_ref().unwrap()).clone();
                } else if !config.lacks(Guard::SecondLedgerRead) {
                    keys |= leased(&view);
                }
                let saw = match observed(config, &view, keys) {
                    Some(observed) => SweepInput::Observed(Box::new(observed), policy(config, of.day)),
                    None => SweepInput::Unsettled,
                };
                let mut next = observe(state, saw);
                if is_unseen(config, &view, of.day, next.sweepers[me].sweep.as_ref()) {
                    next.harm.get_or_insert(Harm::Unseen);
                }
                next.sweepers[me].early = None;
                push("reads the rest".to_owned(), next);
            }
        }
        SweepAction::Condemn(at) => {
            let one = &clean.condemn[at];
            let mark = Mark {
                day: state.day,
                image: one.images.first().map(|image| NAMES.id(&image.digest)),
                part: one.parts.first().map(|part| NAMES.id(&part.digest)),
                by: (me as u8, of.runs),
                seen: Some((state.day, true)),
            };
            let (key, generation) = (NAMES.key_of(&one.key), one.generation.0 as u8);
            if state.crashes < config.crashes {
                // The tombstone stands, and that it is a sweep's own was not noted.
                let mut next = State { crashes: state.crashes + 1, quiet: 0, ..state.clone() };
                next.store.mark(key, generation, Some(Mark { seen: None, ..mark.clone() }));
                next.sweepers[me].crash();
                push("condemns, and crashes before it notes that".to_owned(), next);
            }
            let mut next = observe(state, SweepInput::Done);
            next.store.mark(key, generation, Some(mark));
            push(format!("condemns {:?} g{}", one.key, one.generation.0), next);
        }
        SweepAction::Retire(at) => {
            let one = &clean.retire[at];
            let mut next = observe(state, SweepInput::Done);
            let (by, seen) = ((me as u8, of.runs), Some((state.day, true)));
            let mark = Mark { day: day_of(one.marked), image: None, part: None, by, seen };
            let (key, generation) = (NAMES.key_of(&one.key), one.generation.0 as u8);
            // A variant forgets at once.
            let mark = (!config.lacks(Guard::RetiredTombstones)).then_some(mark);
            next.store.mark(key, generation, mark);
            push("retires a tombstone".to_owned(), next);
        }
        SweepAction::Sight => {
            let mut next = observe(state, SweepInput::Done);
            for key in 0..config.keys {
                for generation in generations() {
                    let cell = &mut next.store.tombstones[usize::from(key)][usize::from(generation)];
                    let Some(mark) = cell.now.as_mut() else { continue };
                    let tombstone = observed::tombstone(config, &state.store, key, generation, mark);
                    if clean.sight.contains(&(tombstone.place(), tombstone.to_manifest().digest().clone())) {
                        mark.seen.get_or_insert((state.day, false));
                    }
                }
            }
            push("notes what it saw".to_owned(), next);
        }
        SweepAction::Forget(at) => {
            let one = &clean.forget[at];
            let mut next = observe(state, SweepInput::Done);
            let (key, generation) = (NAMES.key_of(&one.key), one.generation.0 as u8);
            let now = &state.store.tombstones[usize::from(key)][usize::from(generation)].now;
            if now.as_ref().is_some_and(|mark| mark.image.is_none() && mark.day == day_of(one.marked)) {
                next.store.mark(key, generation, None);
            }
            push("forgets a tombstone".to_owned(), next);
        }
        SweepAction::Head(at) => {
            let (tag, id) = doomed(clean.delete[at].seen.tag.as_str(), &clean.delete[at].seen.digest);
            let reads = match clean.delete[at].goes {
                // What has no tag is asked for by its digest.
                Goes::Part => vec![Some(id)],
                Goes::Image | Goes::Tag => state.store.cell(tag).reads(),
            };
            for read in reads {
                let found = match read.filter(|id| state.store.has(*id)) {
                    _ if config.lacks(Guard::HeadBeforeDelete) => Some(id),
                    found => found,
                };
                let next = observe(state, SweepInput::Holds(found.map(|id| NAMES.digest(id))));
                push(format!("head {tag:?}"), next);
            }
        }
        SweepAction::Delete(at) => match &of.op {
            Op::Idle => {
                let (tag, id) = doomed(clean.delete[at].seen.tag.as_str(), &clean.delete[at].seen.digest);
                let mut next = state.clone();
                if let Some(harm) = harm_of(state, me, tag, id) {
                    next.harm.get_or_insert(harm);
                }
                serve(&mut next, me, Request::Unlink(id));
                push(format!("delete {id}"), next);
                if config.is_flaky {
                    let next = observe(state, SweepInput::Answered(Answer::Failed(String::new())));
                    push("delete fails".to_owned(), next);
                }
            }
            Op::Serve(request) => {
                let mut next = state.clone();
                serve(&mut next, me, request.clone());
                push(format!("delete goes on: {request:?}"), next);
            }
        },
        SweepAction::Find(at) => {
            let (_, id) = doomed(clean.delete[at].seen.tag.as_str(), &clean.delete[at].seen.digest);
            let found = state.store.has(id) && !config.lacks(Guard::FindAfterDelete);
            let found = found.then(|| NAMES.digest(id));
            push("looks whether it is gone".to_owned(), observe(state, SweepInput::Holds(found)));
        }
    }
}

/// Whether it decided to delete something by a tombstone that no sweep had seen for the grace.
fn is_unseen(config: &Config, view: &Store, day: u8, sweep: Option<&Sweeper>) -> bool {
    if config.lacks(Guard::Grace) {
        return false;
    }
    let doomed = sweep.into_iter().flat_map(|sweep| &sweep.clean().delete);
    let tags = doomed.map(|one| doomed_at(one.seen.tag.as_str()));
    tags.into_iter().any(|(key, generation)| {
        let mark = &view.tombstones[usize::from(key)][usize::from(generation)].now;
        mark.as_ref().is_none_or(|mark| mark.seen.is_none_or(|(seen, _)| seen >= day))
    })
}

/// Goes on with a delete, whose answer may be lost at its end.
fn serve(state: &mut State, me: usize, request: Request) {
    let left = state.store.serve(request);
    let of = &mut state.sweepers[me];
    match left {
        Some(left) => of.op = Op::Serve(left),
        None => {
            of.op = Op::Idle;
            of.sweep = of.sweep.take().map(|sweep| sweep.observe(SweepInput::Answered(Answer::Taken)));
        }
    }
}

/// What is wrong with a delete that is sent.
fn harm_of(state: &State, me: usize, tag: At, id: Id) -> Option<Harm> {
    let of = &state.sweepers[me];
    let At::Content(key, generation) = tag else { return Some(Harm::Blind) };
    let mark = &state.store.tombstones[usize::from(key)][usize::from(generation)].now;
    if mark.as_ref().is_some_and(|mark| mark.by == (me as u8, of.runs)) {
        return Some(Harm::SameRun);
    }
    if of.is_unread {
        return Some(Harm::Unread);
    }
    if state.store.holders(id).any(|holder| !state.store.image(holder).is_foreign) {
        return Some(Harm::Order);
    }
    // What was condemned before, and could have been deleted first. Whatever was pushed or
    // condemned since is used by nobody: it stands on a generation that is over.
    let is_due = |child: Id| {
        let image = state.store.image(child);
        let mark = &state.store.tombstones[usize::from(image.key)][usize::from(image.generation)].now;
        mark.as_ref().is_some_and(|mark| mark.day < state.day && mark.image == Some(child))
    };
    let mut children =
        state.store.tagged().filter(|one| state.store.has(*one) && state.store.image(*one).base == Some(id));
    let needed = children.any(is_due);
    if needed {
        return Some(Harm::Order);
    }
    // A stranger's move, which nobody makes between the look at the tag and the delete.
    let now = state.store.cell(tag).now;
    let is_strange = now.is_some_and(|now| state.store.image(now).is_foreign);
    (is_strange && state.is_meddled).then_some(Harm::Blind)
}

/// Takes what needs no request: the clock, and the end.
fn start(config: &Config, state: &mut State, me: usize) {
    loop {
        let of = &mut state.sweepers[me];
        let Some(sweep) = &of.sweep else { return };
        match sweep.next() {
            SweepAction::Clock => {
                let saw = SweepInput::Clock(elapsed(config, state.day));
                of.sweep = of.sweep.take().map(|sweep| sweep.observe(saw));
            }
            // Leases that have ended keep nothing, whether they are removed or not.
            SweepAction::Records => {
                of.sweep = of.sweep.take().map(|sweep| sweep.observe(SweepInput::Done));
            }
            SweepAction::Keep if !config.is_flaky => {
                let saw = SweepInput::Kept(all_kept(sweep));
                of.sweep = of.sweep.take().map(|sweep| sweep.observe(saw));
            }
            SweepAction::Wait if config.late == 0 => {
                of.sweep = of.sweep.take().map(|sweep| sweep.observe(SweepInput::Done));
            }
            SweepAction::Claim if config.lacks(Guard::ClaimBeforeDelete) => {
                of.sweep = of.sweep.take().map(|sweep| sweep.observe(SweepInput::Done));
            }
            SweepAction::End(end) => {
                let is_whole = sweep.deletions().iter().all(|one| *one == Deletion::Done);
                let (began_quiet, looked) = (of.began_quiet, of.day);
                *of = Sweeping { runs: of.runs, ..Sweeping::default() };
                state.store.claim(me, None);
                if began_quiet && is_whole && end == SweepEnd::Done {
                    note_sweep(state, looked);
                }
                return;
            }
            _ => return,
        }
    }
}

fn all_kept(sweep: &Sweeper) -> BTreeMap<usize, Keeping> {
    (0..sweep.clean().delete.len()).map(|image| (image, Keeping::Kept)).collect()
}

fn is_quiet(state: &State) -> bool {
    state.runs.iter().all(|run| !run.is_alive())
        && state.promoters.iter().all(|promoter| !promoter.is_alive())
        && state.store.is_live.iter().all(|live| !live)
        && state.store.orphans.is_empty()
}

fn leased(view: &Store) -> u8 {
    let live = view.leases.iter().zip(&view.is_live).filter(|(_, live)| **live);
    live.fold(0, |keys, (cell, _)| keys | cell.now.unwrap_or_default())
}

fn at_day(day: u8) -> Timestamp {
    Timestamp::from_unix(1_000_000_000).after(Span::from_seconds(DAY * u64::from(day)))
}

fn day_of(time: Timestamp) -> u8 {
    (time.since(at_day(0)).seconds() / DAY) as u8
}

fn policy(config: &Config, day: u8) -> Policy {
    let grace = if config.lacks(Guard::Grace) { 0 } else { DAY };
    Policy { grace: Span::from_seconds(grace), now: at_day(day), today: at_day(day) }
}

fn doomed(tag: &str, digest: &Digest) -> (At, Id) {
    let (key, generation) = doomed_at(tag);
    (At::Content(key, generation), NAMES.id(digest))
}

fn doomed_at(tag: &str) -> (u8, u8) {
    let mut all =
        (0..NAMES.keys.len() as u8).flat_map(|key| generations().map(move |generation| (key, generation)));
    all.find(|(key, generation)| NAMES.tag(*key, *generation).as_str() == tag).unwrap()
}
