//! Which addresses git may be sent to: https and ssh, and what the user's own configuration
//! allows besides.
//!
//! An address comes from a repository under build. git takes many things for one: options, helper
//! programs (`ext::…`), paths of this machine, hosts that ssh takes for options. All of that is
//! refused before git sees it.

/// What may be reached.
#[derive(Debug, Clone, Default)]
pub struct Remotes {
    allowed: Vec<String>,
}

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The host that answers; nothing for this machine's own files.
    pub host: Option<String>,
    /// Whether the user's own configuration names it.
    pub is_allowed: bool,
}

/// Why an address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is none.
    #[error("it is refused: it {0}")]
    Odd(&'static str),
    /// It may be right, but only the user can say so.
    #[error(
        "it is refused: {what} is reached only if your own configuration allows it, \
         `[git] allow = [\"{prefix}\"]` in hosts.toml"
    )]
    Unnamed {
        /// What it is.
        what: &'static str,
        /// What would allow it.
        prefix: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Https,
    Ssh,
    Http,
    Git,
    File,
}

impl Remotes {
    /// Allows these besides: beginnings of addresses, and absolute paths.
    pub fn new(allowed: Vec<String>) -> Self {
        Self { allowed }
    }

    /// Tells whether git may be sent to an address, and where that leads.
    pub fn check(&self, url: &str) -> Result<Route, Refused> {
        let (protocol, host) = read(url).map_err(Refused::Odd)?;
        let is_allowed = self.allowed.iter().any(|prefix| is_below(url, prefix));
        let what = match protocol {
            Protocol::Https | Protocol::Ssh => return Ok(Route { host, is_allowed }),
            Protocol::Http => "plain http",
            Protocol::Git => "git's own protocol, which is not encrypted",
            Protocol::File => "a path of this machine",
        };
        if is_allowed {
            return Ok(Route { host, is_allowed });
        }
        let is_clean = !url.contains(['"', '\\']);
        Err(Refused::Unnamed { what, prefix: if is_clean { url.to_owned() } else { "…".to_owned() } })
    }

    /// Returns the value of `GIT_ALLOW_PROTOCOL`: what git may use after it has rewritten an
    /// address as the user's own git configuration says.
    pub fn protocols(&self) -> String {
        let mut names = vec!["https", "ssh"];
        for prefix in &self.allowed {
            names.extend(match read(prefix) {
                Ok((Protocol::Http, _)) => Some("http"),
                Ok((Protocol::Git, _)) => Some("git"),
                Ok((Protocol::File, _)) => Some("file"),
                _ => None,
            });
        }
        names.sort_unstable();
        names.dedup();
        names.join(":")
    }
}

/// Tells whether an address is what an allowed one names, or lies below it.
fn is_below(url: &str, prefix: &str) -> bool {
    // A path could climb out again.
    let is_plain = !url.split(['/', '\\']).any(|part| part == "..") && !url.contains('%');
    let rest = url.strip_prefix(prefix.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with('/') && is_plain))
}

/// Reads an address as git does, and more strictly.
fn read(url: &str) -> Result<(Protocol, Option<String>), &'static str> {
    if url.is_empty() || url.chars().any(char::is_control) {
        return Err("is empty or holds control characters");
    }
    if url.starts_with('-') {
        return Err("looks like an option");
    }
    let first = url.split('/').next().unwrap_or_default();
    if first.contains("::") && !first.contains('[') {
        return Err("names a program that is to fetch it");
    }
    if let Some((scheme, rest)) = url.split_once("://") {
        let protocol = match scheme {
            "https" => Protocol::Https,
            "ssh" => Protocol::Ssh,
            "http" => Protocol::Http,
            "git" => Protocol::Git,
            "file" if rest.starts_with('/') => return Ok((Protocol::File, None)),
            _ => return Err("is neither https nor ssh"),
        };
        let authority = rest.split('/').next().unwrap_or_default();
        return Ok((protocol, Some(host(authority)?)));
    }
    match first.split_once(':') {
        Some((authority, _)) => {
            let path = url.get(authority.len() + 1..).unwrap_or_default();
            if path.is_empty() || path.starts_with(['-', ':']) {
                return Err("names no path");
            }
            Ok((Protocol::Ssh, Some(host(authority)?)))
        }
        None if url.starts_with('/') => Ok((Protocol::File, None)),
        None => Err("is neither an address nor the name of a remote here"),
    }
}

