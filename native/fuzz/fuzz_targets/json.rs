//! Lines of JSON.
#![no_main]

use _native::json::{string_under, JsonReader};
use _native::row::{Role, ROLES};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static READER: LazyLock<JsonReader> = LazyLock::new(|| {
    let keys = [
        ("request", Role::Request),
        ("status", Role::Status),
        ("a.b", Role::Duration),
        ("a.c", Role::Time),
        ("up", Role::Upstream),
    ];
    JsonReader::new(&keys.map(|(key, role)| (key.to_owned(), role))).unwrap()
});

fuzz_target!(|line: &[u8]| {
    if let Some(row) = READER.read(line) {
        assert!(row.get(Role::Status).iter().all(u8::is_ascii_digit));
        for (_, role) in ROLES {
            assert!(row.get(role).len() <= line.len());
        }
    }
    let _ = string_under("log", line);
});
