//! A repository, or a git, that is not what it looks like.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use boxwright_testing::witness::{NO_ENGINE, Registry, attempt, busybox, tell};
use boxwright_testing::world::{BOXES, CHAIN, Ended, World};
use serde_json::Value;

/// A program that leaves a trace, and takes any arguments.
fn trap(world: &World) -> (PathBuf, PathBuf) {
    let (program, ran) = (world.beside("trap"), world.beside("ran"));
    fs::write(&program, format!("#!/bin/sh\ntouch {}\ncat 2>/dev/null\n", ran.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    (program, ran)
}

/// Two commits of the chain, with a remote and everything that asks git for something.
fn project(registry: &Registry) -> World {
    let world = World::chain(&registry.host);
    let more = "[pin.here]\ngit = \"origin\"\nref = \"main\"\n\
        [channel.topic]\ntag = 't-(.*)'\nkeep = { ref = \"refs/heads/{tag}\", git = \"origin\" }\n";
    world.configure(&registry.host, &format!("{CHAIN}{more}"));
    world.write(".gitattributes", "* filter=x diff=x merge=x\n");
    world.commit();
    world.write("ci/test/one.txt", "changed\n");
    world.commit();
    let origin = world.beside("origin.git");
    tell("git", &["init", "-q", "--bare", origin.to_str().unwrap()]);
    world.git(&["push", "-q", origin.to_str().unwrap(), "main"]);
    world.git(&["remote", "add", "origin", &format!("file://{}", origin.display())]);
    world
}

/// All ways in which git is asked; how they end is no matter here.
fn ask_everything(world: &World) {
    world.write("ci/test/two.sh", "echo modified\n");
    for arguments in [
        &["plan"][..],
        &["lock"],
        &["clean"],
        &["build", "--at", "HEAD~1", "--lend-secrets"],
        &["build", "--at", "only-there"],
    ] {
        world.without_engine(arguments);
    }
}

#[test]
fn nothing_that_a_repositorys_own_configuration_names_is_run() {
    let registry = Registry::start(&[]);
    let world = project(&registry);
    world.declare(&format!("[git]\nallow = [\"file://{}\"]\n", world.beside("origin.git").display()));
    let (program, ran) = trap(&world);
    let trap = program.to_str().unwrap();
    let hooks = world.beside("hooks");
    fs::create_dir(&hooks).unwrap();
    for hook in
        ["post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman"]
    {
        fs::copy(&program, hooks.join(hook)).unwrap();
        fs::create_dir_all(world.root.join(".git/hooks")).unwrap();
        fs::copy(&program, world.root.join(".git/hooks").join(hook)).unwrap();
    }
    let included = world.beside("included");
    fs::write(&included, format!("[core]\n\tfsmonitor = {trap}\n")).unwrap();
    let worktree = format!("[core]\n\tfsmonitor = {trap}\n[filter \"x\"]\n\tclean = {trap}\n");
    fs::write(world.root.join(".git/config.worktree"), worktree).unwrap();
    let shell = format!("!{trap}");
    let ext = format!("ext::{trap}");
    let config = world.root.join(".git/config");
    let clean = fs::read_to_string(&config).unwrap();
    let arm = |setting: &[(&str, &str)]| {
        for (key, value) in setting {
            tell("git", &["config", "--file", config.to_str().unwrap(), "--add", key, value]);
        }
    };
    let origin = world.beside("origin.git");
    let instead = format!("url.{ext}.insteadOf");
    let settings: Vec<Vec<(&str, &str)>> = vec![
        vec![("core.fsmonitor", trap)],
        vec![("core.hooksPath", hooks.to_str().unwrap())],
        vec![("core.pager", trap), ("pager.status", "true"), ("pager.log", trap)],
        vec![("diff.external", trap)],
        vec![("diff.x.command", trap), ("diff.x.textconv", trap)],
        vec![("filter.x.clean", trap), ("filter.x.smudge", trap), ("filter.x.required", "true")],
        vec![("filter.x.process", trap)],
        vec![("merge.x.driver", trap)],
        vec![("core.sshCommand", trap), ("remote.origin.url", "ssh://git.invalid/x")],
        vec![("core.gitProxy", trap), ("remote.origin.url", "git://git.invalid/x")],
        vec![
            ("core.askPass", trap),
            ("credential.helper", &shell),
            ("remote.origin.url", "https://git.invalid/x"),
        ],
        vec![("gpg.program", trap), ("gpg.ssh.program", trap), ("log.showSignature", "true")],
        vec![("core.editor", trap), ("sequence.editor", trap)],
        vec![("alias.status", &shell), ("alias.ls-remote", &shell), ("alias.rev-list", &shell)],
        vec![(&instead, "file://"), ("protocol.ext.allow", "always")],
        vec![("remote.origin.url", &ext), ("protocol.ext.allow", "always")],
        vec![("remote.origin.vcs", "ext"), ("protocol.allow", "always")],
        vec![("remote.origin.uploadpack", trap)],
        vec![("include.path", included.to_str().unwrap())],
        vec![("extensions.worktreeConfig", "true"), ("core.repositoryformatversion", "1")],
        vec![("core.worktree", origin.to_str().unwrap()), ("core.fsmonitor", trap)],
        vec![("core.alternateRefsCommand", trap)],
        vec![
            ("core.repositoryformatversion", "1"),
            ("extensions.partialClone", "origin"),
            ("remote.origin.promisor", "true"),
            ("remote.origin.uploadpack", trap),
        ],
        vec![("uploadpack.packObjectsHook", trap), ("core.attributesFile", "/etc/hostname")],
        vec![("maintenance.auto", "true"), ("gc.auto", "1"), ("gc.recentObjectsHook", trap)],
        vec![("submodule.recurse", "true"), ("submodule.x.update", &shell)],
        vec![("trailer.x.cmd", trap), ("trailer.x.command", trap), ("interactive.diffFilter", trap)],
    ];
    // The trap is one: git itself runs into it.
    arm(&settings[0]);
    world.git(&["status"]);
    assert!(ran.exists());
    for setting in settings {
        let _ = fs::remove_file(&ran);
        fs::write(&config, &clean).unwrap();
        arm(&setting);
        ask_everything(&world);
        assert!(!ran.exists(), "{setting:?}");
    }
    // What is left to say is said: the revision, and that a file differs.
    let plan = world.without_engine(&["plan", "--format", "json"]).good().json();
    assert_eq!(plan["source"]["revision"], world.git(&["rev-parse", "HEAD"]).trim());
    assert_eq!(plan["source"]["dirty"], true);
}

#[test]
fn a_submodule_is_looked_into_and_nothing_of_its_own_is_run() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let (program, ran) = trap(&world);
    let lib = world.beside("lib");
    tell("git", &["init", "-q", lib.to_str().unwrap()]);
    fs::write(lib.join("three.txt"), "three\n").unwrap();
    let who = ["-c", "user.name=a", "-c", "user.email=a@b", "-C", lib.to_str().unwrap()];
    tell("git", &[&who[..], &["add", "."]].concat());
    tell("git", &[&who[..], &["commit", "-q", "-m", "x"]].concat());
    let local = ["-c", "protocol.file.allow=always"];
    world.git(&[&local[..], &["submodule", "add", "-q", lib.to_str().unwrap(), "ci/test/lib"]].concat());
    world.commit();
    let dirty =
        || world.without_engine(&["plan", "--format", "json"]).good().json()["source"]["dirty"].clone();
    let before = dirty();
    for (key, value) in
        [("core.fsmonitor", program.to_str().unwrap()), ("filter.x.clean", program.to_str().unwrap())]
    {
        tell("git", &["-C", world.root.join("ci/test/lib").to_str().unwrap(), "config", key, value]);
    }
    fs::write(world.root.join(".git/modules/ci/test/lib/info/attributes"), "* filter=x\n").unwrap();
    assert_eq!(dirty(), before);
    fs::write(world.root.join("ci/test/lib/three.txt"), "other\n").unwrap();
    assert_eq!(dirty(), true);
    assert!(!ran.exists());
}

#[test]
fn a_directory_that_looks_like_a_bare_repository_is_content() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let (program, ran) = trap(&world);
    let [from, to] = ["ci", "sub"].map(|name| world.root.join(name));
    tell("cp", &["-r", from.to_str().unwrap(), to.to_str().unwrap()]);
    world.write("sub/HEAD", "ref: refs/heads/main\n");
    let config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = {}\n\tfsmonitor = {}\n",
        world.root.join("sub").display(),
        program.display()
    );
    world.write("sub/config", &config);
    for kept in ["objects/info", "objects/pack", "refs/heads"] {
        world.write(&format!("sub/{kept}/kept"), "");
    }
    let boxes = CHAIN.replace("[defaults]\ncontext = \"ci\"\n", "");
    world.write("sub/boxwright.toml", &format!("registry = \"{}\"\n{boxes}", registry.host));
    world.commit();
    let mut command = world.command_in(&world.root.join("sub"), &["plan", "--format", "json"]);
    // git itself takes it for the repository.
    let plain =
        std::process::Command::new("git").current_dir(world.root.join("sub")).args(["status"]).output();
    assert!(plain.is_ok() && ran.exists());
    fs::remove_file(&ran).unwrap();
    let plan = Ended::of(command.env("DOCKER_HOST", NO_ENGINE).output().unwrap()).good().json();
    assert_eq!(plan["source"]["revision"], world.git(&["rev-parse", "HEAD"]).trim());
    assert!(!ran.exists());
}

