//! Prague and Copa in a closed loop: a fast slice of what `make congestion` plays, with its bands.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use tquic_core::cc::Congestion;
use tquic_core::time::Duration;
use tquic_sim::congestion::units::Span;
use tquic_sim::congestion::{Quantity, Run, Scenario, families, run};

/// The scenario of this name, played for `seconds`, of which the first ten are not measured.
fn play(name: &str, seconds: u64, controller: Congestion) -> impl Fn(Quantity) -> f64 {
    let mut all = families().into_iter().flat_map(|family| family.scenarios);
    let mut scenario: Scenario = all.find(|scenario| scenario.name == name).unwrap();
    scenario.time = Span(Duration::from_secs(seconds));
    scenario.warm_up = Span(Duration::from_secs(10));
    let played: Run = run(&scenario, controller, 1);
    move |what| played.quantity(&scenario, what).unwrap()
}

#[test]
fn prague_keeps_an_l4s_queue_below_a_millisecond_and_the_link_busy() {
    let measured = play("dualpi2-10-40", 30, Congestion::Prague);
    assert!(measured(Quantity::Utilization) >= 0.95, "{}", measured(Quantity::Utilization));
    assert!(measured(Quantity::QueueMs) <= 1.0, "{}", measured(Quantity::QueueMs));
    assert_eq!(measured(Quantity::Loss), 0.0);
}

#[test]
fn prague_shares_with_cubic_in_the_classic_queue() {
    let share = play("dualpi2-and-cubic", 50, Congestion::Prague)(Quantity::Share);
    assert!((0.4..=0.7).contains(&share), "{share}");
}

#[test]
fn classic_controllers_get_no_low_latency_there() {
    let measured = play("dualpi2-10-40", 30, Congestion::Cubic);
    assert!(measured(Quantity::QueueMs) > 5.0, "{}", measured(Quantity::QueueMs));
}

#[test]
fn copa_alone_keeps_two_to_six_packets_in_the_queue() {
    let measured = play("one-flow", 25, Congestion::Copa);
    assert!(measured(Quantity::Utilization) >= 0.95, "{}", measured(Quantity::Utilization));
    let packets = measured(Quantity::QueuePackets);
    assert!((2.0..=6.0).contains(&packets), "{packets}");
}

#[test]
fn copa_does_not_listen_to_random_loss() {
    let used = play("loss-5", 25, Congestion::Copa)(Quantity::Utilization);
    assert!(used >= 0.95, "{used}");
}

/// What an ACK for many packets lets go must leave spread out: its last packet, whose RTT is known, would
/// wait behind the others, in a queue that is nothing but this flow's burst.
#[test]
fn copa_takes_no_burst_of_its_own_for_a_queue() {
    for name in ["host-ack-2", "host-ack-10", "host-late-timers", "host-ack-clumps"] {
        let used = play(name, 25, Congestion::Copa)(Quantity::Utilization);
        assert!(used >= 0.95, "{name}: {used}");
    }
}
