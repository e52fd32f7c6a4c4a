//! What a hostile peer can make the engine do, keep or send is bounded: one test for each attack.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::type_complexity,
    clippy::field_reassign_with_default,
    reason = "tests fail by panicking, and change one thing at a time"
)]

#[path = "rogue/mod.rs"]
mod rogue;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use rogue::arena::{Arena, LEVELS, quiet};
use rogue::{Draft, Rogue, bytes, varints};
use tquic_core::Endpoint;
use tquic_core::config::{EndpointConfig, RetryPolicy};
use tquic_core::endpoint::{EndpointSecrets, Reply};
use tquic_core::events::Event;
use tquic_core::path::FourTuple;
use tquic_core::time::Instant;
use tquic_crypto::Level;
use tquic_wire::frame::StreamFrame;
use tquic_wire::header::{Long, parse_long};
use tquic_wire::{
    ConnectionId, Direction, Frame, PacketType, ResetToken, Side, TransportErrorCode as Code,
};

const SEC: Duration = Duration::from_secs(1);
const BOTH: [Side; 2] = [Side::Server, Side::Client];

fn established(under: Side) -> Arena {
    let mut a = Arena::new(under);
    a.handshake();
    a
}

fn new_cid(sequence: u64, retire_prior_to: u64) -> Frame<'static> {
    let cid = ConnectionId::new(&sequence.to_be_bytes()).unwrap();
    let reset_token = ResetToken::new([sequence as u8; 16]);
    Frame::NewConnectionId { path: None, sequence, retire_prior_to, cid, reset_token }
}

/// CVE-2024-22189: IDs are issued and retired while nothing is acknowledged.
#[test]
fn connection_id_stuffing_ends_the_connection() {
    for under in BOTH {
        let mut a = established(under);
        a.rogue().acknowledge = false;
        let mut sent = 0;
        while a.closed().is_none() {
            sent += 1;
            assert!(sent <= 20, "{sent} retirements are queued");
            a.send(&[new_cid(sent, sent)]);
        }
        assert_eq!(a.closed().unwrap().code, Code::CONNECTION_ID_LIMIT_ERROR);
    }
}

/// The same with one frame that skips ahead: only IDs that were issued are retired.
/// RFC 9000 section 5.1.2.
#[test]
fn a_leap_of_retire_prior_to_costs_nothing() {
    let mut a = established(Side::Server);
    a.send(&[new_cid(1 << 60, 1 << 60)]);
    assert_eq!(a.closed(), None);
    let retired = a.rogue().find(Level::OneRtt, |f| match f {
        Frame::RetireConnectionId { path: None, sequence } => Some(*sequence),
        _ => None,
    });
    assert_eq!(retired, [0]);
}

/// A peer that retires our IDs as fast as they come gets no more than a few at a time.
#[test]
fn retiring_our_ids_for_ever_keeps_few_of_them() {
    let mut a = established(Side::Server);
    let mut live: Vec<(u64, ConnectionId)> = vec![(0, a.rogue().dcid)];
    for _ in 0..500 {
        a.rogue().heard.retain(|h| h.level == Level::OneRtt);
        let issued = a.rogue().find(Level::OneRtt, |f| match f {
            Frame::NewConnectionId { path: None, sequence, cid, .. } => Some((*sequence, *cid)),
            _ => None,
        });
        a.rogue().heard.clear();
        live.extend(issued);
        assert!(live.len() <= 4, "{} IDs", live.len());
        let (sequence, _) = live.remove(0);
        let dcid = live[0].1;
        a.rogue().dcid = dcid;
        a.send(&[Frame::RetireConnectionId { path: None, sequence }]);
        a.flush(&[Level::OneRtt]);
    }
    assert_eq!(a.closed(), None);
}

