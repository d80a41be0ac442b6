//! A Dockerfile with other images in the place of those that it names.

use std::collections::BTreeMap;
use std::ops::Range;

use super::facts::Analysis;
use super::images::ImageOrigin;
use super::source::DockerfileSource;

/// Why a Dockerfile cannot be rewritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// The image uses are not those of this file.
    #[error("{file}: the image names do not stand where they were found")]
    Elsewhere {
        /// The file's name.
        file: String,
    },
    /// A replacement that would change more than a name.
    #[error("`{text}` is not an image reference")]
    Reference {
        /// The replacement, made printable.
        text: String,
    },
}

/// Returns the Dockerfile as it is sent: image names replaced, where there is a replacement,
/// and the stages emptied that the target does not need. A frontend reads the whole file, and
/// might refuse what is none of this box's business.
pub fn rewrite(
    source: &DockerfileSource,
    analysis: &Analysis,
    replacements: &BTreeMap<ImageOrigin, String>,
) -> Result<Vec<u8>, RewriteError> {
    let elsewhere = || RewriteError::Elsewhere { file: source.name().to_owned() };
    let text = source.text();
    let mut changes: Vec<(Range<usize>, String)> = Vec::new();
    for found in &analysis.images {
        let Some(replacement) = replacements.get(&found.origin) else { continue };
        changes.push((found.span.clone(), plain(replacement)?));
    }
    if let Some(frontend) = &analysis.frontend {
        let replacement = replacements.get(&ImageOrigin::Outside(frontend.name.clone()));
        if let (Some(span), Some(replacement)) = (&frontend.span, replacement) {
            changes.push((span.clone(), plain(replacement)?));
        }
    }
    for idle in &analysis.idle {
        let stage = text.get(idle.span.clone()).ok_or_else(elsewhere)?;
        changes.push((idle.span.clone(), idle.emptied(stage)));
    }
    changes.sort_by_key(|(span, _)| span.start);
    changes.dedup();
    let mut out = String::with_capacity(text.len() + changes.len() * 80);
    let mut done = 0;
    for (span, replacement) in changes {
        let kept = text.get(done..span.start).filter(|_| text.is_char_boundary(span.end.max(span.start)));
        out.push_str(kept.ok_or_else(elsewhere)?);
        out.push_str(&replacement);
        done = span.end;
    }
    out.push_str(text.get(done..).ok_or_else(elsewhere)?);
    Ok(out.into_bytes())
}

/// Nothing that would change more than a name.
fn plain(replacement: &str) -> Result<String, RewriteError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+[]".contains(&byte);
    if replacement.is_empty() || !replacement.bytes().all(plain) {
        let text = crate::model::printable(replacement, 120);
        return Err(RewriteError::Reference { text });
    }
    Ok(replacement.to_owned())
}
