//! Whoever may push: records that would promote, or bring back, another's image.
