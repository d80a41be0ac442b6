//! `[protect]` and `[clean]`: what is never deleted, and how clean waits and stops.

use super::fields::inside;
use crate::config::document::{ConfigError, Section};
use crate::config::project::{Protect, Retention};
use crate::model::{Repository, Span};

const DAY: u64 = 86_400;
/// Kept manifests that claim to stay longer are taken for a stranger's.
const UNDO_DAYS: u64 = 30;

pub(super) fn retention(section: Option<&Section<'_>>) -> Result<Retention, ConfigError> {
    let grace = Span::from_seconds(DAY);
    let records = Span::from_seconds(30 * DAY);
    let undo = Span::from_seconds(7 * DAY);
    let Some(section) = section else {
        return Ok(Retention { ledger: None, grace, settle: None, records, undo, max_delete: None, min: 0 });
    };
    section.allow(&["ledger", "grace", "settle", "records", "undo", "max-delete", "min"])?;
    Ok(Retention {
        ledger: section.field("ledger").map(|field| field.str().map(str::to_owned)).transpose()?,
        grace: section.field("grace").map_or(Ok(grace), |field| field.parse())?,
        settle: section.field("settle").map(|field| field.parse()).transpose()?,
        records: section.field("records").map_or(Ok(records), |field| field.parse())?,
        undo: section.field("undo").map_or(Ok(undo), |field| {
            let span: Span = field.parse()?;
            let is_too_long = span > Span::from_seconds(UNDO_DAYS * DAY);
            if is_too_long {
                Err(field.error("what was deleted is kept for 30 days at most"))
            } else {
                Ok(span)
            }
        })?,
        max_delete: section.field("max-delete").map(|field| field.parse()).transpose()?,
        min: section.field("min").map_or(Ok(0), |field| field.count())?,
    })
}

pub(super) fn protect(section: Option<&Section<'_>>) -> Result<Protect, ConfigError> {
    let Some(section) = section else { return Ok(Protect::default()) };
    section.allow(&["digests", "files", "urls", "repositories"])?;
    let mut protect = Protect::default();
    let list = |key: &str| section.field(key).map_or(Ok(Vec::new()), |field| field.list());
    for field in list("digests")? {
        protect.digests.push(field.parse()?);
    }
    for field in list("files")? {
        protect.files.push(inside(&field)?);
    }
    for field in list("urls")? {
        let url = field.str()?;
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(field.error("expected an http or https address"));
        }
        protect.urls.push(url.to_owned());
    }
    for field in list("repositories")? {
        protect.repositories.push(field.parse::<Repository>()?);
    }
    Ok(protect)
}
