//! Frames that are well formed but mean anything.

use tquic_wire::frame::{Close, StreamFrame};
use tquic_wire::{ConnectionId, Direction, Frame, ResetToken, Side, StreamId};

use super::rogue::{bytes, varints};
use super::source::Source;

/// Bytes that frames point to.
static FILLER: [u8; 256] = [0x5a; 256];

fn stream_id(s: &mut Source<'_>) -> StreamId {
    StreamId(s.number())
}

fn direction(s: &mut Source<'_>) -> Direction {
    if s.coin() { Direction::Bidirectional } else { Direction::Unidirectional }
}

/// The bytes of one frame.
pub fn frame(s: &mut Source<'_>) -> Vec<u8> {
    let sizes = |s: &mut Source<'_>| &FILLER[..usize::from(s.u8())];
    let frame = match s.u8() % 32 {
        0 => Frame::Ping,
        1 => return ack(s),
        2 => {
            Frame::ResetStream { id: stream_id(s), error_code: s.number(), final_size: s.number() }
        }
        3 => Frame::StopSending { id: stream_id(s), error_code: s.number() },
        4 => {
            let data = if s.coin() { s.bytes(64) } else { sizes(s) };
            Frame::Crypto { offset: s.number(), data }
        }
        5 => Frame::NewToken { token: sizes(s) },
        6..10 => {
            let (id, offset, fin) = (stream_id(s), s.number(), s.coin());
            Frame::Stream(StreamFrame { id, offset, fin, data: sizes(s) })
        }
        10 => Frame::MaxData(s.number()),
        11 => Frame::MaxStreamData { id: stream_id(s), max: s.number() },
        12 => Frame::MaxStreams { dir: direction(s), max: s.number() },
        13 => Frame::DataBlocked(s.number()),
        14 => Frame::StreamDataBlocked { id: stream_id(s), limit: s.number() },
        15 => Frame::StreamsBlocked { dir: direction(s), limit: s.number() },
        16 | 17 => {
            let sequence = s.number();
            let retire_prior_to = if s.coin() { sequence } else { s.number() };
            let cid = match s.u8() % 4 {
                0 => ConnectionId::new(s.bytes(20)).unwrap_or_default(),
                _ => ConnectionId::new(&sequence.to_be_bytes()).unwrap_or_default(),
            };
            let reset_token = ResetToken::new([sequence as u8; 16]);
            Frame::NewConnectionId { path: path(s), sequence, retire_prior_to, cid, reset_token }
        }
        18 => Frame::RetireConnectionId { path: path(s), sequence: s.number() },
        19 => Frame::PathChallenge([s.u8(); 8]),
        20 => Frame::PathResponse([s.u8(); 8]),
        21 if s.u8().is_multiple_of(8) => Frame::ConnectionClose(Close {
            error_code: s.number(),
            frame_type: s.coin().then_some(6),
            reason: sizes(s),
        }),
        22 => Frame::HandshakeDone,
        23 => Frame::Datagram { data: sizes(s) },
        24 => Frame::AckFrequency {
            sequence: s.number(),
            threshold: s.number(),
            request_max_ack_delay_us: s.number(),
            reordering_threshold: s.number(),
        },
        25 => Frame::ImmediateAck,
        26 => Frame::PathAbandon { path: s.number(), error_code: s.number() },
        27 => Frame::PathStatus { path: s.number(), sequence: s.number(), backup: s.coin() },
        28 => Frame::MaxPathId(s.number()),
        29 => Frame::PathsBlocked(s.number()),
        30 => Frame::PathCidsBlocked { path: s.number(), next_sequence: s.number() },
        31 => Frame::ResetStreamAt {
            id: stream_id(s),
            error_code: s.number(),
            final_size: s.number(),
            reliable_size: s.number(),
        },
        _ => Frame::Padding { len: 1 + usize::from(s.u8()) },
    };
    bytes(&[frame])
}

/// For a frame that may be about one path.
fn path(s: &mut Source<'_>) -> Option<u64> {
    match s.u8() % 4 {
        0 => Some(s.number()),
        1 => Some(s.below(4)),
        _ => None,
    }
}

/// An ACK or PATH_ACK frame whose ranges may be anything.
fn ack(s: &mut Source<'_>) -> Vec<u8> {
    let more = s.below(5);
    let ecn = s.coin();
    let mut fields = match path(s) {
        Some(path) => vec![0x3e + u64::from(ecn), path],
        None => vec![2 + u64::from(ecn)],
    };
    fields.extend([s.number(), s.number(), more, s.number()]);
    for _ in 0..2 * more {
        fields.push(s.number());
    }
    if ecn {
        fields.extend([s.number(), s.number(), s.number()]);
    }
    varints(&fields)
}

/// What an honest peer knows.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The peer's side.
    pub side: Side,
    /// Largest packet number heard.
    pub largest: Option<u64>,
    /// The last PATH_CHALLENGE heard.
    pub challenge: Option<[u8; 8]>,
}

/// Bytes of each of the peer's streams.
const STREAM_LEN: u64 = 4096;

/// The bytes of one frame that breaks no rule by itself, so that scripts get far.
pub fn honest(s: &mut Source<'_>, known: &Known) -> Vec<u8> {
    let theirs = |s: &mut Source<'_>, dir| StreamId::new(known.side, dir, s.below(8));
    let bidi = Direction::Bidirectional;
    let any = direction(s);
    let frame = match s.u8() % 20 {
        0 => Frame::Ping,
        1 | 2 => {
            let Some(largest) = known.largest else { return bytes(&[Frame::Ping]) };
            let largest = largest - s.below(3).min(largest);
            let first = if s.coin() { 0 } else { s.below(largest + 1) };
            return varints(&[2, largest, s.below(1000), 0, first]);
        }
        3 => Frame::ResetStream { id: theirs(s, any), error_code: 1, final_size: STREAM_LEN },
        4 => Frame::StopSending { id: theirs(s, bidi), error_code: 1 },
        5..9 => {
            let (id, len) = (theirs(s, any), u64::from(s.u8()));
            let fin = s.u8().is_multiple_of(4);
            let offset = if fin { STREAM_LEN - len } else { s.below(STREAM_LEN - 255) };
            Frame::Stream(StreamFrame { id, offset, fin, data: &FILLER[..len as usize] })
        }
        9 => Frame::MaxData(s.number()),
        10 => Frame::MaxStreamData { id: theirs(s, bidi), max: s.number() },
        11 => Frame::MaxStreams { dir: any, max: s.number().min(1 << 60) },
        12 => Frame::StreamDataBlocked { id: theirs(s, any), limit: s.number() },
        13 => {
            let sequence = 1 + s.below(12);
            let cid = ConnectionId::new(&sequence.to_be_bytes()).unwrap_or_default();
            let reset_token = ResetToken::new([sequence as u8; 16]);
            let retire_prior_to = s.below(sequence + 1);
            Frame::NewConnectionId { path: None, sequence, retire_prior_to, cid, reset_token }
        }
        14 => Frame::RetireConnectionId { path: None, sequence: 1 + s.below(3) },
        15 => Frame::PathChallenge([s.u8(); 8]),
        16 => Frame::PathResponse(known.challenge.unwrap_or([0; 8])),
        17 => Frame::Datagram { data: &FILLER[..usize::from(s.u8())] },
        18 => Frame::AckFrequency {
            sequence: s.number(),
            threshold: s.below(20),
            request_max_ack_delay_us: 1000 * (1 + s.below(200)),
            reordering_threshold: s.below(5),
        },
        _ => Frame::ImmediateAck,
    };
    bytes(&[frame])
}
