//! Attacks on keys: each input of a project is changed once, alone, and exactly the keys of
//! the boxes that could be built differently move. What no build can see moves none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod project;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use boxwright::adapter::context::DiskContext;
use tempfile::TempDir;

use project::{At, FILES, found, project, write};

type Change = (&'static str, fn(&At));

/// A change of `base` moves `build` as well, which stands on it.
const BASE: [&str; 2] = ["base", "build"];

fn check(changes: &[Change], moving: &[&str]) {
    let origin = project();
    let before = found(origin.path(), &DiskContext::default());
    assert_eq!(before.len(), 3);
    // Each change meets a stat cache as well, which remembers only what has been at rest.
    let worn: Vec<(TempDir, TempDir)> =
        changes.iter().map(|_| (project(), TempDir::new().unwrap())).collect();
    std::thread::sleep(Duration::from_millis(3200));
    for ((what, change), (worn, cache)) in changes.iter().zip(worn) {
        let cached = DiskContext::with_cache(cache.path().to_owned());
        assert_eq!(found(worn.path(), &cached), before);
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1, "nothing was remembered");
        let fresh = project();
        for root in [&fresh, &worn] {
            change(&At(root.path().to_owned()));
        }
        let after = found(fresh.path(), &DiskContext::default());
        let moved: Vec<&str> =
            before.keys().filter(|name| before[*name] != after[*name]).map(String::as_str).collect();
        assert_eq!(moved, moving, "{what}");
        assert_eq!(found(worn.path(), &cached), after, "{what}: with the stat cache");
    }
}

#[test]
fn what_the_base_reads_moves_it_and_what_stands_on_it() {
    let changes: [Change; 21] = [
        ("bytes", |at| at.swap("scripts/install.sh", "sh\n", "bash\n")),
        ("one byte of the same size", |at| at.put("etc/ab", "xz")),
        ("a byte between neighbours", |at| {
            at.put("etc/ab", "x");
            at.put("etc/ac", "yz");
        }),
        ("contents exchanged", |at| {
            at.put("etc/ab", "z");
            at.put("etc/ac", "xy");
        }),
        ("a name", |at| at.rename("etc/ab", "etc/aB")),
        ("a byte from name to content", |at| {
            fs::remove_file(at.path("etc/ab")).unwrap();
            at.put("etc/a", "bxy");
        }),
        ("executable", |at| at.mode("etc/ab", 0o744)),
        ("no longer executable", |at| at.mode("scripts/install.sh", 0o644)),
        ("a file becomes a link to the same bytes", |at| {
            at.rename("etc/ab", "etc/target");
            symlink("target", at.path("etc/ab")).unwrap();
        }),
        ("a file becomes a directory", |at| {
            fs::remove_file(at.path("etc/ab")).unwrap();
            at.put("etc/ab/ab", "xy");
        }),
        ("an empty directory", |at| fs::create_dir(at.path("etc/empty")).unwrap()),
        ("an empty file", |at| at.put("etc/empty", "")),
        ("a file is gone", |at| fs::remove_file(at.path("etc/ac")).unwrap()),
        ("the pin's value", |at| at.swap("rust-toolchain.toml", "1.90", "1.91")),
        ("an instruction", |at| at.swap("Dockerfile", "RUN install.sh $RUST", "RUN install.sh  -x $RUST")),
        ("the order of instructions", |at| {
            at.swap(
                "Dockerfile",
                "COPY etc /etc/tool\nRUN install.sh $RUST",
                "RUN install.sh $RUST\nCOPY etc /etc/tool",
            );
        }),
        ("an environment variable", |at| at.swap("Dockerfile", "/opt/bin:$PATH", "/opt:$PATH")),
        ("a destination", |at| at.swap("Dockerfile", "/etc/tool", "/etc/tools")),
        ("an ARG's default", |at| {
            at.swap("Dockerfile", "ARG RUST\n", "ARG RUST\nARG MORE=1\n");
        }),
        ("the escape directive", |at| {
            let text = fs::read_to_string(at.path("Dockerfile")).unwrap();
            at.put("Dockerfile", &format!("# escape=`\n{text}"));
        }),
        ("the target", |at| at.swap("boxwright.toml", "target = \"base\"", "target = \"docs\"")),
    ];
    check(&changes, &BASE);
}

