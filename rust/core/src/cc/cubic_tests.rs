use super::*;
use crate::cc::testing::{MSS, Path};
use crate::cc::{Algorithm, Congestion, Controller, Phase};
use crate::time::Duration;

fn cubic(p: &Path) -> &Cubic {
    match &p.cc {
        Controller::Cubic(c) => c,
        _ => unreachable!("built as CUBIC"),
    }
}

fn path(rtt_ms: u64, packets: u64) -> Path {
    Path::with_window(Congestion::Cubic, rtt_ms, Some(packets))
}

/// Windows in packets.
fn packets(p: &Path) -> f64 {
    p.cc.window() as f64 / MSS as f64
}

#[test]
fn cut_is_seventy_percent_of_the_window_even_with_fast_convergence() {
    let mut p = path(100, 1000);
    p.recover();
    assert_eq!(p.cc.window(), 700 * MSS);
    // Still below W_max: the network shrank. W_max gives way further, the window does not.
    p.recover();
    let w = cubic(&p).cwnd_prior;
    assert_eq!(p.cc.ssthresh(), Some((w * 0.7) as u64));
    assert_eq!(cubic(&p).w_max, Some(w * 0.85));
}

#[test]
fn growth_follows_the_closed_formula() {
    let mut p = path(100, 1000);
    p.recover();
    let (mut start, mut worst) = (None, 0f64);
    let k = (1000.0 * 0.3f64 / 0.4).powf(1.0 / 3.0);
    for _ in 0..180 {
        p.round();
        let begun = cubic(&p).stage.unwrap().epoch;
        assert_eq!(*start.get_or_insert(begun), begun);
        let t = (p.now - begun).as_secs_f64();
        // What the window reaches by the end of the round that these ACKs pay for.
        let expected = 0.4 * (t + 0.1 - k).powi(3) + 1000.0;
        worst = worst.max((packets(&p) - expected).abs() / expected);
    }
    assert!(worst < 0.015, "{worst}");
    assert!(packets(&p) > 1250.0, "convex by then: {}", packets(&p));
}

#[test]
fn reno_friendly_region_grows_by_alpha_and_then_by_one() {
    let mut p = path(10, 40);
    p.recover();
    let base = packets(&p);
    for n in 1..=20 {
        p.round();
        let expected = base + ALPHA * f64::from(n);
        assert!((packets(&p) - expected).abs() < 0.6, "{n}: {} {expected}", packets(&p));
    }
    while cubic(&p).stage.unwrap().w_est < cubic(&p).cwnd_prior {
        p.round();
    }
    let before = cubic(&p).stage.unwrap().w_est;
    for _ in 0..10 {
        p.round();
    }
    let grown = (cubic(&p).stage.unwrap().w_est - before) / MSS as f64;
    assert!((9.0..=10.1).contains(&grown), "{grown}");
}

#[test]
fn pauses_do_not_count_as_time() {
    let window_after = |pause: u64| {
        let mut p = path(100, 200);
        p.recover();
        for _ in 0..10 {
            p.round();
        }
        p.now += Duration::from_secs(pause);
        p.round();
        p.round();
        p.cc.window()
    };
    assert!(window_after(1000).abs_diff(window_after(0)) <= MSS);
}

#[test]
fn time_in_which_the_window_is_unused_does_not_count() {
    let mut p = path(100, 200);
    p.recover();
    for _ in 0..10 {
        p.round();
    }
    p.round_of(5);
    p.round_of(5);
    let before = p.cc.window();
    for _ in 0..200 {
        p.round_of(5);
    }
    assert_eq!(p.cc.window(), before);
    p.round();
    p.round();
    assert!(p.cc.window() < before + 20 * MSS, "{} {before}", p.cc.window());
}

#[test]
fn small_windows_that_drain_every_round_still_grow() {
    let mut p = path(100, 4);
    p.recover();
    let before = p.cc.window();
    for _ in 0..60 {
        p.round();
        assert_eq!(p.in_flight(), 0);
    }
    assert!(p.cc.window() > 4 * before, "{}", p.cc.window());
}

#[test]
fn one_ack_for_a_window_grows_it_as_much_as_many() {
    let grown = |per_ack: u64| {
        let mut p = path(100, 1000);
        p.recover();
        for _ in 0..5 {
            p.round();
        }
        let before = p.cc.window();
        for _ in 0..10 {
            p.fill();
            p.now += p.rtt;
            while p.in_flight() > 0 {
                p.ack(per_ack.min(p.in_flight() / MSS));
            }
        }
        (p.cc.window() - before) as f64
    };
    let (single, stretched) = (grown(1), grown(10_000));
    assert!(stretched > 20.0 * MSS as f64, "more than a packet per ACK: {stretched}");
    assert!((single / stretched - 1.0).abs() < 0.35, "{single} {stretched}");
}

