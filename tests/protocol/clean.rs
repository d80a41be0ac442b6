//! Sweeps: what is condemned, what is deleted later, and what keeps an image.

use std::collections::{BTreeMap, BTreeSet};

use boxwright::adapter::memory::{Asked, Verb};
use boxwright::exec::{CleanOptions, CleanReport, Deletion};
use boxwright::model::{Digest, Document, Key, Lease, MediaType, RawManifest, Span, Tag, Tombstone};
use boxwright::port::{RegistryReader, RegistryWriter};
use boxwright_testing::engine::{image, push};

use super::net::{done, tag};
use super::world::{DAY, World, repository, sweeping, to, writes};

pub const BOXES: [&str; 4] = ["base", "build", "lint", "test"];

/// Builds all boxes and lets their leases end.
pub async fn unleased() -> World {
    let world = World::new();
    world.run("build").build().await.unwrap();
    world.drop_leases();
    world
}

/// Sweeps twice, with the grace between.
pub async fn sweep_twice(world: &World) -> CleanReport {
    let first = world.run("sweep").clean().await.unwrap();
    assert_eq!(first.deletions, []);
    world.pass(DAY).await;
    world.run("sweep").clean().await.unwrap()
}

/// Checks which boxes stand under their first content tags, and that all that stands is whole.
pub fn check_stands(world: &World, expect: &[&str]) {
    let standing: Vec<&str> = BOXES.into_iter().filter(|name| world.stands(name).is_some()).collect();
    assert_eq!(standing, expect);
    check_whole(world);
}

/// Every tag resolves; every image that a foreign tag points to has its bases.
pub fn check_whole(world: &World) {
    let memory = &world.net.memory;
    let all: BTreeSet<Digest> = BOXES.iter().flat_map(|name| everything(world, name)).collect();
    for name in BOXES {
        for at in tags(world, name) {
            let raw = done(memory.get(&repository(name), &at.clone().into())).unwrap();
            let raw = raw.unwrap_or_else(|| panic!("{name}:{at} is dangling"));
            let Document::Image(image) = raw.document().unwrap() else { continue };
            let config = done(memory.get_blob(&repository(name), &image.config.digest, 10_000)).unwrap();
            let config: serde_json::Value = serde_json::from_slice(&config.unwrap()).unwrap();
            let Some(parents) = config["config"]["Labels"]["io.boxwright.parents"].as_str() else { continue };
            let parents: BTreeMap<Key, Digest> = serde_json::from_str(parents).unwrap();
            for parent in parents.values() {
                assert!(all.contains(parent), "{name}:{at} stands on {parent}, which is gone");
            }
        }
    }
}

pub fn tags(world: &World, name: &str) -> BTreeSet<Tag> {
    done(world.net.memory.tags(&repository(name))).unwrap().tags
}

fn everything(world: &World, name: &str) -> Vec<Digest> {
    tags(world, name).iter().filter_map(|at| world.at(name, at)).collect()
}

