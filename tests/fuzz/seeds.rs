//! Where mutations start.

use std::fs;
use std::path::Path;

use boxwright::model::{
    Digest, Generation, Key, Lease, PromotedImage, PromotionRecord, Record, RunBox, RunId, RunRecord, Source,
    StoredInputs, Tag, TaggedDigest, Timestamp, Tombstone,
};
use boxwright_testing::sample::{self, Sample};

fn files(directory: &str, ending: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let wanted = paths.into_iter().filter(|path| path.to_string_lossy().ends_with(ending));
    wanted.map(|path| fs::read(path).unwrap()).collect()
}

/// Inputs that failed once.
pub fn failed(name: &str) -> Vec<Vec<u8>> {
    files(&format!("testdata/fuzz/{name}"), "")
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub fn archive() -> Vec<Vec<u8>> {
    let entries = Sample::of_two_boxes().entries();
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in &entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    let whole = sample::tar(&entries);
    vec![sample::gzip(&whole), whole, builder.into_inner().unwrap()]
}

pub fn dockerfile() -> Vec<Vec<u8>> {
    let mut seeds = files("testdata/dockerfiles", ".Dockerfile");
    assert!(seeds.len() >= 4);
    seeds.extend(texts(&[
        "FROM a\nCOPY a b /c/\n",
        "# syntax=docker/dockerfile:1\n# escape=`\nFROM a AS base\nARG A=1 B\nENV C=${A:-x} D=\"${B:+y}\" E=${A#p*}\nCOPY --chmod=755 --exclude=*.o --parents $A /d\n",
        "FROM base AS build\nRUN --mount=type=bind,source=a,target=/b --mount=type=secret,id=s,required=true <<EOF <<X\none\nEOF\ntwo\nX\nCOPY <<F /f\n$A\nF\n",
        "FROM --platform=$BUILDPLATFORM a@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\nONBUILD COPY --from=b:1 [\"x y\", \"z\"]\nADD --checksum=sha256:00 https://example.com/x /x\nHEALTHCHECK CMD a\nSHELL [\"/bin/sh\"]\n",
    ]));
    seeds
}

pub fn dockerignore() -> Vec<Vec<u8>> {
    texts(&[
        "**/*.log\n!src/debug.log\n# comment\ntarget/\n/a/./b/../c\n",
        "\u{feff}*\n!keep/**\n[a-z]?/[^x]*\n\\!a\n",
        "a\\*b\n**/x**y/[[:digit:]]\nd\\d*\n! b\n",
    ])
}

pub fn config() -> Vec<Vec<u8>> {
    let own = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("boxwright.toml")).unwrap();
    let mut seeds = texts(&[
        "registry = \"embedded\"\nledger = \"l\"\nepoch = \"1\"\n[temporary]\nkeep = \"2d\"\n[clean]\ngrace = \"1d\"\n[defaults]\nplatforms = [\"linux/arm64\"]\n[pin.a]\nfile = \"x.toml\"\nfield = \"a.b\"\nalso = [\"y.toml\"]\n[box.base]\ntarget = \"base\"\n[box.b]\ncontexts = { base = \"box:base\", d = \"image:debian:12\" }\nargs = { A = \"{pin.a:8}\" }\nprefix = \"p-{pin.a}\"\nmax-size = \"4GiB\"\nonly = [\"r\"]\nextra-hosts = [\"a:1.2.3.4\"]\nshm-size = \"1GiB\"\n[channel.r]\ntag = 'r[0-9]+'\nkeep = \"forever\"\nimmutable = true\n",
        "registry = \"ghcr.io/x\"\n[pin.g]\ngit = \"https://example.com/g\"\nref = \"main\"\n[pin.i]\nimage = \"debian:12\"\n[pin.u]\nurl = \"https://example.com/u\"\n[pin.t]\nfile = \"t\"\npattern = \"v(.*)\"\n[box.x]\ncontext = \"a/b\"\ndockerfile = \"a/D\"\nargs = { G = \"{pin.g}\", T = \"{{x}}\" }\n[channel.main]\ntag = \"main\"\nkeep = { last = 1, grace = \"1d\" }\n",
    ]);
    seeds.push(own);
    seeds
}

pub fn lock() -> Vec<Vec<u8>> {
    let own = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("boxwright.lock")).unwrap();
    let mut seeds = texts(&[
        "version = 1\n[pin.ec]\ngit = \"https://example.com/ec.git\"\nref = \"main\"\ncommit = \"0123456789012345678901234567890123456789\"\n[pin.\"a b\"]\nurl = \"u\"\ndigest = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n[image.\"docker.io/library/debian:12\"]\ndigest = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n",
    ]);
    seeds.push(own);
    seeds
}

