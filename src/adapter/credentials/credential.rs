//! What one logs in with, and the text of it, which is never printed.

use std::fmt;

use docker_credential::DockerCredential;

/// A password or a token; it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret itself, to be sent and not to be shown.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What a registry is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    Anonymous,
    /// A user and a password.
    Basic {
        /// The user's name.
        user: String,
        /// The password, or a token in its place.
        password: Secret,
    },
    /// A refresh token, exchanged for access tokens (OAuth2).
    IdentityToken(Secret),
    /// An access token, sent as it is.
    Bearer(Secret),
}

impl From<DockerCredential> for Credential {
    fn from(found: DockerCredential) -> Self {
        match found {
            DockerCredential::IdentityToken(token) => Self::IdentityToken(Secret(token)),
            DockerCredential::UsernamePassword(user, password) => {
                Self::Basic { user, password: Secret(password) }
            }
        }
    }
}