/// CVE-2023-49295: of a flood of PATH_CHALLENGE frames only the newest are answered.
#[test]
fn a_flood_of_path_challenges_is_answered_sparingly() {
    for under in BOTH {
        let mut a = established(under);
        a.rogue().acknowledge = false;
        let flood: Vec<_> = (0..100).map(|i| Frame::PathChallenge([i; 8])).collect();
        let sent = a.sent.len();
        for _ in 0..10 {
            a.send(&flood);
        }
        let stats = a.connection().stats();
        assert!(stats.challenges_answered <= 40, "{}", stats.challenges_answered);
        assert!(a.sent.len() - sent <= 20);
        a.advance(5 * SEC);
        assert_eq!(a.connection().stats().challenges_answered, stats.challenges_answered);
    }
}

/// Pieces of handshake data with gaps between them are bounded in number, at every level.
#[test]
fn crypto_fragments_are_bounded() {
    for under in BOTH {
        for level in LEVELS {
            let mut a = Arena::new(under);
            match level {
                Level::Initial => a.begin(),
                Level::Handshake => a.half_handshake(),
                _ => a.handshake(),
            }
            let mut pieces = 0;
            while a.closed().is_none() {
                let offset = a.rogue().crypto_offset(level) + 1 + 2 * pieces;
                a.send_at(level, &bytes(&[Frame::Crypto { offset, data: b"x" }]));
                pieces += 1;
                assert!(pieces <= 300);
            }
            assert_eq!(a.closed().unwrap().code, Code::CRYPTO_BUFFER_EXCEEDED);
        }
    }
}

/// A TLS message that says it is 16 MiB long is not collected.
#[test]
fn endless_tls_messages_are_refused() {
    for under in BOTH {
        for level in LEVELS {
            let mut a = Arena::new(under);
            match level {
                Level::Initial => a.begin(),
                Level::Handshake => a.half_handshake(),
                _ => a.handshake(),
            }
            let ty = match (level, under) {
                (Level::Initial, Side::Server) => 1,
                (Level::Initial, Side::Client) => 2,
                (Level::Handshake, Side::Server) => 20,
                (Level::Handshake, Side::Client) => 8,
                _ => 4,
            };
            let mut data = vec![ty, 0xff, 0xff, 0xff];
            data.resize(1000, 7);
            let mut offset = a.rogue().crypto_offset(level);
            for n in 0.. {
                a.send_at(level, &bytes(&[Frame::Crypto { offset, data: &data }]));
                if a.closed().is_some() {
                    break;
                }
                assert!(n < 80, "{under:?} took {offset} bytes at {level:?}");
                offset += 1000;
                data.fill(7);
            }
        }
    }
}

/// A Retry whose token leaves no room in an Initial packet of 1200 bytes: nothing can be sent, and
/// nothing is tried for ever.
#[test]
fn a_retry_token_too_long_for_a_packet_ends_the_handshake() {
    for len in [1000, 1100, 1150, 1200, 5000] {
        let mut a = Arena::new(Side::Client);
        a.begin();
        let odcid = a.connection().original_dcid();
        let (dcid, scid) = (a.rogue().dcid, ConnectionId::new(b"rogue-02").unwrap());
        let token = vec![0x77; len];
        let mut out = vec![0; 7 + dcid.len() + scid.len() + len];
        let mut w = tquic_wire::Writer::new(&mut out);
        let version = tquic_wire::Version::V1;
        tquic_wire::header::write_retry(&mut w, 0, version, &dcid, &scid, &token);
        let tag = tquic_crypto::retry::integrity_tag(version, &odcid, &out);
        out.extend_from_slice(&tag);
        a.deliver(&out);
        a.advance(60 * SEC);
        assert!(a.endpoint.is_empty());
        assert!(a.events.iter().any(|e| matches!(e, Event::Closed(_))));
    }
}

