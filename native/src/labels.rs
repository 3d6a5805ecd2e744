//! The label of a request: a route with the method shown, as one number; remembered in fixed memory.

use crate::request::{self, Prefix};
use crate::row::{Role, Row, Unsure};
use crate::walk::{Outcome, Room, UrlMap};
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::Hasher;

/// A map under its prefix; without one, something else answers there.
pub struct Mount {
    pub prefix: Vec<u8>,
    /// What the map is bound to; None where that depends on the request's host.
    pub domain: Option<Vec<u8>>,
    pub map: Option<UrlMap>,
}

/// The numbers of the routes that no rule has.
pub struct Fixed {
    pub unmatched: u32,
    pub method_not_allowed: u32,
    pub redirect: u32,
    pub not_the_app: u32,
}

/// The Router, as far as it is known to be the same here.
pub struct Router {
    /// In the order in which a path's mount is looked for: longer prefixes first.
    pub mounts: Vec<Mount>,
    pub prefix: Prefix,
    pub methods: Vec<Vec<u8>>,
    pub fixed: Fixed,
    pub uses_websocket: bool,
}

impl Router {
    /// How many methods a label can show: those known, `_OTHER` and `-`.
    fn shown(&self) -> usize {
        self.methods.len() + 2
    }

    fn label(&self, route: u32, shown: usize) -> Result<u32, Unsure> {
        u32::try_from(route as usize * self.shown() + shown).map_err(|_| Unsure)
    }

    /// As `Labels.label`: `route * (methods + 2) + method`.
    ///
    /// # Errors
    /// `Unsure` where Python is to tell.
    pub fn decide(&self, row: &Row, websocket: bool, rooms: &mut [Room]) -> Result<u32, Unsure> {
        let (method, target, is_path) = asked(row);
        if method.is_empty() || target.is_empty() || target == b"-" {
            return self.label(self.fixed.not_the_app, self.methods.len() + 1);
        }
        let number = self.methods.iter().position(|known| known == method);
        let shown = number.unwrap_or(self.methods.len());
        if !row.get(Role::Upstream).is_empty() || !row.get(Role::Signature).is_empty() {
            return self.label(self.fixed.not_the_app, shown);
        }
        if !method.is_ascii() {
            return Err(Unsure);
        }
        if number.is_none() && method.iter().any(u8::is_ascii_lowercase) {
            return self.label(self.fixed.unmatched, shown);
        }
        if is_path && (memchr::memchr3(b'%', b'?', b'#', target).is_some() || !self.prefix.at.is_empty()) {
            return Err(Unsure); // decoded already
        }
        let Some(path) = request::path(target, &self.prefix)? else {
            return self.label(self.fixed.not_the_app, shown);
        };
        let bit = number.map_or(0, |number| 1 << number);
        self.label(self.at_mount(&path, bit, websocket, rooms)?, shown)
    }

    fn at_mount(&self, path: &[u8], method: u64, websocket: bool, rooms: &mut [Room]) -> Result<u32, Unsure> {
        for (mount, room) in self.mounts.iter().zip(rooms) {
            let Some(rest) = path.strip_prefix(&mount.prefix[..]) else { continue };
            if !mount.prefix.is_empty() && !matches!(rest.first(), None | Some(b'/')) {
                continue;
            }
            let Some(map) = &mount.map else { break };
            let domain = mount.domain.as_ref().ok_or(Unsure)?;
            return Ok(match map.decide(domain, rest, method, websocket, room)? {
                Outcome::Matched(route) => route,
                Outcome::Unmatched => self.fixed.unmatched,
                Outcome::MethodNotAllowed => self.fixed.method_not_allowed,
                Outcome::Redirect => self.fixed.redirect,
            });
        }
        Ok(self.fixed.not_the_app)
    }

    #[must_use]
    pub fn rooms(&self) -> Vec<Room> {
        self.mounts.iter().map(|mount| mount.map.as_ref().map(UrlMap::room).unwrap_or_default()).collect()
    }
}

/// Method and target, whichever columns hold them, and whether the target is a path, decoded already.
fn asked<'a>(row: &Row<'a>) -> (&'a [u8], &'a [u8], bool) {
    let request = row.get(Role::Request);
    if !request.is_empty() {
        let space = memchr::memchr(b' ', request).unwrap_or(request.len());
        return (&request[..space], request.get(space + 1..).unwrap_or_default(), false);
    }
    let (target, path) = (row.get(Role::Target), row.get(Role::Path));
    if target.is_empty() {
        (row.get(Role::Method), path, true)
    } else {
        (row.get(Role::Method), target, false)
    }
}

