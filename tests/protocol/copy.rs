//! Promotion to another registry: copied whole, in order, and gone on with.

use std::collections::BTreeMap;

use boxwright::adapter::memory::Verb;
use boxwright::exec::{PromoteError, PromoteReport, PromotionSource, RunContext, promote_to};
use boxwright::model::{Digest, MediaType, PromotionRecord, RawManifest, Record, Repository, Tag};
use boxwright::plan::{Refusal, Rollback, rollback};
use boxwright::port::{Reference, RegistryReader, RegistryWriter};
use boxwright_testing::engine::{image, push};
use tokio_util::sync::CancellationToken;

use super::net::{done, tag};
use super::promote::{BOXES, built, built_anew};
use super::world::{Run, World, repository, to};

const ELSEWHERE: &str = "live.example/team";

fn there(name: &str) -> Repository {
    Repository::new(ELSEWHERE, name).unwrap()
}

fn target(run: &Run<'_>, registry: &str) -> RunContext {
    let ledger = Repository::new(registry, "ledger").unwrap();
    RunContext { registry: registry.to_owned(), ledger, ..run.setting.clone() }
}

async fn copy(run: &Run<'_>, registry: &str) -> Result<PromoteReport, PromoteError> {
    copy_set(run, registry, run.history("main").await.sets[0].clone()).await
}

async fn copy_set(
    run: &Run<'_>,
    registry: &str,
    set: PromotionRecord,
) -> Result<PromoteReport, PromoteError> {
    let taken = Rollback::of(set);
    let target = target(run, registry);
    promote_to(
        run.ports(),
        &run.setting,
        &target,
        PromotionSource::Recorded(&taken),
        &to("main"),
        &|_| {},
        &CancellationToken::new(),
    )
    .await
}

/// Three boxes in `main`; `test` has a signature, a referrer and is in an index with another image.
async fn prepared() -> World {
    let world = built().await;
    world.run("one").on_revision("a", 100).promote("main").await.unwrap();
    let memory = &world.net.memory;
    let test = world.stands("test").unwrap();
    let signature = image(&BTreeMap::new(), "signature");
    let at = tag(&format!("sha256-{}.sig", test.hex()));
    done(push(&**memory, &repository("test"), &at, signature));
    let (config, layer, plain) = image(&BTreeMap::new(), "referrer");
    for blob in [config, layer] {
        done(memory.put_blob(&repository("test"), blob)).unwrap();
    }
    let mut manifest: serde_json::Value = serde_json::from_slice(plain.bytes()).unwrap();
    manifest["artifactType"] = "application/vnd.example.sbom".into();
    manifest["annotations"] = serde_json::json!({ "by": "us" });
    manifest["subject"] =
        serde_json::json!({ "mediaType": MediaType::OciManifest.as_str(), "digest": test, "size": 1 });
    let referrer = RawManifest::new(MediaType::OciManifest, manifest.to_string());
    done(memory.put(&repository("test"), &referrer.digest().clone().into(), &referrer)).unwrap();
    let list = serde_json::json!({ "schemaVersion": 2, "mediaType": MediaType::OciIndex.as_str(), "manifests": [
        { "mediaType": MediaType::OciManifest.as_str(), "digest": referrer.digest(), "size": referrer.bytes().len() },
    ]});
    let list = RawManifest::new(MediaType::OciIndex, list.to_string());
    done(memory.put(&repository("test"), &Tag::of_referrers(&test).into(), &list)).unwrap();
    memory.clear_log();
    world
}

fn at(world: &World, repository: &Repository, reference: impl Into<Reference>) -> Option<Digest> {
    done(world.net.memory.head(repository, &reference.into())).unwrap()
}

