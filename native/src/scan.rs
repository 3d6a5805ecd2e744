//! The lines of a log, one by one: counted where all of it is certain, else put aside for Python.

use crate::durations::Unit;
use crate::envelope::{unwrapped, Envelope};
use crate::histogram::Borders;
use crate::json::JsonReader;
use crate::labels::{Memory, Router};
use crate::row::{Role, Row, Unsure};
use crate::tally::{Key, Tally, NO_BUCKET};
use crate::text::TextReader;
use crate::times::moment;
use crate::walk::Room;
use pcre2::bytes::CaptureLocations;

/// A longer line is Python's to reject; it gets so much of it and one byte more.
pub const LINE_LIMIT: usize = 65_536;

pub enum Reader {
    Text(TextReader),
    Json(JsonReader),
}

/// All that decides how a line is counted; the same for all threads.
pub struct Plan {
    pub reader: Reader,
    pub envelopes: Vec<Envelope>,
    pub duration: Unit,
    pub cpu: Unit,
    pub has_time: bool,
    pub window_s: Option<(f64, f64)>,
    /// Seconds of a bucket of time; 0 for none.
    pub bucket_s: i64,
    /// Where a histogram's buckets end; None keeps every value.
    pub borders: Option<Borders>,
    pub router: Router,
}

/// What was counted by line, and the lines that were not counted.
#[derive(Default)]
pub struct Counted {
    pub lines: u64,
    pub outside: u64,
    pub first_s: Option<f64>,
    pub last_s: Option<f64>,
    /// Lines that are left to Python, and their numbers in what was scanned, from 0.
    pub residue: Vec<u8>,
    pub numbers: Vec<u32>,
    /// Of lines that do not fit the format's pattern: they may be of another format.
    pub misfits: Vec<u8>,
    pub misfit_numbers: Vec<u32>,
    seen: u32,
}

/// Why a line is not counted.
enum Doubt {
    /// Something in it is Python's to decide.
    Unsure,
    /// It does not fit the pattern.
    Misfit,
}

impl From<Unsure> for Doubt {
    fn from(_: Unsure) -> Doubt {
        Doubt::Unsure
    }
}

/// What a line says, if all of it is certain.
struct Sight {
    status: u16,
    wall_us: Option<u64>,
    cpu_us: Option<u64>,
}

/// One thread's memory, buffers and counters.
pub struct Scan {
    pub tally: Tally,
    pub counted: Counted,
    pub memory: Memory,
    rooms: Vec<Room>,
    captures: Option<CaptureLocations>,
    carried: Vec<Option<CaptureLocations>>,
    held: Vec<u8>,
    time: Vec<u8>,
    moment: Option<f64>,
    bucket_s: i64,
}

impl Scan {
    #[must_use]
    pub fn new(plan: &Plan) -> Scan {
        Scan {
            tally: Tally::default(),
            counted: Counted::default(),
            memory: Memory::default(),
            rooms: plan.router.rooms(),
            captures: match &plan.reader {
                Reader::Text(reader) => Some(reader.room()),
                Reader::Json(_) => None,
            },
            carried: plan.envelopes.iter().map(Envelope::room).collect(),
            held: Vec::new(),
            time: b"-".to_vec(),
            moment: None,
            bucket_s: NO_BUCKET,
        }
    }

