//! Durations of one series: exact while few are distinct, then a histogram; as `model/distribution.py`.

/// More distinct values than these go into a histogram.
pub const DISTINCT: usize = 4_096;

const SUBDIVISIONS: usize = 128;
/// Values are compared to borders at this power of two; they are below it.
const TOP_BIT: u32 = 50;

/// The borders of an octave: `floor(2^(50 + j/128))`, from Python, so that both agree bit for bit.
pub struct Borders {
    borders: Vec<u64>,
    /// For the leading seven bits after the first, how many borders are below the least value that has them.
    least: Vec<u16>,
}

impl Borders {
    /// None for what are not an octave's borders.
    #[must_use]
    pub fn new(borders: Vec<u64>) -> Option<Borders> {
        let ascending = borders.windows(2).all(|pair| pair[0] < pair[1]);
        if borders.len() != SUBDIVISIONS || borders[0] != 1 << TOP_BIT || !ascending {
            return None;
        }
        let least = (0..SUBDIVISIONS as u64).map(|bits| {
            let value = (SUBDIVISIONS as u64 + bits) << (TOP_BIT - 7);
            u16::try_from(borders.partition_point(|border| *border < value)).unwrap_or(0)
        });
        Some(Borders { least: least.collect(), borders })
    }

    /// The place of a value's bucket: zero's, that of 1 microsecond, and so on; its index plus two.
    #[inline]
    fn place(&self, value: u64) -> usize {
        if value == 0 {
            return 0;
        }
        let octave = value.ilog2();
        let scaled = value << (TOP_BIT - octave);
        let leading = usize::try_from(scaled >> (TOP_BIT - 7)).unwrap_or(0) % SUBDIVISIONS;
        let mut below = usize::from(self.least[leading]);
        while below < SUBDIVISIONS && self.borders[below] < scaled {
            below += 1;
        }
        octave as usize * SUBDIVISIONS + below + 1
    }
}

/// Counts by value, in one table.
#[derive(Default)]
pub struct Counts {
    slots: Vec<(u64, u64)>,
    used: usize,
}

impl Counts {
    #[inline]
    fn add(&mut self, value: u64, count: u64) {
        if self.used * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = hash(value) & mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.1 == 0 {
                *slot = (value, count);
                self.used += 1;
                return;
            }
            if slot.0 == value {
                slot.1 += count;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(8);
        let old = std::mem::replace(&mut self.slots, vec![(0, 0); size]);
        self.used = 0;
        for (value, count) in old {
            if count > 0 {
                self.add(value, count);
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.slots.iter().copied().filter(|(_, count)| *count > 0)
    }
}

#[inline]
fn hash(value: u64) -> usize {
    usize::try_from(value.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33).unwrap_or(0)
}

/// Counts by bucket; count, sum, minimum and maximum are exact.
#[derive(Default)]
pub struct Histogram {
    pub buckets: Vec<u64>,
    pub count: u64,
    pub total_us: u128,
    pub min_us: u64,
    pub max_us: u64,
}

impl Histogram {
    #[inline]
    fn add(&mut self, value: u64, count: u64, borders: &Borders) {
        let at = borders.place(value);
        if at >= self.buckets.len() {
            self.buckets.resize(at + 1, 0);
        }
        self.buckets[at] += count;
        self.note(count, u128::from(value) * u128::from(count), value, value);
    }

    fn note(&mut self, count: u64, total_us: u128, min_us: u64, max_us: u64) {
        self.min_us = if self.count == 0 { min_us } else { self.min_us.min(min_us) };
        self.max_us = self.max_us.max(max_us);
        self.count += count;
        self.total_us += total_us;
    }

    fn absorb(&mut self, other: &Histogram) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.note(other.count, other.total_us, other.min_us, other.max_us);
    }
}

pub enum Values {
    Exact(Counts),
    Bounded(Histogram),
}

impl Default for Values {
    fn default() -> Values {
        Values::Exact(Counts::default())
    }
}

impl Values {
    /// Count a value; without `borders`, values stay exact however many there are.
    #[inline]
    pub fn add(&mut self, value: u64, count: u64, borders: Option<&Borders>) {
        match (self, borders) {
            (Values::Bounded(histogram), Some(borders)) => histogram.add(value, count, borders),
            (Values::Bounded(_), None) => {}
            (Values::Exact(counts), None) => counts.add(value, count),
            (this @ Values::Exact(_), Some(borders)) => this.add_exactly(value, count, borders),
        }
    }

    #[inline]
    fn add_exactly(&mut self, value: u64, count: u64, borders: &Borders) {
        let Values::Exact(counts) = self else { return };
        counts.add(value, count);
        if counts.used > DISTINCT {
            let mut histogram = Histogram::default();
            for (value, count) in counts.iter() {
                histogram.add(value, count, borders);
            }
            *self = Values::Bounded(histogram);
        }
    }

    pub fn absorb(&mut self, other: Values, borders: Option<&Borders>) {
        match other {
            Values::Exact(counts) => counts.iter().for_each(|(value, count)| self.add(value, count, borders)),
            Values::Bounded(theirs) => {
                if let Values::Bounded(mine) = self {
                    mine.absorb(&theirs);
                } else {
                    let mine = std::mem::replace(self, Values::Bounded(theirs));
                    self.absorb(mine, borders);
                }
            }
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Values::Exact(counts) if counts.used == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Borders that are near enough for a test; the true ones come from Python.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn borders() -> Borders {
        let border = |j: usize| 2f64.powf(f64::from(TOP_BIT) + j as f64 / 128.0).floor() as u64;
        Borders::new((0..SUBDIVISIONS).map(border).collect()).unwrap()
    }

    #[test]
    fn powers_of_two_end_their_buckets() {
        let borders = borders();
        assert_eq!(borders.place(1), 1);
        assert_eq!(borders.place(2), 129);
        assert_eq!(borders.place(3), 129 + 75);
        assert_eq!(borders.place(1 << 40), 40 * 128 + 1);
        assert_eq!(borders.place((1 << 40) + 1), 40 * 128 + 2);
    }

    #[test]
    fn places_are_those_of_a_search() {
        let borders = borders();
        for value in (1..100_000u64).chain((0..1_000).map(|n| n * n * n * 977 + 1)) {
            let octave = value.ilog2();
            let scaled = value << (TOP_BIT - octave);
            let found = borders.borders.partition_point(|border| *border < scaled);
            assert_eq!(borders.place(value), octave as usize * SUBDIVISIONS + found + 1);
        }
    }

    #[test]
    fn merging_in_any_order_gives_the_same() {
        let borders = borders();
        let made = |range: std::ops::Range<u64>| {
            let mut values = Values::default();
            range.for_each(|value| values.add(value * 3, 2, Some(&borders)));
            values
        };
        let mut one = made(0..5_000);
        one.absorb(made(4_000..7_000), Some(&borders));
        let mut other = made(4_000..7_000);
        other.absorb(made(0..5_000), Some(&borders));
        let (Values::Bounded(one), Values::Bounded(other)) = (one, other) else { panic!("not bounded") };
        assert_eq!((one.count, one.min_us, one.max_us), (16_000, 0, 20_997));
        assert_eq!((one.total_us, &one.buckets), (other.total_us, &other.buckets));
    }
}
