//! How long, how often and how much a registry is asked.

use std::time::Duration;

/// The bounds of every request; tests shorten them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// One request with all its tries, waits, tokens and redirects.
    pub deadline: Duration,
    /// How often a request that reached the registry is tried.
    pub tries: u32,
    /// The wait before the second try; it doubles from try to try.
    pub first_wait: Duration,
    /// The longest wait between two tries, whatever `Retry-After` asks for.
    pub longest_wait: Duration,
    /// How long a host may refuse connections before its requests fail: a restart is waited
    /// for, a stopped registry is reported.
    pub refused: Duration,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long a connection may be silent in the middle of an answer.
    pub idle: Duration,
    /// How little may come in that time while a blob is downloaded, in bytes.
    pub least: u64,
    /// Requests in flight to one host.
    pub connections: usize,
    /// How many requests to one host may be repeated before others succeed.
    pub retries: u32,
    /// Pages of one tag list.
    pub pages: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            tries: 5,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(20),
            refused: Duration::from_secs(2),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(20),
            least: 20 * 1024,
            connections: 64,
            retries: 100,
            pages: 1000,
        }
    }
}
