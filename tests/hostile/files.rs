//! Links, pipes and huge files where a file is read.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use boxwright_testing::witness::{busybox, tell};
use boxwright_testing::world::{Ended, World};

/// Every file that a project has boxwright read, and where a box would be.
const FILES: [&str; 7] = [
    "boxwright.toml",
    "boxwright.lock",
    "ci/Dockerfile",
    "two/.dockerignore",
    "ci/Dockerfile.dockerignore",
    "pin.toml",
    "also.toml",
];

/// A project that has one of each, and commands that read them.
fn project() -> World {
    let world = World::empty();
    let config = "[pin.it]\nfile = \"pin.toml\"\nalso = [\"also.toml\"]\nfield = \"a\"\n\
        [box.only]\ncontext = \"ci\"\nargs = { IT = \"{pin.it}\" }\n\
        [box.two]\ncontext = \"two\"\n\
        [protect]\nfiles = [\"keep.txt\"]\n[channel.main]\ntag = \"main\"\n";
    world.configure("embedded", config);
    world.write("boxwright.lock", "version = 1\n");
    world.write("ci/Dockerfile", &format!("FROM {}\nARG IT\nCOPY file /\n", busybox()));
    world.write("two/Dockerfile", &format!("FROM {}\nCOPY file /\n", busybox()));
    world.write("two/.dockerignore", "nothing\n");
    world.write("two/file", "x");
    world.write("ci/Dockerfile.dockerignore", "nothing\n");
    world.write("ci/file", "x");
    world.write("pin.toml", "a = \"1\"\n");
    world.write("also.toml", "a = \"1\"\n");
    world.write("keep.txt", &format!("sha256:{}\n", "a".repeat(64)));
    world.commit();
    world
}

/// Runs a command that must end soon, whatever it reads.
fn soon(world: &World, arguments: &[&str]) -> Ended {
    let began = Instant::now();
    let mut command = world.command(arguments);
    let mut child = command.env("DOCKER_HOST", boxwright_testing::witness::NO_ENGINE).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(40), "{arguments:?} hangs");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ended::of(child.wait_with_output().unwrap())
}

fn replaced(world: &World, file: &str, by: impl FnOnce(&Path)) -> Vec<u8> {
    let path = world.root.join(file);
    let before = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    by(&path);
    before
}

fn restored(world: &World, file: &str, before: &[u8]) {
    let path = world.root.join(file);
    fs::remove_file(&path).unwrap();
    fs::write(path, before).unwrap();
}

/// Commands that read a file.
fn commands(file: &str) -> Vec<&'static [&'static str]> {
    let mut commands: Vec<&[&str]> = vec![&["keys"], &["plan"], &["doctor"]];
    if !file.ends_with("ignore") {
        commands.extend([&["lock"][..], &["explain", "only"]]);
    }
    commands
}

/// Text that every parser stops at, as a runner's files would have it.
const CANARY: &str =
    "root:canary-of-this-machine:19000:0:99999:7:::\n= canary-of-this-machine\n[canary-of-this-machine\n";

#[test]
fn no_link_leads_out_and_nothing_outside_is_quoted() {
    let world = project();
    let outside = world.beside("shadow");
    fs::write(&outside, CANARY).unwrap();
    fs::create_dir(world.beside("far")).unwrap();
    soon(&world, &["keys"]).good();
    for file in FILES {
        for target in [outside.clone(), "/proc/self/environ".into(), "/dev/zero".into()] {
            let before = replaced(&world, file, |path| symlink(&target, path).unwrap());
            for arguments in commands(file) {
                let ended = soon(&world, arguments);
                let all = format!("{}{}", ended.out, ended.err);
                assert_ne!(ended.code, 0, "{file} {arguments:?}: {all}");
                assert!(!all.contains("canary"), "{file} {arguments:?}: {all}");
                assert!(all.contains("leads out of"), "{file} {arguments:?}: {all}");
            }
            restored(&world, file, &before);
        }
    }
    let before = replaced(&world, "keep.txt", |path| symlink(&outside, path).unwrap());
    soon(&world, &["clean"]).fails(2, &["keep.txt", "leads out of"]);
    restored(&world, "keep.txt", &before);
    // Named by hand, from a job's script say, it is the same file.
    let before = replaced(&world, "boxwright.toml", |path| symlink(&outside, path).unwrap());
    soon(&world, &["keys", "-f", "boxwright.toml"]).fails(2, &["leads out of"]);
    restored(&world, "boxwright.toml", &before);
    soon(&world, &["keys"]).good();
    // By a directory that is a link.
    fs::rename(world.root.join("ci"), world.beside("far/ci")).unwrap();
    symlink(world.beside("far/ci"), world.root.join("ci")).unwrap();
    soon(&world, &["keys"]).fails(2, &["leads out of"]);
}

