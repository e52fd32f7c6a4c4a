//! Opening, closing, events, and what is left afterwards.

use super::*;
use crate::stream::{ReadError, StreamError};
use bytes::Bytes;

#[test]
fn a_request_and_its_answer() {
    let (mut client, mut server) = pair(&StreamConfig::default());
    let id = client.open(Bidirectional).unwrap();
    client.write(id, Bytes::from_static(b"question")).unwrap();
    client.finish(id).unwrap();
    exchange(&mut client, &mut server);
    assert_eq!(events(&mut server), [StreamEvent::Opened { id }, StreamEvent::Readable { id }]);
    assert_eq!(events(&mut client), [StreamEvent::Finished { id }]);
    assert_eq!(read_all(&mut server, id), (b"question".to_vec(), true));
    server.write(id, Bytes::from_static(b"answer")).unwrap();
    server.finish(id).unwrap();
    exchange(&mut client, &mut server);
    assert_eq!(events(&mut client), [StreamEvent::Readable { id }]);
    assert_eq!(read_all(&mut client, id), (b"answer".to_vec(), true));
    assert_eq!(events(&mut server), [StreamEvent::Finished { id }]);
    assert_empty(&mut client);
    assert_empty(&mut server);
    assert_eq!(client.read(id, 1), Err(ReadError::Unknown));
    assert_eq!(client.write(id, Bytes::new()), Err(StreamError::Unknown));
}

#[test]
fn opening_stops_at_the_limit_and_goes_on() {
    let config = StreamConfig { max_streams_uni: 2, ..StreamConfig::default() };
    let (mut client, mut server) = pair(&config);
    let ids: Vec<_> = std::iter::from_fn(|| client.open(Unidirectional)).collect();
    assert_eq!(ids, [StreamId(2), StreamId(6)]);
    let packet = build(&mut client, Instant::ZERO, MTU).unwrap();
    assert_eq!(frames(&packet), [Frame::StreamsBlocked { dir: Unidirectional, limit: 2 }]);
    // Told once per limit, and again after a loss.
    assert!(client.open(Unidirectional).is_none());
    assert!(build(&mut client, Instant::ZERO, MTU).is_none());
    lost(&mut client, &packet);
    assert!(build(&mut client, Instant::ZERO, MTU).is_some());
    for id in &ids {
        client.finish(*id).unwrap();
    }
    exchange(&mut client, &mut server);
    events(&mut client);
    assert!(client.open(Unidirectional).is_none(), "the server has not read the end");
    events(&mut server);
    assert_eq!(read_all(&mut server, ids[0]), (vec![], true));
    exchange(&mut client, &mut server);
    assert_eq!(events(&mut client), [StreamEvent::StreamsAvailable { dir: Unidirectional }]);
    assert_eq!(client.open(Unidirectional), Some(StreamId(10)));
    assert_eq!(client.open(Unidirectional), None);
}

#[test]
fn nothing_can_be_opened_before_the_peers_limits_are_known() {
    let mut client = set_with(Client, &StreamConfig::default());
    assert_eq!(client.open(Bidirectional), None);
    assert!(!client.has_control());
    client.set_peer_limits(&params(&StreamConfig::default()));
    assert_eq!(events(&mut client), [StreamEvent::StreamsAvailable { dir: Bidirectional }]);
    assert_eq!(client.open(Bidirectional), Some(StreamId(0)));
}

