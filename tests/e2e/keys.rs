//! What moves a key, and what does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use boxwright_testing::witness::{Registry, tell};
use boxwright_testing::world::{Ended, World, unique};

/// A registry that nobody asks: keys are computed offline.
const NOBODY: &str = "127.0.0.1:1";

/// Which of the three keys differ.
fn moved(before: &[String], after: &[String]) -> Vec<bool> {
    assert_eq!((before.len(), after.len()), (3, 3));
    before.iter().zip(after).map(|(before, after)| before != after).collect()
}

#[test]
fn an_edit_moves_the_boxes_that_read_it_and_those_above() {
    let world = World::chain(NOBODY);
    let keys = world.keys();
    world.write("ci/test/one.txt", "another\n");
    assert_eq!(moved(&keys, &world.keys()), [false, false, true]);
    world.write("ci/test/one.txt", "one\n");
    assert_eq!(world.keys(), keys);

    world.replace("ci/Dockerfile", "echo base", "echo bass");
    assert_eq!(moved(&keys, &world.keys()), [true; 3]);
    world.replace("ci/Dockerfile", "echo bass", "echo base");
    world.replace("ci/Dockerfile", "echo build", "echo built");
    assert_eq!(moved(&keys, &world.keys()), [false, true, true]);
    world.replace("ci/Dockerfile", "echo built", "echo build");
    assert_eq!(world.keys(), keys);

    world.write("ci/README", "nothing copies this\n");
    world.write("test/one.txt", "outside of the context\n");
    world.replace("ci/Dockerfile", "COPY", "# a comment\nCOPY");
    assert_eq!(world.keys(), keys);

    world.write("ci/test/three.txt", "");
    assert_eq!(moved(&keys, &world.keys()), [false, false, true]);
    world.write("ci/.dockerignore", "test/three.txt\n");
    assert_eq!(world.keys(), keys);
    fs::rename(world.root.join("ci/test/one.txt"), world.root.join("ci/test/uno.txt")).unwrap();
    assert_eq!(moved(&keys, &world.keys()), [false, false, true]);
}

#[test]
fn times_and_modes_move_nothing_but_the_executable_bit_does() {
    let world = World::chain(NOBODY);
    let keys = world.keys();
    let file = world.root.join("ci/test/one.txt");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    tell("touch", &["-d", "2001-01-01", file.to_str().unwrap()]);
    for same in [0o600, 0o664, 0o444] {
        mode(same);
        assert_eq!(world.keys(), keys, "{same:o}");
    }
    mode(0o755);
    assert_eq!(moved(&keys, &world.keys()), [false, false, true]);
    mode(0o644);
    assert_eq!(world.keys(), keys);
}

#[test]
fn another_path_umask_directory_or_clone_gives_the_same_keys() {
    let world = World::chain(NOBODY);
    let keys = world.keys();
    let origin = world.root.to_str().unwrap();
    for umask in ["077", "002"] {
        let place = world.beside(&format!("a {umask} clone/deeper"));
        let script = format!("umask {umask} && git clone -q '{origin}' '{}'", place.display());
        tell("sh", &["-c", &script]);
        let mut command = world.command_in(&place.join("ci/test"), &["keys", "--format", "json"]);
        assert_eq!(Ended::of(command.output().unwrap()).good().boxes("key"), keys, "umask {umask}");
    }
    let copy = world.beside("copy");
    tell("cp", &["-r", origin, copy.to_str().unwrap()]);
    fs::remove_dir_all(copy.join(".git")).unwrap();
    let file = copy.join("boxwright.toml");
    let mut command =
        world.command_in(&world.beside("home"), &["keys", "--format", "json", "-f", file.to_str().unwrap()]);
    command.env("CI", "true").env("GITHUB_RUN_ID", "9").env("LANG", "C").env("TZ", "Asia/Tokyo");
    assert_eq!(Ended::of(command.output().unwrap()).good().boxes("key"), keys);
    let elsewhere = world.boxwright(&["keys", "--format", "json", "--registry", "ghcr.io/else/where"]).good();
    assert_eq!(elsewhere.boxes("key"), keys);
}

#[test]
fn a_revert_is_a_hit() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let first = world.boxwright(&["build", "--format", "json"]).good();
    world.write("ci/test/one.txt", "another\n");
    let second = world.boxwright(&["build", "--format", "json"]).good();
    assert_eq!(second.boxes("action"), ["use", "use", "built"]);
    assert_eq!(registry.tags("test").len(), 2);
    world.write("ci/test/one.txt", "one\n");
    let third = world.without_engine(&["build", "--format", "json"]).good();
    assert_eq!(third.boxes("action"), ["use"; 3]);
    assert_eq!(third.boxes("digest"), first.boxes("digest"));
}

#[test]
fn keys_need_neither_network_nor_git() {
    let world = World::chain(NOBODY);
    let keys = world.keys();
    let path = std::env::var("PATH").unwrap();
    let unshare = path.split(':').map(|directory| Path::new(directory).join("unshare"));
    let unshare = unshare.into_iter().find(|path| path.is_file()).expect("unshare is part of util-linux");
    // A namespace of its own has no network at all, not even loopback.
    let mut call = Command::new(unshare);
    call.args(["--net", "--map-root-user", env!("CARGO_BIN_EXE_boxwright"), "keys", "--format", "json"]);
    call.current_dir(&world.root).env_clear().env("PATH", "/nonexistent");
    let ended = Ended::of(call.output().unwrap()).good();
    assert_eq!(ended.boxes("key"), keys);
}

#[test]
fn proxies_that_are_given_reach_the_build() {
    let registry = Registry::start(&[]);
    let test = "RUN test \"$HTTP_PROXY\" = http://p.invalid:1 && test \"$ftp_proxy\" = f.invalid";
    let world = World::single(&registry.host, &format!("ARG HTTP_PROXY\n{test} && echo {}", unique()));
    let args = "[box.only]\nargs = { HTTP_PROXY = \"http://p.invalid:1\", ftp_proxy = \"f.invalid\" }\n";
    world.configure(&registry.host, args);
    world.commit();
    world.boxwright(&["build"]).good();
}
