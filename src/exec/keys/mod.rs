//! From a project on disk to the keys of its boxes. Works offline.

mod analyse;
mod derive;
pub(super) mod directory;
mod error;
pub(super) mod findings;
mod git;
mod keyed;
pub(super) mod lock;
mod pins;
mod prepare;
mod scan;
mod secrets;
mod sources;
pub(super) mod tree;

use crate::config::BoxSpec;
use crate::exec::keys::pins::read_pins;
use crate::exec::keys::tree::Tree;

pub use error::KeysError;
pub use keyed::ResolvedBox;

/// Computes the keys of `specs`, which are parents first and complete. `registry` names
/// repositories and enters no key.
pub fn keys(tree: Tree<'_>, specs: &[BoxSpec], registry: &str) -> Result<Vec<ResolvedBox>, KeysError> {
    let local = sources::local(tree, specs)?;
    let mut pins = sources::pins(tree, &local);
    let used = specs.iter().flat_map(BoxSpec::pins).filter(|pin| !pins.contains_key(*pin));
    let read = read_pins(tree, &used.collect())?;
    pins.extend(read);
    // What a box hands on to others does not depend on its files, so these are read last, those
    // of all boxes at once.
    let mut boxes = Vec::new();
    for spec in specs {
        let one = tree.prepare(spec, &pins, &local, &boxes)?;
        boxes.push(one);
    }
    let entries = tree.scan_all(&mut boxes);
    let mut done: Vec<ResolvedBox> = Vec::new();
    for (one, entries) in boxes.into_iter().zip(entries) {
        let keyed = tree.key(one, entries?, &pins, &local, registry, &done)?;
        done.push(keyed);
    }
    Ok(done)
}
