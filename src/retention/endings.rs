//! Promotions that no rule keeps: their tags are announced to go, and removed by a later sweep,
//! from all repositories of the set. Their images stay as long as anything else keeps them.
//!
//! Only what boxwright promoted can go, only where the tag still holds what was promoted, and
//! only as a whole. A tag whose going was announced is not promoted to (see
//! [`holds_up`]), so no promotion is reported that a sweep then undoes.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Digest, Keep, PromotionId, Record as _, RecordTag, Span, Tag, TaggedDigest, Timestamp, UntagNotice,
};
use crate::retention::observed::{Clean, Doomed, Goes, Observed, Policy};
use crate::retention::policy::Judged;
use crate::retention::times::{DEADLINE, RETIRED};

/// What a policy says of the tags of a promotion: the state of each tag of its set.
enum State {
    /// It stays.
    Kept(String),
    /// It goes, now or in a later sweep.
    Going,
}

/// What becomes of promotions that stand and whose tags may go.
pub(super) struct Endings {
    tags: BTreeMap<TaggedDigest, State>,
    names: BTreeMap<(String, Tag), String>,
    announce: Vec<UntagNotice>,
    doomed: Vec<Doomed>,
    withdraw: Vec<UntagNotice>,
    settled: Vec<UntagNotice>,
    sight: BTreeSet<(RecordTag, Digest)>,
}

impl Endings {
    pub fn of(observed: &Observed, policy: Policy) -> Self {
        let mut endings = Self {
            tags: BTreeMap::new(),
            names: BTreeMap::new(),
            announce: Vec::new(),
            doomed: Vec::new(),
            withdraw: Vec::new(),
            settled: Vec::new(),
            sight: BTreeSet::new(),
        };
        let mut live: Vec<PromotionId> = Vec::new();
        for judged in observed.judged.iter().filter(|judged| judged.stands) {
            if endings.judge(judged, observed, policy) {
                live.push(judged.set.name());
            }
        }
        for ending in &observed.endings {
            if live.contains(&ending.name()) {
                continue;
            }
            let is_ours = ending.images.iter().any(|image| observed.covers(&image.repository));
            if is_ours {
                endings.withdraw.push(UntagNotice {
                    marked: policy.today,
                    images: Vec::new(),
                    ..ending.clone()
                });
            } else if ending.images.is_empty()
                && let Some(since) = endings.since(ending, observed)
                && policy.today.since(since) >= RETIRED
            {
                endings.settled.push(ending.clone());
            }
        }
        endings
    }

    /// Judges one promotion; tells whether its tags are going.
    fn judge(&mut self, judged: &Judged, observed: &Observed, policy: Policy) -> bool {
        let set = &judged.set;
        let names = set.boxes.iter().map(|member| (member.repository.clone(), set.tag.clone()));
        self.names.extend(names.map(|name| (name, judged.reason.clone())));
        let seen = set.boxes.iter().map(|member| TaggedDigest {
            repository: member.repository.clone(),
            tag: set.tag.clone(),
            digest: member.digest.clone(),
        });
        let standing = |seen: TaggedDigest| {
            let found = observed.repositories.get(&seen.repository)?.get(&seen.tag)?.clone();
            // A sweep that was killed between giving the tag away and deleting it is gone on with.
            let is_given_away = observed.nodes.get(&found).is_some_and(|node| node.is_throwaway);
            (found == seen.digest || is_given_away).then_some(TaggedDigest { digest: found, ..seen })
        };
        let images: Vec<TaggedDigest> = seen.filter_map(standing).collect();
        let is_going = !judged.is_kept && !images.is_empty();
        let is_leased = set.boxes.iter().any(|member| observed.leased.contains(&member.key));
        let found = observed.endings.iter().find(|ending| ending.name() == set.name());
        let announced = found.filter(|ending| !ending.images.is_empty());
        let since = announced.map(|ending| self.since(ending, observed));
        let until = since.map(|since| since.unwrap_or(policy.today).after(policy.grace));
        let is_due = since.flatten().is_some() && until.is_some_and(|until| policy.now >= until);
        let reason = match until {
            _ if judged.is_kept => judged.reason.clone(),
            _ if is_leased => format!("{}; but leased", judged.reason),
            // It was withdrawn; while sweeps may live that saw it, it is not announced again.
            None if found.is_some() => format!("{}; its tag is looked at again later", judged.reason),
            Some(until) if !is_due => {
                format!("{}; its tag is removed after {}", judged.reason, until.human())
            }
            _ => {
                self.tags.extend(images.iter().map(|seen| (seen.clone(), State::Going)));
                match announced {
                    Some(ending) => self.doom(judged, ending, images),
                    None if images.is_empty() => {}
                    None => self.announce.push(UntagNotice {
                        tag: set.tag.clone(),
                        seq: set.seq,
                        marked: policy.today,
                        reason: judged.reason.clone(),
                        images,
                    }),
                }
                return is_going;
            }
        };
        self.tags.extend(images.into_iter().map(|seen| (seen, State::Kept(reason.clone()))));
        is_going
    }

