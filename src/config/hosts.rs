//! `hosts.toml`: what a user declares about registry hosts.
//!
//! It lies in the user's own configuration directory. Nothing of this can be said in the
//! `boxwright.toml` of a repository: whoever can change that could send credentials elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::document::{ConfigError, Field, Section, Source};
use crate::model::{Provider, Repository};

/// What is declared about one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSpec {
    /// It is talked to in plain http.
    pub plain_http: bool,
    /// Certificates that are trusted beside the system's, as PEM.
    pub ca: Option<PathBuf>,
    /// The certificate and the key that are shown to it, as PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Another host that may issue its tokens.
    pub token_host: Option<String>,
    /// It is reached without the environment's proxy.
    pub is_direct: bool,
    /// Who runs it, where its name does not say so.
    pub provider: Option<Provider>,
    /// Where its provider's own API is, where that is not the usual place.
    pub api: Option<String>,
}

/// All that is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// What is declared about registry hosts, by name.
    pub hosts: BTreeMap<String, HostSpec>,
    /// Git remotes besides https and ssh that pins and rules may name: beginnings of addresses, and
    /// absolute paths.
    pub git: Vec<String>,
    /// Files outside the repository that may be build secrets, and directories of such.
    pub secrets: Vec<PathBuf>,
}

/// Reads `hosts.toml`: sections `[host."registry.example:5000"]`, `[git]` and `[secrets]`; `file` is
/// the name errors give it.
pub fn parse_hosts(file: &str, text: &str) -> Result<Hosts, ConfigError> {
    let source = Source { file, text };
    let document = source.parse()?;
    let root = Section::root(source, &document);
    root.allow(&["host", "git", "secrets"])?;
    let hosts = root.sections("host")?.into_iter().map(|(name, section)| host(name, &section));
    let hosts = hosts.collect::<Result<_, _>>()?;
    let list = |name: &str, key: &str| -> Result<Vec<Field<'_>>, ConfigError> {
        let Some(field) = root.field(name) else { return Ok(Vec::new()) };
        let section = field.section()?;
        section.allow(&[key])?;
        section.field(key).map_or(Ok(Vec::new()), |field| field.list())
    };
    let git = list("git", "allow")?.iter().map(remote).collect::<Result<_, _>>()?;
    let secrets = list("secrets", "files")?.iter().map(secret).collect::<Result<_, _>>()?;
    Ok(Hosts { hosts, git, secrets })
}

/// Takes the beginning of an address.
fn remote(field: &Field<'_>) -> Result<String, ConfigError> {
    let text = field.str()?;
    let schemes = ["https://", "ssh://", "http://", "git://", "file:///", "/"];
    if schemes.iter().any(|scheme| text.starts_with(scheme)) && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    let mut error = field.error(format!("`{}` is not the beginning of a git address", field.name));
    error.hint = Some("such as \"file:///srv/git/\", \"http://git.lan/\" or \"/srv/git\"".to_owned());
    Err(error)
}

/// Takes an absolute path, or one in the home directory.
fn secret(field: &Field<'_>) -> Result<PathBuf, ConfigError> {
    if field.str()?.starts_with("~/") { Ok(PathBuf::from(field.str()?)) } else { absolute(field) }
}

fn host(name: &str, section: &Section<'_>) -> Result<(String, HostSpec), ConfigError> {
    section.allow(&[
        "plain-http",
        "ca",
        "client-certificate",
        "client-key",
        "token-host",
        "proxy",
        "provider",
        "api",
    ])?;
    if !is_host(name) {
        let mut error =
            section.error(format!("`{}` is not a registry host", crate::model::printable(name, 80)));
        error.hint = Some("write [host.\"registry.example:5000\"], without https:// and path".to_owned());
        return Err(error);
    }
    let flag = |key: &str, default| section.field(key).map_or(Ok(default), |field| field.bool());
    let path = |key: &str| section.field(key).map(|field| absolute(&field)).transpose();
    let client = match (path("client-certificate")?, path("client-key")?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(section.error("`client-certificate` and `client-key` need each other")),
    };
    let token_host = match section.field("token-host") {
        Some(field) if is_host(field.str()?) && !field.str()?.contains(':') => Some(field.str()?.to_owned()),
        Some(field) => return Err(field.error(format!("`{}` is not a host's name", field.name))),
        None => None,
    };
    let provider = match section.field("provider") {
        Some(field) => Some(field.str()?.parse().map_err(|()| {
            let names = Provider::NAMES.map(|(name, _)| name).join(", ");
            field.error(format!("`{}` is none of {names}", field.name))
        })?),
        None => None,
    };
    let api = match section.field("api") {
        Some(field) if field.str()?.starts_with("https://") || flag("plain-http", false)? => {
            Some(field.str()?.to_owned())
        }
        Some(field) => return Err(field.error(format!("`{}` must begin with https://", field.name))),
        None => None,
    };
    let spec = HostSpec {
        plain_http: flag("plain-http", false)?,
        ca: path("ca")?,
        client,
        token_host,
        is_direct: !flag("proxy", true)?,
        provider,
        api,
    };
    if spec.plain_http && (spec.ca.is_some() || spec.client.is_some()) {
        return Err(section.error("certificates do not go with `plain-http`"));
    }
    Ok((name.to_owned(), spec))
}

