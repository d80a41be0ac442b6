//! The root of a context, and opening directories and files beneath it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::stamp::Stamp;
use crate::model::RelPath;
use crate::port::ContextError;

/// An open context directory.
pub struct Root {
    path: PathBuf,
    dir: OwnedFd,
}

/// An open directory beneath a root, or the root itself.
pub struct Directory<'r> {
    root: &'r Root,
    fd: OwnedFd,
}

impl Root {
    /// Opens a directory; the path itself may be a link.
    pub fn open(path: &Path) -> Result<Self, ContextError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(dir) => Ok(Self { path: path.to_owned(), dir }),
            Err(errno) => Err(io_error("open", path, errno.into())),
        }
    }

    /// Returns the path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the open directory.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Returns the path of what stands at `relative`.
    pub fn join(&self, relative: &RelPath) -> PathBuf {
        self.path.join(OsStr::from_bytes(relative.as_bytes()))
    }

    /// Opens a directory, the root itself without a path. No link is followed.
    pub fn directory(&self, relative: Option<&RelPath>) -> Result<Directory<'_>, ContextError> {
        let fd = match relative {
            None => rustix::fs::openat(&self.dir, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()),
            Some(path) => self.open_beneath(path, OFlags::DIRECTORY),
        };
        let path = || relative.map_or_else(|| self.path.clone(), |relative| self.join(relative));
        let fd = fd.map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => ContextError::Changing { path: path() },
            errno => io_error("list", &path(), errno.into()),
        })?;
        Ok(Directory { root: self, fd })
    }

    /// Returns the target of a link that no link leads to.
    pub fn link(&self, relative: &RelPath) -> Option<Box<[u8]>> {
        let bytes = relative.as_bytes();
        let above = bytes.iter().rposition(|byte| *byte == b'/').map(|slash| &bytes[..slash]);
        let above = above.map(RelPath::new).transpose().ok()?;
        let directory = self.directory(above.as_ref()).ok()?;
        let target = rustix::fs::readlinkat(directory.fd(), name(relative), Vec::new()).ok()?;
        Some(target.to_bytes().into())
    }

    /// Opens a regular file. No link is followed, and a FIFO that took a file's place does
    /// not block.
    pub fn file(&self, relative: &RelPath) -> Result<Source, ContextError> {
        self.source(relative, self.open_beneath(relative, OFlags::empty()))
    }

    fn source(
        &self,
        relative: &RelPath,
        opened: rustix::io::Result<OwnedFd>,
    ) -> Result<Source, ContextError> {
        let fail = |errno: Errno| io_error("read", &self.join(relative), errno.into());
        let changing = || ContextError::Changing { path: self.join(relative) };
        let fd = opened.map_err(|errno| match errno {
            // A link, or a socket or device without driver, where a file was.
            Errno::LOOP | Errno::NXIO => changing(),
            errno => fail(errno),
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(fail)?;
        let found = Found::new(&stat).ok_or_else(changing)?;
        Ok(Source { file: File::from(fd), found })
    }

    fn open_beneath(&self, relative: &RelPath, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let name = OsStr::from_bytes(relative.as_bytes());
        let flags = flags | READ;
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::ResolveFlags;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            match rustix::fs::openat2(&self.dir, name, flags, Mode::empty(), resolve) {
                // Kernels before 5.6, and sandboxes that do not know the call.
                Err(Errno::NOSYS | Errno::PERM) => {}
                result => return result,
            }
        }
        rustix::fs::openat(&self.dir, name, flags, Mode::empty())
    }
}

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOCTTY);

impl Directory<'_> {
    /// Returns the open directory.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens the file at `path`, whose last component is its name in this directory.
    pub fn file(&self, path: &RelPath) -> Result<Source, ContextError> {
        self.root.source(path, rustix::fs::openat(&self.fd, name(path), READ, Mode::empty()))
    }

    /// Tells what the file at `path` is now; nothing if it is no regular file.
    pub fn find(&self, path: &RelPath) -> Result<Option<Found>, ContextError> {
        let stat = rustix::fs::statat(&self.fd, name(path), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| io_error("read", &self.root.join(path), errno.into()))?;
        Ok(Found::new(&stat))
    }
}

/// The last component of a path.
pub fn name(path: &RelPath) -> &OsStr {
    let bytes = path.as_bytes();
    let start = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    OsStr::from_bytes(&bytes[start..])
}

/// What the system tells about a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What changes when the file does.
    pub stamp: Stamp,
    /// Whether its owner may execute it.
    pub executable: bool,
}

impl Found {
    fn new(stat: &Stat) -> Option<Self> {
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        is_file.then(|| Self { stamp: Stamp::new(stat), executable: stat.st_mode & 0o100 != 0 })
    }
}

/// A file that is being read.
pub struct Source {
    /// The open file.
    pub file: File,
    /// What it was when it was opened.
    pub found: Found,
}

impl Source {
    /// Its size in bytes when it was opened.
    pub fn size(&self) -> u64 {
        self.found.stamp.size
    }

    /// Tells whether nobody wrote to it, replaced it or removed it since it was opened: all
    /// of that moves the times of the open file.
    pub fn is_still(&self) -> bool {
        rustix::fs::fstat(&self.file).is_ok_and(|stat| Found::new(&stat) == Some(self.found))
    }
}

/// Wraps what the system said.
pub fn io_error(action: &'static str, path: &Path, source: io::Error) -> ContextError {
    ContextError::Io { action, path: path.to_owned(), source }
}
