use super::*;
use crate::error::{DecodeError, TransportErrorCode};
use crate::reader::Reader;
use crate::testing::hex;
use crate::varint::{self, MAX_VARINT};
use crate::writer::Writer;
use proptest::prelude::*;

fn round_trip(frame: &Frame<'_>) {
    let mut buf = vec![0xee; frame.size() + 1];
    let mut w = Writer::new(&mut buf);
    frame.write(&mut w);
    assert_eq!(w.position(), frame.size(), "{frame:?}");
    let mut r = Reader::new(&buf);
    assert_eq!(next_frame(&mut r).as_ref(), Ok(frame));
    assert_eq!(r.remaining(), 1);
    let mut ty = Reader::new(&buf);
    assert_eq!(ty.varint(), Ok(frame.ty()));
    assert_eq!(frame.is_ack_eliciting(), rules::is_ack_eliciting(frame.ty()), "{frame:?}");
    assert_ne!(frame.name(), "UNKNOWN");
}

fn decode_all(payload: &[u8]) -> Result<Vec<Frame<'_>>, FrameError> {
    FrameIter::new(payload).collect()
}

/// RFC 9001 section A.2: the client's CRYPTO frame and padding.
#[test]
fn sample_client_initial() {
    let mut payload = hex("060040f1");
    payload.extend_from_slice(&[0xab; 0xf1]);
    payload.resize(1162, 0);
    let expected =
        [Frame::Crypto { offset: 0, data: &[0xab; 0xf1] }, Frame::Padding { len: 1162 - 245 }];
    assert_eq!(decode_all(&payload).unwrap(), expected);
}

/// RFC 9001 section A.3: the server's ACK and CRYPTO frames.
#[test]
fn sample_server_initial() {
    let payload = hex("02000000000600405a020000560303ee fce7f7b37ba1d1632e96677825ddf739
         88cfc79825df566dc5430b9a045a1200 130100002e00330024001d00209d3c94
         0d89690b84d08a60993c144eca684d10 81287c834d5311bcf32bb9da1a002b00
         020304");
    let frames = decode_all(&payload).unwrap();
    let [Frame::Ack(ack), crypto] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(ack.ranges().collect::<Vec<_>>(), [0..=0]);
    assert_eq!(*crypto, Frame::Crypto { offset: 0, data: &payload[9..] });
}

#[test]
fn padding_is_one_frame() {
    let mut payload = vec![0; 40];
    payload.push(0x01);
    payload.extend_from_slice(&[0; 3]);
    let expected = [Frame::Padding { len: 40 }, Frame::Ping, Frame::Padding { len: 3 }];
    assert_eq!(decode_all(&payload).unwrap(), expected);
}

#[test]
fn frame_type_not_minimal() {
    // STREAM and ACK in two bytes must not pass either.
    for ty in [0x00, 0x01, 0x02, 0x06, 0x08, 0x1e, 0x30, 0x3e, 0x3f] {
        for width in [2, 4, 8] {
            let mut payload = [0; 16];
            Writer::new(&mut payload).varint_of(ty, width);
            let error = decode_all(&payload).unwrap_err();
            assert_eq!(error, FrameError { ty, error: DecodeError::FrameTypeNotMinimal });
            assert_eq!(error.code(), TransportErrorCode::PROTOCOL_VIOLATION);
        }
    }
    let error = decode_all(&[0x80, 0, 0, 0xaf, 0, 0, 0, 0]).unwrap_err();
    assert_eq!(error.error, DecodeError::FrameTypeNotMinimal);
}

#[test]
fn unknown_frame_type() {
    for ty in [0x20, 0x2f, 0x32, 0x3d, 0x40, 0xae, 0x3e7d, 0x1_0000, MAX_VARINT] {
        let mut payload = Vec::new();
        varint::append(&mut payload, ty);
        payload.extend_from_slice(&[0; 16]);
        let error = decode_all(&payload).unwrap_err();
        assert_eq!(error, FrameError { ty, error: DecodeError::UnknownFrameType });
        assert_eq!(error.code(), TransportErrorCode::FRAME_ENCODING_ERROR);
    }
}

#[test]
fn errors_name_their_frame() {
    let error = decode_all(&[0x01, 0x12, 0xff]).unwrap_err();
    assert_eq!(error, FrameError { ty: 0x12, error: DecodeError::UnexpectedEnd });
    assert_eq!(error.to_string(), "MAX_STREAMS frame (type 0x12): input ends inside a value");
    assert_eq!(error.code(), TransportErrorCode::FRAME_ENCODING_ERROR);
    let error = decode_all(&[0x40]).unwrap_err();
    assert_eq!(error, FrameError { ty: 0, error: DecodeError::UnexpectedEnd });
}

#[test]
fn iterator_ends_at_the_first_error() {
    let mut frames = FrameIter::new(&[0x01, 0x20, 0x01]);
    assert_eq!(frames.next(), Some(Ok(Frame::Ping)));
    assert_eq!(frames.position(), 1);
    assert!(frames.next().is_some_and(|frame| frame.is_err()));
    assert_eq!(frames.next(), None);
    assert_eq!(FrameIter::new(&[]).next(), None);
    assert!(next_frame(&mut Reader::new(&[])).is_err());
}

#[test]
fn frames_without_fields() {
    for frame in [Frame::Ping, Frame::HandshakeDone, Frame::ImmediateAck] {
        assert_eq!(frame.size(), 1);
        round_trip(&frame);
    }
    assert_eq!(Frame::Padding { len: 7 }.size(), 7);
}

#[test]
fn ack_frequency_has_a_type_of_two_bytes() {
    let frame = Frame::AckFrequency {
        sequence: 1,
        threshold: 10,
        request_max_ack_delay_us: 25_000,
        reordering_threshold: 3,
    };
    let payload = hex("40af010a800061a803");
    assert_eq!(decode_all(&payload).unwrap(), [frame]);
}

fn value() -> impl Strategy<Value = u64> {
    (0..=MAX_VARINT, 0..62_u32).prop_map(|(value, shift)| value >> shift)
}

/// Every kind of frame that has fields, from the same arbitrary values.
fn frames<'a>(v: [u64; 4], data: &'a [u8], cid: ConnectionId, token: [u8; 16]) -> Vec<Frame<'a>> {
    let [a, b, c, d] = v;
    let id = StreamId(a);
    // Counts of streams are smaller, and data must end below the largest offset.
    let count = a >> 2;
    let offset = b.min(MAX_VARINT - data.len() as u64);
    let mut challenge = [0; 8];
    challenge.copy_from_slice(&token[..8]);
    let mut frames = vec![
        Frame::Padding { len: 1 + data.len() },
        Frame::ResetStream { id, error_code: b, final_size: c },
        Frame::ResetStreamAt { id, error_code: b, final_size: c.max(d), reliable_size: c.min(d) },
        Frame::StopSending { id, error_code: b },
        Frame::Crypto { offset, data },
        Frame::Stream(StreamFrame { id, offset, fin: c & 1 == 0, data }),
        Frame::MaxData(a),
        Frame::MaxStreamData { id, max: b },
        Frame::DataBlocked(a),
        Frame::StreamDataBlocked { id, limit: b },
        Frame::PathAbandon { path: a, error_code: b },
        Frame::PathStatus { path: a, sequence: b, backup: c & 1 == 0 },
        Frame::MaxPathId(a),
        Frame::PathsBlocked(a),
        Frame::PathCidsBlocked { path: a, next_sequence: b },
        Frame::PathChallenge(challenge),
        Frame::PathResponse(challenge),
        Frame::ConnectionClose(Close { error_code: a, frame_type: Some(b), reason: data }),
        Frame::ConnectionClose(Close { error_code: a, frame_type: None, reason: data }),
        Frame::Datagram { data },
        Frame::AckFrequency {
            sequence: a,
            threshold: b,
            request_max_ack_delay_us: c,
            reordering_threshold: d,
        },
    ];
    for path in [None, Some(d)] {
        frames.push(Frame::RetireConnectionId { path, sequence: a });
        frames.push(Frame::NewConnectionId {
            path,
            sequence: a.max(b),
            retire_prior_to: a.min(b),
            cid,
            reset_token: ResetToken::new(token),
        });
    }
    for dir in [Direction::Bidirectional, Direction::Unidirectional] {
        frames.push(Frame::MaxStreams { dir, max: count });
        frames.push(Frame::StreamsBlocked { dir, limit: count });
    }
    if !data.is_empty() {
        frames.push(Frame::NewToken { token: data });
    }
    frames
}

