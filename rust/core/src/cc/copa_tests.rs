use super::*;
use crate::cc::testing::{MSS, Path};
use crate::cc::{Congestion, Controller};

fn copa(p: &Path) -> &Copa {
    match &p.cc {
        Controller::Copa(c) => c,
        _ => unreachable!("built as Copa"),
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Rounds over a path of `base` with a bottleneck of `rate` packets per RTT: the RTT is as long as
/// the window makes the queue. Returns windows in packets.
fn rounds(p: &mut Path, base: Duration, rate: u64, rounds: u32) -> Vec<u64> {
    let mut windows = Vec::new();
    for _ in 0..rounds {
        let packets = p.cc.window() / MSS;
        p.rtt = base + (base / rate as u32) * packets.saturating_sub(rate) as u32;
        p.round();
        windows.push(p.cc.window() / MSS);
    }
    windows
}

#[test]
fn slow_start_doubles_until_the_queue_says_enough() {
    let mut p = Path::new(Congestion::Copa, 50);
    let windows = rounds(&mut p, ms(50), 80, 3);
    assert_eq!(windows, [20, 40, 80]);
    rounds(&mut p, ms(50), 80, 2);
    assert_ne!(p.cc.phase(), Phase::SlowStart);
}

#[test]
fn velocity_doubles_after_three_round_trips_and_is_limited() {
    let mut p = Path::new(Congestion::Copa, 50);
    rounds(&mut p, ms(50), 40, 40);
    // The path becomes ten times as fast.
    let mut velocities = Vec::new();
    for _ in 0..12 {
        rounds(&mut p, ms(50), 400, 1);
        let c = copa(&p);
        assert!(c.velocity <= (c.cwnd / MSS as f64 / INVERSE_DELTA).max(1.0), "{}", c.velocity);
        velocities.push(c.velocity);
    }
    assert!(velocities.windows(2).filter(|v| v[1] == 2.0 * v[0]).count() >= 3, "{velocities:?}");
    rounds(&mut p, ms(50), 400, 10);
    assert!(p.cc.window() > 300 * MSS, "{}", p.cc.window() / MSS);
}

/// Tencent's TQUIC takes a whole round trip, which remembers a queue that has come since.
#[test]
fn the_standing_rtt_is_of_half_a_round_trip() {
    let mut p = Path::new(Congestion::Copa, 50);
    p.fill();
    let standing = [50, 20, 20].map(|wait| {
        p.now += ms(wait);
        p.ack(1);
        copa(&p).standing.value()
    });
    assert_eq!(standing, [50, 50, 70].map(|rtt| Some(ms(rtt))));
}

#[test]
fn a_queue_that_never_empties_makes_it_compete_and_loss_makes_it_yield() {
    let mut p = Path::new(Congestion::Copa, 50);
    (0..3).for_each(|_| p.round());
    // Somebody else keeps 50 ms of queue.
    for _ in 0..5 {
        p.rtt = ms(100);
        p.round();
    }
    assert!(!copa(&p).is_competitive(), "flows with longer round trips may be there");
    for _ in 0..16 {
        p.rtt = ms(100);
        p.round();
    }
    assert_eq!((p.cc.phase(), copa(&p).is_competitive()), (Phase::Competitive, true));
    let before = copa(&p).inverse_delta;
    p.round();
    assert_eq!(copa(&p).inverse_delta, before + 1.0);
    p.fill();
    assert!(p.lose(1));
    assert!(!p.lose(1), "once per round trip");
    assert_eq!(copa(&p).inverse_delta, ((before + 1.0) / 2.0).max(INVERSE_DELTA));
    // The queue empties: default mode again.
    rounds(&mut p, ms(50), 10_000, 2);
    assert_eq!((copa(&p).is_competitive(), copa(&p).inverse_delta), (false, INVERSE_DELTA));
}

#[test]
fn default_mode_ignores_light_loss_and_yields_to_heavy() {
    for (percent, yields) in [(1, false), (28, false), (50, true)] {
        let mut p = Path::new(Congestion::Copa, 50);
        (0..3).for_each(|_| p.round());
        for _ in 0..2 * LOSS_ROUNDS {
            p.fill();
            // The first loss of a count is no heavy loss.
            assert!(
                !p.lose((p.in_flight() / MSS * percent).div_ceil(100)),
                "no answer to one loss"
            );
            p.now += p.rtt;
            p.ack_all();
        }
        assert_eq!(copa(&p).reduced.is_some(), yields, "{percent} %");
    }
}

#[test]
fn unused_windows_do_not_grow() {
    let mut p = Path::new(Congestion::Copa, 50);
    // The first packet is sent before anybody knows that there is no more.
    p.round_app_limited(3);
    let before = p.cc.window();
    for _ in 0..20 {
        p.round_app_limited(3);
    }
    assert_eq!(p.cc.window(), before);
    // Nor in congestion avoidance, although the delay would allow it.
    let mut p = Path::new(Congestion::Copa, 50);
    rounds(&mut p, ms(50), 80, 30);
    let before = p.cc.window();
    p.rtt = ms(50);
    for _ in 0..20 {
        p.round_app_limited(3);
    }
    assert!(p.cc.window() <= before + 2 * MSS, "{} {before}", p.cc.window());
}

#[test]
fn one_ack_for_a_whole_window_does_not_empty_it() {
    let mut p = Path::new(Congestion::Copa, 50);
    rounds(&mut p, ms(50), 20, 20);
    p.rtt = ms(500);
    p.fill();
    p.now += p.rtt;
    let before = p.cc.window();
    p.ack(p.in_flight() / MSS);
    assert!(p.cc.window() >= before / 2);
    assert!(p.cc.window() >= 2 * MSS);
}

#[test]
fn pacing_follows_what_the_window_will_be() {
    let mut p = Path::new(Congestion::Copa, 50);
    p.round();
    assert_eq!(p.cc.pacing_rate(p.estimate()), Some(p.cc.window() * 2 * 20), "slow start");
    rounds(&mut p, ms(50), 80, 30);
    let mut copa = copa(&p).clone();
    let packets = copa.cwnd / MSS as f64;
    (copa.direction, copa.velocity) = (Direction::Up, 1.0);
    assert!((copa.pacing_gain() - (1.05 + 2.0 / packets)).abs() < 1e-9, "{}", copa.pacing_gain());
    copa.velocity = packets / 2.0;
    assert_eq!(copa.pacing_gain(), 2.0, "a packet per packet acknowledged");
    copa.direction = Direction::Down;
    assert_eq!(copa.pacing_gain(), 1.05);
    assert!(copa.burst_time() <= ms(1) / 4);
}

#[test]
fn a_window_that_moved_fast_goes_back_when_it_passes_its_target() {
    let mut p = Path::new(Congestion::Copa, 50);
    rounds(&mut p, ms(50), 80, 30);
    let mut up = copa(&p).clone();
    (up.direction, up.velocity) = (Direction::Up, 16.0);
    up.cwnd_before = up.cwnd;
    let before = up.cwnd;
    up.cwnd += 30.0 * MSS as f64;
    let mut lossy = up.clone();
    up.pass_target(Direction::Down);
    assert_eq!((up.cwnd, up.direction, up.velocity), (before, Direction::Down, 1.0));
    up.velocity = 16.0;
    up.cwnd -= 30.0 * MSS as f64;
    up.pass_target(Direction::Up);
    assert_eq!((up.cwnd, up.direction, up.velocity), (before, Direction::Up, 1.0));
    // What heavy loss took is not given back by a turn.
    (lossy.acked, lossy.lost) = (50, 50);
    lossy.yield_to_heavy_loss(p.now);
    let after = lossy.cwnd;
    assert!(after < before);
    lossy.pass_target(Direction::Up);
    assert_eq!(lossy.cwnd, after);
}

#[test]
fn persistent_congestion_begins_again_from_two_datagrams() {
    let mut p = Path::new(Congestion::Copa, 50);
    rounds(&mut p, ms(50), 80, 30);
    p.cc.on_persistent_congestion(p.now);
    assert_eq!((p.cc.window(), p.cc.phase()), (2 * MSS, Phase::SlowStart));
}
