//! Follows redirects by hand, so that authorization ends where the registry ends.

use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;

use super::address;
use super::answer::Answer;
use super::auth::Authorizer;
use super::wire::Request;
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
    for _ in 0..=HOPS {
        let home = address::same_origin(&request.url, registry);
        let answer = match home {
            true => authorizer.send(&request, scope, deadline).await?,
            false => authorizer.wire.send(&request, deadline).await?,
        };
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
        let to = super::answer::name(&answer.method, &url);
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
    Ok(url)
}
