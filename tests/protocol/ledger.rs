//! The run's record, which parallel jobs of one run share.

use boxwright::adapter::memory::{Fault, Verb};
use boxwright::model::{Record, RunRecord};
use boxwright::port::RegistryWriter;

use super::net::{done, is, tag, unavailable};
use super::world::{World, repository};

fn names(world: &World) -> Vec<String> {
    let record: RunRecord = world.record(&tag("run.one.1"));
    record.boxes.into_iter().map(|used| used.name).collect()
}

#[tokio::test(start_paused = true)]
async fn jobs_of_one_run_add_to_its_record() {
    let base = World::of(&["base"]);
    let lint = World::of(&["lint"]).beside(&base);
    base.run("one").build().await.unwrap();
    lint.run("one").build().await.unwrap();
    assert_eq!(names(&base), ["base", "lint"]);
    // Another attempt has a record of its own.
    let mut again = base.run("one");
    again.setting.attempt = 2;
    again.build().await.unwrap();
    assert_eq!(base.records("run.").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_end_at_the_same_moment_do_not_fail_each_other() {
    let world = World::of(&["base"]);
    let theirs = {
        let other = World::of(&["lint"]);
        other.run("one").build().await.unwrap();
        let mut record: RunRecord = other.record(&tag("run.one.1"));
        record.boxes.retain(|used| used.name == "lint");
        record
    };
    // Another job writes between our write and its read-back.
    let is_read_back = |asked: &boxwright::adapter::memory::Asked| is(asked, Verb::Head, "ledger", "run.one");
    world.net.before(is_read_back, move |memory| {
        let at = tag("run.one.1").into();
        done(memory.put(&repository("ledger"), &at, &theirs.to_manifest())).unwrap();
    });
    world.run("one").build().await.unwrap();
    assert_eq!(names(&world), ["base", "lint"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_written_is_an_error_and_the_lease_stays() {
    let world = World::of(&["base"]);
    world
        .net
        .memory
        .break_when(|asked| is(asked, Verb::Put, "ledger", "run.").then(|| Fault::Before(unavailable())));
    world.run("one").build().await.unwrap_err();
    // The image stands, and may be in use by a job of this run.
    assert_eq!(world.leases().len(), 1);
    assert!(world.stands("base").is_some());
}
