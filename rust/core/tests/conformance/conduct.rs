//! Rules whose breach ends nothing: what the engine must ignore, and what it must do itself.

use std::time::Duration;

use tquic_core::events::{ConnectionError, Event};
use tquic_crypto::{Level, retry};
use tquic_wire::header::{write_retry, write_version_negotiation};
use tquic_wire::{
    ConnectionId, Direction, Frame, ResetToken, Side, TransportErrorCode, Version, Writer,
};

use crate::rogue::arena::{Arena, LEVELS, Sent};
use crate::rogue::{Draft, bytes, varints};

const SEC: Duration = Duration::from_secs(1);
const BOTH: [Side; 2] = [Side::Server, Side::Client];

fn established(under: Side) -> Arena {
    let mut a = Arena::new(under);
    a.handshake();
    a
}

/// The challenges sent to the rogue's present address.
fn challenges(a: &Arena) -> Vec<[u8; 8]> {
    let here = a.rogue.as_ref().unwrap().heard.iter().filter(|h| h.to == a.rogue_at);
    here.flat_map(|h| {
        h.frames()
            .into_iter()
            .filter_map(|f| match f {
                Frame::PathChallenge(data) => Some(data),
                _ => None,
            })
            .collect::<Vec<_>>()
    })
    .collect()
}

fn datagrams_to(sent: &[Sent], port: u16) -> Vec<usize> {
    let there = sent.iter().filter(|s| s.addresses.remote.port() == port);
    there.map(|s| s.data.len()).collect()
}

/// RFC 9000 section 12.2.
#[test]
fn packets_for_another_connection_id_in_a_datagram_are_ignored() {
    for under in BOTH {
        let mut a = Arena::new(under);
        a.half_handshake();
        let mut datagram = a.rogue().seal(Draft::new(Level::Handshake, vec![1]));
        let stranger = if under == Side::Server { &b"original"[..] } else { &b"stranger"[..] };
        let violation = Draft {
            dcid: ConnectionId::new(stranger),
            ..Draft::new(Level::Handshake, bytes(&[Frame::PathChallenge([1; 8])]))
        };
        let second = a.rogue().seal(violation);
        datagram.extend_from_slice(&second);
        let before = a.connection().stats();
        a.deliver(&datagram);
        assert_eq!(a.closed(), None);
        let after = a.connection().stats();
        assert_eq!(after.packets_received - before.packets_received, 1);
        assert_eq!(after.dropped - before.dropped, 1);
    }
}

/// RFC 9000 section 14.1.
/// RFC 9001 section 9.3.
#[test]
fn a_small_datagram_begins_no_connection() {
    let mut a = Arena::new(Side::Server);
    a.begin();
    let hello = bytes(&[Frame::Crypto { offset: 0, data: a.rogue().crypto_data(Level::Initial) }]);
    let draft = Draft { padded: false, ..Draft::new(Level::Initial, hello) };
    a.send_draft(draft);
    assert_eq!((a.endpoint.len(), a.sent.len()), (0, 0));
    assert_eq!(a.endpoint.stats().dropped, 1);
}

/// RFC 9000 section 10.1: the smaller of both values counts.
#[test]
fn the_peers_shorter_idle_timeout_counts() {
    for under in BOTH {
        let mut a = Arena::new(under);
        a.script.parameters = Box::new(|p| p.max_idle_timeout = 2000);
        a.handshake();
        let begin = a.now;
        a.advance(1900 * SEC / 1000);
        assert!(a.events.iter().all(|e| !matches!(e, Event::Closed(_))));
        a.advance(200 * SEC / 1000);
        assert!(a.events.contains(&Event::Closed(ConnectionError::IdleTimeout)), "{begin:?}");
    }
}

/// RFC 9000 section 13.3: a PATH_RESPONSE is sent once.
#[test]
fn a_path_response_is_not_repeated() {
    for under in BOTH {
        let mut a = established(under);
        a.rogue().acknowledge = false;
        a.send(&[Frame::PathChallenge(*b"question")]);
        a.advance(10 * SEC);
        let answers =
            a.rogue().find(Level::OneRtt, |f| matches!(f, Frame::PathResponse(_)).then_some(()));
        assert_eq!(answers.len(), 1);
    }
}

/// RFC 9000 section 8.2.2: at least 1200 bytes.
#[test]
fn a_path_response_fills_its_datagram() {
    for under in BOTH {
        let mut a = established(under);
        a.send(&[Frame::PathChallenge(*b"question")]);
        let heard = a.rogue().heard.last().unwrap();
        assert!(heard.frames().contains(&Frame::PathResponse(*b"question")));
        assert!(heard.datagram >= 1200, "{} bytes", heard.datagram);
    }
}

