//! What policies keep of promotions and tags.

use super::*;
use crate::model::{RefRule, Span};

fn main(seq: u32, promoted: i64, image: &str) -> PromotionRecord {
    PromotionRecord::of_image("main", seq, promoted, image)
}

/// A channel of every tag.
fn all(keep: Keep) -> ChannelPolicy {
    ChannelPolicy { name: "c".to_owned(), pattern: Regex::new("").unwrap(), keep }
}

fn judged(rules: Rules, sets: &[PromotionRecord], plans: &[PromotionRecord], refs: &Refs) -> Vec<Judged> {
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

/// Judges finished promotions at time 1000.
fn at_1000(sets: Vec<PromotionRecord>, policies: &Policies, there: &BTreeSet<Tag>) -> Vec<Judged> {
    judge(sets, vec![], &BTreeMap::new(), there, policies, &Refs::new(), Timestamp::from_unix(1000))
}

fn names(judged: &[Judged]) -> Vec<String> {
    let kept = judged.iter().filter(|one| one.is_kept);
    let mut names: Vec<String> = kept.map(|one| format!("{}.{}", one.set.tag, one.set.seq)).collect();
    names.sort();
    names
}

/// Checks what of the one tag `main` is kept at time 1000, with a grace of 100 s.
fn check_main(last: u32, sets: &[PromotionRecord], plans: &[PromotionRecord], expect: &[&str]) {
    let grace = Span::from_seconds(100);
    let rules = Rules { last: Some(last), grace, only: Some("main".parse().unwrap()), ..Rules::default() };
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
    let sets: Vec<PromotionRecord> =
        sets.map(|(tag, at)| PromotionRecord::of_image(tag, 1, at, tag)).collect();
    let there = sets.iter().map(|set| set.tag.clone()).collect();
    let judged = at_1000(sets, &policies, &there);
    assert_eq!(names(&judged), ["other.1", "pr-2.1", "r1.1", "r2.1"]);
}

#[test]
fn a_promotion_has_replaced_nothing_before_a_sweep_saw_it() {
    let sets = [main(1, 10, "a"), main(2, 20, "b")];
    let check = |seen: i64, expect: &[&str]| {
        let seen = BTreeMap::from([(sets[1].name(), Timestamp::from_unix(seen))]);
        let grace = Span::from_seconds(100);
        let rules = Rules { last: Some(1), grace, only: Some("main".parse().unwrap()), ..Rules::default() };
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
    let sets = [PromotionRecord::of_image("r1", 1, 940, "a"), PromotionRecord::of_image("r2", 1, 1, "b")];
    let check = |rules: Rules, seen: &[i64], expect: &[&str]| {
        let seen = sets.iter().map(PromotionRecord::name).zip(seen.iter().copied().map(Timestamp::from_unix));
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
    check(Rules { age, ..Rules::default() }, &[main(1, 950, "a"), main(2, 1, "a")], &["main.1", "main.2"]);
    let grace = Span::from_seconds(100);
    check(
        Rules { last: Some(1), grace, ..Rules::default() },
        &[main(1, 950, "a"), main(2, 1, "b")],
        &["main.1", "main.2"],
    );
}

fn check(rules: Rules, sets: &[PromotionRecord], expect: &[&str]) {
    assert_eq!(names(&judged(rules, sets, &[], &Refs::new())), expect);
}

#[test]
fn of_a_pattern_the_tags_are_counted() {
    let sets = [
        PromotionRecord::of_image("r1", 1, 10, "a"),
        PromotionRecord::of_image("r2", 1, 20, "b"),
        PromotionRecord::of_image("r2", 2, 25, "c"),
        PromotionRecord::of_image("r3", 1, 30, "d"),
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
        PromotionRecord::of_image("r0", 1, 5, "z"),
        PromotionRecord::of_image("r1", 1, 10, "a"),
        PromotionRecord::of_image("r2", 1, 20, "b"),
    ];
    let rules = Rules { last: Some(1), ..Rules::default() };
    let policies = vec![all(Keep::Rules(rules))];
    let there = BTreeSet::from(["r0".parse().unwrap(), "r1".parse().unwrap()]);
    let judged = at_1000(sets, &policies, &there);
    // What was lost by hand keeps its images as long as it would have stayed.
    assert_eq!(names(&judged), ["r1.1", "r2.1"]);
}

#[test]
fn versions_and_patterns_keep_what_stands() {
    let sets: Vec<PromotionRecord> = ["v1.3.9", "v1.4.0", "v1.4.1-rc.1", "v2.0", "odd"]
        .iter()
        .map(|tag| PromotionRecord::of_image(tag, 1, 10, tag))
        .collect();
    let versions = Some(">=1.4".parse().unwrap());
    check(Rules { versions, ..Rules::default() }, &sets, &["odd.1", "v1.4.0.1", "v1.4.1-rc.1.1", "v2.0.1"]);
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
        let sets: Vec<PromotionRecord> = ["v0", "v1", "1.6", "v2", "r1.4-rc.1"]
            .iter()
            .map(|tag| PromotionRecord::of_image(tag, 1, 10, tag))
            .collect();
        let rules = Rules { versions: Some(range.parse().unwrap()), ..Rules::default() };
        check(rules, &sets, expect);
    }
    let tags = Some(regex::Regex::new("^(?:v1.*)$").unwrap());
    check(Rules { tags, ..Rules::default() }, &sets, &["v1.3.9.1", "v1.4.0.1", "v1.4.1-rc.1.1"]);
}

#[test]
fn a_git_ref_keeps_its_tag_and_an_unreadable_remote_keeps_all() {
    let sets = [PromotionRecord::of_image("pr-1", 1, 10, "a"), PromotionRecord::of_image("pr-2", 1, 20, "b")];
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
    assert_eq!(gone.reason, "c, pr-1@1: refs/pull/1/head is gone");
    for refs in [Refs::new(), Refs::from([("origin".to_owned(), None)])] {
        assert_eq!(names(&judged(rules.clone(), &sets, &[], &refs)).len(), 2);
    }
}
