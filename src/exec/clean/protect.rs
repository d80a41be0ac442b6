//! What is asked outside before a sweep: the lists of digests that are protected, and the git
//! refs that keep tags.

use std::collections::BTreeMap;

use crate::model::{Digest, ErrorKind, Explained, Explanation, Keep};
use crate::port::{Remote, RemoteError};
use crate::retention::{Policies, Refs};

/// The largest list that is read, in bytes.
const LIST_LIMIT: usize = 16 * 1024 * 1024;

/// Why a list of protected digests protects everything.
#[derive(Debug, thiserror::Error)]
pub enum ProtectError {
    /// An address does not serve it.
    #[error("the list of protected digests cannot be read")]
    Unreadable(#[from] RemoteError),
    /// It names nothing, so it is probably not the list that was meant.
    #[error("{name} names no digest; what it was to protect is unknown")]
    Empty {
        /// The file or address.
        name: String,
    },
}

impl Explained for ProtectError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Unreadable(error) => error.explain().undone("nothing was deleted"),
            Self::Empty { .. } => ErrorKind::Refused.hint("nothing was deleted"),
        }
    }
}

/// Reads the digests that texts and addresses name, with the reason why each is kept. Whatever
/// looks like a digest counts, so a list may be plain text, JSON, or a deployment as it is.
pub async fn protected(
    remote: &dyn Remote,
    texts: &[(String, String)],
    urls: &[String],
) -> Result<BTreeMap<Digest, String>, ProtectError> {
    let mut protected = BTreeMap::new();
    let mut take = |name: &str, text: &str| {
        let digests = digests(text);
        if digests.is_empty() {
            return Err(ProtectError::Empty { name: name.to_owned() });
        }
        protected.extend(digests.into_iter().map(|digest| (digest, format!("is named by {name}"))));
        Ok(())
    };
    for (name, text) in texts {
        take(name, text)?;
    }
    for url in urls {
        take(url, &remote.text(url, LIST_LIMIT).await?)?;
    }
    Ok(protected)
}

/// Finds every `sha256:<64 hex digits>` in a text.
fn digests(text: &str) -> Vec<Digest> {
    let found = text.match_indices("sha256:").filter_map(|(at, _)| {
        let end = at + "sha256:".len() + 64;
        let is_longer = text.as_bytes().get(end).is_some_and(u8::is_ascii_hexdigit);
        text.get(at..end).filter(|_| !is_longer)?.parse().ok()
    });
    found.collect()
}

/// Asks each git remote that a policy names for its refs, once. Of one that does not answer
/// nothing is known, and so everything is kept; the errors are returned to be told.
pub async fn refs(remote: &dyn Remote, policies: &Policies) -> (Refs, Vec<RemoteError>) {
    let (mut refs, mut errors) = (Refs::new(), Vec::new());
    for policy in policies {
        let Keep::Rules(rules) = &policy.keep else { continue };
        let Some(rule) = rules.git_ref.as_ref().filter(|rule| !refs.contains_key(&rule.remote)) else {
            continue;
        };
        let known = match remote.refs(&rule.remote).await {
            Ok(known) => Some(known),
            Err(error) => {
                errors.push(error);
                None
            }
        };
        refs.insert(rule.remote.clone(), known);
    }
    (refs, errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_looks_like_a_digest_counts() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let text = format!("image: r.example/x@{a}\n[\"{b}\"] sha256:short {a}0");
        assert_eq!(digests(&text), [a, b]);
        assert_eq!(digests("sha256:"), []);
    }
}
