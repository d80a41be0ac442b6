//! What boxwright itself reads and writes on this machine.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::check::{Check, many};
use super::engine;
use super::settings::Found;
use crate::adapter::room;
use crate::cli::error::exit;
use crate::cli::session;

/// Looks at lock, store, cache and temporary directory.
pub async fn look(found: &Found) -> Vec<Check> {
    let root = found.loaded.as_ref().map(|loaded| loaded.root.clone());
    let store = found.store();
    let work = move || {
        let lock = root.as_deref().map(lock);
        let store = store.as_deref().map(|home| {
            directory(
                "store",
                home,
                exit::FAILED,
                "the embedded registry is kept there; make it yours to write",
            )
        });
        lock.into_iter().chain(store).chain([cache(session::cache()), temporary()]).collect()
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

fn lock(root: &Path) -> Check {
    let path = root.join(session::LOCK);
    // Opening it for writing changes nothing.
    // A pipe would be waited for.
    if let Err(error) = session::read_lock(root) {
        let remedy = "`git checkout boxwright.lock`, or `boxwright lock --update`";
        return Check::problem("lock file", exit::USAGE, error.text(), remedy);
    }
    let written = match OpenOptions::new().append(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match try_file(root) {
            Ok(()) => {
                return Check::ok("lock file", "there is none; `boxwright lock` writes one if it is needed");
            }
            Err(error) => Err(error),
        },
        opened => opened.map(drop),
    };
    match (written, session::read_lock(root)) {
        (_, Err(error)) => {
            let remedy = "`git checkout boxwright.lock`, or `boxwright lock --update`";
            Check::problem("lock file", exit::USAGE, error.text(), remedy)
        }
        (Err(error), Ok(_)) => {
            let finding = format!("{} cannot be written: {error}", path.display());
            Check::warning(
                "lock file",
                finding,
                "only `boxwright lock` writes it; builds need no more than to read it",
            )
        }
        (Ok(()), Ok(lock)) => {
            let (pins, images) = (many(lock.pins.len(), "pin"), many(lock.images.len(), "image"));
            Check::ok("lock file", format!("{pins}, {images}"))
        }
    }
}

fn cache(place: Option<PathBuf>) -> Check {
    let remedy = "without it every command hashes and reads everything anew, and no logs are kept; \
        BOXWRIGHT_CACHE names another directory";
    match place {
        None => Check::warning("cache", "there is none: BOXWRIGHT_CACHE is off, or HOME is not set", remedy),
        Some(place) => match try_below(&place) {
            Ok(()) => Check::ok("cache", place.display().to_string()),
            Err(error) => {
                Check::warning("cache", format!("{} cannot be written: {error}", place.display()), remedy)
            }
        },
    }
}

fn temporary() -> Check {
    let place = std::env::temp_dir();
    let check = "temporary files";
    let remedy = "imports of compressed archives are unpacked there; TMPDIR names another directory";
    match try_file(&place).and_then(|()| room::of(&place)) {
        Ok(room) => engine::room(check, &room, remedy),
        Err(error) => Check::warning(check, format!("{}: {error}", place.display()), remedy),
    }
}

fn directory(check: &'static str, place: &Path, code: u8, remedy: &str) -> Check {
    match try_below(place) {
        Ok(()) => Check::ok(check, place.display().to_string()),
        Err(error) => {
            Check::problem(check, code, format!("{} cannot be written: {error}", place.display()), remedy)
        }
    }
}

/// Tries to make a file in a directory, or in the nearest one above it that there is.
fn try_below(place: &Path) -> io::Result<()> {
    match place.ancestors().find(|place| place.exists()) {
        Some(there) if fs::metadata(there)?.is_dir() => try_file(there),
        _ => Err(io::ErrorKind::NotADirectory.into()),
    }
}

fn try_file(directory: &Path) -> io::Result<()> {
    tempfile::Builder::new().prefix(".boxwright-").tempfile_in(directory).map(drop)
}
