//! How much room a file system has.

use std::io;
use std::path::Path;

use crate::port::Room;

/// Looks at the file system that a path is on.
pub fn of(path: &Path) -> io::Result<Room> {
    let found = rustix::fs::statvfs(path)?;
    // What is kept for root alone does not count.
    Ok(Room { path: path.to_owned(), free: found.f_bavail.saturating_mul(found.f_frsize) })
}
