//! Durations as logs have them, to microseconds. `formats/times.py` decides; this only knows the usual forms.

use crate::row::{digits, Unsure};

/// Durations from here on are left to Python, whose integers have no end.
const LONGEST_US: u64 = 1_000_000_000_000_000;
const LONGEST_DIGITS: usize = 15;

/// How durations are written: an entry of `UNITS` in `formats/times.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// No durations in the log.
    Absent,
    /// A whole number, of so many microseconds each.
    Whole(u64),
    /// Seconds with exactly so many decimals.
    Decimals(usize),
    /// A number as JSON has it, times ten to the power of this.
    Number(i32),
    /// nginx's list of one time for each upstream.
    Upstreams,
    /// `42 msecs`, as uWSGI writes it.
    Took,
}

impl Unit {
    #[must_use]
    pub fn named(name: &str) -> Option<Unit> {
        Some(match name {
            "" => Unit::Absent,
            "microseconds" => Unit::Whole(1),
            "milliseconds" => Unit::Whole(1_000),
            "whole seconds" => Unit::Whole(1_000_000),
            "seconds, to the millisecond" => Unit::Decimals(3),
            "seconds, to the microsecond" => Unit::Decimals(6),
            "seconds" => Unit::Number(6),
            "milliseconds, maybe with decimals" => Unit::Number(3),
            "microseconds, maybe with decimals" => Unit::Number(0),
            "nanoseconds" => Unit::Number(-3),
            "as written" => Unit::Took,
            "seconds of each upstream, added" => Unit::Upstreams,
            _ => return None,
        })
    }

    /// The duration in microseconds, None where the log has none.
    ///
    /// # Errors
    /// `Unsure` for everything that is not plainly a duration.
    #[inline]
    pub fn microseconds(self, text: &[u8]) -> Result<Option<u64>, Unsure> {
        if text.is_empty() || text == b"-" {
            return Ok(None);
        }
        let value = match self {
            Unit::Absent => Err(Unsure),
            Unit::Whole(scale) => whole(text, scale),
            Unit::Decimals(decimals) => seconds(text, decimals),
            Unit::Number(exponent) => number(text, exponent),
            Unit::Took => took(text),
            Unit::Upstreams => return upstreams(text),
        }?;
        if value < LONGEST_US {
            Ok(Some(value))
        } else {
            Err(Unsure)
        }
    }
}

fn whole(text: &[u8], scale: u64) -> Result<u64, Unsure> {
    digits(text, LONGEST_DIGITS)?.checked_mul(scale).ok_or(Unsure)
}

fn seconds(text: &[u8], decimals: usize) -> Result<u64, Unsure> {
    let point = text.len().checked_sub(decimals + 1).ok_or(Unsure)?;
    if text[point] != b'.' {
        return Err(Unsure);
    }
    let whole = digits(&text[..point], LONGEST_DIGITS - 6)?;
    let fraction = digits(&text[point + 1..], decimals)?;
    Ok(whole * 1_000_000 + fraction * if decimals == 3 { 1_000 } else { 1 })
}

/// A number of any number of decimals, maybe with an exponent, rounded half to even as Python's Decimal does.
fn number(text: &[u8], scale: i32) -> Result<u64, Unsure> {
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        None => (text, 0),
        Some(at) => (&text[..at], exponent(&text[at + 1..])?),
    };
    let (whole, fraction) = match memchr::memchr(b'.', mantissa) {
        None => (mantissa, &[][..]),
        Some(point) => (&mantissa[..point], &mantissa[point + 1..]),
    };
    if whole.len() + fraction.len() > 18 {
        return Err(Unsure);
    }
    let mut value = digits(whole, 18)?;
    if !fraction.is_empty() {
        let places = u32::try_from(fraction.len()).map_err(|_| Unsure)?;
        value = value * 10u64.pow(places) + digits(fraction, 18)?;
    }
    let places = i32::try_from(fraction.len()).map_err(|_| Unsure)?;
    scaled(value, exponent + scale - places)
}

fn exponent(text: &[u8]) -> Result<i32, Unsure> {
    let (sign, text) = match text.first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    Ok(sign * i32::try_from(digits(text, 2)?).map_err(|_| Unsure)?)
}

