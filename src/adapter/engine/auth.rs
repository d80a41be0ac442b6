//! Logins that the engine is handed for a registry.

use std::fmt;
use std::sync::Arc;

use bollard::auth::DockerCredentials;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::Auth;
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use futures_util::future::BoxFuture;
use tonic::{Request, Response, Status};

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

/// Tells BuildKit the login for a registry. The engine itself gets the tokens.
pub(super) struct Logins(pub AuthSource);

#[tonic::async_trait]
impl Auth for Logins {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let host = request.into_inner().host;
        let login = (self.0)(&host).await;
        let login = login.map_err(|detail| Status::unauthenticated(format!("{host}: {detail}")))?;
        Ok(Response::new(match login {
            Some(Login::Password { username, password }) => {
                CredentialsResponse { username, secret: password }
            }
            Some(Login::IdentityToken(token)) => {
                CredentialsResponse { username: String::new(), secret: token }
            }
            None => CredentialsResponse::default(),
        }))
    }

    async fn fetch_token(
        &self,
        _: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unavailable("tokens are got by the engine"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unavailable("tokens are got by the engine"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unavailable("tokens are got by the engine"))
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
