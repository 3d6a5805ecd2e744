//! What is counted: durations by label, status and bucket of time.

use crate::histogram::{Borders, Values};
use rustc_hash::FxHashMap;

/// What requests are counted under; `bucket_s` is `NO_BUCKET` where time does not split them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub label: u32,
    pub status: u16,
    pub bucket_s: i64,
}

pub const NO_BUCKET: i64 = i64::MIN;

/// How many observations are put off, so that their counters are fetched from memory side by side.
const PUT_OFF: usize = 512;

pub struct Series {
    pub key: Key,
    /// Requests that were logged without a duration.
    pub untimed: u64,
    pub wall: Values,
    pub cpu: Values,
}

#[derive(Default)]
pub struct Tally {
    by_key: FxHashMap<Key, usize>,
    series: Vec<Series>,
    put_off: Vec<(usize, u64)>,
    last: Option<(Key, usize)>,
}

impl Tally {
    #[inline]
    pub fn add(&mut self, key: Key, wall_us: Option<u64>, cpu_us: Option<u64>, borders: Option<&Borders>) {
        let at = match self.last {
            Some((last, at)) if last == key => at,
            _ => self.place(key),
        };
        self.last = Some((key, at));
        if let Some(cpu_us) = cpu_us {
            self.series[at].cpu.add(cpu_us, 1, borders);
        }
        match wall_us {
            None => self.series[at].untimed += 1,
            Some(wall_us) => {
                self.put_off.push((at, wall_us));
                if self.put_off.len() == PUT_OFF {
                    self.settle(borders);
                }
            }
        }
    }

    fn place(&mut self, key: Key) -> usize {
        if self.by_key.is_empty() {
            self.by_key.extend(self.series.iter().enumerate().map(|(at, series)| (series.key, at)));
        }
        *self.by_key.entry(key).or_insert_with(|| {
            let (wall, cpu) = (Values::default(), Values::default());
            self.series.push(Series { key, untimed: 0, wall, cpu });
            self.series.len() - 1
        })
    }

    fn settle(&mut self, borders: Option<&Borders>) {
        for (at, wall_us) in &self.put_off {
            self.series[*at].wall.add(*wall_us, 1, borders);
        }
        self.put_off.clear();
    }

    /// Add what another thread has counted.
    pub fn absorb(&mut self, other: &mut Tally, borders: Option<&Borders>) {
        for series in other.take(usize::MAX, borders) {
            let at = self.place(series.key);
            let mine = &mut self.series[at];
            mine.untimed += series.untimed;
            mine.wall.absorb(series.wall, borders);
            mine.cpu.absorb(series.cpu, borders);
        }
    }

    /// Hand over so many series.
    pub fn take(&mut self, most: usize, borders: Option<&Borders>) -> Vec<Series> {
        self.settle(borders);
        (self.by_key, self.last) = (FxHashMap::default(), None);
        self.series.split_off(self.series.len().saturating_sub(most))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}