/// RFC 9000 sections 8.2.1 and 9.3: fresh data in each challenge, and once the address is proven a
/// second one in a datagram of 1200 bytes.
#[test]
fn a_new_address_is_validated_twice_if_the_first_challenge_was_small() {
    let mut a = established(Side::Server);
    a.rogue_at.set_port(7777);
    a.send(&[Frame::Ping]);
    let first = challenges(&a);
    assert_eq!(first.len(), 1, "the first packet to a new address carries a challenge");
    assert!(a.rogue().heard.iter().any(|h| h.to.port() == 6666), "the old one is asked too");
    assert!(datagrams_to(&a.sent, 7777).iter().all(|len| *len < 1200));
    // A wrong answer proves nothing.
    a.send(&[Frame::PathResponse(*b"a guess!")]);
    assert!(a.events.iter().all(|e| !matches!(e, Event::Migrated(_))));
    a.send(&[Frame::PathResponse(first[0])]);
    let second = challenges(&a);
    assert_eq!(second.len(), 2);
    assert_ne!(second[0], second[1]);
    assert!(a.rogue().heard.last().unwrap().datagram >= 1200);
    assert!(a.events.iter().all(|e| !matches!(e, Event::Migrated(_))));
    a.send(&[Frame::PathResponse(second[1])]);
    assert!(a.events.iter().any(|e| matches!(e, Event::Migrated(_))));
}

/// RFC 9000 sections 8.2.1 and 19.17.
#[test]
fn challenges_that_are_not_answered_all_differ() {
    let mut a = established(Side::Server);
    a.rogue_at.set_port(7777);
    for _ in 0..5 {
        a.send(&[Frame::Ping, Frame::Padding { len: 1000 }]);
        a.advance(SEC / 2);
    }
    let mut seen = challenges(&a);
    assert!(seen.len() >= 3, "{seen:?}");
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all);
}

/// RFC 9000 section 10.3.1: tokens of NEW_CONNECTION_ID frames count as soon as the ID is in use.
#[test]
fn a_reset_token_from_new_connection_id_ends_the_connection() {
    for under in BOTH {
        let mut a = established(under);
        let cid = ConnectionId::new(b"rogue-02").unwrap();
        let reset_token = ResetToken::new(*b"sixteen of these");
        a.send(&[Frame::NewConnectionId {
            path: None,
            sequence: 1,
            retire_prior_to: 0,
            cid,
            reset_token,
        }]);
        let mut reset = vec![0x55; 60];
        reset[44..].copy_from_slice(reset_token.as_bytes());
        a.deliver(&reset);
        assert!(!a.connection().is_closed(), "the ID is not in use");
        a.send(&[Frame::NewConnectionId {
            path: None,
            sequence: 1,
            retire_prior_to: 1,
            cid,
            reset_token,
        }]);
        let retired = a.rogue().find(Level::OneRtt, |f| match f {
            Frame::RetireConnectionId { path: None, sequence } => Some(*sequence),
            _ => None,
        });
        assert_eq!(retired, [0]);
        assert_eq!(a.rogue().heard.last().unwrap().dcid, cid);
        a.deliver(&reset);
        assert!(a.events.contains(&Event::Closed(ConnectionError::StatelessReset)));
    }
}

/// The same with the connection ID of the engine in front, as a peer that lost its state sends it.
#[test]
fn a_reset_for_a_known_connection_id_counts_too() {
    let mut a = established(Side::Server);
    let cid = ConnectionId::new(b"rogue-02").unwrap();
    let reset_token = ResetToken::new(*b"sixteen of these");
    a.send(&[Frame::NewConnectionId {
        path: None,
        sequence: 1,
        retire_prior_to: 1,
        cid,
        reset_token,
    }]);
    let mut reset = vec![0x55; 60];
    reset[1..9].copy_from_slice(a.rogue().dcid.as_slice());
    reset[44..].copy_from_slice(reset_token.as_bytes());
    a.deliver(&reset);
    assert!(a.events.contains(&Event::Closed(ConnectionError::StatelessReset)));
}

fn version_negotiation(dcid: &[u8], scid: &[u8], versions: &[Version]) -> Vec<u8> {
    let mut out = vec![0; 7 + dcid.len() + scid.len() + 4 * versions.len()];
    write_version_negotiation(&mut Writer::new(&mut out), 0, dcid, scid, versions);
    out
}

