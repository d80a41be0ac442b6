//! Figures as people read them: durations, how far something is.

use std::time::Duration;

/// Writes seconds for people.
pub fn duration(seconds: f64) -> String {
    // Rounded before minutes are taken out of it, so that 59.6 s over are a minute.
    let whole = seconds.round();
    if seconds < 9.95 {
        format!("{seconds:.1}s")
    } else if whole < 120.0 {
        format!("{whole:.0}s")
    } else {
        format!("{:.0}m{:02.0}s", (whole / 60.0).floor(), whole % 60.0)
    }
}

/// Says how far a sweep is, and how long the rest takes at its pace.
pub fn how_far(done: usize, all: usize, taken: Duration) -> String {
    let left = all.saturating_sub(done);
    let pace = taken.as_secs_f64() / done.max(1) as f64;
    let text = format!("{done} of {all}, {left} left");
    if done < 5 { text } else { format!("{text}, about {}", duration(pace * left as f64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_sweep_is() {
        assert_eq!(how_far(0, 400, Duration::ZERO), "0 of 400, 400 left");
        assert_eq!(how_far(100, 400, Duration::from_secs(20)), "100 of 400, 300 left, about 60s");
        assert_eq!(how_far(400, 400, Duration::from_secs(20)), "400 of 400, 0 left, about 0.0s");
    }

    #[test]
    fn figures_for_people() {
        assert_eq!(duration(0.04), "0.0s");
        assert_eq!(duration(75.2), "75s");
        assert_eq!(duration(185.0), "3m05s");
        for (seconds, expect) in [(9.97, "10s"), (119.4, "119s"), (119.7, "2m00s"), (179.6, "3m00s")] {
            assert_eq!(duration(seconds), expect);
        }
    }
}