#[test]
fn what_never_ends_is_not_read() {
    let world = project();
    for file in FILES {
        for (what, make) in [
            ("is a FIFO", (|path: &Path| drop(tell("mkfifo", &[path.to_str().unwrap()]))) as fn(&Path)),
            ("more than 16777216 bytes", |path| fs::File::create(path).unwrap().set_len(10 << 30).unwrap()),
        ] {
            let before = replaced(&world, file, make);
            for arguments in commands(file) {
                let ended = soon(&world, arguments);
                let all = format!("{}{}", ended.out, ended.err);
                assert_ne!(ended.code, 0, "{file} {arguments:?}: {all}");
                assert!(all.contains(what), "{file} {arguments:?}: {all}");
            }
            restored(&world, file, &before);
        }
    }
    let before = replaced(&world, "keep.txt", |path| drop(tell("mkfifo", &[path.to_str().unwrap()])));
    soon(&world, &["clean"]).fails(2, &["keep.txt", "is a FIFO"]);
    restored(&world, "keep.txt", &before);
    replaced(&world, "ci/Dockerfile", |path| drop(tell("mkfifo", &[path.to_str().unwrap()])));
    soon(&world, &["init", "--print"]).good();
}

#[test]
fn links_that_stay_inside_go_on_working() {
    let world = project();
    let keys = world.keys();
    fs::create_dir_all(world.root.join("shared")).unwrap();
    for file in FILES {
        let (name, kept) = (file.replace('/', "-"), world.root.join("shared").join(file.replace('/', "-")));
        fs::rename(world.root.join(file), &kept).unwrap();
        let up = if file.contains('/') { "../" } else { "" };
        symlink(format!("{up}shared/{name}"), world.root.join(file)).unwrap();
    }
    assert_eq!(world.keys(), keys);
    // The configuration may be shared within the repository, and lie wherever the user says.
    let elsewhere = world.beside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("boxwright.toml"), "registry = \"embedded\"\n[box.only]\n").unwrap();
    fs::write(elsewhere.join("Dockerfile"), format!("FROM {}\n", busybox())).unwrap();
    let named = elsewhere.join("boxwright.toml");
    world.boxwright(&["keys", "-f", named.to_str().unwrap()]).good();
    // A configuration that is a link is the one of the directory that the link lies in.
    fs::create_dir(world.root.join("linked")).unwrap();
    symlink("../shared/boxwright.toml", world.root.join("linked/boxwright.toml")).unwrap();
    let mut command = world.command_in(&world.root.join("linked"), &["keys"]);
    Ended::of(command.output().unwrap()).fails(2, &["there is no pin.toml"]);
}

#[test]
fn an_archive_takes_the_place_of_a_file_and_of_nothing_else() {
    let world = project();
    let device = world.beside("null");
    tell("mkfifo", &[device.to_str().unwrap()]);
    for output in [device.to_str().unwrap(), world.root.to_str().unwrap()] {
        soon(&world, &["export", "-o", output]).fails(2, &["is no file", "-o -"]);
    }
    assert!(!fs::symlink_metadata(&device).unwrap().is_file());
}
