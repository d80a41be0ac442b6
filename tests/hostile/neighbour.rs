//! Another build on the same engine, another user of the same machine.
