//! Acknowledgments, losses, spurious losses.

use super::*;
use crate::error::TransportErrorCode;

#[test]
fn packet_threshold_of_three() {
    let mut b = Bench::warmed(100);
    b.send_many(5, 100);
    let s = b.ack(Space::Data, 200, &[3..=3]).unwrap();
    assert_eq!((s.newly_acked, s.lost_packets), (1, 0));
    let s = b.ack(Space::Data, 200, &[3..=4]).unwrap();
    assert_eq!((s.newly_acked, s.lost_packets, s.lost_bytes), (1, 1, MSS));
    assert_eq!(b.sink.lost, cids([1]));
    assert_eq!(b.sink.acked, cids([3, 4]));
    assert_eq!(b.r.bytes_in_flight(), 2 * MSS);
}

/// RFC 9002 section 6.1.2.
#[test]
fn time_threshold_of_nine_eighths_rtt() {
    let mut b = Bench::warmed(80);
    b.send_many(2, 100);
    assert_eq!(b.ack(Space::Data, 180, &[2..=2]).unwrap().lost_packets, 0);
    assert_eq!(b.r.timeout(&established()), Some(at(190)));
    assert_eq!(b.timeout(189, &established()), TimeoutAction::None);
    assert_eq!(b.timeout(190, &established()), TimeoutAction::Loss);
    assert_eq!(b.sink.lost, cids([1]));
    assert_eq!(b.r.timeout(&established()), None);
}

/// RFC 9002 section 7.4.
#[test]
fn nothing_is_lost_without_a_later_acknowledgment() {
    let mut b = Bench::warmed(80);
    b.send_many(10, 100);
    b.timeout(100_000, &established());
    assert!(b.sink.lost.is_empty());
    assert_eq!(b.r.bytes_in_flight(), 10 * MSS);
}

#[test]
fn acknowledging_what_was_never_sent_is_a_violation() {
    let mut b = Bench::new();
    b.send(Space::Data, 0);
    let error = b.ack(Space::Data, 10, &[0..=1]).unwrap_err();
    assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
    assert!(b.sink.acked.is_empty());
}

#[test]
fn acknowledging_a_skipped_packet_is_a_violation() {
    let mut b = Bench::new();
    let mut rng = Rng::from_seed([3; 32]);
    let mut last = None;
    let skipped = loop {
        let pn = b.r.take_pn(Space::Data, &mut rng);
        if last.map_or(0, |l: u64| l + 1) != pn {
            break pn - 1;
        }
        b.r.on_packet_sent(Space::Data, pn, b.packet(Space::Data, 0));
        last = Some(pn);
    };
    let error = b.ack(Space::Data, 10, &[skipped - 2..=skipped]).unwrap_err();
    assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
    assert!(b.ack(Space::Data, 10, &[skipped - 2..=skipped - 1]).is_ok());
    // Other spaces are too short-lived to skip.
    assert!((0..2000).all(|pn| b.r.take_pn(Space::Initial, &mut rng) == pn));
}

/// RFC 9002 section 5.1.
#[test]
fn rtt_sample_needs_a_new_largest_and_an_ack_eliciting_packet() {
    let mut b = Bench::new();
    let padding = SentPacket { ack_eliciting: false, ..b.packet(Space::Data, 0) };
    b.send_packet(Space::Data, padding.clone());
    b.send(Space::Data, 0);
    b.send_packet(Space::Data, padding.clone());
    b.send_packet(Space::Data, padding);
    assert_eq!(b.ack(Space::Data, 50, &[0..=0]).unwrap().rtt_sample, None, "only PADDING");
    assert_eq!(b.ack(Space::Data, 60, &[0..=2]).unwrap().rtt_sample, Some(ms(60)));
    let s = b.ack(Space::Data, 70, &[0..=2]).unwrap();
    assert_eq!((s.rtt_sample, s.newly_acked, s.raised_largest), (None, 0, false));
}

#[test]
fn ack_only_packets_are_not_kept() {
    let mut b = Bench::new();
    for _ in 0..1_000 {
        let tokens = [Token::Ack { path: 0, largest: 7 }].into_iter().collect();
        b.send_packet(Space::Data, SentPacket { size: 40, tokens, ..SentPacket::default() });
    }
    assert_eq!(b.r.spaces[2].sent.len(), 0);
    let s = b.ack(Space::Data, 10, &[0..=999]).unwrap();
    assert_eq!((s.newly_acked, s.raised_largest), (0, true));
}

