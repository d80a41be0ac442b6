//! Secrets and ssh agents of a box: declared where they are needed, there before anything is
//! built, and read only when the build that mounts them begins. So here is where a build is run.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::time::timeout;

use crate::config::BoxSpec;
use crate::exec::Ports;
use crate::exec::build::redact::Redactor;
use crate::exec::keys::{Keyed, KeysError};
use crate::inputs::{Analysis, Secret};
use crate::model::{Entry, SecretSource, Span};
use crate::port::{AgentForward, BuildEvent, BuildRequest, Context, EngineError, ImageId, SecretError};

/// Why a build cannot have what it mounts.
#[derive(Debug, thiserror::Error)]
#[error("box {name}: {what}")]
pub struct NoSecret {
    /// The box.
    pub name: String,
    /// `secret ID`, `ssh agent`, `the host's network` or `the frontend NAME`.
    pub what: String,
    /// Why not.
    pub source: SecretError,
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

/// Checks that a box declares what its build cannot do without.
pub(crate) fn declared(spec: &BoxSpec, analysis: &Analysis) -> Result<(), KeysError> {
    let undeclared = |mount: &Secret, what| KeysError::Undeclared {
        name: spec.name.clone(),
        at: mount.at.clone(),
        what,
        id: mount.name.clone(),
    };
    let missing = |mount: &&Secret| mount.required && !is_open(mount);
    for mount in analysis.secrets.iter().filter(missing) {
        if !spec.secrets.contains_key(&mount.name) {
            return Err(undeclared(mount, "secret"));
        }
    }
    for mount in analysis.ssh.iter().filter(missing) {
        if !spec.ssh.contains(&mount.name) {
            return Err(undeclared(mount, "ssh agent"));
        }
    }
    Ok(())
}

/// Checks that no file of a secret is sent with a context: its digest would enter the key,
/// and its bytes could enter the image.
pub(crate) fn outside_context(
    context: &dyn Context,
    spec: &BoxSpec,
    top: &Path,
    root: &Path,
    entries: &[Entry],
) -> Result<(), KeysError> {
    use std::os::unix::ffi::OsStrExt;
    for (id, source) in &spec.secrets {
        let SecretSource::File(path) = source else { continue };
        let Some(real) = context.resolve(&top.join(path)) else { continue };
        let Ok(below) = real.strip_prefix(root) else { continue };
        if entries.iter().any(|entry| entry.path.as_bytes() == below.as_os_str().as_bytes()) {
            let (name, id, path) = (spec.name.clone(), id.clone(), path.clone());
            return Err(KeysError::SecretSent { name, id, path });
        }
    }
    Ok(())
}

/// A mount whose id only the build knows.
fn is_open(mount: &Secret) -> bool {
    mount.name.contains('$')
}

impl Keyed {
    /// Returns the secrets that its build mounts and the box declares.
    fn secrets(&self) -> impl Iterator<Item = (&String, &SecretSource)> {
        let mounts = &self.analysis.secrets;
        let is_any = mounts.iter().any(is_open);
        let mounted = move |id: &str| is_any || mounts.iter().any(|mount| mount.name == id);
        self.spec.secrets.iter().filter(move |(id, _)| mounted(id))
    }

    /// Returns the ids under which its build mounts an ssh agent and the box declares one.
    fn agents(&self) -> BTreeSet<String> {
        let mounts = &self.analysis.ssh;
        let is_any = mounts.iter().any(is_open);
        let mounted = |id: &&String| is_any || mounts.iter().any(|mount| mount.name == **id);
        self.spec.ssh.iter().filter(mounted).cloned().collect()
    }

    /// Returns what is declared and never mounted, as remarks.
    pub(crate) fn unmounted(&self) -> Vec<String> {
        let used: BTreeSet<&String> = self.secrets().map(|(id, _)| id).collect();
        let secrets = self.spec.secrets.keys().filter(|id| !used.contains(id));
        let agents = self.agents();
        let ssh = self.spec.ssh.iter().filter(|id| !agents.contains(*id));
        secrets
            .map(|id| format!("nothing mounts the secret `{id}`"))
            .chain(ssh.map(|id| format!("nothing mounts the ssh agent `{id}`")))
            .collect()
    }
}

/// Checks that all secrets of the boxes that are about to be built can be read.
pub(crate) async fn check(ports: Ports<'_>, boxes: &[&Keyed]) -> Result<(), NoSecret> {
    for keyed in boxes {
        for (id, source) in keyed.secrets() {
            ports.secrets.check(source).await.map_err(|error| keyed.no_secret(id, error))?;
        }
        if !keyed.agents().is_empty() {
            ports.secrets.agent().await.map_err(|error| keyed.no_agent(error))?;
        }
        lent(ports, keyed)?;
    }
    Ok(())
}

/// Checks that a build is lent the host's network and the frontend that it wants.
fn lent(ports: Ports<'_>, keyed: &Keyed) -> Result<(), NoSecret> {
    let network = keyed.spec.network.as_deref().filter(|network| *network == "host");
    let network = network.map(|_| "the host's network".to_owned());
    // A frontend speaks to the engine itself: it could mount the caches of any namespace.
    let what = network.or_else(|| keyed.strange_frontend().map(|name| format!("the frontend `{name}`")));
    match (what, ports.secrets.lends()) {
        (Some(what), Err(source)) => Err(NoSecret { name: keyed.wanted.name.clone(), what, source }),
        _ => Ok(()),
    }
}

/// Builds a box with its secrets. None of their values is in what is told or returned.
pub(crate) async fn build(
    ports: Ports<'_>,
    keyed: &Keyed,
    mut request: BuildRequest,
    events: &(dyn Fn(BuildEvent) + Send + Sync),
) -> Result<ImageId, MakeError> {
    lent(ports, keyed)?;
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
    let building = ports.engine.build(&request, &masked);
    let built = match keyed.spec.timeout {
        // To drop a build is to cancel it.
        Some(limit) => timeout(limit.duration(), building).await.map_err(|_| MakeError::Late { limit }),
        None => Ok(building.await),
    };
    redactor.finish(events);
    Ok(built?.map_err(|error| redactor.error(error))?)
}

impl Keyed {
    fn no_secret(&self, id: &str, source: SecretError) -> NoSecret {
        NoSecret { name: self.wanted.name.clone(), what: format!("secret {id}"), source }
    }

    fn no_agent(&self, source: SecretError) -> NoSecret {
        NoSecret { name: self.wanted.name.clone(), what: "ssh agent".to_owned(), source }
    }
}
