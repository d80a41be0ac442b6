//! The leases that a run holds while it makes boxes.

use std::sync::PoisonError;

use crate::exec::build::job::JobRunner;
use crate::exec::event::Event;
use crate::exec::ledger::LedgerError;
use crate::exec::ledger::lease::Held;
use crate::exec::ledger::write::LedgerWriter;

impl<'a> JobRunner<'a> {
    /// Returns the leases taken so far, the one that is held now last; none without the
    /// right to write.
    pub fn leases(&self) -> Vec<Held> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether too little is left of the lease that is held now.
    pub fn is_short(&self) -> bool {
        self.leases().last().is_some_and(|held| held.is_short(self.ports.clock))
    }

    /// Notes that these leases are held now, and no others.
    pub fn holds(&self, leases: Vec<Held>) {
        *self.leases.lock().unwrap_or_else(PoisonError::into_inner) = leases;
    }

    /// Takes the lease again if too little of it is left for a visible write.
    pub async fn renew(&self) -> Result<(), LedgerError> {
        let _alone = self.renewing.lock().await;
        let Some(held) = self.leases().pop().filter(|held| held.is_short(self.ports.clock)) else {
            return Ok(());
        };
        let ledger = LedgerWriter::new(self.ports, &self.setting.ledger)?;
        let fresh = ledger.renew(self.setting, &held.lease, self.ports.clock).await?.held()?;
        (self.emit)(Event::Leased { keys: fresh.lease.keys.len(), until: fresh.lease.expiry });
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).push(fresh);
        Ok(())
    }
}
