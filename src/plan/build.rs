//! What a build has to do: for each box, use what is there or build it.

use std::collections::BTreeMap;

use crate::model::{AnyError, ContentTag, Digest, Generation, Key, Repository};

/// A box as its inputs want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The box's name.
    pub name: String,
    /// Where its image is kept.
    pub repository: Repository,
    /// The tag of generation 0.
    pub tag: ContentTag,
    /// The names of the boxes it stands on.
    pub parents: Vec<String>,
}

impl Wanted {
    /// Returns the box's key.
    pub fn key(&self) -> &Key {
        self.tag.key()
    }
}

/// What a probe saw of a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The generation that is current: the first one that no tombstone ends.
    pub generation: Generation,
    /// What stands under its tag.
    pub state: State,
}

impl Seen {
    /// Returns the size of what is present: its layers as they are stored, in bytes.
    pub fn size(&self) -> Option<u64> {
        match &self.state {
            State::Present { recorded, .. } => Some(recorded.size),
            State::Missing | State::Broken { .. } | State::Unknown(_) => None,
        }
    }
}

/// The four answers of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// An image with the right key.
    Present {
        digest: Digest,
        /// What it says of itself.
        recorded: Recorded,
    },
    /// The registry said that nothing is there.
    Missing,
    /// Something is there that cannot be used.
    Broken {
        /// What is wrong with it.
        why: String,
    },
    /// The registry did not say.
    Unknown(AnyError),
}

impl State {
    /// Returns the word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Present { .. } => "present",
            Self::Missing => "missing",
            Self::Broken { .. } => "broken",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Returns the digest of what is present.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Present { digest, .. } => Some(digest),
            Self::Missing | Self::Broken { .. } | Self::Unknown(_) => None,
        }
    }
}

/// What an image's labels say about its making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The digests of the images it was built on, by their keys.
    pub parents: BTreeMap<Key, Digest>,
    /// The size of its layers as they are stored, in bytes.
    pub size: u64,
}

/// What is to be done about a box: `plan` prints it, and a build carries it out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Use the image that is there.
    Use(Digest),
    /// Build it.
    Build(Reason),
    /// Its image stands on what `parent` is now, and that is built first: if it comes out as it was,
    /// the image is used, else it is built.
    Wait { parent: String },
    /// It is to be built, and this run may not push.
    Refuse(Reason),
    /// Nothing can be decided: the registry did not say what stands for it, or for a parent.
    Stop,
}

/// Why a box is built.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// Nothing stands under the tag of the current generation.
    #[error("{}", .0.why_missing())]
    Missing(Generation),
    /// What stands there cannot be used.
    #[error("{0}")]
    Broken(String),
    /// The image was built on another image of a parent.
    #[error(
        "was built on another image of parent {parent}: {} is now {}", .recorded.short(), .now.short()
    )]
    OtherParent {
        parent: String,
        /// What the image was built on.
        recorded: Digest,
        /// What stands for the parent.
        now: Digest,
    },
    /// The image's labels do not tell the parent's image.
    #[error("does not say which image of parent {parent} it was built on")]
    SilentParent { parent: String },
    /// A parent is missing, and cannot be built from here.
    #[error("parent {parent} is missing")]
    NoParent { parent: String },
}

impl Decision {
    /// Tells whether the box is built, or may have to be.
    pub fn is_build(&self) -> bool {
        matches!(self, Self::Build(_) | Self::Wait { .. } | Self::Refuse(_))
    }

    /// Returns the word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Use(_) => "use",
            Self::Build(_) => "build",
            Self::Wait { .. } => "wait",
            Self::Refuse(_) => "refuse",
            Self::Stop => "skipped",
        }
    }

    /// Says why.
    pub fn why(&self) -> String {
        match self {
            Self::Use(_) => "present".to_owned(),
            Self::Build(reason) | Self::Refuse(reason) => reason.to_string(),
            Self::Wait { parent } => {
                format!("parent {parent} is built first; used if that comes out as before")
            }
            Self::Stop => "the registry did not say what stands".to_owned(),
        }
    }

    /// What it means for the boxes that stand on this one.
    fn as_parent(&self) -> Parent<'_> {
        match self {
            Self::Use(digest) => Parent::Stands(digest),
            Self::Build(_) | Self::Wait { .. } => Parent::Built,
            Self::Refuse(_) => Parent::Absent,
            Self::Stop => Parent::Unknown,
        }
    }
}

/// A parent of a box that is decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent<'a> {
    /// This image of it stands.
    Stands(&'a Digest),
    /// It is built before the box, and what comes out is not known yet.
    Built,
    /// It is missing, and stays so.
    Absent,
    /// The registry did not say what stands for it.
    Unknown,
}

/// Decides for each box, in the order given, which is parents first. `may_push` tells whether this
/// run may push what it builds.
pub fn plan<'a>(
    wanted: impl IntoIterator<Item = &'a Wanted>,
    seen: &BTreeMap<String, Seen>,
    may_push: bool,
) -> Vec<Decision> {
    let mut decisions: Vec<Decision> = Vec::new();
    let mut places: BTreeMap<&str, (usize, &Key)> = BTreeMap::new();
    for want in wanted {
        let parents = want.parents.iter().filter_map(|name| {
            let (place, key) = places.get(name.as_str())?;
            Some((name.as_str(), *key, decisions.get(*place)?.as_parent()))
        });
        let decision = match seen.get(&want.name) {
            Some(seen) => decide(seen, parents, may_push),
            None => Decision::Stop,
        };
        places.insert(&want.name, (decisions.len(), want.key()));
        decisions.push(decision);
    }
    decisions
}

