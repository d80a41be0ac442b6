//! Whoever may push, and what they make of it besides records: images, indexes, attachments and tags
//! that would have something deleted, believed, or held up. All of it is written by curl.

use boxwright::model::Digest;
use boxwright_testing::witness::Registry;
use boxwright_testing::world::{BOXES, Ended, World};
use serde_json::{Value, json};

use crate::promotions::later_commit;
use crate::records::{
    INDEX, LEDGER, MANIFEST, SIGHTINGS, chain, forge, forge_many, manifest, payload, send, stand,
};

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Keys that no box has.
const STRANGE: [&str; 2] = ["00000000000000000000000000000001", "00000000000000000000000000000002"];

/// Puts a blob into a repository.
fn blob(registry: &Registry, world: &World, repository: &str, bytes: &[u8]) -> String {
    let file = world.beside("blob");
    std::fs::write(&file, bytes).unwrap();
    let (status, headers, _) = registry.curl(&["-X", "POST"], &format!("{repository}/blobs/uploads/"));
    assert_eq!(status, 202);
    let (_, place) = headers["location"].split_once("/v2/").unwrap();
    let (digest, from) = (Digest::of(bytes).to_string(), format!("@{}", file.display()));
    let kind = "Content-Type: application/octet-stream";
    let arguments = ["-X", "PUT", "-H", kind, "-H", "Expect:", "--data-binary", &from];
    assert_eq!(registry.curl(&arguments, &format!("{place}&digest={digest}")).0, 201);
    digest
}

/// An image's manifest whose configuration is these bytes.
fn with_config(registry: &Registry, world: &World, repository: &str, bytes: &[u8]) -> Value {
    let digest = blob(registry, world, repository, bytes);
    let config = json!({ "mediaType": CONFIG, "digest": digest, "size": bytes.len() });
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [] })
}

/// An image's manifest that says these labels.
fn image(registry: &Registry, world: &World, repository: &str, labels: &Value) -> Value {
    let rootfs = json!({ "type": "layers", "diff_ids": [] });
    let config = json!({
        "architecture": "amd64", "os": "linux", "rootfs": rootfs, "config": { "Labels": labels },
    });
    with_config(registry, world, repository, config.to_string().as_bytes())
}

fn labels(key: &str) -> Value {
    json!({ "io.boxwright.key": key, "io.boxwright.generation": "0" })
}

/// Puts a manifest; returns its digest.
fn put(registry: &Registry, world: &World, repository: &str, at: &str, manifest: &str) -> String {
    let parsed: Value = serde_json::from_str(manifest).unwrap();
    let media = parsed["mediaType"].as_str().unwrap();
    assert_eq!(send(registry, world, repository, at, media, manifest), 201, "{repository}:{at}");
    Digest::of(manifest.as_bytes()).to_string()
}

/// What stands, as bytes.
fn bytes(registry: &Registry, repository: &str, at: &str) -> String {
    registry.curl(&[], &format!("{repository}/manifests/{at}")).2
}

fn descriptor(media: &str, digest: &str, size: usize) -> Value {
    let platform = json!({ "architecture": "amd64", "os": "linux" });
    json!({ "mediaType": media, "digest": digest, "size": size, "platform": platform })
}

/// Takes the tag of a box's image away; returns what it held and its size.
fn take_away(registry: &Registry, world: &World, name: &str, tag: &str) -> (String, String) {
    let victim = bytes(registry, name, tag);
    let foreign = image(registry, world, name, &json!({})).to_string();
    put(registry, world, name, tag, &foreign);
    (Digest::of(victim.as_bytes()).to_string(), victim)
}