/// CVE-2025-4820: a peer that acknowledges what it has not received is found out by packet numbers
/// that were never sent.
#[test]
fn optimistic_acknowledgements_are_found_out() {
    for under in BOTH {
        let mut a = established(under);
        a.rogue().acknowledge = false;
        let id = a.connection().streams().open(Direction::Unidirectional).unwrap();
        for round in 0..1000 {
            let _ = a.connection().streams().write(id, vec![0; 10_000].into());
            a.pump();
            let here = a.rogue().heard.iter().filter(|h| h.level == Level::OneRtt);
            let largest = here.map(|h| h.pn).max().unwrap_or(0);
            // Everything up to there, as if nothing was ever left out.
            a.send_at(Level::OneRtt, &varints(&[0x02, largest, 0, 0, largest]));
            a.advance(SEC / 50);
            if let Some(closed) = a.closed() {
                assert_eq!((closed.code, closed.frame), (Code::PROTOCOL_VIOLATION, Some(0x02)));
                assert!(round > 0);
                break;
            }
        }
        assert!(a.closed().is_some(), "nobody noticed");
    }
}

/// CVE-2026-25800: pieces of one byte with gaps of one byte. Memory stays near what flow control
/// lets the peer send, and the work for each piece small.
#[test]
fn stream_fragments_of_one_byte_take_bounded_memory() {
    let mut a = established(Side::Server);
    let id = a.theirs(Direction::Unidirectional, 0);
    let mut offset = 1;
    for _ in 0..400 {
        let frames: Vec<_> = (0..200)
            .map(|i| {
                Frame::Stream(StreamFrame { id, offset: offset + 2 * i, fin: false, data: b"x" })
            })
            .collect();
        a.send(&frames);
        offset += 400;
    }
    assert_eq!(a.closed(), None);
    let memory = a.connection().streams().stats().receive_memory;
    assert!(memory <= 512 * 1024, "{memory} bytes for 80,000 pieces in 160,000 bytes of stream");
}

/// Rapid reset (CVE-2023-44487): streams that the peer opens and resets leave nothing behind, and
/// new ones are granted only as old ones are gone.
#[test]
fn streams_that_are_reset_at_once_leave_nothing() {
    let mut a = established(Side::Server);
    for index in 0..5000 {
        let id = a.theirs(Direction::Bidirectional, index);
        a.send(&[
            Frame::Stream(StreamFrame { id, offset: 0, fin: false, data: b"request" }),
            Frame::ResetStream { id, error_code: 1, final_size: 7 },
            Frame::StopSending { id, error_code: 1 },
        ]);
        a.flush(&[Level::OneRtt]);
        if a.closed().is_some() {
            // Beyond what was granted: nobody read the resets.
            assert_eq!(a.closed().unwrap().code, Code::STREAM_LIMIT_ERROR);
            return;
        }
        let stats = a.connection().streams().stats();
        assert!(stats.streams <= 128, "{} streams", stats.streams);
    }
}

/// A client's first packet from anywhere.
fn spoofed(n: u32, payload: &[u8]) -> (SocketAddr, Vec<u8>) {
    let mut script = rogue::Script::default();
    script.first_dcid = ConnectionId::new(format!("flood{n:07}").as_bytes()).unwrap();
    let mut rogue = Rogue::client(&mut script);
    let from = SocketAddr::from(([198, 51, (n >> 8) as u8, n as u8], 1024 + (n >> 16) as u16));
    (from, rogue.seal(Draft::new(Level::Initial, payload.to_vec())))
}

fn is_retry(datagram: &[u8]) -> bool {
    matches!(parse_long(datagram), Ok(Long::Retry { .. }))
}

/// Handshakes that nobody completes are few; beyond, a Retry asks for proof without keeping state.
#[test]
fn a_flood_of_initial_packets_keeps_few_half_open() {
    let mut a = Arena::with(Side::Server, quiet(), |mut accept| {
        accept.retry_above = 64;
        accept
    });
    for n in 0..2000 {
        let (from, datagram) = spoofed(n, &[1]);
        a.deliver_from(from, &datagram);
    }
    assert_eq!(a.endpoint.half_open(), 64);
    assert_eq!(a.endpoint.len(), 64);
    assert_eq!(a.endpoint.stats().retries, 2000 - 64);
    let retries = a.sent.iter().filter(|s| is_retry(&s.data));
    assert!(retries.map(|s| s.data.len()).max().unwrap() < 400);
    // All of it goes away by itself.
    a.advance(60 * SEC);
    assert_eq!((a.endpoint.half_open(), a.endpoint.len()), (0, 0));
}

