//! Each request of a build fails in turn: what is unknown is never missing.

use boxwright::exec::{BuildError, Outcome};
use boxwright::port::Failure;

use super::net::{gone, too_many, unavailable};
use super::world::World;

const FAILURES: [fn() -> Failure; 3] = [too_many, unavailable, gone];

/// Prepares a registry on which `fresh` of the boxes are missing.
async fn prepared(is_fresh: bool) -> World {
    let world = World::new();
    if !is_fresh {
        world.run("before").build().await.unwrap();
    }
    world.copy()
}

async fn requests(world: &World) -> usize {
    let world = world.copy();
    world.run("one").build().await.unwrap();
    world.log().len()
}

#[tokio::test(start_paused = true)]
async fn no_failed_request_of_a_hit_leads_to_a_build() {
    let mut cases = 0;
    let template = prepared(false).await;
    for failure in FAILURES {
        for number in 0..requests(&template).await {
            let world = template.copy();
            world.net.fail_nth(number, failure);
            let run = world.run("one");
            let result = run.build().await;
            let failed = world.log()[number].clone();
            assert_eq!((run.engine.built(), run.engine.pushed()), (vec![], vec![]), "{failed:?}");
            let error = result.expect_err(&format!("{failed:?}")).to_string();
            let verb = format!("{:?}", failed.verb);
            let reference = failed.reference.clone().unwrap_or_default();
            assert!(error.contains(&verb) && error.contains(&reference), "{failed:?}: {error}");
            cases += 1;
        }
    }
    eprintln!("{cases} failed requests of a hit");
}

/// In a run that has something to build, a failed request may strike after the first build;
/// what is then not known is failed, never built for that reason, and what is reported stands.
#[tokio::test(start_paused = true)]
async fn no_failed_request_of_a_build_is_taken_for_missing() {
    let (mut cases, mut stopped, mut partly) = (0, 0, 0);
    let template = prepared(true).await;
    for failure in FAILURES {
        for number in 0..requests(&template).await {
            let world = template.copy();
            world.net.fail_nth(number, failure);
            let run = world.run("one");
            let result = run.build().await;
            cases += 1;
            let failed = world.log()[number].clone();
            let mut built = run.engine.built();
            built.sort();
            let all = built.len();
            built.dedup();
            assert_eq!(built.len(), all, "built twice: {failed:?}");
            match result {
                Err(BuildError::Unknown { .. }) => {
                    stopped += 1;
                    assert_eq!(built, [""; 0], "{failed:?}");
                    assert_eq!(world.leases(), [], "{failed:?}");
                }
                Err(BuildError::Ledger(error)) => {
                    stopped += 1;
                    assert!(error.to_string().contains(&format!("{:?}", failed.verb)), "{error}");
                }
                Err(BuildError::Secret(error)) => panic!("no box has secrets: {error}"),
                Err(BuildError::UnmetRequirements(error)) => panic!("no box needs anything: {error}"),
                Err(error @ BuildError::NoRoom { .. }) => panic!("no engine told of its room: {error}"),
                Ok(report) => {
                    for (name, one) in &report.boxes {
                        assert_eq!(one.digest.is_some(), matches!(one.outcome, Outcome::Built), "{failed:?}");
                        if one.digest.is_some() {
                            assert_eq!(one.digest, world.stands(name), "{failed:?}");
                        }
                    }
                    partly += usize::from(report.missing().next().is_some());
                }
            }
        }
    }
    assert!(stopped > 0 && partly > 0);
    eprintln!("{cases} failed requests of a build: {stopped} stopped it, {partly} failed a box");
}

/// A registry that goes away for good in the middle leaves nothing that a second run cannot use.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_killed_anywhere_is_finished_by_the_next() {
    let mut cases = 0;
    let template = prepared(true).await;
    for after in [false, true] {
        for number in 0..requests(&template).await {
            let world = template.copy();
            world.net.kill_at(number, after);
            let _ = world.run("one").build().await;
            world.net.memory.mend();
            let mut run = world.run("two");
            run.build.jobs = 1;
            let report = run.build().await.unwrap();
            assert!(report.missing().next().is_none(), "killed at {number}");
            for (name, one) in &report.boxes {
                assert_eq!(one.digest, world.stands(name));
            }
            cases += 1;
        }
    }
    eprintln!("{cases} kills of a build");
}
