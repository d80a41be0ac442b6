//! Build contexts on disk: walked and hashed ([`DiskContext`]), then sent to the builder,
//! exactly as hashed (`send`). Files at rest are hashed once and then remembered (`cache`).
//!
//! Nothing is followed out of the context and nothing that could block is read: files are
//! opened beneath the context's root, without following links.

mod cache;
mod chunks;
mod content;
mod hash;
mod large;
mod names;
mod node;
mod queue;
pub(super) mod root;
mod scan;
pub(super) mod send;
mod stamp;
mod walk;

use std::path::{Path, PathBuf};

use super::beneath;
use crate::model::RelPath;
use crate::port::{Context, ContextError, ContextFilter, Scan};

/// Reads contexts from the file system.
///
/// `.boxwright` at the root of a context is boxwright's own state and never part of it,
/// whatever the filter says.
#[derive(Debug, Clone, Default)]
pub struct DiskContext {
    cache: Option<PathBuf>,
}

impl DiskContext {
    /// Makes one that remembers hashes in a directory, which need not exist. The default one
    /// remembers nothing.
    pub fn with_cache(directory: PathBuf) -> Self {
        Self { cache: Some(directory) }
    }
}

impl Context for DiskContext {
    fn scan(&self, root: &Path, filter: &dyn ContextFilter) -> Result<Scan, ContextError> {
        let root = root::Root::open(root)?;
        let cache = self.cache.as_deref();
        let cache = cache.and_then(|directory| cache::Cache::open(directory, &root, stamp::now()));
        let (scan, fresh) = scan::scan(&root, cache.as_ref(), filter)?;
        if let Some(cache) = cache {
            cache.save(fresh, &scan.entries, stamp::now());
        }
        Ok(scan)
    }

