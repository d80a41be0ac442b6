//! When to ask again: pure decisions about waits.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use reqwest::header::{DATE, RETRY_AFTER};

use super::answer::{Answer, REMAINING, RESET};
use super::limits::Limits;
use super::request::Repeat;
use crate::model::Timestamp;

/// What the repeats of all requests to one host may cost together: a host that fails most of
/// them gets few of them twice.
#[derive(Debug)]
pub(super) struct Budget {
    /// In tenths of a repeat.
    tenths: AtomicU32,
    most: u32,
}

impl Budget {
    /// Begins with so many repeats, which are the most there can be.
    pub(super) fn new(repeats: u32) -> Self {
        let most = repeats.saturating_mul(10);
        Self { tenths: AtomicU32::new(most), most }
    }

    /// Pays for one repeat, if there is something left.
    pub(super) fn spend(&self) -> bool {
        self.tenths.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(10)).is_ok()
    }

    /// Ten requests that succeed pay for one that is repeated.
    pub(super) fn earn(&self) {
        let add = |left: u32| Some(left.saturating_add(1).min(self.most));
        let _ = self.tenths.fetch_update(Relaxed, Relaxed, add);
    }
}

/// Tells whether a request may be sent again after this answer. Of what a limit stopped nothing
/// was done.
pub(super) fn is_repeatable(repeat: Repeat, answer: &Answer) -> bool {
    repeat.allows(answer.status) || (answer.is_limit() && repeat != Repeat::Never)
}

/// Returns the wait before try number `tries + 1`: doubling, of which a random half is taken
/// off so that many clients do not come back at once.
pub(super) fn backoff(tries: u32, limits: &Limits) -> Duration {
    let doubled = limits.first_wait.saturating_mul(1 << tries.saturating_sub(1).min(16));
    doubled.min(limits.longest_wait).mul_f64(1.0 - random_fraction() / 2.0)
}

/// Returns how long the registry asks to be left alone, clamped: by `Retry-After` (RFC 9110,
/// section 10.2.3), or by the moment at which its limit ends. `None` if it does not ask, or asks
/// for nonsense.
pub(super) fn asked_wait(answer: &Answer, longest: Duration) -> Option<Duration> {
    // A date is only worth something beside the clock that it was read from.
    let until =
        |date: Timestamp| Some(date.since(Timestamp::from_http_date(answer.header(DATE)?)?).duration());
    let wait = match answer.header(RETRY_AFTER).map(str::trim) {
        Some(text) => match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => until(Timestamp::from_http_date(text)?)?,
        },
        None if answer.header(REMAINING) == Some("0") => {
            until(Timestamp::from_unix(answer.header(RESET)?.parse().ok()?))?
        }
        None => return None,
    };
    Some(wait.min(longest))
}

/// Returns a number in [0, 1). The standard library seeds its hash maps well enough for that.
fn random_fraction() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 40;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(1_u32 << 24)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use reqwest::header::{HeaderMap, HeaderName};

    fn asked(retry_after: &str, date: Option<&str>) -> Option<u64> {
        asked_by(&[(RETRY_AFTER, Some(retry_after)), (DATE, date)])
    }

    fn asked_by(fields: &[(HeaderName, Option<&str>)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.extend(value.map(|value| (name.clone(), value.parse().unwrap())));
        }
        let answer = Answer::to_get("https://r.example/", 429, headers, "");
        asked_wait(&answer, Limits::default().longest_wait).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_parsed_in_both_forms_and_clamped() {
        let now = Some("Sat, 21 Nov 2026 07:44:00 GMT");
        assert_eq!(asked("7", None), Some(7));
        assert_eq!(asked("0", None), Some(0));
        assert_eq!(asked("3600", None), Some(20));
        assert_eq!(asked("Sat, 21 Nov 2026 07:44:09 GMT", now), Some(9));
        assert_eq!(asked("Sat, 21 Nov 2026 07:43:00 GMT", now), Some(0));
        assert_eq!(asked("Sun, 21 Nov 2027 07:44:00 GMT", now), Some(20));
        for junk in ["", "-1", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(asked(junk, now), None, "{junk}");
        }
        assert_eq!(asked("Sat, 21 Nov 2026 07:44:09 GMT", None), None);
    }

    #[test]
    fn limits_that_end_at_a_moment_are_waited_for() {
        let now = Some("Sat, 21 Nov 2026 07:44:00 GMT");
        let left = |left: &'static str, end: &'static str, date| {
            asked_by(&[(REMAINING, Some(left)), (RESET, Some(end)), (DATE, date)])
        };
        assert_eq!(left("0", "1795247049", now), Some(9));
        assert_eq!(left("0", "1795247000", now), Some(0));
        assert_eq!(left("0", "1795250640", now), Some(20));
        assert_eq!(left("1", "1795247049", now), None);
        assert_eq!(left("0", "1795247049", None), None);
        for junk in ["", "-1e3", "soon", "99999999999999999999999"] {
            assert_eq!(left("0", junk, now), None, "{junk}");
        }
        assert_eq!(left("0", "9223372036854775807", now), Some(20));
        assert_eq!(left("0", "-9223372036854775808", now), Some(0));
        // Who names a span means it.
        let both =
            [(RETRY_AFTER, Some("7")), (REMAINING, Some("0")), (RESET, Some("1795247049")), (DATE, now)];
        assert_eq!(asked_by(&both), Some(7));
    }

    #[test]
    fn repeats_are_paid_for_by_what_succeeds() {
        let budget = Budget::new(2);
        assert!(budget.spend() && budget.spend() && !budget.spend());
        (0..9).for_each(|_| budget.earn());
        assert!(!budget.spend());
        budget.earn();
        assert!(budget.spend() && !budget.spend());
        (0..1000).for_each(|_| budget.earn());
        assert!(budget.spend() && budget.spend() && !budget.spend());
    }

    #[test]
    fn waits_double_with_jitter_up_to_the_longest() {
        let limits = Limits::default();
        for (tries, longest) in [(1, 0.25), (2, 0.5), (3, 1.0), (12, 20.0), (u32::MAX, 20.0)] {
            for _ in 0..50 {
                let wait = backoff(tries, &limits).as_secs_f64();
                assert!((longest / 2.0..=longest).contains(&wait), "{tries}: {wait}");
            }
        }
        assert_ne!(backoff(5, &limits), backoff(5, &limits));
    }
}
