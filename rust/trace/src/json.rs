//! JSON, written as it is thought of: no tree, no allocation but the text.

use std::fmt::Write;

/// An object that is being written.
pub struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    /// Writes an object with the fields that `fields` adds.
    pub fn write(out: &'a mut String, fields: impl FnOnce(&mut Object<'_>)) {
        out.push('{');
        let mut object = Object { out, first: true };
        fields(&mut object);
        object.out.push('}');
    }

    /// The place for a field's value.
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
    pub fn uint(&mut self, name: &str, value: u64) {
        digits(self.value(name), value);
    }

    /// A number; it must be finite.
    pub fn float(&mut self, name: &str, value: f64) {
        // Writing into a string does not fail; so everywhere here.
        let _ = write!(self.value(name), "{value}");
    }

    /// Milliseconds, exact to the nanosecond.
    pub fn millis(&mut self, name: &str, nanos: u64) {
        let out = self.value(name);
        digits(out, nanos / 1_000_000);
        // A one before the six digits, where the point goes.
        let point = out.len();
        digits(out, 1_000_000 + nanos % 1_000_000);
        out.replace_range(point..=point, ".");
    }

    /// A truth value.
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

/// A number in decimal digits: what most of a log is made of, without the machinery of formatting.
pub fn digits(out: &mut String, mut value: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend(digits[first..].iter().map(|digit| char::from(*digit)));
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
    out.extend(bytes.iter().flat_map(|byte| [nibble(byte >> 4), nibble(*byte)]));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

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
