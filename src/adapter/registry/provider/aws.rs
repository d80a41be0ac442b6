//! AWS Signature Version 4 (docs.aws.amazon.com, "Create a signed AWS API request"), as far as
//! it is needed: no query, and a path that needs no escaping.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::adapter::credentials::Secret;
use crate::model::Timestamp;

/// The variables that hold them.
const VARIABLES: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// What requests to Amazon's own APIs are signed with.
#[derive(Debug, Clone)]
pub struct AwsKeys {
    id: String,
    secret: Secret,
    session: Option<Secret>,
    /// The region of a registry whose name does not tell it.
    pub(super) region: Option<String>,
}

impl AwsKeys {
    /// Reads `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION` and
    /// `AWS_DEFAULT_REGION`; none without the first two.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let [id, secret, session] = VARIABLES.map(set);
        Some(Self {
            id: id?,
            secret: Secret::new(secret?),
            session: session.map(Secret::new),
            region: set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION")),
        })
    }

    /// Returns the headers that sign a request with these `headers`, lower-case and sorted, for
    /// the `scope` of a region and a service.
    pub(super) fn sign(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        scope: (&str, &str),
        now: Timestamp,
    ) -> Vec<(&'static str, String)> {
        let time: String = now.rfc3339().chars().filter(|c| !matches!(c, '-' | ':')).collect();
        let day = time.get(..8).unwrap_or_default();
        let session = self.session.as_ref().map(Secret::expose);
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        all.push(("x-amz-date", &time));
        all.extend(session.map(|session| ("x-amz-security-token", session)));
        all.sort_unstable();
        let names = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let mut canonical = format!("{method}\n{path}\n\n");
        for (name, value) in &all {
            let _ = writeln!(canonical, "{name}:{value}");
        }
        let _ = write!(canonical, "\n{names}\n{}", hex(&Sha256::digest(body)));
        let (region, service) = scope;
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let first = format!("AWS4{}", self.secret.expose()).into_bytes();
        let parts = [day, region, service, "aws4_request", &text];
        let signature = parts.iter().fold(first, |key, part| keyed(&key, part.as_bytes()));
        let mut out = vec![
            (
                "authorization",
                format!(
                    "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
                    self.id,
                    hex(&signature)
                ),
            ),
            ("x-amz-date", time.clone()),
        ];
        out.extend(session.map(|session| ("x-amz-security-token", session.to_owned())));
        out
    }
}

fn keyed(key: &[u8], data: &[u8]) -> Vec<u8> {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(data);
            mac.finalize().into_bytes().to_vec()
        }
        Err(_) => unreachable!("HMAC takes keys of any length"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// AWS's published test suite: `get-vanilla` and `post-vanilla`.
    #[test]
    fn signatures_are_those_of_the_published_suite() {
        let keys = AwsKeys {
            id: "AKIDEXAMPLE".to_owned(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session: None,
            region: None,
        };
        let now: Timestamp = "2015-08-30T12:36:00Z".parse().unwrap();
        for (method, signature) in [
            ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ] {
            let headers = [("host", "example.amazonaws.com")];
            let signed = keys.sign(method, "/", &headers, b"", ("us-east-1", "service"), now);
            let expect = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature={signature}"
            );
            let date = "20150830T123600Z".to_owned();
            assert_eq!(signed, [("authorization", expect), ("x-amz-date", date)]);
        }
    }

    #[test]
    fn keys_come_in_pairs_and_are_not_shown() {
        let of = |pairs: &'static [(&'static str, &'static str)]| {
            AwsKeys::from_environment(|name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(of(&[("AWS_ACCESS_KEY_ID", "id")]).is_none());
        assert!(of(&[("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "")]).is_none());
        let keys = of(&[
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
            ("AWS_SESSION_TOKEN", "hunter3"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
        ])
        .unwrap();
        assert!(!format!("{keys:?}").contains("hunter"));
        assert_eq!(keys.region.as_deref(), Some("eu-central-1"));
        let signed = keys.sign("POST", "/", &[], b"{}", ("r", "s"), Timestamp::from_unix(0));
        assert!(signed.contains(&("x-amz-security-token", "hunter3".to_owned())));
        assert!(signed[0].1.contains("SignedHeaders=x-amz-date;x-amz-security-token, "));
    }
}
