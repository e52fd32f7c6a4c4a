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
/// Bytes of a rest for which a whole batch would waste most of the work.
const FEW: usize = BATCH_LEN / 4;

/// Read at `PAIR - n`: n bytes of ones, then zeros.
static MASK: [u8; 2 * PAIR] = {
    let mut mask = [0; 2 * PAIR];
    let mut i = 0;
    while i < PAIR {
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
    let mut packet = Packet::<N, true>::new(key, nonce, header, payload.len());
    // What stands in the payload is filled up to whole batches; the rest is read where it is.
    let front = payload.len() - tail.len();
    let fill = tail.len().min(front.next_multiple_of(BATCH_LEN) - front);
    let (near, far) = tail.split_at(fill);
    payload[front..front + fill].copy_from_slice(near);
    let (batches, last) = payload.as_chunks_mut::<BATCH_LEN>();
    let (sources, last_source) = far.as_chunks::<BATCH_LEN>();
    let mut rest = [0; BATCH_LEN];
    let last_source = if far.is_empty() { &*last } else { last_source };
    rest[..last_source.len()].copy_from_slice(last_source);
    let tag = packet.seal_all(batches, sources, &mut rest, last.len());
    last.copy_from_slice(&rest[..last.len()]);
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
    let mut packet = Packet::<N, false>::new(key, nonce, header, payload.len());
    let (batches, last) = payload.as_chunks_mut::<BATCH_LEN>();
    let mut rest = [0; BATCH_LEN];
    rest[..last.len()].copy_from_slice(last);
    let tag = packet.open_all(batches, &mut rest, last.len());
    last.copy_from_slice(&rest[..last.len()]);
    tag
}

/// A packet on its way. What is sealed and what is opened have code of their own, in which all that
/// follows is in one piece.
struct Packet<'k, const N: usize, const SEAL: bool> {
    rounds: &'k [[u8; BLOCK]; N],
    ghash: Ghash<'k>,
    /// The counters of the next pair, as integers in the last word of each lane.
    counters: __m256i,
    /// Hides the tag.
    tag_mask: __m128i,
    /// The lengths of header and payload in bits, as one block.
    lengths: __m128i,
}

impl<'k, const N: usize, const SEAL: bool> Packet<'k, N, SEAL> {
    #[inline]
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

    /// Encrypts `batches`, the last of them from `sources`, and the first `len` bytes of `rest`; what
    /// follows those is left in disorder. Makes the tag.
    #[inline]
    #[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
    fn seal_all(
        &mut self,
        batches: &mut [[u8; BATCH_LEN]],
        sources: &[[u8; BATCH_LEN]],
        rest: &mut [u8; BATCH_LEN],
        len: usize,
    ) -> [u8; BLOCK] {
        let near = batches.len() - sources.len();
        let many = batches.len() + usize::from(len > FEW);
        for i in 0..many {
            let (sealed, todo) = batches.split_at_mut(i);
            let stream = self.keystream::<PAIRS>(sealed.last());
            let to = todo.first_mut().unwrap_or(rest);
            let source = i.checked_sub(near).and_then(|i| sources.get(i));
            let text = load_batch(source.unwrap_or(to));
            store_batch(text, stream, to);
        }
        if len <= FEW {
            let stream = self.keystream::<{ FEW / PAIR }>(batches.last());
            apply(&stream, rest);
        }
        self.finish(rest, len)
    }

    /// Decrypts `batches` and the first `len` bytes of `rest`, behind which there are zeros, and says
    /// which tag there should be.
    #[inline]
    #[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
    fn open_all(
        &mut self,
        batches: &mut [[u8; BATCH_LEN]],
        rest: &mut [u8; BATCH_LEN],
        len: usize,
    ) -> [u8; BLOCK] {
        let count = batches.len();
        let many = count + usize::from(len > FEW);
        let sealed = *rest;
        for i in 0..many {
            let stream = self.keystream::<PAIRS>(batches.get(i));
            let to = batches.get_mut(i).unwrap_or(rest);
            store_batch(load_batch(to), stream, to);
        }
        if len <= FEW {
            let stream = self.keystream::<{ FEW / PAIR }>(None);
            apply(&stream, rest);
        }
        self.finish(&sealed, len)
    }

