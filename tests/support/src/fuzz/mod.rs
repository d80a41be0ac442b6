//! The parsers, each with what must hold for whatever it accepts. They return whether they
//! accepted the input.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::str::FromStr;

use boxwright::adapter::archive::{ArchiveFile, Limits};
use boxwright::adapter::embedded::Store;
use boxwright::cli::{Trust, detect};
use boxwright::config::{self, Lock, PinFormat, extract, parse_hosts};
use boxwright::inputs::{
    BoxInputs, DockerfileSource, Dockerignore, InputManifest, Links, Selection, analyse, diff, outline,
    rewrite,
};
use boxwright::model::{
    BLOCK, ContentTag, Digest, ImageName, Key, Lease, MediaType, Platform, PromotionRecord, RawManifest,
    Record, RecordTag, RelPath, Repository, RunId, RunRecord, Span, StoredInputs, Tag, TarHeader, Timestamp,
    Tombstone, UndoRecord, blob_path,
};
use boxwright::port::{Archive, ContextFilter};

mod registry;

pub use registry::registry;

/// An error's text is for one who reads it: it names something and is not endless.
fn reads_well(error: &dyn std::error::Error) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 10_000, "{} bytes", text.len());
    assert!(!text.contains(['\u{1b}', '\0', '\r']), "{text:?}");
}

pub fn dockerfile(bytes: &[u8]) -> bool {
    let source = match DockerfileSource::new("Dockerfile", bytes) {
        Ok(source) => source,
        Err(error) => {
            reads_well(&error);
            return false;
        }
    };
    let platform: Platform = "linux/amd64".parse().unwrap();
    if let Err(error) = outline(&source, &platform) {
        reads_well(&error);
    }
    let mut accepted = false;
    for (target, context) in [(None, None), (Some("build"), Some("base"))] {
        let inputs = BoxInputs {
            target: target.map(str::to_owned),
            platform: platform.clone(),
            args: BTreeMap::from([("A".to_owned(), "value".to_owned())]),
            contexts: context.map(str::to_owned).into_iter().collect(),
            parents: BTreeMap::new(),
        };
        let analysis = match analyse(&source, &inputs) {
            Ok(analysis) => analysis,
            Err(error) => {
                reads_well(&error);
                continue;
            }
        };
        accepted = true;
        let mut link = |path: &[u8]| path.starts_with(b"s").then(|| b"../a*/..".to_vec().into());
        let mut links = Links::new(&mut link);
        let selection = Selection::new(&analysis.reads, Dockerignore::default(), &mut links);
        for path in ["a", "src/main.rs", "a/b/c"] {
            let path = RelPath::new(path.as_bytes()).unwrap();
            selection.directory(&path);
            selection.leaf(&path);
        }
        // Nothing to replace leaves the text as it was, where the box needs all its stages; a
        // digest for all is read as a digest.
        let same = rewrite(&source, &analysis, &BTreeMap::new()).unwrap();
        assert!(!analysis.idle.is_empty() || same == source.text().as_bytes());
        let digest = format!("r.example/x@{}", Digest::of(b""));
        let all = analysis.images.iter().map(|image| (image.origin.clone(), digest.clone())).collect();
        if let Ok(text) = rewrite(&source, &analysis, &all) {
            let rewritten = DockerfileSource::new("Dockerfile", &text).unwrap();
            let shown = rewritten.text();
            let after = analyse(&rewritten, &inputs).unwrap_or_else(|error| panic!("{error}\n{shown}"));
            assert!(after.images.iter().all(|image| image.origin.name() == digest), "{shown}");
        }
    }
    accepted
}

pub fn dockerignore(bytes: &[u8]) -> bool {
    match Dockerignore::parse(".dockerignore", bytes) {
        Ok(ignore) => {
            for path in [&b"a"[..], b"src/debug.log", b"a/b/c/d", b"\xff/*", b"[a]"] {
                ignore.ignores(path);
                ignore.looks_into_ignored(path);
            }
            true
        }
        Err(error) => {
            reads_well(&error);
            false
        }
    }
}

pub fn config(bytes: &[u8]) -> bool {
    match config::parse("boxwright.toml", &String::from_utf8_lossy(bytes)) {
        Ok(project) => {
            let names: Vec<&str> = project.boxes.iter().map(|spec| spec.name.as_str()).collect();
            assert_eq!(project.closure(&names).len(), names.len());
            // Parents come before what stands on them.
            for (index, spec) in project.boxes.iter().enumerate() {
                assert!(spec.parents().all(|parent| names[..index].contains(&parent)), "{names:?}");
            }
            true
        }
        Err(error) => {
            reads_well(&error);
            false
        }
    }
}

