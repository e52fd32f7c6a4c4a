//! Probe timeouts (RFC 9002 section 6.2).

use super::*;

const PTO: fn(Space) -> TimeoutAction = |space| TimeoutAction::Pto { space, probes: 2 };

#[test]
fn first_timeout_is_a_second_and_doubles() {
    let mut b = Bench::new();
    b.send(Space::Initial, 0);
    assert_eq!(b.r.timeout(&handshaking()), Some(at(999)));
    assert_eq!(b.timeout(998, &handshaking()), TimeoutAction::None);
    assert_eq!(b.timeout(999, &handshaking()), PTO(Space::Initial));
    assert_eq!(b.r.timeout(&handshaking()), Some(at(2 * 999)));
    b.send(Space::Initial, 1000);
    assert_eq!(b.r.timeout(&handshaking()), Some(at(1000 + 2 * 999)));
    assert_eq!(b.r.bytes_in_flight(), 2 * MSS, "a timeout takes nothing out of flight");
    assert!(b.sink.lost.is_empty());
}

/// RFC 9002 section 6.2.1.
#[test]
fn application_data_waits_for_confirmation_and_adds_max_ack_delay() {
    let mut b = Bench::new();
    b.send(Space::Data, 0);
    let unconfirmed = TimerContext { handshake_confirmed: false, ..established() };
    assert_eq!(b.r.timeout(&unconfirmed), None);
    assert_eq!(b.r.timeout(&established()), Some(at(999 + 25)));
}

/// RFC 9002 section 6.2.1.
#[test]
fn earliest_space_wins_and_loss_timers_come_first() {
    let mut b = Bench::new();
    b.send(Space::Handshake, 0);
    b.send(Space::Initial, 5);
    assert_eq!(b.timeout(999, &handshaking()), PTO(Space::Handshake));
    let mut b = Bench::warmed(80);
    b.send_many(2, 100);
    b.ack(Space::Data, 180, &[2..=2]).unwrap();
    b.send(Space::Data, 180);
    assert_eq!(b.r.timeout(&established()), Some(at(190)), "not the PTO");
}

#[test]
fn client_keeps_backoff_on_initial_acknowledgments() {
    for (side, count) in [(Side::Client, 1), (Side::Server, 0)] {
        let mut b = Bench::with(RecoveryConfig { side, ..RecoveryConfig::default() });
        b.send(Space::Initial, 0);
        b.timeout(999, &handshaking());
        b.ack(Space::Initial, 1000, &[0..=0]).unwrap();
        assert_eq!(b.r.pto_count(), count, "{side:?}");
        b.send(Space::Handshake, 1000);
        b.ack(Space::Handshake, 1100, &[0..=0]).unwrap();
        assert_eq!(b.r.pto_count(), 0);
    }
}

#[test]
fn client_with_nothing_in_flight_probes_until_its_address_is_validated() {
    let mut b = Bench::new();
    b.send(Space::Initial, 0);
    b.ack(Space::Initial, 100, &[0..=0]).unwrap();
    // RTT 100 ms: 100 + 4 * 50.
    assert_eq!(b.r.timeout(&handshaking()), Some(at(400)));
    let probe = |space| TimeoutAction::Pto { space, probes: 1 };
    assert_eq!(b.timeout(400, &handshaking()), probe(Space::Initial));
    assert_eq!(b.r.timeout(&handshaking()), Some(at(400 + 600)), "doubled");
    let with_keys = TimerContext { has_handshake_keys: true, ..handshaking() };
    assert_eq!(b.timeout(1000, &with_keys), probe(Space::Handshake));
    assert_eq!(b.r.timeout(&established()), None);
}

#[test]
fn early_data_in_flight_does_not_stop_the_handshake_probe() {
    let mut b = Bench::new();
    b.send(Space::Initial, 0);
    b.send(Space::Data, 0);
    b.ack(Space::Initial, 100, &[0..=0]).unwrap();
    assert_eq!(b.r.timeout(&handshaking()), Some(at(400)));
}

#[test]
fn server_never_probes_for_its_own_address() {
    let mut b = Bench::with(RecoveryConfig { side: Side::Server, ..RecoveryConfig::default() });
    assert_eq!(b.r.timeout(&handshaking()), None);
    b.send(Space::Initial, 0);
    let blocked = TimerContext { amplification_blocked: true, ..handshaking() };
    assert_eq!(b.r.timeout(&blocked), None, "RFC 9002 section 6.2.2.1");
    assert_eq!(b.timeout(5000, &blocked), TimeoutAction::None);
    assert_eq!(b.timeout(5000, &handshaking()), PTO(Space::Initial), "due at once when unblocked");
}

/// RFC 9002 section 7.5.
#[test]
fn probes_carry_the_oldest_content_once_and_lose_it_no_more() {
    let mut b = Bench::warmed(100);
    b.send_many(3, 100);
    let mut tokens = Tokens::new();
    tokens.extend([Token::Datagram, Token::Ack { path: 0, largest: 1 }, Token::MaxData]);
    let packet = SentPacket { tokens, ..b.packet(Space::Data, 100) };
    b.send_packet(Space::Data, packet);
    assert_eq!(b.r.probe_tokens(Space::Data, &mut b.sink), 2);
    assert_eq!(b.sink.probed, cids([1, 2]));
    assert_eq!(b.r.probe_tokens(Space::Data, &mut b.sink), 2, "younger ones next");
    assert_eq!(b.sink.probed, [cids([1, 2, 3]), vec![Token::MaxData]].concat());
    assert_eq!(b.r.probe_tokens(Space::Data, &mut b.sink), 0);
    b.send_many(5, 500);
    b.ack(Space::Data, 600, &[9..=9, 2..=2]).unwrap();
    let unresendable = [Token::Datagram, Token::Ack { path: 0, largest: 1 }];
    assert_eq!(b.sink.lost, [&unresendable[..], &cids([5, 6])].concat());
    assert_eq!(b.sink.acked, cids([9, 2]), "the original may still be acknowledged");
}

#[test]
fn backoff_saturates() {
    let mut b = Bench::warmed(100);
    b.send(Space::Data, 100);
    let mut now = at(100);
    for n in 1..=32 {
        let due = b.r.timeout(&established()).unwrap();
        assert!(due > now);
        now = due;
        assert_eq!(b.r.on_timeout(now, &established(), &mut b.sink), PTO(Space::Data));
        assert_eq!(b.r.stats().ptos, n);
    }
    assert_eq!(b.r.timeout(&established()), Some(Instant::MAX));
}

#[test]
fn pto_period_is_per_space() {
    let b = Bench::warmed(100);
    assert_eq!(b.r.pto_period(Space::Handshake, MAX_ACK_DELAY), ms(300));
    assert_eq!(b.r.pto_period(Space::Data, MAX_ACK_DELAY), ms(325));
}
