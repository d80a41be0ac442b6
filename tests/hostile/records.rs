//! Whoever may push: records that would have the cron delete. All are written by curl, as anybody
//! who may push to the registry can write them.

use std::fmt::Write as _;

use boxwright_testing::witness::Registry;
use boxwright_testing::world::{BOXES, Ended, World};
use serde_json::{Value, json};

pub const LEDGER: &str = "boxwright-ledger";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The digest of `{}`.
const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// Sends a manifest by curl; returns the status.
pub fn send(registry: &Registry, world: &World, repository: &str, at: &str, media: &str, body: &str) -> u16 {
    let file = world.beside("body");
    std::fs::write(&file, body).unwrap();
    let (from, kind) = (format!("@{}", file.display()), format!("Content-Type: {media}"));
    let arguments = ["-X", "PUT", "-H", &kind, "-H", "Expect:", "--data-binary", &from];
    registry.curl(&arguments, &format!("{repository}/manifests/{at}")).0
}

/// Puts the blob `{}` into a repository.
pub fn empty_blob(registry: &Registry, repository: &str) {
    let (status, headers, _) = registry.curl(&["-X", "POST"], &format!("{repository}/blobs/uploads/"));
    assert_eq!(status, 202);
    let (_, place) = headers["location"].split_once("/v2/").unwrap();
    let arguments = ["-X", "PUT", "-H", "Content-Type: application/octet-stream", "--data-binary", "{}"];
    let path = format!("{place}&digest={EMPTY}");
    assert_eq!(registry.curl(&arguments, &path).0, 201);
}

/// A record's manifest.
pub fn manifest(kind: &str, payload: &Value) -> String {
    let empty = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": EMPTY, "size": 2 });
    let kind = format!("application/vnd.boxwright.{kind}.v1+json");
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": empty, "layers": [empty],
        "annotations": { "io.boxwright.payload": payload.to_string() },
    })
    .to_string()
}

/// Writes a record.
pub fn forge(registry: &Registry, world: &World, tag: &str, kind: &str, payload: &Value) {
    let status = send(registry, world, LEDGER, tag, MANIFEST, &manifest(kind, payload));
    assert_eq!(status, 201, "{tag}");
}

/// What a record says.
pub fn payload(registry: &Registry, tag: &str) -> Value {
    let (_, _, body) = registry.curl(&[], &format!("{LEDGER}/manifests/{tag}"));
    let manifest: Value = serde_json::from_str(&body).unwrap();
    serde_json::from_str(manifest["annotations"]["io.boxwright.payload"].as_str().unwrap()).unwrap()
}

fn tombstone(key: &str, images: &Value, parts: &Value) -> Value {
    json!({
        "key": key, "generation": 0, "marked": "20200101T000000Z", "reason": "", "images": images, "parts": parts,
    })
}

/// A tombstone, dated long ago, of what stands under a box's content tag.
fn forge_tombstone(registry: &Registry, world: &World, name: &str, tag: &str) {
    let key = tag.strip_prefix("k-").unwrap();
    let digest = registry.digest(name, tag).unwrap();
    let images = json!([{ "repository": name, "tag": tag, "digest": digest }]);
    forge(registry, world, &format!("over.{key}.g0"), "over", &tombstone(key, &images, &json!([])));
}

/// The chain, built, with `more` in its configuration.
pub fn chain(more: &str) -> (Registry, World, Ended) {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let text = std::fs::read_to_string(world.root.join("boxwright.toml")).unwrap();
    world.write("boxwright.toml", &format!("{text}\n{more}"));
    world.commit();
    let built = world.boxwright(&["build", "--format", "json"]).good();
    (registry, world, built)
}

pub const SIGHTINGS: &str = "[clean]\nledger = \"cron\"\n";

