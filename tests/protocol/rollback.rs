//! Going back, and promoting what another tag holds.

use boxwright::adapter::memory::{Fault, Verb};
use boxwright::exec::{PromoteError, PromoteOptions};
use boxwright::model::{PromotionId, PromotionRecord};
use boxwright::plan::Refusal;
use tokio_util::sync::CancellationToken;

use super::clean::sweep_twice;
use super::net::{gone, is, tag};
use super::promote::{BOXES, built, built_anew, check_stands};
use super::world::{DAY, World, repository, to};

/// Two sets of images, promoted to `main` one after the other.
async fn twice() -> (World, World) {
    let world = built().await;
    world.run("one").on_revision("a", 100).promote("main").await.unwrap();
    let newer = built_anew(&world, "v2").await;
    newer.run("two").on_revision("b", 200).promote("main").await.unwrap();
    newer.net.memory.clear_log();
    (world, newer)
}

#[tokio::test(start_paused = true)]
async fn a_rollback_promotes_the_set_before_and_no_other_tag() {
    let (world, newer) = twice().await;
    newer.retag("base", "theirs");
    let report = newer.run("back").roll_back("main").await.unwrap();
    assert_eq!((report.seq, report.moved.len()), (3, 3));
    check_stands(&world, "main");
    // All other tags are as they were: the newer set under its keys, and somebody else's.
    assert_eq!(newer.at("base", &tag("theirs")), newer.stands("base"));
    assert!(BOXES.iter().all(|name| newer.stands(name).is_some()));
    let record: PromotionRecord = newer.record(&tag("set.main.3"));
    assert_eq!(record.from, Some(PromotionId { tag: tag("main"), seq: 1 }));
    assert_eq!(record.source.revision.as_deref(), Some("a"));
    assert_eq!(record.withdrawn.unwrap().revision.as_deref(), Some("b"));
    assert!(record.boxes.iter().all(|member| member.before == newer.stands(&member.name)));
    // Nothing came before the first one.
    let past = newer.run("again").history("main").await;
    assert_eq!(boxwright::plan::rollback(&past.sets, &past.unfinished), None);
}

