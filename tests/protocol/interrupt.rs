//! A run that is stopped: nothing is left half done, and nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use boxwright::exec::Outcome;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::engine::{image, push};
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
