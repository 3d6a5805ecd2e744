//! Lines of JSON: the values under some keys, as `formats/json_reader.py` has them.

use crate::row::{Role, Row};
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// What is wanted of an object: what is under a key, or within the object under it.
#[derive(Default)]
struct Wanted(Vec<(String, Kept)>);

enum Kept {
    Value(usize),
    Within(Wanted),
}

/// The values found, by slot. A key that occurs twice is an error: Python has an opinion, this has none.
struct Found<'de>(Vec<Option<&'de RawValue>>);

pub struct JsonReader {
    wanted: Wanted,
    /// For each role the slot of the key itself, and the one of `outer.inner`, the same if there is no dot.
    roles: Vec<(Role, usize, usize)>,
    slots: usize,
}

impl JsonReader {
    /// None where one key is wanted both as a value and for what is within it.
    #[must_use]
    pub fn new(keys: &[(String, Role)]) -> Option<JsonReader> {
        let mut reader = JsonReader { wanted: Wanted::default(), roles: Vec::new(), slots: 0 };
        for (key, role) in keys {
            let whole = reader.add(&[key])?;
            let parts: Vec<&str> = key.split('.').collect();
            let within = if parts.len() > 1 { reader.add(&parts)? } else { whole };
            reader.roles.push((*role, whole, within));
        }
        Some(reader)
    }

    fn add(&mut self, path: &[impl AsRef<str>]) -> Option<usize> {
        let slot = self.wanted.add(path, self.slots)?;
        self.slots = self.slots.max(slot + 1);
        Some(slot)
    }

    /// The values of a line; None for what is not plainly an object with plain values.
    #[must_use]
    pub fn read<'l>(&self, line: &'l [u8]) -> Option<Row<'l>> {
        if line.first() != Some(&b'{') {
            return None;
        }
        let mut found = Found(vec![None; self.slots]);
        let mut source = serde_json::Deserializer::from_slice(line);
        Object { wanted: &self.wanted, found: &mut found }.deserialize(&mut source).ok()?;
        source.end().ok()?;
        let mut row = Row::default();
        for (role, whole, within) in &self.roles {
            let mut value = text(found.0[*whole])?;
            if value.is_none() && within != whole {
                value = text(found.0[*within])?;
            }
            row.set(*role, clean(*role, value.unwrap_or_default()));
        }
        let status = row.get(Role::Status);
        (status.len() == 3 && status.iter().all(u8::is_ascii_digit)).then_some(row)
    }
}

impl Wanted {
    fn add(&mut self, path: &[impl AsRef<str>], slot: usize) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        let at = self.0.iter().position(|(key, _)| key == first.as_ref());
        match (at.map(|at| &mut self.0[at].1), rest) {
            (Some(Kept::Value(known)), []) => Some(*known),
            (Some(Kept::Within(inner)), [_, ..]) => inner.add(rest, slot),
            (Some(_), _) => None,
            (None, []) => {
                self.0.push((first.as_ref().to_owned(), Kept::Value(slot)));
                Some(slot)
            }
            (None, _) => {
                let mut inner = Wanted::default();
                let made = inner.add(rest, slot);
                self.0.push((first.as_ref().to_owned(), Kept::Within(inner)));
                made
            }
        }
    }
}

/// What Python makes of a value, if that is plain.
type Text<'l> = Option<&'l [u8]>;

/// A string without escapes, a number as it is written, nothing for null; None for all else.
fn text(value: Option<&RawValue>) -> Option<Text<'_>> {
    let Some(value) = value else { return Some(None) };
    let raw = value.get().as_bytes();
    match raw[0] {
        b'"' if memchr::memchr(b'\\', raw).is_none() => Some(Some(&raw[1..raw.len() - 1])),
        b'n' => Some(None),
        b'-' | b'0'..=b'9' => Some(Some(raw)),
        _ => None,
    }
}

/// What a role is read for: a request without its protocol and query, an upstream as present or not.
fn clean(role: Role, value: &[u8]) -> &[u8] {
    match role {
        Role::Request => without_query(request(value)),
        Role::Target => without_query(value),
        Role::Upstream if value.is_empty() || value == b"-" => b"-",
        Role::Upstream => b"",
        _ => value,
    }
}

