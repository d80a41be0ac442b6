//! Logins that the engine is handed for a registry.

use std::fmt;
use std::sync::Arc;

use bollard::auth::DockerCredentials;
use futures_util::future::BoxFuture;

/// Finds the login for a registry host, `None` if there is none; the error is a text that
/// says what is wrong with the user's configuration or helper.
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
