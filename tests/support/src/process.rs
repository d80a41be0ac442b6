//! Real registries: processes of docker-registry, ended when their value is dropped.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Once};

use boxwright::adapter::credentials::Credentials;
use boxwright::adapter::registry::{Declared, HttpRegistry, Limits};
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
        // In memory, where there is such a place: a registry syncs each file it writes.
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self::start_in(Arc::new(directory), "registry", options)
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
        let output = script("collect", self.directory.path(), self.name, &[]);
        assert!(output.status.success(), "scripts/registry collect fails: {}", output.status);
    }

    fn start_in(directory: Arc<TempDir>, name: &'static str, options: &[&str]) -> Self {
        // Made first: a start that fails half-way is stopped as well.
        let mut server = Self { host: String::new(), name, directory };
        let output = script("start", server.directory.path(), name, options);
        server.host = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        assert!(output.status.success(), "scripts/registry start fails: {}", output.status);
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script("stop", self.directory.path(), self.name, &[]);
    }
}

fn script(verb: &str, directory: &Path, name: &str, options: &[&str]) -> Output {
    let script = crate::root().join("scripts/registry");
    let mut command = Command::new(script);
    command.arg(verb).arg(directory).args(["--name", name]).args(options);
    // Collecting garbage at every few megabytes costs more than all the rest.
    command.env("GOGC", "off").env("GOMEMLIMIT", "256MiB").env("GOMAXPROCS", "1");
    command.stderr(std::process::Stdio::inherit()).output().expect("scripts/registry can be run")
}

/// Returns an anonymous client.
pub fn client() -> HttpRegistry {
    client_with(Credentials::anonymous())
}

/// Returns a client that has credentials.
pub fn client_with(credentials: Credentials) -> HttpRegistry {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    HttpRegistry::new(Arc::new(credentials), Declared::default(), Limits::default()).unwrap()
}
