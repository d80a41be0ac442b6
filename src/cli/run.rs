//! `run`: a command in a box, on the current directory.

use std::collections::BTreeMap;
use std::io::{ErrorKind, IsTerminal};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::args::{Boxes, Global, Run};
use super::error::CliError;
use super::interrupt;
use super::session::{self, Session};
use super::terminal::Terminal;
use crate::exec::prepare;
use crate::model::printable;
use crate::port::{EngineError, RunOutput, RunRequest};

/// The code by which shells tell of a program that SIGPIPE ended.
const BROKEN_PIPE: u8 = 128 + 13;
/// How long a command may print what nobody takes in.
const LOST_FOR: Duration = Duration::from_secs(1);

pub async fn run(options: &Run, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let cancel = interrupt::token();
    if !options.mount.starts_with('/') {
        return Err(CliError::Usage(format!("--mount {}: expected an absolute path", options.mount)));
    }
    let source = std::env::current_dir().map_err(|source| CliError::Io {
        action: "find",
        path: ".".into(),
        source,
    })?;
    lends_too_much(options, &source)?;
    let loaded = session::load(global)?;
    let mut session = Session::open(&loaded, global).await?;
    let names = Boxes { names: vec![options.name.clone()], channel: None };
    // stderr is the command's: how its box differs from the commit is said by others.
    let computed = session.compute(&loaded, loaded.choose(&names)?, global, terminal.hushed()).await?;
    let keyed = computed.boxes.iter().find(|keyed| keyed.wanted.name == options.name);
    let keyed = keyed.ok_or_else(|| CliError::Usage(format!("there is no box `{}`", options.name)))?;
    let image = prepare(session.ports().registry, session.engine(), &session.setting, keyed).await?;
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let user = format!("{}:{}", rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let request = RunRequest {
        image,
        platform: keyed.spec.platform.clone(),
        command: options.command.clone(),
        source,
        mount: options.mount.clone(),
        user: (!options.image_user).then_some(user),
        env: options.env.iter().filter_map(|text| environment(text)).collect(),
        tty: is_terminal,
        stdin: true,
        network: options.network.clone(),
        labels: BTreeMap::from([("io.boxwright.run".to_owned(), session.setting.run.to_string())]),
    };
    // When nobody takes in what the command goes on printing it ends, as a program in a pipe
    // does; one that ends by itself keeps its code.
    let lost = OnceLock::new();
    let ended = CancellationToken::new();
    let both = cancel.child_token();
    let output = |output| {
        let written = match output {
            RunOutput::Stdout(bytes) => terminal.raw(&bytes, false),
            RunOutput::Stderr(bytes) => terminal.raw(&bytes, true),
        };
        if let Err(error) = written {
            let (_, since) = lost.get_or_init(|| (error, Instant::now()));
            if since.elapsed() > LOST_FOR {
                ended.cancel();
                both.cancel();
            }
        }
    };
    let code = session.runtime().run(&request, &output, &both).await;
    session.close(false).await?;
    match lost.into_inner() {
        Some((error, _)) if error.kind() != ErrorKind::BrokenPipe => return Err(CliError::Output(error)),
        Some(_) if ended.is_cancelled() => return Ok(BROKEN_PIPE),
        _ => {}
    }
    match code {
        // A container's exit code is a byte; a larger one would only be cut by the system.
        Ok(code) => Ok(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(EngineError::Interrupted) => Err(CliError::Interrupted),
        Err(error) => Err(error.into()),
    }
}

/// Refuses what would give a box more of this machine than the working copy: what runs in it may be
/// a stranger's.
fn lends_too_much(options: &Run, source: &Path) -> Result<(), CliError> {
    let name = |text: &String| text.split_once('=').map_or(text.clone(), |(name, _)| name.to_owned());
    if let Some(name) = options.env.iter().map(name).find(|name| name.starts_with("BOXWRIGHT_")) {
        let why = "what runs in a box gets no variable of boxwright";
        return Err(CliError::Usage(format!("--env {}: {why}", printable(&name, 80))));
    }
    let is_shared = |mode: &str| mode == "host" || mode.starts_with("container:") || mode.starts_with("ns:");
    if let Some(mode) = options.network.as_deref().filter(|mode| is_shared(mode)) {
        let why = "a box has no part in the network of the host or of another container";
        return Err(CliError::Usage(format!("--network {}: {why}", printable(mode, 80))));
    }
    let named = std::env::var("DOCKER_HOST").ok();
    let named = named.as_deref().and_then(|host| host.strip_prefix("unix://"));
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    for socket in [named, Some("/var/run/docker.sock")].into_iter().flatten().map(Path::new) {
        if [socket.to_owned(), real(socket)].iter().any(|socket| socket.starts_with(real(source))) {
            let text = format!(
                "{} is not mounted: the engine's socket {} is below it; run it in a working copy",
                source.display(),
                socket.display()
            );
            return Err(CliError::Usage(text));
        }
    }
    Ok(())
}

/// `NAME=VALUE` as it is; `NAME` with its value here, or nothing if it has none.
fn environment(text: &str) -> Option<String> {
    if text.contains('=') {
        return Some(text.to_owned());
    }
    std::env::var(text).ok().map(|value| format!("{text}={value}"))
}
