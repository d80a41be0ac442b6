//! Which worlds are explored, how many states each has, and which guards no world can spare.

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::registry::{LEASES, MARKERS, RECORDS, TAGS};
use super::world::{Config, Guard, PartKind, World};
use boxwright_testing::figure::figure;

/// One box that stands, two runs and two sweepers at most.
fn one_box() -> Config {
    Config { standing: vec![0], sweeps: vec![2], ..Config::default() }
}

/// A box and one that is built on it.
fn chain() -> Config {
    Config { boxes: 2, keys: 2, standing: vec![0, 1], sweeps: vec![2], ..Config::default() }
}

/// The states of each world: a change of the protocol, or of what is looked at, moves them.
const STATES: [(&str, usize); 33] = [
    ("1 run, 1 sweeper", 23_865),
    ("1 run, 1 sweeper, a crash", 44_697),
    ("2 runs of nothing", 58_905),
    ("3 runs of nothing", 46_707),
    ("2 runs, 1 sweeper", 208_938),
    ("1 run, 2 sweepers", 83_350),
    ("2 runs, 2 sweepers", 236_249),
    ("1 run, 2 sweepers, same bytes", 56_788),
    ("1 run, 1 sweeper, late", 9_653),
    ("parent and child, 1 sweeper", 30_643),
    ("parent and child of nothing", 417),
    ("a registry that loses tags", 12_984),
    ("a lease is narrowed, late", 18_742),
    ("1 promoter, 1 sweeper", 107_789),
    ("1 promoter, 1 sweeper, late", 4_344),
    ("2 promoters", 56_475),
    ("2 promoters, a tag is there", 36_567),
    ("2 promoters of one set", 15_636),
    ("a stranger moves main", 1_920),
    ("foreign tag", 41),
    ("a stranger moves a content tag", 71),
    ("requests of a sweeper fail", 8_807),
    ("a rollback to what is condemned", 3_345),
    ("a rollback to what is condemned, late", 683),
    ("a rollback to what is kept", 1_486),
    ("an index and its child", 272_476),
    ("an index, its child shared, 2 sweepers", 94_712),
    ("an image and its signature", 2_469),
    ("a stranger's tombstone", 83_774),
    ("a stranger's tombstone of an index", 2_894),
    ("a stranger writes over a lease", 55_461),
    ("garbage", 12_144),
    ("garbage of a run", 123_182),
];