#[test]
fn the_environments_own_git_variables_lead_nowhere_else() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let (program, ran) = trap(&world);
    let other = world.beside("other");
    tell("git", &["init", "-q", other.to_str().unwrap()]);
    tell("git", &["-C", other.to_str().unwrap(), "config", "core.fsmonitor", program.to_str().unwrap()]);
    let mut command = world.command(&["plan", "--format", "json"]);
    command.env("DOCKER_HOST", NO_ENGINE).env("GIT_DIR", other.join(".git")).env("GIT_WORK_TREE", &other);
    command.env("GIT_EXTERNAL_DIFF", &program).env("GIT_PAGER", &program);
    command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "core.fsmonitor");
    command.env("GIT_CONFIG_VALUE_0", &program).env("GIT_INDEX_FILE", other.join("index"));
    let plan = Ended::of(command.output().unwrap()).good().json();
    assert_eq!(plan["source"]["revision"], world.git(&["rev-parse", "HEAD"]).trim());
    assert_eq!(plan["source"]["dirty"], false);
    assert!(!ran.exists());
}

/// A project with one pin.
fn pinned(url: &str) -> World {
    let world = World::empty();
    let escaped = url.replace('\\', "\\\\").replace('"', "\\\"");
    let config = format!(
        "[pin.it]\ngit = \"{escaped}\"\nref = \"main\"\n[box.only]\nargs = {{ IT = \"{{pin.it}}\" }}\n"
    );
    world.configure("127.0.0.1:1", &config);
    world.write("Dockerfile", &format!("FROM {}\nARG IT\n", busybox()));
    world.commit();
    world
}

