//! `hosts.toml`: what a user declares about registry hosts.
//!
//! It lies in the user's own configuration directory. Nothing of this can be said in the
//! `boxwright.toml` of a repository: whoever can change that could send credentials elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::document::{ConfigError, Field, Section, Source};
use crate::model::Repository;

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
}

/// Reads `hosts.toml`: sections `[host."registry.example:5000"]`; `file` is the name errors
/// give it.
pub fn parse_hosts(file: &str, text: &str) -> Result<BTreeMap<String, HostSpec>, ConfigError> {
    let source = Source { file, text };
    let document = source.parse()?;
    let root = Section::root(source, &document);
    root.allow(&["host"])?;
    root.sections("host")?.into_iter().map(|(name, section)| host(name, &section)).collect()
}

fn host(name: &str, section: &Section<'_>) -> Result<(String, HostSpec), ConfigError> {
    section.allow(&["plain-http", "ca", "client-certificate", "client-key", "token-host", "proxy"])?;
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
    let spec = HostSpec {
        plain_http: flag("plain-http", false)?,
        ca: path("ca")?,
        client,
        token_host,
        is_direct: !flag("proxy", true)?,
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
            [host."10.0.0.1:5000"]
            plain-http = true
        "#;
        let hosts = parse_hosts("hosts.toml", text).unwrap();
        let plain = HostSpec { plain_http: true, ..HostSpec::default() };
        assert_eq!(hosts["10.0.0.1:5000"], plain);
        let full = HostSpec {
            plain_http: false,
            ca: Some("/etc/ssl/corp.pem".into()),
            client: Some(("/etc/ssl/me.pem".into(), "/etc/ssl/me.key".into())),
            token_host: Some("git.example".to_owned()),
            is_direct: true,
        };
        assert_eq!(hosts["registry.example:5000"], full);
        assert_eq!(parse_hosts("hosts.toml", "").unwrap(), BTreeMap::new());
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
            ("[host", "1:6", ""),
        ] {
            let error = parse_hosts("hosts.toml", text).unwrap_err();
            assert_eq!(format!("{}:{}", error.line, error.column), at, "{error}");
            assert!(error.message.contains(why), "{error}");
        }
    }
}
