//! What a command works with: the project, the keys of its boxes, and the adapters.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;

use super::args::{Global, Push};
use super::buildlog::BuildLogs;
use super::ci::{self, Ci, Trust};
use super::computed::{Computed, compute};
use super::error::CliError;
use super::progress::Progress;
use super::terminal::{NOTE, Terminal, paint};
use super::{findings, hosts};
use crate::adapter::clock::BootClock;
use crate::adapter::credentials::{Credential, Credentials, Lending};
use crate::adapter::embedded::{EmbeddedServer, PortChoice};
use crate::adapter::engine::{AuthSource, DockerEngine, Login};
use crate::adapter::git::{self, AllowedRemotes, Unread};
use crate::adapter::registry::{AwsKeys, Guard, HttpRegistry, Limits};
use crate::adapter::remote::Remotes;
use crate::adapter::secrets::{LocalSecrets, Withheld};
use crate::config::{BoxSpec, RegistryChoice};
use crate::exec::{EnginePorts, Event, RegistryPorts, RunContext};
use crate::model::{Repository, RunId, Span, is_loopback};
use crate::port::{RegistryReader as _, Runtime};

pub use super::computed::{cache, compute_keys, hidden, read_lock, worktree};
pub use super::loaded::{HOME, LOCK, Loaded, beside, from_workspace, load, load_at};

/// Why nobody knows whether files are as committed that a CI has put there without a repository.
const NO_REPOSITORY: &str = "there is no git repository here, only a commit that the CI names";

/// Says why the revision will be unknown to commands that need it, to those that do not.
pub fn look(loaded: &Loaded, terminal: Terminal) {
    if let Err(unread) = git::look(&loaded.root, &hidden(&loaded.project)) {
        say(&unread, terminal);
    }
}

fn say(unread: &Unread, terminal: Terminal) {
    let note = paint(NOTE, "note:");
    terminal.warn(&format!("{note} the revision is unknown: {unread}; {}", unread.remedy()));
}

/// The adapters of one command.
pub struct Session {
    pub setting: RunContext,
    /// What the CI says about this run.
    pub ci: Ci,
    /// Where the repository's addresses may lead.
    pub guard: Guard,
    push: Push,
    /// Why nothing is written to the registry, where nothing may be.
    shut: Option<String>,
    registry: Arc<HttpRegistry>,
    engine: DockerEngine,
    embedded: Option<EmbeddedServer>,
    secrets: Box<dyn crate::port::Secrets>,
    /// Whose cache mounts builds use.
    project: String,
    /// Files outside the repository that may be secrets.
    allowed: Vec<PathBuf>,
    remotes: AllowedRemotes,
    progress: Arc<Progress>,
}

impl Session {
    /// Opens the registry, the engine's client and, where it is embedded, the store.
    pub async fn open(loaded: &Loaded, global: &Global) -> Result<Self, CliError> {
        Self::open_with(loaded, global, Push::Auto, true).await
    }

    /// The same for a command that writes, when it is told to.
    pub async fn open_to_write(loaded: &Loaded, global: &Global, push: Push) -> Result<Self, CliError> {
        Self::open_with(loaded, global, push, true).await
    }

    /// The same for whoever must see that the registry has what it says it has: no blob is taken
    /// from this machine in its place.
    pub async fn open_uncached(loaded: &Loaded, global: &Global, push: Push) -> Result<Self, CliError> {
        Self::open_with(loaded, global, push, false).await
    }

