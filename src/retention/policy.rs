//! What of a channel's promotions keeps its images, and which tags may go.
//!
//! A promotion is kept or let go as a whole: its boxes stay or go together. The last one of a
//! tag stands there; letting it go means to remove the tag from all its boxes' repositories.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::model::{Keep, PromotionId, PromotionRecord, Rules, Tag, Timestamp, may_hold, spelled, version};

/// What is kept of the tags that a channel's pattern matches.
#[derive(Debug, Clone)]
pub struct ChannelPolicy {
    /// The channel's name.
    pub name: String,
    /// Its tags.
    pub pattern: Regex,
    /// What is kept of their promotions.
    pub keep: Keep,
}

/// What is kept of each channel. A tag that is of none keeps all; of several, the first counts. What
/// channel a record names does not matter: whoever may push can write one.
pub type Policies = Vec<ChannelPolicy>;

fn of<'a>(policies: &'a Policies, tag: &Tag) -> Option<&'a ChannelPolicy> {
    policies.iter().find(|policy| policy.pattern.is_match(tag.as_str()))
}

/// The refs of git remotes, by the remote; nothing of one that could not be read.
pub type Refs = BTreeMap<String, Option<BTreeSet<String>>>;

/// A promotion with what the policy says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The promotion.
    pub set: PromotionRecord,
    /// Whether it stands under its tag: the last one that was finished.
    pub stands: bool,
    /// Whether its images are kept for it.
    pub is_kept: bool,
    /// Why, or why not.
    pub reason: String,
}

/// Judges all promotions, of those that were finished (`sets`) and those that were begun
/// (`plans`), at the time `now`; `there` are the tags that stand in any repository, and `seen` is when
/// sweeps first saw promotions, where that is noted: none was made, or has replaced another, before that.
///
/// A promotion that was begun after the last finished one may still be gone on with, so it
/// is kept; it does not count. Neither does one that changed no image.
pub fn judge(
    sets: Vec<PromotionRecord>,
    plans: Vec<PromotionRecord>,
    seen: &BTreeMap<PromotionId, Timestamp>,
    there: &BTreeSet<Tag>,
    policies: &Policies,
    refs: &Refs,
    now: Timestamp,
) -> Vec<Judged> {
    let mut tags: BTreeMap<Tag, Vec<PromotionRecord>> = BTreeMap::new();
    for set in sets {
        tags.entry(set.tag.clone()).or_default().push(set);
    }
    let mut judged: Vec<Judged> = Vec::new();
    for plan in plans {
        let newest = tags.get(&plan.tag).into_iter().flatten().map(|set| set.seq).max();
        if newest.is_none_or(|newest| newest < plan.seq) {
            let reason = format!("{} was begun", plan.name());
            judged.push(Judged { set: plan, stands: false, is_kept: true, reason });
        }
    }
    for sets in tags.values_mut() {
        sets.sort_by_key(|set| set.seq);
        // None is older than the one that it followed, whatever its date says.
        let mut latest = Timestamp::default();
        for set in sets.iter_mut() {
            latest = latest.max(set.promoted);
            set.promoted = latest;
        }
        sets.reverse();
    }
    let ranks = ranks(&tags, seen, there, policies);
    for (tag, sets) in tags {
        let rank = ranks.get(&tag).copied().unwrap_or_default();
        judged.extend(of_tag(sets, rank, seen, policies, refs, now));
    }
    judged
}

/// Returns since when a promotion counts: its own date may be made up, when it was first seen is not.
fn since(set: &PromotionRecord, seen: &BTreeMap<PromotionId, Timestamp>) -> Timestamp {
    seen.get(&set.name()).map_or(set.promoted, |seen| set.promoted.max(*seen))
}

/// Counts, for each tag, the tags of its channel that were promoted later and still stand.
fn ranks(
    tags: &BTreeMap<Tag, Vec<PromotionRecord>>,
    seen: &BTreeMap<PromotionId, Timestamp>,
    there: &BTreeSet<Tag>,
    policies: &Policies,
) -> BTreeMap<Tag, usize> {
    let mut last: Vec<&PromotionRecord> = tags.values().filter_map(|sets| sets.first()).collect();
    // Of those that were first seen together, their own dates tell.
    last.sort_by_key(|set| (std::cmp::Reverse((since(set, seen), set.promoted)), set.tag.clone()));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ranks = BTreeMap::new();
    for set in last {
        let channel = of(policies, &set.tag).map_or("", |policy| &policy.name);
        let count = counts.entry(channel).or_default();
        ranks.insert(set.tag.clone(), *count);
        *count += usize::from(there.contains(&set.tag));
    }
    ranks
}

