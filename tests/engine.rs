//! The Docker Engine adapter against a real engine and a real registry, both from
//! `scripts/`. A missing engine is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boxwright::adapter::context::DiskContext;
use boxwright::adapter::engine::{AuthSource, DockerEngine, Login};
use boxwright::model::{Digest, Entry, RelPath, Repository};
use boxwright::port::{
    BuildEvent, BuildRequest, Context, ContextError, ContextFilter, Engine, EngineError, ImageId, RunImage,
    RunOutput, RunRequest, Scan, StepState, Visit,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

struct All;

impl ContextFilter for All {
    fn directory(&self, _: &RelPath) -> Visit {
        Visit::Take
    }

    fn leaf(&self, _: &RelPath, _: bool) -> Visit {
        Visit::Take
    }
}

fn anonymous() -> AuthSource {
    Arc::new(|_| Box::pin(async { Ok(None) }))
}

fn engine() -> DockerEngine {
    engine_with(anonymous())
}

fn engine_with(auth: AuthSource) -> DockerEngine {
    let host = std::env::var("DOCKER_HOST").ok();
    DockerEngine::connect(host.as_deref(), auth)
}

fn entries(root: &Path) -> Vec<Entry> {
    match DiskContext::default().scan(root, &All).unwrap() {
        Scan::Entries(entries) => entries,
        Scan::Widen(path) => panic!("{path}"),
    }
}

fn request(root: &Path, dockerfile: &str) -> BuildRequest {
    BuildRequest::plain(dockerfile.as_bytes(), root.to_owned(), entries(root), "linux/amd64".parse().unwrap())
}

async fn build(request: &BuildRequest) -> (Result<ImageId, EngineError>, Vec<BuildEvent>) {
    let events = Mutex::new(Vec::new());
    let result = engine().build(request, &|event| events.lock().unwrap().push(event)).await;
    (result, events.into_inner().unwrap())
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Another text each time, so that no step is in the engine's cache.
fn unique() -> String {
    let dir = TempDir::new().unwrap();
    dir.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned()
}

struct Registry {
    dir: TempDir,
    address: String,
}

impl Registry {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(options: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let output = Command::new(script()).arg("start").arg(dir.path()).args(options).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let address = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self { dir, address }
    }
}

impl Registry {
    fn stop(&self) {
        let _ = Command::new(script()).arg("stop").arg(self.dir.path()).status();
    }
}

impl Drop for Registry {
    /// Takes the images that were pushed out of the engine, too.
    fn drop(&mut self) {
        self.stop();
        for depth in ["*", "*/*"] {
            let filter = format!("reference={}/{depth}", self.address);
            let format = "{{.Repository}}:{{.Tag}}\n{{.Repository}}@{{.Digest}}";
            let list = ["image", "ls", "--digests", "--filter", &filter, "--format", format];
            let output = Command::new("docker").args(list).output().unwrap();
            for name in String::from_utf8_lossy(&output.stdout).lines() {
                let _ = Command::new("docker").args(["rmi", name]).output();
            }
        }
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/registry")
}

#[tokio::test]
async fn check_tells_the_version() {
    let version = engine().check().await.unwrap();
    assert_eq!(version, docker(&["version", "--format", "{{.Server.Version}}"]));
}

/// What the steps of a build printed.
fn printed(events: &[BuildEvent]) -> String {
    let log = |event: &BuildEvent| match event {
        BuildEvent::Log { bytes, .. } => Some(bytes.to_vec()),
        BuildEvent::Step { .. } => None,
    };
    String::from_utf8_lossy(&events.iter().filter_map(log).flatten().collect::<Vec<_>>()).into_owned()
}

/// The states of the step whose name holds `part`, in the order told.
fn states(events: &[BuildEvent], part: &str) -> Vec<StepState> {
    let step = |event: &BuildEvent| match event {
        BuildEvent::Step { name, state, .. } if name.contains(part) => Some(state.clone()),
        _ => None,
    };
    events.iter().filter_map(step).collect()
}

/// Waits for something to come true; false after ten seconds.
async fn soon(what: impl Fn() -> bool) -> bool {
    for _ in 0..500 {
        if what() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// Tells whether a process with this word among its arguments runs.
fn runs(word: &str) -> bool {
    let holds = |dir: fs::DirEntry| {
        fs::read(dir.path().join("cmdline"))
            .is_ok_and(|line| line.windows(word.len()).any(|part| part == word.as_bytes()))
    };
    fs::read_dir("/proc").unwrap().flatten().any(holds)
}

#[tokio::test]
async fn an_absent_engine_is_unreachable() {
    let dir = TempDir::new().unwrap();
    let absent = format!("unix://{}", dir.path().join("absent").display());
    let cases = [
        (absent.as_str(), "not found"),
        ("ssh://host", "expected unix://"),
        ("tcp://127.0.0.1:1", "onnection refused"),
        ("unix:///dev/null", "onnection refused"),
    ];
    for (host, why) in cases {
        match DockerEngine::connect(Some(host), anonymous()).check().await {
            Err(EngineError::Unreachable { address, detail }) => {
                assert_eq!(address, host);
                assert!(detail.contains(why), "{detail}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn builds_with_arguments_labels_and_logs_and_from_the_cache() {
    let root = TempDir::new().unwrap();
    let text = unique();
    fs::create_dir(root.path().join("sub")).unwrap();
    fs::write(root.path().join("sub/file"), &text).unwrap();
    let dockerfile = "FROM boxwright-busybox:1 AS wanted\nARG WHO\nCOPY sub /in/sub\n\
        RUN cat /in/sub/file && echo \"for $WHO\" && cat /etc/hosts && df -k /dev/shm\n\
        FROM wanted\nRUN exit 1\n";
    let mut request = request(root.path(), dockerfile);
    request.target = Some("wanted".to_owned());
    request.labels.insert("key".to_owned(), "a b&c=\"d\"".to_owned());
    request.args.insert("WHO".to_owned(), "you & me".to_owned());
    request.extra_hosts = vec!["one:10.0.0.1".to_owned(), "two:10.0.0.2".to_owned()];
    let (image, events) = build(&request).await;
    let id = image.unwrap().0.to_string();
    let label = docker(&["image", "inspect", &id, "--format", "{{index .Config.Labels \"key\"}}"]);
    assert_eq!(label, "a b&c=\"d\"");
    assert_eq!(docker(&["image", "inspect", &id, "--format", "{{.RepoTags}}"]), "[]");
    let log = printed(&events);
    for part in [&text, "for you & me", "10.0.0.1\tone", "10.0.0.2\ttwo"] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
    assert_eq!(states(&events, "RUN"), [StepState::Started, StepState::Done]);

    let (again, events) = build(&request).await;
    assert_eq!(again.unwrap().0.to_string(), id);
    assert_eq!(states(&events, "RUN"), [StepState::Cached]);
    request.no_cache = true;
    let (_, events) = build(&request).await;
    assert_eq!(states(&events, "RUN"), [StepState::Started, StepState::Done]);
}

#[tokio::test]
async fn a_failed_step_is_named() {
    let root = TempDir::new().unwrap();
    let dockerfile = format!("FROM boxwright-busybox:1\nRUN echo {}; exit 3\n", unique());
    let (image, events) = build(&request(root.path(), &dockerfile)).await;
    match image {
        Err(EngineError::BuildFailed { step, detail }) => {
            assert!(step.contains("RUN echo"), "{step}");
            assert!(detail.contains("exit code: 3"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    assert!(
        matches!(&states(&events, "RUN")[..], [StepState::Started, StepState::Failed { .. }]),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_bad_dockerfile_and_a_missing_file_fail_the_build() {
    let root = TempDir::new().unwrap();
    for (dockerfile, expect) in [
        ("FROM boxwright-busybox:1\nBAKE it\n", "unknown instruction: BAKE"),
        ("FROM boxwright-busybox:1\nCOPY absent /\n", "absent"),
    ] {
        match build(&request(root.path(), dockerfile)).await.0 {
            Err(EngineError::BuildFailed { detail, .. }) => assert!(detail.contains(expect), "{detail}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_that_changed_since_it_was_hashed_fails_the_build_by_name() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("file");
    let text = unique();
    fs::write(&file, &text).unwrap();
    let request = request(root.path(), "FROM boxwright-busybox:1\nCOPY file /\n");
    fs::write(&file, text.to_uppercase() + "!").unwrap();
    match build(&request).await.0 {
        Err(EngineError::Context(ContextError::Changed { path })) => assert_eq!(path, file),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn copying_everything_copies_exactly_the_entries() {
    let root = TempDir::new().unwrap();
    let at = |path: &str| root.path().join(path);
    fs::create_dir_all(at("a/b")).unwrap();
    fs::create_dir_all(at("a-b/empty")).unwrap();
    fs::create_dir_all(at(".boxwright/state")).unwrap();
    fs::write(at("a/b/none"), "").unwrap();
    fs::write(at("a/b/large"), vec![b'x'; 300 << 10]).unwrap();
    fs::write(at("a/run"), unique()).unwrap();
    fs::set_permissions(at("a/run"), PermissionsExt::from_mode(0o700)).unwrap();
    fs::write(at(".dockerignore"), "*\n").unwrap();
    fs::write(root.path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
    symlink("/etc/passwd", at("link")).unwrap();
    let dockerfile = "FROM boxwright-busybox:1\nCOPY . /in\nRUN cd /in && find . | sort | \
        xargs stat -c '%n %F %a %u:%g %s %N' && sha256sum a/b/large\n";
    let (image, events) = build(&request(root.path(), dockerfile)).await;
    image.unwrap();
    let large = Digest::of(&vec![b'x'; 300 << 10]);
    let expect = format!(
        "./.dockerignore regular file 644 0:0 2 ./.dockerignore\n\
        ./a directory 755 0:0 4096 ./a\n\
        ./a-b directory 755 0:0 4096 ./a-b\n\
        ./a-b/empty directory 755 0:0 4096 ./a-b/empty\n\
        ./a/b directory 755 0:0 4096 ./a/b\n\
        ./a/b/large regular file 644 0:0 307200 ./a/b/large\n\
        ./a/b/none regular empty file 644 0:0 0 ./a/b/none\n\
        ./a/run regular file 755 0:0 9 ./a/run\n\
        ./link symbolic link 777 0:0 11 './link' -> '/etc/passwd'\n\
        ./\u{fffd} regular empty file 644 0:0 0 ./\u{fffd}\n\
        {}  a/b/large\n",
        large.hex()
    );
    let (_, found) = printed(&events).split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(found, expect);
}

#[tokio::test]
async fn a_change_that_keeps_size_and_time_is_seen() {
    let root = TempDir::new().unwrap();
    let text = unique();
    for (content, say) in [("one", "red"), ("two", "red"), ("two", "tan"), ("one", "tan")] {
        fs::write(root.path().join("file"), format!("{text} {content}")).unwrap();
        let dockerfile = format!("FROM boxwright-busybox:1\nCOPY file /\nRUN cat /file; echo {say}\n");
        let mut request = request(root.path(), &dockerfile);
        request.no_cache = true;
        let (image, events) = build(&request).await;
        image.unwrap();
        assert_eq!(printed(&events), format!("{text} {content}{say}\n"));
    }
}

#[tokio::test]
async fn a_context_that_the_engine_holds_is_not_sent_again() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("file");
    let text = unique();
    fs::write(&file, &text).unwrap();
    let mut request = request(root.path(), "FROM boxwright-busybox:1\nCOPY file /\nRUN cat /file\n");
    build(&request).await.0.unwrap();
    fs::remove_file(&file).unwrap();
    request.no_cache = true;
    let (image, events) = build(&request).await;
    image.unwrap();
    assert_eq!(printed(&events), text);
}

#[tokio::test]
async fn a_base_is_pulled_with_the_login_of_its_registry() {
    let registry = Registry::start_with(&["--auth", "user:secret"]);
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("file"), unique()).unwrap();
    let auth: AuthSource = Arc::new(|_| {
        let login = Login::Password { username: "user".to_owned(), password: "secret".to_owned() };
        Box::pin(async { Ok(Some(login)) })
    });
    let (image, _) = build(&request(root.path(), "FROM boxwright-busybox:1\nCOPY file /\n")).await;
    let repository: Repository = format!("{}/base", registry.address).parse().unwrap();
    let image = image.unwrap();
    let push = engine_with(Arc::clone(&auth));
    let digest = push.push(&image, &repository, &"t".parse().unwrap(), &|_| {}).await.unwrap();
    docker(&["rmi", &format!("{repository}:t")]);
    let on = request(root.path(), &format!("FROM {repository}@{digest}\nLABEL on=it\n"));
    let refused = engine().build(&on, &|_| {}).await;
    assert!(matches!(refused, Err(EngineError::BuildFailed { .. })), "{refused:?}");
    engine_with(auth).build(&on, &|_| {}).await.unwrap();
}

#[tokio::test]
async fn nothing_stays_open_after_a_build() {
    let engine = engine();
    let root = TempDir::new().unwrap();
    let good = request(root.path(), "FROM boxwright-busybox:1\nLABEL a=b\n");
    let bad = request(root.path(), "FROM boxwright-busybox:1\nRUN exit 1\n");
    let sockets = || {
        let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let target = |file: fs::DirEntry| fs::read_link(file.path()).unwrap_or_default();
        open.map(target).filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    };
    // Other tests of this process open sockets too, but none of them ten.
    let before = sockets();
    for _ in 0..10 {
        engine.build(&good, &|_| {}).await.unwrap();
        engine.build(&bad, &|_| {}).await.unwrap_err();
    }
    assert!(soon(|| sockets() < before + 10).await, "{before} sockets became {}", sockets());
}

#[tokio::test]
async fn dropping_a_build_ends_its_processes() {
    let root = TempDir::new().unwrap();
    let word = unique();
    let request = request(root.path(), &format!("FROM boxwright-busybox:1\nRUN sleep 60; : {word}\n"));
    let task = tokio::spawn(async move { build(&request).await });
    assert!(soon(|| runs(&word)).await, "the step did not begin");
    task.abort();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!runs(&word), "the step still runs");
}

/// Builds an image of its own and pushes it.
async fn pushed(registry: &Registry) -> (Repository, Digest) {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("file"), unique()).unwrap();
    let (image, _) = build(&request(root.path(), "FROM boxwright-busybox:1\nCOPY file /\n")).await;
    let repository = format!("{}/some/box", registry.address).parse().unwrap();
    let events = Mutex::new(Vec::new());
    let tell = |event| events.lock().unwrap().push(event);
    let digest = engine().push(&image.unwrap(), &repository, &"k-1".parse().unwrap(), &tell).await.unwrap();
    assert!(events.lock().unwrap().iter().any(|event| event.sent > 0 && event.layer.len() == 12));
    (repository, digest)
}

#[tokio::test]
async fn a_push_returns_the_digest_that_the_registry_serves() {
    let registry = Registry::start();
    let (_, digest) = pushed(&registry).await;
    let url = format!("http://{}/v2/some/box/manifests/k-1", registry.address);
    let accept = "Accept: application/vnd.docker.distribution.manifest.v2+json";
    let output = Command::new("curl").args(["-sSf", "--noproxy", "*", "-H", accept, &url]).output().unwrap();
    assert_eq!(Digest::of(&output.stdout), digest);
}

#[tokio::test]
async fn what_was_pushed_is_built_on_without_the_registry() {
    let registry = Registry::start();
    let (repository, digest) = pushed(&registry).await;
    registry.stop();
    let root = TempDir::new().unwrap();
    let dockerfile = format!(
        "FROM {repository}@{digest} AS a\nFROM scratch\nCOPY --from=a /file /\n\
        COPY --from={repository}@{digest} /file /again\n"
    );
    build(&request(root.path(), &dockerfile)).await.0.unwrap();
}

#[tokio::test]
async fn a_refused_push_tells_why() {
    let registry = Registry::start_with(&["--readonly"]);
    let root = TempDir::new().unwrap();
    let (image, _) = build(&request(root.path(), "FROM boxwright-busybox:1\nLABEL a=b\n")).await;
    let repository = format!("{}/box", registry.address).parse().unwrap();
    match engine().push(&image.unwrap(), &repository, &"t".parse().unwrap(), &|_| {}).await {
        Err(EngineError::Transfer { action: "push", reference, detail }) => {
            assert_eq!(reference, format!("{repository}:t"));
            // Engine 20.10 names the status, later ones its meaning.
            assert!(detail.contains("405") || detail.contains("Method not allowed"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn logs_in_with_a_password_that_base64_writes_with_plus_and_slash() {
    let registry = Registry::start_with(&["--auth", "user:~~~???>>>"]);
    let root = TempDir::new().unwrap();
    let (image, _) = build(&request(root.path(), "FROM boxwright-busybox:1\nLABEL a=b\n")).await;
    let image = image.unwrap();
    let repository: Repository = format!("{}/box", registry.address).parse().unwrap();
    let tag = "t".parse().unwrap();
    for (password, good) in [("~~~???>>>", true), ("wrong", false)] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let auth: AuthSource = Arc::new(move |host| {
            log.lock().unwrap().push(host.to_owned());
            let login = Login::Password { username: "user".to_owned(), password: password.to_owned() };
            Box::pin(async { Ok(Some(login)) })
        });
        let result = engine_with(auth).push(&image, &repository, &tag, &|_| {}).await;
        assert_eq!(result.is_ok(), good, "{result:?}");
        assert_eq!(asked.lock().unwrap().join(","), repository.to_string());
    }
}

fn run_request(repository: &Repository, digest: &Digest, source: &Path, script: &str) -> RunRequest {
    RunRequest {
        image: RunImage::Pushed { repository: repository.clone(), digest: digest.clone() },
        platform: "linux/amd64".parse().unwrap(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        source: source.to_owned(),
        mount: "/work".to_owned(),
        user: None,
        env: Vec::new(),
        tty: false,
        stdin: false,
        network: None,
        labels: BTreeMap::from([("test".to_owned(), unique())]),
    }
}

/// The containers that a run left behind.
fn left(request: &RunRequest) -> String {
    docker(&["ps", "-aq", "--filter", &format!("label=test={}", request.labels["test"])])
}

async fn run(request: &RunRequest) -> (Result<i64, EngineError>, String, String) {
    let streams = Mutex::new((Vec::new(), Vec::new()));
    let write = |output| {
        let mut streams = streams.lock().unwrap();
        match output {
            RunOutput::Stdout(bytes) => streams.0.extend(bytes),
            RunOutput::Stderr(bytes) => streams.1.extend(bytes),
        }
    };
    let code = engine().run(request, &write, &CancellationToken::new()).await;
    let (out, err) = streams.into_inner().unwrap();
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[tokio::test]
async fn runs_pull_then_pass_code_user_environment_directory_and_streams() {
    let registry = Registry::start();
    let (repository, digest) = pushed(&registry).await;
    docker(&["rmi", &format!("{repository}:k-1")]);
    let source = TempDir::new().unwrap();
    fs::set_permissions(source.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let script = "pwd; id -u; id -g; echo $NAME; cat /file; echo wrong >&2; echo made > made; exit 7";
    let mut request = run_request(&repository, &digest, source.path(), script);
    request.user = Some("1234:5678".to_owned());
    request.env = vec!["NAME=a=b c".to_owned()];
    let (code, out, err) = run(&request).await;
    assert_eq!(code.unwrap(), 7);
    assert!(out.starts_with("/work\n1234\n5678\na=b c\ntmp"), "{out}");
    assert_eq!(err, "wrong\n");
    let made = source.path().join("made");
    assert_eq!(fs::read_to_string(&made).unwrap(), "made\n");
    assert_eq!(fs::metadata(&made).unwrap().uid(), 1234);
    assert_eq!(left(&request), "");
}

#[tokio::test]
async fn a_terminal_joins_the_streams() {
    let registry = Registry::start();
    let (repository, digest) = pushed(&registry).await;
    let source = TempDir::new().unwrap();
    let mut request =
        run_request(&repository, &digest, source.path(), "tty; echo err >&2; printf end; exit 1");
    request.tty = true;
    let (code, out, err) = run(&request).await;
    assert_eq!((code.unwrap(), &out[..], &err[..]), (1, "/dev/pts/0\r\nerr\r\nend", ""));
}

#[tokio::test]
async fn a_run_reaps_orphans_and_keeps_all_output() {
    let registry = Registry::start();
    let (repository, digest) = pushed(&registry).await;
    let source = TempDir::new().unwrap();
    let script = "cat /proc/1/comm; yes 0123456789 | head -n 200000; (echo late >&2)";
    let (code, out, err) = run(&run_request(&repository, &digest, source.path(), script)).await;
    assert_eq!(code.unwrap(), 0);
    assert!(out.starts_with("docker-init\n"), "{}", &out[..40]);
    assert_eq!(out.len(), "docker-init\n".len() + 11 * 200_000);
    assert_eq!(err, "late\n");
}

#[tokio::test]
async fn a_run_that_cannot_start_is_the_engines_error() {
    let registry = Registry::start();
    let (repository, digest) = pushed(&registry).await;
    let source = TempDir::new().unwrap();
    let absent_source = run_request(&repository, &digest, &source.path().join("absent"), "true");
    match run(&absent_source).await.0 {
        Err(EngineError::Engine { detail, .. }) => assert!(detail.contains("absent"), "{detail}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(left(&absent_source), "");
    // The little init that starts commands says it as a shell does.
    let mut absent_command = run_request(&repository, &digest, source.path(), "");
    absent_command.command = vec!["/absent".to_owned()];
    let (code, _, err) = run(&absent_command).await;
    assert_eq!(code.unwrap(), 127, "{err}");
    assert!(err.contains("/absent"), "{err}");
    let absent_image = run_request(&repository, &Digest::of(b"absent"), source.path(), "true");
    match run(&absent_image).await.0 {
        Err(EngineError::Transfer { action: "pull", reference, .. }) => {
            assert_eq!(reference, format!("{repository}@{}", Digest::of(b"absent")));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn cancelling_or_dropping_a_run_removes_the_container() {
    let registry = Registry::start();
    let (repository, digest) = pushed(&registry).await;
    let source = TempDir::new().unwrap();
    for drops in [false, true] {
        let word = unique();
        let script = format!("trap '' TERM INT; : {word}; while :; do sleep 1; done");
        let request = run_request(&repository, &digest, source.path(), &script);
        let cancel = CancellationToken::new();
        let (asked, token) = (request.clone(), cancel.clone());
        let task = tokio::spawn(async move { engine().run(&asked, &|_| {}, &token).await });
        assert!(soon(|| runs(&word)).await, "the command did not begin");
        if drops {
            task.abort();
            assert!(soon(|| left(&request).is_empty()).await, "the container is still there");
        } else {
            cancel.cancel();
            assert!(matches!(task.await.unwrap(), Err(EngineError::Interrupted)));
        }
        assert_eq!(left(&request), "");
        assert!(!runs(&word));
    }
}
