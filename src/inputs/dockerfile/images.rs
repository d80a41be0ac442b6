//! The images a Dockerfile names, and the Dockerfile that is sent with them replaced.

use std::ops::Range;

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

/// A stage that the target does not need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreachableStage {
    /// Its bytes in the file, up to the next stage.
    pub span: Range<usize>,
    /// Its name in lower case, if it has one.
    pub name: Option<String>,
}

impl UnreachableStage {
    /// What is sent in its place: an empty stage of the same name on as many lines, so that
    /// stages keep their indices and the engine's messages their line numbers.
    pub(super) fn emptied(&self, text: &str) -> String {
        let name = self.name.as_ref().map_or_else(String::new, |name| format!(" AS {name}"));
        format!("FROM scratch{name}{}", "\n".repeat(text.matches('\n').count()))
    }
}