#[test]
fn streams_opened_along_take_no_memory_but_exist() {
    let mut server = ready(Server, &StreamConfig::default());
    stream_frame(&mut server, 4 * 100, 0, b"x", false).unwrap();
    assert_eq!(server.stats().streams, 1);
    let opened: Vec<_> = events(&mut server);
    let expected = (0..=100).map(|i| StreamEvent::Opened { id: StreamId(4 * i) });
    assert_eq!(opened[..101], expected.collect::<Vec<_>>());
    // The peer speaks on one, we on another.
    stream_frame(&mut server, 4 * 7, 0, b"y", true).unwrap();
    assert_eq!(read_all(&mut server, StreamId(28)), (b"y".to_vec(), true));
    assert!(server.writable(StreamId(32)) > 0);
    server.write(StreamId(32), Bytes::from_static(b"z")).unwrap();
    assert_eq!(server.stats().streams, 3);
    assert_eq!(server.read(StreamId(36), 1), Ok(None));
    assert_eq!(server.read(StreamId(4 * 101), 1), Err(ReadError::Unknown));
    // A stream without a word can be closed.
    server.close(StreamId(40), 3).unwrap();
    let packet = build(&mut server, Instant::ZERO, MTU).unwrap();
    let reset = Frame::ResetStream { id: StreamId(40), error_code: 3, final_size: 0 };
    assert!(frames(&packet).contains(&reset));
}

#[test]
fn stop_sending_is_answered_by_reset_stream() {
    let (mut client, mut server) = pair(&StreamConfig::default());
    let id = client.open(Unidirectional).unwrap();
    client.write(id, Bytes::from(vec![0; 100_000])).unwrap();
    let packet = build(&mut client, Instant::ZERO, MTU).unwrap();
    receive(&mut server, &packet).unwrap();
    server.stop(id, 42).unwrap();
    let stop = build(&mut server, Instant::ZERO, MTU).unwrap();
    assert_eq!(frames(&stop), [Frame::StopSending { id, error_code: 42 }]);
    receive(&mut client, &stop).unwrap();
    receive(&mut client, &stop).unwrap();
    assert_eq!(events(&mut client), [StreamEvent::Stopped { id, code: 42 }]);
    assert_eq!(client.write(id, Bytes::new()), Err(StreamError::Stopped(42)));
    assert!(!client.has_data());
    let reset = build(&mut client, Instant::ZERO, MTU).unwrap();
    let sent = server.received;
    assert_eq!(frames(&reset), [Frame::ResetStream { id, error_code: 42, final_size: sent }]);
    // Lost, and sent again unchanged.
    lost(&mut client, &reset);
    let again = build(&mut client, Instant::ZERO, MTU).unwrap();
    assert_eq!(frames(&again), frames(&reset));
    receive(&mut server, &again).unwrap();
    acked(&mut server, &stop);
    acked(&mut client, &again);
    // The application has to end its use of the stream too.
    assert_eq!(client.stats().streams, 1);
    assert_eq!(client.finish(id), Err(StreamError::Stopped(42)));
    assert_eq!(events(&mut server), [StreamEvent::Opened { id }]);
    assert_empty(&mut client);
    assert_empty(&mut server);
}

#[test]
fn a_reset_discards_what_was_not_read() {
    let (mut client, mut server) = pair(&StreamConfig::default());
    let id = client.open(Bidirectional).unwrap();
    client.write(id, Bytes::from(vec![0; 5000])).unwrap();
    exchange(&mut client, &mut server);
    client.close(id, 7).unwrap();
    exchange(&mut client, &mut server);
    let told = events(&mut server);
    assert!(told.contains(&StreamEvent::Reset { id, code: 7 }));
    assert!(told.contains(&StreamEvent::Stopped { id, code: 7 }));
    assert!(!told.contains(&StreamEvent::Readable { id }));
    assert_eq!(server.stats().receive_memory, 0);
    assert_eq!(server.read(id, 1), Err(ReadError::Reset { code: 7, reliable_size: 0 }));
    assert_eq!(server.stats().streams, 1);
    server.close(id, 0).unwrap();
    exchange(&mut client, &mut server);
    assert_empty(&mut client);
    assert_empty(&mut server);
}

