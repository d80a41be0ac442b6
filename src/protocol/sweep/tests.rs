//! What is kept before it is deleted, and what becomes of what is not.

use super::*;
use crate::model::{ContentTag, Generation, TaggedDigest, Timestamp, Tombstone};
use crate::retention::{Node, Observed, Policy};

/// The box `build` on the box `base`, both condemned long ago.
fn condemned() -> (Observed, Policy) {
    let mut observed = Observed::default();
    let mut below = BTreeSet::new();
    for name in ["base", "build"] {
        let (key, digest) = (Key::of(name.as_bytes()), Digest::of(name.as_bytes()));
        let tag = ContentTag::new(None, key.clone(), Generation(0)).unwrap().tag();
        let tags = BTreeMap::from([(tag.clone(), digest.clone())]);
        observed.repositories.insert(name.to_owned(), tags);
        let needs = std::mem::replace(&mut below, BTreeSet::from([digest.clone()]));
        observed.nodes.insert(digest.clone(), Node { needs, key: Some(key.clone()), ..Node::default() });
        observed.tombstones.push(Tombstone {
            key,
            generation: Generation(0),
            marked: Timestamp::from_unix(1_000_000),
            reason: String::new(),
            images: vec![TaggedDigest { repository: name.to_owned(), tag, digest }],
            parts: BTreeSet::new(),
        });
    }
    let now = Timestamp::from_unix(2_000_000);
    (observed, Policy { grace: Span::from_seconds(86_400), now, today: now })
}

/// Lets a sweep run to its end; `kept` is what becomes of keeping, by place. Returns what it asked for
/// from then on, and what became of the deletions.
fn sweep(keeps: bool, kept: &[(usize, Keeping)]) -> (Vec<SweepAction>, Vec<Deletion>) {
    let (observed, policy) = condemned();
    let (mut sweep, mut asked, mut gone) = (Sweeper::new(true).keeping(keeps), Vec::new(), BTreeSet::new());
    loop {
        let action = sweep.next();
        let digest = |at: usize| sweep.clean().delete[at].seen.digest.clone();
        let saw = match action {
            SweepAction::Clock => SweepInput::Clock(Duration::ZERO),
            SweepAction::Rest => SweepInput::Observed(Box::new(observed.clone()), policy),
            SweepAction::Keep => SweepInput::Kept(kept.iter().cloned().collect()),
            SweepAction::Head(at) => SweepInput::Holds(Some(digest(at))),
            SweepAction::Delete(at) => {
                gone.insert(at);
                SweepInput::Answered(Answer::Taken)
            }
            SweepAction::Find(at) => SweepInput::Holds((!gone.contains(&at)).then(|| digest(at))),
            SweepAction::End(end) => {
                assert_eq!(end, SweepEnd::Done);
                return (asked, sweep.deletions().to_vec());
            }
            _ => SweepInput::Done,
        };
        if matches!(action, SweepAction::Keep | SweepAction::Delete(_)) {
            asked.push(action);
        }
        sweep = sweep.observe(saw);
    }
}

#[test]
fn nothing_is_deleted_that_was_not_kept() {
    use SweepAction::{Delete, Keep};
    let kept = |at| (at, Keeping::Kept);
    let failed = |deletion: &Deletion| matches!(deletion, Deletion::Failed(_));
    // First all is kept, then it goes, what stands on others first.
    let (asked, deletions) = sweep(true, &[kept(0), kept(1)]);
    assert_eq!(asked, [Keep, Delete(0), Delete(1)]);
    assert_eq!(deletions, [Deletion::Done, Deletion::Done]);
    // What it was not told of is not kept.
    let (asked, deletions) = sweep(true, &[kept(0)]);
    assert_eq!(asked, [Keep, Delete(0)]);
    assert!(deletions[0] == Deletion::Done && failed(&deletions[1]), "{deletions:?}");
    // What an image stands on stays with it.
    let (asked, deletions) = sweep(true, &[(0, Keeping::Failed("500".to_owned())), kept(1)]);
    assert_eq!(asked, [Keep]);
    assert!(deletions.iter().all(failed), "{deletions:?}");
    // What was not there to be kept stays if it stands after all.
    let (asked, deletions) = sweep(true, &[(0, Keeping::Gone), kept(1)]);
    assert_eq!(asked, [Keep]);
    assert!(deletions[0] == Deletion::Changed && failed(&deletions[1]), "{deletions:?}");
    // Where nothing is deleted nothing need be kept.
    let (asked, deletions) = sweep(true, &[(0, Keeping::Unsupported), kept(1)]);
    assert_eq!(asked, [Keep]);
    assert!(deletions[0] == Deletion::Unsupported && matches!(deletions[1], Deletion::Refused(_)));
    // Where nothing can be undone nothing is asked for.
    let (asked, _) = sweep(false, &[]);
    assert_eq!(asked, [Delete(0), Delete(1)]);
}
