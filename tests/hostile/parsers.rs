//! Inputs made to never end: each is answered within a bound, with a clear error or with a key.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use boxwright_testing::world::{Ended, World};

/// What a call may take of memory, in bytes, and of time. Each of these would take all there is;
/// the machine may be busy.
const MEMORY: u64 = 3 << 30;
const PATIENCE: Duration = Duration::from_secs(60);

/// A project of one box, which stands nowhere yet.
fn project(dockerfile: &str) -> World {
    let world = World::empty();
    world.configure("embedded", "[box.only]\n");
    world.write("Dockerfile", dockerfile);
    world
}

/// Runs boxwright with little memory and little time.
#[track_caller]
fn bounded(world: &World, arguments: &[&str]) -> Ended {
    let plain = world.command(arguments);
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={MEMORY}")).arg(format!("--cpu={}", PATIENCE.as_secs()));
    command.arg(plain.get_program()).args(arguments).current_dir(&world.root).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("DOCKER_HOST", boxwright_testing::witness::NO_ENGINE);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = Ended::of(command.output().unwrap());
    assert!(ended.err.len() < 10_000, "{} bytes of errors", ended.err.len());
    ended
}

/// Both commands that look at a project end, the same way, with one error of these parts; without
/// parts, well.
#[track_caller]
fn ends(world: &World, parts: &[&str]) {
    for command in ["keys", "plan"] {
        let ended = bounded(world, &[command]);
        match parts {
            [] => drop(ended.good()),
            parts => drop(ended.fails(2, parts)),
        }
    }
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut out, number| {
        let _ = writeln!(out, "{}", line(number));
        out
    })
}

#[test]
fn variables_that_double() {
    let doubled = |word: &str| lines(80, |n| format!("{word} V{}=$V{n}$V{n}", n + 1));
    let dockerfile = format!("FROM scratch\nENV V0=ab\n{}", doubled("ENV"));
    ends(
        &project(&dockerfile),
        &["box only: Dockerfile:19:1: its variables expand to more than 131072 bytes"],
    );
    let dockerfile = format!("ARG V0=ab\n{}FROM scratch\n", doubled("ARG"));
    ends(&project(&dockerfile), &["Dockerfile:18:1: its variables expand to more than 131072 bytes"]);
    let dockerfile = format!("FROM scratch\nARG V0=ab\n{}", doubled("ARG"));
    ends(&project(&dockerfile), &["Dockerfile:19:1: its variables expand to more than 131072 bytes"]);
    // Each of them within the limit, all of them not.
    let many = format!(
        "{}{}",
        doubled("ENV").lines().take(15).collect::<Vec<_>>().join("\n"),
        "\nCOPY $V15 /".repeat(20_000)
    );
    ends(
        &project(&format!("FROM scratch\nENV V0=ab\n{many}")),
        &["the variables up to here expand to more than"],
    );
    // Substitutions write more than they read.
    let replaced = "ENV C=${V15//a/$V15}";
    let dockerfile = format!(
        "FROM scratch\nENV V0=ab\n{}{replaced}\n",
        doubled("ENV").lines().take(15).fold(String::new(), |out, line| out + line + "\n")
    );
    ends(&project(&dockerfile), &["Dockerfile:18:1: its variables expand to more than 131072 bytes"]);
    let pattern = "*a".repeat(20_000);
    let dockerfile = format!("FROM scratch\nENV A=a\nENV B=${{A#{pattern}}}\n");
    ends(&project(&dockerfile), &["Dockerfile:3:1: a pattern in a substitution has more than 1000 bytes"]);
}

