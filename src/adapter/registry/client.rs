//! The client as such: rights, URLs, and a request with all that it takes to be answered.
//!
//! What the verbs mean stands in files of their own, which add to it.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use reqwest::{Method, Url};
use tokio::time::Instant;

use super::address;
use super::answer::Answer;
use super::auth::Authorizer;
use super::declared::{HostConfig, HostSettings, StartError};
use super::host::Host;
use super::limits::Limits;
use super::provider::aws::AwsKeys;
use super::providers::Providers;
use super::remembered::Remembered;
use super::request::Request;
use super::session;
use super::wire::{OnWait, Transport};
use crate::adapter::credentials::Credentials;
use crate::model::{Repository, printable};
use crate::port::{Failure, RegistryError};

/// All registries, over HTTP.
pub struct HttpRegistry {
    pub(super) authorizer: Authorizer,
    pub(super) plain: BTreeSet<String>,
    /// Hosts that certificates were declared for.
    secure: BTreeSet<String>,
    /// Whether deletes are answered, by repository.
    pub(super) deleting: Mutex<HashMap<Repository, bool>>,
    pub(super) remembered: Option<Remembered>,
    pub(super) providers: Providers,
}

/// What a request needs to be allowed to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Right {
    Pull,
    Push,
    Delete,
}

impl Right {
    /// Returns the scope of a token (docs.docker.com, "Token Scope Documentation").
    pub(super) fn scope(self, repository: &Repository) -> String {
        self.scope_of(&address::server_name(repository))
    }

    /// The same for a repository by its server's name for it.
    pub(super) fn scope_of(self, name: &str) -> String {
        let actions = match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete",
        };
        format!("repository:{name}:{actions}")
    }
}

impl HttpRegistry {
    /// Makes a client; a process needs one. The TLS provider must have been installed before.
    pub fn new(
        credentials: Arc<Credentials>,
        declared: HostConfig,
        limits: Limits,
    ) -> Result<Self, StartError> {
        let wire = Transport::new(limits, &declared)?;
        let of = |(host, settings): (&String, &HostSettings)| Some((host.clone(), settings.realm.clone()?));
        let realms = declared.hosts.iter().filter_map(of).collect();
        let those = |is: fn(&HostSettings) -> bool| {
            let hosts = declared.hosts.iter().filter(|(_, settings)| is(settings));
            hosts.map(|(host, _)| host.clone()).collect()
        };
        let plain = those(|settings| settings.plain);
        let secure = those(|settings| settings.ca.is_some() || settings.identity.is_some());
        let providers = Providers::new(&declared);
        let authorizer = Authorizer { wire, credentials, realms };
        Ok(Self { authorizer, plain, secure, deleting: Mutex::default(), remembered: None, providers })
    }

    /// Tells of each wait that a person would notice.
    #[must_use]
    pub fn telling(mut self, on_wait: OnWait) -> Self {
        self.authorizer.wire.on_wait = Some(on_wait);
        self
    }

    /// Keeps small blobs in `directory`, so that they are read from a registry only once.
    #[must_use]
    pub fn remembering(self, directory: PathBuf) -> Self {
        Self { remembered: Some(Remembered::new(directory)), ..self }
    }

    /// Signs what is asked of Amazon's own API.
    #[must_use]
    pub fn signing(mut self, keys: Option<AwsKeys>) -> Self {
        self.providers.aws = keys;
        self
    }

    pub(super) fn root(&self, host: &str) -> Result<Url, RegistryError> {
        address::root(host, &self.plain, &self.secure).ok_or_else(|| RegistryError {
            request: printable(host, 120),
            failure: Failure::Unreachable { detail: "not a registry host".to_owned() },
        })
    }

    /// Returns what is known of a repository's host.
    pub(super) fn host(&self, repository: &Repository) -> Result<Arc<Host>, RegistryError> {
        self.authorizer.wire.host(&self.root(repository.host())?)
    }

    /// Tells whether the same is shown for two repositories of one host.
    pub(super) async fn share_credentials(&self, a: &Repository, b: &Repository) -> bool {
        let of = async |one: &Repository| {
            self.authorizer.credentials.lookup(one.host(), Some(&address::server_name(one))).await.ok()
        };
        of(a).await == of(b).await
    }

    /// Starts a request for `path` within a repository; the path needs no escaping.
    pub(super) fn request(
        &self,
        method: Method,
        repository: &Repository,
        path: &str,
    ) -> Result<Request, RegistryError> {
        let mut url = self.root(repository.host())?;
        url.set_path(&format!("v2/{}/{path}", address::server_name(repository)));
        Ok(Request::new(method, url))
    }

    pub(super) async fn send(
        &self,
        request: Request,
        repository: &Repository,
        right: Right,
    ) -> Result<Answer, RegistryError> {
        self.send_until(request, repository, right, self.authorizer.wire.deadline()).await
    }

    /// Adds to an answer that wants other credentials why those that there are were not shown.
    fn explained(&self, mut answer: Answer, repository: &Repository) -> Answer {
        if matches!(answer.status.as_u16(), 401 | 403) {
            let (host, name) = (repository.host(), address::server_name(repository));
            let wanted = name.rsplit_once('/').map_or(host.to_owned(), |(path, _)| format!("{host}/{path}"));
            let why = self.authorizer.credentials.withheld(host, &name, &wanted);
            answer.scope = answer.scope.map(|scope| match why {
                Some(why) => format!("{scope}; {why}"),
                None => scope,
            });
        }
        answer
    }

    pub(super) async fn send_until(
        &self,
        request: Request,
        repository: &Repository,
        right: Right,
        deadline: Instant,
    ) -> Result<Answer, RegistryError> {
        let root = self.root(repository.host())?;
        let scope = right.scope(repository);
        // Every operation holds this future; on the heap, none of them grows with it.
        let answer = Box::pin(session::send(&self.authorizer, &root, request, &scope, deadline)).await;
        answer.map(|answer| self.explained(answer, repository))
    }
}
