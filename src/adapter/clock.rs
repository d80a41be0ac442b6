//! This machine's clock of elapsed time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::port::Clock;

/// `CLOCK_BOOTTIME`, which goes on while the machine is suspended.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn elapsed(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::try_from(time).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on() {
        let before = BootClock.elapsed();
        std::thread::sleep(Duration::from_millis(2));
        assert!(BootClock.elapsed() >= before + Duration::from_millis(2));
    }
}