pub fn stand(registry: &Registry, built: &Ended) -> Vec<&'static str> {
    let tags = built.boxes("tag").into_iter();
    BOXES
        .into_iter()
        .zip(tags)
        .filter(|(name, tag)| registry.digest(name, tag).is_some())
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn a_tombstone_that_is_dated_long_ago_is_as_old_as_its_sighting() {
    let (registry, world, built) = chain(SIGHTINGS);
    for (name, tag) in BOXES.iter().zip(built.boxes("tag")) {
        forge_tombstone(&registry, &world, name, &tag);
    }
    // The leases have ended, and the tombstones claim to be years old.
    world.without_engine(&["clean", "--now", "+50h", "--yes"]).good();
    assert_eq!(stand(&registry, &built), BOXES);
    assert_eq!(registry.tags("cron").len(), 3);
    assert!(registry.tags("cron").iter().all(|tag| !tag.contains("2020")), "no false date");
    // Written over by another one, it is new once more.
    let key = built.boxes("tag")[2].strip_prefix("k-").unwrap().to_owned();
    let mut other = payload(&registry, &format!("over.{key}.g0"));
    other["reason"] = json!("anew");
    forge(&registry, &world, &format!("over.{key}.g0"), "over", &other);
    world.without_engine(&["clean", "--now", "+80h", "--yes"]).good();
    // What it stands on is kept by nothing else, but goes after it.
    assert!(stand(&registry, &built).contains(&"test"));
    world.without_engine(&["clean", "--now", "+80h", "--yes"]).good();
    assert_eq!(stand(&registry, &built), [] as [&str; 0]);
}

#[test]
fn two_sweeps_a_day_apart_take_the_garbage_and_the_sightings_go_as_well() {
    let (registry, world, built) = chain(SIGHTINGS);
    world.without_engine(&["clean", "--now", "+50h", "--yes"]).good();
    assert_eq!((stand(&registry, &built).len(), registry.tags("cron").len()), (3, 3));
    let sighted = registry.tags("cron");
    assert!(sighted.iter().all(|tag| tag.starts_with("own.")), "{sighted:?}");
    // A day after the sightings, which say the true time.
    world.without_engine(&["clean", "--now", "+80h", "--yes"]).good();
    assert_eq!(stand(&registry, &built).len(), 0);
    // Their tombstones are retired, and seen as such; what was seen before is forgotten.
    world.without_engine(&["clean", "--now", "+80h", "--yes"]).good();
    world.without_engine(&["clean", "--now", "+80h", "--yes"]).good();
    let now = registry.tags("cron");
    assert!(now.len() == 4 && now.iter().all(|tag| !sighted.contains(tag)), "{now:?}");
    // One is of what can be put back, which stays a week.
    assert_eq!(registry.records("undo").len(), 1);
}

#[test]
fn a_tombstone_s_parts_go_only_where_they_are_seen_below_the_image() {
    for more in ["", SIGHTINGS] {
        let (registry, world, built) = chain(more);
        // A manifest without a tag, that somebody uses by its digest.
        let text = manifest("thing", &json!("used by digest"));
        empty_blob(&registry, "base");
        assert_eq!(send(&registry, &world, "base", "passing", MANIFEST, &text), 201);
        let digest = registry.digest("base", "passing").unwrap();
        let other = manifest("thing", &json!("takes the tag"));
        assert_eq!(send(&registry, &world, "base", "passing", MANIFEST, &other), 201);
        let parts = json!([{ "repository": "base", "digest": digest }]);
        // Of a key that nothing stands under, and of one that goes.
        let key = "00000000000000000000000000000000";
        let images = json!([{ "repository": "base", "tag": format!("k-{key}"), "digest": EMPTY }]);
        forge(&registry, &world, &format!("over.{key}.g0"), "over", &tombstone(key, &images, &parts));
        let tag = &built.boxes("tag")[0];
        let key = tag.strip_prefix("k-").unwrap();
        let images = json!([{ "repository": "base", "tag": tag, "digest": registry.digest("base", tag) }]);
        forge(&registry, &world, &format!("over.{key}.g0"), "over", &tombstone(key, &images, &parts));
        for _ in 0..3 {
            world.without_engine(&["clean", "--now", "+80h", "--yes"]).good();
        }
        assert_eq!(registry.digest("base", tag), None);
        assert_eq!(registry.digest("base", &digest), Some(digest));
    }
}

/// What somebody may write over a record, each by name.
fn overwritten(
    registry: &Registry,
    world: &World,
    tag: &str,
    kind: &str,
    change: impl Fn(&mut Value),
) -> Vec<String> {
    let good = payload(registry, tag);
    let mut changed = good.clone();
    change(&mut changed);
    let huge = json!("x".repeat(3_900_000));
    let _ = world;
    vec![
        manifest(kind, &changed),
        manifest(kind, &json!({ "nothing": "of it" })),
        manifest(kind, &huge),
        manifest("run", &good),
        manifest("something", &json!(null)),
    ]
}

