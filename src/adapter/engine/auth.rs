//! Logins that the engine is handed for a registry.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::auth::DockerCredentials;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::Auth;
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use futures_util::future::BoxFuture;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tonic::{Request, Response, Status};

use crate::adapter::locked::locked;
use crate::adapter::registry::{Asked, HttpRegistry, repositories};

/// Finds the login for a registry host, or for a repository (`ghcr.io/team/box`); `None` if there
/// is none. The error is a text that says what is wrong with the user's configuration or helper.
pub type AuthSource = Arc<dyn Fn(&str) -> BoxFuture<'static, Result<Option<Login>, String>> + Send + Sync>;

/// What proves who one is to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password or access token.
        password: String,
    },
    /// An OAuth2 refresh token, as a credential helper returns for the user `<token>`.
    IdentityToken(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password({username}, …)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
        }
    }
}

impl Login {
    /// Returns it as the engine wants it.
    pub(super) fn into_credentials(self, host: &str) -> DockerCredentials {
        let serveraddress = Some(host.to_owned());
        match self {
            Self::Password { username, password } => DockerCredentials {
                username: Some(username),
                password: Some(password),
                serveraddress,
                ..Default::default()
            },
            Self::IdentityToken(token) => {
                DockerCredentials { identitytoken: Some(token), serveraddress, ..Default::default() }
            }
        }
    }
}

/// Proves who is asked for tokens. BuildKit keeps a token for whoever holds the same key.
struct Authority(Ed25519KeyPair);

impl Authority {
    fn new() -> Option<Self> {
        let seed: [u8; 32] = ring::rand::generate(&SystemRandom::new()).ok()?.expose();
        Ed25519KeyPair::from_seed_unchecked(&seed).ok().map(Self)
    }

    /// Signs as NaCl does: the signature, and the message behind it.
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        [self.0.sign(message).as_ref(), message].concat()
    }
}

/// Tells BuildKit how to be let into a registry: by tokens that are got here, where there is
/// something to lend and the registry takes tokens; else by the login itself.
pub(super) struct Logins {
    source: AuthSource,
    tokens: Option<Arc<HttpRegistry>>,
    authority: Option<Authority>,
    /// By host, what a token was asked for first: it comes along with whatever is wanted later.
    first: Mutex<HashMap<String, BTreeSet<String>>>,
}

impl Logins {
    pub(super) fn new(source: AuthSource, tokens: Option<Arc<HttpRegistry>>) -> Self {
        let authority = tokens.as_ref().and_then(|_| Authority::new());
        Self { source, tokens, authority, first: Mutex::default() }
    }

    /// The key of this session, if tokens of a host are got here.
    async fn authority_for(&self, host: &str) -> Result<&Authority, Status> {
        let elsewhere = || Status::unavailable("tokens are got by the engine");
        let (Some(tokens), Some(authority)) = (&self.tokens, &self.authority) else {
            return Err(elsewhere());
        };
        let issues = tokens.issues(host).await;
        match issues.map_err(|detail| Status::unauthenticated(format!("{host}: {detail}")))? {
            true => Ok(authority),
            false => Err(elsewhere()),
        }
    }
}

#[tonic::async_trait]
impl Auth for Logins {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let host = request.into_inner().host;
        let login = (self.source)(&host).await;
        let login = login.map_err(|detail| Status::unauthenticated(format!("{host}: {detail}")))?;
        Ok(Response::new(match login {
            Some(Login::Password { username, password }) => {
                CredentialsResponse { username, secret: password }
            }
            Some(Login::IdentityToken(token)) => {
                CredentialsResponse { username: String::new(), secret: token }
            }
            // The engine keeps ways in that it found for nobody, and would go on by them.
            None if self.authority_for(&host).await.is_ok() => {
                let why = "credentials are lent for a part of this registry alone, by tokens";
                return Err(Status::unauthenticated(format!("{host}: {why}")));
            }
            None => CredentialsResponse::default(),
        }))
    }

    async fn fetch_token(
        &self,
        request: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        let FetchTokenRequest { host, realm, service, scopes, .. } = request.into_inner();
        self.authority_for(&host).await?;
        let Some(tokens) = &self.tokens else { return Err(Status::unavailable("no tokens are got here")) };
        let first = locked(&self.first).entry(host.clone()).or_insert_with(|| repositories(&scopes)).clone();
        let asked = Asked { host: &host, realm: &realm, service: &service, before: &first, scopes: &scopes };
        let issued = tokens.issue(asked).await;
        let issued = issued.map_err(|detail| Status::unauthenticated(format!("{host}: {detail}")))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(Response::new(FetchTokenResponse {
            token: issued.token,
            expires_in: i64::try_from(issued.seconds).unwrap_or_default(),
            issued_at: i64::try_from(now).unwrap_or_default(),
        }))
    }

    async fn get_token_authority(
        &self,
        request: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        let authority = self.authority_for(&request.into_inner().host).await?;
        let public_key = authority.0.public_key().as_ref().to_vec();
        Ok(Response::new(GetTokenAuthorityResponse { public_key }))
    }

    async fn verify_token_authority(
        &self,
        request: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        let VerifyTokenAuthorityRequest { host, payload, .. } = request.into_inner();
        let signed = self.authority_for(&host).await?.sign(&payload);
        Ok(Response::new(VerifyTokenAuthorityResponse { signed }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_no_secret() {
        let password = Login::Password { username: "u".to_owned(), password: "hunter2".to_owned() };
        let token = Login::IdentityToken("hunter2".to_owned());
        assert!(!format!("{password:?} {token:?}").contains("hunter2"));
    }
}
