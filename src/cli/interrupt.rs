//! Ctrl-C, and the signal with which a CI stops a job.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Returns a token that the first SIGINT, SIGTERM or SIGHUP cancels. A second one ends the
/// process the hard way, for when ending well takes too long.
pub fn token() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let mut signals: Vec<_> = kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect();
        next(&mut signals).await;
        cancelled.cancel();
        next(&mut signals).await;
        // The handlers above replaced the default: ending is up to us.
        #[expect(clippy::exit, reason = "the second signal asks for exactly this")]
        std::process::exit(i32::from(super::exit::INTERRUPTED));
    });
    token
}

async fn next(signals: &mut [tokio::signal::unix::Signal]) {
    let waits = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
    futures_util::future::select_all(waits).await;
}
