//! A repository, or a git, that is not what it looks like.