/// What is explored: each guard is in place, so that everything holds.
fn worlds() -> Vec<Config> {
    vec![
        Config { name: "1 run, 1 sweeper", runs: vec![vec![0]], is_fine: true, ..one_box() },
        Config { name: "1 run, 1 sweeper, a crash", runs: vec![vec![0]], crashes: 1, ..one_box() },
        Config { name: "2 runs of nothing", runs: vec![vec![0]; 2], crashes: 1, ..Config::default() },
        Config {
            name: "3 runs of nothing",
            is_ending: false,
            runs: vec![vec![0]; 3],
            leases: 1,
            ..Config::default()
        },
        Config {
            name: "2 runs, 1 sweeper",
            days: 1,
            runs: vec![vec![0]; 2],
            leases: 1,
            marked: vec![0],
            sweeps: vec![1],
            ..one_box()
        },
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
        same_bytes(),
        late_run(),
        Config { name: "parent and child, 1 sweeper", runs: vec![vec![0, 1]], leases: 1, ..chain() },
        Config {
            name: "parent and child of nothing",
            runs: vec![vec![0, 1]],
            standing: vec![],
            sweeps: vec![],
            crashes: 1,
            ..chain()
        },
        lossy(),
        narrowed(),
        promoted(),
        Config {
            name: "1 promoter, 1 sweeper, late",
            promoters: vec![vec![0]],
            late: TAGS | RECORDS,
            leases: 1,
            days: 1,
            ..one_box()
        },
        two_promoters(),
        one_tag_there(),
        one_set(),
        meddled(),
        Config { name: "foreign tag", foreign: Some(0), ..one_box() },
        moved(),
        flaky(),
        brought_back(),
        brought_back_late(),
        refreshed(),
        indexed(),
        shared(),
        signed(),
        forged(),
        Config {
            name: "a stranger's tombstone of an index",
            part: Some(PartKind::Child),
            runs: vec![],
            sweeps: vec![4],
            days: 3,
            ..forged()
        },
        garbled(),
        Config { name: "garbage", sweeps: vec![4], days: 3, is_counting: true, crashes: 1, ..chain() },
        Config {
            name: "garbage of a run",
            runs: vec![vec![0]],
            leases: 1,
            sweeps: vec![4],
            days: 3,
            is_counting: true,
            ..one_box()
        },
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

/// The same, with a tag that need not move for the first.
fn one_tag_there() -> Config {
    Config { name: "2 promoters, a tag is there", promoted: vec![0], ..two_promoters() }
}

fn one_set() -> Config {
    Config {
        name: "2 promoters of one set",
        promoters: vec![vec![0, 1]; 2],
        sweeps: vec![],
        leases: 1,
        is_ending: false,
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

/// A promotion is brought back that no policy keeps any more: its images are condemned, and long
/// enough ago. What main holds is another box's image of the same key's next inputs.
fn brought_back() -> Config {
    Config {
        name: "a rollback to what is condemned",
        boxes: 1,
        keys: 2,
        standing: vec![0, 1],
        marked: vec![0],
        history: vec![vec![0], vec![1]],
        promoted: vec![1],
        rollbacks: vec![vec![0]],
        sweeps: vec![2],
        leases: 1,
        days: 1,
        crashes: 1,
        ..Config::default()
    }
}

fn brought_back_late() -> Config {
    Config {
        name: "a rollback to what is condemned, late",
        late: LEASES | TAGS | RECORDS,
        sweeps: vec![1],
        crashes: 0,
        is_ending: false,
        ..brought_back()
    }
}

/// A parent and a child that were replaced, but are kept as the promotion before the last one.
fn refreshed() -> Config {
    Config {
        name: "a rollback to what is kept",
        boxes: 2,
        keys: 4,
        standing: vec![0, 1, 2, 3],
        marked: vec![0, 1],
        history: vec![vec![0, 1], vec![2, 3]],
        promoted: vec![2, 3],
        rollbacks: vec![vec![0, 1]],
        kept: 2,
        ..brought_back()
    }
}

/// An index, with a child that has no tag.
fn indexed() -> Config {
    Config {
        name: "an index and its child",
        part: Some(PartKind::Child),
        runs: vec![vec![0]],
        leases: 1,
        crashes: 1,
        sweeps: vec![3],
        days: 3,
        is_counting: true,
        ..one_box()
    }
}

/// The same for two sweepers, where a stranger's index holds the child as well.
fn shared() -> Config {
    Config {
        name: "an index, its child shared, 2 sweepers",
        foreign: Some(0),
        runs: vec![],
        sweeps: vec![2, 2],
        is_counting: false,
        ..indexed()
    }
}

/// An image, and what the registry lists as referring to it.
fn signed() -> Config {
    let part = Some(PartKind::Referrer);
    Config { name: "an image and its signature", part, runs: vec![], ..indexed() }
}

/// A stranger's tombstone, dated long ago.
fn forged() -> Config {
    Config {
        name: "a stranger's tombstone",
        runs: vec![vec![0]],
        is_forging: true,
        leases: 1,
        sweeps: vec![3],
        is_counting: true,
        ..one_box()
    }
}

/// What a stranger wrote over a lease.
fn garbled() -> Config {
    Config {
        name: "a stranger writes over a lease",
        runs: vec![vec![0]],
        is_garbling: true,
        leases: 1,
        sweeps: vec![3],
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
        (Guard::TombstoneCheck, Config { marked: vec![0], ..run() }, "I3"),
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
        (Guard::Sighting, Config { runs: vec![], ..forged() }, "I6"),
        (Guard::UnreadableLease, garbled(), "I3"),
        (Guard::HeadBeforeDelete, moved(), "I7"),
        (Guard::ForeignTags, Config { foreign: Some(0), ..one_box() }, "I7"),
        (Guard::Closure, Config { foreign: Some(1), ..chain() }, "I5"),
        (Guard::FindAfterDelete, Config { runs: vec![], ..flaky() }, "I5"),
        (Guard::SweeperDeadline, Config { days: 3, sweeps: vec![3, 1], ..same_bytes() }, "I3"),
        (Guard::RetiredTombstones, same_bytes(), "I3"),
        (Guard::UnreadStops, flaky(), "I7"),
        (Guard::LeaseBeforePromotion, Config { crashes: 0, ..promoted() }, "I1"),
        (Guard::ClaimBeforeDelete, brought_back(), "I1"),
        (Guard::ClaimCheck, brought_back(), "I1"),
        (Guard::ClaimWait, brought_back_late(), "I1"),
        (Guard::PlanFirst, promoted(), "P3"),
        (Guard::ClockBeforePlan, Config { crashes: 0, ..promoted() }, "I5"),
        (Guard::ExpectedOld, meddled(), "P1"),
        (Guard::TagReadBack, Config { is_lossy: true, meddler: false, ..meddled() }, "I1"),
        (Guard::ReadBackAll, one_tag_there(), "P4"),
        (Guard::SetLast, promoted(), "P2"),
        (Guard::PlanOfTheSame, one_set(), "P5"),
        (Guard::PartsRemembered, Config { runs: vec![], ..indexed() }, "G"),
        (Guard::PartsOfOthers, shared(), "I5"),
        (Guard::NoLongPause, Config { days: 3, sweeps: vec![3, 1], ..same_bytes() }, "I3"),
    ]
}

fn words(steps: Vec<super::world::Step>) -> String {
    steps.iter().map(|step| format!("      {step:?}\n")).collect()
}

#[test]
fn everything_holds_in_every_world() {
    let began = Instant::now();
    let (mut found, mut seen, mut lines) = (Vec::new(), BTreeSet::new(), String::new());
    // MODEL_WORLD=words looks at the worlds of that name alone.
    let only = std::env::var("MODEL_WORLD").ok();
    for config in worlds() {
        let (name, began) = (config.name, Instant::now());
        if only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let checker = World(config).checker().threads(2).spawn_bfs().join();
        let states = checker.unique_state_count();
        if only.is_some() {
            eprintln!("{states} states in {:.1} s: {name}", began.elapsed().as_secs_f64());
        }
        lines += &format!("{states:>8} states in {:>4.1} s: {name}\n", began.elapsed().as_secs_f64());
        found.push((name, states));
        for (property, path) in checker.discoveries() {
            let is_broken = property.starts_with(|c: char| c.is_ascii_uppercase());
            assert!(!is_broken, "{name}: {property}:\n{}", words(path.into_actions()));
            seen.insert(property);
        }
    }
    if only.is_some() {
        return;
    }
    let all: usize = found.iter().map(|(_, states)| states).sum();
    let (worlds, seconds) = (found.len(), began.elapsed().as_secs_f64());
    lines += &format!("{all:>8} states of {worlds} worlds in {seconds:.0} s, all as they must be\n");
    let must: BTreeSet<&str> =
        ["adopted", "used", "built", "revived", "swept", "promoted", "conflict seen", "all gone"].into();
    assert_eq!(seen, must);
    assert_eq!(found, STATES);
    figure(env!("CARGO_TARGET_TMPDIR"), "model-worlds", &lines);
}

#[test]
fn no_guard_can_be_spared() {
    let began = Instant::now();
    let (mut spared, mut killed) = (Vec::new(), Vec::new());
    let variants = variants();
    let count = variants.len();
    for (guard, config, invariant) in variants {
        let world = World(Config { without: Some(guard), ..config });
        let name = world.properties().into_iter().find(|one| one.name.starts_with(invariant)).unwrap().name;
        let until = HasDiscoveries::AllOf([name].into());
        let checker = world.checker().threads(2).finish_when(until).spawn_bfs().join();
        match checker.discovery(name) {
            Some(path) => {
                let steps = path.into_actions();
                killed.push(format!("{:>3} steps break {name}, without {guard:?}", steps.len()));
                // MODEL_STEPS=1 shows each way.
                if std::env::var_os("MODEL_STEPS").is_some() {
                    eprint!("{}", words(steps));
                }
            }
            None => spared.push(guard),
        }
    }
    assert!(spared.is_empty(), "nothing breaks without {spared:?}");
    let seconds = began.elapsed().as_secs_f64();
    killed.push(format!("{:>3} of {count} variants killed in {seconds:.0} s", killed.len()));
    figure(env!("CARGO_TARGET_TMPDIR"), "model-variants", &killed.join("\n"));
}
