//! Paths through a map with every kind of state.
#![no_main]

use _native::walk::{part_pattern, Pattern, Rule, State, Transition, UrlMap};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

fn state(by_text: &[(&str, usize)], by_pattern: Vec<Transition>, rules: &[usize]) -> State {
    State {
        by_text: by_text.iter().map(|(text, child)| (text.as_bytes().to_vec(), *child)).collect(),
        by_pattern,
        rules: rules.to_vec(),
    }
}

fn by(pattern: usize, takes_rest: bool, slash: usize, child: usize) -> Transition {
    Transition { pattern, takes_rest, slash, child }
}

static MAP: LazyLock<UrlMap> = LazyLock::new(|| UrlMap {
    states: vec![
        state(&[("", 1)], Vec::new(), &[]),
        state(&[("", 2)], Vec::new(), &[]),
        state(&[("a", 3), ("", 4)], vec![by(0, false, 0, 5), by(1, true, 2, 6)], &[]),
        state(&[("", 4)], vec![by(0, false, 0, 5)], &[0]),
        state(&[], Vec::new(), &[1]),
        state(&[("", 4)], Vec::new(), &[2]),
        state(&[("", 4)], Vec::new(), &[3]),
    ],
    rules: (0..4)
        .map(|number| Rule {
            methods: if number == 3 { None } else { Some(1 << number) },
            strict: number % 2 == 0,
            merge: number != 2,
            websocket: number == 2,
            plain_upto: if number == 0 { 9 } else { i64::MAX },
            route: (number != 1).then_some(number),
        })
        .collect(),
    patterns: [r"(\d+)\Z", r"([^/].*?)(?<!/)(/?)\Z"].map(|text| Pattern { regex: Some(part_pattern(text).unwrap()), ascii_only: text.contains("d") }).into(),
    merges: true,
    merges_all: true,
    refuses_merged: true,
});

fuzz_target!(|data: &[u8]| {
    let Some((first, path)) = data.split_first() else { return };
    if std::str::from_utf8(path).is_ok() {
        let mut room = MAP.room();
        let _ = MAP.decide(b"", path, u64::from(first & 7), first & 8 != 0, &mut room);
    }
});