#[test]
fn growth_below_one_byte_is_not_lost() {
    let mut p = path(100, 100_000);
    p.recover();
    p.round();
    // Close to W_max the curve is flat: less than a byte per packet.
    let Controller::Cubic(c) = &mut p.cc else { unreachable!("built as CUBIC") };
    let cwnd = c.window.cwnd();
    let stage = c.stage.as_mut().unwrap();
    stage.w_est = 0.0;
    (stage.k, stage.origin) = (0.0, cwnd as f64 + 30.0 * MSS as f64);
    (stage.epoch, stage.updated) = (p.now, p.now);
    p.round();
    let grown = p.cc.window() - cwnd;
    assert!((15 * MSS..=31 * MSS).contains(&grown), "{grown}");
}

#[test]
fn growth_per_round_is_at_most_half_the_window() {
    let mut p = path(100, 100);
    p.recover();
    for _ in 0..10 {
        p.round();
    }
    // A curve that is far ahead of the window.
    let Controller::Cubic(c) = &mut p.cc else { unreachable!("built as CUBIC") };
    c.stage.as_mut().unwrap().origin = 1e9;
    let before = p.cc.window();
    p.fill();
    p.now += p.rtt;
    p.ack(p.in_flight() / MSS);
    assert!(p.cc.window() <= before + before / 2);
    assert!(p.cc.window() > before + before / 3);
}

#[test]
fn undo_restores_the_curve_and_the_window() {
    let mut p = path(100, 1000);
    p.recover();
    for _ in 0..10 {
        p.round();
    }
    let (w_max, cwnd, prior) = (cubic(&p).w_max, p.cc.window(), cubic(&p).cwnd_prior);
    let k = cubic(&p).stage.unwrap().k;
    p.fill();
    p.lose(1);
    assert_ne!(cubic(&p).w_max, w_max);
    p.cc.undo();
    assert_eq!((cubic(&p).w_max, p.cc.window(), cubic(&p).cwnd_prior), (w_max, cwnd, prior));
    assert_eq!(cubic(&p).stage.unwrap().k, k);
    assert_eq!(p.cc.phase(), Phase::CongestionAvoidance);
}

#[test]
fn late_undo_keeps_a_window_that_has_outgrown_the_saved_one() {
    let mut p = path(100, 20);
    p.recover();
    while p.cc.window() <= 25 * MSS {
        p.round();
    }
    let (cwnd, w_max) = (p.cc.window(), cubic(&p).w_max);
    p.cc.undo();
    assert_eq!((p.cc.window(), cubic(&p).w_max), (cwnd, w_max));
}

#[test]
fn marks_cut_less_than_losses_and_are_never_undone() {
    let mut p = path(100, 1000);
    p.fill();
    assert!(p.mark());
    assert_eq!(p.cc.window(), 850 * MSS);
    p.cc.undo();
    assert_eq!(p.cc.window(), 850 * MSS);
}

#[test]
fn persistent_congestion_starts_the_curve_from_the_new_window() {
    let mut p = path(100, 1000);
    p.recover();
    p.fill();
    p.cc.on_persistent_congestion(p.now);
    assert_eq!(p.cc.window(), 2 * MSS);
    assert!(!p.lose(5), "more losses of that time say nothing new");
    assert_eq!(p.cc.ssthresh(), Some(700 * MSS));
    p.ack_all();
    while p.cc.phase() == Phase::SlowStart {
        p.round();
    }
    p.round();
    let stage = cubic(&p).stage.unwrap();
    assert_eq!((stage.k, cubic(&p).w_max), (0.0, None));
}

#[test]
fn slow_start_left_by_delay_begins_with_k_zero() {
    let mut p = path(40, 10);
    p.round();
    p.round();
    p.rtt = Duration::from_millis(60);
    while p.cc.phase() == Phase::SlowStart {
        p.round();
    }
    let left_at = p.cc.ssthresh().unwrap();
    p.round();
    let stage = cubic(&p).stage.unwrap();
    assert_eq!((stage.k, stage.origin), (0.0, left_at as f64));
    assert_eq!(cubic(&p).cwnd_prior, left_at as f64);
    assert!(p.cc.window() >= left_at);
}
