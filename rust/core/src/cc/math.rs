//! Arithmetic that gives the same bits on every platform.

/// Cube root of a non-negative finite number, for others 0.
///
/// Only multiplication, division and addition of `f64` are used, which IEEE 754 fixes to the bit;
/// the mathematical library of the platform does not promise that for `cbrt`.
pub fn cube_root(x: f64) -> f64 {
    if !(x > 0.0 && x.is_finite()) {
        return 0.0;
    }
    // A third of the exponent is right to within a few percent: the bits of a float are a scaled
    // logarithm. The constant is two thirds of the exponent bias.
    let mut y = f64::from_bits(x.to_bits() / 3 + 0x2A9F_7893_782D_A1CE);
    for _ in 0..5 {
        y -= (y - x / (y * y)) / 3.0;
    }
    y
}

/// `value * numerator / denominator` without overflow on the way; saturates. A zero denominator
/// gives `u64::MAX`.
pub fn scale(value: u64, numerator: u64, denominator: u64) -> u64 {
    // Wide division is several times slower, and hardly ever needed.
    if let Some(product) = value.checked_mul(numerator) {
        return product.checked_div(denominator).unwrap_or(u64::MAX);
    }
    let product = u128::from(value) * u128::from(numerator);
    product.checked_div(u128::from(denominator)).map_or(u64::MAX, saturate)
}

/// The same rounded up.
pub fn scale_up(value: u64, numerator: u64, denominator: u64) -> u64 {
    if denominator == 0 {
        return u64::MAX;
    }
    if let Some(product) = value.checked_mul(numerator) {
        return product.div_ceil(denominator);
    }
    let product = u128::from(value) * u128::from(numerator);
    saturate(product.div_ceil(u128::from(denominator)))
}

/// Numbers that look random (SplitMix64), for choices that only have to differ between flows.
#[derive(Clone, Copy, Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number in `0..bound`; 0 for an empty range.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((u128::from(z) * u128::from(bound)) >> 64) as u64
    }
}

fn saturate(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cube_roots_of_cubes_and_edges() {
        for n in [1.0f64, 2.0, 3.0, 10.0, 1000.0, 123_456.0] {
            assert!((cube_root(n * n * n) - n).abs() <= n * 1e-14, "{n}");
        }
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(cube_root(bad), 0.0);
        }
    }

    #[test]
    fn choices_are_repeatable_and_even() {
        let (mut a, mut b) = (SplitMix::new(7), SplitMix::new(7));
        let mut counts = [0; 6];
        for _ in 0..6000 {
            let n = a.below(6);
            assert_eq!(n, b.below(6));
            counts[n as usize] += 1;
        }
        assert!(counts.iter().all(|n| (900..1100).contains(n)), "{counts:?}");
        assert_eq!(a.below(0), 0);
    }

    #[test]
    fn scaling_saturates_and_rounds() {
        assert_eq!(scale(u64::MAX, u64::MAX, 1), u64::MAX);
        assert_eq!((scale(7, 1, 2), scale_up(7, 1, 2)), (3, 4));
        assert_eq!((scale(1, 1, 0), scale_up(1, 1, 0)), (u64::MAX, u64::MAX));
    }

    proptest! {
        #[test]
        fn cube_root_is_exact_to_the_last_bits(x in 1e-9f64..1e18) {
            let y = cube_root(x);
            prop_assert!((y * y * y - x).abs() <= x * 1e-14);
        }
    }
}
