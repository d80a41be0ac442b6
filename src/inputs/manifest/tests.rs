//! The manifest against its specification's vectors, and against itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::model::{EntryKind, FileHasher, RelPath};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/keys")
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
}

fn named(value: &Value, name: &str) -> Vec<u8> {
    match value.get(format!("{name}_hex")) {
        Some(hex) => unhex(hex.as_str().unwrap()),
        None => value[name].as_str().unwrap().as_bytes().to_vec(),
    }
}

fn entry(value: &Value) -> Entry {
    let kind = match value["kind"].as_str().unwrap() {
        "directory" => EntryKind::Directory,
        "symlink" => EntryKind::Symlink { target: named(value, "target").into() },
        kind => {
            let mut hasher = FileHasher::new();
            if let Some(repeat) = value.get("repeat") {
                let unit = unhex(repeat[0].as_str().unwrap());
                let mut left = usize::try_from(repeat[1].as_u64().unwrap()).unwrap();
                let block = unit.repeat(1 << 16);
                while left > 0 {
                    hasher.update(&block[..left.min(block.len())]);
                    left -= left.min(block.len());
                }
            } else if let Some(hex) = value.get("hex") {
                hasher.update(&unhex(hex.as_str().unwrap()));
            } else {
                hasher.update(value["text"].as_str().unwrap().as_bytes());
            }
            let (digest, size) = hasher.finish();
            EntryKind::File { digest, size, executable: kind == "executable" }
        }
    };
    Entry { path: RelPath::new(named(value, "path")).unwrap(), kind }
}

fn case(value: &Value) -> InputManifest {
    let text = |name: &str| value[name].as_str().unwrap().to_owned();
    let list = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let table = |name: &str| -> BTreeMap<String, String> {
        let pairs = value[name].as_object().into_iter().flatten();
        pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
    };
    let entries =
        |value: &Value| -> Vec<Entry> { value.as_array().into_iter().flatten().map(entry).collect() };
    let contexts = value["contexts"].as_object().into_iter().flatten();
    let options = &value["options"];
    InputManifest {
        epoch: text("epoch"),
        platform: text("platform").parse().unwrap(),
        target: text("target"),
        directives: table("directives"),
        instructions: list(&value["instructions"])
            .into_iter()
            .map(|text| Instruction { text, line: None })
            .collect(),
        arguments: table("arguments"),
        parents: table("parents").into_iter().map(|(name, key)| (name, key.parse().unwrap())).collect(),
        images: table("images"),
        contexts: contexts.map(|(name, value)| (name.clone(), entries_digest(&entries(value)))).collect(),
        pins: table("pins"),
        secrets: list(&value["secrets"]).into_iter().collect(),
        options: BuildOptions {
            network: options["network"].as_str().map(str::to_owned),
            extra_hosts: list(&options["extra_hosts"]).into_iter().collect(),
            shm_size: options["shm_size"].as_u64(),
        },
        entries: entries(&value["entries"]),
    }
}

#[test]
fn the_vectors_are_met() {
    let mut met = 0;
    for file in std::fs::read_dir(directory()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let manifest = case(&serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap());
        let expect = std::fs::read(path.with_extension("manifest")).unwrap();
        let bytes = manifest.to_bytes();
        assert_eq!(bytes.escape_ascii().to_string(), expect.escape_ascii().to_string(), "{}", path.display());
        let key = std::fs::read_to_string(path.with_extension("key")).unwrap();
        assert_eq!(format!("{}\n", manifest.key()), key, "{}", path.display());
        assert_eq!(InputManifest::parse(&expect).unwrap().to_bytes(), expect, "{}", path.display());
        met += 1;
    }
    assert!(met >= 4, "{met} cases");
}

