use super::*;

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn tag(name: &str, generation: u32) -> Tag {
    ContentTag::new(None, Key::of(name.as_bytes()), Generation(generation)).unwrap().tag()
}

/// An image of the repository and the key `name`, gone and with all its blobs, on `bases`.
fn image(name: &str, bases: &[&str]) -> Remains {
    let key = Key::of(name.as_bytes());
    Remains {
        repository: name.to_owned(),
        tag: Some(tag(name, 0)),
        key: key.clone(),
        digest: digest(name),
        state: RemainsState::Known {
            stands: false,
            holds: None,
            children: BTreeSet::new(),
            bases: bases.iter().map(|base| (Key::of(base.as_bytes()), digest(base))).collect(),
            lacks: None,
            says: Some((key, Some(Generation(0)))),
            claimed: None,
        },
    }
}

/// A part of the repository `of`, without a tag.
fn part(of: &str, name: &str) -> Remains {
    let key = Key::of(of.as_bytes());
    Remains { repository: of.to_owned(), tag: None, key, digest: digest(name), ..image(name, &[]) }
}

fn with(mut one: Remains, change: impl FnOnce(&mut RemainsState)) -> Remains {
    change(&mut one.state);
    one
}

macro_rules! set {
    ($one:expr, $field:ident = $value:expr) => {
        with($one, |state| match state {
            RemainsState::Known { $field, .. } => *$field = $value,
            RemainsState::Doubtful(_) => unreachable!(),
        })
    };
}

/// What becomes of each, in the order of the steps.
fn steps(remains: &[Remains], standing: &[(&str, &str)]) -> Vec<(usize, String)> {
    let standing = standing.iter().map(|(at, what)| ((*at).to_owned(), digest(what))).collect();
    let word = |step| match step {
        PutBack::Put => "put".to_owned(),
        PutBack::Stands => "stands".to_owned(),
        PutBack::Gone(why) => format!("gone: {why}"),
        PutBack::Refused(why) => format!("refused: {why}"),
    };
    put_back(remains, &standing).into_iter().map(|(at, step)| (at, word(step))).collect()
}

fn check(remains: &[Remains], standing: &[(&str, &str)], expect: &[(usize, &str)]) {
    let found = steps(remains, standing);
    let places = |all: &[(usize, String)]| all.iter().map(|(at, _)| *at).collect::<Vec<_>>();
    assert_eq!(places(&found), expect.iter().map(|(at, _)| *at).collect::<Vec<_>>(), "{found:?}");
    for ((_, word), (_, expect)) in found.iter().zip(expect) {
        assert!(word.starts_with(expect), "{word} is not {expect}");
    }
}

#[test]
fn nothing_goes_back_before_what_it_needs() {
    let chain = [image("test", &["build"]), image("build", &["base"]), image("base", &[])];
    check(&chain, &[], &[(2, "put"), (1, "put"), (0, "put")]);
    // A base that stands anywhere is enough; one that stands nowhere keeps all on it away.
    check(&chain[..2], &[("elsewhere", "base")], &[(1, "put"), (0, "put")]);
    let base = digest("base");
    check(&chain[..2], &[], &[(0, "gone"), (1, &format!("gone: {base}, which"))]);
    // Children have to stand in the repository of their index.
    let index = set!(image("index", &[]), children = BTreeSet::from([digest("child")]));
    check(&[index.clone(), part("index", "child")], &[], &[(1, "put"), (0, "put")]);
    check(std::slice::from_ref(&index), &[("elsewhere", "child")], &[(0, "gone")]);
    check(&[index], &[("index", "child")], &[(0, "put")]);
}

#[test]
fn what_lacks_a_blob_takes_with_it_what_stands_on_it() {
    let base = set!(image("base", &[]), lacks = Some(digest("layer")));
    let lacking = format!("gone: the registry no longer has {}", digest("layer"));
    check(&[image("build", &["base"]), base.clone()], &[], &[(1, &lacking), (0, "gone")]);
    // What stands is not asked for its blobs.
    let there = set!(set!(base, stands = true), holds = Some(digest("base")));
    check(&[there], &[], &[(0, "stands")]);
}

#[test]
fn a_tag_is_never_taken_from_another_digest() {
    let mine = image("base", &[]);
    check(&[set!(mine.clone(), holds = Some(digest("base")))], &[], &[(0, "stands")]);
    check(&[set!(mine.clone(), holds = Some(digest("other")))], &[], &[(0, "refused: its tag holds")]);
    // It is there under another tag alone.
    check(&[set!(mine, stands = true)], &[], &[(0, "put")]);
    check(&[set!(part("base", "child"), stands = true)], &[], &[(0, "stands")]);
}

