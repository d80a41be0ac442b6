//! Rule S1: who may be handed a registry's credentials in exchange for a token.

use std::collections::BTreeMap;

use reqwest::Url;

use super::address;

/// Token services that stand on a host of their own.
const KNOWN: [(&str, &str); 2] =
    [("registry-1.docker.io", "auth.docker.io"), ("registry.gitlab.com", "gitlab.com")];

/// Checks the realm that a registry names; `declared` maps registry hosts to further token hosts.
///
/// # Errors
/// What is wrong with it, fit to follow "token service … is refused:".
pub(super) fn check(
    realm: &str,
    registry: &Url,
    declared: &BTreeMap<String, String>,
) -> Result<Url, &'static str> {
    let url = Url::parse(realm).map_err(|_| "not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds credentials");
    }
    match url.scheme() {
        "https" => {}
        "http" if registry.scheme() == "http" => {}
        _ => return Err("not https"),
    }
    let (Some(host), Some(own)) = (url.host_str(), registry.host_str()) else { return Err("no host") };
    if host == own || (address::is_loopback(&url) && address::is_loopback(registry)) {
        return Ok(url);
    }
    if url.scheme() != "https" || url.port().is_some() {
        return Err("another host needs https on its own port");
    }
    if address::literal(&url).is_some() || address::is_loopback(&url) {
        return Err("an address in place of a name");
    }
    let known = KNOWN.iter().any(|(registry, realm)| *registry == own && *realm == host);
    let declared = declared.get(&address::host(registry)).is_some_and(|declared| declared == host);
    if known || declared { Ok(url) } else { Err("another host than the registry's") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn verdict(realm: &str, registry: &str) -> Option<&'static str> {
        let declared = BTreeMap::from([("registry.corp.example".to_owned(), "git.corp.example".to_owned())]);
        check(realm, &Url::parse(registry).unwrap(), &declared).err()
    }

    #[test]
    fn realms_that_are_taken() {
        for (realm, registry) in [
            ("https://ghcr.io/token", "https://ghcr.io/"),
            ("https://quay.io/v2/auth", "https://quay.io/"),
            ("https://auth.docker.io/token", "https://registry-1.docker.io/"),
            ("https://gitlab.com/jwt/auth", "https://registry.gitlab.com/"),
            ("https://r.example:8443/token", "https://r.example:5000/"),
            ("https://git.corp.example/jwt/auth", "https://registry.corp.example/"),
            ("http://127.0.0.1:7/token", "http://127.0.0.1:5/"),
            ("http://localhost:7/token", "http://127.0.0.1:5/"),
            ("https://10.0.0.1/token", "https://10.0.0.1:5000/"),
        ] {
            assert_eq!(verdict(realm, registry), None, "{realm} for {registry}");
        }
    }

    #[test]
    fn realms_that_are_refused() {
        for (realm, registry) in [
            ("http://ghcr.io/token", "https://ghcr.io/"),
            ("http://169.254.169.254/latest", "https://ghcr.io/"),
            ("https://169.254.169.254/latest", "https://ghcr.io/"),
            ("http://169.254.169.254/latest", "http://127.0.0.1:5000/"),
            ("https://evil.example/token", "https://ghcr.io/"),
            ("https://ghcr.io.evil.example/token", "https://ghcr.io/"),
            ("https://auth.docker.io/token", "https://ghcr.io/"),
            ("https://git.corp.example/jwt/auth", "https://ghcr.io/"),
            ("https://auth.docker.io:8443/token", "https://registry-1.docker.io/"),
            ("https://user:pw@ghcr.io/token", "https://ghcr.io/"),
            ("https://localhost/token", "https://ghcr.io/"),
            ("http://plain.example/token", "http://other.example/"),
            ("file:///etc/passwd", "http://127.0.0.1:5000/"),
            ("/token", "https://ghcr.io/"),
        ] {
            assert!(verdict(realm, registry).is_some(), "{realm} for {registry}");
        }
    }
}