/// Decides about one box by what was seen of it, and its parents by name and key: the one place
/// where it is decided, before a build, when what it waits for stands, and at each look.
pub fn decide<'a>(
    seen: &Seen,
    parents: impl Iterator<Item = (&'a str, &'a Key, Parent<'a>)>,
    may_push: bool,
) -> Decision {
    let (digest, recorded) = match &seen.state {
        State::Unknown(_) => return Decision::Stop,
        State::Missing => return build(Reason::Missing(seen.generation), may_push),
        State::Broken { why } => return build(Reason::Broken(why.clone()), may_push),
        State::Present { digest, recorded } => (digest, recorded),
    };
    let mut waits = None;
    for (name, key, parent) in parents {
        let parent_name = || name.to_owned();
        match parent {
            Parent::Stands(now) => {
                if let Some(reason) = recorded.disagrees(name, key, now) {
                    return build(reason, may_push);
                }
            }
            // Whatever comes out, it is not what the image says that it stands on.
            Parent::Built if !recorded.parents.contains_key(key) => {
                return build(Reason::SilentParent { parent: parent_name() }, may_push);
            }
            Parent::Built => drop(waits.get_or_insert_with(parent_name)),
            Parent::Absent => return Decision::Refuse(Reason::NoParent { parent: parent_name() }),
            Parent::Unknown => return Decision::Stop,
        }
    }
    match waits {
        Some(parent) => Decision::Wait { parent },
        None => Decision::Use(digest.clone()),
    }
}

fn build(reason: Reason, may_push: bool) -> Decision {
    if may_push { Decision::Build(reason) } else { Decision::Refuse(reason) }
}

impl Recorded {
    /// Says how an image disagrees with the parent that is current, if it does.
    pub fn disagrees(&self, parent: &str, key: &Key, now: &Digest) -> Option<Reason> {
        let (parent, now) = (parent.to_owned(), now.clone());
        match self.parents.get(key) {
            Some(recorded) if *recorded == now => None,
            Some(recorded) => Some(Reason::OtherParent { parent, recorded: recorded.clone(), now }),
            None => Some(Reason::SilentParent { parent }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ErrorKind, Explained, Explanation};

    #[derive(Debug, thiserror::Error)]
    #[error("no answer")]
    struct Silent;

    impl Explained for Silent {
        fn explain(&self) -> Explanation<'_> {
            ErrorKind::Unreachable.into()
        }
    }

    fn want(name: &str, parents: &[&str]) -> Wanted {
        let key = Key::of(name.as_bytes());
        Wanted {
            name: name.to_owned(),
            repository: Repository::new("127.0.0.1:5000", name).unwrap(),
            tag: ContentTag::new(None, key, Generation(0)).unwrap(),
            parents: parents.iter().map(|&parent| parent.to_owned()).collect(),
        }
    }

    fn present(bytes: &str, on: &[(&str, &str)]) -> State {
        let parents =
            on.iter().map(|(name, bytes)| (Key::of(name.as_bytes()), Digest::of(bytes.as_bytes()))).collect();
        State::Present { digest: Digest::of(bytes.as_bytes()), recorded: Recorded { parents, size: 1 } }
    }

    /// A chain of base, build and test in the given states; returns words and reasons.
    fn check(may_push: bool, states: [State; 3], expect: [(&str, &str); 3]) {
        let wanted = [want("base", &[]), want("build", &["base"]), want("test", &["build"])];
        let seen = wanted
            .iter()
            .zip(states)
            .map(|(want, state)| (want.name.clone(), Seen { generation: Generation(0), state }))
            .collect();
        let decisions = plan(&wanted, &seen, may_push);
        assert_eq!(decisions.len(), 3);
        for (decision, (word, reason)) in decisions.iter().zip(expect) {
            assert_eq!(decision.word(), word, "{decision:?}");
            assert!(decision.why().contains(reason), "{decision:?}");
        }
    }

    #[test]
    fn only_what_is_missing_is_built() {
        let base = || present("base", &[]);
        let build = || present("build", &[("base", "base")]);
        let test = || present("test", &[("build", "build")]);
        let missing = || State::Missing;
        let there = ("use", "present");
        check(true, [base(), build(), test()], [there, there, there]);
        check(true, [base(), build(), missing()], [there, there, ("build", "not built yet")]);
        check(
            true,
            [base(), missing(), test()],
            [there, ("build", "not built yet"), ("wait", "parent build is built first")],
        );
        // What is there is decided about when its parents stand, however far down they are built.
        check(
            true,
            [missing(), build(), test()],
            [("build", "not built yet"), ("wait", "parent base"), ("wait", "parent build")],
        );
        let other = || present("build", &[("base", "another")]);
        check(
            true,
            [base(), other(), test()],
            [there, ("build", "another image of parent base"), ("wait", "build is built first")],
        );
        let silent = present("build", &[]);
        check(true, [base(), silent, test()], [there, ("build", "does not say"), ("wait", "first")]);
        check(
            false,
            [base(), other(), test()],
            [there, ("refuse", "another image of parent base"), ("refuse", "parent build is missing")],
        );
        let replaced = Seen { generation: Generation(1), state: missing() };
        let decisions = plan(&[want("base", &[])], &BTreeMap::from([("base".to_owned(), replaced)]), true);
        assert_eq!(decisions[0].why(), "generation 0 of this key was replaced or condemned");
        let unknown = State::Unknown(Silent.into());
        check(
            true,
            [unknown, build(), missing()],
            [("skipped", "did not say"), ("skipped", "did not say"), ("build", "not built yet")],
        );
    }
}