    /// Returns since when an announcement has stood; one that no sweep has seen before is noted.
    fn since(&mut self, ending: &UntagNotice, observed: &Observed) -> Option<Timestamp> {
        let since = observed.age(ending, ending.marked).since;
        if since.is_none() {
            self.sight.insert((ending.place(), ending.to_manifest().digest().clone()));
        }
        since
    }

    /// Lets the tags go: of what stands on others first.
    fn doom(&mut self, judged: &Judged, ending: &UntagNotice, images: Vec<TaggedDigest>) {
        let is_announced = |seen: &TaggedDigest| {
            let is_same = |image: &TaggedDigest| image.repository == seen.repository && image.tag == seen.tag;
            ending.images.iter().any(is_same)
        };
        for seen in images.into_iter().rev() {
            if !is_announced(&seen) {
                let reason = State::Kept("changed since its going was announced".to_owned());
                self.tags.insert(seen, reason);
                continue;
            }
            self.doomed.push(Doomed {
                seen,
                marked: ending.marked,
                reason: format!("{}; announced {}", judged.reason, ending.marked.human()),
                goes: Goes::Tag,
                key: None,
                needs: BTreeSet::new(),
            });
        }
    }

    /// Returns what is said of a tag: nothing if it is none of these, no reason if it goes.
    pub fn holds(&self, seen: &TaggedDigest) -> Option<Option<&str>> {
        self.tags.get(seen).map(|state| match state {
            State::Kept(reason) => Some(reason.as_str()),
            State::Going => None,
        })
    }

    /// Returns what the policy says of what stands under this name, which was not resolved.
    pub fn named(&self, repository: &str, tag: &Tag) -> Option<&str> {
        self.names.get(&(repository.to_owned(), tag.clone())).map(String::as_str)
    }

    pub fn into_clean(self, clean: &mut Clean) {
        clean.announce = self.announce;
        clean.delete.extend(self.doomed);
        clean.withdraw = self.withdraw;
        clean.settled = self.settled;
        clean.sight.extend(self.sight);
    }
}

/// Tells whether an announcement keeps its tag from being promoted to. What no policy lets go no
/// sweep has announced, whatever the ledger says; `keep` is nothing where it is not known what is
/// kept. One that was withdrawn is over when every sweep that saw it must have ended, and none is
/// withdrawn on a day that is still to come.
pub fn holds_up(ending: &UntagNotice, keep: Option<&Keep>, now: Timestamp) -> bool {
    let wait = Span::from_seconds(2 * DEADLINE.as_secs());
    let is_withdrawn = ending.images.is_empty();
    let is_over = is_withdrawn && (now.since(ending.marked) >= wait || ending.marked > now.after(wait));
    !is_over && keep.is_none_or(Keep::may_end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Rules;

    #[test]
    fn an_announcement_holds_up_only_what_may_go_and_until_it_is_over() {
        let now = Timestamp::default().after(Span::from_seconds(1_000_000_000));
        let wait = Span::from_seconds(2 * DEADLINE.as_secs());
        let image = TaggedDigest {
            repository: "test".to_owned(),
            tag: "pr-1".parse().unwrap(),
            digest: Digest::of(b"image"),
        };
        let ending = |images: &[TaggedDigest], marked| UntagNotice {
            tag: "pr-1".parse().unwrap(),
            seq: 1,
            marked,
            reason: String::new(),
            images: images.to_vec(),
        };
        let announced = ending(std::slice::from_ref(&image), now);
        let rules = |only: Option<&str>| {
            Keep::Rules(Rules { only: only.map(|tag| tag.parse().unwrap()), ..Rules::default() })
        };
        let ends = rules(None);
        for (keep, expect) in [
            (None, true),
            (Some(&ends), true),
            (Some(&Keep::Forever), false),
            (Some(&rules(Some("pr-1"))), false),
        ] {
            assert_eq!(holds_up(&announced, keep, now), expect, "{keep:?}");
            // Withdrawn, it is so only for a while.
            assert_eq!(holds_up(&ending(&[], now), keep, now), expect, "{keep:?}");
            assert!(!holds_up(&ending(&[], now), keep, now.after(wait)), "{keep:?}");
        }
        let ahead = |span: Span| ending(&[], now.after(span));
        let more = Span::from_seconds(wait.seconds() + 1);
        assert!(holds_up(&ahead(wait), None, now) && !holds_up(&ahead(more), None, now));
    }
}
