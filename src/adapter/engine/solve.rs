//! One Dockerfile, built by the engine's BuildKit in a session of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bollard::models::BuildInfoAux;
use bollard::query_parameters::BuildImageOptions;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::agent::Agent;
use super::connect::DockerEngine;
use super::secret::Values;
use super::session::{self, Services};
use super::sync::{self, Offer};
use super::trace::Trace;
use super::{answer, request};
use crate::model::chain;
use crate::port::{BuildEvent, BuildRequest, EngineError, ImageId};

/// Frontends take the namespace of cache mounts as a build argument (BuildKit, `dockerfile2llb`).
const NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// Builds one Dockerfile; the engine holds whatever that names, or can pull it.
pub(super) async fn build_one(
    engine: &DockerEngine,
    request: &BuildRequest,
    events: &(dyn Fn(BuildEvent) + Send + Sync),
) -> Result<ImageId, EngineError> {
    let docker = engine.patient().await?;
    let closed = CancellationToken::new();
    let _close = closed.clone().drop_guard();
    let offer = Arc::new(Offer::new(request, closed.clone()));
    let session = open(engine, request, &offer, closed).await?;
    let more = more_query(request, session);
    let docker = docker.with_request_modifier(move |request| request::with_query(request, &more));
    // The context goes through the session; the request itself has no content.
    let mut answer = docker.build_image(options(request), None, Some(bollard::body_full(Bytes::new())));
    let mut trace = Trace::default();
    let mut image = None;
    let outcome = loop {
        match answer::next(&mut answer).await {
            None => break Ok(()),
            Some(Err(error)) => break Err(error),
            Some(Ok(info)) => match info.aux {
                Some(BuildInfoAux::BuildKit(message)) => trace.read(message, events),
                Some(BuildInfoAux::Default(id)) => image = id.id.or(image),
                None => {}
            },
        }
    };
    drop(answer);
    if let Some(error) = offer.failure() {
        return Err(EngineError::Context(error));
    }
    if let Err(cause) = outcome {
        return Err(match (engine.error("build", &cause), cause) {
            (EngineError::Engine { detail, .. }, bollard::errors::Error::DockerStreamError { .. }) => {
                let step = trace.failed().unwrap_or("the Dockerfile").to_owned();
                EngineError::BuildFailed { step, detail }
            }
            (other, _) => other,
        });
    }
    let nothing = || EngineError::Engine {
        action: "build",
        detail: match trace.failed() {
            Some(step) => format!("its answer ended after {step} had failed"),
            None => "its answer ended without an image".to_owned(),
        },
    };
    let id = image.ok_or_else(nothing)?;
    id.parse().map(ImageId).map_err(|cause| EngineError::Engine { action: "build", detail: chain(&cause) })
}

/// Opens a session for a build; returns its id.
pub(super) async fn open(
    engine: &DockerEngine,
    request: &BuildRequest,
    offer: &Arc<Offer>,
    closed: CancellationToken,
) -> Result<String, EngineError> {
    let session = request::unique();
    let services = Services {
        offer: Arc::clone(offer),
        logins: engine.logins(),
        secrets: (!request.secrets.is_empty()).then(|| Values(request.secrets.clone())),
        agent: request.ssh.clone().map(Agent),
    };
    match session::open(engine.address(), &session, services, closed).await {
        Ok(()) => Ok(session),
        Err(cause) => Err(EngineError::Engine { action: "open a build session", detail: chain(&cause) }),
    }
}

/// The build arguments, with the namespace of cache mounts, to which one that was given is added.
fn arguments(request: &BuildRequest) -> HashMap<String, String> {
    let mut arguments: HashMap<String, String> =
        request.args.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    if !request.namespace.is_empty() {
        let given = arguments.remove(NAMESPACE).map(|given| format!("-{given}")).unwrap_or_default();
        arguments.insert(NAMESPACE.to_owned(), format!("{}{given}", request.namespace));
    }
    arguments
}

fn options(request: &BuildRequest) -> BuildImageOptions {
    let map = |from: &BTreeMap<String, String>| -> HashMap<String, String> {
        from.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    BuildImageOptions {
        dockerfile: sync::DOCKERFILE.to_owned(),
        remote: Some("client-session".to_owned()),
        nocache: request.no_cache,
        rm: true,
        forcerm: true,
        buildargs: Some(arguments(request)),
        labels: Some(map(&request.labels)),
        networkmode: request.network.clone(),
        platform: request.platform.to_string(),
        target: request.target.clone().unwrap_or_default(),
        ..Default::default()
    }
}

/// Returns what bollard's options cannot hold: several hosts, sizes of 2 GiB and more, and
/// a session that is not bollard's own, which offers no context.
fn more_query(request: &BuildRequest, session: String) -> Vec<(&'static str, String)> {
    let hosts = request.extra_hosts.iter().map(|host| ("extrahosts", host.clone()));
    let size = request.shm_size.map(|size| ("shmsize", size.to_string()));
    let mut query = vec![("version", "2".to_owned()), ("session", session)];
    query.extend(hosts.chain(size));
    query
}