pub fn hosts() -> Vec<Vec<u8>> {
    texts(&[
        "[host.\"registry.example:5000\"]\nplain-http = false\nca = \"/etc/ssl/corp.pem\"\nclient-certificate = \"/etc/me.pem\"\nclient-key = \"/etc/me.key\"\ntoken-host = \"git.example\"\nproxy = true\nprovider = \"harbor\"\n",
        "[host.\"127.0.0.1:5000\"]\nplain-http = true\n[host.\"ghcr.io\"]\nproxy = false\n",
    ])
}

pub fn event() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        "push\n{\"head_commit\":{\"timestamp\":\"2026-11-21T09:00:00Z\"},\"repository\":{\"id\":1}}",
        "workflow_run\n{\"workflow_run\":{\"event\":\"push\",\"head_repository\":{\"id\":1},\"actor\":{\"login\":\"dependabot[bot]\"},\"pull_requests\":[{\"number\":7}]},\"repository\":{\"id\":1,\"full_name\":\"a/b\"}}",
    ]);
    for name in ["pull_request", "pull_request_target", "issue_comment"] {
        for head in ["null", "{\"id\":2}", "{\"full_name\":\"a/b\"}"] {
            let payload = format!(
                "{{\"pull_request\":{{\"number\":3,\"head\":{{\"repo\":{head}}},\"base\":{{\"repo\":{{\"id\":1,\"full_name\":\"a/b\"}}}}}},\"sender\":{{\"login\":\"me\"}}}}"
            );
            seeds.push(format!("{name}\n{payload}").into_bytes());
        }
    }
    seeds
}

pub fn layout() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    boxwright::adapter::embedded::Store::open(directory.path()).unwrap();
    let mut seeds = vec![fs::read(directory.path().join("index.json")).unwrap()];
    seeds.extend(texts(&[
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size":3,"annotations":{"org.opencontainers.image.ref.name":"a/b:k"}}]}"#,
    ]));
    seeds
}

/// Answers of a registry, one after the other.
pub fn registry() -> Vec<Vec<u8>> {
    let token = "401\nWWW-Authenticate: Basic realm=\"x\", Bearer realm=\"http://$HOST/token\",service=\"s\"\n\n{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"no\"}]}\n\0\n200\n\n{\"token\":\"t\",\"expires_in\":300}\n\0\n200\n\n{\"name\":\"team/box\",\"tags\":[\"main\",\"-x\"]}";
    let pages = "200\nLink: </v2/team/box/tags/list?n=1&last=a>; rel=\"next\", <x>; rel=y\n\n{\"tags\":[\"a\"]}\n\0\n200\n\n{\"tags\":null,\"name\":\"team/box\"}\n\0\n404\n\n{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}";
    let moved = "307\nLocation: http://$HOST/elsewhere\n\n\n\0\n429\nRetry-After: 1\nX-RateLimit-Remaining: 0\n\n\n\0\n200\n\n{\"tags\":[]}";
    let manifest = "200\nContent-Type: application/vnd.oci.image.manifest.v1+json\nDocker-Content-Digest: sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\nDate: Sun, 06 Nov 1994 08:49:37 GMT\n\n{\"schemaVersion\":2,\"name\":\"x\",\"tags\":[\"a\"]}";
    let referrers = "200\nContent-Type: application/vnd.oci.image.index.v1+json\nOCI-Filters-Applied: a\n\n{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\"size\":3,\"artifactType\":\"a/b\"}],\"tags\":[\"k\"]}";
    texts(&[token, pages, moved, manifest, referrers, "403\n\n<html>no</html>", "500\n\n"])
}

pub fn archive_and_tar() -> Vec<Vec<u8>> {
    archive()
}

pub fn pin_toml() -> Vec<Vec<u8>> {
    texts(&[
        "[toolchain]\nchannel = \"1.90\"\ncomponents = [\"a\"]\n",
        "toolchain.channel = 1.5\na = '''x'''\nb = { c = [1, 2] }\nd = 1979-05-27T07:32:00Z\n[[e]]\nf = 0x1f\n",
    ])
}

pub fn pin_json() -> Vec<Vec<u8>> {
    texts(&[
        "{\"packages\": [{\"rev\": \"abc\"}], \"a\": 1.10}",
        "{\"a\": true, \"packages\": {\"0\": {\"rev\": \"\\u00e9\\ud83d\\ude00\"}}, \"n\": [null, -1e5]}",
    ])
}

pub fn pin_yaml() -> Vec<Vec<u8>> {
    texts(&[
        "services:\n  - image: debian:12 # note\na: 1.10\n",
        "%YAML 1.2\n---\na: &x |\n  text\nb: *x\nservices: [{image: \"q\\n\"}, {<<: *x}]\n? complex\n: !!str v\n...\n",
        "a: >-\n  folded\n  text\nservices:\n- {image: 'it''s'}\n",
    ])
}

