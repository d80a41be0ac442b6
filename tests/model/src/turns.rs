//! Runs that want the same boxes and nothing else: each lists leases and reads them one by one, says
//! its turn, and waits, with the product's `rivals`, `turn_behind` and `goes_before`. The registry
//! shows at once what was written.
//!
//! A box is built once, and nobody waits for somebody who waits for them.

use boxwright::model::{Lease, Purpose, Span, Timestamp};
use boxwright::protocol::{goes_before, rivals, turn_behind};
use boxwright_testing::figure::figure;
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::registry::NAMES;

const PATIENCE: Span = Span::from_seconds(600);

/// What a variant leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// Whoever has a lease without a turn is waited for.
    Choosing,
    /// Leases are listed again once our turn stands.
    SecondList,
    /// Whoever finds somebody takes a turn behind all that it saw.
    Behind,
}

/// Runs with the keys that each wants, in its order.
#[derive(Debug, Clone)]
struct Turns {
    runs: Vec<Vec<u8>>,
    without: Option<Guard>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// What stands in the ledger: the turn that each run's lease says.
    leases: Vec<Option<u32>>,
    runs: Vec<Run>,
    images: Vec<bool>,
    builds: u8,
    failed: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Run {
    at: At,
    turn: u32,
    /// Whom it found when its turn stood, by what was last read of them.
    rivals: Vec<(usize, u32)>,
    /// The place of the key that is made.
    key: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    Leasing,
    /// The leases that were listed and are still to be read, and those that were read.
    Reading {
        left: Vec<usize>,
        read: Vec<(usize, u32)>,
        is_second: bool,
    },
    Listing {
        is_second: bool,
    },
    Saying(u32),
    Waiting,
    Building,
    Ended,
}

impl Turns {
    fn lease(&self, run: usize, turn: u32) -> Lease {
        let at = Timestamp::from_unix(1_000_000_000);
        Lease {
            taken: at,
            expiry: at.after(Span::from_seconds(86_400)),
            run: format!("run-{run}").parse().unwrap(),
            attempt: 1,
            nonce: run.to_string(),
            keys: self.runs[run].iter().map(|key| NAMES.key(*key)).collect(),
            purpose: Purpose::Building,
            turn: Some(turn),
        }
    }

    /// What the product makes of these leases: the rivals of a run.
    fn rivals_of(&self, me: usize, read: &[(usize, u32)]) -> Vec<Lease> {
        let all = read.iter().map(|(run, turn)| self.lease(*run, *turn)).collect();
        rivals(&self.lease(me, 0), all, Timestamp::from_unix(1_000_000_001), PATIENCE)
    }

    fn is_before(&self, rival: (usize, u32), me: usize, turn: u32) -> bool {
        let rival = self.lease(rival.0, rival.1);
        let is_faked = self.without == Some(Guard::Choosing) && rival.turn == Some(0);
        !is_faked && goes_before(&rival, &self.lease(me, turn))
    }

    /// Goes on as far as no request is needed.
    fn settle(&self, state: &mut State, me: usize) {
        let run = &mut state.runs[me];
        if let At::Reading { left, read, is_second } = &run.at
            && left.is_empty()
        {
            let (read, is_second) = (read.clone(), *is_second);
            let found = self.rivals_of(me, &read);
            run.at = match turn_behind(&found) {
                Some(_) if is_second => {
                    run.rivals = read;
                    At::Waiting
                }
                Some(_) if self.without == Some(Guard::Behind) => At::Saying(1),
                Some(turn) => At::Saying(turn),
                // Whoever finds nobody goes ahead.
                None => At::Waiting,
            };
        }
    }
}

impl Model for Turns {
    type State = State;
    type Action = (usize, String, State);

