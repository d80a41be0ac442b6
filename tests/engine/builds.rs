//! Builds: what reaches the engine, what it tells, and what is left of it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use boxwright::adapter::engine::{AuthSource, Login};
use boxwright::model::{Digest, Repository};
use boxwright::port::{Builder as _, ContextError, EngineError, ImageStore as _, StepState};
use tempfile::TempDir;

use crate::{Registry, build, docker, engine, engine_with, printed, request, runs, soon, states, unique};

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
    assert!(soon(|| !runs(&word)).await, "the step still runs");
}
