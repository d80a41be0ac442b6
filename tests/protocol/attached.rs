//! What belongs to an image: children, lists of referrers, signatures.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright::adapter::memory::{Fault, Verb};
use boxwright::exec::Deletion;
use boxwright::model::{Digest, MediaType, RawManifest, Tag};
use boxwright::port::{Registry, RegistryReader, RegistryWriter};
use boxwright_testing::engine::{image, push};

use super::clean::{check_stands, sweep_twice, tags, unleased};
use super::net::{Gate, denied, done, is, tag};
use super::world::{DAY, World, repository};

fn there(world: &World, digest: &Digest) -> bool {
    done(world.net.memory.head(&repository("lint"), &digest.clone().into())).unwrap().is_some()
}

/// Pushes something whose subject is `subject`, under a tag or none.
fn attach(world: &World, subject: &Digest, what: &str, at: Option<Tag>) -> RawManifest {
    let memory = &world.net.memory;
    let (config, layer, plain) = image(&BTreeMap::new(), what);
    for blob in [config, layer] {
        done(memory.put_blob(&repository("lint"), blob)).unwrap();
    }
    let mut manifest: serde_json::Value = serde_json::from_slice(plain.bytes()).unwrap();
    manifest["artifactType"] = "application/vnd.example.signature".into();
    manifest["subject"] =
        serde_json::json!({ "mediaType": MediaType::OciManifest.as_str(), "digest": subject, "size": 1 });
    let raw = RawManifest::new(MediaType::OciManifest, manifest.to_string());
    let reference = at.map_or_else(|| raw.digest().clone().into(), Into::into);
    done(memory.put(&repository("lint"), &reference, &raw)).unwrap();
    raw
}

fn index(children: &[(&Digest, serde_json::Value)]) -> RawManifest {
    let manifests: Vec<_> = children
        .iter()
        .map(|(digest, more)| {
            let mut child =
                serde_json::json!({ "mediaType": MediaType::OciManifest.as_str(), "digest": digest, "size": 1 });
            child.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
            child
        })
        .collect();
    let text = serde_json::json!({ "schemaVersion": 2, "mediaType": MediaType::OciIndex.as_str(), "manifests": manifests });
    RawManifest::new(MediaType::OciIndex, text.to_string())
}

fn cosign(subject: &Digest, word: &str) -> Tag {
    tag(&format!("sha256-{}.{word}", subject.hex()))
}

/// The image of `lint` with a signature, an attestation, a bill of materials with a signature of
/// its own, and a list of referrers.
struct Signed {
    world: World,
    lint: Digest,
    attached: Vec<Digest>,
}

async fn signed() -> Signed {
    let world = unleased().await;
    let lint = world.stands("lint").unwrap();
    let mut attached = Vec::new();
    for word in ["sig", "att", "sbom"] {
        attached.push(attach(&world, &lint, word, Some(cosign(&lint, word))).digest().clone());
    }
    let sbom = attached[2].clone();
    attached.push(attach(&world, &sbom, "of sbom", Some(cosign(&sbom, "sig"))).digest().clone());
    let referrer = attach(&world, &lint, "referrer", None);
    let list = index(&[(referrer.digest(), serde_json::json!({}))]);
    done(world.net.memory.put(&repository("lint"), &Tag::of_referrers(&lint).into(), &list)).unwrap();
    attached.extend([list.digest().clone(), referrer.digest().clone()]);
    Signed { world, lint, attached }
}

