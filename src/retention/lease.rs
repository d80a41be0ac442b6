//! Leases: which count, and which run builds a key that several want.

use crate::model::{Key, Lease, Span, Timestamp};

/// What must be left of a lease before a visible write: a write may take a request timeout,
/// and the clocks of two readings may be a minute apart.
pub const MARGIN: Span = Span::from_seconds(600);

/// Leases that claim to last longer are ignored, so that one wrong date keeps nothing for ever:
/// a day more than a lease may be asked for, so that no difference of two clocks ends one.
pub const LONGEST: Span = Span::from_seconds(31 * 86_400);

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

/// Returns the lease whose run should build `key` before ours does, if there is one.
/// `ours` is the first one that we took: leases that renew it do not put us back.
///
/// Of the live leases that cover the key the earliest goes first, as long as it is not older
/// than `patience`; an earlier attempt of our own run is over and is not waited for.
/// This saves work and keeps reports alike; nothing depends on it for safety.
pub fn goes_first<'a>(
    key: &Key,
    ours: &Lease,
    others: &'a [Lease],
    now: Timestamp,
    patience: Span,
) -> Option<&'a Lease> {
    let order = |lease: &Lease| (lease.taken, lease.run.clone(), lease.nonce.clone());
    let before_us = |lease: &&Lease| {
        lease.keys.contains(key)
            && is_live(lease.expiry, now)
            && now.since(lease.taken) < patience
            && order(lease) < order(ours)
            && !(lease.run == ours.run && lease.attempt < ours.attempt)
    };
    others.iter().filter(before_us).min_by_key(|lease| order(lease))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(taken: i64, run: &str, attempt: u32, keys: &[&str]) -> Lease {
        let taken = Timestamp::from_unix(taken);
        Lease {
            taken,
            expiry: taken.after(Span::from_seconds(172_800)),
            run: run.parse().unwrap(),
            attempt,
            nonce: "n".to_owned(),
            keys: keys.iter().map(|key| Key::of(key.as_bytes())).collect(),
        }
    }

    fn check(ours: &Lease, others: &[Lease], now: i64, expect: Option<&str>) {
        let now = Timestamp::from_unix(now);
        let first = goes_first(&Key::of(b"k"), ours, others, now, Span::from_seconds(600));
        assert_eq!(first.map(|lease| lease.run.to_string()).as_deref(), expect);
    }

    #[test]
    fn the_earliest_lease_goes_first() {
        let ours = lease(1000, "m", 1, &["k"]);
        let earlier = lease(990, "z", 1, &["k"]);
        check(&ours, std::slice::from_ref(&ours), 1001, None);
        check(&ours, &[lease(1001, "a", 1, &["k"]), ours.clone()], 1001, None);
        check(&ours, &[earlier.clone(), lease(995, "b", 1, &["k"])], 1001, Some("z"));
        check(&ours, &[lease(1000, "a", 1, &["k"])], 1001, Some("a"));
        check(&ours, &[lease(990, "z", 1, &["other"])], 1001, None);
        // Longer ago than our patience: whoever took it has probably failed.
        check(&ours, &[earlier], 1590, None);
        // The attempt before ours has ended, or there would be no second one.
        check(&lease(1000, "z", 2, &["k"]), &[lease(990, "z", 1, &["k"])], 1001, None);
    }

    #[test]
    fn a_renewed_lease_does_not_wait_for_itself() {
        let (first, renewed) = (lease(1000, "m", 1, &["k"]), lease(1300, "m", 1, &["k"]));
        check(&first, &[first.clone(), renewed], 1301, None);
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
