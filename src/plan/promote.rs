//! What a promotion has to do: which tags move, from what to what, in which order.

use std::collections::BTreeMap;

use crate::model::{ContentTag, Digest, Repository, SetRecord, Source, Tag};

/// One box of the set to be promoted, as it was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// The box's name.
    pub name: String,
    /// Where its image is kept.
    pub repository: Repository,
    /// The content tag it was resolved by.
    pub tag: ContentTag,
    /// Its digest.
    pub digest: Digest,
    /// What stands under the promoted tag now.
    pub now: Option<Digest>,
}

/// What a promotion does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Promotion {
    /// The tag steps, in their order.
    pub steps: Vec<Step>,
    /// The count of this promotion; that of the unfinished one if it goes on with it.
    pub seq: u32,
    /// Whether the last set record already says exactly this.
    pub is_recorded: bool,
    /// Whether it goes on with one that was begun, whose plan record stands.
    pub is_resumed: bool,
}

impl Promotion {
    /// Tells whether there is nothing left to do.
    pub fn is_done(&self) -> bool {
        self.is_recorded && self.steps.iter().all(|step| step.state == StepState::There)
    }
}

/// One tag that is to point to a digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step {
    /// Which box.
    pub member: Member,
    /// What the tag must hold for it to be moved; what it held when the set was planned.
    pub before: Option<Digest>,
    /// What is to be done.
    pub state: StepState,
}

/// What is to be done about a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StepState {
    /// It is there already.
    There,
    /// It is to be written.
    Move,
}

/// Why a promotion is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A tag that may not move holds something else.
    #[error("tag {tag} of {repository} is immutable and holds {now}, not {wanted}")]
    Immutable {
        /// The tag.
        tag: Tag,
        /// Its repository.
        repository: Repository,
        /// What it holds.
        now: Digest,
        /// What it was to hold.
        wanted: Digest,
    },
    /// The tag's last set was built from a newer revision.
    #[error("{tag} was promoted from {theirs}, which is newer than {ours}")]
    Older {
        /// The tag.
        tag: Tag,
        /// The revision and time that stand.
        theirs: String,
        /// The revision and time that were to be promoted.
        ours: String,
    },
    /// The inputs differed from the commit they are said to come from.
    #[error(
        "{tag} is immutable, and the boxes' inputs differ from their commit: modified or untracked files"
    )]
    Dirty {
        /// The tag.
        tag: Tag,
    },
    /// Boxes were built from working copies.
    #[error("{tag} is immutable, and boxes of the set are built from working copies: {}", names.join(", "))]
    Local {
        /// The tag.
        tag: Tag,
        /// What the copies stand in for.
        names: Vec<String>,
    },
}

/// What is known about a tag's past.
#[derive(Debug, Clone, Copy, Default)]
pub struct Past<'a> {
    /// The last finished promotion.
    pub set: Option<&'a SetRecord>,
    /// The last one that was begun.
    pub plan: Option<&'a SetRecord>,
}

/// Plans a promotion of `members` to `tag`.
///
/// A plan record newer than the set record is a promotion that stopped half way: if it
/// wanted the same digests and nobody else has moved a tag since, it is gone on with, under
/// its own count and with what it saw before; otherwise a new one begins. The same set from
/// a newer revision is recorded again, so that no older one moves the tag back.
pub fn promotion(
    tag: &Tag,
    immutable: bool,
    allow_older: bool,
    source: &Source,
    members: Vec<Member>,
    past: Past<'_>,
) -> Result<Promotion, Refusal> {
    if immutable && !source.local.is_empty() {
        return Err(Refusal::Local { tag: tag.clone(), names: source.local.clone() });
    }
    if immutable && source.dirty {
        return Err(Refusal::Dirty { tag: tag.clone() });
    }
    if immutable {
        for member in &members {
            if let Some(now) = member.now.as_ref().filter(|now| **now != member.digest) {
                return Err(Refusal::Immutable {
                    tag: tag.clone(),
                    repository: member.repository.clone(),
                    now: now.clone(),
                    wanted: member.digest.clone(),
                });
            }
        }
    }
    let unfinished = past.plan.filter(|plan| past.set.is_none_or(|set| set.seq < plan.seq));
    let is_recorded = unfinished.is_none()
        && past
            .set
            .is_some_and(|set| same_digests(set, &members) && (immutable || !is_older(&set.source, source)));
    let resumed = unfinished.filter(|plan| same_digests(plan, &members) && is_untouched(plan, &members));
    let newer = past.set.iter().chain(unfinished.iter().filter(|_| resumed.is_none()));
    if let Some(newer) = newer.into_iter().find(|record| is_older(source, &record.source))
        && !allow_older
        && !is_recorded
    {
        return Err(Refusal::Older { tag: tag.clone(), theirs: words(&newer.source), ours: words(source) });
    }
    let last = past.set.iter().chain(&past.plan).map(|record| record.seq).max().unwrap_or(0);
    let seq = match resumed {
        Some(plan) => plan.seq,
        None if is_recorded => last,
        None => last.saturating_add(1),
    };
    let seen: BTreeMap<&str, Option<&Digest>> = resumed
        .iter()
        .flat_map(|plan| &plan.boxes)
        .map(|member| (member.name.as_str(), member.before.as_ref()))
        .collect();
    let step = |member: Member| {
        let state =
            if member.now.as_ref() == Some(&member.digest) { StepState::There } else { StepState::Move };
        let before = match seen.get(member.name.as_str()) {
            Some(before) => before.cloned(),
            None => member.now.clone(),
        };
        Step { before, state, member }
    };
    let steps = members.into_iter().map(step).collect();
    Ok(Promotion { steps, seq, is_recorded, is_resumed: resumed.is_some() })
}

