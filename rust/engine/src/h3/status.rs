//! The status of a response, out of its field section (RFC 9204 section 4.5).
//!
//! It is the first field line, for pseudo-header fields precede all others (RFC 9114 section 4.3)
//! and a response has only this one (section 4.3.2). What follows is not looked at.

use super::{Violation, code};

/// Static table (RFC 9204 appendix A): the entries of `:status`.
const STATIC: [(u64, u16); 14] = [
    (24, 103),
    (25, 200),
    (26, 304),
    (27, 404),
    (28, 503),
    (63, 100),
    (64, 204),
    (65, 206),
    (66, 302),
    (67, 400),
    (68, 403),
    (69, 421),
    (70, 425),
    (71, 500),
];
const NAME: &[u8] = b":status";

const DYNAMIC: Violation = Violation::new(
    code::QPACK_DECOMPRESSION_FAILED,
    "a field section uses a dynamic table, which has no capacity",
);
const CUT: Violation =
    Violation::new(code::QPACK_DECOMPRESSION_FAILED, "a field section ends within a field line");
const NOT_FIRST: Violation =
    Violation::new(code::MESSAGE_ERROR, "a response does not begin with :status");
const NO_STATUS: Violation = Violation::new(code::MESSAGE_ERROR, "a :status is no number");

/// The status. `section` are the first bytes of the field section, or all.
pub fn decode(section: &[u8]) -> Result<u16, Violation> {
    let mut bytes = Bytes(section);
    // Required Insert Count and Base (section 4.5.1); without a dynamic table the first is 0.
    if bytes.integer(8)? != 0 {
        return Err(DYNAMIC);
    }
    bytes.integer(7)?;
    let first = bytes.peek()?;
    if first & 0xc0 == 0xc0 {
        let index = bytes.integer(6)?;
        let entry = STATIC.iter().find(|(at, _)| *at == index);
        return entry.map(|(_, status)| *status).ok_or(NOT_FIRST);
    }
    if first & 0xd0 == 0x50 {
        let index = bytes.integer(4)?;
        if !STATIC.iter().any(|(at, _)| *at == index) {
            return Err(NOT_FIRST);
        }
    } else if first & 0xe0 == 0x20 {
        let (name, size) = bytes.string(3)?;
        if name.get(..size) != Some(NAME) {
            return Err(NOT_FIRST);
        }
    } else {
        return Err(DYNAMIC);
    }
    let (value, size) = bytes.string(7)?;
    match value.get(..size).unwrap_or_default() {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            let digit = |d: &u8| u16::from(d - b'0');
            Ok(digit(a) * 100 + digit(b) * 10 + digit(c))
        }
        _ => Err(NO_STATUS),
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn peek(&self) -> Result<u8, Violation> {
        self.0.first().copied().ok_or(CUT)
    }

    fn next(&mut self) -> Result<u8, Violation> {
        let (first, rest) = self.0.split_first().ok_or(CUT)?;
        self.0 = rest;
        Ok(*first)
    }

    /// An integer with a prefix of `bits` (RFC 9204 section 4.1.1). Those of more than three bytes
    /// are of no use here.
    fn integer(&mut self, bits: u32) -> Result<u64, Violation> {
        let most = u64::from(u8::MAX >> (8 - bits));
        let mut value = u64::from(self.next()?) & most;
        if value < most {
            return Ok(value);
        }
        for shift in [0, 7] {
            let byte = self.next()?;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CUT)
    }

    /// A string with a prefix of `bits`, the flag of Huffman coding before them (section 4.1.2):
    /// its first bytes, and how many of them there are; longer ones are none that is looked for.
    fn string(&mut self, bits: u32) -> Result<([u8; 8], usize), Violation> {
        let huffman = self.peek()? & (1 << bits) != 0;
        let size = usize::try_from(self.integer(bits)?).unwrap_or(usize::MAX);
        let (string, rest) = self.0.split_at_checked(size).ok_or(CUT)?;
        self.0 = rest;
        if huffman {
            return Ok(huffman_text(string));
        }
        let mut out = [0; 8];
        out.iter_mut().zip(string).for_each(|(to, from)| *to = *from);
        Ok((out, size))
    }
}

