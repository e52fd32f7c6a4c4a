//! QUIC versions.

use std::fmt;

/// A version as it stands in long headers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(pub u32);

impl Version {
    /// Marks a Version Negotiation packet (RFC 8999 section 6); not a version to speak.
    pub const NEGOTIATION: Self = Self(0);
    /// RFC 9000.
    pub const V1: Self = Self(1);
    /// RFC 9369.
    pub const V2: Self = Self(0x6b33_43cf);
    /// The versions this crate speaks, the preferred one first.
    pub const SUPPORTED: [Self; 2] = [Self::V1, Self::V2];

    /// Whether packets of this version can be decoded here.
    #[inline]
    #[must_use]
    pub const fn is_supported(self) -> bool {
        matches!(self, Self::V1 | Self::V2)
    }

    /// Whether it is of the form 0x?a?a?a?a, which exercises version negotiation and is never
    /// spoken (RFC 9000 section 15).
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        self.0 & 0x0f0f_0f0f == 0x0a0a_0a0a
    }

    /// The reserved version that takes its free bits from `random`.
    #[must_use]
    pub const fn reserved(random: u32) -> Self {
        Self(random & 0xf0f0_f0f0 | 0x0a0a_0a0a)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V1 => f.write_str("v1"),
            Self::V2 => f.write_str("v2"),
            Self(other) => write!(f, "{other:#010x}"),
        }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_versions() {
        assert!(Version(0x1a2a_3a4a).is_reserved());
        assert!(!Version::V1.is_reserved() && !Version::V2.is_reserved());
        for random in [0, u32::MAX, 0x1234_5678] {
            let version = Version::reserved(random);
            assert!(version.is_reserved() && !version.is_supported());
        }
    }

    #[test]
    fn supported_versions() {
        assert!(Version::SUPPORTED.iter().all(|version| version.is_supported()));
        assert!(!Version::NEGOTIATION.is_supported());
        assert_eq!(Version::V2.to_string(), "v2");
        assert_eq!(Version(0xff00_001d).to_string(), "0xff00001d");
    }
}
