//! A clean is undone: what it deleted stands again, by digest and by tag, or it is said why not.

use std::collections::BTreeMap;

use boxwright::adapter::memory::{Asked, Fault, Verb};
use boxwright::exec::{CleanOptions, CleanReport, Deletion, UndoError, UndoOptions, UndoReport, undo_clean};
use boxwright::model::{
    Digest, Document, KeptManifest, Lease, Purpose, RawManifest, Record, Span, Tag, Timestamp, Tombstone,
    UndoRecord,
};
use boxwright::port::{RegistryReader as _, RegistryWriter as _};
use boxwright::retention::PutBack;
use boxwright_testing::engine::{image, push};
use tokio_util::sync::CancellationToken;

use super::clean::{BOXES, check_stands, unleased};
use super::kills::killed_everywhere;
use super::net::{denied, done, gone, tag};
use super::world::{DAY, World, outcome, repository, sweeping, writes};

/// A sweep that keeps what it deletes for a week.
fn keeping() -> CleanOptions {
    CleanOptions { undo: Span::from_seconds(7 * DAY), ..sweeping() }
}

/// Condemns everything and deletes it a day later, by the run `cron`.
async fn swept(world: &World, options: &CleanOptions) -> CleanReport {
    world.run("before").clean_with(options).await.unwrap();
    world.pass(DAY).await;
    world.run("cron").clean_with(options).await.unwrap()
}

fn options(apply: bool) -> UndoOptions {
    UndoOptions { repositories: BOXES.map(repository).to_vec(), apply, ..UndoOptions::default() }
}

async fn undo_with(world: &World, options: &UndoOptions) -> Result<UndoReport, UndoError> {
    let run = world.run("undo");
    undo_clean(run.ports(), &run.setting, options, &|_| {}, &CancellationToken::new()).await
}

async fn undo(world: &World) -> UndoReport {
    undo_with(world, &options(true)).await.unwrap()
}

/// What became of each repository's image, in order; a part has no tag.
fn steps(report: &UndoReport) -> Vec<(&str, &'static str)> {
    let word = |step: &PutBack| match step {
        PutBack::Put => "put",
        PutBack::Stands => "stands",
        PutBack::Gone(_) => "gone",
        PutBack::Refused(_) => "refused",
    };
    report.images.iter().map(|one| (one.repository.as_str(), word(&one.step))).collect()
}

fn why<'a>(report: &'a UndoReport, name: &str) -> &'a str {
    let one = report.images.iter().find(|one| one.repository == name).unwrap();
    match (&one.step, &one.failed) {
        (_, Some(why)) | (PutBack::Gone(why) | PutBack::Refused(why), _) => why,
        _ => "",
    }
}

fn digests(world: &World) -> BTreeMap<&'static str, Option<Digest>> {
    BOXES.into_iter().map(|name| (name, world.stands(name))).collect()
}

fn is_undo(asked: &Asked) -> bool {
    asked.verb == Verb::Put && asked.reference.as_deref().is_some_and(|at| at.starts_with("undo."))
}