#[test]
fn spurious_loss_raises_the_threshold_and_undoes_the_cut() {
    let mut b = Bench::warmed(100);
    b.send_many(9, 100);
    let before = b.r.cwnd();
    b.ack(Space::Data, 200, &[9..=9]).unwrap();
    assert_eq!(b.sink.lost, cids(1..=6));
    assert!(b.r.cwnd() < before);
    assert_eq!(b.r.phase(), Phase::Recovery);
    // All but one turn up: not yet.
    let s = b.ack(Space::Data, 201, &[9..=9, 2..=6]).unwrap();
    assert_eq!((s.spurious_losses, b.r.stats().undone_events), (5, 0));
    let s = b.ack(Space::Data, 202, &[9..=9, 1..=6]).unwrap();
    assert_eq!((s.spurious_losses, s.newly_acked), (1, 0));
    assert_eq!((b.r.stats().undone_events, b.r.stats().spurious_losses), (1, 6));
    assert_eq!(b.r.cwnd(), before);
    assert_eq!(b.r.phase(), Phase::SlowStart);
    assert_eq!(b.sink.acked, cids([9]), "lost tokens have gone back to their owners");
    // The same reordering is tolerated from now on.
    assert_eq!(b.r.packet_threshold(), 9);
    b.send_many(9, 300);
    let s = b.ack(Space::Data, 400, &[18..=18, 1..=9]).unwrap();
    assert_eq!((s.newly_acked, s.lost_packets), (3, 0));
}

#[test]
fn cut_stands_if_a_loss_was_real_or_a_mark_confirms_it() {
    for mark in [false, true] {
        let mut b = Bench::warmed(100);
        b.send_many(9, 100);
        b.ack(Space::Data, 200, &[9..=9]).unwrap();
        let cut = b.r.cwnd();
        if mark {
            b.r.on_ecn(at(201), at(100), 0, 1);
        }
        b.ack(Space::Data, 202, &[9..=9, if mark { 1..=6 } else { 2..=6 }]).unwrap();
        assert_eq!((b.r.cwnd(), b.r.stats().undone_events), (cut, 0));
    }
}

#[test]
fn lost_packets_are_forgotten_in_time() {
    let mut b = Bench::warmed(100);
    b.send_many(9, 100);
    b.ack(Space::Data, 200, &[9..=9]).unwrap();
    b.send_many(9, 60_000);
    b.ack(Space::Data, 60_100, &[18..=18]).unwrap();
    assert_eq!(b.r.spaces[2].lost.len(), 8, "only the new ones");
    let s = b.ack(Space::Data, 60_101, &[18..=18, 1..=6]).unwrap();
    assert_eq!(s.spurious_losses, 0);
}

#[test]
fn lost_mtu_probe_is_no_congestion() {
    let mut b = Bench::warmed(100);
    let probe = SentPacket { mtu_probe: true, size: 1452, ..b.packet(Space::Data, 100) };
    b.send_packet(Space::Data, probe);
    b.send_many(4, 100);
    let before = b.r.cwnd();
    let s = b.ack(Space::Data, 200, &[2..=5]).unwrap();
    assert_eq!((s.lost_packets, s.lost_large, s.acked_large), (1, false, false));
    assert!(b.r.cwnd() >= before);
    assert_eq!((b.r.stats().congestion_events, b.r.bytes_in_flight()), (0, 0));
}

#[test]
fn large_packets_are_told_apart() {
    let mut b = Bench::warmed(100);
    for size in [1400, 1200, 1200, 1200, 1400] {
        let packet = SentPacket { size, ..b.packet(Space::Data, 100) };
        b.send_packet(Space::Data, packet);
    }
    let s = b.ack(Space::Data, 200, &[2..=4]).unwrap();
    assert_eq!((s.lost_packets, s.lost_large, s.acked_large), (1, true, false));
    assert!(b.ack(Space::Data, 200, &[2..=5]).unwrap().acked_large);
}