/// Somebody takes the tag of an image that a run leases, and names it as a part of garbage of their
/// own, or attaches it to that: two sweeps a day apart would take it while it is leased.
#[test]
fn a_leased_image_is_no_part_of_somebody_else_s_garbage() {
    for more in ["", SIGHTINGS] {
        let (registry, world, built) = chain(more);
        let tags = built.boxes("tag");
        // As a child of an index, behind one that says the index is of a strange key.
        let (child, victim) = take_away(&registry, &world, "test", &tags[2]);
        let mut first = image(&registry, &world, "test", &labels(STRANGE[0]));
        let ours = (0..).map(|number| {
            first["annotations"] = json!({ "number": number.to_string() });
            first.to_string()
        });
        let ours =
            ours.into_iter().find(|text| Digest::of(text.as_bytes()).as_str() < child.as_str()).unwrap();
        let digest = put(&registry, &world, "test", "passing", &ours);
        let manifests =
            json!([descriptor(MANIFEST, &digest, ours.len()), descriptor(DOCKER, &child, victim.len())]);
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        put(&registry, &world, "test", &format!("k-{}", STRANGE[0]), &index.to_string());
        let other = image(&registry, &world, "test", &json!({ "takes": "the tag" }));
        put(&registry, &world, "test", "passing", &other.to_string());
        // As what is attached to an image.
        let (attached, victim) = take_away(&registry, &world, "build", &tags[1]);
        let garbage = image(&registry, &world, "build", &labels(STRANGE[1])).to_string();
        let to = put(&registry, &world, "build", &format!("k-{}", STRANGE[1]), &garbage);
        put(&registry, &world, "build", &format!("{}.sig", to.replace(':', "-")), &victim);
        world.without_engine(&["clean", "--yes"]).good();
        world.without_engine(&["clean", "--now", "+26h", "--yes"]).good();
        assert_eq!(registry.digest("test", &child), Some(child.clone()), "{more}");
        assert_eq!(registry.digest("build", &attached), Some(attached.clone()), "{more}");
        // The garbage went all the same, and so do they when nobody leases them.
        assert_eq!(registry.digest("test", &format!("k-{}", STRANGE[0])), None, "{more}");
        assert_eq!(registry.digest("build", &format!("k-{}", STRANGE[1])), None, "{more}");
    }
}

/// A signature of what is kept is attached to garbage as well.
#[test]
fn what_is_attached_to_a_kept_image_does_not_go_with_garbage() {
    let (registry, world, _) = chain("");
    world.without_engine(&["promote", "main", "--yes"]).good();
    let kept = registry.digest("test", "main").unwrap();
    let signature = image(&registry, &world, "test", &json!({ "signs": kept })).to_string();
    let sig = |digest: &str| format!("{}.sig", digest.replace(':', "-"));
    let digest = put(&registry, &world, "test", &sig(&kept), &signature);
    let garbage = image(&registry, &world, "test", &labels(STRANGE[0])).to_string();
    let to = put(&registry, &world, "test", &format!("k-{}", STRANGE[0]), &garbage);
    put(&registry, &world, "test", &sig(&to), &signature);
    // And the very image, as a second tag of garbage and as its attachment.
    put(&registry, &world, "test", &format!("k-{}", STRANGE[1]), &bytes(&registry, "test", "main"));
    put(
        &registry,
        &world,
        "test",
        &format!("{}.att", to.replace(':', "-")),
        &bytes(&registry, "test", "main"),
    );
    for ahead in ["+50h", "+80h", "+110h"] {
        world.without_engine(&["clean", "--now", ahead, "--yes"]).good();
    }
    assert_eq!(registry.digest("test", &sig(&kept)), Some(digest));
    assert_eq!(registry.digest("test", "main"), Some(kept));
}

