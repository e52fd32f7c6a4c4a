//! Latencies: counts in buckets that are fine in relation to their value.

/// Buckets per doubling: an error of at most 1/128. Buckets are those of an HdrHistogram with two
/// significant digits, so that its log format needs no conversion.
const SUB_BITS: u32 = 7;
const SUB: usize = 1 << SUB_BITS;
/// Values up to 2^40 ns (18 minutes); above, all count as that.
const MAX_BITS: u32 = 40;
/// Begins the bytes of a histogram; the number changes with the buckets.
const MAGIC: &[u8] = b"TQH2";
const BUCKETS: usize = SUB * (MAX_BITS - SUB_BITS + 1) as usize;

/// A log-linear histogram of durations in nanoseconds. Recording costs a few instructions.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max: u64,
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into(), total: 0, max: 0, sum: 0 }
    }
}

/// Begins the encoding of HdrHistogram: version 2, counts of variable length.
const HDR_COOKIE: u32 = 0x1c84_9313;
const HDR_DIGITS: u32 = 2;

/// Appends a number as HdrHistogram does: ZigZag LEB128, of at most 9 bytes.
fn zigzag(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    for _ in 0..8 {
        if rest < 0x80 {
            break;
        }
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    // The ninth byte has eight bits.
    out.push(rest as u8);
}

/// The bucket of a value.
fn bucket(value: u64) -> usize {
    let value = value.min((1 << MAX_BITS) - 1);
    let bits = 64 - value.leading_zeros();
    let shift = bits.saturating_sub(SUB_BITS + 1);
    (shift as usize) * SUB + (value >> shift) as usize
}

/// The largest value in a bucket.
fn upper(bucket: usize) -> u64 {
    let shift = (bucket / SUB).saturating_sub(1);
    let mantissa = bucket - shift * SUB;
    ((mantissa as u64 + 1) << shift) - 1
}

impl Histogram {
    /// Counts a value.
    pub fn record(&mut self, nanos: u64) {
        if let Some(count) = self.counts.get_mut(bucket(nanos)) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(nanos);
        self.sum = self.sum.saturating_add(nanos);
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self.total += other.total;
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// What was counted after `earlier`, which is a copy of this histogram as it was. The largest
    /// value is that of the fullest bucket's end, for the exact one may be older.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut new = Self::default();
        for (at, (now, before)) in self.counts.iter().zip(&earlier.counts).enumerate() {
            let count = now.saturating_sub(*before);
            if let (Some(slot), 1..) = (new.counts.get_mut(at), count) {
                *slot = count;
                new.total += count;
                new.max = upper(at).min(self.max);
            }
        }
        new.sum = self.sum.saturating_sub(earlier.sum);
        new
    }

    /// The smallest value, at most 1/128 too large; 0 if nothing was counted.
    pub fn min(&self) -> u64 {
        self.buckets().next().map_or(0, |(value, _)| value.min(self.max))
    }

    /// The standard deviation of the buckets' largest values; 0 if nothing was counted.
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let square = |(value, count): (u64, u64)| (value as f64 - mean).powi(2) * count as f64;
        let sum: f64 = self.buckets().map(square).sum();
        if self.total == 0 { 0.0 } else { (sum / self.total as f64).sqrt() }
    }

    /// The counts in the encoding of HdrHistogram, version 2, not compressed: two significant
    /// digits, values from 1 to 2^40 - 1.
    pub fn to_hdr(&self) -> Vec<u8> {
        let last = self.counts.iter().rposition(|count| *count > 0).map_or(0, |at| at + 1);
        let mut payload = Vec::new();
        let mut zeros = 0_u64;
        for &count in self.counts.iter().take(last) {
            if count == 0 {
                zeros += 1;
                continue;
            }
            if zeros > 0 {
                // A negative number is that many empty buckets.
                zigzag(&mut payload, -(zeros as i64));
                zeros = 0;
            }
            zigzag(&mut payload, count as i64);
        }
        let mut out = HDR_COOKIE.to_be_bytes().to_vec();
        out.extend((payload.len() as u32).to_be_bytes());
        // Normalizing index offset, significant digits.
        out.extend([0_u32.to_be_bytes(), HDR_DIGITS.to_be_bytes()].concat());
        // Lowest and highest value that can be told from others.
        out.extend([1_u64.to_be_bytes(), ((1_u64 << MAX_BITS) - 1).to_be_bytes()].concat());
        // Ratio of integers to doubles.
        out.extend(1.0_f64.to_be_bytes());
        out.extend(payload);
        out
    }

    /// Values counted.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The largest value, exact.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean, exact; 0 if nothing was counted.
    pub fn mean(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.sum as f64 / self.total as f64 }
    }

    /// The value that the fraction `quantile` (0 to 1) of all values does not exceed, at most 1/128
    /// too large; 0 if nothing was counted.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let wanted = (self.total as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper(at).min(self.max);
            }
        }
        self.max
    }

    /// All counts in a form that other processes read with [`Self::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.max.to_le_bytes());
        out.extend(self.sum.to_le_bytes());
        for (at, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            out.extend((at as u64).to_le_bytes());
            out.extend(count.to_le_bytes());
        }
        out
    }

    /// The inverse of [`Self::to_bytes`]; `None` if these are no such bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        if !rest.len().is_multiple_of(16) {
            return None;
        }
        let word = |b: &[u8]| b.first_chunk::<8>().map(|b| u64::from_le_bytes(*b));
        let mut pairs = rest.chunks_exact(16).map(|b| Some((word(b)?, word(b.get(8..)?)?)));
        let (max, sum) = pairs.next()??;
        let mut this = Self { max, sum, ..Self::default() };
        for pair in pairs {
            let (at, count) = pair?;
            *this.counts.get_mut(usize::try_from(at).ok()?)? = count;
            this.total = this.total.checked_add(count)?;
        }
        Some(this)
    }

    /// The buckets that are not empty: largest value and count, for other programs.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let full = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        full.map(|(at, count)| (upper(at), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_fine() {
        for value in (0..5000).chain((0..2000).map(|i| i * i * 269)).chain([(1 << 40) - 1]) {
            let at = bucket(value);
            assert!(value <= upper(at), "{value}");
            assert!(at == 0 || upper(at - 1) < value, "{value}");
            assert!(upper(at) - value <= value / 128, "{value} {}", upper(at));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_came_later() {
        let mut h = Histogram::default();
        (1..100).for_each(|n| h.record(n * 1000));
        let before = h.clone();
        assert!(h.since(&before).is_empty());
        [5, 7000, 7000].into_iter().for_each(|nanos| h.record(nanos));
        let new = h.since(&before);
        assert_eq!((new.len(), new.quantile(0.1), new.max()), (3, 5, upper(bucket(7000))));
        assert_eq!(new.min(), 5);
        assert!((new.mean() - 14_005.0 / 3.0).abs() < 0.1);
    }

    #[test]
    fn deviation_of_known_values() {
        let mut h = Histogram::default();
        assert!(h.deviation().abs() < f64::EPSILON);
        [100, 200].into_iter().for_each(|nanos| h.record(nanos));
        assert!((h.deviation() - 50.0).abs() < 1.0, "{}", h.deviation());
    }

    #[test]
    fn the_encoding_of_hdr_histogram() {
        let mut h = Histogram::default();
        [1, 1, 3, 300].into_iter().for_each(|nanos| h.record(nanos));
        let bytes = h.to_hdr();
        let (head, payload) = bytes.split_at(40);
        assert_eq!(head[..4], [0x1c, 0x84, 0x93, 0x13]);
        assert_eq!(head[4..8], [0, 0, 0, payload.len() as u8]);
        assert_eq!(head[15], 2);
        // 300 = 150 << 1 is bucket 128 + 150 = 278: 1 empty, 2, 1 empty, 1, 274 empty, 1.
        assert_eq!(payload, [1, 4, 1, 2, 0xa3, 0x04, 2]);
        assert_eq!(Histogram::default().to_hdr().len(), 40);
    }

    #[test]
    fn quantiles_of_known_values() {
        let mut h = Histogram::default();
        assert_eq!((h.quantile(0.5), h.is_empty()), (0, true));
        for value in (1..=1000).rev() {
            h.record(value * 1000);
        }
        let mut both = Histogram::default();
        both.merge(&h);
        both.merge(&h);
        for h in [h, both] {
            for (q, exact) in [(0.0, 1000), (0.5, 500_000), (0.99, 990_000), (0.999, 999_000)] {
                let got = h.quantile(q);
                assert!((exact..=exact + exact / 64).contains(&got), "{q}: {got}");
            }
            assert_eq!((h.quantile(1.0), h.max(), h.mean()), (1_000_000, 1_000_000, 500_500.0));
            assert_eq!(h.buckets().map(|(_, n)| n).sum::<u64>(), h.len());
            let bytes = h.to_bytes();
            let copy = Histogram::from_bytes(&bytes).unwrap();
            assert_eq!(
                (copy.to_bytes(), copy.len(), copy.mean()),
                (bytes.clone(), h.len(), h.mean())
            );
            for wrong in [&bytes[1..], &bytes[..bytes.len() - 1], &bytes[..4]] {
                assert!(Histogram::from_bytes(wrong).is_none());
            }
        }
    }
}
