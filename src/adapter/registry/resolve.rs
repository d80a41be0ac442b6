//! Names to addresses (rule S1).
//!
//! A token service or a storage that a registry on the internet names may not turn out to be a
//! machine of the private network. The addresses that were looked at are the ones that are
//! connected to, so a name that changes its mind in between gains nothing.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address;
use crate::adapter::locked::locked;

/// Asks for a name's addresses.
pub(super) type Lookup =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> + Send + Sync>;

/// Names that were found to be of the private network.
pub(super) type Internal = Arc<Mutex<BTreeSet<String>>>;

/// The system's own lookup.
pub(super) fn system() -> Lookup {
    Arc::new(|name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }))
}

pub(super) struct Resolver {
    pub(super) lookup: Lookup,
    pub(super) internal: Internal,
    /// Refuse what is of the private network, instead of taking note of it.
    pub(super) is_guarded: bool,
}

/// The variables that name a proxy.
const PROXIES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Tells whether the environment names this host as a proxy, which may be inside like its user.
fn is_proxy(name: &str) -> bool {
    let host = |value: String| {
        let value = if value.contains("://") { value } else { format!("http://{value}") };
        reqwest::Url::parse(&value).ok().and_then(|url| url.host_str().map(str::to_owned))
    };
    PROXIES.iter().filter_map(|variable| host(std::env::var(variable).ok()?)).any(|host| host == name)
}

/// A name leads into the private network, and whoever gave it is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0} is an internal address")]
pub(super) struct InternalAddress(String);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (name, is_guarded, internal) = (name.as_str().to_owned(), self.is_guarded, self.internal.clone());
        let found = (self.lookup)(name.clone());
        Box::pin(async move {
            let found = found.await?;
            if found.iter().any(|at| address::is_internal_ip(at.ip())) {
                if is_guarded && !is_proxy(&name) {
                    return Err(InternalAddress(name).into());
                }
                locked(&internal).insert(name);
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