#[tokio::test(start_paused = true)]
async fn what_is_attached_is_kept_with_its_image_and_goes_after_it() {
    let Signed { world, attached, .. } = signed().await;
    world.retag("lint", "theirs");
    sweep_twice(&world).await;
    assert!(attached.iter().all(|digest| there(&world, digest)));
    check_stands(&world, &["base", "lint"]);

    let Signed { world, lint, attached } = signed().await;
    let first = world.run("sweep").clean().await.unwrap();
    let marked: usize = first.clean.condemn.iter().map(|one| one.images.len()).sum();
    assert_eq!(marked, 4 + 5);
    world.pass(DAY).await;
    world.net.memory.clear_log();
    let report = world.run("sweep").clean().await.unwrap();
    assert!(report.deletions.iter().all(|one| *one == Deletion::Done), "{:?}", report.deletions);
    assert_eq!(attached.iter().filter(|digest| there(&world, digest)).count(), 0);
    assert!(tags(&world, "lint").is_empty());
    // The subject first, then what is attached to it; a list before what it lists.
    let log = world.log();
    let deleted: Vec<&str> = log
        .iter()
        .filter(|asked| asked.verb == Verb::Delete)
        .filter_map(|asked| asked.reference.as_deref())
        .collect();
    let place = |digest: &Digest| deleted.iter().position(|at| *at == digest.as_str()).unwrap();
    assert!(attached.iter().all(|digest| place(&lint) < place(digest)));
    assert!(place(&attached[2]) < place(&attached[3]) && place(&attached[4]) < place(&attached[5]));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_an_image_that_is_gone_follows_it() {
    let Signed { world, lint, attached } = signed().await;
    world.run("sweep").clean().await.unwrap();
    world.pass(DAY).await;
    // The sweep is killed after the image, before its signatures.
    let text = lint.to_string();
    let mut is_gone = false;
    world.net.memory.break_when(move |asked| {
        let kill = is_gone;
        is_gone |= is(asked, Verb::Delete, "lint", &text);
        kill.then(|| Fault::Before(super::net::gone()))
    });
    let _ = world.run("sweep").clean().await;
    world.net.memory.mend();
    assert!(!there(&world, &lint) && there(&world, &attached[0]));
    world.run("sweep").clean().await.unwrap();
    assert!(tags(&world, "lint").is_empty(), "{:?}", tags(&world, "lint"));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_could_not_be_deleted_keeps_what_is_attached() {
    let Signed { world, lint, attached } = signed().await;
    world.run("sweep").clean().await.unwrap();
    world.pass(DAY).await;
    world.net.memory.break_next(Verb::Delete, Some(&repository("lint")), Fault::Before(denied()));
    world.run("sweep").clean().await.unwrap();
    assert!(there(&world, &lint));
    assert!(attached.iter().all(|digest| there(&world, digest)));
}

#[tokio::test(start_paused = true)]
async fn a_signature_that_two_images_share_stays_with_the_one_that_stays() {
    let Signed { world, attached, .. } = signed().await;
    let raw = done(world.net.memory.get(&repository("lint"), &attached[1].clone().into())).unwrap().unwrap();
    let other =
        done(push(&*world.net.memory, &repository("lint"), &tag("other"), image(&BTreeMap::new(), "o")));
    done(world.net.memory.put(&repository("lint"), &cosign(&other, "att").into(), &raw)).unwrap();
    sweep_twice(&world).await;
    assert_eq!(world.at("lint", &cosign(&other, "att")), Some(attached[1].clone()));
}

/// Makes an index of the image of `lint` and an attestation stand under its content tag.
fn with_attestation(world: &World) -> (RawManifest, Digest, Digest) {
    let lint = world.stands("lint").unwrap();
    let attestation = attach(world, &lint, "provenance", None);
    let mark = serde_json::json!({ "annotations": {
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": lint,
    }});
    let whole = index(&[(&lint, serde_json::json!({})), (attestation.digest(), mark)]);
    done(world.net.memory.put(&repository("lint"), &world.tag("lint", 0).into(), &whole)).unwrap();
    (whole, lint, attestation.digest().clone())
}

#[tokio::test(start_paused = true)]
async fn an_index_goes_before_its_children_and_they_go_with_it() {
    let world = unleased().await;
    let (whole, lint, attestation) = with_attestation(&world);
    sweep_twice(&world).await;
    assert!(!there(&world, whole.digest()) && !there(&world, &lint) && !there(&world, &attestation));
    let log = world.log();
    let place = |digest: &Digest| {
        log.iter().position(|asked| is(asked, Verb::Delete, "lint", digest.as_str())).unwrap()
    };
    assert!(place(whole.digest()) < place(&lint) && place(whole.digest()) < place(&attestation));
}

/// Whatever write a sweep dies at, the next ones leave no child behind without its index.
#[tokio::test(start_paused = true)]
async fn children_that_a_sweep_left_behind_go_with_the_next() {
    let template = unleased().await;
    let (whole, lint, attestation) = with_attestation(&template);
    let theirs = [whole.digest(), &lint, &attestation];
    template.run("sweep").clean().await.unwrap();
    template.pass(DAY).await;
    template.net.memory.set_now(template.net.today());
    let (mut kills, mut parted) = (0, 0);
    for is_after in [false, true] {
        for at in 0.. {
            let world = template.copy();
            let gate = Arc::new(Gate::new(at, is_after));
            world.net.gates.set(&gate);
            if gate.run(world.run("sweep").clean()).await.is_some() {
                break;
            }
            world.net.gates.set(&Arc::new(Gate::new(usize::MAX, false)));
            kills += 1;
            parted += usize::from(!there(&world, whole.digest()) && there(&world, &lint));
            world.run("next").clean().await.unwrap();
            assert_eq!(theirs.map(|digest| there(&world, digest)), [false; 3], "write {at}, {is_after}");
            // The tombstone is retired only now, and then there is nothing to do.
            world.run("last").clean().await.unwrap();
            let quiet = world.run("last").clean().await.unwrap().clean;
            assert!(quiet.delete.is_empty() && quiet.retire.is_empty(), "{quiet:?}");
        }
    }
    assert!(kills > 10 && parted > 1, "{kills}, {parted}");
}

/// A child that another index has come to need stays, though the sweep that meant it has died.
/// And with it what refers to it, as its attestation does.
#[tokio::test(start_paused = true)]
async fn a_child_that_was_left_behind_and_is_needed_again_stays() {
    let world = unleased().await;
    let (whole, lint, attestation) = with_attestation(&world);
    world.run("sweep").clean().await.unwrap();
    world.pass(DAY).await;
    done(world.net.memory.delete(&repository("lint"), whole.digest())).unwrap();
    let theirs = index(&[(&lint, serde_json::json!({}))]);
    done(world.net.memory.put(&repository("lint"), &tag("theirs").into(), &theirs)).unwrap();
    world.run("sweep").clean().await.unwrap();
    assert!(there(&world, &lint) && there(&world, &attestation));
}

/// Where the registry keeps lists of referrers, nothing of an image but its own tag has one.
#[tokio::test(start_paused = true)]
async fn what_the_registry_lists_follows_its_image() {
    let prepare = async || {
        let world = unleased().await;
        let lint = world.stands("lint").unwrap();
        let signature = attach(&world, &lint, "signature", None);
        let of_signature = attach(&world, signature.digest(), "of signature", None);
        world.net.memory.refer(&lint, signature.descriptor());
        world.net.memory.refer(signature.digest(), of_signature.descriptor());
        (world, lint, [signature.digest().clone(), of_signature.digest().clone()])
    };
    let (world, _, attached) = prepare().await;
    world.retag("lint", "theirs");
    sweep_twice(&world).await;
    assert!(attached.iter().all(|digest| there(&world, digest)));

    let (world, lint, attached) = prepare().await;
    sweep_twice(&world).await;
    assert!(!there(&world, &lint) && !attached.iter().any(|digest| there(&world, digest)));
    let log = world.log();
    let place = |digest: &Digest| {
        log.iter().position(|asked| is(asked, Verb::Delete, "lint", digest.as_str())).unwrap()
    };
    assert!(place(&lint) < place(&attached[0]) && place(&attached[0]) < place(&attached[1]));

    // One that somebody tagged keeps its subject.
    let (world, lint, attached) = prepare().await;
    let raw = done(world.net.memory.get(&repository("lint"), &attached[1].clone().into())).unwrap().unwrap();
    done(world.net.memory.put(&repository("lint"), &tag("theirs").into(), &raw)).unwrap();
    sweep_twice(&world).await;
    assert!(there(&world, &lint) && attached.iter().all(|digest| there(&world, digest)));

    // One that came after its image was condemned is condemned with it anew.
    let (world, lint, _) = prepare().await;
    world.run("sweep").clean().await.unwrap();
    world.pass(DAY).await;
    let late = attach(&world, &lint, "late", None);
    world.net.memory.refer(&lint, late.descriptor());
    world.run("sweep").clean().await.unwrap();
    assert!(there(&world, &lint));
    sweep_twice(&world).await;
    assert!(!there(&world, &lint) && !there(&world, late.digest()));

    // A list that cannot be read stops the sweep.
    let (world, lint, _) = prepare().await;
    world.run("sweep").clean().await.unwrap();
    world.pass(DAY).await;
    world.net.memory.break_next(Verb::Referrers, Some(&repository("lint")), Fault::Before(denied()));
    world.run("sweep").clean().await.unwrap_err();
    assert!(there(&world, &lint));
}

#[tokio::test(start_paused = true)]
async fn children_that_another_index_needs_stay_and_nested_indexes_are_kept_whole() {
    let world = unleased().await;
    let (whole, lint, attestation) = with_attestation(&world);
    // Somebody's index shares one child; another one holds that in turn.
    let shared = index(&[(&attestation, serde_json::json!({}))]);
    done(world.net.memory.put(&repository("lint"), &shared.digest().clone().into(), &shared)).unwrap();
    let nested = serde_json::json!({ "schemaVersion": 2, "mediaType": MediaType::OciIndex.as_str(), "manifests": [
        { "mediaType": MediaType::OciIndex.as_str(), "digest": shared.digest(), "size": 1 },
    ]});
    let nested = RawManifest::new(MediaType::OciIndex, nested.to_string());
    done(world.net.memory.put(&repository("lint"), &tag("theirs").into(), &nested)).unwrap();
    sweep_twice(&world).await;
    // The attestation names the image as its subject, and so keeps it.
    assert!(there(&world, &attestation) && there(&world, &lint) && there(&world, shared.digest()));
    // The index of ours has the key of its child, which stays.
    assert!(there(&world, whole.digest()));
}

#[tokio::test(start_paused = true)]
async fn a_child_of_an_index_that_is_leased_is_never_taken() {
    let world = unleased().await;
    let (_, _, attestation) = with_attestation(&world);
    // A box that is leased has the same attestation among its children.
    let other = World::of(&["base"]).with_content("v2").beside(&world);
    other.run("job").build().await.unwrap();
    let test = world.stands("test").unwrap();
    let theirs = index(&[(&attestation, serde_json::json!({}))]);
    assert!(world.at("test", &world.tag("test", 0)) == Some(test));
    let key = other.tag("base", 0);
    done(world.net.memory.put(&repository("lint"), &key.into(), &theirs)).unwrap();
    sweep_with_lease(&world, &other).await;
    assert!(there(&world, &attestation));
}

async fn sweep_with_lease(world: &World, other: &World) {
    world.run("sweep").clean().await.unwrap();
    world.pass(DAY).await;
    other.run("again").build().await.unwrap();
    world.run("sweep").clean().await.unwrap();
}
