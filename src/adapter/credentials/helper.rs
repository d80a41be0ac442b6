//! Docker's credential helpers: programs `docker-credential-NAME` that are asked on stdin
//! (docs.docker.com, "Credential helper protocol").
//!
//! Rule S3: a name has a strict grammar, is looked for in absolute directories of `PATH` alone
//! and run without a shell; the host is one line; after a limit the helper is killed.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::credential::{Credential, Secret};
use crate::model::{Provider, printable};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    username: String,
    secret: String,
}

/// Asks the helper `name` about a registry; `None` if it knows none. It does not see the
/// variables that are `hidden`.
///
/// # Errors
/// What went wrong, with the helper's name; its output only where it cannot be a secret.
pub(super) async fn ask(
    name: &str,
    registry: &str,
    path: &OsStr,
    hidden: &[String],
    limit: Duration,
) -> Result<Option<Credential>, String> {
    let word = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    if name.is_empty() || !name.bytes().all(word) {
        return Err(format!("`{}` is not a helper's name", printable(name, 80)));
    }
    if registry.contains(['\n', '\r', '\0']) {
        return Err("a registry's name has one line".to_owned());
    }
    let name = format!("docker-credential-{name}");
    let Some(program) = find(&name, path) else { return Err(format!("{name} is not in PATH")) };
    match timeout(limit, run(program, registry, hidden)).await {
        Ok(answer) => answer.map_err(|why| format!("{name} {why}")),
        Err(_) => Err(format!("{name} gave no answer within {limit:?}")),
    }
}

/// Tells whether a helper may be asked about a registry. Those that make credentials of a cloud's
/// keys look for the cloud's name anywhere in a host's; what only looks like its registry is not
/// shown any.
pub(super) fn is_for(name: &str, registry: &str) -> bool {
    let host = registry.trim_start_matches("https://").split(['/', ':']).next().unwrap_or_default();
    match name {
        "ecr-login" => Provider::of_host(host) == Provider::Ecr || host == "public.ecr.aws",
        "gcr" | "gcloud" => Provider::of_host(host) == Provider::Google,
        "acr-env" | "acr-linux" | "acr" => Provider::of_host(host) == Provider::Acr,
        _ => true,
    }
}

fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    let executable = |file: &PathBuf| {
        file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let directories = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(name)).find(executable)
}

async fn run(program: PathBuf, registry: &str, hidden: &[String]) -> Result<Option<Credential>, String> {
    let failed = |error: std::io::Error| format!("cannot be run: {error}");
    let mut command = Command::new(program);
    for variable in hidden {
        command.env_remove(variable);
    }
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(registry.as_bytes()).await {
            // One that has seen enough may have ended.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(failed(error)),
            _ => {}
        }
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        let found: Found =
            serde_json::from_slice(&output.stdout).map_err(|_| "gave no JSON credentials".to_owned())?;
        let secret = Secret::new(found.secret);
        return Ok(Some(match found.username.as_str() {
            "<token>" => Credential::IdentityToken(secret),
            _ => Credential::Basic { user: found.username, password: secret },
        }));
    }
    // The protocol has no code for it; this is the text that Docker's own client looks for.
    if output.stdout.starts_with(b"credentials not found") {
        return Ok(None);
    }
    Err(format!("failed ({})", output.status))
}
