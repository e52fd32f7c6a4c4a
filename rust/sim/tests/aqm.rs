//! Queues under simple additive-increase senders: each must do what it exists for.

mod common;

use common::{DATA, Dumbbell, Response};
use tquic_sim::Duration;
use tquic_sim::link::{Cause, CodelConfig, DualPi2Config, Limit, QueueConfig, Rate};
use tquic_sim::packet::Ecn;

const RATE: Rate = Rate::mbps(20);
const RTT: Duration = Duration::from_millis(40);
const CLASSIC: (Ecn, Response) = (Ecn::NotEct, Response::Halving);
const CLASSIC_ECN: (Ecn, Response) = (Ecn::Ect0, Response::Halving);
const L4S: (Ecn, Response) = (Ecn::Ect1, Response::Scalable);

fn run(queue: QueueConfig, flows: &[(Ecn, Response)]) -> Dumbbell {
    let mut dumbbell = Dumbbell::new(11, RATE, RTT, queue, flows);
    dumbbell.run(10, 70);
    dumbbell
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[test]
fn one_bdp_of_drop_tail_keeps_a_halving_flow_busy() {
    // RATE x RTT = 80 packets: the window swings between one and two BDP, the queue between 0 and 40 ms.
    let run = run(QueueConfig::DropTail(Limit::Packets(80)), &[CLASSIC]);
    assert!(run.utilization() > 0.98, "{}", run.utilization());
    let mean = millis(run.stats().sojourn.mean());
    assert!((12.0..32.0).contains(&mean), "{mean} ms");
    assert!(run.stats().sojourn.max() <= Duration::from_millis(40));
    assert_eq!(run.stats().dropped(Cause::Aqm).packets, 0);
}

#[test]
fn codel_cuts_the_standing_queue_and_marks_who_listens() {
    let codel = QueueConfig::Codel(CodelConfig::new(Limit::Packets(1000)));
    let bloated = run(QueueConfig::DropTail(Limit::Packets(1000)), &[CLASSIC]);
    assert!(millis(bloated.stats().sojourn.mean()) > 100.0);

    let dropping = run(codel, &[CLASSIC]);
    let mean = millis(dropping.stats().sojourn.mean());
    assert!(mean < 12.0, "{mean} ms");
    // The window swings from 1.1 to 0.55 BDP.
    assert!(dropping.utilization() > 0.8, "{}", dropping.utilization());
    assert!(dropping.stats().dropped(Cause::Aqm).packets > 5);
    assert_eq!(dropping.stats().marked, 0);

    let marking = run(codel, &[CLASSIC_ECN]);
    assert!(millis(marking.stats().sojourn.mean()) < 12.0);
    assert!(marking.utilization() > 0.8, "{}", marking.utilization());
    assert_eq!(marking.stats().dropped_total().packets, 0);
    assert!(marking.stats().marked > 5);
}

#[test]
fn codel_leaves_a_good_queue_alone() {
    // Windows of at most two packets never build a queue beyond the target.
    let mut small = Dumbbell::new(
        11,
        Rate::mbps(1000),
        RTT,
        QueueConfig::Codel(CodelConfig::new(Limit::Packets(1000))),
        &[CLASSIC_ECN],
    );
    small.run(1, 2);
    assert_eq!(small.stats().marked + small.stats().dropped(Cause::Aqm).packets, 0);
    assert!(small.stats().delivered.packets > 1000);
}

#[test]
fn dualpi2_steers_classic_traffic_to_its_target() {
    let dual = QueueConfig::DualPi2(DualPi2Config::new(Limit::Packets(1000)));
    let run = run(dual, &[CLASSIC, CLASSIC, CLASSIC]);
    let mean = millis(run.stats().sojourn.mean());
    assert!((9.0..22.0).contains(&mean), "{mean} ms");
    assert!(run.utilization() > 0.93, "{}", run.utilization());
    assert!(run.stats().dropped(Cause::Aqm).packets > 50);
    assert_eq!(run.stats().dropped(Cause::QueueFull).packets, 0);
}

#[test]
fn dualpi2_gives_scalable_traffic_a_shallow_queue() {
    let dual = QueueConfig::DualPi2(DualPi2Config::new(Limit::Packets(1000)));
    let run = run(dual, &[L4S]);
    assert!(run.utilization() > 0.95, "{}", run.utilization());
    let (mean, p99) =
        (millis(run.stats().sojourn.mean()), millis(run.stats().sojourn.percentile(99.0)));
    assert!(mean < 1.5 && p99 < 4.0, "{mean} ms, {p99} ms");
    assert_eq!(run.stats().dropped_total().packets, 0);
    assert!(run.stats().marked > 100);
}

#[test]
fn dualpi2_couples_both_kinds_to_similar_shares() {
    // Fast enough for two packets of an unpaced sender to pass within the step of 1 ms.
    let dual = QueueConfig::DualPi2(DualPi2Config::new(Limit::Packets(1000)));
    let rtt = Duration::from_millis(20);
    let mut run = Dumbbell::new(11, Rate::mbps(100), rtt, dual, &[CLASSIC, L4S]);
    run.run(10, 70);
    let bytes = run.bytes();
    let scalable = bytes[1] as f64 / (bytes[0] + bytes[1]) as f64;
    assert!((0.3..0.8).contains(&scalable), "{scalable}");
    assert!(run.utilization() > 0.95, "{}", run.utilization());
}

#[test]
fn dualpi2_drops_from_unresponsive_overload() {
    // Scalable packets that no sender slows down for: the queue must fall back to dropping.
    use tquic_sim::link::{Link, LinkConfig};
    use tquic_sim::packet::Packet;
    let config = LinkConfig {
        queue: QueueConfig::DualPi2(DualPi2Config::new(Limit::Packets(1000))),
        rate: Some(RATE),
        ..LinkConfig::default()
    };
    let mut link = Link::new(&config, 1, 0);
    let end = |port| std::net::SocketAddr::from(([10, 0, 0, 1], port));
    for k in 0..40_000 {
        // Half more than fits: 1250 bytes each 333 us are 30 Mbit/s.
        let now = tquic_sim::Instant::from_nanos(k * 333_333);
        link.send(now, Packet::descriptor(end(1), end(2), DATA).with_ecn(Ecn::Ect1));
        while link.poll(now).is_some() {}
    }
    let stats = link.stats();
    let dropped = stats.dropped_total().packets as f64 / stats.offered.packets as f64;
    assert!((0.28..0.40).contains(&dropped), "{dropped}");
    assert!(stats.dropped(Cause::Aqm).packets > 10 * stats.dropped(Cause::QueueFull).packets);
    assert!(
        stats.sojourn.percentile(50.0) < Duration::from_millis(60),
        "{:?}",
        stats.sojourn.percentile(50.0)
    );
}