    /// Hashes the first `len` bytes of the last blocks, and the lengths.
    #[inline]
    #[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
    fn finish(&mut self, sealed: &[u8; BATCH_LEN], len: usize) -> [u8; BLOCK] {
        let (pairs, _) = sealed.as_chunks::<PAIR>();
        let (whole, odd) = (len / PAIR, len % PAIR);
        for pair in &pairs[..whole] {
            self.ghash.add(load_pair(pair), 2);
        }
        let mut end = _mm256_zextsi128_si256(self.lengths);
        let mut count = 1;
        if odd > 0 {
            let mask = MASK[PAIR - odd..].first_chunk().expect("a pair behind any place before");
            let last = _mm256_and_si256(load_pair(&pairs[whole]), load_pair(mask));
            if odd > BLOCK {
                self.ghash.add(last, 2);
            } else {
                (end, count) = (_mm256_inserti128_si256::<1>(last, self.lengths), 2);
            }
        }
        self.ghash.add(end, count);
        let hash = _mm_shuffle_epi8(self.ghash.sum(), ghash::reversal());
        store_block(_mm_xor_si128(hash, self.tag_mask))
    }

    /// The next blocks that the payload is combined with. Meanwhile `sealed` is hashed: multiplications
    /// between the rounds of AES fill each other's latencies, which the CPU does not see far enough
    /// ahead to do by itself.
    #[inline]
    #[target_feature(enable = "avx2,aes,pclmulqdq,vaes,vpclmulqdq")]
    fn keystream<const M: usize>(&mut self, sealed: Option<&[u8; BATCH_LEN]>) -> [__m256i; M] {
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
        let pairs = sealed.map_or::<&[_], _>(&[], |sealed| sealed.as_chunks::<PAIR>().0);
        let mut run = self.ghash.begin(2 * pairs.len());
        // Opaque, or it is unrolled: longer to fetch, and not faster.
        let rounds = std::hint::black_box(&self.rounds[1..N - 1]);
        for (i, round) in rounds.iter().enumerate() {
            let round = _mm256_broadcastsi128_si256(load(round));
            for block in &mut blocks {
                *block = _mm256_aesenc_epi128(*block, round);
            }
            // AES has more rounds than there are pairs.
            if let Some(pair) = pairs.get(i) {
                run.add(load_pair(pair));
            }
        }
        self.ghash.end(&run);
        let last = _mm256_broadcastsi128_si256(load(&self.rounds[N - 1]));
        for block in &mut blocks {
            *block = _mm256_aesenclast_epi128(*block, last);
        }
        blocks
    }
}

/// Combines the first pairs of `bytes` with `stream`.
#[inline]
#[target_feature(enable = "avx2")]
fn apply<const M: usize>(stream: &[__m256i; M], bytes: &mut [u8; BATCH_LEN]) {
    let (pairs, _) = bytes.as_chunks_mut::<PAIR>();
    for i in 0..M {
        store_pair(_mm256_xor_si256(load_pair(&pairs[i]), stream[i]), &mut pairs[i]);
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
fn store_batch(text: [__m256i; PAIRS], stream: [__m256i; PAIRS], to: &mut [u8; BATCH_LEN]) {
    let (pairs, _) = to.as_chunks_mut::<PAIR>();
    for i in 0..PAIRS {
        store_pair(_mm256_xor_si256(text[i], stream[i]), &mut pairs[i]);
    }
}

fn store_block(block: __m128i) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    // SAFETY: writes the 16 bytes of the array, at any alignment.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), block) };
    out
}
