//! How much two networks carry together.

use tquic_core::multipath::Scheduler;

use crate::bond::Bond;

const BYTES: u64 = 25_000_000;

/// Mbit/s at which a large stream goes `upwards` or downwards, over the first network or both.
fn goodput(
    scheduler: Scheduler,
    first: (u64, u32),
    second: Option<(u64, u32)>,
    upwards: bool,
) -> f64 {
    let mut bond = Bond::new(first, second);
    bond.config.scheduler = scheduler;
    BYTES as f64 * 8.0 / 1e6 / bond.transfer(BYTES, upwards)
}

#[test]
fn two_networks_carry_what_both_can() {
    for (name, first, second, least) in [
        ("equal", (50, 20), (50, 20), 0.95),
        ("4:1 rate", (80, 20), (20, 20), 0.9),
        ("3:1 round trip", (50, 20), (50, 60), 0.9),
        ("4:1 rate, 1:3 round trip", (80, 60), (20, 20), 0.9),
        ("4:1 rate, 3:1 round trip", (80, 20), (20, 60), 0.9),
        ("10:1 both", (100, 10), (10, 100), 0.0),
    ] {
        for upwards in [false, true] {
            let default = Scheduler::default();
            let alone = [first, second].map(|network| goodput(default, network, None, upwards));
            let both = goodput(default, first, Some(second), upwards);
            let share = both / (alone[0] + alone[1]);
            println!("{name}, up {upwards}: {alone:.1?} alone, {both:.1} together, {share:.3}");
            assert!(share >= least, "{name}: {share:.3} of the sum");
            assert!(both >= 0.97 * alone[0].max(alone[1]), "{name}: {both:.1}, {alone:.1?} alone");
        }
    }
}

#[test]
fn no_scheduler_is_worse_than_the_better_network_alone() {
    for (first, second) in [((80, 20), (20, 60)), ((100, 10), (10, 100))] {
        let alone = goodput(Scheduler::MinRtt, first, None, false);
        // Taking turns is not meant for paths that differ, nor saying everything twice for speed.
        let fit = |(_, s): &&(&str, Scheduler)| {
            !matches!(s, Scheduler::RoundRobin | Scheduler::Redundant)
        };
        for (name, scheduler) in Scheduler::ALL.iter().filter(fit) {
            let both = goodput(*scheduler, first, Some(second), false);
            println!("{name}: {alone:.1} alone, {both:.1} together");
            assert!(both >= 0.97 * alone, "{name}: {both:.1}, {alone:.1} alone");
        }
    }
}