/// The same with packets that are wrong in themselves: a connection that fails in the handshake
/// still counts as half open while its state is kept. It once did not, and a flood could take all
/// connections that there may be.
#[test]
fn a_flood_of_broken_initial_packets_keeps_few_connections() {
    let mut a = Arena::with(Side::Server, quiet(), |mut accept| {
        accept.retry_above = 64;
        accept
    });
    for n in 0..500 {
        let (from, datagram) = spoofed(n, &[0x20]);
        a.deliver_from(from, &datagram);
    }
    assert_eq!((a.endpoint.half_open(), a.endpoint.len()), (64, 64));
    a.advance(60 * SEC);
    assert_eq!((a.endpoint.half_open(), a.endpoint.len()), (0, 0));
}

/// Packets that do not authenticate leave nothing behind at all.
#[test]
fn a_flood_of_damaged_initial_packets_keeps_nothing() {
    let mut a = Arena::new(Side::Server);
    for n in 0..1000 {
        let (from, mut datagram) = spoofed(n, &[1]);
        *datagram.last_mut().unwrap() ^= 1;
        a.deliver_from(from, &datagram);
    }
    assert_eq!((a.endpoint.half_open(), a.endpoint.len(), a.sent.len()), (0, 0, 0));
    assert_eq!(a.endpoint.stats().dropped, 1000);
}

/// Beyond the hard bound nobody is let in, Retry or not, and is told so.
#[test]
fn too_many_handshakes_are_refused() {
    let mut a = Arena::with(Side::Server, quiet(), |mut accept| {
        accept.retry = RetryPolicy::Never;
        accept.max_handshakes = 10;
        accept
    });
    for n in 0..100 {
        let (from, datagram) = spoofed(n, &[1]);
        a.deliver_from(from, &datagram);
    }
    assert_eq!((a.endpoint.half_open(), a.endpoint.stats().refused), (10, 90));
    let (from, datagram) = spoofed(200, &[1]);
    let mut script = rogue::Script::default();
    script.first_dcid = ConnectionId::new(b"flood0000200").unwrap();
    a.rogue = Some(Rogue::client(&mut script));
    a.deliver_from(from, &datagram);
    let refusal = a.sent.last().unwrap().data.clone();
    a.rogue().receive(from, &refusal);
    assert_eq!(a.closed().unwrap().code, Code::CONNECTION_REFUSED);
}

/// RFC 9000 section 5.2.2: those who are there go on, and it ends when the overload does.
#[test]
fn an_overloaded_endpoint_refuses_new_connections_only() {
    let mut a = established(Side::Server);
    let before = a.endpoint.len();
    a.endpoint.set_overloaded(true);
    let (from, datagram) = spoofed(1, &[1]);
    a.deliver_from(from, &datagram);
    assert_eq!((a.endpoint.len(), a.endpoint.stats().refused), (before, 1));
    let received = a.connection().stats().packets_received;
    a.send(&[Frame::Ping]);
    assert_eq!(a.connection().stats().packets_received, received + 1);
    assert_eq!(a.closed(), None);
    a.endpoint.set_overloaded(false);
    a.deliver_from(from, &datagram);
    assert_eq!((a.endpoint.len(), a.endpoint.stats().refused), (before + 1, 1));
}

