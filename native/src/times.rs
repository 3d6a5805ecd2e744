//! Moments as logs have them, to Unix seconds. `formats/times.py` decides; this only knows the usual forms.

use crate::row::{digits, Unsure};

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// A moment in Unix seconds, None where the log has none.
///
/// # Errors
/// `Unsure` for everything that is not plainly a moment.
#[inline]
pub fn moment(text: &[u8]) -> Result<Option<f64>, Unsure> {
    match text.len() {
        0 => Ok(None),
        1 if text == b"-" => Ok(None),
        26 if text[14] == b':' => clf(text),
        28 if text[0] == b'[' && text[27] == b']' => clf(&text[1..27]),
        20 if text[2] == b'/' => http_server(text),
        24 if text[3] == b' ' => ctime(text),
        10..=20 if text[10..].first().map_or(true, |byte| *byte == b'.') => unix(text),
        _ => iso(text),
    }
}

/// Seconds since 1970 at which a day begins, for one that there is.
fn day(year: u64, month: u64, day: u64) -> Result<i64, Unsure> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return Err(Unsure),
    };
    if year == 0 || day == 0 || day > days {
        return Err(Unsure);
    }
    // Counted from March on, the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let since = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Ok((i64::try_from(since).map_err(|_| Unsure)? - 719_468) * 86_400)
}

fn month(name: &[u8]) -> Result<u64, Unsure> {
    MONTHS.iter().position(|known| *known == name).map(|at| at as u64 + 1).ok_or(Unsure)
}

fn two(text: &[u8], at: usize, below: u64) -> Result<i64, Unsure> {
    let value = digits(&text[at..at + 2], 2)?;
    if value < below {
        i64::try_from(value).map_err(|_| Unsure)
    } else {
        Err(Unsure)
    }
}

/// `13:25:15` from a position on.
fn clock(text: &[u8], at: usize, minutes: u64) -> Result<i64, Unsure> {
    if text[at + 2] != b':' || text[at + 5] != b':' {
        return Err(Unsure);
    }
    Ok(two(text, at, 24)? * 3_600 + two(text, at + 3, minutes)? * 60 + two(text, at + 6, minutes)?)
}

/// The moments that Python takes, for calendars to have them in any zone: `EARLIEST_S` to `LATEST_S` there.
const MOMENTS: std::ops::Range<i64> = -62_135_424_000..253_402_128_000;

#[allow(clippy::cast_precision_loss)] // years of four digits
fn whole(seconds: i64) -> Result<Option<f64>, Unsure> {
    if MOMENTS.contains(&seconds) {
        Ok(Some(seconds as f64))
    } else {
        Err(Unsure)
    }
}

/// `22/Nov/2026:13:25:15 +0000`; minutes and seconds of up to 99 are taken, as in Python.
fn clf(text: &[u8]) -> Result<Option<f64>, Unsure> {
    if text[2] != b'/' || text[6] != b'/' || text[11] != b':' || text[20] != b' ' {
        return Err(Unsure);
    }
    let date = day(digits(&text[7..11], 4)?, month(&text[3..6])?, digits(&text[..2], 2)?)?;
    let shift = two(text, 22, 100)? * 3_600 + two(text, 24, 100)? * 60;
    let local = date + clock(text, 12, 100)?;
    match text[21] {
        b'+' => whole(local - shift),
        b'-' => whole(local + shift),
        _ => Err(Unsure),
    }
}

/// `22/Nov/2026 13:25:15`, as Python's http.server writes it.
fn http_server(text: &[u8]) -> Result<Option<f64>, Unsure> {
    if text[6] != b'/' || text[11] != b' ' {
        return Err(Unsure);
    }
    let date = day(digits(&text[7..11], 4)?, month(&text[3..6])?, digits(&text[..2], 2)?)?;
    whole(date + clock(text, 12, 60)?)
}

/// `Sun Nov 22 13:25:15 2026`, as uWSGI writes it.
fn ctime(text: &[u8]) -> Result<Option<f64>, Unsure> {
    if text[7] != b' ' || text[10] != b' ' || text[19] != b' ' || !WEEKDAYS.contains(&&text[..3]) {
        return Err(Unsure);
    }
    let day_of_month = if text[8] == b' ' { digits(&text[9..10], 1) } else { digits(&text[8..10], 2) }?;
    let date = day(digits(&text[20..24], 4)?, month(&text[4..7])?, day_of_month)?;
    whole(date + clock(text, 11, 60)?)
}

