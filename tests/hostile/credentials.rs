//! A repository wants the registry's password, or an address inside.
