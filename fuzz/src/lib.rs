//! The parsers under test, with what must hold for whatever they accept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub use boxwright_testing::fuzz as parsers;

/// Makes a fuzz target of a parser.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            $crate::parsers::$name(bytes);
        });
    };
}
