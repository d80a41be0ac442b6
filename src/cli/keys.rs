//! `keys`: each box's key, offline.

use super::args::{Boxes, Format, Global};
use super::computed::compute_keys;
use super::error::{CliError, exit};
use super::json::{self, BoxRow, Report};
use super::table::Table;
use super::terminal::{BOLD, DIM, Terminal};
use super::{ci, session, sources};

pub async fn run(options: &Boxes, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let loaded = session::load(global)?;
    let specs = loaded.choose(options)?;
    let boxes = compute_keys(&loaded, specs, &loaded.offline_registry(), global).await?;
    session::look(&loaded, terminal);
    match global.format {
        Format::Json => {
            // The same fields as those of a plan that has asked nobody.
            let row = |keyed| BoxRow {
                state: Some("unknown"),
                action: Some("skipped"),
                reason: Some("no registry was asked".to_owned()),
                ..BoxRow::new(keyed, &keyed.wanted.tag)
            };
            let boxes = boxes.iter().map(row).collect();
            let run = session::run(global, &ci::observe()?).0.to_string();
            let report = Report { schema: 1, run, boxes, source: None, ci: None, findings: None };
            terminal.result(&json::text(&report))?;
        }
        Format::Human => {
            let mut table = Table::new(&["BOX", "TAG", "ENTRIES", "STANDS ON"]);
            for keyed in &boxes {
                table.row([
                    (BOLD, keyed.wanted.name.clone()),
                    (anstyle::Style::new(), keyed.wanted.tag.to_string()),
                    (anstyle::Style::new(), keyed.entries().to_string()),
                    (DIM, [&keyed.wanted.parents[..], &sources::marks(keyed)].concat().join(", ")),
                ]);
            }
            terminal.result(&table.render())?;
        }
    }
    // The process ends here: to free a hundred thousand entries one by one is time for nothing.
    std::mem::forget(boxes);
    Ok(exit::DONE)
}
