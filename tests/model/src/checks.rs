//! What holds in every state, and what must happen in some.

use stateright::Property;

use super::registry::{At, Id};
use super::runner::{Made, Running};
use super::world::{Guard, Harm, State, World};

pub fn properties() -> Vec<Property<World>> {
    vec![
        Property::always("I1 a reported promotion resolves", |world: &World, state: &State| {
            let done = state.promoters.iter().filter(|promoter| promoter.is_done());
            done.flat_map(|promoter| &promoter.keys).all(|key| {
                let now = state.store.main[usize::from(world.0.box_of(*key))].now;
                now.is_some_and(|id| state.store.is_whole(id))
            }) && !is(state, &[Harm::Unmoved])
        }),
        Property::always("I2 no release tag is lost or left dangling", |_: &World, state: &State| {
            let all = state.store.main.iter().zip(&state.stood);
            all.into_iter().all(|(cell, stood)| match cell.now {
                Some(id) => state.store.has(id),
                None => !stood,
            })
        }),
        Property::always("I3 a leased digest exists until the lease ends", |_: &World, state: &State| {
            used(state).all(|(_, _, made)| state.store.has(made.id)) && !is(state, &[Harm::Late])
        }),
        Property::always(
            "I4 an acknowledged content tag survives under its lease",
            |world: &World, state: &State| {
                used(state).filter(|(run, _, _)| run.reported).all(|(_, key, made)| {
                    let generation = if world.0.lacks(Guard::NextGeneration) { 0 } else { made.generation };
                    let now = state.store.cell(At::Content(key, generation)).now;
                    now.is_some_and(|id| state.store.has(id))
                }) && !is(state, &[Harm::Overwritten])
            },
        ),
        Property::always("I5 what kept images stand on exists", |_: &World, state: &State| {
            let tagged = state.store.main.iter().filter_map(|cell| cell.now);
            let foreign = state.store.foreign.iter().flatten().copied();
            tagged.chain(foreign).filter(|id| state.store.has(*id)).all(|id| state.store.is_whole(id))
                && used(state)
                    .filter(|(_, _, made)| state.store.has(made.id))
                    .all(|(_, _, made)| state.store.is_whole(made.id))
                && !is(state, &[Harm::Order])
        }),
        Property::always("I6 nothing is deleted in the run that condemned it", |_: &World, state: &State| {
            !is(state, &[Harm::SameRun, Harm::Unseen])
        }),
        Property::always("I7 what is unknown is kept", |_: &World, state: &State| {
            let foreign = state.store.foreign.iter().flatten();
            foreign.into_iter().all(|id| state.store.has(*id)) && !is(state, &[Harm::Unread, Harm::Blind])
        }),
        Property::always("I8 what a kept promotion names exists", |world: &World, state: &State| {
            let sets = state.store.sets.iter().rev().filter_map(|cell| cell.now.as_ref());
            let kept = sets.take(world.0.kept).flat_map(|rec| &rec.boxes);
            kept.into_iter().all(|one| state.store.is_whole(one.wanted))
        }),
        Property::always(
            "P1 a promotion overwrites nothing that it did not plan from",
            |_: &World, state: &State| !is(state, &[Harm::Third]),
        ),
        Property::always("P2 a set record says what stood", |_: &World, state: &State| {
            !is(state, &[Harm::Unset])
        }),
        Property::always("P3 a promotion that was begun can be finished", |_: &World, state: &State| {
            let last = state.store.plans.iter().rposition(|cell| cell.now.is_some());
            state.promoters.iter().filter(|promoter| !promoter.is_done()).all(|promoter| {
                let Some((seq, rec)) = promoter.begun() else { return true };
                let has_moved = rec.boxes.iter().any(|one| {
                    state.store.images[usize::from(one.wanted)].is_stored
                        && state.store.main.iter().any(|cell| cell.now == Some(one.wanted))
                });
                let is_last = last.is_none_or(|last| last <= seq);
                !has_moved || !is_last || rec.boxes.iter().all(|one| state.store.is_whole(one.wanted))
            })
        }),
        Property::always("P4 of two that end well one stands whole", |world: &World, state: &State| {
            let is_over =
                state.promoters.len() > 1 && state.promoters.iter().all(|promoter| promoter.is_done());
            !is_over
                || state.promoters.iter().any(|promoter| {
                    let (_, rec) = promoter.begun().unwrap();
                    rec.boxes.iter().all(|one| {
                        state.store.main[usize::from(world.0.box_of(one.key))].now == Some(one.wanted)
                    })
                })
        }),
        Property::always(
            "P5 two promotions of one set do not meet a conflict",
            |_: &World, state: &State| {
                let [one, other] = &state.promoters[..] else { return true };
                one.keys != other.keys || !one.saw_conflict() && !other.saw_conflict()
            },
        ),
        Property::always("G garbage goes", |world: &World, state: &State| {
            state.quiet < 2 || garbage(world, state).is_none()
        }),
        Property::sometimes("adopted", |_: &World, state: &State| {
            state.runs.iter().any(|run| run.reported && run.has_adopted)
        }),
        Property::sometimes("used", |_: &World, state: &State| {
            made(state).any(|(run, _, made)| run.reported && made.id == 0)
        }),
        Property::sometimes("built", |_: &World, state: &State| {
            made(state).any(|(run, _, made)| run.reported && made.id > 0)
        }),
        Property::sometimes("revived", |_: &World, state: &State| {
            made(state).any(|(run, _, made)| run.reported && made.generation > 0)
        }),
        Property::sometimes("swept", |world: &World, state: &State| {
            // What stood at first comes first.
            let stood = state.store.images.first().filter(|_| !world.0.standing.is_empty());
            stood.is_some_and(|image| !image.is_stored)
        }),
        Property::sometimes("promoted", |_: &World, state: &State| {
            state.promoters.iter().any(|one| one.is_done())
        }),
        Property::sometimes("conflict seen", |_: &World, state: &State| {
            state.promoters.iter().any(|one| one.saw_conflict())
        }),
        Property::sometimes("all gone", |_: &World, state: &State| state.quiet >= 2),
    ]
}