    fn read(&self, root: &Path, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ContextError> {
        beneath::read(root, path, limit)
    }

    fn link(&self, root: &Path, path: &RelPath) -> Option<Box<[u8]>> {
        root::Root::open(root).ok()?.link(path)
    }

    fn resolve(&self, path: &Path) -> Option<PathBuf> {
        path.canonicalize().ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tempfile::TempDir;

    use super::*;
    use crate::model::{CHUNK, Digest, Entry, EntryKind, FileHasher, RelPath};
    use crate::port::Visit;

    /// Decides by the last component's first letter, so that a tree tells its own tale.
    struct ByName;

    fn by_name(path: &RelPath) -> Visit {
        match path.as_bytes().rsplit(|byte| *byte == b'/').next() {
            Some([b'P', ..]) => Visit::Prune,
            Some([b'p', ..]) => Visit::Pass,
            _ => Visit::Take,
        }
    }

    impl ContextFilter for ByName {
        fn directory(&self, path: &RelPath) -> Visit {
            by_name(path)
        }

        fn leaf(&self, path: &RelPath) -> Visit {
            by_name(path)
        }
    }

    fn scan(root: &TempDir) -> Vec<Entry> {
        DiskContext::default().scan(root.path(), &ByName).unwrap().entries
    }

    fn paths(root: &TempDir) -> Vec<String> {
        scan(root).iter().map(|entry| entry.path.to_string()).collect()
    }

    fn tree(paths: &[&str]) -> TempDir {
        let root = TempDir::new().unwrap();
        for path in paths {
            let at = root.path().join(path);
            if path.ends_with('/') {
                fs::create_dir_all(at).unwrap();
            } else {
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                fs::write(at, path).unwrap();
            }
        }
        root
    }

    #[test]
    fn sorts_by_bytes_and_obeys_the_filter() {
        let root = tree(&[
            "a/x",
            "a-b",
            "a.b",
            "a/Pno",
            "a/pass",
            "P/x",
            "p/x",
            "p/pno",
            ".boxwright/x",
            "b/.boxwright/x",
        ]);
        assert_eq!(paths(&root), ["a-b", "a.b", "a/x", "b/.boxwright/x", "p/x"]);
    }

    #[test]
    fn a_directory_counts_if_nothing_below_it_does() {
        let root =
            tree(&["empty/", "full/x", "excluded/pno", "outer/inner/", "p/", "outer/p/", "deep/p/deeper/"]);
        assert_eq!(paths(&root), ["deep/p/deeper", "empty", "excluded", "full/x", "outer/inner"]);
    }

    #[test]
    fn tells_files_executables_and_links_apart() {
        let root = tree(&["file", "run"]);
        fs::set_permissions(root.path().join("run"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(root.path().join("file"), fs::Permissions::from_mode(0o677)).unwrap();
        symlink("/etc/passwd", root.path().join("link")).unwrap();
        symlink("nowhere", root.path().join("dangling")).unwrap();
        symlink("..", root.path().join("up")).unwrap();
        let file = |text: &str, executable| EntryKind::File {
            digest: Digest::of(text.as_bytes()),
            size: text.len() as u64,
            executable,
        };
        let link = |target: &str| EntryKind::Symlink { target: target.as_bytes().into() };
        let kinds: Vec<_> = scan(&root).into_iter().map(|entry| entry.kind).collect();
        assert_eq!(
            kinds,
            [link("nowhere"), file("file", false), link("/etc/passwd"), file("run", true), link("..")]
        );
    }

    #[test]
    fn names_are_bytes() {
        let names: [&[u8]; 5] = [b"\xff\n", "é".as_bytes(), b"e\xcc\x81", b"A", &[b'n'; 255]];
        let root = tree(&[]);
        for name in names {
            fs::write(root.path().join(OsStr::from_bytes(name)), name).unwrap();
        }
        let mut expect = names.to_vec();
        expect.sort_unstable();
        let found = scan(&root);
        assert_eq!(found.iter().map(|entry| entry.path.as_bytes()).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn special_files_are_left_out_and_named() {
        let root = tree(&["d/file", "empty/"]);
        mknodat(CWD, root.path().join("queue"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _listener = UnixListener::bind(root.path().join("d/socket")).unwrap();
        let _other = UnixListener::bind(root.path().join("empty/socket")).unwrap();
        let _third = UnixListener::bind(root.path().join("pqueue")).unwrap();
        let scan = DiskContext::default().scan(root.path(), &ByName).unwrap();
        let special: Vec<_> = scan.special.iter().map(|one| (one.path.to_string(), one.kind)).collect();
        let expect = [("d/socket", "socket"), ("empty/socket", "socket"), ("queue", "FIFO")];
        assert_eq!(special, expect.map(|(path, kind)| (path.to_owned(), kind)));
        assert_eq!(paths(&root), ["d/file", "empty"]);
    }

    #[test]
    fn a_link_is_read_where_no_link_leads_to_it() {
        let root = tree(&["d/file"]);
        symlink("file", root.path().join("d/link")).unwrap();
        symlink("d", root.path().join("e")).unwrap();
        let link = |path: &str| {
            let target = DiskContext::default().link(root.path(), &RelPath::new(path.as_bytes()).unwrap());
            target.map(|target| String::from_utf8(target.into()).unwrap())
        };
        assert_eq!(link("d/link").as_deref(), Some("file"));
        assert_eq!(link("e").as_deref(), Some("d"));
        for none in ["d", "d/file", "e/link", "d/none", "none/none", "d/file/x"] {
            assert_eq!(link(none), None, "{none}");
        }
    }

    #[test]
    fn a_fifo_or_link_in_a_files_place_neither_blocks_nor_is_followed() {
        let root = tree(&["file", "dir/file"]);
        let open = root::Root::open(root.path()).unwrap();
        let file = RelPath::new(&b"file"[..]).unwrap();
        fs::remove_file(root.path().join("file")).unwrap();
        mknodat(CWD, root.path().join("file"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(matches!(open.file(&file), Err(ContextError::Changing { .. })));
        fs::remove_file(root.path().join("file")).unwrap();
        symlink("dir/file", root.path().join("file")).unwrap();
        assert!(matches!(open.file(&file), Err(ContextError::Changing { .. })));
        let outside = tree(&["file"]);
        fs::remove_dir_all(root.path().join("dir")).unwrap();
        symlink(outside.path(), root.path().join("dir")).unwrap();
        let below = RelPath::new(&b"dir/file"[..]).unwrap();
        assert!(matches!(open.file(&below), Err(ContextError::Changing { .. })));
    }

    #[test]
    fn a_large_file_is_hashed_as_the_stream_would_be() {
        let root = tree(&[]);
        for size in [CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 12345] {
            let bytes: Vec<u8> = (0..size).map(|at| (at / 4096 % 251) as u8).collect();
            fs::write(root.path().join("large"), &bytes).unwrap();
            let mut hasher = FileHasher::new();
            hasher.update(&bytes);
            let (digest, size) = hasher.finish();
            assert_eq!(scan(&root)[0].kind, EntryKind::File { digest, size, executable: false });
        }
    }

    #[test]
    fn a_file_that_keeps_changing_is_an_error_by_name() {
        for size in [1, 2 * CHUNK] {
            let root = tree(&[]);
            let path = root.path().join("moving");
            fs::write(&path, vec![0; size as usize]).unwrap();
            let stop = AtomicBool::new(false);
            let result = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let file = fs::OpenOptions::new().append(true).open(&path).unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        std::io::Write::write_all(&mut &file, b"more").unwrap();
                    }
                });
                // A scan may fall between two writes; not every time.
                let result =
                    (0..1000).map(|_| DiskContext::default().scan(root.path(), &ByName)).find(Result::is_err);
                stop.store(true, Ordering::Relaxed);
                result
            });
            match result {
                Some(Err(ContextError::Changing { path: named })) => assert_eq!(named, path),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let root = tree(&["file"]);
        match DiskContext::default().scan(&root.path().join("file"), &ByName) {
            Err(ContextError::Io { path, .. }) => assert_eq!(path, root.path().join("file")),
            other => panic!("{other:?}"),
        }
        let open = root::Root::open(root.path()).unwrap();
        match open.file(&RelPath::new(&b"gone"[..]).unwrap()) {
            Err(ContextError::Io { action: "read", path, .. }) => assert_eq!(path, root.path().join("gone")),
            other => panic!("{:?}", other.err()),
        }
    }

    #[test]
    fn a_thousand_directories_deep() {
        let root = tree(&[&format!("{}x", "d/".repeat(1000))]);
        assert_eq!(scan(&root).len(), 1);
    }
}