#[test]
fn a_pin_sends_git_to_https_and_ssh_and_nowhere_else() {
    let elsewhere = tempfile::tempdir().unwrap();
    let source = elsewhere.path().join("source");
    tell("git", &["init", "-q", "-b", "main", source.to_str().unwrap()]);
    let who = ["-c", "user.name=a", "-c", "user.email=a@b", "-C", source.to_str().unwrap()];
    tell("git", &[&who[..], &["commit", "-q", "--allow-empty", "-m", "x"]].concat());
    let head = tell("git", &["-C", source.to_str().unwrap(), "rev-parse", "HEAD"]);
    let ran = elsewhere.path().join("ran");
    let touch = format!("touch {}", ran.display());
    let as_file = format!("file://{}", source.display());
    for url in [
        source.to_str().unwrap(),
        &as_file,
        "http://127.0.0.1:1/x.git",
        "git://127.0.0.1/x.git",
        "../source",
        &format!("ext::sh -c {}", touch.replace(' ', "% ")),
        &format!("ssh://-oProxyCommand={}/x", touch.replace(' ', "%20")),
        &format!("a@-oProxyCommand={touch}:x"),
        "fd::7",
        "FILE:///tmp",
    ] {
        let world = pinned(url);
        let spy = spy(&world);
        let mut command = world.command(&["lock"]);
        command
            .env("PATH", &spy)
            .env("GIT_ALLOW_PROTOCOL", "ext:file:http")
            .env("GIT_PROTOCOL_FROM_USER", "1");
        Ended::of(command.output().unwrap()).fails(21, &["pin it cannot be resolved", "it is refused"]);
        assert!(!ran.exists(), "{url}");
        assert!(!fs::read_to_string(world.beside("seen")).unwrap_or_default().contains("ls-remote"), "{url}");
    }
    for url in [source.to_str().unwrap(), &as_file] {
        let world = pinned(url);
        // What the repository says about it counts for nothing.
        world.write("hosts.toml", "[git]\nallow = [\"/\", \"file:///\"]\n");
        world.boxwright(&["lock"]).fails(21, &["`[git] allow"]);
        world.declare(&format!("[git]\nallow = [\"{}\"]\n", url.trim_end_matches("source")));
        world.boxwright(&["lock"]).good();
        let lock = fs::read_to_string(world.root.join("boxwright.lock")).unwrap();
        assert!(lock.contains(head.trim()), "{lock}");
    }
    pinned("--upload-pack=touch").boxwright(&["lock"]).fails(2, &["begin with `-`"]);
}

