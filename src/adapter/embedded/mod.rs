//! The embedded registry: `registry = "embedded"`.
//!
//! Images stand under `.boxwright/registry/` as a standard OCI image layout, and are served
//! over the OCI distribution API 1.1 on loopback, for the Docker engine and for our own
//! client alike, as long as the command runs. It is for one machine: there is no
//! authentication, and every blob is visible in every repository.
//!
//! - `index`: what `index.json` says, read and written;
//! - `snapshot`: `index.json` as last read;
//! - `layout`: the directory, its lock, and replacing files in it;
//! - `store`: what the registry does with manifests;
//! - `upload`: bytes of blobs as they come;
//! - `collect`: removing blobs that nothing needs;
//! - `port`, `server`: listening and stopping;
//! - `http`: requests and answers, nothing else.

mod collect;
mod error;
mod http;
mod index;
mod layout;
mod port;
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