fn is_host(text: &str) -> bool {
    Repository::new(text, "a").is_ok_and(|repository| repository.host() == text)
}

/// A path that does not depend on the current directory, which may be the repository's.
fn absolute(field: &Field<'_>) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(field.str()?);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(field.error(format!("`{}` must be an absolute path", field.name)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_that_can_be_said() {
        let text = r#"
            [host."registry.example:5000"]
            ca = "/etc/ssl/corp.pem"
            client-certificate = "/etc/ssl/me.pem"
            client-key = "/etc/ssl/me.key"
            token-host = "git.example"
            proxy = false
            provider = "harbor"
            api = "https://api.example/v3"
            [host."10.0.0.1:5000"]
            plain-http = true
            [git]
            allow = ["file:///srv/git/", "/srv/git", "http://git.lan/"]
            [secrets]
            files = ["/run/secrets", "~/.npmrc"]
        "#;
        let Hosts { hosts, git, secrets } = parse_hosts("hosts.toml", text).unwrap();
        assert_eq!(git, ["file:///srv/git/", "/srv/git", "http://git.lan/"]);
        assert_eq!(secrets, [PathBuf::from("/run/secrets"), PathBuf::from("~/.npmrc")]);
        let plain = HostSpec { plain_http: true, ..HostSpec::default() };
        assert_eq!(hosts["10.0.0.1:5000"], plain);
        let full = HostSpec {
            plain_http: false,
            ca: Some("/etc/ssl/corp.pem".into()),
            client: Some(("/etc/ssl/me.pem".into(), "/etc/ssl/me.key".into())),
            token_host: Some("git.example".to_owned()),
            is_direct: true,
            provider: Some(Provider::Harbor),
            api: Some("https://api.example/v3".to_owned()),
        };
        assert_eq!(hosts["registry.example:5000"], full);
        assert_eq!(parse_hosts("hosts.toml", "").unwrap(), Hosts::default());
    }

    #[test]
    fn errors_have_a_place() {
        for (text, at, why) in [
            ("[hosts.\"a.example\"]", "1:2", "unknown key `hosts`"),
            ("[host.\"a.example\"]\nplain = true", "2:1", "unknown key `plain` in [host.a.example]"),
            ("[host.\"https://a.example\"]", "1:7", "is not a registry host"),
            ("[host.\"a.example/b\"]", "1:7", "is not a registry host"),
            ("[host.\"a.example\"]\nca = \"corp.pem\"", "2:6", "must be an absolute path"),
            ("[host.\"a.example\"]\nclient-key = \"/k\"", "1:7", "need each other"),
            ("[host.\"a.example\"]\ntoken-host = \"b.example:1\"", "2:14", "is not a host's name"),
            ("[host.\"a.example\"]\nplain-http = true\nca = \"/k\"", "1:7", "do not go with"),
            ("[host.\"a.example\"]\nproxy = \"no\"", "2:9", "expected true or false"),
            ("[host.\"a.example\"]\nprovider = \"Harbor\"", "2:12", "is none of distribution, ghcr, harbor"),
            ("[host.\"a.example\"]\napi = \"http://b.example\"", "2:7", "must begin with https://"),
            ("[git]\nallow = [\"ext::sh\"]", "2:10", "is not the beginning of a git address"),
            ("[git]\nallow = [\"../x\"]", "2:10", "is not the beginning of a git address"),
            ("[git]\nallowed = []", "2:1", "unknown key `allowed`"),
            ("[secrets]\nfiles = [\"keys\"]", "2:10", "must be an absolute path"),
            ("[host", "1:6", ""),
        ] {
            let error = parse_hosts("hosts.toml", text).unwrap_err();
            assert_eq!(format!("{}:{}", error.line, error.column), at, "{error}");
            assert!(error.message.contains(why), "{error}");
        }
    }
}
