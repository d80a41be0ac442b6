//! What a request shows of a secret, taken out of what is told of its answer: errors are
//! printed, and a server may repeat what it was sent (rule S4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::AUTHORIZATION;

use super::request::{Payload, Request};
use crate::adapter::credentials::Secret;

const IN_ITS_PLACE: &str = "(secret)";

/// What is shorter is in every other word.
const SHORTEST: usize = 4;
/// What is shorter may be in an address by chance.
const SHORTEST_IN_ADDRESS: usize = 8;

/// The secrets of one request, in every form in which a text may hold them, longest first.
#[derive(Debug, Default)]
pub(super) struct SentSecrets(Vec<Secret>);

impl SentSecrets {
    /// Finds what a request shows.
    pub(super) fn by(request: &Request) -> Self {
        let mut secrets = Vec::new();
        let authorization = request.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some((scheme, token)) = authorization.and_then(|text| text.split_once(' ')) {
            secrets.push(token.to_owned());
            let decoded = STANDARD.decode(token).ok().filter(|_| scheme == "Basic");
            if let Some(pair) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
                secrets.extend(pair.split_once(':').map(|(_, password)| password.to_owned()));
            }
        }
        secrets.extend(refresh_token(request));
        secrets.extend(login(request));
        let session = request.headers.get("x-amz-security-token").and_then(|value| value.to_str().ok());
        secrets.extend(session.map(str::to_owned));
        let mut forms: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
        forms.retain(|form| form.len() >= SHORTEST);
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self(forms.into_iter().map(Secret::new).collect())
    }

    /// Returns a text without them.
    pub(super) fn taken_out_of(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose(), IN_ITS_PLACE))
    }

    /// Tells whether an address holds one of them.
    pub(super) fn is_in(&self, url: &Url) -> bool {
        let long = self.0.iter().filter(|secret| secret.expose().len() >= SHORTEST_IN_ADDRESS);
        long.into_iter().any(|secret| url.as_str().contains(secret.expose()))
    }
}

/// The identity token in a request for an access token.
fn refresh_token(request: &Request) -> Option<String> {
    let Payload::Bytes(body) = &request.body else { return None };
    let form = std::str::from_utf8(body).ok().filter(|form| form.contains("refresh_token="))?;
    // A URL's query is the one place at hand that reads forms.
    let mut url = request.url.clone();
    url.set_query(Some(form));
    let found = url.query_pairs().find(|(name, _)| name == "refresh_token")?;
    Some(found.1.into_owned())
}

/// The password or token in a request to log in to Docker Hub.
fn login(request: &Request) -> Option<String> {
    let Payload::Bytes(body) = &request.body else { return None };
    // Looked for in no image's bytes.
    if body.len() > 64 * 1024 || !body.starts_with(b"{") {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(body.get("identifier").and(body.get("secret"))?.as_str()?.to_owned())
}

/// A secret as it is, within a JSON text, and within a URL.
fn forms(secret: &str) -> [String; 3] {
    let quoted = serde_json::Value::from(secret).to_string();
    let mut url = Url::parse("http://x/").ok();
    if let Some(url) = &mut url {
        url.query_pairs_mut().append_pair("", secret);
    }
    let encoded = url.as_ref().and_then(Url::query).unwrap_or_default();
    [secret.to_owned(), quoted.trim_matches('"').to_owned(), encoded.trim_start_matches('=').to_owned()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use reqwest::Method;

    fn request(authorization: &str) -> Request {
        let request = Request::new(Method::GET, Url::parse("https://r.example/").unwrap());
        request.header(AUTHORIZATION, authorization.parse().unwrap())
    }

    #[test]
    fn a_password_is_taken_out_in_every_form() {
        let password = "pa\"ss w\\rd&";
        let header = format!("Basic {}", STANDARD.encode(format!("ann:{password}")));
        let shown = SentSecrets::by(&request(&header));
        let json = serde_json::json!({ "message": password }).to_string();
        for text in [password, &header, &json, "/x?p=pa%22ss+w%5Crd%26"] {
            let left = shown.taken_out_of(text);
            assert!(
                left.contains(IN_ITS_PLACE)
                    && !left.contains("ss w")
                    && !left.contains("ss+w")
                    && !left.contains("rd&"),
                "{text}: {left}"
            );
        }
        assert_eq!(shown.taken_out_of("ann may not push"), "ann may not push");
        assert!(!format!("{shown:?}").contains("ss w"));
    }

    #[test]
    fn tokens_are_taken_out() {
        let shown = SentSecrets::by(&request("Bearer t0ken"));
        assert_eq!(shown.taken_out_of("Bearer t0ken, again t0ken"), "Bearer (secret), again (secret)");
        let form = "grant_type=refresh_token&refresh_token=re%26fresh&x=1";
        let body = Bytes::from_static(form.as_bytes());
        let request = Request::new(Method::POST, Url::parse("https://r.example/").unwrap());
        let shown = SentSecrets::by(&request.body("application/x-www-form-urlencoded", body));
        assert_eq!(shown.taken_out_of("no such token: re&fresh"), "no such token: (secret)");
        let body = Bytes::from_static(br#"{"identifier":"ann","secret":"hub-pat"}"#);
        let request = Request::new(Method::POST, Url::parse("https://h.example/").unwrap());
        let shown = SentSecrets::by(&request.body("application/json", body));
        assert_eq!(shown.taken_out_of("ann: no such token: hub-pat"), "ann: no such token: (secret)");
        assert_eq!(SentSecrets::default().taken_out_of("Bearer t0ken"), "Bearer t0ken");
    }

    #[test]
    fn addresses_are_looked_through() {
        let is_in =
            |token: &str, url: &str| SentSecrets::by(&request(token)).is_in(&Url::parse(url).unwrap());
        assert!(is_in("Bearer long+secret", "https://s.example/b?t=long%2Bsecret"));
        assert!(is_in("Bearer long-secret", "https://s.example/long-secret/b"));
        assert!(!is_in("Bearer long-secret", "https://s.example/b?signature=1"));
        // As short a one is in an address by chance.
        assert!(!is_in("Bearer test", "https://s.example/test/b"));
    }
}
