//! Header protection (RFC 9001 section 5.4), in batches.

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256, Block};
use ring::aead::quic;

use crate::{SAMPLE_LEN, Suite};

/// Blocks given to AES in one call: enough to fill its pipeline, and a small stack array.
const BATCH: usize = 16;

/// Makes the masks that hide the packet number and the low bits of a packet's first byte.
///
/// Sealing and opening use the same masks; the caller applies them. A key update leaves this key
/// as it is (RFC 9001 section 6).
pub struct HeaderKey(Cipher);

// One connection has six of these at most; a pointer to chase per batch would cost more.
#[allow(clippy::large_enum_variant, reason = "no indirection on the packet path")]
enum Cipher {
    Aes128(Aes128),
    Aes256(Aes256),
    Chacha20(quic::HeaderProtectionKey),
}

impl HeaderKey {
    /// A key from its bytes; `None` if `key` has not the length that the suite needs.
    #[must_use]
    pub fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        Some(Self(match suite {
            Suite::Aes128Gcm => Cipher::Aes128(Aes128::new_from_slice(key).ok()?),
            Suite::Aes256Gcm => Cipher::Aes256(Aes256::new_from_slice(key).ok()?),
            Suite::Chacha20Poly1305 => {
                Cipher::Chacha20(quic::HeaderProtectionKey::new(&quic::CHACHA20, key).ok()?)
            }
        }))
    }

    /// The mask for one sample.
    #[must_use]
    pub fn mask(&self, sample: &[u8; SAMPLE_LEN]) -> [u8; 5] {
        let mut out = [[0; 5]];
        self.masks(std::slice::from_ref(sample), &mut out);
        out[0]
    }

    /// The masks for `samples`, in order, written to the front of `out`.
    ///
    /// Best with 8 samples or more at a time. Stops at the shorter of the two slices.
    pub fn masks(&self, samples: &[[u8; SAMPLE_LEN]], out: &mut [[u8; 5]]) {
        match &self.0 {
            Cipher::Aes128(key) => aes_masks(key, samples, out),
            Cipher::Aes256(key) => aes_masks(key, samples, out),
            Cipher::Chacha20(key) => {
                for (sample, mask) in samples.iter().zip(out) {
                    *mask = key.new_mask(sample).expect("a sample has 16 bytes");
                }
            }
        }
    }
}

/// RFC 9001 section 5.4.3: the mask is the start of the sample encrypted as one AES block.
fn aes_masks<C>(key: &C, samples: &[[u8; SAMPLE_LEN]], out: &mut [[u8; 5]])
where
    C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>,
{
    let mut blocks = [Block::default(); BATCH];
    for (samples, out) in samples.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
        let blocks = &mut blocks[..samples.len()];
        // Lengths agree, so this cannot fail.
        let _ = key.encrypt_blocks_b2b(Array::cast_slice_from_core(samples), blocks);
        for (block, mask) in blocks.iter().zip(out) {
            mask.copy_from_slice(&block[..5]);
        }
    }
}

impl std::fmt::Debug for HeaderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every batch size gives the masks that ring gives one by one.
    /// RFC 9001 section 5.4.1.
    #[test]
    fn batches_agree_with_ring() {
        for (suite, ring) in [
            (Suite::Aes128Gcm, &quic::AES_128),
            (Suite::Aes256Gcm, &quic::AES_256),
            (Suite::Chacha20Poly1305, &quic::CHACHA20),
        ] {
            let bytes: Vec<u8> = (0..suite.key_len()).map(|i| i as u8 * 7).collect();
            let ours = HeaderKey::new(suite, &bytes).unwrap();
            let theirs = quic::HeaderProtectionKey::new(ring, &bytes).unwrap();
            for n in 0..50 {
                let samples: Vec<[u8; 16]> =
                    (0..n).map(|i| std::array::from_fn(|j| (i * 31 + j * n) as u8)).collect();
                let mut masks = vec![[0; 5]; n];
                ours.masks(&samples, &mut masks);
                for (sample, mask) in samples.iter().zip(masks) {
                    assert_eq!(mask, theirs.new_mask(sample).unwrap());
                    assert_eq!(mask, ours.mask(sample));
                }
            }
        }
    }

    #[test]
    fn stops_at_the_shorter_slice() {
        let key = HeaderKey::new(Suite::Aes128Gcm, &[1; 16]).unwrap();
        let mut short = [[0xee; 5]; 3];
        key.masks(&[[1; 16]; 20], &mut short);
        let mut long = [[0xee; 5]; 5];
        key.masks(&[[1; 16]; 3], &mut long);
        assert_eq!(short, long[..3]);
        assert_eq!(long[3..], [[0xee; 5]; 2]);
    }

    #[test]
    fn wrong_key_length() {
        for suite in Suite::ALL {
            assert!(HeaderKey::new(suite, &[0; 24]).is_none());
        }
    }
}
