//! The stat cache on real files, and its file damaged in every way.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::LazyLock;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::{scan, stamp};
use super::*;
use crate::model::EntryKind;
use crate::port::{ContextFilter, Visit};

/// Takes what lies below a prefix.
struct Below(&'static str);

impl ContextFilter for Below {
    fn directory(&self, path: &RelPath) -> Visit {
        let path = path.as_bytes();
        let is_on_the_way = path.starts_with(self.0.as_bytes()) || self.0.as_bytes().starts_with(path);
        if is_on_the_way { Visit::Pass } else { Visit::Prune }
    }

    fn leaf(&self, path: &RelPath) -> Visit {
        if path.as_bytes().starts_with(self.0.as_bytes()) { Visit::Take } else { Visit::Pass }
    }
}

/// Long after whatever a test wrote.
fn later() -> Moment {
    (stamp::now().0 + 100, 0)
}

fn look(cache: Option<&Path>, root: &Path, filter: &Below, now: Moment) -> Vec<Entry> {
    let root = Root::open(root).unwrap();
    let cache = cache.map(|directory| Cache::open(directory, &root, now).unwrap());
    let (scan, fresh) = scan::scan(&root, cache.as_ref(), filter).unwrap();
    let entries = scan.entries;
    if let Some(cache) = cache {
        cache.save(fresh, &entries, now);
    }
    entries
}

fn open(directory: &Path, root: &Path) -> Cache {
    Cache::open(directory, &Root::open(root).unwrap(), later()).unwrap()
}

/// The paths that are remembered.
fn remembered(directory: &Path, root: &Path) -> Vec<String> {
    let cache = open(directory, root);
    let table = cache.table.as_ref();
    let mut paths = Vec::new();
    for (path, files) in table.iter().flat_map(|table| table.directories()) {
        let path = String::from_utf8_lossy(path).into_owned();
        paths.extend(files.iter().map(|file| format!("{path}/{}", String::from_utf8_lossy(file.name))));
    }
    paths
}

fn tree() -> (TempDir, TempDir) {
    let (root, home) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for path in ["a/x", "a/y", "a/deep/er/z", "a-b", "b/x"] {
        fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
        fs::write(root.path().join(path), path).unwrap();
    }
    (root, home)
}

#[test]
fn what_is_at_rest_is_remembered_and_what_was_written_just_now_is_not() {
    let (root, home) = tree();
    let plain = look(None, root.path(), &Below(""), later());
    let written = stamp::now();
    for (seconds, expect) in [(0, 0), (2, 0), (10, 5)] {
        let now = (written.0 + seconds, written.1);
        assert_eq!(look(Some(home.path()), root.path(), &Below(""), now), plain);
        assert_eq!(remembered(home.path(), root.path()).len(), expect, "{seconds}");
    }
    let expect = ["/a-b", "a/x", "a/y", "a/deep/er/z", "b/x"];
    assert_eq!(remembered(home.path(), root.path()), expect);
}

#[test]
fn a_hash_is_used_only_if_all_that_the_system_says_is_the_same() {
    let (root, home) = tree();
    look(Some(home.path()), root.path(), &Below("b"), later());
    let cache = open(home.path(), root.path());
    let files = cache.table.as_ref().unwrap().directory(b"b");
    let known = files.find(b"x", &mut 0).unwrap();
    let wrong = [7; 32];
    let changes: [fn(&mut Stamp); 8] = [
        |_| {},
        |stamp| stamp.dev += 1,
        |stamp| stamp.ino += 1,
        |stamp| stamp.size += 1,
        |stamp| stamp.mtime.0 -= 1,
        |stamp| stamp.mtime.1 ^= 1,
        |stamp| stamp.ctime.0 -= 1,
        |stamp| stamp.ctime.1 ^= 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut stamp = known.stamp;
        change(&mut stamp);
        let mut writer = Writer::new(Vec::new(), &cache.owner, (0, 0)).unwrap();
        writer.add(b"b", &Record { stamp, hash: wrong, ..known }).unwrap();
        fs::write(&cache.file, writer.finish().unwrap()).unwrap();
        let EntryKind::File { digest, .. } =
            &look(Some(home.path()), root.path(), &Below("b"), (1, 0))[0].kind
        else {
            unreachable!()
        };
        assert_eq!(*digest == Digest::from_sha256(wrong), index == 0, "{index}");
    }
}

#[test]
fn changes_are_seen() {
    let (root, home) = tree();
    let at = |path: &str| root.path().join(path);
    let changes: [&dyn Fn(); 7] = [
        &|| fs::write(at("a/x"), "A/X").unwrap(),
        &|| fs::set_permissions(at("a/x"), fs::Permissions::from_mode(0o755)).unwrap(),
        &|| fs::rename(at("a/y"), at("a/x")).unwrap(),
        &|| {
            fs::remove_file(at("b/x")).unwrap();
            symlink("../a/x", at("b/x")).unwrap();
        },
        &|| fs::remove_file(at("a-b")).unwrap(),
        &|| fs::write(at("new"), "new").unwrap(),
        &|| {
            let old = fs::metadata(at("a/x")).unwrap().modified().unwrap();
            fs::write(at("a/x"), "a/X").unwrap();
            fs::File::options().write(true).open(at("a/x")).unwrap().set_modified(old).unwrap();
        },
    ];
    look(Some(home.path()), root.path(), &Below(""), later());
    for (index, change) in changes.iter().enumerate() {
        let before = look(None, root.path(), &Below(""), later());
        change();
        let plain = look(None, root.path(), &Below(""), later());
        assert_ne!(plain, before, "{index}");
        assert_eq!(look(Some(home.path()), root.path(), &Below(""), later()), plain, "{index}");
    }
}

#[test]
fn a_scan_of_one_part_keeps_what_is_known_about_the_others() {
    let (root, home) = tree();
    look(Some(home.path()), root.path(), &Below("a/deep"), later());
    assert_eq!(remembered(home.path(), root.path()), ["a/deep/er/z"]);
    look(Some(home.path()), root.path(), &Below("b"), later());
    look(Some(home.path()), root.path(), &Below("a-"), later());
    assert_eq!(remembered(home.path(), root.path()), ["/a-b", "a/deep/er/z", "b/x"]);
}

#[test]
fn one_who_cannot_write_works_without() {
    let (root, home) = tree();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let plain = look(None, root.path(), &Below(""), later());
    assert_eq!(look(Some(&file.join("below")), root.path(), &Below(""), later()), plain);
    let mut full = Limited { out: Vec::new(), left: 10 };
    assert!(full.write_all(b"0123456789").is_ok() && full.write_all(b"0").is_err());
}

#[test]
fn a_cache_from_the_future_another_root_or_another_version_is_not_used() {
    let (root, home) = tree();
    let now = later();
    look(Some(home.path()), root.path(), &Below(""), now);
    let Cache { file, owner, .. } = open(home.path(), root.path());
    let read = |owner: &Owner, now| Table::open(super::open(&file).unwrap(), owner, now);
    assert!(read(&owner, now).is_some());
    assert!(read(&owner, (now.0 - 1, 0)).is_none(), "the clock was set back");
    assert!(read(&Owner { dev: owner.dev + 1, ..owner.clone() }, now).is_none());
    assert!(read(&Owner { ino: owner.ino + 1, ..owner.clone() }, now).is_none());
    assert!(read(&Owner { path: b"/".to_vec(), ..owner.clone() }, now).is_none());
    let newer = Writer::new(Vec::new(), &owner, now).unwrap().newer().finish().unwrap();
    fs::write(&file, newer).unwrap();
    assert!(read(&owner, now).is_none());
    // It is replaced without a word.
    look(Some(home.path()), root.path(), &Below(""), now);
    assert!(read(&owner, now).is_some());
}

#[test]
fn the_clock_of_a_scan_must_not_run_backwards() {
    let (root, home) = tree();
    let opened = Root::open(root.path()).unwrap();
    let cache = Cache::open(home.path(), &opened, later()).unwrap();
    let (_, fresh) = scan::scan(&opened, Some(&cache), &Below("")).unwrap();
    assert_eq!(fresh.len(), 5);
    cache.save(fresh, &[], stamp::now());
    assert!(remembered(home.path(), root.path()).is_empty());
}

#[test]
fn two_that_write_at_a_time_leave_a_whole_file() {
    let (root, home) = tree();
    let plain = look(None, root.path(), &Below(""), later());
    look(Some(home.path()), root.path(), &Below(""), later());
    std::thread::scope(|scope| {
        for prefix in ["a", "b"] {
            let (root, home, plain) = (root.path(), home.path(), &plain);
            scope.spawn(move || {
                for _ in 0..100 {
                    // As one that found nothing and so writes.
                    let opened = Root::open(root).unwrap();
                    let mut cache = Cache::open(home, &opened, later()).unwrap();
                    assert!(cache.table.take().is_some(), "half a file");
                    let (_, fresh) = scan::scan(&opened, Some(&cache), &Below(prefix)).unwrap();
                    assert!(!fresh.is_empty());
                    cache.save(fresh, &[], later());
                    let found = look(Some(home), root, &Below(""), later());
                    assert_eq!(&found, plain);
                }
            });
        }
    });
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn only_so_many_roots_are_remembered() {
    let home = TempDir::new().unwrap();
    for index in 0..ROOTS + 5 {
        let path = home.path().join(format!("{index}.stat"));
        let file = fs::File::create(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(index as u64)).unwrap();
    }
    forget_oldest(home.path()).unwrap();
    assert!(!home.path().join("4.stat").exists() && home.path().join("5.stat").exists());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), ROOTS);
}

