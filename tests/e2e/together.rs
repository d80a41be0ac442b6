//! Several runs at once.

use boxwright_testing::witness::Registry;
use boxwright_testing::world::{BOXES, World, content_tags, unique};

#[test]
fn three_builds_at_once_agree_on_one_digest_a_box() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    // The image would differ from build to build.
    let step = format!("RUN cat /proc/sys/kernel/random/uuid > /uuid # {}", unique());
    world.replace("ci/Dockerfile", "RUN echo base > /base", &step);
    world.commit();
    let build = |wait: &str| {
        let start = || world.start(&["build", "--format", "json", "--wait", wait, "--no-cache"]);
        let runs = [start(), start(), start()];
        runs.map(|run| run.end().good())
    };
    // Waiting for each other one builds; without waiting all do, and adopt what came first.
    for wait in ["10m", "0s"] {
        let reports = build(wait);
        let digests = reports[0].boxes("digest");
        if wait == "0s" {
            // Whoever does not wait can be overtaken after it has reported, for a registry compares
            // nothing before it writes. What was reported is there all the same, under its lease,
            // and what stands in the end is one whole set.
            for report in &reports {
                for (name, digest) in BOXES.iter().zip(report.boxes("digest")) {
                    assert_eq!(registry.digest(name, &digest), Some(digest), "{name}");
                }
            }
            let after = world.boxwright(&["build", "--format", "json"]).good();
            for ((name, tag), digest) in BOXES.iter().zip(&after.boxes("tag")).zip(&after.boxes("digest")) {
                assert_eq!(registry.digest(name, tag).as_ref(), Some(digest), "{name}");
            }
            world.without_engine(&["plan", "--check"]).good();
            break;
        }
        for report in &reports {
            assert_eq!(report.boxes("digest"), digests, "--wait {wait}");
        }
        let tags = content_tags(&registry);
        for ((name, tag), digest) in BOXES.iter().zip(&tags).zip(&digests) {
            assert_eq!(registry.digest(name, tag).as_ref(), Some(digest), "{name}");
        }
        let builders =
            |at: usize| reports.iter().filter(|report| report.boxes("action")[at] == "built").count();
        if wait == "10m" {
            assert_eq!([builders(0), builders(1), builders(2)], [1; 3]);
        }
        // Empty again, so that the second round builds as well.
        for (name, digest) in BOXES.iter().zip(&digests) {
            let (status, ..) = registry.curl(&["-X", "DELETE"], &format!("{name}/manifests/{digest}"));
            assert_eq!(status, 202);
        }
    }
}

#[test]
fn two_promotions_at_once_end_at_one_set() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let digests = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    for number in 0..8 {
        let tag = format!("r1.{number}");
        let start = || world.start(&["promote", &tag, "--yes"]);
        let runs = [start(), start(), start()];
        runs.into_iter().for_each(|run| drop(run.end().good()));
        for (name, digest) in BOXES.iter().zip(&digests) {
            assert_eq!(registry.digest(name, &tag).as_ref(), Some(digest));
        }
        let sets = registry.records("set").into_iter().filter(|name| name.contains(&tag)).count();
        assert_eq!(sets, 1, "{:?}", registry.records("set"));
        world.boxwright(&["promote", &tag, "--yes"]).good().says(&["is up to date"]);
    }
}