fn deleted(report: &CleanReport) -> Vec<&str> {
    report.clean.delete.iter().map(|doomed| doomed.seen.repository.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_in_the_run_that_condemns() {
    let world = unleased().await;
    world.net.memory.clear_log();
    let report = world.run("sweep").clean().await.unwrap();
    assert_eq!(report.clean.condemn.len(), 4);
    assert!(world.log().iter().all(|asked| asked.verb != Verb::Delete));
    check_stands(&world, &BOXES);
    let tombstone: Tombstone = world.record(&world.tombstone_tag("base", 0));
    assert_eq!(tombstone.marked, report.now);
    let [marked] = tombstone.images.try_into().unwrap();
    assert_eq!((marked.repository.as_str(), marked.tag), ("base", world.tag("base", 0)));
    assert_eq!(Some(marked.digest), world.stands("base"));
    // Nor a second before the grace is over.
    world.pass(DAY - 1).await;
    let report = world.run("sweep").clean().await.unwrap();
    assert!(report.clean.delete.is_empty() && report.clean.condemn.is_empty());
    world.pass(1).await;
    let report = world.run("sweep").clean().await.unwrap();
    assert_eq!(report.deletions, vec![Deletion::Done; 4]);
    assert_eq!(deleted(&report).last(), Some(&"base"));
    check_stands(&world, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_alone_writes_nothing() {
    let world = unleased().await;
    world.run("sweep").clean().await.unwrap();
    world.pass(DAY).await;
    world.net.memory.clear_log();
    let report = world.run("plan").clean_with(&CleanOptions { apply: false, ..sweeping() }).await.unwrap();
    assert_eq!(report.clean.delete.len(), 4);
    assert_eq!(writes(&world.log()), [] as [&Asked; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_keeps_its_boxes_and_everything_they_stand_on() {
    let world = World::new();
    world.run("build").build().await.unwrap();
    let report = sweep_twice(&world).await;
    assert!(report.clean.condemn.is_empty() && report.clean.delete.is_empty());
    // A lease that names the child alone keeps its bases, too.
    world.drop_leases();
    let only = World::of(&["test"]).beside(&world);
    let mut lease = {
        only.run("child").build().await.unwrap();
        let [lease] = only.leases().try_into().unwrap();
        lease
    };
    only.drop_leases();
    lease.keys = vec![world.key("test")];
    lease.nonce = Lease::nonce("4f4f4f4f", &lease.keys, Default::default());
    world.write(&lease.tag().unwrap(), &lease);
    let report = sweep_twice(&world).await;
    assert_eq!(deleted(&report), ["lint"]);
    check_stands(&world, &["base", "build", "test"]);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_keeps_its_set_and_what_it_stands_on() {
    let world = unleased().await;
    let three = World::of(&["test"]).beside(&world);
    three.run("promote").promote("main").await.unwrap();
    three.drop_leases();
    sweep_twice(&world).await;
    check_stands(&world, &["base", "build", "test"]);
    // A tag that somebody else put on the last one keeps that one.
    let world = unleased().await;
    world.retag("lint", "somebody-elses");
    sweep_twice(&world).await;
    check_stands(&world, &["base", "lint"]);
}

#[tokio::test(start_paused = true)]
async fn replaced_promotions_are_kept_as_their_channel_says() {
    let world = unleased().await;
    world.run("one").promote("main").await.unwrap();
    let newer = world.with_content("v2");
    newer.run("two").build().await.unwrap();
    world.pass(10 * DAY).await;
    newer.run("two").promote("main").await.unwrap();
    world.drop_leases();
    // The last one stays; the one before for a day after it was replaced.
    world.pass(DAY / 2).await;
    world.run("sweep").clean().await.unwrap();
    assert_eq!(world.records("over."), [] as [Tag; 0]);
    world.pass(DAY / 2).await;
    sweep_twice(&world).await;
    check_stands(&world, &[]);
    check_stands(&newer, &BOXES);
    // Where no limit is set, everything that was ever promoted stays.
    let world = unleased().await;
    world.run("one").promote("main").await.unwrap();
    let newer = world.with_content("v2");
    newer.run("two").build().await.unwrap();
    newer.run("two").promote("main").await.unwrap();
    world.drop_leases();
    world.pass(10 * DAY).await;
    let forever = CleanOptions { policies: vec![], ..sweeping() };
    let report = world.run("sweep").clean_with(&forever).await.unwrap();
    assert!(report.clean.condemn.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_stopped_half_way_keeps_what_it_wants() {
    let world = unleased().await;
    world.run("one").promote("main").await.unwrap();
    let newer = world.with_content("v2");
    newer.run("two").build().await.unwrap();
    newer.net.before(
        |asked| super::net::is(asked, Verb::Put, "build", "main"),
        |memory| memory.break_when(|_| Some(boxwright::adapter::memory::Fault::Before(super::net::gone()))),
    );
    newer.run("two").promote("main").await.unwrap_err();
    world.net.memory.mend();
    world.drop_leases();
    world.pass(10 * DAY).await;
    sweep_twice(&world).await;
    // Both the set that stands, partly, and the one that is to replace it.
    check_stands(&world, &BOXES);
    check_stands(&newer, &BOXES);
    newer.run("three").promote("main").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn children_of_an_index_and_their_bases_are_kept() {
    let world = unleased().await;
    let child = world.stands("test").unwrap();
    let index = |children: &[&Digest]| {
        let manifests: Vec<_> = children
            .iter()
            .map(|digest| {
                serde_json::json!({ "mediaType": MediaType::OciManifest.as_str(), "digest": digest, "size": 1 })
            })
            .collect();
        let text = serde_json::json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
        RawManifest::new(MediaType::OciIndex, text)
    };
    // The child of interest is the second one, and has no tag: only the index leads to its bases.
    let memory = &world.net.memory;
    let first = done(push(&**memory, &repository("test"), &tag("first"), image(&BTreeMap::new(), "first")));
    done(memory.put(&repository("test"), &tag("multi").into(), &index(&[&first, &child]))).unwrap();
    let at = world.tag("test", 0);
    done(push(&**memory, &repository("test"), &at, image(&BTreeMap::new(), "other")));
    sweep_twice(&world).await;
    assert_eq!((world.stands("lint"), world.stands("build").is_some()), (None, true));
    let found = done(memory.head(&repository("test"), &child.clone().into())).unwrap();
    assert_eq!(found, Some(child));
    check_whole(&world);
}

#[tokio::test(start_paused = true)]
async fn a_base_without_a_tag_leads_to_its_own_base() {
    let world = unleased().await;
    world.retag("test", "main");
    // The tag of the box between was written over; its image is still what `test` stands on.
    let at = world.tag("build", 0);
    done(push(&*world.net.memory, &repository("build"), &at, image(&BTreeMap::new(), "other")));
    sweep_twice(&world).await;
    assert!(world.stands("base").is_some());
    assert_eq!(world.stands("lint"), None);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_attached_to_an_image_keeps_it() {
    let world = unleased().await;
    let digest = world.stands("lint").unwrap();
    let (_, _, plain) = image(&BTreeMap::new(), "sig");
    let mut manifest: serde_json::Value = serde_json::from_slice(plain.bytes()).unwrap();
    manifest["artifactType"] = "application/vnd.example.signature".into();
    manifest["subject"] =
        serde_json::json!({ "mediaType": MediaType::OciManifest.as_str(), "digest": digest, "size": 1 });
    let signature = RawManifest::new(MediaType::OciManifest, manifest.to_string());
    let memory = &world.net.memory;
    done(push(&**memory, &repository("lint"), &tag("plain"), image(&BTreeMap::new(), "sig")));
    done(memory.put(&repository("lint"), &tag("signature").into(), &signature)).unwrap();
    sweep_twice(&world).await;
    check_stands(&world, &["base", "lint"]);
}

#[tokio::test(start_paused = true)]
async fn a_look_ahead_deletes_but_writes_no_false_date() {
    let world = unleased().await;
    let today = world.net.today();
    let ahead = CleanOptions { ahead: Span::from_seconds(10 * DAY), ..sweeping() };
    let report = world.run("sweep").clean_with(&ahead).await.unwrap();
    assert_eq!(report.now, today.after(Span::from_seconds(10 * DAY)));
    let tombstone: Tombstone = world.record(&world.tombstone_tag("base", 0));
    assert_eq!(tombstone.marked, today);
    // Ten days on they could go; so they go in the next run that looks ahead.
    let report = world.run("sweep").clean_with(&ahead).await.unwrap();
    assert_eq!(report.deletions, vec![Deletion::Done; 4]);
    // Their tombstones stay as long as they must by the true time.
    world.run("sweep").clean_with(&ahead).await.unwrap();
    assert_eq!(world.records("over.").len(), 4);
    // A lease that has not ended is not removed either.
    world.run("build").build().await.unwrap();
    let report = world.run("sweep").clean_with(&ahead).await.unwrap();
    assert_eq!((report.expired, world.leases().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn leases_that_ended_and_tombstones_that_are_settled_are_removed() {
    let world = World::new();
    world.run("build").build().await.unwrap();
    world.pass(2 * DAY - 5).await;
    world.run("again").build().await.unwrap();
    world.pass(10).await;
    let report = world.run("sweep").clean().await.unwrap();
    assert_eq!((report.expired, world.leases().len()), (1, 1));
    world.pass(2 * DAY).await;
    let report = sweep_twice(&world).await;
    assert_eq!(report.deletions, vec![Deletion::Done; 4]);
    // Tombstones are retired by the first sweep that finds their images gone, and go a day later.
    let images = |world: &World| -> usize {
        let tombstones = world.records("over.").into_iter();
        tombstones.map(|at| world.record::<Tombstone>(&at).images.len()).sum()
    };
    assert_eq!((world.records("over.").len(), images(&world)), (4, 4));
    world.pass(10 * DAY).await;
    world.run("sweep").clean().await.unwrap();
    assert_eq!((world.records("over.").len(), images(&world)), (4, 0));
    world.pass(DAY - 1).await;
    world.run("sweep").clean().await.unwrap();
    assert_eq!(world.records("over.").len(), 4);
    world.pass(1).await;
    world.run("sweep").clean().await.unwrap();
    assert_eq!(world.records("over."), [] as [Tag; 0]);
}

#[tokio::test(start_paused = true)]
async fn after_it_was_condemned_the_next_generation_is_built() {
    let world = unleased().await;
    world.run("sweep").clean().await.unwrap();
    let run = world.run("two");
    let report = run.build().await.unwrap();
    assert!(report.boxes.values().all(|one| one.generation.0 == 1));
    world.pass(DAY).await;
    world.run("sweep").clean().await.unwrap();
    // The lease covers the key in all its generations.
    check_stands(&world, &BOXES);
    world.drop_leases();
    world.run("sweep").clean().await.unwrap();
    check_stands(&world, &[]);
    for name in BOXES {
        assert_eq!(world.at(name, &world.tag(name, 1)), report.boxes[name].digest);
    }
    // A promotion takes the current one.
    world.run("three").build().await.unwrap();
    world.run("three").promote_with(&to("main")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_pushed_under_a_condemned_tag_goes_later() {
    let world = unleased().await;
    world.run("sweep").clean().await.unwrap();
    let labels = BTreeMap::from([
        ("io.boxwright.key".to_owned(), world.key("lint").to_string()),
        ("io.boxwright.generation".to_owned(), "0".to_owned()),
    ]);
    let at = world.tag("lint", 0);
    let late = done(push(&*world.net.memory, &repository("lint"), &at, image(&labels, "late")));
    world.pass(DAY).await;
    let report = world.run("sweep").clean().await.unwrap();
    assert_eq!(deleted(&report), ["test", "build", "base"]);
    let tombstone: Tombstone = world.record(&world.tombstone_tag("lint", 0));
    assert!(tombstone.marked >= report.now);
    assert_eq!(tombstone.images[0].digest, late);
    world.pass(DAY).await;
    world.run("sweep").clean().await.unwrap();
    assert_eq!(world.stands("lint"), None);
}
