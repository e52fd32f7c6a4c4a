//! RESET_STREAM_AT (draft-ietf-quic-reliable-stream-reset-10) between two sets.

use super::*;
use crate::error::TransportErrorCode as Code;
use crate::stream::{ReadError, StreamError};
use bytes::Bytes;

fn at(id: StreamId, final_size: u64, reliable_size: u64) -> Frame<'static> {
    Frame::ResetStreamAt { id, error_code: 7, final_size, reliable_size }
}

#[test]
fn the_promised_beginning_arrives_through_losses() {
    let (mut client, mut server) = pair(&StreamConfig::default());
    let id = client.open(Unidirectional).unwrap();
    client.write(id, Bytes::from(vec![4; 5000])).unwrap();
    let first = build(&mut client, Instant::ZERO, MTU).unwrap();
    client.reset_at(id, 7, 3000).unwrap();
    assert_eq!(client.write(id, Bytes::from_static(b"x")), Err(StreamError::Finished));
    let rest: Vec<_> = std::iter::from_fn(|| build(&mut client, Instant::ZERO, MTU)).collect();
    let last = rest.last().unwrap();
    assert_eq!(frames(last), [at(id, 3000, 3000)]);
    // The reset comes first, then what it promises; the first packet was lost.
    for packet in rest.iter().rev() {
        receive(&mut server, packet).unwrap();
        acked(&mut client, packet);
    }
    assert_eq!(events(&mut server)[0], StreamEvent::Opened { id });
    assert_eq!(server.read(id, 9999), Ok(None));
    lost(&mut client, &first);
    assert!(!client.is_empty());
    exchange(&mut client, &mut server);
    assert_eq!(events(&mut server), [StreamEvent::Readable { id }]);
    let mut read = 0;
    while read < 3000 {
        read += server.read(id, 1000).unwrap().unwrap().data.len();
    }
    assert_eq!(events(&mut server), [StreamEvent::Reset { id, code: 7 }]);
    assert_eq!(server.read(id, 1), Err(ReadError::Reset { code: 7, reliable_size: 3000 }));
    exchange(&mut client, &mut server);
    assert_empty(&mut client);
    assert_empty(&mut server);
    assert_eq!(server.received, 3000);
}

#[test]
fn it_is_off_unless_both_offer_it() {
    let without = StreamConfig { reset_stream_at: false, ..StreamConfig::default() };
    assert!(!params(&without).reset_stream_at && params(&StreamConfig::default()).reset_stream_at);
    let mut client = ready(Client, &without);
    let id = client.open(Unidirectional).unwrap();
    client.write(id, Bytes::from_static(b"abc")).unwrap();
    assert!(!client.can_reset_at());
    assert_eq!(client.reset_at(id, 7, 1), Err(StreamError::NoResetAt));
    client.reset_at(id, 7, 0).unwrap();
    // What we do not offer is no frame to us.
    let mut server = ready(Server, &without);
    let error = receive_frame(&mut server, &at(StreamId(2), 3, 1)).unwrap_err();
    assert_eq!(error.code, Code::FRAME_ENCODING_ERROR);
}

#[test]
fn only_what_was_written_can_be_promised() {
    let mut client = ready(Client, &StreamConfig::default());
    let id = client.open(Unidirectional).unwrap();
    client.write(id, Bytes::from_static(b"abc")).unwrap();
    assert_eq!(client.reset_at(id, 7, 4), Err(StreamError::NotWritten));
    client.reset_at(id, 7, 3).unwrap();
    assert_eq!(client.buffered(id), 3);
}

#[test]
fn a_server_that_forgets_the_extension_with_early_data_gets_a_plain_reset() {
    let (mut client, _) = pair(&StreamConfig::default());
    let id = client.open(Unidirectional).unwrap();
    client.write(id, Bytes::from_static(b"abc")).unwrap();
    client.reset_at(id, 7, 2).unwrap();
    client.on_zero_rtt_rejected();
    let without = StreamConfig { reset_stream_at: false, ..StreamConfig::default() };
    client.set_peer_limits(&params(&without));
    let packet = build(&mut client, Instant::ZERO, MTU).unwrap();
    assert_eq!(frames(&packet), [Frame::ResetStream { id, error_code: 7, final_size: 0 }]);
}

#[test]
fn what_a_peer_can_get_wrong() {
    let server = || {
        let mut server = ready(Server, &StreamConfig::default());
        receive_frame(&mut server, &at(StreamId(2), 30, 10)).unwrap();
        server
    };
    let code = |frame: Frame<'_>| receive_frame(&mut server(), &frame).unwrap_err().code;
    let id = StreamId(2);
    assert_eq!(code(at(id, 31, 10)), Code::FINAL_SIZE_ERROR);
    let other = Frame::ResetStreamAt { id, error_code: 8, final_size: 30, reliable_size: 10 };
    assert_eq!(code(other), Code::STREAM_STATE_ERROR);
    let other = Frame::ResetStream { id, error_code: 8, final_size: 30 };
    assert_eq!(code(other), Code::STREAM_STATE_ERROR);
    assert_eq!(code(at(StreamId(6), 1 << 40, 10)), Code::FLOW_CONTROL_ERROR);
    assert_eq!(code(at(StreamId(3), 30, 10)), Code::STREAM_STATE_ERROR);
    let error = stream_frame(&mut server(), 2, 30, b"x", false).unwrap_err();
    assert_eq!(error.code, Code::FINAL_SIZE_ERROR);
}