/// Tells whether each tag holds what the plan saw or what it wanted.
fn is_untouched(plan: &SetRecord, members: &[Member]) -> bool {
    plan.boxes
        .iter()
        .zip(members)
        .all(|(planned, member)| member.now == planned.before || member.now.as_ref() == Some(&planned.digest))
}

fn same_digests(record: &SetRecord, members: &[Member]) -> bool {
    record.boxes.len() == members.len()
        && record.boxes.iter().zip(members).all(|(set, member)| {
            set.name == member.name
                && set.digest == member.digest
                && set.repository == member.repository.name()
        })
}

/// Tells whether `ours` is known to be older; without both times nothing is known.
fn is_older(ours: &Source, theirs: &Source) -> bool {
    matches!((ours.time, theirs.time), (Some(ours), Some(theirs)) if ours < theirs)
}

fn words(source: &Source) -> String {
    let revision = source.revision.as_deref().unwrap_or("an unknown revision");
    let short = revision.get(..12).unwrap_or(revision);
    source.time.map_or_else(|| short.to_owned(), |time| format!("{short} ({})", time.human()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Generation, Key, SetBox, Timestamp};

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn member(name: &str, wanted: &str, now: Option<&str>) -> Member {
        Member {
            name: name.to_owned(),
            repository: Repository::new("host", name).unwrap(),
            tag: ContentTag::new(None, Key::of(b""), Generation(0)).unwrap(),
            digest: digest(wanted),
            now: now.map(digest),
        }
    }

    fn source(time: i64) -> Source {
        let time = Some(Timestamp::from_unix(time));
        Source { revision: Some("c".repeat(40)), time, ..Source::default() }
    }

    fn record(seq: u32, time: i64, boxes: &[(&str, &str, Option<&str>)]) -> SetRecord {
        let set_box = |(name, wanted, before): &(&str, &str, Option<&str>)| SetBox {
            name: (*name).to_owned(),
            repository: (*name).to_owned(),
            key: Key::of(b""),
            content_tag: "k".parse().unwrap(),
            digest: digest(wanted),
            before: before.map(digest),
        };
        SetRecord {
            tag: "main".parse().unwrap(),
            channel: "main".to_owned(),
            seq,
            promoted: Timestamp::from_unix(1),
            run: "r".parse().unwrap(),
            source: source(time),
            boxes: boxes.iter().map(set_box).collect(),
        }
    }

    fn run(immutable: bool, time: i64, members: Vec<Member>, past: Past<'_>) -> Result<Promotion, Refusal> {
        promotion(&"main".parse().unwrap(), immutable, false, &source(time), members, past)
    }

    #[test]
    fn a_first_promotion_moves_every_tag() {
        let plan =
            run(true, 5, vec![member("a", "1", None), member("b", "2", None)], Past::default()).unwrap();
        assert_eq!(plan.seq, 1);
        assert!(plan.steps.iter().all(|step| step.state == StepState::Move && step.before.is_none()));
        assert!(!plan.is_done());
    }

    #[test]
    fn the_same_set_again_is_done() {
        let set = record(3, 5, &[("a", "1", None)]);
        let past = Past { set: Some(&set), plan: Some(&set) };
        let plan = run(true, 5, vec![member("a", "1", Some("1"))], past).unwrap();
        assert!(plan.is_done());
        // An older revision with the same boxes moves nothing back.
        assert!(run(false, 4, vec![member("a", "1", Some("1"))], past).unwrap().is_done());
    }

    #[test]
    fn a_promotion_that_stopped_goes_on_under_its_own_count() {
        let set = record(1, 5, &[("a", "0", None), ("b", "0", None)]);
        let begun = record(2, 6, &[("a", "1", Some("0")), ("b", "2", Some("0"))]);
        let past = Past { set: Some(&set), plan: Some(&begun) };
        let members = vec![member("a", "1", Some("1")), member("b", "2", Some("0"))];
        let plan = run(false, 6, members, past).unwrap();
        assert_eq!(plan.seq, 2);
        assert_eq!(plan.steps[0].state, StepState::There);
        assert_eq!(plan.steps[0].before, Some(digest("0")));
        assert_eq!(plan.steps[1].state, StepState::Move);
        // With other digests a new one begins.
        let members = vec![member("a", "9", Some("1")), member("b", "2", Some("0"))];
        assert_eq!(run(false, 6, members, past).unwrap().seq, 3);
        // All tags there, but never recorded: the set record is still to be written.
        let members = vec![member("a", "1", Some("1")), member("b", "2", Some("2"))];
        let plan = run(false, 6, members, past).unwrap();
        assert!(!plan.is_recorded && !plan.is_done() && plan.is_resumed);
        // Somebody moved a tag in between: what stands now is planned from.
        let members = vec![member("a", "1", Some("7")), member("b", "2", Some("0"))];
        let plan = run(false, 6, members, past).unwrap();
        assert_eq!((plan.seq, plan.steps[0].before.clone()), (3, Some(digest("7"))));
    }

    #[test]
    fn an_older_revision_does_not_undo_what_a_newer_one_began() {
        let set = record(1, 5, &[("a", "0", None)]);
        let begun = record(2, 9, &[("a", "1", Some("0"))]);
        let past = Past { set: Some(&set), plan: Some(&begun) };
        let older = run(false, 6, vec![member("a", "2", Some("1"))], past);
        assert!(matches!(older, Err(Refusal::Older { .. })));
        // Going on with the very same images moves nothing back.
        assert!(run(false, 6, vec![member("a", "1", Some("1"))], past).is_ok());
        assert!(run(false, 9, vec![member("a", "2", Some("1"))], past).is_ok());
    }

    #[test]
    fn the_same_set_from_a_newer_revision_is_recorded() {
        let set = record(1, 5, &[("a", "1", None)]);
        let past = Past { set: Some(&set), plan: Some(&set) };
        let plan = run(false, 7, vec![member("a", "1", Some("1"))], past).unwrap();
        assert_eq!((plan.seq, plan.is_done()), (2, false));
        assert!(plan.steps.iter().all(|step| step.state == StepState::There));
        // An immutable tag has one set for ever.
        assert!(run(true, 7, vec![member("a", "1", Some("1"))], past).unwrap().is_done());
    }

    #[test]
    fn refusals() {
        let held = vec![member("a", "1", Some("0"))];
        assert!(matches!(run(true, 5, held.clone(), Past::default()), Err(Refusal::Immutable { .. })));
        let set = record(1, 9, &[("a", "0", None)]);
        let past = Past { set: Some(&set), plan: None };
        assert!(matches!(run(false, 5, held.clone(), past), Err(Refusal::Older { .. })));
        assert!(run(false, 9, held.clone(), past).is_ok());
        let told = promotion(&"main".parse().unwrap(), false, true, &source(5), held, past);
        assert!(told.is_ok());
        let dirty = Source { dirty: true, ..source(5) };
        let dirty = promotion(&"r1".parse().unwrap(), true, false, &dirty, vec![], Past::default());
        assert!(matches!(dirty, Err(Refusal::Dirty { .. })));
        let local = Source { local: vec!["ec".to_owned()], ..source(5) };
        let of =
            |immutable| promotion(&"r1".parse().unwrap(), immutable, false, &local, vec![], Past::default());
        assert!(matches!(of(true), Err(Refusal::Local { names, .. }) if names == ["ec"]));
        assert!(of(false).is_ok());
    }
}
