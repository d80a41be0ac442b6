//! Findings that are silenced by name, and the one that is an error unless it is.

use std::collections::BTreeSet;
use std::ops::Range;

use super::document::{ConfigError, Section, nearest};
use crate::inputs::{FindingKind, is_secret};

/// Reads the `allow` list of a section, if it has one.
pub(super) fn allowed(section: &Section<'_>) -> Result<BTreeSet<FindingKind>, ConfigError> {
    let mut allowed = BTreeSet::new();
    let Some(field) = section.field("allow") else { return Ok(allowed) };
    for item in field.list()? {
        let name = item.str()?;
        let Some(kind) = FindingKind::ALL.into_iter().find(|kind| kind.name() == name) else {
            let known = FindingKind::ALL.map(FindingKind::name);
            let mut error =
                item.error(format!("there is no finding `{}`", crate::model::printable(name, 80)));
            error.hint = Some(match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("findings are {}", known.join(", ")),
            });
            return Err(error);
        };
        allowed.insert(kind);
    }
    Ok(allowed)
}

/// Refuses an argument whose name looks like that of a secret, without showing its value.
pub(super) fn argument(
    section: &Section<'_>,
    name: &str,
    span: Range<usize>,
    allowed: &BTreeSet<FindingKind>,
) -> Result<(), ConfigError> {
    if !is_secret(name) || allowed.contains(&FindingKind::SecretArgument) {
        return Ok(());
    }
    let shown = crate::model::printable(name, 80);
    let mut error = section.source.error(
        span,
        format!(
            "argument `{shown}` looks like a secret; arguments are stored in the image and in the ledger"
        ),
    );
    error.text = format!("{:>width$}{shown} = …", "", width = error.column - 1);
    error.hint = Some(SECRET_HINT.to_owned());
    Err(error)
}

/// What to do about an argument that looks like a secret.
pub const SECRET_HINT: &str = "hand it over as a build secret (`secrets` of the box, RUN --mount=type=secret,id=…), or say allow = [\"secret-argument\"]";
