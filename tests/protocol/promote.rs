//! Promotions: what moves, in which order, and what is refused.

use std::collections::BTreeSet;
use std::time::Duration;

use boxwright::adapter::memory::{Asked, Verb};
use boxwright::exec::{PromoteError, PromoteOptions};
use boxwright::model::{Generation, PlanRecord, PromotionRecord, Timestamp, Tombstone};
use boxwright::plan::Refusal;
use boxwright::port::Registry;

use tokio::time::Instant;

use super::net::{done, is, tag};
use super::world::{World, repository, to, writes};

pub const BOXES: [&str; 3] = ["base", "build", "test"];

/// Builds three boxes and forgets the log.
pub async fn built() -> World {
    let world = World::of(&BOXES);
    world.run("build").build().await.unwrap();
    world.net.memory.clear_log();
    world
}

/// Builds other images of the same boxes from another content, on a newer commit.
pub async fn built_anew(world: &World, content: &str) -> World {
    let newer = world.with_content(content);
    newer.run(content).build().await.unwrap();
    newer.net.memory.clear_log();
    newer
}

pub fn check_stands(world: &World, name: &str) {
    for one in BOXES {
        assert_eq!(world.at(one, &tag(name)), world.stands(one), "{one}:{name}");
        assert!(world.stands(one).is_some());
    }
}

fn place(log: &[Asked], verb: Verb, repository: &str, reference: &str) -> usize {
    let found = log.iter().position(|asked| is(asked, verb, repository, reference));
    found.unwrap_or_else(|| panic!("{verb:?} {repository} {reference}"))
}

#[tokio::test(start_paused = true)]
async fn all_tags_move_between_the_plan_and_the_set_record() {
    let world = built().await;
    let report = world.run("one").promote("main").await.unwrap();
    let log = world.log();
    check_stands(&world, "main");
    assert_eq!((report.seq, report.moved.len(), report.was_done), (1, 3, false));
    let all = |verb: Verb| BOXES.map(|name| place(&log, verb, name, "main"));
    let (puts, gets) = (all(Verb::Put), all(Verb::Get));
    let order = [
        place(&log, Verb::Put, "ledger", "lease."),
        place(&log, Verb::Put, "ledger", "plan.main.1"),
        *puts.iter().min().unwrap(),
        *puts.iter().max().unwrap(),
        // All are written before the first one is read back.
        *gets.iter().min().unwrap(),
        *gets.iter().max().unwrap(),
        place(&log, Verb::Put, "ledger", "set.main.1"),
    ];
    assert!(order.is_sorted(), "{order:?}");
    // Nothing is uploaded, and nothing else written.
    assert_eq!(writes(&log).len(), 7);
    assert!(log.iter().all(|asked| asked.verb != Verb::PutBlob));
    let record: PromotionRecord = world.record(&tag("set.main.1"));
    assert_eq!(record, world.record::<PlanRecord>(&tag("plan.main.1")).0);
    // DeleteSupport one must not take the other along.
    assert_ne!(world.at("ledger", &tag("plan.main.1")), world.at("ledger", &tag("set.main.1")));
    for member in &record.boxes {
        assert_eq!((Some(&member.digest), &member.before), (world.stands(&member.name).as_ref(), &None));
        assert_eq!(
            (&member.content_tag, &member.key),
            (&world.tag(&member.name, 0), &world.key(&member.name))
        );
    }
}

/// What does not depend on an answer does not wait for it, however many boxes there are.
#[tokio::test(start_paused = true)]
async fn what_can_be_asked_together_is_asked_together() {
    let (world, trip) = (built().await, Duration::from_millis(100));
    let newer = built_anew(&world, "v2").await;
    // The first has no past to read, which goes out with the images' configurations.
    for (world, run) in [(&world, "one"), (&newer, "two")] {
        world.net.set_latency(&[100]);
        let began = Instant::now();
        world.run(run).promote("main").await.unwrap();
        // The time; the lease, which is read back; what stands; its labels; the plan; the look;
        // the tags, which are read back; the set record, which is read back; the lease is given up.
        assert_eq!(began.elapsed(), 12 * trip, "{run}: {:#?}", world.log());
        world.net.set_latency(&[0]);
    }
}

/// Six requests an image: what was read is not read again, and tombstones are read as one list.
#[tokio::test(start_paused = true)]
async fn what_was_read_is_not_read_again() {
    let world = built().await;
    world.run("one").promote("main").await.unwrap();
    let log = world.log();
    for name in BOXES {
        let of = |asked: &&Asked| asked.repository.as_ref().is_some_and(|at| at.name() == name);
        let count = |verb| log.iter().filter(of).filter(|asked| asked.verb == verb).count();
        let all = [Verb::Head, Verb::Get, Verb::GetBlob, Verb::Put].map(count);
        assert_eq!((all, log.iter().filter(of).count()), ([2, 2, 1, 1], 6), "{log:#?}");
    }
    assert_eq!(log.iter().filter(|asked| asked.verb == Verb::Tags).count(), 1);
    assert!(!log.iter().any(|asked| is(asked, Verb::Head, "ledger", "over.")));
}

/// A generation that a tombstone ends does not count, whatever its tag holds.
#[tokio::test(start_paused = true)]
async fn of_a_condemned_image_the_next_generation_is_promoted() {
    let world = built().await;
    let tombstone = Tombstone {
        key: world.key("base"),
        generation: Generation(0),
        marked: Timestamp::from_unix(0),
        reason: String::new(),
        images: Vec::new(),
        parts: BTreeSet::new(),
    };
    world.write(&world.tombstone_tag("base", 0), &tombstone);
    let error = world.run("one").promote("main").await.unwrap_err();
    assert!(matches!(&error, PromoteError::Missing { names, .. } if names[0] == "base"), "{error}");
    world.run("two").build().await.unwrap();
    world.run("three").promote("main").await.unwrap();
    let stands = world.at("base", &world.tag("base", 1));
    assert!(stands.is_some() && stands != world.stands("base"));
    assert_eq!(world.at("base", &tag("main")), stands);
}