    /// Count the lines of a block, which ends with a newline.
    ///
    /// # Errors
    /// What `ask` gives, which labels a row that only Python can.
    pub fn block<E>(
        &mut self,
        plan: &Plan,
        block: &[u8],
        ask: &mut impl FnMut(&Row, bool) -> Result<u32, E>,
    ) -> Result<(), E> {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', block) {
            self.line(plan, &block[start..=end], ask)?;
            start = end + 1;
        }
        Ok(())
    }

    /// Count one line, which ends with a newline.
    ///
    /// # Errors
    /// As `block`.
    pub fn line<E>(
        &mut self,
        plan: &Plan,
        line: &[u8],
        ask: &mut impl FnMut(&Row, bool) -> Result<u32, E>,
    ) -> Result<(), E> {
        let number = self.counted.seen;
        self.counted.seen = number.wrapping_add(1);
        if line.len() > LINE_LIMIT + 1 {
            self.counted.numbers.push(number);
            self.counted.residue.extend_from_slice(&line[..=LINE_LIMIT]);
            self.counted.residue.push(b'\n');
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.held);
        let doubt = match self.row(plan, line, &mut held) {
            Ok(row) => match self.sight(plan, &row) {
                Ok(sight) => {
                    self.count(plan, &row, &sight, ask)?;
                    None
                }
                Err(Unsure) => Some(Doubt::Unsure),
            },
            Err(doubt) => Some(doubt),
        };
        self.held = held;
        match doubt {
            None => {}
            Some(Doubt::Unsure) => {
                self.counted.numbers.push(number);
                self.counted.residue.extend_from_slice(line);
            }
            Some(Doubt::Misfit) => {
                self.counted.misfit_numbers.push(number);
                self.counted.misfits.extend_from_slice(line);
            }
        }
        Ok(())
    }

    fn row<'l>(&mut self, plan: &Plan, line: &'l [u8], held: &'l mut Vec<u8>) -> Result<Row<'l>, Doubt> {
        let line = match &plan.envelopes[..] {
            [] => line,
            envelopes => unwrapped(line, envelopes, &mut self.carried, held)?,
        };
        match (&plan.reader, &mut self.captures) {
            (Reader::Text(reader), Some(captures)) => reader.read(line, captures).ok_or(Doubt::Misfit),
            (Reader::Text(_), None) => Err(Doubt::Unsure),
            (Reader::Json(reader), _) => reader.read(line).ok_or(Doubt::Unsure),
        }
    }

    fn sight(&mut self, plan: &Plan, row: &Row) -> Result<Sight, Unsure> {
        if plan.has_time && row.get(Role::Time) != self.time {
            self.moment = moment(row.get(Role::Time))?;
            self.bucket_s = bucket_s(self.moment, plan.bucket_s);
            self.time.clear();
            self.time.extend_from_slice(row.get(Role::Time));
        }
        let status = crate::row::digits(row.get(Role::Status), 3)?;
        Ok(Sight {
            status: u16::try_from(status).map_err(|_| Unsure)?,
            wall_us: plan.duration.microseconds(row.get(Role::Duration))?,
            cpu_us: plan.cpu.microseconds(row.get(Role::Cpu))?,
        })
    }

    fn count<E>(
        &mut self,
        plan: &Plan,
        row: &Row,
        sight: &Sight,
        ask: &mut impl FnMut(&Row, bool) -> Result<u32, E>,
    ) -> Result<(), E> {
        self.counted.lines += 1;
        let mut bucket_s = NO_BUCKET;
        if plan.has_time {
            if let Some(moment) = self.moment {
                if plan.window_s.is_some_and(|(since, until)| !(since <= moment && moment < until)) {
                    self.counted.outside += 1;
                    return Ok(());
                }
                self.counted.note(moment);
            }
            bucket_s = self.bucket_s;
        }
        let websocket = plan.router.uses_websocket && sight.status == 101;
        let (memory, rooms) = (&mut self.memory, &mut self.rooms);
        let decide = || plan.router.decide(row, websocket, rooms);
        let label = memory.label(row, websocket, decide, || ask(row, websocket))?;
        let bucket_s = if plan.bucket_s > 0 { bucket_s } else { NO_BUCKET };
        let key = Key { label, status: sight.status, bucket_s };
        self.tally.add(key, sight.wall_us, sight.cpu_us, plan.borders.as_ref());
        Ok(())
    }
}

impl Counted {
    #[inline]
    fn note(&mut self, moment: f64) {
        if !self.first_s.is_some_and(|first| first <= moment) {
            self.first_s = Some(moment);
        }
        if !self.last_s.is_some_and(|last| last >= moment) {
            self.last_s = Some(moment);
        }
    }
}

/// The start of a moment's bucket; what has no time that can be read is in none, as in Python.
#[allow(clippy::cast_possible_truncation)] // moments are seconds of years up to 9999, or below 1e11
fn bucket_s(moment: Option<f64>, size_s: i64) -> i64 {
    match moment {
        Some(moment) if size_s > 0 => (moment.floor() as i64).div_euclid(size_s) * size_s,
        _ => NO_BUCKET,
    }
}
