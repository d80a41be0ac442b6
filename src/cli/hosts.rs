//! What the user has declared about hosts, git remotes and files of secrets: `$BOXWRIGHT_HOSTS`,
//! else `boxwright/hosts.toml` in the user's configuration directory.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::CliError;
use crate::adapter::git::AllowedRemotes;
use crate::adapter::registry::{HostConfig, HostSettings};
use crate::config::{HostSpec, parse_hosts};

/// What the user's own file says, and no repository can.
#[derive(Debug, Default)]
pub struct Own {
    /// About registry hosts.
    pub declared: HostConfig,
    /// Which git remotes may be reached.
    pub remotes: AllowedRemotes,
    /// Which files outside a repository may be build secrets.
    pub secrets: Vec<PathBuf>,
}

/// Reads it; without a file that is nothing. `variable` reads the environment.
pub fn own(variable: impl Fn(&str) -> Option<OsString>) -> Result<Own, CliError> {
    let home = variable("HOME").map(PathBuf::from);
    let Some((path, is_asked_for)) = place(variable)? else { return Ok(Own::default()) };
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !is_asked_for => return Ok(Own::default()),
        text => text.map_err(|source| failed(&path, source))?,
    };
    let said = parse_hosts(&path.display().to_string(), &text)?;
    let hosts = said.hosts.into_iter().map(|(host, spec)| Ok((host, settings(&spec)?)));
    let at_home = |path: PathBuf| match (path.strip_prefix("~"), &home) {
        (Ok(below), Some(home)) => home.join(below),
        _ => path,
    };
    Ok(Own {
        declared: HostConfig { hosts: hosts.collect::<Result<_, CliError>>()? },
        remotes: AllowedRemotes::new(said.git),
        secrets: said.secrets.into_iter().map(at_home).collect(),
    })
}

/// Where it lies, and whether somebody asked for this very file. The current directory, which
/// may be the repository's, has no part in it.
fn place(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<(PathBuf, bool)>, CliError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set("BOXWRIGHT_HOSTS") {
        return match path.is_absolute() {
            true => Ok(Some((path, true))),
            false => Err(CliError::Usage("BOXWRIGHT_HOSTS must be an absolute path".to_owned())),
        };
    }
    let directory = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let directory = directory.filter(|directory| directory.is_absolute());
    Ok(directory.map(|directory| (directory.join("boxwright/hosts.toml"), false)))
}

fn settings(spec: &HostSpec) -> Result<HostSettings, CliError> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|source| failed(path, source));
    let identity = match &spec.client {
        None => None,
        Some((certificate, key)) => Some([read(certificate)?, b"\n".to_vec(), read(key)?].concat()),
    };
    Ok(HostSettings {
        plain: spec.plain_http,
        realm: spec.token_host.clone(),
        ca: spec.ca.as_ref().map(read).transpose()?,
        identity,
        is_direct: spec.is_direct,
        provider: spec.provider,
        api: spec.api.clone(),
    })
}

fn failed(path: &Path, source: std::io::Error) -> CliError {
    CliError::Io { action: "read", path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::HashMap;

    fn read(variables: &[(&str, &Path)]) -> Result<HostConfig, CliError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        own(|name| variables.get(name).map(|path| path.as_os_str().to_owned())).map(|own| own.declared)
    }

    #[test]
    fn the_users_file_is_read_and_no_other() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        let of = |name: &str| format!("[host.{name}]\nplain-http = true\n");
        let names = |declared: HostConfig| declared.hosts.into_keys().collect::<Vec<_>>();
        assert!(names(read(&[]).unwrap()).is_empty());
        assert!(names(read(&[("HOME", home.path())]).unwrap()).is_empty());
        write(".config/boxwright/hosts.toml", &of("a"));
        assert_eq!(names(read(&[("HOME", home.path())]).unwrap()), ["a"]);
        write("xdg/boxwright/hosts.toml", &of("b"));
        let xdg = home.path().join("xdg");
        assert_eq!(names(read(&[("HOME", home.path()), ("XDG_CONFIG_HOME", &xdg)]).unwrap()), ["b"]);
        let other = write("other.toml", &of("c"));
        assert_eq!(names(read(&[("HOME", home.path()), ("BOXWRIGHT_HOSTS", &other)]).unwrap()), ["c"]);
        // Whoever names a file means it, and one that depends on where one stands is not the user's.
        let absent = home.path().join("absent.toml");
        assert!(matches!(read(&[("BOXWRIGHT_HOSTS", &absent)]), Err(CliError::Io { .. })));
        assert!(matches!(read(&[("BOXWRIGHT_HOSTS", Path::new("hosts.toml"))]), Err(CliError::Usage(_))));
        assert!(names(read(&[("HOME", Path::new("."))]).unwrap()).is_empty());
    }

    #[test]
    fn certificates_are_read() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::write(at("ca"), "CA").unwrap();
        std::fs::write(at("crt"), "CRT").unwrap();
        let path = home.path().display();
        let text = format!(
            "[host.a]\nca = \"{path}/ca\"\nclient-certificate = \"{path}/crt\"\nclient-key = \"{path}/key\"\n"
        );
        std::fs::write(at("hosts.toml"), text).unwrap();
        let error = read(&[("BOXWRIGHT_HOSTS", &at("hosts.toml"))]).unwrap_err();
        assert!(matches!(&error, CliError::Io { path, .. } if *path == at("key")), "{error}");
        std::fs::write(at("key"), "KEY").unwrap();
        let declared = read(&[("BOXWRIGHT_HOSTS", &at("hosts.toml"))]).unwrap();
        let settings = &declared.hosts["a"];
        assert_eq!(settings.ca.as_deref(), Some(&b"CA"[..]));
        assert_eq!(settings.identity.as_deref(), Some(&b"CRT\nKEY"[..]));
    }
}
