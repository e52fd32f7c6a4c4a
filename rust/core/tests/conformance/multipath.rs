//! Rules of multipath broken (draft-ietf-quic-multipath-21).

use tquic_core::config::TransportConfig;
use tquic_crypto::Level;
use tquic_wire::{ConnectionId, Frame, ResetToken, TransportErrorCode as Code};

use crate::rogue::arena::{Arena, quiet};
use crate::rogue::{bytes, varints};
use crate::{ANY, violations};

/// Both ends allow path IDs up to 3.
fn negotiate(a: &mut Arena) {
    let transport = TransportConfig { max_paths: Some(4), ..quiet() };
    *a = Arena::with(a.under, transport, |accept| accept);
    a.script.parameters = Box::new(|p| p.initial_max_path_id = Some(3));
}

fn established(a: &mut Arena) {
    negotiate(a);
    a.handshake();
}

fn new_cid(path: u64, sequence: u64, retire_prior_to: u64) -> Frame<'static> {
    let name = [b'r', path as u8, sequence as u8, 1, 2, 3, 4, 5];
    Frame::NewConnectionId {
        path: Some(path),
        sequence,
        retire_prior_to,
        cid: ConnectionId::new(&name).unwrap(),
        reset_token: ResetToken::new([(path as u8 * 16).wrapping_add(sequence as u8); 16]),
    }
}

fn raw(a: &mut Arena, fields: &[u64]) {
    a.send_at(Level::OneRtt, &varints(fields));
}

violations! {
    /// Section 2: frames of an extension that was not negotiated are of an unknown type.
    path_abandon_uninvited [Server, Client] Established |a| {
        a.send(&[Frame::PathAbandon { path: 0, error_code: 0 }]);
    } => Code::FRAME_ENCODING_ERROR, 0x3e75;

    path_ack_uninvited [Server, Client] Established |a| {
        raw(a, &[0x3e, 0, 0, 0, 0, 0]);
    } => Code::FRAME_ENCODING_ERROR, 0x3e;

    new_connection_id_of_a_path_uninvited [Server, Client] Established |a| {
        a.send(&[new_cid(1, 0, 0)]);
    } => Code::FRAME_ENCODING_ERROR, 0x3e78;

    /// Section 4: only in 1-RTT packets.
    status_in_a_handshake_packet [Server, Client] Fresh |a| {
        negotiate(a);
        a.half_handshake();
        let frame = Frame::PathStatus { path: 0, sequence: 0, backup: false };
        a.send_at(Level::Handshake, &bytes(&[frame]));
    } => Code::PROTOCOL_VIOLATION, 0x3e77;

    /// Section 2.1.
    parameter_beyond_the_nonce [Server, Client] Fresh |a| {
        negotiate(a);
        a.script.parameters = Box::new(|p| p.initial_max_path_id = Some(1 << 32));
        a.try_handshake();
    } => Code::TRANSPORT_PARAMETER_ERROR, ANY;

    empty_connection_id [Server, Client] Fresh |a| {
        negotiate(a);
        a.script.scid = ConnectionId::EMPTY;
        a.try_handshake();
    } => Code::PROTOCOL_VIOLATION, ANY;

    /// Section 4: path IDs above what we announced.
    abandon_above_the_limit [Server, Client] Fresh |a| {
        established(a);
        a.send(&[Frame::PathAbandon { path: 4, error_code: 0 }]);
    } => Code::PROTOCOL_VIOLATION, 0x3e75;

    backup_above_the_limit [Server, Client] Fresh |a| {
        established(a);
        a.send(&[Frame::PathStatus { path: 4, sequence: 0, backup: true }]);
    } => Code::PROTOCOL_VIOLATION, 0x3e76;

    available_above_the_limit [Server, Client] Fresh |a| {
        established(a);
        a.send(&[Frame::PathStatus { path: 1 << 40, sequence: 0, backup: false }]);
    } => Code::PROTOCOL_VIOLATION, 0x3e77;

    connection_id_above_the_limit [Server, Client] Fresh |a| {
        established(a);
        a.send(&[new_cid(4, 0, 0)]);
    } => Code::PROTOCOL_VIOLATION, 0x3e78;

    retirement_above_the_limit [Server, Client] Fresh |a| {
        established(a);
        a.send(&[Frame::RetireConnectionId { path: Some(4), sequence: 0 }]);
    } => Code::PROTOCOL_VIOLATION, 0x3e79;

    ack_above_the_limit [Server, Client] Fresh |a| {
        established(a);
        raw(a, &[0x3e, 4, 0, 0, 0, 0]);
    } => Code::PROTOCOL_VIOLATION, 0x3e;

    cids_blocked_above_the_limit [Server, Client] Fresh |a| {
        established(a);
        a.send(&[Frame::PathCidsBlocked { path: 4, next_sequence: 0 }]);
    } => Code::PROTOCOL_VIOLATION, 0x3e7c;

    /// Section 4.7.
    paths_blocked_above_the_limit [Server, Client] Fresh |a| {
        established(a);
        a.send(&[Frame::PathsBlocked(4)]);
    } => Code::PROTOCOL_VIOLATION, 0x3e7b;

    cids_blocked_beyond_what_was_issued [Server, Client] Fresh |a| {
        established(a);
        a.send(&[Frame::PathCidsBlocked { path: 1, next_sequence: 90 }]);
    } => Code::PROTOCOL_VIOLATION, 0x3e7c;

    /// Section 4.6.
    max_path_id_beyond_the_nonce [Server, Client] Fresh |a| {
        established(a);
        a.send(&[Frame::MaxPathId(1 << 32)]);
    } => Code::PROTOCOL_VIOLATION, 0x3e7a;

    max_path_id_below_the_parameter [Server, Client] Fresh |a| {
        established(a);
        a.send(&[Frame::MaxPathId(2)]);
    } => Code::PROTOCOL_VIOLATION, 0x3e7a;

    /// Section 4.1: nothing was sent there.
    ack_of_a_path_that_is_not_open [Server, Client] Fresh |a| {
        established(a);
        raw(a, &[0x3e, 1, 0, 0, 0, 0]);
    } => Code::PROTOCOL_VIOLATION, 0x3e;

    /// Section 4.4: the rules of NEW_CONNECTION_ID for each path.
    more_connection_ids_of_a_path_than_the_limit [Server, Client] Fresh |a| {
        established(a);
        for sequence in 0..=8 {
            a.send(&[new_cid(2, sequence, 0)]);
        }
    } => Code::CONNECTION_ID_LIMIT_ERROR, 0x3e78;

    retire_prior_to_above_the_sequence_number [Server, Client] Fresh |a| {
        established(a);
        raw(a, &[0x3e78, 1, 0, 1, 8]);
    } => Code::FRAME_ENCODING_ERROR, 0x3e78;

    /// Section 4.5.
    retirement_of_what_was_never_issued [Server, Client] Fresh |a| {
        established(a);
        a.send(&[Frame::RetireConnectionId { path: Some(1), sequence: 77 }]);
    } => Code::PROTOCOL_VIOLATION, 0x3e79;

    /// Section 3.4: nothing is left to go on with.
    abandon_of_the_only_path [Server, Client] Fresh |a| {
        established(a);
        a.send(&[Frame::PathAbandon { path: 0, error_code: 0 }]);
    } => Code::NO_VIABLE_PATH, 0x3e75;
}

