//! Running a command in a container that is gone afterwards.

use std::convert::Infallible;
use std::future::pending;
use std::path::absolute;
use std::pin::Pin;

use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error as Bollard;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    ResizeContainerTTYOptionsBuilder, WaitContainerOptions,
};
use futures_util::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::connect::DockerEngine;
use super::{pull, terminal};
use crate::port::{EngineError, RunImage, RunOutput, RunRequest};

type Output<'a> = &'a (dyn Fn(RunOutput) + Send + Sync);

/// Runs; the container is removed in all cases, also when the future is dropped.
pub async fn run(
    engine: &DockerEngine,
    request: &RunRequest,
    output: Output<'_>,
    cancel: &CancellationToken,
) -> Result<i64, EngineError> {
    let pulled = tokio::select! {
        pulled = held(engine, request) => pulled,
        () = cancel.cancelled() => Err(EngineError::Interrupted),
    };
    let image = pulled?;
    // Not cut short: it takes no time, and a container half made would be left behind.
    let started = match start(engine, request, &image, true).await {
        // Some engines lack the little init that passes signals on and reaps orphans.
        Err(EngineError::Engine { detail, .. }) if detail.contains("docker-init") => {
            start(engine, request, &image, false).await
        }
        started => started,
    };
    let (container, attached) = started?;
    let result = tokio::select! {
        result = follow(engine, &container, request, attached, output) => result,
        () = cancel.cancelled() => Err(EngineError::Interrupted),
    };
    container.remove().await;
    result
}

/// Returns what the engine knows the image by, once it holds it.
async fn held(engine: &DockerEngine, request: &RunRequest) -> Result<String, EngineError> {
    match &request.image {
        RunImage::Pushed { repository, digest } => {
            pull::ensure(engine, repository, digest, &request.platform).await
        }
        RunImage::Local(image) => Ok(image.0.to_string()),
    }
}

/// Starts a container and attaches to its streams.
async fn start(
    engine: &DockerEngine,
    request: &RunRequest,
    image: &str,
    init: bool,
) -> Result<(Container, AttachContainerResults), EngineError> {
    let container = Container::new(engine.patient().await?);
    let (docker, name) = (&container.docker, &container.name);
    let options =
        CreateContainerOptionsBuilder::default().name(name).platform(request.platform.as_str()).build();
    let body = body(request, image, init)?;
    let begun = async {
        let created = docker.create_container(Some(options), body).await;
        created.map_err(|cause| engine.error("create a container", &cause))?;
        // No sequence of keys detaches: a run ends when its command does.
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(request.stdin)
            .stdout(true)
            .stderr(true)
            .detach_keys("ctrl-@,ctrl-@,ctrl-@")
            .build();
        let attached = docker.attach_container(name, Some(options)).await;
        let attached = attached.map_err(|cause| engine.error("attach to the container", &cause))?;
        let started = docker.start_container(name, None).await;
        started.map_err(|cause| engine.error("start the container", &cause))?;
        Ok(attached)
    };
    match begun.await {
        Ok(attached) => Ok((container, attached)),
        Err(error) => {
            container.remove().await;
            Err(error)
        }
    }
}

