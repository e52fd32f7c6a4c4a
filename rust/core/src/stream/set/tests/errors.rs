//! Every error that a peer's frames can cause, with its code and frame type.

use super::*;
use crate::error::TransportErrorCode as Code;
use tquic_wire::MAX_VARINT;
use tquic_wire::frame::ty;

/// A server that opened its streams 1 and 3, while the client opened 0 and 2.
fn server() -> StreamSet {
    let mut set = ready(Server, &StreamConfig::default());
    set.open(Bidirectional).unwrap();
    set.open(Unidirectional).unwrap();
    stream_frame(&mut set, 0, 0, b"x", false).unwrap();
    stream_frame(&mut set, 2, 0, b"x", false).unwrap();
    set
}

fn check(frame: &Frame<'_>, code: Code, ty: u64) {
    let error = receive_frame(&mut server(), frame).unwrap_err();
    assert_eq!((error.code, error.frame), (code, Some(ty)), "{frame:?}: {error}");
}

fn stream(id: u64, offset: u64, data: &[u8]) -> Frame<'_> {
    Frame::Stream(tquic_wire::frame::StreamFrame { id: StreamId(id), offset, fin: false, data })
}

#[test]
fn frames_for_the_sending_part_of_a_stream_that_only_receives() {
    let id = StreamId(2);
    check(&Frame::StopSending { id, error_code: 0 }, Code::STREAM_STATE_ERROR, ty::STOP_SENDING);
    check(&Frame::MaxStreamData { id, max: 1 }, Code::STREAM_STATE_ERROR, ty::MAX_STREAM_DATA);
    // Not yet opened ones too.
    let id = StreamId(6);
    check(&Frame::StopSending { id, error_code: 0 }, Code::STREAM_STATE_ERROR, ty::STOP_SENDING);
    check(&Frame::MaxStreamData { id, max: 1 }, Code::STREAM_STATE_ERROR, ty::MAX_STREAM_DATA);
}

#[test]
fn frames_for_the_receiving_part_of_a_stream_that_only_sends() {
    for id in [3, 7] {
        check(&stream(id, 0, b""), Code::STREAM_STATE_ERROR, ty::STREAM);
        let id = StreamId(id);
        let reset = Frame::ResetStream { id, error_code: 0, final_size: 0 };
        check(&reset, Code::STREAM_STATE_ERROR, ty::RESET_STREAM);
        let blocked = Frame::StreamDataBlocked { id, limit: 0 };
        check(&blocked, Code::STREAM_STATE_ERROR, ty::STREAM_DATA_BLOCKED);
    }
}

#[test]
fn frames_for_streams_of_ours_that_were_never_opened() {
    check(&stream(5, 0, b""), Code::STREAM_STATE_ERROR, ty::STREAM);
    let id = StreamId(101);
    check(&Frame::StopSending { id, error_code: 0 }, Code::STREAM_STATE_ERROR, ty::STOP_SENDING);
    check(&Frame::MaxStreamData { id, max: 1 }, Code::STREAM_STATE_ERROR, ty::MAX_STREAM_DATA);
    let reset = Frame::ResetStream { id, error_code: 0, final_size: 0 };
    check(&reset, Code::STREAM_STATE_ERROR, ty::RESET_STREAM);
    let blocked = Frame::StreamDataBlocked { id, limit: 0 };
    check(&blocked, Code::STREAM_STATE_ERROR, ty::STREAM_DATA_BLOCKED);
}

#[test]
fn streams_beyond_the_limit() {
    check(&stream(1_000_000_000, 0, b""), Code::STREAM_LIMIT_ERROR, ty::STREAM);
    check(&stream(128 * 4 + 2, 0, b""), Code::STREAM_LIMIT_ERROR, ty::STREAM);
    let id = StreamId(128 * 4);
    let reset = Frame::ResetStream { id, error_code: 0, final_size: 0 };
    check(&reset, Code::STREAM_LIMIT_ERROR, ty::RESET_STREAM);
    check(&Frame::StopSending { id, error_code: 0 }, Code::STREAM_LIMIT_ERROR, ty::STOP_SENDING);
    check(&Frame::MaxStreamData { id, max: 1 }, Code::STREAM_LIMIT_ERROR, ty::MAX_STREAM_DATA);
    let blocked = Frame::StreamDataBlocked { id, limit: 0 };
    check(&blocked, Code::STREAM_LIMIT_ERROR, ty::STREAM_DATA_BLOCKED);
    assert!(receive_frame(&mut server(), &stream(127 * 4, 0, b"")).is_ok());
}