pub fn lock(bytes: &[u8]) -> bool {
    match Lock::parse("boxwright.lock", &String::from_utf8_lossy(bytes)) {
        Ok(lock) => {
            assert_eq!(Lock::parse("boxwright.lock", &lock.to_text()).unwrap(), lock);
            true
        }
        Err(error) => {
            reads_well(&error);
            false
        }
    }
}

pub fn archive(bytes: &[u8]) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("boxes.tar");
    std::fs::write(&path, bytes).unwrap();
    let opened = opened(&path).is_some();
    header(bytes).is_some() || opened
}

/// The same, beside what GNU tar finds.
pub fn archive_and_tar(bytes: &[u8]) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("boxes.tar");
    std::fs::write(&path, bytes).unwrap();
    if let Some(of_ours) = opened(&path) {
        let mut of_gnu = gnu_tar(&path);
        of_gnu.retain(|(_, name)| name.starts_with("blobs/") && !name.ends_with('/'));
        assert_eq!(of_gnu, of_ours);
    }
    let Some((block, size, name)) = header(bytes) else { return false };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-');
    if name.is_empty() || name.starts_with('/') || !name.chars().all(is_plain) {
        return true;
    }
    std::fs::write(&path, block).unwrap();
    // A trailing slash makes a file a directory to GNU tar; no name of ours has one.
    assert_eq!(gnu_tar(&path), BTreeSet::from([(size, name)]));
    true
}

/// What an archive of ours holds: sizes and names.
fn opened(path: &std::path::Path) -> Option<BTreeSet<(u64, String)>> {
    let limits = Limits { bytes: 4 << 20, entries: 100, ratio: 100, free: 1 << 20 };
    let archive = match ArchiveFile::open(path, &limits) {
        Ok(archive) => archive,
        Err(error) => {
            reads_well(&error.source);
            return None;
        }
    };
    let contents = archive.contents();
    let blobs = contents.blobs().iter().map(|(digest, size)| (*size, digest));
    let manifests = contents.manifests().iter().map(|(digest, raw)| (raw.bytes().len() as u64, digest));
    Some(blobs.chain(manifests).map(|(size, digest)| (size, blob_path(digest))).collect())
}

/// Reads one header, its checksum put right, so that what is behind that check is reached.
fn header(bytes: &[u8]) -> Option<([u8; BLOCK], u64, String)> {
    let mut block = bytes.first_chunk::<BLOCK>().copied()?;
    let mut header = tar::Header::from_byte_slice(&block).clone();
    header.set_cksum();
    block.copy_from_slice(header.as_bytes());
    let read = match TarHeader::read(&block) {
        Ok(read) => read?,
        Err(error) => {
            reads_well(&error);
            return None;
        }
    };
    assert_eq!(TarHeader::read(&read.to_block()).unwrap().as_ref(), Some(&read));
    Some((block, read.size, String::from_utf8(read.name).unwrap_or_default()))
}

/// What GNU tar finds in an archive: sizes and names.
fn gnu_tar(path: &std::path::Path) -> BTreeSet<(u64, String)> {
    let tar = std::process::Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(path).output().unwrap();
    let text = String::from_utf8(tar.stdout).unwrap();
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[2].parse().unwrap(), words[5].to_owned())
    };
    text.lines().map(line).collect()
}

pub fn hosts(bytes: &[u8]) -> bool {
    match parse_hosts("hosts.toml", &String::from_utf8_lossy(bytes)) {
        Ok(_) => true,
        Err(error) => {
            reads_well(&error);
            false
        }
    }
}

/// An event file of a forge. Its first line is the event's name.
pub fn event(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (name, payload) = text.split_once('\n').unwrap_or((&text, ""));
    let payload = serde_json::from_str(payload).ok();
    let variable = |asked: &str| match asked {
        "GITHUB_ACTIONS" => Some("true".to_owned()),
        "GITHUB_EVENT_NAME" => Some(name.to_owned()),
        _ => None,
    };
    let ci = detect(&variable, payload.as_ref());
    assert!(ci.trust != Trust::Trusted || ci.fork != Some(true), "{text}");
    if let Some(why) = ci.trust.why() {
        assert!(
            !why.is_empty() && why.len() < 10_000 && !why.contains(['\u{1b}', '\0', '\r', '\n']),
            "{why:?}"
        );
    }
    payload.is_some()
}

