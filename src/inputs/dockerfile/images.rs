//! The images a Dockerfile names, and the Dockerfile that is sent with them replaced.

use std::collections::BTreeMap;
use std::ops::Range;

use super::source::DockerfileSource;

/// One place at which a reachable stage names an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// What the name means.
    pub origin: ImageOrigin,
    /// The bytes of the name in the file, variables and quotes included.
    pub span: Range<usize>,
    /// The instruction's line, from 1.
    pub line: u32,
    /// `FROM`, `COPY` or `RUN`.
    pub keyword: &'static str,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageOrigin {
    /// A named context of the configuration, by the name it is given there.
    Context(String),
    /// An image that the file knows nothing about, by its name after expansion.
    Outside(String),
}

impl ImageOrigin {
    /// Returns the context's or image's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Context(name) | Self::Outside(name) => name,
        }
    }
}

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

/// Returns the Dockerfile with image names replaced; names without a replacement stay.
pub fn rewrite(
    source: &DockerfileSource,
    uses: &[ImageUse],
    replacements: &BTreeMap<ImageOrigin, String>,
) -> Result<Vec<u8>, RewriteError> {
    let mut changes: Vec<(&Range<usize>, &String)> =
        uses.iter().filter_map(|found| Some((&found.span, replacements.get(&found.origin)?))).collect();
    changes.sort_by_key(|(span, _)| span.start);
    changes.dedup();
    let text = source.text();
    let mut out = Vec::with_capacity(text.len() + changes.len() * 80);
    let mut done = 0;
    for (span, replacement) in changes {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+[]".contains(&byte);
        if replacement.is_empty() || !replacement.bytes().all(plain) {
            let text = crate::model::printable(replacement, 120);
            return Err(RewriteError::Reference { text });
        }
        let kept = text.get(done..span.start).filter(|_| text.is_char_boundary(span.end.max(span.start)));
        let kept = kept.ok_or_else(|| RewriteError::Elsewhere { file: source.name().to_owned() })?;
        out.extend_from_slice(kept.as_bytes());
        out.extend_from_slice(replacement.as_bytes());
        done = span.end;
    }
    let rest = text.get(done..).ok_or_else(|| RewriteError::Elsewhere { file: source.name().to_owned() })?;
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}
