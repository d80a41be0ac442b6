//! What users of other tools met, one story a test, on a real registry: none of it may happen
//! here. Each names who met it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use boxwright_testing::witness::Registry;
use boxwright_testing::world::{BOXES, CHAIN, World, content_tags};
use serde_json::{Value, json};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Puts a manifest under a tag or by digest; returns its digest.
fn put(registry: &Registry, repository: &str, at: Option<&str>, kind: &str, manifest: &Value) -> String {
    use sha2::Digest as _;
    let text = manifest.to_string();
    let digest: String =
        sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{digest}");
    let header = format!("Content-Type: {kind}");
    let arguments = ["-X", "PUT", "-H", &header, "--data-binary", &text];
    let path = format!("{repository}/manifests/{}", at.unwrap_or(&digest));
    let (status, _, body) = registry.curl(&arguments, &path);
    assert_eq!(status, 201, "{path}: {body}");
    digest
}

/// Uploads a blob; returns its descriptor's digest and size.
fn blob(registry: &Registry, repository: &str, text: &str) -> (String, usize) {
    use sha2::Digest as _;
    let digest: String =
        sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{digest}");
    let (status, headers, _) = registry.curl(&["-X", "POST"], &format!("{repository}/blobs/uploads/"));
    assert_eq!(status, 202);
    let location = headers["location"].split_once("/v2/").unwrap().1.to_owned();
    let mark = if location.contains('?') { '&' } else { '?' };
    let arguments = ["-X", "PUT", "-H", "Content-Type: application/octet-stream", "--data-binary", text];
    let (status, _, body) = registry.curl(&arguments, &format!("{location}{mark}digest={digest}"));
    assert_eq!(status, 201, "{body}");
    (digest, text.len())
}

/// An artefact of somebody else's, attached to a subject or to nothing.
fn artefact(
    registry: &Registry,
    repository: &str,
    at: Option<&str>,
    what: &str,
    subject: Option<&str>,
) -> String {
    let (config, size) = blob(registry, repository, &format!("{{\"what\":\"{what}\"}}"));
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": { "mediaType": "application/vnd.example.config.v1+json", "digest": config, "size": size },
        "layers": [],
    });
    if let Some(subject) = subject {
        manifest["subject"] = json!({ "mediaType": IMAGE, "digest": subject, "size": 1 });
    }
    put(registry, repository, at, IMAGE, &manifest)
}

fn index(registry: &Registry, repository: &str, at: &str, children: &[&str]) -> String {
    let children: Vec<Value> =
        children.iter().map(|digest| json!({ "mediaType": IMAGE, "digest": digest, "size": 1 })).collect();
    put(
        registry,
        repository,
        Some(at),
        INDEX,
        &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children }),
    )
}

/// Makes one tag of a repository answer 500 to every write, while reads go on; what is returned
/// mends it.
fn jam(registry: &Registry, repository: &str, tag: &str) -> impl FnOnce() + use<> {
    let tags =
        registry.directory().join("docker/registry/v2/repositories").join(repository).join("_manifests/tags");
    let (index, aside) = (tags.join(tag).join("index"), tags.join(tag).join("aside"));
    std::fs::rename(&index, &aside).unwrap();
    std::fs::write(&index, "").unwrap();
    move || {
        std::fs::remove_file(&index).unwrap();
        std::fs::rename(&aside, &index).unwrap();
    }
}

/// Lets leases end and the grace pass: what nothing keeps is gone after this.
fn clean(world: &World) {
    world.without_engine(&["clean", "--now", "+3d", "--yes"]).good();
    world.without_engine(&["clean", "--now", "+6d", "--yes"]).good();
}

/// numberly/vault-db-injector#78, OHDSI/Data2Evidence#3081, nfrastack/db-backup#575
#[test]
fn a_temporary_tag_does_not_take_the_release_along_that_shares_its_digest() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let digests = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    world.boxwright(&["promote", "r1.0", "--yes"]).good();
    // A newer build that nobody promotes, so that there is something to delete.
    world.write("ci/test/one.txt", "another\n");
    let newer = world.boxwright(&["build", "--format", "json"]).good().boxes("tag");
    clean(&world);
    assert!(!registry.tags("test").contains(&newer[2]));
    for (name, digest) in BOXES.iter().zip(&digests) {
        assert_eq!(registry.digest(name, "r1.0").as_ref(), Some(digest));
        assert_eq!(registry.digest(name, digest).as_ref(), Some(digest));
    }
    assert_eq!(content_tags(&registry).len(), 3);
}

/// actions/delete-package-versions#162, snok/container-retention-policy#97
#[test]
fn children_of_a_multi_arch_image_are_not_deleted_as_untagged() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let built = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    // One child is a box's own image, the other has no tag at all.
    let other = artefact(&registry, "test", None, "arm64", None);
    index(&registry, "test", "multi", &[&built[2], &other]);
    world.write("ci/test/one.txt", "another\n");
    world.boxwright(&["build"]).good();
    clean(&world);
    for child in [&built[2], &other] {
        assert_eq!(registry.digest("test", child).as_ref(), Some(child));
    }
    // What the child stands on is there as well.
    assert_eq!(registry.digest("build", &built[1]).as_ref(), Some(&built[1]));
    assert_eq!(registry.tags("test").len(), 2);
}

