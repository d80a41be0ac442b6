//! `export`: images that stand, in one file.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use super::args::{Boxes, Compress, Export, Format, Global};
use super::error::{CliError, exit};
use super::session::{self, Session};
use super::table::Table;
use super::terminal::{BOLD, DIM, Terminal};
use super::{interrupt, json, whole};
use crate::exec::{ExportError, PackError, ResolvedBox, export};
use crate::model::{Contents, size};

/// What `export` and `import` print as JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    pub schema: u32,
    pub boxes: Vec<ArchiveRow>,
}

/// One box of a [`Report`].
#[derive(Debug, Serialize)]
pub struct ArchiveRow {
    pub name: String,
    pub repository: String,
    pub tag: String,
    pub digest: String,
    /// Of its configuration and layers as stored, those that it shares included, in bytes.
    pub bytes: u64,
    pub action: &'static str,
}

impl ArchiveRow {
    /// Lists what an archive holds.
    pub fn list(contents: &Contents, action: &'static str) -> Vec<Self> {
        let row = |one: &crate::model::ArchivedBox| Self {
            name: one.name.clone(),
            repository: one.repository.to_string(),
            tag: one.tag.to_string(),
            digest: one.root.digest.to_string(),
            bytes: contents.blobs_of(&one.name).filter_map(|digest| contents.blobs().get(digest)).sum(),
            action,
        };
        contents.boxes().iter().map(row).collect()
    }
}

pub async fn run(options: &Export, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let cancel = interrupt::token();
    let is_stdout = options.output.as_os_str() == "-";
    if is_stdout && io::stdout().is_terminal() {
        return Err(CliError::Usage("-o -: an archive is nothing for a terminal; name a file".to_owned()));
    }
    // The archive takes the place of what has its name, and a device would be gone for everybody.
    if options.output.symlink_metadata().is_ok_and(|there| !there.is_file() && !there.is_symlink()) {
        let text =
            format!("-o {}: what is there is no file; `-o -` writes to stdout", options.output.display());
        return Err(CliError::Usage(text));
    }
    whole::directory(&options.output)?;
    let loaded = session::load(global)?;
    let mut session = Session::open(&loaded, global).await?;
    let computed = session.compute(&loaded, loaded.choose(&options.boxes)?, global, terminal).await?;
    let boxes: Vec<&ResolvedBox> =
        computed.boxes.iter().filter(|keyed| is_wanted(&options.boxes, &keyed.wanted.name)).collect();
    let progress = session.progress();
    let emit = |event| progress.event(event);
    let (sink, pieces) = mpsc::channel(8);
    let (output, compress) = (options.output.clone(), options.compress);
    let writing = tokio::task::spawn_blocking(move || write(&output, compress, pieces));
    let registry = session.ports().registry;
    let exported = tokio::select! {
        exported = export(registry, session.engine(), &session.setting, &boxes, sink, &emit) => exported,
        () = cancel.cancelled() => return Err(CliError::Interrupted),
    };
    progress.end();
    let failed = |source| CliError::Io { action: "write", path: options.output.clone(), source };
    let (written, contents) = match (writing.await.map_err(|_| CliError::CutOff)?, exported) {
        (Err(error), Ok(_) | Err(ExportError::Pack(PackError::Closed))) => return Err(failed(error)),
        (_, Err(error)) => return Err(error.into()),
        (Ok(written), Ok(contents)) => (written, contents),
    };
    session.close(false).await?;
    let Some((temporary, length)) = written else { return Ok(exit::DONE) };
    temporary.persist(&options.output).map_err(|error| failed(error.error))?;
    let rows = ArchiveRow::list(&contents, "exported");
    match global.format {
        Format::Json => terminal.result(&json::text(&Report { schema: 1, boxes: rows }))?,
        Format::Human => {
            terminal.result(&table(&rows).render())?;
            terminal.say(&format!("wrote {}, {}", options.output.display(), size(length)));
        }
    }
    Ok(exit::DONE)
}

/// Those that were named, or all: what a box stands on is in its own layers already.
fn is_wanted(boxes: &Boxes, name: &str) -> bool {
    boxes.names.is_empty() || boxes.names.iter().any(|named| named == name)
}

/// Writes the table of boxes.
pub fn table(rows: &[ArchiveRow]) -> Table {
    let mut table = Table::new(&["BOX", "SIZE", "DIGEST", "IMAGE"]);
    for row in rows {
        let digest = row.digest.get(..19).unwrap_or(&row.digest);
        table.row([
            (BOLD, row.name.clone()),
            (anstyle::Style::new(), size(row.bytes)),
            (DIM, digest.to_owned()),
            (anstyle::Style::new(), format!("{}:{}", row.repository, row.tag)),
        ]);
    }
    table
}

/// Where an archive is written before it has its name, and how long it is; nothing for stdout.
type Written = Option<(NamedTempFile, u64)>;

/// Writes what comes until there is no more. A file has no name of its own until then.
fn write(
    output: &Path,
    compress: Option<Compress>,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
) -> io::Result<Written> {
    if output.as_os_str() == "-" {
        return pour(io::stdout().lock(), compress, pieces).map(|_| None);
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".boxwright-export-").permissions(whole::mode());
    let mut file = builder.tempfile_in(whole::parent(output))?;
    pour(file.as_file_mut(), compress, pieces)?;
    file.as_file().sync_all()?;
    let length = file.as_file().metadata()?.len();
    Ok(Some((file, length)))
}

fn pour(
    out: impl Write,
    compress: Option<Compress>,
    mut pieces: mpsc::Receiver<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut drain = |out: &mut dyn Write| {
        while let Some(piece) = pieces.blocking_recv() {
            out.write_all(&piece?)?;
        }
        Ok::<_, io::Error>(())
    };
    match compress {
        None => {
            let mut out = io::BufWriter::with_capacity(1 << 20, out);
            drain(&mut out)?;
            out.flush()
        }
        Some(Compress::Gzip) => {
            let mut out = GzEncoder::new(out, Compression::default());
            drain(&mut out)?;
            out.finish()?.flush()
        }
        Some(Compress::Zstd) => {
            let mut out = zstd::stream::write::Encoder::new(out, 3)?;
            drain(&mut out)?;
            out.finish()?.flush()
        }
    }
}
