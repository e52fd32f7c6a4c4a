//! Frames that are well formed but mean anything.

use tquic_wire::frame::{Close, StreamFrame};
use tquic_wire::{ConnectionId, Direction, Frame, ResetToken, StreamId};

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
    let frame = match s.u8() % 26 {
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
            Frame::NewConnectionId { sequence, retire_prior_to, cid, reset_token }
        }
        18 => Frame::RetireConnectionId { sequence: s.number() },
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
        _ => Frame::Padding { len: 1 + usize::from(s.u8()) },
    };
    bytes(&[frame])
}

/// An ACK frame whose ranges may be anything.
fn ack(s: &mut Source<'_>) -> Vec<u8> {
    let more = s.below(5);
    let ecn = s.coin();
    let mut fields = vec![2 + u64::from(ecn), s.number(), s.number(), more, s.number()];
    for _ in 0..2 * more {
        fields.push(s.number());
    }
    if ecn {
        fields.extend([s.number(), s.number(), s.number()]);
    }
    varints(&fields)
}
