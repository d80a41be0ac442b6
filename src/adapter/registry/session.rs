//! Follows redirects by hand, so that authorization ends where the registry ends.

use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;

use super::address;
use super::answer::Answer;
use super::auth::Authorizer;
use super::request::{self, Request};
use crate::port::{Failure, RegistryError};

const HOPS: usize = 5;

/// Sends a request of `registry`'s and follows at most five redirects, if it is a read.
pub(super) async fn send(
    authorizer: &Authorizer,
    registry: &Url,
    mut request: Request,
    scope: &str,
    deadline: Instant,
) -> Result<Answer, RegistryError> {
    let read = matches!(request.method, Method::GET | Method::HEAD);
    let is_for_reading = read && scope.split_ascii_whitespace().all(|one| one.ends_with(":pull"));
    if authorizer.credentials.only_read() && !is_for_reading {
        let detail = "this run is lent credentials for reading alone".to_owned();
        return Err(request.error(Failure::Denied { detail }));
    }
    for _ in 0..=HOPS {
        let home = address::same_origin(&request.url, registry);
        request.is_guarded = authorizer.wire.guards(registry, &request.url);
        let mut answer = match home {
            true => authorizer.send(&request, scope, deadline).await?,
            false => authorizer.wire.send(&request, deadline).await?,
        };
        answer.scope = home.then(|| scope.to_owned());
        if read && !home && answer.status == StatusCode::NOT_FOUND {
            return Err(
                answer.untrusted(format!("{} says it is here, and it is not", address::host(registry)))
            );
        }
        if !read || !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(answer);
        }
        request.url = target(&answer, registry)?;
    }
    Err(request.error(Failure::Untrusted { detail: format!("more than {HOPS} redirects") }))
}

/// Returns where an answer's `Location` leads, if one may go there with a request that
/// began at `registry`.
pub(super) fn target(answer: &Answer, registry: &Url) -> Result<Url, RegistryError> {
    let Some(url) = answer.header(LOCATION).and_then(|text| answer.url.join(text).ok()) else {
        return Err(answer.untrusted("it leads elsewhere, but not where to"));
    };
    let refused = |why: &str| {
        let to = request::name(&answer.method, &url);
        Err(answer.untrusted(format!("it leads to {why} ({to})")))
    };
    match url.scheme() {
        "https" => {}
        "http" if answer.url.scheme() == "http" => {}
        _ => return refused("an insecure place"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refused("a place with credentials of its own");
    }
    if address::is_internal(&url) && !address::is_internal(registry) {
        return refused("an internal address");
    }
    if !address::same_origin(&url, &answer.url) && answer.shown.is_in(&url) {
        return refused("another host, with the credentials in the address");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use reqwest::header::{HeaderMap, HeaderValue};

    fn leads(from: &str, location: &str) -> Result<String, String> {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).unwrap())]);
        let answer = Answer::to_get(from, 302, headers, "");
        target(&answer, &answer.url).map(String::from).map_err(|error| error.to_string())
    }

    #[test]
    fn https_does_not_lead_to_http_or_inside() {
        let registry = "https://ghcr.io/v2/a/blobs/x";
        assert_eq!(leads(registry, "y?q=1").unwrap(), "https://ghcr.io/v2/a/blobs/y?q=1");
        assert_eq!(leads(registry, "https://cdn.example/b").unwrap(), "https://cdn.example/b");
        for (location, why) in [
            ("http://ghcr.io/v2/a/blobs/x", "an insecure place"),
            ("http://cdn.example/b?signature=secret", "an insecure place (GET http://cdn.example/b)"),
            ("file:///etc/passwd", "an insecure place"),
            ("https://169.254.169.254/", "an internal address"),
            ("https://10.1.2.3/", "an internal address"),
            ("https://[::1]/", "an internal address"),
            ("https://localhost/", "an internal address"),
            ("https://user@cdn.example/", "credentials of its own"),
        ] {
            let error = leads(registry, location).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        // A registry that is internal itself may keep its storage there.
        assert!(leads("https://10.0.0.1:5000/", "https://10.0.0.2/").is_ok());
        assert!(leads("http://127.0.0.1:5000/", "http://127.0.0.1:9000/").is_ok());
    }
}
