//! What `--help` shows is run, man pages are read by a formatter, completions by the shells.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;

use crate::docs::shell;
use boxwright_testing::witness::{Registry, attempt, busybox, tell};
use boxwright_testing::world::{CHAIN, World, dockerfile};

/// The commands of a `--help`, each with its path: `registry serve`.
fn all_commands(world: &World, path: &str) -> Vec<String> {
    let arguments: Vec<&str> = path.split_whitespace().chain(["--help"]).collect();
    let help = world.boxwright(&arguments).good().out;
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return vec![path.to_owned()] };
    let list = list.split("\n\n").next().unwrap();
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.flat_map(|name| all_commands(world, format!("{path} {name}").trim())).collect()
}

/// The examples of a command: what stands before two spaces, on each line below the title.
fn examples(help: &str) -> Vec<String> {
    let (_, list) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("no examples in {help}"));
    let list = list.split("\n\n").next().unwrap();
    list.lines().map(|line| line.trim().split("  ").next().unwrap().trim().to_owned()).collect()
}

#[test]
fn every_example_works() {
    let registry = Registry::start(&[]);
    let live = Registry::start(&[]);
    let world = World::empty();
    world.configure(&registry.host, CHAIN);
    // One image by tag, for what is locked; the boxes stand on one by digest.
    let floating = format!("{}/debian:bookworm", registry.host);
    tell("docker", &["tag", "boxwright-busybox:1", &floating]);
    tell("docker", &["push", "--quiet", &floating]);
    let make = "RUN printf '#!/bin/sh\\necho made\\n' > /bin/make && chmod +x /bin/make";
    let text =
        dockerfile(busybox(), ["RUN echo base > /base", make, "COPY --from=tools /bin/busybox /tools"]);
    world.write("ci/Dockerfile", &format!("FROM {floating} AS tools\n{text}"));
    world.commit();
    for directory in [".zfunc", ".local/share/bash-completion/completions"] {
        fs::create_dir_all(world.beside("home").join(directory)).unwrap();
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let archive = format!("file://{}", world.root.join("boxes.tar.zst").display());

    let mut count = 0;
    for name in all_commands(&world, "") {
        let arguments: Vec<&str> = name.split(' ').chain(["--help"]).collect();
        let help = world.boxwright(&arguments).good().out;
        prepare(&world, &name);
        for example in examples(&help) {
            let commit = world.git(&["rev-parse", "--short", "HEAD"]).trim().to_owned();
            let key = if example.contains("4f3c…") { world.keys()[1].clone() } else { String::new() };
            let mut command = example.clone();
            for (shown, meant) in [
                ("4f3c2a1", commit.as_str()),
                ("4f3c…", &key),
                ("debian:bookworm", &floating),
                ("registry.example/live", &format!("{}/live", live.host)),
                ("https://example.org/boxes.tar.zst", &archive),
                ("--port 5000", &format!("--port {free}")),
            ] {
                command = command.replace(shown, meant);
            }
            if name == "registry serve" {
                command = format!("timeout --signal=INT 3 {command} --registry embedded");
            }
            let program = if example.ends_with("| source") { "fish" } else { "sh" };
            let ended = shell(&world, program, &command, &[]);
            assert_eq!(ended.code, code(&example), "{command}\n{}{}", ended.out, ended.err);
            count += 1;
        }
    }
    assert!(count > 45, "{count}");
    assert!(fs::read_to_string(world.root.join("boxes.html")).unwrap().contains("</html>"));
    assert!(world.beside("home/.local/share/man/man1/boxwright-build.1").exists());
}

/// How an example ends where it is tried, if not well.
fn code(example: &str) -> i32 {
    match example {
        // Nothing was built by then.
        "boxwright plan --check" | "boxwright plan --check --channel release" => 10,
        // timeout says so when it had to end what runs until then.
        "boxwright registry serve" | "boxwright registry serve --port 5000" => 124,
        _ => 0,
    }
}

/// Brings the project to where the examples of a command have something to do.
fn prepare(world: &World, name: &str) {
    match name {
        "init" => fs::rename(world.root.join("boxwright.toml"), world.root.join("mine.toml")).unwrap(),
        "lock" => fs::rename(world.root.join("mine.toml"), world.root.join("boxwright.toml")).unwrap(),
        // --at builds what is committed.
        "build" => world.commit(),
        // What stands on the box that was rebuilt is built anew first.
        "explain" => {
            world.boxwright(&["build"]).good();
            world.boxwright(&["promote", "main", "--yes"]).good();
        }
        "import" => {
            drop(world.boxwright(&["export", "--compress", "zstd", "-o", "boxes.tar.zst"]).good());
        }
        "rollback" => {
            world.replace("ci/Dockerfile", "echo base", "echo another base");
            world.boxwright(&["build"]).good();
            world.boxwright(&["promote", "main", "--yes"]).good();
        }
        _ => {}
    }
}

#[test]
fn the_man_pages_are_sound_and_there_is_one_for_each_command() {
    let world = World::empty();
    world.boxwright(&["help", "man", "man"]).good();
    let mut pages: Vec<String> = fs::read_dir(world.root.join("man"))
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    pages.sort();
    let commands = all_commands(&world, "");
    for command in &commands {
        let page = world.root.join(format!("man/boxwright-{}.1", command.replace(' ', "-")));
        let text = tell("mandoc", &["-T", "utf8", page.to_str().unwrap()]);
        let plain: String = text.replace('\u{8}', "");
        assert!(plain.contains("Examples:"), "{command}: {plain}");
    }
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    let lint = attempt("mandoc", &[&["-T", "lint", "-W", "warning"][..], &pages].concat());
    let told = String::from_utf8_lossy(&lint.stdout).into_owned();
    // A version stands for the date, and clap breaks lines beside paragraphs.
    let is_meant =
        |line: &str| line.contains("cannot parse date") || line.contains("skipping paragraph macro: br");
    let told: Vec<&str> = told.lines().filter(|line| !is_meant(line)).collect();
    assert!(told.is_empty(), "{told:#?}");
    assert!(pages.len() > commands.len(), "{pages:?}");
}

#[test]
fn completions_complete_in_their_shells() {
    let world = World::empty();
    let scripts: BTreeMap<&str, String> = ["bash", "zsh", "fish"]
        .into_iter()
        .map(|name| (name, world.boxwright(&["completions", name]).good().out))
        .collect();
    for (name, script) in &scripts {
        world.write(&format!("completion.{name}"), script);
    }
    let bash = "set -eu; source ./completion.bash; COMP_WORDS=(boxwright pro); COMP_CWORD=1; \
                _boxwright boxwright pro boxwright; echo \"${COMPREPLY[@]}\"; \
                COMP_WORDS=(boxwright plan --che); COMP_CWORD=2; \
                _boxwright boxwright --che plan; echo \"${COMPREPLY[@]}\"; complete -p boxwright";
    let told = shell(&world, "bash", bash, &[]).good().out;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..2], ["promote", "--check"], "{told}");
    let fish = "source ./completion.fish; complete --do-complete 'boxwright pro'; \
                complete --do-complete 'boxwright plan --che'";
    let told = shell(&world, "fish", fish, &[]).good().out;
    assert!(told.starts_with("promote\tGive the boxes' images") && told.contains("--check"), "{told}");
    // zsh completes at a terminal alone; compdef takes the function, and it is defined.
    let zsh = "set -e; autoload -U compinit; compinit -u -D; source ./completion.zsh; \
               print $_comps[boxwright]; whence -w _boxwright _boxwright__subcmd__plan_commands";
    let told = shell(&world, "zsh", zsh, &[]).good().out;
    assert!(told.starts_with("_boxwright\n_boxwright: function\n"), "{told}");
    assert!(scripts["zsh"].contains("--check"));
}
