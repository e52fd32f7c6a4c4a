//! What streams carry: bytes that say where they belong, made and checked without a copy.

use bytes::Bytes;
use std::sync::OnceLock;

/// A prime, so that no power of two that code likes to count in is a period of the pattern.
const PERIOD: usize = 65_521;

/// The pattern twice, so that every stretch up to one period lies in one piece.
fn bytes() -> &'static Bytes {
    static BYTES: OnceLock<Bytes> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut once = Vec::with_capacity(2 * PERIOD);
        while once.len() < PERIOD {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            once.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        }
        once.truncate(PERIOD);
        once.extend_from_within(..);
        once.into()
    })
}

/// Up to `len` bytes of the content named `key` from `offset` on; fewer than asked for if `len` is
/// longer than the pattern.
pub fn slice(key: u64, offset: u64, len: usize) -> Bytes {
    let start = (key.wrapping_mul(7919) % PERIOD as u64 + offset % PERIOD as u64) as usize % PERIOD;
    bytes().slice(start..start + len.min(PERIOD))
}

/// Whether `data` is the content named `key` from `offset` on.
pub fn matches(key: u64, mut offset: u64, data: &[u8]) -> bool {
    data.chunks(PERIOD).all(|piece| {
        let same = slice(key, offset, piece.len()) == piece;
        offset += piece.len() as u64;
        same
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_told_apart_by_key_and_offset() {
        let piece = slice(3, 1 << 40, 100);
        assert!(matches(3, 1 << 40, &piece));
        assert!(!matches(3, (1 << 40) + 1, &piece));
        assert!(!matches(4, 1 << 40, &piece));
        let long: Vec<u8> = [slice(5, 0, PERIOD), slice(5, PERIOD as u64, 10)].concat();
        assert!(matches(5, 0, &long));
        assert_eq!(slice(1, 0, usize::MAX).len(), PERIOD);
    }
}
