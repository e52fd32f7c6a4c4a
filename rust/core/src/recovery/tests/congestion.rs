//! Window, pacing, persistent congestion.

use super::*;

/// RFC 9002 section 7.6.3, with a probe timeout of 2 s.
/// RFC 9002 section 7.6.2.
#[test]
fn persistent_congestion_example_of_the_rfc() {
    let mut b = Bench::new();
    let delay = ms(975);
    b.send(Space::Data, 0);
    let ack = |b: &mut Bench, time_ms, ranges: &[RangeInclusive<u64>]| {
        let mut buf = [0; 100];
        let mut w = Writer::new(&mut buf);
        ack::write(&mut w, None, ranges.iter().cloned(), 0, None, 100);
        let Some(Ok(Frame::Ack(ack))) = FrameIter::new(w.written()).next() else { panic!() };
        b.r.on_ack(at(time_ms), Space::Data, &ack, Duration::ZERO, delay, &mut b.sink).unwrap()
    };
    ack(&mut b, 400, &[0..=0]);
    let base = 1000;
    for t in [800, 1000] {
        b.send(Space::Data, base + t); // packets 1, 2
    }
    ack(&mut b, base + 1200, &[1..=1]);
    for t in [2000, 3000, 4000, 5000, 6000, 8000, 12000] {
        b.send(Space::Data, base + t); // packets 3 to 9
    }
    let s = ack(&mut b, base + 12_200, &[9..=9]);
    assert_eq!(s.lost_packets, 7);
    // smoothed_rtt 375 ms, rttvar 162.5 ms.
    assert_eq!(b.r.pto_period(Space::Data, delay), ms(2000));
    assert!(s.persistent_congestion);
    assert_eq!((b.r.cwnd(), b.r.stats().persistent_congestion), (2 * MSS, 1));
    assert_eq!(b.r.rtt().min(), ms(200), "restarted from the newest sample");
}

/// Sends packets 1 to 7 at the times of the example's losses and acknowledges the last.
fn outage(acknowledged_between: Option<u64>, sampled: bool) -> AckSummary {
    let mut b = if sampled { Bench::warmed(100) } else { Bench::new() };
    let first = b.r.next_pn(Space::Data);
    for t in 0..7 {
        b.send(Space::Data, 1000 + 1000 * t);
    }
    let mut ranges = vec![first + 6..=first + 6];
    ranges.extend(acknowledged_between.map(|n| first + n..=first + n));
    b.ack(Space::Data, 7100, &ranges).unwrap()
}

#[test]
fn persistent_congestion_needs_an_unbroken_outage_and_an_earlier_sample() {
    assert!(outage(None, true).persistent_congestion);
    assert!(!outage(None, false).persistent_congestion, "no RTT sample existed");
    // 5 s between the outer losses, 2 and 2 s around the middle; the duration is 975 ms.
    assert!(outage(Some(3), true).persistent_congestion, "either half is long enough");
    let mut b = Bench::warmed(100);
    for t in [1000, 1500, 2000, 2500, 3000] {
        b.send(Space::Data, t);
    }
    let s = b.ack(Space::Data, 3100, &[5..=5, 3..=3]).unwrap();
    assert_eq!(s.lost_packets, 3);
    assert!(!s.persistent_congestion, "0.5 s each, broken by packet 3");
}

#[test]
fn persistent_congestion_adds_up_over_several_acks() {
    let mut b = Bench::warmed(100);
    for t in [1000, 1600, 2290] {
        b.send(Space::Data, t);
    }
    // The last two, so that the packet threshold of the first is not all there is.
    b.send(Space::Data, 2300);
    b.send(Space::Data, 2310);
    assert!(!b.ack(Space::Data, 2330, &[4..=4]).unwrap().persistent_congestion);
    let action = b.timeout(2400, &established());
    assert_eq!(action, TimeoutAction::Loss);
    assert_eq!(b.r.stats().persistent_congestion, 1, "packets 1 to 3 over 1.3 s");
}

#[test]
fn a_probe_timeout_alone_changes_no_window() {
    let mut b = Bench::warmed(100);
    b.send_many(5, 100);
    let before = b.r.cwnd();
    for n in 1..6 {
        b.timeout(100 + 1000 * (1 << n), &established());
    }
    assert_eq!((b.r.cwnd(), b.r.stats().congestion_events), (before, 0));
}

