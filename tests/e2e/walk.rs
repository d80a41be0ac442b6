//! A walk as a user over a registry that others use as well: two channels, a release, runs of
//! pull requests, shared digests, an index made by hand, signatures. `clean` says why of
//! everything, deletes exactly the garbage, and is quiet after that.

use boxwright_testing::witness::{Registry, forget_images, skopeo, tell};
use boxwright_testing::world::{BOXES, CHAIN, World};
use serde_json::{Value, json};

const CHANNELS: &str = r#"
[channel.pr]
tag = 'pr-[0-9]+'
keep = { for = "2d", min = 0 }
"#;

fn put(registry: &Registry, path: &str, kind: &str, manifest: &Value) {
    let header = format!("Content-Type: {kind}");
    let arguments = ["-X", "PUT", "-H", &header, "--data-binary", &manifest.to_string()];
    let (status, _, body) = registry.curl(&arguments, path);
    assert_eq!(status, 201, "{path}: {body}");
}

/// `repository:tag` → action and reason, as `clean` tells it at a time.
fn told(world: &World, arguments: &[&str]) -> std::collections::BTreeMap<String, (String, String)> {
    let all = [&["clean", "--format", "json"], arguments].concat();
    let report = world.without_engine(&all).good().json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |image: &Value| {
        let name = format!("{}:{}", text(&image["repository"]), text(&image["tag"]));
        (name, (text(&image["action"]), text(&image["reason"])))
    };
    report["images"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn what_is_kept_stays_what_is_not_goes_and_everything_has_its_reason() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.configure(&registry.host, &format!("{CHAIN}{CHANNELS}"));
    world.commit();
    // A release and main share all digests; a pull request shares two of three with them.
    let release = world.boxwright(&["build", "--format", "json"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    world.without_engine(&["promote", "r2026.07", "--from", "main", "--yes"]).good();
    world.write("ci/test/one.txt", "of the pull request\n");
    let pr = world.boxwright(&["build", "--format", "json", "--run-id", "pr-7"]).good();
    world.boxwright(&["promote", "pr-7", "--yes"]).good();
    // A run that came to nothing, and one whose image somebody took into an index of theirs.
    world.write("ci/test/one.txt", "came to nothing\n");
    let left = world.boxwright(&["build", "--format", "json", "--run-id", "nothing"]).good();
    world.write("ci/test/one.txt", "taken by somebody\n");
    let taken = world.boxwright(&["build", "--format", "json", "--run-id", "taken"]).good();
    let test = |report: &boxwright_testing::world::Ended, field: &str| report.boxes(field)[2].clone();
    let kind = |digest: &str| {
        let (_, headers, _) = registry.curl(&["-I"], &format!("test/manifests/{digest}"));
        headers["content-type"].clone()
    };
    let child = |digest: String| json!({ "mediaType": kind(&digest), "digest": digest, "size": 1 });
    let index = "application/vnd.oci.image.index.v1+json";
    let multi = json!({ "schemaVersion": 2, "mediaType": index,
        "manifests": [child(test(&taken, "digest")), child(test(&release, "digest"))] });
    put(&registry, "test/manifests/multi", index, &multi);
    let mut signatures = Vec::new();
    for report in [&release, &left] {
        let (_, headers, body) = registry.curl(&[], &format!("test/manifests/{}", test(report, "digest")));
        let tag = format!("{}.sig", test(report, "digest").replace(':', "-"));
        // What it holds does not matter here: another image manifest of its own digest.
        let mut manifest: Value = serde_json::from_str(&body).unwrap();
        manifest["config"]["mediaType"] = "application/vnd.dev.cosign.config".into();
        manifest["annotations"] = json!({ "of": test(report, "digest") });
        put(&registry, &format!("test/manifests/{tag}"), &headers["content-type"], &manifest);
        signatures.push(format!("test:{tag}"));
    }

    // As long as the leases last nothing goes, and after that exactly this.
    assert!(told(&world, &[]).values().all(|(action, _)| action == "keep"));
    let rows = told(&world, &["--now", "+4d"]);
    let garbage = [format!("test:{}", test(&left, "tag")), signatures[1].clone()];
    let of_pr: Vec<String> = BOXES.iter().map(|name| format!("{name}:pr-7")).collect();
    let going: Vec<&String> =
        rows.iter().filter(|(_, (action, _))| action != "keep").map(|(name, _)| name).collect();
    let mut expect: Vec<&String> = garbage.iter().chain(&of_pr).collect();
    expect.sort();
    assert_eq!(going, expect);
    for (name, word) in [
        ("test:main".to_owned(), "main@1: it stands"),
        ("test:r2026.07".to_owned(), "release, r2026.07@1: kept for ever"),
        ("test:pr-7".to_owned(), "pr, pr-7@1: promoted 2d ago or more"),
        ("test:multi".to_owned(), "tag is not a temporary one"),
        (signatures[0].clone(), "is attached to sha256:"),
        (garbage[0].clone(), "no policy, lease or tag keeps it"),
    ] {
        assert!(rows[&name].1.contains(word), "{name}: {:?}", rows[&name]);
    }
    // The index, or what it holds, is told first: by their digests.
    let why = &rows[&format!("test:{}", test(&taken, "tag"))].1;
    assert!(why == "has tag multi" || why.starts_with("needed by sha256:"), "{why}");
    let table = world.without_engine(&["clean", "--now", "+4d"]).good();
    assert!(
        table.out.contains("promoted 2d ago or more") && table.err.contains("nothing was changed"),
        "{}",
        table.out
    );

    // One job plans, another does it; a plan that was done is not done twice.
    let before: Vec<String> = BOXES.iter().flat_map(|name| registry.tags(name)).collect();
    let file = world.beside("plan.json");
    let file = file.to_str().unwrap();
    world
        .without_engine(&["clean", "--now", "+4d", "--max-delete", "10%", "--yes"])
        .fails(21, &["more than 10%"]);
    world.without_engine(&["clean", "--now", "+4d", "--plan-out", file]).good().says(&[
        "wrote the plan to ",
        "plan.json",
        " --apply ",
    ]);
    world.without_engine(&["clean", "--apply", file]).good();
    world.without_engine(&["clean", "--apply", file]).fails(21, &["has moved", "new plan"]);
    assert_eq!(BOXES.iter().flat_map(|name| registry.tags(name)).collect::<Vec<_>>(), before);
    world.boxwright(&["promote", "pr-7", "--yes"]).fails(21, &["is being removed by clean"]);
    // Then tags and garbage go, and last the images that only the pull request had.
    world.without_engine(&["clean", "--now", "+6d", "--yes"]).good();
    world.without_engine(&["clean", "--now", "+6d", "--yes"]).good();
    world.without_engine(&["clean", "--now", "+8d", "--yes"]).good();
    let mut expect = vec![
        "main".to_owned(),
        "multi".to_owned(),
        "r2026.07".to_owned(),
        test(&release, "tag"),
        test(&taken, "tag"),
        signatures[0].replace("test:", ""),
    ];
    expect.sort();
    assert_eq!(registry.tags("test"), expect);
    assert_eq!(registry.digest("test", &test(&left, "digest")), None);
    assert_eq!(registry.digest("test", &test(&pr, "digest")), None);
    // Twice in a row there is nothing to do.
    for _ in 0..2 {
        world.without_engine(&["clean", "--now", "+8d", "--yes"]).good().says(&["nothing to do"]);
    }

    forget_images(&registry.host);
    for (name, digest) in BOXES.iter().zip(release.boxes("digest")) {
        let image = format!("{}/{name}:r2026.07", registry.host);
        assert_eq!(skopeo(&[&format!("docker://{image}")])["Digest"], digest);
        tell("docker", &["pull", "-q", &image]);
    }
    let image = format!("{}/test:r2026.07", registry.host);
    assert_eq!(tell("docker", &["run", "--rm", &image, "cat", "/test/one.txt"]), "one\n");
}

#[test]
fn a_release_goes_to_another_registry_with_its_signature() {
    let (registry, live) = (Registry::start(&[]), Registry::start(&[]));
    let world = World::chain(&registry.host);
    let built = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    world.boxwright(&["promote", "main", "--yes"]).good();
    let (_, headers, body) = registry.curl(&[], &format!("test/manifests/{}", built[2]));
    let tag = format!("{}.sig", built[2].replace(':', "-"));
    let mut manifest: Value = serde_json::from_str(&body).unwrap();
    manifest["annotations"] = json!({ "of": built[2] });
    put(&registry, &format!("test/manifests/{tag}"), &headers["content-type"], &manifest);
    let to = format!("{}/team", live.host);
    let call = ["promote", "r1.0", "--from", "main", "--to", &to];
    world.without_engine(&call).exits(10).says(&["nothing was changed", "--from main", "--to", "--yes"]);
    assert!(live.tags("team/test").is_empty());
    world.without_engine(&[&call[..], &["--yes"]].concat()).good();
    for (name, digest) in BOXES.iter().zip(&built) {
        let image = format!("{}/team/{name}:r1.0", live.host);
        assert_eq!(skopeo(&[&format!("docker://{image}")])["Digest"], *digest);
    }
    assert!(live.tags("team/test").contains(&tag));
    assert!(live.tags("team/boxwright-ledger").contains(&"set.r1.0.1".to_owned()));
    world.without_engine(&[&call[..], &["--yes"]].concat()).good().says(&["is up to date"]);
    forget_images(&registry.host);
    let image = format!("{}/team/test:r1.0", live.host);
    tell("docker", &["pull", "-q", &image]);
    assert_eq!(tell("docker", &["run", "--rm", &image, "cat", "/test/one.txt"]), "one\n");
    // Within one registry nothing is uploaded.
    let to = format!("{}/staging", registry.host);
    let requests = registry.requests_during(|| {
        world.without_engine(&["promote", "r1.0", "--from", "main", "--to", &to, "--yes"]).good();
    });
    assert!(!requests.iter().any(|request| request.starts_with("PATCH")), "{requests:#?}");
    assert_eq!(registry.digest("staging/test", "r1.0").as_ref(), Some(&built[2]));
}
