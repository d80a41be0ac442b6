//! A run that is stopped: nothing is left half done, and nobody waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use boxwright::adapter::memory::Verb;
use boxwright::exec::{Deletion, Outcome};
use boxwright_testing::engine::{image, push};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::net::done;
use super::world::{World, outcome, repository};

#[tokio::test(start_paused = true)]
async fn stopping_a_build_pushes_nothing_and_gives_the_lease_up() {
    let world = World::of(&["base", "build"]);
    let run = world.run("one");
    run.engine.script.lock().unwrap().block.insert("base".to_owned(), Arc::new(Notify::new()));
    let cancel = CancellationToken::new();
    let stop = async {
        world.pass(100).await;
        cancel.cancel();
    };
    let (report, ()) = tokio::join!(run.build_until(&cancel), stop);
    let report = report.unwrap();
    assert!(report.is_interrupted);
    assert_eq!(outcome(&report), [("base", "skipped"), ("build", "skipped")]);
    assert_eq!(run.engine.pushed(), [""; 0]);
    assert_eq!(world.leases(), []);
    assert_eq!(report.lease_until, None);
}

#[tokio::test(start_paused = true)]
async fn what_stands_when_a_run_is_stopped_stays_leased() {
    let world = World::of(&["base", "build"]);
    let run = world.run("one");
    run.engine.script.lock().unwrap().block.insert("build".to_owned(), Arc::new(Notify::new()));
    let cancel = CancellationToken::new();
    let stop = async {
        world.pass(100).await;
        cancel.cancel();
    };
    let (report, ()) = tokio::join!(run.build_until(&cancel), stop);
    let report = report.unwrap();
    assert_eq!(outcome(&report), [("base", "built"), ("build", "skipped")]);
    let [lease] = world.leases().try_into().unwrap();
    assert_eq!(lease.keys, [world.key("base")]);
}

