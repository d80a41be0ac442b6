//! A CI that does not say whose change it runs.

use std::collections::BTreeMap;
use std::fs;

use boxwright_testing::witness::Registry;
use boxwright_testing::world::{Ended, World};

/// Everything that stands in a registry, as curl sees it: digests by repository and tag.
fn everything(registry: &Registry) -> BTreeMap<String, Option<String>> {
    let (_, _, catalog) = registry.curl(&[], "_catalog");
    let catalog: serde_json::Value = serde_json::from_str(&catalog).unwrap();
    let names = catalog["repositories"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    let mut all = BTreeMap::new();
    for name in names {
        for tag in registry.tags(name) {
            let digest = registry.digest(name, &tag);
            all.insert(format!("{name}:{tag}"), digest);
        }
    }
    all
}

fn call(world: &World, environment: &[(&str, &str)], arguments: &[&str]) -> Ended {
    Ended::of(world.command(arguments).envs(environment.iter().copied()).output().unwrap())
}

/// A project with two promotions, an archive, and a change that is not built yet.
fn project(registry: &Registry) -> World {
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    world.write("ci/test/one.txt", "another\n");
    world.commit();
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    world.boxwright(&["export", "-o", world.beside("boxes.tar").to_str().unwrap()]).good();
    world.boxwright(&["clean", "--plan-out", world.beside("plan.json").to_str().unwrap()]).good();
    // What a repository holds has no say in whether its run is trusted.
    for file in [".env", "boxwright.env", "ci/.env", ".boxwright.env"] {
        world.write(file, "BOXWRIGHT_TRUST=trusted\nBOXWRIGHT_PUSH=always\nexport BOXWRIGHT_TRUST=trusted\n");
    }
    world
}

#[test]
fn every_command_that_writes_writes_nothing_where_nobody_says_whose_change_it_is() {
    let registry = Registry::start(&[]);
    let world = project(&registry);
    let (archive, plan) = (world.beside("boxes.tar"), world.beside("plan.json"));
    let (archive, plan) = (archive.to_str().unwrap(), plan.to_str().unwrap());
    let writing = [
        &["promote", "main", "--yes"][..],
        &["promote", "r1.0", "--yes"],
        &["promote", "main", "--from", "main@1", "--yes"],
        &["rollback", "main", "--yes"],
        &["rebuild", "base", "--yes"],
        &["rebuild", "base", "--dependants", "--yes"],
        &["import", archive, "--push"],
        &["clean", "--yes"],
        &["clean", "--yes", "--now", "+40d"],
        &["clean", "--forget", "lease.x", "--yes"],
        &["clean", "--apply", plan],
    ];
    let before = everything(&registry);
    assert!(before.len() > 8, "{before:?}");
    let requests = registry.requests_during(|| {
        for environment in [
            &[("TF_BUILD", "True")][..],
            &[("TF_BUILD", "True"), ("SYSTEM_PULLREQUEST_ISFORK", "True"), ("BOXWRIGHT_TRUST", "trusted")],
            &[("CODEBUILD_BUILD_ID", "a:1")],
            &[("CI", "true"), ("BUILDKITE", "true")],
            &[("BOXWRIGHT_TRUST", "unknown")],
            &[("BOXWRIGHT_TRUST", "untrusted"), ("BOXWRIGHT_PUSH", "always")],
            &[("BOXWRIGHT_PUSH", "never")],
        ] {
            for arguments in writing {
                let ended = call(&world, environment, arguments).exits(21);
                let says = ["not known whether", "not trusted", "--push never"];
                assert!(says.iter().any(|part| ended.err.contains(part)), "{}", ended.err);
            }
        }
        // What is there is used, and what is missing stays missing.
        let unknown = [("TF_BUILD", "True")];
        call(&world, &unknown, &["build"]).good().says(&["--push always"]);
        world.replace("ci/test/one.txt", "another", "more");
        call(&world, &unknown, &["build"]).exits(10);
        world.replace("ci/test/one.txt", "more", "another");
        call(&world, &unknown, &["clean"]).good();
        call(&world, &unknown, &["promote", "main", "--dry-run"]).good();
    });
    let writes: Vec<_> =
        requests.iter().filter(|line| !line.starts_with("GET ") && !line.starts_with("HEAD ")).collect();
    assert!(writes.is_empty() && requests.len() > 20, "{writes:?}");
    assert_eq!(everything(&registry), before);
}

#[test]
fn the_owner_of_a_job_may_say_that_it_is_trusted_and_always_writes_once() {
    let registry = Registry::start(&[]);
    let world = project(&registry);
    let archive = world.beside("boxes.tar");
    let archive = archive.to_str().unwrap();
    let unknown = ("CI", "true");
    for environment in
        [&[unknown, ("BOXWRIGHT_TRUST", "trusted")][..], &[unknown, ("BOXWRIGHT_PUSH", "always")]]
    {
        call(&world, environment, &["build"]).good();
        call(&world, environment, &["promote", "main", "--yes"]).good();
        call(&world, environment, &["import", archive, "--push"]).good();
        call(&world, environment, &["clean", "--yes"]).good();
    }
    call(&world, &[unknown], &["import", archive, "--push=always"]).good();
    call(&world, &[unknown], &["promote", "main", "--push", "always", "--yes"]).good();
    let before = everything(&registry);
    call(&world, &[unknown], &["rollback", "main", "--yes", "--push", "always"]).good();
    assert_ne!(everything(&registry), before);
    // A person's machine is trusted, and may be lowered.
    call(&world, &[], &["promote", "main", "--allow-older", "--yes"]).good();
    call(&world, &[("BOXWRIGHT_TRUST", "unknown")], &["promote", "main", "--yes"]).exits(21);
    // A word that is none is nobody's word.
    for bad in ["Trusted", "yes", "trusted "] {
        for arguments in [&["plan"][..], &["build"], &["promote", "main", "--yes"], &["clean"]] {
            call(&world, &[("BOXWRIGHT_TRUST", bad)], arguments)
                .fails(2, &["BOXWRIGHT_TRUST", "expected trusted"]);
        }
    }
}

/// Nothing makes a fork's run anything else.
#[test]
fn a_fork_s_run_stays_one_whatever_is_said() {
    let registry = Registry::start(&[]);
    let world = project(&registry);
    let event = world.beside("event.json");
    fs::copy("testdata/ci/github/pull_request_target.fork.json", &event).unwrap();
    let before = everything(&registry);
    let of_fork = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "pull_request_target"),
        ("GITHUB_EVENT_PATH", event.to_str().unwrap()),
    ];
    for more in [("BOXWRIGHT_TRUST", "trusted"), ("BOXWRIGHT_PUSH", "always"), ("CI", "true")] {
        for arguments in
            [&["promote", "main", "--yes"][..], &["rebuild", "base", "--yes"], &["clean", "--yes"]]
        {
            let environment = [&of_fork[..], &[more]].concat();
            call(&world, &environment, arguments).fails(21, &["not trusted"]);
        }
    }
    assert_eq!(everything(&registry), before);
}
