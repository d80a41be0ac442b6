//! A project of three boxes, and the ways to change it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use boxwright::adapter::context::DiskContext;
use boxwright::config::{self, Lock};
use boxwright::exec::{Tree, keys};
use tempfile::TempDir;

const CONFIG: &str = r#"
registry = "registry.example"
epoch = "1"

[pin.rust]
file = "rust-toolchain.toml"
field = "toolchain.channel"

[pin.ec]
git = "https://example.com/ec.git"
ref = "main"

[defaults]
platforms = ["linux/amd64"]

[box.base]
target = "base"
args = { RUST = "{pin.rust}" }

[box.build]
target = "build"
contexts = { base = "box:base" }
args = { EC = "{pin.ec:8}", LEVEL = "2", HTTP_PROXY = "http://p:1", NO_PROXY = "a" }

[box.tools]
dockerfile = "tools/Dockerfile"
"#;

const DOCKERFILE: &str = r#"# A comment.
ARG DEBIAN=debian:12
FROM $DEBIAN AS base
ARG RUST
ENV PATH=/opt/bin:$PATH
COPY scripts/install.sh /opt/bin/
COPY etc /etc/tool
RUN install.sh $RUST

FROM base AS build
ARG EC
ARG LEVEL
ARG HTTP_PROXY
ARG PLAIN=default
COPY src /src
COPY Cargo.toml assets-*/ /src/
RUN --mount=type=bind,source=vendor,target=/vendor --mount=type=secret,id=token make
RUN first && second
RUN third

FROM base AS docs
COPY docs /docs
RUN <<END
one
two
END
"#;

const TOOLS: &str = "FROM debian:12\nCOPY tools/run /run\n";

const LOCK: &str = r#"version = 1

[pin.ec]
git = "https://example.com/ec.git"
ref = "main"
commit = "0123456789012345678901234567890123456789"

[image."docker.io/library/debian:12"]
digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"#;

pub const FILES: [(&str, &str); 20] = [
    ("boxwright.toml", CONFIG),
    ("boxwright.lock", LOCK),
    ("Dockerfile", DOCKERFILE),
    ("tools/Dockerfile", TOOLS),
    (".dockerignore", "**/*.log\ntarget\n"),
    ("rust-toolchain.toml", "[toolchain]\nchannel = \"1.90\"\ncomponents = [\"clippy\"]\n"),
    ("Cargo.toml", "[package]\n"),
    ("scripts/install.sh", "#!/bin/sh\n"),
    ("scripts/other.sh", "#!/bin/sh\n"),
    ("etc/ab", "xy"),
    ("etc/ac", "z"),
    ("src/main.rs", "fn main() {}\n"),
    ("src/a/lib.rs", "pub fn a() {}\n"),
    ("src/debug.log", "a log\n"),
    ("src/notes.txt", "notes\n"),
    ("assets-1/logo", "logo"),
    ("vendor/lib.c", "int x;\n"),
    ("docs/index.md", "# docs\n"),
    ("tools/run", "run\n"),
    ("README.md", "readme\n"),
];

pub fn project() -> TempDir {
    let root = TempDir::new().unwrap();
    write(root.path(), FILES.iter());
    root
}

pub fn write<'a>(root: &Path, files: impl Iterator<Item = &'a (&'a str, &'a str)>) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    symlink("main.rs", root.join("src/link")).unwrap();
    fs::set_permissions(root.join("scripts/install.sh"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// The keys by box, as a fresh scan finds them.
pub fn found(root: &Path, context: &DiskContext) -> BTreeMap<String, String> {
    let root = root.canonicalize().unwrap();
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let project = config::parse("boxwright.toml", &read("boxwright.toml")).unwrap();
    let lock = Lock::parse("boxwright.lock", &read("boxwright.lock")).unwrap();
    let args = BTreeMap::new();
    let tree =
        Tree { context, root: &root, project: &project, lock: &lock, args: &args, sources: &BTreeMap::new() };
    let keyed = keys(tree, &project.boxes, "registry.example").unwrap();
    keyed.into_iter().map(|keyed| (keyed.wanted.name.clone(), keyed.wanted.key().to_string())).collect()
}

/// Where a project stands, with the ways to change it.
pub struct At(pub PathBuf);

impl At {
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn put(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    pub fn swap(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{name}: {from}");
        self.put(name, &text.replace(from, to));
    }

    pub fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn link(&self, name: &str, target: &str) {
        fs::remove_file(self.path(name)).unwrap();
        symlink(target, self.path(name)).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// All that the project holds, in the order of their names.
    pub fn all(&self) -> Vec<PathBuf> {
        walkdir::WalkDir::new(&self.0)
            .sort_by_file_name()
            .into_iter()
            .map(|e| e.unwrap().into_path())
            .collect()
    }
}