fn scaled(value: u64, exponent: i32) -> Result<u64, Unsure> {
    let size = exponent.unsigned_abs();
    if exponent > 0 {
        let power = 10u64.checked_pow(size).filter(|_| size < 15).ok_or(Unsure)?;
        return value.checked_mul(power).filter(|made| *made < LONGEST_US).ok_or(Unsure);
    }
    let Some(power) = 10u64.checked_pow(size) else {
        return Ok(0); // eighteen digits, and twenty places to the right
    };
    let (quotient, rest) = (value / power, value % power);
    if quotient >= LONGEST_US - 1 {
        return Err(Unsure);
    }
    let up = match rest.cmp(&(power - rest)) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient % 2 == 1,
        std::cmp::Ordering::Less => false,
    };
    Ok(quotient + u64::from(up))
}

fn took(text: &[u8]) -> Result<u64, Unsure> {
    let space = memchr::memchr(b' ', text).ok_or(Unsure)?;
    let scale = match &text[space + 1..] {
        b"micros" => 1,
        b"msecs" => 1_000,
        b"secs" => 1_000_000,
        _ => return Err(Unsure),
    };
    whole(&text[..space], scale)
}

/// `0.010, 0.020 : 0.030`; `-` counts nothing, and nothing but `-` is no duration.
fn upstreams(text: &[u8]) -> Result<Option<u64>, Unsure> {
    let (mut rest, mut total) = (text, None);
    loop {
        let comma = memchr::memmem::find(rest, b", ");
        let colon = memchr::memmem::find(rest, b" : ");
        let (part, skipped) = match (comma, colon) {
            (Some(comma), Some(colon)) if comma < colon => (&rest[..comma], 2),
            (_, Some(colon)) => (&rest[..colon], 3),
            (Some(comma), None) => (&rest[..comma], 2),
            (None, None) => (rest, 0),
        };
        if part != b"-" {
            total = Some(total.unwrap_or(0) + seconds(part, 3)?);
        }
        if skipped == 0 {
            return if total < Some(LONGEST_US) { Ok(total) } else { Err(Unsure) };
        }
        rest = &rest[part.len() + skipped..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(unit: &str, text: &str) -> Result<Option<u64>, Unsure> {
        Unit::named(unit).unwrap().microseconds(text.as_bytes())
    }

    #[test]
    fn usual_durations() {
        assert_eq!(us("seconds, to the millisecond", "0.042"), Ok(Some(42_000)));
        assert_eq!(us("seconds, to the microsecond", "12.000042"), Ok(Some(12_000_042)));
        assert_eq!(us("milliseconds", "7"), Ok(Some(7_000)));
        assert_eq!(us("as written", "42 msecs"), Ok(Some(42_000)));
        assert_eq!(us("microseconds", "-"), Ok(None));
        assert_eq!(us("seconds of each upstream, added", "0.010, - : 0.030"), Ok(Some(40_000)));
        assert_eq!(us("seconds of each upstream, added", "-, -"), Ok(None));
    }

    #[test]
    fn numbers_are_rounded_half_to_even() {
        assert_eq!(us("seconds", "0.0000005"), Ok(Some(0)));
        assert_eq!(us("seconds", "0.0000015"), Ok(Some(2)));
        assert_eq!(us("seconds", "4.2e-05"), Ok(Some(42)));
        assert_eq!(us("seconds", "1e3"), Ok(Some(1_000_000_000)));
        assert_eq!(us("nanoseconds", "1500"), Ok(Some(2)));
        assert_eq!(us("nanoseconds", "2500"), Ok(Some(2)));
        assert_eq!(us("seconds", "0e99"), Err(Unsure));
    }

    #[test]
    fn what_is_no_duration_is_left_to_python() {
        for text in ["x", "-1", "1.2.3", " 1", "1_0", "\u{0661}", "9999999999999999"] {
            assert_eq!(us("microseconds", text), Err(Unsure), "{text}");
        }
        assert_eq!(us("whole seconds", "999999999999999"), Err(Unsure));
        assert_eq!(us("seconds, to the millisecond", "0.04"), Err(Unsure));
        assert_eq!(us("seconds", ".5"), Err(Unsure));
    }
}