    async fn open_with(
        loaded: &Loaded,
        global: &Global,
        push: Push,
        is_remembering: bool,
    ) -> Result<Self, CliError> {
        let ci = ci::observe()?;
        let (registry, embedded) = match &loaded.project.registry {
            RegistryChoice::Remote(registry) => (registry.clone(), None),
            RegistryChoice::Embedded => {
                let server =
                    EmbeddedServer::start(&loaded.home.join(HOME), PortChoice::Remembered, None).await?;
                (server.addr().to_string(), Some(server))
            }
        };
        let ledger = Repository::new(&registry, &loaded.project.ledger)
            .map_err(|error| CliError::Usage(format!("ledger: {error}")))?;
        let credentials = credentials(global.registry.as_deref())?;
        let credentials = match &embedded {
            Some(server) => credentials.with_own(server.addr().to_string(), server.credential()),
            None => credentials,
        };
        let credentials = credentials.hiding(hidden(&loaded.project)).lending(lending(&ci.trust, push));
        let credentials = Arc::new(credentials);
        if let Some(why) = credentials.withheld(ledger.host(), ledger.name(), &registry) {
            Terminal::new(global).say(&format!("{}: {why}", paint(NOTE, "note")));
        }
        let own = hosts::own(|name| std::env::var_os(name))?;
        let guard = Guard::new(&own.declared)?;
        let mut client = HttpRegistry::new(Arc::clone(&credentials), own.declared, Limits::default())?;
        let mut progress = Progress::new(Terminal::new(global));
        if let Some(cache) = cache() {
            progress = progress.logging(BuildLogs::in_directory(cache.join("logs")));
        }
        let progress = Arc::new(progress);
        client = client.signing(AwsKeys::from_environment(|name| std::env::var(name).ok()));
        let shown = Arc::clone(&progress);
        client = client.telling(Arc::new(move |wait| shown.event(Event::Held(wait))));
        if let Some(cache) = cache().filter(|_| is_remembering) {
            client = client.remembering(cache.join("blobs"));
        }
        let client = Arc::new(client);
        prefetch_time(Arc::clone(&client), ledger.host());
        let engine = engine(credentials).issuing(Arc::clone(&client));
        let (run, attempt) = run(global, &ci);
        let setting = RunContext {
            registry,
            ledger,
            run,
            attempt,
            lease: loaded.project.lease,
            by: ci::who(&ci, &|name| std::env::var(name).ok().filter(|value| !value.is_empty())),
            source: crate::model::Source::default(),
        };
        // The address of an embedded registry is no name: stores may share it, one after the other.
        let project = match embedded {
            Some(_) => loaded.home.join(HOME).display().to_string(),
            None => setting.ledger.to_string(),
        };
        let (remotes, allowed) = (own.remotes, own.secrets);
        let secrets = Box::new(LocalSecrets::new(&loaded.home, allowed.clone()).of_project(&project));
        let mut session = Self {
            setting,
            ci,
            guard,
            push,
            shut: None,
            registry: client,
            engine,
            embedded,
            secrets,
            project,
            allowed,
            remotes,
            progress,
        };
        match (session.ci.trust.clone(), push) {
            (Trust::Untrusted(why), _) => {
                session.deny_secrets(&why);
                session.make_read_only(format!("this run is not trusted: {why}"));
            }
            (Trust::Unknown(why), Push::Auto | Push::Never) => {
                session.deny_secrets(&why);
                session.make_read_only(format!("{why}; --push always pushes"));
            }
            (Trust::Trusted, Push::Never) => session.make_read_only("--push never".to_owned()),
            (Trust::Trusted | Trust::Unknown(_), _) => {}
        }
        Ok(session)
    }

    /// Returns what reaches the git remotes and addresses that the project names.
    pub fn remotes(&self, loaded: &Loaded) -> Remotes {
        let (hidden, root) = (hidden(&loaded.project), loaded.root.clone());
        Remotes::new(hidden, self.remotes.clone(), self.guard.clone(), root)
    }

    /// Returns the printer of this command's events.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Sees to it that nothing is written to the registry from here on.
    pub fn make_read_only(&mut self, why: String) {
        self.shut = Some(why);
    }

    /// Tells whether nothing is written to the registry from here, whatever it would take.
    pub fn is_read_only(&self) -> bool {
        self.shut.is_some()
    }

    /// Sees to it that nothing that is built here is lent a secret, the ssh agent, the host's network
    /// or a trusted build's cache mounts: a stranger may have written what is done with it.
    pub fn deny_secrets(&mut self, why: &str) {
        let level = match self.ci.trust {
            Trust::Unknown(_) => "unknown",
            Trust::Trusted | Trust::Untrusted(_) => "untrusted",
        };
        let why = format!("this run is not trusted: {why}");
        self.secrets = Box::new(Withheld { why, hint: None, level, project: self.project.clone() });
    }