fn retry_packet(a: &mut Arena, odcid: &ConnectionId, scid: &[u8]) -> Vec<u8> {
    let (dcid, scid) = (a.rogue().dcid, ConnectionId::new(scid).unwrap());
    let mut out = vec![0; 7 + dcid.len() + scid.len() + 5];
    write_retry(&mut Writer::new(&mut out), 0, Version::V1, &dcid, &scid, b"token");
    let tag = retry::integrity_tag(Version::V1, odcid, &out);
    out.extend_from_slice(&tag);
    out
}

fn odcid(a: &mut Arena) -> ConnectionId {
    a.connection().original_dcid()
}

/// RFC 9000 section 6.2 and 17.2.5.2: both only before the first valid packet.
#[test]
fn version_negotiation_and_retry_are_ignored_after_a_valid_packet() {
    let mut a = Arena::new(Side::Client);
    a.begin();
    let odcid = odcid(&mut a);
    a.flush(&[Level::Initial]);
    let (local, before) = (a.rogue().dcid, a.connection().stats());
    a.deliver(&version_negotiation(local.as_slice(), odcid.as_slice(), &[Version::V2]));
    let packet = retry_packet(&mut a, &odcid, b"rogue-02");
    a.deliver(&packet);
    assert_eq!(a.connection().stats().dropped - before.dropped, 2);
    a.flush(&LEVELS);
    a.send(&[Frame::HandshakeDone]);
    assert!(a.connection().handshake().is_confirmed());
    assert_eq!(a.connection().version(), Version::V1);
}

/// RFC 9000 section 6.2: one that lists the version in use, or names other connection IDs.
#[test]
fn forged_version_negotiation_is_ignored() {
    let mut a = Arena::new(Side::Client);
    a.begin();
    let (odcid, local) = (odcid(&mut a), a.rogue().dcid);
    let sent = a.sent.len();
    for packet in [
        version_negotiation(local.as_slice(), odcid.as_slice(), &[Version::V2, Version::V1]),
        version_negotiation(local.as_slice(), b"guessed.", &[Version::V2]),
        version_negotiation(local.as_slice(), odcid.as_slice(), &[]),
    ] {
        a.deliver(&packet);
        assert_eq!(a.sent.len(), sent);
    }
    a.handshake();
    assert_eq!(a.connection().version(), Version::V1);
}

/// RFC 9000 section 17.2.5.1.
#[test]
fn forged_retries_are_ignored_and_only_one_is_followed() {
    let mut a = Arena::new(Side::Client);
    a.begin();
    let odcid = odcid(&mut a);
    let sent = a.sent.len();
    let mut wrong_tag = retry_packet(&mut a, &odcid, b"rogue-02");
    *wrong_tag.last_mut().unwrap() ^= 1;
    a.deliver(&wrong_tag);
    let same_id = retry_packet(&mut a, &odcid, odcid.as_slice());
    a.deliver(&same_id);
    assert_eq!(a.sent.len(), sent);
    let good = retry_packet(&mut a, &odcid, b"rogue-02");
    a.deliver(&good);
    assert!(a.sent.len() > sent, "the Retry is followed");
    let sent = a.sent.len();
    let second = retry_packet(&mut a, &ConnectionId::new(b"rogue-02").unwrap(), b"rogue-03");
    a.deliver(&second);
    assert_eq!(a.sent.len(), sent);
}

/// RFC 9000 section 7.3: a server that did send a Retry must own up to it.
#[test]
fn retry_without_retry_source_connection_id_is_an_error() {
    let mut a = Arena::new(Side::Client);
    a.begin();
    let odcid = odcid(&mut a);
    let good = retry_packet(&mut a, &odcid, b"rogue-02");
    // The rogue begins again, as the server behind the Retry.
    let stale = a.rogue.take();
    assert!(stale.is_some());
    a.script.scid = ConnectionId::new(b"rogue-02").unwrap();
    a.script.parameters = Box::new(move |p| p.original_destination_connection_id = Some(odcid));
    a.deliver(&good);
    a.try_handshake();
    let closed = a.closed().expect("not closed");
    assert_eq!(closed.code, TransportErrorCode::TRANSPORT_PARAMETER_ERROR);
}

/// RFC 9000 section 17.2.2: servers send no tokens; section 7.2: and keep their connection ID.
#[test]
fn initial_packets_that_no_server_sends_are_dropped() {
    let mut a = Arena::new(Side::Client);
    a.begin();
    let violation = bytes(&[Frame::PathChallenge([1; 8])]);
    a.send_draft(Draft {
        token: Some(b"token".to_vec()),
        ..Draft::new(Level::Initial, violation.clone())
    });
    assert_eq!(a.closed(), None);
    a.flush(&[Level::Initial]);
    for level in [Level::Initial, Level::Handshake] {
        let scid = ConnectionId::new(b"stranger");
        a.send_draft(Draft { scid, ..Draft::new(level, violation.clone()) });
        assert_eq!(a.closed(), None);
    }
    a.handshake();
}

