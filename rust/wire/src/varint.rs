//! Variable-length integers (RFC 9000 section 16): 1, 2, 4 or 8 bytes, the length in the top bits.

/// The largest value a variable-length integer holds.
pub const MAX_VARINT: u64 = (1 << 62) - 1;

/// Bytes of the shortest encoding of `value`, which is at most [`MAX_VARINT`].
#[inline]
#[must_use]
pub const fn size(value: u64) -> usize {
    if value < 1 << 6 {
        1
    } else if value < 1 << 14 {
        2
    } else if value < 1 << 30 {
        4
    } else {
        8
    }
}

/// The longest payload that fits in `space` bytes together with its own length field.
///
/// `None` when not even the length field of an empty payload fits.
#[must_use]
pub const fn payload_that_fits(space: usize) -> Option<usize> {
    if space == 0 {
        return None;
    }
    let mut width = 1;
    while width < 8 {
        let payload = space.saturating_sub(width);
        if size(payload as u64) <= width {
            return Some(payload);
        }
        // One byte less of payload may shrink the length field: 64 bytes take 1 + 63, not 2 + 62.
        let largest = (1_usize << (8 * width - 2)) - 1;
        if space < largest + 2 * width {
            return Some(largest);
        }
        width *= 2;
    }
    Some(space.saturating_sub(8))
}

/// Appends the shortest encoding of `value` to `out`.
///
/// # Panics
/// If `value` exceeds [`MAX_VARINT`]: values come from us, not from a peer.
pub fn append(out: &mut Vec<u8>, value: u64) {
    let mut buf = [0; 8];
    let mut w = crate::Writer::new(&mut buf);
    w.varint(value);
    out.extend_from_slice(w.written());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;
    use crate::{Reader, Writer};
    use proptest::prelude::*;

    /// RFC 9000 section A.1.
    #[test]
    fn sample_encodings() {
        for (bytes, value) in [
            ("c2197c5eff14e88c", 151_288_809_941_952_652),
            ("9d7f3e7d", 494_878_333),
            ("7bbd", 15_293),
            ("25", 37),
        ] {
            let bytes = hex(bytes);
            assert_eq!(Reader::new(&bytes).varint(), Ok(value));
            assert_eq!(size(value), bytes.len());
            let mut out = Vec::new();
            append(&mut out, value);
            assert_eq!(out, bytes);
            let mut long = bytes.clone();
            long.extend_from_slice(&[0xff; 8]);
            assert_eq!(Reader::new(&long).varint(), Ok(value), "with bytes after it");
        }
        assert_eq!(Reader::new(&hex("4025")).varint(), Ok(37), "not the shortest form");
    }

    /// RFC 9000 section 16, table 4.
    #[test]
    fn ranges_of_each_width() {
        for (first, last, width) in
            [(0, 63, 1), (64, 16_383, 2), (16_384, (1 << 30) - 1, 4), (1 << 30, MAX_VARINT, 8)]
        {
            for value in [first, last] {
                let mut out = Vec::new();
                append(&mut out, value);
                assert_eq!((size(value), out.len()), (width, width), "{value}");
                assert_eq!(Reader::new(&out).varint(), Ok(value));
            }
        }
    }

    #[test]
    fn payload_with_its_length_field() {
        assert_eq!(payload_that_fits(0), None);
        for space in 1..40_000 {
            let payload = payload_that_fits(space).unwrap();
            assert!(payload + size(payload as u64) <= space, "{space}");
            let more = payload + 1;
            assert!(more + size(more as u64) > space, "{space} has room for more");
        }
        let largest = (1_usize << 30) - 1;
        for (space, payload) in [(3, -1), (4, 0), (7, 0), (8, 0), (9, 1), (21, 13)] {
            let payload = largest.checked_add_signed(payload).unwrap();
            assert_eq!(payload_that_fits(largest + space), Some(payload));
        }
    }

    proptest! {
        #[test]
        fn round_trip(value in 0..=MAX_VARINT, shift in 0..62_u32, after in 0..9_usize) {
            let value = value >> shift;
            let mut buf = [0xff; 24];
            let mut w = Writer::new(&mut buf);
            w.varint(value);
            let end = w.position();
            prop_assert_eq!(end, size(value));
            let mut r = Reader::new(&buf[..end + after]);
            prop_assert_eq!(r.varint(), Ok(value));
            prop_assert_eq!(r.position(), end);
            for width in [1, 2, 4, 8].into_iter().filter(|&width| width >= size(value)) {
                let mut w = Writer::new(&mut buf);
                w.varint_of(value, width);
                prop_assert_eq!(w.position(), width);
                prop_assert_eq!(Reader::new(&buf).varint(), Ok(value));
            }
        }

        #[test]
        fn truncated_is_an_error(value in 0..=MAX_VARINT, shift in 0..62_u32) {
            let mut out = Vec::new();
            append(&mut out, value >> shift);
            out.pop();
            prop_assert!(Reader::new(&out).varint().is_err());
        }
    }
}