/// A promotion that was written over before any sweep saw it, dated long ago.
#[test]
fn a_promotion_s_own_date_takes_nothing_from_its_time() {
    let pr = "[channel.pr]\ntag = \"pr-.*\"\nkeep = { for = \"5d\", min = 0 }\n";
    let (registry, world, built) = chain(&format!("{pr}{SIGHTINGS}"));
    world.without_engine(&["promote", "pr-1", "--yes"]).good();
    let mut set = payload(&registry, "set.pr-1.1");
    set["promoted"] = json!("20200101T000000Z");
    forge(&registry, &world, "set.pr-1.1", "set", &set);
    for ahead in ["+1h", "+50h", "+80h", "+110h"] {
        world.without_engine(&["clean", "--now", ahead, "--yes"]).good();
    }
    assert!(BOXES.iter().all(|name| registry.digest(name, "pr-1").is_some()));
    // Its time ends all the same: announced, removed, condemned, deleted.
    for ahead in ["+150h", "+180h", "+210h", "+240h"] {
        world.without_engine(&["clean", "--now", ahead, "--yes"]).good();
    }
    assert_eq!(stand(&registry, &built), [] as [&str; 0]);
}

/// An announcement that nobody made holds no promotion up where no policy could have made it.
#[test]
fn a_forged_announcement_holds_no_promotion_up() {
    let pr = "[channel.pr]\ntag = \"pr-.*\"\nkeep = { for = \"5d\", min = 0 }\n";
    let (registry, world, _) = chain(pr);
    let newer = |year: u32| {
        world.write("unrelated.txt", &year.to_string());
        later_commit(&world, &format!("{year}-01-01T00:00:00Z"));
    };
    let images = |tag: &str| {
        let digest = registry.digest("test", tag);
        json!([{ "repository": "test", "tag": tag, "digest": digest }])
    };
    world.without_engine(&["promote", "main", "--yes"]).good();
    let now = payload(&registry, "set.main.1")["promoted"].clone();
    let ends = |tag: &str, seq: u32, marked: &Value, images: Value| json!({ "tag": tag, "seq": seq, "marked": marked, "reason": "", "images": images });
    forge(&registry, &world, "ends.main.1", "ends", &ends("main", 1, &now, images("main")));
    newer(2030);
    world.without_engine(&["promote", "main", "--yes"]).good();
    // One that says it was withdrawn on a day to come is over; one that stands is named.
    world.without_engine(&["promote", "pr-1", "--yes"]).good();
    let later = json!("20990101T000000Z");
    forge(&registry, &world, "ends.pr-1.1", "ends", &ends("pr-1", 1, &later, json!([])));
    newer(2031);
    world.without_engine(&["promote", "pr-1", "--yes"]).good();
    forge(&registry, &world, "ends.pr-1.2", "ends", &ends("pr-1", 2, &now, images("pr-1")));
    newer(2032);
    world
        .without_engine(&["promote", "pr-1", "--yes"])
        .fails(21, &["pr-1 is being removed", "`ends.` record"]);
}

/// What somebody may put under a content tag, and what of it is no image of the box.
fn odd(registry: &Registry, world: &World, built: &Ended) -> Vec<(&'static str, String)> {
    let tag = &built.boxes("tag")[2];
    let key = tag.strip_prefix("k-").unwrap();
    let parents = |parents: Value| {
        let mut labels = labels(key);
        labels["io.boxwright.parents"] = json!(parents.to_string());
        image(registry, world, "test", &labels).to_string()
    };
    let good = bytes(registry, "test", tag);
    let evil = image(registry, world, "test", &json!({ "not": "ours" })).to_string();
    let digest = put(registry, world, "test", "evil", &evil);
    let ours = descriptor(DOCKER, &built.boxes("digest")[2], good.len());
    let manifests = json!([descriptor(MANIFEST, &digest, evil.len()), ours]);
    let many: serde_json::Map<String, Value> =
        (0..5000).map(|at| (format!("{at:032x}"), json!(format!("sha256:{at:064x}")))).collect();
    let mut artifact = image(registry, world, "test", &labels(key));
    artifact["artifactType"] = json!("application/vnd.example");
    let mut negative = image(registry, world, "test", &labels(key));
    negative["layers"] = json!([{ "mediaType": "x", "digest": negative["config"]["digest"], "size": -1 }]);
    vec![
        ("no configuration", with_config(registry, world, "test", b"nothing").to_string()),
        ("a long configuration", with_config(registry, world, "test", &vec![b' '; 9_000_000]).to_string()),
        ("parents that are none", parents(json!({ "x": 1 }))),
        ("5000 parents", parents(Value::Object(many))),
        ("another key", image(registry, world, "test", &labels(STRANGE[0])).to_string()),
        ("an artifact", artifact.to_string()),
        ("less than nothing", negative.to_string()),
        ("an empty index", json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string()),
        (
            "an index that gives another image",
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string(),
        ),
    ]
}

