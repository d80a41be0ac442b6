//! A CI that does not say whose change it runs.
