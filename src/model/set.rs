//! Promotions as the ledger records them: what was promoted, from where, and what stood there before.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::source::Source;
use super::{Digest, Key, Record, RecordTag, RunId, Tag, TaggedDigest, Timestamp, grammar};

/// One promotion: written as `plan.<tag>.<seq>` before the first tag moves and as
/// `set.<tag>.<seq>` after the last one was read back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PromotionRecord {
    /// The tag that was promoted to.
    pub tag: Tag,
    /// The channel it belongs to.
    #[serde(deserialize_with = "grammar::word")]
    pub channel: String,
    /// Counts the promotions of this tag, from 1.
    pub seq: u32,
    /// When, by the registry's clock.
    pub promoted: Timestamp,
    /// The run that promoted.
    pub run: RunId,
    /// Where the boxes came from.
    pub source: Source,
    /// The promotion whose images these are, where they were taken from another one: of this
    /// tag for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PromotionId>,
    /// The registry that the images were copied from, which is also where `from` counts.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "grammar::registry")]
    pub copied: Option<String>,
    /// The newest source that a rollback took back. Until something newer than that is
    /// promoted, the tag does not move on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Source>,
    /// Who promoted, where that was known. Whoever may push can have written any name.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "grammar::who")]
    pub by: Option<String>,
    /// The boxes, in the order their tags move; one at least.
    #[serde(deserialize_with = "grammar::some")]
    pub boxes: Vec<PromotedImage>,
}

/// One promotion of one tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PromotionId {
    /// The tag that was promoted to.
    pub tag: Tag,
    /// Its number.
    pub seq: u32,
}

impl fmt::Display for PromotionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.tag, self.seq)
    }
}

/// The first count of a tag's promotions may be this at most: those before it may have been forgotten.
const FIRST: u32 = 1_000_000;
/// So much may two counts differ that follow each other.
const GAP: u32 = 1000;

/// Returns the last count of a tag's promotions, of those that records claim. One that does not
/// follow on the others was made up, so that no number is left, or that it is the last for ever.
pub fn last_count(counts: impl IntoIterator<Item = u32>) -> u32 {
    let counts: BTreeSet<u32> = counts.into_iter().collect();
    let follows = |last: u32, count: u32| {
        let most = if last == 0 { FIRST } else { GAP };
        (count.saturating_sub(last) <= most).then_some(count).ok_or(last)
    };
    counts.into_iter().try_fold(0, follows).unwrap_or_else(|last| last)
}

impl PromotionRecord {
    /// Returns the name of this promotion.
    pub fn name(&self) -> PromotionId {
        PromotionId { tag: self.tag.clone(), seq: self.seq }
    }

    /// Tells whether the same images went to the same repositories.
    pub fn has_images_of(&self, other: &Self) -> bool {
        let images = |set: &Self| -> Vec<_> {
            set.boxes.iter().map(|member| (member.repository.clone(), member.digest.clone())).collect()
        };
        images(self) == images(other)
    }
}

/// A promotion that was begun. It says what [`PromotionRecord`] says, in a manifest of its own, so
/// that deleting one never takes the other along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanRecord(pub PromotionRecord);

impl Record for PlanRecord {
    const KIND: &'static str = "plan";

    fn place(&self) -> RecordTag {
        RecordTag::Plan { tag: self.0.tag.clone(), seq: self.0.seq }
    }
}

/// The announcement that a promotion's tags are to go. Its tag is `ends.<tag>.<seq>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UntagNotice {
    pub tag: Tag,
    /// The count of the promotion that stands under it.
    pub seq: u32,
    /// When it was announced, by the registry's clock; when it was withdrawn, if there are no
    /// images any more.
    pub marked: Timestamp,
    /// Why.
    #[serde(deserialize_with = "grammar::line")]
    pub reason: String,
    /// What stood under the tag then.
    pub images: Vec<TaggedDigest>,
}

impl UntagNotice {
    /// Returns the promotion's name.
    pub fn name(&self) -> PromotionId {
        PromotionId { tag: self.tag.clone(), seq: self.seq }
    }
}

impl Record for UntagNotice {
    const KIND: &'static str = "ends";

    fn place(&self) -> RecordTag {
        RecordTag::Ends { tag: self.tag.clone(), seq: self.seq }
    }
}

/// One box of a set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PromotedImage {
    /// The box's name.
    #[serde(deserialize_with = "grammar::word")]
    pub name: String,
    /// The repository's name, without its host.
    #[serde(deserialize_with = "grammar::repository")]
    pub repository: String,
    pub key: Key,
    /// The content tag it was taken from.
    pub content_tag: Tag,
    /// The digest the tag moves to.
    pub digest: Digest,
    /// What stood under the tag before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
}

impl Record for PromotionRecord {
    const KIND: &'static str = "set";

    fn place(&self) -> RecordTag {
        RecordTag::Set { tag: self.tag.clone(), seq: self.seq }
    }
}

#[cfg(test)]
impl PromotionRecord {
    /// A promotion of one box, `base`, whose image is named by any text.
    pub fn of_image(tag: &str, seq: u32, promoted: i64, image: &str) -> Self {
        let member = PromotedImage {
            name: "base".to_owned(),
            repository: "base".to_owned(),
            key: Key::of(image.as_bytes()),
            content_tag: "k".parse().unwrap(),
            digest: Digest::of(image.as_bytes()),
            before: None,
        };
        Self {
            tag: tag.parse().unwrap(),
            channel: "c".to_owned(),
            seq,
            promoted: Timestamp::from_unix(promoted),
            run: "r".parse().unwrap(),
            source: Source::default(),
            from: None,
            copied: None,
            withdrawn: None,
            by: None,
            boxes: vec![member],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_do_not_follow_are_none() {
        let check = |counts: &[u32], expect: u32| {
            assert_eq!(last_count(counts.iter().copied()), expect, "{counts:?}");
        };
        check(&[], 0);
        check(&[1, 2, 3], 3);
        check(&[3, 1, 2, 2], 3);
        check(&[7, 9, 1009], 1009);
        check(&[1, 2, 1003], 2);
        check(&[1, 2, u32::MAX], 2);
        check(&[1, 2, 2_000_000_000, 2_000_000_001], 2);
        // Those before were forgotten.
        check(&[5000, 5001], 5001);
        check(&[u32::MAX], 0);
    }
}
