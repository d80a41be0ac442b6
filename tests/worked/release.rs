//! The release of boxwright itself: `scripts/release` builds a program that needs nothing, and the
//! workflow checks it, hands it on, and makes and promotes an image of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use boxwright_testing::witness::{Registry, tell};
use tempfile::TempDir;

use crate::project::event;
use crate::runner::{Event, Job, Runner, git, program};

const TAG: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// Runs a program in a directory; it has to succeed.
fn tell_in(directory: &Path, command: &mut Command) -> String {
    let output = command.current_dir(directory).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A copy of this repository, committed, with `host` where its workflow names GitHub's registry.
/// Its place and the times of its files stay, so that cargo builds what has changed and no more.
fn source(host: &str) -> PathBuf {
    let at = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release");
    let copied = "rm -rf \"$0\"/* \"$0\"/.[!.]* && mkdir -p \"$0\" && \
                  git ls-files -z --cached --others --exclude-standard | \
                  tar -c --null --ignore-failed-read -T - | tar -x -C \"$0\"";
    let mut shell = Command::new("sh");
    tell_in(Path::new(env!("CARGO_MANIFEST_DIR")), shell.arg("-c").arg(copied).arg(&at));
    let workflow = at.join(".github/workflows/release.yml");
    let text = fs::read_to_string(&workflow).unwrap();
    assert!(text.contains("ghcr.io/${{ github.repository_owner }}"));
    fs::write(&workflow, text.replace("ghcr.io/${{ github.repository_owner }}", host)).unwrap();
    git(&at, &["init", "--quiet", "-b", "main"]);
    git(&at, &["add", "--all"]);
    git(&at, &["commit", "--quiet", "--message", "release"]);
    at
}

/// Builds by the script, without the optimiser: what is looked at is how the program is linked.
fn build(source: &Path) -> PathBuf {
    let mut command = Command::new("scripts/release");
    command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("release-target"));
    for (name, value) in [("OPT_LEVEL", "0"), ("LTO", "off"), ("CODEGEN_UNITS", "256")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    let machine = tell("uname", &["-m"]).trim().to_owned();
    let musl = format!("{machine}-unknown-linux-musl");
    if !Command::new("rustup").args(["target", "add", &musl]).status().unwrap().success() {
        command.env("BOXWRIGHT_TARGET", format!("{machine}-unknown-linux-gnu"));
    }
    tell_in(source, &mut command);
    source.join(format!("dist/boxwright-{machine}-linux"))
}

/// A `gh` that keeps one release in a directory, as far as the workflow needs it.
const GH: &str = r#"#!/bin/sh
set -eu
release=$HOME/gh/$3
log() { echo "gh $*" >> "$HOME/gh.log"; }
log "$@"
what=$2
shift 3
case $what in
  create) mkdir -p "$HOME/gh" && mkdir "$release" && touch "$release/.draft" ;;
  view) test -d "$release" ;;
  upload) shift; cp "$@" "$release" ;;
  download) test "$1 $3" = '--dir --pattern' && mkdir -p "$2" && cp "$release"/$4 "$2"; chmod 644 "$2"/* ;;
  edit) test "$1" = --draft=false && rm "$release/.draft" ;;
  *) exit 2 ;;
esac
"#;

/// A repository at its release, and the machine that its workflow runs on.
struct Release {
    home: TempDir,
    registry: Registry,
}

impl Release {
    /// A cargo in the place of the real one hands out what was built before.
    fn new(registry: Registry, source: &Path, built: &Path) -> Self {
        let release = Self { home: TempDir::new().unwrap(), registry };
        for name in ["home", "bin", "w"] {
            fs::create_dir_all(release.at(name)).unwrap();
        }
        program(&release.at("bin/gh"), GH);
        let cargo = format!(
            "#!/bin/sh\nset -eu\ntest \"$1 $2 $3 $4\" = 'build --release --locked --target'\n\
             mkdir -p \"target/$5/release\"\ncp '{}' \"target/$5/release/boxwright\"\n",
            built.display()
        );
        program(&release.at("bin/cargo"), &cargo);
        git(source, &["clone", "--quiet", "--bare", ".", release.at("origin.git").to_str().unwrap()]);
        release
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn run(&self, sha: &str, run: u32) -> std::collections::BTreeMap<String, Job> {
        let mut variables: Vec<(String, String)> =
            ["CARGO_HOME", "RUSTUP_HOME", "DOCKER_HOST"].into_iter().filter_map(variable).collect();
        variables.push(("BOXWRIGHT_WAIT".to_owned(), "0s".to_owned()));
        let (home, origin) = (self.home.path(), self.at("origin.git"));
        let event = Event {
            name: "push",
            payload: event("github/push.tag"),
            sha: sha.to_owned(),
            reference: ("tag", TAG.to_owned()),
            run,
            attempt: 1,
            registry: self.registry.host.clone(),
            cancel_at: None,
        };
        Runner { home, origin: &origin, variables }.workflow("release.yml", &event)
    }
}

/// A variable of the caller, or where rustup and cargo keep their things without it.
fn variable(name: &str) -> Option<(String, String)> {
    let default = match name {
        "CARGO_HOME" => Some(".cargo"),
        "RUSTUP_HOME" => Some(".rustup"),
        _ => None,
    };
    let below_home = || Some(format!("{}/{}", std::env::var("HOME").ok()?, default?));
    Some((name.to_owned(), std::env::var(name).ok().or_else(below_home)?))
}

#[test]
fn a_release_is_one_static_program_and_an_image_of_it() {
    let registry = Registry::start(&[]);
    let source = source(&registry.host);
    let built = build(&source);
    let sha = git(&source, &["rev-parse", "HEAD"]);
    let version = format!("boxwright {} ({})\n", env!("CARGO_PKG_VERSION"), &sha[..12]);
    assert_eq!(tell(built.to_str().unwrap(), &["--version"]), version);
    let headers = tell("readelf", &["--program-headers", "--dynamic", built.to_str().unwrap()]);
    assert!(!headers.contains("INTERP") && !headers.contains("(NEEDED)"), "{headers}");
    let bytes = fs::read(&built).unwrap();
    let home = std::env::var("HOME").unwrap();
    for path in [env!("CARGO_MANIFEST_DIR"), &format!("{home}/.cargo")] {
        let holds = bytes.windows(path.len()).any(|window| window == path.as_bytes());
        assert!(!holds, "the program holds {path}");
    }

    // A program that says another revision than the one that is released goes nowhere.
    git(&source, &["commit", "--quiet", "--allow-empty", "--message", "later"]);
    let release = Release::new(registry, &source, &built);
    let jobs = release.run(&git(&source, &["rev-parse", "HEAD"]), 1);
    assert_eq!(jobs["program ubuntu-24.04"].result, "failure", "{}", jobs["program ubuntu-24.04"].log);
    assert_eq!((jobs["image"].result.as_str(), release.at("home/gh").exists()), ("skipped", false));

    let jobs = release.run(&sha, 2);
    for (name, job) in &jobs {
        assert_eq!(job.result, "success", "{name}: {}", job.log);
    }
    assert_eq!(jobs.len(), 3);
    let name = built.file_name().unwrap().to_str().unwrap();
    let page = release.at("home/gh").join(TAG);
    let mut files: Vec<String> =
        fs::read_dir(&page).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, [name.to_owned(), format!("{name}.sha256")]);
    tell_in(&page, Command::new("sha256sum").args(["--check", "--strict", &format!("{name}.sha256")]));

    let host = &release.registry.host;
    let digest = release.registry.digest("boxwright", TAG).unwrap();
    assert_eq!(release.registry.digest("boxwright", "latest").unwrap(), digest);
    let image = format!("{host}/boxwright:{TAG}");
    assert_eq!(tell("docker", &["run", "--rm", &image, "--version"]), version);
    // Nobody's variables come into it, so what it runs for is not known.
    let env = tell("docker", &["image", "inspect", "--format={{json .Config.Env}}", &image]);
    assert!(env.contains("\"BOXWRIGHT_TRUST=unknown\""), "{env}");
    // On an empty base, with the host's network: names, files, the registry.
    fs::write(release.at("w/boxwright.toml"), format!("registry = \"{host}\"\n[box.boxwright]\n")).unwrap();
    fs::write(release.at("w/Dockerfile"), "FROM scratch\nCOPY boxwright.toml /\n").unwrap();
    let mount = format!("{}:/work", release.at("w").display());
    let run = ["run", "--rm", "--network=host", "-v", &mount, &image];
    let plan = tell("docker", &[&run[..], &["plan"]].concat());
    assert!(plan.contains("missing") && plan.contains("k-"), "{plan}");
    tell("docker", &["rmi", &image]);
}