#[tokio::test(start_paused = true)]
async fn what_was_rolled_back_does_not_return_by_itself() {
    let (world, newer) = twice().await;
    newer.run("back").roll_back("main").await.unwrap();
    for (revision, time) in [("b", 200), ("between", 150)] {
        let error = newer.run("late").on_revision(revision, time).promote("main").await.unwrap_err();
        assert!(matches!(error, PromoteError::Refused(Refusal::Withdrawn { .. })), "{error}");
    }
    check_stands(&world, "main");
    // The same images as stand may be promoted again, and something newer may follow.
    assert!(world.run("same").on_revision("a", 100).promote("main").await.unwrap().was_done);
    let third = built_anew(&newer, "v3").await;
    third.run("three").on_revision("c", 300).promote("main").await.unwrap();
    check_stands(&third, "main");
    // Told to, the withdrawn one comes back.
    third.run("back").roll_back("main").await.unwrap();
    check_stands(&world, "main");
    let options = PromoteOptions { allow_older: true, ..to("main") };
    third.run("told").on_revision("c", 300).promote_with(&options).await.unwrap();
    check_stands(&third, "main");
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_stopped_half_way_is_undone() {
    let world = built().await;
    world.run("one").on_revision("a", 100).promote("main").await.unwrap();
    let newer = built_anew(&world, "v2").await;
    newer.net.memory.break_next(Verb::Put, Some(&repository("test")), Fault::Before(gone()));
    let error = newer.run("two").on_revision("b", 200).promote("main").await.unwrap_err();
    assert!(matches!(error, PromoteError::Partly { .. }), "{error}");
    let past = newer.run("look").history("main").await;
    assert_eq!((past.sets.len(), past.unfinished.len()), (1, 1));
    newer.run("back").roll_back("main").await.unwrap();
    check_stands(&world, "main");
    // Nothing was said against its images: it may be tried again.
    newer.run("two").on_revision("b", 200).promote("main").await.unwrap();
    check_stands(&newer, "main");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_is_killed_anywhere_is_finished_by_the_next() {
    let (world, template) = twice().await;
    let all = {
        let newer = template.copy();
        newer.run("back").roll_back("main").await.unwrap();
        // The first list and the records are the question what to go back to.
        let reads = newer.log().iter().position(|asked| asked.verb == Verb::Now).unwrap();
        newer.log().len() - reads
    };
    let mut cases = 0;
    for after in [false, true] {
        for number in 0..all {
            let newer = template.copy();
            let run = newer.run("back");
            let past = run.history("main").await;
            newer.net.kill_at(number, after);
            let back = boxwright::plan::rollback(&past.sets, &past.unfinished).unwrap();
            let options = PromoteOptions { allow_older: true, ..to("main") };
            let content = boxwright::exec::PromotionSource::Recorded(&back);
            let ended = boxwright::exec::promote(
                run.ports(),
                &run.setting,
                content,
                &options,
                &|_| {},
                &CancellationToken::new(),
            )
            .await;
            newer.net.memory.mend();
            let was_done = !newer.records("set.main.3").is_empty();
            assert!(ended.is_err() || was_done);
            if !was_done {
                newer.run("again").roll_back("main").await.unwrap();
            }
            check_stands(&world.beside(&newer), "main");
            assert_eq!(newer.records("set.main.").len(), 3, "killed at {number}");
            cases += 1;
        }
    }
    eprintln!("{cases} kills of a rollback");
}

/// What a tombstone ends is over for builds, and may be promoted again for as long as it stands.
#[tokio::test(start_paused = true)]
async fn what_was_replaced_or_condemned_is_brought_back_and_stays() {
    let (world, newer) = twice().await;
    newer.drop_leases();
    newer.pass(2 * DAY).await;
    newer.run("sweep").clean().await.unwrap();
    assert!(BOXES.iter().all(|name| world.at("ledger", &world.tombstone_tag(name, 0)).is_some()));
    newer.run("back").roll_back("main").await.unwrap();
    check_stands(&world, "main");
    // The tombstones are long enough ago, but main holds what they name.
    newer.pass(2 * DAY).await;
    sweep_twice(&newer).await;
    check_stands(&world, "main");
}

#[tokio::test(start_paused = true)]
async fn what_clean_has_deleted_is_not_brought_back() {
    let (_, newer) = twice().await;
    newer.drop_leases();
    newer.pass(2 * DAY).await;
    newer.run("sweep").clean().await.unwrap();
    sweep_twice(&newer).await;
    let error = newer.run("back").roll_back("main").await.unwrap_err();
    assert!(matches!(error, PromoteError::Gone { .. }), "{error}");
    check_stands(&newer, "main");
}

/// Beside a sweep that is about to delete the very images, at any of its requests: either the
/// rollback is refused, or what it promoted stands. And there are both.
#[tokio::test(start_paused = true)]
async fn a_rollback_beside_the_sweep_that_deletes_is_refused_or_whole() {
    let (world, template) = twice().await;
    template.drop_leases();
    template.pass(2 * DAY).await;
    template.run("sweep").clean().await.unwrap();
    template.pass(2 * DAY).await;
    template.net.memory.set_now(template.net.today());
    let latencies = [0_u64, 3, 10, 30, 60, 61, 90, 119, 120, 121, 150, 179, 180, 181, 200];
    let (mut whole, mut refused) = (0, 0);
    for trip in [1, 100, 2000] {
        for late in latencies {
            let newer = template.copy();
            newer.net.set_latency(&[trip]);
            let (sweep, back) = (newer.run("sweep"), newer.run("back"));
            let later = async {
                newer.pass(late).await;
                back.roll_back("main").await
            };
            let (report, back) = tokio::join!(sweep.clean(), later);
            report.unwrap();
            match back {
                Ok(_) => {
                    check_stands(&world.beside(&newer), "main");
                    whole += 1;
                }
                Err(PromoteError::Going { .. }) => refused += 1,
                Err(PromoteError::Gone { .. }) => {}
                Err(error) => panic!("{trip} {late}: {error}"),
            }
            assert_eq!(newer.leases(), [], "{trip} {late}");
        }
    }
    assert!(whole > 3 && refused > 3, "{whole} {refused}");
}

#[tokio::test(start_paused = true)]
async fn a_release_takes_what_main_holds_by_digest() {
    let (world, newer) = twice().await;
    let options = PromoteOptions { immutable: true, channel: "release".to_owned(), ..to("r1") };
    newer.run("release").promote_from("main", &options).await.unwrap();
    check_stands(&newer, "r1");
    let record: PromotionRecord = newer.record(&tag("set.r1.1"));
    assert_eq!((record.from.unwrap().seq, record.source.revision.as_deref()), (2, Some("b")));
    assert!(newer.run("release").promote_from("main", &options).await.unwrap().was_done);
    // No key is computed and no tag of the images' keys is read.
    let log = newer.log();
    for name in BOXES {
        let content = newer.tag(name, 0).to_string();
        assert!(!log.iter().any(|asked| is(asked, Verb::Get, name, &content)));
    }
    // A tag that went away does not make room for others.
    world.run("one").promote_with(&options).await.unwrap_err();
    for name in BOXES {
        newer.net.memory.lose_tag(&repository(name), &tag("r1"));
    }
    let error = world.run("one").promote_with(&options).await.unwrap_err();
    assert!(matches!(error, PromoteError::Refused(Refusal::Immutable { .. })), "{error}");
    newer.run("release").promote_from("main", &options).await.unwrap();
    check_stands(&newer, "r1");
}

#[tokio::test(start_paused = true)]
async fn an_earlier_promotion_of_the_same_tag_is_refused_behind_a_later_one() {
    let (_, newer) = twice().await;
    newer.run("one").promote_from("main", &to("nightly")).await.unwrap();
    let past = newer.run("look").history("main").await;
    let first = boxwright::plan::Rollback::of(past.sets[1].clone());
    let run = newer.run("late");
    let content = boxwright::exec::PromotionSource::Recorded(&first);
    let error = boxwright::exec::promote(
        run.ports(),
        &run.setting,
        content,
        &to("nightly"),
        &|_| {},
        &CancellationToken::new(),
    )
    .await;
    assert!(matches!(error, Err(PromoteError::Refused(Refusal::Behind { .. }))), "{error:?}");
    check_stands(&newer, "nightly");
}
