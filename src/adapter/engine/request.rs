//! Corrections to the requests that bollard makes.

use std::hash::{BuildHasher, RandomState};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bollard::BollardRequest;

/// Returns a word that no other request has.
pub fn unique() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}

/// The header with a registry's login.
const AUTH: &str = "x-registry-auth";

/// Encodes the login as the engine decodes it (RFC 4648, section 5). bollard 0.21 uses the
/// standard alphabet, so that some passwords do not arrive.
pub fn url_safe_auth(mut request: BollardRequest) -> BollardRequest {
    if let Some(value) = request.headers_mut().get_mut(AUTH) {
        let encoded = STANDARD.decode(value.as_bytes()).map(|bytes| URL_SAFE.encode(bytes));
        if let Some(encoded) = encoded.ok().and_then(|text| text.parse().ok()) {
            *value = encoded;
            value.set_sensitive(true);
        }
    }
    request
}

/// Sets parameters that bollard's options cannot hold, or hold wrongly.
pub fn with_query(mut request: BollardRequest, query: &[(&str, String)]) -> BollardRequest {
    let uri = request.uri().to_string();
    let (path, old) = uri.split_once('?').unwrap_or((&uri, ""));
    let kept = |pair: &&str| !query.iter().any(|(name, _)| pair.split('=').next() == Some(name));
    let mut uri = path.to_owned();
    for pair in old.split('&').filter(|pair| !pair.is_empty()).filter(kept) {
        uri.push(if uri.contains('?') { '&' } else { '?' });
        uri.push_str(pair);
    }
    for (name, value) in query {
        uri.push(if uri.contains('?') { '&' } else { '?' });
        uri.push_str(name);
        uri.push('=');
        uri.push_str(&percent(value));
    }
    replace_uri(&mut request, &uri);
    request
}

/// Sends the request to another path of the engine, with these parameters alone.
pub fn redirected(
    mut request: BollardRequest,
    from: &str,
    to: &str,
    query: &[(&str, String)],
) -> BollardRequest {
    let uri = request.uri().to_string();
    let base = uri.split('?').next().and_then(|uri| uri.strip_suffix(from));
    if let Some(base) = base {
        replace_uri(&mut request, &format!("{base}{to}"));
    }
    with_query(request, query)
}

fn replace_uri(request: &mut BollardRequest, uri: &str) {
    if let Ok(uri) = uri.parse() {
        *request.uri_mut() = uri;
    }
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_words_differ() {
        assert_ne!(unique(), unique());
    }
}
