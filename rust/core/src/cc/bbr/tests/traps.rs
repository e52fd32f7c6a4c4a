//! Defects that other stacks shipped, each as a test that it is not here.

use super::flow::{Flow, MSS, mbps, ms};
use crate::cc::bbr::model::UNBOUNDED;
use crate::cc::bbr::{Bbr, BbrVersion, State};
use crate::cc::{
    AckEvent, Algorithm, Congestion, ControllerConfig, DeliverySnapshot, EcnEvent, LossEvent,
    RateSample,
};
use crate::recovery::Rtt;
use crate::time::{Duration, Instant};

const VERSIONS: [Congestion; 3] = [Congestion::Bbr, Congestion::Bbr2, Congestion::Bbr3];

fn new(version: BbrVersion) -> Bbr {
    let config = ControllerConfig { initial_window: None, max_datagram: MSS, paced: true, seed: 1 };
    Bbr::new(version, &config)
}

fn at(time: u64) -> Instant {
    Instant::from_nanos(1_000_000_000 + time * 1_000_000)
}

fn rtt(sample_ms: u64) -> Rtt {
    let mut rtt = Rtt::new(ms(333));
    rtt.update(at(0), ms(sample_ms), Duration::ZERO);
    rtt
}

fn ack<'a>(now: Instant, rtt: &'a Rtt, rate: &'a RateSample) -> AckEvent<'a> {
    AckEvent {
        now,
        acked_bytes: rate.delivered,
        acked_after_recovery: rate.delivered,
        lost_bytes: 0,
        prior_in_flight: 20 * MSS,
        in_flight: 10 * MSS,
        rtt,
        rtt_sample: Some(rtt.latest()),
        rate,
    }
}

/// An ACK of a whole flight, the first `delivered` bytes having been delivered before.
fn sample(prior_delivered: u64, delivery_rate: Option<u64>) -> RateSample {
    RateSample {
        delivery_rate,
        delivered: 10 * MSS,
        tx_in_flight: 20 * MSS,
        prior_delivered,
        ..RateSample::default()
    }
}

/// Tencent's TQUIC takes 85 % off where 15 % are meant.
#[test]
fn headroom_leaves_85_percent() {
    let mut b = new(BbrVersion::V3);
    assert_eq!(b.inflight_with_headroom(), UNBOUNDED);
    b.bounds.inflight_longterm = 1000 * MSS;
    assert_eq!(b.inflight_with_headroom(), 850 * MSS);
    b.bounds.inflight_longterm = 4 * MSS;
    assert_eq!(b.inflight_with_headroom(), 4 * MSS, "not below the floor");
}

/// quiche #2711: a target below the floor of the window was never reached.
#[test]
fn probe_rtt_ends_where_half_a_bdp_is_below_the_floor() {
    for version in VERSIONS {
        // A bandwidth-delay product of two packets.
        let mut f = Flow::new(version, mbps(1), ms(20));
        f.until(Duration::from_secs(15), |f| f.state() == State::ProbeRtt);
        assert!(f.bbr().probe_rtt_cwnd() == 4 * MSS);
        f.until(Duration::from_secs(1), |f| f.state() != State::ProbeRtt);
        assert!(f.utilization(Duration::from_secs(2)) > 0.9);
    }
}

/// picoquic #2118: a floor of the minimal RTT froze the probe on paths below it.
#[test]
fn very_short_paths_are_filled_and_probed() {
    for version in VERSIONS {
        let mut f = Flow::new(version, mbps(1000), Duration::from_micros(60));
        f.at.buffer = 1 << 20;
        let (mut ups, mut before) = (0, State::Startup);
        f.watch(ms(500), |f| {
            ups += u64::from(f.state() == State::ProbeUp && before != State::ProbeUp);
            before = f.state();
        });
        assert!(ups > 10, "{version:?}: {ups}");
        let used = f.utilization(ms(200));
        assert!(used > 0.95, "{version:?}: {used}");
    }
}

/// Bounds are bytes here and packets in Linux: one that ends inside a packet must be reachable.
#[test]
fn bound_inside_a_packet_ends_a_precautionary_probe() {
    let (mut b, rtt) = (new(BbrVersion::V3), rtt(40));
    b.full_pipe.set_full();
    b.state = State::ProbeUp;
    b.probe.too_high = true;
    b.bounds.inflight_longterm = 20 * MSS + 500;
    b.cwnd = b.bounds.inflight_longterm;
    let rate = sample(0, Some(1_000_000));
    b.on_ack(&ack(at(40), &rtt, &RateSample { tx_in_flight: MSS, ..rate }));
    assert_eq!(b.state, State::ProbeDown);
}

