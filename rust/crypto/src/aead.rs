//! Packet protection (RFC 9001 section 5.3).

#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey};

#[cfg(target_arch = "x86_64")]
use crate::aes_gcm::AesGcm;
use crate::{Suite, TAG_LEN};

/// Length of the IV and nonce of every suite, in bytes.
pub(crate) const IV_LEN: usize = 12;

/// Protects the payload of packets in one direction, with the keys of one generation.
pub struct PacketKey {
    cipher: Cipher,
    iv: [u8; IV_LEN],
}

enum Cipher {
    // Boxed as the other: a connection has four, most of them idle.
    Ring(Box<LessSafeKey>),
    #[cfg(target_arch = "x86_64")]
    Own(AesGcm),
}

impl Cipher {
    fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if suite != Suite::Chacha20Poly1305
            && key.len() == suite.key_len()
            && !force_ring()
            && let Some(own) = AesGcm::new(key)
        {
            return Some(Self::Own(own));
        }
        Self::ring(suite, key)
    }

    fn ring(suite: Suite, key: &[u8]) -> Option<Self> {
        let key = UnboundKey::new(suite.aead(), key).ok()?;
        Some(Self::Ring(Box::new(LessSafeKey::new(key))))
    }
}

/// Whether the environment variable `TQUIC_CRYPTO` is `ring`: packets are then protected by ring even
/// where the CPU could do better. Looked up once.
#[cfg(target_arch = "x86_64")]
fn force_ring() -> bool {
    static FORCED: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os("TQUIC_CRYPTO").is_some_and(|name| name == "ring"));
    *FORCED
}

/// What protects packets of `suite` on this machine: `"vaes"` (this crate, 256 bits at a time) or
/// `"ring"`.
#[must_use]
pub fn backend(suite: Suite) -> &'static str {
    match Cipher::new(suite, &[0; 32][..suite.key_len()]) {
        #[cfg(target_arch = "x86_64")]
        Some(Cipher::Own(_)) => "vaes",
        _ => "ring",
    }
}

impl PacketKey {
    /// A key from its raw parts; `None` if `key` has not the length that the suite needs.
    ///
    /// Sessions derive keys from a [`TrafficSecret`](crate::TrafficSecret) instead.
    #[must_use]
    pub fn new(suite: Suite, key: &[u8], iv: [u8; 12]) -> Option<Self> {
        Some(Self { cipher: Cipher::new(suite, key)?, iv })
    }

    /// The nonce: the IV with the path ID and packet number exclusive-ored into it.
    ///
    /// draft-ietf-quic-multipath-21 section 2.4: the 96-bit path-and-packet-number is the 32-bit
    /// path ID, two zero bits and the 62-bit packet number. On path 0 that is the nonce of
    /// RFC 9001 section 5.3.
    fn nonce(&self, path_id: u32, pn: u64) -> [u8; IV_LEN] {
        let mut nonce = self.iv;
        let (path, number) = nonce.split_at_mut(4);
        for (byte, other) in path.iter_mut().zip(path_id.to_be_bytes()) {
            *byte ^= other;
        }
        for (byte, other) in number.iter_mut().zip(pn.to_be_bytes()) {
            *byte ^= other;
        }
        nonce
    }

    /// Encrypts a packet in place and writes its tag.
    ///
    /// `packet` is the header (`header_len` bytes, authenticated), the plaintext, and 16 bytes for
    /// the tag. The last `tail.len()` bytes of the plaintext are taken from `tail`: stream data
    /// goes from the application's buffer into the packet without a copy of its own.
    ///
    /// # Panics
    ///
    /// If `packet` is shorter than the header, `tail` and the tag together.
    pub fn seal(&self, path_id: u32, pn: u64, packet: &mut [u8], header_len: usize, tail: &[u8]) {
        let nonce = self.nonce(path_id, pn);
        match &self.cipher {
            Cipher::Ring(key) => ring_seal(key, nonce, packet, header_len, tail),
            #[cfg(target_arch = "x86_64")]
            Cipher::Own(key) => key.seal(&nonce, packet, header_len, tail),
        }
    }

