//! The values of pins: read from files of the repository, or from the lock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::keys::{FILE_LIMIT, KeysError, Tree};
use crate::config::{Pin, PinFormat, PinSource, extract};

/// Reads the values of the pins in `used`.
pub fn read_pins(tree: Tree<'_>, used: &BTreeSet<&str>) -> Result<BTreeMap<String, String>, KeysError> {
    let mut values = BTreeMap::new();
    for pin in tree.project.pins.values().filter(|pin| used.contains(pin.name.as_str())) {
        let value = match &pin.source {
            PinSource::Files { files, format } => from_files(tree, pin, files, format)?,
            PinSource::Git { .. } | PinSource::Image(_) | PinSource::Url(_) => {
                let value = tree.lock.pin(pin).map(str::to_owned);
                value.ok_or_else(|| KeysError::NotLocked { what: format!("pin {}", pin.name) })?
            }
        };
        values.insert(pin.name.clone(), value);
    }
    Ok(values)
}

/// Reads a value that stands in several files, which must agree.
fn from_files(tree: Tree<'_>, pin: &Pin, files: &[PathBuf], format: &PinFormat) -> Result<String, KeysError> {
    let mut first: Option<(&PathBuf, String)> = None;
    for path in files {
        let bytes = tree
            .context
            .read(&tree.root.join(path), FILE_LIMIT)
            .map_err(|source| KeysError::Context { name: pin.name.clone(), source })?
            .ok_or_else(|| KeysError::PinFile { pin: pin.name.clone(), path: path.clone() })?;
        let value = extract(&bytes, format).map_err(|source| KeysError::PinValue {
            pin: pin.name.clone(),
            path: path.clone(),
            source,
        })?;
        match &first {
            Some((first_path, first)) if *first != value => {
                return Err(KeysError::PinsDiffer {
                    pin: pin.name.clone(),
                    first_path: (*first_path).clone(),
                    first: first.clone(),
                    second_path: path.clone(),
                    second: value,
                });
            }
            Some(_) => {}
            None => first = Some((path, value)),
        }
    }
    Ok(first.map(|(_, value)| value).unwrap_or_default())
}
