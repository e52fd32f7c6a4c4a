//! A byte sequence that shows bytes in the wrong place, and costs next to nothing to make and check.

use std::sync::LazyLock;

use bytes::Bytes;

/// Bytes after which the pattern repeats: a prime, so that no packet or page size divides it and a
/// piece that is shifted by any of them is noticed.
const PERIOD: usize = 65_537;

/// One period of random-looking bytes.
static BLOCK: LazyLock<&'static [u8]> = LazyLock::new(|| {
    let mut state = 0x7157_1c00_0000_0001_u64;
    let block: Vec<u8> = std::iter::repeat_with(|| split_mix(&mut state))
        .flat_map(u64::to_le_bytes)
        .take(PERIOD)
        .collect();
    // One block for the life of the process: slices of it are handed out without counting.
    Box::leak(block.into_boxed_slice())
});

/// The splitmix64 generator (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn phase(offset: u64) -> usize {
    // Below the period.
    (offset % PERIOD as u64) as usize
}

/// The pattern at `offset`, at most `max` bytes and at most to the end of a period: not empty unless
/// `max` is 0. No bytes are copied.
pub fn slice(offset: u64, max: u64) -> Bytes {
    let rest = &BLOCK[phase(offset)..];
    let len = usize::try_from(max).unwrap_or(usize::MAX).min(rest.len());
    Bytes::from_static(&rest[..len])
}

/// Compares bytes with the pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checker {
    /// Bytes that were different.
    pub mismatches: u64,
}

impl Checker {
    /// Checks what lies at `offset`.
    pub fn check(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = &BLOCK[phase(offset)..];
            let len = bytes.len().min(expected.len());
            let (now, rest) = bytes.split_at(len);
            if *now != expected[..len] {
                let differ = now.iter().zip(expected).filter(|(a, b)| a != b).count();
                self.mismatches += differ as u64;
            }
            offset += len as u64;
            bytes = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(offset: u64, len: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while (out.len() as u64) < len {
            let at = out.len() as u64;
            out.extend_from_slice(&slice(offset + at, len - at));
        }
        out
    }

    #[test]
    fn what_is_made_passes_the_check_anywhere() {
        for offset in [0, 1, 65_536, 65_537, 65_538, 1 << 40, u64::MAX - 300_000] {
            let bytes = make(offset, 200_000);
            let mut checker = Checker::default();
            for (at, piece) in (0..).step_by(1443).zip(bytes.chunks(1443)) {
                checker.check(offset + at, piece);
            }
            assert_eq!(checker.mismatches, 0);
        }
        assert!(slice(5, 0).is_empty());
    }

    #[test]
    fn damage_and_shifts_are_noticed() {
        let mut bytes = make(0, 100_000);
        bytes[70_000] ^= 1;
        let mut checker = Checker::default();
        checker.check(0, &bytes);
        assert_eq!(checker.mismatches, 1);
        for shift in [1, 1200, 1443, 1472, 4096, 65_536, 1 << 20] {
            let mut checker = Checker::default();
            checker.check(shift, &make(0, 2000));
            assert!(checker.mismatches > 1900, "{shift}");
        }
    }
}
