//! Sweeps beside other sweeps, builds and promotions.

use std::time::Duration;

use boxwright::adapter::memory::Verb;
use boxwright::exec::Deletion;
use boxwright::model::{Lease, Record, Span};
use boxwright::port::{Registry, RegistryReader, RegistryWriter};

use super::clean::{BOXES, check_stands, check_whole, unleased};
use super::net::{done, is};
use super::world::{DAY, World, digests, outcome, repository};

#[tokio::test(start_paused = true)]
async fn two_sweeps_at_once_condemn_and_delete_together() {
    for latency in [&[5, 9][..], &[30, 7, 2], &[1, 50, 3, 11], &[0]] {
        let world = unleased().await;
        world.net.set_latency(latency);
        let (one, two) = (world.run("one"), world.run("two"));
        let (a, b) = tokio::join!(one.clean(), two.clean());
        assert_eq!((a.unwrap().deletions.len(), b.unwrap().deletions.len()), (0, 0));
        world.pass(DAY).await;
        let late = async {
            // The second one reads while the first one deletes.
            world.pass(30).await;
            two.clean().await
        };
        let (a, b) = tokio::join!(one.clean(), late);
        for report in [a.unwrap(), b.unwrap()] {
            assert!(report.deletions.iter().all(|one| *one == Deletion::Done), "{:?}", report.deletions);
        }
        check_stands(&world, &[]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_another_sweep_deletes_while_we_read_is_no_error() {
    let world = unleased().await;
    world.run("sweep").clean().await.unwrap();
    let (digest, text) = (world.stands("lint").unwrap(), world.tag("lint", 0).to_string());
    // Listed, and gone when it is asked for.
    let gone = digest.clone();
    world.net.before(
        move |asked| is(asked, Verb::Head, "lint", &text),
        move |memory| drop(done(memory.delete(&repository("lint"), &gone))),
    );
    world.run("sweep").clean().await.unwrap();
    // Resolved, and gone when it is read.
    let gone = world.stands("test").unwrap();
    let text = gone.to_string();
    world.net.before(
        move |asked| is(asked, Verb::Get, "test", &text),
        move |memory| drop(done(memory.delete(&repository("test"), &gone))),
    );
    world.run("sweep").clean().await.unwrap();
    check_stands(&world, &["base", "build"]);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_stays_dangling_stops_the_sweep() {
    let world = unleased().await;
    let digest = world.stands("lint").unwrap();
    world.net.memory.lose_manifest(&repository("lint"), &digest);
    let error = world.run("sweep").clean().await.unwrap_err();
    assert!(error.to_string().contains("does not resolve"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_replaced_while_it_is_read_still_counts() {
    // A run took its lease, and then gives it up for one that covers the same key.
    let world = unleased().await;
    world.run("sweep").clean().await.unwrap();
    world.pass(DAY).await;
    let now = world.net.today();
    let lease = |nonce: &str| Lease {
        taken: now,
        expiry: now.after(Span::from_seconds(DAY)),
        run: "r".parse().unwrap(),
        attempt: 1,
        nonce: nonce.to_owned(),
        keys: vec![world.key("lint")],
        purpose: Default::default(),
        turn: None,
    };
    let (old, new) = (lease("old"), lease("new"));
    world.write(&old.tag().unwrap(), &old);
    world.net.before(
        |asked| is(asked, Verb::Get, "ledger", "lease."),
        move |memory| {
            let ledger = repository("ledger");
            done(memory.put(&ledger, &new.tag().unwrap().into(), &new.to_manifest())).unwrap();
            done(memory.delete(&ledger, old.to_manifest().digest())).unwrap();
        },
    );
    world.run("sweep").clean().await.unwrap();
    assert!(world.stands("lint").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_taken_between_the_two_looks_counts() {
    let world = unleased().await;
    world.run("sweep").clean().await.unwrap();
    world.pass(DAY).await;
    let now = world.net.today();
    let lease = Lease {
        taken: now,
        expiry: now.after(Span::from_seconds(DAY)),
        run: "r".parse().unwrap(),
        attempt: 1,
        nonce: "0".to_owned(),
        keys: vec![world.key("test")],
        purpose: Default::default(),
        turn: None,
    };
    let mut lists = 0;
    world.net.before_each(move |asked, memory| {
        lists += usize::from(asked.verb == Verb::Tags && asked.repository == Some(repository("ledger")));
        // Each look lists the ledger twice.
        if lists == 3 {
            lists += 1;
            let at = lease.tag().unwrap().into();
            done(memory.put(&repository("ledger"), &at, &lease.to_manifest())).unwrap();
        }
    });
    world.run("sweep").clean().await.unwrap();
    check_stands(&world, &["base", "build", "test"]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_lies_between_the_leases_and_everything_else() {
    let world = unleased().await;
    world.run("sweep").clean().await.unwrap();
    world.pass(DAY).await;
    let began = tokio::time::Instant::now();
    let times = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&times);
    world.net.before_each(move |asked, _| {
        if asked.verb == Verb::Tags {
            let name = asked.repository.as_ref().unwrap().name().to_owned();
            seen.lock().unwrap().push((name, began.elapsed().as_secs()));
        }
    });
    world.run("sweep").clean().await.unwrap();
    let times = times.lock().unwrap().clone();
    // The first look is only to see whether there is anything to delete.
    let names = |at: usize| (times[at].0.as_str(), times[at].1);
    assert_eq!([0, 1, 2].map(names), [("ledger", 0), ("ledger", 0), ("base", 0)]);
    // Before the second one everybody sees what is claimed, and what they wrote who did not is seen.
    assert_eq!([6, 7, 8].map(names), [("ledger", 120), ("ledger", 180), ("base", 180)]);
}

#[tokio::test(start_paused = true)]
async fn a_build_beside_a_sweep_reports_only_what_stays() {
    // The build begins at each of many moments of a sweep that deletes, and of one that condemns.
    let mut cases = 0;
    let template = unleased().await;
    for is_condemning in [true, false] {
        for start in (0..400).step_by(9) {
            let world = template.copy();
            if !is_condemning {
                world.run("sweep").clean().await.unwrap();
                world.pass(DAY).await;
            }
            world.net.set_latency(&[7, 3]);
            let (sweep, run) = (world.run("sweep"), world.run("job"));
            let mut options = super::world::sweeping();
            options.settle = Span::from_seconds(0);
            let job = async {
                tokio::time::sleep(Duration::from_millis(start)).await;
                run.build().await.unwrap()
            };
            let (swept, report) = tokio::join!(sweep.clean_with(&options), job);
            swept.unwrap();
            assert!(report.missing().next().is_none());
            // What is reported stays through all sweeps of its lease's time.
            for _ in 0..2 {
                world.pass(DAY - 4000).await;
                world.run("later").clean_with(&options).await.unwrap();
            }
            for (name, digest) in digests(&report) {
                let generation = report.boxes[&name].generation.0;
                assert_eq!(world.at(&name, &world.tag(&name, generation)), Some(digest), "{name} {start}");
            }
            check_whole(&world);
            cases += 1;
        }
    }
    eprintln!("{cases} builds beside a sweep");
}

#[tokio::test(start_paused = true)]
async fn a_promotion_beside_a_sweep_that_condemns_stays_whole() {
    let (mut cases, mut promotions) = (0, 0);
    let template = unleased().await;
    for start in (0..300).step_by(9) {
        let world = template.copy();
        world.net.set_latency(&[7, 3]);
        let (sweep, run) = (world.run("sweep"), world.run("job"));
        let mut options = super::world::sweeping();
        options.settle = Span::from_seconds(0);
        let job = async {
            tokio::time::sleep(Duration::from_millis(start)).await;
            run.promote("main").await
        };
        let (swept, promoted) = tokio::join!(sweep.clean_with(&options), job);
        swept.unwrap();
        world.drop_leases();
        for _ in 0..3 {
            world.pass(DAY).await;
            world.run("later").clean_with(&options).await.unwrap();
        }
        // Either it came first, and keeps what it moved, or what it wanted was condemned.
        if promoted.is_ok() {
            promotions += 1;
            check_stands(&world, &BOXES);
        } else {
            check_stands(&world, &[]);
        }
        cases += 1;
    }
    assert!(0 < promotions && promotions < cases);
    eprintln!("{cases} promotions beside a sweep, {promotions} came first");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_is_longer_than_a_sweep_keeps_its_parents() {
    let world = World::new();
    let run = world.run("job");
    run.engine.script.lock().unwrap().delay.insert("test".to_owned(), Duration::from_secs(DAY + DAY / 2));
    let sweeps = async {
        for _ in 0..3 {
            world.pass(DAY / 2).await;
            world.run("sweep").clean().await.unwrap();
        }
    };
    let (report, ()) = tokio::join!(run.build(), sweeps);
    assert!(outcome(&report.unwrap()).iter().all(|(_, word)| *word == "built"));
    check_stands(&world, &BOXES);
}

/// Somebody moves a tag that has to stay onto a digest between the last look and its deletion.
#[tokio::test(start_paused = true)]
async fn a_tag_that_is_moved_onto_what_is_deleted_is_brought_back() {
    for can_restore in [true, false] {
        let world = unleased().await;
        let (lint, build) = (world.stands("lint").unwrap(), world.stands("build").unwrap());
        let at = repository("lint");
        let held = done(world.net.memory.get(&at, &lint.clone().into())).unwrap().unwrap();
        // Any other image, under a tag that is not ours.
        let other = boxwright::model::throwaway("other");
        done(world.net.memory.put_blob(&at, bytes::Bytes::from_static(boxwright::model::EMPTY_BLOB)))
            .unwrap();
        let nightly: boxwright::model::Tag = "nightly".parse().unwrap();
        done(world.net.memory.put(&at, &nightly.clone().into(), &other)).unwrap();
        world.run("sweep").clean().await.unwrap();
        world.pass(DAY).await;
        if can_restore {
            world.net.memory.keep_deleted();
        }
        let (moved, text) = (nightly.clone(), lint.to_string());
        world.net.before(
            move |asked| is(asked, Verb::Delete, "lint", &text),
            move |memory| done(memory.put(&repository("lint"), &moved.into(), &held)).unwrap(),
        );
        let run = world.run("sweep");
        let report = run.clean().await.unwrap();
        let image = report.clean.delete.iter().position(|doomed| doomed.seen.digest == lint).unwrap();
        let found = done(world.net.memory.head(&at, &nightly.into())).unwrap();
        assert!(world.stands("build") != Some(build), "what was alone is gone");
        if can_restore {
            assert_eq!((found.as_ref(), &report.deletions[image]), (Some(&lint), &Deletion::Changed));
            // The next sweep sees the tag.
            let report = run.clean().await.unwrap();
            assert!(report.clean.delete.is_empty(), "{:?}", report.clean.delete);
            assert_eq!(world.stands("lint"), Some(lint));
        } else {
            // As it is wherever nothing can be brought back.
            assert_eq!((found, &report.deletions[image]), (None, &Deletion::Done));
        }
    }
}
