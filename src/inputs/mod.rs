//! From a Dockerfile and a context to the input manifest and the key.
