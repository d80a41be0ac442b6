//! The report of a registry with 20 boxes and 400 tags: its figures are those that curl finds,
//! and its page is what a browser shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use boxwright::adapter::credentials::Credentials;
use boxwright::adapter::registry::{HostConfig, HttpRegistry, Limits};
use boxwright::model::{Digest, Key, MediaType, RawManifest, Repository, Tag};
use boxwright::port::RegistryWriter as _;
use boxwright_testing::witness::{Registry, attempt, tell};
use boxwright_testing::world::World;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

const BOXES: usize = 20;
const TAGS: usize = 20;

/// Fills a registry: each box has 18 images, two of which have a second tag; all images of a box
/// share a layer, and a second one is shared by all boxes.
async fn fill(host: &str) {
    let credentials = Credentials::from_environment(None, |_| None).unwrap();
    let client = HttpRegistry::new(credentials.into(), HostConfig::default(), Limits::default()).unwrap();
    let client = &client;
    let one = |number: usize| async move {
        let repository: Repository = format!("{host}/box-{number:02}").parse().unwrap();
        let mut layers = Vec::new();
        for bytes in [vec![b'a'; 5000], format!("layer of {number}").repeat(100).into_bytes()] {
            let size = bytes.len();
            let digest = client.put_blob(&repository, bytes.into()).await.unwrap();
            let media_type = "application/vnd.oci.image.layer.v1.tar";
            layers.push(json!({ "mediaType": media_type, "digest": digest, "size": size }));
        }
        for image in 0..TAGS - 2 {
            let key = Key::of(format!("{number} {image}").as_bytes());
            let labels = json!({ "io.boxwright.key": key.to_string(), "io.boxwright.generation": "0" });
            let config = json!({
                "architecture": "amd64", "os": "linux", "config": { "Labels": labels },
                "rootfs": { "type": "layers", "diff_ids": [] },
            });
            let config = config.to_string();
            let size = config.len();
            let digest = client.put_blob(&repository, config.into()).await.unwrap();
            let media_type = "application/vnd.oci.image.config.v1+json";
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MediaType::OciManifest.as_str(), "layers": layers,
                "config": { "mediaType": media_type, "digest": digest, "size": size },
            });
            let raw = RawManifest::new(MediaType::OciManifest, manifest.to_string());
            let second = match image {
                0 => Some("main"),
                1 => Some("r2026.07"),
                _ => None,
            };
            for tag in [Some(format!("k-{key}")), second.map(str::to_owned)].into_iter().flatten() {
                let tag: Tag = tag.parse().unwrap();
                client.put(&repository, &tag.into(), &raw).await.unwrap();
            }
        }
    };
    futures_util::stream::iter(0..BOXES).for_each_concurrent(8, one).await;
}