#[test]
fn losses_of_one_flight_cut_once() {
    let mut b = Bench::warmed(100);
    let window = b.r.cwnd();
    b.send_many(11, 100);
    b.ack(Space::Data, 200, &[5..=5]).unwrap();
    let cut = b.r.cwnd();
    assert_eq!(cut, window / 2);
    b.ack(Space::Data, 210, &[11..=11, 5..=5]).unwrap();
    assert_eq!((b.r.cwnd(), b.r.stats().congestion_events), (cut, 1));
    assert!(b.r.stats().lost_packets >= 7);
}

/// RFC 9002 section 7.
#[test]
fn budget_is_the_window_before_the_first_sample() {
    let mut b = Bench::new();
    assert_eq!(b.r.budget(at(0)), SendBudget { bytes: 10 * MSS, next_release: None });
    b.send_many(10, 0);
    assert_eq!(b.r.budget(at(0)), SendBudget::default());
}

#[test]
fn very_short_paths_are_not_paced() {
    let mut b = Bench::new();
    b.r.rtt.update(at(0), Duration::from_micros(900), Duration::ZERO);
    assert_eq!((b.r.pacing_rate(), b.r.budget(at(0)).bytes), (None, 10 * MSS));
    let mut b = Bench::with(RecoveryConfig { pacing: false, ..RecoveryConfig::default() });
    b.r.rtt.update(at(0), ms(100), Duration::ZERO);
    assert_eq!((b.r.pacing_rate(), b.r.budget(at(0)).bytes), (None, 10 * MSS));
}

/// A path with the given window in packets and RTT, out of slow start.
fn paced(window: u64, rtt: Duration) -> Bench {
    let mut b = Bench::with(RecoveryConfig {
        initial_window: Some(window * MSS),
        congestion: Congestion::NewReno,
        ..RecoveryConfig::default()
    });
    b.r.rtt.update(at(0), rtt, Duration::ZERO);
    b
}

/// RFC 9002 section 7.7.
#[test]
fn bursts_follow_rate_window_and_segment_limits() {
    // Slow start paces at twice the window per RTT.
    let burst = |window, rtt_ms| {
        let b = paced(window, ms(rtt_ms));
        b.r.burst_size(b.r.pacing_rate().unwrap())
    };
    assert_eq!(burst(10, 200), MSS, "below 1.2 Mbit/s one packet at a time");
    assert_eq!(burst(1000, 100), 1000 * MSS * 2 / 100, "1 ms of rate");
    assert_eq!(burst(8, 1), 2 * MSS, "a quarter of the window");
    assert_eq!(burst(10_000, 10), 65_536);
}

#[test]
fn idle_senders_may_send_ten_packets_then_wait() {
    let mut b = paced(100, ms(100));
    let budget = b.r.budget(at(1000));
    assert_eq!(budget, SendBudget { bytes: 10 * MSS, next_release: None });
    b.send_many(10, 1000);
    let SendBudget { bytes: 0, next_release: Some(release) } = b.r.budget(at(1000)) else {
        panic!("the pacer holds back")
    };
    // 2.4 MB/s: the burst of 2400 bytes takes a millisecond.
    assert_eq!(release, at(1001));
    let budget = b.r.budget(release);
    assert_eq!(budget, SendBudget { bytes: 2 * MSS, next_release: None });
    assert_eq!(b.r.budget(at(5000)).bytes, 4 * MSS, "nobody was kept waiting: one burst more");
}

/// Processes wait milliseconds for their turn. A flow that left unsent what such a wait costs was
/// pushed aside by flows that are limited by their windows, the more so with small bursts after
/// losses: the slower it is, the fewer acknowledgments wake it.
#[test]
fn late_timers_cost_no_rate() {
    let mut b = paced(1000, ms(100));
    b.r.lossy_round = Some(b.r.sampler.round());
    let rate = b.r.pacing_rate().unwrap();
    let mut sent = 0;
    for t in (100..150).step_by(6) {
        while b.r.budget(at(t)).bytes >= MSS {
            b.send(Space::Data, t);
            sent += MSS;
        }
    }
    let worth = rate * 48 / 1000;
    assert!((worth * 9 / 10..worth * 11 / 10).contains(&sent), "{sent} of {worth} bytes");
    // But no more than a quarter of the window at once, whatever the rate.
    assert_eq!(b.r.catch_up_size(u64::MAX / 2), b.r.cwnd() / 4);
}

