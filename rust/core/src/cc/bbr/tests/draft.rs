//! The example test cases of draft-ietf-ccwg-bbr-06 (appendix "BBR Example Test Cases"), in its order
//! and with its names.

use super::flow::{Flow, MSS, Policer, mbps, ms};
use crate::cc::Congestion;
use crate::cc::bbr::State;
use crate::cc::bbr::model::UNBOUNDED;
use crate::time::Duration;

/// 20 Mbit/s, 40 ms: 83 packets.
fn flow() -> Flow {
    Flow::new(Congestion::Bbr3, mbps(20), ms(40))
}

#[track_caller]
fn assert_close(value: u64, expected: u64, tolerance: f64) {
    let ratio = value as f64 / expected as f64;
    assert!((ratio - 1.0).abs() <= tolerance, "{value} is not {expected} within {tolerance}");
}

#[test]
fn exiting_startup_on_bandwidth_plateau() {
    let mut f = flow();
    f.until(Duration::from_secs(5), |f| {
        let b = f.bbr();
        assert_eq!(b.full_pipe.reached, b.state != State::Startup);
        b.full_pipe.reached
    });
    assert_eq!(f.state(), State::Drain);
    assert!(f.bbr().full_pipe.now);
    assert_close(f.bbr().max_bw.value(), mbps(20), 0.02);
}

#[test]
fn exiting_startup_on_loss_when_application_limited() {
    let mut f = flow();
    f.at.application = Some(mbps(8));
    f.run(Duration::from_secs(2));
    assert_eq!(f.state(), State::Startup);
    // Some eight runs of losses in each round trip of 33 packets.
    f.at.loses = |pn| pn % 4 == 0;
    f.until(Duration::from_secs(5), |f| f.state() != State::Startup);
    let b = f.bbr();
    // What the application sends leaves nothing to drain: Drain ends with the ACK that begins it.
    assert!(b.is_in_probe_bw() && b.drain_start_round == b.round.count);
    assert!(b.full_pipe.now && b.full_pipe.reached && b.sample.app_limited);
    assert!(b.bounds.inflight_longterm >= b.bdp() && b.bounds.inflight_longterm < UNBOUNDED);
}

#[test]
fn exiting_drain_based_on_inflight() {
    let mut f = flow();
    f.until_state(State::Drain);
    assert_eq!(f.bbr().gains(), (500, 2000));
    let start = f.bbr().round.count;
    f.until(Duration::from_secs(2), |f| {
        let b = f.bbr();
        let drained = f.r.bytes_in_flight() <= b.inflight(b.bw(), 1000);
        // What was sent since the ACK may be more again.
        assert!(b.state == State::Drain || drained || f.r.bytes_in_flight() < f.bdp() * 11 / 10);
        b.state != State::Drain
    });
    assert!(f.bbr().is_in_probe_bw());
    assert!(f.bbr().round.count - start <= 3);
}

#[test]
fn exiting_drain_based_on_time() {
    let mut f = flow();
    f.at.buffer *= 10;
    f.until_state(State::Drain);
    // More than the 10 % of the draft: pacing at half the bandwidth drains that within a round trip.
    f.at.rate = f.at.rate * 4 / 10;
    let start = f.bbr().drain_start_round;
    f.until(Duration::from_secs(5), |f| f.state() != State::Drain);
    let b = f.bbr();
    assert_eq!((b.state, b.round.count), (State::ProbeDown, start + 4));
    assert!(f.r.bytes_in_flight() > b.inflight(b.bw(), 1000));
}

#[test]
fn exiting_probe_up_on_bandwidth_plateau() {
    let mut f = flow();
    f.until_state(State::ProbeUp);
    assert_eq!(f.bbr().gains(), (1250, 2250));
    let start = f.bbr().round.count;
    f.until(Duration::from_secs(2), |f| f.state() != State::ProbeUp);
    let b = f.bbr();
    assert_eq!(b.state, State::ProbeDown);
    assert!(b.full_pipe.now && !b.probe.too_high);
    assert!((3..=6).contains(&(b.round.count - start)));
    assert_eq!(f.r.stats().lost_packets, 0);
}

#[test]
fn exiting_probe_up_on_loss_when_application_limited() {
    let mut f = flow();
    f.until_state(State::ProbeUp);
    f.at.application = Some(mbps(10));
    f.run(ms(300));
    assert_eq!(f.state(), State::ProbeUp);
    assert_eq!(f.bbr().bounds.inflight_longterm, UNBOUNDED);
    f.at.loses = |pn| pn % 10 == 0;
    f.until(Duration::from_secs(1), |f| f.state() != State::ProbeUp);
    let b = f.bbr();
    // By way of ProbeDown, which has nothing to drain either.
    assert_eq!(b.state, State::ProbeCruise);
    assert!(b.probe.too_high);
    // Appropriately: HandleInflightTooHigh() lowers the bound only if the application did not limit.
    assert_eq!(b.bounds.inflight_longterm, UNBOUNDED);
}

