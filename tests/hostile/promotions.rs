//! Whoever may push, and what a promotion makes of it: records that name another repository, another
//! image, another count. And what must stay possible: the way back from a refresh, and builds that do
//! not wait for promotions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use boxwright::model::{MediaType, RawManifest, Repository};
use boxwright::port::RegistryWriter as _;
use boxwright_testing::process::client;
use boxwright_testing::witness::{Registry, busybox, skopeo, tell};
use boxwright_testing::world::{BOXES, World, unique};
use serde_json::{Value, json};

const LEDGER: &str = "boxwright-ledger";
const PAYLOAD: &str = "io.boxwright.payload";

/// The three-box chain, built and promoted to main twice: from one commit, then from another.
fn promoted_twice(registry: &Registry) -> World {
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    world.replace("ci/Dockerfile", "echo base >", "echo based >");
    later_commit(&world, "2030-01-01T00:00:00Z");
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    world
}

pub fn later_commit(world: &World, date: &str) {
    world.git(&["add", "--all"]);
    let who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
    let mut command = std::process::Command::new("git");
    command.args(who).arg("-C").arg(&world.root).args(["commit", "-q", "--message=later"]);
    assert!(command.env("GIT_COMMITTER_DATE", date).env("GIT_AUTHOR_DATE", date).status().unwrap().success());
}

fn held(registry: &Registry, tag: &str) -> Vec<Option<String>> {
    BOXES.iter().map(|name| registry.digest(name, tag)).collect()
}

/// A record's payload.
fn payload(registry: &Registry, tag: &str) -> Value {
    let (status, _, body) = registry.curl(&[], &format!("{LEDGER}/manifests/{tag}"));
    assert_eq!(status, 200, "{tag}");
    let manifest: Value = serde_json::from_str(&body).unwrap();
    serde_json::from_str(manifest["annotations"][PAYLOAD].as_str().unwrap()).unwrap()
}

/// The manifest of a record, made from one that stands.
fn forged(registry: &Registry, like: &str, kind: &str, payload: &Value) -> String {
    let (_, _, body) = registry.curl(&[], &format!("{LEDGER}/manifests/{like}"));
    let mut manifest: Value = serde_json::from_str(&body).unwrap();
    manifest["annotations"][PAYLOAD] = json!(payload.to_string());
    manifest["artifactType"] = json!(format!("application/vnd.boxwright.{kind}.v1+json"));
    manifest.to_string()
}

/// Puts a manifest by curl, as whoever may push does.
fn put(registry: &Registry, repository: &str, reference: &str, manifest: &str) {
    let parsed: Value = serde_json::from_str(manifest).unwrap();
    let kind = format!("Content-Type: {}", parsed["mediaType"].as_str().unwrap());
    let arguments = ["-X", "PUT", "-H", &kind, "--data-binary", manifest];
    let (status, _, body) = registry.curl(&arguments, &format!("{repository}/manifests/{reference}"));
    assert_eq!(status, 201, "{body}");
}

/// Writes a set record of main with this count, changed from the first promotion's.
fn forge_set(registry: &Registry, seq: u32, change: impl FnOnce(&mut Value)) -> String {
    let mut record = payload(registry, "set.main.1");
    record["seq"] = json!(seq);
    change(&mut record);
    let tag = format!("set.main.{seq}");
    put(registry, LEDGER, &tag, &forged(registry, "set.main.1", "set", &record));
    tag
}

