//! Which loopback port to listen on.
//!
//! The engine names images by host and port, so a store keeps its port between commands:
//! it is chosen once, outside the range that the system hands out to other sockets, and
//! written down. When it is taken, by another boxwright over the same store as a rule, the
//! server listens on a passing one.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use super::{EmbeddedError, private};
use crate::model::{Digest, printable};

/// How the port is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// The one in the store's port file, chosen now if there is none; any free one if it
    /// is taken.
    Remembered,
    /// This one or an error; nothing is written down.
    Fixed(u16),
    /// Any free one; nothing is written down.
    Any,
}

/// Listens on loopback; `file` remembers the port.
pub fn listen(choice: PortChoice, file: &Path) -> Result<TcpListener, EmbeddedError> {
    match choice {
        PortChoice::Fixed(port) => bind(port),
        PortChoice::Any => bind(0),
        PortChoice::Remembered => match remembered(file)? {
            Some(port) => bind(port).or_else(|_| bind(0)),
            None => choose(file),
        },
    }
}

fn bind(port: u16) -> Result<TcpListener, EmbeddedError> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listen = || {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| EmbeddedError::Listen { addr, source })
}

fn remembered(file: &Path) -> Result<Option<u16>, EmbeddedError> {
    match private::read(file, 40) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            match text.trim().parse() {
                Ok(port) if port > 0 => Ok(Some(port)),
                _ => Err(EmbeddedError::PortFile { path: file.to_owned(), text: printable(text.trim(), 40) }),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EmbeddedError::io("read", file)(error)),
    }
}

/// Chooses a port by the store's place, so that a store made anew has the names it had.
fn choose(file: &Path) -> Result<TcpListener, EmbeddedError> {
    let place = file.canonicalize().or_else(|_| std::path::absolute(file)).unwrap_or_default();
    let hash = Digest::of(place.as_os_str().as_encoded_bytes());
    let start = u16::from_str_radix(&hash.hex()[..4], 16).unwrap_or_default() % 10_000;
    let listener =
        (0..16).find_map(|step| bind(20_000 + (start + step) % 10_000).ok()).map_or_else(|| bind(0), Ok)?;
    let write = || {
        let port = listener.local_addr()?.port();
        let mut temporary = tempfile::NamedTempFile::new_in(file.parent().unwrap_or(Path::new(".")))?;
        writeln!(temporary, "{port}")?;
        temporary.persist(file).map_err(|error| error.error)
    };
    write().map_err(EmbeddedError::io("write", file))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_port_is_kept_unless_it_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("port");
        let listen = || listen(PortChoice::Remembered, &file);
        let first = listen().unwrap();
        let port = first.local_addr().unwrap().port();
        assert!((20_000..30_000).contains(&port));
        let beside = listen().unwrap();
        assert_ne!(beside.local_addr().unwrap().port(), port);
        drop(first);
        assert_eq!(listen().unwrap().local_addr().unwrap().port(), port);
        assert!(super::listen(PortChoice::Fixed(port), &file).is_ok());
    }

    #[test]
    fn a_spoiled_port_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("port");
        for text in ["", "0", "70000", "x\u{1b}[2J"] {
            fs::write(&file, text).unwrap();
            let error = listen(PortChoice::Remembered, &file).unwrap_err();
            assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
            assert!(!error.to_string().contains('\u{1b}'));
        }
    }
}
