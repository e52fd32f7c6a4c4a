//! What goes into packets, and when.

use super::*;
use crate::stream::{Priority, StreamError};
use bytes::Bytes;

/// The streams served by the next `n` packets.
fn served(set: &mut StreamSet, n: usize) -> Vec<u64> {
    (0..n).filter_map(|_| set.next_frame(MTU)).map(|chunk| chunk.id.0).collect()
}

fn open(set: &mut StreamSet, bytes: usize) -> StreamId {
    let id = set.open(Bidirectional).unwrap();
    set.write(id, Bytes::from(vec![id.0 as u8; bytes])).unwrap();
    id
}

#[test]
fn bulk_streams_take_turns_of_eight_packets() {
    let mut set = ready(Client, &StreamConfig::default());
    for _ in 0..3 {
        open(&mut set, 1 << 20);
    }
    let order = served(&mut set, 48);
    let turns: Vec<_> =
        order.chunks(8).map(|turn| (turn[0], turn.iter().all(|s| s == &turn[0]))).collect();
    assert_eq!(turns, [0, 4, 8, 0, 4, 8].map(|id| (id, true)));
}

#[test]
fn ten_thousand_idle_streams_do_not_matter() {
    let config = StreamConfig { max_streams_bidi: 10_000, ..StreamConfig::default() };
    let mut set = ready(Client, &config);
    let ids: Vec<_> = (0..10_000).map(|_| set.open(Bidirectional).unwrap()).collect();
    assert!(!set.has_data());
    set.write(ids[7777], Bytes::from_static(b"x")).unwrap();
    let chunk = set.next_frame(MTU).unwrap();
    assert_eq!((chunk.id, set.data(&chunk)), (ids[7777], (&b"x"[..], &b""[..])));
    assert!(!set.has_data());
    // 10,000 streams with nothing in them are small.
    assert!(size_of::<Stream>() < 640, "{}", size_of::<Stream>());
}

#[test]
fn priorities_decide() {
    let mut set = ready(Client, &StreamConfig::default());
    let ids: Vec<_> = (0..4).map(|_| open(&mut set, 100_000)).collect();
    let priority = |urgency, incremental| Priority { urgency, incremental };
    set.set_priority(ids[0], priority(7, true)).unwrap();
    set.set_priority(ids[1], priority(1, false)).unwrap();
    set.set_priority(ids[2], priority(1, false)).unwrap();
    set.set_priority(ids[3], priority(0, true)).unwrap();
    let mut order = served(&mut set, 1000);
    order.dedup();
    assert_eq!(order, [12, 4, 8, 0]);
    assert_eq!(set.set_priority(StreamId(400), priority(0, true)), Err(StreamError::Unknown));
}

#[test]
fn lost_bytes_go_first_within_an_urgency() {
    let mut set = ready(Client, &StreamConfig::default());
    let (a, b) = (open(&mut set, 10_000), open(&mut set, 10_000));
    let first = set.next_frame(MTU).unwrap();
    assert_eq!(served(&mut set, 10).len(), 10);
    set.on_lost(first.token());
    let again = set.next_frame(MTU).unwrap();
    assert_eq!((again.id, again.offset, again.len), (a, 0, first.len));
    // Nothing urgent waits for lost bytes of less urgent streams.
    set.on_lost(first.token());
    set.set_priority(b, Priority { urgency: 0, incremental: true }).unwrap();
    assert_eq!(set.next_frame(MTU).unwrap().id, b);
}

#[test]
fn bytes_come_straight_from_the_applications_buffer() {
    let mut set = ready(Client, &StreamConfig::default());
    let id = set.open(Bidirectional).unwrap();
    let (head, body) = (Bytes::from_static(b"head"), Bytes::from(vec![5; 100_000]));
    set.write(id, head.clone()).unwrap();
    set.write(id, body.clone()).unwrap();
    let chunk = set.next_frame(MTU).unwrap();
    assert!(chunk.to_end && chunk.header_len + chunk.len == MTU);
    let (a, b) = set.data(&chunk);
    assert_eq!((a.as_ptr(), b.as_ptr()), (head.as_ptr(), body.as_ptr()));
    assert_eq!(a.len() + b.len(), chunk.len);
}

