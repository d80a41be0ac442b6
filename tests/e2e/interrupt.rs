//! Ctrl-C in the middle of things.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use boxwright_testing::witness::Registry;
use boxwright_testing::world::{Running, World, unique, until};

/// Starts a build and waits until its step has printed something.
fn building(world: &World) -> (Running, std::thread::JoinHandle<String>) {
    let mut running = world.start(&["build", "-v", "--format", "json"]);
    let err = running.child().stderr.take().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        for line in BufReader::new(err).lines() {
            let line = line.unwrap();
            if line.ends_with("now sleeping") {
                let _ = tell.send(());
            }
            all.push_str(&line);
            all.push('\n');
        }
        all
    });
    told.recv_timeout(Duration::from_secs(60)).expect("the step runs");
    (running, reader)
}

/// Tells whether a process on this machine has this word among its arguments.
pub fn runs(word: &str) -> bool {
    let mut all = std::fs::read_dir("/proc").unwrap().flatten();
    all.any(|entry| {
        std::fs::read(entry.path().join("cmdline"))
            .is_ok_and(|line| line.windows(word.len()).any(|part| part == word.as_bytes()))
    })
}

#[test]
fn an_interrupted_build_leaves_no_tag_no_lease_and_no_process() {
    let registry = Registry::start(&[]);
    for signal in ["INT", "TERM"] {
        let word = unique();
        let world =
            World::single(&registry.host, &format!("RUN echo now sleeping && sleep 300 && echo {word}"));
        let (running, reader) = building(&world);
        assert_eq!(registry.records("lease").len(), 1);
        assert!(runs(&word));
        let (ended, took) = running.signal(signal);
        let err = reader.join().unwrap();
        assert_eq!(ended.code, 130, "{err}");
        assert!(took < Duration::from_secs(60), "{signal}: {took:?}");
        assert!(err.contains("interrupted"), "{err}");
        assert_eq!(ended.boxes("action"), ["skipped"]);
        assert!(registry.tags("only").is_empty());
        assert!(registry.records("lease").is_empty(), "nobody should wait for a run that gave up");
        until("the engine has ended the step", || !runs(&word));
    }
}

#[test]
fn what_was_pushed_before_stays_and_is_leased() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let step = format!("RUN echo now sleeping && sleep 300 # {}", unique());
    world.replace("ci/Dockerfile", "COPY test /test", &step);
    let (running, reader) = building(&world);
    let (ended, _) = running.signal("INT");
    let err = reader.join().unwrap();
    assert_eq!(ended.code, 130, "{err}");
    assert_eq!(ended.boxes("action"), ["built", "built", "skipped"]);
    assert_eq!(registry.tags("build").len(), 1);
    assert!(registry.tags("test").is_empty());
    let leases = registry.records("lease");
    assert_eq!(leases.len(), 1);
    let (_, _, body) = registry.curl(&[], &format!("boxwright-ledger/manifests/{}", leases[0]));
    let keys = world.keys();
    assert_eq!([0, 1, 2].map(|at| body.contains(&keys[at])), [true, true, false]);
}
