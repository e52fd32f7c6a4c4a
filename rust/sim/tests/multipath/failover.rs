//! A network that fails in mid-transfer beside another that does not.

use tquic_sim::Duration;

use crate::bond::{Bond, MS};

const BYTES: u64 = 6_000_000;

/// The longest time without a byte when the first of two networks of 20 Mbit/s and 20 ms fails, at any
/// of some times within a second.
fn pause(told: bool, upwards: bool) -> Duration {
    let times = (0..20).map(|n| 600 + 47 * n);
    let pauses = times.map(|at| {
        let bond = Bond::new((20, 20), Some((20, 20))).cut(&[at..60_000]);
        let bond = if told { bond.told() } else { bond };
        bond.play(BYTES, upwards).pauses[0][usize::from(upwards)]
    });
    let longest = pauses.max().unwrap();
    println!("told {told}, up {upwards}: {longest:?}");
    longest
}

#[test]
fn a_network_that_goes_silent_stops_nothing_for_longer_than_100_ms() {
    for upwards in [false, true] {
        assert!(pause(false, upwards) <= 100 * MS);
    }
}

#[test]
fn a_network_that_the_system_gives_up_stops_nothing_for_longer_than_its_round_trip() {
    // The queue of the other one is as long as its round trip.
    for upwards in [false, true] {
        assert!(pause(true, upwards) <= 50 * MS);
    }
}

#[test]
fn a_network_that_is_back_is_used_within_a_second() {
    // Both carry 40 Mbit/s, one of them 20.
    let bytes = 20_000_000;
    let cut = Bond::new((20, 20), Some((20, 20))).cut(&[1000..2500]);
    let whole = Bond::new((20, 20), Some((20, 20))).transfer(bytes, false);
    for (bond, most) in [(cut.clone(), 1.0), (cut.told(), 0.3)] {
        // While one is gone, half of the bytes are not sent.
        let lost = bond.transfer(bytes, false) - whole - 0.75;
        println!("{lost:.3} s beyond the outage");
        assert!(lost <= most / 2.0, "{lost} s");
    }
}

#[test]
fn a_network_that_hesitates_does_not_make_everything_be_sent_twice() {
    // 120 ms in which nothing moves, once in 400: what was in flight arrives only in part.
    let holes: Vec<_> = (0..20).map(|n| 400 * n..400 * n + 120).collect();
    let bond = Bond::new((20, 20), Some((20, 20))).cut(&holes);
    for upwards in [false, true] {
        let counts = bond.play(3 * BYTES, upwards).counts;
        let share = counts.reinjected as f64 / counts.sent as f64;
        println!("up {upwards}: {:.2} % sent twice", 100.0 * share);
        assert!(share <= 0.05, "{share}");
    }
}
