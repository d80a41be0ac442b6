//! How many requests may be under way to one host: as many as it bears.
//!
//! A host that pushes back (429, 503) gets half as many, one that answers gets one more for
//! each full round of answers.

use std::sync::{Arc, Mutex};

use crate::adapter::locked::locked;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct ConcurrencyLimit {
    passes: Arc<Semaphore>,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    allowed: usize,
    /// Passes that were taken back while they were in use.
    owed: usize,
    /// Answers since the last change.
    good: usize,
    halved: Option<Instant>,
}

/// The right to have one request under way.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<ConcurrencyLimit>,
    permit: Option<OwnedSemaphorePermit>,
    began: Instant,
}

impl ConcurrencyLimit {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let state = State { allowed: most, owed: 0, good: 0, halved: None };
        Arc::new(Self { passes: Arc::new(Semaphore::new(most)), most, state: Mutex::new(state) })
    }

    /// Waits for a turn.
    pub(super) async fn pass(self: &Arc<Self>) -> Pass {
        // The semaphore is never closed; without a permit the request would still be right.
        let permit = self.passes.clone().acquire_owned().await.ok();
        Pass { gate: self.clone(), permit, began: Instant::now() }
    }
}

impl Pass {
    /// The host has had enough: one answer in a round says so for all that were sent with it.
    pub(super) fn pushed_back(&self) {
        let mut state = locked(&self.gate.state);
        if state.halved.is_some_and(|halved| self.began < halved) {
            return;
        }
        let fewer = (state.allowed / 2).max(1);
        let cut = state.allowed - fewer;
        state.owed += cut - self.gate.passes.forget_permits(cut);
        (state.allowed, state.good, state.halved) = (fewer, 0, Some(Instant::now()));
    }

    /// The host has answered as it should.
    pub(super) fn answered(&self) {
        let mut state = locked(&self.gate.state);
        state.good += 1;
        if state.allowed < self.gate.most && state.good >= state.allowed {
            (state.allowed, state.good) = (state.allowed + 1, 0);
            match state.owed {
                0 => self.gate.passes.add_permits(1),
                _ => state.owed -= 1,
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = locked(&self.gate.state);
        if state.owed > 0
            && let Some(permit) = self.permit.take()
        {
            state.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures_util::FutureExt as _;

    /// Takes all passes that there are.
    fn all(gate: &Arc<ConcurrencyLimit>) -> Vec<Pass> {
        std::iter::from_fn(|| tokio::task::unconstrained(gate.pass()).now_or_never()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_pushes_back_gets_half_and_recovers_slowly() {
        let gate = ConcurrencyLimit::new(16);
        let round = all(&gate);
        assert_eq!(round.len(), 16);
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        // All of a round push back: that is one time.
        round.iter().for_each(Pass::pushed_back);
        assert_eq!(all(&gate).len(), 0);
        drop(round);
        let round = all(&gate);
        assert_eq!(round.len(), 8);
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        round[0].pushed_back();
        drop(round);
        for expect in [4, 5, 6, 7] {
            let round = all(&gate);
            assert_eq!(round.len(), expect);
            round.iter().for_each(Pass::answered);
        }
        for _ in 0..20 {
            all(&gate).iter().for_each(Pass::answered);
        }
        assert_eq!(all(&gate).len(), 16);
        for _ in 0..20 {
            tokio::time::advance(std::time::Duration::from_millis(1)).await;
            all(&gate)[0].pushed_back();
        }
        assert_eq!(all(&gate).len(), 1);
    }
}
