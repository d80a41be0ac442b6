//! Credentials for registries: from the environment, or as Docker and Podman keep them.
//!
//! Rule S3: they come from the user's own configuration, never from a file that lies in the
//! repository under build (relative paths are refused), and belong to one registry host each, or
//! to a part of one; `lending` says to whom they are shown.
//! Nothing here is printed: a [`Secret`] hides itself.

mod credential;
mod helper;
mod lending;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, get_credential_from_reader};
use serde_json::Value;
use tokio::sync::OnceCell;

use self::lending::usual_name;
use super::locked::locked;
use crate::model::{ErrorKind, Explained, Explanation, printable};
use crate::port::Failure;

pub use self::credential::{Credential, Secret};
pub use self::lending::{Lending, Place};

/// The name that Docker keeps Docker Hub's credentials under.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// The variables that hold what is shown to a registry.
pub const SECRET_VARIABLES: [&str; 2] = ["BOXWRIGHT_REGISTRY_TOKEN", "BOXWRIGHT_REGISTRY_PASSWORD"];

/// Where a credential came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: none was found.
    Nowhere,
    /// This process made it, for the registry that it serves.
    Own,
    /// These variables of the environment.
    Variables(&'static str),
    /// A configuration holds it itself.
    File(PathBuf),
    /// A helper that a configuration names.
    Helper {
        program: String,
        /// The configuration.
        file: PathBuf,
    },
}

/// What a lookup came to, with the reason if it failed.
type Found = Result<Option<(Credential, Origin)>, String>;

/// Where credentials are looked up.
///
/// What was found is kept, failures as well: a helper is asked once, not once for every box.
#[derive(Debug)]
pub struct Credentials {
    /// By host, or host and repository, and by helper and host.
    known: Mutex<HashMap<[String; 2], Arc<OnceCell<Found>>>>,
    /// Of the registry that this process serves.
    own: Option<(String, Credential)>,
    /// What the environment holds.
    given: Option<Credential>,
    /// The place that the environment names, to which that belongs.
    home: Option<Place>,
    lending: Lending,
    files: Vec<PathBuf>,
    path: OsString,
    helper_limit: Duration,
    hidden: Vec<String>,
}

/// A setting that cannot be used as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// One of user and password alone.
    #[error("BOXWRIGHT_REGISTRY_USERNAME and BOXWRIGHT_REGISTRY_PASSWORD need each other")]
    HalfAPair,
    /// What credentials of the environment are for is no registry.
    #[error("BOXWRIGHT_REGISTRY_HOST: `{text}` is not HOST[/PATH]", text = printable(text, 120))]
    NoPlace { text: String },
    /// A variable that is no text.
    #[error("{name} is not UTF-8")]
    NotText { name: &'static str },
    /// A configuration path that depends on the current directory, which may be the
    /// repository under build.
    #[error("{name} must be an absolute path")]
    Relative {
        /// The variable's name.
        name: &'static str,
    },
}

impl Explained for SettingError {
    fn explain(&self) -> Explanation<'_> {
        ErrorKind::Usage.into()
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self::anonymous()
    }
}

impl Credentials {
    /// Returns a lookup that finds nothing.
    pub fn anonymous() -> Self {
        let helper_limit = Duration::from_secs(10);
        Self {
            known: Mutex::default(),
            own: None,
            given: None,
            home: None,
            lending: Lending::All,
            files: Vec::new(),
            path: OsString::new(),
            helper_limit,
            hidden: Vec::new(),
        }
    }

    /// Lets helpers see all of the environment but these variables.
    pub fn hiding(self, hidden: Vec<String>) -> Self {
        Self { hidden, ..self }
    }

    /// Lends no more than this.
    pub fn lending(self, lending: Lending) -> Self {
        Self { lending, ..self }
    }

    /// Returns a lookup that knows one place, such as `ghcr.io` or `ghcr.io/my-org`.
    pub fn given(place: &str, credential: Credential) -> Self {
        Self { given: Some(credential), home: Place::parse(place), ..Self::anonymous() }
    }

    /// Adds what opens the registry that this process serves, before all that is configured for
    /// its address.
    #[must_use]
    pub fn with_own(self, host: impl Into<String>, credential: Credential) -> Self {
        Self { own: Some((host.into(), credential)), ..self }
    }

