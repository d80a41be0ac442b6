//! Rule S1 for addresses that a repository names: pins, protect lists, the remotes of policies.
//!
//! Nothing of the private network is reached because a repository says so: neither by an address
//! nor by a name that leads there. A host that the user declared in `hosts.toml` may be anywhere.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url};
use tokio::time::timeout;

use super::address;
use super::broken::Broken;
use super::clients::Clients;
use super::declared::{HostConfig, StartError};
use super::limits::Limits;
use super::resolve::{self, Lookup};
use crate::model::printable;

/// How long a name server may take.
const LOOKUP: Duration = Duration::from_secs(30);

/// Says where a repository may lead to.
#[derive(Clone)]
pub struct Guard {
    clients: Arc<Clients>,
    declared: Arc<BTreeSet<String>>,
    lookup: Lookup,
    /// Names are looked up by the environment's proxy, and so is what may be reached.
    is_proxied: bool,
}

/// Why an address is not gone to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}; if it is meant, say so in your own hosts.toml: [host.\"{host}\"]")]
pub struct Kept {
    host: String,
    why: &'static str,
}

/// Said where no name server knows a host.
const NOWHERE: &str = "its host's address cannot be found";

impl Kept {
    /// Tells whether nobody knows where the host is: it may be back later.
    pub fn is_lost(&self) -> bool {
        self.why == NOWHERE
    }
}

impl Guard {
    /// Makes one that knows what the user declared about hosts.
    pub fn new(declared: &HostConfig) -> Result<Self, StartError> {
        Self::over(declared, resolve::system())
    }

    fn over(declared: &HostConfig, lookup: Lookup) -> Result<Self, StartError> {
        let clients = Clients::new(&Limits::default(), declared, lookup.clone())?;
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_proxied = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter().any(is_set);
        let declared = declared.hosts.keys().cloned().collect();
        Ok(Self { clients: Arc::new(clients), declared: Arc::new(declared), lookup, is_proxied })
    }

    /// Returns the client by which `url` may be asked; it follows no redirects, each of which has
    /// to be brought here again.
    ///
    /// # Errors
    /// Why there is none.
    pub fn client(&self, url: &Url) -> Result<Client, String> {
        let host = address::host(url);
        if address::is_internal(url) && !self.declared.contains(&host) {
            return Err(kept(&host, "it is an address of the private network").to_string());
        }
        self.clients.of(url, true).map_err(|error| match Broken::from(error).failure() {
            crate::port::Failure::Unreachable { detail } => detail,
            other => other.to_string(),
        })
    }

    /// Looks where the host of a git remote is, in any of the ways in which git takes one, and
    /// returns the settings (`name=value`, each for a `-c` of its own before git's command) by
    /// which git goes there and nowhere else. What has no host, such as a path, is not looked at.
    ///
    /// # Errors
    /// The host is of the private network, or nobody knows where it is.
    pub async fn git(&self, remote: &str) -> Result<Vec<String>, Kept> {
        let mut settings = vec!["http.followRedirects=false".to_owned()];
        let Some(Place { host, port, is_http }) = place(remote) else { return Ok(settings) };
        let with_port = format!("{host}:{port}");
        if self.declared.contains(&host) && is_usual(port) || self.declared.contains(&with_port) {
            return Ok(settings);
        }
        let shown = if is_usual(port) { host.clone() } else { with_port };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let found = timeout(LOOKUP, (self.lookup)(bare.clone())).await;
        let found: Vec<SocketAddr> = match found {
            Ok(Ok(found)) => found,
            // A proxy may know names that this machine does not.
            _ if is_http && self.is_proxied => return Ok(settings),
            _ => return Err(kept(&shown, NOWHERE)),
        };
        if bare.eq_ignore_ascii_case("localhost") || found.iter().any(|at| address::is_internal_ip(at.ip())) {
            return Err(kept(&shown, "its host is of the private network"));
        }
        if is_http && !self.is_proxied {
            let at: Vec<String> = found.iter().map(|at| curl_address(at.ip())).collect();
            // A name that changes its mind between this look and git's gains nothing.
            settings.push(format!("http.curloptResolve={bare}:{port}:{}", at.join(",")));
        }
        Ok(settings)
    }
}

fn kept(host: &str, why: &'static str) -> Kept {
    Kept { host: printable(host, 120), why }
}

/// curl wants brackets around the colons of IPv6.
fn curl_address(ip: std::net::IpAddr) -> String {
    match ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Where a git remote is.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// In lower case; an address of IPv6 has brackets.
    host: String,
    port: u16,
    is_http: bool,
}

/// Tells whether a port is one that a host is declared without.
fn is_usual(port: u16) -> bool {
    matches!(port, 22 | 80 | 443 | 9418)
}