/// Judges the finished promotions of one tag, the newest first.
fn of_tag(
    sets: Vec<PromotionRecord>,
    rank: usize,
    seen: &BTreeMap<PromotionId, Timestamp>,
    policies: &Policies,
    refs: &Refs,
    now: Timestamp,
) -> Vec<Judged> {
    let mut newer = 0;
    let mut replaced: Option<Timestamp> = None;
    let mut after: Option<PromotionRecord> = None;
    let mut judged = Vec::new();
    for set in sets {
        if let Some(after) = after.as_ref().filter(|after| !after.has_images_of(&set)) {
            newer += 1;
            replaced = Some(since(after, seen));
        }
        let place = Place { rank, newer, promoted: since(&set, seen), replaced, now };
        let policy = of(policies, &set.tag);
        let kept = match policy.map(|policy| &policy.keep) {
            None => Ok("it is of no channel that is declared".to_owned()),
            Some(Keep::Forever) => Ok("kept for ever".to_owned()),
            Some(Keep::Rules(rules)) => place.keeps(&set, rules, refs),
        };
        let (is_kept, why) = match kept {
            Ok(why) => (true, why),
            Err(why) => (false, why),
        };
        let name = set.name();
        let reason = match policy.map(|policy| policy.name.as_str()) {
            Some(channel) if channel != set.tag.as_str() => format!("{channel}, {name}: {why}"),
            Some(_) | None => format!("{name}: {why}"),
        };
        judged.push(Judged { set: set.clone(), stands: after.is_none(), is_kept, reason });
        after = Some(set);
    }
    judged
}

/// Where a promotion stands among the others.
struct Place {
    /// How many tags of the channel were promoted later.
    rank: usize,
    /// How many later promotions of the tag changed an image.
    newer: usize,
    /// Since when it counts.
    promoted: Timestamp,
    /// When its images were replaced, if they were.
    replaced: Option<Timestamp>,
    now: Timestamp,
}

impl Place {
    /// Returns the first rule that keeps it, else why none does.
    fn keeps(&self, set: &PromotionRecord, rules: &Rules, refs: &Refs) -> Result<String, String> {
        let fits = |count: u32, number: usize| usize::try_from(count).is_ok_and(|count| number < count);
        let is_one = rules.only.is_some();
        let stands = self.newer == 0;
        if stands && is_one {
            return Ok("it stands".to_owned());
        }
        if stands && fits(rules.min, self.rank) {
            return Ok(format!("at least {} of the channel stay", rules.min));
        }
        let mut against: Vec<String> = Vec::new();
        if let Some(last) = rules.last {
            if if is_one { fits(last, self.newer) } else { stands && fits(last, self.rank) } {
                return Ok(format!("among the last {last}"));
            }
            against.push(format!("not among the last {last}"));
        }
        if let Some(replaced) = self.replaced {
            if self.now.since(replaced) < rules.grace {
                return Ok(format!("replaced less than {} ago", rules.grace));
            }
            against.push("replaced".to_owned());
        }
        if let Some(age) = rules.age {
            if self.now.since(self.promoted) < age {
                return Ok(format!("promoted less than {age} ago"));
            }
            against.push(format!("promoted {age} ago or more"));
        }
        if stands {
            for rule in [versions, tags, git_ref] {
                match rule(&set.tag, rules, refs) {
                    Some(Ok(why)) => return Ok(why),
                    Some(Err(why)) => against.push(why),
                    None => {}
                }
            }
        }
        Err(against.join(", "))
    }
}

/// What a rule says about a tag; nothing if there is no such rule.
type Said = Option<Result<String, String>>;

fn versions(tag: &Tag, rules: &Rules, _: &Refs) -> Said {
    let range = rules.versions.as_ref()?;
    let Some(version) = version(tag) else {
        return Some(Ok("its tag is no version, so no range can let it go".to_owned()));
    };
    // A range does not hold previews, which says nothing about how old they are.
    let plain = semver::Version { pre: semver::Prerelease::EMPTY, ..version.clone() };
    let spelled = spelled(tag);
    if spelled < 3 && may_hold(range, &plain, spelled) {
        return Some(Ok(format!("it moves along with versions of which some may be {range}")));
    }
    Some(if range.matches(&version) || range.matches(&plain) {
        Ok(format!("version {version} is {range}"))
    } else {
        Err(format!("version {version} is not {range}"))
    })
}

fn tags(tag: &Tag, rules: &Rules, _: &Refs) -> Said {
    let pattern = rules.tags.as_ref()?;
    Some(if pattern.is_match(tag.as_str()) {
        Ok("its tag is one that stays".to_owned())
    } else {
        Err("its tag is none that stays".to_owned())
    })
}

fn git_ref(tag: &Tag, rules: &Rules, refs: &Refs) -> Said {
    let rule = rules.git_ref.as_ref()?;
    let name = rule.name(tag);
    Some(match refs.get(&rule.remote) {
        Some(Some(refs)) if rule.is_among(tag, refs) => Ok(format!("{name} is there")),
        Some(Some(_)) => Err(format!("{name} is gone")),
        Some(None) | None => Ok(format!("whether {name} is there is not known")),
    })
}

#[cfg(test)]
mod tests;