/// Whatever stands under a content tag holds up neither plan nor build nor promotion, and is not
/// promoted. A clean may stop at it, and then says where and what to do.
#[test]
fn whatever_stands_under_a_content_tag_is_told_built_anew_and_not_promoted() {
    let (registry, world, built) = chain("");
    let tag = &built.boxes("tag")[2];
    let good = bytes(&registry, "test", tag);
    for (what, text) in odd(&registry, &world, &built) {
        put(&registry, &world, "test", tag, &text);
        let plan = world.without_engine(&["plan", "--check", "--format", "json"]).exits(10);
        assert_eq!(plan.boxes("action")[2], "build", "{what}");
        world.without_engine(&["promote", "main", "--yes"]).exits(10);
        let digest = registry.digest("test", tag).unwrap();
        let cleaned = world.without_engine(&["clean", "--now", "+50h"]);
        assert!([0, 20].contains(&cleaned.code), "{what}: {}", cleaned.err);
        if cleaned.code == 20 {
            cleaned.says(&[&digest, "push something readable over its tag"]);
        }
        put(&registry, &world, "test", tag, &good);
    }
    put(&registry, &world, "test", tag, &odd(&registry, &world, &built)[1].1);
    world.boxwright(&["build", "--wait", "0s"]).good();
    world.without_engine(&["promote", "main", "--yes"]).good();
}

/// More tombstones than are asked for one by one, of every box.
#[test]
fn tombstones_of_every_box_cost_one_list_for_all() {
    let (registry, world, built) = chain("");
    let tags = built.boxes("tag");
    let of = |(key, generation): (&str, u32)| {
        let tombstone = json!({
            "key": key, "generation": generation, "marked": "20200101T000000Z", "reason": "", "images": [],
        });
        (format!("over.{key}.g{generation}"), tombstone)
    };
    let keys = tags.iter().map(|tag| tag.strip_prefix("k-").unwrap());
    let all = keys.flat_map(|key| (0..30).map(move |generation| (key, generation)));
    forge_many(&registry, &world, all.map(of));
    let asked = registry.requests_during(|| drop(world.without_engine(&["plan", "--check"]).exits(10)));
    let lists = asked.iter().filter(|request| request.contains("/tags/list"));
    // One for the tombstones of all boxes, and one for what the reasons compare with.
    assert_eq!(lists.count(), 2, "{asked:#?}");
}

