//! Where the name of a remote leads.
//!
//! The address stands in the repository's own configuration, and is believed no more than one in
//! `boxwright.toml`. What logs in there comes along: the header that a CI's checkout leaves for
//! one host, which git shows to that host alone.

use super::lent::settings;
use super::{Repository, Unread};

/// A remote of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its address.
    pub url: String,
    /// Settings of git that hold a header for one https host.
    pub(in crate::adapter) headers: Vec<(String, String)>,
    /// Whether objects may be missing here that it has.
    pub(super) is_promisor: bool,
}

impl Origin {
    /// Takes an address as it is.
    pub fn plain(url: &str) -> Self {
        Self { url: url.to_owned(), headers: Vec::new(), is_promisor: false }
    }

    /// Tells whether this is how remotes are named, and not an address.
    pub fn is_name(text: &str) -> bool {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !text.is_empty() && !text.starts_with(['-', '.']) && text.bytes().all(is_word)
    }

    /// Looks a remote up by its name.
    pub fn of(repository: &Repository, name: &str, hidden: &[String]) -> Result<Option<Self>, Unread> {
        let settings = settings(repository, hidden)?;
        let key = format!("remote.{name}.url");
        let Some((_, url)) = settings.iter().find(|(found, _)| *found == key) else { return Ok(None) };
        let is_header = |key: &str| key.starts_with("http.https://") && key.ends_with(".extraheader");
        let headers = settings.iter().filter(|(key, _)| is_header(key)).cloned().collect();
        let promisor = format!("remote.{name}.promisor");
        let is_promisor =
            settings.iter().any(|(key, _)| *key == promisor || key == "extensions.partialclone");
        Ok(Some(Self { url: url.clone(), headers, is_promisor }))
    }
}
