//! Blocks of bytes as a log: every line is counted once or handed back once.
#![no_main]

use _native::durations::Unit;
use _native::envelope::Envelope;
use _native::labels::{Fixed, Mount, Router};
use _native::request::Prefix;
use _native::row::{Role, Row};
use _native::scan::{Plan, Reader, Scan};
use _native::source::blocks_of_bytes;
use _native::text::{compiled, TextReader};
use _native::walk::{UrlMap, State};
use libfuzzer_sys::fuzz_target;
use std::convert::Infallible;
use std::sync::LazyLock;

/// What `formats/text_reader.py` makes of nginx's combined format with `$request_time`.
const NGINX: &str = concat!(
    r#"[^ "\r\n ]*+ - (?>[^\n]*?(?= \[)) \[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] ""#,
    r#"(?:([A-Za-z0-9!#$%&'*+.^_`|~-]++ [^ ?#"\n]++)(?:[?#](?:[^ "\n]++)?+)?+(?: HTTP/\d[\d.]*+)?+(?=" \d{3} )"#,
    r#"|[^"\n]*+)" (\d{3}) [-\d.]*+ "[^"\n]*+" "[^"\n]*+" ([^ "\r\n]*+)"#,
);

static BARE: LazyLock<Plan> = LazyLock::new(|| plan(Vec::new()));
static CARRIED: LazyLock<Plan> = LazyLock::new(|| {
    plan(vec![
        Envelope::Json { key: "log".into(), end: "\n".into() },
        Envelope::Prefix { pattern: compiled(r"\A(?:[a-z]+ \| )").unwrap(), unless: Some(0x1b) },
    ])
});

fn plan(envelopes: Vec<Envelope>) -> Plan {
    Plan {
    reader: Reader::Text(
        TextReader::new(NGINX, vec![Role::Time, Role::Request, Role::Status, Role::Duration], b"0123456789.-").unwrap(),
    ),
    envelopes,
    duration: Unit::Decimals(3),
    cpu: Unit::Absent,
    has_time: true,
    window_s: Some((1e9, 2e9)),
    bucket_s: 10,
    borders: None,
    router: Router {
        mounts: vec![Mount {
            prefix: Vec::new(),
            domain: Some(Vec::new()),
            map: Some(UrlMap {
                states: vec![State::default()],
                rules: Vec::new(),
                patterns: Vec::new(),
                merges: true,
                merges_all: true,
                refuses_merged: true,
            }),
        }],
        prefix: Prefix { at: b"/app".to_vec(), at_itself: true },
        methods: vec![b"GET".to_vec(), b"POST".to_vec()],
        fixed: Fixed { unmatched: 0, method_not_allowed: 1, redirect: 2, not_the_app: 3 },
        uses_websocket: true,
    },
    }
}

fuzz_target!(|data: &[u8]| {
    for plan in [&*BARE, &*CARRIED] {
        let mut scan = Scan::new(plan);
        let mut ask = |_: &Row, _| Ok::<u32, Infallible>(0);
        blocks_of_bytes(data, |block| scan.block(plan, block, &mut ask)).unwrap();
        let lines = data.iter().filter(|byte| **byte == b'\n').count()
            + usize::from(data.last().is_some_and(|byte| *byte != b'\n'));
        let left = scan.counted.residue.iter().chain(&scan.counted.misfits);
        let residue = left.filter(|byte| **byte == b'\n').count();
        assert_eq!(usize::try_from(scan.counted.lines).unwrap() + residue, lines);
    }
});