/// Takes the host out of `[USER[:PASSWORD]@]HOST[:PORT]`.
fn host(authority: &str) -> Result<String, &'static str> {
    let is_user = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:".contains(c);
    let host = match authority.split_once('@') {
        Some((user, host)) if user.chars().all(is_user) => host,
        Some(_) => return Err("has a user with characters that are not taken"),
        None => authority,
    };
    let (name, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((name, rest)) if name.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c)) => {
            (format!("[{name}]"), rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("")))
        }
        Some(_) => return Err("has a host with characters that are not taken"),
        None => match host.split_once(':') {
            Some((name, port)) => (name.to_owned(), Some(port)),
            None => (host.to_owned(), Some("")),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if authority.starts_with('-') || name.starts_with('-') {
        return Err("has a host that looks like an option");
    }
    if name.is_empty() || (!name.starts_with('[') && !name.chars().all(is_name)) {
        return Err("has a host with characters that are not taken");
    }
    if port.is_none_or(|port| !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("has a port that is no number");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &[&str], url: &str, expect: Result<Option<&str>, &str>) {
        let remotes = Remotes::new(allowed.iter().map(|one| (*one).to_owned()).collect());
        match (remotes.check(url), expect) {
            (Ok(route), Ok(host)) => assert_eq!(route.host.as_deref(), host, "{url}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{url}: {error}"),
            (found, _) => panic!("{url}: {found:?}"),
        }
    }

    #[test]
    fn https_and_ssh_are_addresses() {
        for (url, host) in [
            ("https://example.com/a.git", "example.com"),
            ("https://me:pass%20word@example.com:8443/a", "example.com"),
            ("https://[2001:db8::1]:8443/a", "[2001:db8::1]"),
            ("ssh://git@example.com:22/~me/a.git", "example.com"),
            ("git@example.com:a/b.git", "example.com"),
            ("example.com:a/b.git", "example.com"),
            ("https://my_host/a", "my_host"),
        ] {
            check(&[], url, Ok(Some(host)));
        }
    }

    #[test]
    fn what_git_would_run_or_open_is_refused() {
        for url in ["--upload-pack=touch ran", "-x", "-oProxyCommand=x:y"] {
            check(&["/"], url, Err("looks like an option"));
        }
        for url in ["ssh://-oProxyCommand=touch%20ran/x", "a@-oProxyCommand=x:y", "ssh://a@-ox/y"] {
            check(&[], url, Err("looks like an option"));
        }
        for url in ["ext::sh -c touch% ran", "fd::7", "transport::https://example.com/a"] {
            check(&[], url, Err("names a program"));
        }
        for url in
            ["HTTPS://example.com/a", "ftp://example.com/a", "file://host/a", "git+ssh://a/b", "ext://a"]
        {
            check(&[], url, Err("neither https nor ssh"));
        }
        for url in ["../a", "a", "./-x", "a/b:c"] {
            check(&["/"], url, Err("neither an address nor"));
        }
        for url in [
            "https://good.example\\@bad.example/a",
            "https://good.example#@bad.example/a",
            "https:///a",
            "https://a@b@c/d",
            "ssh://a b/c",
            "https://[fe80::1%25eth0]/a",
        ] {
            check(&[], url, Err("characters that are not taken"));
        }
        for url in ["", "https://example.com/\na", "https://example.com/\u{1b}[2J"] {
            check(&[], url, Err("control characters"));
        }
        for url in ["host:-x", "host:", "host::a"] {
            assert!(Remotes::default().check(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_user_allows_more() {
        check(&[], "http://git.lan/a", Err("`[git] allow = [\"http://git.lan/a\"]`"));
        check(&[], "/srv/git/a", Err("a path of this machine"));
        check(&[], "file:///srv/git/a", Err("a path of this machine"));
        check(&[], "git://git.lan/a", Err("git's own protocol"));
        check(&["http://git.lan/"], "http://git.lan/a", Ok(Some("git.lan")));
        check(&["http://git.lan"], "http://git.lan.evil.example/a", Err("plain http"));
        check(&["/srv/git"], "/srv/git/a", Ok(None));
        check(&["/srv/git"], "/srv/git", Ok(None));
        check(&["/srv/git"], "/srv/gitea", Err("a path"));
        check(&["/srv/git"], "/srv/git/../home/a", Err("a path"));
        check(&["file:///srv/git"], "file:///srv/git/%2e%2e/home", Err("a path"));
        check(&["/srv/git"], "file:///srv/git/a", Err("a path"));
        let remotes = |allowed: &[&str]| Remotes::new(allowed.iter().map(|one| (*one).to_owned()).collect());
        assert_eq!(remotes(&[]).protocols(), "https:ssh");
        assert_eq!(remotes(&["/srv", "file:///a", "http://a"]).protocols(), "file:http:https:ssh");
    }
}
