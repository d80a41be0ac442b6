//! Leases: taken, renewed, given up, and read to see who else is at work.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::exec::event::{Emit, Event};
use crate::exec::ledger::write::LedgerWriter;
use crate::exec::ledger::{Found, Ledger, LedgerError};
use crate::exec::setting::{RegistryPorts, RunContext, nonce};
use crate::model::{Digest, Key, Lease, Purpose, Record, RecordTag, RunRecord, Span, Tag, Timestamp};
use crate::port::{Clock, RegistryError};

/// A lease that this process holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// The lease as it was written.
    pub lease: Lease,
    /// Its record's digest.
    pub digest: Digest,
    /// Elapsed time when the registry was asked for its time: what is left counts from here, for
    /// this machine may have been suspended before the answer was read.
    asked: Duration,
    /// Elapsed time when its answer was there.
    taken: Duration,
    span: Span,
}

impl Held {
    /// Returns `other` if it is this lease, written anew.
    pub(crate) fn replaced_by(self, other: &Self) -> Self {
        let name = |held: &Self| (held.lease.expiry, held.lease.nonce.clone());
        if name(&self) == name(other) { other.clone() } else { self }
    }

    /// Tells whether too little of it is left for a visible write.
    pub fn is_short(&self, clock: &dyn Clock) -> bool {
        crate::protocol::is_short(self.left(clock), self.span)
    }

    /// Returns what is left of it, by a clock that counts suspended time.
    pub fn left(&self, clock: &dyn Clock) -> Span {
        let gone = clock.elapsed().saturating_sub(self.asked).as_secs();
        Span::from_seconds(self.span.seconds().saturating_sub(gone))
    }

    /// Returns the registry's time now, counted on from when the lease was taken.
    pub fn now(&self, clock: &dyn Clock) -> Timestamp {
        let gone = clock.elapsed().saturating_sub(self.taken).as_secs();
        self.lease.taken.after(Span::from_seconds(gone))
    }
}

/// What became of asking for a lease.
#[derive(Debug)]
pub enum Leased {
    /// It stands.
    Held(Held),
    /// The registry takes no writes from us.
    Refused(RegistryError),
}

impl Leased {
    /// Returns the lease; a refusal is an error to whoever could write before.
    pub fn held(self) -> Result<Held, LedgerError> {
        match self {
            Self::Held(held) => Ok(held),
            Self::Refused(error) => Err(error.into()),
        }
    }
}

impl LedgerWriter<'_> {
    /// Takes a lease on `keys` for as long as the run's leases last. When this fails no lease is
    /// left behind, as far as the registry lets us.
    pub async fn lease(
        &self,
        setting: &RunContext,
        purpose: Purpose,
        keys: Vec<Key>,
        clock: &dyn Clock,
    ) -> Result<Leased, LedgerError> {
        let RunContext { run, attempt, .. } = setting;
        let lease = Lease {
            taken: Timestamp::default(),
            expiry: Timestamp::default(),
            run: run.clone(),
            attempt: *attempt,
            nonce: Lease::nonce(&nonce(), &keys, purpose),
            keys,
            purpose,
            turn: purpose.is_building().then_some(0),
        };
        self.take(lease, setting.lease, clock).await
    }

    /// Takes a lease again, with its name and place, for as long from now.
    pub async fn renew(
        &self,
        setting: &RunContext,
        lease: &Lease,
        clock: &dyn Clock,
    ) -> Result<Leased, LedgerError> {
        self.take(lease.clone(), setting.lease, clock).await
    }

    async fn take(&self, lease: Lease, span: Span, clock: &dyn Clock) -> Result<Leased, LedgerError> {
        let asked = clock.elapsed();
        let now = self.now().await?;
        let taken = clock.elapsed();
        let lease = Lease { taken: now, expiry: now.after(span), ..lease };
        let tag = lease.tag().map_err(|error| self.bad_tag("lease", error))?;
        let manifest = lease.to_manifest();
        let written = match self.put(&tag, &manifest).await {
            Ok(()) => self.read_back(&tag, &manifest).await,
            Err(error) if error.failure.is_denied() => return Ok(Leased::Refused(error)),
            Err(error) => Err(error.into()),
        };
        let digest = manifest.digest().clone();
        if let Err(error) = written {
            // The answer may be lost, not the lease; others would wait for us. Should this
            // fail as well, the first error is the one to tell.
            let _ = self.delete(&digest).await;
            return Err(error);
        }
        Ok(Leased::Held(Held { lease, digest, asked, taken, span }))
    }

    /// Writes a lease anew with its turn, under its tag: at no moment it is not there.
    pub(crate) async fn take_turn(&self, held: &Held, turn: u32) -> Result<Held, LedgerError> {
        let lease = Lease { turn: Some(turn), ..held.lease.clone() };
        let tag = lease.tag().map_err(|error| self.bad_tag("lease", error))?;
        let digest = self.write(&tag, &lease).await?;
        Ok(Held { lease, digest, ..held.clone() })
    }
}

