//! Packet numbers: 62 bits, of which packets carry the lowest 1 to 4 bytes (RFC 9000 section 17.1).

use crate::varint::MAX_VARINT;
use crate::writer::Writer;

/// The longest packet number on the wire, in bytes.
pub const MAX_LEN: usize = 4;

/// Bytes that `pn` needs so that the peer can restore it (RFC 9000 section A.2).
///
/// `largest_acked` is the largest packet number the peer has acknowledged in this space. More than
/// 2^31 packets in flight cannot be told apart: callers stop far earlier.
#[inline]
#[must_use]
pub const fn len_for(pn: u64, largest_acked: Option<u64>) -> usize {
    let unacked = match largest_acked {
        Some(largest) => pn.saturating_sub(largest),
        None => pn.saturating_add(1),
    };
    // The encoding must hold at least twice the range of packets not acknowledged.
    if unacked <= 1 << 7 {
        1
    } else if unacked <= 1 << 15 {
        2
    } else if unacked <= 1 << 23 {
        3
    } else {
        4
    }
}

/// Writes the lowest `len` (1 to 4) bytes of `pn`.
#[inline]
pub fn write(w: &mut Writer<'_>, pn: u64, len: usize) {
    debug_assert!((1..=MAX_LEN).contains(&len), "packet numbers have 1 to 4 bytes");
    let bytes = (pn as u32).to_be_bytes();
    // Copies of a length known to the compiler: this is on the way of every packet.
    match len {
        1 => w.bytes(&bytes[3..]),
        2 => w.bytes(&bytes[2..]),
        3 => w.bytes(&bytes[1..]),
        _ => w.bytes(&bytes),
    }
}

/// Restores a packet number from the `len` (1 to 4) bytes that came with the packet, once header
/// protection is off (RFC 9000 section A.3).
///
/// `expected` is the largest packet number processed in this space plus one, 0 at the start.
#[inline]
#[must_use]
pub const fn decode(truncated: u64, len: usize, expected: u64) -> u64 {
    let expected = if expected > MAX_VARINT { MAX_VARINT } else { expected };
    let window = 1_u64 << (8 * if len > MAX_LEN { MAX_LEN } else { len });
    let half = window / 2;
    let candidate = expected & !(window - 1) | truncated & (window - 1);
    if candidate + half <= expected && candidate < (1 << 62) - window {
        candidate + window
    } else if candidate > expected + half && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 9000 section A.2.
    /// RFC 9000 section 17.1.
    #[test]
    fn sample_lengths() {
        assert_eq!(len_for(0xac_5c02, Some(0xab_e8b3)), 2);
        assert_eq!(len_for(0xac_e8fe, Some(0xab_e8b3)), 3);
        assert_eq!(len_for(0, None), 1);
        assert_eq!(len_for(127, None), 1);
        assert_eq!(len_for(128, None), 2);
        assert_eq!(len_for(u64::MAX, None), 4);
    }

    /// RFC 9000 section A.3.
    #[test]
    fn sample_decoding() {
        assert_eq!(decode(0x9b32, 2, 0xa82f_30ea + 1), 0xa82f_9b32);
    }

    /// RFC 9001 section A.5.
    #[test]
    fn sample_writing() {
        let mut buf = [0; 4];
        let mut w = Writer::new(&mut buf);
        write(&mut w, 654_360_564, 3);
        assert_eq!(w.written(), [0x00, 0xbf, 0xf4]);
        assert_eq!(decode(0x00_bff4, 3, 654_360_000), 654_360_564);
    }

    #[test]
    fn near_the_ends_of_the_number_space() {
        assert_eq!(decode(0xff, 1, 0), 0xff);
        assert_eq!(decode(0xff, 1, 0x100), 0xff);
        assert_eq!(decode(0xff, 1, MAX_VARINT), MAX_VARINT);
        assert_eq!(decode(0, 1, MAX_VARINT), MAX_VARINT - 0xff);
    }

    /// RFC 9000 section A.3: of two numbers that are equally far from the expected one, the larger.
    #[test]
    fn half_a_window_away() {
        for len in 1..=MAX_LEN {
            let window = 1 << (8 * len);
            let expected = 5 * window + window / 4;
            let tie = expected + window / 2;
            assert_eq!(decode(tie, len, expected), tie);
            assert_eq!(decode(tie + 1, len, expected), tie + 1 - window);
            assert_eq!(decode(tie - 1, len, expected), tie - 1);
            // The same below it.
            let (expected, tie) = (expected + window / 2, tie - window / 2);
            assert_eq!(decode(tie, len, expected), tie + window);
            assert_eq!(decode(tie + 1, len, expected), tie + 1);
            assert_eq!(decode(tie - 1, len, expected), tie - 1 + window);
        }
    }

    proptest! {
        /// Whatever the receiver has got beyond the largest acknowledged packet, it restores a
        /// later packet number, and one that was reordered by less than half the window.
        #[test]
        fn round_trip(
            acked in 0..=MAX_VARINT - (1 << 32),
            ahead in 1..1_u64 << 31,
            shift in 0..31_u32,
            seen: prop::sample::Index,
        ) {
            let ahead = (ahead >> shift).max(1);
            let pn = acked + ahead;
            let len = len_for(pn, Some(acked));
            let mut buf = [0; 4];
            let mut w = Writer::new(&mut buf);
            write(&mut w, pn, len);
            prop_assert_eq!(w.position(), len);
            let truncated = w.written().iter().fold(0, |acc, &byte| acc << 8 | u64::from(byte));
            let received = acked + seen.index(2 * ahead as usize) as u64;
            prop_assert_eq!(decode(truncated, len, received + 1), pn);
        }

        #[test]
        fn any_input_gives_a_packet_number(truncated: u64, len in 0..9_usize, expected: u64) {
            prop_assert!(decode(truncated, len, expected) <= MAX_VARINT);
        }
    }
}