#[tokio::test(start_paused = true)]
async fn again_there_is_nothing_to_do() {
    let world = built().await;
    world.run("one").promote("main").await.unwrap();
    world.net.memory.clear_log();
    let report = world.run("two").promote("main").await.unwrap();
    assert!(report.was_done && report.moved.is_empty());
    assert_eq!(report.seq, 1);
    // Only the lease, which is given up.
    assert_eq!(writes(&world.log()).len(), 2);
    assert_eq!(world.leases().len(), 1, "that of the build");
}

#[tokio::test(start_paused = true)]
async fn a_plan_alone_writes_nothing() {
    let world = built().await;
    let options = PromoteOptions { apply: false, ..to("main") };
    let report = world.run("one").promote_with(&options).await.unwrap();
    assert_eq!(report.to_move().len(), 3);
    assert_eq!(writes(&world.log()), [] as [&Asked; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_second_set_replaces_the_first_and_says_what_stood_there() {
    let world = built().await;
    world.run("one").promote("main").await.unwrap();
    let newer = built_anew(&world, "v2").await;
    let report = newer.run("two").promote("main").await.unwrap();
    check_stands(&newer, "main");
    assert_eq!(report.seq, 2);
    let record: PromotionRecord = newer.record(&tag("set.main.2"));
    assert!(record.boxes.iter().all(|member| member.before == world.stands(&member.name)));
    // The set before is still there by its content tags.
    assert_ne!(world.stands("test"), newer.stands("test"));
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_or_broken_is_not_promoted() {
    let world = World::of(&BOXES);
    let error = world.run("one").promote("main").await.unwrap_err();
    assert!(matches!(&error, PromoteError::Missing { names, .. } if *names == BOXES), "{error}");
    let world = built().await;
    let digest = world.stands("build").unwrap();
    done(world.net.memory.delete(&repository("build"), &digest)).unwrap();
    let error = world.run("one").promote("main").await.unwrap_err();
    // What stood on it does not belong to what would be built in its place.
    assert!(matches!(&error, PromoteError::Missing { names, .. } if *names == ["build", "test"]), "{error}");
    assert_eq!(world.at("base", &tag("main")), None);
}

#[tokio::test(start_paused = true)]
async fn an_immutable_tag_takes_one_set_for_ever() {
    let options = PromoteOptions { immutable: true, ..to("r1") };
    let world = built().await;
    world.run("one").promote_with(&options).await.unwrap();
    assert!(world.run("two").on_revision("newer", 9).promote_with(&options).await.unwrap().was_done);
    let newer = built_anew(&world, "v2").await;
    let error = newer.run("three").promote_with(&options).await.unwrap_err();
    assert!(matches!(error, PromoteError::Refused(Refusal::Immutable { .. })), "{error}");
    check_stands(&world, "r1");
    assert_eq!(newer.records("plan.").len(), 1);
    // Nobody waits for a lease of a promotion that was refused.
    assert!(newer.leases().iter().all(|lease| lease.run.to_string() != "three"));
    // A tag that was set by hand to the same digest is as good.
    for one in BOXES {
        newer.retag(one, "r2");
    }
    let options = PromoteOptions { tag: tag("r2"), ..options };
    assert_eq!(newer.run("four").promote_with(&options).await.unwrap().moved, [""; 0]);
    // Inputs that are in no commit make no release.
    let mut dirty = newer.run("five");
    dirty.setting.source.dirty = true;
    let options = PromoteOptions { tag: tag("r3"), ..options };
    let error = dirty.promote_with(&options).await.unwrap_err();
    assert!(matches!(error, PromoteError::Refused(Refusal::Dirty { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_older_revision_never_moves_a_tag_back_unless_told_to() {
    let world = built().await;
    let newer = built_anew(&world, "v2").await;
    newer.run("newer").on_revision("b", 200).promote("main").await.unwrap();
    let error = world.run("late").on_revision("a", 100).promote("main").await.unwrap_err();
    assert!(matches!(error, PromoteError::Refused(Refusal::Older { .. })), "{error}");
    check_stands(&newer, "main");
    let options = PromoteOptions { allow_older: true, ..to("main") };
    world.run("told").on_revision("a", 100).promote_with(&options).await.unwrap();
    check_stands(&world, "main");
}

#[tokio::test(start_paused = true)]
async fn a_newer_revision_with_the_same_images_counts_against_older_ones() {
    let world = built().await;
    let other = built_anew(&world, "v2").await;
    world.run("first").on_revision("a", 100).promote("main").await.unwrap();
    // The commit after the next one has the first one's content again.
    world.net.memory.clear_log();
    let report = world.run("third").on_revision("c", 300).promote("main").await.unwrap();
    assert_eq!((report.seq, report.moved.len()), (2, 0));
    assert!(world.log().iter().all(|asked| !is(asked, Verb::Put, "base", "main")));
    // The one between comes late.
    let error = other.run("second").on_revision("b", 200).promote("main").await.unwrap_err();
    assert!(matches!(error, PromoteError::Refused(Refusal::Older { .. })), "{error}");
    check_stands(&world, "main");
}

#[tokio::test(start_paused = true)]
async fn a_read_only_registry_refuses() {
    let world = built().await;
    world.net.memory.set_read_only(true);
    let error = world.run("fork").promote("main").await.unwrap_err();
    assert!(matches!(error, PromoteError::ReadOnly));
}