#[test]
fn discarded_bytes_return_to_the_connection() {
    let config = StreamConfig {
        connection_window: 4000,
        max_connection_window: 4000,
        ..StreamConfig::default()
    };
    let (mut client, mut server) = pair(&config);
    for round in 0..20 {
        let id = client.open(Unidirectional).unwrap();
        client.write(id, Bytes::from(vec![0; 3000])).unwrap();
        exchange(&mut client, &mut server);
        match round % 3 {
            0 => client.reset(id, 1).unwrap(),
            1 => server.stop(id, 1).unwrap(),
            _ => client.finish(id).unwrap(),
        }
        exchange(&mut client, &mut server);
        events(&mut server);
        // Some are gone by now.
        let _ = (server.close(id, 0), client.close(id, 0));
        exchange(&mut client, &mut server);
        events(&mut client);
        assert!(client.is_empty() && server.is_empty(), "round {round}");
    }
    let id = client.open(Unidirectional).unwrap();
    client.write(id, Bytes::from(vec![0; 3000])).unwrap();
    exchange(&mut client, &mut server);
    assert_eq!(read_all(&mut server, id).0.len(), 3000);
}

#[test]
fn bytes_that_come_after_stopping_return_to_the_connection_too() {
    let (mut client, mut server) = pair(&StreamConfig::default());
    let id = client.open(Unidirectional).unwrap();
    client.write(id, Bytes::from(vec![0; 1 << 20])).unwrap();
    let first = build(&mut client, Instant::ZERO, MTU).unwrap();
    receive(&mut server, &first).unwrap();
    server.stop(id, 1).unwrap();
    // STOP_SENDING is slow; the rest is under way already.
    while let Some(packet) = build(&mut client, Instant::ZERO, MTU) {
        receive(&mut server, &packet).unwrap();
    }
    assert_eq!((server.received, server.stats().receive_memory), (1 << 20, 0));
    let limits: Vec<_> = std::iter::from_fn(|| build(&mut server, Instant::ZERO, MTU)).collect();
    let max = StreamConfig::default().connection_window + (1 << 20);
    assert!(limits.iter().flat_map(frames).any(|f| f == Frame::MaxData(max)));
}

#[test]
fn a_hundred_thousand_streams_leave_nothing() {
    let config = StreamConfig { max_streams_bidi: 1000, ..StreamConfig::default() };
    let (mut client, mut server) = pair(&config);
    let data = Bytes::from_static(b"small");
    let mut opened = 0;
    while opened < 100_000 {
        let ids: Vec<_> = std::iter::from_fn(|| client.open(Bidirectional)).collect();
        opened += ids.len() as u64;
        // An eighth may not have been given back yet; the rest must.
        assert!(ids.len() > 1000 * 7 / 8);
        for &id in &ids {
            client.write(id, data.clone()).unwrap();
            client.finish(id).unwrap();
        }
        exchange(&mut client, &mut server);
        for &id in &ids {
            assert_eq!(read_all(&mut server, id), (data.to_vec(), true));
            server.write(id, data.clone()).unwrap();
            server.finish(id).unwrap();
        }
        exchange(&mut client, &mut server);
        events(&mut server);
        for &id in &ids {
            assert_eq!(read_all(&mut client, id), (data.to_vec(), true));
        }
        events(&mut client);
        exchange(&mut client, &mut server);
        events(&mut client);
    }
    assert_empty(&mut client);
    assert_empty(&mut server);
    assert_eq!(server.remote[0].closed, opened);
    // Nor does the table keep its size.
    assert!(server.streams.capacity() < 100);
}

/// RFC 9001 section 4.6.2.
#[test]
fn a_rejected_zero_rtt_sends_everything_again_under_the_new_limits() {
    let config = StreamConfig::default();
    let mut client = ready(Client, &config);
    let ids: Vec<_> = (0..3).map(|_| client.open(Bidirectional).unwrap()).collect();
    for &id in &ids {
        client.write(id, Bytes::from(vec![id.0 as u8; 5000])).unwrap();
        client.finish(id).unwrap();
    }
    client.reset(ids[1], 9).unwrap();
    while build(&mut client, Instant::ZERO, MTU).is_some() {}
    client.on_zero_rtt_rejected();
    assert!(!client.has_data());
    assert!(build(&mut client, Instant::ZERO, MTU).is_none());
    // The server now allows two streams, and one more later.
    let less = StreamConfig { max_streams_bidi: 2, ..config };
    let mut server = ready(Server, &less);
    client.set_peer_limits(&params(&less));
    exchange(&mut client, &mut server);
    assert_eq!(read_all(&mut server, ids[0]), (vec![0; 5000], true));
    assert_eq!(server.read(ids[1], 1), Err(ReadError::Reset { code: 9, reliable_size: 0 }));
    assert_eq!(server.recv_state(ids[2]), None);
    for id in &ids[..2] {
        server.close(*id, 0).unwrap();
        client.close(*id, 0).unwrap();
    }
    exchange(&mut client, &mut server);
    events(&mut server);
    events(&mut client);
    exchange(&mut client, &mut server);
    assert_eq!(read_all(&mut server, ids[2]), (vec![8; 5000], true));
}