#[test]
fn a_lease_that_was_written_over_stops_deletions_and_frees_nothing() {
    let (registry, world, built) = chain("");
    world.without_engine(&["clean", "--now", "+50h", "--yes"]).good();
    let again = world.boxwright(&["build", "--format", "json", "--wait", "0s"]).good();
    assert_ne!(again.boxes("tag"), built.boxes("tag"));
    let mut leases = registry.records("lease");
    let newest = leases.pop().unwrap();
    let fewer = |lease: &mut Value| lease["keys"] = json!([]);
    for text in overwritten(&registry, &world, &newest, "lease", fewer) {
        assert_eq!(send(&registry, &world, LEDGER, &newest, MANIFEST, &text), 201);
        let told = world.without_engine(&["clean", "--now", "+26h", "--yes"]).exits(22);
        told.says(&[&newest, "nothing is deleted before"]);
        assert_eq!(stand(&registry, &built), BOXES);
        assert_eq!(stand(&registry, &again), BOXES);
    }
    // Far larger than any record, if the registry takes it at all; an index; and nothing.
    let huge = manifest("lease", &json!("x".repeat(5_000_000)));
    send(&registry, &world, LEDGER, &newest, MANIFEST, &huge);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string();
    assert_eq!(send(&registry, &world, LEDGER, &newest, INDEX, &index), 201);
    world.without_engine(&["clean", "--now", "+26h", "--yes"]).exits(22);
    let revisions = registry.tags_of(LEDGER).parent().unwrap().join("revisions/sha256");
    let digest = registry.digest(LEDGER, &newest).unwrap();
    std::fs::remove_dir_all(revisions.join(digest.strip_prefix("sha256:").unwrap())).unwrap();
    registry.stop();
    registry.restart();
    let ended = world.without_engine(&["clean", "--now", "+26h", "--yes"]);
    assert!([20, 22].contains(&ended.code), "{}", ended.err);
    assert_eq!(stand(&registry, &again), BOXES);
    // Nothing else stops, and when the lease would have ended it stops nothing.
    world.boxwright(&["plan"]).good();
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    world.without_engine(&["clean", "--forget", &newest, "--yes"]).exits(21);
    world.without_engine(&["clean", "--now", "+60h", "--yes"]).good();
    assert_eq!(stand(&registry, &built), [] as [&str; 0]);
    world.without_engine(&["plan", "--check"]).good();
}

#[test]
fn a_set_that_was_written_over_stops_deletions_until_a_person_forgets_it() {
    let (registry, world, first) = chain("");
    world.boxwright(&["promote", "main", "--yes"]).good();
    world.replace("ci/Dockerfile", "echo build", "echo built");
    world.commit();
    let second = world.boxwright(&["build", "--format", "json"]).good();
    world.without_engine(&["clean", "--now", "+50h", "--yes"]).good();
    let otherwise = |set: &mut Value| set["seq"] = json!(7);
    for text in overwritten(&registry, &world, "set.main.1", "set", otherwise) {
        assert_eq!(send(&registry, &world, LEDGER, "set.main.1", MANIFEST, &text), 201);
        let told = world.without_engine(&["clean", "--now", "+80h", "--yes"]).exits(22);
        told.says(&["set.main.1", "boxwright clean --forget set.main.1"]);
        assert_eq!((stand(&registry, &first), stand(&registry, &second)), (BOXES.to_vec(), BOXES.to_vec()));
    }
    let report = world.without_engine(&["clean", "--now", "+80h", "--format", "json"]).good().json();
    assert_eq!(report["stopped"][0]["tag"], "set.main.1");
    // Forgotten is what is named, what cannot be read, and only with --yes.
    let told = world.without_engine(&["clean", "--forget", "set.main.1"]).good();
    assert!(told.out.contains("would forget"), "{}", told.out);
    assert!(registry.digest(LEDGER, "set.main.1").is_some());
    world.without_engine(&["clean", "--forget", "set.main.2", "--yes"]).exits(21);
    world.without_engine(&["clean", "--forget", "plan.main.1", "--yes"]).exits(21);
    world.without_engine(&["clean", "--forget", "set.main.1", "--yes"]).good();
    assert_eq!(registry.digest(LEDGER, "set.main.1"), None);
    world.without_engine(&["clean", "--now", "+80h", "--yes"]).good();
    assert_eq!(stand(&registry, &second), ["base"]);
    assert_eq!(stand(&registry, &first), BOXES, "main still holds them");
    world.boxwright(&["promote", "r1.0", "--yes"]).exits(10);
}

