//! Archives of boxes: what is accepted, what is refused, and that both are told apart before
//! anything is used. Rows 85 to 89 of the project's table of faults.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use boxwright::adapter::archive::{ArchiveFile, BadArchive, Limits};
use boxwright::model::{BLOCK, Digest, MediaType, blob_path};
use boxwright::port::Archive;
use boxwright_testing::sample::{Entry, KEYS, Sample, descriptor, entry, gzip, tar};
use futures_util::TryStreamExt;
use serde_json::json;
use tempfile::TempDir;

/// Small enough for a test to go beyond.
fn limits() -> Limits {
    Limits { bytes: 8 << 20, entries: 30, ratio: 50, free: 1 << 16 }
}

fn open(bytes: &[u8]) -> Result<ArchiveFile, BadArchive> {
    let directory = TempDir::new().unwrap();
    let path: PathBuf = directory.path().join("boxes.tar");
    fs::write(&path, bytes).unwrap();
    let opened = ArchiveFile::open(&path, &limits());
    let beside = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(beside, 1, "something was written");
    opened
}

#[track_caller]
fn accepted(bytes: &[u8]) -> ArchiveFile {
    open(bytes).unwrap_or_else(|error| panic!("{}", error.source))
}

#[track_caller]
fn refused(bytes: &[u8], expect: &str) {
    let text = match open(bytes) {
        Ok(_) => panic!("accepted; expected: {expect}"),
        Err(error) => error.source.to_string(),
    };
    assert!(text.contains(expect), "expected `{expect}`, found: {text}");
    assert!(!text.contains(['\u{1b}', '\0', '\n']), "{text:?}");
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

#[tokio::test]
async fn a_whole_archive_is_read_plain_and_packed() {
    let sample = Sample::of_two_boxes();
    let plain = tar(&sample.entries());
    for bytes in [plain.clone(), gzip(&plain), zstd(&plain)] {
        let archive = accepted(&bytes);
        let names: Vec<&str> = archive.contents().boxes().iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["base", "test"]);
        for (digest, bytes) in &sample.blobs {
            let blob = archive.blob(digest).unwrap();
            assert_eq!(blob.blob().size, bytes.len() as u64);
            for from in [0, 3, bytes.len()] {
                let pieces: Vec<_> = blob.open(from as u64).await.unwrap().try_collect().await.unwrap();
                assert_eq!(pieces.concat(), bytes[from..], "{digest} from {from}");
            }
        }
        assert!(archive.blob(&Digest::of(b"no such blob")).is_none());
        // Of an index the first image for a platform, which the attestation before it is not.
        let layers: Vec<usize> = archive.contents().images().map(|(_, image)| image.layers.len()).collect();
        assert_eq!(layers, [1, 2]);
    }
}

#[test]
fn what_tar_programs_add_without_meaning_is_taken() {
    let entries = Sample::of_two_boxes().entries();
    // The fill of a last record, directories, any order.
    let mut filled = tar(&entries);
    filled.resize(filled.len().next_multiple_of(10_240), 0);
    accepted(&filled);
    let mut backwards = entries.clone();
    backwards.reverse();
    accepted(&tar(&backwards));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    for directory in ["blobs/", "blobs/sha256/"] {
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        builder.append_data(&mut header, directory, &[][..]).unwrap();
    }
    // Modes, owners and times are nobody's: no file is made.
    for (name, bytes) in &entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o6777);
        header.set_uid(12);
        header.set_mtime(1_700_000_000);
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    accepted(&builder.into_inner().unwrap());
}

