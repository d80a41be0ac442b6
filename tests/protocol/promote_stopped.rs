//! A promotion that is stopped: it begins no write any more, says which tags stand, and the next
//! call does the rest.

use std::collections::BTreeSet;
use std::time::Duration;

use boxwright::adapter::memory::Verb;
use boxwright::exec::PromoteError;
use tokio_util::sync::CancellationToken;

use super::net::tag;
use super::promote::{BOXES, built, built_anew, check_stands};
use super::world::{World, to, writes};

/// Three boxes that stand under `main`, and newer ones that do not yet.
async fn prepared() -> World {
    let world = built().await;
    world.run("one").on_revision("a", 100).promote("main").await.unwrap();
    built_anew(&world, "v2").await
}

/// Stops at the request of this number, from 0.
fn stop_at(world: &World, number: usize, cancel: &CancellationToken) {
    let (stop, mut count) = (cancel.clone(), 0);
    world.net.before_each(move |_, _| {
        count += 1;
        if count == number + 1 {
            stop.cancel();
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_is_stopped_anywhere_is_finished_by_the_next() {
    let newer = prepared().await;
    let all = {
        let world = newer.copy();
        world.run("two").on_revision("b", 200).promote("main").await.unwrap();
        world.log()
    };
    let (mut seen, mut is_done) = (BTreeSet::new(), false);
    for number in 0..all.len() {
        let world = newer.copy();
        let cancel = CancellationToken::new();
        stop_at(&world, number, &cancel);
        let result = world.run("two").on_revision("b", 200).promote_until(&to("main"), &cancel).await;
        let moved = BOXES.iter().filter(|name| world.at(name, &tag("main")) == world.stands(name)).count();
        match result {
            Err(PromoteError::Interrupted { moved: told, left, .. }) => {
                assert!(!is_done, "{number}: it was past the set record before");
                // Whatever was written was read back, so that what is told is so.
                assert_eq!(told.len(), moved, "{number}: {told:?}");
                assert!(told.iter().all(|name| world.at(name, &tag("main")) == world.stands(name)));
                assert!(moved == 0 || told.len() + left.len() == BOXES.len(), "{told:?} {left:?}");
                // Of the lease, the plan, the tags and the set no more than one was begun.
                let log = world.log();
                let after = writes(log.get(number..).unwrap_or_default());
                let puts = after.iter().filter(|asked| asked.verb == Verb::Put);
                let kinds: BTreeSet<_> =
                    puts.filter_map(|asked| asked.reference.as_ref()?.get(..4)).collect();
                assert!(kinds.len() <= 1, "{number}: {after:?}");
            }
            Ok(_) => is_done = true,
            Err(error) => panic!("{number}: {error}"),
        }
        seen.insert((moved, is_done));
        let report = world.run("three").on_revision("b", 200).promote("main").await.unwrap();
        assert_eq!((report.seq, report.was_done), (2, is_done), "{number}");
        check_stands(&world, "main");
    }
    assert_eq!(seen, BTreeSet::from([(0, false), (3, false), (3, true)]));
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_is_stopped_does_not_wait_for_a_registry_that_stalls() {
    let newer = prepared().await;
    let all = {
        let world = newer.copy();
        world.run("two").promote("main").await.unwrap();
        world.log().len()
    };
    for number in 0..all {
        for apply in [true, false] {
            let world = newer.copy();
            let mut latency = vec![0; number + 1];
            latency.extend(vec![3_600_000; 500]);
            world.net.set_latency(&latency);
            let cancel = CancellationToken::new();
            let stop = async {
                // Past the pauses between reads.
                world.pass(60).await;
                cancel.cancel();
                tokio::time::Instant::now()
            };
            let (run, mut options) = (world.run("two"), to("main"));
            options.apply = apply;
            let promotion = async {
                let result = run.promote_until(&options, &cancel).await;
                (result, tokio::time::Instant::now())
            };
            let ((result, ended), stopped) = tokio::join!(promotion, stop);
            if ended < stopped {
                assert!(result.is_ok(), "{number}");
                continue;
            }
            // The last request gives the lease up.
            let is_over = number + 2 >= all && result.is_ok();
            assert!(
                is_over || matches!(result, Err(PromoteError::Interrupted { .. })),
                "{number}: {result:?}"
            );
            assert!(ended - stopped < Duration::from_secs(8), "{number}: {:?}", ended - stopped);
        }
    }
}
