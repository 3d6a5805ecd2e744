//! Durations, moments and paths.
#![no_main]

use _native::durations::Unit;
use _native::request::{path, Prefix};
use _native::times::moment;
use libfuzzer_sys::fuzz_target;

const UNITS: [Unit; 8] = [
    Unit::Whole(1),
    Unit::Whole(1_000_000),
    Unit::Decimals(3),
    Unit::Decimals(6),
    Unit::Number(6),
    Unit::Number(-3),
    Unit::Upstreams,
    Unit::Took,
];

fuzz_target!(|text: &[u8]| {
    for unit in UNITS {
        if let Ok(Some(value)) = unit.microseconds(text) {
            assert!(value < 1_000_000_000_000_000);
        }
    }
    if let Ok(Some(seconds)) = moment(text) {
        assert!(seconds.is_finite());
    }
    let prefix = Prefix { at: b"/a".to_vec(), at_itself: false };
    if let Ok(Some(path)) = path(text, &prefix) {
        assert!(std::str::from_utf8(&path).is_ok());
    }
});
