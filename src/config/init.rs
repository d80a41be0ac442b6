//! A first `boxwright.toml` from the Dockerfiles that are there.

/// A Dockerfile that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its path, relative to the repository's root.
    pub path: String,
    /// Its stages, in their order.
    pub stages: Vec<FoundStage>,
}

/// One stage of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundStage {
    /// Its name, or nothing if it has none.
    pub name: Option<String>,
    /// The line it begins on, from 1.
    pub line: u32,
    /// The name after `FROM`, variables replaced.
    pub from: String,
}

/// Writes the text of a first configuration.
pub fn first_config(_found: &[Found]) -> String {
    String::new()
}
