//! Sending what was hashed, and nothing else.
//!
//! A file is hashed again while it is sent. One that is no longer what was hashed is an
//! error before its end is sent, so that no builder can take it for whole.

use std::cmp::Ordering;
use std::io::Read;

use super::root::{Root, io_error};
use crate::model::{Digest, Entry, EntryKind, FileHasher, RelPath};
use crate::port::ContextError;

/// Adds the directories that are implied by what they hold, and sorts everything so that a
/// directory comes before its content and its content before its next sibling.
pub fn with_parents(entries: &[Entry]) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::with_capacity(entries.len());
    let mut last: &[u8] = b"";
    for entry in entries {
        let path = entry.path.as_bytes();
        for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            // Entries are sorted by bytes, so all below one directory stand together.
            let known = last.get(..=end) == Some(&path[..=end]);
            if let (false, Ok(path)) = (known, RelPath::new(&path[..end])) {
                all.push(Entry { path, kind: EntryKind::Directory });
            }
        }
        last = path;
        all.push(entry.clone());
    }
    all.sort_unstable_by(|a, b| walk_order(a.path.as_bytes(), b.path.as_bytes()));
    all
}

/// Compares paths component by component.
fn walk_order(a: &[u8], b: &[u8]) -> Ordering {
    // No component holds a NUL, so the separator may take its place in the order.
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    a.iter().map(rank).cmp(b.iter().map(rank))
}

/// Reads a file piece by piece and checks that it is what was hashed. `take` returns false
/// to stop, and so does this, then.
pub fn read(
    root: &Root,
    path: &RelPath,
    (digest, size, executable): (&Digest, u64, bool),
    buffer: &mut [u8],
    take: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<bool, ContextError> {
    let changed = || ContextError::Changed { path: root.join(path) };
    let source = root.file(path).map_err(|error| match error {
        ContextError::Changing { path } => ContextError::Changed { path },
        other => other,
    })?;
    if source.size() != size || source.found.executable != executable {
        return Err(changed());
    }
    let mut file = source.file.take(size);
    let mut hasher = FileHasher::new();
    loop {
        let count = file.read(buffer).map_err(|error| io_error("read", &root.join(path), error))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        if !take(&buffer[..count]) {
            return Ok(false);
        }
    }
    if hasher.finish() == (digest.clone(), size) { Ok(true) } else { Err(changed()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn directories_come_before_their_content() {
        let leaves = ["a-b/x", "a.b", "a/b-c/y", "a/b/x", "a/b/y", "a0", "z"];
        let entries = leaves.map(|leaf| Entry { path: path(leaf), kind: EntryKind::Directory });
        let all: Vec<_> = with_parents(&entries).iter().map(|entry| entry.path.to_string()).collect();
        let expect = ["a", "a/b", "a/b/x", "a/b/y", "a/b-c", "a/b-c/y", "a-b", "a-b/x", "a.b", "a0", "z"];
        assert_eq!(all, expect);
    }

    type Change = (&'static str, fn(&Path));

    #[test]
    fn what_changed_after_it_was_hashed_is_an_error() {
        let changes: [Change; 7] = [
            ("nothing", |_| {}),
            ("same size", |file| fs::write(file, "TEXT").unwrap()),
            ("longer", |file| fs::write(file, "text and more").unwrap()),
            ("shorter", |file| fs::write(file, "").unwrap()),
            ("executable", |file| fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap()),
            ("a link", |file| {
                fs::rename(file, file.with_file_name("moved")).unwrap();
                symlink("moved", file).unwrap();
            }),
            ("a directory", |file| {
                fs::remove_file(file).unwrap();
                fs::create_dir(file).unwrap();
            }),
        ];
        for (what, change) in changes {
            let dir = TempDir::new().unwrap();
            let file = dir.path().join("file");
            fs::write(&file, "text").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
            change(&file);
            let mut bytes = Vec::new();
            let result = read(
                &Root::open(dir.path()).unwrap(),
                &path("file"),
                (&Digest::of(b"text"), 4, false),
                &mut [0; 3],
                &mut |piece| {
                    bytes.extend_from_slice(piece);
                    true
                },
            );
            match result {
                Ok(true) => assert_eq!((what, &bytes[..]), ("nothing", &b"text"[..])),
                Err(ContextError::Changed { path }) => assert_eq!((path, what != "nothing"), (file, true)),
                other => panic!("{what}: {other:?}"),
            }
        }
    }
}
