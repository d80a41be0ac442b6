//! What of a channel's promotions keeps its images, and which tags may go.
//!
//! A promotion is kept or let go as a whole: its boxes stay or go together. The last one of a
//! tag stands there; letting it go means to remove the tag from all its boxes' repositories.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::model::{Keep, Rules, SetName, SetRecord, Tag, Timestamp, may_hold, spelled, version};

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
    pub set: SetRecord,
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
    sets: Vec<SetRecord>,
    plans: Vec<SetRecord>,
    seen: &BTreeMap<SetName, Timestamp>,
    there: &BTreeSet<Tag>,
    policies: &Policies,
    refs: &Refs,
    now: Timestamp,
) -> Vec<Judged> {
    let mut tags: BTreeMap<Tag, Vec<SetRecord>> = BTreeMap::new();
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
fn since(set: &SetRecord, seen: &BTreeMap<SetName, Timestamp>) -> Timestamp {
    seen.get(&set.name()).map_or(set.promoted, |seen| set.promoted.max(*seen))
}

/// Counts, for each tag, the tags of its channel that were promoted later and still stand.
fn ranks(
    tags: &BTreeMap<Tag, Vec<SetRecord>>,
    seen: &BTreeMap<SetName, Timestamp>,
    there: &BTreeSet<Tag>,
    policies: &Policies,
) -> BTreeMap<Tag, usize> {
    let mut last: Vec<&SetRecord> = tags.values().filter_map(|sets| sets.first()).collect();
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
    sets: Vec<SetRecord>,
    rank: usize,
    seen: &BTreeMap<SetName, Timestamp>,
    policies: &Policies,
    refs: &Refs,
    now: Timestamp,
) -> Vec<Judged> {
    let mut newer = 0;
    let mut replaced: Option<Timestamp> = None;
    let mut after: Option<SetRecord> = None;
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
    fn keeps(&self, set: &SetRecord, rules: &Rules, refs: &Refs) -> Result<String, String> {
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
mod tests {
    use super::*;
    use crate::model::{RefRule, Span};

    fn main(seq: u32, promoted: i64, image: &str) -> SetRecord {
        SetRecord::of_image("main", seq, promoted, image)
    }

    /// A channel of every tag.
    fn all(keep: Keep) -> ChannelPolicy {
        ChannelPolicy { name: "c".to_owned(), pattern: Regex::new("").unwrap(), keep }
    }

    fn judged(rules: Rules, sets: &[SetRecord], plans: &[SetRecord], refs: &Refs) -> Vec<Judged> {
        let policies = vec![all(Keep::Rules(rules))];
        let there = sets.iter().map(|set| set.tag.clone()).collect();
        judge(
            sets.to_vec(),
            plans.to_vec(),
            &BTreeMap::new(),
            &there,
            &policies,
            refs,
            Timestamp::from_unix(1000),
        )
    }

    fn names(judged: &[Judged]) -> Vec<String> {
        let kept = judged.iter().filter(|one| one.is_kept);
        let mut names: Vec<String> = kept.map(|one| format!("{}.{}", one.set.tag, one.set.seq)).collect();
        names.sort();
        names
    }

    /// Checks what of the one tag `main` is kept at time 1000, with a grace of 100 s.
    fn check_main(last: u32, sets: &[SetRecord], plans: &[SetRecord], expect: &[&str]) {
        let grace = Span::from_seconds(100);
        let rules =
            Rules { last: Some(last), grace, only: Some("main".parse().unwrap()), ..Rules::default() };
        assert_eq!(names(&judged(rules, sets, plans, &Refs::new())), expect);
    }

    #[test]
    fn the_newest_are_kept_and_replaced_ones_for_a_while() {
        let sets = [main(1, 10, "a"), main(2, 20, "b"), main(3, 30, "c")];
        check_main(1, &sets, &[], &["main.3"]);
        check_main(2, &sets, &[], &["main.2", "main.3"]);
        let recent = [main(1, 10, "a"), main(2, 20, "b"), main(3, 950, "c")];
        check_main(1, &recent, &[], &["main.2", "main.3"]);
        // The last one stands, whatever the count says.
        check_main(0, &sets, &[], &["main.3"]);
    }

    #[test]
    fn a_promotion_that_changed_no_image_does_not_count() {
        let sets = [main(1, 10, "a"), main(2, 20, "b"), main(3, 950, "b")];
        check_main(1, &sets, &[], &["main.2", "main.3"]);
        check_main(2, &sets, &[], &["main.1", "main.2", "main.3"]);
    }

    #[test]
    fn an_unfinished_promotion_is_kept_and_does_not_count() {
        let sets = [main(1, 10, "a"), main(2, 20, "b")];
        check_main(1, &sets, &[main(2, 20, "b"), main(3, 30, "c")], &["main.2", "main.3"]);
        // One that a later promotion went past keeps nothing.
        check_main(1, &[main(4, 40, "d")], &[main(3, 30, "c"), main(4, 40, "d")], &["main.4"]);
    }

    #[test]
    fn a_channel_without_rules_or_without_declaration_keeps_all() {
        let sets = vec![main(1, 10, "a"), main(2, 20, "b")];
        for policies in [Policies::new(), vec![all(Keep::Forever)]] {
            let there = BTreeSet::new();
            let now = Timestamp::from_unix(1000);
            let judged = judge(sets.clone(), vec![], &BTreeMap::new(), &there, &policies, &Refs::new(), now);
            assert_eq!(names(&judged), ["main.1", "main.2"]);
        }
    }

    #[test]
    fn a_tag_s_channel_is_the_one_whose_pattern_matches_whatever_its_record_claims() {
        let pattern = |text: &str| Regex::new(&format!("^(?:{text})$")).unwrap();
        let short = Rules { last: Some(1), ..Rules::default() };
        let policies = vec![
            ChannelPolicy { name: "c".to_owned(), pattern: pattern("pr-.*"), keep: Keep::Rules(short) },
            ChannelPolicy { name: "release".to_owned(), pattern: pattern("r[0-9]+"), keep: Keep::Forever },
        ];
        // Each claims to be of `c`.
        let sets = ["pr-1", "pr-2", "r1", "r2", "other"].iter().zip(10..);
        let sets: Vec<SetRecord> = sets.map(|(tag, at)| SetRecord::of_image(tag, 1, at, tag)).collect();
        let there = sets.iter().map(|set| set.tag.clone()).collect();
        let judged = judge(
            sets,
            vec![],
            &BTreeMap::new(),
            &there,
            &policies,
            &Refs::new(),
            Timestamp::from_unix(1000),
        );
        assert_eq!(names(&judged), ["other.1", "pr-2.1", "r1.1", "r2.1"]);
    }

    #[test]
    fn a_promotion_has_replaced_nothing_before_a_sweep_saw_it() {
        let sets = [main(1, 10, "a"), main(2, 20, "b")];
        let check = |seen: i64, expect: &[&str]| {
            let seen = BTreeMap::from([(sets[1].name(), Timestamp::from_unix(seen))]);
            let grace = Span::from_seconds(100);
            let rules =
                Rules { last: Some(1), grace, only: Some("main".parse().unwrap()), ..Rules::default() };
            let policies = vec![all(Keep::Rules(rules))];
            let now = Timestamp::from_unix(1000);
            let judged = judge(sets.to_vec(), vec![], &seen, &BTreeSet::new(), &policies, &Refs::new(), now);
            assert_eq!(names(&judged), expect);
        };
        check(950, &["main.1", "main.2"]);
        check(900, &["main.2"]);
    }

    #[test]
    fn a_promotion_is_as_old_as_its_sighting_whatever_it_claims() {
        let sets = [SetRecord::of_image("r1", 1, 940, "a"), SetRecord::of_image("r2", 1, 1, "b")];
        let check = |rules: Rules, seen: &[i64], expect: &[&str]| {
            let seen = sets.iter().map(SetRecord::name).zip(seen.iter().copied().map(Timestamp::from_unix));
            let there = sets.iter().map(|set| set.tag.clone()).collect();
            let policies = vec![all(Keep::Rules(rules))];
            let now = Timestamp::from_unix(1000);
            let judged = judge(sets.to_vec(), vec![], &seen.collect(), &there, &policies, &Refs::new(), now);
            assert_eq!(names(&judged), expect);
        };
        let age = || Rules { age: Some(Span::from_seconds(100)), ..Rules::default() };
        check(age(), &[950, 960], &["r1.1", "r2.1"]);
        check(age(), &[940, 900], &["r1.1"]);
        check(age(), &[], &["r1.1"]);
        let last = || Rules { last: Some(1), ..Rules::default() };
        check(last(), &[950, 960], &["r2.1"]);
        check(last(), &[960, 960], &["r1.1"]);
    }

    #[test]
    fn no_promotion_is_older_than_the_one_that_it_followed() {
        let age = Some(Span::from_seconds(100));
        check(
            Rules { age, ..Rules::default() },
            &[main(1, 950, "a"), main(2, 1, "a")],
            &["main.1", "main.2"],
        );
        let grace = Span::from_seconds(100);
        check(
            Rules { last: Some(1), grace, ..Rules::default() },
            &[main(1, 950, "a"), main(2, 1, "b")],
            &["main.1", "main.2"],
        );
    }

    fn check(rules: Rules, sets: &[SetRecord], expect: &[&str]) {
        assert_eq!(names(&judged(rules, sets, &[], &Refs::new())), expect);
    }

    #[test]
    fn of_a_pattern_the_tags_are_counted() {
        let sets = [
            SetRecord::of_image("r1", 1, 10, "a"),
            SetRecord::of_image("r2", 1, 20, "b"),
            SetRecord::of_image("r2", 2, 25, "c"),
            SetRecord::of_image("r3", 1, 30, "d"),
        ];
        check(Rules { last: Some(2), ..Rules::default() }, &sets, &["r2.2", "r3.1"]);
        let grace = Span::from_seconds(980);
        check(Rules { last: Some(1), grace, ..Rules::default() }, &sets, &["r2.1", "r3.1"]);
        // At least one stays, whatever the other rules say.
        let age = Some(Span::from_seconds(100));
        check(Rules { age, min: 1, ..Rules::default() }, &sets, &["r3.1"]);
        check(Rules { age, min: 2, ..Rules::default() }, &sets, &["r2.2", "r3.1"]);
        check(Rules { age, ..Rules::default() }, &sets, &[]);
        check(Rules { age: Some(Span::from_seconds(976)), ..Rules::default() }, &sets, &["r2.2", "r3.1"]);
    }

    #[test]
    fn tags_that_are_gone_do_not_count() {
        let sets = vec![
            SetRecord::of_image("r0", 1, 5, "z"),
            SetRecord::of_image("r1", 1, 10, "a"),
            SetRecord::of_image("r2", 1, 20, "b"),
        ];
        let rules = Rules { last: Some(1), ..Rules::default() };
        let policies = vec![all(Keep::Rules(rules))];
        let there = BTreeSet::from(["r0".parse().unwrap(), "r1".parse().unwrap()]);
        let judged = judge(
            sets,
            vec![],
            &BTreeMap::new(),
            &there,
            &policies,
            &Refs::new(),
            Timestamp::from_unix(1000),
        );
        // What was lost by hand keeps its images as long as it would have stayed.
        assert_eq!(names(&judged), ["r1.1", "r2.1"]);
    }

    #[test]
    fn versions_and_patterns_keep_what_stands() {
        let sets: Vec<SetRecord> = ["v1.3.9", "v1.4.0", "v1.4.1-rc.1", "v2.0", "odd"]
            .iter()
            .map(|tag| SetRecord::of_image(tag, 1, 10, tag))
            .collect();
        let versions = Some(">=1.4".parse().unwrap());
        check(
            Rules { versions, ..Rules::default() },
            &sets,
            &["odd.1", "v1.4.0.1", "v1.4.1-rc.1.1", "v2.0.1"],
        );
        // A tag that moves along stays while the range may hold a version that it covers.
        for (range, expect) in [
            (">=1.4", &["1.6.1", "r1.4-rc.1.1", "v1.1", "v2.1"][..]),
            (">=1.5", &["1.6.1", "v1.1", "v2.1"]),
            (">=1.7.2", &["v1.1", "v2.1"]),
            (">1", &["v2.1"]),
            (">=2", &["v2.1"]),
            (">=1.6.3, <1.6.5", &["1.6.1", "v1.1"]),
            ("<1", &["v0.1"]),
            ("=1.4.0-rc.1", &["r1.4-rc.1.1", "v1.1"]),
            ("~1.3.9", &["v1.1"]),
            ("0.*", &["v0.1"]),
        ] {
            let sets: Vec<SetRecord> = ["v0", "v1", "1.6", "v2", "r1.4-rc.1"]
                .iter()
                .map(|tag| SetRecord::of_image(tag, 1, 10, tag))
                .collect();
            let rules = Rules { versions: Some(range.parse().unwrap()), ..Rules::default() };
            check(rules, &sets, expect);
        }
        let tags = Some(regex::Regex::new("^(?:v1.*)$").unwrap());
        check(Rules { tags, ..Rules::default() }, &sets, &["v1.3.9.1", "v1.4.0.1", "v1.4.1-rc.1.1"]);
    }

    #[test]
    fn a_git_ref_keeps_its_tag_and_an_unreadable_remote_keeps_all() {
        let sets = [SetRecord::of_image("pr-1", 1, 10, "a"), SetRecord::of_image("pr-2", 1, 20, "b")];
        let git_ref = Some(RefRule {
            remote: "origin".to_owned(),
            template: "refs/pull/{1}/head".to_owned(),
            pattern: regex::Regex::new("^(?:pr-([0-9]+))$").unwrap(),
        });
        let rules = Rules { git_ref, ..Rules::default() };
        let refs = Some(BTreeSet::from(["refs/pull/2/head".to_owned()]));
        let readable = judged(rules.clone(), &sets, &[], &Refs::from([("origin".to_owned(), refs)]));
        assert_eq!(names(&readable), ["pr-2.1"]);
        let gone = readable.iter().find(|one| !one.is_kept).unwrap();
        assert_eq!(gone.reason, "c, pr-1, promotion 1: refs/pull/1/head is gone");
        for refs in [Refs::new(), Refs::from([("origin".to_owned(), None)])] {
            assert_eq!(names(&judged(rules.clone(), &sets, &[], &refs)).len(), 2);
        }
    }
}
