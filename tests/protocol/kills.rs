//! `kill -9` before and after every registry write of a build, a promotion and a sweep: the
//! process is gone in the middle of its request, and a plain rerun reaches the intended state.

use std::sync::Arc;

use boxwright::exec::{BuildReport, build};
use boxwright::model::{PlanRecord, PromotionRecord};
use boxwright::port::RegistryReader;
use boxwright_testing::engine::FakeEngine;
use boxwright_testing::figure::figure;
use tokio_util::sync::CancellationToken;

use super::clean::check_whole;
use super::net::{Gate, done, tag};
use super::promote::{BOXES, check_stands};
use super::world::{DAY, World, outcome, repository};

/// Runs `work` on a copy of `template` for each write, killed before and after its effect,
/// and `again` on what is left; returns how often.
pub async fn killed_everywhere(
    template: &World,
    work: impl AsyncFn(&World),
    again: impl AsyncFn(&World, &str),
) -> usize {
    let whole = template.copy();
    let count = Arc::new(Gate::new(usize::MAX, false));
    whole.net.gates.set(&count);
    count.run(work(&whole)).await.expect("nothing kills this one");
    let mut kills = 0;
    for is_after in [false, true] {
        for at in 0..count.writes() {
            let world = template.copy();
            let gate = Arc::new(Gate::new(at, is_after));
            world.net.gates.set(&gate);
            assert!(gate.run(work(&world)).await.is_none(), "write {at} is reached");
            world.net.gates.set(&Arc::new(Gate::new(usize::MAX, false)));
            check_resolves(&world);
            again(&world, &format!("write {at}, after: {is_after}")).await;
            kills += 1;
        }
    }
    kills
}

/// Builds with an engine whose pushes are writes like any other.
async fn build_all(world: &World, id: &str) -> BuildReport {
    let engine = FakeEngine::new(Arc::clone(&world.net.far), &world.boxes);
    let run = world.run(id);
    let cancel = CancellationToken::new();
    build(run.ports(), engine.ports(), &run.setting, &world.boxes, &run.build, &|_| {}, &cancel)
        .await
        .unwrap()
}

/// No tag is seen before its content.
fn check_resolves(world: &World) {
    let memory = &world.net.memory;
    for name in ["ledger", "base", "build", "test"] {
        for at in done(memory.tags(&repository(name))).unwrap().tags {
            assert!(world.at(name, &at).is_some(), "{name}:{at}");
        }
    }
    check_whole(world);
}

#[tokio::test(start_paused = true)]
async fn a_build_of_three_boxes_that_is_killed_at_any_write_is_finished_by_a_rerun() {
    let template = World::of(&BOXES);
    let build = async |world: &World| drop(build_all(world, "one").await);
    let rerun = async |world: &World, what: &str| {
        let report = build_all(world, "two").await;
        assert!(report.missing().next().is_none(), "{what}: {:?}", outcome(&report));
        for (name, one) in &report.boxes {
            assert_eq!(one.digest, world.stands(name), "{what}");
        }
        // Whoever asks afterwards finds everything.
        let third = world.run("three").build().await.unwrap();
        assert!(outcome(&third).iter().all(|(_, word)| *word == "use"), "{what}");
    };
    let kills = killed_everywhere(&template, build, rerun).await;
    // The ledger's empty blob and the lease twice, for the first try is refused; for each box two blobs,
    // a manifest, and its inputs with their record; the run's record.
    assert_eq!(kills, 2 * (3 + 3 * 5 + 1));
    figure(
        env!("CARGO_TARGET_TMPDIR"),
        "kills-build",
        &format!(
            "{kills} kills of a build of three boxes, before and after every write; each rerun finished it"
        ),
    );
}

#[tokio::test(start_paused = true)]
async fn a_promotion_of_three_boxes_that_is_killed_at_any_write_is_finished_by_a_rerun() {
    let template = World::of(&BOXES);
    template.run("zero").build().await.unwrap();
    template.run("zero").promote("main").await.unwrap();
    let newer = template.with_content("v2");
    newer.run("one").build().await.unwrap();
    let promote = async |world: &World| drop(world.run("one").promote("main").await.unwrap());
    let rerun = async |world: &World, what: &str| {
        let report = world.run("two").promote("main").await.unwrap();
        assert_eq!(report.seq, 2, "{what}");
        check_stands(world, "main");
        let (plan, set): (PlanRecord, PromotionRecord) =
            (world.record(&tag("plan.main.2")), world.record(&tag("set.main.2")));
        assert_eq!(plan.0.boxes, set.boxes, "{what}");
        assert!(world.run("three").promote("main").await.unwrap().was_done, "{what}");
    };
    let kills = killed_everywhere(&newer, promote, rerun).await;
    // The lease, the plan, three tags, the set record, and the lease once more.
    assert_eq!(kills, 14);
    figure(
        env!("CARGO_TARGET_TMPDIR"),
        "kills-promotion",
        &format!(
            "{kills} kills of a promotion of three boxes, before and after every write; each rerun finished it"
        ),
    );
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_is_killed_at_any_write_is_finished_by_the_next() {
    // The first sweep deletes an old content, condemns another and removes ended leases; a
    // promoted set stands.
    let template = World::of(&BOXES);
    template.run("zero").build().await.unwrap();
    template.run("zero").promote("main").await.unwrap();
    let old = template.with_content("v2");
    old.run("one").build().await.unwrap();
    template.pass(3 * DAY).await;
    template.run("sweep").clean().await.unwrap();
    let newer = template.with_content("v3");
    newer.run("two").build().await.unwrap();
    newer.drop_leases();
    template.pass(DAY).await;
    template.net.memory.set_now(template.net.today());
    let sweep = async |world: &World| drop(world.run("sweep").clean().await.unwrap());
    let rerun = async |world: &World, what: &str| {
        for _ in 0..2 {
            world.run("again").clean().await.unwrap();
            world.pass(DAY).await;
        }
        check_stands(world, "main");
        check_whole(world);
        for gone in [&old, &newer] {
            for name in BOXES {
                assert_eq!(world.at(name, &gone.tag(name, 0)), None, "{what}");
            }
        }
        let quiet = world.run("last").clean().await.unwrap().clean;
        assert!(quiet.condemn.is_empty() && quiet.delete.is_empty(), "{what}");
    };
    let kills = killed_everywhere(&template, sweep, rerun).await;
    // With the claim, which is given up at the end.
    assert_eq!(kills, 16);
    figure(
        env!("CARGO_TARGET_TMPDIR"),
        "kills-sweep",
        &format!("{kills} kills of a sweep, before and after every write; each rerun finished it"),
    );
}
