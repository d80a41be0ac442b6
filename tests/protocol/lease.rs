//! Leases: taken before anything is asked, read back, renewed, given up.

use std::time::Duration;

use boxwright::adapter::memory::{Fault, Verb};
use boxwright::exec::BuildError;
use boxwright::model::Span;

use super::net::{denied, gone, is, unavailable};
use super::world::{World, outcome, repository, to};

#[tokio::test(start_paused = true)]
async fn a_lease_is_taken_and_read_back_before_anything_is_asked() {
    let world = World::new();
    world.run("one").build().await.unwrap();
    world.net.memory.clear_log();
    world.run("two").build().await.unwrap();
    let log = world.log();
    let put = log.iter().position(|asked| is(asked, Verb::Put, "ledger", "lease.")).unwrap();
    let back = log.iter().position(|asked| is(asked, Verb::Head, "ledger", "lease.")).unwrap();
    let probe = log
        .iter()
        .position(|asked| {
            is(asked, Verb::Head, "ledger", "over.")
                || asked.repository.as_ref().is_some_and(|at| at.name() != "ledger")
        })
        .unwrap();
    assert!(put < back && back < probe, "{put} {back} {probe}");
    assert_eq!(log[put].reference, log[back].reference);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_does_not_read_back_is_none() {
    for fault in [Fault::Before(gone()), Fault::Before(denied())] {
        let world = World::of(&["base"]);
        world.net.memory.break_next(Verb::Head, Some(&repository("ledger")), fault);
        let run = world.run("one");
        assert!(matches!(run.build().await, Err(BuildError::Ledger(_))));
        assert_eq!(run.engine.built(), [""; 0]);
        // A right to write that is refused on reading is no read-only registry.
        assert!(!run.told().contains("ReadOnly"));
        assert_eq!(world.leases(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_answer_was_lost_is_not_left_behind() {
    let world = World::of(&["base"]);
    world.run("one").build().await.unwrap();
    world.net.memory.break_next(Verb::Put, Some(&repository("ledger")), Fault::After(unavailable()));
    assert!(matches!(world.run("two").build().await, Err(BuildError::Ledger(_))));
    assert_eq!(world.leases().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_ledger_gets_its_empty_blob() {
    let world = World::of(&["base"]);
    world.run("one").build().await.unwrap();
    let blobs = |log: Vec<boxwright::adapter::memory::Asked>| {
        let ledger = repository("ledger");
        log.iter()
            .filter(|asked| asked.verb == Verb::PutBlob && asked.repository.as_ref() == Some(&ledger))
            .count()
    };
    // The empty one, and the inputs of the box that was built.
    assert_eq!(blobs(world.log()), 2);
    world.net.memory.clear_log();
    world.run("two").build().await.unwrap();
    assert_eq!(blobs(world.log()), 0);
    // Only what says that a blob is missing is answered by uploading it.
    world.net.memory.clear_log();
    world.net.memory.break_next(Verb::Put, Some(&repository("ledger")), Fault::Before(unavailable()));
    assert!(world.run("three").build().await.is_err());
    assert_eq!(blobs(world.log()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_build_longer_than_its_lease_renews_it_and_pushes_what_it_built() {
    let world = World::of(&["base"]);
    let mut run = world.run("one");
    run.setting.lease = Span::from_seconds(3600);
    run.engine.script.lock().unwrap().delay.insert("base".to_owned(), Duration::from_secs(3 * 3600));
    let report = run.build().await.unwrap();
    assert_eq!(outcome(&report), [("base", "built")]);
    assert_eq!(run.engine.built(), ["base"]);
    let leases = world.leases();
    assert_eq!(leases.len(), 2);
    assert_eq!(report.lease_until, leases.iter().map(|lease| lease.expiry).max());
}

#[tokio::test(start_paused = true)]
async fn success_is_reported_under_a_live_lease() {
    let world = World::of(&["base"]);
    let mut run = world.run("one");
    run.setting.lease = Span::from_seconds(3600);
    run.engine.set(|script| {
        script.push_delay.insert("base".to_owned(), Duration::from_secs(2 * 3600));
    });
    let report = run.build().await.unwrap();
    assert!(report.lease_until.unwrap() > world.net.today());
    // While the push took its time anything may have happened: it is looked at once more.
    let log = world.log();
    let renewed = log.iter().rposition(|asked| is(asked, Verb::Put, "ledger", "lease.")).unwrap();
    assert!(log[renewed..].iter().any(|asked| is(asked, Verb::Get, "base", "k-")));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_lapsed_while_children_were_built_is_no_success() {
    let world = World::of(&["base", "build"]);
    world.run("one").build().await.unwrap();
    world.drop_leases();
    let old = world.stands("base").unwrap();
    // The child is missing; while it is built, over days, its parent is condemned.
    let child = world.stands("build").unwrap();
    {
        use boxwright::port::Registry;
        super::net::done(world.net.memory.delete(&repository("build"), &child)).unwrap();
    }
    let mut run = world.run("two");
    run.setting.lease = Span::from_seconds(3600);
    run.engine.script.lock().unwrap().delay.insert("build".to_owned(), Duration::from_secs(3 * 3600));
    let (key, at) = (world.key("base"), world.tombstone_tag("base", 0));
    run.engine.script.lock().unwrap().on_build = Some(Box::new(move |name, memory| {
        use boxwright::model::{Generation, Record, Timestamp, Tombstone};
        use boxwright::port::RegistryWriter;
        if name == "build" {
            let tombstone = Tombstone {
                key: key.clone(),
                generation: Generation(0),
                marked: Timestamp::from_unix(0),
                reason: String::new(),
                images: Vec::new(),
                parts: Default::default(),
            };
            let ledger = repository("ledger");
            super::net::done(memory.put(&ledger, &at.clone().into(), &tombstone.to_manifest())).unwrap();
        }
    }));
    let report = run.build().await.unwrap();
    assert_eq!(report.boxes["base"].generation.0, 1);
    assert_ne!(report.boxes["base"].digest, Some(old));
    // The child stands on the base that is reported.
    let sent = String::from_utf8(run.engine.request("build").dockerfile).unwrap();
    assert!(sent.contains(report.boxes["base"].digest.as_ref().unwrap().as_str()));
}

#[tokio::test(start_paused = true)]
async fn a_renewed_lease_is_not_waited_for() {
    let world = World::of(&["base", "build"]);
    let mut run = world.run("one");
    run.setting.lease = Span::from_seconds(900);
    // Renewed after the base, with our own first lease still young enough to be waited for.
    run.engine.script.lock().unwrap().delay.insert("base".to_owned(), Duration::from_secs(500));
    let report = run.build().await.unwrap();
    assert_eq!(outcome(&report), [("base", "built"), ("build", "built")]);
    assert_eq!(world.leases().len(), 2);
    assert!(!run.told().contains("Waiting"), "{}", run.told());
}

#[tokio::test(start_paused = true)]
async fn what_fails_later_gives_up_renewed_leases_too() {
    let world = World::of(&["base"]);
    let mut run = world.run("one");
    run.setting.lease = Span::from_seconds(3600);
    run.engine.set(|script| {
        script.delay.insert("base".to_owned(), Duration::from_secs(3 * 3600));
        // A push that is refused, after the lease was renewed.
        script.before_push = Some(Box::new(|_, memory| {
            memory.break_next(Verb::Put, Some(&repository("base")), Fault::Before(denied()));
        }));
    });
    assert_eq!(outcome(&run.build().await.unwrap()), [("base", "failed")]);
    assert_eq!(world.leases(), []);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_gives_the_lease_up() {
    let world = World::of(&["base"]);
    world.net.memory.break_next(Verb::Get, Some(&repository("base")), Fault::Before(unavailable()));
    let run = world.run("one");
    let error = run.build().await.unwrap_err();
    assert!(
        matches!(&error, BuildError::Unknown(one) if one.name == "base" && one.error.to_string().contains("Get r.example/base k-")),
        "{error}"
    );
    assert_eq!(world.leases(), []);
    // So does a promotion that finds something missing.
    world.run("two").promote_with(&to("main")).await.unwrap_err();
    assert_eq!(world.leases(), []);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_given_up_is_told_and_hides_no_report() {
    let world = World::of(&["base"]);
    let run = world.run("one");
    run.engine.script.lock().unwrap().fail.insert("base".to_owned());
    world.net.memory.break_next(Verb::Delete, None, Fault::Before(unavailable()));
    assert_eq!(outcome(&run.build().await.unwrap()), [("base", "failed")]);
    assert!(run.told().contains("could not be given up"));
    assert_eq!(world.leases().len(), 1);
}
