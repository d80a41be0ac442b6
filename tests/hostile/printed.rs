//! Names that would draw on the terminal.
