//! The manifest against itself.
