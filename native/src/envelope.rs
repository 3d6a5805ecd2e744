//! What Docker, syslog and others put around a line, taken off; as `formats/envelopes.py` does it.

use crate::json::string_under;
use crate::row::Unsure;
use pcre2::bytes::{CaptureLocations, Regex};

pub enum Envelope {
    /// What a line begins with, unless it holds a byte that only Python is to look at.
    Prefix { pattern: Regex, unless: Option<u8> },
    /// A JSON object that has the line under a key, with an end.
    Json { key: String, end: String },
}

impl Envelope {
    #[must_use]
    pub fn room(&self) -> Option<CaptureLocations> {
        match self {
            Envelope::Prefix { pattern, .. } => Some(pattern.capture_locations()),
            Envelope::Json { .. } => None,
        }
    }
}

/// The line within its envelopes; `held` keeps what had to be decoded.
///
/// # Errors
/// `Unsure` for what is not plainly carried so.
pub fn unwrapped<'l>(
    line: &'l [u8],
    envelopes: &[Envelope],
    rooms: &mut [Option<CaptureLocations>],
    held: &'l mut Vec<u8>,
) -> Result<&'l [u8], Unsure> {
    let (mut start, mut decoded) = (0, false);
    held.clear();
    for (envelope, room) in envelopes.iter().zip(rooms) {
        let rest = if decoded { &held[start..] } else { &line[start..] };
        match (envelope, room) {
            (Envelope::Prefix { pattern, unless }, Some(room)) => {
                if unless.is_some_and(|byte| memchr::memchr(byte, rest).is_some()) {
                    return Err(Unsure);
                }
                if let Some(found) = pattern.captures_read(room, rest).map_err(|_| Unsure)? {
                    start += found.end();
                }
            }
            (Envelope::Json { key, end }, _) => {
                let text = string_under(key, rest).ok_or(Unsure)?;
                let text =
                    text.strip_suffix(end.as_str()).filter(|text| !text.contains('\n')).ok_or(Unsure)?;
                held.clear();
                held.extend_from_slice(text.as_bytes());
                held.push(b'\n');
                (start, decoded) = (0, true);
            }
            (Envelope::Prefix { .. }, None) => return Err(Unsure),
        }
    }
    Ok(if decoded { &held[start..] } else { &line[start..] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::compiled;

    #[test]
    fn one_within_the_other() {
        let pattern = compiled(r"\A(?:[a-z]+ \| )").unwrap();
        let envelopes = [
            Envelope::Prefix { pattern, unless: None },
            Envelope::Json { key: "log".into(), end: "\n".into() },
        ];
        let mut rooms: Vec<_> = envelopes.iter().map(Envelope::room).collect();
        let mut held = Vec::new();
        let line = b"web | {\"log\": \"GET /\\n\"}\n";
        assert_eq!(unwrapped(line, &envelopes, &mut rooms, &mut held), Ok(&b"GET /\n"[..]));
        assert_eq!(unwrapped(b"web | x\n", &envelopes, &mut rooms, &mut held), Err(Unsure));
    }
}
