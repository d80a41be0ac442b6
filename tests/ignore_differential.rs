//! `.dockerignore` as docker's own client applies it: generated patterns over generated trees,
//! and the tar that the client then sends, against what a context scan takes.
//!
//! The client talks to a socket of this test, which keeps what it is sent. Exceptions with
//! wildcards are left out: below an ignored directory the classic client, which can be made
//! to send a tar, skips what BuildKit's finds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use boxwright::adapter::context::DiskContext;
use boxwright::inputs::{Dockerignore, Selection};
use boxwright::model::EntryKind;
use boxwright::port::Context;

const CASES: u64 = 300;
const DOCKERFILE: &[u8] = b"FROM scratch\n";

type Sent = Arc<Mutex<Vec<u8>>>;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.roll(words.len() as u64)).unwrap()]
    }

    fn path(&mut self, words: &[&str]) -> String {
        let depth = 1 + self.roll(3);
        (0..depth).map(|_| self.pick(words).to_owned()).collect::<Vec<_>>().join("/")
    }
}

const NAMES: [&str; 8] = ["a", "b", "ab", "a.txt", "b.txt", ".hidden", "dir", "sub"];
const PARTS: [&str; 12] = ["a", "b", "*", "**", "a*", "*.txt", "?", "[ab]", "[^a]", "dir", "sub", ".hidden"];

fn tree(dice: &mut Dice, root: &Path) {
    for _ in 0..4 + dice.roll(12) {
        let path = root.join(dice.path(&NAMES));
        let parent = path.parent().unwrap();
        // A name may already be taken by a file; then this one is left out.
        if fs::create_dir_all(parent).is_err() || path.symlink_metadata().is_ok() {
            continue;
        }
        match dice.roll(6) {
            0 => fs::create_dir(&path).unwrap(),
            1 => std::os::unix::fs::symlink("a", &path).unwrap(),
            _ => fs::write(&path, b"x").unwrap(),
        }
    }
}

fn patterns(dice: &mut Dice) -> String {
    let mut text = String::new();
    for _ in 0..1 + dice.roll(4) {
        let line = match dice.roll(10) {
            0..4 => dice.path(&PARTS),
            4 => format!("/{}", dice.path(&PARTS)),
            5 => format!("{}/", dice.path(&PARTS)),
            6 => format!("  ./{}  ", dice.path(&NAMES)),
            7..9 => format!("!{}", dice.path(&NAMES)),
            _ => "# a remark".to_owned(),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

async fn engine(
    State(sent): State<Sent>,
    method: axum::http::Method,
    uri: axum::http::Uri,
    body: Bytes,
) -> impl IntoResponse {
    if method == "POST" && uri.path().ends_with("/build") {
        *sent.lock().unwrap() = body.to_vec();
        return ([("Content-Type", "application/json")], "{\"stream\":\"kept\"}\n".to_owned());
    }
    ([("API-Version", "1.41")], "OK".to_owned())
}

/// What stands in a tar: files and links, and directories that hold nothing.
fn in_tar(bytes: &[u8]) -> BTreeSet<String> {
    let mut archive = tar::Archive::new(bytes);
    let mut all = BTreeSet::new();
    let mut directories = BTreeSet::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
        if entry.header().entry_type().is_dir() {
            directories.insert(path)
        } else {
            all.insert(path)
        };
    }
    let is_empty = |directory: &String| {
        let inside = format!("{directory}/");
        !all.iter().chain(&directories).any(|path| path.starts_with(&inside))
    };
    let empty: Vec<String> =
        directories.iter().filter(|path| is_empty(path)).map(|path| format!("{path}/")).collect();
    all.extend(empty);
    all
}

fn scanned(root: &Path, ignore: &str) -> BTreeSet<String> {
    let ignore = Dockerignore::parse(".dockerignore", ignore.as_bytes()).unwrap();
    let entries = DiskContext::default().scan(root, &Selection::whole(ignore)).unwrap().entries;
    let name = |entry: boxwright::model::Entry| match entry.kind {
        EntryKind::Directory => format!("{}/", entry.path),
        EntryKind::File { .. } | EntryKind::Symlink { .. } => entry.path.to_string(),
    };
    entries.into_iter().map(name).collect()
}

#[tokio::test]
async fn the_docker_client_sends_what_a_scan_takes() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("engine.sock");
    let sent = Sent::default();
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let app = Router::new().fallback(engine).with_state(Arc::clone(&sent));
    let app = app.layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let mut dice = Dice(0x5eed);
    let (mut ignored, mut compared) = (0, 0);
    for case in 0..CASES {
        let root = home.path().join(format!("tree{case}"));
        fs::create_dir(&root).unwrap();
        tree(&mut dice, &root);
        let ignore = patterns(&mut dice);
        fs::write(root.join("Dockerfile"), DOCKERFILE).unwrap();
        fs::write(root.join(".dockerignore"), &ignore).unwrap();
        let output = tokio::process::Command::new("docker")
            .args(["-H", &format!("unix://{}", socket.display()), "build", "."])
            .env("DOCKER_BUILDKIT", "0")
            .env("DOCKER_CONFIG", home.path())
            .current_dir(&root)
            .stdin(Stdio::null())
            .output()
            .await
            .expect("docker's client is needed, see scripts/setup");
        assert!(output.status.success(), "{ignore}: {}", String::from_utf8_lossy(&output.stderr));
        // The client always adds these two, ignored or not; boxwright sends them otherwise.
        let own = ["Dockerfile", ".dockerignore"];
        let mut theirs = in_tar(&sent.lock().unwrap());
        let mut ours = scanned(&root, &ignore);
        let all = scanned(&root, "").len();
        ignored += usize::from(ours.len() < all);
        for name in own {
            theirs.remove(name);
            ours.remove(name);
        }
        assert_eq!(ours, theirs, "case {case}, .dockerignore:\n{ignore}");
        compared += 1;
        fs::remove_dir_all(&root).unwrap();
    }
    assert_eq!(compared, CASES);
    assert!(ignored > 100, "only {ignored} of {CASES} cases ignored anything");
}
