//! Who builds a box that several runs want: one by one, in the order of their turns.
//!
//! A run that has something to build lists the leases. If nobody else wants any of its boxes it
//! goes ahead. Else it writes its turn into its lease, behind all that it saw, lists them once
//! more, and waits for whoever of these goes before it: for each until the box stands, its lease or
//! its run has ended, or it has said a later turn. Whoever leased after that sees us.

use std::collections::BTreeSet;

use futures_util::StreamExt;

use crate::exec::build::job::JobRunner;
use crate::exec::build::outcome::Parents;
use crate::exec::event::Event;
use crate::exec::keys::ResolvedBox;
use crate::exec::ledger::LedgerError;
use crate::exec::ledger::lease::Held;
use crate::exec::ledger::write::LedgerWriter;
use crate::exec::pace;
use crate::model::{Lease, Span};
use crate::plan::Decision;
use crate::protocol::{JobInput, goes_before, is_live, rivals, turn_behind};

impl JobRunner<'_> {
    /// Waits while runs that go before us build this box, up to our patience.
    pub(crate) async fn wait_for_others(
        &self,
        keyed: &ResolvedBox,
        parents: &Parents,
    ) -> Result<(), LedgerError> {
        let patience = self.options.wait;
        if self.leases().is_empty() || patience == Span::default() {
            return Ok(());
        }
        let all = self.rivals.get_or_try_init(|| self.queue()).await?;
        let mut before: Vec<Lease> =
            all.iter().filter(|rival| rival.keys.contains(keyed.wanted.key())).cloned().collect();
        let (mut told, mut poll) = (BTreeSet::new(), pace::POLL.0);
        let Some(began) = self.leases().last().map(|held| held.now(self.ports.clock)) else { return Ok(()) };
        loop {
            let leases = self.leases();
            let (Some(ours), Some(held)) = (leases.first(), leases.last()) else { return Ok(()) };
            let now = held.now(self.ports.clock);
            before.retain(|rival| {
                goes_before(rival, &ours.lease)
                    && is_live(rival.expiry, now)
                    && now.since(rival.taken.min(began)) < patience
            });
            let Some(first) = before.first() else { return Ok(()) };
            if told.insert(first.nonce.clone()) {
                let (name, run) = (keyed.wanted.name.clone(), first.run.to_string());
                (self.emit)(Event::Waiting { name, run, patience });
            }
            tokio::time::sleep(poll).await;
            poll = (poll * 2).min(pace::POLL.1);
            let looked = self.look(keyed, parents).await;
            if matches!(looked, Ok(JobInput::Looked { decision: Decision::Use(_), .. })) {
                return Ok(());
            }
            before = self.again(before).await;
        }
    }

    /// Finds our place: returns whoever else wanted the same boxes once our turn stood.
    async fn queue(&self) -> Result<Vec<Lease>, LedgerError> {
        let Some(turn) = turn_behind(&self.rivals_now().await?) else { return Ok(Vec::new()) };
        let ledger = LedgerWriter::new(self.ports, &self.setting.ledger)?;
        for held in self.leases() {
            let fresh = ledger.take_turn(&held, turn).await?;
            self.holds(self.leases().into_iter().map(|one| one.replaced_by(&fresh)).collect());
        }
        self.rivals_now().await
    }

    async fn rivals_now(&self) -> Result<Vec<Lease>, LedgerError> {
        let leases = self.leases();
        let Some(Held { lease, .. }) = leases.first() else { return Ok(Vec::new()) };
        let Some(now) = leases.last().map(|held| held.now(self.ports.clock)) else { return Ok(Vec::new()) };
        let rivals = rivals(lease, self.ledger.live_leases(now).await?, now, self.options.wait);
        // A lease outlives its run, for the sake of what the run used.
        let asked = futures_util::stream::iter(rivals).map(|rival| async move {
            let has_ended = self.ledger.has_ended(&rival).await?;
            Ok(Some(rival).filter(|_| !has_ended))
        });
        let left: Vec<Result<Option<Lease>, LedgerError>> = asked.buffered(pace::REQUESTS).collect().await;
        left.into_iter().filter_map(Result::transpose).collect()
    }

    /// Reads again the first of these, and those that had no turn yet; leaves out who has ended.
    async fn again(&self, before: Vec<Lease>) -> Vec<Lease> {
        let asked =
            futures_util::stream::iter(before.into_iter().enumerate()).map(|(at, rival)| async move {
                if at > 0 && rival.turn != Some(0) {
                    return Some(rival);
                }
                // An answer that says nothing is asked for again until our patience ends; then the
                // look before the build speaks of it.
                if matches!(self.ledger.has_ended(&rival).await, Ok(true)) {
                    return None;
                }
                let Ok(tag) = rival.tag() else { return None };
                match self.ledger.read::<Lease>(&tag).await {
                    Ok(lease) => lease,
                    Err(LedgerError::Record { .. }) => None,
                    Err(_) => Some(rival),
                }
            });
        let mut left: Vec<Lease> =
            asked.buffered(pace::REQUESTS).filter_map(std::future::ready).collect().await;
        left.sort_by_key(|lease| (lease.turn, lease.taken, lease.run.clone(), lease.nonce.clone()));
        left
    }
}
