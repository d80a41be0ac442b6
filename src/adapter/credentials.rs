//! Credentials
use crate::port::Failure;
use std::fmt;
/// A secret.
#[derive(Clone)]
pub struct Secret(String);
impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}
/// x
pub enum Credential {
    Anonymous,
    Basic { user: String, password: Secret },
    IdentityToken(Secret),
    Bearer(Secret),
}
pub struct Credentials;
impl Credentials {
    pub async fn lookup(&self, _host: &str) -> Result<Credential, Failure> {
        Ok(Credential::Anonymous)
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