#[test]
fn never_exiting_probe_up_or_startup_when_application_limited_with_no_loss() {
    let mut f = flow();
    f.at.application = Some(mbps(5));
    // Not past the first ProbeRTT, in which little is sent for another reason.
    f.watch(ms(4900), |f| assert_eq!(f.state(), State::Startup));
    let mut f = flow();
    f.until_state(State::ProbeUp);
    f.at.application = Some(mbps(10));
    // Samples of before are not limited for another round trip or two.
    f.watch(ms(1500), |f| assert_eq!(f.state(), State::ProbeUp));
}

#[test]
fn exiting_probe_down_on_inflight() {
    let mut f = flow();
    f.until_state(State::ProbeUp);
    f.until_state(State::ProbeDown);
    assert_eq!(f.bbr().gains().0, 900);
    let b = f.bbr();
    assert!(f.r.bytes_in_flight() > b.inflight(b.max_bw.value(), 1000));
    f.until(Duration::from_secs(2), |f| f.state() != State::ProbeDown);
    let b = f.bbr();
    assert_eq!(b.state, State::ProbeCruise);
    let target = b.inflight(b.max_bw.value(), 1000).min(b.inflight_with_headroom());
    assert!(f.r.bytes_in_flight() <= target);
}

#[test]
fn exiting_probe_down_after_max_time() {
    let mut f = Flow::new(Congestion::Bbr3, mbps(20), ms(100));
    f.at.buffer *= 10;
    f.until_state(State::ProbeRefill);
    // A lower round-trip time keeps ProbeRTT away. It reorders two packets, which are not lost.
    f.at.round_trip = ms(99);
    f.until_state(State::ProbeUp);
    f.until_state(State::ProbeDown);
    // The queue stays: 0.9 times the bandwidth arrives and less leaves.
    f.at.rate = f.at.rate * 85 / 100;
    let entered = f.now;
    f.until(Duration::from_secs(4), |f| f.state() != State::ProbeDown);
    assert_eq!(f.state(), State::ProbeRefill, "not by way of ProbeCruise");
    assert!(f.now - entered >= Duration::from_secs(2));
}

#[test]
fn entering_and_exiting_probe_rtt() {
    let mut f = flow();
    f.until(Duration::from_secs(6), |f| f.state() == State::ProbeRtt);
    assert!(f.elapsed() > Duration::from_secs(5));
    assert_eq!(f.bbr().gains().1, 500);
    let entered = f.now;
    f.run(ms(150));
    assert_eq!(f.state(), State::ProbeRtt);
    assert!(f.r.bytes_in_flight() <= f.bdp() / 2 + MSS);
    f.until(Duration::from_secs(1), |f| f.state() != State::ProbeRtt);
    assert!((ms(200)..ms(400)).contains(&(f.now - entered)));
    assert_eq!(f.state(), State::ProbeCruise);
    assert_close(f.bbr().max_bw.value(), mbps(20), 0.02);
    assert!(f.utilization(Duration::from_secs(2)) > 0.95);
}

#[test]
fn skipping_probe_rtt_due_to_application_limited_sending() {
    let mut f = flow();
    f.until_state(State::ProbeCruise);
    f.at.application = Some(0);
    f.run(Duration::from_secs(6));
    assert_eq!(f.r.bytes_in_flight(), 0);
    f.at.application = None;
    f.until(ms(1), |f| f.r.bytes_in_flight() > 0);
    assert!(f.bbr().idle_restart);
    f.watch(Duration::from_secs(2), |f| assert_ne!(f.state(), State::ProbeRtt));
    assert!(!f.bbr().idle_restart);
}

#[test]
fn achieving_expected_startup_bandwidth_on_a_link_with_aggregation() {
    let mut f = flow();
    f.at.clump = Some(ms(30));
    let mut rates = Vec::new();
    f.until(Duration::from_secs(5), |f| {
        if rates.last() != Some(&f.bbr().max_bw.value()) {
            rates.push(f.bbr().max_bw.value());
        }
        f.state() != State::Startup
    });
    let b = f.bbr();
    // A clump is 30 ms of the rate; most of it comes in excess.
    assert!(b.aggregation.extra() > mbps(20) * 15 / 1000, "{}", b.aggregation.extra());
    assert!(b.cwnd > 2 * f.bdp());
    // Capped by the rate of sending, so that clumps do not look like bandwidth.
    assert_close(b.max_bw.value(), mbps(20), 0.25);
    f.run(Duration::from_secs(4));
    assert_close(f.bbr().max_bw.value(), mbps(20), 0.02);
}

