//! What a build has to do: for each box, use what is there or build it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ContentTag, Digest, Generation, Key, Repository};

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
    /// The generation that is current: the first one that no marker ends.
    pub generation: Generation,
    /// What stands under its tag.
    pub state: State,
}

impl Seen {
    /// Returns the size of what is present: its layers as they are stored, in bytes.
    pub fn size(&self) -> Option<u64> {
        match &self.state {
            State::Present { recorded, .. } => Some(recorded.size),
            State::Missing | State::Broken { .. } | State::Unknown { .. } => None,
        }
    }
}

/// The four answers of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// An image with the right key.
    Present {
        /// Its digest.
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
    Unknown {
        /// The request that failed and how.
        why: String,
        /// Whether other credentials would help.
        wants_login: bool,
    },
}

impl State {
    /// Returns the word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Present { .. } => "present",
            Self::Missing => "missing",
            Self::Broken { .. } => "broken",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Returns the digest of what is present.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Present { digest, .. } => Some(digest),
            Self::Missing | Self::Broken { .. } | Self::Unknown { .. } => None,
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

/// What is to be done about a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Use the image that is there.
    Use,
    /// Build it.
    Build,
    /// Nothing can be decided: the registry did not answer.
    Stop,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The box's name.
    pub name: String,
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: String,
}

/// Decides for each box, in the order given, which is parents first.
pub fn plan(wanted: &[Wanted], seen: &BTreeMap<String, Seen>) -> Vec<Row> {
    let mut building: BTreeSet<&str> = BTreeSet::new();
    let mut rows = Vec::new();
    for want in wanted {
        let (action, reason) = decide(want, wanted, seen, &building);
        if action == Action::Build {
            building.insert(&want.name);
        }
        rows.push(Row { name: want.name.clone(), action, reason });
    }
    rows
}

fn decide(
    want: &Wanted,
    all: &[Wanted],
    seen: &BTreeMap<String, Seen>,
    building: &BTreeSet<&str>,
) -> (Action, String) {
    let Some(Seen { generation, state }) = seen.get(&want.name) else {
        return (Action::Stop, "was not asked for".to_owned());
    };
    let recorded = match state {
        State::Unknown { why, .. } => return (Action::Stop, why.clone()),
        State::Missing => return (Action::Build, generation.why_missing()),
        State::Broken { why } => return (Action::Build, why.clone()),
        State::Present { recorded, .. } => recorded,
    };
    for name in &want.parents {
        if building.contains(name.as_str()) {
            return (Action::Build, format!("parent {name} is built anew"));
        }
        let parent = all.iter().find(|parent| parent.name == *name);
        let digest = match seen.get(name).map(|seen| &seen.state) {
            Some(State::Present { digest, .. }) => digest,
            _ => return (Action::Stop, format!("parent {name} is unknown")),
        };
        if let Some(why) = parent.and_then(|parent| recorded.disagrees(name, parent.key(), digest)) {
            return (Action::Build, why);
        }
    }
    (Action::Use, "present".to_owned())
}

impl Recorded {
    /// Says how an image disagrees with the parent that is current, if it does.
    pub fn disagrees(&self, name: &str, key: &Key, digest: &Digest) -> Option<String> {
        match self.parents.get(key) {
            Some(recorded) if recorded == digest => None,
            Some(recorded) => Some(format!(
                "was built on another image of parent {name}: {} is now {}",
                recorded.short(),
                digest.short()
            )),
            None => Some(format!("does not say which image of parent {name} it was built on")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// A chain of base, build and test in the given states; returns actions and reasons.
    fn check(states: [State; 3], expect: [(Action, &str); 3]) {
        let wanted = [want("base", &[]), want("build", &["base"]), want("test", &["build"])];
        let seen = wanted
            .iter()
            .zip(states)
            .map(|(want, state)| (want.name.clone(), Seen { generation: Generation(0), state }))
            .collect();
        let rows = plan(&wanted, &seen);
        for (row, (action, reason)) in rows.iter().zip(expect) {
            assert_eq!(row.action, action, "{row:?}");
            assert!(row.reason.contains(reason), "{row:?}");
        }
    }

    #[test]
    fn only_what_is_missing_is_built() {
        use Action::{Build, Stop, Use};
        let base = || present("base", &[]);
        let build = || present("build", &[("base", "base")]);
        let test = || present("test", &[("build", "build")]);
        let missing = || State::Missing;
        let all = "present";
        check([base(), build(), test()], [(Use, all), (Use, all), (Use, all)]);
        check([base(), build(), missing()], [(Use, all), (Use, all), (Build, "no image")]);
        check(
            [base(), missing(), test()],
            [(Use, all), (Build, "no image"), (Build, "parent build is built")],
        );
        let other = present("build", &[("base", "another")]);
        check(
            [base(), other, test()],
            [(Use, all), (Build, "another image of parent base"), (Build, "anew")],
        );
        let silent = present("build", &[]);
        check([base(), silent, test()], [(Use, all), (Build, "does not say"), (Build, "anew")]);
        let replaced = Seen { generation: Generation(1), state: missing() };
        let rows = plan(&[want("base", &[])], &BTreeMap::from([("base".to_owned(), replaced)]));
        assert_eq!(rows[0].reason, "generation 0 of this key was replaced or condemned");
        let unknown = State::Unknown { why: "HEAD x: 503".to_owned(), wants_login: false };
        check([unknown, build(), missing()], [(Stop, "503"), (Stop, "base is unknown"), (Build, "no image")]);
    }
}
