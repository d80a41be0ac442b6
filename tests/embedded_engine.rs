//! The embedded registry with a real Docker engine; its absence is a failure, not a skip.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use boxwright::adapter::embedded::{EmbeddedServer, PortChoice};

/// Runs a program with `input` and returns what it prints.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn the_engine_pushes_and_pulls_and_the_image_is_readable_on_disk() {
    let home = tempfile::tempdir().unwrap();
    let server = EmbeddedServer::start(home.path(), PortChoice::Any, None).await.unwrap();
    let image = format!("{}/team/base:v1", server.addr());
    let disk = format!("oci:{}:team/base:v1", home.path().join("registry").display());
    let login = home.path().join("login");
    let shown = server.login_in(&login).unwrap();
    let login = login.to_str().unwrap().to_owned();
    let work = move || {
        let _shown = shown;
        let mut tar = tar::Builder::new(Vec::new());
        let content = format!("only in {image}");
        let mut entry = tar::Header::new_ustar();
        entry.set_size(content.len() as u64);
        entry.set_mode(0o644);
        tar.append_data(&mut entry, "hello", content.as_bytes()).unwrap();
        let id = run("docker", &["import", "-", &image], &tar.into_inner().unwrap());
        let pushed = run("docker", &["--config", &login, "push", &image], b"");
        run("docker", &["rmi", "--force", &id], b"");
        run("docker", &["--config", &login, "pull", &image], b"");
        let format = "{{.Id}} {{index .RepoDigests 0}}";
        let seen = run("docker", &["image", "inspect", "--format", format, &image], b"");
        run("docker", &["rmi", "--force", &id], b"");
        let (pulled, digest) = seen.split_once(' ').unwrap();
        assert_eq!(pulled, id);
        assert!(pushed.contains(digest.split_once('@').unwrap().1), "{pushed}\n{seen}");
        let inspected = run("skopeo", &["inspect", &disk], b"");
        assert!(inspected.contains("\"Os\": \"linux\""), "{inspected}");
    };
    tokio::task::spawn_blocking(work).await.unwrap();
    server.stop().await;
}
