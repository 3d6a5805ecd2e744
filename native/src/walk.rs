//! One map of URLs as `routing/matcher.py` has finished it, walked in the same steps.
//!
//! Paths are UTF-8. Where a part is not ASCII, patterns that count characters, or have `\d`, are not tried.

use crate::row::Unsure;
use crate::text::compiled;
use memchr::memchr_iter;
use pcre2::bytes::{CaptureLocations, Regex};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Methods as bits, by their place in the Router's list.
pub type Methods = u64;

pub struct Rule {
    /// None for any method.
    pub methods: Option<Methods>,
    pub strict: bool,
    pub merge: bool,
    pub websocket: bool,
    /// The length of path up to which a hit needs no look at its values.
    pub plain_upto: i64,
    /// None for one that redirects.
    pub route: Option<u32>,
}

/// A pattern of a part; None for one that only Python is to judge.
pub struct Pattern {
    pub regex: Option<Regex>,
    /// Whether it is the same in both engines for ASCII only.
    pub ascii_only: bool,
}

pub struct Transition {
    pub pattern: usize,
    pub takes_rest: bool,
    /// The group that holds a last slash; 0 for none.
    pub slash: usize,
    pub child: usize,
}

#[derive(Default)]
pub struct State {
    pub by_text: FxHashMap<Vec<u8>, usize>,
    pub by_pattern: Vec<Transition>,
    pub rules: Vec<usize>,
}

pub struct UrlMap {
    pub states: Vec<State>,
    pub rules: Vec<Rule>,
    pub patterns: Vec<Pattern>,
    pub merges: bool,
    pub merges_all: bool,
    pub refuses_merged: bool,
}

/// What a request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Matched(u32),
    Unmatched,
    MethodNotAllowed,
    Redirect,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Rule(usize),
    /// Werkzeug's `SlashRequired`.
    Slash,
}

/// What a walk saw first: it decides between "no rule" and "not this method".
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    WrongMethod,
    Hit,
}

/// The part after a last slash.
const EMPTY: Range<usize> = 0..0;

type Step = Result<Option<Leaf>, Unsure>;

/// Buffers that a thread uses again for each walk.
#[derive(Default)]
pub struct Room {
    text: Vec<u8>,
    parts: Vec<Range<usize>>,
    captures: Vec<Option<CaptureLocations>>,
}

struct Walk<'m> {
    map: &'m UrlMap,
    method: Methods,
    websocket: bool,
    seen: Option<Mark>,
}

/// A pattern that must fit from the start of a part; `\Z` is the very end in Python, which is PCRE's `\z`.
///
/// # Errors
/// As `compiled`.
pub fn part_pattern(pattern: &str) -> Result<Regex, pcre2::Error> {
    compiled(&format!(r"\A(?:{})", pattern.replace(r"\Z", r"\z")))
}

impl UrlMap {
    #[must_use]
    pub fn room(&self) -> Room {
        let captures = self.patterns.iter().map(|each| each.regex.as_ref().map(Regex::capture_locations));
        Room { captures: captures.collect(), ..Room::default() }
    }

    /// As `UrlMap.decide`, for a path and a method as a bit, 0 for one that no rule has.
    ///
    /// # Errors
    /// `Unsure` where a pattern of the app's own, or the value of a variable, has a say.
    pub fn decide(
        &self,
        domain: &[u8],
        path: &[u8],
        method: Methods,
        websocket: bool,
        room: &mut Room,
    ) -> Result<Outcome, Unsure> {
        let mut walk = Walk { map: self, method, websocket, seen: None };
        // However many slashes a path begins with, it is walked with one; an empty one stays empty.
        let rooted = !path.is_empty();
        let path = &path[path.iter().take_while(|byte| **byte == b'/').count()..];
        room.fill(domain, rooted, path.iter().copied());
        let characters = path.iter().filter(|byte| **byte & 0xC0 != 0x80).count() + usize::from(rooted);
        let length = i64::try_from(characters).map_err(|_| Unsure)?;
        let mut found = walk.start(room)?;
        if let Some(Leaf::Rule(rule)) = found {
            let rule = &self.rules[rule];
            return match rule.route {
                _ if length > rule.plain_upto => Err(Unsure),
                Some(route) => Ok(Outcome::Matched(route)),
                None => Ok(Outcome::Redirect),
            };
        }
        if found.is_none() && self.merges && memchr::memmem::find(path, b"//").is_some() {
            room.fill(domain, rooted, merged(path, self.merges_all));
            found = walk.start(room)?;
            if let Some(Leaf::Rule(rule)) = found {
                if self.refuses_merged && !self.rules[rule].merge {
                    found = None;
                }
            }
        }
        Ok(match (found, walk.seen) {
            (Some(_), _) => Outcome::Redirect,
            (None, Some(Mark::WrongMethod)) => Outcome::MethodNotAllowed,
            (None, _) => Outcome::Unmatched,
        })
    }
}