#[tokio::test(start_paused = true)]
async fn after_stopping_nothing_new_begins() {
    // Many orders of the same race: the box ends and the run is stopped at one moment.
    for _ in 0..20 {
        let world = World::new();
        let run = world.run("one");
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        run.engine.script.lock().unwrap().before_push = Some(Box::new(move |_, _| stop.cancel()));
        let report = run.build_until(&cancel).await.unwrap();
        assert!(report.is_interrupted);
        assert_eq!(run.engine.built(), ["base"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_stopped_before_its_probe_builds_nothing() {
    let world = World::new();
    let run = world.run("one");
    let cancel = CancellationToken::new();
    cancel.cancel();
    let report = run.build_until(&cancel).await.unwrap();
    assert!(report.is_interrupted);
    assert!(report.boxes.values().all(|one| one.outcome == Outcome::Skipped("interrupted".to_owned())));
    assert_eq!((run.engine.built(), world.leases()), (vec![], vec![]));
    // A registry that takes its time is not waited for.
    assert!(world.log().iter().all(|asked| asked.repository != Some(repository("base"))));
}

#[tokio::test(start_paused = true)]
async fn stopping_the_last_look_loses_no_report() {
    let world = World::of(&["base", "build"]);
    let run = world.run("one");
    let cancel = CancellationToken::new();
    // After the last push the base's tag moves, so that a second round begins; it is stopped
    // while it builds the child anew.
    let stop = cancel.clone();
    let labels = {
        let first = World::of(&["base"]);
        let made = first.run("x");
        made.build().await.unwrap();
        made.engine.request("base").labels
    };
    let at = world.tag("base", 0);
    let mut builds = 0;
    run.engine.set(|script| {
        script.before_push = Some(Box::new(move |name, memory| {
            if name == "build" {
                done(push(memory, &repository("base"), &at, image(&labels, "theirs")));
            }
        }));
        script.on_build = Some(Box::new(move |name, _| {
            builds += usize::from(name == "build");
            if builds == 2 {
                stop.cancel();
            }
        }));
        script.delay.insert("build".to_owned(), Duration::from_secs(10));
    });
    let report = run.build_until(&cancel).await.unwrap();
    assert!(report.is_interrupted);
    assert_eq!(run.engine.built(), ["base", "build", "build"]);
    assert_eq!(report.boxes["build"].outcome, Outcome::Built);
    assert!(report.boxes["build"].digest.is_some());
}

/// 52: whatever a registry is at, a run that is stopped ends within seconds.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_stopped_does_not_wait_for_a_registry_that_stalls() {
    let all = {
        let world = World::of(&["base"]);
        world.run("one").build().await.unwrap();
        world.log().len()
    };
    let mut cases = 0;
    for number in 0..all {
        let world = World::of(&["base"]);
        let mut latency = vec![0; number + 1];
        latency.extend(vec![3_600_000; 500]);
        world.net.set_latency(&latency);
        let run = world.run("one");
        let cancel = CancellationToken::new();
        let stop = async {
            world.pass(100).await;
            cancel.cancel();
            tokio::time::Instant::now()
        };
        let build = async {
            let report = run.build_until(&cancel).await.unwrap();
            (report, tokio::time::Instant::now())
        };
        let ((report, ended), stopped) = tokio::join!(build, stop);
        if ended < stopped {
            // The engine's own requests do not stall: it was done before.
            assert!(number > 20 && !report.is_interrupted, "{number}");
            continue;
        }
        assert!(report.is_interrupted, "{number}");
        assert!(ended - stopped < Duration::from_secs(5), "{number}: {:?}", ended - stopped);
        cases += 1;
    }
    assert!(cases > 20, "{cases}");
}

/// 52: a sweep that is stopped waits for what it has sent, begins nothing new, and says what it
/// did; the next one does the rest.
#[tokio::test(start_paused = true)]
async fn a_sweep_that_is_stopped_anywhere_is_finished_by_the_next() {
    let template = super::clean::unleased().await;
    template.run("sweep").clean().await.unwrap();
    template.pass(super::world::DAY).await;
    template.net.memory.set_now(template.net.today());
    let all = {
        let world = template.copy();
        world.run("sweep").clean().await.unwrap();
        world.log().len()
    };
    let mut parts = BTreeSet::new();
    for number in 0..all {
        let world = template.copy();
        let cancel = CancellationToken::new();
        let (stop, mut count) = (cancel.clone(), 0);
        world.net.before_each(move |_, _| {
            count += 1;
            if count == number + 1 {
                stop.cancel();
            }
        });
        let report = world.run("sweep").clean_until(&super::world::sweeping(), &cancel).await.unwrap();
        // The last looks are past every decision.
        assert!(report.is_interrupted || number + 3 >= all, "{number} of {all}");
        let done = report.deletions.iter().filter(|one| **one == Deletion::Done).count();
        let log = world.log();
        let deletes = log.iter().filter(|asked| asked.verb == Verb::Delete);
        let deletes = deletes.filter(|asked| asked.repository != Some(repository("ledger"))).count();
        assert!(deletes >= done && deletes <= done + 3, "{deletes} {done}");
        parts.insert(done);
        let again = world.run("again").clean().await.unwrap();
        assert_eq!(again.deletions.len() + done, 4, "only the rest is left");
        assert!(super::clean::BOXES.iter().all(|name| world.stands(name).is_none()));
    }
    assert_eq!(parts, (0..=4).collect());
}

/// However long a registry takes, a sweep that is stopped ends within seconds.
#[tokio::test(start_paused = true)]
async fn a_sweep_that_is_stopped_does_not_wait_for_a_registry_that_stalls() {
    let template = super::clean::unleased().await;
    template.run("sweep").clean().await.unwrap();
    template.pass(super::world::DAY).await;
    template.net.memory.set_now(template.net.today());
    for number in 0..60 {
        let world = template.copy();
        let mut latency = vec![0; number + 1];
        latency.extend(vec![3_600_000; 500]);
        world.net.set_latency(&latency);
        let cancel = CancellationToken::new();
        let stop = async {
            // Past the waits between the looks.
            world.pass(400).await;
            cancel.cancel();
            tokio::time::Instant::now()
        };
        let run = world.run("sweep");
        let sweep = async {
            let report = run.clean_until(&super::world::sweeping(), &cancel).await.unwrap();
            (report, tokio::time::Instant::now())
        };
        let ((report, ended), stopped) = tokio::join!(sweep, stop);
        assert!(report.is_interrupted, "{number}");
        assert!(ended - stopped < Duration::from_secs(5), "{number}: {:?}", ended - stopped);
    }
}