/// A probe ends at a volume in flight. A window that is smaller still, as recovery leaves it, has not
/// been there: the probe goes on, or the bound would never be tried again.
#[test]
fn a_full_window_below_the_volume_ends_no_probe() {
    for version in [BbrVersion::V2, BbrVersion::V3] {
        let (mut b, rtt) = (new(version), rtt(40));
        b.full_pipe.set_full();
        b.full_pipe.restart(0);
        b.min_rtt.inherit(ms(40));
        // 40 packets in a min_rtt.
        let rate = 1000 * MSS;
        b.max_bw.update(0, rate, 1);
        b.state = State::ProbeUp;
        b.probe.too_high = true;
        b.bounds.inflight_longterm = 60 * MSS;
        b.cwnd = 20 * MSS;
        let rate = sample(0, Some(rate));
        b.on_ack(&ack(at(100), &rtt, &rate));
        assert_eq!(b.state, State::ProbeUp, "{version:?}");
        b.on_ack(&AckEvent { prior_in_flight: 60 * MSS, ..ack(at(101), &rtt, &rate) });
        assert_eq!(b.state, State::ProbeDown, "{version:?}");
    }
}

/// s2n-quic #1698: advancing more often forgets the best samples before the next probe.
#[test]
fn bandwidth_filter_advances_once_per_cycle() {
    let mut f = Flow::new(Congestion::Bbr3, mbps(20), ms(20));
    let (mut downs, mut before) = (0, State::Startup);
    f.watch(Duration::from_secs(30), |f| {
        let b = f.bbr();
        downs += u64::from(b.state == State::ProbeDown && before != State::ProbeDown);
        // Drain and ProbeRTT may pass through ProbeDown within one ACK.
        downs += u64::from(b.state == State::ProbeCruise && before == State::Drain);
        downs += u64::from(b.state == State::ProbeCruise && before == State::ProbeRtt);
        before = b.state;
        assert!(b.probe.cycle_count <= downs);
    });
    assert!(f.bbr().probe.cycle_count >= 8, "{}", f.bbr().probe.cycle_count);
}

/// quiche 27c7804b: what was acknowledged counted again for each increment.
#[test]
fn long_term_bound_grows_by_what_was_acknowledged_once() {
    let (mut b, rtt) = (new(BbrVersion::V3), rtt(40));
    b.full_pipe.set_full();
    b.state = State::ProbeUp;
    b.cwnd = 100 * MSS;
    b.bounds.inflight_longterm = 100 * MSS;
    b.probe.set_growth(10 * MSS);
    let snapshot = DeliverySnapshot { tx_in_flight: 100 * MSS, ..DeliverySnapshot::default() };
    for round in 0..4 {
        b.cwnd = b.bounds.inflight_longterm;
        b.on_sent(at(0), MSS, &DeliverySnapshot { tx_in_flight: b.cwnd, ..snapshot });
        // 25 packets: two increments, and two and a half carried over.
        let rate = RateSample { delivered: 25 * MSS, tx_in_flight: MSS, ..sample(0, None) };
        b.delivered = 25 * MSS * (round + 1);
        let event = AckEvent { acked_bytes: 25 * MSS, ..ack(at(round), &rtt, &rate) };
        b.raise_long_term(&event);
    }
    assert_eq!(b.bounds.inflight_longterm, 110 * MSS, "100 packets at one for ten");
}

/// s2n-quic #1510: cuts of the short-term bounds in Startup.
#[test]
fn startup_is_not_slowed_by_losses_below_the_threshold() {
    for version in VERSIONS {
        let mut f = Flow::new(version, mbps(50), ms(40));
        f.at.loses = |pn| pn % 100 == 50;
        f.until(Duration::from_secs(3), |f| {
            let b = f.bbr();
            assert!(b.state != State::Startup || b.bounds.bw_shortterm == UNBOUNDED);
            b.state != State::Startup
        });
        assert!(f.bbr().max_bw.value() > mbps(45), "{version:?}");
    }
}

