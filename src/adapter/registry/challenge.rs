//! Reads `WWW-Authenticate` (RFC 9110, section 11.6.1).

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// What a registry asks for; nothing in it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// Returns the best challenge that is understood: a token before a password.
pub(super) fn read(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    for text in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()) {
        for (scheme, params) in challenges(text) {
            let param = |name: &str| {
                let found = params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = param("realm")
            {
                return Some(Challenge::Bearer { realm, service: param("service") });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

type Params = Vec<(String, String)>;

/// Splits a header into schemes and their parameters; what fits no grammar is skipped.
fn challenges(text: &str) -> Vec<(String, Params)> {
    let mut found: Vec<(String, Params)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return found;
        }
        match after.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, after) = value_of(value.trim_start());
                if let Some((_, params)) = found.last_mut() {
                    params.push((word.to_owned(), value));
                }
                rest = after;
            }
            None => {
                found.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
    }
}

/// Reads a token or a quoted string and returns what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ' ', '\t']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return (value, &quoted[at + 1..]),
            c => {
                value.push(c);
                escaped = false;
            }
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use reqwest::header::HeaderValue;

    fn check(texts: &[&str], expect: Option<(&str, Option<&str>)>) {
        let headers =
            texts.iter().map(|text| (WWW_AUTHENTICATE, HeaderValue::from_str(text).unwrap())).collect();
        let expect = expect.map(|(realm, service)| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
        });
        assert_eq!(read(&headers), expect, "{texts:?}");
    }

    #[test]
    fn finds_the_token_service() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        check(&[hub], Some(("https://auth.docker.io/token", Some("registry.docker.io"))));
        check(&["bearer realm=https://a/t , Service = s"], Some(("https://a/t", Some("s"))));
        check(&[r#"Basic realm="x, Bearer realm=evil", Bearer realm="r""#], Some(("r", None)));
        check(&[r#"Basic realm="x""#, r#"Bearer realm="r""#], Some(("r", None)));
        check(&[r#"Bearer realm="a\"b""#], Some(("a\"b", None)));
        for none in ["", ",,,", "Bearer", "Bearer service=\"x\"", "Negotiate", "=", "realm=x"] {
            check(&[none], None);
        }
    }

    #[test]
    fn falls_back_to_a_password() {
        let headers = [(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"boxwright\""))];
        assert_eq!(read(&headers.into_iter().collect()), Some(Challenge::Basic));
    }
}