#[test]
fn bursts_shrink_after_loss_until_a_clean_round() {
    let mut b = paced(1000, ms(100));
    b.send_many(100, 0);
    assert_eq!(b.ack(Space::Data, 100, &[1..=99]).unwrap().lost_packets, 1);
    let small = b.r.burst_size(b.r.pacing_rate().unwrap());
    let rate = b.r.pacing_rate().unwrap();
    assert_eq!(small, (2 * MSS).max(rate / 4000));
    let mut t = 113;
    for _ in 0..3 {
        let pn = b.r.next_pn(Space::Data);
        b.send_many(50, t);
        t += 100;
        b.ack(Space::Data, t, &[pn..=pn + 49]).unwrap();
    }
    let rate = b.r.pacing_rate().unwrap();
    assert_eq!(b.r.burst_size(rate), rate / 1000);
}

#[test]
fn recovery_is_rate_reduced_not_stopped() {
    let mut b = paced(100, ms(100));
    b.send_many(100, 0);
    b.ack(Space::Data, 100, &[3..=3]).unwrap();
    assert_eq!(b.r.phase(), Phase::Recovery);
    assert_eq!(b.r.cwnd(), 50 * MSS);
    assert!(b.r.bytes_in_flight() > b.r.cwnd());
    let quota = b.r.controller.available(b.r.bytes_in_flight());
    assert!((MSS..3 * MSS).contains(&quota), "{quota}");
}

#[test]
fn recovery_lets_a_packet_out_when_nothing_is_in_flight() {
    let mut b = Bench::warmed(100);
    b.send_many(3, 200);
    // 3 arrives, 1 and 2 are lost by time: one packet goes out at once, and is lost as well.
    b.ack(Space::Data, 300, &[3..=3]).unwrap();
    assert_eq!(b.timeout(320, &established()), TimeoutAction::Loss);
    assert_eq!(b.r.phase(), Phase::Recovery);
    b.send(Space::Data, 320);
    let ack_only = SentPacket { in_flight: false, ack_eliciting: false, ..SentPacket::default() };
    b.send_packet(Space::Data, ack_only);
    b.ack(Space::Data, 415, &[5..=5]).unwrap();
    assert_eq!(b.timeout(440, &established()), TimeoutAction::Loss);
    assert_eq!((b.r.bytes_in_flight(), b.r.timeout(&established())), (0, None));
    assert!(b.r.budget(at(500)).bytes >= MSS, "{:?}", b.r.budget(at(500)));
}

#[test]
fn marks_cut_the_window_once_per_round() {
    let mut b = paced(100, ms(100));
    b.send_many(100, 0);
    b.r.on_ecn(at(100), at(0), 0, 1);
    b.r.on_ecn(at(101), at(0), 5, 1);
    assert_eq!((b.r.cwnd(), b.r.stats().congestion_events), (50 * MSS, 1));
    b.r.on_ecn(at(200), at(150), 0, 2);
    assert_eq!(b.r.cwnd(), 25 * MSS);
}

#[test]
fn app_limited_samples_are_marked() {
    let mut b = Bench::warmed(100);
    b.send(Space::Data, 200);
    b.r.on_out_of_data(at(200));
    b.r.budget(at(210));
    b.send(Space::Data, 210);
    assert!(!b.ack(Space::Data, 300, &[1..=1]).unwrap().rate.app_limited);
    let rate = b.ack(Space::Data, 310, &[1..=2]).unwrap().rate;
    assert!(rate.app_limited);
}

/// A process that waits for its turn sends late. Who paces at what was measured would take that for
/// the rate of the path, and sink with every late timer.
#[test]
fn what_late_timers_cost_is_not_measured() {
    for (congestion, marked) in [(Congestion::Bbr, true), (Congestion::Cubic, false)] {
        let initial_window = Some(100 * MSS);
        let mut b =
            Bench::with(RecoveryConfig { congestion, initial_window, ..RecoveryConfig::default() });
        b.send(Space::Data, 0);
        b.ack(Space::Data, 100, &[0..=0]).unwrap();
        let mut sent = 0;
        while b.r.budget(at(200)).bytes >= MSS {
            b.send(Space::Data, 200);
            sent += 1;
        }
        assert!(b.r.budget(at(200)).next_release.is_some(), "{congestion:?}");
        assert!(b.r.budget(at(280)).bytes >= MSS, "{congestion:?}");
        b.send(Space::Data, 280);
        let rate = b.ack(Space::Data, 380, &[1..=sent + 1]).unwrap().rate;
        assert_eq!(rate.app_limited, marked, "{congestion:?}");
    }
}

