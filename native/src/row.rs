//! What is read of one line: a value for each role that the format has.

/// The roles, in the order in which `scan/native.py` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Request,
    Method,
    Target,
    Path,
    Host,
    Upstream,
    Signature,
    Status,
    Time,
    Duration,
    Cpu,
}

pub const ROLES: [(&str, Role); 11] = [
    ("request", Role::Request),
    ("method", Role::Method),
    ("target", Role::Target),
    ("path", Role::Path),
    ("host", Role::Host),
    ("upstream", Role::Upstream),
    ("signature", Role::Signature),
    ("status", Role::Status),
    ("time", Role::Time),
    ("duration", Role::Duration),
    ("cpu", Role::Cpu),
];

impl Role {
    #[must_use]
    pub fn named(name: &str) -> Option<Role> {
        ROLES.iter().find(|(known, _)| *known == name).map(|(_, role)| *role)
    }
}

/// The values of a line; one that the line lacks is empty, as in Python.
#[derive(Clone, Copy, Default)]
pub struct Row<'a>([&'a [u8]; ROLES.len()]);

impl<'a> Row<'a> {
    #[inline]
    #[must_use]
    pub fn get(&self, role: Role) -> &'a [u8] {
        self.0[role as usize]
    }

    #[inline]
    pub fn set(&mut self, role: Role, value: &'a [u8]) {
        self.0[role as usize] = value;
    }
}

/// The compiled scanner is not sure what the Python scanner would make of this.
#[derive(Debug, PartialEq, Eq)]
pub struct Unsure;

/// The value of one to `longest` ASCII digits.
pub(crate) fn digits(text: &[u8], longest: usize) -> Result<u64, Unsure> {
    if text.is_empty() || text.len() > longest {
        return Err(Unsure);
    }
    text.iter().try_fold(0u64, |value, byte| match byte {
        b'0'..=b'9' => Ok(value * 10 + u64::from(byte - b'0')),
        _ => Err(Unsure),
    })
}
