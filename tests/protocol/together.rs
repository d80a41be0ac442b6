//! Several runs at once on one registry: one digest a box in every report.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use boxwright::adapter::memory::{Fault, Verb};
use boxwright::exec::{BuildReport, PromoteError};
use boxwright::model::{Digest, Lease, MediaType, Purpose, RawManifest, Record, RunRecord, Span};
use boxwright::port::{Registry, RegistryReader, RegistryWriter};

use super::net::{done, gone, is, tag};
use super::world::{Run, World, digests, outcome, repository};

fn check_alike(world: &World, reports: &[&BuildReport]) {
    let all: BTreeSet<Vec<(String, Digest)>> =
        reports.iter().map(|report| digests(report).into_iter().collect()).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    for (name, digest) in all.into_iter().flatten() {
        assert_eq!(world.stands(&name), Some(digest), "{name}");
    }
}

fn builds(runs: &[&Run<'_>]) -> Vec<String> {
    let mut built: Vec<String> = runs.iter().flat_map(|run| run.engine.built()).collect();
    built.sort();
    built
}

/// Latencies that bring three runs' requests into different orders.
fn latencies() -> Vec<Vec<u64>> {
    let mut seed: u64 = 7;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % 400
    };
    (0..40).map(|_| (0..29).map(|_| next()).collect()).collect()
}

#[tokio::test(start_paused = true)]
async fn three_runs_at_once_build_each_box_once() {
    let template = World::new();
    for latency in latencies() {
        let world = template.copy();
        world.net.set_latency(&latency);
        let (one, two, three) = (world.run("one"), world.run("two"), world.run("three"));
        for run in [&one, &two, &three] {
            let mut script = run.engine.script.lock().unwrap();
            script.delay.extend(
                ["base", "build", "lint", "test"].map(|name| (name.to_owned(), Duration::from_secs(30))),
            );
        }
        let (a, b, c) = tokio::join!(one.build(), two.build(), three.build());
        let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
        check_alike(&world, &[&a, &b, &c]);
        assert_eq!(builds(&[&one, &two, &three]), ["base", "build", "lint", "test"]);
        let waiting: String = [&one, &two, &three].map(|run| run.told()).concat();
        assert!(waiting.contains("Waiting"));
    }
}

