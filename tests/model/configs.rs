//! Which worlds are explored, how many states each has, and which guards no world can spare.

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::registry::{LEASES, MARKERS, RECORDS, TAGS};
use super::world::{Config, Guard, World};

/// One box that stands, two runs and two sweepers at most.
fn one_box() -> Config {
    Config { standing: vec![0], sweeps: vec![2], ..Config::default() }
}

/// A box and one that is built on it.
fn chain() -> Config {
    Config { boxes: 2, keys: 2, standing: vec![0, 1], sweeps: vec![2], ..Config::default() }
}

/// What is explored: each guard is in place, so that everything holds.
fn worlds() -> Vec<(Config, usize)> {
    vec![
        (Config { name: "1 run, 1 sweeper", runs: vec![vec![0]], is_fine: true, ..one_box() }, 0),
        (Config { name: "1 run, 1 sweeper, a crash", runs: vec![vec![0]], crashes: 1, ..one_box() }, 0),
        (Config { name: "2 runs of nothing", runs: vec![vec![0]; 2], crashes: 1, ..Config::default() }, 0),
        (
            Config {
                name: "3 runs of nothing",
                is_ending: false,
                runs: vec![vec![0]; 3],
                leases: 1,
                ..Config::default()
            },
            0,
        ),
        (
            Config {
                name: "2 runs, 1 sweeper",
                days: 1,
                runs: vec![vec![0]; 2],
                leases: 1,
                marked: vec![0],
                sweeps: vec![1],
                ..one_box()
            },
            0,
        ),
        (
            Config {
                name: "1 run, 2 sweepers",
                days: 1,
                leases: 1,
                crashes: 1,
                runs: vec![vec![0]],
                marked: vec![0],
                sweeps: vec![1, 1],
                ..one_box()
            },
            0,
        ),
        (
            Config {
                name: "2 runs, 2 sweepers",
                is_ending: false,
                runs: vec![vec![0]; 2],
                marked: vec![0],
                sweeps: vec![1, 1],
                leases: 1,
                days: 1,
                ..one_box()
            },
            0,
        ),
        (same_bytes(), 0),
        (late_run(), 0),
        (Config { name: "parent and child, 1 sweeper", runs: vec![vec![0, 1]], leases: 1, ..chain() }, 0),
        (
            Config {
                name: "parent and child of nothing",
                runs: vec![vec![0, 1]],
                standing: vec![],
                sweeps: vec![],
                crashes: 1,
                ..chain()
            },
            0,
        ),
        (lossy(), 0),
        (narrowed(), 0),
        (promoted(), 0),
        (
            Config {
                name: "1 promoter, 1 sweeper, late",
                promoters: vec![vec![0]],
                late: TAGS | RECORDS,
                leases: 1,
                days: 1,
                ..one_box()
            },
            0,
        ),
        (two_promoters(), 0),
        (meddled(), 0),
        (Config { name: "foreign tag", foreign: Some(0), ..one_box() }, 0),
        (moved(), 0),
        (flaky(), 0),
        (Config { name: "garbage", sweeps: vec![4], days: 3, is_counting: true, crashes: 1, ..chain() }, 0),
        (
            Config {
                name: "garbage of a run",
                runs: vec![vec![0]],
                leases: 1,
                sweeps: vec![4],
                days: 3,
                is_counting: true,
                ..one_box()
            },
            0,
        ),
    ]
}

/// Builds give the same bytes for the same inputs.
fn same_bytes() -> Config {
    Config {
        name: "1 run, 2 sweepers, same bytes",
        is_ending: false,
        runs: vec![vec![0]],
        marked: vec![0],
        sweeps: vec![2, 1],
        leases: 1,
        is_reproducible: true,
        ..one_box()
    }
}

fn late_run() -> Config {
    Config {
        name: "1 run, 1 sweeper, late",
        runs: vec![vec![0]],
        leases: 1,
        late: LEASES | MARKERS,
        days: 1,
        is_ending: false,
        ..one_box()
    }
}

/// The second box's build fails, so that the run leases the first one anew and gives up the
/// lease of both.
fn narrowed() -> Config {
    Config {
        name: "a lease is narrowed, late",
        runs: vec![vec![0, 1]],
        standing: vec![0],
        late: LEASES,
        days: 1,
        is_ending: false,
        is_failing: true,
        ..chain()
    }
}

fn promoted() -> Config {
    Config { name: "1 promoter, 1 sweeper", promoters: vec![vec![0, 1]], crashes: 1, ..chain() }
}

/// Two sets of two boxes for one tag.
fn two_promoters() -> Config {
    Config {
        name: "2 promoters",
        promoters: vec![vec![0, 1], vec![2, 3]],
        keys: 4,
        standing: vec![0, 1, 2, 3],
        sweeps: vec![],
        leases: 1,
        ..chain()
    }
}

fn meddled() -> Config {
    Config {
        name: "a stranger moves main",
        promoters: vec![vec![0, 1]],
        meddler: true,
        sweeps: vec![],
        ..chain()
    }
}

fn moved() -> Config {
    Config {
        name: "a stranger moves a content tag",
        moved: Some(0),
        marked: vec![0],
        sweeps: vec![1],
        ..one_box()
    }
}

fn flaky() -> Config {
    Config {
        name: "requests of a sweeper fail",
        runs: vec![vec![0, 1]],
        is_flaky: true,
        leases: 1,
        marked: vec![0, 1],
        sweeps: vec![1],
        ..chain()
    }
}