#[test]
fn many_of_a_thing() {
    ends(
        &project(&format!("FROM scratch\n{}", lines(200_000, |n| format!("ENV A{n}=x")))),
        &["Dockerfile:100001:1: it has more than 100000 instructions"],
    );
    // Variables by the tens of thousands, seen by stages by the thousands.
    let variables = lines(60_000, |n| format!("ENV A{n}=x"));
    let stages = lines(2_000, |n| format!("FROM s{n} AS s{}\nENV B{n}=$A1", n + 1));
    ends(&project(&format!("FROM scratch AS s0\n{variables}{stages}")), &[]);
    ends(
        &project(&lines(20_000, |n| format!("FROM scratch AS s{n}"))),
        &["Dockerfile:2501:1: it has more than 2500 stages"],
    );
    let triggers = lines(50_000, |_| "ONBUILD RUN x".to_owned());
    let stages = lines(1_000, |n| format!("FROM base AS s{n}\nCOPY --from=s{} /a /", n.saturating_sub(1)));
    let stages = stages.replace("COPY --from=s0 /a /\nFROM base AS s1", "RUN y\nFROM base AS s1");
    ends(
        &project(&format!("FROM scratch AS base\n{triggers}{stages}")),
        &["it has more than 200000 instructions"],
    );
    // Places in a long line, and here-documents that never end.
    ends(
        &project(&format!("FROM scratch\nCOPY{} /\n", " a".repeat(30_000))),
        &["Dockerfile:2:6: `a` matches nothing"],
    );
    ends(&project(&format!("FROM scratch\n{}", lines(90_000, |n| format!("RUN << E{n}")))), &[]);
    ends(
        &project(&format!("FROM scratch\nRUN {}", "<<E ".repeat(15_000))),
        &["Dockerfile:2:1: here-document `E` is not terminated"],
    );
    let images = lines(90_000, |n| format!("COPY --from=r.example/i{n}@sha256:{:064} a /", n));
    ends(&project(&format!("FROM scratch\n{images}")), &[]);
    let sources = lines(50_000, |n| format!("COPY a{n} /"));
    ends(&project(&format!("FROM scratch\n{sources}")), &[]);
}

#[test]
fn words_without_an_end_and_nesting_without_a_floor() {
    let long = "x".repeat(1 << 20);
    for line in ["RUN ", "ENV A=", "COPY ", "ARG ", "LABEL a=", "# "] {
        ends(
            &project(&format!("FROM scratch\n{line}{long}\n")),
            &["Dockerfile:2:1: a line has more than 65536 bytes"],
        );
    }
    let joined = format!("RUN {}", format!("{} \\\n", "x".repeat(60_000)).repeat(200));
    ends(&project(&format!("FROM scratch\n{joined}y\n")), &[]);
    ends(&project(&format!("FROM scratch\nCOPY {} /\n", "${N:-".repeat(10_000))), &["nested too deeply"]);
    ends(
        &project(&format!("FROM scratch\n{}RUN x\n", "ONBUILD ".repeat(8_000))),
        &["ONBUILD is not allowed"],
    );
    ends(&project(&format!("FROM scratch\nRUN --mount={} x\n", "a,".repeat(30_000))), &[]);
    ends(&project(&format!("FROM scratch\nCMD {}\n", "[".repeat(60_000))), &[]);
}

#[test]
fn ignore_files_of_hundreds_of_thousands_of_patterns() {
    let world = project("FROM scratch\nCOPY . /\n");
    std::fs::remove_dir_all(world.root.join(".git")).unwrap();
    for number in 0..2_000 {
        world.write(&format!("d{}/f{number}", number % 50), "x");
    }
    world.write(".dockerignore", &lines(200_000, |n| format!("name-{n}")));
    ends(&world, &["box only: .dockerignore:10001: more than 10000 patterns"]);
    world.write(".dockerignore", &lines(200_000, |n| format!("a*{n}*b")));
    ends(&world, &["box only: .dockerignore:1001: more than 1000 patterns with wildcards"]);
    world.write(".dockerignore", &"*".repeat(1 << 20));
    ends(&world, &["box only: .dockerignore:1: more than 4096 bytes in a pattern"]);
    world.write(".dockerignore", &lines(1_000, |n| format!("**/**/**/a{n}*/**/*[^b]*/**/c?")));
    ends(&world, &[]);
    world.write(".dockerignore", &lines(9_000, |n| format!("!name-{n}/**")));
    ends(&world, &[]);
}

