//! Replacing what stands: a tombstone, the next generation, and what becomes of the one before.

use boxwright::adapter::memory::{Fault, Verb};
use boxwright::exec::{RebuildError, Replaced, replace};
use boxwright::model::{Generation, Tombstone};

use super::net::unavailable;
use super::world::{Run, World, outcome, writes};

async fn replaced(world: &World, run: &Run<'_>, names: &[&str]) -> Result<Vec<Replaced>, RebuildError> {
    let boxes: Vec<_> = names.iter().map(|name| world.keyed(name)).collect();
    replace(run.ports(), &run.setting, &boxes, true, &|_| {}).await
}

fn one(name: &str, generation: Option<u32>) -> Replaced {
    Replaced { name: name.to_owned(), generation: generation.map(Generation) }
}

#[tokio::test(start_paused = true)]
async fn the_next_generation_is_built_and_the_one_before_stays_under_its_lease() {
    let world = World::new();
    let run = world.run("one");
    run.build().await.unwrap();
    let before = world.stands("base").unwrap();
    assert_eq!(replaced(&world, &run, &["base"]).await.unwrap(), [one("base", Some(0))]);
    let tombstone: Tombstone = world.record(&world.tombstone_tag("base", 0));
    assert_eq!((tombstone.generation, tombstone.reason.as_str()), (Generation(0), "replaced by run one"));
    assert_eq!(tombstone.images.len(), 1);
    assert_eq!((&tombstone.images[0].digest, &tombstone.images[0].tag), (&before, &world.tag("base", 0)));

    // What stands on it was built on the old one, and is made anew.
    let report = world.run("two").build().await.unwrap();
    assert_eq!(
        outcome(&report),
        [("base", "built"), ("build", "built"), ("lint", "built"), ("test", "built")]
    );
    assert_eq!(report.boxes["base"].generation, Generation(1));
    assert_eq!(report.boxes["base"].reason, "generation 0 of this key was replaced or condemned");
    assert_ne!(report.boxes["base"].digest.as_ref(), Some(&before));
    assert_eq!(world.at("base", &world.tag("base", 0)), Some(before));
    assert_eq!(replaced(&world, &run, &["base"]).await.unwrap(), [one("base", Some(1))]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_not_replaced_and_what_is_unknown_marks_nothing() {
    let world = World::new();
    let run = world.run("one");
    assert_eq!(replaced(&world, &run, &["base"]).await.unwrap(), [one("base", None)]);
    assert!(world.records("over").is_empty());
    run.build().await.unwrap();
    for verb in [Verb::Head, Verb::Get] {
        world.net.memory.clear_log();
        world.net.memory.break_next(verb, None, Fault::Before(unavailable()));
        let error = replaced(&world, &run, &["base", "test"]).await.unwrap_err();
        assert!(matches!(error, RebuildError::Unknown(_)), "{verb:?}: {error}");
        assert!(writes(&world.log()).is_empty());
    }
    world.net.memory.set_read_only(true);
    let error = replaced(&world, &run, &["base"]).await.unwrap_err();
    assert!(matches!(error, RebuildError::Ledger(_)), "{error}");
    world.net.memory.set_read_only(false);
    assert!(world.records("over").is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_rebuilds_at_once_end_one_generation() {
    let world = World::of(&["base"]);
    let (one_run, two_run) = (world.run("one"), world.run("two"));
    one_run.build().await.unwrap();
    // Both have looked before either has marked.
    world.net.set_latency(&[5]);
    let (first, second) =
        tokio::join!(replaced(&world, &one_run, &["base"]), replaced(&world, &two_run, &["base"]));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(world.records("over").len(), 1);
    let (first, second) = tokio::join!(one_run.build(), two_run.build());
    assert_eq!(first.unwrap().boxes["base"].digest, second.unwrap().boxes["base"].digest);
    assert!(world.at("base", &world.tag("base", 1)).is_some());
    assert!(world.at("base", &world.tag("base", 2)).is_none());
}