/// msquic #6118: a sentinel for "no RTT yet" was compared at the wrong width.
#[test]
fn without_an_rtt_sample_there_is_no_bdp() {
    let (mut b, no_rtt) = (new(BbrVersion::V3), Rtt::new(ms(333)));
    assert_eq!(b.bdp_multiple(u64::MAX, 2000), 10 * MSS);
    let rate = sample(0, Some(1_000_000));
    b.on_ack(&AckEvent { rtt_sample: None, ..ack(at(5), &no_rtt, &rate) });
    assert_eq!((b.min_rtt.estimate(), b.bdp()), (None, 10 * MSS));
    assert!(b.cwnd >= 10 * MSS);
}

/// picoquic #1753: long application-limited flows drifted down.
#[test]
fn bandwidth_is_remembered_while_the_application_sends_little() {
    for version in VERSIONS {
        let mut f = Flow::new(version, mbps(20), ms(40));
        f.run(Duration::from_secs(4));
        f.at.application = Some(mbps(1));
        f.run(Duration::from_secs(60));
        assert!(f.bbr().max_bw.value() > mbps(19), "{version:?}");
        f.at.application = None;
        let used = f.utilization(Duration::from_secs(2));
        assert!(used > 0.9, "{version:?}: {used}");
    }
}

/// mvfst #406: delays that the peer claims must not steer the window.
#[test]
fn claimed_delays_do_not_shrink_the_minimal_rtt() {
    let mut f = Flow::new(Congestion::Bbr3, mbps(20), ms(40));
    f.at.claimed_delay = ms(25);
    f.run(Duration::from_secs(2));
    assert!(f.bbr().min_rtt.estimate() >= Some(ms(40)));
}

/// Rates that cannot be told, the interval being too short, end no search and set no rate of zero.
#[test]
fn samples_without_a_rate_are_no_plateau() {
    for version in [BbrVersion::V1, BbrVersion::V2, BbrVersion::V3] {
        let (mut b, rtt) = (new(version), rtt(40));
        for round in 0..10 {
            b.on_ack(&ack(at(40 * (round + 1)), &rtt, &sample(10 * MSS * round, None)));
        }
        assert_eq!(b.state, State::Startup);
        assert!(b.pacing_rate(&rtt) > Some(0));
        b.full_pipe.set_full();
        b.set_pacing_rate(1000);
        assert!(b.pacing_rate(&rtt) > Some(0));
    }
}

/// The first window is paced for the RTT that is measured, not for the one that was guessed.
#[test]
fn initial_pacing_rate_follows_the_first_rtt() {
    let mut b = new(BbrVersion::V3);
    assert_eq!(b.pacing_rate(&Rtt::new(ms(333))), Some(12_000_000 * 277 / 100));
    let rtt = rtt(100);
    b.on_ack(&ack(at(100), &rtt, &sample(0, Some(50_000))));
    assert_eq!(b.pacing_rate(&rtt), Some(120_000 * 277 / 100));
}

/// xquic #740: after persistent congestion, losses of packets sent before began no new period, and
/// those of packets sent after must.
#[test]
fn persistent_congestion_begins_a_recovery_epoch_of_its_own() {
    let mut b = new(BbrVersion::V3);
    let loss = |sent, now| LossEvent {
        now: at(now),
        time_sent: at(sent),
        size: MSS,
        prior_in_flight: 10 * MSS,
        snapshot: DeliverySnapshot::default(),
        delivered: 100 * MSS,
        lost: 2 * MSS,
        begins_run: true,
    };
    assert!(b.on_packet_lost(&loss(0, 10)));
    b.on_persistent_congestion(at(500));
    assert_eq!(b.window(), 2 * MSS);
    assert!(!b.on_packet_lost(&loss(400, 510)));
    assert!(b.on_packet_lost(&loss(505, 600)));
}

