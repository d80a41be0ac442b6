//! The plan of a sweep as a file: written by one call, carried out by another.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::error::CliError;
use super::super::{json, whole};
use crate::model::{Span, Timestamp};
use crate::retention::{Action, Clean};

/// The version of the file's format.
const SCHEMA: u32 = 1;

/// What is to be done, and where.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    schema: u32,
    /// The ledger's repository with its host: a plan is for one registry.
    pub ledger: String,
    /// The time it was decided for.
    now: String,
    /// How far that lay ahead, in seconds.
    ahead: u64,
    actions: Vec<Action>,
}

impl PlanFile {
    pub fn new(ledger: String, clean: &Clean, now: Timestamp, ahead: Span) -> Self {
        let actions = clean.actions().into_iter().collect();
        Self { schema: SCHEMA, ledger, now: now.rfc3339(), ahead: ahead.seconds(), actions }
    }

    pub fn write(&self, path: &Path) -> Result<(), CliError> {
        whole::write(path, &json::text(self))
    }

    pub fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| CliError::Io { action: "read", path: path.to_owned(), source })?;
        let bad = |why: String| CliError::Usage(format!("{} is no plan: {why}", path.display()));
        let plan: Self = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if plan.schema != SCHEMA {
            return Err(bad(format!("its format is {}, not {SCHEMA}", plan.schema)));
        }
        Ok(plan)
    }

    pub fn ahead(&self) -> Span {
        Span::from_seconds(self.ahead)
    }

    pub fn actions(&self) -> BTreeSet<Action> {
        self.actions.iter().cloned().collect()
    }
}