pub fn pin_text() -> Vec<Vec<u8>> {
    texts(&["v1.2.3\n", "NAME = x\nVERSION = 1.2\r\nVERSION=3\n", ""])
}

pub fn inputs() -> Vec<Vec<u8>> {
    let mut seeds = files("testdata/keys", ".manifest");
    assert!(seeds.len() >= 4);
    seeds.retain(|seed| seed.len() < 1 << 16);
    seeds
}

pub fn manifest() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size":3,"platform":{"os":"linux","architecture":"amd64","variant":"v8"}}],"annotations":{"a":"b"}}"#,
        r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size":3},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size":3}]}"#,
    ]);
    let stored = StoredInputs { digest: Digest::of(b"x"), size: 1 };
    seeds.push(stored.to_manifest().bytes().to_vec());
    seeds.extend(record());
    seeds
}

pub fn record() -> Vec<Vec<u8>> {
    let (key, now, digest) = (Key::of(b"x"), Timestamp::from_unix(1_700_000_000), Digest::of(b"x"));
    let bytes = |raw: boxwright::model::RawManifest| raw.bytes().to_vec();
    let source = Source {
        revision: Some("a".repeat(40)),
        time: Some(now),
        dirty: true,
        local: vec!["ec".to_owned()],
        unread: Some("no git".to_owned()),
    };
    vec![
        bytes(
            Lease {
                taken: now,
                expiry: now,
                run: "run-1".parse().unwrap(),
                attempt: 1,
                nonce: "n".to_owned(),
                keys: vec![key.clone()],
                purpose: Default::default(),
                turn: Some(1),
            }
            .to_manifest(),
        ),
        bytes(
            Tombstone {
                key: key.clone(),
                generation: Generation(1),
                marked: now,
                reason: "why \"quoted\"".to_owned(),
                images: vec![TaggedDigest {
                    repository: "a/b".to_owned(),
                    tag: "k".parse().unwrap(),
                    digest: digest.clone(),
                }],
                parts: Default::default(),
            }
            .to_manifest(),
        ),
    ]
    .into_iter()
    .chain([set(&key, now, &digest, &source), run(key, now, digest, source)])
    .collect()
}

fn set(key: &Key, now: Timestamp, digest: &Digest, source: &Source) -> Vec<u8> {
    let (tag, run): (Tag, RunId) = ("r2026.07".parse().unwrap(), "run-1".parse().unwrap());
    let one = PromotedImage {
        name: "base".to_owned(),
        repository: "a/b".to_owned(),
        key: key.clone(),
        content_tag: "k-1".parse().unwrap(),
        digest: digest.clone(),
        before: Some(digest.clone()),
    };
    let boxes = vec![PromotedImage { before: None, ..one.clone() }, one];
    let source = source.clone();
    let set = PromotionRecord {
        tag,
        channel: "release".to_owned(),
        seq: 3,
        promoted: now,
        run,
        source,
        from: None,
        copied: None,
        withdrawn: None,
        by: None,
        boxes,
    };
    set.to_manifest().bytes().to_vec()
}

fn run(key: Key, now: Timestamp, digest: Digest, source: Source) -> Vec<u8> {
    let (name, repository, action) = ("base".to_owned(), "a/b".to_owned(), "built".to_owned());
    let boxes = vec![RunBox { name, repository, key, digest: Some(digest), action }];
    let run = RunRecord {
        run: "run-1".parse().unwrap(),
        attempt: 2,
        finished: now,
        source,
        leases: ["n".to_owned()].into(),
        boxes,
    };
    run.to_manifest().bytes().to_vec()
}

pub fn names() -> Vec<Vec<u8>> {
    texts(&[
        "k-ba7816bf8f01cfea414140de5dae2223",
        "rust-1.90-k-ba7816bf8f01cfea414140de5dae2223.g12",
        "lease.1700000000.run-1.n",
        "over.ba7816bf8f01cfea414140de5dae2223.g0",
        "plan.r2026.07.3",
        "run.a.b.1",
        "inputs.ba7816bf8f01cfea414140de5dae2223",
        "ba7816bf8f01cfea414140de5dae2223",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "localhost:5000/a/b_c__d/e-f.g",
        "[::1]:5000/a",
        "docker.io/library/debian:12@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "linux/arm/v7",
        "2d",
        "90m",
        "2026-11-21T09:00:00Z",
        "20261121T090000Z",
        "Sun, 06 Nov 1994 08:49:37 GMT",
    ])
}