impl Ledger<'_> {
    /// Reads all leases that are live at `now`, for whoever wants to know whom to wait for.
    /// One that cannot be read, a newer boxwright's perhaps, is nobody to wait for.
    pub async fn live_leases(&self, now: Timestamp) -> Result<Vec<Lease>, LedgerError> {
        let is_live = |record: &RecordTag| matches!(record, RecordTag::Lease { expiry, .. } if crate::protocol::is_live(*expiry, now));
        let records = self.list().await?.into_iter();
        let tags = records.filter(|(record, _)| is_live(record)).map(|(_, tag)| tag);
        self.readable(tags.collect()).await
    }

    /// Reads what sweeps have claimed, of the leases in a list of the ledger.
    pub(crate) async fn claims(&self, listed: &BTreeMap<RecordTag, Tag>) -> Result<Vec<Lease>, LedgerError> {
        let now = self.now().await?;
        let may_claim = |record: &RecordTag| matches!(record, RecordTag::Lease { expiry, .. } if *expiry > now && expiry.since(now) <= crate::protocol::CLAIM);
        let tags = listed.iter().filter(|(record, _)| may_claim(record)).map(|(_, tag)| tag.clone());
        let mut leases = self.readable::<Lease>(tags.collect()).await?;
        leases.retain(|lease| lease.purpose == Purpose::Cleaning);
        Ok(leases)
    }

    /// Tells whether the job that took a lease has ended, by its run's record.
    pub async fn has_ended(&self, lease: &Lease) -> Result<bool, LedgerError> {
        let tag = RecordTag::Run { run: lease.run.clone(), attempt: lease.attempt };
        let tag = tag.tag().map_err(|error| self.bad_tag("run", error))?;
        Ok(match self.look::<RunRecord>(&tag).await? {
            Found::Stands(run) => run.record.leases.contains(&lease.nonce),
            // A newer boxwright's: whether it has ended cannot be told.
            Found::Unreadable { .. } | Found::Vanished => false,
        })
    }
}

/// Takes a lease, or finds out that this registry takes no writes from us.
pub(crate) async fn take_lease(
    ports: RegistryPorts<'_>,
    setting: &RunContext,
    purpose: Purpose,
    keys: Vec<Key>,
    emit: Emit<'_>,
) -> Result<Option<Held>, LedgerError> {
    let count = keys.len();
    let why = match ports.writer {
        Err(why) => why.to_owned(),
        Ok(_) => {
            let ledger = LedgerWriter::new(ports, &setting.ledger)?;
            match ledger.lease(setting, purpose, keys, ports.clock).await? {
                Leased::Held(held) => {
                    emit(Event::Leased { keys: count, until: held.lease.expiry });
                    return Ok(Some(held));
                }
                Leased::Refused(error) => error.to_string(),
            }
        }
    };
    emit(Event::ReadOnly { why });
    Ok(None)
}

/// Gives leases up, so that nobody waits for them. One that stays only costs others time.
pub(crate) async fn release(ports: RegistryPorts<'_>, setting: &RunContext, leases: &[Held], emit: Emit<'_>) {
    // Without the right to write none was taken.
    let Ok(ledger) = LedgerWriter::new(ports, &setting.ledger) else { return };
    for held in leases {
        if let Err(error) = ledger.delete(&held.digest).await {
            emit(Event::Note { text: format!("the lease could not be given up: {error}") });
        }
    }
}