/// A PATH whose git writes down how it was called.
fn spy(world: &World) -> String {
    let bin = world.beside("bin");
    fs::create_dir_all(&bin).unwrap();
    let git = tell("sh", &["-c", "command -v git"]);
    let text = format!(
        "#!/bin/sh\necho \"$PWD: git $*\" >> {0}\nenv | grep ^GIT_ >> {0}\nexec {1} \"$@\"\n",
        world.beside("seen").display(),
        git.trim()
    );
    fs::write(bin.join("git"), text).unwrap();
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_remote_is_asked_outside_any_work_tree() {
    pinned("https://127.0.0.1:1/x.git").boxwright(&["lock"]).fails(21, &["private network", "hosts.toml"]);
    pinned("git@localhost:x.git").boxwright(&["lock"]).fails(21, &["private network", "hosts.toml"]);
    let world = pinned("https://127.0.0.1:1/x.git");
    world.declare("[host.\"127.0.0.1:1\"]\n");
    world.git(&["config", "url.file:///.insteadOf", "https://127.0.0.1:1/"]);
    let mut command = world.command(&["lock"]);
    command
        .env("PATH", spy(&world))
        .env("GIT_SSH_COMMAND", "ssh -i key")
        .env("GIT_DIR", world.root.join(".git"));
    Ended::of(command.output().unwrap()).fails(20, &["https://127.0.0.1:1/x.git"]);
    let seen = fs::read_to_string(world.beside("seen")).unwrap();
    let asked = seen.lines().skip_while(|line| !line.contains("ls-remote"));
    let asked: Vec<&str> = asked.collect();
    assert!(asked[0].starts_with("/: git ") && asked[0].contains("safe.bareRepository=explicit"), "{seen}");
    for variable in ["GIT_ALLOW_PROTOCOL=https:ssh", "GIT_TERMINAL_PROMPT=0", "GIT_SSH_COMMAND=ssh -i key"] {
        assert!(asked.contains(&variable), "{variable}: {seen}");
    }
    let own = world.root.display().to_string();
    assert!(!asked.iter().any(|line| line.contains(&own)), "{seen}");
}

#[test]
fn no_configuration_makes_a_secret_of_what_belongs_to_the_user() {
    for name in [
        "HOME",
        "PATH",
        "XDG_CONFIG_HOME",
        "GIT_ASKPASS",
        "LD_PRELOAD",
        "SSH_AUTH_SOCK",
        "DOCKER_AUTH_CONFIG",
        "AWS_SECRET_ACCESS_KEY",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "ACTIONS_RUNTIME_TOKEN",
        "BOXWRIGHT_REGISTRY_PASSWORD",
        "BOXWRIGHT_SIGNING_KEY",
    ] {
        for secrets in [format!("{{ a = {{ env = \"{name}\" }} }}"), format!("[\"{name}\"]")] {
            let world = World::single("127.0.0.1:1", "RUN --mount=type=secret,id=a true");
            world.configure("127.0.0.1:1", &format!("[box.only]\nsecrets = {secrets}\n"));
            world.boxwright(&["keys"]).fails(2, &[name, "boxwright.toml:3:"]);
        }
    }
}

/// The chain, built, with an older and a newer commit; the newer one is promoted to main.
fn promoted(registry: &Registry) -> (World, Vec<String>) {
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    world.write("ci/test/one.txt", "newer\n");
    world.commit();
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    let digests = BOXES.iter().map(|name| registry.digest(name, "main").unwrap()).collect();
    world.git(&["checkout", "-q", "HEAD~1"]);
    world.without_engine(&["promote", "main", "--yes"]).fails(21, &["which is newer than"]);
    (world, digests)
}

/// Commands in a project whose git tells nothing: all say so once, and none promotes.
fn is_refused(
    world: &World,
    registry: &Registry,
    digests: &[String],
    call: &dyn Fn(&[&str]) -> Ended,
    why: &[&str],
) {
    world.write("ci/test/two.sh", "echo two\n");
    for (arguments, text) in [
        (&["promote", "main", "--yes"][..], "which one this is, is unknown"),
        (&["promote", "r1.0", "--yes"], "whether the boxes' inputs are as committed is unknown"),
    ] {
        let ended = call(arguments).fails(21, &[text]).says(why);
        assert_eq!(ended.err.matches("the revision is unknown").count(), 1, "{}", ended.err);
    }
    let plan = call(&["plan", "--format", "json"]).good().says(why).says(&["note: the revision is unknown"]);
    let source: Value = plan.json()["source"].clone();
    assert!(source["revision"].is_null() && source["dirty"].is_null(), "{source}");
    assert!(source["unknown"].as_str().unwrap().contains(why[0]), "{source}");
    let doctor = call(&["doctor", "--format", "json"]);
    let checks = doctor.json()["checks"].clone();
    let row = checks.as_array().unwrap().iter().find(|row| row["check"] == "git").unwrap().clone();
    assert_eq!(row["state"], "warning", "{row}");
    let row = row.to_string();
    assert!(why.iter().all(|part| row.contains(part)), "{row}");
    for (name, digest) in BOXES.iter().zip(digests) {
        assert_eq!(registry.digest(name, "main").as_ref(), Some(digest));
        assert_eq!(registry.digest(name, "r1.0"), None);
    }
}

fn chown(to: &str, path: &Path) {
    tell("chown", &["-R", "-h", to, path.to_str().unwrap()]);
}

#[test]
fn a_checkout_of_another_user_is_of_an_unknown_revision() {
    assert_eq!(tell("id", &["-u"]).trim(), "0", "to give files away one has to be root");
    let registry = Registry::start(&[]);
    let (world, digests) = promoted(&registry);
    chown("65534", &world.root);
    let refused = attempt("git", &["-C", world.root.to_str().unwrap(), "status"]);
    assert!(!refused.status.success(), "git takes it");
    let call = |arguments: &[&str]| world.without_engine(arguments);
    let top = world.root.display().to_string();
    is_refused(&world, &registry, &digests, &call, &["belongs to user 65534", "safe.directory", &top]);
    for arguments in [&["keys"][..], &["explain", "test"]] {
        call(arguments).good().says(&["the revision is unknown", "safe.directory"]);
    }
    // Nobody's word counts but the user's own: not the repository's, and not for another place.
    let config = world.root.join(".git/config");
    tell("git", &["config", "--file", config.to_str().unwrap(), "safe.directory", "*"]);
    let own = world.beside("home/.gitconfig");
    let set = |value: &str| fs::write(&own, format!("[safe]\n\tdirectory = {value}\n")).unwrap();
    set("/elsewhere");
    call(&["promote", "main", "--yes"]).fails(21, &["unknown"]);
    for value in [&top[..], "*", &format!("{}/*", world.root.parent().unwrap().display())] {
        set(value);
        call(&["promote", "main", "--yes"]).fails(21, &["which is newer than"]);
    }
    world.write("ci/test/two.sh", "echo other\n");
    call(&["promote", "r1.0", "--yes"]).fails(10, &["boxwright build"]);
    fs::remove_file(own).unwrap();
    // The work tree alone, the repository alone, and who called sudo.
    chown("0", &world.root);
    chown("65534", &world.root.join(".git"));
    call(&["plan"]).good().says(&["belongs to user 65534"]);
    let mut command = world.command(&["plan"]);
    let sudo =
        Ended::of(command.env("DOCKER_HOST", NO_ENGINE).env("SUDO_UID", "65534").output().unwrap()).good();
    assert!(!sudo.err.contains("unknown"), "{}", sudo.err);
}

#[test]
fn where_there_is_no_git_the_revision_is_unknown() {
    let registry = Registry::start(&[]);
    let (world, digests) = promoted(&registry);
    let call = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        Ended::of(command.env("DOCKER_HOST", NO_ENGINE).env("PATH", "/nonexistent").output().unwrap())
    };
    is_refused(&world, &registry, &digests, &call, &["there is no git program", "install git"]);
    call(&["keys"]).good().says(&["there is no git program"]);
    // What CI variables say does not make up for it.
    let mut command = world.command(&["promote", "main", "--yes"]);
    command.env("PATH", "/nonexistent").env("GITLAB_CI", "true").env("CI_PIPELINE_SOURCE", "push");
    command.env("CI_COMMIT_SHA", "a".repeat(40)).env("CI_COMMIT_TIMESTAMP", "2030-01-01T00:00:00Z");
    Ended::of(command.output().unwrap()).fails(21, &["unknown"]);
    // Nothing is asked of a checkout by what needs none, and a person may say that order is no matter.
    call(&["promote", "r2.0", "--from", "main", "--yes"]).good();
    call(&["promote", "main", "--allow-older", "--yes"]).good();
    call(&["log", "main", "--format", "json"]).good();
}

