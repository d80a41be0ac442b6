//! The parsers under test, with what must hold for whatever they accept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tests/fuzz/parsers.rs"]
pub mod parsers;
#[path = "../../tests/fuzz/registry.rs"]
mod registry;

/// Makes a fuzz target of a parser.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            $crate::parsers::$name(bytes);
        });
    };
}