proptest! {
    #[test]
    fn every_frame_survives(
        v in [value(), value(), value(), value()],
        data in prop::collection::vec(any::<u8>(), 0..80),
        cid in prop::collection::vec(any::<u8>(), 1..=20),
        token: [u8; 16],
    ) {
        let cid = ConnectionId::new(&cid).unwrap();
        let frames = frames(v, &data, cid, token);
        for frame in &frames {
            round_trip(frame);
        }
        // And all of them in one payload.
        let size = frames.iter().map(Frame::size).sum();
        let mut payload = vec![0; size];
        let mut w = Writer::new(&mut payload);
        for frame in &frames {
            frame.write(&mut w);
        }
        prop_assert_eq!(decode_all(&payload), Ok(frames));
    }

    #[test]
    fn decoded_ack_survives(
        path in prop::option::of(value()),
        largest in value(),
        first in value(),
        gap in 0..9_u64,
        ecn: bool,
    ) {
        let start = largest - first.min(largest);
        let ranges = [start..=largest, 3..=5]
            .into_iter()
            .take(if start > 7 + gap { 2 } else { 1 });
        let ecn = ecn.then_some(EcnCounts { ect0: first, ect1: gap, ce: largest });
        let mut buf = [0; 80];
        let mut w = Writer::new(&mut buf);
        ack::write(&mut w, path, ranges, gap, ecn, 80);
        let frame = next_frame(&mut Reader::new(w.written())).unwrap();
        prop_assert_eq!(frame.size(), w.position());
        let Frame::Ack(ack) = &frame else { panic!("{frame:?}") };
        prop_assert_eq!((ack.path, ack.ecn), (path, ecn));
        round_trip(&frame);
    }

    /// Nothing panics, and what decodes can be written and decoded again.
    #[test]
    fn arbitrary_bytes(
        mut payload in prop::collection::vec(any::<u8>(), 0..120),
        first in prop::sample::select(&[0, 1, 2, 3, 6, 8, 11, 15, 0x18, 0x1c, 0x31, 0x40][..]),
        small: bool,
    ) {
        if let Some(byte) = payload.first_mut() {
            *byte = first;
        }
        if small {
            for byte in &mut payload {
                *byte &= 0x5f;
            }
        }
        let mut frames = FrameIter::new(&payload);
        let mut position = 0;
        while let Some(frame) = frames.next() {
            prop_assert!(frames.position() > position && frames.position() <= payload.len());
            position = frames.position();
            let Ok(frame) = frame else { continue };
            let mut buf = vec![0; frame.size()];
            frame.write(&mut Writer::new(&mut buf));
            let again = next_frame(&mut Reader::new(&buf));
            prop_assert_eq!(again, Ok(frame));
        }
    }
}
