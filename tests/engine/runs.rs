//! Commands in boxes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Mutex;

use boxwright::model::{Digest, Repository};
use boxwright::port::{EngineError, RunImage, RunOutput, RunRequest, Runtime as _};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{Registry, docker, engine, pushed, runs, soon, unique};

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
