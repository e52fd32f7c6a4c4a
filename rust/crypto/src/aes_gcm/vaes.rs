//! Counter mode, and one packet from end to end.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_set_epi8, _mm_shuffle_epi8,
    _mm_storeu_si128, _mm_xor_si128, _mm256_add_epi32, _mm256_aesenc_epi128,
    _mm256_aesenclast_epi128, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_set_epi32, _mm256_shuffle_epi8,
    _mm256_storeu_si256, _mm256_xor_si256, _mm256_zextsi128_si256,
};

use super::ghash::{self, Ghash, load};
use super::{BLOCK, Key};

/// Blocks encrypted at a time: eight pairs keep both AES units busy for the time one round takes.
pub(super) const BATCH: usize = 2 * PAIRS;
const PAIRS: usize = 8;
/// Bytes of a pair of blocks, and of a batch.
const PAIR: usize = 2 * BLOCK;
const BATCH_LEN: usize = BATCH * BLOCK;

/// Read at `BATCH_LEN - n`: n bytes of ones, then zeros.
static MASK: [u8; 2 * BATCH_LEN] = {
    let mut mask = [0; 2 * BATCH_LEN];
    let mut i = 0;
    while i < BATCH_LEN {
        mask[i] = 0xff;
        i += 1;
    }
    mask
};

/// The key with its powers of H.
#[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
pub(super) fn prepare<const N: usize>(rounds: [[u8; BLOCK]; N]) -> Key<N> {
    let h = encrypt(&rounds, load(&[0; BLOCK]));
    let powers = ghash::powers(store_block(h));
    Key { rounds, powers }
}

/// Encrypts `payload`, whose last bytes come from `tail`, and makes the tag.
#[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
pub(super) fn seal<const N: usize>(
    key: &Key<N>,
    nonce: &[u8; 12],
    header: &[u8],
    payload: &mut [u8],
    tail: &[u8],
) -> [u8; BLOCK] {
    let mut packet = Packet::new(key, nonce, header, payload.len());
    // What stands in the payload is filled up to whole batches; the rest is read where it is.
    let front = payload.len() - tail.len();
    let fill = tail.len().min(front.next_multiple_of(BATCH_LEN) - front);
    let (near, far) = tail.split_at(fill);
    payload[front..front + fill].copy_from_slice(near);
    let (in_place, away) = payload.split_at_mut(front + fill);
    let (batches, last) = in_place.as_chunks_mut::<BATCH_LEN>();
    // SAFETY: from and to are the same, `batches.len()` batches long.
    unsafe { packet.seal_batches(batches.as_ptr(), batches.as_mut_ptr(), batches.len()) };
    let (sources, last_source) = far.as_chunks::<BATCH_LEN>();
    let (batches, last_away) = away.as_chunks_mut::<BATCH_LEN>();
    assert_eq!(sources.len(), batches.len(), "the payload ends with the tail");
    // SAFETY: `sources` and `batches` are both as long as was just made sure of.
    unsafe { packet.seal_batches(sources.as_ptr(), batches.as_mut_ptr(), sources.len()) };
    let mut rest = [0; BATCH_LEN];
    let last = if far.is_empty() {
        rest[..last.len()].copy_from_slice(last);
        last
    } else {
        rest[..last_source.len()].copy_from_slice(last_source);
        last_away
    };
    let len = last.len();
    let tag = packet.seal_last(&mut rest, len);
    last.copy_from_slice(&rest[..len]);
    tag
}

/// Decrypts `payload` and says which tag it should have.
#[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
pub(super) fn open<const N: usize>(
    key: &Key<N>,
    nonce: &[u8; 12],
    header: &[u8],
    payload: &mut [u8],
) -> [u8; BLOCK] {
    let mut packet = Packet::new(key, nonce, header, payload.len());
    let (batches, last) = payload.as_chunks_mut::<BATCH_LEN>();
    packet.open_batches(batches);
    let mut rest = [0; BATCH_LEN];
    rest[..last.len()].copy_from_slice(last);
    let tag = packet.open_last(&mut rest, last.len());
    last.copy_from_slice(&rest[..last.len()]);
    tag
}