/// Garbage in place of every kind of record that a plan, a build or a promotion looks at.
#[test]
fn garbage_at_every_place_of_the_ledger_stops_a_clean_alone() {
    let (registry, world, built) = chain("");
    world.without_engine(&["promote", "main", "--yes"]).good();
    let key = built.boxes("tag")[0].strip_prefix("k-").unwrap().to_owned();
    let garbage = manifest("something", &json!("else"));
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string();
    let at = [
        format!("over.{}.g0", STRANGE[0]),
        format!("inputs.{key}"),
        "lease.20991231T000000Z.x.0".to_owned(),
        "plan.main.2".to_owned(),
        "plan.r9.9.1".to_owned(),
        "ends.main.1".to_owned(),
        "ends.main.2".to_owned(),
        "set.main.9".to_owned(),
        "set.-.1".to_owned(),
        "run.x.1".to_owned(),
        format!("over.{key}.g4294967296"),
        format!("k-{key}"),
        "sha256-0000000000000000000000000000000000000000000000000000000000000000.sig".to_owned(),
    ];
    for (number, tag) in at.iter().enumerate() {
        put(&registry, &world, LEDGER, tag, if number % 2 == 0 { &garbage } else { &index });
    }
    world.without_engine(&["plan", "--check"]).good();
    world.boxwright(&["build"]).good();
    world.without_engine(&["explain", "base"]).good();
    world.write("unrelated.txt", "later\n");
    later_commit(&world, "2030-01-01T00:00:00Z");
    world.without_engine(&["promote", "main", "--yes"]).good();
    world.without_engine(&["promote", "r1.0", "--yes"]).good();
    world.without_engine(&["log", "main"]).good();
    world.without_engine(&["report"]).good();
    let stopped = world.without_engine(&["clean", "--now", "+80h", "--yes"]).exits(22);
    stopped.says(&["boxwright clean --forget plan.r9.9.1", "boxwright clean --forget set.main.9"]);
    assert_eq!(stand(&registry, &built), BOXES);
}

/// A record that mixes the boxes of two promotions, each of which stood: no release is made of it.
#[test]
fn boxes_of_two_promotions_are_no_set() {
    let (registry, world, _) = chain("");
    world.without_engine(&["promote", "main", "--yes"]).good();
    world.write("lib.txt", "another content");
    world.replace("ci/Dockerfile", "RUN echo base", "RUN echo other base");
    later_commit(&world, "2030-01-01T00:00:00Z");
    world.boxwright(&["build"]).good();
    world.without_engine(&["promote", "main", "--yes"]).good();
    let (first, second) = (payload(&registry, "set.main.1"), payload(&registry, "set.main.2"));
    for (number, of_first) in [&[0][..], &[2], &[0, 1], &[1]].into_iter().enumerate() {
        let seq = 3 + number;
        let mut mixed = second.clone();
        mixed["seq"] = json!(seq);
        for &at in of_first {
            assert_ne!(first["boxes"][at]["digest"], second["boxes"][at]["digest"]);
            mixed["boxes"][at] = first["boxes"][at].clone();
        }
        forge(&registry, &world, &format!("set.main.{seq}"), "set", &mixed);
        let from = format!("main@{seq}");
        let refused = world.without_engine(&["promote", "r1.0", "--from", &from, "--yes"]).exits(21);
        refused.says(&[&format!("set.main.{seq}"), "which is none of the record's"]);
    }
    // As they were they may be released, the first one too.
    for (tag, from) in [("r1.0", "main@1"), ("r2.0", "main@2")] {
        world.without_engine(&["promote", tag, "--from", from, "--yes"]).good();
    }
}