fn without_query(target: &[u8]) -> &[u8] {
    &target[..memchr::memchr2(b'?', b'#', target).unwrap_or(target.len())]
}

/// `GET /a?b=c` of `GET /a?b=c HTTP/1.1`; empty where it is not a request line.
fn request(line: &[u8]) -> &[u8] {
    let Some(space) = memchr::memchr(b' ', line) else { return b"" };
    let rest = &line[space + 1..];
    let target = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    let protocol = rest.get(target + 1..).unwrap_or_default();
    if target == 0 || !line[..space].is_ascii() || !(protocol.is_empty() || protocol.starts_with(b"HTTP/")) {
        return b"";
    }
    &line[..space + 1 + target]
}

struct Object<'w, 'f, 'de> {
    wanted: &'w Wanted,
    found: &'f mut Found<'de>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut seen = 0u64;
        while let Some(at) = items.next_key_seed(Key(self.wanted))? {
            let Some(at) = at else {
                items.next_value::<IgnoredAny>()?;
                continue;
            };
            if at >= 64 || seen & (1 << at) != 0 {
                return Err(A::Error::custom("twice"));
            }
            seen |= 1 << at;
            match &self.wanted.0[at].1 {
                Kept::Value(slot) => self.found.0[*slot] = Some(items.next_value()?),
                Kept::Within(inner) => items.next_value_seed(Object { wanted: inner, found: self.found })?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

/// Which of the wanted keys a key is.
struct Key<'w>(&'w Wanted);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<Option<usize>, D::Error> {
        source.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0 .0.iter().position(|(known, _)| known == key))
    }
}

/// What is under a key of a line that is an object, as a string; None for anything else.
#[must_use]
pub fn string_under(key: &str, line: &[u8]) -> Option<String> {
    if line.first() != Some(&b'{') {
        return None;
    }
    let mut wanted = Wanted::default();
    wanted.add(&[key], 0);
    let mut found = Found(vec![None]);
    let mut source = serde_json::Deserializer::from_slice(line);
    Object { wanted: &wanted, found: &mut found }.deserialize(&mut source).ok()?;
    source.end().ok()?;
    serde_json::from_str(found.0[0]?.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> JsonReader {
        let keys = [("request", Role::Request), ("status", Role::Status), ("http.took", Role::Duration)];
        JsonReader::new(&keys.map(|(key, role)| (key.to_owned(), role))).unwrap()
    }

    #[test]
    fn values_of_a_line() {
        let line = br#"{"request": "GET /a?b HTTP/1.1", "x": [{"status": 1}], "status": 200, "http": {"took": 0.5}}"#;
        let row = reader().read(line).unwrap();
        assert_eq!(row.get(Role::Request), b"GET /a");
        assert_eq!(row.get(Role::Status), b"200");
        assert_eq!(row.get(Role::Duration), b"0.5");
    }

    #[test]
    fn what_is_left_to_python() {
        for line in [
            r#"{"status": 200, "status": 201}"#,
            r#"{"status": true}"#,
            r#"{"status": "20\u0030"}"#,
            r#"{"status": 200} x"#,
            r#"[{"status": 200}]"#,
            r#"{"status": 2000}"#,
            r#"{"status": 200, "http": {"took": 1}, "http": {"took": 2}}"#,
            r#"{"status": 200, "other": "\q"}"#,
        ] {
            assert!(reader().read(line.as_bytes()).is_none(), "{line}");
        }
    }

    #[test]
    fn request_lines() {
        assert_eq!(request(b"GET /a HTTP/1.1"), b"GET /a");
        assert_eq!(request(b"GET /a"), b"GET /a");
        assert_eq!(request(b"GET /a b"), b"");
        assert_eq!(request(b"GET  HTTP/1.1"), b"");
        assert_eq!(request(b"-"), b"");
    }

    #[test]
    fn what_docker_carries() {
        assert_eq!(string_under("log", br#"{"log":"a \"b\"\n"}"#).unwrap(), "a \"b\"\n");
        assert!(string_under("log", br#"{"log":7}"#).is_none());
    }
}
