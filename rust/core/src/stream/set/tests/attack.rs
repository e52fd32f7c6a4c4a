//! Peers that want memory or work for nothing.

use super::*;
use crate::stream::assembler::PAGE;

#[test]
fn single_bytes_on_all_streams_stay_within_the_bound() {
    let config = StreamConfig::default();
    let mut server = ready(Server, &config);
    // All of the connection's credit, spread over all streams, every second byte.
    let share = config.connection_window / config.max_streams_bidi;
    for stream in 0..config.max_streams_bidi {
        for offset in (1..share).step_by(2) {
            stream_frame(&mut server, stream * 4, offset, b"x", false).unwrap();
        }
    }
    let memory = server.stats().receive_memory;
    let bound = config.connection_window as usize * 9 / 4 + 128 * 1024;
    assert!(memory <= bound, "{memory} > {bound}");
    assert_eq!(server.window.limit(), server.received);
}

#[test]
fn one_byte_far_ahead_costs_what_it_took_of_the_window() {
    let config = StreamConfig::default();
    let mut server = ready(Server, &config);
    for offset in (0..config.stream_window).rev().step_by(PAGE) {
        stream_frame(&mut server, 0, offset, b"x", false).unwrap();
    }
    let memory = server.stats().receive_memory;
    assert!(memory <= config.stream_window as usize * 5 / 4, "{memory}");
}

#[test]
fn opening_and_resetting_earns_no_streams_before_the_application_is_done() {
    let config = StreamConfig::default();
    let mut server = ready(Server, &config);
    for i in 0..config.max_streams_bidi {
        let id = StreamId(i * 4);
        stream_frame(&mut server, id.0, 0, b"request", false).unwrap();
        server.on_reset_stream(id, 0, 7).unwrap();
        server.on_stop_sending(id, 0).unwrap();
    }
    // Our RESET_STREAMs go out and are acknowledged, all events are told.
    while let Some(packet) = build(&mut server, Instant::ZERO, MTU) {
        assert!(!frames(&packet).iter().any(|f| matches!(f, Frame::MaxStreams { .. })));
        acked(&mut server, &packet);
    }
    events(&mut server);
    assert!(!server.has_control());
    let next = config.max_streams_bidi * 4;
    assert!(stream_frame(&mut server, next, 0, b"", false).is_err());
    // The application ends its work on one: one is given back, at once since none is left.
    server.close(StreamId(0), 0).unwrap();
    let packet = build(&mut server, Instant::ZERO, MTU).unwrap();
    let max = config.max_streams_bidi + 1;
    assert_eq!(frames(&packet), [Frame::MaxStreams { dir: Bidirectional, max }]);
}

#[test]
fn events_are_bounded_by_the_streams() {
    let mut server = ready(Server, &StreamConfig::default());
    for i in 0..100_000u64 {
        stream_frame(&mut server, (i % 10) * 4, i / 10, b"x", false).unwrap();
    }
    assert_eq!(server.events.slots.len(), 10);
    assert_eq!(events(&mut server).len(), 20);
}

#[test]
fn priority_changes_leave_nothing_behind() {
    let mut client = ready(Client, &StreamConfig::default());
    let id = client.open(Bidirectional).unwrap();
    client.write(id, bytes::Bytes::from_static(b"x")).unwrap();
    for i in 0..100_000u32 {
        let priority = crate::stream::Priority { urgency: (i % 8) as u8, incremental: i % 3 == 0 };
        client.set_priority(id, priority).unwrap();
    }
    assert!(client.next_frame(MTU).is_some() && !client.has_data());
}
