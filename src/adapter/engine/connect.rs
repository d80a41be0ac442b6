//! Finding the engine, and asking whether it will do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::SystemVersion;
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::sync::OnceCell;

use super::auth::{AuthSource, Logins};
use super::{error, request};
use crate::adapter::registry::HttpRegistry;
use crate::model::{Repository, chain};
use crate::port::EngineError;

/// Where the engine listens unless told otherwise.
const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";
/// The limit, in seconds, for the engine's first answer to a short request.
const ANSWER: u64 = 120;
/// For requests whose answer begins only when work is done: a large context, a slow registry.
const LONG: Duration = Duration::from_secs(7 * 24 * 3600);
/// The API version of Engine 20.10, the first one whose BuildKit is no experiment.
const NEEDED: (u32, u32) = (1, 41);

/// A Docker Engine, reached by its API. Cheap to clone.
#[derive(Clone)]
pub struct DockerEngine {
    /// The client, or why there can be none.
    docker: Result<Docker, String>,
    address: String,
    auth: AuthSource,
    tokens: Option<Arc<HttpRegistry>>,
    version: OnceCell<String>,
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerEngine").field("address", &self.address).finish_non_exhaustive()
    }
}

impl DockerEngine {
    /// Prepares to talk to the engine at `host`, which is what `DOCKER_HOST` holds
    /// (`unix://…`, `tcp://…`), or at the default socket. Nothing is sent yet, and an address
    /// where nothing can be is told only when an engine is needed: most commands need none.
    pub fn connect(host: Option<&str>, auth: AuthSource) -> Self {
        let address = host.filter(|host| !host.is_empty()).unwrap_or(DEFAULT_ADDRESS).to_owned();
        let docker = match address.split_once("://") {
            Some(("unix", path)) => Docker::connect_with_unix(path, ANSWER, API_DEFAULT_VERSION),
            Some(("tcp" | "http", _)) => Docker::connect_with_http(&address, ANSWER, API_DEFAULT_VERSION),
            _ => {
                let docker = Err("expected unix:///path or tcp://host:port".to_owned());
                return Self { docker, address, auth, tokens: None, version: OnceCell::new() };
            }
        };
        let docker = docker
            .map(|docker| docker.with_request_modifier(request::url_safe_auth))
            .map_err(|error| chain(&error));
        Self { docker, address, auth, tokens: None, version: OnceCell::new() }
    }

    /// Gets the tokens that builds need by this client, so that no password is handed out for
    /// them.
    #[must_use]
    pub fn issuing(self, tokens: Arc<HttpRegistry>) -> Self {
        Self { tokens: Some(tokens), ..self }
    }

    /// Returns the engine's version, once it is known to be recent enough.
    pub(super) async fn version(&self) -> Result<String, EngineError> {
        let docker = self.client()?;
        let version = self.version.get_or_try_init(|| async {
            let version = docker.version().await.map_err(|error| self.error("tell its version", &error))?;
            check_version(&version)?;
            // Lowers the version in requests to what this engine knows.
            let negotiated = docker.clone().negotiate_version().await;
            negotiated.map_err(|error| self.error("agree on an API version", &error))?;
            Ok(version.version.unwrap_or_default())
        });
        version.await.cloned()
    }

    /// Returns the API after it is known that the engine answers and is recent enough.
    pub(super) async fn docker(&self) -> Result<Docker, EngineError> {
        self.version().await?;
        self.client().cloned()
    }

    fn client(&self) -> Result<&Docker, EngineError> {
        self.docker.as_ref().map_err(|detail| EngineError::Unreachable {
            address: self.address.clone(),
            detail: detail.clone(),
        })
    }

    /// As [`Self::docker`], for requests that are answered only when much work is done.
    pub(super) async fn patient(&self) -> Result<Docker, EngineError> {
        Ok(self.docker().await?.with_timeout(LONG))
    }

    /// Returns where the engine is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Tells whether it is reached by a socket of this machine.
    pub(super) fn is_local(&self) -> bool {
        self.address.starts_with("unix://")
    }

    /// Returns what a build's session tells of logins.
    pub(super) fn logins(&self) -> Logins {
        Logins::new(Arc::clone(&self.auth), self.tokens.clone())
    }

    /// Returns the login for a repository.
    pub(super) async fn login(&self, repository: &Repository) -> Result<Option<DockerCredentials>, String> {
        let login = (self.auth)(&repository.to_string()).await?;
        Ok(login.map(|login| login.into_credentials(repository.host())))
    }

    /// Words an error of a request that was to `action`.
    pub(super) fn error(&self, action: &'static str, error: &bollard::errors::Error) -> EngineError {
        error::engine(&self.address, action, error)
    }
}

fn check_version(version: &SystemVersion) -> Result<(), EngineError> {
    let too_old = |need: &str| {
        let version = version.version.clone().unwrap_or_else(|| "of unknown version".to_owned());
        Err(EngineError::TooOld { version, need: need.to_owned() })
    };
    let component = |name: &str| version.components.iter().flatten().any(|part| part.name.starts_with(name));
    if component("Podman") {
        return too_old("this is Podman; builds need the BuildKit of Docker Engine 20.10 or later");
    }
    let api = version.api_version.as_deref().and_then(|text| {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    match api {
        Some(api) if api >= NEEDED => Ok(()),
        _ => too_old("builds need Docker Engine 20.10 (API 1.41) or later"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bollard::models::SystemVersionComponents;

    use super::*;

    fn version(api: Option<&str>, component: &str) -> SystemVersion {
        let component = SystemVersionComponents { name: component.to_owned(), ..Default::default() };
        SystemVersion {
            version: Some("1.2.3".to_owned()),
            api_version: api.map(str::to_owned),
            components: Some(vec![component]),
            ..Default::default()
        }
    }

    #[test]
    fn needs_the_api_of_20_10() {
        for (api, component, good) in [
            (Some("1.41"), "Engine", true),
            (Some("1.52"), "Engine", true),
            (Some("2.0"), "Engine", true),
            (Some("1.40"), "Engine", false),
            (Some("1.9"), "Engine", false),
            (Some("1"), "Engine", false),
            (None, "Engine", false),
            (Some("1.41"), "Podman Engine", false),
        ] {
            let result = check_version(&version(api, component));
            assert_eq!(result.is_ok(), good, "{api:?} {component}");
        }
    }
}