#[test]
fn a_broken_repository_is_of_an_unknown_revision() {
    let registry = Registry::start(&[]);
    let (world, digests) = promoted(&registry);
    let git = world.root.join(".git");
    let kept = world.beside("kept");
    tell("cp", &["-a", git.to_str().unwrap(), kept.to_str().unwrap()]);
    let call = |arguments: &[&str]| world.without_engine(arguments);
    let fifo = |path: &Path| drop(tell("mkfifo", &[path.to_str().unwrap()]));
    type Breaks<'a> = (&'a dyn Fn(), &'a str);
    let breaks: [Breaks<'_>; 9] = [
        (&|| fs::write(git.join("HEAD"), "").unwrap(), "names neither a branch nor a commit"),
        (&|| fs::write(git.join("HEAD"), "0123").unwrap(), "names neither a branch nor a commit"),
        (&|| fs::remove_file(git.join("HEAD")).unwrap(), "HEAD"),
        (
            &|| {
                let bytes = fs::read(git.join("index")).unwrap();
                fs::write(git.join("index"), &bytes[..bytes.len() / 2]).unwrap();
            },
            "is not whole",
        ),
        (&|| fs::remove_dir_all(git.join("objects")).unwrap(), "is no git directory"),
        (
            &|| {
                fs::remove_dir_all(git.join("objects")).unwrap();
                fs::create_dir(git.join("objects")).unwrap();
            },
            "git cannot read",
        ),
        (
            &|| {
                fs::remove_file(git.join("index")).unwrap();
                fifo(&git.join("index"));
            },
            "is no file of a repository",
        ),
        (
            &|| {
                fs::remove_file(git.join("HEAD")).unwrap();
                fifo(&git.join("HEAD"));
            },
            "cannot be read",
        ),
        (
            &|| {
                fs::rename(&git, world.root.join("planted")).unwrap();
                fs::write(&git, "gitdir: planted\n").unwrap();
            },
            "leads into the work tree",
        ),
    ];
    for (break_it, why) in breaks {
        break_it();
        is_refused(&world, &registry, &digests, &call, &[why, "git status"]);
        for left in [".git", "planted"] {
            tell("rm", &["-rf", world.root.join(left).to_str().unwrap()]);
        }
        tell("cp", &["-a", kept.to_str().unwrap(), git.to_str().unwrap()]);
    }
    call(&["promote", "main", "--yes"]).fails(21, &["which is newer than"]);
}

