//! Secrets and ssh agents of a box: declared where they are needed, there before anything is
//! built, and read only when the build that mounts them begins. So here is where a build is run.

use tokio::time::timeout;

use crate::exec::build::redact::Redactor;
use crate::exec::keys::ResolvedBox;
use crate::exec::setting::EnginePorts;
use crate::model::{ErrorKind, Explained, Explanation, Span};
use crate::port::{AgentForward, BuildEvent, BuildRequest, EngineError, ImageId, SecretError, Secrets};

/// Why a build cannot have what it mounts.
#[derive(Debug, thiserror::Error)]
#[error("box {name}: {what}")]
pub struct NoSecret {
    pub name: String,
    /// `secret ID`, `ssh agent`, `the host's network` or `the frontend NAME`.
    pub what: String,
    pub source: SecretError,
}

impl Explained for NoSecret {
    fn explain(&self) -> Explanation<'_> {
        self.source.explain()
    }
}

/// Why an image was not built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    /// A secret is not there.
    #[error(transparent)]
    Secret(#[from] NoSecret),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It took too long, and was stopped.
    #[error("not built within its timeout of {limit}; the build was stopped")]
    Late {
        /// How long it may take.
        limit: Span,
    },
}

impl Explained for MakeError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Secret(error) => error.explain(),
            Self::Engine(error) => error.explain(),
            Self::Late { .. } => ErrorKind::Failed.into(),
        }
    }
}

/// Checks that all secrets of the boxes that are about to be built can be read.
pub(crate) async fn check(secrets: &dyn Secrets, boxes: &[&ResolvedBox]) -> Result<(), NoSecret> {
    for keyed in boxes {
        for (id, source) in keyed.secrets() {
            secrets.check(source).await.map_err(|error| keyed.no_secret(id, error))?;
        }
        if !keyed.agents().is_empty() {
            secrets.agent().await.map_err(|error| keyed.no_agent(error))?;
        }
        lent(secrets, keyed)?;
    }
    Ok(())
}

/// Checks that a build is lent the host's network and the frontend that it wants.
fn lent(secrets: &dyn Secrets, keyed: &ResolvedBox) -> Result<(), NoSecret> {
    let network = keyed.spec.network.as_deref().filter(|network| *network == "host");
    let network = network.map(|_| "the host's network".to_owned());
    // A frontend speaks to the engine itself: it could mount the caches of any namespace.
    let what = network.or_else(|| keyed.strange_frontend().map(|name| format!("the frontend `{name}`")));
    match (what, secrets.lends()) {
        (Some(what), Err(source)) => Err(NoSecret { name: keyed.wanted.name.clone(), what, source }),
        _ => Ok(()),
    }
}

/// Builds a box with its secrets. None of their values is in what is told or returned.
pub(crate) async fn build(
    ports: EnginePorts<'_>,
    keyed: &ResolvedBox,
    mut request: BuildRequest,
    events: &(dyn Fn(BuildEvent) + Send + Sync),
) -> Result<ImageId, MakeError> {
    lent(ports.secrets, keyed)?;
    request.namespace = ports.secrets.namespace();
    for (id, source) in keyed.secrets() {
        let value = ports.secrets.read(source).await.map_err(|error| keyed.no_secret(id, error))?;
        request.secrets.insert(id.clone(), value);
    }
    let ids = keyed.agents();
    if !ids.is_empty() {
        let socket = ports.secrets.agent().await.map_err(|error| keyed.no_agent(error))?;
        request.ssh = Some(AgentForward { ids, socket });
    }
    let redactor = Redactor::new(request.secrets.values());
    let masked = |event| redactor.event(event, events);
    let building = ports.builder.build(&request, &masked);
    let built = match keyed.spec.timeout {
        // To drop a build is to cancel it.
        Some(limit) => timeout(limit.duration(), building).await.map_err(|_| MakeError::Late { limit }),
        None => Ok(building.await),
    };
    redactor.finish(events);
    Ok(built?.map_err(|error| redactor.error(error))?)
}

impl ResolvedBox {
    fn no_secret(&self, id: &str, source: SecretError) -> NoSecret {
        NoSecret { name: self.wanted.name.clone(), what: format!("secret {id}"), source }
    }

    fn no_agent(&self, source: SecretError) -> NoSecret {
        NoSecret { name: self.wanted.name.clone(), what: "ssh agent".to_owned(), source }
    }
}
