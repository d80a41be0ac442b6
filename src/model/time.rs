//! Points in time and spans, to the second: what an HTTP `Date` can tell.

use std::fmt;
use std::str::FromStr;

/// A point in time, in seconds since 1970 (UTC).
///
/// It prints as `20261121T074400Z`, which a tag may hold and which sorts by time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Wraps seconds since 1970, clamped to the years 1970 to 9999.
    pub fn from_unix(seconds: i64) -> Self {
        Self(seconds.clamp(0, 253_402_207_200))
    }

    /// Returns the seconds since 1970.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// Returns the time `span` later.
    pub fn after(self, span: Span) -> Self {
        Self::from_unix(self.0.saturating_add_unsigned(span.seconds()))
    }

    /// Returns the time from `earlier` to this one; nothing if it is not earlier.
    pub fn since(self, earlier: Self) -> Span {
        Span(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    fn civil(self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(self.0).unwrap_or_default()
    }

    /// Returns the time for people, `2026-11-21 07:44 UTC`.
    pub fn human(self) -> String {
        self.civil().strftime("%Y-%m-%d %H:%M UTC").to_string()
    }

    /// Returns the time in RFC 3339 form, `2026-11-21T07:44:00Z`.
    pub fn rfc3339(self) -> String {
        self.civil().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Reads an HTTP date (RFC 9110, section 5.6.7).
    pub fn from_http_date(text: &str) -> Option<Self> {
        let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(Self::from_unix(zoned.timestamp().as_second()))
    }
}

/// Reads `20261121T074400Z` or RFC 3339.
impl FromStr for Timestamp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let time: jiff::Timestamp = text.parse().map_err(|_| ())?;
        Ok(Self::from_unix(time.as_second()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.civil().strftime("%Y%m%dT%H%M%SZ"))
    }
}

/// A length of time in whole seconds, written `90s`, `15m`, `12h`, `2d` or `4w`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// Why a text is not a span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a length of time; expected a number and s, m, h, d or w, such as 2d")]
pub struct SpanError {
    text: String,
}

impl Span {
    /// Wraps a number of seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Returns the number of seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// Returns the same length for timers.
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError { text: super::printable(text, 40) };
        let unit = match text.bytes().last() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 86_400,
            Some(b'w') => 604_800,
            _ => return Err(error()),
        };
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error());
        }
        let number: u64 = digits.parse().map_err(|_| error())?;
        let seconds = number.checked_mul(unit).filter(|seconds| *seconds <= 100 * 366 * 86_400);
        Ok(Self(seconds.ok_or_else(error)?))
    }
}

/// Prints in the largest unit that is exact, so that it reads back as itself.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (size, unit) in [(604_800, 'w'), (86_400, 'd'), (3600, 'h'), (60, 'm')] {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        write!(f, "{}s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_sort_as_text_and_read_back() {
        // `date -u -d @1795247040` prints Sat Nov 21 07:44:00 UTC 2026.
        let time = Timestamp::from_unix(1_795_247_040);
        assert_eq!(time.to_string(), "20261121T074400Z");
        assert_eq!("20261121T074400Z".parse(), Ok(time));
        assert_eq!("2026-11-21T07:44:00Z".parse(), Ok(time));
        assert_eq!(Timestamp::from_http_date("Sat, 21 Nov 2026 07:44:00 GMT"), Some(time));
        assert_eq!("20261321T074400Z".parse::<Timestamp>(), Err(()));
        assert_eq!(time.rfc3339(), "2026-11-21T07:44:00Z");
        assert_eq!(Timestamp::from_http_date("junk"), None);
    }

    #[test]
    fn spans() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2d", 172_800), ("1w", 604_800), ("0s", 0)] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.seconds(), span.to_string().as_str()), (seconds, text));
        }
        for bad in ["", "d", "2", "-2d", "+2d", "2 d", "1y", "99999999999999999999s", "4000000000d", "ä"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