#[test]
fn nothing_of_this_machine_is_quoted_by_a_git_that_cannot_read_it() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    let secret = world.beside("secret");
    fs::write(&secret, "root:canary-of-this-machine:1:0:99999:7:::\n").unwrap();
    let git = world.root.join(".git");
    let kept = world.beside("kept");
    tell("cp", &["-a", git.to_str().unwrap(), kept.to_str().unwrap()]);
    for name in [
        "HEAD",
        "config",
        "packed-refs",
        "shallow",
        "index",
        "info/exclude",
        "refs/heads/main",
        "objects/info/alternates",
        "commondir",
        "FETCH_HEAD",
    ] {
        let path = git.join(name);
        let _ = fs::remove_file(&path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        for arguments in
            [&["plan"][..], &["promote", "r1.0", "--dry-run"], &["doctor"], &["build", "--at", "nowhere"]]
        {
            let ended = world.without_engine(arguments);
            assert!(!(ended.err + &ended.out).contains("canary"), "{name} {arguments:?}");
        }
        tell("rm", &["-rf", git.to_str().unwrap()]);
        tell("cp", &["-a", kept.to_str().unwrap(), git.to_str().unwrap()]);
    }
}

#[test]
fn without_a_repository_a_ci_names_the_commit_and_nobody_knows_what_was_done_to_it() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    fs::remove_dir_all(world.root.join(".git")).unwrap();
    let call = |arguments: &[&str], time: &str| {
        let mut command = world.command(arguments);
        command.env("DOCKER_HOST", NO_ENGINE).env("GITLAB_CI", "true").env("CI_PIPELINE_SOURCE", "push");
        command.env("CI_COMMIT_SHA", "a".repeat(40)).env("CI_COMMIT_TIMESTAMP", time);
        Ended::of(command.output().unwrap())
    };
    call(&["promote", "main", "--yes"], "2026-01-02T00:00:00Z").good();
    call(&["promote", "main", "--yes"], "2026-01-01T00:00:00Z").good().says(&["is up to date"]);
    call(&["promote", "r1.0", "--yes"], "2026-01-02T00:00:00Z").fails(21, &["no git repository here"]);
    // On a machine without a CI there is no commit that they could differ from.
    world.without_engine(&["promote", "r1.0", "--yes"]).good();
}

