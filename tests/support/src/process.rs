//! Real registries: processes of docker-registry, ended when their value is dropped.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Once};

use boxwright::adapter::credentials::Credentials;
use boxwright::adapter::registry::{HostConfig, HttpRegistry, Limits};
use tempfile::TempDir;

/// A running registry.
pub struct Server {
    /// Its address.
    pub host: String,
    name: &'static str,
    directory: Arc<TempDir>,
}

impl Server {
    /// Starts a registry over a directory of its own.
    pub fn start(options: &[&str]) -> Self {
        Self::start_in(Arc::new(storage()), "registry", options)
    }

    /// Starts another one over the same directory.
    pub fn beside(&self, name: &'static str, options: &[&str]) -> Self {
        Self::start_in(self.directory.clone(), name, options)
    }

    /// Where everything of it is kept.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Removes the blobs that no manifest needs; the process knows nothing of it.
    pub fn collect(&self) {
        script("collect", self.directory.path(), self.name, &[]);
    }

    fn start_in(directory: Arc<TempDir>, name: &'static str, options: &[&str]) -> Self {
        // Made first: a start that fails half-way is stopped as well.
        let mut server = Self { host: String::new(), name, directory };
        server.host = script("start", server.directory.path(), name, options);
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script("stop", self.directory.path(), self.name, &[]);
    }
}

/// A directory for what a registry keeps: in memory, where there is room, as a registry syncs each file it writes.
pub(crate) fn storage() -> TempDir {
    let memory = Path::new("/dev/shm");
    let is_roomy = rustix::fs::statvfs(memory).is_ok_and(|about| about.f_bavail * about.f_frsize > 4 << 30);
    let in_memory = is_roomy.then(|| tempfile::tempdir_in(memory).ok()).flatten();
    in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// Has scripts/registry do something; returns what it prints.
pub(crate) fn script(verb: &str, directory: &Path, name: &str, options: &[&str]) -> String {
    let mut command = Command::new(crate::root().join("scripts/registry"));
    command.arg(verb).arg(directory).args(["--name", name]).args(options);
    // Collecting garbage at every few megabytes costs more than all the rest.
    command.env("GOGC", "off").env("GOMEMLIMIT", "256MiB").env("GOMAXPROCS", "1");
    let output = command.output().expect("scripts/registry can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/registry {verb} {options:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Returns an anonymous client.
pub fn client() -> HttpRegistry {
    client_with(Credentials::anonymous())
}

/// Returns a client that has credentials.
pub fn client_with(credentials: Credentials) -> HttpRegistry {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    HttpRegistry::new(Arc::new(credentials), HostConfig::default(), Limits::default()).unwrap()
}
