//! GHASH (NIST SP 800-38D section 6.4) as one sum of products with powers of H.
//!
//! Blocks are taken with their bytes reversed, so that bits stand in the order of the polynomial's
//! degrees but for one shift; the powers carry that shift (Gueron and Kounavis, "Intel Carry-Less
//! Multiplication Instruction and its Usage for Computing the GCM Mode", 2014).

use core::arch::x86_64::{
    __m128i, __m256i, _mm_clmulepi64_si128, _mm_loadu_si128, _mm_set_epi8, _mm_set_epi64x,
    _mm_shuffle_epi32, _mm_storeu_si128, _mm_xor_si128, _mm256_broadcastsi128_si256,
    _mm256_castsi256_si128, _mm256_clmulepi64_epi128, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_shuffle_epi32, _mm256_xor_si256,
    _mm256_zextsi128_si256,
};

use super::BLOCK;

/// Blocks that one reduction can end: header, payload and lengths of a packet of 1500 bytes. A
/// multiple of [`BATCH`](super::vaes::BATCH). Longer packets are reduced once for each so many.
pub(super) const MOST: usize = 96;

/// H to the power of `MOST` first, H itself last, each with the shift in it. After them one that
/// only ever meets a block of zeros, so that pairs can be read at any place. Words, because they are
/// wiped word by word when the key goes.
pub(super) type Powers = [u128; MOST + 2];

/// Powers made side by side, so that their multiplications overlap.
const STRIDE: usize = 8;

/// The powers of `h`, the zero block encrypted.
#[target_feature(enable = "avx2,pclmulqdq")]
pub(super) fn powers(h: [u8; BLOCK]) -> Powers {
    let mut out = [0; MOST + 2];
    let first = shifted(u128::from_be_bytes(h));
    let mut recent = [first; STRIDE];
    for i in 1..STRIDE {
        recent[i] = multiply(recent[i - 1], first);
    }
    let step = recent[STRIDE - 1];
    for group in 0..MOST / STRIDE {
        for (i, power) in recent.iter_mut().enumerate() {
            out[MOST - 1 - group * STRIDE - i] = store(*power);
            *power = multiply(*power, step);
        }
    }
    out
}

/// Times x, modulo the polynomial.
#[target_feature(enable = "sse2")]
fn shifted(h: u128) -> __m128i {
    // All ones if a bit falls out: no branch on the key.
    let carry = 0_u128.wrapping_sub(h >> 127);
    let doubled = (h << 1) ^ (carry & ((0xc2 << 120) | 1));
    _mm_set_epi64x((doubled >> 64) as i64, doubled as i64)
}

#[target_feature(enable = "avx2,pclmulqdq")]
fn multiply(a: __m128i, b: __m128i) -> __m128i {
    let low = _mm_clmulepi64_si128::<0x00>(a, b);
    let high = _mm_clmulepi64_si128::<0x11>(a, b);
    let middle =
        _mm_xor_si128(_mm_clmulepi64_si128::<0x01>(a, b), _mm_clmulepi64_si128::<0x10>(a, b));
    reduce(low, middle, high)
}

/// The sum of a product's three parts modulo the polynomial: the low half is folded up twice.
#[target_feature(enable = "avx2,pclmulqdq")]
fn reduce(low: __m128i, middle: __m128i, high: __m128i) -> __m128i {
    let polynomial = _mm_set_epi64x(0xc200_0000_0000_0000_u64 as i64, 1);
    let fold = _mm_clmulepi64_si128::<0x10>(low, polynomial);
    let middle = _mm_xor_si128(_mm_xor_si128(middle, _mm_shuffle_epi32::<0x4e>(low)), fold);
    let fold = _mm_clmulepi64_si128::<0x10>(middle, polynomial);
    _mm_xor_si128(_mm_xor_si128(high, _mm_shuffle_epi32::<0x4e>(middle)), fold)
}

/// The hash of one packet under way: two sums side by side, not reduced.
pub(super) struct Ghash<'k> {
    powers: &'k Powers,
    /// Where the next block's power stands; `MOST` when a reduction is due.
    at: usize,
    /// Blocks of the header and of the rest after the next reduction.
    later: [usize; 2],
    /// What the last reduction gave, to be added to the next block.
    carry: __m256i,
    sums: Sums,
}

/// The three parts of the products so far.
#[derive(Clone, Copy)]
struct Sums {
    low: __m256i,
    middle: __m256i,
    high: __m256i,
}

impl Sums {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn zero() -> Self {
        let zero = _mm256_setzero_si256();
        Self { low: zero, middle: zero, high: zero }
    }

