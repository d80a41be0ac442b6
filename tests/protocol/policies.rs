//! Policies that let promoted tags go, limits that stop a mistake, plans that another job does.

use std::collections::{BTreeMap, BTreeSet};

use boxwright::adapter::memory::{Asked, Fault, Verb};
use boxwright::exec::{
    CleanError, CleanOptions, Deletion, PromoteError, PromoteOptions, RegistryPorts, clean,
};
use boxwright::model::{Digest, Record, RefRule, Rules, Span, Tag, TaggedDigest, UntagNotice};
use boxwright::plan::Refusal;
use boxwright::port::{RegistryReader, RegistryWriter};
use boxwright::retention::{Goes, Policies, What};
use regex::Regex;
use tokio_util::sync::CancellationToken;

use super::clean::{BOXES, check_stands, check_whole, sweep_twice, unleased};
use super::clean_faults::SleepyClock;
use super::net::{done, is, tag, unavailable};
use super::world::{DAY, World, policy, repository, sweeping, to, writes};

fn pr(tag: &str) -> PromoteOptions {
    PromoteOptions { channel: "pr".to_owned(), ..to(tag) }
}

fn policies(rules: Rules) -> Policies {
    let main = sweeping().policies;
    main.into_iter().chain([policy("pr", "pr-.*", rules)]).collect()
}

/// Tags of pull requests stay for a day.
fn for_a_day() -> CleanOptions {
    let rules = Rules { age: Some(Span::from_seconds(DAY)), ..Rules::default() };
    CleanOptions { policies: policies(rules), ..sweeping() }
}

/// What stands under a tag, box by box.
fn tagged(world: &World, name: &str) -> Vec<&'static str> {
    BOXES.into_iter().filter(|one| world.at(one, &tag(name)).is_some()).collect()
}

