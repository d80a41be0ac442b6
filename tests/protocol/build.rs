//! One build: what is built, on what, with which labels, and what it leaves behind.

use std::collections::BTreeMap;

use boxwright::adapter::memory::{Asked, Fault, Verb};
use boxwright::exec::{Outcome, PromoteError, RunError, prepare, replace};
use boxwright::model::{Digest, Key, MediaType, RawManifest, RunRecord};
use boxwright::port::{Registry, RegistryReader, RegistryWriter, RunImage};
use boxwright_testing::engine::{image, push};

use super::net::{done, is, tag, unavailable};
use super::world::{DAY, World, digests, outcome, repository, writes};

const ALL_BUILT: [(&str, &str); 4] =
    [("base", "built"), ("build", "built"), ("lint", "built"), ("test", "built")];
const ALL_USED: [(&str, &str); 4] = [("base", "use"), ("build", "use"), ("lint", "use"), ("test", "use")];

#[tokio::test(start_paused = true)]
async fn a_first_build_builds_all_parents_first_on_their_digests() {
    let world = World::new();
    let run = world.run("one");
    let report = run.build().await.unwrap();
    assert_eq!(outcome(&report), ALL_BUILT);
    let order = run.engine.built();
    let place = |name: &str| order.iter().position(|built| built == name).unwrap();
    assert!(
        place("base") < place("build") && place("build") < place("test") && place("base") < place("lint")
    );
    for (child, parent) in [("build", "base"), ("lint", "base"), ("test", "build")] {
        let request = run.engine.request(child);
        let sent = String::from_utf8(request.dockerfile).unwrap();
        let digest = world.stands(parent).unwrap();
        assert!(sent.contains(&format!("FROM r.example/{parent}@{digest}\n")), "{sent}");
        let recorded: BTreeMap<Key, Digest> =
            serde_json::from_str(&request.labels["io.boxwright.parents"]).unwrap();
        assert_eq!(recorded, BTreeMap::from([(world.key(parent), digest)]));
        assert_eq!(request.labels["io.boxwright.key"], world.key(child).to_string());
        assert_eq!(request.labels["io.boxwright.generation"], "0");
        assert_eq!(request.labels["org.opencontainers.image.revision"], "c0ffee");
        assert_eq!(report.boxes[child].digest, world.stands(child));
    }
    assert_eq!(run.engine.request("base").labels["io.boxwright.parents"], "{}");
}

#[tokio::test(start_paused = true)]
async fn a_second_build_builds_nothing_and_has_every_side_effect() {
    let world = World::new();
    let first = world.run("one").build().await.unwrap();
    world.pass(100).await;
    let run = world.run("two");
    let report = run.build().await.unwrap();
    assert_eq!(outcome(&report), ALL_USED);
    assert_eq!(digests(&report), digests(&first));
    let script = run.engine.script.lock().unwrap();
    assert_eq!((script.built.len(), script.pushed.len(), script.checks), (0, 0, 0));
    // A lease of its own, which ends later.
    let leases = world.leases();
    assert_eq!(leases.len(), 2);
    let lease = leases.iter().find(|lease| lease.run.to_string() == "two").unwrap();
    assert_eq!(lease.keys.len(), 4);
    assert!(lease.expiry > first.lease_until.unwrap());
    assert_eq!(report.lease_until, Some(lease.expiry));
    let record: RunRecord = world.record(&tag("run.two.1"));
    assert_eq!(record.boxes.len(), 4);
    for used in &record.boxes {
        assert_eq!((used.action.as_str(), &used.digest), ("use", &world.stands(&used.name)));
        assert_eq!((&used.repository, &used.key), (&used.name, &world.key(&used.name)));
    }
    let first: RunRecord = world.record(&tag("run.one.1"));
    assert!(first.boxes.iter().all(|used| used.action == "built"));
}