#[test]
fn what_one_box_reads_moves_it_alone() {
    let changes: [Change; 20] = [
        ("bytes", |at| at.swap("src/a/lib.rs", "a()", "b()")),
        ("a new file", |at| at.put("src/new.rs", "")),
        ("a link's target", |at| at.link("src/link", "a/lib.rs")),
        ("a link becomes a file", |at| {
            fs::remove_file(at.path("src/link")).unwrap();
            at.put("src/link", "main.rs");
        }),
        ("a directory is renamed", |at| at.rename("src/a", "src/b")),
        ("a bind mount", |at| at.swap("vendor/lib.c", "x", "y")),
        ("what a pattern matches", |at| at.put("assets-1/logo", "LOGO")),
        ("what a pattern newly matches", |at| at.put("assets-2/logo", "logo")),
        ("an argument", |at| at.swap("boxwright.toml", "LEVEL = \"2\"", "LEVEL = \"3\"")),
        ("a proxy that is declared", |at| at.swap("boxwright.toml", "http://p:1", "http://p:2")),
        ("an argument's default", |at| at.swap("Dockerfile", "PLAIN=default", "PLAIN=other")),
        ("the locked commit", |at| at.swap("boxwright.lock", "\"01234567", "\"11234567")),
        ("the order of RUNs", |at| {
            at.swap("Dockerfile", "RUN first && second\nRUN third", "RUN third\nRUN first && second");
        }),
        ("one RUN made of two", |at| at.swap("Dockerfile", "second\nRUN third", "second && third")),
        ("a secret's name", |at| at.swap("Dockerfile", "id=token", "id=other")),
        ("a mount's target", |at| at.swap("Dockerfile", "target=/vendor", "target=/v")),
        ("an ignore rule that takes a file away", |at| {
            at.put(".dockerignore", "**/*.log\n**/*.txt\ntarget\n")
        }),
        ("an ignore rule that gives one back", |at| at.put(".dockerignore", "**/*.log\n!src/debug.log\n")),
        ("the network", |at| {
            at.swap("boxwright.toml", "target = \"build\"", "target = \"build\"\nnetwork = \"none\"")
        }),
        ("another parent", |at| {
            at.swap("boxwright.toml", "\"box:base\"", "\"box:tools\"");
        }),
    ];
    check(&changes, &["build"]);
    check(&[("bytes", |at| at.put("tools/run", "RUN\n"))], &["tools"]);
    check(&[("its Dockerfile", |at| at.swap("tools/Dockerfile", "/run\n", "/bin/run\n"))], &["tools"]);
}

#[test]
fn what_all_boxes_share_moves_all() {
    let changes: [Change; 3] = [
        ("an outside image's digest", |at| at.swap("boxwright.lock", "ba7816", "ca7816")),
        ("the epoch", |at| at.swap("boxwright.toml", "epoch = \"1\"", "epoch = \"2\"")),
        ("the platform", |at| at.swap("boxwright.toml", "linux/amd64", "linux/arm64")),
    ];
    check(&changes, &["base", "build", "tools"]);
}

#[test]
fn what_no_build_can_see_moves_nothing() {
    let changes: [Change; 21] = [
        ("nothing", |_| {}),
        ("times", |at| {
            for path in at.all().iter().filter(|path| !path.is_symlink()) {
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
                fs::File::open(path).unwrap().set_modified(time).unwrap();
            }
        }),
        ("umask 077", |at| permissions(at, 0o700, 0o600)),
        ("umask 002", |at| permissions(at, 0o775, 0o664)),
        ("the owner", |at| {
            for path in at.all().iter().filter(|path| !path.is_symlink()) {
                // Only root may; anyone may give a file to himself.
                let other = rustix::process::geteuid().is_root().then_some(12345);
                chown(path, other, other).unwrap();
            }
        }),
        ("the order of creation", |at| {
            for path in at.all().iter().skip(1).filter(|path| path.parent() == Some(&at.0)) {
                if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
            }
            write(&at.0, FILES.iter().rev());
        }),
        ("every file written anew", |at| {
            for path in at.all().iter().filter(|path| path.is_file() && !path.is_symlink()) {
                let (bytes, mode) = (fs::read(path).unwrap(), fs::metadata(path).unwrap().permissions());
                fs::remove_file(path).unwrap();
                fs::write(path, bytes).unwrap();
                fs::set_permissions(path, mode).unwrap();
            }
        }),
        ("an unrelated file", |at| at.put("README.md", "other\n")),
        ("an unrelated file beside one that is read", |at| at.put("scripts/other.sh", "other\n")),
        ("an unrelated directory", |at| fs::create_dir_all(at.path("attic/empty")).unwrap()),
        ("an ignored file", |at| at.put("src/debug.log", "more\n")),
        ("a new ignored file", |at| at.put("src/a/trace.log", "")),
        ("an ignore rule that matches nothing", |at| {
            at.put(".dockerignore", "target\n# why\n\n**/*.log\n*.none\n")
        }),
        ("our own state", |at| at.put(".boxwright/store/blob", "blob")),
        ("another stage", |at| at.swap("Dockerfile", "COPY docs /docs", "COPY docs /elsewhere")),
        ("what another stage reads", |at| at.put("docs/index.md", "other\n")),
        ("comments and blank lines", |at| {
            at.swap("Dockerfile", "# A comment.\n", "# Another comment.\n\n\n");
            at.swap("Dockerfile", "RUN third", "\n# third\nRUN third");
        }),
        ("other fields of a pinned file", |at| at.swap("rust-toolchain.toml", "clippy", "rustfmt")),
        ("a proxy that is not declared", |at| at.swap("boxwright.toml", "\"a\"", "\"b\"")),
        ("the registry", |at| at.swap("boxwright.toml", "registry.example", "elsewhere.example")),
        ("the configuration's and the lock's layout", |at| {
            at.swap("boxwright.lock", "version = 1\n", "# A comment.\nversion = 1\n\n");
            at.swap(
                "boxwright.toml",
                "{ EC = \"{pin.ec:8}\", LEVEL = \"2\",",
                "{ LEVEL = \"2\", EC = '{pin.ec:8}',",
            );
        }),
    ];
    check(&changes, &[]);
}

