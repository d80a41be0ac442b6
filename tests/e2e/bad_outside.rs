//! A disk that is full, a store that is not ours.

use std::fs;
use std::path::Path;

use crate::witness::{attempt, busybox, tell};
use crate::world::{World, unique};

/// A tiny file system, gone with its value.
struct Tiny<'a>(&'a Path);

impl<'a> Tiny<'a> {
    fn mount(at: &'a Path, size: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        tell("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tiny", at.to_str().unwrap()]);
        Self(at)
    }
}

impl Drop for Tiny<'_> {
    fn drop(&mut self) {
        attempt("umount", &["--lazy", self.0.to_str().unwrap()]);
    }
}

#[test]
fn a_disk_that_fills_up_while_pushing_leaves_no_tag() {
    let world = World::empty();
    let boxes = "[box.big]\ntarget = \"big\"\n\n[box.small]\ntarget = \"small\"\n";
    world.configure("embedded", boxes);
    let step = format!("RUN head -c 3000000 /dev/urandom > /noise # {}", unique());
    world.write(
        "Dockerfile",
        &format!(
            "FROM {busybox} AS big\n{step}\nFROM scratch AS small\nCOPY little /little\n",
            busybox = busybox()
        ),
    );
    world.write("little", "little\n");
    let home = world.root.join(".boxwright");
    let _tiny = Tiny::mount(&home, "2m");
    let ended = world.boxwright(&["build", "--format", "json"]).exits(1);
    assert!(ended.err.to_lowercase().contains("no space left"), "{}", ended.err);
    assert!(ended.err.contains("big failed"), "{}", ended.err);
    let index = fs::read_to_string(home.join("registry/index.json")).unwrap();
    assert!(!index.contains("big:k-"), "{index}");
    let plan = world.without_engine(&["plan", "--format", "json"]).good();
    let report = plan.json();
    assert_eq!(report["boxes"][0]["state"], "missing");
}
