//! What a client of the embedded registry has to show: a password of this run, sent as Basic
//! credentials (RFC 7617). Whoever else is on the machine can reach loopback, and knows none.

use std::fmt;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::EmbeddedError;
use crate::adapter::credentials::{Credential, Secret};
use crate::model::Digest;

/// The user of the credentials.
const USER: &str = "boxwright";

/// The password of one run.
#[derive(Clone)]
pub struct Key {
    password: Secret,
    /// Of `user:password`. Digests are compared in place of the texts, so how long that takes says
    /// nothing of the password.
    digest: Digest,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Makes one of 256 random bits.
    pub fn new() -> Result<Self, EmbeddedError> {
        let mut bytes = [0; 32];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random.fill(&mut bytes).map_err(|_| EmbeddedError::NoRandom)?;
        let password = URL_SAFE_NO_PAD.encode(bytes);
        let digest = Digest::of(format!("{USER}:{password}").as_bytes());
        Ok(Self { password: Secret::new(password), digest })
    }

    /// Returns what opens the registry.
    pub fn credential(&self) -> Credential {
        Credential::Basic { user: USER.to_owned(), password: self.password.clone() }
    }

    /// Returns it as a Docker configuration holds it.
    pub fn encoded(&self) -> String {
        STANDARD.encode(format!("{USER}:{}", self.password.expose()))
    }

    /// Tells whether a request shows it.
    pub fn opens(&self, headers: &HeaderMap) -> bool {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(shown), None) = (shown.next(), shown.next()) else { return false };
        let Some((scheme, shown)) = shown.to_str().ok().and_then(|text| text.split_once(' ')) else {
            return false;
        };
        let shown = STANDARD.decode(shown.trim());
        scheme.eq_ignore_ascii_case("basic") && shown.is_ok_and(|shown| Digest::of(&shown) == self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_credentials_open() {
        let key = Key::new().unwrap();
        let check = |value: &str, expect: bool| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(key.opens(&headers), expect, "{value}");
        };
        let right = key.encoded();
        check(&format!("Basic {right}"), true);
        check(&format!("basic  {right}"), true);
        let password = key.password.expose();
        assert_eq!(password.len(), 43);
        let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
        for wrong in [
            format!("Bearer {right}"),
            format!("Basic {right}x"),
            "Basic".to_owned(),
            basic(format!("boxwright:{}", &password[1..])),
            basic(format!("other:{password}")),
            basic("boxwright:".to_owned()),
            format!("Basic {}", Key::new().unwrap().encoded()),
        ] {
            check(&wrong, false);
        }
        assert!(!key.opens(&HeaderMap::new()));
        assert!(!format!("{key:?}").contains(password));
    }
}