/// telekom/das-schiff-network-operator#286
#[test]
fn per_arch_digests_stay_that_were_pushed_before_their_index() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    let children = ["amd64", "arm64"].map(|arch| artefact(&registry, "test", None, arch, None));
    clean(&world);
    let children = children.each_ref().map(String::as_str);
    let whole = index(&registry, "test", "multi", &children);
    assert_eq!(registry.digest("test", "multi"), Some(whole));
    for child in children {
        assert_eq!(registry.digest("test", child).as_deref(), Some(child));
    }
}

/// Systemorph/MeshWeaver#3438
#[test]
fn digests_stay_that_are_pinned_elsewhere() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let built = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    let protect = format!("{CHAIN}\n[protect]\nfiles = [\"deploy/app.yaml\"]\n");
    world.configure(&registry.host, &protect);
    // Without the list, or without a digest in it, nothing is deleted.
    world.without_engine(&["clean", "--now", "+3d", "--yes"]).fails(2, &["deploy/app.yaml"]);
    world.write("deploy/app.yaml", "image: test:latest\n");
    world
        .without_engine(&["clean", "--now", "+3d", "--yes"])
        .fails(21, &["deploy/app.yaml", "names no digest"]);
    assert!(registry.records("over").is_empty());
    world.write("deploy/app.yaml", &format!("image: {}/test@{}\n", registry.host, built[2]));
    world.write("ci/test/one.txt", "another\n");
    world.boxwright(&["build"]).good();
    clean(&world);
    for (name, digest) in BOXES.iter().zip(&built) {
        assert_eq!(registry.digest(name, digest).as_ref(), Some(digest), "{name}");
    }
    assert_eq!(registry.tags("test").len(), 1);
}

/// aws/containers-roadmap#2746
#[test]
fn a_promotion_renews_the_age_of_an_old_image() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.configure(
        &registry.host,
        &CHAIN.replace(
            r#"keep = "forever"
immutable = true"#,
            r#"keep = { for = "3d", min = 0 }"#,
        ),
    );
    world.commit();
    let digests = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    world.boxwright(&["promote", "r1.0", "--yes"]).good();
    let promoted = |seq: usize| {
        let log = world.without_engine(&["log", "r1.0", "--format", "json"]).good().json();
        let last = &log["promotions"][0];
        assert_eq!(last["seq"], seq);
        let text = last["promoted"].as_str().unwrap().to_owned();
        text.parse::<boxwright::model::Timestamp>().unwrap()
    };
    let first = promoted(1);
    std::thread::sleep(Duration::from_secs(3));
    // The same images, from a later commit: nothing is built or moved.
    world.write("README", "later\n");
    world.git(&["add", "--all"]);
    world.git(&["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", "later"]);
    let again = world.boxwright(&["promote", "r1.0", "--format", "json", "--yes"]).good();
    assert_eq!(
        (again.boxes("action"), again.boxes("digest")),
        (vec!["there".to_owned(); 3], digests.clone())
    );
    let second = promoted(2);
    assert!(second > first);
    let at = |seconds: i64| boxwright::model::Timestamp::from_unix(seconds).rfc3339();
    let going = |now: String| {
        let report = world.without_engine(&["clean", "--now", &now, "--format", "json"]).good().json();
        let images = report["images"].as_array().unwrap().clone();
        images.iter().filter(|image| image["tag"] == "r1.0" && image["action"] == "condemn").count()
    };
    // Three days after the first promotion it stays; after the second one it goes.
    let three = 3 * 86_400;
    assert_eq!(going(at(first.unix() + three + 1)), 0);
    assert_eq!(going(at(second.unix() + three)), 3);
}

/// sigstore/cosign#507
#[test]
fn a_signature_stays_with_its_image_and_goes_with_it() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let kept = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    world.boxwright(&["promote", "main", "--yes"]).good();
    world.write("ci/test/one.txt", "another\n");
    let left = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    let tag = |digest: &str, word: &str| format!("{}{word}", digest.replace(':', "-"));
    for digest in [&kept[2], &left[2]] {
        artefact(&registry, "test", Some(&tag(digest, ".sig")), digest, None);
        let referrer = artefact(&registry, "test", None, &format!("sbom of {digest}"), Some(digest));
        index(&registry, "test", &tag(digest, ""), &[&referrer]);
    }
    clean(&world);
    let tags = registry.tags("test");
    for word in ["", ".sig"] {
        assert!(tags.contains(&tag(&kept[2], word)), "{tags:?}");
        assert!(!tags.contains(&tag(&left[2], word)), "{tags:?}");
    }
    assert_eq!(registry.digest("test", &left[2]), None);
}