#[test]
fn a_record_that_is_forgotten_takes_no_other_along() {
    let (registry, world, _) = chain("");
    world.boxwright(&["promote", "main", "--yes"]).good();
    let (_, _, set) = registry.curl(&[], &format!("{LEDGER}/manifests/set.main.1"));
    let kept = registry.digest(LEDGER, "set.main.1");
    // The same manifest under other names: a delete by digest would take the set along.
    for name in ["set.evil.1", "lease.20200101T000000Z.x.0", "run.x.1"] {
        assert_eq!(send(&registry, &world, LEDGER, name, MANIFEST, &set), 201);
        assert_eq!(registry.digest(LEDGER, name), kept);
    }
    world.without_engine(&["clean", "--yes"]).exits(22);
    world.without_engine(&["clean", "--forget", "set.evil.1", "--yes"]).good();
    world.without_engine(&["clean", "--now", "+80h", "--yes"]).good();
    assert_eq!(registry.digest(LEDGER, "set.evil.1"), None);
    assert_eq!(registry.digest(LEDGER, "lease.20200101T000000Z.x.0"), None);
    assert_eq!(registry.digest(LEDGER, "set.main.1"), kept);
}

#[test]
fn a_set_that_changed_after_it_was_seen_stops_deletions() {
    let (registry, world, _) = chain(SIGHTINGS);
    world.boxwright(&["promote", "main", "--yes"]).good();
    world.without_engine(&["clean", "--yes"]).good();
    let mut set = payload(&registry, "set.main.1");
    let kept = set["boxes"].as_array_mut().unwrap().pop();
    assert_eq!(kept.unwrap()["name"], "test");
    forge(&registry, &world, "set.main.1", "set", &set);
    let told = world.without_engine(&["clean", "--now", "+80h", "--yes"]).exits(22);
    told.says(&["set.main.1", "not the one that was first seen"]);
    world.without_engine(&["clean", "--forget", "set.main.1", "--yes"]).good();
    world.without_engine(&["clean", "--yes"]).good();
}

#[test]
fn a_release_stays_whatever_channel_or_date_its_record_claims() {
    let (registry, world, _) = chain("[channel.pr]\ntag = \"pr-.*\"\nkeep = { for = \"1d\", min = 0 }\n");
    world.git(&["checkout", "-q", "-B", "main"]);
    world.boxwright(&["promote", "r1.0", "--yes"]).good();
    for (at, change) in ["main", "pr", "nothing"].iter().zip(1..) {
        let mut set = payload(&registry, "set.r1.0.1");
        set["channel"] = json!(at);
        set["promoted"] = json!("20200101T000000Z");
        if change > 1 {
            set["seq"] = json!(change);
        }
        forge(&registry, &world, &format!("set.r1.0.{change}"), "set", &set);
        for _ in 0..2 {
            world.without_engine(&["clean", "--now", "+90d", "--yes"]).good();
        }
        for name in BOXES {
            assert!(registry.digest(name, "r1.0").is_some(), "{name}, claimed to be of {at}");
        }
    }
}

#[test]
fn repositories_that_are_not_configured_are_left_alone_whatever_names_them() {
    let (registry, world, built) = chain("");
    empty_blob(&registry, "victim");
    let text = manifest("thing", &json!("theirs"));
    let key = "00000000000000000000000000000001";
    for tag in ["latest", &format!("k-{key}")] {
        assert_eq!(send(&registry, &world, "victim", tag, MANIFEST, &text), 201);
    }
    let digest = registry.digest("victim", "latest").unwrap();
    let images = json!([{ "repository": "victim", "tag": format!("k-{key}"), "digest": digest }]);
    let parts = json!([{ "repository": "victim", "digest": digest }]);
    forge(&registry, &world, &format!("over.{key}.g0"), "over", &tombstone(key, &images, &parts));
    let member = json!({
        "name": "base", "repository": "victim", "key": key, "content_tag": format!("k-{key}"), "digest": digest,
    });
    let set = json!({
        "tag": "pr-1", "channel": "pr", "seq": 1, "promoted": "20200101T000000Z", "run": "x",
        "source": { "dirty": false }, "boxes": [member],
    });
    forge(&registry, &world, "set.pr-1.1", "set", &set);
    forge(
        &registry,
        &world,
        "plan.pr-2.1",
        "plan",
        &json!({ "tag": "pr-2", "channel": "pr", "seq": 1, "promoted": "20200101T000000Z", "run": "x", "source": { "dirty": false }, "boxes": set["boxes"] }),
    );
    let ends =
        json!({ "tag": "pr-1", "seq": 1, "marked": "20200101T000000Z", "reason": "", "images": images });
    forge(&registry, &world, "ends.pr-1.1", "ends", &ends);
    let text = std::fs::read_to_string(world.root.join("boxwright.toml")).unwrap();
    world.write(
        "boxwright.toml",
        &format!("{text}\n[channel.pr]\ntag = \"pr-.*\"\nkeep = {{ for = \"1d\", min = 0 }}\n"),
    );
    let asked = registry.requests_during(|| {
        for _ in 0..3 {
            world.without_engine(&["clean", "--now", "+80h", "--yes"]).good();
        }
    });
    let theirs: Vec<&String> = asked.iter().filter(|request| request.contains("/victim/")).collect();
    assert!(theirs.is_empty(), "{theirs:?}");
    assert_eq!(registry.tags("victim").len(), 2);
    assert_eq!(stand(&registry, &built), [] as [&str; 0]);
}

