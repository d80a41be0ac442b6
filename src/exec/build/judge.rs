//! What an image that stands is worth to a box: whether it was made on the parents that stand now.

use crate::exec::build::outcome::Parents;
use crate::exec::keys::ResolvedBox;
use crate::plan::{Decision, Parent, Reason, Recorded, Seen, decide};

/// Decides by what was seen and the parents that stand.
pub(crate) fn decided(seen: &Seen, parents: &Parents, keyed: &ResolvedBox, may_push: bool) -> Decision {
    let parents = parents
        .iter()
        .filter_map(|(name, made)| Some((&**name, keyed.parents.get(name)?, Parent::Stands(&made.digest))));
    decide(seen, parents, may_push)
}

/// Says which parent an image was not made on, if there is one.
pub(crate) fn disagrees(recorded: &Recorded, parents: &Parents, keyed: &ResolvedBox) -> Option<Reason> {
    parents
        .iter()
        .find_map(|(name, parent)| recorded.disagrees(name, keyed.parents.get(name)?, &parent.digest))
}