#[test]
fn what_belongs_to_nothing_that_stands_stays_away() {
    check(&[part("base", "child")], &[], &[(0, "refused: what it belongs to")]);
    let index = set!(image("index", &[]), children = BTreeSet::from([digest("child")]));
    let index = set!(index, holds = Some(digest("other")));
    let expect = [(1, "refused: what it belongs to"), (0, "refused: its tag holds")];
    check(&[index, part("index", "child")], &[], &expect);
    // What refers to an image that goes back goes with it.
    let referrer = set!(part("base", "proof"), children = BTreeSet::from([digest("base")]));
    check(&[referrer, image("base", &[])], &[], &[(1, "put"), (0, "put")]);
}

#[test]
fn a_record_gives_no_tag_that_a_build_would_not() {
    let promoted = Remains { tag: Some("main".parse().unwrap()), ..image("base", &[]) };
    check(&[promoted], &[], &[(0, "refused: its tag is none that goes with an image")]);
    let other = Remains { tag: Some(tag("other", 0)), ..image("base", &[]) };
    check(&[other], &[], &[(0, "refused: its record names another key")]);
    let later = Remains { tag: Some(tag("base", 1)), ..image("base", &[]) };
    check(&[later], &[], &[(0, "refused: it does not say")]);
    let silent = set!(image("base", &[]), says = None);
    check(&[silent], &[], &[(0, "refused: it does not say")]);
    let other = set!(image("base", &[]), says = Some((Key::of(b"other"), Some(Generation(0)))));
    check(&[other], &[], &[(0, "refused: it does not say")]);
    let doubt = Remains { state: RemainsState::Doubtful("made up".to_owned()), ..image("base", &[]) };
    check(&[doubt], &[], &[(0, "refused: made up")]);
}

#[test]
fn what_a_sweep_has_claimed_is_left_to_it() {
    let claimed = set!(image("base", &[]), claimed = Some(Timestamp::from_unix(1_000_000_000)));
    check(std::slice::from_ref(&claimed), &[], &[(0, "refused: a sweep has claimed it until")]);
    // It stands, and may be deleted a moment later; so nothing is put on it either.
    let stands = set!(set!(claimed, holds = Some(digest("base"))), stands = true);
    let above = image("build", &["base"]);
    let expect = [(0, "refused: a sweep has claimed it until"), (1, "gone")];
    check(&[stands, above], &[("base", "base")], &expect);
}

#[test]
fn a_tombstone_of_a_sweep_goes_and_any_other_is_dated_anew() {
    let tombstone = |reason: &str, repository: &str| Tombstone {
        key: Key::of(b"base"),
        generation: Generation(0),
        marked: Timestamp::from_unix(1),
        reason: reason.to_owned(),
        images: Vec::from_iter((!repository.is_empty()).then(|| crate::model::TaggedDigest {
            repository: repository.to_owned(),
            tag: tag("base", 0),
            digest: digest("base"),
        })),
        parts: BTreeSet::new(),
    };
    let today = Timestamp::from_unix(9);
    let (swept, retired) = (tombstone(UNKEPT, "base"), tombstone(UNKEPT, ""));
    assert_eq!(revive(&swept, false, today), Revived::Forget);
    assert_eq!(revive(&retired, false, today), Revived::Forget);
    // A later generation is what is used now.
    assert_eq!(revive(&swept, true, today), Revived::Renew(Tombstone { marked: today, ..swept }));
    assert_eq!(revive(&retired, true, today), Revived::Stays);
    // A rebuild meant it.
    let rebuilt = tombstone("replaced by run 7", "base");
    assert_eq!(revive(&rebuilt, false, today), Revived::Renew(Tombstone { marked: today, ..rebuilt }));
}

#[test]
fn a_signature_goes_back_after_its_image_and_never_without() {
    let image = image("base", &[]);
    let tag = format!("sha256-{}.sig", image.digest.hex()).parse().unwrap();
    let signature = Remains { tag: Some(tag), ..set!(part("base", "sig"), says = None) };
    check(&[signature.clone(), image], &[], &[(1, "put"), (0, "put")]);
    check(std::slice::from_ref(&signature), &[], &[(0, "gone")]);
    check(&[signature], &[("base", "base")], &[(0, "put")]);
}
