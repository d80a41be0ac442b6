//! The registry's own time, from the `Date` of its answers (RFC 9110, section 6.6.1).
//!
//! Each answer sets it anew, and between answers it advances by the time that passed here,
//! suspension of this machine included. So asking is free once a registry has answered.

use std::sync::Mutex;
use std::time::Duration;

use reqwest::header::{AGE, DATE};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use super::answer::Answer;
use crate::adapter::locked::locked;
use crate::model::{Span, Timestamp};

#[derive(Debug, Default)]
pub(super) struct RegistryClock {
    told: Mutex<Option<(Timestamp, Duration)>>,
    asking: AsyncMutex<()>,
}

impl RegistryClock {
    /// Takes over the time of an answer, if it tells one.
    ///
    /// An answer from a cache (`Age`) or from whatever stands in for a broken registry does not.
    pub(super) fn observe(&self, answer: &Answer) {
        let own = !answer.status.is_server_error() && !answer.headers.contains_key(AGE);
        if let Some(date) = answer.header(DATE).and_then(Timestamp::from_http_date).filter(|_| own) {
            *locked(&self.told) = Some((date, since_boot()));
        }
    }

    /// Waits until nobody else asks for the time.
    pub(super) async fn alone(&self) -> MutexGuard<'_, ()> {
        self.asking.lock().await
    }

    /// Returns the registry's time, once there was an answer.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let (date, then) = (*locked(&self.told))?;
        let passed = since_boot().saturating_sub(then);
        Some(date.after(Span::from_seconds(passed.as_secs())))
    }
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_registrys_own_date_counts() {
        let clock = RegistryClock::default();
        let answer = |status: u16, headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            Answer::to_get("https://r.example/", status, headers.collect(), "")
        };
        let date = ("date", "Sat, 21 Nov 2026 07:44:00 GMT");
        clock.observe(&answer(200, &[]));
        clock.observe(&answer(200, &[("date", "yesterday")]));
        clock.observe(&answer(200, &[date, ("age", "100000")]));
        clock.observe(&answer(502, &[date]));
        assert_eq!(clock.now(), None);
        clock.observe(&answer(401, &[date]));
        let passed = clock.now().unwrap().since(Timestamp::from_unix(1_795_247_040));
        assert!(passed.seconds() < 30, "{passed}");
    }

    #[test]
    fn time_advances_between_answers() {
        let clock = RegistryClock::default();
        let then = since_boot().saturating_sub(Duration::from_millis(5500));
        *clock.told.lock().unwrap() = Some((Timestamp::from_unix(1000), then));
        let now = clock.now().unwrap().unix();
        assert!((1005..1035).contains(&now), "{now}");
    }
}