/// Codes of the characters that can be of use here, from RFC 7541 appendix B: code, its bits, the
/// character.
const CODES: [(u8, u32, u8); 15] = [
    (0x00, 5, b'0'),
    (0x01, 5, b'1'),
    (0x02, 5, b'2'),
    (0x03, 5, b'a'),
    (0x08, 5, b's'),
    (0x09, 5, b't'),
    (0x19, 6, b'3'),
    (0x1a, 6, b'4'),
    (0x1b, 6, b'5'),
    (0x1c, 6, b'6'),
    (0x1d, 6, b'7'),
    (0x1e, 6, b'8'),
    (0x1f, 6, b'9'),
    (0x2d, 6, b'u'),
    (0x5c, 7, b':'),
];

/// The text of a Huffman-coded string as [`Bytes::string`] answers it; with a size that fits
/// nothing if other characters are in it.
fn huffman_text(string: &[u8]) -> ([u8; 8], usize) {
    let (mut out, mut size) = ([0; 8], 0);
    let (mut code, mut bits) = (0_u8, 0);
    for at in 0..string.len().saturating_mul(8) {
        let bit = string.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
        (code, bits) = (code << 1 | bit, bits + 1);
        if let Some((.., character)) = CODES.iter().find(|(c, b, _)| (*c, *b) == (code, bits)) {
            let Some(to) = out.get_mut(size) else { return (out, usize::MAX) };
            *to = *character;
            (code, bits, size) = (0, 0, size + 1);
        } else if bits > 7 {
            return (out, usize::MAX);
        }
    }
    // What is left is padding: ones, less than a byte of them (RFC 7541 section 5.2).
    let padding = bits == 0 || (bits < 8 && code == u8::MAX >> (8 - bits));
    (out, if padding { size } else { usize::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_in_every_form() {
        for (section, status) in [
            // Indexed.
            (&b"\0\0\xd9"[..], 200),
            (b"\0\0\xff\x00more", 100),
            (b"\0\0\xff\x08", 500),
            // Another name's static entry, value plain and Huffman-coded (RFC 7541 appendix C.4).
            (b"\0\0\x5f\x09\x03418", 418),
            (b"\0\0\x5f\x30\x82\x64\x02", 302),
            (b"\0\x7f\x01\x7f\x09\x03599rest", 599),
            // Name and value as they are, or coded.
            (b"\0\0\x27\x00:status\x03201", 201),
            (b"\0\0\x2d\xb8\x84\x8d\x36\xa3\x03201", 201),
        ] {
            assert_eq!(decode(section), Ok(status), "{section:x?}");
            for cut in 0..3.min(section.len()) {
                assert!(decode(&section[..cut]).is_err(), "{section:x?} {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_status() {
        for (section, why) in [
            (&b"\x02\0\x80"[..], DYNAMIC),
            (b"\0\0\x80", DYNAMIC),
            (b"\0\0\x10", DYNAMIC),
            (b"\0\0\x40\x03200", DYNAMIC),
            (b"\0\0\xc1", NOT_FIRST),
            (b"\0\0\x51\x03200", NOT_FIRST),
            (b"\0\0\x25:st", CUT),
            (b"\0\0\x24date\x03200", NOT_FIRST),
            (b"\0\0\x5f\x09\x03abc", NO_STATUS),
            (b"\0\0\x5f\x09\x03000", NO_STATUS),
            (b"\0\0\x5f\x09\x042000", NO_STATUS),
            (b"\0\0\x5f\x09\x7f\xff\xff\xff", CUT),
            (b"\0\0\xff\xff\xff\xff", CUT),
        ] {
            assert_eq!(decode(section), Err(why), "{section:x?}");
        }
    }
}
