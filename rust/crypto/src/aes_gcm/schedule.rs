//! Round keys from a key (FIPS 197 section 5.2), by the CPU's instructions: no table, so nothing in
//! the cache tells of the key.

use core::arch::x86_64::{
    __m128i, _mm_aeskeygenassist_si128, _mm_loadu_si128, _mm_shuffle_epi32, _mm_slli_si128,
    _mm_storeu_si128, _mm_xor_si128,
};

use super::BLOCK;

type RoundKey = [u8; BLOCK];

#[target_feature(enable = "aes")]
pub(super) fn aes_128(key: &[u8; 16]) -> [RoundKey; 11] {
    let mut out = [[0; BLOCK]; 11];
    let mut k = load(key);
    out[0] = store(k);
    macro_rules! round {
        ($at:literal, $rcon:literal) => {
            let word = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<$rcon>(k));
            k = _mm_xor_si128(spread(k), word);
            out[$at] = store(k);
        };
    }
    round!(1, 0x01);
    round!(2, 0x02);
    round!(3, 0x04);
    round!(4, 0x08);
    round!(5, 0x10);
    round!(6, 0x20);
    round!(7, 0x40);
    round!(8, 0x80);
    round!(9, 0x1b);
    round!(10, 0x36);
    out
}

#[target_feature(enable = "aes")]
pub(super) fn aes_256(key: &[u8; 32]) -> [RoundKey; 15] {
    let mut out = [[0; BLOCK]; 15];
    let (low, high) = key.split_at(BLOCK);
    let mut even = load(low.try_into().expect("half of 32"));
    let mut odd = load(high.try_into().expect("half of 32"));
    out[0] = store(even);
    out[1] = store(odd);
    macro_rules! round {
        ($at:literal, $rcon:literal) => {
            let word = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<$rcon>(odd));
            even = _mm_xor_si128(spread(even), word);
            out[$at] = store(even);
            let word = _mm_shuffle_epi32::<0xaa>(_mm_aeskeygenassist_si128::<0>(even));
            odd = _mm_xor_si128(spread(odd), word);
            // After the last even one no odd one is wanted.
            if let Some(room) = out.get_mut($at + 1) {
                *room = store(odd);
            }
        };
    }
    round!(2, 0x01);
    round!(4, 0x02);
    round!(6, 0x04);
    round!(8, 0x08);
    round!(10, 0x10);
    round!(12, 0x20);
    round!(14, 0x40);
    out
}

/// Each word of `k` exclusive-ored with all words before it.
#[target_feature(enable = "sse2")]
fn spread(k: __m128i) -> __m128i {
    let k = _mm_xor_si128(k, _mm_slli_si128::<4>(k));
    let k = _mm_xor_si128(k, _mm_slli_si128::<4>(k));
    _mm_xor_si128(k, _mm_slli_si128::<4>(k))
}

fn load(bytes: &RoundKey) -> __m128i {
    // SAFETY: reads the 16 bytes of the array, at any alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

fn store(k: __m128i) -> RoundKey {
    let mut out = [0; BLOCK];
    // SAFETY: writes the 16 bytes of the array, at any alignment.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), k) };
    out
}
