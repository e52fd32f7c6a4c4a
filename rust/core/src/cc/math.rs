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