#[test]
fn data_beyond_the_limits() {
    check(&stream(0, 100_000_000, b"x"), Code::FLOW_CONTROL_ERROR, ty::STREAM);
    let id = StreamId(0);
    let reset = Frame::ResetStream { id, error_code: 0, final_size: 100_000_000 };
    check(&reset, Code::FLOW_CONTROL_ERROR, ty::RESET_STREAM);
    // Each stream within its 2 MiB, together beyond the connection's 3 MiB.
    let mut set = server();
    stream_frame(&mut set, 0, (2 << 20) - 1, b"x", false).unwrap();
    let error = stream_frame(&mut set, 4, 1 << 20, b"x", false).unwrap_err();
    assert_eq!((error.code, error.frame), (Code::FLOW_CONTROL_ERROR, Some(ty::STREAM)));
    let mut set = server();
    stream_frame(&mut set, 0, (2 << 20) - 1, b"x", false).unwrap();
    let error = set.on_reset_stream(StreamId(4), 0, (1 << 20) + 1).unwrap_err();
    assert_eq!((error.code, error.frame), (Code::FLOW_CONTROL_ERROR, Some(ty::RESET_STREAM)));
}

#[test]
fn data_beyond_what_a_varint_can_tell() {
    check(&stream(0, MAX_VARINT, b"x"), Code::FRAME_ENCODING_ERROR, ty::STREAM);
    check(&stream(0, u64::MAX, b"x"), Code::FRAME_ENCODING_ERROR, ty::STREAM);
    check(&stream(0, MAX_VARINT - 1, b"x"), Code::FLOW_CONTROL_ERROR, ty::STREAM);
}

#[test]
fn final_sizes_that_change() {
    let mut set = server();
    stream_frame(&mut set, 0, 0, b"abc", true).unwrap();
    for (offset, data, fin) in [(0, &b"ab"[..], true), (0, b"abcd", true), (3, b"d", false)] {
        let error = stream_frame(&mut set, 0, offset, data, fin).unwrap_err();
        assert_eq!((error.code, error.frame), (Code::FINAL_SIZE_ERROR, Some(ty::STREAM)));
    }
    let error = set.on_reset_stream(StreamId(0), 0, 4).unwrap_err();
    assert_eq!((error.code, error.frame), (Code::FINAL_SIZE_ERROR, Some(ty::RESET_STREAM)));
    let error = set.on_reset_stream(StreamId(2), 0, 0).unwrap_err();
    assert_eq!((error.code, error.frame), (Code::FINAL_SIZE_ERROR, Some(ty::RESET_STREAM)));
}

#[test]
fn limits_on_streams_above_2_to_the_60() {
    let max = StreamId::MAX_STREAMS + 1;
    for (dir, bit) in [(Bidirectional, 0), (Unidirectional, 1)] {
        let frame = Frame::MaxStreams { dir, max };
        check(&frame, Code::FRAME_ENCODING_ERROR, ty::MAX_STREAMS_BIDI + bit);
        let frame = Frame::StreamsBlocked { dir, limit: max };
        check(&frame, Code::FRAME_ENCODING_ERROR, ty::STREAMS_BLOCKED_BIDI + bit);
        assert!(server().on_max_streams(dir, max - 1).is_ok());
        assert!(server().on_streams_blocked(dir, max - 1).is_ok());
    }
}

#[test]
fn late_frames_for_closed_streams_mean_nothing() {
    let mut set = server();
    set.close(StreamId(2), 0).unwrap();
    build(&mut set, Instant::ZERO, MTU);
    set.on_reset_stream(StreamId(2), 0, 1).unwrap();
    events(&mut set);
    assert_eq!(set.recv_state(StreamId(2)), None);
    for frame in [
        stream(2, 500, b"late"),
        Frame::ResetStream { id: StreamId(2), error_code: 0, final_size: 9 },
        Frame::StreamDataBlocked { id: StreamId(2), limit: 0 },
    ] {
        assert_eq!(receive_frame(&mut set, &frame), Ok(()));
    }
    assert_eq!(events(&mut set), []);
    let wrong = Frame::StopSending { id: StreamId(2), error_code: 0 };
    assert!(receive_frame(&mut set, &wrong).is_err());
}