fn is(state: &State, harms: &[Harm]) -> bool {
    state.harm.is_some_and(|harm| harms.contains(&harm))
}

fn made(state: &State) -> impl Iterator<Item = (&Running, u8, Made)> {
    let of = |run: &'_ Running| -> Vec<(u8, Made)> {
        run.keys.iter().zip(&run.made).filter_map(|(key, made)| Some((*key, (*made)?))).collect()
    };
    state.runs.iter().flat_map(move |run| of(run).into_iter().map(move |(key, made)| (run, key, made)))
}

/// What runs use under a lease that has not ended, and has not lapsed since they looked.
fn used(state: &State) -> impl Iterator<Item = (&Running, u8, Made)> {
    made(state).filter(|(run, _, _)| {
        run.is_leased(&state.store) && (run.reported || run.slots.len() == 1 && !run.is_lapsed)
    })
}

/// An image that nothing keeps and that stands under a tag of ours, or a part that is left of one.
fn garbage(world: &World, state: &State) -> Option<Id> {
    let store = &state.store;
    let mut parts = store.images.iter().filter_map(|image| image.part);
    let left = parts.find(|part| store.has(*part) && store.holders(*part).next().is_none());
    if left.is_some() {
        return left;
    }
    let last = |cells: &[super::registry::Cell<super::registry::Rec>]| {
        cells.iter().rposition(|cell| cell.now.is_some())
    };
    let sets = store.sets.iter().rev().filter_map(|cell| cell.now.as_ref()).take(world.0.kept);
    let promoted = sets.chain(last(&store.plans).and_then(|at| store.plans[at].now.as_ref()));
    let mut kept: Vec<Id> = promoted.flat_map(|rec| &rec.boxes).map(|one| one.wanted).collect();
    kept.extend(store.main.iter().filter_map(|cell| cell.now).chain(store.foreign.iter().flatten().copied()));
    for at in 0..kept.len() {
        let mut next = store.image(kept[at]).base;
        while let Some(base) = next {
            kept.push(base);
            next = store.image(base).base;
        }
    }
    // A generation of a key is kept as a whole; a stranger's image is nobody's to delete.
    let kept_keys: Vec<(u8, u8)> =
        kept.iter().map(|id| (store.image(*id).key, store.image(*id).generation)).collect();
    let all = (0..world.0.keys)
        .flat_map(|key| super::world::generations().map(move |generation| (key, generation)));
    let standing = all
        .filter(|at| !kept_keys.contains(at))
        .filter_map(|(key, generation)| store.cell(At::Content(key, generation)).now);
    standing.into_iter().find(|id| !store.image(*id).is_foreign)
}