#[test]
fn codes_and_directions_are_checked() {
    let (mut client, mut server) = pair(&StreamConfig::default());
    let id = client.open(Unidirectional).unwrap();
    assert_eq!(client.reset(id, 1 << 62), Err(StreamError::InvalidCode));
    assert_eq!(client.stop(id, 0), Err(StreamError::WrongDirection));
    assert_eq!(client.read(id, 1), Err(ReadError::WrongDirection));
    client.write(id, Bytes::from_static(b"x")).unwrap();
    exchange(&mut client, &mut server);
    assert_eq!(server.stop(id, 1 << 62), Err(StreamError::InvalidCode));
    assert_eq!(server.write(id, Bytes::new()), Err(StreamError::WrongDirection));
    assert_eq!(server.writable(id), 0);
    assert_eq!(server.open(Bidirectional), Some(StreamId(1)));
}

/// What is told of final sizes, as (whether it is ours, size).
fn final_sizes(set: &mut StreamSet) -> Vec<(bool, u64)> {
    let told = events(set).into_iter().filter_map(|event| match event {
        StreamEvent::FinalSize { outgoing, size, .. } => Some((outgoing, size)),
        _ => None,
    });
    told.collect()
}

#[test]
fn whoever_asked_is_told_what_counts_of_a_stream_that_was_given_up() {
    let (mut client, mut server) = pair(&StreamConfig::default());
    client.tell_final_sizes();
    server.tell_final_sizes();
    let id = client.open(Bidirectional).unwrap();
    client.write(id, Bytes::from_static(b"sent")).unwrap();
    exchange(&mut client, &mut server);
    // Never sent: it does not count.
    client.write(id, Bytes::from_static(b"kept")).unwrap();
    client.reset(id, 1).unwrap();
    assert_eq!(final_sizes(&mut client), [(true, 4)]);
    exchange(&mut client, &mut server);
    assert_eq!(final_sizes(&mut server), [(false, 4)]);
    // The other direction: stopped by who would read it.
    server.write(id, Bytes::from_static(b"answer")).unwrap();
    exchange(&mut client, &mut server);
    client.stop(id, 2).unwrap();
    assert!(final_sizes(&mut client).is_empty());
    exchange(&mut client, &mut server);
    assert_eq!(final_sizes(&mut server), [(true, 6)]);
    exchange(&mut client, &mut server);
    assert_eq!(final_sizes(&mut client), [(false, 6)]);
    let _ = server.read(id, 1);
    let _ = server.reset(id, 2);
    exchange(&mut client, &mut server);
    assert_empty(&mut client);
    assert_empty(&mut server);
}

#[test]
fn what_ends_after_it_was_stopped_has_a_final_size() {
    let (mut client, mut server) = pair(&StreamConfig::default());
    server.tell_final_sizes();
    for known_before in [false, true] {
        let id = client.open(Unidirectional).unwrap();
        client.write(id, Bytes::from_static(b"all of it")).unwrap();
        if !known_before {
            exchange(&mut client, &mut server);
            server.stop(id, 0).unwrap();
            assert!(final_sizes(&mut server).is_empty());
        }
        client.finish(id).unwrap();
        while let Some(packet) = build(&mut client, Instant::ZERO, MTU) {
            receive(&mut server, &packet).unwrap();
        }
        if known_before {
            server.stop(id, 0).unwrap();
        }
        assert_eq!(final_sizes(&mut server), [(false, 9)]);
    }
}
