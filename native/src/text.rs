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
}

impl TextReader {
    /// Groups of the pattern are the `roles`, in order.
    ///
    /// # Errors
    /// As `compiled`.
    pub fn new(pattern: &str, roles: Vec<Role>) -> Result<TextReader, pcre2::Error> {
        let regex = compiled(&format!(r"\A(?:{pattern})\r?\n\z"))?;
        Ok(TextReader { regex, roles })
    }

    #[must_use]
    pub fn room(&self) -> CaptureLocations {
        self.regex.capture_locations()
    }

    /// The values of a line that ends with a newline; None where it does not fit.
    #[inline]
    pub fn read<'l>(&self, line: &'l [u8], room: &mut CaptureLocations) -> Option<Row<'l>> {
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
