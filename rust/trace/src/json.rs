//! JSON, written as it is thought of: no tree, no allocation but the text.
//!
//! Most of a log is names that are known when this is compiled. So everything that puts a name down is
//! inlined: then its bytes are stored, instead of copied by a function that is told their number.

use std::io::Write;

/// The longest name that is put down in one piece.
const PIECE: usize = 60;

/// An object that is being written, in UTF-8.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    /// Writes an object with the fields that `fields` adds.
    #[inline(always)]
    pub fn write(out: &'a mut Vec<u8>, fields: impl FnOnce(&mut Object<'_>)) {
        out.push(b'{');
        let mut object = Object { out, first: true };
        fields(&mut object);
        object.out.push(b'}');
    }

    /// The place for a field's value.
    #[inline(always)]
    pub fn value(&mut self, name: &str) -> &mut Vec<u8> {
        // With what stands around it in one piece: there is room to be looked for once.
        let (mut piece, name) = ([0; PIECE + 4], name.as_bytes());
        let comma = usize::from(!std::mem::take(&mut self.first));
        let size = name.len();
        if size > PIECE {
            self.out.extend_from_slice(&b",\""[1 - comma..]);
            self.out.extend_from_slice(name);
            self.out.extend_from_slice(b"\":");
            return self.out;
        }
        piece[0] = b',';
        piece[1] = b'"';
        piece[2..2 + size].copy_from_slice(name);
        piece[2 + size] = b'"';
        piece[3 + size] = b':';
        self.out.extend_from_slice(&piece[1 - comma..4 + size]);
        self.out
    }

    /// An integer.
    #[inline(always)]
    pub fn uint(&mut self, name: &str, value: u64) {
        digits(self.value(name), value);
    }

    /// A number; it must be finite.
    pub fn float(&mut self, name: &str, value: f64) {
        // Writing into memory does not fail; so everywhere here.
        let _ = write!(self.value(name), "{value}");
    }

    /// Milliseconds, exact to the nanosecond.
    #[inline(always)]
    pub fn millis(&mut self, name: &str, nanos: u64) {
        millis(self.value(name), nanos);
    }

    /// A string that needs no escapes, as those do not that we choose ourselves.
    #[inline(always)]
    pub fn word(&mut self, name: &str, value: &'static str) {
        let out = self.value(name);
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }

    /// A truth value.
    #[inline(always)]
    pub fn flag(&mut self, name: &str, value: bool) {
        self.value(name).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A string.
    pub fn text(&mut self, name: &str, value: &str) {
        text(self.value(name), value);
    }

    /// Bytes as hexadecimal digits.
    pub fn hex(&mut self, name: &str, bytes: &[u8]) {
        hex(self.value(name), bytes);
    }

    /// An object with the fields that `fields` adds.
    #[inline(always)]
    pub fn object(&mut self, name: &str, fields: impl FnOnce(&mut Object<'_>)) {
        Object::write(self.value(name), fields);
    }

    /// A list; `item` writes each element.
    pub fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut item: impl FnMut(&mut Vec<u8>, T),
    ) {
        let out = self.value(name);
        out.push(b'[');
        for (i, each) in items.into_iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            item(out, each);
        }
        out.push(b']');
    }
}

/// 00 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    pairs
};

/// Two digits of a number below 100.
#[inline(always)]
fn pair(value: u64) -> &'static [u8; 2] {
    PAIRS.get(value as usize).unwrap_or(&PAIRS[0])
}

/// A number in decimal digits: what most of a log is made of, without the machinery of formatting.
pub fn digits(out: &mut Vec<u8>, value: u64) {
    match value {
        0..10 => out.push(b'0' + value as u8),
        10..100 => out.extend_from_slice(pair(value)),
        100..1_000 => {
            out.push(b'0' + (value / 100) as u8);
            out.extend_from_slice(pair(value % 100));
        }
        1_000..10_000 => {
            out.extend_from_slice(pair(value / 100));
            out.extend_from_slice(pair(value % 100));
        }
        _ => {
            digits(out, value / 10_000);
            four(out, value % 10_000);
        }
    }
}

/// Four digits of a number below 10,000.
#[inline(always)]
fn four(out: &mut Vec<u8>, value: u64) {
    let ([a, b], [c, d]) = (pair(value / 100), pair(value % 100));
    out.extend_from_slice(&[*a, *b, *c, *d]);
}

fn millis(out: &mut Vec<u8>, nanos: u64) {
    let fraction = nanos % 1_000_000;
    digits(out, nanos / 1_000_000);
    let [a, b] = pair(fraction / 10_000);
    out.extend_from_slice(&[b'.', *a, *b]);
    four(out, fraction % 10_000);
}

/// A string in quotes.
pub fn text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    // Names and numbers need no escapes.
    if value.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(value.as_bytes());
        return out.push(b'"');
    }
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            byte if byte < b' ' => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Bytes as lower-case hexadecimal digits in quotes.
pub fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let nibble = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
    for byte in bytes {
        out.extend_from_slice(&[nibble(byte >> 4), nibble(*byte)]);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for number in [0, 7, 10, 99, 100, 101, 999, 1000, 12_345, 1_000_000, u64::MAX - 1, u64::MAX]
        {
            let mut out = Vec::new();
            digits(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
        for (nanos, text) in [(0, "0.000000"), (1_020_304, "1.020304"), (999_999, "0.999999")] {
            let mut out = Vec::new();
            millis(&mut out, nanos);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let nasty = "a\"b\\c\n\u{1}é";
        let mut out = Vec::new();
        let long = "n".repeat(PIECE + 1);
        Object::write(&mut out, |o| {
            o.text("text", nasty);
            o.uint("uint", u64::MAX);
            o.millis("millis", 1_000_001);
            o.float("float", 0.5);
            o.object("object", |o| o.flag("flag", true));
            o.list("list", [1_u8, 255], |out, n| hex(out, &[n]));
            o.hex("none", &[]);
            o.uint(&long, 1);
            o.uint(&long[1..], 2);
        });
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read["text"], nasty);
        assert_eq!(read["uint"], u64::MAX);
        assert_eq!(read["millis"], 1.000001);
        assert_eq!(read["object"]["flag"], true);
        assert_eq!(read["list"], serde_json::json!(["01", "ff"]));
        assert_eq!(read["none"], "");
        assert_eq!((&read[&long], &read[&long[1..]]), (&1.into(), &2.into()));
    }
}
