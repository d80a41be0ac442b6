//! Reading the JSON lines of the engine's long answers.

use std::io;

use bollard::errors::Error as Bollard;
use futures_util::{Stream, StreamExt};

/// Returns the next line of an answer, or `None` at its end.
///
/// An answer whose last line ends (`\r\n`) in a packet of its own is whole, but bollard 0.21
/// tells of it as one with bytes left over (its issue 560). Here it is the end, so callers
/// must ask for what an answer has to hold: an image, a digest. An answer that the engine
/// did not finish is another error, of the connection.
pub async fn next<T>(
    answer: &mut (impl Stream<Item = Result<T, Bollard>> + Unpin),
) -> Option<Result<T, Bollard>> {
    answer.next().await.filter(|line| !matches!(line, Err(error) if is_bare_line_end(error)))
}

/// Tells whether the error is the one that tokio-util's `Decoder` gives at an end of file.
fn is_bare_line_end(error: &Bollard) -> bool {
    let Bollard::IOError { err } = error else { return false };
    err.kind() == io::ErrorKind::Other && err.to_string() == "bytes remaining on stream"
}
