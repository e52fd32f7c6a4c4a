use super::*;
use crate::cc::testing::{MSS, Path};
use crate::cc::{Algorithm, Congestion, Controller};

fn prague(p: &Path) -> &Prague {
    match &p.cc {
        Controller::Prague(c) => c,
        _ => unreachable!("built as Prague"),
    }
}

fn path(rtt_ms: u64, packets: u64) -> Path {
    let mut p = Path::with_window(Congestion::Prague, rtt_ms, Some(packets));
    p.marked_round(0);
    p
}

/// A path in congestion avoidance with a small alpha: marked once, then quiet for a while.
fn settled(rtt_ms: u64, packets: u64) -> Path {
    let mut p = path(rtt_ms, packets);
    p.marked_round(1);
    for _ in 0..40 {
        p.marked_round(0);
    }
    p
}

#[test]
fn first_mark_ends_slow_start_and_halves() {
    let mut p = path(50, 100);
    assert_eq!(p.cc.phase(), Phase::SlowStart);
    p.fill();
    let before = p.cc.window();
    assert!(p.mark());
    assert_eq!((p.cc.window(), prague(&p).alpha()), (before / 2, 1.0));
    assert_eq!(p.cc.phase(), Phase::CongestionAvoidance, "an answer to marks is no recovery");
}

#[test]
fn alpha_follows_the_share_of_marks_and_the_window_alpha() {
    let mut p = settled(50, 1000);
    let (mut alpha, mut share) = (prague(&p).alpha(), 0.0);
    for _ in 0..200 {
        let packets = p.cc.window() / MSS;
        let marked = packets.div_ceil(12);
        share += (marked as f64 / packets as f64 - share) / 16.0;
        p.marked_round(marked);
        alpha = prague(&p).alpha();
    }
    assert!((alpha / share - 1.0).abs() < 0.2, "{alpha} {share}");
    p.now += p.rtt;
    let before = p.cc.window() as f64;
    p.fill();
    assert!(p.report(p.now, 1, 1));
    let alpha = prague(&p).alpha();
    let after = p.cc.window() as f64;
    assert!((after / before - (1.0 - alpha / 2.0)).abs() < 0.01, "{} {alpha}", after / before);
}

#[test]
fn one_answer_per_virtual_round_trip() {
    // Five round trips of 5 ms make one virtual one.
    let mut p = settled(5, 1000);
    let answers = (0..50).filter(|_| p.marked_round(1)).count();
    assert!((9..=11).contains(&answers), "{answers}");
    let mut p = settled(50, 100);
    let answers = (0..10).filter(|_| p.marked_round(1)).count();
    assert_eq!(answers, 10);
}

#[test]
fn additive_increase_is_one_datagram_per_round_trip_and_less_below_25_ms() {
    for (rtt, expected) in [(50, 1.0), (25, 1.0), (5, 0.04)] {
        let mut p = path(rtt, 400);
        p.marked_round(1);
        let before = p.cc.window();
        let rounds = 5 * 25 / rtt.min(25);
        (0..rounds).for_each(|_| {
            p.marked_round(0);
        });
        let grown = (p.cc.window() - before) as f64 / MSS as f64 / rounds as f64;
        assert!((grown / expected - 1.0).abs() < 0.1, "{rtt}: {grown}");
    }
}

#[test]
fn quiet_paths_are_filled_by_half_a_millisecond_of_rate_per_round_trip() {
    let mut p = path(50, 2000);
    p.marked_round(1);
    // At the 192 MB/s that were marked, additive increase is marked after 100 virtual round trips.
    let wait = prague(&p).wait;
    assert!((100..=107).contains(&wait), "{wait}");
    (0..wait).for_each(|_| {
        let before = p.cc.window();
        p.marked_round(0);
        assert!(p.cc.window() - before <= MSS * 21 / 20);
    });
    // A virtual round trip ends with the marks of its last ACK, after that has added its part.
    p.marked_round(0);
    p.marked_round(0);
    let before = p.cc.window();
    p.marked_round(0);
    let step = before / 100;
    assert!((p.cc.window() - before).abs_diff(step) < step / 10, "{}", p.cc.window() - before);
    // A mark ends it.
    p.marked_round(1);
    let before = p.cc.window();
    p.marked_round(0);
    assert!(p.cc.window() - before <= MSS * 21 / 20);
}

