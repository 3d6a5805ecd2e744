//! From a request as it is logged to the path that the app saw; as `Labels.label` and `Router.walk` do it.

use crate::row::Unsure;
use std::borrow::Cow;

/// The path of a target, decoded; None for what is outside the `prefix` that a server in front took off.
///
/// # Errors
/// `Unsure` for targets in absolute form, with escapes of the log, not ASCII, or not UTF-8 once decoded.
pub fn path<'t>(target: &'t [u8], prefix: &Prefix) -> Result<Option<Cow<'t, [u8]>>, Unsure> {
    let target = &target[..memchr::memchr2(b'?', b'#', target).unwrap_or(target.len())];
    if target.first() != Some(&b'/') || !target.is_ascii() || target.contains(&b'\\') {
        return Err(Unsure);
    }
    let Some(inside) = prefix.strip(target) else { return Ok(None) };
    if memchr::memchr(b'%', inside).is_none() {
        return Ok(Some(Cow::Borrowed(inside)));
    }
    let decoded = unquoted(inside);
    match std::str::from_utf8(&decoded) {
        Ok(_) => Ok(Some(Cow::Owned(decoded))),
        Err(_) => Err(Unsure),
    }
}

/// What a server in front of the app takes off each target.
pub struct Prefix {
    pub at: Vec<u8>,
    /// Whether the prefix without its last slash is inside, too.
    pub at_itself: bool,
}

impl Prefix {
    fn strip<'t>(&self, target: &'t [u8]) -> Option<&'t [u8]> {
        let rest = target.strip_prefix(&self.at[..])?;
        if self.at.is_empty() {
            return Some(rest);
        }
        let ends = rest.is_empty()
            || rest[0] == b'/'
            || rest.get(..3).is_some_and(|escape| escape.eq_ignore_ascii_case(b"%2F"));
        (ends && (self.at_itself || !rest.is_empty())).then_some(rest)
    }
}

fn unquoted(path: &[u8]) -> Vec<u8> {
    let mut made = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        let code = match path.get(at..at + 3) {
            Some([b'%', high, low]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = code {
            made.push(high * 16 + low);
            at += 3;
        } else {
            made.push(path[at]);
            at += 1;
        }
    }
    made
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(target: &str) -> Result<Option<String>, Unsure> {
        inside(target, "", true)
    }

    fn inside(target: &str, at: &str, at_itself: bool) -> Result<Option<String>, Unsure> {
        let prefix = Prefix { at: at.as_bytes().to_vec(), at_itself };
        Ok(path(target.as_bytes(), &prefix)?.map(|path| String::from_utf8(path.to_vec()).unwrap()))
    }

    #[test]
    fn paths() {
        assert_eq!(plain("/a%20b?c"), Ok(Some("/a b".to_owned())));
        assert_eq!(plain("/a%2x%2"), Ok(Some("/a%2x%2".to_owned())));
        assert_eq!(plain("/a%252F"), Ok(Some("/a%2F".to_owned())));
        for target in ["*", "http://x/", "", "/\\x41", "/%C3", "/é"] {
            assert_eq!(plain(target), Err(Unsure), "{target}");
        }
    }

    #[test]
    fn prefixes() {
        assert_eq!(inside("/app/x", "/app", true), Ok(Some("/x".to_owned())));
        assert_eq!(inside("/app%2Fx", "/app", true), Ok(Some("/x".to_owned())));
        assert_eq!(inside("/apple", "/app", true), Ok(None));
        assert_eq!(inside("/app", "/app", true), Ok(Some(String::new())));
        assert_eq!(inside("/app", "/app", false), Ok(None));
    }
}