/// Unix seconds of ten digits, with decimals or without. Thirteen digits may be a date to Python.
fn unix(text: &[u8]) -> Result<Option<f64>, Unsure> {
    digits(&text[..10], 10)?;
    if text.len() > 10 {
        digits(&text[11..], 9)?;
    }
    let number = std::str::from_utf8(text).map_err(|_| Unsure)?;
    number.parse().map(Some).map_err(|_| Unsure)
}

/// `2026-11-22T13:25:15.042+00:00`; UTC where no offset is given.
fn iso(text: &[u8]) -> Result<Option<f64>, Unsure> {
    if text.len() < 19 || text[4] != b'-' || text[7] != b'-' || !matches!(text[10], b'T' | b' ') {
        return Err(Unsure);
    }
    let date = day(digits(&text[..4], 4)?, digits(&text[5..7], 2)?, digits(&text[8..10], 2)?)?;
    let (micros, zone) = fraction(&text[19..])?;
    let seconds = date + clock(text, 11, 60)? - offset(zone)?;
    if micros == 0 {
        return whole(seconds);
    }
    let total = seconds * 1_000_000 + micros;
    if total.unsigned_abs() >= 1 << 53 {
        return Err(Unsure); // Python divides exactly, a float does not
    }
    #[allow(clippy::cast_precision_loss)]
    Ok(Some(total as f64 / 1e6))
}

/// The microseconds of `.042137+00:00`, and what follows them.
fn fraction(text: &[u8]) -> Result<(i64, &[u8]), Unsure> {
    if text.first() != Some(&b'.') {
        return Ok((0, text));
    }
    let end = text[1..].iter().position(|byte| !byte.is_ascii_digit()).map_or(text.len(), |at| at + 1);
    let mut micros = digits(&text[1..end.min(7)], 6)?;
    for _ in end..7 {
        micros *= 10;
    }
    Ok((i64::try_from(micros).map_err(|_| Unsure)?, &text[end..]))
}

fn offset(text: &[u8]) -> Result<i64, Unsure> {
    match text {
        b"" | b"Z" => Ok(0),
        [sign, _, _, b':', _, _] => {
            let shift = two(text, 1, 24)? * 3_600 + two(text, 4, 60)? * 60;
            match sign {
                b'+' => Ok(shift),
                b'-' => Ok(-shift),
                _ => Err(Unsure),
            }
        }
        _ => Err(Unsure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms() {
        for text in [
            "22/Nov/2026:13:25:15 +0000",
            "[22/Nov/2026:14:25:15 +0100]",
            "2026-11-22T13:25:15+00:00",
            "2026-11-22T08:25:15-05:00",
            "2026-11-22 13:25:15Z",
            "22/Nov/2026 13:25:15",
            "Sun Nov 22 13:25:15 2026",
            "1795353915",
            "1795353915.000",
        ] {
            assert_eq!(moment(text.as_bytes()), Ok(Some(1_795_353_915.0)), "{text}");
        }
        assert_eq!(moment(b"2026-11-22T13:25:15.0421379Z"), Ok(Some(1_795_353_915.042_137)));
        assert_eq!(moment(b"22/Nov/2026:13:99:15 +0000"), Ok(Some(1_795_353_915.0 + 74.0 * 60.0)));
    }

    #[test]
    fn days_that_there_are() {
        assert_eq!(day(1970, 1, 1), Ok(0));
        assert_eq!(day(2000, 2, 29), Ok(951_782_400));
        assert_eq!(day(1, 1, 1), Ok(-62_135_596_800));
        assert_eq!(day(1900, 2, 29), Err(Unsure));
        assert_eq!(day(2026, 13, 1), Err(Unsure));
    }

    #[test]
    fn what_is_no_moment_is_left_to_python() {
        for text in ["31/Feb/2026:13:25:15 +0000", "1795353915123", "20261122", "2026-11-22T24:00:00Z", "x"] {
            assert_eq!(moment(text.as_bytes()), Err(Unsure), "{text}");
        }
        assert_eq!(moment(b"-"), Ok(None));
    }
}
