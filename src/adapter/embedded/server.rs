//! The server's life: opened over a store, stopped with the command.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::serve::ListenerExt as _;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::http::{self, OnRequest};
use super::key::Key;
use super::port::{self, PortChoice};
use super::{EmbeddedError, Store, private};
use crate::adapter::credentials::Credential;

/// How long a stop waits for requests that are still running.
const PATIENCE: Duration = Duration::from_secs(5);

/// A registry on loopback over the store in a `.boxwright` directory.
///
/// It serves until it is stopped or dropped; dropped, it ends its running requests in the
/// background.
#[derive(Debug)]
pub struct EmbeddedServer {
    addr: SocketAddr,
    store: Store,
    key: Key,
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl EmbeddedServer {
    /// Opens the store in `home/registry`, making it where there is none, and serves it.
    ///
    /// `home` (`.boxwright`) also gets a `.gitignore` that keeps all of it out of commits,
    /// and a `port` file. `on_request` is called with a line for each request answered.
    ///
    /// # Errors
    /// A directory that cannot be written, a damaged store, a port that is taken.
    pub async fn start(
        home: &Path,
        choice: PortChoice,
        on_request: Option<OnRequest>,
    ) -> Result<Self, EmbeddedError> {
        let home = home.to_owned();
        let open = move || {
            private::directory(&home)?;
            ignore(&home.join(".gitignore"))?;
            let store = Store::open(&home.join("registry"))?;
            Ok((store, port::listen(choice, &home.join("port"))?))
        };
        let (store, listener) =
            tokio::task::spawn_blocking(open).await.map_err(|_| EmbeddedError::CutOff)??;
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let listening = |source| EmbeddedError::Listen { addr: unknown, source };
        let addr = listener.local_addr().map_err(listening)?;
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(listening)?
            .tap_io(|stream| drop(stream.set_nodelay(true)));
        let stop = CancellationToken::new();
        let key = Key::new()?;
        let app = http::app(store.clone(), key.clone(), on_request);
        let serve = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
        let task = tokio::spawn(async move {
            // Never an error: accepting goes on through every failure of a connection.
            let _ = serve.await;
        });
        Ok(Self { addr, store, key, stop: stop.drop_guard(), task })
    }

    /// Returns the address it listens on; `addr().to_string()` is the registry host in
    /// image names.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns what opens it, to nobody but this run.
    pub fn credential(&self) -> Credential {
        self.key.credential()
    }

    /// Writes a Docker configuration that opens it, for tools that this machine's user starts.
    /// It is gone when the value is dropped.
    ///
    /// # Errors
    /// A directory that cannot be written.
    pub fn login_in(&self, directory: &Path) -> Result<LoginFile, EmbeddedError> {
        private::directory(directory)?;
        let path = directory.join("config.json");
        let text = json!({ "auths": { self.addr.to_string(): { "auth": self.key.encoded() } } }).to_string();
        let file = tempfile::NamedTempFile::new_in(directory).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.persist(&path).map_err(|error| error.error)
        });
        file.map_err(EmbeddedError::io("write", &path))?;
        Ok(LoginFile { path, text })
    }

    /// Returns the store that it serves.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Stops: no new requests, running ones have five seconds to end.
    pub async fn stop(self) {
        drop(self.stop);
        let _ = tokio::time::timeout(PATIENCE, self.task).await;
    }
}

/// A file with credentials, for as long as they are good.
#[derive(Debug)]
pub struct LoginFile {
    path: PathBuf,
    text: String,
}

impl Drop for LoginFile {
    fn drop(&mut self) {
        // Another server may have put its own there.
        if fs::read(&self.path).is_ok_and(|text| text == self.text.as_bytes()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes a `.gitignore` that hides its directory, unless there is one.
fn ignore(path: &Path) -> Result<(), EmbeddedError> {
    let new = fs::OpenOptions::new().write(true).create_new(true).mode(private::FILE).open(path);
    match new {
        Ok(mut file) => file.write_all(b"*\n").map_err(EmbeddedError::io("write", path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(EmbeddedError::io("create", path)(error)),
    }
}
