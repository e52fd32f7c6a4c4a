//! What each scheduler is for: networks that differ, windows that block, losses.

use tquic_core::multipath::Scheduler;
use tquic_sim::link::Loss;
use tquic_sim::random::Probability;

use crate::bond::Bond;

/// Seconds that a download takes with each of these schedulers.
fn times<const N: usize>(bond: &Bond, bytes: u64, schedulers: [Scheduler; N]) -> [f64; N] {
    let times = schedulers.map(|scheduler| {
        let mut bond = bond.clone();
        bond.config.scheduler = scheduler;
        bond.transfer(bytes, false)
    });
    println!("{bytes} bytes: {schedulers:?} {times:.4?}");
    times
}

#[test]
fn ecf_completes_short_downloads_sooner_where_round_trips_differ() {
    // As in section 5 of the paper: like rates, round trips of 10 and 100 ms; objects of the Web.
    let bond = Bond::new((20, 10), Some((20, 100)));
    let mut sums = [0.0; 3];
    for bytes in [30_000, 60_000, 120_000, 250_000, 500_000, 1_000_000] {
        let each = times(&bond, bytes, [Scheduler::Ecf, Scheduler::Blest, Scheduler::MinRtt]);
        let alone = Bond::new((20, 10), None).transfer(bytes, false);
        assert!(each[0] <= alone * 1.1, "{bytes}: {} with a second path, {alone} alone", each[0]);
        sums.iter_mut().zip(each).for_each(|(sum, time)| *sum += time);
    }
    let [ecf, blest, minrtt] = sums;
    assert!(ecf < blest * 0.95 && blest <= minrtt * 1.01, "{sums:?}");
}

#[test]
fn blest_keeps_a_slow_path_from_blocking_the_window() {
    // The fast path alone can fill this window; a packet on the slow path holds it for 150 ms.
    let bond = Bond::new((50, 20), Some((5, 150))).window(200_000);
    let [blest, minrtt] = times(&bond, 8_000_000, [Scheduler::Blest, Scheduler::MinRtt]);
    let alone = Bond::new((50, 20), None).window(200_000).transfer(8_000_000, false);
    assert!(blest < minrtt * 0.95, "{blest} s, {minrtt} s with minrtt");
    assert!(blest < alone * 1.05, "{blest} s, {alone} s alone");
}

#[test]
fn blest_and_ecf_use_what_minrtt_uses_where_nothing_is_to_be_gained() {
    let bond = Bond::new((40, 20), Some((40, 20)));
    let all = [Scheduler::MinRtt, Scheduler::Blest, Scheduler::Ecf];
    let [minrtt, blest, ecf] = times(&bond, 20_000_000, all);
    assert!(blest < minrtt * 1.03 && ecf < minrtt * 1.03);
}

#[test]
fn redundancy_hides_losses() {
    let (mut twice, mut once) = (0.0, 0.0);
    for seed in 1..=40 {
        let loss = Loss::Random(Probability::percent(5));
        let mut bond = Bond::new((20, 40), Some((20, 50))).lossy(loss);
        bond.seed = seed;
        let [redundant, minrtt] = times(&bond, 12_000, [Scheduler::Redundant, Scheduler::MinRtt]);
        twice += redundant;
        once += minrtt;
    }
    assert!(twice < once * 0.9, "{twice} s of 40 messages, {once} s with minrtt");
}

#[test]
fn redundancy_is_as_fast_as_the_better_path() {
    let alone = Bond::new((20, 20), None).transfer(5_000_000, false);
    let bond = Bond::new((20, 20), Some((20, 60)));
    let [both] = times(&bond, 5_000_000, [Scheduler::Redundant]);
    assert!(both < alone * 1.1, "{both} s, {alone} s alone");
}
