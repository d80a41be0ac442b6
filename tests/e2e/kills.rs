//! Processes that are killed (SIGKILL) before and after their writes, and one that is
//! stopped (SIGSTOP) for longer than its lease.

use std::time::Duration;

use boxwright_testing::figure::figure;
use boxwright_testing::witness::{Registry, busybox, tell};
use boxwright_testing::world::{BOXES, CHAIN, World, dockerfile, unique};
use serde_json::json;

use crate::halting::Halting;

/// Kills at each write that a command comes to: before it, and after every second one, which is as good as
/// before the next. Returns how often.
///
/// The writes are shared out in three, at work at once: most of the time goes to waiting. `share` makes what a
/// share works on; what it returns kills at one write and checks what comes of it, is told how often it was
/// called before, and tells whether the command came that far.
fn everywhere<Case: FnMut(usize, usize, bool) -> bool>(share: impl Fn() -> Case + Sync) -> usize {
    let kill = |first: usize, is_after: bool| {
        let (mut case, mut kills) = (share(), 0);
        while case(kills, first + 2 * kills, is_after) {
            kills += 1;
        }
        assert!(kills > 1, "only {kills} kills");
        kills
    };
    std::thread::scope(|scope| {
        let shares = [(0, false), (1, false), (0, true)];
        let shares = shares.map(|(first, is_after)| scope.spawn(move || kill(first, is_after)));
        shares.into_iter().map(|share| share.join().unwrap()).sum()
    })
}

/// No tag is seen before its content.
#[track_caller]
fn check_resolves(registry: &Registry) {
    for name in BOXES.iter().chain(&["boxwright-ledger"]) {
        let dangling = registry.dangling(name);
        assert!(dangling.is_empty(), "{name}: {dangling:?}");
    }
}

const BUILD: [&str; 5] = ["build", "--wait", "0s", "--format", "json"];

/// The chain, whose steps copy files alone.
fn copying(registry: &str) -> World {
    let world = World::chain(registry);
    let steps = ["COPY base /base", "COPY build /build", "COPY test /test"];
    world.write("ci/Dockerfile", &dockerfile(busybox(), steps));
    for name in ["base", "build"] {
        world.write(&format!("ci/{name}"), &unique());
    }
    world.commit();
    world
}

#[test]
fn a_build_that_was_killed_at_any_write_is_finished_by_a_rerun() {
    let builds = everywhere(|| {
        let registry = Registry::start(&[]);
        let halting = Halting::before(&registry);
        let world = copying(&halting.host);
        move |_, at, is_after| {
            // All three are missing, and the engine knows their layers.
            for name in BOXES {
                for tag in registry.tags(name) {
                    let digest = registry.digest(name, &tag).unwrap();
                    let path = format!("{name}/manifests/{digest}");
                    assert_eq!(registry.curl(&["-X", "DELETE"], &path).0, 202);
                }
            }
            let is_killed = halting.kill_at(&world, &BUILD, at, is_after);
            if is_killed {
                check_resolves(&registry);
                let built = world.boxwright(&BUILD).good();
                for (place, name) in BOXES.iter().enumerate() {
                    let (tag, digest) = (&built.boxes("tag")[place], &built.boxes("digest")[place]);
                    assert_eq!(registry.digest(name, tag).as_ref(), Some(digest), "{name}, {at} {is_after}");
                }
            }
            is_killed
        }
    });
    let told = format!(
        "{builds} kills (SIGKILL) of builds of three boxes, before every write and after every second one"
    );
    figure(
        env!("CARGO_TARGET_TMPDIR"),
        "killed-builds",
        &format!("{told} of a manifest; each rerun finished it"),
    );
}

#[test]
fn a_promotion_that_was_killed_at_any_write_is_finished_by_a_rerun() {
    let promotions = everywhere(|| {
        let registry = Registry::start(&[]);
        let halting = Halting::before(&registry);
        let world = copying(&halting.host);
        let digests = world.boxwright(&BUILD).good().boxes("digest");
        move |number, at, is_after| {
            let tag = format!("r1.{number}");
            let promote = ["promote", &tag, "--yes"];
            let is_killed = halting.kill_at(&world, &promote, at, is_after);
            if is_killed {
                check_resolves(&registry);
                world.without_engine(&promote).good();
            }
            for (name, digest) in BOXES.iter().zip(&digests) {
                assert_eq!(registry.digest(name, &tag).as_ref(), Some(digest), "{at} {is_after}");
            }
            assert!(registry.records("set").contains(&format!("set.{tag}.1")), "{at} {is_after}");
            is_killed
        }
    });
    let told = format!(
        "{promotions} kills (SIGKILL) of promotions of three boxes, before every write and after every second one"
    );
    figure(env!("CARGO_TARGET_TMPDIR"), "killed-promotions", &format!("{told}; each rerun finished it"));
}

