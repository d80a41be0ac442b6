//! A disk that is full, a store that is not ours.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use boxwright_testing::witness::{Registry, attempt, busybox, tell};
use boxwright_testing::world::{Ended, World, unique};

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

/// An engine that tells its version and where its data is, and cannot do anything else.
fn engine_with(data: &Path, socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    let about = format!(r#"{{"DockerRootDir":"{}"}}"#, data.display());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut writer, about) = (stream.unwrap(), about.clone());
            std::thread::spawn(move || {
                let mut lines = BufReader::new(writer.try_clone().unwrap()).lines();
                while let Some(Ok(first)) = lines.next() {
                    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                    let (status, body) = match first.split(' ').nth(1).unwrap() {
                        path if path.ends_with("/version") => {
                            ("200 OK", r#"{"Version":"20.10.24","ApiVersion":"1.41"}"#)
                        }
                        path if path.ends_with("/info") => ("200 OK", &*about),
                        _ => ("500 Internal Server Error", "{}"),
                    };
                    let length = body.len();
                    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
                    let answer = format!("{head}Content-Length: {length}\r\n\r\n{body}");
                    if writer.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn an_engine_without_room_is_told_before_anything_is_built() {
    let registry = Registry::start(&[]);
    let world = World::empty();
    world.configure(&registry.host, "[box.a]\n[box.b]\ncontexts = { a = \"box:a\" }\n");
    world.write("Dockerfile", "FROM scratch\nCOPY large /\n");
    world.write("large", &"x".repeat(20_000_000));
    let (socket, data) = (world.beside("engine.sock"), world.beside("data"));
    engine_with(&data, &socket);
    let call = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        let host = format!("unix://{}", socket.display());
        Ended::of(command.env("DOCKER_HOST", host).output().unwrap())
    };
    {
        let _tiny = Tiny::mount(&data, "1m");
        let says =
            ["the engine has no room to build in: 1.0 MB free for ", "nothing was built; `docker system df`"];
        call(&["build"]).fails(1, &says);
        call(&["build", "--local"]).fails(1, &says);
        call(&["doctor"]).exits(20);
        // What stands needs no room.
        assert!(registry.records("lease").is_empty());
    }
    {
        let _small = Tiny::mount(&data, "19m");
        let says =
            ["has 19.9 MB free for ", "contexts and parents alone bring 20.0 MB, unless it has them already"];
        // It goes on, to where this engine can do no more.
        call(&["build"]).exits(1).says(&says).says(&["a failed: "]);
    }
    let _enough = Tiny::mount(&data, "30m");
    let ended = call(&["build"]).exits(1).says(&["a failed: "]);
    assert!(!ended.err.contains("free for"), "{}", ended.err);
    // The engine's data may be where this machine cannot look.
    engine_with(Path::new("/nonexistent"), &world.beside("far.sock"));
    let mut far = world.command(&["build"]);
    far.env("DOCKER_HOST", format!("unix://{}", world.beside("far.sock").display()));
    let ended = Ended::of(far.output().unwrap()).exits(1).says(&["a failed: "]);
    assert!(!ended.err.contains("free for"), "{}", ended.err);
}

#[test]
fn an_export_to_a_full_disk_leaves_no_file() {
    let world = World::single("embedded", "RUN true");
    world.boxwright(&["build"]).good();
    let tiny = world.beside("tiny");
    let _tiny = Tiny::mount(&tiny, "64k");
    let file = tiny.join("boxes.tar");
    world
        .boxwright(&["export", "-o", file.to_str().unwrap()])
        .fails(1, &["failed to write", "No space left", "`df`"]);
    assert_eq!(fs::read_dir(&tiny).unwrap().count(), 0);
    // One that has to be unpacked needs room for it.
    world.boxwright(&["export", "-o", "boxes.tar.gz", "--compress", "gzip"]).good();
    let mut import = world.command(&["import", "boxes.tar.gz"]);
    let ended = Ended::of(import.env("TMPDIR", &tiny).output().unwrap());
    ended.fails(1, &["archive boxes.tar.gz", "No space left", "TMPDIR names a disk with more room"]);
    assert_eq!(fs::read_dir(&tiny).unwrap().count(), 0);
}