/// uselagoon/lagoon-images#1800
#[test]
fn a_rerun_does_not_rewrite_a_release() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let digests = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    world.boxwright(&["promote", "r1.0", "--yes"]).good();
    world.write("ci/test/one.txt", "another\n");
    world.commit();
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "r1.0", "--yes"]).fails(21, &["r1.0", "immutable"]);
    world.boxwright(&["promote", "r1.0", "--yes", "--allow-older"]).fails(21, &["immutable"]);
    for (name, digest) in BOXES.iter().zip(&digests) {
        assert_eq!(registry.digest(name, "r1.0").as_ref(), Some(digest));
    }
    world.boxwright(&["log", "r1.0"]).good();
}

/// kubernetes-sigs/promo-tools#784
#[test]
fn a_promotion_that_stops_half_way_says_so_and_is_finished_or_undone() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let at = |tag: &str| BOXES.map(|name| registry.digest(name, tag).unwrap());
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    let first = at("main");
    for (name, text) in [("ci/Dockerfile", "echo based"), ("ci/test/one.txt", "another\n")] {
        match name {
            "ci/Dockerfile" => world.replace(name, "echo base", text),
            _ => world.write(name, text),
        }
    }
    world.git(&["add", "--all"]);
    world.git(&["commit", "-q", "--message=later", "--date=now"]);
    let second: Vec<String> = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    let mended = jam(&registry, "test", "main");
    let ended = world
        .boxwright(&["promote", "main", "--yes"])
        .fails(22, &["stopped at test", "moved: base, build", "left: test"]);
    assert!(ended.err.contains("500"), "{}", ended.err);
    // The journal says what is done; what stood there is known.
    let log = world.without_engine(&["log", "main", "--format", "json"]).good().json();
    assert_eq!(
        (&log["promotions"][0]["state"], &log["promotions"][0]["seq"]),
        (&json!("unfinished"), &json!(2))
    );
    assert_eq!(log["promotions"][0]["boxes"][2]["before"], first[2]);
    assert_eq!(
        (registry.digest("base", "main"), registry.digest("test", "main")),
        (Some(second[0].clone()), Some(first[2].clone()))
    );
    mended();
    // Repaired, the rerun does only the rest.
    let requests = registry.requests_during(|| {
        let again = world.boxwright(&["promote", "main", "--format", "json", "--yes"]).good();
        assert_eq!(again.boxes("action"), ["there", "there", "moved"]);
    });
    let puts: Vec<&String> = requests
        .iter()
        .filter(|request| request.starts_with("PUT") && request.contains("/manifests/main "))
        .collect();
    assert_eq!(puts, ["PUT /v2/test/manifests/main 201"]);
    assert_eq!(at("main").to_vec(), second);
    assert_eq!(registry.records("set"), ["set.main.1", "set.main.2"]);

    // A rollback says what it would do, then does it, and no other tag moves.
    let others =
        |name: &str| -> Vec<String> { registry.tags(name).into_iter().filter(|tag| tag != "main").collect() };
    let before = BOXES.map(others);
    world
        .without_engine(&["rollback", "main"])
        .exits(10)
        .says(&["nothing was changed", "rollback main --yes"]);
    assert_eq!(at("main").to_vec(), second);
    world.without_engine(&["rollback", "main", "--yes"]).good().says(&["#3"]);
    assert_eq!(at("main"), first);
    assert_eq!(BOXES.map(others), before);
    world.boxwright(&["promote", "main", "--yes"]).fails(21, &["rolled back", "--allow-older"]);
    assert_eq!(at("main"), first);
    let log = world.without_engine(&["log", "main"]).good();
    assert!(log.out.contains("from main 1"), "{}", log.out);
}

/// materialize#10159: a 429 or 401 that was read as "missing"; urbanstats#2187: as "present".
#[test]
fn an_answer_that_says_nothing_is_neither_missing_nor_present() {
    let registry = Registry::start(&["--auth", "worker:secret"]);
    let world = World::chain(&registry.host);
    let cases = [("401 of a registry", registry.host.clone()), ("429", busy())];
    for (what, host) in cases {
        world.configure(&host, CHAIN);
        for command in [&["plan"][..], &["plan", "--check"], &["guard"], &["promote", "main", "--dry-run"]] {
            let ended = world.without_engine(command).exits(20);
            assert_eq!(ended.out, "", "{what} {command:?}");
            assert!(
                !ended.err.contains("missing") && !ended.err.contains("present"),
                "{what}: {}",
                ended.err
            );
        }
        world.without_engine(&["clean", "--yes"]).fails(20, &["nothing was deleted"]);
    }
    assert!(!registry.log().contains("PUT /v2/"));
}

/// A registry that answers everything with 429.
fn busy() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut seen = Vec::new();
                let mut piece = [0; 1024];
                while !seen.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut piece) {
                        Ok(read) if read > 0 => seen.extend_from_slice(&piece[..read]),
                        _ => return,
                    }
                }
                let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nDate: Sat, 21 Nov 2026 07:44:00 GMT\r\n\
                              Content-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    host
}