/// RFC 9000 section 8.1: three times what arrived, however long and whatever arrives later.
/// RFC 9000 sections 8 and 8.1.
#[test]
fn a_spoofed_address_gets_three_times_what_it_sent_at_most() {
    for junk in [0, 50, 1200] {
        let mut a = Arena::new(Side::Server);
        a.begin();
        // The whole ClientHello arrives, nothing else that counts.
        let hello = a.rogue().flight(&[Level::Initial]);
        for datagram in hello {
            a.deliver(&datagram);
        }
        let dcid = a.rogue().dcid;
        for _ in 0..20 {
            let sent: u64 = a.sent.iter().map(|s| s.data.len() as u64).sum();
            assert!(sent <= 3 * a.given, "{sent} bytes for {}", a.given);
            if junk > 0 {
                let mut data = vec![0x47; junk];
                data[1..9].copy_from_slice(dcid.as_slice());
                a.deliver(&data);
            }
            a.advance(SEC / 2);
        }
        let sent: u64 = a.sent.iter().map(|s| s.data.len() as u64).sum();
        assert!(sent > 0 && sent <= 3 * a.given);
    }
}

/// The same when the connection fails: CONNECTION_CLOSE counts too.
#[test]
fn closing_stays_below_three_times_as_well() {
    let mut a = Arena::new(Side::Server);
    a.half_handshake();
    a.send_at(Level::Initial, &[0x20]);
    assert!(a.closed().is_some());
    for _ in 0..500 {
        let datagram = a.rogue().seal(Draft::new(Level::Initial, vec![1]));
        a.deliver(&datagram);
        let sent: u64 = a.sent.iter().map(|s| s.data.len() as u64).sum();
        assert!(sent <= 3 * a.given);
    }
}

/// RFC 9000 section 10.2.1: ever fewer answers while closing.
#[test]
fn a_closing_connection_answers_ever_less() {
    for under in BOTH {
        let mut a = established(under);
        a.send_at(Level::OneRtt, &[0x20]);
        let sent = a.sent.len();
        for _ in 0..1000 {
            let datagram = a.rogue().seal(Draft::new(Level::OneRtt, vec![1]));
            a.deliver(&datagram);
        }
        assert!(a.sent.len() - sent <= 10, "{} answers", a.sent.len() - sent);
    }
}

fn endpoint(seed: u8, shard: u8, shards: u8) -> Endpoint {
    let secrets = EndpointSecrets {
        reset: [seed; 32],
        token: [seed; 32],
        seed: [seed; 32],
        unix_epoch: 1_700_000_000,
    };
    let config = EndpointConfig { shard, shards, ..EndpointConfig::default() };
    Endpoint::new(config, None, &secrets)
}

fn answers(endpoint: &mut Endpoint, now: Instant, data: &[u8]) -> Vec<Vec<u8>> {
    let addresses =
        FourTuple { local: "192.0.2.1:1".parse().unwrap(), remote: "192.0.2.2:2".parse().unwrap() };
    let mut data = data.to_vec();
    let len = data.len().max(1);
    let mut replies: Vec<Reply> = vec![];
    endpoint.receive(now, addresses, None, (&mut data, len), &mut replies);
    replies.into_iter().map(|r| r.data).collect()
}

/// RFC 9000 section 10.3.3: endpoints that know nothing of each other do not reset each other for
/// ever, and no more than so many times a second.
/// RFC 9000 sections 10.3 and 10.3.3.
#[test]
fn stateless_resets_come_to_an_end() {
    let (mut one, mut two) = (endpoint(1, 0, 1), endpoint(2, 0, 1));
    let now = Instant::from_nanos(5_000_000_000);
    let mut data = vec![0x41; 1200];
    let mut rounds = 0;
    while let Some(answer) = answers(&mut one, now, &data).pop() {
        assert!(answer.len() < data.len() && answer.len() >= 21);
        data = answer;
        std::mem::swap(&mut one, &mut two);
        rounds += 1;
    }
    assert!(rounds > 0 && rounds < 30, "{rounds}");
    let mut flooded = endpoint(3, 0, 1);
    let sent: usize = (0..1000).map(|_| answers(&mut flooded, now, &[0x41; 100]).len()).sum();
    assert_eq!(sent, 100);
    assert_eq!(flooded.stats().resets_suppressed, 900);
    assert_eq!(answers(&mut flooded, now + SEC, &[0x41; 100]).len(), 1);
}

