//! The bytes of a transfer, which show one in the wrong place: those of `tquic perf`.

use std::sync::LazyLock;

/// Bytes after which the pattern repeats: a prime, so that no packet size divides it.
pub const PERIOD: usize = 65_537;
/// A piece may cross this many periods: large writes, in a block that a second-level cache holds.
const PERIODS: usize = 4;

/// The pattern, several periods long.
static BLOCK: LazyLock<&'static [u8]> = LazyLock::new(|| {
    let mut state = 0x7157_1c00_0000_0001_u64;
    let words = std::iter::repeat_with(|| split_mix(&mut state));
    let period: Vec<u8> = words.flat_map(u64::to_le_bytes).take(PERIOD).collect();
    Box::leak(period.repeat(PERIODS).into_boxed_slice())
});

/// The generator splitmix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The pattern at `offset`: at most `max` bytes, and at least the smaller of `max` and three periods.
pub fn piece(offset: u64, max: u64) -> &'static [u8] {
    let rest = &BLOCK[(offset % PERIOD as u64) as usize..];
    &rest[..usize::try_from(max).unwrap_or(usize::MAX).min(rest.len())]
}

/// Compares what comes with the pattern.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checker {
    /// Bytes seen.
    pub offset: u64,
    /// Those that were different.
    pub mismatches: u64,
}

impl Checker {
    /// Checks the next bytes.
    pub fn check(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let phase = (self.offset % PERIOD as u64) as usize;
            // Never further than a period, to stay in the part of the block that is in a cache.
            let (now, rest) = bytes.split_at(bytes.len().min(PERIOD));
            let expected = &BLOCK[phase..phase + now.len()];
            if now != expected {
                let differ = now.iter().zip(expected).filter(|(a, b)| a != b).count();
                self.mismatches += differ as u64;
            }
            self.offset += now.len() as u64;
            bytes = rest;
        }
    }
}

/// A stream as the server reads it: the header, then the pattern.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    header: [u8; crate::HEADER],
    got: usize,
    /// What follows the header.
    pub body: Checker,
}

impl Request {
    /// Takes the next bytes of the stream.
    pub fn take(&mut self, bytes: &[u8]) {
        let (head, body) = bytes.split_at(bytes.len().min(self.header.len() - self.got));
        self.header[self.got..self.got + head.len()].copy_from_slice(head);
        self.got += head.len();
        self.body.check(body);
    }

    /// How many bytes the client wants; none if it never said.
    pub fn wanted(&self) -> u64 {
        if self.got == self.header.len() { u64::from_be_bytes(self.header) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_passes_and_damage_does_not() {
        let mut sent = Vec::new();
        while sent.len() < 500_000 {
            sent.extend_from_slice(piece(sent.len() as u64, (500_000 - sent.len()) as u64));
        }
        for size in [1443, 65_537, 400_000] {
            let mut checker = Checker::default();
            sent.chunks(size).for_each(|chunk| checker.check(chunk));
            assert_eq!((checker.offset, checker.mismatches), (500_000, 0));
        }
        sent[70_000] ^= 1;
        let mut checker = Checker::default();
        checker.check(&sent);
        assert_eq!(checker.mismatches, 1);
    }

    #[test]
    fn a_request_in_any_pieces() {
        let mut stream = 77_u64.to_be_bytes().to_vec();
        stream.extend_from_slice(piece(0, 1000));
        for size in [1, 3, 8, 9, 5000] {
            let mut request = Request::default();
            stream.chunks(size).for_each(|chunk| request.take(chunk));
            assert_eq!(
                (request.wanted(), request.body.offset, request.body.mismatches),
                (77, 1000, 0)
            );
        }
    }
}