/// A packet on its way.
struct Packet<'k, const N: usize> {
    rounds: &'k [[u8; BLOCK]; N],
    ghash: Ghash<'k>,
    /// The counters of the next pair, as integers in the last word of each lane.
    counters: __m256i,
    /// Hides the tag.
    tag_mask: __m128i,
    /// The lengths of header and payload in bits, as one block.
    lengths: __m128i,
}

impl<'k, const N: usize> Packet<'k, N> {
    #[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
    fn new(key: &'k Key<N>, nonce: &[u8; 12], header: &[u8], payload_len: usize) -> Self {
        let mut block = [0; BLOCK];
        block[..12].copy_from_slice(nonce);
        let base = load(&block);
        block[15] = 1;
        let tag_mask = encrypt(&key.rounds, load(&block));
        let counters = _mm256_add_epi32(
            _mm256_broadcastsi128_si256(base),
            // SP 800-38D section 7.1: the payload's blocks begin with 2.
            _mm256_set_epi32(3, 0, 0, 0, 2, 0, 0, 0),
        );
        let (header_blocks, blocks) = (header.len().div_ceil(BLOCK), payload_len.div_ceil(BLOCK));
        let mut ghash = Ghash::new(&key.powers, header_blocks, blocks + 1);
        for chunk in header.chunks(BLOCK) {
            let mut block = [0; BLOCK];
            block[..chunk.len()].copy_from_slice(chunk);
            ghash.add(_mm256_zextsi128_si256(load(&block)), 1);
        }
        let bits = (header.len() as u128 * 8) << 64 | (payload_len as u128 * 8);
        let lengths = load(&bits.to_be_bytes());
        Self { rounds: &key.rounds, ghash, counters, tag_mask, lengths }
    }

    /// Encrypts batches from one place to another, which may be the same.
    ///
    /// # Safety
    ///
    /// `count` batches can be read at `from` and written at `to`, which are the same or do not
    /// overlap.
    #[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
    unsafe fn seal_batches(
        &mut self,
        from: *const [u8; BATCH_LEN],
        to: *mut [u8; BATCH_LEN],
        count: usize,
    ) {
        for i in 0..count {
            let stream = self.keystream::<PAIRS>();
            // SAFETY: the caller vouches for `count` batches.
            let mut text = load_batch(unsafe { &*from.add(i) });
            for i in 0..PAIRS {
                text[i] = _mm256_xor_si256(text[i], stream[i]);
            }
            // SAFETY: as above; what was read is no longer borrowed.
            store_batch(text, unsafe { &mut *to.add(i) });
            self.ghash.add_batch(text);
        }
    }

    #[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
    fn open_batches(&mut self, batches: &mut [[u8; BATCH_LEN]]) {
        for batch in batches {
            let stream = self.keystream::<PAIRS>();
            let mut text = load_batch(batch);
            self.ghash.add_batch(text);
            for i in 0..PAIRS {
                text[i] = _mm256_xor_si256(text[i], stream[i]);
            }
            store_batch(text, batch);
        }
    }

    /// The last `len` bytes, fewer than a batch, and the tag. What follows them is left in disorder.
    #[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
    fn seal_last(self, rest: &mut [u8; BATCH_LEN], len: usize) -> [u8; BLOCK] {
        if len <= BATCH_LEN / 4 {
            self.seal_pairs::<{ PAIRS / 4 }>(rest, len)
        } else {
            self.seal_pairs::<PAIRS>(rest, len)
        }
    }

    #[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
    fn seal_pairs<const M: usize>(mut self, rest: &mut [u8; BATCH_LEN], len: usize) -> [u8; BLOCK] {
        let stream = self.keystream::<M>();
        let (pairs, _) = rest.as_chunks_mut::<PAIR>();
        let (mask, _) = MASK[BATCH_LEN - len..].as_chunks::<PAIR>();
        for i in 0..M {
            let sealed = _mm256_xor_si256(load_pair(&pairs[i]), stream[i]);
            store_pair(_mm256_and_si256(sealed, load_pair(&mask[i])), &mut pairs[i]);
        }
        self.finish(rest, len)
    }

    #[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
    fn open_last(self, rest: &mut [u8; BATCH_LEN], len: usize) -> [u8; BLOCK] {
        if len <= BATCH_LEN / 4 {
            self.open_pairs::<{ PAIRS / 4 }>(rest, len)
        } else {
            self.open_pairs::<PAIRS>(rest, len)
        }
    }

