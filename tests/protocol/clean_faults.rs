//! Sweeps on a registry that fails, or holds what cannot be understood: nothing is deleted.

use std::time::Duration;

use boxwright::adapter::memory::{Asked, Fault, Verb};
use boxwright::exec::{CleanError, Deletion, RegistryPorts, clean};
use boxwright::model::{Lease, MediaType, RawManifest, Span};
use boxwright::port::{Clock, Registry, RegistryReader, RegistryWriter};
use tokio_util::sync::CancellationToken;

use super::clean::{BOXES, check_stands, check_whole, unleased};
use super::net::{denied, done, gone, is, tag, too_many, unavailable};
use super::world::{DAY, World, repository, sweeping};

/// A registry with something of everything: a promoted chain, a leased box of another
/// content, and the first content's `lint`, condemned long enough ago.
pub async fn prepared() -> World {
    let world = unleased().await;
    let three = World::of(&["test"]).beside(&world);
    three.run("promote").promote("main").await.unwrap();
    world.drop_leases();
    world.run("sweep").clean().await.unwrap();
    world.with_content("v2").run("other").build().await.unwrap();
    world.pass(DAY).await;
    world.net.memory.set_now(world.net.today());
    world.copy()
}

async fn requests(world: &World) -> usize {
    let world = world.copy();
    let report = world.run("sweep").clean().await.unwrap();
    assert_eq!(report.deletions, [Deletion::Done]);
    let log = world.log();
    check_stands(&world, &["base", "build", "test"]);
    log.len()
}