/// A set that was promoted to `pr-1` two days ago, of which `base` is in `main` too.
async fn aged() -> World {
    let world = unleased().await;
    world.run("pr").promote_with(&pr("pr-1")).await.unwrap();
    World::of(&["base"]).beside(&world).run("main").promote("main").await.unwrap();
    world.drop_leases();
    world.pass(2 * DAY).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_set_that_nothing_keeps_loses_its_tags_as_a_whole_and_then_its_images() {
    let world = aged().await;
    let first = world.run("sweep").clean_with(&for_a_day()).await.unwrap();
    assert_eq!((first.clean.announce.len(), first.deletions.len()), (1, 0));
    assert_eq!(tagged(&world, "pr-1"), BOXES);
    let [ending] = world.records("ends.").try_into().unwrap();
    assert_eq!(ending.as_str(), "ends.pr-1.1");
    // In the run after the grace the tags go; the images have a grace of their own.
    world.pass(DAY).await;
    let second = world.run("sweep").clean_with(&for_a_day()).await.unwrap();
    assert_eq!(second.deletions, vec![Deletion::Done; 4]);
    assert!(
        second
            .clean
            .delete
            .iter()
            .all(|doomed| doomed.goes == Goes::Tag && doomed.reason.contains("1d ago or more"))
    );
    assert_eq!(tagged(&world, "pr-1"), [] as [&str; 0]);
    check_stands(&world, &BOXES);
    sweep_with(&world, &for_a_day()).await;
    check_stands(&world, &["base"]);
    assert_eq!(world.at("base", &tag("main")), world.stands("base"));
    // Twice in a row there is nothing left to do, and the records of it go as well.
    let mut last = world.run("sweep").clean_with(&for_a_day()).await.unwrap();
    for _ in 0..3 {
        world.pass(DAY).await;
        last = world.run("sweep").clean_with(&for_a_day()).await.unwrap();
    }
    assert!(last.clean.actions().is_empty() && last.clean.withdraw.is_empty());
    assert_eq!((world.records("ends."), world.records("over.")), (Vec::<Tag>::new(), Vec::<Tag>::new()));
}

async fn sweep_with(world: &World, options: &CleanOptions) {
    world.run("sweep").clean_with(options).await.unwrap();
    world.pass(DAY).await;
    world.run("sweep").clean_with(options).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_on_one_box_keeps_the_whole_set() {
    let world = aged().await;
    world.run("sweep").clean_with(&for_a_day()).await.unwrap();
    world.pass(DAY).await;
    World::of(&["lint"]).beside(&world).run("job").build().await.unwrap();
    // What was condemned is not used; but a lease is a lease.
    let report = world.run("sweep").clean_with(&for_a_day()).await.unwrap();
    assert_eq!(report.deletions, []);
    assert_eq!(tagged(&world, "pr-1"), BOXES);
    let why = report.clean.kept.iter().find(|kept| kept.seen.tag == tag("pr-1")).unwrap();
    assert!(why.reason.ends_with("but leased"), "{}", why.reason);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_is_going_is_not_promoted_to_until_that_is_withdrawn() {
    let world = aged().await;
    world.run("sweep").clean_with(&for_a_day()).await.unwrap();
    let error = world.run("again").promote_with(&pr("pr-1")).await.unwrap_err();
    assert!(matches!(error, PromoteError::Refused(Refusal::UntagNotice { .. })), "{error}");
    assert!(!error.to_string().is_empty());
    world.drop_leases();
    // The policy changes: the announcement is withdrawn, and sweeps that saw it are waited for.
    let forever = CleanOptions { policies: Policies::new(), ..sweeping() };
    world.run("sweep").clean_with(&forever).await.unwrap();
    world.run("again").promote_with(&pr("pr-1")).await.unwrap_err();
    world.drop_leases();
    world.pass(4 * 3600).await;
    world.run("again").on_revision("b", 9).promote_with(&pr("pr-1")).await.unwrap();
    assert_eq!(tagged(&world, "pr-1"), BOXES);
    // The newer promotion counts from when it was made.
    world.drop_leases();
    world.pass(DAY - 60).await;
    let report = world.run("sweep").clean_with(&for_a_day()).await.unwrap();
    assert_eq!((report.clean.announce.len(), report.clean.delete.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn only_what_was_promoted_and_still_stands_goes() {
    let world = aged().await;
    world.retag("test", "pr-2");
    let other = world.with_content("v2");
    other.run("v2").build().await.unwrap();
    other.drop_leases();
    // Somebody moved the tag of one box by hand.
    other.retag("lint", "pr-1");
    world.run("sweep").clean_with(&for_a_day()).await.unwrap();
    world.pass(DAY).await;
    world.run("sweep").clean_with(&for_a_day()).await.unwrap();
    assert_eq!(tagged(&world, "pr-1"), ["lint"]);
    assert_eq!(other.at("lint", &tag("pr-1")), other.stands("lint"));
    assert_eq!(tagged(&world, "pr-2"), ["test"]);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_of_tags_that_is_killed_anywhere_is_finished_by_the_next() {
    let template = aged().await;
    template.run("sweep").clean_with(&for_a_day()).await.unwrap();
    template.pass(DAY).await;
    template.net.memory.set_now(template.net.today());
    let all = {
        let world = template.copy();
        world.run("sweep").clean_with(&for_a_day()).await.unwrap();
        world.log().len()
    };
    let mut cases = 0;
    for after in [false, true] {
        for number in 0..all {
            let world = template.copy();
            world.net.kill_at(number, after);
            let _ = world.run("sweep").clean_with(&for_a_day()).await;
            world.net.memory.mend();
            check_whole(&world);
            world.run("sweep").clean_with(&for_a_day()).await.unwrap();
            assert_eq!(tagged(&world, "pr-1"), [] as [&str; 0], "killed at {number}");
            assert_eq!(world.at("base", &tag("main")), world.stands("base"));
            check_stands(&world, &BOXES);
            cases += 1;
        }
    }
    eprintln!("{cases} kills of a sweep of tags");
}

#[tokio::test(start_paused = true)]
async fn a_git_ref_that_is_there_or_unknown_keeps_its_tag() {
    let world = unleased().await;
    world.run("pr").promote_with(&pr("pr-1")).await.unwrap();
    world.drop_leases();
    let rule = RefRule {
        remote: "origin".to_owned(),
        template: "refs/heads/{tag}".to_owned(),
        pattern: Regex::new("^(?:pr-.*)$").unwrap(),
    };
    let rules = Rules { git_ref: Some(rule), ..Rules::default() };
    let with = |refs: Option<&str>| CleanOptions {
        policies: policies(rules.clone()),
        refs: BTreeMap::from([("origin".to_owned(), refs.map(|name| BTreeSet::from([name.to_owned()])))]),
        ..sweeping()
    };
    for known in [None, Some("refs/heads/pr-1")] {
        let report = world.run("sweep").clean_with(&with(known)).await.unwrap();
        assert_eq!(report.clean.announce, [], "{known:?}");
    }
    let report = world.run("sweep").clean_with(&with(Some("refs/heads/main"))).await.unwrap();
    assert!(report.clean.announce[0].reason.ends_with("refs/heads/pr-1 is gone"));
}

#[tokio::test(start_paused = true)]
async fn what_a_list_or_another_repository_names_is_kept_with_its_bases() {
    let world = unleased().await;
    let lint = world.stands("lint").unwrap();
    let protected = BTreeMap::from([(lint, "is named by deployed.txt".to_owned())]);
    let options = CleanOptions { protected, ..sweeping() };
    let report = world.run("sweep").clean_with(&options).await.unwrap();
    let kept = report.clean.kept.iter().find(|kept| kept.seen.repository == "lint").unwrap();
    assert_eq!(kept.reason, "is named by deployed.txt");
    let condemned: Vec<&str> = report
        .clean
        .condemn
        .iter()
        .flat_map(|one| &one.images)
        .map(|image| image.repository.as_str())
        .collect();
    assert_eq!(condemned.len(), 2);
    assert!(!condemned.contains(&"base"));

    // The same by a tag of another repository; when that cannot be read, nothing is done.
    let world = unleased().await;
    let live = repository("live");
    let options = CleanOptions { protectors: vec![live.clone()], ..sweeping() };
    let error = world.run("sweep").clean_with(&options).await.unwrap_err();
    assert!(matches!(error, CleanError::NoProtector { .. }), "{error}");
    copy_to(&world, "lint", "live").await;
    let options = CleanOptions { protectors: vec![live.clone()], ..sweeping() };
    world.net.memory.break_next(Verb::Tags, Some(&live), Fault::Before(unavailable()));
    world.run("sweep").clean_with(&options).await.unwrap_err();
    assert_eq!(world.records("over."), [] as [Tag; 0]);
    world.run("sweep").clean_with(&options).await.unwrap();
    world.pass(DAY).await;
    world.run("sweep").clean_with(&options).await.unwrap();
    check_stands(&world, &["base", "lint"]);
}

/// Copies the image of a box to another repository, under the tag `now`.
async fn copy_to(world: &World, name: &str, to: &str) {
    let memory = &world.net.memory;
    let raw = done(memory.get(&repository(name), &world.tag(name, 0).into())).unwrap().unwrap();
    let boxwright::model::Document::Image(image) = raw.document().unwrap() else { panic!("an index") };
    for part in std::iter::once(&image.config).chain(&image.layers) {
        let bytes = done(memory.get_blob(&repository(name), &part.digest, 10_000)).unwrap().unwrap();
        done(memory.put_blob(&repository(to), bytes)).unwrap();
    }
    done(memory.put(&repository(to), &tag("now").into(), &raw)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_mistaken_policy_is_stopped_before_anything_is_written() {
    let world = unleased().await;
    world.retag("base", "theirs");
    world.net.memory.clear_log();
    // Four tags of five: base's, which has another tag, stays.
    let options = CleanOptions { max_delete: Some("50%".parse().unwrap()), ..sweeping() };
    let error = world.run("sweep").clean_with(&options).await.unwrap_err();
    assert!(matches!(error, CleanError::TooMany { going: 3, all: 5, .. }), "{error}");
    let options = CleanOptions { min: 1, ..sweeping() };
    let error = world.run("sweep").clean_with(&options).await.unwrap_err();
    assert!(matches!(&error, CleanError::TooFew { left: 0, min: 1, .. }), "{error}");
    assert_eq!(writes(&world.log()), [] as [&Asked; 0]);
    let options = CleanOptions { max_delete: Some("60%".parse().unwrap()), ..sweeping() };
    world.run("sweep").clean_with(&options).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_done_as_it_was_made_or_not_at_all() {
    let world = unleased().await;
    let plan = CleanOptions { apply: false, is_thorough: true, ..sweeping() };
    let planned = world.run("plan").clean_with(&plan).await.unwrap().clean.actions();
    assert!(planned.iter().all(|action| action.what == What::Condemn) && planned.len() == 4);
    // Another image has come since: it waits for the next plan.
    let newer = World::of(&["base"]).with_content("v2").beside(&world);
    newer.run("other").build().await.unwrap();
    newer.drop_leases();
    let doing = |planned: &BTreeSet<_>| CleanOptions { planned: Some(planned.clone()), ..sweeping() };
    let done = world.run("do").clean_with(&doing(&planned)).await.unwrap();
    assert_eq!(done.clean.actions(), planned);
    assert_eq!(world.records("over.").len(), 4);
    // Done again, or after somebody took a lease, it is not what was planned.
    let error = world.run("do").clean_with(&doing(&planned)).await.unwrap_err();
    assert!(
        matches!(&error, CleanError::Moved { what } if what.contains("condemned, deleted after")),
        "{error}"
    );
    world.pass(DAY).await;
    let planned = world.run("plan").clean_with(&plan).await.unwrap().clean.actions();
    assert_eq!(planned.iter().filter(|action| action.what == What::Delete).count(), 4);
    world.run("job").build().await.unwrap();
    world.net.memory.clear_log();
    let error = world.run("do").clean_with(&doing(&planned)).await.unwrap_err();
    assert!(matches!(&error, CleanError::Moved { what } if what.ends_with("is kept, leased")), "{error}");
    assert_eq!(writes(&world.log()), [] as [&Asked; 0]);
    check_stands(&world, &BOXES);
}

#[tokio::test(start_paused = true)]
async fn records_of_runs_and_of_promotions_that_ended_go_after_their_time() {
    let world = World::new();
    world.run("one").build().await.unwrap();
    world.run("one").on_revision("a", 8).promote("main").await.unwrap();
    world.pass(29 * DAY).await;
    world.run("two").on_revision("b", 9).promote("main").await.unwrap();
    world.run("two").build().await.unwrap();
    world.pass(DAY).await;
    let report = world.run("sweep").clean().await.unwrap();
    assert_eq!(report.records, 2);
    assert_eq!(
        (world.records("run."), world.records("plan.")),
        (vec![tag("run.two.1")], vec![tag("plan.main.2")])
    );
    // What was promoted is told for ever.
    assert_eq!(world.records("set.").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn requests_are_made_only_for_what_may_go_and_what_keeps() {
    let world = World::new();
    world.run("build").build().await.unwrap();
    world.run("build").promote("main").await.unwrap();
    world.net.memory.clear_log();
    // Everything is leased: no tag is resolved.
    world.run("sweep").clean_with(&CleanOptions { apply: false, ..sweeping() }).await.unwrap();
    let log = world.log();
    assert!(!log.iter().any(|asked| {
        BOXES.iter().any(|name| is(asked, Verb::Head, name, "") || is(asked, Verb::Get, name, ""))
    }));
    // Ten thousand tags that nothing keeps are told by their names.
    world.drop_leases();
    let digest = world.stands("lint").unwrap();
    let raw = done(world.net.memory.get(&repository("lint"), &digest.into())).unwrap().unwrap();
    for number in 0..10_000_u32 {
        let name = format!("k-{}", &Digest::of(&number.to_be_bytes()).hex()[..32]);
        world.net.memory.hold(&repository("lint"), &tag(&name), raw.clone());
    }
    world.net.memory.clear_log();
    let report = world.run("sweep").clean_with(&CleanOptions { apply: false, ..sweeping() }).await.unwrap();
    assert_eq!(report.clean.unread.len(), 10_000);
    let asked = world.log().len();
    assert!(asked < 40, "{asked} requests");
    eprintln!("{asked} requests for 10,000 tags that may go");
    // Whoever does it looks at each: these do not hold the images of their keys.
    let report = sweep_twice(&world).await;
    assert_eq!(report.clean.delete, []);
    assert!(report.clean.kept.len() > 10_000);
}

/// How many announcements were written, or deleted.
fn endings(log: &[Asked], verb: Verb) -> usize {
    log.iter().filter(|asked| is(asked, verb, "ledger", "ends.")).count()
}

/// A sweep that is suspended between its announcements writes no more of them: what it read is no
/// longer true. The same holds where it withdraws them.
#[tokio::test(start_paused = true)]
async fn a_sweep_that_was_suspended_announces_and_withdraws_no_more() {
    let world = aged().await;
    world.run("pr").promote_with(&pr("pr-2")).await.unwrap();
    world.drop_leases();
    world.pass(2 * DAY).await;
    let asleep = async |options: &CleanOptions| {
        world.net.memory.clear_log();
        let run = world.run("sweep");
        let clock = SleepyClock { world: &world, is_time: |log| endings(log, Verb::Put) > 0 };
        let ports = RegistryPorts { clock: &clock, ..run.ports() };
        let cancel = CancellationToken::new();
        let error = clean(ports, &run.setting, options, &|_| {}, &cancel).await.unwrap_err();
        assert!(matches!(error, CleanError::Late), "{error}");
        assert_eq!(endings(&world.log(), Verb::Put), 1);
    };
    asleep(&for_a_day()).await;
    assert_eq!(world.records("ends.").len(), 1);
    world.run("sweep").clean_with(&for_a_day()).await.unwrap();
    assert_eq!(world.records("ends.").len(), 2);
    let forever = CleanOptions { policies: Policies::new(), ..sweeping() };
    asleep(&forever).await;
}

/// An announcement that was withdrawn is forgotten as it was read, not as another sweep has
/// written it anew since.
#[tokio::test(start_paused = true)]
async fn an_announcement_that_was_made_anew_is_not_forgotten() {
    let world = aged().await;
    world.run("sweep").clean_with(&for_a_day()).await.unwrap();
    let forever = CleanOptions { policies: Policies::new(), ..sweeping() };
    world.run("sweep").clean_with(&forever).await.unwrap();
    let [ending] = world.records("ends.").try_into().unwrap();
    let withdrawn: UntagNotice = world.record(&ending);
    assert!(withdrawn.images.is_empty());
    world.pass(2 * DAY).await;
    // Between the sweep's look and its delete somebody announces it again.
    let image = TaggedDigest {
        repository: "lint".to_owned(),
        tag: tag("pr-1"),
        digest: world.stands("lint").unwrap(),
    };
    let anew = UntagNotice { marked: world.net.today(), images: vec![image], ..withdrawn };
    let (at, record) = (ending.clone(), anew.clone());
    world.net.before(
        |asked| asked.verb == Verb::Delete && asked.repository == Some(repository("ledger")),
        move |memory| done(memory.put(&repository("ledger"), &at.into(), &record.to_manifest())).unwrap(),
    );
    world.run("sweep").clean_with(&forever).await.unwrap();
    assert_eq!(world.record::<UntagNotice>(&ending), anew);
}
