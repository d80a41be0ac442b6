//! How much room a file system has.

use std::io;
use std::path::Path;

use crate::port::DiskSpace;

/// Looks at the file system that a path is on.
pub fn of(path: &Path) -> io::Result<DiskSpace> {
    let found = rustix::fs::statvfs(path)?;
    // What is kept for root alone does not count.
    Ok(DiskSpace { path: path.to_owned(), free: found.f_bavail.saturating_mul(found.f_frsize) })
}
