//! What is kept of a channel's promotions: the rules as one writes them.

use std::fmt;
use std::str::FromStr;

use regex::Regex;
use semver::{Comparator, Version, VersionReq};

use super::{Span, Tag};

/// What is kept of a channel's promotions.
#[derive(Debug, Clone)]
pub enum Keep {
    /// Everything that was ever promoted.
    Forever,
    /// What one of these rules keeps.
    Rules(Rules),
}

impl Keep {
    /// Tells whether it ever lets the tag itself go that a promotion stands under.
    pub fn may_end(&self) -> bool {
        matches!(self, Self::Rules(rules) if rules.only.is_none())
    }
}

/// Rules of which each keeps what it fits; what none of them fits may go.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Of a channel with one tag: that many of its promotions, the newest first. Of a channel
    /// with a pattern: what stands under that many of its tags, the last promoted first.
    pub last: Option<u32>,
    /// A replaced promotion stays that long after it was replaced.
    pub grace: Span,
    /// A promotion stays that long, counted from when it was promoted.
    pub age: Option<Span>,
    /// What stands under a tag that is a version in this range.
    pub versions: Option<VersionReq>,
    /// What stands under a tag whose git ref is there.
    pub git_ref: Option<RefRule>,
    /// What stands under a tag that matches, anchored at both ends.
    pub tags: Option<Regex>,
    /// What stands under that many of the channel's tags stays, the last promoted first,
    /// whatever the other rules say.
    pub min: u32,
    /// The channel's one tag, if it is spelled out: what stands there is never let go.
    pub only: Option<Tag>,
}

/// A git ref that keeps a tag.
#[derive(Debug, Clone)]
pub struct RefRule {
    /// The remote, as git takes it.
    pub remote: String,
    /// The ref's full name, in which `{tag}` stands for the tag and `{N}` for the group N of
    /// the channel's pattern.
    pub template: String,
    /// The channel's pattern, anchored at both ends.
    pub pattern: Regex,
}

impl RefRule {
    /// Returns the ref's name for a tag.
    pub fn name(&self, tag: &Tag) -> String {
        let mut name = self.template.replace("{tag}", tag.as_str());
        if let Some(groups) = self.pattern.captures(tag.as_str()) {
            for (number, group) in groups.iter().enumerate().skip(1) {
                name = name.replace(&format!("{{{number}}}"), group.map_or("", |group| group.as_str()));
            }
        }
        name
    }

    /// Tells whether one of `refs` is the tag's. A tag cannot hold every character of a ref:
    /// `feature/x` is found by `feature-x`.
    pub fn is_among<'a>(&self, tag: &Tag, refs: impl IntoIterator<Item = &'a String>) -> bool {
        let wanted = tag_like(&self.name(tag));
        refs.into_iter().any(|name| tag_like(name) == wanted)
    }
}

fn tag_like(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    name.chars().map(|c| if fits(c) { c } else { '-' }).collect()
}

/// Reads a tag as a version: a leading word such as `v` or `release-` aside, missing parts
/// as 0, leading zeros left out; `r2026.07` is 2026.7.0 for want of more. Nothing if it is none.
pub fn version(tag: &Tag) -> Option<Version> {
    let text = tag.as_str();
    let text = &text[text.find(|c: char| c.is_ascii_digit())?..];
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let mut parts: Vec<String> = numbers
        .split('.')
        .map(|part| part.parse::<u64>().ok().map(|number| number.to_string()))
        .collect::<Option<_>>()?;
    if parts.len() > 3 {
        return None;
    }
    parts.resize(3, "0".to_owned());
    Version::parse(&format!("{}{rest}", parts.join("."))).ok()
}

/// How many of a version's three numbers a tag spells out: a tag with fewer, such as `v1` or `1.6`,
/// moves along with the versions that it covers.
pub fn spelled(tag: &Tag) -> usize {
    let text = tag.as_str();
    let start = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let numbers = text[start..].split(['-', '+']).next().unwrap_or_default();
    numbers.split('.').count()
}

/// Whether a range may hold a version that begins with the first `spelled` numbers of this one.
pub fn may_hold(range: &VersionReq, version: &Version, spelled: usize) -> bool {
    // A range changes its mind only at its ends, and right before and after them.
    let near = |number: u64| [number.saturating_sub(1), number, number.saturating_add(1)];
    let ends = |spelled: bool, of: u64, all: &mut dyn Iterator<Item = u64>| match spelled {
        true => vec![of],
        false => all.flat_map(near).chain([0, u64::MAX]).collect(),
    };
    let comparators = || range.comparators.iter();
    let minors =
        ends(spelled > 1, version.minor, &mut comparators().map(|one| one.minor.unwrap_or_default()));
    let patches =
        ends(spelled > 2, version.patch, &mut comparators().map(|one| one.patch.unwrap_or_default()));
    let held = |minor: u64, patch: u64| {
        let plain = Version::new(version.major, minor, patch);
        let with = |one: &Comparator| Version { pre: one.pre.clone(), ..plain.clone() };
        range.matches(&plain) || comparators().any(|one| range.matches(&with(one)))
    };
    minors.iter().any(|minor| patches.iter().any(|patch| held(*minor, *patch)))
}

/// A part of a whole, written `50%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u8);

/// Why a text is not a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a share; expected 0% to 100%")]
pub struct ShareError {
    text: String,
}

impl Share {
    /// All of it: a share that nothing exceeds.
    pub const ALL: Self = Self(100);

    /// Tells whether `part` is more than this share of `whole`.
    pub fn is_exceeded(self, part: usize, whole: usize) -> bool {
        part * 100 > whole * usize::from(self.0)
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let number = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|digits| digits.parse().ok()).filter(|number| *number <= 100);
        number.map(Self).ok_or_else(|| ShareError { text: super::printable(text, 40) })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_versions() {
        for (text, expect) in [
            ("v1.4.2", Some("1.4.2")),
            ("1.4", Some("1.4.0")),
            ("r2026.07", Some("2026.7.0")),
            ("release-3", Some("3.0.0")),
            ("v2.0.0-rc.1", Some("2.0.0-rc.1")),
            ("1.2.3.4", None),
            ("main", None),
            ("v1.x", None),
        ] {
            let read = version(&text.parse().unwrap()).map(|version| version.to_string());
            assert_eq!(read.as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn a_ref_is_found_by_a_tag_that_cannot_spell_it() {
        let rule = |template: &str, pattern: &str| RefRule {
            remote: "origin".to_owned(),
            template: template.to_owned(),
            pattern: Regex::new(&format!("^(?:{pattern})$")).unwrap(),
        };
        let check = |rule: &RefRule, tag: &str, name: &str, expect: bool| {
            assert_eq!(rule.is_among(&tag.parse().unwrap(), &[name.to_owned()]), expect, "{tag} {name}");
        };
        let plain = rule("refs/heads/{tag}", ".*");
        check(&plain, "main", "refs/heads/main", true);
        check(&plain, "main", "refs/heads/x/main", false);
        check(&plain, "feature-x", "refs/heads/feature/x", true);
        let group = rule("refs/pull/{1}/head", "pr-([0-9]+)");
        check(&group, "pr-7", "refs/pull/7/head", true);
        check(&group, "pr-7", "refs/pull/77/head", false);
    }

    #[test]
    fn shares() {
        let half: Share = "50%".parse().unwrap();
        assert!(!half.is_exceeded(5, 10) && half.is_exceeded(6, 10) && !half.is_exceeded(0, 0));
        for bad in ["50", "101%", "-1%", "%", "half"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