/// A path with runs of slashes as one, or, as older releases do it, with each pair as one.
fn merged(path: &[u8], all: bool) -> impl Iterator<Item = u8> + '_ {
    let mut after_slash = false;
    path.iter().copied().filter(move |byte| {
        let skipped = *byte == b'/' && after_slash;
        after_slash = *byte == b'/' && (all || !skipped);
        !skipped
    })
}

impl Room {
    /// The domain, then what is between the slashes of a path; if `rooted`, its first slash is added.
    fn fill(&mut self, domain: &[u8], rooted: bool, path: impl Iterator<Item = u8>) {
        self.text.clear();
        self.text.extend_from_slice(domain);
        if rooted {
            self.text.push(b'/');
        }
        self.text.extend(path);
        self.parts.clear();
        self.parts.push(0..domain.len());
        let mut start = domain.len();
        for slash in memchr_iter(b'/', &self.text[domain.len()..]) {
            self.parts.push(start..domain.len() + slash);
            start = domain.len() + slash + 1;
        }
        self.parts.push(start..self.text.len());
    }
}

impl Walk<'_> {
    fn start(&mut self, room: &mut Room) -> Step {
        let Room { text, parts, captures } = room;
        self.walk(0, text, parts, 0, captures)
    }

    /// Match the parts from `at` on; what fits marks what has been seen on its way back.
    fn walk(
        &mut self,
        state: usize,
        text: &[u8],
        parts: &[Range<usize>],
        at: usize,
        captures: &mut [Option<CaptureLocations>],
    ) -> Step {
        let map = self.map;
        let state = &map.states[state];
        let Some(range) = parts.get(at) else { return Ok(self.leaf(state)) };
        let part = &text[range.clone()];
        if let Some(child) = state.by_text.get(part) {
            if let Some(found) = self.walk(*child, text, parts, at + 1, captures)? {
                return Ok(Some(found));
            }
        }
        for each in &state.by_pattern {
            let value = if each.takes_rest { &text[range.start..parts[parts.len() - 1].end] } else { part };
            let pattern = &map.patterns[each.pattern];
            let (Some(regex), Some(room)) = (&pattern.regex, &mut captures[each.pattern]) else {
                return Err(Unsure);
            };
            if (at == 0 && each.takes_rest) || (pattern.ascii_only && !value.is_ascii()) {
                return Err(Unsure);
            }
            if regex.captures_read(room, value).map_err(|_| Unsure)?.is_none() {
                continue;
            }
            let slash =
                each.slash > 0 && room.get(each.slash).is_some_and(|(start, end)| &value[start..end] == b"/");
            let found = if !each.takes_rest && at + 1 < parts.len() {
                self.walk(each.child, text, parts, at + 1, captures)?
            } else if slash {
                self.walk(each.child, text, std::slice::from_ref(&EMPTY), 0, captures)?
            } else {
                self.leaf(&map.states[each.child])
            };
            if found.is_some() {
                self.seen.get_or_insert(Mark::Hit);
                return Ok(found);
            }
        }
        if part.is_empty() && at + 1 == parts.len() {
            return Ok(self.first(state.rules.iter().filter(|rule| !map.rules[**rule].strict)));
        }
        Ok(None)
    }

    /// The rule that ends here, or does with a slash more.
    fn leaf(&mut self, state: &State) -> Option<Leaf> {
        if let Some(found) = self.first(state.rules.iter()) {
            return Some(found);
        }
        let after = state.by_text.get(&b""[..])?;
        for number in &self.map.states[*after].rules {
            let rule = &self.map.rules[*number];
            if rule.websocket == self.websocket && rule.methods.map_or(true, |known| known & self.method != 0)
            {
                return Some(if rule.strict { Leaf::Slash } else { Leaf::Rule(*number) });
            }
        }
        None
    }

    fn first<'r>(&mut self, rules: impl Iterator<Item = &'r usize>) -> Option<Leaf> {
        for number in rules {
            let rule = &self.map.rules[*number];
            match rule.methods {
                Some(0) => {}
                Some(known) if known & self.method == 0 => {
                    self.seen.get_or_insert(Mark::WrongMethod);
                }
                _ if rule.websocket == self.websocket => return Some(Leaf::Rule(*number)),
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_merge_as_each_release_does_it() {
        let made = |path: &[u8], all| String::from_utf8(merged(path, all).collect()).unwrap();
        assert_eq!(made(b"/a//b", true), "/a/b");
        assert_eq!(made(b"/a////b", true), "/a/b");
        assert_eq!(made(b"/a///b", false), "/a//b");
        assert_eq!(made(b"/a////b", false), "/a//b");
    }

    #[test]
    fn parts_of_a_path() {
        let mut room = Room::default();
        room.fill(b"www", true, b"a//b".iter().copied());
        let parts: Vec<&[u8]> = room.parts.iter().map(|part| &room.text[part.clone()]).collect();
        assert_eq!(parts, [&b"www"[..], b"", b"a", b"", b"b"]);
    }
}
