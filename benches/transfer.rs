//! Moves one blob through the registry client, to be timed beside other programs
//! (`scripts/bench push`).
//!
//! ```text
//! transfer push FILE DIGEST SIZE HOST/NAME   uploads FILE as a blob, hashing it on the way
//! transfer pull HOST/NAME DIGEST SIZE FILE   downloads it into FILE
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use boxwright::adapter::credentials::Credentials;
use boxwright::adapter::files::{FileBlob, save};
use boxwright::adapter::registry::{HostConfig, HttpRegistry, Limits};
use boxwright::port::{Blob, RegistryWriter};

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let credentials = Arc::new(Credentials::anonymous());
    let registry = HttpRegistry::new(credentials, HostConfig::default(), Limits::default()).unwrap();
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["push", file, digest, size, to] => {
            let source = FileBlob::new(file, blob(digest, size));
            registry.push_blob(&to.parse().unwrap(), &source, None).await.unwrap();
        }
        ["pull", from, digest, size, file] => {
            let blob = blob(digest, size);
            save(&registry, &from.parse().unwrap(), &blob, Path::new(file)).await.unwrap();
        }
        _ => panic!("see the head of benches/transfer.rs"),
    }
}

fn blob(digest: &str, size: &str) -> Blob {
    Blob { digest: digest.parse().unwrap(), size: size.parse().unwrap() }
}
