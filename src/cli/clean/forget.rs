//! What in the ledger cannot be read: how it is said, and `clean --forget`.

use serde::Serialize;

use super::super::confirm::{Confirm, Decision};
use super::super::error::CliError;
use super::super::session::Session;
use super::super::terminal::Terminal;
use crate::exec::{CleanError, CleanReport, LedgerWriter};
use crate::model::{RecordTag, Repository, Tag};
use crate::port::Deleted;
use crate::retention::{Unreadable, Until};

/// How many names are told; a stranger may have written thousands.
const NAMES: usize = 10;

/// A tag of the ledger, in JSON.
#[derive(Serialize)]
pub struct Row {
    tag: String,
    why: String,
    /// When deletions go on by themselves; nothing where a person has to say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// Returns what stops every deletion, and what is only set aside.
pub fn rows(report: &CleanReport) -> (Vec<Row>, Vec<Row>) {
    let row = |one: &Unreadable| Row {
        tag: one.tag.clone(),
        why: one.why.clone(),
        until: match one.stops {
            Some(Until::Expiry(expiry)) => Some(expiry.rfc3339()),
            Some(Until::Forgotten) | None => None,
        },
    };
    let (stops, aside): (Vec<&Unreadable>, Vec<&Unreadable>) =
        report.clean.unreadable.iter().partition(|one| one.stops.is_some());
    (stops.into_iter().map(row).collect(), aside.into_iter().map(row).collect())
}

/// Tells both, with what to do about it.
pub fn tell(report: &CleanReport, ledger: &Repository, terminal: Terminal) {
    for one in report.clean.stops().take(NAMES) {
        let Unreadable { tag, why, stops } = one;
        let way = match stops {
            Some(Until::Expiry(expiry)) => {
                format!("the lease that it was ends {}, and nothing is deleted before", expiry.human())
            }
            _ => format!(
                "nothing is deleted until `boxwright clean --forget {tag} --yes`, after which nothing is kept for it"
            ),
        };
        terminal.warn(&format!("{ledger}:{tag} cannot be read and may keep anything: {why}; {way}"));
    }
    let aside = report.clean.unreadable.iter().filter(|one| one.stops.is_none());
    let names: Vec<&str> = aside.map(|one| one.tag.as_str()).collect();
    if !names.is_empty() {
        let more = match names.len().saturating_sub(NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = names.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ");
        terminal
            .warn(&format!("{ledger}: set aside, for they are no records that can be read: {names}{more}"));
    }
}

/// Removes records that the look of `report` could not read, if that is confirmed; tells whether it did.
pub async fn forget(
    tags: &[Tag],
    report: &CleanReport,
    session: &Session,
    confirm: &Confirm,
    terminal: Terminal,
) -> Result<bool, CliError> {
    let repository = &session.setting.ledger;
    let mut found = Vec::new();
    for tag in tags {
        let at = format!("{repository}:{tag}");
        let refuse = |why: String| CliError::NotForgotten { at: at.clone(), why };
        let one = report.clean.unreadable.iter().find(|one| one.tag == tag.as_str());
        let one = one.ok_or_else(|| refuse("it is none of what cannot be read there".to_owned()))?;
        if RecordTag::read(tag).is_none() {
            return Err(refuse("it is no record, so it keeps nothing and stops nothing".to_owned()));
        }
        if let Some(Until::Expiry(expiry)) = one.stops {
            return Err(refuse(format!("a run may go by this lease until {}", expiry.human())));
        }
        found.push((tag, &one.why));
    }
    let plan = found.iter().map(|(tag, why)| format!("would forget {repository}:{tag}: {why}\n"));
    let plan: String = plan.collect();
    if let Decision::Leave { is_shown, .. } = confirm.decide(Some(plan.clone())).await? {
        if !is_shown {
            terminal.result(&plan)?;
        }
        terminal.say(&confirm.not_applied());
        return Ok(false);
    }
    for (tag, why) in found {
        let ledger = LedgerWriter::new(session.ports(), repository).map_err(CleanError::from)?;
        match ledger.remove(tag).await.map_err(CleanError::from)? {
            Deleted::Gone | Deleted::NotFound => {
                terminal.result(&format!("forgot {repository}:{tag}: {why}\n"))?;
            }
            Deleted::Unsupported => {
                let why = "the registry does not delete".to_owned();
                return Err(CliError::NotForgotten { at: format!("{repository}:{tag}"), why });
            }
            Deleted::Refused { why } => {
                return Err(CliError::NotForgotten { at: format!("{repository}:{tag}"), why });
            }
        }
    }
    Ok(true)
}
