//! Single images: what stands under a tag, what its labels say, and copies of it.

pub(super) mod attached;
pub(super) mod copy;
pub(super) mod labels;
pub(super) mod probe;
