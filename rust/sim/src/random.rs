//! Chance, repeatable: one stream of random numbers per element, and exact probabilities.

use core::fmt;
use tquic_core::rng::Rng;

/// The random stream of element `element` in a run with `seed`. `domain` keeps apart kinds of
/// elements that number themselves independently (links, hosts, ...). A stream depends on nothing
/// else, so adding an element to a network does not shift the draws of the others.
pub fn stream(seed: u64, domain: &str, element: u64) -> Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&element.to_le_bytes());
    for (to, from) in key[16..].iter_mut().zip(domain.bytes()) {
        *to = from;
    }
    Rng::from_seed(key)
}

/// A probability as a fraction of 2^64: comparing integers gives the same result everywhere.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probability(u64);

impl Probability {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always, but for one draw in 2^64.
    pub const ALWAYS: Self = Self(u64::MAX);

    /// `parts` in a million; more than a million is always.
    pub const fn ppm(parts: u64) -> Self {
        if parts >= 1_000_000 { Self::ALWAYS } else { Self(u64::MAX / 1_000_000 * parts) }
    }

    /// `percent` in a hundred.
    pub const fn percent(percent: u64) -> Self {
        Self::ppm(percent.saturating_mul(10_000))
    }

    /// From a fraction between 0 and 1; what lies outside is taken as the nearer end.
    pub fn fraction(p: f64) -> Self {
        // A float-to-integer cast saturates, and NaN becomes 0.
        Self((p * u64::MAX as f64) as u64)
    }

    /// As a fraction between 0 and 1.
    pub fn as_fraction(self) -> f64 {
        self.0 as f64 / u64::MAX as f64
    }

    /// Whether it can never happen; such an element draws nothing.
    pub const fn is_never(self) -> bool {
        self.0 == 0
    }

    /// Draws once.
    pub fn happens(self, rng: &mut Rng) -> bool {
        !self.is_never() && rng.u64() < self.0
    }
}

impl fmt::Debug for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}%", self.as_fraction() * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_domain_and_element_only() {
        let first = |seed, domain, element| stream(seed, domain, element).u64();
        assert_eq!(first(1, "loss", 2), first(1, "loss", 2));
        let all =
            [first(1, "loss", 2), first(2, "loss", 2), first(1, "aqm", 2), first(1, "loss", 3)];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn frequency_matches_probability() {
        let mut rng = stream(7, "test", 0);
        for percent in [0, 2, 30, 100] {
            let p = Probability::percent(percent);
            let hits = (0..20_000).filter(|_| p.happens(&mut rng)).count() as f64 / 200.0;
            assert!((hits - percent as f64).abs() < 1.5, "{percent} %: {hits} %");
        }
        assert_eq!(Probability::fraction(2.0), Probability::ALWAYS);
        assert_eq!(Probability::fraction(f64::NAN), Probability::NEVER);
    }
}