#[test]
fn the_connections_limit_holds_back_new_bytes_only() {
    let config = StreamConfig {
        connection_window: 3000,
        max_connection_window: 3000,
        ..StreamConfig::default()
    };
    let (mut client, mut server) = pair(&config);
    let (a, b) = (open(&mut client, 2500), open(&mut client, 2500));
    let mut packets = Vec::new();
    while let Some(packet) = build(&mut client, Instant::ZERO, MTU) {
        packets.push(packet);
    }
    assert!(!client.has_data());
    let told =
        packets.iter().flat_map(frames).filter(|f| matches!(f, Frame::DataBlocked(3000))).count();
    assert_eq!(told, 1);
    // Lost bytes and a bare end pass.
    lost(&mut client, &packets[0]);
    let c = client.open(Bidirectional).unwrap();
    client.finish(c).unwrap();
    assert_eq!(served(&mut client, 10), [a.0, c.0]);
    for packet in &packets {
        receive(&mut server, packet).unwrap();
    }
    assert_eq!(read_all(&mut server, a).0.len(), 2500);
    exchange(&mut client, &mut server);
    assert_eq!(read_all(&mut server, b).0.len(), 2500);
}

#[test]
fn blocked_streams_say_so_and_leave_the_way_to_others() {
    let config =
        StreamConfig { stream_window: 1000, max_stream_window: 1000, ..StreamConfig::default() };
    let (mut client, mut server) = pair(&config);
    let a = open(&mut client, 1500);
    let b = open(&mut client, 700);
    exchange(&mut client, &mut server);
    assert_eq!(read_all(&mut server, b).0.len(), 700);
    assert!(!client.has_data() && !client.has_control());
    let (data, _) = read_all(&mut server, a);
    assert_eq!(data.len(), 1000);
    let packet = build(&mut server, Instant::ZERO, MTU).unwrap();
    assert!(frames(&packet).contains(&Frame::MaxStreamData { id: a, max: 2000 }));
    // A lost limit is told again, and with it what was gained meanwhile.
    lost(&mut server, &packet);
    exchange(&mut client, &mut server);
    assert_eq!(server.read(a, 9999).unwrap().map(|c| c.data.len()), Some(500));
}

#[test]
fn lost_limits_are_told_again() {
    let config = StreamConfig { max_streams_uni: 1, ..StreamConfig::default() };
    let (mut client, mut server) = pair(&config);
    let id = client.open(Unidirectional).unwrap();
    client.write(id, Bytes::from(vec![1; 1 << 20])).unwrap();
    client.finish(id).unwrap();
    while let Some(packet) = build(&mut client, Instant::ZERO, MTU) {
        receive(&mut server, &packet).unwrap();
    }
    assert_eq!(read_all(&mut server, id).0.len(), 1 << 20);
    events(&mut server);
    let expected = [
        Frame::MaxData(config.connection_window + (1 << 20)),
        Frame::MaxStreams { dir: Unidirectional, max: 2 },
    ];
    for _ in 0..3 {
        let packet = build(&mut server, Instant::ZERO, MTU).unwrap();
        assert_eq!(frames(&packet), expected);
        assert!(!server.has_control());
        lost(&mut server, &packet);
    }
}

#[test]
fn blocked_signals_that_are_no_longer_true_are_not_sent() {
    let config =
        StreamConfig { connection_window: 1000, max_streams_bidi: 1, ..StreamConfig::default() };
    let mut client = ready(Client, &config);
    open(&mut client, 2000);
    assert!(client.next_frame(MTU).is_some() && client.open(Bidirectional).is_none());
    client.on_max_data(1000);
    client.on_max_streams(Bidirectional, 1).unwrap();
    assert_eq!(client.blocked.pending(), Some(1000));
    assert_eq!(client.local[0].blocked.pending(), Some(1));
    client.on_max_data(1001);
    client.on_max_streams(Bidirectional, 2).unwrap();
    assert!(!client.has_control());
}