    /// Reads the settings: `BOXWRIGHT_REGISTRY_TOKEN`, or `…_USERNAME` and `…_PASSWORD`, which
    /// are for the place that `BOXWRIGHT_REGISTRY_HOST` names, else for `named`, a place that the
    /// call itself names; and where Docker and Podman keep theirs. `variable` reads the
    /// environment; an empty variable counts as unset.
    pub fn from_environment(
        named: Option<&str>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, SettingError> {
        let set = |name: &'static str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &'static str| {
            set(name).map(|value| value.into_string().map_err(|_| SettingError::NotText { name })).transpose()
        };
        let path = |name: &'static str| match set(name).map(PathBuf::from) {
            Some(path) if path.is_relative() => Err(SettingError::Relative { name }),
            path => Ok(path),
        };
        let token = text("BOXWRIGHT_REGISTRY_TOKEN")?;
        let pair = (text("BOXWRIGHT_REGISTRY_USERNAME")?, text("BOXWRIGHT_REGISTRY_PASSWORD")?);
        let home = match text("BOXWRIGHT_REGISTRY_HOST")? {
            Some(text) => Some(Place::parse(&text).ok_or(SettingError::NoPlace { text })?),
            None => named.and_then(Place::parse),
        };
        let given = match (token, pair) {
            (Some(token), _) => Some(Credential::Bearer(Secret::new(token))),
            (None, (Some(user), Some(password))) => {
                Some(Credential::Basic { user, password: Secret::new(password) })
            }
            (None, (None, None)) => None,
            (None, _) => return Err(SettingError::HalfAPair),
        };
        let house = path("HOME")?;
        let docker = path("DOCKER_CONFIG")?.or_else(|| Some(house.as_ref()?.join(".docker")));
        let below = |directory: PathBuf| directory.join("containers/auth.json");
        let run = path("XDG_RUNTIME_DIR")?.map(below);
        let user = path("XDG_CONFIG_HOME")?.or_else(|| Some(house?.join(".config"))).map(below);
        let docker = docker.map(|directory| directory.join("config.json"));
        // Whoever names Podman's file means it. Else what pushes is a Docker Engine, so its
        // configuration goes before Podman's, in the order of containers-auth.json(5).
        let files = [path("REGISTRY_AUTH_FILE")?, docker, run, user].into_iter().flatten().collect();
        let path = set("PATH").unwrap_or_default();
        Ok(Self { given, home, files, path, ..Self::anonymous() })
    }

    /// Finds what to show to the registry at `host` (as in references: `docker.io`, `ghcr.io`,
    /// `127.0.0.1:5000`), for one of its repositories where that is known (`team/box`).
    ///
    /// The environment comes first, then `REGISTRY_AUTH_FILE`, Docker's configuration and
    /// Podman's; in each of them a host's own helper, what the file holds for the repository or
    /// the next namespace above it (containers-auth.json(5)), the store, and what the file holds
    /// for the host. A host that none of them knows is met anonymously.
    ///
    /// # Errors
    /// [`Failure::Credentials`] if a configuration cannot be read or a helper fails: going on
    /// anonymously would turn that into a puzzling refusal later.
    pub async fn lookup(&self, host: &str, repository: Option<&str>) -> Result<Credential, Failure> {
        Ok(self.found(host, repository).await?.0)
    }

    /// Finds what to hand to a program that reaches all of `host` with it. Where this run may do
    /// all, that is what the environment holds for a part of it as well.
    pub async fn lookup_host(&self, host: &str) -> Result<Credential, Failure> {
        match (&self.given, &self.home) {
            (Some(given), Some(home)) if home.is_at(host) && self.lending == Lending::All => {
                Ok(given.clone())
            }
            _ => self.lookup(host, None).await,
        }
    }