#[tokio::test(start_paused = true)]
async fn only_what_changed_is_built() {
    let world = World::new();
    world.run("one").build().await.unwrap();
    let digest = world.stands("build").unwrap();
    // Somebody deletes it by hand.
    done(world.net.memory.delete(&repository("build"), &digest)).unwrap();
    let run = world.run("two");
    let report = run.build().await.unwrap();
    // What stood on it was built on another image.
    let expect = [("base", "use"), ("build", "built"), ("lint", "use"), ("test", "built")];
    assert_eq!(outcome(&report), expect);
    assert!(report.boxes["test"].reason.contains("another image of parent build"));
    assert_eq!(world.run("three").build().await.map(|report| outcome(&report) == ALL_USED).ok(), Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_failed_box_stops_only_what_stands_on_it() {
    let world = World::new();
    let run = world.run("one");
    run.engine.script.lock().unwrap().fail.insert("build".to_owned());
    let report = run.build().await.unwrap();
    let expect = [("base", "built"), ("build", "failed"), ("lint", "built"), ("test", "skipped")];
    assert_eq!(outcome(&report), expect);
    assert_eq!(report.boxes["test"].outcome, Outcome::Skipped("build".to_owned()));
    assert!(report.boxes["build"].reason.contains("RUN make"));
    // It is tried once: what fails is not tried again when the run looks at all anew.
    assert_eq!(run.engine.built().iter().filter(|name| *name == "build").count(), 1);
    assert_eq!(run.told().matches("Failed { name").count(), 1);
    assert_eq!(run.told().matches("Skipped {").count(), 1);
    // The claim on what does not stand is given up.
    let [lease] = world.leases().try_into().unwrap();
    let mut keys = lease.keys;
    keys.sort();
    let mut standing = vec![world.key("base"), world.key("lint")];
    standing.sort();
    assert_eq!(keys, standing);
    assert_eq!(report.lease_until, Some(lease.expiry));
    let record: RunRecord = world.record(&tag("run.one.1"));
    let actions: Vec<&str> = record.boxes.iter().map(|used| used.action.as_str()).collect();
    assert_eq!(actions, ["built", "failed", "built", "skipped"]);
    assert_eq!(record.boxes[1].digest, None);
}

#[tokio::test(start_paused = true)]
async fn a_read_only_registry_is_enough_if_all_is_there() {
    let world = World::new();
    world.run("one").build().await.unwrap();
    world.net.memory.set_read_only(true);
    let (leases, before) = (world.leases(), world.records(""));
    let run = world.run("fork");
    let report = run.build().await.unwrap();
    assert_eq!(outcome(&report), ALL_USED);
    assert_eq!(report.lease_until, None);
    assert!(run.told().contains("ReadOnly"), "{}", run.told());
    assert_eq!((world.leases(), world.records("")), (leases, before));
}

#[tokio::test(start_paused = true)]
async fn a_read_only_registry_with_something_missing_says_so() {
    let world = World::new();
    world.net.memory.set_read_only(true);
    world.net.memory.clear_log();
    let run = world.run("fork");
    let report = run.build().await.unwrap();
    assert!(matches!(&report.boxes["base"].outcome, Outcome::Forbidden(why) if why.contains("no push")));
    assert_eq!(report.boxes["test"].outcome, Outcome::Skipped("base".to_owned()));
    assert_eq!(run.engine.script.lock().unwrap().checks, 0);
    // One lease was tried for, nothing else.
    assert_eq!(writes(&world.log()).len(), 1);
}

/// Who may only read gets what stands, and sends no write whatever is asked for.
#[tokio::test(start_paused = true)]
async fn a_run_that_writes_nothing_sends_no_write() {
    let world = World::new();
    let mut fork = world.run("fork");
    fork.shut = Some("a fork's run");
    let report = fork.build().await.unwrap();
    assert!(matches!(report.boxes["base"].outcome, Outcome::Forbidden(_)));
    assert!(fork.told().contains("a fork's run"), "{}", fork.told());
    assert_eq!(writes(&world.log()), Vec::<&Asked>::new());
    world.run("one").build().await.unwrap();
    // Nothing keeps what was built.
    world.pass(3 * DAY).await;
    world.net.memory.clear_log();
    assert_eq!(outcome(&fork.build().await.unwrap()), ALL_USED);
    assert!(matches!(fork.promote("main").await, Err(PromoteError::ReadOnly)));
    let errors = [
        fork.clean().await.unwrap_err().to_string(),
        replace(fork.ports(), &fork.setting, &[world.keyed("base")], true, &|_| {})
            .await
            .unwrap_err()
            .to_string(),
    ];
    for error in errors {
        assert!(error.contains("permission denied (a fork's run)"), "{error}");
    }
    assert_eq!(writes(&world.log()), Vec::<&Asked>::new());
}

/// Puts something unusable under a box's tag and checks that it is built anew.
async fn is_rebuilt(spoil: impl FnOnce(&World), why: &str) {
    let world = World::of(&["base"]);
    let first = world.run("one").build().await.unwrap();
    spoil(&world);
    let run = world.run("two");
    let report = run.build().await.unwrap();
    assert_eq!(report.boxes["base"].seen.state.word(), "broken", "{why}");
    assert!(report.boxes["base"].reason.contains(why), "{}", report.boxes["base"].reason);
    assert_eq!(outcome(&report), [("base", "built")]);
    assert_ne!(digests(&report), digests(&first));
    assert_eq!(world.stands("base"), report.boxes["base"].digest);
}

fn put(world: &World, labels: &[(&str, String)]) {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    done(push(&*world.net.memory, &repository("base"), &world.tag("base", 0), image(&labels, "other")));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_is_built_anew() {
    let key = |world: &World| ("io.boxwright.key", world.key("base").to_string());
    let generation = |number: &str| ("io.boxwright.generation", number.to_owned());
    let other = Key::of(b"other").to_string();
    is_rebuilt(|world| put(world, &[("io.boxwright.key", other), generation("0")]), "another key").await;
    is_rebuilt(|world| put(world, &[]), "another key").await;
    is_rebuilt(|world| put(world, &[key(world), generation("1")]), "another generation").await;
    let parents = ("io.boxwright.parents", "[1]".to_owned());
    is_rebuilt(|world| put(world, &[key(world), generation("0"), parents]), "cannot be read").await;
}

fn put_raw(world: &World, media_type: MediaType, text: String) {
    let raw = RawManifest::new(media_type, text);
    done(world.net.memory.put(&repository("base"), &world.tag("base", 0).into(), &raw)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_index_without_our_platform_is_built_anew() {
    let spoil = |platform: &'static str| {
        move |world: &World| {
            let child = world.stands("base").unwrap();
            let descriptor = serde_json::json!({
                "mediaType": MediaType::OciManifest.as_str(), "digest": child, "size": 1,
                "platform": { "os": "linux", "architecture": platform },
            });
            let index = serde_json::json!({ "schemaVersion": 2, "manifests": [descriptor] });
            put_raw(world, MediaType::OciIndex, index.to_string());
            if platform != "sparc" {
                done(world.net.memory.delete(&repository("base"), &child)).unwrap();
            }
        }
    };
    is_rebuilt(spoil("sparc"), "has no image for").await;
    let host = config_architecture();
    is_rebuilt(spoil(host), "is missing").await;
}

/// The architecture that the project's boxes are built for: this machine's.
fn config_architecture() -> &'static str {
    let platform = World::of(&["base"]).keyed("base").spec.platform.architecture().to_owned();
    Box::leak(platform.into_boxed_str())
}

#[tokio::test(start_paused = true)]
async fn an_image_without_its_configuration_is_built_anew() {
    // The model refuses such an image, as a registry does; the blob vanishes later.
    let spoil = |world: &World| {
        let at = world.tag("base", 0).into();
        let raw = done(world.net.memory.get(&repository("base"), &at)).unwrap().unwrap();
        let boxwright::model::Document::Image(image) = raw.document().unwrap() else { panic!() };
        world.net.memory.lose_blob(&repository("base"), &image.config.digest);
    };
    is_rebuilt(spoil, "configuration").await;
}

#[tokio::test(start_paused = true)]
async fn a_box_is_looked_at_again_before_it_is_built_and_before_it_is_pushed() {
    let world = World::of(&["base"]);
    let run = world.run("one");
    let labels = BTreeMap::from([
        ("io.boxwright.key".to_owned(), world.key("base").to_string()),
        ("io.boxwright.generation".to_owned(), "0".to_owned()),
    ]);
    // Somebody without a lease pushes while we build.
    let at = world.tag("base", 0);
    run.engine.script.lock().unwrap().on_build = Some(Box::new(move |_, memory| {
        done(push(memory, &repository("base"), &at, image(&labels, "theirs")));
    }));
    let report = run.build().await.unwrap();
    assert_eq!(outcome(&report), [("base", "built")]);
    assert_eq!(run.engine.pushed(), [""; 0]);
    assert_eq!(report.boxes["base"].digest, world.stands("base"));
    assert!(run.told().contains("adopted: true"));
}

#[tokio::test(start_paused = true)]
async fn a_condemned_tag_is_never_written() {
    let world = World::of(&["base"]);
    world.run("one").build().await.unwrap();
    let old = world.stands("base").unwrap();
    let tombstone = |marked| boxwright::model::Tombstone {
        key: world.key("base"),
        generation: boxwright::model::Generation(0),
        marked,
        reason: String::new(),
        images: Vec::new(),
        parts: Default::default(),
    };
    world.write(&world.tombstone_tag("base", 0), &tombstone(boxwright::model::Timestamp::from_unix(0)));
    let run = world.run("two");
    let report = run.build().await.unwrap();
    assert_eq!(outcome(&report), [("base", "built")]);
    assert_eq!(run.engine.pushed(), [format!("base:{}", world.tag("base", 1))]);
    assert_eq!(run.engine.request("base").labels["io.boxwright.generation"], "1");
    assert_eq!(report.boxes["base"].generation.0, 1);
    assert_eq!(world.stands("base"), Some(old));
    assert_eq!(outcome(&world.run("three").build().await.unwrap()), [("base", "use")]);
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_that_appears_during_the_build_or_the_push_leads_to_the_next_generation() {
    for is_push in [false, true] {
        let world = World::of(&["base"]);
        let run = world.run("one");
        let (key, at) = (world.key("base"), world.tombstone_tag("base", 0));
        let hook = move |_: &str, memory: &boxwright::adapter::memory::MemoryRegistry| {
            let tombstone = boxwright::model::Tombstone {
                key: key.clone(),
                generation: boxwright::model::Generation(0),
                marked: boxwright::model::Timestamp::from_unix(0),
                reason: String::new(),
                images: Vec::new(),
                parts: Default::default(),
            };
            use boxwright::model::Record;
            done(memory.put(&repository("ledger"), &at.clone().into(), &tombstone.to_manifest())).unwrap();
        };
        let script = &run.engine.script;
        if is_push {
            script.lock().unwrap().before_push = Some(Box::new(hook));
        } else {
            script.lock().unwrap().on_build = Some(Box::new(hook));
        }
        let report = run.build().await.unwrap();
        assert_eq!(run.engine.built(), ["base", "base"]);
        assert_eq!(report.boxes["base"].generation.0, 1);
        assert_eq!(run.engine.request("base").labels["io.boxwright.generation"], "1");
        assert_eq!(world.at("base", &world.tag("base", 1)), report.boxes["base"].digest);
        if !is_push {
            assert_eq!(run.engine.pushed(), [format!("base:{}", world.tag("base", 1))]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_reported_that_was_not_read_back() {
    let world = World::of(&["base"]);
    let run = world.run("one");
    // The tag is overwritten by somebody else right after our push.
    let labels = BTreeMap::from([
        ("io.boxwright.key".to_owned(), world.key("base").to_string()),
        ("io.boxwright.generation".to_owned(), "0".to_owned()),
    ]);
    let (at, text) = (world.tag("base", 0), world.tag("base", 0).to_string());
    let mut gets = 0;
    world.net.before_each(move |asked, memory| {
        gets += usize::from(is(asked, Verb::Get, "base", &text));
        // The probe, the look before the build, the one before the push; then the read-back.
        if gets == 4 {
            gets += 1;
            done(push(memory, &repository("base"), &at, image(&labels, "theirs")));
        }
    });
    let report = run.build().await.unwrap();
    assert_eq!(run.engine.pushed().len(), 1);
    assert_eq!(report.boxes["base"].digest, world.stands("base"));
    assert!(run.told().contains("adopted: true"), "{}", run.told());
    // It was right the first time, not only when all was looked at once more.
    assert!(!run.told().contains("Used {"), "{}", run.told());
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_not_tried_again_when_a_parent_moved() {
    let world = World::of(&["base", "build", "lint"]);
    let run = world.run("one");
    let labels = BTreeMap::from([
        ("io.boxwright.key".to_owned(), world.key("base").to_string()),
        ("io.boxwright.generation".to_owned(), "0".to_owned()),
    ]);
    let at = world.tag("base", 0);
    let mut is_moved = false;
    run.engine.set(|script| {
        script.fail.insert("lint".to_owned());
        // Another run's base overtakes ours, so that the child is built twice.
        script.before_push = Some(Box::new(move |name, memory| {
            if name == "build" && !std::mem::replace(&mut is_moved, true) {
                done(push(memory, &repository("base"), &at, image(&labels, "theirs")));
            }
        }));
    });
    let report = run.build().await.unwrap();
    assert_eq!(outcome(&report), [("base", "built"), ("build", "built"), ("lint", "failed")]);
    assert_eq!(report.boxes["base"].digest, world.stands("base"));
    let built = run.engine.built();
    let count = |name: &str| built.iter().filter(|built| *built == name).count();
    assert_eq!((count("base"), count("build"), count("lint")), (1, 2, 1));
    assert_eq!(run.told().matches("Failed { name").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_command_runs_in_what_stands_or_not_at_all() {
    let world = World::of(&["base"]);
    let run = world.run("one");
    let missing = prepare(&*world.net.far, run.engine.ports(), &run.setting, world.keyed("base")).await;
    assert!(matches!(missing, Err(RunError::Missing { .. })));
    run.build().await.unwrap();
    let image =
        prepare(&*world.net.far, run.engine.ports(), &run.setting, world.keyed("base")).await.unwrap();
    let RunImage::Pushed { digest, .. } = image else { panic!("{image:?}") };
    assert_eq!(Some(digest), world.stands("base"));
    for verb in [Verb::Head, Verb::Get, Verb::GetBlob] {
        world.net.memory.break_next(verb, None, Fault::Before(unavailable()));
        let unknown = prepare(&*world.net.far, run.engine.ports(), &run.setting, world.keyed("base")).await;
        assert!(matches!(unknown, Err(RunError::Unknown { .. })), "{verb:?}");
    }
}
