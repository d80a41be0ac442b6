//! Processes that are killed (SIGKILL) once the registry has seen so many of their writes, and
//! one that is stopped (SIGSTOP) for longer than its lease.

use std::time::{Duration, Instant};

use crate::figure::figure;
use crate::witness::{Registry, tell};
use crate::world::{BOXES, World, unique};

/// How many writes of manifests and deletes a registry has answered.
fn writes(registry: &Registry) -> usize {
    let log = registry.log();
    let is_write = |line: &&str| {
        ["\"PUT /v2/", "\"DELETE /v2/"].iter().any(|verb| line.contains(verb)) && line.contains("/manifests/")
    };
    log.lines().filter(is_write).filter(|line| line.contains("HTTP/1.1\"")).count()
}

/// Starts a command and kills it at its `count`-th write; tells whether it was still at work.
fn killed_at(world: &World, registry: &Registry, arguments: &[&str], count: usize) -> bool {
    let before = writes(registry);
    let mut running = world.start(arguments);
    let began = Instant::now();
    loop {
        if let Some(_ended) = running.child().try_wait().unwrap() {
            return false;
        }
        if writes(registry) >= before + count {
            running.child().kill().unwrap();
            running.child().wait().unwrap();
            return true;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{arguments:?} at write {count}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_rerun_finishes_what_was_killed() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let mut kills = 0;
    // A build: its lease, then each box.
    for count in [1, 2, 3] {
        world.replace(
            "ci/Dockerfile",
            "RUN echo base > /base",
            &format!("RUN echo base > /base # {}", unique()),
        );
        kills += usize::from(killed_at(&world, &registry, &["build", "--wait", "0s"], count));
        let built = world.boxwright(&["build", "--wait", "0s", "--format", "json"]).good();
        for (name, digest) in BOXES.iter().zip(built.boxes("digest")) {
            let (status, _, _) = registry.curl(&[], &format!("{name}/manifests/{digest}"));
            assert_eq!(status, 200, "{name} after a kill at write {count}");
        }
        world.replace("ci/Dockerfile", "RUN echo base > /base #", "RUN echo base > /base\n#");
    }
    world.commit();
    world.boxwright(&["build", "--wait", "0s"]).good();
    // A promotion: the lease, the plan, three tags, the set record.
    for count in 1..=5 {
        let tag = format!("r1.{count}");
        kills += usize::from(killed_at(&world, &registry, &["promote", &tag, "--yes"], count));
        let report = world.boxwright(&["promote", &tag, "--yes", "--format", "json"]).good();
        for (name, digest) in BOXES.iter().zip(report.boxes("digest")) {
            assert_eq!(registry.digest(name, &tag), Some(digest), "{tag} after a kill");
        }
        assert!(registry.records("set").contains(&format!("set.{tag}.1")), "{:?}", registry.records("set"));
    }
    assert!(kills >= 5, "{kills}");
    figure(
        "killed-processes",
        &format!("{kills} processes killed at writes of builds and promotions; each rerun finished it"),
    );
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
    crate::world::until("the lease stands", || !registry.records("lease").is_empty());
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
