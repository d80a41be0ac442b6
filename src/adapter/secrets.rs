//! Secrets from this process's environment and from files, and the ssh agent at
//! `SSH_AUTH_SOCK`.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::beneath;
use crate::model::{Digest, SecretSource, SecretValue};
use crate::port::{ContextError, SecretError, Secrets};

/// BuildKit's own limit (`secretsprovider.MaxSecretSize`), in bytes.
const LIMIT: usize = 500 * 1024;
/// The variable that says where the agent listens.
const AGENT: &str = "SSH_AUTH_SOCK";

/// Reads secrets of this process and this machine.
///
/// Which, a repository says, and so it may name files of its own alone: none of its `.git`, which
/// holds what a checkout logged in with, and of this machine only what the user has allowed.
#[derive(Debug, Clone)]
pub struct LocalSecrets {
    root: PathBuf,
    allowed: Vec<PathBuf>,
    project: String,
}

impl LocalSecrets {
    /// Relative paths are relative to `root`, the directory of the configuration; of what is outside
    /// its repository the files and directories in `allowed` may be read.
    pub fn new(root: impl Into<PathBuf>, allowed: Vec<PathBuf>) -> Self {
        Self { root: root.into(), allowed, project: String::new() }
    }

    /// Lends the cache mounts of this project.
    #[must_use]
    pub fn of_project(self, project: impl Into<String>) -> Self {
        Self { project: project.into(), ..self }
    }

    async fn open(&self, path: &Path) -> Result<File, SecretError> {
        let path = self.root.join(path);
        let (shown, bounds, allowed) =
            (path.clone(), beneath::bounds(&self.root).to_owned(), self.allowed.clone());
        let open = move || opened(&path, &bounds, &allowed);
        let opened = tokio::task::spawn_blocking(open).await;
        opened.unwrap_or_else(|_| Err(SecretError::File { path: shown, source: io::ErrorKind::Other.into() }))
    }
}

/// Opens a file that lies below `bounds` or is allowed.
fn opened(path: &Path, bounds: &Path, allowed: &[PathBuf]) -> Result<File, SecretError> {
    let failed = |source| SecretError::File { path: path.to_owned(), source };
    let real = path.canonicalize().map_err(failed)?;
    let real_of = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_own = |root: &Path| {
        let below = real.strip_prefix(real_of(root));
        below.is_ok_and(|below| !below.components().any(|part| part.as_os_str() == ".git"))
    };
    let root = match allowed.iter().map(|path| real_of(path)).find(|allowed| real.starts_with(allowed)) {
        Some(allowed) if allowed.is_dir() => allowed,
        Some(allowed) => allowed.parent().unwrap_or(Path::new("/")).to_owned(),
        None if is_own(bounds) => bounds.to_owned(),
        None => return Err(SecretError::Outside { path: path.to_owned() }),
    };
    match beneath::open(&root, &real) {
        Ok(Some((file, _))) => Ok(File::from_std(file)),
        Ok(None) => Err(failed(io::ErrorKind::NotFound.into())),
        Err(ContextError::Io { source, .. }) => Err(failed(source)),
        Err(error) => Err(failed(io::Error::other(error))),
    }
}

/// No secrets at all: what a run builds that whoever caused it could not have had built.
#[derive(Debug)]
pub struct Withheld {
    /// Why, a lower-case fragment.
    pub why: String,
    /// What lends them, if whoever runs this can say so.
    pub hint: Option<&'static str>,
    /// How far the run is believed, in a word.
    pub level: &'static str,
    /// The project, as whoever caused the run names it.
    pub project: String,
}

#[async_trait]
impl Secrets for Withheld {
    async fn check(&self, _: &SecretSource) -> Result<(), SecretError> {
        self.lends()
    }

    async fn read(&self, source: &SecretSource) -> Result<SecretValue, SecretError> {
        self.check(source).await?;
        Ok(SecretValue::new(Vec::new()))
    }

    async fn agent(&self) -> Result<PathBuf, SecretError> {
        self.lends().map(|()| PathBuf::new())
    }

    fn lends(&self) -> Result<(), SecretError> {
        Err(SecretError::Withheld { why: self.why.clone(), hint: self.hint })
    }

    fn namespace(&self) -> String {
        namespace(self.level, &self.project)
    }
}

#[async_trait]
impl Secrets for LocalSecrets {
    async fn check(&self, source: &SecretSource) -> Result<(), SecretError> {
        match source {
            SecretSource::Env(name) => variable(name).map(drop),
            SecretSource::File(path) => self.open(path).await.map(drop),
        }
    }

    async fn read(&self, source: &SecretSource) -> Result<SecretValue, SecretError> {
        keep_out_of_core_dumps();
        let bytes = match source {
            SecretSource::Env(name) => variable(name)?,
            SecretSource::File(path) => {
                let mut bytes = Vec::new();
                let failed = |source| SecretError::File { path: self.root.join(path), source };
                let file = self.open(path).await?;
                file.take(LIMIT as u64 + 1).read_to_end(&mut bytes).await.map_err(failed)?;
                bytes
            }
        };
        if bytes.len() > LIMIT {
            return Err(SecretError::TooLarge { from: source.clone(), limit: LIMIT });
        }
        Ok(SecretValue::new(bytes))
    }

    async fn agent(&self) -> Result<PathBuf, SecretError> {
        let socket = PathBuf::from(std::ffi::OsString::from_vec(variable(AGENT)?));
        match UnixStream::connect(&socket).await {
            Ok(_) => Ok(socket),
            Err(source) => Err(SecretError::Agent { socket, source }),
        }
    }

