//! A running hash over what happened: two runs with the same hash took the same course.

/// FNV-1a with 64 bits, fed with 64-bit words. It finds differences between runs; it does not
/// resist anyone who looks for collisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// The hash of nothing.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds words.
    pub fn update(&mut self, words: &[u64]) {
        for byte in words.iter().flat_map(|word| word.to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The hash so far.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_content_matter() {
        let hash = |words: &[u64]| {
            let mut digest = Digest::new();
            digest.update(words);
            digest.value()
        };
        assert_eq!(hash(&[1, 2]), hash(&[1, 2]));
        assert_ne!(hash(&[1, 2]), hash(&[2, 1]));
        // The FNV-1a test vector for the single byte 'a', followed by the seven zero bytes of its word.
        let mut expected = 0xaf63_dc4c_8601_ec8c_u64;
        for _ in 0..7 {
            expected = expected.wrapping_mul(0x0000_0100_0000_01b3);
        }
        assert_eq!(hash(&[u64::from(b'a')]), expected);
    }
}
