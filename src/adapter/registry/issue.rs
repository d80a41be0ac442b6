//! Tokens for the engine, which asks for them in a build's session: the credentials stay here,
//! and each token is for reading the repositories that they belong to.
//!
//! The engine asks for the repository that it wants now and adds those that it wanted before at
//! the same host. Only what belongs to the same credential as the one wanted now is asked for: a
//! token for one's own repository must not open another one as well.

use std::collections::BTreeSet;

use reqwest::header::HeaderValue;
use tokio::time::Instant;

use super::auth::token_request;
use super::client::{HttpRegistry, Right};
use super::realm;
use crate::adapter::credentials::Credential;
use crate::model::printable;

/// What an engine asks a token for.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The registry's host, as its own URL has it.
    pub host: &'a str,
    /// The token service that the registry named.
    pub realm: &'a str,
    /// What it calls itself to that.
    pub service: &'a str,
    /// Repositories of what was asked at this host before, which need no token now.
    pub before: &'a BTreeSet<String>,
    /// The rights, as `repository:NAME:pull`.
    pub scopes: &'a [String],
}

/// A token, and for how long it is good.
pub struct Issued {
    /// What is shown to the registry.
    pub token: String,
    /// Its life, in seconds.
    pub seconds: u64,
}

/// Returns the repositories that rights are for.
pub fn repositories(scopes: &[String]) -> BTreeSet<String> {
    let all = scopes.iter().flat_map(|scope| scope.split_ascii_whitespace());
    let name =
        |scope: &str| scope.strip_prefix("repository:")?.rsplit_once(':').map(|(name, _)| name.to_owned());
    all.filter_map(name).collect()
}

impl HttpRegistry {
    /// Tells whether tokens of this host are issued here: whether there is something to lend for
    /// a part of it. Elsewhere the engine is met as anybody is.
    ///
    /// # Errors
    /// Credentials that cannot be read, in words.
    pub async fn issues(&self, host: &str) -> Result<bool, String> {
        self.authorizer.credentials.knows(host).await.map_err(|failure| failure.to_string())
    }

    /// Gets a token with which repositories can be read, and nothing else done.
    ///
    /// # Errors
    /// Why there is none, in words that hold no secret.
    pub async fn issue(&self, asked: Asked<'_>) -> Result<Issued, String> {
        let Asked { host, realm, service, before, scopes } = asked;
        let root = self.root(host).map_err(|error| error.to_string())?;
        let realm = realm::check(realm, &root, &self.authorizer.realms)
            .map_err(|why| format!("token service {} is refused: {why}", printable(realm, 120)))?;
        let all = repositories(scopes);
        let new: Vec<&String> = all.difference(before).collect();
        let wanted = new.first().copied().or(all.first());
        let credentials = &self.authorizer.credentials;
        let of = async |name: &String| {
            credentials.lookup(host, Some(name)).await.map_err(|failure| failure.to_string())
        };
        let credential = match wanted {
            Some(name) => of(name).await?,
            None => Credential::Anonymous,
        };
        if let Credential::Bearer(token) = credential {
            return Ok(Issued { token: token.expose().to_owned(), seconds: 60 });
        }
        let mut scope = Vec::new();
        for name in &all {
            if of(name).await? == credential {
                scope.push(Right::Pull.scope_of(name));
            }
        }
        let service = Some(service).filter(|service| !service.is_empty()).map(str::to_owned);
        let is_guarded = self.authorizer.wire.guards(&root, &realm);
        let asking = token_request(realm, service, &scope.join(" "), &credential).guarded(is_guarded);
        let deadline = self.authorizer.wire.deadline();
        let token = self.authorizer.fetch(asking, deadline).await.map_err(|error| error.to_string())?;
        let text = HeaderValue::to_str(&token.header).ok().and_then(|text| text.strip_prefix("Bearer "));
        Ok(Issued {
            token: text.unwrap_or_default().to_owned(),
            seconds: token.until.saturating_duration_since(Instant::now()).as_secs(),
        })
    }
}