#[test]
fn without_room_only_what_was_seen_stays() {
    let entry =
        |path: &str| Entry { path: RelPath::new(path.as_bytes()).unwrap(), kind: EntryKind::Directory };
    let entries = [entry("a/x"), entry("b")];
    for (directory, name, expect) in [("a", "x", true), ("", "b", true), ("a", "y", false), ("", "x", false)]
    {
        assert_eq!(is_seen(&entries, directory.as_bytes(), name.as_bytes()), expect, "{directory} {name}");
    }
}

/// A good cache file and what it says.
static GOOD: LazyLock<(Owner, Vec<u8>)> = LazyLock::new(|| {
    let owner = Owner { path: b"/root".to_vec(), dev: 1, ino: 2 };
    let mut writer = Writer::new(Vec::new(), &owner, (1000, 0)).unwrap();
    for directory in ["", "a", "a/b", "c"] {
        for name in ["x", "y", "z"] {
            writer.add(directory.as_bytes(), &record(directory, name)).unwrap();
        }
    }
    (owner, writer.finish().unwrap())
});

fn record<'a>(directory: &str, name: &'a str) -> Record<'a> {
    let hash = Digest::of(format!("{directory}/{name}").as_bytes()).to_sha256().unwrap();
    let stamp = Stamp { dev: 1, ino: 3, size: 4, mtime: (5, 6), ctime: (-7, 8) };
    Record { name: name.as_bytes(), stamp, hash }
}