/// RFC 9000 section 17.2: the fixed bit, unless the parameter says otherwise (RFC 9287).
#[test]
fn packets_without_the_fixed_bit_are_dropped() {
    for under in BOTH {
        let mut a = established(under);
        let mut datagram = a.rogue().seal(Draft::new(Level::OneRtt, vec![1]));
        datagram[0] &= !0x40;
        let before = a.connection().stats().packets_received;
        a.deliver(&datagram);
        assert_eq!(a.connection().stats().packets_received, before);
    }
}

/// RFC 9000 section 12.3: a packet number is processed once.
#[test]
fn a_packet_counts_once() {
    for under in BOTH {
        let mut a = established(under);
        let datagram =
            a.rogue().seal(Draft::new(Level::OneRtt, bytes(&[Frame::PathChallenge([7; 8])])));
        for _ in 0..5 {
            a.deliver(&datagram);
        }
        assert_eq!(a.connection().stats().duplicates, 4);
        assert_eq!(a.connection().stats().challenges_answered, 1);
    }
}

/// RFC 9000 section 8.2.3 lets us ignore an answer to nothing; sections 19.9 to 19.11: limits never
/// fall.
#[test]
fn late_answers_and_lower_limits_mean_nothing() {
    for under in BOTH {
        let mut a = established(under);
        let id = a.connection().streams().open(Direction::Bidirectional).unwrap();
        a.send(&[
            Frame::PathResponse([1; 8]),
            Frame::MaxData(0),
            Frame::MaxStreamData { id, max: 0 },
            Frame::MaxStreams { dir: Direction::Bidirectional, max: 0 },
        ]);
        let data = bytes::Bytes::from_static(b"still flows");
        a.connection().streams().write(id, data).unwrap();
        a.pump();
        let got = a.rogue().find(Level::OneRtt, |f| match f {
            Frame::Stream(s) => Some(s.data.to_vec()),
            _ => None,
        });
        assert_eq!(got.concat(), b"still flows");
        assert!(a.connection().streams().open(Direction::Bidirectional).is_some());
    }
}

/// RFC 9000 section 3.5.
#[test]
fn stop_sending_is_answered_with_a_reset() {
    for under in BOTH {
        let mut a = established(under);
        let id = a.connection().streams().open(Direction::Bidirectional).unwrap();
        a.connection().streams().write(id, bytes::Bytes::from_static(b"data")).unwrap();
        a.pump();
        a.send(&[Frame::StopSending { id, error_code: 42 }]);
        let resets = a.rogue().find(Level::OneRtt, |f| match f {
            Frame::ResetStream { id, error_code, final_size } => {
                Some((*id, *error_code, *final_size))
            }
            _ => None,
        });
        assert_eq!(resets, [(id, 42, 4)]);
    }
}

/// RFC 9000 section 10.2.3: codes and reasons of applications stay under 1-RTT protection.
#[test]
fn closing_in_the_handshake_tells_nothing_of_the_application() {
    for under in BOTH {
        let mut a = Arena::new(under);
        a.half_handshake();
        let now = a.now;
        a.connection().close(now, 77, b"secret");
        a.pump();
        let mut seen = 0;
        for heard in &a.rogue().heard {
            for frame in heard.frames() {
                let Frame::ConnectionClose(close) = frame else { continue };
                if heard.level != Level::OneRtt {
                    assert_eq!(close.error_code, TransportErrorCode::APPLICATION_ERROR.0);
                    assert!(close.reason.is_empty());
                    seen += 1;
                }
            }
        }
        assert!(seen > 0);
    }
}

/// RFC 9000 section 9: a server moves only to its preferred address.
#[test]
fn a_client_ignores_packets_that_move_its_server() {
    let mut a = established(Side::Client);
    a.rogue_at.set_port(9999);
    a.send(&[Frame::Ping, Frame::Padding { len: 1100 }]);
    a.advance(SEC);
    assert_eq!(datagrams_to(&a.sent, 9999), []);
}