/// Writes many records by one curl.
pub fn forge_many(registry: &Registry, world: &World, records: impl Iterator<Item = (String, Value)>) {
    let mut config = String::new();
    for (at, (tag, payload)) in records.enumerate() {
        let file = world.beside(&format!("record-{at}"));
        std::fs::write(&file, manifest("over", &payload)).unwrap();
        writeln!(
            config,
            "url = \"http://{}/v2/{LEDGER}/manifests/{tag}\"\nupload-file = \"{}\"\nheader = \"Content-Type: {MANIFEST}\"\noutput = /dev/null\nfail\nnext",
            registry.host,
            file.display()
        )
        .unwrap();
    }
    let file = world.beside("curl");
    std::fs::write(&file, config.trim_end_matches("next\n")).unwrap();
    boxwright_testing::witness::tell("curl", &["-sS", "--noproxy", "*", "-K", file.to_str().unwrap()]);
}

#[test]
fn thousands_of_strange_tombstones_cost_a_plan_at_most_one_list() {
    let (registry, world, built) = chain("");
    let before = registry.requests_during(|| drop(world.without_engine(&["plan", "--check"]).good()));
    let key = |at: usize| format!("{at:032x}");
    forge_many(
        &registry,
        &world,
        (0..3000).map(|at| (format!("over.{}.g0", key(at)), tombstone(&key(at), &json!([]), &json!([])))),
    );
    let after = registry.requests_during(|| drop(world.without_engine(&["plan", "--check"]).good()));
    assert!(after.len() <= before.len() + 1, "{} and {}", before.len(), after.len());
    assert_eq!(stand(&registry, &built), BOXES);
}

#[test]
fn hundreds_of_tombstones_for_one_key_cost_one_build_and_no_time() {
    let (registry, world, built) = chain("");
    let tag = &built.boxes("tag")[0];
    let key = tag.strip_prefix("k-").unwrap();
    let of = |generation: u32| {
        let mut tombstone = tombstone(key, &json!([]), &json!([]));
        tombstone["generation"] = json!(generation);
        (format!("over.{key}.g{generation}"), tombstone)
    };
    forge_many(&registry, &world, (0..300).map(of).chain([of(u32::MAX)]));
    let asked =
        registry.requests_during(|| drop(world.without_engine(&["plan", "base", "--check"]).exits(10)));
    assert!(asked.len() < 60, "{}: {asked:?}", asked.len());
    let again = world.boxwright(&["build", "base", "--format", "json", "--wait", "0s"]).good();
    assert_eq!(again.boxes("tag"), [format!("{tag}.g300")]);
    world.without_engine(&["plan", "base", "--check"]).good();
}

#[test]
fn a_kind_that_is_not_known_is_named_and_stops_nothing() {
    let (registry, world, built) = chain("");
    for tag in ["evidence.0.1", "latest", "lease.tomorrow"] {
        forge(&registry, &world, tag, "evidence", &json!({}));
    }
    world.without_engine(&["clean", "--now", "+50h", "--yes"]).good().says(&[
        "set aside",
        "evidence.0.1",
        "latest",
    ]);
    world.without_engine(&["clean", "--now", "+80h", "--yes"]).good();
    assert_eq!(stand(&registry, &built), [] as [&str; 0]);
    assert!(registry.digest(LEDGER, "evidence.0.1").is_some());
}