fn is_delete_of_box(asked: &&Asked) -> bool {
    asked.verb == Verb::Delete && asked.repository != Some(repository("ledger"))
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_stands_again_by_digest_and_tag_and_is_used() {
    let world = unleased().await;
    let before = digests(&world);
    let report = swept(&world, &keeping()).await;
    assert_eq!(report.deletions, vec![Deletion::Done; 4]);
    check_stands(&world, &[]);

    world.net.memory.clear_log();
    let plan = undo_with(&world, &options(false)).await.unwrap();
    assert_eq!(writes(&world.log()), [] as [&Asked; 0]);
    assert_eq!(plan.sweep.as_ref().unwrap().run.to_string(), "cron");
    // What stands on others comes after them.
    let order = steps(&plan);
    assert_eq!((order.len(), order[0]), (4, ("base", "put")));
    let place = |name| order.iter().position(|(at, _)| *at == name).unwrap();
    assert!(place("build") < place("test"), "{order:?}");

    let report = undo(&world).await;
    assert_eq!(steps(&report), order);
    assert!(report.images.iter().all(|one| one.failed.is_none()), "{report:?}");
    check_stands(&world, &BOXES);
    assert_eq!(digests(&world), before);
    // No build makes them anew, and the next sweep leaves them alone.
    let built = world.run("build").build().await.unwrap();
    assert!(outcome(&built).iter().all(|(_, word)| *word == "use"), "{:?}", outcome(&built));
    let next = world.run("next").clean_with(&keeping()).await.unwrap();
    assert!(next.clean.condemn.is_empty() && next.clean.delete.is_empty(), "{:?}", next.clean);
    // Once is enough.
    assert!(steps(&undo(&world).await).iter().all(|(_, step)| *step == "stands"));
}

#[tokio::test(start_paused = true)]
async fn what_was_put_back_is_condemned_anew_with_a_grace_of_its_own() {
    for is_retired in [false, true] {
        let world = unleased().await;
        swept(&world, &keeping()).await;
        if is_retired {
            world.run("retire").clean_with(&keeping()).await.unwrap();
            let tombstone: Tombstone = world.record(&world.tombstone_tag("base", 0));
            assert!(tombstone.images.is_empty());
        }
        undo(&world).await;
        // For as long as a lease lasts nothing happens to it.
        world.pass(2 * DAY - 1).await;
        let report = world.run("sweep").clean_with(&keeping()).await.unwrap();
        assert!(report.clean.condemn.is_empty() && report.clean.delete.is_empty());
        world.pass(1).await;
        let report = world.run("sweep").clean_with(&keeping()).await.unwrap();
        assert_eq!((report.clean.condemn.len(), report.clean.delete.len()), (4, 0), "{is_retired}");
        world.pass(DAY).await;
        let report = world.run("sweep").clean_with(&keeping()).await.unwrap();
        assert_eq!(report.deletions, vec![Deletion::Done; 4], "{is_retired}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_generation_that_was_replaced_comes_back_without_taking_the_new_ones_place() {
    let world = unleased().await;
    swept(&world, &keeping()).await;
    world.run("again").build().await.unwrap();
    let newer = world.at("base", &world.tag("base", 1)).unwrap();
    let report = undo(&world).await;
    assert!(steps(&report).iter().all(|(_, step)| *step == "put"), "{report:?}");
    let tombstone: Tombstone = world.record(&world.tombstone_tag("base", 0));
    assert_eq!(tombstone.marked, world.net.today());
    let built = world.run("use").build().await.unwrap();
    assert_eq!(built.boxes["base"].digest, Some(newer));
}

#[tokio::test(start_paused = true)]
async fn all_is_kept_and_read_back_before_the_first_delete() {
    let world = unleased().await;
    world.run("before").clean_with(&keeping()).await.unwrap();
    world.pass(DAY).await;
    world.net.memory.clear_log();
    world.run("cron").clean_with(&keeping()).await.unwrap();
    let log = world.log();
    let kept = log.iter().rposition(is_undo).unwrap();
    let name = log[kept].reference.clone();
    let read = log.iter().rposition(|asked| asked.verb == Verb::Head && asked.reference == name).unwrap();
    let first = log.iter().position(|asked| is_delete_of_box(&asked)).unwrap();
    assert!(kept < read && read < first, "{kept} {read} {first}");
    // A few manifests make one record, which holds just their bytes.
    let [at] = world.records("undo.").try_into().unwrap();
    let record: UndoRecord = world.record(&at);
    assert_eq!(record.expiry, record.kept.after(Span::from_seconds(7 * DAY)));
    assert_eq!(record.manifests.len(), 4);
    assert!(record.manifests.iter().all(|one| one.manifest().is_some()));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_not_deleted() {
    type Break = fn(&Asked) -> Option<Fault>;
    let write: Break = |asked| is_undo(asked).then(|| Fault::Before(denied()));
    let back: Break = |asked| {
        let is_it = asked.verb == Verb::Head;
        let is_undo = asked.reference.as_deref().is_some_and(|at| at.starts_with("undo."));
        (is_it && is_undo).then(|| Fault::Before(gone()))
    };
    let read: Break = |asked| {
        let is_it = asked.verb == Verb::Get && asked.repository == Some(repository("build"));
        (is_it && asked.reference.as_deref().is_some_and(|at| at.starts_with("sha256:")))
            .then(|| Fault::Before(gone()))
    };
    for (what, rule, stand) in
        [("write", write, &BOXES[..]), ("read back", back, &BOXES[..]), ("read", read, &["base", "build"])]
    {
        let world = unleased().await;
        world.run("before").clean_with(&keeping()).await.unwrap();
        world.pass(DAY).await;
        world.net.memory.clear_log();
        // From when it keeps on: the looks before read the same.
        let mut is_keeping = what != "read";
        world.net.before_each(move |asked, memory| {
            is_keeping |= asked.verb == Verb::DeleteSupport;
            if is_keeping {
                memory.break_when(rule);
            }
        });
        let report = world.run("cron").clean_with(&keeping()).await.unwrap();
        world.net.memory.mend();
        world.net.before_each(|_, _| {});
        let failed = report.deletions.iter().filter(|one| matches!(one, Deletion::Failed(_))).count();
        assert_eq!(failed, stand.len(), "{what}: {:?}", report.deletions);
        check_stands(&world, stand);
        if stand.len() == BOXES.len() {
            assert_eq!(world.log().iter().filter(is_delete_of_box).count(), 0, "{what}");
        }
        // The next sweep, which can keep it, takes it.
        let report = world.run("next").clean_with(&keeping()).await.unwrap();
        assert_eq!(report.deletions, vec![Deletion::Done; stand.len()], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_deleted_or_undo_is_off_nothing_is_kept() {
    let world = unleased().await;
    world.net.memory.set_deletes(false);
    let report = swept(&world, &keeping()).await;
    let stays = |one: &Deletion| matches!(one, Deletion::Unsupported | Deletion::Refused(_));
    assert!(report.deletions.iter().all(stays), "{:?}", report.deletions);
    assert_eq!(world.records("undo."), [] as [Tag; 0]);
    let world = unleased().await;
    swept(&world, &sweeping()).await;
    assert_eq!(world.records("undo."), [] as [Tag; 0]);
    let report = undo(&world).await;
    assert!(report.sweep.is_none() && report.images.is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_says_of_what_the_registry_no_longer_has_the_blobs() {
    let blobs = |world: &World, name: &str| {
        let raw = done(world.net.memory.get(&repository(name), &world.tag(name, 0).into())).unwrap().unwrap();
        let Document::Image(image) = raw.document().unwrap() else { panic!() };
        (image.config.digest, image.layers[0].digest.clone())
    };
    // A layer or a configuration of one that nothing stands on.
    for is_layer in [true, false] {
        let world = unleased().await;
        let (config, layer) = blobs(&world, "test");
        let lost = if is_layer { layer } else { config };
        swept(&world, &keeping()).await;
        world.net.memory.lose_blob(&repository("test"), &lost);
        let report = undo(&world).await;
        assert!(why(&report, "test").contains(&lost.to_string()), "{report:?}");
        check_stands(&world, &["base", "build", "lint"]);
    }
    // Nothing comes back that stands on what does not.
    let world = unleased().await;
    let (_, layer) = blobs(&world, "base");
    let base = world.stands("base").unwrap();
    swept(&world, &keeping()).await;
    world.net.memory.lose_blob(&repository("base"), &layer);
    let report = undo(&world).await;
    assert!(steps(&report).iter().all(|(_, step)| *step == "gone"), "{report:?}");
    assert!(why(&report, "build").contains(&base.to_string()), "{report:?}");
    check_stands(&world, &[]);
    assert_eq!(world.leases(), []);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_holds_something_else_by_now_is_left_alone() {
    let world = unleased().await;
    swept(&world, &keeping()).await;
    let at = world.tag("test", 0);
    let (config, layer, other) = image(&BTreeMap::new(), "somebody's");
    for blob in [config, layer] {
        done(world.net.memory.put_blob(&repository("test"), blob)).unwrap();
    }
    done(world.net.memory.put(&repository("test"), &at.clone().into(), &other)).unwrap();
    let report = undo(&world).await;
    assert!(why(&report, "test").contains(&other.digest().to_string()), "{report:?}");
    assert_eq!(world.at("test", &at).as_ref(), Some(other.digest()));
    assert!(["base", "build", "lint"].iter().all(|name| world.stands(name).is_some()));
    // So is one that is taken between the look and the write.
    let world = unleased().await;
    swept(&world, &keeping()).await;
    let (at, theirs) = (world.tag("test", 0), other.clone());
    world.net.before(
        |asked| asked.verb == Verb::Put && asked.repository == Some(repository("base")),
        move |memory| memory.hold(&repository("test"), &at, theirs.clone()),
    );
    let report = undo(&world).await;
    assert!(why(&report, "test").contains("now"), "{report:?}");
    assert_eq!(world.at("test", &world.tag("test", 0)).as_ref(), Some(other.digest()));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_goes_when_its_time_is_over_and_never_earlier() {
    let world = unleased().await;
    swept(&world, &keeping()).await;
    world.pass(7 * DAY - 1).await;
    // However far ahead a sweep looks, and whatever its own configuration says.
    let ahead = CleanOptions { ahead: Span::from_seconds(10 * DAY), ..sweeping() };
    world.run("early").clean_with(&ahead).await.unwrap();
    assert_eq!(world.records("undo.").len(), 1);
    assert!(undo_with(&world, &options(false)).await.unwrap().sweep.is_some());
    world.pass(1).await;
    let report = undo_with(&world, &options(true)).await.unwrap();
    assert!(report.sweep.is_none(), "{report:?}");
    world.run("late").clean_with(&keeping()).await.unwrap();
    assert_eq!(world.records("undo."), [] as [Tag; 0]);
}

#[tokio::test(start_paused = true)]
async fn sweeps_are_undone_one_by_one_the_newest_first() {
    let world = unleased().await;
    swept(&world, &keeping()).await;
    let newer = world.with_content("v2");
    newer.run("build").build().await.unwrap();
    newer.drop_leases();
    newer.run("mark").clean_with(&keeping()).await.unwrap();
    newer.pass(DAY).await;
    newer.run("cron-2").clean_with(&keeping()).await.unwrap();
    let report = undo_with(&world, &options(false)).await.unwrap();
    assert_eq!(report.sweep.unwrap().run.to_string(), "cron-2");
    assert_eq!(report.others.iter().map(|one| one.run.to_string()).collect::<Vec<_>>(), ["cron"]);
    let older = UndoOptions { run: Some("cron".parse().unwrap()), ..options(true) };
    undo_with(&world, &older).await.unwrap();
    check_stands(&world, &BOXES);
    check_stands(&newer, &[]);
    let unknown = UndoOptions { run: Some("other".parse().unwrap()), ..options(true) };
    assert!(matches!(undo_with(&world, &unknown).await, Err(UndoError::NothingKept { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_a_sweep_under_way_has_claimed_is_left_to_it() {
    let world = unleased().await;
    swept(&world, &keeping()).await;
    let (keys, purpose) = (vec![world.key("base")], Purpose::Cleaning);
    let taken = world.net.today();
    let lease = Lease {
        taken,
        expiry: taken.after(Span::from_seconds(3600)),
        run: "sweeper".parse().unwrap(),
        attempt: 1,
        nonce: Lease::nonce("4f4f4f4f", &keys, purpose),
        keys,
        purpose,
        turn: None,
    };
    world.write(&lease.tag().unwrap(), &lease);
    let report = undo(&world).await;
    assert!(why(&report, "base").contains("claimed"), "{report:?}");
    check_stands(&world, &[]);
    // Nothing is leased for what stays away.
    assert_eq!(world.leases(), [lease]);
}

/// Writes a record as whoever may push can.
fn forge(world: &World, manifests: Vec<KeptManifest>) {
    let kept = world.net.today();
    let expiry = kept.after(Span::from_seconds(30 * DAY));
    let (run, nonce) = ("forged".parse().unwrap(), "0a0a0a0a".to_owned());
    let record = UndoRecord { kept, expiry, run, nonce, manifests };
    world.write(&record.place().tag().unwrap(), &record);
}

#[tokio::test(start_paused = true)]
async fn a_forged_record_moves_no_tag_that_a_build_would_not_write() {
    let world = unleased().await;
    world.run("one").promote("main").await.unwrap();
    let before = digests(&world);
    let labels = |key: &str| {
        BTreeMap::from([
            ("io.boxwright.key".to_owned(), key.to_owned()),
            ("io.boxwright.generation".to_owned(), "0".to_owned()),
        ])
    };
    let key = world.key("base");
    let theirs = image(&labels(key.as_str()), "theirs").2;
    let whole = image(&labels(key.as_str()), "theirs");
    push(&*world.net.memory, &repository("base"), &tag("elsewhere"), whole).await;
    let kept = |name: &str, at: Option<Tag>, raw: &RawManifest| {
        KeptManifest::new(name.to_owned(), at, key.clone(), raw)
    };
    let stranger = image(&BTreeMap::new(), "stranger").2;
    forge(
        &world,
        vec![
            // A promoted tag, and one that was never anybody's.
            kept("base", Some(tag("main")), &theirs),
            kept("base", Some(tag("r2026.07")), &theirs),
            // A content tag that stands, and one of another key.
            kept("base", Some(world.tag("base", 0)), &theirs),
            kept("base", Some(world.tag("build", 0)), &theirs),
            // What says nothing of the tag, and has no blobs there either.
            kept("base", Some(world.tag("base", 7)), &stranger),
            // Another repository, and the ledger itself.
            kept("somebody-elses", None, &theirs),
            kept("ledger", Some(tag("set.main.9")), &theirs),
        ],
    );
    let report = undo(&world).await;
    assert_eq!(report.sweep.as_ref().unwrap().run.to_string(), "forged");
    assert!(steps(&report).iter().all(|(_, step)| *step == "refused" || *step == "gone"), "{report:?}");
    assert_eq!(digests(&world), before);
    assert_eq!(world.at("base", &tag("main")), before["base"]);
    assert!(world.at("base", &tag("r2026.07")).is_none());
    assert!(world.records("set.").iter().all(|at| at.as_str() != "set.main.9"));
}

#[tokio::test(start_paused = true)]
async fn where_sweeps_note_what_is_theirs_nothing_else_is_believed() {
    let noted = || Some(repository("cron"));
    let world = unleased().await;
    let sweeping = CleanOptions { sightings: noted(), ..keeping() };
    swept(&world, &sweeping).await;
    let raw = {
        let [at] = world.records("undo.").try_into().unwrap();
        let record: UndoRecord = world.record(&at);
        record.manifests
    };
    forge(&world, raw);
    let undoing = UndoOptions { sightings: noted(), ..options(true) };
    let forged = UndoOptions { run: Some("forged".parse().unwrap()), ..undoing.clone() };
    assert!(matches!(undo_with(&world, &forged).await, Err(UndoError::NothingKept { .. })));
    // The newest is the newest of the sweeps, whatever else claims to last longer.
    let report = undo_with(&world, &undoing).await.unwrap();
    assert_eq!((report.images.len(), report.aside.len(), report.others.len()), (4, 0, 0), "{report:?}");
    assert!(steps(&report).iter().all(|(_, step)| *step == "put"), "{report:?}");
    check_stands(&world, &BOXES);
    // Records that claim to stay for ever go with the next sweep; so do sightings of what is gone.
    let far = Timestamp::from_unix(4_000_000_000);
    let (run, nonce) = ("far".parse().unwrap(), "0b0b0b0b".to_owned());
    let record = UndoRecord { kept: far, expiry: far, run, nonce, manifests: Vec::new() };
    world.write(&record.place().tag().unwrap(), &record);
    world.run("next").clean_with(&sweeping).await.unwrap();
    assert!(world.records("undo.").iter().all(|at| !at.as_str().contains(".far.")));
}

#[tokio::test(start_paused = true)]
async fn a_clean_and_its_undo_are_finished_by_a_rerun_wherever_they_are_killed() {
    let template = unleased().await;
    let before = digests(&template);
    template.run("before").clean_with(&keeping()).await.unwrap();
    template.pass(DAY).await;
    template.net.memory.set_now(template.net.today());
    let clean = async |world: &World| drop(world.run("cron").clean_with(&keeping()).await.unwrap());
    let all_back = async |world: &World, what: &str| {
        // A sweep's claims end by themselves; what it had deleted by then is kept.
        world.pass(3 * 3600).await;
        undo_with(world, &options(true)).await.unwrap();
        assert_eq!(digests(world), before, "{what}");
    };
    let kills = killed_everywhere(&template, clean, all_back).await;
    // The claim, the record of what goes, four images, and the claim that is given up.
    assert_eq!(kills, 2 * (1 + 1 + 4 + 1));

    template.run("cron").clean_with(&keeping()).await.unwrap();
    template.net.memory.set_now(template.net.today());
    let undo = async |world: &World| drop(undo_with(world, &options(true)).await.unwrap());
    let again = async |world: &World, what: &str| {
        undo_with(world, &options(true)).await.unwrap();
        assert_eq!(digests(world), before, "{what}");
        let built = world.run("build").build().await.unwrap();
        assert!(outcome(&built).iter().all(|(_, word)| *word == "use"), "{what}: {:?}", outcome(&built));
    };
    let kills = killed_everywhere(&template, undo, again).await;
    // The lease, four images, four tombstones.
    assert_eq!(kills, 2 * (1 + 4 + 4));
}