/// Reads a file and returns how much of what it says is there; it must never say another thing.
fn said(bytes: &[u8]) -> usize {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let Some(table) = Table::open(file, &GOOD.0, (2000, 0)) else { return 0 };
    let mut count = 0;
    for (directory, files) in table.directories() {
        let directory = String::from_utf8(directory.to_vec()).unwrap();
        for found in files.iter() {
            let name = String::from_utf8(found.name.to_vec()).unwrap();
            assert_eq!(found, record(&directory, &name));
            count += 1;
        }
    }
    count
}

#[test]
fn a_good_file_says_all() {
    assert_eq!(said(&GOOD.1), 12);
    assert_eq!(said(b""), 0);
}

proptest! {
    #[test]
    fn a_damaged_file_says_less_and_nothing_else(at in 0..10_000_usize, bytes in prop::collection::vec(any::<u8>(), 0..8), removed in 0..40_usize, truncate: bool) {
        let mut file = GOOD.1.clone();
        let at = at % file.len();
        if truncate {
            file.truncate(at);
        } else {
            let end = (at + removed).min(file.len());
            file.splice(at..end, bytes);
        }
        // A change in the records of one directory costs one directory, in the index all.
        let expect = if file == GOOD.1 { [12].as_slice() } else { &[0, 3, 6, 9] };
        prop_assert!(expect.contains(&said(&file)));
    }

    #[test]
    fn noise_says_nothing(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert_eq!(said(&bytes), 0);
    }

    /// Damage behind a hash that fits, as only a faulty writer could leave it.
    #[test]
    fn even_a_signed_index_of_noise_does_no_harm(noise in prop::collection::vec(any::<u8>(), 0..200), start in 0..300_u64) {
        let mut index = GOOD.1[GOOD.1.len() - 40..][..8].to_vec();
        let from = usize::try_from(u64::from_le_bytes(index[..].try_into().unwrap())).unwrap();
        index = GOOD.1[from..GOOD.1.len() - 40].to_vec();
        index.truncate(16 + 2 + 5 + 24);
        index.extend(noise);
        let mut file = GOOD.1[..usize::try_from(start).unwrap()].to_vec();
        file.extend(&index);
        file.extend(start.to_le_bytes());
        file.extend(Digest::of(&index).to_sha256().unwrap());
        let mut out = tempfile::tempfile().unwrap();
        out.write_all(&file).unwrap();
        if let Some(table) = Table::open(out, &GOOD.0, (2000, 0)) {
            prop_assert!(table.directories().all(|(_, files)| files.iter().count() == 0));
        }
    }
}
