//! Randomness as the caller seeds it: unpredictable in production, repeatable in the simulator.

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

/// A cryptographically strong generator. It decides connection IDs, challenge data, reset tokens'
/// look-alikes, greasing and skipped packet numbers, all of which an attacker must not foresee.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// A generator that repeats its output for the same `seed`.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// A generator of its own for a child, so that one connection's draws do not shift another's.
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.array())
    }

    /// `N` random bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.0.fill_bytes(&mut out);
        out
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// 64 random bits.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`; 0 for an empty range. The bias of at most `bound / 2^64` is harmless
    /// for the small bounds used here.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_output_and_bounds_hold() {
        let (mut a, mut b) = (Rng::from_seed([7; 32]), Rng::from_seed([7; 32]));
        assert_eq!(a.array::<16>(), b.array::<16>());
        assert_eq!(a.below(0), 0);
        assert!((0..1000).all(|_| a.below(6) < 6));
    }
}