#[test]
fn empty_cut_and_padded_archives_are_refused() {
    refused(b"", "it is empty");
    refused(&gzip(b""), "it is empty");
    refused(&[0; 1024], "index.json is not");
    let whole = tar(&Sample::of_two_boxes().entries());
    refused(&whole[..whole.len() - 512], "cut off in its end mark");
    refused(&whole[..whole.len() - 1024], "without an end mark");
    for cut in (0..whole.len() - 1).step_by(97) {
        assert!(open(&whole[..cut]).is_err(), "cut after {cut} of {}", whole.len());
    }
    for packed in [gzip(&whole), zstd(&whole)] {
        for cut in (1..packed.len() - 1).step_by(61) {
            assert!(open(&packed[..cut]).is_err(), "cut after {cut} of {}", packed.len());
        }
        assert!(open(&[&packed[..], b"more"].concat()).is_err());
    }
    refused(&gzip(&whole)[..40], "cut off in the gzip data");
    refused(&[&whole[..], b"x"].concat(), "behind its end");
    refused(&[&whole[..], &whole[..]].concat(), "behind its end");
    refused(&[&whole[..], &vec![0; 100_000]].concat(), "behind its end");
    let mut dirty = whole.clone();
    // The first entry is 30 bytes long.
    dirty[BLOCK + 31] = 1;
    refused(&dirty, "between its entries");
    let lone = [&whole[..BLOCK * 2], &[0; BLOCK][..], &whole[BLOCK * 2..]].concat();
    refused(&lone, "behind its end");
    refused(b"<html>no such artefact</html>", "if it is a tar at all");
    refused(&[b'x'; 2048], "no tar header");
}

/// Puts one more entry of some kind into a whole archive.
fn with_entry(kind: tar::EntryType, name: &str, link: Option<&str>) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o4755);
    let field = &mut header.as_old_mut().name;
    field[..name.len()].copy_from_slice(name.as_bytes());
    if let Some(link) = link {
        header.set_link_name_literal(link).unwrap();
    }
    header.set_cksum();
    [&header.as_bytes()[..], &tar(&Sample::of_two_boxes().entries())].concat()
}

#[test]
fn entries_that_reach_elsewhere_are_refused() {
    use tar::EntryType;
    for name in [
        "../escape",
        "/etc/passwd",
        "blobs/../../escape",
        "blobs/sha256/../../escape",
        "blobs/sha256/",
        "blobs/sha512/00",
        "./index.json",
        "blobs//sha256/x",
        "INDEX.JSON",
        "index.json/",
        "x\u{1b}[2Jy",
        "",
    ] {
        refused(&with_entry(EntryType::Regular, name, None), "does not belong in an archive");
    }
    let (digest, inside) = (Digest::of(b""), "blobs/sha256");
    refused(&with_entry(EntryType::Symlink, inside, Some("/etc")), "a symbolic link");
    refused(&with_entry(EntryType::Link, &blob_path(&digest), Some("/etc/shadow")), "a hard link");
    refused(&with_entry(EntryType::Char, "oci-layout", None), "a device");
    refused(&with_entry(EntryType::Block, "oci-layout", None), "a device");
    refused(&with_entry(EntryType::Fifo, "oci-layout", None), "a FIFO");
    refused(&with_entry(EntryType::GNUSparse, "oci-layout", None), "a sparse file");
    refused(&with_entry(EntryType::Directory, "etc/", None), "does not belong in an archive");
    refused(&with_entry(EntryType::Directory, "index.json", None), "does not belong in an archive");
}

#[test]
fn headers_that_programs_read_differently_are_refused() {
    let whole = tar(&Sample::of_two_boxes().entries());
    // A PAX size that differs from the header's: some programs see other entries than others.
    for (key, value) in [("size", "1024"), ("path", "index.json"), ("SCHILY.xattr.security.capability", "x")]
    {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([(key, value.as_bytes())]).unwrap();
        let mut extended = builder.into_inner().unwrap();
        extended.truncate(extended.len() - 1024);
        refused(&[&extended[..], &whole].concat(), "an extended (PAX) header");
    }
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    builder.append_data(&mut header, "blobs/".repeat(40), &[][..]).unwrap();
    refused(&builder.into_inner().unwrap(), "a GNU long name");
}