#[test]
fn a_pull_request_cannot_have_a_file_of_the_runner_as_a_secret() {
    let registry = Registry::start(&[]);
    let world = World::single(&registry.host, "RUN --mount=type=secret,id=a cat /run/secrets/a");
    fs::create_dir_all(world.beside("home/.docker")).unwrap();
    fs::write(world.beside("home/.docker/config.json"), "{\"canary\":{}}").unwrap();
    world.write("inside", "mine\n");
    world.write(".dockerignore", "*\n!Dockerfile\n");
    std::os::unix::fs::symlink(world.beside("home/.docker/config.json"), world.root.join("link")).unwrap();
    let with = |file: &str| {
        let secrets = format!("[box.only]\nsecrets = {{ a = {{ file = \"{file}\" }} }}\n");
        world.configure(&registry.host, &secrets);
    };
    for file in [
        "~/.docker/config.json",
        "/proc/self/environ",
        "/proc/1/environ",
        "link",
        "../home/.docker/config.json",
    ] {
        with(file);
        world.boxwright(&["build"]).fails(2, &["outside the repository", "[secrets]"]);
    }
    with("inside");
    world.boxwright(&["build"]).good();
    with("~/.docker/config.json");
    world.declare("[secrets]\nfiles = [\"~/.docker\"]\n");
    world.boxwright(&["build", "--no-cache"]).good();
}