    /// Lends a stranger's revision nothing but the machine; or what is its owner's, where they say so,
    /// but for the cache mounts.
    pub fn lend_revision(&mut self, loaded: &Loaded, refused: Option<(&str, &'static str)>) {
        let project = format!("{} at a revision", self.project);
        self.secrets = match refused {
            Some((why, hint)) => {
                Box::new(Withheld { why: why.to_owned(), hint: Some(hint), level: "untrusted", project })
            }
            None => Box::new(self.own(loaded, &project)),
        };
    }

    fn own(&self, loaded: &Loaded, project: &str) -> LocalSecrets {
        LocalSecrets::new(&loaded.home, self.allowed.clone()).of_project(project)
    }

    /// What the CI says, in a CI.
    pub fn in_ci(&self) -> Option<Ci> {
        (self.ci.service != "none").then(|| self.ci.clone())
    }

    /// Tells whether builds of this run may be lent what is its owner's.
    pub fn is_lending(&self) -> bool {
        matches!((&self.ci.trust, self.push), (Trust::Trusted, _) | (Trust::Unknown(_), Push::Always))
    }

    /// Fails in a run whose cause gives it no right to write, before anything is done.
    pub fn may_write(&self, what: &'static str) -> Result<(), CliError> {
        match (&self.ci.trust, self.push) {
            (Trust::Untrusted(why), _) => Err(CliError::Untrusted { what, why: why.clone() }),
            (_, Push::Never) => Err(CliError::Never { what }),
            (Trust::Unknown(why), Push::Auto) => Err(CliError::NotKnown { what, why: why.clone() }),
            (Trust::Trusted | Trust::Unknown(_), _) => Ok(()),
        }
    }

    /// Lends the registry to the protocols: all of it, unless this run writes nothing.
    pub fn ports(&self) -> RegistryPorts<'_> {
        let ports = RegistryPorts::new(&*self.registry, &BootClock);
        match &self.shut {
            Some(why) => RegistryPorts { writer: Err(why), ..ports },
            None => ports,
        }
    }

    /// Lends the engine, and what builds are lent.
    pub fn engine(&self) -> EnginePorts<'_> {
        EnginePorts { builder: &self.engine, store: &self.engine, secrets: &*self.secrets }
    }

    /// Lends what runs commands.
    pub fn runtime(&self) -> &dyn Runtime {
        &self.engine
    }

    /// Computes the keys of the boxes that were asked for, and notes the commit.
    pub async fn compute(
        &mut self,
        loaded: &Loaded,
        specs: Vec<&BoxSpec>,
        global: &Global,
        terminal: Terminal,
    ) -> Result<Computed, CliError> {
        let computed = compute(loaded, specs, &self.setting.registry, global).await?;
        self.setting.source = computed.tree.source.clone();
        if let Some(unread) = &computed.unread {
            say(unread, terminal);
        } else if computed.tree.root.is_none() && self.ci.revision.is_some() {
            // Outside a repository the CI knows which commit it is, but not what was done to it since.
            self.setting.source.revision.clone_from(&self.ci.revision);
            self.setting.source.time = self.ci.time;
            self.setting.source.unread = Some(NO_REPOSITORY.to_owned());
        }
        // What the Dockerfile says is for a plan; what was forgotten is for every command.
        findings::say(&computed, terminal, |remark| remark.line.is_none());
        Ok(computed)
    }

    /// The repositories of all boxes.
    pub fn repositories(&self, loaded: &Loaded) -> Result<Vec<Repository>, CliError> {
        let mut names: Vec<&str> = loaded.project.boxes.iter().map(|spec| spec.repository.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let repository = |name: &str| Repository::new(&self.setting.registry, name);
        names
            .into_iter()
            .map(|name| repository(name).map_err(|error| CliError::Usage(error.to_string())))
            .collect()
    }

    /// The repository in which sweeps note what they saw, if there is one.
    pub fn sightings(&self, loaded: &Loaded) -> Result<Option<Repository>, CliError> {
        let name = loaded.project.retention.ledger.as_deref();
        let named = name.map(|name| Repository::new(&self.setting.registry, name)).transpose();
        named.map_err(|error| CliError::Usage(format!("clean.ledger: {error}")))
    }

    /// The time a write takes to be seen: none on this machine, else a minute.
    pub fn settle(&self, loaded: &Loaded) -> Span {
        let is_local = self.embedded.is_some() || is_loopback(self.setting.ledger.host());
        let default = Span::from_seconds(if is_local { 0 } else { 60 });
        loaded.project.retention.settle.unwrap_or(default)
    }

    /// Tells whether the registry is boxwright's own, of which nothing is left that nothing needs.
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Ends what was opened; blobs that nothing needs any more leave the embedded store.
    pub async fn close(self, collect: bool) -> Result<(), CliError> {
        let Some(server) = self.embedded else { return Ok(()) };
        let store = server.store().clone();
        server.stop().await;
        if collect {
            let hour = std::time::Duration::from_secs(3600);
            let work = move || store.collect(hour, std::time::SystemTime::now());
            tokio::task::spawn_blocking(work).await.map_err(|_| CliError::CutOff)??;
        }
        Ok(())
    }
}