    fn init_states(&self) -> Vec<State> {
        let run = || Run { at: At::Leasing, turn: 0, rivals: Vec::new(), key: 0 };
        vec![State {
            leases: vec![None; self.runs.len()],
            runs: self.runs.iter().map(|_| run()).collect(),
            images: vec![false; 2],
            builds: 0,
            failed: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Self::Action>) {
        for me in 0..state.runs.len() {
            let run = &state.runs[me];
            let mut push = |label: &str, mut next: State| {
                self.settle(&mut next, me);
                if next != *state {
                    actions.push((me, label.to_owned(), next));
                }
            };
            let mut next = state.clone();
            match &run.at {
                At::Leasing => {
                    next.leases[me] = Some(0);
                    next.runs[me].at = At::Listing { is_second: false };
                    push("leases", next);
                }
                At::Listing { is_second } => {
                    let listed =
                        (0..state.leases.len()).filter(|at| *at != me && state.leases[*at].is_some());
                    let (left, read, is_second) = (listed.collect(), Vec::new(), *is_second);
                    next.runs[me].at = At::Reading { left, read, is_second };
                    push("lists", next);
                }
                At::Reading { left, .. } => {
                    for of in left.clone() {
                        let mut next = state.clone();
                        let At::Reading { left, read, .. } = &mut next.runs[me].at else { unreachable!() };
                        left.retain(|one| *one != of);
                        read.extend(state.leases[of].map(|turn| (of, turn)));
                        read.sort_unstable();
                        push("reads a lease", next);
                    }
                }
                At::Saying(turn) => {
                    next.leases[me] = Some(*turn);
                    next.runs[me].turn = *turn;
                    next.runs[me].at = match self.without {
                        Some(Guard::SecondList) => At::Waiting,
                        _ => At::Listing { is_second: true },
                    };
                    push("says its turn", next);
                }
                At::Waiting => {
                    let key = self.runs[me][run.key];
                    let wants = |rival: &(usize, u32)| self.runs[rival.0].contains(&key);
                    let before: Vec<(usize, u32)> = run.rivals.iter().copied().filter(wants).collect();
                    let before: Vec<(usize, u32)> =
                        before.into_iter().filter(|rival| self.is_before(*rival, me, run.turn)).collect();
                    if state.images[usize::from(key)] {
                        used(&mut next, me, self.runs[me].len());
                        push("finds the box", next);
                    } else if before.is_empty() {
                        next.builds += 1;
                        next.runs[me].at = At::Building;
                        push("builds", next);
                    } else {
                        for (of, _) in before {
                            let mut next = state.clone();
                            let rivals = &mut next.runs[me].rivals;
                            // A run that has ended has given its claim up, or says so in its record.
                            match state.leases[of].filter(|_| state.runs[of].at != At::Ended) {
                                Some(turn) => {
                                    rivals.iter_mut().filter(|one| one.0 == of).for_each(|one| one.1 = turn)
                                }
                                None => rivals.retain(|one| one.0 != of),
                            }
                            push("looks at a lease again", next);
                        }
                    }
                }
                At::Building => {
                    let key = self.runs[me][run.key];
                    next.images[usize::from(key)] = true;
                    used(&mut next, me, self.runs[me].len());
                    push("pushes", next);
                    if state.failed == 0 {
                        let mut next = state.clone();
                        next.failed += 1;
                        next.leases[me] = None;
                        next.runs[me].at = At::Ended;
                        push("fails", next);
                    }
                }
                At::Ended => {}
            }
        }
    }

    fn next_state(&self, _: &State, (_, _, next): Self::Action) -> Option<State> {
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("each box is built once", |model: &Self, state: &State| {
                let building = |key: u8| {
                    let all = state.runs.iter().zip(&model.runs).filter(|(run, _)| run.at == At::Building);
                    all.filter(|(run, keys)| keys[run.key] == key).count()
                };
                let boxes = state.images.iter().filter(|there| **there).count() + (building(0) + building(1));
                building(0) <= 1
                    && building(1) <= 1
                    && usize::from(state.builds) <= boxes + usize::from(state.failed)
            }),
            Property::always("nobody waits for ever", |model: &Self, state: &State| {
                let mut steps = Vec::new();
                model.actions(state, &mut steps);
                !steps.is_empty() || state.runs.iter().all(|run| run.at == At::Ended)
            }),
            Property::sometimes("all stand", |_: &Self, state: &State| {
                state.runs.iter().all(|run| run.at == At::Ended) && state.failed == 0
            }),
        ]
    }
}

/// Goes on with the next key.
fn used(state: &mut State, me: usize, keys: usize) {
    let run = &mut state.runs[me];
    run.key += 1;
    run.at = At::Waiting;
    if run.key == keys {
        (run.at, run.key, run.turn) = (At::Ended, 0, 0);
        run.rivals.clear();
    }
}

/// Three runs of one box, and of two that each makes in another order.
fn worlds() -> [(&'static str, Turns, usize); 2] {
    let turns =
        |runs: &[&[u8]]| Turns { runs: runs.iter().map(|keys| keys.to_vec()).collect(), without: None };
    [
        ("3 runs of one box, turns", turns(&[&[0], &[0], &[0]]), 31_739),
        ("2 runs of two boxes, turns", turns(&[&[0, 1], &[1, 0]]), 307),
    ]
}

#[test]
fn runs_at_once_build_each_box_once() {
    let mut lines = String::new();
    let mut found = Vec::new();
    for (name, model, _) in worlds() {
        let checker = model.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
        let states = checker.unique_state_count();
        lines += &format!("{states:>8} states: {name}\n");
        found.push((name, states));
    }
    let pinned: Vec<(&str, usize)> = worlds().into_iter().map(|(name, _, states)| (name, states)).collect();
    assert_eq!(found, pinned);
    figure(env!("CARGO_TARGET_TMPDIR"), "model-turns", &lines);
}

#[test]
fn no_part_of_a_turn_can_be_spared() {
    for guard in [Guard::Choosing, Guard::SecondList, Guard::Behind] {
        let [(_, model, _), _] = worlds();
        let name = "each box is built once";
        let checker = Turns { without: Some(guard), ..model }.checker();
        let checker = checker.threads(2).finish_when(HasDiscoveries::AllOf([name].into())).spawn_bfs().join();
        assert!(checker.discovery(name).is_some(), "nothing breaks without {guard:?}");
    }
}