/// RFC 9000 section 10.2.2: silence after the peer's CONNECTION_CLOSE.
#[test]
fn nothing_is_sent_while_draining() {
    for under in BOTH {
        let mut a = established(under);
        a.send_at(Level::OneRtt, &varints(&[0x1d, 5, 0]));
        let sent = a.sent.len();
        for _ in 0..20 {
            let datagram = a.rogue().seal(Draft::new(Level::OneRtt, vec![1]));
            a.deliver(&datagram);
        }
        a.advance(SEC / 10);
        assert_eq!(a.sent.len(), sent);
        assert!(
            a.events
                .iter()
                .any(|e| matches!(e, Event::Closed(ConnectionError::PeerClose { code: 5, .. })))
        );
    }
}

/// RFC 9000 section 14.1: later Initial packets too count only in full datagrams.
#[test]
fn a_server_drops_initial_packets_in_small_datagrams() {
    let mut a = Arena::new(Side::Server);
    a.half_handshake();
    let before = a.connection().stats().packets_received;
    a.send_draft(Draft { padded: false, ..Draft::new(Level::Initial, vec![1]) });
    assert_eq!(a.connection().stats().packets_received, before);
}

/// A challenge that the anti-amplification limit holds back is not waited for: it once made the
/// engine ask to be woken at once, again and again.
#[test]
fn a_challenge_held_back_by_the_limit_does_not_spin() {
    let mut a = established(Side::Server);
    a.rogue_at.set_port(7777);
    let datagram = a.rogue().seal(Draft::new(Level::OneRtt, vec![1]));
    a.deliver(&datagram);
    for _ in 0..20 {
        a.advance(SEC / 10);
    }
    let sent: usize = datagrams_to(&a.sent, 7777).iter().sum();
    assert!(sent <= 3 * datagram.len());
}

/// The engine keeps an ID for the address in use, and without one it cannot go on. It once waited
/// for ever, and span on its timers meanwhile.
#[test]
fn a_peer_that_leaves_no_connection_id_ends_the_connection() {
    let mut a = Arena::new(Side::Client);
    a.handshake();
    let ids = [ConnectionId::new(b"rogue-02").unwrap(), ConnectionId::new(b"rogue-03").unwrap()];
    let new = |sequence: u64, retire_prior_to| Frame::NewConnectionId {
        path: None,
        sequence,
        retire_prior_to,
        cid: ids[sequence as usize - 1],
        reset_token: ResetToken::new([sequence as u8; 16]),
    };
    a.send(&[new(1, 0)]);
    let now = a.now;
    a.connection().migrate(now, "192.0.2.1:9".parse().unwrap()).unwrap();
    a.pump();
    // The only spare ID is being tried elsewhere: the address in use takes it.
    a.send(&[new(1, 1)]);
    assert_eq!(a.rogue().heard.last().unwrap().dcid, ids[0]);
    assert_eq!(a.rogue().heard.last().unwrap().to.port(), 6666);
    a.send(&[new(2, 2), Frame::Ping]);
    a.advance(SEC);
    assert_eq!(a.rogue().heard.last().unwrap().dcid, ids[1]);
    assert!(!a.connection().is_closed());
}

/// RFC 9002 section 5.3: what a peer says of its delay is believed up to its max_ack_delay, but
/// before the handshake is confirmed it may have waited for keys.
#[test]
fn delays_of_acknowledgements_are_limited_once_the_handshake_is_confirmed() {
    let measured = |confirmed: bool| {
        let mut a = Arena::new(Side::Client);
        a.begin();
        a.flush(&LEVELS);
        if confirmed {
            a.send(&[Frame::HandshakeDone]);
        }
        assert_eq!(a.connection().handshake().is_confirmed(), confirmed);
        a.rogue().acknowledge = false;
        let id = a.connection().streams().open(Direction::Bidirectional).unwrap();
        a.connection().streams().write(id, bytes::Bytes::from_static(b"data")).unwrap();
        a.pump();
        let heard = a.rogue().heard.iter().filter(|h| h.level == Level::OneRtt);
        let pn = heard.map(|h| h.pn).max().unwrap();
        let before = a.connection().paths().next().unwrap().stats().srtt;
        a.advance(400 * SEC / 1000);
        // 300 ms in units of 8 microseconds.
        a.send_at(Level::OneRtt, &varints(&[0x02, pn, 37_500, 0, 0]));
        (before, a.connection().paths().next().unwrap().stats().srtt)
    };
    for (confirmed, sample) in [(false, 100), (true, 375)] {
        let (before, after) = measured(confirmed);
        let wanted = before * 7 / 8 + sample * SEC / 8000;
        assert!(after.abs_diff(wanted) < SEC / 1_000_000, "{after:?}, not {wanted:?}");
    }
}
