//! `lock`: resolve what floats, once, for all boxes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::{Format, Global, Lock};
use super::computed::{extra_args, read_lock};
use super::error::{CliError, exit};
use super::loaded::LOCK;
use super::session::{self, Session};
use super::table::Table;
use super::terminal::{BOLD, DIM, Terminal};
use super::{json, whole};
use crate::adapter::context::DiskContext;
use crate::exec::{Moved, Tree, resolve};
use crate::model::ImageName;

#[derive(Serialize)]
struct Report {
    schema: u32,
    written: bool,
    moved: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    old: Option<String>,
    new: Option<String>,
}

pub async fn run(options: &Lock, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let loaded = session::load(global)?;
    let session = Session::open(&loaded, global).await?;
    session::look(&loaded, terminal);
    let lock = read_lock(&loaded.root)?;
    let names = options.update.clone();
    for name in names.iter().flatten() {
        let image = name.parse::<ImageName>().ok();
        let is_image = image.is_some_and(|image| lock.images.contains_key(&image));
        if !is_image && !loaded.project.pins.contains_key(name) {
            return Err(CliError::Usage(format!(
                "--update {name}: there is no such pin, and no such image in {LOCK}"
            )));
        }
    }
    let check = options.check;
    let renew = move |what: &str| match &names {
        None => check,
        Some(names) if names.is_empty() => true,
        Some(names) => names.iter().any(|name| {
            name == what || name.parse::<ImageName>().is_ok_and(|image| image.to_string() == what)
        }),
    };
    let args = extra_args(global);
    let tree = Tree {
        context: &DiskContext::default(),
        root: &loaded.root,
        project: &loaded.project,
        lock: &lock,
        args: &args,
        // What is locked is what the pins ask for, never a working copy.
        sources: &BTreeMap::new(),
    };
    let remotes = session.remotes(&loaded);
    let report = resolve(tree, session.ports().registry, &remotes, &renew).await?;
    let is_changed = report.lock != lock;
    let write = is_changed && !options.check;
    if write {
        whole::write(&loaded.root.join(LOCK), &report.lock.to_text())?;
    }
    print(&report.moved, write, global, terminal)?;
    match (is_changed, options.check) {
        (false, _) => terminal.say(&format!("{LOCK} is up to date")),
        (true, false) => terminal.say(&format!("wrote {LOCK}")),
        (true, true) => terminal.say("to accept: boxwright lock --update"),
    }
    session.close(false).await?;
    Ok(if options.check && is_changed { exit::MISSING } else { exit::DONE })
}

fn print(moved: &[Moved], written: bool, global: &Global, terminal: Terminal) -> Result<(), CliError> {
    match global.format {
        Format::Json => {
            let row = |moved: &Moved| Row {
                name: moved.what.clone(),
                old: moved.old.clone(),
                new: moved.new.clone(),
            };
            let report = Report { schema: 1, written, moved: moved.iter().map(row).collect() };
            terminal.result(&json::text(&report))
        }
        Format::Human if moved.is_empty() => Ok(()),
        Format::Human => {
            let mut table = Table::new(&["NAME", "OLD", "NEW"]);
            for one in moved {
                let word = |value: &Option<String>| value.as_deref().map_or("none", short).to_owned();
                table.row([
                    (BOLD, one.what.clone()),
                    (DIM, word(&one.old)),
                    (anstyle::Style::new(), word(&one.new)),
                ]);
            }
            terminal.result(&table.render())
        }
    }
}

/// Enough of a digest or commit for people to compare.
fn short(value: &str) -> &str {
    let length = if value.starts_with("sha256:") { 19 } else { 12 };
    value.get(..length).unwrap_or(value)
}
