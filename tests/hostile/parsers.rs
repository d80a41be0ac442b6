//! Inputs made to never end.