#[tokio::test(start_paused = true)]
async fn each_failed_read_deletes_nothing() {
    let template = prepared().await;
    let all = requests(&template).await;
    let mut cases = 0;
    for failure in [too_many, unavailable, gone] {
        for number in 0..all {
            let world = template.copy();
            world.net.fail_nth(number, failure);
            let result = world.run("sweep").clean().await;
            let failed = world.log()[number].clone();
            let is_image = |asked: &&Asked| asked.repository != Some(repository("ledger"));
            let deletes = world.log();
            let deletes = deletes.iter().filter(|asked| asked.verb == Verb::Delete).filter(is_image).count();
            cases += 1;
            match result {
                // Only the deletion itself, and the look after it, may fail for one image.
                // A claim that could not be given up ends by itself.
                Ok(_) if number + 1 == all => {}
                Ok(report) => {
                    assert!(matches!(&report.deletions[..], [Deletion::Failed(_)]), "{failed:?}");
                    assert!(failed.verb == Verb::Delete || number + 5 >= all, "{failed:?}");
                }
                Err(error) => {
                    assert_eq!(deletes, 0, "{failed:?}: {error}");
                    let reference = failed.reference.clone().unwrap_or_default();
                    assert!(error.to_string().contains(&reference), "{failed:?}: {error}");
                    check_stands(&world, &BOXES);
                }
            }
        }
    }
    eprintln!("{cases} failed requests of a sweep");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_is_killed_anywhere_is_finished_by_the_next() {
    let template = prepared().await;
    let other = template.with_content("v2");
    let all = requests(&template).await;
    let mut cases = 0;
    for after in [false, true] {
        for number in 0..all {
            let world = template.copy();
            world.net.kill_at(number, after);
            let _ = world.run("sweep").clean().await;
            world.net.memory.mend();
            check_whole(&world);
            world.run("sweep").clean().await.unwrap();
            check_stands(&world, &["base", "build", "test"]);
            check_stands(&other.beside(&world), &BOXES);
            cases += 1;
        }
    }
    eprintln!("{cases} kills of a sweep");
}

/// Checks that a sweep which would delete `lint` stops instead, saying `why`.
async fn stops(spoil: impl FnOnce(&World), why: &str) {
    let world = prepared().await;
    spoil(&world);
    let error = world.run("sweep").clean().await.unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    let text = format!("{error} {source}");
    assert!(text.contains(why), "{text}");
    assert!(world.log().iter().all(|asked| asked.verb != Verb::Delete));
    assert!(world.stands("lint").is_some());
}

pub fn lease(world: &World, seconds: u64) -> Lease {
    let now = world.net.today();
    Lease {
        taken: now,
        expiry: now.after(Span::from_seconds(seconds)),
        run: "r".parse().unwrap(),
        attempt: 1,
        nonce: "0".to_owned(),
        keys: vec![world.key("lint")],
        purpose: Default::default(),
        turn: None,
    }
}

pub fn put_record(world: &World, name: &str, raw: &RawManifest) {
    done(world.net.memory.put(&repository("ledger"), &tag(name).into(), raw)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_cannot_be_understood_stops_the_sweep() {
    let junk = |world: &World| {
        let at = repository("build");
        let index =
            RawManifest::new(MediaType::OciIndex, r#"{"schemaVersion":2,"manifests":[],"annotations":7}"#);
        // The model refuses it, as a registry does; an older one may have taken it.
        world.net.memory.hold(&at, &tag("odd"), index);
    };
    stops(junk, "cannot be understood").await;
    let blob = |world: &World| {
        let raw = done(world.net.memory.get(&repository("test"), &tag("main").into())).unwrap().unwrap();
        let boxwright::model::Document::Image(image) = raw.document().unwrap() else { panic!() };
        world.net.memory.lose_blob(&repository("test"), &image.config.digest);
    };
    stops(blob, "configuration").await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_lasts_too_long_keeps_nothing() {
    for (days, is_kept) in [(30, true), (33, false)] {
        let world = prepared().await;
        let lease = lease(&world, days * DAY);
        world.write(&lease.tag().unwrap(), &lease);
        world.run("sweep").clean().await.unwrap();
        assert_eq!(world.stands("lint").is_some(), is_kept, "{days}");
    }
}

/// What a registry will not delete stays with what it needs; the others go, and nothing failed.
#[tokio::test(start_paused = true)]
async fn where_one_image_is_refused_the_others_go() {
    let world = unleased().await;
    world.net.memory.refuse(world.stands("lint").unwrap());
    world.run("sweep").clean().await.unwrap();
    world.pass(DAY).await;
    for _ in 0..2 {
        let report = world.run("sweep").clean().await.unwrap();
        for (doomed, deletion) in report.clean.delete.iter().zip(&report.deletions) {
            let why = match deletion {
                Deletion::Refused(why) => why,
                other => {
                    assert_eq!(*other, Deletion::Done, "{}", doomed.seen.repository);
                    assert!(["build", "test"].contains(&doomed.seen.repository.as_str()));
                    continue;
                }
            };
            let expect = match doomed.seen.repository.as_str() {
                "lint" => "more than 5000 downloads",
                "base" => "an image that needs it stays",
                other => panic!("{other}: {why}"),
            };
            assert_eq!(why, expect);
        }
        check_stands(&world, &["base", "lint"]);
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_deleted_it_is_said() {
    let world = prepared().await;
    world.net.memory.set_deletes(false);
    let report = world.run("sweep").clean().await.unwrap();
    assert_eq!((report.deletions, report.expired), (vec![Deletion::Unsupported], 0));
    assert!(world.stands("lint").is_some());
}

#[tokio::test(start_paused = true)]
async fn what_an_image_needs_is_not_deleted_before_it() {
    let world = unleased().await;
    world.run("sweep").clean().await.unwrap();
    world.pass(DAY).await;
    world.net.memory.break_next(Verb::Delete, Some(&repository("test")), Fault::Before(denied()));
    let report = world.run("sweep").clean().await.unwrap();
    let failed = report.deletions.iter().filter(|one| matches!(one, Deletion::Failed(_))).count();
    assert_eq!(failed, 3, "{:?}", report.deletions);
    check_stands(&world, &["base", "build", "test"]);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_gone_was_deleted_and_one_that_moved_is_left() {
    for is_moved in [false, true] {
        let world = prepared().await;
        let (digest, at) = (world.stands("lint").unwrap(), world.tag("lint", 0));
        let mut heads = 0;
        let text = at.to_string();
        world.net.before_each(move |asked, memory| {
            heads += usize::from(is(asked, Verb::Head, "lint", &text));
            // Both looks are past; this is the one before the deletion.
            if heads == 3 {
                heads += 1;
                if is_moved {
                    let image = boxwright_testing::engine::image(&std::collections::BTreeMap::new(), "moved");
                    done(boxwright_testing::engine::push(memory, &repository("lint"), &at, image));
                } else {
                    done(memory.delete(&repository("lint"), &digest)).unwrap();
                }
            }
        });
        let report = world.run("sweep").clean().await.unwrap();
        let expect = if is_moved { Deletion::Changed } else { Deletion::Done };
        assert_eq!(report.deletions, [expect]);
        assert_eq!(world.stands("lint").is_some(), is_moved);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_was_suspended_deletes_no_more() {
    let world = prepared().await;
    let run = world.run("sweep");
    // It has read everything twice.
    fn is_list(asked: &&Asked) -> bool {
        asked.verb == Verb::Tags && asked.repository == Some(repository("test"))
    }
    let clock = SleepyClock { world: &world, is_time: |log| log.iter().filter(is_list).count() >= 2 };
    let ports = RegistryPorts { clock: &clock, ..run.ports() };
    let report = clean(ports, &run.setting, &sweeping(), &|_| {}, &CancellationToken::new()).await.unwrap();
    assert!(
        matches!(&report.deletions[..], [Deletion::Failed(why)] if why.contains("suspended or too slow"))
    );
    assert!(world.stands("lint").is_some());
}

/// The clock of a machine that sleeps for three hours once these requests were made.
pub struct SleepyClock<'a> {
    pub world: &'a World,
    pub is_time: fn(&[Asked]) -> bool,
}

impl Clock for SleepyClock<'_> {
    fn elapsed(&self) -> Duration {
        Duration::from_secs(if (self.is_time)(&self.world.log()) { 3 * 3600 } else { 0 })
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_after_the_images_cannot_be_mistaken_for_none_deleted() {
    // Ended leases go first: when that fails, nothing was deleted yet.
    let world = prepared().await;
    world.pass(3 * DAY).await;
    world.net.memory.break_when(|asked| {
        (asked.verb == Verb::Delete && asked.repository == Some(repository("ledger")))
            .then(|| Fault::Before(unavailable()))
    });
    let error = world.run("sweep").clean().await.unwrap_err();
    assert!(matches!(error, CleanError::Ledger(_)), "{error}");
    assert!(world.stands("lint").is_some());
}