/// Sections 3.4 and 4: late frames about a path that is gone, or never was, mean nothing.
#[test]
fn frames_about_closed_paths_are_ignored() {
    for under in [tquic_wire::Side::Server, tquic_wire::Side::Client] {
        let mut a = Arena::new(under);
        established(&mut a);
        a.send(&[new_cid(1, 0, 0), Frame::PathAbandon { path: 1, error_code: 0 }]);
        let answers = a.rogue().find(Level::OneRtt, |frame| match frame {
            Frame::PathAbandon { path, .. } => Some(*path),
            _ => None,
        });
        assert_eq!(answers, [1]);
        a.send(&[
            new_cid(1, 1, 0),
            Frame::RetireConnectionId { path: Some(1), sequence: 50 },
            Frame::PathStatus { path: 1, sequence: 9, backup: true },
            Frame::PathCidsBlocked { path: 1, next_sequence: 60 },
            Frame::PathAbandon { path: 1, error_code: 7 },
        ]);
        raw(&mut a, &[0x3e, 1, 10, 0, 0, 10]);
        assert_eq!(a.closed(), None);
        // Path IDs are never used again, so the limit rises.
        let limits = a.rogue().find(Level::OneRtt, |frame| match frame {
            Frame::MaxPathId(max) => Some(*max),
            _ => None,
        });
        assert_eq!(limits, [4]);
    }
}

/// A peer that abandons without end and acknowledges nothing gets no more path IDs.
#[test]
fn path_ids_are_not_given_away_for_nothing() {
    let mut a = Arena::new(tquic_wire::Side::Server);
    established(&mut a);
    let mut next = 1;
    for _ in 0..1000 {
        let limits = a.rogue().find(Level::OneRtt, |frame| match frame {
            Frame::MaxPathId(max) => Some(*max),
            _ => None,
        });
        let max = limits.into_iter().max().unwrap_or(3);
        if next > max {
            break;
        }
        a.send(&[Frame::PathAbandon { path: next, error_code: 0 }]);
        next += 1;
    }
    assert!(next < 20, "{next} path IDs for nothing");
    assert_eq!(a.closed(), None);
}

/// Sequence numbers of a path's connection IDs may jump to the end of their range: what lies before
/// them is retired, once each, and at most as much as fits (section 4.4).
#[test]
fn sequence_numbers_at_the_end_of_their_range() {
    const END: u64 = (1 << 62) - 1;
    for under in [tquic_wire::Side::Server, tquic_wire::Side::Client] {
        let mut a = Arena::new(under);
        established(&mut a);
        for path in [1, 2] {
            a.send(&[new_cid(path, 0, 0), new_cid(path, END, END)]);
        }
        let retired = a.rogue().find(Level::OneRtt, |frame| match frame {
            Frame::RetireConnectionId { path: Some(path), sequence } => Some((*path, *sequence)),
            _ => None,
        });
        assert_eq!(retired, [(1, 0), (2, 0)]);
        // Below what was retired: each is, and a peer that never lets go is stopped in the end.
        for sequence in 1..200 {
            a.send(&[new_cid(1, sequence, 0)]);
        }
        assert!(a.closed().is_none_or(|closed| closed.code == Code::CONNECTION_ID_LIMIT_ERROR));
    }
}
