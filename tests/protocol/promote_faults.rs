//! Promotions that stop half way, and others that come between.

use boxwright::adapter::memory::{Fault, MemoryRegistry, Verb};
use boxwright::exec::PromoteError;
use boxwright::model::{PlanRecord, PromotionRecord, Record};
use boxwright::port::{Registry, RegistryWriter};

use super::net::{denied, done, gone, is, tag, too_many, unavailable};
use super::promote::{BOXES, built, built_anew, check_stands};
use super::world::{World, repository};

/// Two sets of images, of which the first is promoted to `main`.
async fn prepared() -> (World, World) {
    let world = built().await;
    world.run("one").promote("main").await.unwrap();
    let newer = built_anew(&world, "v2").await;
    (world, newer)
}

async fn requests(newer: &World) -> usize {
    let newer = newer.copy();
    newer.run("two").promote("main").await.unwrap();
    newer.log().len()
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_is_killed_anywhere_is_finished_by_the_next() {
    let (_, template) = prepared().await;
    let all = requests(&template).await;
    let (mut cases, mut resumed) = (0, 0);
    for after in [false, true] {
        for number in 0..all {
            let newer = template.copy();
            newer.net.kill_at(number, after);
            // Whether the lease was given up is nothing to fail for.
            assert_eq!(newer.run("two").promote("main").await.is_ok(), number + 1 == all, "{number}");
            newer.net.memory.mend();
            let was_begun = !newer.records("plan.main.2").is_empty();
            let was_done = !newer.records("set.main.2").is_empty();
            newer.net.memory.clear_log();
            let report = newer.run("three").promote("main").await.unwrap();
            check_stands(&newer, "main");
            assert_eq!(report.seq, 2, "killed at {number}");
            assert_eq!(report.was_done, was_done);
            assert_eq!(newer.records("set.main.").len(), 2);
            assert_eq!(newer.records("plan.main.").len(), 2);
            let (plan, set): (PlanRecord, PromotionRecord) =
                (newer.record(&tag("plan.main.2")), newer.record(&tag("set.main.2")));
            assert_eq!(plan.0.boxes, set.boxes);
            // The plan of the promotion that is gone on with is not written again.
            let plans = newer.log().iter().filter(|asked| is(asked, Verb::Put, "ledger", "plan.")).count();
            assert_eq!(plans, usize::from(!was_begun));
            resumed += usize::from(was_begun && !was_done);
            cases += 1;
        }
    }
    assert!(resumed > 10);
    eprintln!("{cases} kills of a promotion, {resumed} gone on with");
}

#[tokio::test(start_paused = true)]
async fn each_failed_request_is_an_error_that_names_it() {
    let (_, template) = prepared().await;
    let all = requests(&template).await;
    let mut cases = 0;
    for failure in [too_many, unavailable, gone] {
        for number in 0..all {
            let newer = template.copy();
            newer.net.fail_nth(number, failure);
            let result = newer.run("two").promote("main").await;
            let failed = newer.log()[number].clone();
            if number + 1 == all {
                assert!(failed.verb == Verb::Delete && result.is_ok(), "{failed:?}");
                continue;
            }
            let error = result.expect_err(&format!("{failed:?}"));
            let text = error.to_string();
            let reference = failed.reference.clone().unwrap_or_default();
            assert!(text.contains(&format!("{:?}", failed.verb)) && text.contains(&reference), "{text}");
            // Partly, exactly if a tag may have moved.
            let has_moved = BOXES.iter().any(|one| newer.at(one, &tag("main")) == newer.stands(one));
            let may_have = has_moved || is(&failed, Verb::Put, "base", "main");
            assert_eq!(matches!(error, PromoteError::Partly { .. }), may_have, "{failed:?}: {text}");
            cases += 1;
        }
    }
    eprintln!("{cases} failed requests of a promotion");
}

/// Moves a tag to something else, as somebody without boxwright would.
fn meddle(memory: &MemoryRegistry, name: &str) {
    let image = boxwright_testing::engine::image(&std::collections::BTreeMap::new(), "theirs");
    done(boxwright_testing::engine::push(memory, &repository(name), &tag("main"), image));
}

/// Does so before a tag's second look: the first is the plan's, the second just before the move.
fn meddle_after_the_plan(world: &World, name: &'static str) {
    let mut seen = 0;
    world.net.before_each(move |asked, memory| {
        seen += usize::from(is(asked, Verb::Head, name, "main"));
        if seen == 2 {
            seen += 1;
            meddle(memory, name);
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_third_party_before_the_first_tag_is_a_conflict() {
    let (_, newer) = prepared().await;
    meddle_after_the_plan(&newer, "base");
    let error = newer.run("two").promote("main").await.unwrap_err();
    assert!(matches!(&error, PromoteError::Conflict { name, .. } if name == "base"), "{error}");
    assert_ne!(newer.at("build", &tag("main")), newer.stands("build"));
    // The next call plans from what stands now.
    let report = newer.run("three").promote("main").await.unwrap();
    assert_eq!(report.seq, 3);
    check_stands(&newer, "main");
}

#[tokio::test(start_paused = true)]
async fn a_third_party_at_the_last_tag_stops_it_before_the_first_moves() {
    let (world, newer) = prepared().await;
    meddle_after_the_plan(&newer, "test");
    let error = newer.run("two").promote("main").await.unwrap_err();
    assert!(matches!(&error, PromoteError::Conflict { name, .. } if name == "test"), "{error}");
    for one in ["base", "build"] {
        assert_eq!(newer.at(one, &tag("main")), world.stands(one));
    }
}

#[tokio::test(start_paused = true)]
async fn a_third_party_after_the_write_leaves_it_partly_done() {
    let (_, newer) = prepared().await;
    newer.net.before(|asked| is(asked, Verb::Get, "build", "main"), |memory| meddle(memory, "build"));
    let error = newer.run("two").promote("main").await.unwrap_err();
    let PromoteError::Partly { name, moved, left, error: why, .. } = error else { panic!("{error}") };
    assert_eq!(
        (name.as_str(), moved, left),
        ("build", vec!["base".to_owned(), "test".to_owned()], vec!["build".to_owned()])
    );
    assert!(matches!(*why, PromoteError::Conflict { .. }), "{why}");
    assert_eq!(newer.records("set.main.2"), []);
    newer.run("three").promote("main").await.unwrap();
    check_stands(&newer, "main");
}

#[tokio::test(start_paused = true)]
async fn a_conflict_on_resuming_is_still_partly_done() {
    let (_, newer) = prepared().await;
    newer.net.memory.break_next(Verb::Put, Some(&repository("build")), Fault::Before(gone()));
    newer.run("two").promote("main").await.unwrap_err();
    meddle_after_the_plan(&newer, "build");
    let error = newer.run("three").promote("main").await.unwrap_err();
    assert!(matches!(&error, PromoteError::Partly { moved, .. } if *moved == ["base", "test"]), "{error}");
}

/// What was there already when the others were written must still be there.
#[tokio::test(start_paused = true)]
async fn a_tag_that_need_not_move_is_read_back_as_well() {
    let (_, newer) = prepared().await;
    newer.net.memory.break_next(Verb::Put, Some(&repository("build")), Fault::Before(gone()));
    newer.run("two").promote("main").await.unwrap_err();
    assert_eq!(newer.at("base", &tag("main")), newer.stands("base"));
    newer.net.before(|asked| is(asked, Verb::Put, "build", "main"), |memory| meddle(memory, "base"));
    let error = newer.run("three").promote("main").await.unwrap_err();
    let PromoteError::Partly { name, left, .. } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), left.as_slice()), ("base", &["base".to_owned()][..]));
    assert_eq!(newer.records("set.main.2"), []);
}

#[tokio::test(start_paused = true)]
async fn refused_tags_are_a_refusal_and_one_of_several_a_half_promotion() {
    let (_, newer) = prepared().await;
    let refuse = |name: &str| {
        newer.net.memory.break_next(Verb::Put, Some(&repository(name)), Fault::Before(denied()));
    };
    BOXES.iter().for_each(|name| refuse(name));
    let error = newer.run("two").promote("main").await.unwrap_err();
    assert!(matches!(error, PromoteError::Registry(_)), "{error}");
    refuse("base");
    let error = newer.run("three").promote("main").await.unwrap_err();
    let PromoteError::Partly { moved, left, error: why, .. } = error else { panic!("{error}") };
    assert_eq!((moved, left), (vec!["build".to_owned(), "test".to_owned()], vec!["base".to_owned()]));
    assert!(matches!(*why, PromoteError::Registry(_)), "{why}");
}

/// Before it was read it is missing, and after that its bytes are written again.
#[tokio::test(start_paused = true)]
async fn content_that_vanished_is_missing_or_comes_back() {
    let (world, template) = prepared().await;
    for (record, is_read) in [("lease.", false), ("plan.", true)] {
        let newer = template.copy();
        let digest = newer.stands("base").unwrap();
        let gone = digest.clone();
        newer.net.before(
            move |asked| is(asked, Verb::Put, "ledger", record),
            move |memory| drop(done(memory.delete(&repository("base"), &gone))),
        );
        let result = newer.run("two").promote("main").await;
        let main = newer.at("base", &tag("main"));
        match result {
            Ok(_) => assert!(is_read && main == Some(digest)),
            Err(error) => {
                assert!(!is_read && matches!(error, PromoteError::Missing { .. }), "{error}");
                let old = |name: &str| newer.at(name, &tag("main")) == world.stands(name);
                assert!(BOXES.iter().all(|name| old(name)));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_promotions_at_once_no_mixed_set_is_reported() {
    // Other latencies bring the two into other orders.
    let (mut both, mut one_only) = (0, 0);
    let (_, template) = prepared().await;
    let other = built_anew(&template, "v3").await;
    for first in 1..30_u64 {
        let newer = template.copy();
        let newest = other.beside(&newer);
        newer.net.set_latency(&[first * 37 % 91, first * 53 % 77, 3, first * 29 % 101, 40]);
        let (one, two) = (newer.run("two"), newest.run("three"));
        let (a, b) = tokio::join!(one.promote("main"), two.promote("main"));
        let stands = |world: &World| BOXES.iter().all(|one| world.at(one, &tag("main")) == world.stands(one));
        match (a, b) {
            (Ok(_), Ok(_)) => {
                // One after the other: the last one stands.
                both += 1;
                assert!(stands(&newer) || stands(&newest), "{first}");
            }
            (Ok(_), Err(_)) => {
                one_only += 1;
                assert!(stands(&newer), "{first}");
            }
            (Err(_), Ok(_)) => {
                one_only += 1;
                assert!(stands(&newest), "{first}");
            }
            (Err(_), Err(_)) => {}
        }
        newer.net.set_latency(&[0]);
        newest.run("four").promote("main").await.unwrap();
        check_stands(&newest, "main");
    }
    assert!(one_only > 0, "{both} both, {one_only} one");
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_somebody_else_has_begun_is_not_written_over() {
    let (world, newer) = prepared().await;
    let theirs = PromotionRecord { seq: 2, ..newer.record(&tag("set.main.1")) };
    let plan = PlanRecord(theirs.clone());
    newer.net.before(
        |asked| is(asked, Verb::Head, "ledger", "plan.main.2"),
        move |memory| {
            let at = tag("plan.main.2").into();
            done(memory.put(&repository("ledger"), &at, &plan.to_manifest())).unwrap();
        },
    );
    let error = newer.run("two").promote("main").await.unwrap_err();
    assert!(matches!(error, PromoteError::Conflict { .. }), "{error}");
    check_stands(&world, "main");
    assert_eq!(newer.record::<PlanRecord>(&tag("plan.main.2")).0, theirs);
    assert_eq!(newer.run("two").promote("main").await.unwrap().seq, 3);
}
