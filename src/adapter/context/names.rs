//! The names in a directory, with as few calls as the system allows.

use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;
use rustix::io;

/// Reads the names of an open directory from its start, `.` and `..` included.
#[cfg(target_os = "linux")]
pub struct Names<'b> {
    directory: rustix::fs::RawDir<'b, BorrowedFd<'b>>,
    name: Vec<u8>,
}

#[cfg(target_os = "linux")]
impl<'b> Names<'b> {
    /// Starts; `buffer` holds what the system tells at a time.
    #[allow(clippy::unnecessary_wraps)] // The other one can fail.
    pub fn new(directory: BorrowedFd<'b>, buffer: &'b mut [MaybeUninit<u8>]) -> io::Result<Self> {
        Ok(Self { directory: rustix::fs::RawDir::new(directory, buffer), name: Vec::new() })
    }

    /// Returns the next name, and what bears it if the file system says so.
    pub fn next(&mut self) -> Option<io::Result<(&[u8], FileType)>> {
        let entry = match self.directory.next()? {
            Ok(entry) => entry,
            Err(errno) => return Some(Err(errno)),
        };
        self.name.clear();
        self.name.extend_from_slice(entry.file_name().to_bytes());
        Some(Ok((&self.name, entry.file_type())))
    }
}

/// Reads the names of an open directory from its start, `.` and `..` included.
#[cfg(not(target_os = "linux"))]
pub struct Names(rustix::fs::Dir, Option<rustix::fs::DirEntry>);

#[cfg(not(target_os = "linux"))]
impl Names {
    /// Starts.
    pub fn new(directory: BorrowedFd<'_>, _: &mut [MaybeUninit<u8>]) -> io::Result<Self> {
        Ok(Self(rustix::fs::Dir::read_from(directory)?, None))
    }

    /// Returns the next name, and what bears it if the file system says so.
    pub fn next(&mut self) -> Option<io::Result<(&[u8], FileType)>> {
        match self.0.next()? {
            Ok(entry) => {
                let entry = self.1.insert(entry);
                Some(Ok((entry.file_name().to_bytes(), entry.file_type())))
            }
            Err(errno) => Some(Err(errno)),
        }
    }
}
