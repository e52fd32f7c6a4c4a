//! AES-GCM for whole packets (NIST SP 800-38D) on CPUs whose AES and carry-less multiplication work
//! on 256 bits at a time (VAES and VPCLMULQDQ with AVX2: AMD since Zen 3, Intel since Ice Lake).
//!
//! Libraries take messages of any length in pieces, and so reduce GHASH once for every few blocks. A
//! packet is one short message: here the powers of H up to a packet's number of blocks are computed
//! with the key, products are added up unreduced, and one reduction ends the packet. Header, payload
//! and lengths are one sum. Sealing reads the payload's tail from where the application left it.
//!
//! Constant time: there is no branch and no index that depends on key or data, only on lengths.

use zeroize::Zeroize;

use crate::TAG_LEN;

mod ghash;
mod schedule;
mod vaes;

/// Bytes of an AES block.
const BLOCK: usize = 16;

/// A key of either length.
pub(crate) enum AesGcm {
    Aes128(Box<Key<11>>),
    Aes256(Box<Key<15>>),
}

/// The round keys, and the powers of H.
pub(crate) struct Key<const ROUND_KEYS: usize> {
    rounds: [[u8; BLOCK]; ROUND_KEYS],
    powers: ghash::Powers,
}

impl<const ROUND_KEYS: usize> Drop for Key<ROUND_KEYS> {
    fn drop(&mut self) {
        self.rounds.zeroize();
        self.powers.zeroize();
    }
}

impl AesGcm {
    /// `None` if this CPU cannot, or `key` has neither 16 nor 32 bytes.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        if !is_supported() {
            return None;
        }
        if let Ok(key) = <&[u8; 16]>::try_from(key) {
            // SAFETY: `is_supported` has found the instructions.
            let key = unsafe { vaes::prepare(schedule::aes_128(key)) };
            return Some(Self::Aes128(Box::new(key)));
        }
        let key = <&[u8; 32]>::try_from(key).ok()?;
        // SAFETY: as above.
        let key = unsafe { vaes::prepare(schedule::aes_256(key)) };
        Some(Self::Aes256(Box::new(key)))
    }

    /// As [`PacketKey::seal`](crate::PacketKey::seal), with the nonce made.
    pub(crate) fn seal(&self, nonce: &[u8; 12], packet: &mut [u8], header_len: usize, tail: &[u8]) {
        let (header, rest) = packet.split_at_mut(header_len);
        let (payload, tag) = rest.split_at_mut(rest.len() - TAG_LEN);
        // SAFETY: there is no key unless `is_supported` found the instructions.
        let made = unsafe {
            match self {
                Self::Aes128(key) => vaes::seal(key, nonce, header, payload, tail),
                Self::Aes256(key) => vaes::seal(key, nonce, header, payload, tail),
            }
        };
        tag.copy_from_slice(&made);
    }

    /// As [`PacketKey::open`](crate::PacketKey::open), with the nonce made.
    pub(crate) fn open<'a>(
        &self,
        nonce: &[u8; 12],
        packet: &'a mut [u8],
        header_len: usize,
    ) -> Option<&'a mut [u8]> {
        let (header, rest) = packet.split_at_mut_checked(header_len)?;
        let payload_len = rest.len().checked_sub(TAG_LEN)?;
        let (payload, tag) = rest.split_at_mut(payload_len);
        // SAFETY: there is no key unless `is_supported` found the instructions.
        let made = unsafe {
            match self {
                Self::Aes128(key) => vaes::open(key, nonce, header, payload),
                Self::Aes256(key) => vaes::open(key, nonce, header, payload),
            }
        };
        // One comparison of all bits together: nothing tells how many agree.
        let difference = u128::from_ne_bytes(made) ^ u128::from_ne_bytes(tag.try_into().ok()?);
        if std::hint::black_box(difference) == 0 {
            return Some(payload);
        }
        // Nobody shall read what nobody vouches for.
        payload.fill(0);
        None
    }
}

/// Whether this CPU has what is needed.
fn is_supported() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq")
        && std::arch::is_x86_feature_detected!("vaes")
        && std::arch::is_x86_feature_detected!("vpclmulqdq")
}

#[cfg(test)]
mod tests;