#[test]
fn idle_l4s_senders_send_no_burst() {
    for (congestion, packets) in [(Congestion::Cubic, 10), (Congestion::Prague, 1)] {
        let mut b = Bench::with(RecoveryConfig { congestion, ..RecoveryConfig::default() });
        b.send(Space::Data, 0);
        b.ack(Space::Data, 100, &[0..=0]).unwrap();
        assert_eq!(b.r.budget(at(5000)).bytes, packets * MSS, "{congestion:?}");
    }
}

#[test]
fn bursts_of_l4s_senders_last_a_quarter_of_a_millisecond() {
    let congestion = Congestion::Prague;
    let initial_window = Some(10_000 * MSS);
    let mut b =
        Bench::with(RecoveryConfig { congestion, initial_window, ..RecoveryConfig::default() });
    b.send(Space::Data, 0);
    b.ack(Space::Data, 100, &[0..=0]).unwrap();
    let rate = b.r.pacing_rate().unwrap();
    b.r.budget(at(100));
    assert_eq!(b.r.pace.burst, rate / 4000);
    assert!(b.r.pace.burst > 20 * MSS);
}

#[test]
fn controllers_change_on_a_live_path() {
    use Congestion::*;
    let all = [NewReno, Cubic, Prague, Copa, Bbr, Bbr2, Bbr3, External];
    for from in all {
        for to in all {
            let mut b =
                Bench::with(RecoveryConfig { congestion: from, ..RecoveryConfig::default() });
            let mut sent = 0;
            for round in 0..3 {
                let window = b.r.cwnd() / MSS;
                b.send_many(window, round * 100);
                b.ack(Space::Data, (round + 1) * 100, &[0..=sent + window - 1]).unwrap();
                sent += window;
            }
            let (window, rtt) = (b.r.cwnd(), b.r.rtt().clone());
            let startup = b.r.phase().is_startup();
            b.r.set_congestion(to);
            assert_eq!((b.r.congestion(), b.r.cwnd()), (to, window), "{from:?} {to:?}");
            assert_eq!(b.r.rtt().smoothed(), rtt.smoothed());
            assert_eq!(b.r.phase().is_startup(), startup, "{from:?} {to:?}");
            // A path that replaces this one has the new controller from the start.
            b.r.reset_for_new_path(at(1000));
            assert_eq!(b.r.congestion(), to);
        }
    }
}

#[test]
fn a_change_of_controllers_in_recovery_does_not_cut_again() {
    let mut b = paced(100, ms(100));
    b.send_many(100, 200);
    b.ack(Space::Data, 300, &[4..=6]).unwrap();
    assert_eq!((b.r.cwnd(), b.r.stats().congestion_events), (50 * MSS, 1));
    b.r.set_congestion(Congestion::Cubic);
    b.ack(Space::Data, 301, &[12..=14]).unwrap();
    assert_eq!((b.r.cwnd(), b.r.stats().congestion_events), (50 * MSS, 1));
    // Nor does what comes late take back a cut of a controller that is gone.
    b.ack(Space::Data, 302, &[1..=14]).unwrap();
    assert_eq!((b.r.cwnd(), b.r.stats().undone_events), (50 * MSS, 0));
}

#[test]
fn without_marks_cubic_takes_the_place_of_prague_until_the_path_changes() {
    let congestion = Congestion::Prague;
    let mut b = Bench::with(RecoveryConfig { congestion, ..RecoveryConfig::default() });
    assert_eq!(b.r.ect(), Ecn::Ect1);
    b.send_many(10, 0);
    b.ack(Space::Data, 100, &[0..=9]).unwrap();
    let window = b.r.cwnd();
    b.r.on_ecn_unusable();
    assert_eq!((b.r.congestion(), b.r.ect(), b.r.cwnd()), (Congestion::Cubic, Ecn::Ect0, window));
    b.r.reset_for_new_path(at(200));
    assert_eq!(b.r.congestion(), Congestion::Prague);
}