#[test]
fn the_specification_gives_the_vectors() {
    let output = Command::new("python3").arg(directory().join("check.py")).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn only_canonical_bytes_are_read() {
    let good = std::fs::read(directory().join("ordinary.manifest")).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    assert!(InputManifest::parse(&good).is_ok());
    for (find, replace) in [
        ("boxwright-inputs 1\n", "boxwright-inputs 2\n"),
        ("end\n", ""),
        ("end\n", "end\nend\n"),
        ("epoch 7:2026-07\n", ""),
        ("epoch 7:2026-07\n", "epoch 7:2026-07\nepoch 7:2026-07\n"),
        ("epoch 7:", "epoch 07:"),
        ("epoch 7:", "epoch  7:"),
        ("epoch 7:", "epoch 8:"),
        ("epoch 7:", "epoch 99999999999999999999:"),
        ("epoch 7:2026-07", "epoch 7:2026-07 0:"),
        ("entry 5:empty 9:directory\n", "entry 5:empty 9:directory\nentry 5:empty 9:directory\n"),
        ("secret 6:github\nsecret 3:npm\n", "secret 3:npm\nsecret 6:github\n"),
        ("pin 2:ec", "pin 2:zz"),
        ("pin 2:ec", "pun 2:ec"),
        ("8:shm-size 8:67108864", "8:shm-size 9:067108864"),
        ("4:link", "4:/ink"),
        ("4:file", "4:fife"),
        ("sha256:e3b0", "sha256:E3B0"),
        ("linux/amd64", "linux.amd64"),
    ] {
        let damaged = text.replacen(find, replace, 1);
        assert_ne!(damaged, text, "{find}");
        assert!(InputManifest::parse(damaged.as_bytes()).is_err(), "{find:?} {replace:?}");
    }
    for end in 0..good.len() {
        assert!(InputManifest::parse(&good[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_difference_is_named() {
    let old =
        case(&serde_json::from_slice(&std::fs::read(directory().join("ordinary.json")).unwrap()).unwrap());
    let check = |change: &dyn Fn(&mut InputManifest), expect: &[&str]| {
        let mut new = old.clone();
        change(&mut new);
        let said: Vec<String> = diff(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(said, expect);
    };
    let at = |text: &str, line| Instruction { text: text.to_owned(), line };
    check(&|_| {}, &[]);
    check(&|new| new.epoch.clear(), &["epoch changed"]);
    check(
        &|new| new.platform = "linux/arm64".parse().unwrap(),
        &["platform changed: linux/amd64 is now linux/arm64"],
    );
    check(&|new| new.target = "x".to_owned(), &["target changed: build is now x"]);
    check(&|new| drop(new.directives.remove("escape")), &["parser directive escape removed"]);
    check(
        &|new| drop(new.arguments.insert("EC_REV".to_owned(), "x".to_owned())),
        &["argument EC_REV changed"],
    );
    check(
        &|new| drop(new.parents.insert("base-build".to_owned(), Key::of(b"x"))),
        &["parent base-build moved"],
    );
    check(
        &|new| {
            new.images.remove("alpine");
            new.images.insert("busybox".to_owned(), "busybox".to_owned());
        },
        &["image alpine removed", "image busybox added"],
    );
    check(&|new| drop(new.contexts.remove("none")), &["context none removed"]);
    check(&|new| drop(new.pins.insert("z3".to_owned(), "5".to_owned())), &["pin z3 moved"]);
    check(&|new| assert!(new.secrets.insert("x\u{1b}".to_owned())), &["secret x\\u{1b} added"]);
    check(&|new| new.options.shm_size = None, &["build option shm-size changed"]);
    check(
        &|new| new.entries.retain(|entry| entry.path.as_bytes() != b"scripts/z.sh"),
        &["scripts/z.sh removed"],
    );
    check(
        &|new| {
            new.entries.iter_mut().for_each(|entry| {
                if let EntryKind::Symlink { target } = &mut entry.kind {
                    *target = (*b"there").into();
                }
            })
        },
        &["link changed"],
    );
    check(
        &|new| new.instructions[4] = at("RUN make", Some(12)),
        &["Dockerfile instruction changed: RUN make (line 12)"],
    );
    check(&|new| drop(new.instructions.remove(2)), &["Dockerfile instruction removed: ARG EC_REV"]);
    check(
        &|new| {
            new.instructions.insert(2, at("USER 1", Some(3)));
            new.instructions.push(at("RUN a\nb", Some(9)));
        },
        &["Dockerfile instruction added: USER 1 (line 3)", "Dockerfile instruction added: RUN a (line 9)"],
    );
}

fn text() -> impl Strategy<Value = String> {
    "[ a-c0-9:\n\u{e9}]{0,6}"
}

fn table() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map(text(), text(), 0..4)
}

prop_compose! {
    fn any_entry()(path in "[a-c\n :]{1,3}(/[a-c]{1,2}){0,2}", kind in 0..4, content in text()) -> Entry {
        let kind = match kind {
            0 => EntryKind::Directory,
            1 => EntryKind::Symlink { target: content.into_bytes().into() },
            kind => EntryKind::File { digest: Digest::of(content.as_bytes()), size: content.len() as u64, executable: kind == 2 },
        };
        Entry { path: RelPath::new(path.into_bytes()).unwrap(), kind }
    }
}

prop_compose! {
    fn any_manifest()(
        (epoch, target) in (text(), text()),
        instructions in proptest::collection::vec(text(), 0..4),
        (directives, arguments, images, pins) in (table(), table(), table(), table()),
        parents in proptest::collection::btree_set(text(), 0..3),
        secrets in proptest::collection::btree_set(text(), 0..3),
        network in proptest::option::of(text()),
        extra_hosts in proptest::collection::btree_set(text(), 0..3),
        shm_size in proptest::option::of(proptest::num::u64::ANY),
        entries in proptest::collection::vec(any_entry(), 0..5),
    ) -> InputManifest {
        let mut entries = entries;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        InputManifest {
            epoch,
            platform: "linux/amd64".parse().unwrap(),
            target,
            directives,
            instructions: instructions.into_iter().map(|text| Instruction { text, line: None }).collect(),
            arguments,
            parents: parents.into_iter().map(|name| (name.clone(), Key::of(name.as_bytes()))).collect(),
            images,
            contexts: BTreeMap::new(),
            pins,
            secrets,
            options: BuildOptions { network, extra_hosts, shm_size },
            entries,
        }
    }
}

proptest! {
    #[test]
    fn manifests_survive_a_round_trip(manifest in any_manifest()) {
        prop_assert_eq!(InputManifest::parse(&manifest.to_bytes()), Ok(manifest));
    }

    #[test]
    fn the_order_of_entries_does_not_count(manifest in any_manifest()) {
        let mut shuffled = manifest.clone();
        shuffled.entries.reverse();
        prop_assert_eq!(shuffled.to_bytes(), manifest.to_bytes());
    }

    #[test]
    fn different_manifests_have_different_bytes(a in any_manifest(), b in any_manifest()) {
        prop_assert_eq!(a == b, a.to_bytes() == b.to_bytes());
        prop_assert_eq!(a == b, diff(&a, &b).is_empty());
    }

    #[test]
    fn a_byte_moved_to_the_next_field_changes_the_bytes(manifest in any_manifest(), moved in "[a-z]") {
        let pair = |name: String, value: String| BTreeMap::from([(name, value)]);
        let mut left = manifest.clone();
        left.arguments = pair(format!("n{moved}"), "v".to_owned());
        left.epoch = format!("e{moved}");
        let mut right = manifest;
        right.arguments = pair("n".to_owned(), format!("{moved}v"));
        right.epoch = format!("e{moved}");
        prop_assert_ne!(left.to_bytes(), right.to_bytes());
        right.arguments.clone_from(&left.arguments);
        right.epoch = "e".to_owned();
        right.target.insert_str(0, &moved);
        prop_assert_ne!(left.to_bytes(), right.to_bytes());
    }

    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
        let _ = InputManifest::parse(&bytes);
        let _ = InputManifest::parse(&[b"boxwright-inputs 1\n", bytes.as_slice()].concat());
    }

    #[test]
    fn reading_damaged_bytes_never_panics(manifest in any_manifest(), at in 0_usize..400, byte in proptest::num::u8::ANY) {
        let mut bytes = manifest.to_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(read) = InputManifest::parse(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }
}