/// RFC 9000 section 21.11: shards share the key of reset tokens. A packet for a connection ID of
/// another shard that strays here must not be answered with the token that would end it there.
#[test]
fn a_shard_gives_no_reset_for_ids_of_another() {
    let mut shard = endpoint(1, 0, 2);
    let now = Instant::from_nanos(5_000_000_000);
    for first in 0..=255 {
        let mut data = vec![0x41; 100];
        data[1] = first;
        let expected = usize::from(first % 2 == 0).min(1);
        let got = answers(&mut shard, now + SEC * u32::from(first), &data).len();
        assert_eq!(got, expected, "first byte {first}");
    }
}

/// The token of an ID in use is not to be had by sending what cannot be read.
/// RFC 9000 section 11.
#[test]
fn an_id_in_use_gets_no_reset() {
    let mut a = established(Side::Server);
    let mut data = vec![0x41; 200];
    data[1..9].copy_from_slice(a.rogue().dcid.as_slice());
    a.deliver(&data);
    let stranger: SocketAddr = "203.0.113.9:9".parse().unwrap();
    a.deliver_from(stranger, &data);
    assert_eq!(a.endpoint.stats().resets_sent, 0);
    assert!(!a.connection().is_closed());
    assert!(a.sent.iter().all(|s| s.addresses.remote != stranger));
}

/// CVE-2026-11352: datagrams without a byte cost nothing and end nothing.
#[test]
fn empty_datagrams_do_nothing() {
    let mut a = established(Side::Server);
    let before = (a.connection().stats(), a.sent.len());
    for _ in 0..100 {
        a.deliver(&[]);
    }
    assert_eq!((a.connection().stats(), a.sent.len()), before);
}

/// Packets that are too short for a sample of header protection, of every form.
/// RFC 9001 section 5.4.2.
#[test]
fn packets_too_short_for_a_sample_are_dropped() {
    for under in BOTH {
        let mut a = established(under);
        let dcid = a.rogue().dcid;
        for len in 1..60 {
            for first in [0x40, 0x43, 0xc0, 0xe3] {
                let mut data = vec![0; len];
                data[0] = first;
                for (to, from) in data.iter_mut().skip(1).zip(dcid.as_slice()) {
                    *to = *from;
                }
                a.deliver(&data);
            }
        }
        assert!(!a.connection().is_closed());
        a.send(&[Frame::PathChallenge([9; 8])]);
        assert_eq!(a.connection().stats().challenges_answered, 1);
    }
}

/// RFC 9001 section 6.3: the key phase counts only in packets that authenticate.
/// RFC 9001 section 5.5.
#[test]
fn junk_in_the_other_key_phase_changes_no_keys() {
    for under in BOTH {
        let mut a = established(under);
        for n in 0..1000_u32 {
            let mut datagram = a
                .rogue()
                .seal(Draft { first_bits: 0x04, ..Draft::new(Level::OneRtt, vec![1; 30]) });
            let last = datagram.len() - 1;
            datagram[last] ^= (n | 1) as u8;
            a.deliver(&datagram);
        }
        let stats = a.connection().stats();
        assert_eq!((stats.undecryptable, stats.key_updates), (1000, 0));
        a.send(&[Frame::PathChallenge([9; 8])]);
        assert_eq!(a.connection().stats().challenges_answered, 1);
    }
}

