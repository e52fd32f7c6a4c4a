//! Files behind streams, of which no more is read than can be sent.

use super::*;
use crate::stream::send::AHEAD;
use bytes::Bytes;

/// Reads on in a file, as pumps do.
fn fill(set: &mut StreamSet, id: StreamId, left: &mut usize) {
    while *left > 0 {
        let room = (set.read_ahead(id) as usize).min(*left);
        if room == 0 {
            return;
        }
        set.write(id, Bytes::from(vec![0; room])).unwrap();
        *left -= room;
    }
}

#[test]
fn files_that_nobody_takes_are_hardly_read() {
    let config = StreamConfig { stream_window: 1000, ..StreamConfig::default() };
    let mut server = ready(Server, &config);
    let streams = config.max_streams_bidi;
    for index in 0..streams {
        let id = StreamId(index * 4);
        stream_frame(&mut server, id.0, 0, b"all of it, please", false).unwrap();
        fill(&mut server, id, &mut (64 << 20));
        while server.next_frame(MTU).is_some() {}
    }
    let held = server.stats().send_buffered;
    assert_eq!(held, server.held);
    assert!(held <= streams * (1000 + AHEAD), "{held}");
}

#[test]
fn files_for_many_streams_share_what_one_may_hold() {
    let config = StreamConfig::default();
    let mut client = ready(Client, &config);
    // The peer's limits let everything be sent; it acknowledges nothing.
    client.on_max_data(1 << 40);
    let mut ids = Vec::new();
    for _ in 0..100 {
        let id = client.open(Bidirectional).unwrap();
        client.on_max_stream_data(id, 1 << 40).unwrap();
        fill(&mut client, id, &mut (64 << 20));
        ids.push(id);
    }
    assert!(client.held <= config.send_buffer + 100 * AHEAD, "{}", client.held);
    // Those that are given up leave room for others.
    for &id in &ids[1..] {
        client.reset(id, 0).unwrap();
    }
    assert_eq!(client.held, client.stats().send_buffered);
    assert!(client.held <= config.send_buffer);
}

#[test]
fn a_file_goes_on_with_each_acknowledgement_and_each_limit() {
    const SIZE: usize = 3 << 20;
    let config = StreamConfig {
        stream_window: 200_000,
        connection_window: 150_000,
        ..StreamConfig::default()
    };
    let (mut client, mut server) = pair(&config);
    let id = client.open(Bidirectional).unwrap();
    let (mut left, mut received) = (SIZE, 0);
    fill(&mut client, id, &mut left);
    while received < SIZE {
        let before = received;
        while let Some(packet) = build(&mut client, Instant::ZERO, MTU) {
            receive(&mut server, &packet).unwrap();
            acked(&mut client, &packet);
        }
        received += server.read_with(id, |_, data| data.len()).unwrap().bytes;
        while let Some(packet) = build(&mut server, Instant::ZERO, MTU) {
            receive(&mut client, &packet).unwrap();
        }
        if events(&mut client).contains(&StreamEvent::Writable { id }) {
            fill(&mut client, id, &mut left);
        }
        assert!(received > before || left == 0, "nothing tells to read on, {left} left");
    }
}

#[test]
fn a_file_alone_is_read_on_when_half_the_buffer_is_free() {
    let config = StreamConfig::default();
    let mut client = ready(Client, &config);
    client.on_max_data(1 << 40);
    let id = client.open(Bidirectional).unwrap();
    client.on_max_stream_data(id, 1 << 40).unwrap();
    fill(&mut client, id, &mut (64 << 20));
    assert_eq!(client.held, config.send_buffer);
    while client.held > config.send_buffer / 2 {
        assert_eq!(events(&mut client), []);
        let packet = build(&mut client, Instant::ZERO, MTU).unwrap();
        acked(&mut client, &packet);
    }
    assert_eq!(events(&mut client), [StreamEvent::Writable { id }]);
}