/// What a parent hands on, its environment and its triggers, is known to its child's key.
#[test]
fn a_parent_does_not_widen_its_child() {
    const FILES: [(&str, &str); 7] = [
        (
            "boxwright.toml",
            "registry = \"registry.example\"\n[box.a]\ndockerfile = \"D1\"\n\
             [box.b]\ndockerfile = \"D2\"\ncontexts = { p = \"box:a\" }\n",
        ),
        ("boxwright.lock", "version = 1\n"),
        ("D1", "FROM scratch\nENV Q=f\nONBUILD COPY t /x/\n"),
        ("D2", "FROM p\nCOPY $Q /x/\n"),
        ("f", "f"),
        ("g", "g"),
        ("t", "t"),
    ];
    let root = TempDir::new().unwrap();
    let at = At(root.path().to_owned());
    FILES.iter().for_each(|(name, text)| at.put(name, text));
    let before = found(root.path(), &DiskContext::default());
    let changes: [(Change, &[&str]); 5] = [
        (("a file that nothing reads", |at| at.put("g", "G")), &[]),
        (("a file by the parent's variable", |at| at.put("f", "F")), &["b"]),
        (("a file that a trigger copies", |at| at.put("t", "T")), &["b"]),
        (("the parent's variable", |at| at.swap("D1", "Q=f", "Q=g")), &["a", "b"]),
        (("the parent's trigger", |at| at.swap("D1", "COPY t", "COPY g")), &["a", "b"]),
    ];
    for ((what, change), moving) in changes {
        change(&at);
        let after = found(root.path(), &DiskContext::default());
        let moved: Vec<&String> = before.keys().filter(|name| before[*name] != after[*name]).collect();
        assert_eq!(moved, moving, "{what}");
        FILES.iter().for_each(|(name, text)| at.put(name, text));
    }
}

fn permissions(at: &At, directory: u32, file: u32) {
    for path in at.all().iter().rev().filter(|path| !path.is_symlink()) {
        let executable = fs::metadata(path).unwrap().permissions().mode() & 0o100 != 0;
        let mode = if path.is_dir() || executable { directory } else { file };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// The command itself in other surroundings: locale, time zone, home, umask, directory, links
/// to where it stands, and the stat cache on and off.
#[test]
fn the_process_around_it_moves_nothing() {
    let (here, there, cache) = (project(), project(), TempDir::new().unwrap());
    let expect = found(here.path(), &DiskContext::default());
    let link = cache.path().join("link");
    symlink(there.path(), &link).unwrap();
    let cache_text = cache.path().join("cache").display().to_string();
    type Surroundings<'a> = (&'a Path, &'a str, &'a [(&'a str, &'a str)]);
    let surroundings: [Surroundings<'_>; 6] = [
        (here.path(), "", &[("LC_ALL", "C"), ("BOXWRIGHT_CACHE", "off")]),
        (
            here.path(),
            "",
            &[("LC_ALL", "tr_TR.UTF-8"), ("LANG", "tr_TR.UTF-8"), ("BOXWRIGHT_CACHE", &cache_text)],
        ),
        (here.path(), "src/a", &[("TZ", "Asia/Kathmandu"), ("BOXWRIGHT_CACHE", &cache_text)]),
        (there.path(), "", &[("HOME", "/nonexistent"), ("USER", "nobody")]),
        (there.path(), "docs", &[("XDG_CACHE_HOME", "/dev/null"), ("HOME", "/dev/null")]),
        (&link, "", &[("TMPDIR", "/nonexistent"), ("BOXWRIGHT_CACHE", &cache_text)]),
    ];
    for (root, below, variables) in surroundings {
        for umask in ["002", "077"] {
            let output = Command::new("sh")
                .args(["-c", &format!("umask {umask}; exec \"$0\" keys --format json")])
                .arg(env!("CARGO_BIN_EXE_boxwright"))
                .current_dir(root.join(below))
                .env_clear()
                .envs(variables.iter().copied())
                .output()
                .unwrap();
            assert!(output.status.success(), "{variables:?}: {}", String::from_utf8_lossy(&output.stderr));
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            for row in report["boxes"].as_array().unwrap() {
                let name = row["name"].as_str().unwrap();
                assert_eq!(row["key"].as_str().unwrap(), expect[name], "{name}: {variables:?}");
            }
        }
    }
}