/// Packets that come before their keys are kept, but few of them.
/// RFC 9001 section 5.7.
#[test]
fn packets_kept_for_later_keys_are_few() {
    let mut a = Arena::new(Side::Server);
    a.begin();
    a.send_at(Level::Initial, &[1]);
    let before = a.connection().stats().dropped;
    let dcid = a.rogue().dcid;
    let scid = a.rogue().scid;
    for _ in 0..100 {
        let mut data = vec![0; 1200];
        let mut w = tquic_wire::Writer::new(&mut data);
        let fields = tquic_wire::header::LongFields {
            ty: PacketType::Handshake,
            version: tquic_wire::Version::V1,
            dcid: &dcid,
            scid: &scid,
            token: &[],
            pn: 0,
            pn_len: 4,
        };
        let handle = tquic_wire::header::write_long(&mut w, &fields);
        tquic_wire::header::patch_length(&mut data, handle, 1200);
        a.deliver(&data);
    }
    assert_eq!(a.connection().stats().dropped - before, 84);
    // They are junk when the keys come, and the handshake goes on.
    a.handshake();
    assert_eq!(a.connection().stats().undecryptable, 16);
}

/// Tokens for later connections wait for the application, but few of them.
#[test]
fn a_flood_of_new_tokens_keeps_few() {
    let mut a = established(Side::Client);
    a.events.clear();
    let tokens: Vec<[u8; 4]> = (0..150_u32).map(u32::to_be_bytes).collect();
    let frames: Vec<_> = tokens.iter().map(|t| Frame::NewToken { token: t }).collect();
    a.send(&frames);
    let got: Vec<_> = a.events.iter().filter(|e| matches!(e, Event::NewToken(_))).collect();
    assert!(got.len() <= 8, "{} events", got.len());
    assert_eq!(got.last(), Some(&&Event::NewToken(149_u32.to_be_bytes().to_vec())));
}

/// Garbage in place of a token is as good as none; a Retry token of somebody else is refused.
#[test]
fn tokens_of_others_prove_nothing() {
    let mut a = Arena::with(Side::Server, quiet(), |mut accept| {
        accept.retry = RetryPolicy::Always;
        accept
    });
    for len in [1, 16, 40, 80, 300] {
        a.script.token = vec![0xa5; len];
        a.rogue = None;
        a.try_handshake();
        assert_eq!(a.endpoint.len(), 0);
        assert!(is_retry(&a.sent.last().unwrap().data));
    }
    let retry = a.sent.last().unwrap().data.clone();
    let Ok(Long::Retry { scid, token, .. }) = parse_long(&retry) else { panic!("no Retry") };
    a.script.token = token.to_vec();
    a.script.first_dcid = scid;
    a.rogue = None;
    a.rogue_at = "192.0.2.200:6666".parse().unwrap();
    a.try_handshake();
    assert_eq!(a.endpoint.len(), 0);
    assert_eq!(a.closed().unwrap().code, Code::INVALID_TOKEN);
}

/// Spoofed packets from many addresses after the handshake: few are remembered, nothing much is
/// sent there, and the true one stays.
/// RFC 9000 section 9.3.2.
#[test]
fn forged_moves_of_the_peer_do_not_pile_up() {
    let mut a = established(Side::Server);
    let mut probed = HashSet::new();
    for n in 0..200_u16 {
        // An on-path attacker forwards real packets from addresses of its own.
        let datagram = a.rogue().seal(Draft::new(Level::OneRtt, vec![1]));
        let from = SocketAddr::from(([203, 0, 113, n as u8], 7000 + n));
        let sent = a.sent.len();
        a.deliver_from(from, &datagram);
        let there = a.sent[sent..].iter().filter(|s| s.addresses.remote == from);
        assert!(there.map(|s| s.data.len()).sum::<usize>() <= 3 * datagram.len());
        probed.insert(from);
        assert!(a.connection().path(0).unwrap().tuples().len() <= 4);
    }
    a.send(&[Frame::Ping]);
    a.advance(10 * SEC);
    assert_eq!(a.closed(), None);
    assert!(!a.connection().is_closed());
}

/// A peer that talks all the time leaves no trail of old deadlines. It once did, one for each
/// exchange.
#[test]
fn chatter_leaves_no_deadlines_behind() {
    let mut a = established(Side::Server);
    for _ in 0..1000 {
        a.send(&[Frame::Ping]);
        a.advance(SEC / 30);
        assert!(a.endpoint.deadlines() <= 68, "{} deadlines", a.endpoint.deadlines());
    }
}