/// What the registry took is not there.
fn lossy() -> Config {
    Config {
        name: "a registry that loses tags",
        runs: vec![vec![0]],
        marked: vec![0],
        sweeps: vec![1],
        is_lossy: true,
        leases: 1,
        ..one_box()
    }
}

/// Guards with a world that breaks without each, and the invariant that it breaks.
fn variants() -> Vec<(Guard, Config, &'static str)> {
    let run = || Config { runs: vec![vec![0]], ..one_box() };
    vec![
        (Guard::LeaseBeforeProbe, run(), "I3"),
        (Guard::LeaseReadBack, Config { is_lossy: true, ..run() }, "I3"),
        (Guard::MarkerCheck, Config { marked: vec![0], ..run() }, "I3"),
        (Guard::LookBeforePush, Config { runs: vec![vec![0]; 2], leases: 1, ..Config::default() }, "I4"),
        (Guard::ReadBack, lossy(), "I4"),
        (Guard::ClockBeforeReport, run(), "I3"),
        (Guard::LookAfterLapse, run(), "I3"),
        (Guard::NewLeaseBeforeRelease, Config { late: 0, ..narrowed() }, "I3"),
        (Guard::NextGeneration, Config { marked: vec![0], ..run() }, "I4"),
        (Guard::LeasesBeforeRoots, Config { crashes: 0, ..promoted() }, "I2"),
        (Guard::SecondLedgerRead, narrowed(), "I3"),
        (Guard::Wait, narrowed(), "I3"),
        (Guard::Grace, late_run(), "I3"),
        (Guard::HeadBeforeDelete, moved(), "I7"),
        (Guard::ForeignTags, Config { foreign: Some(0), ..one_box() }, "I7"),
        (Guard::Closure, Config { foreign: Some(1), ..chain() }, "I5"),
        (Guard::FindAfterDelete, Config { runs: vec![], ..flaky() }, "I5"),
        (Guard::SweeperDeadline, Config { days: 3, sweeps: vec![3, 1], ..same_bytes() }, "I3"),
        (Guard::RetiredMarkers, same_bytes(), "I3"),
        (Guard::UnreadStops, flaky(), "I7"),
        (Guard::LeaseBeforePromotion, Config { crashes: 0, ..promoted() }, "I1"),
        (Guard::PlanFirst, promoted(), "P3"),
        (Guard::ClockBeforePlan, Config { crashes: 0, ..promoted() }, "I5"),
        (Guard::ExpectedOld, meddled(), "P1"),
        (Guard::TagReadBack, Config { is_lossy: true, meddler: false, ..meddled() }, "I1"),
        (Guard::Confirm, two_promoters(), "P4"),
        (Guard::SetLast, promoted(), "P2"),
        (Guard::NoLongPause, Config { days: 3, sweeps: vec![3, 1], ..same_bytes() }, "I3"),
    ]
}

fn words(steps: Vec<super::world::Step>) -> String {
    steps.iter().map(|step| format!("      {step:?}\n")).collect()
}

#[test]
fn everything_holds_in_every_world() {
    let began = Instant::now();
    let (mut all, mut wrong, mut seen) = (0, Vec::new(), BTreeSet::new());
    for (config, expect) in worlds() {
        if std::env::var("MODEL_ONLY").is_ok_and(|only| !config.name.contains(&only)) {
            continue;
        }
        let began = Instant::now();
        let checker = World(config.clone()).checker().threads(2).spawn_bfs().join();
        let states = checker.unique_state_count();
        all += states;
        eprintln!("{states:>8} states in {:.1} s: {}", began.elapsed().as_secs_f64(), config.name);
        for (name, path) in checker.discoveries() {
            let is_bad = name.starts_with(|c: char| c.is_ascii_uppercase());
            assert!(!is_bad, "{}: {name}:\n{}", config.name, words(path.into_actions()));
            seen.insert(name);
        }
        if states != expect {
            wrong.push(format!("{}: {states}, not {expect}", config.name));
        }
    }
    eprintln!("{all} states in {:.0} s; seen: {seen:?}", began.elapsed().as_secs_f64());
    let must: BTreeSet<&str> =
        ["adopted", "used", "built", "revived", "swept", "promoted", "conflict seen", "all gone"].into();
    assert_eq!(seen, must);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_guard_can_be_spared() {
    let began = Instant::now();
    let mut alive = Vec::new();
    for (guard, config, invariant) in variants() {
        if std::env::var("MODEL_ONLY").is_ok_and(|only| !format!("{guard:?}").contains(&only)) {
            continue;
        }
        let config = Config { without: Some(guard), ..config };
        let world = World(config);
        let name = world.properties().into_iter().find(|one| one.name.starts_with(invariant)).unwrap().name;
        let until = HasDiscoveries::AllOf([name].into());
        let checker = world.checker().threads(2).finish_when(until).spawn_bfs().join();
        eprint!("{:>5.1} s ", began.elapsed().as_secs_f64());
        match checker.discovery(name) {
            Some(path) => {
                let steps = path.into_actions();
                eprintln!("killed: without {guard:?}, {} steps break {name}", steps.len());
                if std::env::var_os("MODEL_STEPS").is_some() {
                    eprint!("{}", words(steps));
                }
            }
            None => {
                let others: Vec<_> = checker.discoveries().into_keys().collect();
                eprintln!(
                    "ALIVE: without {guard:?} in {} states; {name}; {others:?}",
                    checker.unique_state_count()
                );
                alive.push(guard);
            }
        }
    }
    eprintln!("{} variants in {:.0} s", variants().len(), began.elapsed().as_secs_f64());
    assert!(alive.is_empty(), "{alive:?}");
}