fn body(request: &RunRequest, image: &str, init: bool) -> Result<ContainerCreateBody, EngineError> {
    let path = || request.source.display().to_string();
    let fail = |detail| EngineError::Engine { action: "mount the source directory", detail };
    let source = absolute(&request.source).map_err(|cause| fail(format!("{}: {cause}", path())))?;
    let source = source.into_os_string().into_string();
    let source = source.map_err(|_| fail(format!("{} is not UTF-8", path())))?;
    let mount = Mount {
        typ: Some(MountType::BIND),
        source: Some(source),
        target: Some(request.mount.clone()),
        ..Default::default()
    };
    Ok(ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: (!request.command.is_empty()).then(|| request.command.clone()),
        working_dir: Some(request.mount.clone()),
        user: request.user.clone(),
        env: Some(request.env.clone()),
        tty: Some(request.tty),
        open_stdin: Some(request.stdin),
        stdin_once: Some(request.stdin),
        attach_stdin: Some(request.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        labels: Some(request.labels.clone().into_iter().collect()),
        host_config: Some(HostConfig {
            mounts: Some(vec![mount]),
            network_mode: request.network.clone(),
            init: init.then_some(true),
            // Engines before 23.0 learn of it only after the start.
            console_size: if request.tty {
                terminal::size().map(|(h, w)| vec![h.into(), w.into()])
            } else {
                None
            },
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// Passes bytes to and fro until the command ends; returns its exit code.
async fn follow(
    engine: &DockerEngine,
    container: &Container,
    request: &RunRequest,
    attached: AttachContainerResults,
    output: Output<'_>,
) -> Result<i64, EngineError> {
    let AttachContainerResults { output: mut stream, input } = attached;
    let _raw = if request.tty && request.stdin { terminal::Raw::enter() } else { None };
    let finished = async {
        while let Some(piece) = stream.next().await {
            match piece.map_err(|cause| engine.error("pass on the output", &cause))? {
                LogOutput::StdErr { message } => output(RunOutput::Stderr(message)),
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    output(RunOutput::Stdout(message));
                }
                LogOutput::StdIn { .. } => {}
            }
        }
        exit_code(engine, container).await
    };
    tokio::select! {
        code = finished => code,
        never = copy_in(input), if request.stdin => match never {},
        never = keep_size(container), if request.tty => match never {},
    }
}

/// Waits for the end; bollard makes an error of every code but 0.
async fn exit_code(engine: &DockerEngine, container: &Container) -> Result<i64, EngineError> {
    let fail = |detail: String| EngineError::Engine { action: "tell the exit code", detail };
    let mut answer = container.docker.wait_container(&container.name, None::<WaitContainerOptions>);
    match answer.next().await {
        Some(Ok(end)) => Ok(end.status_code),
        Some(Err(Bollard::DockerContainerWaitError { code, error })) if error.is_empty() => Ok(code),
        Some(Err(Bollard::DockerContainerWaitError { error, .. })) => Err(fail(error)),
        Some(Err(cause)) => Err(engine.error("tell the exit code", &cause)),
        None => Err(fail("its answer was empty".to_owned())),
    }
}

/// Copies standard input; the command sees its end. Never returns, for the output matters.
async fn copy_in(mut to: Pin<Box<dyn AsyncWrite + Send>>) -> Infallible {
    let mut input = terminal::input();
    while let Some(bytes) = input.recv().await {
        // A command that has closed its input goes on without.
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
    pending().await
}

/// Keeps the container's terminal as large as this one. Never returns.
async fn keep_size(container: &Container) -> Infallible {
    let mut changes = signal(SignalKind::window_change()).ok();
    loop {
        if let Some((height, width)) = terminal::size() {
            let options =
                ResizeContainerTTYOptionsBuilder::default().h(height.into()).w(width.into()).build();
            // A wrong size is no reason to stop.
            let _ = container.docker.resize_container_tty(&container.name, options).await;
        }
        match &mut changes {
            Some(changes) => drop(changes.recv().await),
            None => pending().await,
        }
    }
}

/// A container, removed by force when it is dropped.
struct Container {
    docker: Docker,
    name: String,
    removed: bool,
}

impl Container {
    /// Chooses a name for a container that is about to be created.
    fn new(docker: Docker) -> Self {
        Self { docker, name: format!("boxwright-{}", super::request::unique()), removed: false }
    }

    /// Kills and removes it. Failing to is no failure of the run: the engine keeps it, named.
    async fn remove(mut self) {
        remove(&self.docker, &self.name).await;
        self.removed = true;
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (docker, name) = (self.docker.clone(), std::mem::take(&mut self.name));
            runtime.spawn(async move { remove(&docker, &name).await });
        }
    }
}

async fn remove(docker: &Docker, name: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    let _ = docker.remove_container(name, Some(options)).await;
}
