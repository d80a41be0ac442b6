//! What the commands print, whole: a first build, a promotion, a clean and what goes wrong, for people at 80
//! and 200 columns, in a CI and as JSON. `cargo insta review` shows what a change makes of it.

use std::path::Path;
use std::process::Command;

use boxwright_testing::witness::Registry;
use boxwright_testing::world::{Ended, World, at_a_terminal};
use insta::Settings;

/// The widths of the terminals at which tables are looked at.
const WIDTHS: [&str; 2] = ["80", "200"];

/// What is different each time, and what stands in its place, as long if it can stand in a table.
const FILTERS: [(&str, &str); 17] = [
    (r"127\.0\.0\.1:\d{5}", "127.0.0.1:55555"),
    (r"sha256:[0-9a-f]{64}", "sha256:0000000000000000000000000000000000000000000000000000000000000000"),
    (r"sha256:[0-9a-f]{12}\b", "sha256:000000000000"),
    (r"\b[0-9a-f]{40}\b", "1111111111111111111111111111111111111111"),
    (r"\b[0-9a-f]{32}\b", "22222222222222222222222222222222"),
    (r"local-[0-9a-f]{12}", "local-333333333333"),
    (r"\b[0-9a-f]{12}\b", "444444444444"),
    (r"(?m)^ ?\d+:\d\d ", " 0:00 "),
    (r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-01-01T00:00:00Z"),
    (r"20\d\d-\d\d-\d\d \d\d:\d\d", "2026-01-01 00:00"),
    (r"20\d{6}T\d{6}Z", "20260101T000000Z"),
    (r"\b\d\.\ds\b", "0.0s"),
    (r#""seconds": [0-9.]+"#, r#""seconds": 0.0"#),
    (r"\d+(\.\d)? [kM]B", "0.0 MB"),
    (r#""(size|bytes|total)": \d+"#, r#""$1": 0"#),
    (r"/tmp/\.tmp\w+", "/tmp/there"),
    (r#""by": "[^"]+""#, r#""by": "somebody@here""#),
];

/// Checks that a text is what stands in the file of that name beside this one.
fn check(name: &str, text: &str) {
    let mut settings = Settings::clone_current();
    for (from, to) in FILTERS {
        settings.add_filter(from, to);
    }
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Returns the rows of a table in an order that does not depend on keys, which are other ones each time.
fn in_order(table: &str) -> String {
    let words = |row: &str| -> Vec<String> {
        row.split_whitespace().filter(|word| !word.starts_with("k-")).map(str::to_owned).collect()
    };
    let (title, rows) = table.split_once('\n').unwrap();
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_by_key(|row| words(row));
    format!("{title}\n{}\n", rows.join("\n"))
}

/// Tells a call as somebody would who shows it to somebody else.
fn shown(arguments: &[&str], note: &str, ended: &Ended) -> String {
    let Ended { code, out, err } = ended;
    let is_sorted = arguments[0] == "clean" && !out.is_empty();
    let out = if is_sorted { in_order(out) } else { out.clone() };
    let arguments = arguments.join(" ");
    let err = if err.is_empty() { String::new() } else { format!("--- stderr\n{err}") };
    format!("$ boxwright {arguments}{note}\n{out}{err}[{code}]\n\n")
}

/// Runs calls one after the other, as a CI does.
fn told(world: &World, calls: &[&[&str]]) -> String {
    calls.iter().map(|call| shown(call, "", &world.boxwright(call))).collect()
}

/// Runs calls at terminals, without colours and progress.
fn at_widths(world: &World, calls: &[&[&str]]) -> String {
    let mut text = String::new();
    for call in calls {
        for width in WIDTHS {
            let plain = world.command(&[call, &["--quiet", "--color", "never"][..]].concat());
            let mut command = Command::new("sh");
            command.args(["-c", &format!("stty cols {width}; exec \"$0\" \"$@\"")]);
            command.arg(plain.get_program()).args(plain.get_args());
            command.current_dir(plain.get_current_dir().unwrap());
            command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let mut ended = at_a_terminal(&command, "");
            ended.out = ended.out.replace('\r', "");
            text += &shown(call, &format!("    ({width} columns)"), &ended);
        }
    }
    text
}

#[test]
fn a_first_build_a_promotion_and_a_clean() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    check(
        "missing",
        &told(&world, &[&["plan"], &["plan", "--check"], &["guard"], &["plan", "--format", "json"]]),
    );
    check("missing-wide", &at_widths(&world, &[&["plan"], &["keys"]]));
    check(
        "refused",
        &told(&world, &[&["promote", "main"], &["promote", "main", "--yes"], &["run", "test", "--", "true"]]),
    );
    world.boxwright(&["build", "--jobs", "1"]).good();
    check("present", &told(&world, &[&["plan"], &["build"], &["plan", "--check", "--format", "json"]]));
    let promote: &[&[&str]] = &[
        &["promote", "main"],
        &["promote", "main", "--dry-run"],
        &["promote", "main", "--yes"],
        &["promote", "main", "--yes"],
        &["promote", "r1", "--yes"],
        &["promote", "r1.0", "--yes", "--format", "json"],
        &["log", "main", "--format", "json"],
    ];
    check("promoted", &told(&world, promote));
    world.replace("ci/Dockerfile", "echo build", "echo built");
    world.commit();
    check(
        "moved",
        &told(&world, &[&["plan"], &["explain", "build"], &["explain", "test", "--format", "json"]]),
    );
    check("moved-wide", &at_widths(&world, &[&["plan"], &["explain", "build"]]));
    world.boxwright(&["build", "--jobs", "1"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    let changes: &[&[&str]] = &[
        &["rollback", "main"],
        &["rollback", "main", "--yes"],
        &["rebuild", "base", "--dependants"],
        &["clean", "--dry-run"],
        &["clean", "--now", "+3d", "--dry-run"],
        &["clean", "--now", "+3d", "--yes"],
        &["clean", "--now", "+5d", "--yes"],
        &["clean", "--undo"],
    ];
    check("changed", &told(&world, changes));
    check("changed-wide", &at_widths(&world, &[&["clean", "--now", "+3d", "--dry-run"], &["report"]]));
}

#[test]
fn what_goes_wrong() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    registry.stop();
    let unreachable: &[&[&str]] =
        &[&["plan"], &["plan", "-v"], &["build"], &["promote", "main", "--yes"], &["clean", "--yes"]];
    check("unreachable", &told(&world, unreachable));
    let usage: &[&[&str]] = &[
        &["bild"],
        &["plan", "bse"],
        &["build", "--local", "--push", "always"],
        &["promote"],
        &["promote", "main", "--yes", "--dry-run"],
        &["clean", "--apply", "nowhere.json"],
        &["import", "nowhere.tar"],
        &["log", "no/tag"],
    ];
    check("usage", &told(&world, usage));
    let text = std::fs::read_to_string(world.root.join("boxwright.toml")).unwrap();
    let mut bad = String::new();
    for broken in [
        "[box.base",
        "[box.base]\nuses = [\"x\"]\n",
        "registry = 7\n",
        "[channel.pr]\ntag = \"pr\"\nkeep = \"some\"\n",
    ] {
        world.write(
            "boxwright.toml",
            &if broken.starts_with("[channel") { format!("{text}{broken}") } else { broken.to_owned() },
        );
        bad += &told(&world, &[&["plan"]]);
    }
    std::fs::remove_file(world.root.join("boxwright.toml")).unwrap();
    bad += &told(&world, &[&["plan"]]);
    check("configuration", &bad);
}

#[test]
fn each_help_page() {
    let world = World::empty();
    let top = world.boxwright(&["--help"]).good().out;
    let (_, list) = top.split_once("\nCommands:\n").unwrap();
    let names = list.lines().take_while(|line| !line.is_empty());
    let names =
        names.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    check("help", &top);
    for name in names {
        check(&format!("help-{name}"), &world.boxwright(&[name, "--help"]).good().out);
    }
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/snapshots/help.snap").exists());
}
