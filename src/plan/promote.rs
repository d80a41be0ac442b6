//! What a promotion has to do: which tags move, from what to what, in which order.

use std::collections::BTreeMap;

use crate::model::{ContentTag, Digest, PromotionId, PromotionRecord, Repository, Source, Tag};
use crate::plan::refusal::Refusal;

/// One box of the set to be promoted, as it was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// The box's name.
    pub name: String,
    /// Where its image is kept.
    pub repository: Repository,
    /// The content tag it was resolved by.
    pub tag: ContentTag,
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
    /// Whether the last set record already says exactly this, and all tags stand.
    pub is_recorded: bool,
    /// Whether it goes on with one that was begun, whose plan record stands.
    pub is_resumed: bool,
}

impl Promotion {
    /// Tells whether there is nothing left to do.
    pub fn is_done(&self) -> bool {
        self.is_recorded
    }

    /// Tells whether it is the same promotion, of the same images.
    pub fn does_as(&self, other: &Self) -> bool {
        let images = |of: &Self| -> Vec<_> {
            of.steps.iter().map(|step| (step.member.repository.clone(), step.member.digest.clone())).collect()
        };
        self.seq == other.seq && images(self) == images(other)
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

/// What is to be promoted, and by which rules.
#[derive(Debug, Clone)]
pub struct PromotionRequest<'a> {
    /// The tag to promote to.
    pub tag: &'a Tag,
    /// Whether the tag may never move once it is set.
    pub immutable: bool,
    /// Whether what is older may replace what is newer.
    pub allow_older: bool,
    /// Where the boxes come from.
    pub source: &'a Source,
    /// The promotion they were taken from, if they were not built from a working tree.
    pub from: Option<&'a PromotionId>,
}

/// What is known about a tag's past.
#[derive(Debug, Clone, Copy, Default)]
pub struct Past<'a> {
    /// The last finished promotion.
    pub set: Option<&'a PromotionRecord>,
    /// The last one that was begun.
    pub plan: Option<&'a PromotionRecord>,
    /// The last count that a record has, be it one that cannot be read.
    pub last: u32,
}