/// The documented weekly refresh, and the way back from it.
#[test]
fn the_weekly_refresh_can_be_rolled_back_and_goes_on() {
    let (registry, elsewhere) = (Registry::start(&[]), Registry::start(&[]));
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    let first = held(&registry, "main");
    world.boxwright(&["rebuild", "base", "--dependants", "--yes"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    let second = held(&registry, "main");
    assert!(first.iter().zip(&second).all(|(one, other)| one.is_some() && one != other));
    world.boxwright(&["rollback", "main", "--yes"]).good();
    assert_eq!(held(&registry, "main"), first);
    for (name, digest) in BOXES.iter().zip(&first) {
        let seen = skopeo(&[&format!("docker://{}/{name}:main", registry.host)]);
        assert_eq!(seen["Digest"].as_str(), digest.as_deref());
    }
    // Builds take the current generation all the same.
    let plan = world.without_engine(&["plan", "--check", "--format", "json"]).good();
    assert_eq!(plan.boxes("digest").into_iter().map(Some).collect::<Vec<_>>(), second);
    // What was taken back returns when it is told to, and when something newer is promoted.
    world.without_engine(&["promote", "main", "--yes"]).fails(21, &["rolled back", "--allow-older"]);
    later_commit_of(&world);
    world.without_engine(&["promote", "main", "--yes"]).good();
    assert_eq!(held(&registry, "main"), second);
    // A recorded set can be promoted anywhere, whatever generation is current.
    world.without_engine(&["promote", "r1.0", "--from", "main@1", "--yes"]).good();
    assert_eq!(held(&registry, "r1.0"), first);
    let to = elsewhere.host.clone();
    world.without_engine(&["promote", "r1.1", "--from", "main@1", "--to", &to, "--yes"]).good();
    assert_eq!(held(&elsewhere, "r1.1"), first);
    // And what promotions name outlives the sweeps that find it replaced.
    for ahead in ["+3d", "+5d", "+7d"] {
        world.without_engine(&["clean", "--now", ahead, "--max-delete", "100%", "--yes"]).good();
    }
    assert_eq!((held(&registry, "r1.0"), held(&registry, "main")), (first.clone(), second));
    for (name, digest) in BOXES.iter().zip(&first) {
        skopeo(&[&format!("docker://{}/{name}@{}", registry.host, digest.as_ref().unwrap())]);
    }
}

fn later_commit_of(world: &World) {
    world.write("unrelated.txt", "later\n");
    later_commit(world, "2031-01-01T00:00:00Z");
}

/// Without --dependants the boxes on a rebuilt one are made anew under the tags that they have: what
/// stood there is known by what the next promotion found.
#[test]
fn a_refresh_of_one_box_can_be_rolled_back_too() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    let first = held(&registry, "main");
    world.boxwright(&["rebuild", "base", "--yes"]).good();
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    assert!(held(&registry, "main").iter().zip(&first).all(|(one, other)| one != other));
    world.without_engine(&["rollback", "main", "--yes"]).good();
    assert_eq!(held(&registry, "main"), first);
}

/// A promotion's lease is given up however it ends, and makes no build wait.
#[test]
fn a_promotion_leaves_no_lease_and_no_build_waits_for_one() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    let leases = registry.records("lease");
    let check = |what: &str| assert_eq!(registry.records("lease"), leases, "{what}");
    world.without_engine(&["promote", "main", "--yes"]).good();
    check("done");
    world.without_engine(&["promote", "main", "--yes"]).good().says(&["is up to date"]);
    check("nothing to do");
    world.write("ci/test/one.txt", "changed\n");
    world.without_engine(&["promote", "main", "--yes"]).fails(10, &["test"]);
    check("missing");
    world.write("ci/test/one.txt", "one\n");
    world.without_engine(&["promote", "r1.0", "--yes"]).good();
    world.boxwright(&["rebuild", "base", "--yes"]).good();
    let began = Instant::now();
    let ended = world.boxwright(&["build"]).good();
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    assert!(!ended.err.contains("waiting"), "{}", ended.err);
    let before = registry.records("lease");
    world.without_engine(&["promote", "r1.0", "--yes"]).fails(21, &["immutable"]);
    assert_eq!(registry.records("lease"), before, "refused");
}

/// Fifty runs that begin in one second: one builds, and all report what it built.
#[test]
fn of_fifty_runs_at_once_one_builds() {
    let registry = Registry::start(&[]);
    let world = World::single(
        &registry.host,
        &format!("RUN sleep 3; cat /proc/sys/kernel/random/uuid > /id # {}", unique()),
    );
    let runs: Vec<_> = (0..50).map(|_| world.start(&["build", "--no-cache", "--format", "json"])).collect();
    let reports: Vec<_> = runs.into_iter().map(|run| run.end().good()).collect();
    let digests: BTreeSet<String> = reports.iter().flat_map(|report| report.boxes("digest")).collect();
    let built = reports.iter().filter(|report| report.boxes("action") == ["built"]).count();
    assert_eq!((digests.len(), built), (1, 1));
    let tags = registry.tags("only");
    assert_eq!(tags.len(), 1);
    assert_eq!(registry.digest("only", &tags[0]), digests.first().cloned());
}