    fn namespace(&self) -> String {
        namespace("trusted", &self.project)
    }
}

/// Names the cache mounts of a project's runs at one level of trust. An engine joins namespace and
/// id by `/`, so a fixed length without one makes sure that no two pairs are joined to the same.
fn namespace(level: &str, project: &str) -> String {
    Digest::of(format!("boxwright cache mounts\0{level}\0{project}").as_bytes()).hex()[..32].to_owned()
}

fn variable(name: &str) -> Result<Vec<u8>, SecretError> {
    let variable = || name.to_owned();
    match std::env::var_os(name) {
        None => Err(SecretError::Unset { variable: variable() }),
        Some(value) if value.is_empty() => Err(SecretError::Empty { variable: variable() }),
        Some(value) => Ok(value.into_vec()),
    }
}

/// From here on a crash writes no memory to disk. A limit that cannot be set stays.
fn keep_out_of_core_dumps() {
    let maximum = getrlimit(Resource::Core).maximum;
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn file(path: &str) -> SecretSource {
        SecretSource::File(path.into())
    }

    #[tokio::test]
    async fn files_are_read_up_to_the_engines_limit() {
        let root = tempfile::tempdir().unwrap();
        let secrets = LocalSecrets::new(root.path(), Vec::new());
        for (name, size) in [("none", 0), ("most", LIMIT), ("more", LIMIT + 1)] {
            std::fs::write(root.path().join(name), vec![b'x'; size]).unwrap();
        }
        assert_eq!(secrets.read(&file("none")).await.unwrap().expose(), b"");
        assert_eq!(secrets.read(&file("most")).await.unwrap().expose().len(), LIMIT);
        let error = secrets.read(&file("more")).await.unwrap_err();
        assert_eq!(error.to_string(), "the file more holds more than 512000 bytes");
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
    }

    #[tokio::test]
    async fn what_is_no_readable_file_is_named_and_never_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let secrets = LocalSecrets::new(root.path(), Vec::new());
        mknodat(CWD, root.path().join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        std::fs::create_dir(root.path().join("directory")).unwrap();
        for name in ["fifo", "directory", "absent"] {
            for result in [secrets.check(&file(name)).await, secrets.read(&file(name)).await.map(drop)] {
                let error = result.unwrap_err().to_string();
                assert!(error.contains(root.path().join(name).to_str().unwrap()), "{error}");
            }
        }
        let absolute = root.path().join("there");
        std::fs::write(&absolute, "x").unwrap();
        std::fs::set_permissions(&absolute, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(secrets.check(&SecretSource::File(absolute)).await.is_ok());
    }

    #[tokio::test]
    async fn a_repository_names_its_own_files_and_the_user_others() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().canonicalize().unwrap();
        for name in ["project/sub", "project/.git", "home/keys", "project/linked"] {
            std::fs::create_dir_all(at.join(name)).unwrap();
        }
        for name in ["project/own", "project/.git/config", "home/keys/a", "home/b"] {
            std::fs::write(at.join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("../home/b", at.join("project/b")).unwrap();
        std::os::unix::fs::symlink(".git/config", at.join("project/git")).unwrap();
        let check = async |allowed: &[&str], path: &str, expect: bool| {
            let allowed = allowed.iter().map(|one| at.join(one)).collect();
            let secrets = LocalSecrets::new(at.join("project/sub"), allowed);
            let found = secrets.check(&SecretSource::File(at.join("project/sub").join(path))).await;
            assert_eq!(found.is_ok(), expect, "{path}");
            if let Err(error) = found {
                assert!(matches!(error, SecretError::Outside { .. }), "{path}: {error}");
            }
        };
        check(&[], "../own", true).await;
        for path in ["../.git/config", "../git", "../../home/b", "../b", "/proc/self/environ", "/etc/passwd"]
        {
            check(&[], path, false).await;
        }
        check(&["home/b"], "../../home/b", true).await;
        check(&["home/b"], "../b", true).await;
        check(&["home/b"], "../../home/keys/a", false).await;
        check(&["home/keys"], "../../home/keys/a", true).await;
        check(&["home/key"], "../../home/keys/a", false).await;
    }

    #[test]
    fn each_level_of_each_project_has_caches_of_its_own() {
        let of = |project: &str| LocalSecrets::new("/", Vec::new()).of_project(project).namespace();
        let withheld = |level, project: &str| {
            Withheld { why: String::new(), hint: None, level, project: project.to_owned() }.namespace()
        };
        let all = [of("r/a"), of("r/b"), withheld("unknown", "r/a"), withheld("untrusted", "r/a")];
        let apart: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(apart.len(), all.len());
        assert!(all.iter().all(|one| one.len() == 32 && !one.contains('/')));
        assert_eq!(of("r/a"), LocalSecrets::new("/elsewhere", Vec::new()).of_project("r/a").namespace());
    }

    #[tokio::test]
    async fn a_variable_has_to_hold_something() {
        let secrets = LocalSecrets::new("/", Vec::new());
        let unset = SecretSource::Env("BOXWRIGHT_NO_SUCH_VARIABLE".to_owned());
        let error = secrets.check(&unset).await.unwrap_err();
        assert_eq!(error.to_string(), "the environment variable BOXWRIGHT_NO_SUCH_VARIABLE is not set");
        let path = SecretSource::Env("PATH".to_owned());
        let value = std::env::var("PATH").unwrap();
        assert_eq!(secrets.read(&path).await.unwrap().expose(), value.as_bytes());
    }
}