    /// Tells whether something may be lent for a part of `host`, if not for all of it.
    pub async fn knows(&self, host: &str) -> Result<bool, Failure> {
        let is_at_home = self.home.as_ref().is_some_and(|home| home.is_at(host));
        if is_at_home && (self.given.is_some() || !self.files.is_empty()) {
            return Ok(true);
        }
        if self.lookup(host, None).await? != Credential::Anonymous {
            return Ok(true);
        }
        if !self.lending.opens_files(self.home.as_ref(), is_at_home) {
            return Ok(false);
        }
        let part = format!("{}/", usual_name(host));
        let has_part = |config: &Value| {
            let auths = config.get("auths").and_then(Value::as_object);
            auths.is_some_and(|auths| auths.keys().any(|key| key.starts_with(&part)))
        };
        for file in &self.files {
            let config = read(file).await.map_err(|why| Failure::Credentials {
                detail: printable(&format!("{}: {why}", file.display()), 300),
            })?;
            if config.as_ref().is_some_and(has_part) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells whether this run may only read with what it is lent.
    pub fn only_read(&self) -> bool {
        self.lending != Lending::All
    }

    /// Tells whether the environment names the place in which a repository is.
    pub fn is_home(&self, host: &str, repository: &str) -> bool {
        self.home.as_ref().is_some_and(|home| home.holds(host, Some(repository)))
    }

    /// Says why what there is was not shown to a repository's host, if that is so, and what to
    /// set; `wanted` is what the environment would have to name.
    pub fn withheld(&self, host: &str, repository: &str, wanted: &str) -> Option<String> {
        let is_own = self.own.as_ref().is_some_and(|(own, _)| own == host);
        if is_own || self.is_home(host, repository) {
            return None;
        }
        let names = self.given.as_ref().map(variables);
        let set = format!("set BOXWRIGHT_REGISTRY={}, if that is who they are for", printable(wanted, 200));
        match (&self.home, names) {
            (Some(home), Some(names)) => Some(format!("{names} are for {home} and were not shown; {set}")),
            (None, Some(names)) => {
                Some(format!("{names} were not shown: only boxwright.toml names that registry; {set}"))
            }
            (home, None) if !self.lending.opens_files(home.as_ref(), false) => Some(format!(
                "a run that is not trusted shows credentials only to what the environment names; {set}"
            )),
            (_, None) => None,
        }
    }

    /// Tells where what [`Self::lookup`] finds comes from.
    pub async fn origin(&self, host: &str, repository: Option<&str>) -> Result<Origin, Failure> {
        Ok(self.found(host, repository).await?.1)
    }

    async fn found(&self, host: &str, repository: Option<&str>) -> Result<(Credential, Origin), Failure> {
        let host = usual_name(host);
        let found = self.once([host, repository.unwrap_or_default()], self.find(host, repository)).await;
        match found {
            Ok(found) => Ok(found.unwrap_or((Credential::Anonymous, Origin::Nowhere))),
            Err(detail) => Err(Failure::Credentials { detail }),
        }
    }

    async fn once(&self, what: [&str; 2], find: impl Future<Output = Found>) -> Found {
        let known = {
            let mut known = locked(&self.known);
            known.entry(what.map(str::to_owned)).or_default().clone()
        };
        known.get_or_init(|| find).await.clone()
    }

    async fn find(&self, host: &str, repository: Option<&str>) -> Found {
        if let Some((_, credential)) = self.own.as_ref().filter(|(own, _)| own == host) {
            return Ok(Some((credential.clone(), Origin::Own)));
        }
        let is_home = self.home.as_ref().is_some_and(|home| home.holds(host, repository));
        if let Some(credential) = self.given.as_ref().filter(|_| is_home) {
            return Ok(Some((credential.clone(), Origin::Variables(variables(credential)))));
        }
        if !self.lending.opens_files(self.home.as_ref(), is_home) {
            return Ok(None);
        }
        for file in &self.files {
            let found = self.lookup_in(file, host, repository).await;
            let found = found.map_err(|why| printable(&format!("{}: {why}", file.display()), 300))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn ask(&self, helper: &str, key: &str, file: &Path) -> Found {
        if !helper::is_for(helper, key) {
            return Ok(None);
        }
        let program = format!("docker-credential-{helper}");
        let asking = async {
            let found = helper::ask(helper, key, &self.path, &self.hidden, self.helper_limit).await?;
            let origin = Origin::Helper { program: program.clone(), file: file.to_owned() };
            Ok(found.map(|found| (found, origin)))
        };
        self.once([&program, key], asking).await
    }

    async fn lookup_in(&self, file: &Path, host: &str, repository: Option<&str>) -> Found {
        let Some(config) = read(file).await? else { return Ok(None) };
        let key = if host == "docker.io" { DOCKER_HUB_KEY } else { host };
        let helper = |name: &Value| match name.as_str() {
            Some("") | None => None,
            Some(name) => Some(name.to_owned()),
        };
        if let Some(name) = config.get("credHelpers").and_then(|helpers| helper(helpers.get(key)?)) {
            return self.ask(&name, key, file).await;
        }
        // The crate would run helpers as well, but neither check their names nor end them.
        let auths = serde_json::json!({ "auths": config.get("auths") }).to_string();
        let held = |key: &str| match get_credential_from_reader(auths.as_bytes(), key) {
            Ok(found) => Ok(Some((found.into(), Origin::File(file.to_owned())))),
            Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
            Err(error) => Err(error.to_string()),
        };
        for part in repository.into_iter().flat_map(parts) {
            if let Some(found) = held(&format!("{host}/{part}"))? {
                return Ok(Some(found));
            }
        }
        // Where a store is configured, what the file itself holds is left from before it was.
        if let Some(name) = config.get("credsStore").and_then(helper)
            && let Some(found) = self.ask(&name, key, file).await?
        {
            return Ok(Some(found));
        }
        held(key)
    }
}

/// The variables that hold a credential of the environment.
fn variables(given: &Credential) -> &'static str {
    match given {
        Credential::Bearer(_) => "BOXWRIGHT_REGISTRY_TOKEN",
        _ => "BOXWRIGHT_REGISTRY_USERNAME and BOXWRIGHT_REGISTRY_PASSWORD",
    }
}

/// Reads a configuration; there need not be one.
async fn read(file: &Path) -> Result<Option<Value>, String> {
    match tokio::fs::read(file).await {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| error.to_string()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Returns a repository's name and the namespaces that it is in, the widest last.
fn parts(repository: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(repository), |part| Some(part.rsplit_once('/')?.0))
}

#[cfg(test)]
mod tests;
