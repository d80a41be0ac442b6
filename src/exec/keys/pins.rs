//! The values of pins: read from files of the repository, or from the lock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::config::{Pin, PinError, PinFormat, PinSource, Place, extract};
use crate::exec::keys::directory::FILE_LIMIT;
use crate::exec::keys::error::KeysError;
use crate::exec::keys::tree::Tree;

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
        let shown = path.display();
        let file = |message: String| {
            let source = pin.file_at.clone().error(message);
            KeysError::PinFile { pin: pin.name.clone(), source }
        };
        let joined = tree.root.join(path);
        if tree.context.resolve(&joined).is_some_and(|real| !real.starts_with(tree.root)) {
            return Err(file(format!("{shown} leads out of {}", tree.root.display())));
        }
        let bytes = tree
            .context
            .read(tree.root, path, FILE_LIMIT)
            .map_err(|source| KeysError::Context { name: pin.name.clone(), source })?
            .ok_or_else(|| file(format!("there is no {shown}")))?;
        let value = extract(&bytes, format).map_err(|error| {
            let source = match &error {
                PinError::Syntax { line, column, .. } => {
                    let text = String::from_utf8_lossy(&bytes);
                    Place::in_document(shown.to_string(), &text, *line, *column).error(error.to_string())
                }
                _ => pin.value_at.clone().error(format!("{shown} {error}")),
            };
            KeysError::PinValue { pin: pin.name.clone(), source }
        })?;
        match &first {
            Some((first_path, first)) if *first != value => {
                let first_path = first_path.display();
                let message = format!("{first_path} holds `{first}`, but {shown} holds `{value}`");
                let source = pin.file_at.clone().error(message);
                return Err(KeysError::PinValue { pin: pin.name.clone(), source });
            }
            Some(_) => {}
            None => first = Some((path, value)),
        }
    }
    Ok(first.map(|(_, value)| value).unwrap_or_default())
}