#[test]
fn marks_on_ect1_do_not_confirm_losses() {
    let congestion = Congestion::Prague;
    let mut b = Bench::with(RecoveryConfig { congestion, ..RecoveryConfig::default() });
    b.send_many(10, 0);
    b.ack(Space::Data, 100, &[4..=9]).unwrap();
    assert_eq!(b.r.stats().congestion_events, 1);
    b.r.on_ecn(at(101), at(0), 1, 1);
    b.ack(Space::Data, 102, &[0..=9]).unwrap();
    assert_eq!(b.r.stats().undone_events, 1);
}

#[test]
fn a_full_window_or_a_waiting_pacer_is_not_the_application() {
    // The window is full when the data ends.
    let mut b = Bench::warmed(100);
    let window = b.r.cwnd() / MSS;
    b.send_many(window, 200);
    b.r.on_out_of_data(at(200));
    assert!(!b.r.sampler.is_app_limited());
    // The next burst is not due yet when the data ends, nor when more comes.
    let mut b = paced(100, ms(100));
    let pass = b.r.budget(at(0)).bytes / MSS;
    b.send_many(pass, 0);
    b.r.on_out_of_data(at(0));
    assert!(b.r.budget(at(0)).next_release.is_some());
    assert!(!b.r.sampler.is_app_limited());
    // It was due, and nothing was there.
    b.r.on_out_of_data(at(0));
    b.r.budget(at(5));
    assert!(b.r.sampler.is_app_limited());
    // Asked when an acknowledgment arrives, before it makes room.
    let mut b = paced(100, ms(100));
    b.send_many(pass, 0);
    b.r.on_out_of_data(at(0));
    assert!(!b.r.sampler.is_app_limited());
    b.ack(Space::Data, 100, &[0..=0]).unwrap();
    assert!(b.r.sampler.is_app_limited());
}

#[test]
fn one_frame_gives_the_rate_of_the_newest_packet() {
    let mut b = Bench::warmed(100);
    for t in [200, 220, 240] {
        b.send(Space::Data, t);
    }
    let rate = b.ack(Space::Data, 340, &[1..=3]).unwrap().rate;
    // Three packets between the first's sending and the last's acknowledgment, 40 ms of it in
    // flight; from the oldest packet it would be three over 140 ms as well, but sent in none.
    assert_eq!((rate.delivered, rate.prior_delivered), (3 * MSS, MSS));
    assert_eq!(rate.tx_in_flight, 3 * MSS);
    assert_eq!(rate.delivery_rate, Some(3 * MSS * 1000 / 140));
}

#[test]
fn delays_that_the_peer_reports_do_not_reach_controllers() {
    let mut b = Bench::warmed(100);
    b.send(Space::Data, 200);
    let mut buf = [0; 64];
    let mut w = Writer::new(&mut buf);
    ack::write(&mut w, None, core::iter::once(1..=1), 0, None, 64);
    let Some(Ok(Frame::Ack(frame))) = FrameIter::new(w.written()).next() else { unreachable!() };
    // Held back for 90 ms, says the peer: taken off the smoothed RTT only.
    let max = Duration::from_millis(100);
    let s = b.r.on_ack(at(390), Space::Data, &frame, ms(90), max, &mut b.sink).unwrap();
    assert_eq!(s.rtt_sample, Some(ms(190)));
    assert_eq!((b.r.rtt().min(), b.r.rtt().smoothed()), (ms(100), ms(100)));
}

#[test]
fn full_ring_stops_sending_new_data() {
    let mut b =
        Bench::with(RecoveryConfig { initial_window: Some(1 << 40), ..RecoveryConfig::default() });
    for _ in 0..MAX_TRACKED {
        b.send(Space::Data, 0);
    }
    assert_eq!(b.r.budget(at(0)), SendBudget::default());
    b.ack(Space::Data, 100, &[0..=9]).unwrap();
    assert!(b.r.spaces[2].sent.len() < MAX_TRACKED);
    b.r.release_memory();
    assert_eq!(b.r.bytes_in_flight(), (MAX_TRACKED as u64 - 10) * MSS);
}
