//! Links, pipes and huge files where a file is read.