/// Everything that belongs to the set stands at its target.
fn check_copied(world: &World) {
    for name in BOXES {
        let digest = world.stands(name);
        assert_eq!(at(world, &there(name), tag("main")), digest, "{name}");
        assert_eq!(at(world, &there(name), world.tag(name, 0)), digest, "{name}");
        let raw = done(world.net.memory.get(&there(name), &tag("main").into())).unwrap().unwrap();
        let boxwright::model::Document::Image(image) = raw.document().unwrap() else { panic!("an index") };
        for part in std::iter::once(&image.config).chain(&image.layers) {
            assert!(done(world.net.memory.has_blob(&there(name), &part.digest)).unwrap());
        }
    }
    let test = world.stands("test").unwrap();
    assert!(at(world, &there("test"), tag(&format!("sha256-{}.sig", test.hex()))).is_some());
    let referrers = done(world.net.memory.referrers(&there("test"), &test)).unwrap();
    assert_eq!(referrers.len(), 1);
    assert!(at(world, &there("test"), referrers[0].digest.clone()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_set_is_promoted_elsewhere_with_what_belongs_to_it() {
    let world = prepared().await;
    let run = world.run("copy");
    let report = copy(&run, ELSEWHERE).await.unwrap();
    assert_eq!((report.seq, report.moved.len()), (1, 3));
    check_copied(&world);
    let ledger = there("ledger");
    let raw = done(world.net.memory.get(&ledger, &tag("set.main.1").into())).unwrap().unwrap();
    let set = PromotionRecord::from_manifest(&raw).unwrap();
    assert_eq!((set.copied.as_deref(), set.source.revision.as_deref()), (Some("r.example"), Some("a")));
    assert_eq!(set.boxes[0].repository, "team/base");
    // The record comes last, each image's tag after all of its content.
    let log = world.log();
    let puts: Vec<(String, String)> = log
        .iter()
        .filter(|asked| asked.verb == Verb::Put)
        .filter_map(|asked| Some((asked.repository.as_ref()?.to_string(), asked.reference.clone()?)))
        .collect();
    assert_eq!(puts.last().unwrap(), &(ledger.to_string(), "set.main.1".to_owned()));
    // Again, nothing moves.
    world.net.memory.clear_log();
    assert!(copy(&run, ELSEWHERE).await.unwrap().was_done);
    let sent = world.log().iter().filter(|asked| asked.verb == Verb::PutBlob).count();
    assert_eq!(sent, 0, "{:?}", world.log());
    // A rollback there does not take the count here for one of its own.
    let there = boxwright::exec::Ledger::new(&*world.net.far, &ledger);
    let past = boxwright::exec::history(there, &tag("main")).await.unwrap();
    assert_eq!(rollback(&past.sets, &past.unfinished), None);
}

#[tokio::test(start_paused = true)]
async fn within_a_registry_nothing_is_sent() {
    let world = prepared().await;
    let run = world.run("copy");
    let report = copy(&run, "r.example/live").await.unwrap();
    assert_eq!(report.moved.len(), 3);
    let live = Repository::new("r.example/live", "test").unwrap();
    assert_eq!(at(&world, &live, tag("main")), world.stands("test"));
    assert!(!world.log().iter().any(|asked| asked.verb == Verb::OpenBlob), "{:?}", world.log());
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_killed_anywhere_is_finished_by_the_next() {
    let template = prepared().await;
    let all = {
        let world = template.copy();
        copy(&world.run("copy"), ELSEWHERE).await.unwrap();
        // What is asked first is which promotion to take.
        world.log().len() - 3
    };
    let mut cases = 0;
    for after in [false, true] {
        for number in (0..all).step_by(2) {
            let world = template.copy();
            let run = world.run("copy");
            let past = run.history("main").await;
            let taken = Rollback::of(past.sets[0].clone());
            world.net.kill_at(number, after);
            let target = target(&run, ELSEWHERE);
            let _ = promote_to(
                run.ports(),
                &run.setting,
                &target,
                PromotionSource::Recorded(&taken),
                &to("main"),
                &|_| {},
                &CancellationToken::new(),
            )
            .await;
            world.net.memory.mend();
            // No tag is seen before its image is whole.
            for name in BOXES {
                if at(&world, &there(name), tag("main")).is_some() {
                    assert_eq!(at(&world, &there(name), tag("main")), world.stands(name));
                }
            }
            copy(&run, ELSEWHERE).await.unwrap();
            check_copied(&world);
            cases += 1;
        }
    }
    eprintln!("{cases} kills of a copy");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_stopped_moves_no_tag_and_is_gone_on_with() {
    let world = prepared().await;
    let run = world.run("copy");
    let past = run.history("main").await;
    let taken = Rollback::of(past.sets[0].clone());
    let target = target(&run, ELSEWHERE);
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    world.net.before(|asked| asked.verb == Verb::OpenBlob, move |_| stop.cancel());
    let content = PromotionSource::Recorded(&taken);
    let result = promote_to(run.ports(), &run.setting, &target, content, &to("main"), &|_| {}, &cancel).await;
    let error = result.unwrap_err();
    assert!(matches!(error, PromoteError::Interrupted { .. }), "{error}");
    assert_eq!(error.to_string(), "promotion to main was interrupted; no tag is known to have moved");
    assert!(BOXES.iter().all(|name| at(&world, &there(name), tag("main")).is_none()));
    let log = world.log();
    let given_up = log.iter().filter(|asked| asked.verb == Verb::Delete).count();
    assert_eq!(given_up, 2, "the leases here and there");
    copy(&run, ELSEWHERE).await.unwrap();
    check_copied(&world);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_promotion_does_not_replace_a_later_one_elsewhere() {
    let world = prepared().await;
    let newer = built_anew(&world, "v2").await;
    newer.run("two").on_revision("b", 200).promote("main").await.unwrap();
    let run = newer.run("copy");
    let past = run.history("main").await;
    copy_set(&run, ELSEWHERE, past.sets[0].clone()).await.unwrap();
    let error = copy_set(&run, ELSEWHERE, past.sets[1].clone()).await.unwrap_err();
    assert!(matches!(error, PromoteError::Refused(Refusal::Behind { .. })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_list_of_referrers_keeps_what_others_write_at_the_same_moment() {
    let world = prepared().await;
    let test = world.stands("test").unwrap();
    let list = Tag::of_referrers(&test);
    let theirs = image(&BTreeMap::new(), "theirs");
    let others = done(push(&*world.net.memory, &there("test"), &tag("theirs"), theirs));
    // Between our look at the list and our write somebody else writes theirs, and takes our
    // entry away again after it.
    let mut writes = 0;
    let (name, digest) = (list.to_string(), others.clone());
    world.net.before_each(move |asked, memory| {
        let is_list = asked.reference.as_deref() == Some(&name)
            && asked.repository.as_ref().is_some_and(|at| *at == there("test"));
        if is_list && asked.verb == Verb::Put {
            writes += 1;
        }
        if asked.verb == Verb::Referrers && writes == 1 {
            writes = 2;
            let only = serde_json::json!({ "schemaVersion": 2, "mediaType": MediaType::OciIndex.as_str(),
                "manifests": [{ "mediaType": MediaType::OciManifest.as_str(), "digest": digest, "size": 1 }] });
            let raw = RawManifest::new(MediaType::OciIndex, only.to_string());
            done(memory.put(&there("test"), &tag(&name).into(), &raw)).unwrap();
        }
    });
    copy(&world.run("copy"), ELSEWHERE).await.unwrap();
    let listed = done(world.net.memory.referrers(&there("test"), &test)).unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().any(|one| one.digest == others));
}