/// A project whose revision `topic` has another Dockerfile, and a secret that it could take.
fn topical(registry: &Registry, config: &str, steps: &str) -> World {
    let world = World::single(&registry.host, "RUN false");
    world.configure(&registry.host, &format!("[box.only]\n{config}"));
    world.commit();
    world.git(&["checkout", "-q", "-b", "topic"]);
    world.write("Dockerfile", &format!("FROM {}\n{steps}", busybox()));
    world.write("other", "x");
    world.commit();
    world.git(&["checkout", "-q", "main"]);
    world
}

#[test]
fn a_strangers_revision_is_lent_nothing_unless_somebody_says_so() {
    let registry = Registry::start(&[]);
    let world = topical(
        &registry,
        "secrets = { tok = { env = \"TOK\" } }\n",
        "RUN --mount=type=secret,id=tok,required=true cat /run/secrets/tok > /tok\nRUN true\n",
    );
    let call =
        |arguments: &[&str]| Ended::of(world.command(arguments).env("TOK", "canary").output().unwrap());
    call(&["build", "--at", "topic"]).fails(21, &["secret tok", "--at lends none", "--lend-secrets"]);
    assert!(registry.tags("only").is_empty());
    let lent = call(&["build", "--at", "topic", "--lend-secrets"]).good();
    let shown = lent.says(&[
        "topic is lent secrets",
        "  Dockerfile  +2 -1",
        "  boxwright.toml  as it is here",
        "and 1 other file differing",
    ]);
    let (said, built) =
        (shown.err.find("is lent secrets").unwrap(), shown.err.find("only building").unwrap());
    assert!(said < built, "{}", shown.err);
    assert_eq!(registry.tags("only").len(), 1);
    call(&["build", "--lend-secrets"]).exits(2);
    // Nothing of it is left, in the clone or beside it.
    assert_eq!(world.git(&["worktree", "list"]).lines().count(), 1);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_strangers_revision_is_lent_no_network_of_the_host() {
    let registry = Registry::start(&[]);
    let world = topical(&registry, "network = \"host\"\n", "RUN true\n");
    world
        .boxwright(&["build", "--at", "topic"])
        .fails(21, &["box only", "the host's network", "--at lends none", "--lend-secrets"]);
    assert!(registry.tags("only").is_empty());
}

#[test]
fn a_build_for_this_machine_that_must_push_is_refused_at_once() {
    let world = World::single("127.0.0.1:1", "RUN true");
    let text = "--push always cannot be used with --local";
    world.without_engine(&["build", "--local", "--push", "always"]).fails(2, &[text]);
    let mut command = world.command(&["build", "--local"]);
    Ended::of(command.env("BOXWRIGHT_PUSH", "always").output().unwrap()).fails(2, &[text]);
}