#[test]
fn achieving_expected_cruise_bandwidth_on_a_link_with_aggregation() {
    let mut f = flow();
    f.until_state(State::ProbeCruise);
    let before = f.bbr().aggregation.extra();
    f.at.clump = Some(ms(40));
    f.run(Duration::from_secs(1));
    let b = f.bbr();
    assert!(b.aggregation.extra() > before + mbps(20) * 20 / 1000);
    assert!(b.cwnd >= 2 * b.bdp() + b.aggregation.extra() - MSS);
    assert!(f.utilization(Duration::from_secs(3)) > 0.95);
}

#[test]
fn correctly_managing_sub_packet_bdps() {
    // 10 ms of 64 kbit/s are 80 bytes.
    let mut f = Flow::new(Congestion::Bbr3, 8000, ms(10));
    f.at.buffer = 20 * MSS;
    f.until_state(State::ProbeCruise);
    f.watch(Duration::from_secs(20), |f| assert!(f.r.cwnd() >= 4 * MSS));
    assert_close(f.r.pacing_rate().unwrap(), 8000, 0.26);
    assert_close(f.bbr().max_bw.value(), 8000, 0.02);
    assert!(f.utilization(Duration::from_secs(20)) > 0.95);
}

#[test]
fn increasing_bandwidth_10x_and_ensuring_full_bandwidth_is_reached() {
    let mut f = Flow::new(Congestion::Bbr3, mbps(10), ms(40));
    // A first loss sets inflight_longterm.
    f.at.buffer = f.bdp() / 4;
    f.until(Duration::from_secs(20), |f| f.bbr().bounds.inflight_longterm < UNBOUNDED);
    f.until_state(State::ProbeCruise);
    f.at.rate = mbps(100);
    f.at.buffer = f.bdp();
    let mut steps = Vec::new();
    let mut last = (0, f.bbr().bounds.inflight_longterm);
    f.until(Duration::from_secs(40), |f| {
        let b = f.bbr();
        if b.state == State::ProbeUp && b.probe.growth_rounds() != last.0 {
            steps.push(b.bounds.inflight_longterm - last.1);
            last = (b.probe.growth_rounds(), b.bounds.inflight_longterm);
        }
        b.max_bw.value() > mbps(98)
    });
    // The step doubles: the last one dwarfs those before.
    assert!(steps.iter().max() > Some(&(20 * MSS)), "{steps:?}");
    f.run(Duration::from_secs(6));
    assert!(f.utilization(Duration::from_secs(5)) > 0.9);
}

#[test]
fn decreasing_bandwidth_10x_and_ensuring_max_bandwidth_adapts_down() {
    let mut f = Flow::new(Congestion::Bbr3, mbps(100), ms(40));
    f.until(Duration::from_secs(5), |f| f.bbr().probe.cycle_count > 0);
    let cycle = f.bbr().probe.cycle_count;
    f.at.rate = mbps(10);
    f.at.buffer = f.bdp();
    f.run(Duration::from_secs(1));
    assert!(f.bbr().bounds.bw_shortterm < mbps(50), "losses bound it soon");
    f.until(Duration::from_secs(30), |f| f.bbr().max_bw.value() < mbps(11));
    assert!(f.bbr().probe.cycle_count <= cycle + 2, "two cycles");
    f.run(Duration::from_secs(5));
    assert!(f.utilization(Duration::from_secs(10)) > 0.85);
}

#[test]
fn handling_token_bucket_policers() {
    let mut f = Flow::new(Congestion::Bbr3, mbps(100), ms(40));
    let burst = 500_000;
    let updated = f.now;
    f.at.policer = Some(Policer { rate: mbps(10), burst, tokens: burst, updated });
    let mut bounded = false;
    f.watch(Duration::from_secs(20), |f| {
        let b = &f.bbr().bounds;
        bounded |= b.bw_shortterm < UNBOUNDED && b.inflight_shortterm < UNBOUNDED;
    });
    assert!(bounded);
    let (lost, sent) = (f.r.stats().lost_packets, f.r.next_pn(tquic_wire::Space::Data));
    let before = f.delivered;
    f.run(Duration::from_secs(30));
    let lost = f.r.stats().lost_packets - lost;
    let sent = f.r.next_pn(tquic_wire::Space::Data) - sent;
    assert!(lost * 10 <= sent * 3, "{lost} of {sent}");
    assert!(f.delivered - before > mbps(10) * 30 * 7 / 10);
}

