//! What a report holds.

use serde::Serialize;

use crate::model::Digest;

/// Everything that is reported.
#[derive(Debug, Serialize)]
pub struct Report {
    pub schema: u32,
    pub registry: String,
    pub now: String,
    pub totals: Totals,
    pub boxes: Vec<BoxFacts>,
    pub images: Vec<Image>,
    pub leases: Vec<LeaseFacts>,
    pub promotions: Vec<Promotion>,
}

impl Report {
    /// Returns what `clean` would condemn or delete.
    pub fn going(&self) -> impl Iterator<Item = &Image> {
        self.images.iter().filter(|image| image.action != "keep")
    }
}

/// Figures of the whole registry; sizes in bytes, each blob counted once.
#[derive(Debug, Serialize)]
pub struct Totals {
    pub tags: usize,
    pub images: usize,
    pub bytes: u64,
    /// What would be free if everything that `clean` is to condemn or delete were gone.
    pub freed: u64,
}

/// One box.
#[derive(Debug, Serialize)]
pub struct BoxFacts {
    pub name: String,
    pub repository: String,
    pub parents: Vec<String>,
    pub tags: usize,
    pub images: usize,
    pub bytes: u64,
    /// Of those, what no other repository has.
    pub own_bytes: u64,
}

/// One tag.
#[derive(Debug, Serialize)]
pub struct Image {
    pub repository: String,
    pub tag: String,
    pub digest: Option<Digest>,
    pub bytes: u64,
    /// Of those, what no other image has.
    pub own_bytes: u64,
    /// What `clean` would do now.
    pub action: &'static str,
    pub reason: String,
}

/// One live lease.
#[derive(Debug, Serialize)]
pub struct LeaseFacts {
    pub run: String,
    pub attempt: u32,
    pub taken: String,
    pub until: String,
    pub keys: Vec<String>,
    /// How much of it is over, in hundredths.
    #[serde(skip)]
    pub gone: u64,
}

/// One promotion.
#[derive(Debug, Serialize)]
pub struct Promotion {
    pub tag: String,
    pub channel: Option<String>,
    pub seq: u32,
    pub promoted: String,
    pub run: String,
    pub revision: Option<String>,
    pub boxes: Vec<Member>,
}

/// One box of a [`Promotion`].
#[derive(Debug, Serialize)]
pub struct Member {
    pub name: String,
    pub digest: Digest,
    pub before: Option<Digest>,
}
