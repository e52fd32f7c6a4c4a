//! Coupled congestion control: two paths over one bottleneck, against one.

use tquic_core::cc::Congestion;

use crate::bond::Bond;

const BYTES: u64 = 20_000_000;
/// Downloads side by side are longer: slow start is not coupled.
const LONG: u64 = 50_000_000;
const SEEDS: u64 = 3;

/// What the connection with two paths gets for each byte of its rival with one path, while both are
/// busy; the mean of some runs.
fn advantage(congestion: Congestion) -> f64 {
    let runs = (1..=SEEDS).map(|seed| {
        let mut bond = Bond::new((20, 40), None);
        bond.config.recovery.congestion = congestion;
        bond.seed = seed;
        let [two, one] = bond.rivals(LONG);
        let bytes = LONG as f64;
        let rate = 2.0 * bytes / two.max(one);
        // The first to be done has had all its bytes, the other what was left of the link's.
        let ratio = bytes / (rate * two.min(one) - bytes);
        let ratio = if two < one { ratio } else { 1.0 / ratio };
        println!("{congestion:?}: done after {two:.2} and {one:.2} s, {ratio:.2} to 1");
        ratio
    });
    runs.sum::<f64>() / SEEDS as f64
}

#[test]
fn coupled_paths_share_a_bottleneck_as_one() {
    let uncoupled = advantage(Congestion::NewReno);
    assert!(uncoupled > 1.5, "two for one: {uncoupled}");
    for congestion in [Congestion::Lia, Congestion::Olia, Congestion::Balia] {
        let coupled = advantage(congestion);
        assert!((0.7..1.35).contains(&coupled), "{congestion:?}: {coupled}");
    }
}

#[test]
fn coupled_paths_fill_networks_of_their_own() {
    let (first, second) = ((20, 20), (20, 40));
    for congestion in [Congestion::Lia, Congestion::Olia, Congestion::Balia] {
        let rate = |first, second| {
            let mut bond = Bond::new(first, second);
            bond.config.recovery.congestion = congestion;
            BYTES as f64 / bond.transfer(BYTES, false)
        };
        let share = rate(first, Some(second)) / (rate(first, None) + rate(second, None));
        println!("{congestion:?}: {share:.3} of the sum");
        assert!(share >= 0.9, "{congestion:?}: {share:.3} of the sum");
    }
}
