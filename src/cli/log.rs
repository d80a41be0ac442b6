//! `log`: who promoted what to a tag, when, from what, and what stood there before.

use serde::Serialize;

use super::args::{Format, Global, Log};
use super::error::{CliError, exit};
use super::json;
use super::promote::{channel_of, tell_aside};
use super::session::{self, Session};
use super::table::Table;
use super::terminal::{BOLD, DIM, NOTE, Terminal};
use crate::exec::{Ledger, PromoteError, history};
use crate::model::{Digest, PromotionId, PromotionRecord, Source};

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    tag: &'a str,
    promotions: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    seq: u32,
    /// The one that the tag is of, if one is declared.
    channel: Option<&'a str>,
    /// `done`, or `unfinished` where tags may still have to move.
    state: &'static str,
    promoted: String,
    run: String,
    /// Who promoted, as they or their CI said; nothing where they did not.
    by: Option<&'a str>,
    source: &'a Source,
    from: Option<&'a PromotionId>,
    withdrawn: Option<&'a Source>,
    boxes: Vec<BoxRow<'a>>,
}

#[derive(Serialize)]
struct BoxRow<'a> {
    name: &'a str,
    repository: &'a str,
    key: String,
    tag: &'a str,
    digest: &'a Digest,
    before: Option<&'a Digest>,
}

pub async fn run(options: &Log, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let loaded = session::load(global)?;
    let session = Session::open(&loaded, global).await?;
    let ledger = Ledger::new(session.ports().registry, &session.setting.ledger);
    let past = history(ledger, &options.tag).await.map_err(PromoteError::from)?;
    tell_aside(&past, terminal);
    // The tag's own, whatever its records say.
    let channel = channel_of(&loaded, &options.tag).ok().map(|channel| channel.name.as_str());
    let unfinished = past.unfinished.iter().map(|plan| row(plan, channel, "unfinished"));
    let rows: Vec<Row<'_>> =
        unfinished.chain(past.sets.iter().map(|set| row(set, channel, "done"))).collect();
    let code = if rows.is_empty() { exit::MISSING } else { exit::DONE };
    match global.format {
        Format::Json => {
            let out = Report { schema: 1, tag: options.tag.as_str(), promotions: rows };
            terminal.result(&json::text(&out))?;
        }
        Format::Human if rows.is_empty() => terminal.warn(&format!("{} was never promoted", options.tag)),
        Format::Human => terminal.result(&table(&rows).render())?,
    }
    session.close(false).await?;
    Ok(code)
}

fn row<'a>(set: &'a PromotionRecord, channel: Option<&'a str>, state: &'static str) -> Row<'a> {
    let boxes = set.boxes.iter().map(|member| BoxRow {
        name: &member.name,
        repository: &member.repository,
        key: member.key.to_string(),
        tag: member.content_tag.as_str(),
        digest: &member.digest,
        before: member.before.as_ref(),
    });
    Row {
        seq: set.seq,
        channel,
        state,
        promoted: set.promoted.rfc3339(),
        run: set.run.to_string(),
        by: set.by.as_deref(),
        source: &set.source,
        from: set.from.as_ref(),
        withdrawn: set.withdrawn.as_ref(),
        boxes: boxes.collect(),
    }
}

/// One line a box; what holds for the whole promotion stands in the first.
fn table(rows: &[Row<'_>]) -> Table {
    let mut table = Table::new(&["PROMOTION", "WHEN", "BY", "RUN", "SOURCE", "BOX", "DIGEST", "BEFORE"]);
    for row in rows {
        let mut source = row
            .source
            .revision
            .as_deref()
            .map_or("unknown", |text| text.get(..12).unwrap_or(text))
            .to_owned();
        if row.source.dirty {
            source.push_str(", modified");
        } else if row.source.unread.is_some() && row.source.revision.is_some() {
            source.push_str(", perhaps modified");
        }
        if let Some(from) = row.from {
            source.push_str(&format!(", from {} {}", from.tag, from.seq));
        }
        let seq = if row.state == "done" { row.seq.to_string() } else { format!("{} unfinished", row.seq) };
        let by = row.by.unwrap_or("-").to_owned();
        let mut first = [seq, row.promoted.clone(), by, row.run.clone(), source];
        for member in &row.boxes {
            let before = match member.before {
                Some(before) if before == member.digest => "the same".to_owned(),
                Some(before) => before.short().to_owned(),
                None => "nothing".to_owned(),
            };
            let [seq, when, by, run, source] = std::mem::take(&mut first);
            table.row([
                (if row.state == "done" { BOLD } else { NOTE }, seq),
                (anstyle::Style::new(), when),
                (anstyle::Style::new(), by),
                (anstyle::Style::new(), run),
                (anstyle::Style::new(), source),
                (BOLD, member.name.to_owned()),
                (anstyle::Style::new(), member.digest.short().to_owned()),
                (DIM, before),
            ]);
        }
    }
    table
}
