//! Lines of a text format, by the very pattern that `formats/text_reader.py` builds.

use crate::row::{Role, Row};
use pcre2::bytes::{CaptureLocations, Regex, RegexBuilder};

/// A pattern as Python's `re` understands one of bytes: no locale, no Unicode, `.` but for a newline.
///
/// # Errors
/// What PCRE2 says of a pattern that it does not take.
pub fn compiled(pattern: &str) -> Result<Regex, pcre2::Error> {
    RegexBuilder::new().jit_if_available(true).build(pattern)
}

pub struct TextReader {
    regex: Regex,
    roles: Vec<Role>,
    /// With which bytes a line may end; None for any.
    ends: Option<Box<[bool; 256]>>,
}

impl TextReader {
    /// Groups of the pattern are the `roles`, in order. `ends` are the bytes with which a line may end, none for
    /// any: what ends otherwise is told from another format without a match.
    ///
    /// # Errors
    /// As `compiled`.
    pub fn new(pattern: &str, roles: Vec<Role>, ends: &[u8]) -> Result<TextReader, pcre2::Error> {
        let regex = compiled(&format!(r"\A(?:{pattern})\r?\n\z"))?;
        let mut allowed = Box::new([false; 256]);
        for byte in ends {
            allowed[usize::from(*byte)] = true;
        }
        Ok(TextReader { regex, roles, ends: (!ends.is_empty()).then_some(allowed) })
    }

    #[must_use]
    pub fn room(&self) -> CaptureLocations {
        self.regex.capture_locations()
    }

    /// The values of a line that ends with a newline; None where it does not fit.
    #[inline]
    pub fn read<'l>(&self, line: &'l [u8], room: &mut CaptureLocations) -> Option<Row<'l>> {
        if let Some(ends) = &self.ends {
            let body = line.strip_suffix(b"\n").unwrap_or(line);
            let last = body.strip_suffix(b"\r").unwrap_or(body).last()?;
            if !ends[usize::from(*last)] {
                return None;
            }
        }
        self.regex.captures_read(room, line).ok()??;
        let mut row = Row::default();
        for (group, role) in self.roles.iter().enumerate() {
            if let Some((start, end)) = room.get(group + 1) {
                row.set(*role, &line[start..end]);
            }
        }
        Some(row)
    }
}