#[test]
fn summary_counts_marked_packets() {
    let mut b = Bench::new();
    for ecn in [Some(Ecn::Ect0), None, Some(Ecn::Ect1)] {
        let packet = SentPacket { ecn, ..b.packet(Space::Data, 0) };
        b.send_packet(Space::Data, packet);
    }
    let counts = EcnCounts { ect0: 1, ect1: 1, ce: 0 };
    let (space, ranges) = (Space::Data, [0..=2]);
    let s = on_ack(&mut b.r, &mut b.sink, at(10), space, &ranges, Some(counts)).unwrap();
    assert_eq!((s.newly_acked_ect, s.ecn, s.raised_largest), ([1, 1], Some(counts), true));
    assert_eq!((s.largest_newly_acked, s.largest_sent_at), (Some(2), at(0)));
}

/// RFC 9001 sections 4.9.1 and 4.9.2, RFC 9002 sections 6.2.2 and 6.4.
#[test]
fn discarding_a_space_takes_its_packets_out_of_flight() {
    let mut b = Bench::new();
    b.send(Space::Initial, 0);
    b.send(Space::Handshake, 5);
    b.timeout(3000, &handshaking());
    assert_eq!(b.r.pto_count(), 1);
    b.r.discard_space(at(3000), Space::Initial);
    assert_eq!((b.r.bytes_in_flight(), b.r.pto_count()), (MSS, 0));
    assert_eq!(b.ack(Space::Initial, 3001, &[0..=0]).unwrap(), AckSummary::default());
    b.send(Space::Initial, 3002);
    assert_eq!(b.r.bytes_in_flight(), MSS, "a late packet of a discarded space is not kept");
    assert!(b.sink.acked.is_empty() && b.sink.lost.is_empty());
}

#[test]
fn retry_starts_anew_and_requeues_early_data() {
    let mut b = Bench::new();
    b.send(Space::Initial, 0);
    b.send_many(3, 1);
    b.r.on_retry(at(60));
    assert_eq!(b.r.bytes_in_flight(), 0);
    assert_eq!(b.r.rtt().smoothed(), ms(60), "the Retry's round trip");
    b.r.requeue(Space::Data, &mut b.sink);
    assert_eq!(b.sink.lost, cids(0..3));
    assert_eq!(b.r.next_pn(Space::Initial), 1);
    assert_eq!((b.r.cwnd(), b.r.stats().lost_packets), (10 * MSS, 0));
    assert_eq!(b.r.timeout(&established()), None);
}

#[test]
fn rejected_early_data_leaves_flight_and_congestion_state_alone() {
    let mut b = Bench::new();
    b.send(Space::Initial, 0);
    b.send_many(3, 1);
    b.r.requeue(Space::Data, &mut b.sink);
    assert_eq!((b.r.bytes_in_flight(), b.sink.lost.len()), (MSS, 3));
}

/// RFC 9000 section 9.4.
#[test]
fn packets_of_the_old_path_say_nothing_about_the_new_one() {
    let mut b = Bench::warmed(10);
    b.send_many(9, 100);
    b.r.reset_for_new_path(at(105));
    assert_eq!((b.r.bytes_in_flight(), b.r.rtt().smoothed()), (0, ms(333)));
    b.send(Space::Data, 106);
    let before = b.r.cwnd();
    let s = b.ack(Space::Data, 110, &[8..=9]).unwrap();
    assert_eq!((s.rtt_sample, s.newly_acked, s.lost_packets), (None, 2, 6));
    assert_eq!(b.sink.lost, cids(1..=6), "their content is resent all the same");
    assert_eq!((b.r.cwnd(), b.r.bytes_in_flight()), (before, MSS));
    assert_eq!(b.r.phase(), Phase::SlowStart);
    assert_eq!(b.ack(Space::Data, 140, &[8..=10]).unwrap().rtt_sample, Some(ms(34)));
}

#[test]
fn old_ranges_cost_nothing() {
    let mut b = Bench::warmed(10);
    b.send_many(1000, 20);
    b.ack(Space::Data, 30, &[1..=1000]).unwrap();
    b.send(Space::Data, 40);
    // Descending ranges of single packets, all of them settled.
    let ranges: Vec<_> = (0..60).map(|i| 1001 - 2 * i..=1001 - 2 * i).collect();
    let s = b.ack(Space::Data, 50, &ranges).unwrap();
    assert_eq!((s.newly_acked, b.r.spaces[2].sent.len()), (1, 0));
}