    /// Adds a product. Karatsuba: three multiplications for two blocks.
    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    fn add(&mut self, x: __m256i, powers: &[u128; 2]) {
        // SAFETY: reads the 32 bytes of the array, at any alignment.
        let h = unsafe { _mm256_loadu_si256(powers.as_ptr().cast()) };
        let x_folded = _mm256_xor_si256(x, _mm256_shuffle_epi32::<0x4e>(x));
        let h_folded = _mm256_xor_si256(h, _mm256_shuffle_epi32::<0x4e>(h));
        self.low = _mm256_xor_si256(self.low, _mm256_clmulepi64_epi128::<0x00>(x, h));
        self.high = _mm256_xor_si256(self.high, _mm256_clmulepi64_epi128::<0x11>(x, h));
        let middle = _mm256_clmulepi64_epi128::<0x00>(x_folded, h_folded);
        self.middle = _mm256_xor_si256(self.middle, middle);
    }
}

/// Blocks being added, with their powers: apart from [`Ghash`] so that it can stay in registers.
pub(super) struct Run<'k> {
    powers: &'k [[u128; 2]],
    carry: __m256i,
    sums: Sums,
}

impl Run<'_> {
    /// Adds the next two blocks.
    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    pub(super) fn add(&mut self, blocks: __m256i) {
        let Some((powers, rest)) = self.powers.split_first() else { return };
        self.powers = rest;
        self.sums.add(_mm256_xor_si256(reversed(blocks), self.carry), powers);
        self.carry = _mm256_setzero_si256();
    }
}

impl<'k> Ghash<'k> {
    /// For `header` blocks, then `rest` blocks.
    #[target_feature(enable = "avx2")]
    pub(super) fn new(powers: &'k Powers, header: usize, rest: usize) -> Self {
        let total = header + rest;
        // Batches of payload must not straddle a reduction, so a header in front of a long packet
        // has its own.
        let (at, later) =
            if total <= MOST { (MOST - total, [0, 0]) } else { (MOST, [header, rest]) };
        Self { powers, at, later, carry: _mm256_setzero_si256(), sums: Sums::zero() }
    }

    /// Adds two blocks; `count` says how many they are. The second of one must be zero.
    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    pub(super) fn add(&mut self, blocks: __m256i, count: usize) {
        if self.at >= MOST {
            self.turn();
        }
        let x = _mm256_xor_si256(reversed(blocks), self.carry);
        self.carry = _mm256_setzero_si256();
        let powers = &self.powers[self.at..self.at + 2];
        self.sums.add(x, powers.as_chunks::<2>().0.first().expect("two of two"));
        self.at += count;
    }

    /// Begins to add `blocks` blocks: whoever has other work to do beside adds them pair by pair.
    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    pub(super) fn begin(&mut self, blocks: usize) -> Run<'k> {
        if self.at >= MOST && blocks > 0 {
            self.turn();
        }
        let (powers, _) = self.powers[self.at..self.at + blocks].as_chunks::<2>();
        self.at += blocks;
        Run { powers, carry: self.carry, sums: self.sums }
    }

    /// Ends it.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn end(&mut self, run: &Run<'k>) {
        (self.carry, self.sums) = (run.carry, run.sums);
    }

    /// Reduces, and goes on with the blocks after.
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    fn turn(&mut self) {
        self.carry = _mm256_zextsi128_si256(self.sum());
        self.sums = Sums::zero();
        let part = usize::from(self.later[0] == 0);
        let next = self.later[part].min(MOST);
        self.later[part] -= next;
        self.at = MOST - next;
    }

    /// The hash of all blocks added, as a vector with its bytes reversed.
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    pub(super) fn sum(&self) -> __m128i {
        let (low, high) = (halves(self.sums.low), halves(self.sums.high));
        let middle = _mm_xor_si128(halves(self.sums.middle), _mm_xor_si128(low, high));
        reduce(low, middle, high)
    }
}

/// Reverses the bytes of a block.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn reversal() -> __m128i {
    _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}

#[inline]
#[target_feature(enable = "avx2")]
fn reversed(pair: __m256i) -> __m256i {
    _mm256_shuffle_epi8(pair, _mm256_broadcastsi128_si256(reversal()))
}

/// The sum of both lanes.
#[target_feature(enable = "avx2")]
fn halves(v: __m256i) -> __m128i {
    _mm_xor_si128(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v))
}

fn store(v: __m128i) -> u128 {
    let mut out = 0;
    // SAFETY: writes the 16 bytes of the number, at any alignment.
    unsafe { _mm_storeu_si128((&raw mut out).cast(), v) };
    out
}

/// A block as a vector.
pub(super) fn load(bytes: &[u8; BLOCK]) -> __m128i {
    // SAFETY: reads the 16 bytes of the array, at any alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}
