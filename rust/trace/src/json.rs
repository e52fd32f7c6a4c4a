//! JSON, written as it is thought of: no tree, no allocation but the text.
//!
//! Most of a log is names that are known when this is compiled. So everything that puts a name down is
//! inlined: then its bytes are stored, instead of copied by a function that is told their number.

use std::fmt::Write;

/// An object that is being written.
pub struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    /// Writes an object with the fields that `fields` adds.
    #[inline(always)]
    pub fn write(out: &'a mut String, fields: impl FnOnce(&mut Object<'_>)) {
        out.push('{');
        let mut object = Object { out, first: true };
        fields(&mut object);
        object.out.push('}');
    }

    /// The place for a field's value.
    #[inline(always)]
    pub fn value(&mut self, name: &str) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
        self.out
    }

    /// An integer.
    #[inline(always)]
    pub fn uint(&mut self, name: &str, value: u64) {
        digits(self.value(name), value);
    }

    /// A number; it must be finite.
    pub fn float(&mut self, name: &str, value: f64) {
        // Writing into a string does not fail; so everywhere here.
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
        out.push('"');
        out.push_str(value);
        out.push('"');
    }

    /// A truth value.
    #[inline(always)]
    pub fn flag(&mut self, name: &str, value: bool) {
        self.value(name).push_str(if value { "true" } else { "false" });
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
        mut item: impl FnMut(&mut String, T),
    ) {
        let out = self.value(name);
        out.push('[');
        for (i, each) in items.into_iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            item(out, each);
        }
        out.push(']');
    }
}

/// 00 to 99.
const PAIRS: &str = "\
    0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839\
    4041424344454647484950515253545556575859\
    6061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

/// Two digits of a number below 100.
#[inline(always)]
fn pair(value: u64) -> &'static str {
    let at = value as usize * 2;
    PAIRS.get(at..at + 2).unwrap_or_default()
}

/// A number in decimal digits: what most of a log is made of, without the machinery of formatting.
pub fn digits(out: &mut String, value: u64) {
    match value {
        0..10 => out.push(char::from(b'0' + value as u8)),
        10..100 => out.push_str(pair(value)),
        _ => {
            digits(out, value / 100);
            out.push_str(pair(value % 100));
        }
    }
}

fn millis(out: &mut String, nanos: u64) {
    let fraction = nanos % 1_000_000;
    digits(out, nanos / 1_000_000);
    out.push('.');
    out.push_str(pair(fraction / 10_000));
    out.push_str(pair(fraction / 100 % 100));
    out.push_str(pair(fraction % 100));
}

/// A string in quotes.
pub fn text(out: &mut String, value: &str) {
    out.push('"');
    // Names and numbers need no escapes.
    if value.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push_str(value);
        return out.push('"');
    }
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Bytes as lower-case hexadecimal digits in quotes.
pub fn hex(out: &mut String, bytes: &[u8]) {
    out.push('"');
    let nibble = |value: u8| char::from(b"0123456789abcdef"[usize::from(value & 15)]);
    for byte in bytes {
        out.push(nibble(byte >> 4));
        out.push(nibble(*byte));
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for number in [0, 7, 10, 99, 100, 101, 999, 1000, 12_345, 1_000_000, u64::MAX - 1, u64::MAX] {
            let mut out = String::new();
            digits(&mut out, number);
            assert_eq!(out, number.to_string());
        }
        for (nanos, text) in [(0, "0.000000"), (1_020_304, "1.020304"), (999_999, "0.999999")] {
            let mut out = String::new();
            millis(&mut out, nanos);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let nasty = "a\"b\\c\n\u{1}é";
        let mut out = String::new();
        Object::write(&mut out, |o| {
            o.text("text", nasty);
            o.uint("uint", u64::MAX);
            o.millis("millis", 1_000_001);
            o.float("float", 0.5);
            o.object("object", |o| o.flag("flag", true));
            o.list("list", [1_u8, 255], |out, n| hex(out, &[n]));
            o.hex("none", &[]);
        });
        let read: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(read["text"], nasty);
        assert_eq!(read["uint"], u64::MAX);
        assert_eq!(read["millis"], 1.000001);
        assert_eq!(read["object"]["flag"], true);
        assert_eq!(read["list"], serde_json::json!(["01", "ff"]));
        assert_eq!(read["none"], "");
    }
}