    #[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
    fn open_pairs<const M: usize>(mut self, rest: &mut [u8; BATCH_LEN], len: usize) -> [u8; BLOCK] {
        let stream = self.keystream::<M>();
        let sealed = *rest;
        let (pairs, _) = rest.as_chunks_mut::<PAIR>();
        for i in 0..M {
            store_pair(_mm256_xor_si256(load_pair(&pairs[i]), stream[i]), &mut pairs[i]);
        }
        self.finish(&sealed, len)
    }

    /// Hashes the last blocks, `sealed` with zeros behind, and the lengths.
    #[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
    fn finish(mut self, sealed: &[u8; BATCH_LEN], len: usize) -> [u8; BLOCK] {
        let blocks = len.div_ceil(BLOCK);
        let (pairs, _) = sealed.as_chunks::<PAIR>();
        for pair in &pairs[..blocks / 2] {
            self.ghash.add(load_pair(pair), 2);
        }
        let lengths = _mm256_zextsi128_si256(self.lengths);
        if blocks % 2 == 1 {
            let odd = load_pair(&pairs[blocks / 2]);
            self.ghash.add(_mm256_inserti128_si256::<1>(odd, self.lengths), 2);
        } else {
            self.ghash.add(lengths, 1);
        }
        let hash = _mm_shuffle_epi8(self.ghash.sum(), ghash::reversal());
        store_block(_mm_xor_si128(hash, self.tag_mask))
    }

    /// The next blocks that the payload is combined with.
    #[inline]
    #[target_feature(enable = "avx2,aes,vaes")]
    fn keystream<const M: usize>(&mut self) -> [__m256i; M] {
        // Only the last word of a lane has its bytes reversed.
        let big_endian = _mm256_broadcastsi128_si256(_mm_set_epi8(
            12, 13, 14, 15, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0,
        ));
        let two = _mm256_set_epi32(2, 0, 0, 0, 2, 0, 0, 0);
        let first = _mm256_broadcastsi128_si256(load(&self.rounds[0]));
        let mut blocks = [first; M];
        for block in &mut blocks {
            *block = _mm256_xor_si256(first, _mm256_shuffle_epi8(self.counters, big_endian));
            self.counters = _mm256_add_epi32(self.counters, two);
        }
        for round in &self.rounds[1..N - 1] {
            let round = _mm256_broadcastsi128_si256(load(round));
            for block in &mut blocks {
                *block = _mm256_aesenc_epi128(*block, round);
            }
        }
        let last = _mm256_broadcastsi128_si256(load(&self.rounds[N - 1]));
        for block in &mut blocks {
            *block = _mm256_aesenclast_epi128(*block, last);
        }
        blocks
    }
}

/// One block.
#[target_feature(enable = "aes")]
fn encrypt<const N: usize>(rounds: &[[u8; BLOCK]; N], block: __m128i) -> __m128i {
    let mut block = _mm_xor_si128(block, load(&rounds[0]));
    for round in &rounds[1..N - 1] {
        block = _mm_aesenc_si128(block, load(round));
    }
    _mm_aesenclast_si128(block, load(&rounds[N - 1]))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_pair(bytes: &[u8; PAIR]) -> __m256i {
    // SAFETY: reads the 32 bytes of the array, at any alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_pair(pair: __m256i, bytes: &mut [u8; PAIR]) {
    // SAFETY: writes the 32 bytes of the array, at any alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), pair) };
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_batch(bytes: &[u8; BATCH_LEN]) -> [__m256i; PAIRS] {
    let (pairs, _) = bytes.as_chunks::<PAIR>();
    let mut out = [load_pair(&pairs[0]); PAIRS];
    for i in 1..PAIRS {
        out[i] = load_pair(&pairs[i]);
    }
    out
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_batch(batch: [__m256i; PAIRS], bytes: &mut [u8; BATCH_LEN]) {
    let (pairs, _) = bytes.as_chunks_mut::<PAIR>();
    for i in 0..PAIRS {
        store_pair(batch[i], &mut pairs[i]);
    }
}

fn store_block(block: __m128i) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    // SAFETY: writes the 16 bytes of the array, at any alignment.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), block) };
    out
}