/// Plans a promotion of `members`.
///
/// A plan record newer than the set record is a promotion that stopped half way: if it
/// wanted the same digests and nobody else has moved a tag since, it is gone on with, under
/// its own count and with what it saw before; otherwise a new one begins. The same set from
/// a newer revision is recorded again, so that no older one moves the tag back; from the
/// same revision or an older one it is done.
pub fn promotion(
    wish: &PromotionRequest<'_>,
    members: Vec<Member>,
    past: Past<'_>,
) -> Result<Promotion, Refusal> {
    is_ours(&members, past)?;
    if wish.immutable {
        stays(wish, &members, past)?;
    }
    let unfinished = past.plan.filter(|plan| past.set.is_none_or(|set| set.seq < plan.seq));
    let is_there = members.iter().all(|member| member.now.as_ref() == Some(&member.digest));
    // Tags that somebody moved or removed since are a new promotion's to move.
    let is_recorded = unfinished.is_none()
        && is_there
        && past.set.is_some_and(|set| {
            same_digests(set, &members)
                && (wish.immutable || newest(set).any(|seen| !seen.is_older_than(wish.source)))
        });
    let resumed = unfinished.filter(|plan| same_digests(plan, &members) && is_untouched(plan, &members));
    let newer = past.set.iter().chain(unfinished.iter().filter(|_| resumed.is_none()));
    if !wish.allow_older && !is_recorded {
        goes_on(wish, newer.copied(), past.set)?;
    }
    let last = past.set.iter().chain(&past.plan).map(|record| record.seq).fold(past.last, u32::max);
    let seq = match (resumed, past.set) {
        (Some(plan), _) => plan.seq,
        // Past it there may be records that cannot be read: they are no promotions.
        (None, Some(set)) if is_recorded => set.seq,
        (None, _) => last.saturating_add(1),
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

/// Refuses to go on from promotions that have no repository in common with these boxes. Where two
/// projects share a ledger, the promotions of one would be what the other rolls back to.
fn is_ours(members: &[Member], past: Past<'_>) -> Result<(), Refusal> {
    let is_here = |name: &str| members.iter().any(|member| member.repository.name() == name);
    let mut last = past.set.into_iter().chain(past.plan);
    match last.find(|record| !record.boxes.iter().any(|one| is_here(&one.repository))) {
        Some(record) => {
            let names = record.boxes.iter().map(|one| one.repository.clone()).collect();
            Err(Refusal::Stranger { theirs: record.name(), names })
        }
        None => Ok(()),
    }
}

/// Refuses what may not stand under an immutable tag.
fn stays(wish: &PromotionRequest<'_>, members: &[Member], past: Past<'_>) -> Result<(), Refusal> {
    let (tag, source) = (wish.tag, wish.source);
    if !source.local.is_empty() {
        return Err(Refusal::Local { tag: tag.clone(), names: source.local.clone() });
    }
    if let Some(why) = &source.unread {
        return Err(Refusal::UnknownState { tag: tag.clone(), why: why.clone() });
    }
    if source.dirty {
        return Err(Refusal::Dirty { tag: tag.clone() });
    }
    for member in members {
        // What stood there once counts as well: a tag that was lost or removed is no other's.
        let recorded = past.set.into_iter().flat_map(|set| &set.boxes).find(|one| one.name == member.name);
        let held = member.now.as_ref().or(recorded.map(|one| &one.digest));
        if let Some(held) = held.filter(|held| **held != member.digest) {
            return Err(Refusal::Immutable {
                tag: tag.clone(),
                repository: member.repository.clone(),
                now: held.clone(),
                wanted: member.digest.clone(),
            });
        }
    }
    Ok(())
}

/// Refuses what would move a tag back: behind `newer`, what it holds or is to hold, or to
/// what a rollback has withdrawn.
fn goes_on<'a>(
    wish: &PromotionRequest<'_>,
    mut newer: impl Iterator<Item = &'a PromotionRecord>,
    set: Option<&PromotionRecord>,
) -> Result<(), Refusal> {
    let (tag, ours) = (wish.tag.clone(), wish.source.to_string());
    if let Some(why) = wish.source.unread.as_ref().filter(|_| wish.source.time.is_none()) {
        return Err(Refusal::UnknownRevision { tag, why: why.clone() });
    }
    let is_behind =
        |name: &PromotionId| wish.from.filter(|from| from.tag == name.tag && from.seq < name.seq).is_some();
    if let Some((theirs, ours)) =
        set.and_then(|set| set.from.as_ref()).filter(|name| is_behind(name)).zip(wish.from)
    {
        return Err(Refusal::Behind { tag, theirs: theirs.clone(), ours: ours.clone() });
    }
    if let Some(record) = newer.find(|record| wish.source.is_older_than(&record.source)) {
        return Err(Refusal::Older { tag, theirs: record.source.to_string(), ours });
    }
    match set.and_then(|set| set.withdrawn.as_ref()) {
        Some(withdrawn) if is_same_commit(wish.source, withdrawn) || wish.source.is_older_than(withdrawn) => {
            Err(Refusal::Withdrawn { tag, theirs: withdrawn.to_string(), ours })
        }
        _ => Ok(()),
    }
}

fn is_same_commit(one: &Source, other: &Source) -> bool {
    one.revision.is_some() && one.revision == other.revision
}

/// Returns the sources that a promotion speaks for: its own, and what it took back.
fn newest(set: &PromotionRecord) -> impl Iterator<Item = &Source> {
    std::iter::once(&set.source).chain(&set.withdrawn)
}

/// Tells whether each tag holds what the plan saw or what it wanted.
fn is_untouched(plan: &PromotionRecord, members: &[Member]) -> bool {
    plan.boxes
        .iter()
        .zip(members)
        .all(|(planned, member)| member.now == planned.before || member.now.as_ref() == Some(&planned.digest))
}

fn same_digests(record: &PromotionRecord, members: &[Member]) -> bool {
    record.boxes.len() == members.len()
        && record.boxes.iter().zip(members).all(|(set, member)| {
            set.name == member.name
                && set.digest == member.digest
                && set.repository == member.repository.name()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Generation, Key, PromotedImage, Timestamp};

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

    fn record(seq: u32, time: i64, boxes: &[(&str, &str, Option<&str>)]) -> PromotionRecord {
        let set_box = |(name, wanted, before): &(&str, &str, Option<&str>)| PromotedImage {
            name: (*name).to_owned(),
            repository: (*name).to_owned(),
            key: Key::of(b""),
            content_tag: "k".parse().unwrap(),
            digest: digest(wanted),
            before: before.map(digest),
        };
        PromotionRecord {
            tag: "main".parse().unwrap(),
            channel: "main".to_owned(),
            seq,
            promoted: Timestamp::from_unix(1),
            run: "r".parse().unwrap(),
            source: source(time),
            from: None,
            copied: None,
            withdrawn: None,
            by: None,
            boxes: boxes.iter().map(set_box).collect(),
        }
    }

    fn run(immutable: bool, time: i64, members: Vec<Member>, past: Past<'_>) -> Result<Promotion, Refusal> {
        let tag = "main".parse().unwrap();
        let wish =
            PromotionRequest { tag: &tag, immutable, allow_older: false, source: &source(time), from: None };
        promotion(&wish, members, past)
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
        let past = Past { set: Some(&set), plan: Some(&set), last: 0 };
        let plan = run(true, 5, vec![member("a", "1", Some("1"))], past).unwrap();
        assert!(plan.is_done());
        // What cannot be read has its count.
        let plan = run(false, 9, vec![member("a", "2", Some("1"))], Past { last: 7, ..past }).unwrap();
        assert_eq!(plan.seq, 8);
        // A tag that somebody moved by hand is moved back, as a promotion of its own.
        let plan = run(false, 5, vec![member("a", "1", Some("7"))], past).unwrap();
        assert_eq!((plan.seq, plan.steps[0].state), (4, StepState::Move));
        // An older revision with the same boxes moves nothing back.
        assert!(run(false, 4, vec![member("a", "1", Some("1"))], past).unwrap().is_done());
    }

    #[test]
    fn what_stands_keeps_its_count_below_records_that_cannot_be_read() {
        let set = record(3, 5, &[("a", "1", None)]);
        let past = Past { set: Some(&set), plan: None, last: 7 };
        let plan = run(false, 5, vec![member("a", "1", Some("1"))], past).unwrap();
        assert_eq!((plan.is_done(), plan.seq), (true, 3));
        let plan = run(false, 5, vec![member("a", "2", Some("1"))], past).unwrap();
        assert_eq!((plan.is_done(), plan.seq), (false, 8));
    }

    #[test]
    fn a_promotion_that_stopped_goes_on_under_its_own_count() {
        let set = record(1, 5, &[("a", "0", None), ("b", "0", None)]);
        let begun = record(2, 6, &[("a", "1", Some("0")), ("b", "2", Some("0"))]);
        let past = Past { set: Some(&set), plan: Some(&begun), last: 0 };
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
    fn promotions_of_other_boxes_altogether_are_another_projects() {
        let theirs = record(1, 5, &[("x", "0", None), ("y", "0", None)]);
        let begun = record(2, 5, &[("y", "1", None)]);
        let ours = || vec![member("a", "1", None), member("b", "2", None)];
        for past in [
            Past { set: Some(&theirs), plan: Some(&theirs), last: 0 },
            Past { set: None, plan: Some(&begun), last: 0 },
        ] {
            assert!(matches!(run(false, 9, ours(), past), Err(Refusal::Stranger { .. })));
        }
        // A set that gained and lost boxes is still the same project's.
        let before = record(1, 5, &[("b", "2", None), ("y", "0", None)]);
        let past = Past { set: Some(&before), plan: Some(&before), last: 0 };
        assert_eq!(run(false, 9, ours(), past).unwrap().seq, 2);
    }

    #[test]
    fn an_older_revision_does_not_undo_what_a_newer_one_began() {
        let set = record(1, 5, &[("a", "0", None)]);
        let begun = record(2, 9, &[("a", "1", Some("0"))]);
        let past = Past { set: Some(&set), plan: Some(&begun), last: 0 };
        let older = run(false, 6, vec![member("a", "2", Some("1"))], past);
        assert!(matches!(older, Err(Refusal::Older { .. })));
        // Going on with the very same images moves nothing back.
        assert!(run(false, 6, vec![member("a", "1", Some("1"))], past).is_ok());
        assert!(run(false, 9, vec![member("a", "2", Some("1"))], past).is_ok());
    }

    #[test]
    fn the_same_set_from_a_newer_revision_is_recorded() {
        let set = record(1, 5, &[("a", "1", None)]);
        let past = Past { set: Some(&set), plan: Some(&set), last: 0 };
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
        let past = Past { set: Some(&set), plan: None, last: 0 };
        assert!(matches!(run(false, 5, held.clone(), past), Err(Refusal::Older { .. })));
        assert!(run(false, 9, held.clone(), past).is_ok());
        let (tag, older) = ("r1".parse().unwrap(), source(5));
        let wish =
            PromotionRequest { tag: &tag, immutable: false, allow_older: true, source: &older, from: None };
        assert!(promotion(&wish, held, past).is_ok());
        let dirty = Source { dirty: true, ..source(5) };
        let wish = PromotionRequest { immutable: true, allow_older: false, source: &dirty, ..wish };
        let dirty = promotion(&wish, vec![], Past::default());
        assert!(matches!(dirty, Err(Refusal::Dirty { .. })));
        let unread = Source { unread: Some("no git".to_owned()), ..Source::default() };
        let of = |immutable, allow_older, source: &Source| {
            let wish = PromotionRequest { immutable, allow_older, source, ..wish.clone() };
            promotion(&wish, vec![member("a", "1", Some("0"))], Past::default()).map(|plan| plan.seq)
        };
        assert!(matches!(of(true, true, &unread), Err(Refusal::UnknownState { .. })));
        assert!(matches!(of(false, false, &unread), Err(Refusal::UnknownRevision { .. })));
        assert_eq!(of(false, true, &unread), Ok(1));
        // A CI names the commit where there is no repository: order is known, and no more.
        let named = Source { unread: unread.unread.clone(), ..source(5) };
        assert!(matches!(of(true, false, &named), Err(Refusal::UnknownState { .. })));
        assert_eq!(of(false, false, &named), Ok(1));
        let local = Source { local: vec!["ec".to_owned()], ..source(5) };
        let of = |immutable| {
            promotion(
                &PromotionRequest { immutable, source: &local, ..wish.clone() },
                vec![],
                Past::default(),
            )
        };
        assert!(matches!(of(true), Err(Refusal::Local { names, .. }) if names == ["ec"]));
        assert!(of(false).is_ok());
    }
}