/// What a forged record names is neither promoted nor asked for, and the record is named.
#[test]
fn a_forged_promotion_is_refused_by_name_and_moves_nothing() {
    let registry = Registry::start(&[]);
    let world = promoted_twice(&registry);
    let honest = held(&registry, "main");
    let refuse = |record: &str, code: i32, parts: &[&str]| {
        let from = record.replace("set.main.", "main@");
        for command in [
            &["promote", "main", "--allow-older", "--from", &from, "--yes"][..],
            &["promote", "r9.9", "--from", &from, "--yes"],
        ] {
            world.without_engine(command).fails(code, parts);
        }
        assert_eq!((held(&registry, "main"), held(&registry, "r9.9")), (honest.clone(), vec![None; 3]));
    };
    // (a) a repository that is not configured, though an image is there.
    let copy = format!("docker://{}/elsewhere:x", registry.host);
    let base = payload(&registry, "set.main.1")["boxes"][0].clone();
    let source = format!("docker://{}/base@{}", registry.host, base["digest"].as_str().unwrap());
    tell("skopeo", &["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &source, &copy]);
    let record = forge_set(&registry, 3, |record| record["boxes"][0]["repository"] = json!("elsewhere"));
    let requests = registry.requests_during(|| {
        refuse(&record, 21, &["set.main.3", "base", "elsewhere"]);
        let to = "127.0.0.1:1";
        world
            .without_engine(&["promote", "r9.9", "--from", "main@3", "--to", to, "--yes"])
            .fails(21, &["set.main.3"]);
    });
    assert!(!requests.iter().any(|line| line.contains("/v2/elsewhere/")), "{requests:#?}");
    // (b) another box's digest, a foreign image, and an image of another key.
    let other = payload(&registry, "set.main.1")["boxes"][1]["digest"].clone();
    let record = forge_set(&registry, 3, |record| record["boxes"][0]["digest"] = other);
    refuse(&record, 10, &["base", "gone"]);
    tell(
        "skopeo",
        &[
            "copy",
            "--dest-tls-verify=false",
            &format!("docker-daemon:{}", docker_name()),
            &format!("docker://{}/base:foreign", registry.host),
        ],
    );
    let foreign = registry.digest("base", "foreign").unwrap();
    let record = forge_set(&registry, 3, |record| record["boxes"][0]["digest"] = json!(foreign));
    refuse(&record, 21, &["set.main.3", "base", "labels", "another key"]);
    let newer = payload(&registry, "set.main.2")["boxes"][0]["digest"].clone();
    let record = forge_set(&registry, 3, |record| record["boxes"][0]["digest"] = newer.clone());
    refuse(&record, 21, &["set.main.3", "base", "another key"]);
    // A key of its own that the content tag does not hold.
    let record = forge_set(&registry, 3, |record| {
        record["boxes"][0]["digest"] = newer;
        record["boxes"][0]["key"] = payload(&registry, "set.main.2")["boxes"][0]["key"].clone();
    });
    refuse(&record, 21, &["set.main.3", "base", "is no tag of key"]);
    // (c) labels that fit, at a digest that never stood anywhere.
    let (_, _, body) = registry.curl(&[], &format!("base/manifests/{}", base["digest"].as_str().unwrap()));
    let mut manifest: Value = serde_json::from_str(&body).unwrap();
    manifest["annotations"] = json!({ "made": "up" });
    let manifest = manifest.to_string();
    let raw = RawManifest::new(MediaType::DockerManifest, manifest.clone());
    put(&registry, "base", raw.digest().as_str(), &manifest);
    let record = forge_set(&registry, 3, |record| record["boxes"][0]["digest"] = json!(raw.digest()));
    refuse(&record, 21, &["set.main.3", "base", "stands neither under"]);
    // So is a rollback to it.
    forge_set(&registry, 4, |_| {});
    world.without_engine(&["rollback", "main", "--yes"]).fails(21, &["set.main.3", "delete its tag"]);
    assert_eq!(held(&registry, "main"), honest);
    let (report, log) =
        (world.without_engine(&["report"]).good(), world.without_engine(&["log", "main"]).good());
    assert!(report.out.contains("main") && log.out.contains("main") || log.out.contains('4'));
}

/// The name under which the engine has busybox.
fn docker_name() -> String {
    let names = tell("docker", &["image", "inspect", "--format={{json .RepoTags}}", busybox()]);
    let names: Vec<String> = serde_json::from_str(&names).unwrap();
    names.into_iter().next().unwrap()
}

/// A record that says it is another's, a count that leaves no other, and thousands of records.
#[test]
fn records_that_lie_about_their_place_or_count_starve_nothing() {
    let registry = Registry::start(&[]);
    let world = promoted_twice(&registry);
    // (d) a promotion of main at a release's tag: that it is of another channel is no matter.
    let lying = forged(&registry, "set.main.1", "set", &payload(&registry, "set.main.1"));
    put(&registry, LEDGER, "set.r1.0.7", &lying);
    world.without_engine(&["log", "r1.0"]).exits(10).says(&["set.r1.0.7", "set aside"]);
    world.without_engine(&["promote", "r2.0", "--from", "r1.0", "--yes"]).fails(10, &["r1.0"]);
    let claim = |record: &mut Value| record["channel"] = json!("release");
    forge_set(&registry, 1, claim);
    let log = world.without_engine(&["log", "main", "--format", "json"]).good().json();
    assert!(log["promotions"].as_array().unwrap().iter().all(|one| one["channel"] == "main"), "{log:#}");
    // (e) the last count that there is, and one that is merely huge.
    for seq in [u32::MAX, 2_000_000_000] {
        forge_set(&registry, seq, |_| {});
    }
    let negative = forged(&registry, "set.main.1", "set", &json!({ "tag": "main", "seq": -1 }));
    put(&registry, LEDGER, "set.main.-1", &negative);
    put(&registry, LEDGER, "set.main.3", &negative);
    let log = world.without_engine(&["log", "main"]).good().says(&[
        "set.main.4294967295",
        "set.main.2000000000",
        "set.main.3",
    ]);
    assert_eq!(log.out.lines().filter(|line| line.starts_with(char::is_numeric)).count(), 2, "{}", log.out);
    // Garbage holds its own count alone.
    later_commit_of(&world);
    world.without_engine(&["promote", "main", "--yes"]).good();
    assert!(registry.records("set").contains(&"set.main.4".to_owned()), "{:?}", registry.records("set"));
    world.without_engine(&["rollback", "main", "--yes"]).good();
    // (f) hundreds of promotions of what stands nowhere.
    let many = 300;
    let record = payload(&registry, "set.main.1");
    let client = client();
    let ledger = Repository::new(&registry.host, LEDGER).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for seq in 6..6 + many {
            let mut record = record.clone();
            record["seq"] = json!(seq);
            record["boxes"][0]["digest"] = json!(format!("sha256:{seq:064}"));
            let raw =
                RawManifest::new(MediaType::OciManifest, forged(&registry, "set.main.1", "set", &record));
            let at = format!("set.main.{seq}").parse::<boxwright::model::Tag>().unwrap();
            client.put(&ledger, &at.into(), &raw).await.unwrap();
        }
    });
    let main = held(&registry, "main");
    let began = Instant::now();
    world.without_engine(&["rollback", "main", "--yes"]).exits(10);
    world.without_engine(&["promote", "r3.0", "--from", "main@1", "--yes"]).good();
    assert_eq!(held(&registry, "main"), main);
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    world.without_engine(&["log", "main"]).good();
}