#[test]
fn bombs_are_refused_while_they_grow() {
    let zeros = vec![0; 7 << 20];
    refused(&gzip(&zeros), "times its packed size");
    refused(&zstd(&zeros), "times its packed size");
    let mut sample = Sample::of_two_boxes();
    let noise: Vec<u8> =
        (0..9_u64 << 17).flat_map(|n| Digest::of(&n.to_le_bytes()).hex().as_bytes()[..8].to_vec()).collect();
    refused(&gzip(&noise), "8388608 bytes");
    // An archive in bounds with a layer that is not.
    let bomb = sample.image(MediaType::OciManifest, KEYS[0], &[(gzip(&zeros), &zeros)]);
    sample.add("bomb", KEYS[0], &bomb);
    refused(&tar(&sample.entries()), "times its packed size");
    let mut many = Sample::of_two_boxes();
    for number in 0..40_u8 {
        many.blob(vec![number]);
    }
    refused(&tar(&many.entries()), "number of its entries");
    let huge = vec![b' '; 5 << 20];
    let mut entries = Sample::of_two_boxes().entries();
    entries[1].1 = huge;
    refused(&tar(&entries), "size of index.json");
}

/// Spoils the entries of a whole archive.
#[track_caller]
fn spoiled(spoil: impl Fn(&mut Vec<Entry>), expect: &str) {
    let mut entries = Sample::of_two_boxes().entries();
    spoil(&mut entries);
    refused(&tar(&entries), expect);
}

fn replace(entries: &mut [Entry], file: &str, from: &str, to: &str) {
    let (_, bytes) = entries.iter_mut().find(|(name, _)| name == file).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    *bytes = text.replacen(from, to, 1).into();
}

#[test]
fn documents_that_disagree_are_refused() {
    spoiled(|all| all.retain(|(name, _)| name != "index.json"), "index.json is not");
    spoiled(|all| all.retain(|(name, _)| name != "oci-layout"), "oci-layout is not");
    spoiled(|all| all.retain(|(name, _)| name != "manifest.json"), "manifest.json is not");
    spoiled(|all| all.push(all[1].clone()), "`index.json` twice");
    spoiled(|all| all.push(all[5].clone()), "twice");
    spoiled(|all| replace(all, "oci-layout", "1.0.0", "9.0.0"), "oci-layout is not");
    // What docker would load is not what is pushed.
    spoiled(|all| replace(all, "manifest.json", "boxes/base:", "boxes/evil:"), "manifest.json is not");
    spoiled(|all| replace(all, "index.json", "boxes/base:k-", "boxes/base:r-"), "not an image's content tag");
    spoiled(|all| replace(all, "index.json", "r.example/boxes/base", "../../etc"), "no image name");
    spoiled(|all| replace(all, "index.json", "r.example/boxes/base", "base"), "not an image's full name");
    spoiled(
        |all| replace(all, "index.json", "\"io.boxwright.box\":\"base\"", "\"io.boxwright.box\":\"../x\""),
        "no box's name",
    );
    spoiled(
        |all| replace(all, "index.json", "\"io.boxwright.box\":\"base\"", "\"io.boxwright.box\":\"test\""),
        "there twice",
    );
    spoiled(|all| all[1].1 = b"{\"schemaVersion\":2,\"manifests\":[]}".to_vec(), "it holds no box");
    spoiled(|all| all[1].1 = b"[".to_vec(), "index.json cannot be read");
    let digest = Sample::of_two_boxes().boxes[0].root.digest.to_string();
    for bad in ["sha256:../../../etc/passwd", "sha256:00", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        spoiled(|all| replace(all, "index.json", &digest, bad), "index.json cannot be read");
    }
    let other = Digest::of(b"elsewhere").to_string();
    spoiled(|all| replace(all, "index.json", &digest, &other), "is missing");
    let size = format!("\"size\":{}", Sample::of_two_boxes().boxes[0].root.size);
    spoiled(|all| replace(all, "index.json", &size, "\"size\":7"), "bytes, and to have");
    spoiled(|all| replace(all, "index.json", &size, "\"size\":-7"), "index.json cannot be read");
}