/// Sizes of everything that a repository's tags refer to, by curl: tag → digest → size.
fn by_curl(registry: &Registry, repository: &str) -> BTreeMap<String, BTreeMap<String, u64>> {
    let tags = registry.tags(repository);
    let url = |tag: &String| format!("http://{}/v2/{repository}/manifests/{tag}", registry.host);
    let urls: Vec<String> = tags.iter().map(url).collect();
    let accept = format!("Accept: {}", MediaType::OciManifest);
    let fixed = ["-sSf", "--noproxy", "*", "-H", &accept, "-w", "\u{1e}"];
    let bodies = tell("curl", &[&fixed[..], &urls.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    let mut found = BTreeMap::new();
    for (tag, body) in tags.into_iter().zip(bodies.split_terminator('\u{1e}')) {
        let manifest: Value = serde_json::from_str(body).unwrap();
        let mut sizes = BTreeMap::from([(Digest::of(body.as_bytes()).to_string(), body.len() as u64)]);
        for part in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
            sizes.insert(part["digest"].as_str().unwrap().to_owned(), part["size"].as_u64().unwrap());
        }
        found.insert(tag, sizes);
    }
    found
}

/// What a browser makes of a page.
fn dump_dom(world: &World, page: &std::path::Path) -> String {
    let profile = format!("--user-data-dir={}", world.beside("browser").display());
    let output = Command::new("timeout")
        .args(["60", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
        .args(["--disable-sync", &profile, "--dump-dom", &format!("file://{}", page.display())])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "chromium is needed, see scripts/setup --tests: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_registry_is_reported_as_it_is() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let registry = Registry::start(&[]);
    fill(&registry.host).await;
    let world = World::empty();
    let mut boxes = String::from("[channel.main]\ntag = \"main\"\n[channel.release]\ntag = 'r.*'\n");
    for number in 0..BOXES {
        write!(boxes, "[box.box-{number:02}]\ntarget = \"t{number}\"\n").unwrap();
        if number > 0 {
            let parent = (number - 1) / 3;
            writeln!(boxes, "contexts = {{ base = \"box:box-{parent:02}\" }}").unwrap();
        }
    }
    world.configure(&registry.host, &boxes);
    let report = world.without_engine(&["report", "--format", "json", "--html", "page.html"]).good().json();

    let curled: BTreeMap<String, _> = (0..BOXES)
        .map(|number| format!("box-{number:02}"))
        .map(|name| (name.clone(), by_curl(&registry, &name)))
        .collect();
    let tags: usize = curled.values().map(BTreeMap::len).sum();
    assert_eq!((tags, report["totals"]["tags"].as_u64()), (BOXES * TAGS, Some(400)));
    let everything: BTreeMap<&String, u64> =
        curled.values().flat_map(BTreeMap::values).flatten().map(|(digest, size)| (digest, *size)).collect();
    assert_eq!(report["totals"]["bytes"].as_u64(), Some(everything.values().sum()));
    // All but the promoted images go: what they share with these stays.
    let stays = |tag: &String| !tag.starts_with("k-");
    let kept: BTreeSet<&String> =
        curled.values().flatten().filter(|(tag, _)| stays(tag)).flat_map(|(_, sizes)| sizes.keys()).collect();
    let freed: u64 =
        everything.iter().filter(|(digest, _)| !kept.contains(*digest)).map(|(_, size)| size).sum();
    assert_eq!(report["totals"]["freed"].as_u64(), Some(freed));
    assert!(freed > 0);
    for (index, (name, of_box)) in curled.iter().enumerate() {
        let sizes: BTreeMap<&String, u64> =
            of_box.values().flatten().map(|(digest, size)| (digest, *size)).collect();
        let elsewhere = |digest: &String| {
            curled
                .iter()
                .any(|(other, tags)| other != name && tags.values().any(|sizes| sizes.contains_key(digest)))
        };
        let own: u64 = sizes.iter().filter(|(digest, _)| !elsewhere(digest)).map(|(_, size)| size).sum();
        let one =
            report["boxes"].as_array().unwrap().iter().find(|one| one["name"] == name.as_str()).unwrap();
        assert_eq!(one["bytes"].as_u64(), Some(sizes.values().sum()), "{name}");
        assert_eq!(one["own_bytes"].as_u64(), Some(own), "{name}");
        assert_eq!((one["tags"].as_u64(), one["images"].as_u64()), (Some(20), Some(18)), "{name} {index}");
    }

    let page = world.root.join("page.html");
    let text = fs::read_to_string(&page).unwrap();
    for outside in ["<script", "<link", "http://", "https://", "@import", "url("] {
        assert!(!text.contains(outside), "{outside}");
    }
    let dom = dump_dom(&world, &page);
    assert_eq!(dom.matches("data-box=").count(), BOXES);
    assert_eq!(dom.matches("data-tag=").count(), BOXES * TAGS);
    assert_eq!(dom.matches("data-going=").count(), BOXES * (TAGS - 4));
    assert!(dom.contains(&format!("data-bytes=\"{}\"", everything.values().sum::<u64>())));
    for id in ["boxes", "promotions", "leases", "clean", "tags", "totals"] {
        assert!(dom.contains(&format!("id=\"{id}\"")), "{id}");
    }
    // The tree in the browser is that of the configuration.
    let inner = dom.split("data-box=\"box-00\"").nth(1).unwrap();
    assert!(inner.find("data-box=\"box-01\"").unwrap() < inner.find("data-box=\"box-04\"").unwrap());
    let human = world.without_engine(&["report"]).good();
    assert!(human.out.contains("400 tags, 360 images"), "{}", human.out);
    assert!(attempt("grep", &["-c", "prefers-color-scheme:dark", page.to_str().unwrap()]).status.success());
    tell("test", &["-s", page.to_str().unwrap()]);
}