/// Reads a remote as git does (git-fetch(1), "GIT URLS"): a URL, or `[user@]host:path`.
fn place(remote: &str) -> Option<Place> {
    if let Some((scheme, rest)) = remote.split_once("://") {
        let usual = match scheme.rsplit("::").next().unwrap_or(scheme) {
            "http" | "ftp" => 80,
            "https" | "ftps" => 443,
            "git" => 9418,
            "file" => return None,
            _ => 22,
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let (host, port) = host_and_port(authority.rsplit('@').next().unwrap_or(authority));
        let is_http = matches!(usual, 80 | 443);
        let port = port.and_then(|port| port.parse().ok()).unwrap_or(usual);
        return (!host.is_empty()).then_some(Place { host, port, is_http });
    }
    // A path that holds a colon has a slash before it.
    let in_brackets = remote.find("]:").map(|at| at + 1);
    let colon = in_brackets.or_else(|| remote.find(':'))?;
    let before = &remote[..colon];
    if before.contains('/') || before.is_empty() {
        return None;
    }
    let at = before.rsplit('@').next().unwrap_or(before);
    // `[host:port]:path` is another way to give a port.
    let inner = at.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let (host, port) = match inner {
        Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_err() => host_and_port(inner),
        _ => (at.to_ascii_lowercase(), None),
    };
    Some(Place { host, port: port.and_then(|port| port.parse().ok()).unwrap_or(22), is_http: false })
}

fn host_and_port(authority: &str) -> (String, Option<&str>) {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    (host.to_ascii_lowercase(), port)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::adapter::registry::declared::HostSettings;

    fn guard(declared: &[&str]) -> Guard {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let lookup: Lookup = Arc::new(|name| {
            let found = match &*name {
                "inside.example" => Some("10.1.2.3"),
                "localhost" | "2130706433" => Some("127.0.0.1"),
                "lost.example" => None,
                "8.8.8.8" | "git.example" => Some("8.8.8.8"),
                "169.254.169.254" => Some("169.254.169.254"),
                "::1" => Some("::1"),
                "2606::1" => Some("2606::1"),
                other => panic!("{other} was looked up"),
            };
            let found = found.map(|ip| vec![SocketAddr::new(ip.parse().unwrap(), 0)]);
            Box::pin(async move { found.ok_or_else(|| std::io::Error::other("no such name")) })
        });
        let hosts = declared.iter().map(|host| ((*host).to_owned(), HostSettings::default())).collect();
        Guard { is_proxied: false, ..Guard::over(&HostConfig { hosts }, lookup).unwrap() }
    }

    #[tokio::test]
    async fn a_git_remote_of_the_private_network_is_refused_however_it_is_written() {
        for remote in [
            "https://inside.example/a.git",
            "https://me:pw@INSIDE.example:8443/a.git",
            "ssh://git@inside.example:2222/a.git",
            "git@inside.example:a.git",
            "inside.example:a.git",
            "[inside.example:2222]:a.git",
            "git+ssh://inside.example/a",
            "http://localhost/a.git",
            "http://2130706433/a.git",
            "http://[::1]:80/a.git",
            "[::1]:a.git",
            "git://169.254.169.254/a.git",
            "https://good.example@inside.example/a.git",
            "ext::https://inside.example/a.git",
        ] {
            let error = guard(&["git.example"]).git(remote).await.unwrap_err().to_string();
            assert!(error.contains("of the private network") && error.contains("hosts.toml"), "{error}");
        }
        let lost = guard(&[]).git("https://lost.example/a.git").await.unwrap_err().to_string();
        assert!(lost.contains("cannot be found"), "{lost}");
        let shown = guard(&[]).git("https://inside.example:8443/a").await.unwrap_err().to_string();
        assert!(shown.ends_with("[host.\"inside.example:8443\"]"), "{shown}");
    }

    #[tokio::test]
    async fn git_goes_where_was_looked_and_follows_nobody() {
        let still = "http.followRedirects=false".to_owned();
        let settings = guard(&[]).git("https://git.example/a.git").await.unwrap();
        assert_eq!(settings, [still.clone(), "http.curloptResolve=git.example:443:8.8.8.8".to_owned()]);
        let six = guard(&[]).git("https://[2606::1]:8443/a.git").await.unwrap();
        assert_eq!(six[1], "http.curloptResolve=2606::1:8443:[2606::1]");
        for (remote, declared) in [
            ("git@git.example:a.git", ""),
            ("https://inside.example/a.git", "inside.example"),
            ("ssh://git@inside.example:2222/a.git", "inside.example:2222"),
            ("git@inside.example:a.git", "inside.example"),
            // It has no host; whether it may be read at all is decided elsewhere.
            ("/srv/a.git", ""),
            ("./a:b", ""),
            ("file:///srv/a.git", ""),
        ] {
            assert_eq!(
                guard(&[declared]).git(remote).await.unwrap(),
                std::slice::from_ref(&still),
                "{remote}"
            );
        }
        // What is allowed is one port of a host, not all that listens there.
        assert!(guard(&["inside.example"]).git("https://inside.example:8443/a.git").await.is_err());
    }

    #[test]
    fn an_address_of_the_private_network_has_no_client() {
        let client = |declared: &[&str], url: &str| guard(declared).client(&Url::parse(url).unwrap());
        for url in [
            "http://127.0.0.1:9/",
            "http://localhost/",
            "http://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest",
            "http://2130706433/",
            "http://0x7f.1/",
        ] {
            let error = client(&["127.0.0.1:8"], url).unwrap_err();
            assert!(error.contains("private network") && error.contains("[host.\""), "{error}");
        }
        assert!(client(&["127.0.0.1:9"], "http://127.0.0.1:9/").is_ok());
        assert!(client(&[], "https://storage.example/").is_ok());
    }
}