#[test]
fn configurations_and_locks() {
    let base = "registry = \"embedded\"\n[box.only]\n";
    let world = project("FROM scratch\n");
    let check = |text: &str, parts: &[&str]| {
        world.write("boxwright.toml", text);
        ends(&world, parts);
    };
    check(&format!("{base}# {}", "x".repeat(2 << 20)), &["boxwright.toml:1:1: it has 2097"]);
    check(
        &format!("{base}{}", lines(30_000, |n| format!("[box.b{n}]"))),
        &["`box` has more than 2000 sections"],
    );
    check(
        &format!("{base}{}", lines(20_000, |n| format!("[channel.c{n}]\ntag='a{n}'"))),
        &["more than 2000 sections"],
    );
    check(
        &format!("{base}[channel.c]\ntag='(((a{{1,1000}}){{1,1000}}){{1,1000}})'\n"),
        &["boxwright.toml:4:5"],
    );
    check(
        &format!("{base}[channel.c]\ntag='{}a{}'\n", "(".repeat(100_000), ")".repeat(100_000)),
        &["boxwright.toml:4:5"],
    );
    check(&format!("{base}x = {}\n", "[".repeat(500_000)), &["boxwright.toml:"]);
    check(&format!("{base}{}y = 1\n", "x.".repeat(400_000)), &["boxwright.toml:"]);
    check(&format!("{base}[{}y]\n", "x.".repeat(400_000)), &["boxwright.toml:"]);
    check(base, &[]);
    world.write(
        "boxwright.lock",
        &format!("version = 1\n{}", lines(20_000, |n| format!("[image.\"a:{n}\"]\ndigest='x'"))),
    );
    ends(&world, &["boxwright.lock:"]);
    world.write("boxwright.lock", &format!("version = 1\nx = {}\n", "{a=".repeat(300_000)));
    ends(&world, &["boxwright.lock:"]);
}

#[test]
fn pinned_documents() {
    let world = project("ARG A\nFROM scratch\nARG A\n");
    let pin = |file: &str, how: &str| {
        let boxes =
            format!("[pin.p]\nfile = \"{file}\"\n{how}\n[box.only]\nargs = {{ A = \"{{pin.p}}\" }}\n");
        world.configure("embedded", &boxes);
    };
    let check = |file: &str, document: &str, parts: &[&str]| {
        world.write(file, document);
        ends(&world, parts);
    };
    for (format, open) in [
        ("yaml", "["),
        ("yaml", "{a: "),
        ("yaml", "- "),
        ("json", "["),
        ("json", "{\"a\":"),
        ("toml", "a = ["),
        ("toml", "a."),
    ] {
        let file = format!("pinned.{format}");
        pin(&file, "field = \"a.b\"");
        check(&file, &open.repeat(1_000_000), &["pin p"]);
    }
    pin("z.yaml", "field = \"z\"");
    let laughs = (1..60).fold("a0: &a0 [x, x]\n".to_owned(), |out, n| {
        let before = n - 1;
        out + &format!("a{n}: &a{n} [*a{before}, *a{before}, *a{before}]\n")
    });
    check("z.yaml", &format!("{laughs}z: *a59\n"), &["pin p", "an alias"]);
    check("z.yaml", &format!("{laughs}z: 1.5\n"), &[]);
    check("z.yaml", &format!("z: {}\n", "x".repeat(1 << 20)), &["pin p", "more than 1024 bytes"]);
    pin("pinned", "pattern = '([ab]*a[ab]{200})c'");
    check("pinned", &"ab".repeat(1 << 20), &["pin p", "does not match"]);
    pin("pinned", "pattern = '((a{1,1000}){1,1000}){1,1000}'");
    ends(&world, &["boxwright.toml:"]);
}