/// The sweep deletes what was condemned, an index and its child, condemns more, and removes what
/// has ended.
#[test]
fn a_sweep_that_was_killed_at_any_write_is_finished_by_the_next() {
    let template = Registry::start(&[]);
    let world = copying(&template.host);
    let digests = world.boxwright(&BUILD).good().boxes("digest");
    world.without_engine(&["promote", "r1.0", "--yes"]).good();
    let mut garbage: Vec<(&str, String, String)> = Vec::new();
    for is_first in [true, false] {
        world.write("ci/base", &unique());
        let left = world.boxwright(&BUILD).good();
        if is_first {
            as_index(&template, "test", &left.boxes("tag")[2], &left.boxes("digest")[2]);
            world.without_engine(&["clean", "--now", "+3d", "--yes"]).good().says(&["3 condemned"]);
        }
        let all = BOXES.into_iter().zip(left.boxes("tag")).zip(left.boxes("digest"));
        garbage.extend(all.map(|((name, tag), digest)| (name, tag, digest)));
    }
    let (template, garbage, digests) = (&template, &garbage, &digests);
    let sweeps = everywhere(|| {
        let world = World::chain(&template.host);
        move |_, at, is_after| {
            let registry = template.copy();
            let halting = Halting::before(&registry);
            world.configure(&halting.host, CHAIN);
            let is_killed = halting.kill_at(&world, &["clean", "--now", "+5d", "--yes"], at, is_after);
            check_resolves(&registry);
            let clean = |ahead: &str| world.without_engine(&["clean", "--now", ahead, "--yes"]).good();
            clean("+5d");
            clean("+7d");
            for (name, tag, digest) in garbage {
                let stands = (registry.digest(name, tag), registry.digest(name, digest));
                assert_eq!(stands, (None, None), "{name}, {at} {is_after}");
            }
            for (name, digest) in BOXES.iter().zip(digests) {
                assert_eq!(registry.digest(name, "r1.0").as_ref(), Some(digest), "{at} {is_after}");
            }
            clean("+7d").says(&["nothing to do"]);
            is_killed
        }
    });
    let told = format!(
        "{sweeps} kills (SIGKILL) of `clean --yes`, before every write and delete and after every second one"
    );
    figure(env!("CARGO_TARGET_TMPDIR"), "killed-sweeps", &format!("{told}; the next one finished it"));
}

/// Puts an index with the image as its only child under its tag.
fn as_index(registry: &Registry, repository: &str, tag: &str, digest: &str) {
    let (_, headers, body) = registry.curl(&[], &format!("{repository}/manifests/{digest}"));
    let kind = "application/vnd.oci.image.index.v1+json";
    let child = json!({ "mediaType": headers["content-type"], "digest": digest, "size": body.len() });
    let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [child] }).to_string();
    let header = format!("Content-Type: {kind}");
    let arguments = ["-X", "PUT", "-H", &header, "--data-binary", &index];
    assert_eq!(registry.curl(&arguments, &format!("{repository}/manifests/{tag}")).0, 201);
}

/// 66: whoever was stopped for longer than its lease leases again before it reports.
#[test]
fn a_run_that_is_stopped_longer_than_its_lease_leases_again() {
    let registry = Registry::start(&[]);
    let word = unique();
    let world = World::single(&registry.host, &format!("RUN echo {word} && sleep 3"));
    let text = std::fs::read_to_string(world.root.join("boxwright.toml")).unwrap();
    world.write("boxwright.toml", &format!("{text}\n[temporary]\nkeep = \"6s\"\n"));
    let mut running = world.start(&["build", "--format", "json"]);
    boxwright_testing::world::until("the lease stands", || !registry.records("lease").is_empty());
    let process = running.child().id().to_string();
    tell("kill", &["-s", "STOP", &process]);
    std::thread::sleep(Duration::from_secs(12));
    tell("kill", &["-s", "CONT", &process]);
    let report = running.end().good();
    assert!(registry.records("lease").len() > 1, "{:?}", registry.records("lease"));
    let until = report.boxes("lease_until").remove(0);
    let now = tell("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]);
    assert!(until.as_str() > now.trim(), "{until} is not after {now}");
    let digest = report.boxes("digest").remove(0);
    assert_eq!(registry.curl(&[], &format!("only/manifests/{digest}")).0, 200);
}