/// The engine's client.
fn engine(credentials: Arc<Credentials>) -> DockerEngine {
    let host = std::env::var("DOCKER_HOST").ok();
    DockerEngine::connect(host.as_deref(), logins(credentials))
}

/// The engine's client where there need not be a project; it pulls and pushes nothing.
pub fn engine_alone() -> Result<DockerEngine, CliError> {
    Ok(engine(Arc::new(credentials(None)?)))
}

/// Where credentials are looked up; those of the environment are for what the call itself names as
/// the registry, by its option or its variable, and never for what `boxwright.toml` names.
pub fn credentials(named: Option<&str>) -> Result<Credentials, CliError> {
    Ok(Credentials::from_environment(named, |name| std::env::var_os(name))?)
}

/// What a run may do with credentials.
pub fn lending(trust: &Trust, push: Push) -> Lending {
    match (trust, push) {
        (Trust::Untrusted(_), _) => Lending::ReadingAtHome,
        (Trust::Unknown(_), Push::Auto | Push::Never) => Lending::Reading,
        (Trust::Trusted, _) | (Trust::Unknown(_), Push::Always) => Lending::All,
    }
}

/// Asks the registry for its time, which every protocol needs first, while keys are computed.
/// Whether it answered matters only to whoever asks again.
fn prefetch_time(registry: Arc<HttpRegistry>, host: &str) {
    let host = host.to_owned();
    tokio::spawn(async move { registry.now(&host).await.map(drop) });
}

/// The run and its attempt: from the flag or its variable, from the CI, else a new one.
pub fn run(global: &Global, ci: &Ci) -> (RunId, u32) {
    match (&global.run, &ci.run) {
        (Some(run), _) => (run.clone(), 1),
        (None, Some(found)) => found.clone(),
        (None, None) => {
            let made = ci::random_run();
            (made.parse().unwrap_or_else(|_| unreachable!("made of letters and digits")), 1)
        }
    }
}

/// Hands the engine the same credentials that the registry client uses.
fn logins(credentials: Arc<Credentials>) -> AuthSource {
    Arc::new(move |place: &str| {
        let (credentials, place) = (Arc::clone(&credentials), place.to_owned());
        async move {
            let (host, name) =
                place.split_once('/').map_or((&*place, None), |(host, name)| (host, Some(name)));
            let found = match name {
                Some(_) => credentials.lookup(host, name).await,
                None => credentials.lookup_host(host).await,
            };
            match found.map_err(|error| error.to_string())? {
                Credential::Anonymous => Ok(None),
                Credential::Basic { user, password } => {
                    Ok(Some(Login::Password { username: user, password: password.expose().to_owned() }))
                }
                Credential::IdentityToken(token) => Ok(Some(Login::IdentityToken(token.expose().to_owned()))),
                // An access token stands in for the password of a user that registries ignore.
                Credential::Bearer(token) => Ok(Some(Login::Password {
                    username: "token".to_owned(),
                    password: token.expose().to_owned(),
                })),
            }
        }
        .boxed()
    })
}