const SLOTS: usize = 8_192;
const KEPT: usize = 57;

/// Labels of whole heads that only Python could tell: so many, each of at most so many bytes.
const ASKED: usize = 65_536;
const LONGEST_ASKED: usize = 512;

#[derive(Clone, Copy)]
struct Slot {
    label: u32,
    length: u8,
    key: [u8; KEPT],
}

/// Answers of one thread: a direct-mapped table of fixed size, in which a new answer replaces an old one.
pub struct Memory {
    slots: Vec<Slot>,
    asked: FxHashMap<Box<[u8]>, u32>,
    key: Vec<u8>,
}

impl Default for Memory {
    fn default() -> Memory {
        let empty = Slot { label: 0, length: u8::MAX, key: [0; KEPT] };
        Memory { slots: vec![empty; SLOTS], asked: FxHashMap::default(), key: Vec::new() }
    }
}

impl Memory {
    /// The label of a row: remembered, decided, or else asked for.
    ///
    /// # Errors
    /// What `ask` gives.
    pub fn label<E>(
        &mut self,
        row: &Row,
        websocket: bool,
        decide: impl FnOnce() -> Result<u32, Unsure>,
        ask: impl FnOnce() -> Result<u32, E>,
    ) -> Result<u32, E> {
        let mut spelled = std::mem::take(&mut self.key);
        let label = self.by_key(key_of(row, websocket, &mut spelled), decide, ask);
        self.key = spelled;
        label
    }

    fn by_key<E>(
        &mut self,
        key: &[u8],
        decide: impl FnOnce() -> Result<u32, Unsure>,
        ask: impl FnOnce() -> Result<u32, E>,
    ) -> Result<u32, E> {
        let slot = &mut self.slots[slot_of(key)];
        if usize::from(slot.length) == key.len() && slot.key[..key.len()] == *key {
            return Ok(slot.label);
        }
        let label = if let Ok(label) = decide() {
            label
        } else if let Some(label) = self.asked.get(key) {
            *label
        } else {
            let label = ask()?;
            if self.asked.len() >= ASKED {
                self.asked.clear();
            }
            if key.len() <= LONGEST_ASKED {
                self.asked.insert(key.into(), label);
            }
            label
        };
        if key.len() <= KEPT {
            slot.key[..key.len()].copy_from_slice(key);
            slot.length = u8::try_from(key.len()).unwrap_or(u8::MAX);
            slot.label = label;
        }
        Ok(label)
    }

    /// Forget what was asked for: its labels are about to lose their meaning.
    pub fn forget(&mut self) {
        *self = Memory::default();
    }
}

/// What a label depends on, in one piece: mostly the request as it stands.
fn key_of<'k>(row: &Row<'k>, websocket: bool, spelled: &'k mut Vec<u8>) -> &'k [u8] {
    const OTHERS: [Role; 6] =
        [Role::Method, Role::Target, Role::Path, Role::Host, Role::Upstream, Role::Signature];
    if !websocket && OTHERS.iter().all(|role| row.get(*role).is_empty()) {
        return row.get(Role::Request);
    }
    spelled.clear();
    spelled.extend_from_slice(row.get(Role::Request));
    for role in OTHERS {
        let value = row.get(role);
        if !value.is_empty() {
            let value = if role == Role::Target { without_query(value) } else { value };
            spelled.extend_from_slice(&[b'\n', role as u8]); // no value has a newline
            spelled.extend_from_slice(value);
        }
    }
    if websocket {
        spelled.extend_from_slice(b"\n\n");
    }
    spelled
}

/// A target up to its query, where that can make no difference.
fn without_query(target: &[u8]) -> &[u8] {
    match memchr::memchr3(b'?', b'#', b'\\', target) {
        Some(at) if target[0] == b'/' && target[at] != b'\\' => &target[..at],
        _ => target,
    }
}

fn slot_of(key: &[u8]) -> usize {
    let mut hasher = FxHasher::default();
    hasher.write(key);
    usize::try_from(hasher.finish() >> 20).unwrap_or(0) % SLOTS
}