#[test]
fn blobs_that_are_not_what_is_said_are_refused() {
    let at = |all: &[Entry], bytes: &[u8]| {
        let name = blob_path(&Digest::of(bytes));
        all.iter().position(|(found, _)| *found == name).unwrap()
    };
    let at = at(&Sample::of_two_boxes().entries(), b"the second layer");
    spoiled(|all| all[at].1[0] ^= 1, "the content of sha256:");
    spoiled(|all| all[at].1.truncate(3), "the content of sha256:");
    spoiled(|all| drop(all.remove(at)), "is missing");
    spoiled(|all| all.push((blob_path(&Digest::of(b"stray")), b"stray".to_vec())), "belongs to no box");
    // A manifest that tells another size for a layer than the layer has.
    let mut sample = Sample::of_two_boxes();
    let base = sample.manifests[&sample.boxes[0].root.digest].clone();
    let text = String::from_utf8(base.bytes().to_vec()).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["layers"][0]["size"] = json!(1);
    let lying = boxwright::model::RawManifest::new(MediaType::DockerManifest, document.to_string());
    sample.blobs.insert(lying.digest().clone(), lying.bytes().to_vec());
    sample.manifests.insert(lying.digest().clone(), lying.clone());
    sample.boxes.truncate(1);
    sample.boxes[0].root = lying.descriptor();
    refused(&tar(&sample.entries()), "bytes, and to have");
    // A layer that is not the one in the configuration, and too few of them.
    let (told, real) = (b"told".to_vec(), b"real".to_vec());
    let mut sample = Sample::of_two_boxes();
    let image = sample.image(MediaType::OciManifest, KEYS[0], &[(gzip(&real), &told)]);
    sample.add("lying", KEYS[0], &image);
    refused(&tar(&sample.entries()), "not what its configuration says");
    let mut sample = Sample::of_two_boxes();
    let image =
        sample.image(MediaType::OciManifest, KEYS[0], &[(told.clone(), &told), (real.clone(), &real)]);
    let mut document: serde_json::Value = serde_json::from_slice(image.bytes()).unwrap();
    document["layers"].as_array_mut().unwrap().pop();
    let fewer = boxwright::model::RawManifest::new(MediaType::OciManifest, document.to_string());
    sample.blobs.remove(image.digest());
    sample.blobs.remove(&Digest::of(&real));
    sample.manifests.remove(image.digest());
    sample.blobs.insert(fewer.digest().clone(), fewer.bytes().to_vec());
    sample.manifests.insert(fewer.digest().clone(), fewer.clone());
    sample.add("fewer", KEYS[0], &fewer);
    refused(&tar(&sample.entries()), "it names 2 layers, and there are 1");
    let mut sample = Sample::of_two_boxes();
    let image = sample.image(MediaType::OciManifest, KEYS[0], &[(b"\x1f\x8b broken".to_vec(), &told)]);
    sample.add("broken", KEYS[0], &image);
    refused(&tar(&sample.entries()), "box broken: layer");
}

#[test]
fn an_index_in_an_index_is_refused() {
    let mut sample = Sample::of_two_boxes();
    let root = descriptor(&sample.manifests[&sample.boxes[0].root.digest]);
    let inner = sample.index(&[root]);
    let outer = sample.index(&[descriptor(&inner)]);
    let entries = sample.entries();
    sample.add("nested", KEYS[0], &outer);
    let contents = boxwright::model::Contents::new(sample.boxes.clone(), &sample.manifests);
    assert!(contents.unwrap_err().to_string().contains("stands in an index"));
    // An index that lists itself cannot have its digest.
    let itself = Digest::of(b"itself");
    let index =
        json!({ "manifests": [{ "mediaType": MediaType::OciIndex.as_str(), "digest": itself, "size": 1 }] });
    let mut cyclic = entries;
    cyclic.push((blob_path(&itself), index.to_string().into()));
    refused(&tar(&cyclic), "the content of sha256:");
}

#[test]
fn a_file_that_changed_after_it_was_checked_is_told_by_its_hash() {
    // The blob is lent by its place: what stands there then is hashed by whoever reads it.
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("boxes.tar");
    fs::write(&path, tar(&Sample::of_two_boxes().entries())).unwrap();
    let archive = ArchiveFile::open(&path, &limits()).unwrap();
    fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap().write_all(b"gone").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let blob = archive.blob(&Digest::of(b"the second layer")).unwrap();
    let read = runtime.block_on(async { blob.open(0).await?.try_collect::<Vec<_>>().await });
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    // `entry` is how one block and its content stand together.
    assert_eq!(entry([0; 512], b"x").len(), 1024);
}
