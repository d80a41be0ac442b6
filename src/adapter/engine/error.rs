//! What the engine's errors mean.

use bollard::errors::Error as Bollard;

use crate::model::chain;
use crate::port::EngineError;

/// Words an error of a request to the engine at `address` that was to `action`.
pub fn engine(address: &str, action: &'static str, error: &Bollard) -> EngineError {
    let detail = said(error);
    let refused = match error {
        Bollard::HyperLegacyError { err } => err.is_connect(),
        Bollard::SocketNotFoundError(_) => true,
        _ => false,
    };
    if refused {
        EngineError::Unreachable { address: address.to_owned(), detail }
    } else if is_disk_full(&detail) {
        EngineError::DiskFull { detail }
    } else {
        EngineError::Engine { action, detail }
    }
}

/// Words a failed push or pull: an error of the transfer if the engine tells of one.
pub fn transfer(address: &str, action: &'static str, reference: &str, error: &Bollard) -> EngineError {
    let told = matches!(error, Bollard::DockerStreamError { .. } | Bollard::DockerResponseServerError { .. });
    match engine(address, action, error) {
        EngineError::Engine { detail, .. } if told => failed(action, reference, detail),
        other => other,
    }
}

/// Says that a push or a pull failed. Whether it was refused is in the engine's words alone.
pub fn failed(action: &'static str, reference: &str, detail: String) -> EngineError {
    let words = detail.to_lowercase();
    let is_denied =
        ["denied", "unauthorized", "forbidden", "not allowed"].iter().any(|word| words.contains(word));
    EngineError::Transfer { action, reference: reference.to_owned(), detail, is_denied }
}

/// Returns what the engine itself said, or else the chain of causes.
pub fn said(error: &Bollard) -> String {
    match error {
        Bollard::DockerStreamError { error } => error.trim().to_owned(),
        Bollard::DockerResponseServerError { message, .. } if !message.trim().is_empty() => {
            message.trim().to_owned()
        }
        other => chain(other),
    }
}

/// Tells whether a message is about a full disk.
pub fn is_disk_full(detail: &str) -> bool {
    detail.contains("no space left on device")
}