    /// Decrypts a packet in place and returns the plaintext, a part of `packet`; `None` if it does
    /// not authenticate, in which case the payload's content is lost.
    ///
    /// `packet` is the header (`header_len` bytes, protection removed), ciphertext and tag.
    pub fn open<'a>(
        &self,
        path_id: u32,
        pn: u64,
        packet: &'a mut [u8],
        header_len: usize,
    ) -> Option<&'a mut [u8]> {
        let nonce = self.nonce(path_id, pn);
        match &self.cipher {
            Cipher::Ring(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                let (header, payload) = packet.split_at_mut_checked(header_len)?;
                key.open_in_place(nonce, Aad::from(&*header), payload).ok()
            }
            #[cfg(target_arch = "x86_64")]
            Cipher::Own(key) => key.open(&nonce, packet, header_len),
        }
    }
}

fn ring_seal(
    key: &LessSafeKey,
    nonce: [u8; IV_LEN],
    packet: &mut [u8],
    header_len: usize,
    tail: &[u8],
) {
    let nonce = Nonce::assume_unique_for_key(nonce);
    let (header, rest) = packet.split_at_mut(header_len);
    let (payload, tag_room) = rest.split_at_mut(rest.len() - TAG_LEN);
    // ring has no gathering seal: copy first.
    let start = payload.len() - tail.len();
    payload[start..].copy_from_slice(tail);
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(&*header), payload)
        .expect("a packet is far shorter than the limit of the AEAD");
    tag_room.copy_from_slice(tag.as_ref());
}

impl std::fmt::Debug for PacketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_util::hex;

    fn key(suite: Suite) -> PacketKey {
        PacketKey::new(suite, &[7; 32][..suite.key_len()], [9; 12]).unwrap()
    }

    /// The example of draft-ietf-quic-multipath-21 section 2.4.
    #[test]
    fn multipath_nonce() {
        let iv = hex("6b26114b9cba2b63a9e8dd4f").try_into().unwrap();
        let key = PacketKey::new(Suite::Aes128Gcm, &[0; 16], iv).unwrap();
        let nonce = key.nonce(3, 54321);
        assert_eq!(nonce.to_vec(), hex("6b2611489cba2b63a9e8097e"));
    }

    #[test]
    fn wrong_key_length() {
        for suite in Suite::ALL {
            assert!(PacketKey::new(suite, &[0; 24], [0; 12]).is_none());
            assert!(PacketKey::new(suite, &[], [0; 12]).is_none());
        }
    }

    #[test]
    fn too_short_to_open() {
        let key = key(Suite::Aes128Gcm);
        assert!(key.open(0, 0, &mut [0; 10], 11).is_none());
        assert!(key.open(0, 0, &mut [0; 20], 5).is_none());
        assert!(key.open(0, 0, &mut [], 0).is_none());
    }

    proptest! {
        #[test]
        fn seal_then_open(
            which in 0..3_usize,
            path_id: u32,
            pn in 0..1_u64 << 62,
            header in prop::collection::vec(any::<u8>(), 0..40),
            body in prop::collection::vec(any::<u8>(), 0..1500),
            split in 0.0..=1.0_f64,
            flip: prop::sample::Index,
        ) {
            let key = key(Suite::ALL[which]);
            let in_place = (body.len() as f64 * split) as usize;
            let (front, tail) = body.split_at(in_place);
            let mut packet = header.clone();
            packet.extend_from_slice(front);
            packet.resize(header.len() + body.len() + TAG_LEN, 0xaa);
            key.seal(path_id, pn, &mut packet, header.len(), tail);

            let mut damaged = packet.clone();
            let at = flip.index(damaged.len());
            damaged[at] ^= 1;
            prop_assert!(key.open(path_id, pn, &mut damaged, header.len()).is_none());
            prop_assert!(key.open(path_id ^ 1, pn, &mut packet.clone(), header.len()).is_none());
            prop_assert!(key.open(path_id, pn ^ 1, &mut packet.clone(), header.len()).is_none());
            let opened = key.open(path_id, pn, &mut packet, header.len()).map(|p| p.to_vec());
            prop_assert_eq!(opened, Some(body));
        }
    }
}
