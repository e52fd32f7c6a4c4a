//! Connection IDs (RFC 9000 section 5.1) and stateless reset tokens (section 10.3).

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::error::DecodeError;
use crate::reader::Reader;

/// A connection ID of 0 to 20 bytes, the lengths versions 1 and 2 permit.
///
/// The default is the empty one. Hashes and compares like its bytes, so that a map keyed by it can
/// be asked with a slice.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionId {
    len: u8,
    // Bytes past `len` are zero, which lets equality compare the whole array.
    bytes: [u8; Self::MAX_LEN],
}

impl ConnectionId {
    /// The longest connection ID of versions 1 and 2, in bytes (RFC 9000 section 17.2).
    pub const MAX_LEN: usize = 20;

    /// The empty connection ID.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; Self::MAX_LEN] };

    /// `None` when `bytes` is longer than [`Self::MAX_LEN`].
    #[inline]
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut out = Self::EMPTY;
        out.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        out.len = bytes.len() as u8;
        Some(out)
    }

    /// The bytes.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Length in bytes.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether this is the empty connection ID.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A length byte and the connection ID, as long headers and frames carry it.
    #[inline]
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = r.u8()?;
        // RFC 9000 section 17.2: the length MUST NOT exceed 20 bytes.
        if usize::from(len) > Self::MAX_LEN {
            return Err(DecodeError::InvalidValue("connection ID is longer than 20 bytes"));
        }
        Self::new(r.bytes(usize::from(len))?).ok_or(DecodeError::UnexpectedEnd)
    }
}

impl Hash for ConnectionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl Borrow<[u8]> for ConnectionId {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for ConnectionId {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ConnectionId {
    /// Hexadecimal, as qlog and packet captures show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A stateless reset token: who knows it can end the connection, so it never shows in logs and
/// compares in constant time (RFC 9000 section 10.3.1).
#[derive(Clone, Copy)]
pub struct ResetToken([u8; Self::LEN]);

impl ResetToken {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// A token of these bytes.
    #[inline]
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Whether `datagram` ends with this token, as a stateless reset does.
    #[must_use]
    pub fn ends(&self, datagram: &[u8]) -> bool {
        datagram.last_chunk().is_some_and(|tail| *self == Self(*tail))
    }
}

impl PartialEq for ResetToken {
    fn eq(&self, other: &Self) -> bool {
        // RFC 9000 section 10.3.1: the comparison MUST NOT leak the token by its duration. The
        // black box keeps the compiler from returning at the first difference.
        let difference = self.0.iter().zip(&other.0).fold(0, |acc, (a, b)| acc | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl Eq for ResetToken {}

impl Hash for ResetToken {
    /// For maps with a keyed hasher only: an unkeyed one would leak through collisions.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for ResetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    #[test]
    fn lengths() {
        assert!(ConnectionId::new(&[1; 21]).is_none());
        for len in 0..=20 {
            let bytes = vec![7; len];
            let cid = ConnectionId::new(&bytes).unwrap();
            assert_eq!((cid.as_slice(), cid.len()), (&bytes[..], len));
            assert_eq!(cid.is_empty(), len == 0);
        }
        assert_eq!(ConnectionId::default(), ConnectionId::EMPTY);
        assert_ne!(ConnectionId::new(&[0]), ConnectionId::new(&[0, 0]));
        assert_eq!(ConnectionId::read(&mut Reader::new(&[2, 8, 9])), Ok(cid(&[8, 9])));
        assert!(ConnectionId::read(&mut Reader::new(&[2, 8])).is_err());
        assert!(ConnectionId::read(&mut Reader::new(&[21; 22])).is_err());
    }

    #[test]
    fn map_lookup_by_slice() {
        let map: HashMap<_, _> = [(cid(&[1, 2]), 'a'), (cid(&[]), 'b')].into();
        assert_eq!(map.get(&[1, 2][..]), Some(&'a'));
        assert_eq!(map.get(&[][..]), Some(&'b'));
        assert_eq!(map.get(&[1, 2, 0][..]), None);
        assert_eq!(cid(&[1, 2]).as_ref(), [1, 2]);
    }

    #[test]
    fn debug_is_hex() {
        assert_eq!(format!("{:?}", cid(&[0x83, 0x04, 0xff])), "8304ff");
    }

    #[test]
    fn reset_token_hides_and_compares() {
        let token = ResetToken::new([0xab; 16]);
        assert_eq!(format!("{token:?}"), "ResetToken(..)");
        assert_eq!(token, ResetToken::new(*token.as_bytes()));
        for position in 0..16 {
            let mut bytes = [0xab; 16];
            bytes[position] ^= 0x10;
            assert_ne!(token, ResetToken::new(bytes));
        }
        assert!(token.ends(&[0xab; 16]) && token.ends(&[0xab; 40]));
        let hasher = BuildHasherDefault::<DefaultHasher>::new();
        assert_eq!(hasher.hash_one(token), hasher.hash_one(ResetToken::new([0xab; 16])));
        assert_ne!(hasher.hash_one(token), hasher.hash_one(ResetToken::new([0xaa; 16])));
        assert!(!token.ends(&[0xab; 15]) && !token.ends(&[0xaa; 40]));
    }

    fn cid(bytes: &[u8]) -> ConnectionId {
        ConnectionId::new(bytes).unwrap()
    }
}
