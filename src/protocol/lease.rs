//! Leases: which count, and which run builds a key that several want.

use crate::model::{Lease, Span, Timestamp};

/// What must be left of a lease before a visible write: a write may take a request timeout,
/// and the clocks of two readings may be a minute apart.
pub const MARGIN: Span = Span::from_seconds(600);

/// Leases that claim to last longer are ignored, so that one wrong date keeps nothing for ever:
/// a day more than a lease may be asked for, so that no difference of two clocks ends one.
pub const LONGEST: Span = Span::from_seconds(31 * 86_400);

/// How long a sweep's claim lasts: as long as it may delete, and a margin.
pub const CLAIM: Span = Span::from_seconds(crate::retention::DEADLINE.as_secs() + MARGIN.seconds());

/// Tells whether a lease that ends at `expiry` counts at `now`.
pub fn is_live(expiry: Timestamp, now: Timestamp) -> bool {
    expiry > now && expiry.since(now) <= LONGEST
}

/// Tells whether a lease that ended at `expiry` may be removed at `now`, the registry's true time.
pub fn has_ended(expiry: Timestamp, now: Timestamp) -> bool {
    expiry < now
}

/// Tells whether too little is left of a lease of this whole length for a visible write.
pub fn is_short(left: Span, whole: Span) -> bool {
    left < MARGIN.min(Span::from_seconds(whole.seconds() / 2))
}

/// Returns those of `all` whose runs may build some of what `ours` covers, in the order of their
/// turns as far as they are known.
///
/// Whoever builds nothing is none of them, nor is a lease older than `patience`, whose run has
/// probably failed, nor an earlier attempt of our own run, which is over.
pub fn rivals(ours: &Lease, all: Vec<Lease>, now: Timestamp, patience: Span) -> Vec<Lease> {
    let is_ours = |lease: &Lease| {
        lease.run == ours.run
            && (lease.attempt < ours.attempt || lease.attempt == ours.attempt && lease.nonce == ours.nonce)
    };
    let is_rival = |lease: &Lease| {
        lease.purpose.is_building()
            && lease.keys.iter().any(|key| ours.keys.contains(key))
            && is_live(lease.expiry, now)
            && now.since(lease.taken) < patience
            && !is_ours(lease)
    };
    let mut rivals: Vec<Lease> = all.into_iter().filter(is_rival).collect();
    rivals.sort_by_key(|lease| (lease.turn, lease.taken, lease.run.clone(), lease.nonce.clone()));
    rivals
}

/// Returns the turn behind all of these; whoever found nobody needs none, for everybody who comes
/// later finds them.
///
/// This is the bakery's order (Lamport 1974): a lease that stands is the sign of somebody who
/// chooses, and whoever found anybody writes a higher number than all that it saw before it looks
/// once more at who goes first. It saves work and keeps reports alike; nothing depends on it for
/// safety.
pub fn turn_behind(rivals: &[Lease]) -> Option<u32> {
    let last = rivals.iter().map(|lease| lease.turn.unwrap_or_default()).max()?;
    Some(last.saturating_add(1))
}

/// Tells whether a rival builds before us, by what was read of its lease after ours said its turn.
pub fn goes_before(rival: &Lease, ours: &Lease) -> bool {
    let name = |lease: &Lease| (lease.run.clone(), lease.nonce.clone());
    match rival.turn {
        // An older program's goes by the time.
        None => (rival.taken, name(rival)) < (ours.taken, name(ours)),
        // It has still to choose, or found nobody.
        Some(0) => true,
        turn => (turn, name(rival)) < (ours.turn, name(ours)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Key, Purpose};

    fn lease(taken: i64, run: &str, attempt: u32, keys: &[&str]) -> Lease {
        let taken = Timestamp::from_unix(taken);
        Lease {
            taken,
            expiry: taken.after(Span::from_seconds(172_800)),
            run: run.parse().unwrap(),
            attempt,
            nonce: "n".to_owned(),
            keys: keys.iter().map(|key| Key::of(key.as_bytes())).collect(),
            purpose: Default::default(),
            turn: None,
        }
    }

    fn turn(turn: u32, lease: Lease) -> Lease {
        Lease { turn: Some(turn), ..lease }
    }

    #[test]
    fn rivals_are_whoever_may_build_the_same() {
        let ours = turn(0, lease(1000, "m", 2, &["k", "l"]));
        let check = |other: Lease, now: i64, expect: bool| {
            let now = Timestamp::from_unix(now);
            let found = rivals(&ours, vec![other.clone()], now, Span::from_seconds(600));
            assert_eq!(found.len(), usize::from(expect), "{other:?}");
        };
        let other = lease(990, "z", 1, &["k"]);
        check(other.clone(), 1001, true);
        check(lease(1005, "a", 1, &["l"]), 1005, true);
        check(lease(990, "z", 1, &["other"]), 1001, false);
        // Longer ago than our patience: whoever took it has probably failed.
        check(other.clone(), 1590, false);
        // The attempt before ours has ended, or there would be no second one.
        check(lease(990, "m", 1, &["k"]), 1001, false);
        // Ours, before it said its turn or renewed; and that of another job of our run.
        check(lease(1300, "m", 2, &["k"]), 1301, false);
        check(Lease { nonce: "o".to_owned(), ..lease(1000, "m", 2, &["k"]) }, 1001, true);
        // A promotion builds nothing, nor does whoever used what stood.
        for purpose in [Purpose::Promoting, Purpose::Using, Purpose::Cleaning] {
            check(Lease { purpose, ..other.clone() }, 1001, false);
        }
    }

    #[test]
    fn turns_are_chosen_behind_all_that_are_seen() {
        let one = || lease(1, "z", 1, &["k"]);
        assert_eq!(turn_behind(&[]), None);
        assert_eq!(turn_behind(&[turn(0, one())]), Some(1));
        assert_eq!(turn_behind(&[one(), turn(7, one()), turn(2, one())]), Some(8));
        assert_eq!(turn_behind(&[turn(u32::MAX, one())]), Some(u32::MAX));
        let ours = turn(3, lease(1000, "m", 1, &["k"]));
        let check = |rival: Lease, expect: bool| assert_eq!(goes_before(&rival, &ours), expect, "{rival:?}");
        check(turn(0, lease(2000, "z", 1, &["k"])), true);
        check(turn(2, lease(2000, "z", 1, &["k"])), true);
        check(turn(3, lease(2000, "a", 1, &["k"])), true);
        check(turn(3, lease(900, "z", 1, &["k"])), false);
        check(turn(4, lease(900, "a", 1, &["k"])), false);
        // Older programs know no turns.
        check(lease(999, "z", 1, &["k"]), true);
        check(lease(1001, "a", 1, &["k"]), false);
    }

    #[test]
    fn a_lease_is_renewed_before_its_margin_or_its_last_half() {
        let short = |left, whole| is_short(Span::from_seconds(left), Span::from_seconds(whole));
        assert!(short(599, 172_800) && !short(600, 172_800));
        assert!(short(29, 60) && !short(30, 60));
    }

    #[test]
    fn a_lease_ends_and_does_not_last_for_ever() {
        let at = Timestamp::from_unix;
        assert!(is_live(at(10), at(9)));
        assert!(!is_live(at(10), at(10)));
        assert!(!is_live(at(9).after(LONGEST).after(Span::from_seconds(1)), at(9)));
    }
}
