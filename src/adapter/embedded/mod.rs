//! The embedded registry: `registry = "embedded"`.
//!
//! Images stand under `.boxwright/registry/` as a standard OCI image layout, and are served
//! over the OCI distribution API 1.1 on loopback, for the Docker engine and for our own
//! client alike, as long as the command runs. It is for one machine and one user: a password of
//! this run opens it (`key`), its files are closed to others (`private`), and every blob is
//! visible in every repository.
//!
//! - `index`: what `index.json` says, read and written;
//! - `snapshot`: `index.json` as last read;
//! - `layout`: the directory, its lock, and replacing files in it;
//! - `store`: what the registry does with manifests;
//! - `upload`: bytes of blobs as they come;
//! - `collect`: removing blobs that nothing needs;
//! - `key`: what a client has to show;
//! - `private`: files closed to others;
//! - `port`, `server`: listening and stopping;
//! - `http`: requests and answers, nothing else.

mod collect;
mod error;
mod http;
mod index;
mod key;
mod layout;
mod port;
mod private;
mod server;
mod snapshot;
mod store;
mod upload;

pub use collect::Collected;
pub use error::EmbeddedError;
pub use http::OnRequest;
pub use port::PortChoice;
pub use server::EmbeddedServer;
pub use store::Store;