/// What an OCI layout says that it holds.
pub fn layout(bytes: &[u8]) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
    write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    write("index.json", bytes);
    match Store::open(directory.path()) {
        Ok(_) => true,
        Err(error) => {
            reads_well(&error);
            false
        }
    }
}

fn pin(bytes: &[u8], formats: &[PinFormat]) -> bool {
    let mut accepted = false;
    for format in formats {
        match extract(bytes, format) {
            Ok(value) => {
                assert!(!value.is_empty() && !value.contains('\n'), "{value:?}");
                accepted = true;
            }
            Err(error) => reads_well(&error),
        }
    }
    accepted
}

fn path(text: &str) -> Vec<String> {
    text.split('.').map(str::to_owned).collect()
}

pub fn pin_toml(bytes: &[u8]) -> bool {
    pin(bytes, &[PinFormat::Toml(path("toolchain.channel")), PinFormat::Toml(path("a"))])
}

pub fn pin_json(bytes: &[u8]) -> bool {
    pin(bytes, &[PinFormat::Json(path("packages.0.rev")), PinFormat::Json(path("a"))])
}

pub fn pin_yaml(bytes: &[u8]) -> bool {
    pin(bytes, &[PinFormat::Yaml(path("services.0.image")), PinFormat::Yaml(path("a"))])
}

pub fn pin_text(bytes: &[u8]) -> bool {
    let pattern = regex::Regex::new("(?m)^VERSION *= *(.*)$").unwrap();
    pin(bytes, &[PinFormat::Text, PinFormat::Pattern(pattern)])
}

pub fn inputs(bytes: &[u8]) -> bool {
    match InputManifest::parse(bytes) {
        Ok(manifest) => {
            assert_eq!(manifest.to_bytes(), bytes);
            assert_eq!(manifest.key(), Key::of(bytes));
            assert!(diff(&manifest, &manifest).is_empty());
            true
        }
        Err(error) => {
            reads_well(&error);
            false
        }
    }
}

pub fn manifest(bytes: &[u8]) -> bool {
    let mut accepted = false;
    for media_type in
        [MediaType::OciManifest, MediaType::OciIndex, MediaType::DockerManifest, MediaType::DockerList]
    {
        let raw = RawManifest::new(media_type, bytes.to_vec());
        assert_eq!(raw.digest(), &Digest::of(bytes));
        match raw.document() {
            Ok(_) => accepted = true,
            Err(error) => reads_well(&error),
        }
        if let Ok(stored) = StoredInputs::from_manifest(&raw) {
            assert_eq!(StoredInputs::from_manifest(&stored.to_manifest()).unwrap(), stored);
        }
    }
    accepted
}

pub fn record(bytes: &[u8]) -> bool {
    fn one<R: Record + PartialEq + Debug>(raw: &RawManifest) -> bool {
        match R::from_manifest(raw) {
            Ok(record) => {
                assert_eq!(R::from_manifest(&record.to_manifest()).unwrap(), record);
                true
            }
            Err(error) => {
                reads_well(&error);
                false
            }
        }
    }
    let raw = RawManifest::new(MediaType::OciManifest, bytes.to_vec());
    let found = [
        one::<Lease>(&raw),
        one::<Tombstone>(&raw),
        one::<PromotionRecord>(&raw),
        one::<RunRecord>(&raw),
        one::<UndoRecord>(&raw),
    ];
    found.contains(&true)
}

pub fn names(bytes: &[u8]) -> bool {
    fn one<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) -> bool {
        match text.parse::<T>() {
            Ok(value) => {
                let written = value.to_string();
                let again =
                    written.parse::<T>().unwrap_or_else(|error| panic!("{text:?} {written:?}: {error:?}"));
                assert_eq!(again, value, "{text:?}");
                true
            }
            Err(_) => false,
        }
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(tag) = text.parse::<Tag>() {
        if let Some(read) = RecordTag::read(&tag) {
            assert_eq!(read.tag().unwrap(), tag);
        }
        if let Some(read) = ContentTag::read(&tag) {
            assert_eq!(read.tag(), tag);
        }
    }
    Timestamp::from_http_date(&text);
    let mut found = [
        one::<Tag>(&text),
        one::<Digest>(&text),
        one::<Key>(&text),
        one::<Repository>(&text),
        one::<ImageName>(&text),
        one::<Platform>(&text),
        one::<RunId>(&text),
        one::<Span>(&text),
        one::<Timestamp>(&text),
    ]
    .into_iter();
    found.any(|good| good)
}