#[test]
fn marked_packets_add_nothing() {
    let mut p = settled(50, 100);
    p.marked_round(p.cc.window() / MSS);
    let before = p.cc.window();
    p.fill();
    let sent = p.now;
    p.now += Duration::from_millis(10);
    let packets = p.in_flight() / MSS;
    // Less than a round trip after the last answer: not answered, but all marked.
    p.ack(packets);
    p.report(sent, 0, packets);
    assert!(p.cc.window() <= before, "{} {before}", p.cc.window());
}

#[test]
fn losses_halve_once_and_credit_a_recent_answer_to_marks() {
    let mut p = settled(50, 100);
    p.fill();
    let before = p.cc.window();
    assert!(p.lose(1));
    assert!(!p.lose(2));
    assert_eq!(p.cc.window(), before / 2);
    assert_eq!(p.cc.phase(), Phase::Recovery);

    let mut p = path(50, 100);
    p.fill();
    let before = p.cc.window();
    assert!(p.mark());
    assert!(p.lose(1));
    assert_eq!(p.cc.window(), before / 2, "halved by the mark already");
}

#[test]
fn undo_keeps_the_answer_to_marks() {
    let mut p = path(50, 100);
    p.marked_round(1);
    p.fill();
    let before = p.cc.window();
    p.lose(1);
    p.cc.undo();
    assert_eq!(p.cc.window(), before);
    p.fill();
    p.lose(1);
    p.now += p.rtt * 2;
    p.send(1);
    p.ack_all();
    p.now += p.rtt;
    assert!(p.report(p.now, 9, 1));
    let alpha = prague(&p).alpha();
    p.cc.undo();
    let kept = before as f64 * (1.0 - alpha / 2.0);
    assert!(p.cc.window() as f64 <= kept + 2.0 * MSS as f64, "{} {kept}", p.cc.window());
}

#[test]
fn window_never_falls_below_two_datagrams() {
    let mut p = path(50, 4);
    for _ in 0..100 {
        p.marked_round(p.cc.window() / MSS);
        assert!(p.cc.window() >= 2 * MSS);
    }
    p.cc.on_persistent_congestion(p.now);
    assert_eq!(p.cc.window(), 2 * MSS);
}

#[test]
fn unused_windows_do_not_grow_and_pacing_does_not_count_as_unused() {
    // The flight of a paced sender stays below the window.
    let mut p = settled(50, 100);
    let before = p.cc.window();
    for _ in 0..5 {
        let packets = p.cc.window() / MSS * 9 / 10;
        p.round_of(packets);
    }
    assert!(p.cc.window() > before);
}

#[test]
fn rate_alternates_around_the_window_per_round_trip() {
    let mut p = settled(50, 100);
    let mut rates = Vec::new();
    for _ in 0..10 {
        p.fill();
        p.now += Duration::from_millis(5);
        p.ack(1);
        let rtt = p.estimate();
        let mean = scale(p.cc.window(), 1_000_000_000, nanos(rtt.smoothed())) as f64;
        rates.push((p.cc.pacing_rate(rtt).unwrap() as f64 / mean * 100.0).round() as i64);
    }
    assert!(rates.contains(&103) && rates.contains(&97), "{rates:?}");
    assert_eq!((p.cc.burst_time(), p.cc.ect()), (BURST, Ecn::Ect1));
}

#[test]
fn deep_queues_that_mark_are_suspected_and_nothing_else_changes() {
    for (queue, suspected) in [(1, false), (15, true)] {
        let mut p = settled(20, 100);
        p.rtt = Duration::from_millis(20 + queue);
        for _ in 0..60 {
            p.marked_round(1);
        }
        assert_eq!(prague(&p).suspects_classic_ecn(), suspected, "{queue} ms");
        assert_eq!(p.cc.ect(), Ecn::Ect1);
    }
}
