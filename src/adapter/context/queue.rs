//! The work of a scan, shared by all cores: directories to list, files to hash, chunks of
//! large files.
//!
//! Files go before directories, so that little is waiting and few directories are open at
//! a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::large::Large;
use super::node::{Node, Open};
use crate::adapter::locked::locked;
use crate::model::RelPath;

/// One piece of work.
pub enum Job<'r> {
    /// A directory to list.
    Directory(Arc<Node>),
    /// Files of one directory to hash.
    Files(Arc<Open<'r>>, Vec<RelPath>),
    /// A large file whose next chunks are to be hashed.
    Chunks(Arc<Large<'r>>),
}

/// The work that is waiting.
#[derive(Default)]
pub struct Queue<'r> {
    state: Mutex<State<'r>>,
    changed: Condvar,
    stopped: AtomicBool,
    /// Workers without work, less the jobs that wait for them.
    hungry: AtomicUsize,
}

#[derive(Default)]
struct State<'r> {
    files: Vec<Job<'r>>,
    directories: Vec<Job<'r>>,
    /// Workers at work, which may add jobs.
    busy: usize,
    idle: usize,
}

impl<'r> Queue<'r> {
    /// Adds work.
    pub fn push(&self, job: Job<'r>) {
        let mut state = self.lock();
        match job {
            Job::Directory(_) => state.directories.push(job),
            Job::Files(..) | Job::Chunks(_) => state.files.push(job),
        }
        self.count(&state);
        if state.idle > 0 {
            self.changed.notify_one();
        }
    }

    /// Returns the next piece of work; nothing when all is done. A worker that had one before
    /// says so with `again`.
    pub fn next(&self, again: bool) -> Option<Job<'r>> {
        let mut state = self.lock();
        state.busy -= usize::from(again);
        loop {
            if self.is_stopped() {
                return None;
            }
            if let Some(job) = state.files.pop().or_else(|| state.directories.pop()) {
                state.busy += 1;
                self.count(&state);
                return Some(job);
            }
            if state.busy == 0 {
                self.changed.notify_all();
                return None;
            }
            state.idle += 1;
            self.count(&state);
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Tells whether a worker waits for work that is not there.
    pub fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::Relaxed) > 0
    }

    /// Tells whether going on is pointless.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Ends all work.
    pub fn stop(&self) {
        let _state = self.lock();
        self.stopped.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    fn count(&self, state: &State<'r>) {
        let waiting = state.files.len() + state.directories.len();
        self.hungry.store(state.idle.saturating_sub(waiting), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State<'r>> {
        locked(&self.state)
    }
}