/// A plan that somebody else wrote moves no tag to what was not resolved here, and whatever it says
/// there is a way on, which is named.
#[test]
fn a_forged_plan_moves_nothing_and_holds_nobody_up_for_ever() {
    let registry = Registry::start(&[]);
    let world = promoted_twice(&registry);
    let honest = held(&registry, "main");
    let mut plan = payload(&registry, "set.main.1");
    plan["seq"] = json!(3);
    plan["source"]["time"] = json!("2200-01-01T00:00:00Z");
    put(&registry, LEDGER, "plan.main.3", &forged(&registry, "set.main.1", "plan", &plan));
    later_commit_of(&world);
    world.without_engine(&["promote", "main", "--yes"]).fails(21, &["newer", "--allow-older"]);
    assert_eq!(held(&registry, "main"), honest);
    world.without_engine(&["promote", "main", "--allow-older", "--yes"]).good();
    assert_eq!(held(&registry, "main"), honest);
    assert!(registry.records("set").contains(&"set.main.4".to_owned()));
    // One that cannot be read, and one of a release that nobody has promoted yet.
    put(&registry, LEDGER, "plan.main.5", &forged(&registry, "set.main.1", "plan", &json!([])));
    let mut release = payload(&registry, "set.main.1");
    (release["tag"], release["seq"]) = (json!("r1.0"), json!(1));
    put(&registry, LEDGER, "plan.r1.0.1", &forged(&registry, "set.main.1", "plan", &release));
    world.without_engine(&["promote", "r1.0", "--yes"]).good();
    assert_eq!(held(&registry, "r1.0"), honest);
    release["tag"] = json!("r2.0");
    put(&registry, LEDGER, "set.r2.0.1", &forged(&registry, "set.main.1", "set", &release));
    world
        .without_engine(&["promote", "r2.0", "--yes"])
        .fails(21, &["immutable", "delete its tag from the ledger"]);
}

/// 17: what a channel alone has is built for it alone, and the message says how.
#[test]
fn the_message_about_a_box_of_one_channel_names_the_build_that_makes_it() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.replace("boxwright.toml", "target = \"test\"\n", "target = \"test\"\nonly = [\"release\"]\n");
    world.commit();
    world.boxwright(&["build"]).good();
    world
        .without_engine(&["promote", "r1.0", "--yes"])
        .fails(10, &["test", "run `boxwright build --channel release` on this revision first"]);
    world.boxwright(&["build", "--channel", "release"]).good();
    world.without_engine(&["promote", "r1.0", "--yes"]).good();
    // Where nothing is reserved the plain command does it.
    world.write(
        "ci/Dockerfile",
        &std::fs::read_to_string(world.root.join("ci/Dockerfile"))
            .unwrap()
            .replace("echo base >", "echo basis >"),
    );
    let ended = world
        .without_engine(&["promote", "main", "--yes"])
        .fails(10, &["run `boxwright build` on this revision first"]);
    assert!(!ended.err.contains("--channel"), "{}", ended.err);
}