/// A mark is never taken back, and counts as a loss does: on the whole round trip while cruising, by
/// the threshold while probing.
#[test]
fn marks_count_as_congestion() {
    for version in [BbrVersion::V2, BbrVersion::V3] {
        let (mut b, rtt) = (new(version), rtt(40));
        b.full_pipe.set_full();
        b.start_down(at(0));
        b.state = State::ProbeCruise;
        b.on_ack(&ack(at(40), &rtt, &sample(0, Some(1_000_000))));
        let report = |now, ce| EcnEvent {
            now: at(now),
            time_sent: at(now - 40),
            in_flight: 10 * MSS,
            ect: 10,
            ce,
            rtt: &rtt,
        };
        assert!(!b.on_ecn(&report(50, 0)));
        assert!(b.on_ecn(&report(60, 1)));
        assert!(!b.undo());
        b.state = State::ProbeCruise;
        b.on_ack(&ack(at(80), &rtt, &sample(b.delivered, Some(900_000))));
        assert_eq!(b.bounds.bw_shortterm, 1_000_000, "the best of the round trip");

        b.state = State::ProbeUp;
        b.probe.samples = true;
        b.on_ecn(&report(120, 1));
        assert_eq!(b.state, State::ProbeDown, "one of 20 packets is 5 %");
        assert!(b.bounds.inflight_longterm <= 20 * MSS);
    }
}

/// quinn #2627 and others: ten packets after idle overflow thin links.
#[test]
fn restart_from_idle_is_a_burst_of_the_path() {
    let mut b = new(BbrVersion::V3);
    assert_eq!(b.restart_datagrams(), 10, "the initial window");
    b.pacing_rate = Some(mbps(2));
    assert_eq!(b.restart_datagrams(), 2);
    b.pacing_rate = Some(mbps(1000));
    assert_eq!(b.restart_datagrams(), 10);
}

/// Four acknowledgements per round trip, not two: the window is twice what is in flight.
#[test]
fn acknowledgements_are_reckoned_by_what_is_in_flight() {
    let mut f = Flow::new(Congestion::Bbr3, mbps(50), ms(40));
    f.until_state(State::ProbeCruise);
    assert!(f.r.usual_flight() <= f.bdp() * 11 / 10 && f.r.cwnd() >= f.bdp() * 18 / 10);
}

/// Without packet conservation and a window that comes back, version 1 collapses under random loss or
/// never recovers from it.
#[test]
fn version_1_conserves_packets_for_one_round_and_restores_the_window() {
    let mut f = Flow::new(Congestion::Bbr, mbps(50), ms(40));
    f.run(Duration::from_secs(2));
    let window = f.r.cwnd();
    f.at.loses = |pn| pn % 150 == 0;
    f.until(Duration::from_secs(1), |f| f.bbr().conserving);
    f.at.loses = |_| false;
    assert!(f.r.cwnd() <= window);
    f.until(ms(100), |f| !f.bbr().conserving);
    f.run(ms(200));
    assert!(f.bbr().recovering.is_none() && f.r.cwnd() >= window * 95 / 100);
}

/// Losses while ProbeRTT ends: were its few packets the window of the round trips to come, what they
/// deliver would be all that the bandwidth filter still knows.
#[test]
fn version_1_gets_its_window_back_from_probe_rtt_in_spite_of_losses() {
    let (mut b, rtt) = (new(BbrVersion::V1), rtt(40));
    b.full_pipe.set_full();
    b.min_rtt.inherit(ms(40));
    b.max_bw.update(0, 2500 * MSS, 10);
    b.cwnd = 200 * MSS;
    b.save_cwnd();
    (b.state, b.cwnd) = (State::ProbeRtt, 4 * MSS);
    let loss = LossEvent {
        now: at(10),
        time_sent: at(0),
        size: MSS,
        prior_in_flight: 4 * MSS,
        snapshot: DeliverySnapshot::default(),
        delivered: 100 * MSS,
        lost: MSS,
        begins_run: true,
    };
    assert!(b.on_packet_lost(&loss) && b.conserving);
    assert_eq!(b.cwnd, 3 * MSS, "what was lost is not replaced");
    b.restore_cwnd();
    b.state = State::ProbeCruise;
    let rate = RateSample { delivered: MSS, ..sample(0, None) };
    b.set_cwnd(&AckEvent { in_flight: 2 * MSS, ..ack(at(11), &rtt, &rate) });
    assert_eq!((b.cwnd, b.prior_cwnd), (100 * MSS, 200 * MSS));
}

/// The slow phase would waste a round trip on a queue that Drain has emptied.
#[test]
fn version_1_never_begins_its_cycle_with_the_slow_phase() {
    for seed in 0..100 {
        let config =
            ControllerConfig { initial_window: None, max_datagram: MSS, paced: true, seed };
        let mut b = Bbr::new(BbrVersion::V1, &config);
        b.enter_gain_cycle(at(0));
        assert!(b.state != State::ProbeDown && b.gain_phase < 8);
    }
}
