//! A project of four boxes: `test` stands on `build`, which stands on `base`, as does `lint`.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use boxwright::adapter::context::DiskContext;
use boxwright::adapter::secrets::LocalSecrets;
use boxwright::config::{self, Lock};
use boxwright::exec::{ResolvedBox, Tree, keys};
use tempfile::TempDir;

/// Reads from disk, and remembers nothing.
static CONTEXT: LazyLock<DiskContext> = LazyLock::new(DiskContext::default);
/// No box has secrets.
pub static SECRETS: LazyLock<LocalSecrets> = LazyLock::new(|| LocalSecrets::new("/", Vec::new()));

const PROJECT: &str = r#"
registry = "r.example"
ledger = "ledger"

[box.base]
target = "base"

[box.build]
dockerfile = "child.Dockerfile"
contexts = { parent = "box:base" }
args = { NAME = "build" }

[box.lint]
dockerfile = "child.Dockerfile"
contexts = { parent = "box:base" }
args = { NAME = "lint" }

[box.test]
dockerfile = "child.Dockerfile"
contexts = { parent = "box:build" }
args = { NAME = "test" }
"#;

/// Computes the keys of the boxes in `names`, and of what they stand on, in a fresh directory;
/// their images are kept at `registry`.
pub fn boxes(registry: &str, content: &str, names: &[&str]) -> Vec<ResolvedBox> {
    let root = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
    write("content", content);
    write("Dockerfile", "FROM scratch AS base\nCOPY content /content\n");
    write("child.Dockerfile", "ARG NAME\nFROM parent\nARG NAME\nRUN echo $NAME\n");
    let project = config::parse("boxwright.toml", PROJECT).unwrap();
    let specs: Vec<_> = project.closure(names).into_iter().cloned().collect();
    let root = root.path().canonicalize().unwrap();
    let (lock, args) = (Lock::default(), BTreeMap::new());
    let tree = Tree {
        context: &*CONTEXT,
        root: &root,
        project: &project,
        lock: &lock,
        args: &args,
        sources: &BTreeMap::new(),
    };
    keys(tree, &specs, registry).unwrap()
}
