//! The root of a context, and opening files beneath it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::model::RelPath;
use crate::port::ContextError;

/// What tells whether a file is still the same: device, inode, size, mtime, ctime.
type Identity = (u64, u64, u64, (i64, i64), (i64, i64));

/// An open context directory.
pub struct Root {
    path: PathBuf,
    dir: OwnedFd,
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

    /// Returns the path of what stands at `relative`.
    pub fn join(&self, relative: &RelPath) -> PathBuf {
        self.path.join(OsStr::from_bytes(relative.as_bytes()))
    }

    /// Opens a regular file. No link is followed, and a FIFO that took a file's place does
    /// not block.
    pub fn file(&self, relative: &RelPath) -> Result<Source, ContextError> {
        let path = || self.join(relative);
        let fail = |error: io::Error| io_error("read", &path(), error);
        let fd = self.open_beneath(relative).map_err(|errno| match errno {
            // A link, or a socket or device without driver, where a file was.
            rustix::io::Errno::LOOP | rustix::io::Errno::NXIO => ContextError::Changing { path: path() },
            errno => fail(errno.into()),
        })?;
        let file = File::from(fd);
        let metadata = file.metadata().map_err(fail)?;
        if !metadata.is_file() {
            return Err(ContextError::Changing { path: path() });
        }
        let identity = (
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            (metadata.mtime(), metadata.mtime_nsec()),
            (metadata.ctime(), metadata.ctime_nsec()),
        );
        Ok(Source { file, size: metadata.size(), executable: metadata.mode() & 0o100 != 0, identity })
    }

    /// Tells whether the file at `relative` is still the one that was opened, unchanged.
    pub fn is_still(&self, relative: &RelPath, source: &Source) -> Result<bool, ContextError> {
        let name = OsStr::from_bytes(relative.as_bytes());
        let stat = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| io_error("read", &self.join(relative), errno.into()))?;
        #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)] // The types differ by platform.
        let identity = (
            stat.st_dev as u64,
            stat.st_ino as u64,
            stat.st_size as u64,
            (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        );
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && identity == source.identity)
    }

    fn open_beneath(&self, relative: &RelPath) -> rustix::io::Result<OwnedFd> {
        let name = OsStr::from_bytes(relative.as_bytes());
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::ResolveFlags;
            use rustix::io::Errno;
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

/// A file that is being read.
pub struct Source {
    /// The open file.
    pub file: File,
    /// Its size in bytes when it was opened.
    pub size: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
    identity: Identity,
}

/// Wraps what the system said.
pub fn io_error(action: &'static str, path: &Path, source: io::Error) -> ContextError {
    ContextError::Io { action, path: path.to_owned(), source }
}