/// Boxes that are reserved for a channel: what no promotion of another one has is no way out, and what
/// others stand on is a part of theirs.
#[test]
fn a_record_that_lacks_a_box_of_one_channel_may_mix_no_others() {
    let (registry, elsewhere) = (Registry::start(&[]), Registry::start(&[]));
    let world = World::chain(&registry.host);
    let config = std::fs::read_to_string(world.root.join("boxwright.toml")).unwrap();
    let reserve = |name: &str| {
        let target = format!("target = \"{name}\"\n");
        assert!(config.contains(&target), "{config}");
        world.write("boxwright.toml", &config.replace(&target, &format!("{target}only = [\"release\"]\n")));
    };
    reserve("test");
    later_commit(&world, "2029-01-01T00:00:00Z");
    let build = || drop(world.boxwright(&["build", "--channel", "release"]).good());
    build();
    world.without_engine(&["promote", "main", "--yes"]).good();
    world.replace("ci/Dockerfile", "RUN echo base", "RUN echo other base");
    later_commit(&world, "2030-01-01T00:00:00Z");
    build();
    world.without_engine(&["promote", "main", "--yes"]).good();
    let (first, second) = (payload(&registry, "set.main.1"), payload(&registry, "set.main.2"));
    let names = |set: &Value| set["boxes"].as_array().unwrap().len();
    assert_eq!((names(&first), names(&second)), (2, 2));
    world.without_engine(&["rollback", "main", "--yes"]).good();
    world.without_engine(&["promote", "main", "--allow-older", "--yes"]).good();
    let held = registry.digest("build", "main");
    assert_eq!(held.as_deref(), second["boxes"][1]["digest"].as_str());
    let refuse = |seq: u32, boxes: Value| {
        let mut mixed = second.clone();
        (mixed["seq"], mixed["boxes"]) = (json!(seq), boxes);
        forge(&registry, &world, &format!("set.main.{seq}"), "set", &mixed);
        let from = format!("main@{seq}");
        let to = elsewhere.host.as_str();
        let more = [&["--from", &*from][..], &["--from", &*from, "--to", to]];
        let promotions = more.map(|more| [&["promote", "main", "--allow-older", "--yes"], more].concat());
        // What is rolled back to is what stood before.
        forge(&registry, &world, &format!("set.main.{}", seq + 1), "set", &{
            let mut next = second.clone();
            next["seq"] = json!(seq + 1);
            next
        });
        for arguments in promotions.into_iter().chain([vec!["rollback", "main", "--yes"]]) {
            let refused = world.without_engine(&arguments).exits(21);
            refused.says(&[&format!("set.main.{seq}"), "which is none of the record's"]);
        }
        assert_eq!(registry.digest("build", "main"), held);
        assert_eq!(elsewhere.digest("build", "main"), None);
    };
    refuse(5, json!([second["boxes"][0], first["boxes"][1]]));
    refuse(7, json!([first["boxes"][0], second["boxes"][1]]));
    // As they were they pass.
    let to = elsewhere.host.as_str();
    world.without_engine(&["promote", "main", "--from", "main@1", "--allow-older", "--yes"]).good();
    world.without_engine(&["promote", "main", "--from", "main@2", "--to", to, "--yes"]).good();
    // What others stand on goes along, whichever channel it is reserved for.
    reserve("build");
    later_commit(&world, "2031-01-01T00:00:00Z");
    world.without_engine(&["promote", "main", "--yes"]).good();
    let log = world.without_engine(&["log", "main", "--format", "json"]).good().json();
    assert_eq!(names(&log["promotions"][0]), 3, "{log:#}");
    world.without_engine(&["promote", "r1.0", "--from", "main", "--yes"]).good();
}

/// A set of nothing is no record; past a few that cannot be read a promotion goes on, past many it
/// does not: what stood there is not known, and an older commit might take the tag.
#[test]
fn a_promotion_goes_on_past_few_strange_records_and_not_past_many() {
    let (registry, world, _) = chain("");
    world.without_engine(&["promote", "main", "--yes"]).good();
    let mut empty = payload(&registry, "set.main.1");
    empty["boxes"] = json!([]);
    for seq in 2..=16 {
        empty["seq"] = json!(seq);
        forge(&registry, &world, &format!("set.main.{seq}"), "set", &empty);
    }
    world.replace("ci/Dockerfile", "RUN echo base", "RUN echo older base");
    later_commit(&world, "2019-01-01T00:00:00Z");
    world.boxwright(&["build"]).good();
    world.without_engine(&["promote", "main", "--yes"]).fails(21, &["--allow-older"]);
    for seq in 17..=20 {
        empty["seq"] = json!(seq);
        forge(&registry, &world, &format!("set.main.{seq}"), "set", &empty);
    }
    let stopped = world.without_engine(&["promote", "main", "--yes"]).exits(20);
    stopped.says(&["none of the 16 newest records", "clean --forget"]);
    assert_eq!(registry.records("set").len(), 20);
}