#[test]
fn handling_spurious_fast_recovery() {
    let mut f = flow();
    // Reordered in ProbeUp, beyond what loss detection tolerates.
    f.until_state(State::ProbeUp);
    let (longterm, window) = (f.bbr().bounds.inflight_longterm, f.r.cwnd());
    f.at.delays = |pn, _| if pn % 40 < 4 { ms(25) } else { Duration::ZERO };
    f.until(Duration::from_secs(1), |f| f.state() == State::ProbeDown);
    assert_eq!(f.bbr().undo.probing, Some(State::ProbeUp));
    assert!(f.bbr().bounds.inflight_longterm < longterm);
    f.at.delays = |_, _| Duration::ZERO;
    f.until(Duration::from_secs(1), |f| f.r.stats().undone_events > 0);
    let b = f.bbr();
    assert_eq!((b.state, b.bounds.inflight_longterm), (State::ProbeRefill, longterm));
    assert_eq!((b.bounds.bw_shortterm, b.bounds.inflight_shortterm), (UNBOUNDED, UNBOUNDED));
    assert!(b.cwnd >= window);
    f.until(ms(200), |f| f.state() == State::ProbeUp);
}

#[test]
fn handling_spurious_rto_recovery() {
    let mut f = flow();
    f.run(ms(1000));
    let window = f.r.cwnd();
    let before = f.bbr().bounds;
    // All that is sent for 700 ms arrives only when a later packet has established persistent
    // congestion.
    f.at.delays = |_, sent| {
        if (ms(1000)..ms(1700)).contains(&sent) { ms(2600) - sent } else { Duration::ZERO }
    };
    f.until(Duration::from_secs(2), |f| f.r.stats().persistent_congestion > 0);
    assert_eq!(f.r.cwnd(), 2 * MSS);
    f.until(Duration::from_secs(1), |f| f.r.stats().undone_events > 0);
    let b = f.bbr();
    assert!(b.cwnd >= window.min(b.bdp()), "{} {window}", b.cwnd);
    assert!(b.bounds.bw_shortterm >= before.bw_shortterm);
    assert!(b.bounds.inflight_longterm >= before.inflight_longterm);
    assert!(f.utilization(Duration::from_secs(1)) > 0.9);
}

#[test]
fn entering_and_exiting_probe_rtt_during_startup() {
    let mut f = flow();
    f.at.application = Some(mbps(5));
    f.until(Duration::from_secs(6), |f| f.state() == State::ProbeRtt);
    assert!(!f.bbr().full_pipe.reached);
    f.until(Duration::from_secs(1), |f| f.state() != State::ProbeRtt);
    assert_eq!(f.state(), State::Startup);
    f.at.application = None;
    f.until_state(State::Drain);
    assert_close(f.bbr().max_bw.value(), mbps(20), 0.02);
}

#[test]
fn handling_loss_during_probe_up_after_inflight_longterm_is_set() {
    let mut f = flow();
    f.at.buffer = f.bdp() / 4;
    f.until(Duration::from_secs(20), |f| f.bbr().bounds.inflight_longterm < UNBOUNDED);
    f.until_state(State::ProbeCruise);
    f.at.buffer = 2 * f.bdp();
    f.until(Duration::from_secs(20), |f| f.state() == State::ProbeUp && !f.bbr().probe.too_high);
    let before = f.bbr().bounds.inflight_longterm;
    let target = f.bbr().target_inflight();
    f.at.loses = |pn| pn % 8 == 0;
    f.until(ms(500), |f| f.state() != State::ProbeUp);
    let b = f.bbr();
    assert_eq!(b.state, State::ProbeDown);
    assert!(b.probe.too_high);
    let after = b.bounds.inflight_longterm;
    assert!(after < before && after >= target * 7 / 10, "{before} {after} {target}");
}

#[test]
fn handling_application_limited_sending_during_probe_refill() {
    let mut f = flow();
    f.until_state(State::ProbeRefill);
    let bw = f.bbr().max_bw.value();
    f.at.application = Some(mbps(2));
    f.until(Duration::from_secs(2), |f| {
        assert!(f.bbr().max_bw.value() >= bw);
        f.state() != State::ProbeRefill
    });
    assert_eq!(f.state(), State::ProbeUp);
    f.run(ms(300));
    assert!(f.bbr().max_bw.value() >= bw);
    f.at.application = None;
    f.until(Duration::from_secs(2), |f| f.state() == State::ProbeDown);
    assert_close(f.bbr().max_bw.value(), mbps(20), 0.02);
}