#[test]
fn windows_grow_when_the_application_is_quick() {
    let config = StreamConfig {
        stream_window: 10_000,
        max_stream_window: 1 << 20,
        connection_window: 15_000,
        max_connection_window: 2 << 20,
        ..StreamConfig::default()
    };
    let (mut client, mut server) = pair(&config);
    server.on_rtt(Duration::from_millis(20));
    let id = open(&mut client, 4 << 20);
    let mut now = Instant::ZERO;
    let mut rounds = 0;
    while server.recv_state(id) != Some(crate::stream::RecvState::DataRecvd) && rounds < 300 {
        while let Some(packet) = build(&mut client, now, MTU) {
            receive(&mut server, &packet).unwrap();
            acked(&mut client, &packet);
        }
        server.read_with(id, |_, bytes| bytes.len()).unwrap();
        now += Duration::from_millis(20);
        while let Some(packet) = build(&mut server, now, MTU) {
            receive(&mut client, &packet).unwrap();
            acked(&mut server, &packet);
        }
        rounds += 1;
        if client.stats().send_buffered == 0 {
            break;
        }
    }
    // Without growth it would take 420 round trips.
    assert!(rounds < 30, "{rounds}");
    assert!(server.window.window() > 1 << 19 && server.window.window() <= 2 << 20);
}

#[test]
fn writing_calls_back_when_there_is_room() {
    let config = StreamConfig { send_buffer: 10_000, ..StreamConfig::default() };
    let (mut client, mut server) = pair(&config);
    let id = open(&mut client, 12_000);
    assert_eq!(client.write(id, Bytes::from_static(b"x")), Err(StreamError::Full));
    assert_eq!(client.writable(id), 0);
    exchange(&mut client, &mut server);
    assert_eq!(events(&mut client), [StreamEvent::Writable { id }]);
    assert_eq!(client.writable(id), 10_000);
}

#[test]
fn control_frames_wait_for_room() {
    let mut set = ready(Client, &StreamConfig::default());
    for _ in 0..50 {
        let id = set.open(Bidirectional).unwrap();
        set.close(id, 1 << 60).unwrap();
    }
    let mut written = 0;
    while set.has_control() {
        let (mut buf, mut tokens) = ([0; 100], Tokens::new());
        let mut fw = FrameWriter::new(&mut buf, &mut tokens);
        let done = set.write_control(&mut fw, Instant::ZERO);
        assert_eq!(done, !set.has_control());
        assert!(!tokens.is_empty());
        written += tokens.len();
    }
    assert_eq!(written, 100);
}

#[test]
fn tokens_of_others_are_ignored() {
    let mut set = ready(Client, &StreamConfig::default());
    for token in
        [Token::HandshakeDone, Token::Stream { id: StreamId(0), offset: 0, len: 9, fin: true }]
    {
        set.on_acked(token);
        set.on_lost(token);
    }
    assert!(!set.has_data() && !set.has_control());
}

#[test]
fn the_last_bytes_and_the_end_go_together() {
    let config = StreamConfig { send_buffer: 10, ..StreamConfig::default() };
    let (mut client, mut server) = pair(&config);
    let id = client.open(Bidirectional).unwrap();
    client.write(id, Bytes::from_static(b"0123456789")).unwrap();
    // Refused bytes do not end the stream.
    assert_eq!(client.write_fin(id, Bytes::from_static(b"!")), Err(StreamError::Full));
    let packet = build(&mut client, Instant::ZERO, MTU).unwrap();
    receive(&mut server, &packet).unwrap();
    acked(&mut client, &packet);
    client.write_fin(id, Bytes::from_static(b"!")).unwrap();
    assert_eq!(client.write_fin(id, Bytes::new()), Err(StreamError::Finished));
    receive(&mut server, &build(&mut client, Instant::ZERO, MTU).unwrap()).unwrap();
    let chunk = server.read(id, 100).unwrap().unwrap();
    assert_eq!((&chunk.data[..], chunk.fin), (&b"0123456789!"[..], true));
    // Without bytes it is a bare end.
    server.write_fin(id, Bytes::new()).unwrap();
    receive(&mut client, &build(&mut server, Instant::ZERO, MTU).unwrap()).unwrap();
    assert!(client.read(id, 100).unwrap().unwrap().fin);
}
