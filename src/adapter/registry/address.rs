//! Where a registry host is, and which addresses may be talked to in plain http.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use reqwest::Url;

use crate::model::Repository;

/// The name under which Docker Hub appears in references and in Docker's configuration.
pub(super) const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_SERVER: &str = "registry-1.docker.io";

/// Returns the root URL of a registry host: https, except for the hosts in `plain`, and for
/// loopback unless it is in `secure`. There is no falling back from one to the other (faults
/// 40, S2).
pub(super) fn root(host: &str, plain: &BTreeSet<String>, secure: &BTreeSet<String>) -> Option<Url> {
    let server = if matches!(host, DOCKER_HUB | "index.docker.io") { DOCKER_HUB_SERVER } else { host };
    let url = Url::parse(&format!("https://{server}/")).ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.username().is_empty();
    if !bare {
        return None;
    }
    if plain.contains(host) || (is_loopback(&url) && !secure.contains(host)) {
        // The scheme is part of the parse: `host:443` is no default port of http.
        return Url::parse(&format!("http://{server}/")).ok();
    }
    Some(url)
}

/// Returns a repository's name as its server knows it: Docker Hub keeps the images that
/// have no owner under `library/`.
pub(super) fn server_name(repository: &Repository) -> String {
    let name = repository.name();
    if repository.host() == DOCKER_HUB && !name.contains('/') {
        return format!("library/{name}");
    }
    name.to_owned()
}

/// Returns the registry host that a URL belongs to, as credentials are kept under.
pub(super) fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    match (name, url.port()) {
        (DOCKER_HUB_SERVER, None) => DOCKER_HUB.to_owned(),
        (name, None) => name.to_owned(),
        (name, Some(port)) => format!("{name}:{port}"),
    }
}

/// Tells whether both have the same scheme, host and port.
pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
}

/// Returns the address, if the URL's host is one and not a name.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Tells whether the URL stays on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    url.host_str() == Some("localhost") || literal(url).is_some_and(|ip| ip.to_canonical().is_loopback())
}

/// Tells whether the URL names an address that is not of the public internet: loopback,
/// private, link-local (cloud metadata is there) or unspecified.
pub(super) fn is_internal(url: &Url) -> bool {
    is_loopback(url) || literal(url).is_some_and(is_internal_ip)
}

/// Tells whether an address is not of the public internet: loopback, private, shared (RFC
/// 6598), link-local, unspecified, one for special purposes (RFC 6890), or one of these behind
/// NAT64 (RFC 6052) or 6to4 (RFC 3056).
pub(super) fn is_internal_ip(ip: IpAddr) -> bool {
    let within = |high: u16, low: u16| {
        is_internal_ip(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into())
    };
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, third, _] = ip.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            let is_here = ip.is_loopback() || first == 0;
            // A cloud's metadata may be at 192.0.0.192; 198.18/15 is for benchmarks; from 224 on
            // there are groups, and nothing that is reserved yet.
            let is_special = [first, second, third] == [192, 0, 0]
                || (first == 198 && second & 0xfe == 18)
                || first >= 224;
            ip.is_private() || ip.is_link_local() || is_shared || is_here || is_special
        }
        IpAddr::V6(ip) => match ip.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => within(high, low),
            [0x64, 0xff9b, 1, ..] => true,
            [0x2002, high, low, ..] => within(high, low),
            // Addresses of IPv4 in their oldest coat, ::127.0.0.1.
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 => within(high, low),
            [0xfec0..=0xfeff, ..] | [0xff00..=0xffff, ..] => true,
            _ => {
                ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback() || ip.is_unspecified()
            }
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_and_declared_hosts() {
        let plain = BTreeSet::from(["plain.example:5000".to_owned()]);
        let secure = BTreeSet::from(["127.0.0.1:5443".to_owned()]);
        for (host, expect) in [
            ("ghcr.io", "https://ghcr.io/"),
            ("docker.io", "https://registry-1.docker.io/"),
            ("localhost:5000", "http://localhost:5000/"),
            ("127.0.0.1:443", "http://127.0.0.1:443/"),
            ("127.9.9.9", "http://127.9.9.9/"),
            ("127.0.0.1:5443", "https://127.0.0.1:5443/"),
            ("[::1]:5000", "http://[::1]:5000/"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/"),
            ("localhost.example:5000", "https://localhost.example:5000/"),
            ("plain.example:5000", "http://plain.example:5000/"),
            ("plain.example", "https://plain.example/"),
        ] {
            assert_eq!(root(host, &plain, &secure).unwrap().as_str(), expect);
        }
        for bad in ["", "a/b", "a?b", "user@host", "a b"] {
            assert_eq!(root(bad, &plain, &secure), None, "{bad}");
        }
    }

    #[test]
    fn internal_addresses() {
        let check = |url: &str, expect| assert_eq!(is_internal(&Url::parse(url).unwrap()), expect, "{url}");
        check("http://169.254.169.254/latest", true);
        check("http://[::ffff:10.0.0.1]/", true);
        check("https://[fe80::1]/", true);
        check("https://2130706433/", true); // 127.0.0.1
        check("https://100.100.100.200/", true);
        check("https://0.1.2.3/", true);
        check("https://[64:ff9b::a9fe:a9fe]/", true); // 169.254.169.254
        check("https://[64:ff9b::808:808]/", false);
        check("https://[64:ff9b:1::a00:1]/", true);
        check("https://[2002:7f00:1::]/", true); // 127.0.0.1
        check("https://[2002:808:808::]/", false);
        check("https://[::7f00:1]/", true); // 127.0.0.1
        check("https://[fec0::1]/", true);
        check("https://[ff02::1]/", true);
        check("https://[2001:4860:4860::8888]/", false);
        check("https://192.0.0.192/", true);
        check("https://192.0.1.1/", false);
        check("https://198.19.0.1/", true);
        check("https://198.20.0.1/", false);
        check("https://255.255.255.255/", true);
        check("https://100.128.0.1/", false);
        check("https://8.8.8.8/", false);
        check("https://storage.example/", false);
    }

    #[test]
    fn docker_hub_has_three_names() {
        let url = root("docker.io", &BTreeSet::new(), &BTreeSet::new()).unwrap();
        assert_eq!(host(&url), "docker.io");
        assert_eq!(server_name(&"docker.io/debian".parse().unwrap()), "library/debian");
        assert_eq!(server_name(&"docker.io/a/b".parse().unwrap()), "a/b");
        assert_eq!(server_name(&"ghcr.io/debian".parse().unwrap()), "debian");
    }
}