/// Many that begin at one moment: one builds, and nobody waits for a second to pass.
#[tokio::test(start_paused = true)]
async fn of_fifty_runs_of_one_second_one_builds() {
    for trip in [0, 1, 7] {
        let world = World::of(&["base"]);
        world.net.set_latency(&[trip, 3 * trip, trip, 0, 2 * trip]);
        let runs: Vec<Run<'_>> = (0..50).map(|number| world.run(&format!("run-{number}"))).collect();
        for run in &runs {
            run.engine.set(|script| script.delay.extend([("base".to_owned(), Duration::from_secs(30))]));
        }
        let began = tokio::time::Instant::now();
        let reports = futures_util::future::join_all(runs.iter().map(|run| run.build())).await;
        let reports: Vec<BuildReport> = reports.into_iter().map(Result::unwrap).collect();
        check_alike(&world, &reports.iter().collect::<Vec<_>>());
        assert_eq!(builds(&runs.iter().collect::<Vec<_>>()), ["base"]);
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_alone_waits_for_nothing() {
    let world = World::of(&["base"]);
    let began = tokio::time::Instant::now();
    world.run("one").build().await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
}

/// Whoever builds nothing is not waited for, whatever became of it.
#[tokio::test(start_paused = true)]
async fn a_promotion_or_a_use_makes_no_build_wait() {
    for purpose in [Purpose::Promoting, Purpose::Using, Purpose::Cleaning] {
        let world = World::of(&["base", "build"]);
        let lease = Lease { purpose, ..vanished(&world, "gone") };
        world.write(&lease.tag().unwrap(), &lease);
        let run = world.run("one");
        let began = tokio::time::Instant::now();
        assert_eq!(outcome(&run.build().await.unwrap()), [("base", "built"), ("build", "built")]);
        assert!(began.elapsed().as_secs() < 10, "{purpose:?}");
        assert!(!run.told().contains("Waiting"));
    }
}

/// Its lease lives on for what it used, but its record says that it is through.
#[tokio::test(start_paused = true)]
async fn a_run_that_ends_while_it_is_waited_for_is_waited_for_no_longer() {
    for turn in [None, Some(0), Some(1)] {
        let world = World::of(&["base"]);
        let lease = Lease { turn, ..vanished(&world, "gone") };
        world.write(&lease.tag().unwrap(), &lease);
        world.pass(5).await;
        let run = world.run("one");
        let ends = async {
            world.pass(20).await;
            let record = RunRecord {
                run: lease.run.clone(),
                attempt: 1,
                finished: world.net.today(),
                source: Default::default(),
                leases: [lease.nonce.clone()].into(),
                boxes: Vec::new(),
            };
            world.write(&tag("run.gone.1"), &record);
        };
        let began = tokio::time::Instant::now();
        let (report, ()) = tokio::join!(run.build(), ends);
        assert_eq!(outcome(&report.unwrap()), [("base", "built")]);
        let seconds = began.elapsed().as_secs();
        assert!((20..24).contains(&seconds), "{turn:?}: {seconds}");
        assert!(run.told().contains("Waiting"));
    }
}

/// A lease that claims to be taken in the far future is waited for no longer than any other.
#[tokio::test(start_paused = true)]
async fn a_lease_of_the_future_is_waited_for_as_long_as_our_patience() {
    let world = World::of(&["base"]);
    let lease = vanished(&world, "forged");
    let later = lease.taken.after(Span::from_seconds(86_400));
    let lease = Lease { taken: later, turn: Some(0), ..lease };
    world.write(&lease.tag().unwrap(), &lease);
    let began = tokio::time::Instant::now();
    world.run("one").build().await.unwrap();
    assert!((590..610).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn runs_that_do_not_wait_agree_in_the_end() {
    let mut doubled = 0;
    let template = World::new();
    for latency in latencies() {
        let world = template.copy();
        world.net.set_latency(&latency);
        let runs = ["one", "two", "three"].map(|id| {
            let mut run = world.run(id);
            run.build.wait = Span::default();
            let mut script = run.engine.script.lock().unwrap();
            let names = ["base", "build", "lint", "test"];
            script.delay.extend(names.map(|name| (name.to_owned(), Duration::from_secs(30))));
            drop(script);
            run
        });
        let [one, two, three] = &runs;
        let (a, b, c) = tokio::join!(one.build(), two.build(), three.build());
        check_alike(&world, &[&a.unwrap(), &b.unwrap(), &c.unwrap()]);
        doubled += builds(&[one, two, three]).len() - 4;
        assert!(!one.told().contains("Waiting"));
    }
    assert!(doubled > 0, "nothing was ever built twice, so nothing was adopted");
}

#[tokio::test(start_paused = true)]
async fn a_push_that_was_overtaken_is_settled() {
    // Both see nothing before they push the base. The later push wins, while the earlier one
    // builds a child on what it pushed.
    let world = World::of(&["base", "build"]);
    let (mut one, mut two) = (world.run("one"), world.run("two"));
    for (run, seconds) in [(&mut one, 5), (&mut two, 6)] {
        run.build.wait = Span::default();
        let mut script = run.engine.script.lock().unwrap();
        script.push_delay.insert("base".to_owned(), Duration::from_secs(seconds));
        script.delay.insert("build".to_owned(), Duration::from_secs(10));
    }
    let (a, b) = tokio::join!(one.build(), two.build());
    let (a, b) = (a.unwrap(), b.unwrap());
    check_alike(&world, &[&a, &b]);
    assert_eq!(one.engine.pushed().len() + two.engine.pushed().len(), 4);
    // The child in both reports stands on the base in both reports.
    let raw =
        done(world.net.memory.get(&repository("build"), &world.tag("build", 0).into())).unwrap().unwrap();
    let boxwright::model::Document::Image(image) = raw.document().unwrap() else { panic!() };
    let config = done(world.net.memory.get_blob(&repository("build"), &image.config.digest, 10_000));
    let config = String::from_utf8(config.unwrap().unwrap().to_vec()).unwrap();
    assert!(config.contains(a.boxes["base"].digest.as_ref().unwrap().as_str()), "{config}");
}

#[tokio::test(start_paused = true)]
async fn equal_bytes_are_one_digest() {
    let world = World::of(&["base"]);
    let (mut one, mut two) = (world.run("one"), world.run("two"));
    for run in [&mut one, &mut two] {
        run.build.wait = Span::default();
        let mut script = run.engine.script.lock().unwrap();
        script.is_reproducible = true;
        script.push_delay.insert("base".to_owned(), Duration::from_secs(5));
    }
    let (a, b) = tokio::join!(one.build(), two.build());
    check_alike(&world, &[&a.unwrap(), &b.unwrap()]);
    assert!(!one.told().contains("adopted: true") && !two.told().contains("adopted: true"));
}

#[tokio::test(start_paused = true)]
async fn followers_of_runs_that_fail_take_over_quickly() {
    // More failing runs than a box has tries: waiting costs none.
    let world = World::of(&["base"]);
    let failing: Vec<Run<'_>> = (0..6)
        .map(|number| {
            let run = world.run(&format!("fails-{number}"));
            let mut script = run.engine.script.lock().unwrap();
            script.fail.insert("base".to_owned());
            script.delay.insert("base".to_owned(), Duration::from_secs(20));
            drop(script);
            run
        })
        .collect();
    let last = world.run("last");
    let fail = async {
        let mut all = Vec::new();
        for (number, run) in failing.iter().enumerate() {
            all.push(async move {
                world_pass(number).await;
                run.build().await.unwrap()
            });
        }
        futures_util::future::join_all(all).await
    };
    let follow = async {
        world.pass(10).await;
        last.build().await.unwrap()
    };
    let began = tokio::time::Instant::now();
    let (failed, report) = tokio::join!(fail, follow);
    assert!(failed.iter().all(|report| outcome(report) == [("base", "failed")]));
    assert_eq!(outcome(&report), [("base", "built")]);
    let seconds = began.elapsed().as_secs();
    assert!((120..180).contains(&seconds), "{seconds}");
}

async fn world_pass(number: usize) {
    tokio::time::sleep(Duration::from_secs(number as u64 + 1)).await;
}

/// Takes a lease on all boxes for a run that then does nothing.
fn vanished(world: &World, id: &str) -> Lease {
    let now = world.net.today();
    let lease = Lease {
        taken: now,
        expiry: now.after(Span::from_seconds(172_800)),
        run: id.parse().unwrap(),
        attempt: 1,
        nonce: "0".to_owned(),
        keys: world.boxes.iter().map(|keyed| keyed.wanted.key().clone()).collect(),
        purpose: Default::default(),
        turn: None,
    };
    world.write(&lease.tag().unwrap(), &lease);
    lease
}

#[tokio::test(start_paused = true)]
async fn a_run_that_vanished_is_waited_for_as_long_as_our_patience() {
    let world = World::of(&["base", "build"]);
    vanished(&world, "gone");
    let run = world.run("one");
    world.pass(5).await;
    let began = tokio::time::Instant::now();
    let report = run.build().await.unwrap();
    assert_eq!(outcome(&report), [("base", "built"), ("build", "built")]);
    let seconds = began.elapsed().as_secs();
    // Once, not once a box.
    assert!((590..610).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_ended_is_not_waited_for_though_its_lease_lives() {
    let world = World::of(&["base", "build"]);
    world.run("one").build().await.unwrap();
    // Somebody removed an image while the lease keeps it.
    let digest = world.stands("base").unwrap();
    world.net.memory.delete(&repository("base"), &digest).await.unwrap();
    world.pass(5).await;
    let run = world.run("two");
    let began = tokio::time::Instant::now();
    let report = run.build().await.unwrap();
    assert_eq!(report.boxes["base"].outcome.word(), "built");
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    assert!(!run.told().contains("Waiting"));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_read_is_not_waited_for() {
    let world = World::of(&["base"]);
    let lease = vanished(&world, "newer");
    let text = String::from_utf8(lease.to_manifest().bytes().to_vec()).unwrap();
    let raw = RawManifest::new(MediaType::OciManifest, text.replace("keys", "what"));
    done(world.net.memory.put(&repository("ledger"), &lease.tag().unwrap().into(), &raw)).unwrap();
    let run = world.run("one");
    world.pass(5).await;
    assert_eq!(outcome(&run.build().await.unwrap()), [("base", "built")]);
    assert!(!run.told().contains("Waiting"));
}

#[tokio::test(start_paused = true)]
async fn the_attempt_before_ours_is_not_waited_for() {
    let world = World::of(&["base"]);
    vanished(&world, "one");
    let mut run = world.run("one");
    run.setting.attempt = 2;
    let began = tokio::time::Instant::now();
    run.build().await.unwrap();
    assert!(began.elapsed().as_secs() < 10);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_fails_while_we_wait_is_asked_again() {
    let world = World::of(&["base"]);
    let (leader, follower) = (world.run("one"), world.run("two"));
    leader.engine.script.lock().unwrap().delay.insert("base".to_owned(), Duration::from_secs(60));
    let follow = async {
        world.pass(2).await;
        // While it waits, all that it asks for fails for a while; the leader asks for nothing.
        let breaks = async {
            world.pass(10).await;
            world.net.memory.break_when(|_| Some(Fault::Before(gone())));
            world.pass(20).await;
            world.net.memory.mend();
        };
        tokio::join!(follower.build(), breaks).0
    };
    let (a, b) = tokio::join!(leader.build(), follow);
    let (a, b) = (a.unwrap(), b.unwrap());
    check_alike(&world, &[&a, &b]);
    assert_eq!(outcome(&b), [("base", "use")]);
    assert_eq!(follower.engine.built(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_fails_until_our_patience_ends_builds_nothing() {
    let world = World::of(&["base"]);
    vanished(&world, "gone");
    world.pass(5).await;
    let run = world.run("one");
    let breaks = async {
        world.pass(10).await;
        world.net.memory.break_when(|asked| {
            (asked.verb != Verb::Delete && !is(asked, Verb::Put, "ledger", "run."))
                .then(|| Fault::Before(gone()))
        });
    };
    let (result, ()) = tokio::join!(run.build(), breaks);
    assert_eq!(run.engine.built(), [""; 0]);
    // The record cannot be written either, so the whole run fails.
    result.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_follower_waits_for_an_image_that_fits() {
    // Under the child's tag stands an image on an old base: it is not what is waited for.
    let world = World::of(&["base", "build"]);
    world.run("zero").build().await.unwrap();
    let base = world.stands("base").unwrap();
    done(world.net.memory.delete(&repository("base"), &base)).unwrap();
    world.drop_leases();
    let (leader, follower) = (world.run("one"), world.run("two"));
    for name in ["base", "build"] {
        leader.engine.script.lock().unwrap().delay.insert(name.to_owned(), Duration::from_secs(60));
    }
    let follow = async {
        world.pass(2).await;
        follower.build().await
    };
    let (a, b) = tokio::join!(leader.build(), follow);
    check_alike(&world, &[&a.unwrap(), &b.unwrap()]);
    assert_eq!(follower.engine.built(), [""; 0]);
}

/// Two pipelines of one commit promote at the same moment: both end well, at one record.
#[tokio::test(start_paused = true)]
async fn two_promotions_of_one_set_at_once_both_end_well() {
    let template = World::new();
    template.run("build").build().await.unwrap();
    template.net.memory.set_now(template.net.today());
    let (mut met, mut beside) = (0, 0);
    for latency in latencies() {
        let world = template.copy();
        world.net.set_latency(&latency);
        let (one, two) = (world.run("one"), world.run("two"));
        let (a, b) = tokio::join!(one.promote("main"), two.promote("main"));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.seq, b.seq), (1, 1));
        met += usize::from(a.promotion.is_resumed || b.promotion.is_resumed);
        beside += usize::from(!a.promotion.is_resumed && !b.promotion.is_resumed);
        for name in super::clean::BOXES {
            assert_eq!(world.at(name, &tag("main")), world.stands(name));
        }
        assert_eq!((world.records("plan.").len(), world.records("set.").len()), (1, 1));
        assert!(world.run("third").promote("main").await.unwrap().was_done);
    }
    assert!(met > 0 && beside > 0, "{met} {beside}");
}

/// Serves these records only when they were asked for as often as this, though they are listed.
fn serve_late(world: &World, late: &[&str], reads: u32) {
    let mut unserved: BTreeMap<String, (u32, Option<RawManifest>)> =
        late.iter().map(|name| ((*name).to_owned(), (reads, None))).collect();
    world.net.before_each(move |asked, memory| {
        let is_read = matches!(asked.verb, Verb::Get | Verb::Head);
        let name = asked.reference.as_deref().filter(|_| is_read).unwrap_or_default();
        let Some((left, kept)) = unserved.get_mut(name) else { return };
        let (ledger, at) = (repository("ledger"), tag(name));
        if *left == reads {
            let raw = done(memory.get(&ledger, &at.into())).unwrap().unwrap();
            memory.lose_manifest(&ledger, raw.digest());
            *kept = Some(raw);
        } else if *left == 0
            && let Some(raw) = kept.take()
        {
            memory.hold(&ledger, &at, raw);
        }
        *left = left.saturating_sub(1);
    });
}

/// docker-registry lists a tag a moment before it serves it: a promotion that sees another one's
/// records so does not count on past them.
#[tokio::test(start_paused = true)]
async fn a_record_that_is_listed_before_it_is_served_is_waited_for() {
    for late in [&["plan.main.1"][..], &["set.main.1"], &["plan.main.1", "set.main.1"]] {
        let world = World::new();
        world.run("build").build().await.unwrap();
        world.run("one").promote("main").await.unwrap();
        serve_late(&world, late, 2);
        let report = world.run("two").promote("main").await.unwrap();
        assert_eq!((report.seq, world.records("set.").len()), (1, 1), "{late:?}");
    }
}

/// Whoever reads the past waits for its records as well, and names one that never comes: a way back
/// would lead to what stood before that.
#[tokio::test(start_paused = true)]
async fn the_past_is_told_with_what_is_served_late_and_names_what_never_is() {
    let (first, late) = (World::new(), "set.main.2");
    first.run("build").build().await.unwrap();
    first.run("one").on_revision("a", 100).promote("main").await.unwrap();
    let world = first.with_content("v2");
    world.run("build").build().await.unwrap();
    world.run("two").on_revision("b", 200).promote("main").await.unwrap();
    for (reads, told) in [(3, &[2, 1][..]), (100, &[1])] {
        let world = world.copy();
        serve_late(&world, &[late], reads);
        let past = world.run("asks").history("main").await;
        assert_eq!(past.sets.iter().map(|set| set.seq).collect::<Vec<_>>(), told);
        let aside: Vec<_> = past.aside.iter().map(|one| (one.tag.to_string(), one.why.as_str())).collect();
        let expect = (late.to_owned(), "it is listed, but leads nowhere");
        assert_eq!(aside, if told.len() == 2 { vec![] } else { vec![expect] });
    }
}

/// A sweep waits for a promotion that is not served yet; one that never comes may have kept anything.
#[tokio::test(start_paused = true)]
async fn a_sweep_waits_for_what_is_served_late_and_stops_at_what_never_is() {
    let world = World::new();
    world.run("build").build().await.unwrap();
    world.run("one").promote("main").await.unwrap();
    for (reads, is_stopped) in [(3, false), (100, true)] {
        let world = world.copy();
        serve_late(&world, &["set.main.1"], reads);
        let swept = world.run("sweep").clean().await.unwrap();
        assert_eq!(swept.clean.stops().next().is_some(), is_stopped, "{reads}");
        assert!(super::clean::BOXES.iter().all(|name| world.stands(name).is_some()), "{reads}");
    }
}

/// Of two sets for one tag at once each ends well or says that somebody else has moved it; called
/// again, the newer one stands as a whole.
#[tokio::test(start_paused = true)]
async fn two_promotions_of_two_sets_at_once_end_at_the_newer_one() {
    let template = World::new();
    template.run("build").build().await.unwrap();
    template.with_content("v2").run("build").build().await.unwrap();
    template.net.memory.set_now(template.net.today());
    let mut refused = 0;
    for latency in latencies() {
        let world = template.copy();
        let newer = world.with_content("v2");
        world.net.set_latency(&latency);
        let (one, two) = (world.run("one").on_revision("a", 100), newer.run("two").on_revision("b", 200));
        let (a, b) = tokio::join!(one.promote("main"), two.promote("main"));
        for error in [a.err(), b.err()].into_iter().flatten() {
            let is_said = matches!(
                error,
                PromoteError::Conflict { .. } | PromoteError::Partly { .. } | PromoteError::Refused(_)
            );
            assert!(is_said, "{error}");
            refused += 1;
        }
        newer.run("two").on_revision("b", 200).promote("main").await.unwrap();
        world.run("one").on_revision("a", 100).promote("main").await.unwrap_err();
        for name in super::clean::BOXES {
            assert_eq!(newer.at(name, &tag("main")), newer.stands(name), "{name}");
        }
    }
    assert!(refused > 0);
}
