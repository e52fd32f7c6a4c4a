//! The bridge: both ends in this thread, as another language would drive them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Identity, LONG, engine, listen};
use tquic_core::config::TransportConfig;
use tquic_core::datagram::DatagramConfig;
use tquic_core::events::ConnectionError;
use tquic_engine::bridge::{
    Bridge, BridgeConnection, BridgeError, BridgeEvent, CloseFields, EventKind,
};
use tquic_engine::pump::{Frames, FramesOutcome, Outcome, Sink, Source, pattern_slice};
use tquic_engine::{ConnectionKey, Engine};
use tquic_wire::{Direction, StreamId};

const SEND_BUFFER: u64 = 8 << 20;

/// Two connected ends. The engines live as long.
struct Pair {
    _engines: (Engine, Engine),
    near: End,
    far: End,
}

/// One end, with events that were polled and not yet asked for.
struct End {
    bridge: Bridge,
    connection: BridgeConnection,
    events: Vec<EventKind>,
}

impl End {
    /// Takes the first event that `wanted` picks; others stay.
    fn wait<T>(&mut self, wanted: impl Fn(&EventKind) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some((at, found)) =
                self.events.iter().enumerate().find_map(|(at, e)| Some((at, wanted(e)?)))
            {
                self.events.remove(at);
                return found;
            }
            let late = start.elapsed() >= LONG;
            assert!(!late, "not among {:.2000}", format!("{:?}", self.events));
            self.bridge.wait(Some(Duration::from_millis(100)));
            self.poll();
        }
    }

    fn poll(&mut self) -> usize {
        let events = self.bridge.poll_events(1000);
        assert!(events.iter().all(|e| e.key == self.connection.key()));
        let n = events.len();
        self.events.extend(events.into_iter().map(|e| e.kind));
        n
    }

    fn stream_opened(&mut self) -> StreamId {
        self.wait(|e| match e {
            EventKind::StreamOpened { stream } => Some(*stream),
            _ => None,
        })
    }

    fn pumped(&mut self, id: StreamId, out: bool) -> Outcome {
        self.wait(|e| match e {
            EventKind::Pumped { stream, outgoing, outcome }
                if *stream == id && *outgoing == out =>
            {
                Some(outcome.clone())
            }
            _ => None,
        })
    }

    /// Reads to the end, consuming.
    fn read(&mut self, id: StreamId) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let (data, fin) = self.wait(|e| match e {
                EventKind::Data { stream, data, fin } if *stream == id => {
                    Some((data.clone(), *fin))
                }
                _ => None,
            });
            self.connection.consumed(id, data.len() as u64);
            all.extend_from_slice(&data);
            if fin {
                return all;
            }
        }
    }

    fn closed(&mut self) -> ConnectionError {
        self.wait(|e| match e {
            EventKind::Closed(error) => Some(error.clone()),
            _ => None,
        })
    }

    /// Polls until nothing has come for a while.
    fn settle(&mut self) {
        while self.bridge.wait(Some(Duration::from_millis(500))) {
            self.poll();
        }
    }
}

fn pair() -> Pair {
    pair_with(TransportConfig::default())
}

/// With these settings of the near end.
fn pair_with(transport: TransportConfig) -> Pair {
    let (server, client, identity) = (engine(1), engine(1), Identity::new());
    let (far, near) = (Bridge::new().unwrap(), Bridge::new().unwrap());
    let listening =
        listen(&server, &identity, "127.0.0.1:0", far.acceptor(&TransportConfig::default(), None));
    let mut request = identity.request(listening.addresses[0], None);
    request.transport = Arc::new(transport);
    let connection = near.connect(&client, request).unwrap();
    let mut near = End { bridge: near, connection, events: Vec::new() };
    let info = near.wait(|e| match e {
        EventKind::Connected(info) => Some(info.clone()),
        _ => None,
    });
    assert_eq!((info.alpn.as_slice(), info.group, info.version), (&b"perf"[..], "x25519", 1));
    assert_eq!((info.certificates.len(), info.resumed, info.early_data), (1, false, false));
    assert!(info.cipher.starts_with("TLS_"), "{}", info.cipher);
    assert!(far.wait(Some(LONG)));
    let mut events: Vec<BridgeEvent> = far.poll_events(1);
    let Some(EventKind::Accepted { connection, listener, remote }) = events.pop().map(|e| e.kind)
    else {
        panic!("the connection is announced before anything else");
    };
    assert_eq!(listener, listening.id);
    assert_eq!(remote.ip(), listening.addresses[0].ip());
    let mut far = End { bridge: far, connection, events: Vec::new() };
    far.wait(|e| {
        matches!(e, EventKind::Connected(i) if i.server_name.as_deref() == Some("localhost"))
            .then_some(())
    });
    Pair { _engines: (server, client), near, far }
}

#[test]
fn bytes_cross_and_come_back() {
    let Pair { mut near, mut far, _engines } = pair();
    let id = near.connection.open(Direction::Bidirectional).unwrap();
    // A few hundred short writes, which are gathered, and a long one.
    let mut sent = Vec::new();
    for n in 0..400_u32 {
        let piece = Bytes::copy_from_slice(&n.to_be_bytes());
        sent.extend_from_slice(&piece);
        assert_eq!(near.connection.write(id, piece).unwrap(), 4);
    }
    let long = Bytes::from(vec![9; 300_000]);
    sent.extend_from_slice(&long);
    assert_eq!(near.connection.write(id, long).unwrap(), 300_000);
    near.connection.finish(id).unwrap();
    assert_eq!(near.connection.write(id, Bytes::from_static(b"x")), Err(BridgeError::Ended));
    assert_eq!(far.stream_opened(), id);
    let got = far.read(id);
    assert!(got == sent);
    near.wait(|e| matches!(e, EventKind::Finished { stream } if *stream == id).then_some(()));
    assert_eq!(near.connection.buffered(id), 0);
    assert_eq!(far.connection.write(id, Bytes::from(got)).unwrap(), sent.len());
    far.connection.finish(id).unwrap();
    assert!(near.read(id) == sent);
    let up = far.connection.open(Direction::Unidirectional).unwrap();
    assert_eq!(near.connection.write(up, Bytes::new()), Err(BridgeError::WrongDirection));
    assert_eq!(far.connection.stop(up, 0), Err(BridgeError::WrongDirection));
    let unknown = StreamId(4000);
    assert_eq!(near.connection.write(unknown, Bytes::new()), Err(BridgeError::UnknownStream));
}

#[test]
fn an_unread_stream_stops_its_writer_in_time() {
    let Pair { mut near, mut far, _engines } = pair();
    let id = near.connection.open(Direction::Unidirectional).unwrap();
    // The writer writes whenever it may; the reader reads nothing.
    let chunk = Bytes::from(vec![5; 1 << 20]);
    let mut accepted = 0;
    let mut quiet = 0;
    while quiet < 3 {
        let n = near.connection.write(id, chunk.clone()).unwrap();
        accepted += n as u64;
        quiet = if n == 0 { quiet + 1 } else { 0 };
        if n < chunk.len() {
            near.settle();
        }
        assert!(near.connection.buffered(id) <= SEND_BUFFER);
        assert!(accepted < 100 << 20, "somebody buffers without bound");
    }
    // Send buffer here, flow-control window there, and what crosses unread.
    let windows = TransportConfig::default().streams;
    assert!(accepted <= SEND_BUFFER + windows.max_stream_window + (2 << 20), "{accepted}");
    far.settle();
    let crossed: usize = far
        .events
        .iter()
        .map(|e| if let EventKind::Data { data, .. } = e { data.len() } else { 0 })
        .sum();
    assert!((1 << 20..=(1 << 20) + 65_536).contains(&crossed), "{crossed}");
    // Draining waits, until the reader reads.
    assert_eq!(near.connection.notify_below(id, 0), Ok(false));
    near.settle();
    assert!(!near.events.iter().any(|e| matches!(e, EventKind::Writable { .. })));
    near.connection.finish(id).unwrap();
    assert_eq!(far.read(id).len() as u64, accepted);
    let buffered = near.wait(|e| match e {
        EventKind::Writable { stream, buffered } if *stream == id => Some(*buffered),
        _ => None,
    });
    assert_eq!(buffered, 0);
    assert_eq!(near.connection.notify_below(StreamId(777), 0), Err(BridgeError::UnknownStream));
}

#[test]
fn events_of_a_reader_that_sleeps_are_bounded() {
    let Pair { near, mut far, _engines } = pair();
    // Streams of a byte each, as many as go, until none goes any more.
    let (mut opened, mut last) = (0, Instant::now());
    while last.elapsed() < Duration::from_secs(2) {
        match near.connection.open(Direction::Unidirectional) {
            Ok(id) => {
                near.connection.write(id, Bytes::from_static(b"!")).unwrap();
                near.connection.finish(id).unwrap();
                (opened, last) = (opened + 1, Instant::now());
            }
            Err(BridgeError::Busy) => {
                near.bridge.poll_events(10_000);
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    // Data events there up to the bound; behind it streams stay unread, and so their number is
    // limited, and that of streams that wait here.
    assert!((4_000..12_000).contains(&opened), "{opened}");
    let waiting = far.poll_all();
    assert!((4_000..9_000).contains(&waiting), "{waiting}");
    // Awake again, it gets everything.
    let mut fins = far.fins();
    while fins < opened {
        assert!(far.bridge.wait(Some(LONG)), "{fins} of {opened}");
        far.poll();
        fins += far.fins();
        near.bridge.poll_events(10_000);
    }
}

impl End {
    fn poll_all(&mut self) -> usize {
        self.events = self.bridge.poll_events(usize::MAX).into_iter().map(|e| e.kind).collect();
        self.events.len()
    }

    fn fins(&mut self) -> usize {
        let connection = &self.connection;
        let fins = self.events.drain(..).filter(|e| match e {
            EventKind::Data { stream, data, fin } => {
                connection.consumed(*stream, data.len() as u64);
                *fin
            }
            _ => false,
        });
        fins.count()
    }
}

#[test]
fn streams_are_reset_and_stopped() {
    let Pair { near, mut far, _engines } = pair();
    let id = near.connection.open(Direction::Bidirectional).unwrap();
    near.connection.write(id, Bytes::from_static(b"begin")).unwrap();
    assert_eq!(far.stream_opened(), id);
    near.connection.reset(id, 17).unwrap();
    let code = far.wait(|e| match e {
        EventKind::Reset { stream, code, .. } if *stream == id => Some(*code),
        _ => None,
    });
    assert_eq!(code, 17);
    near.connection.stop(id, 18).unwrap();
    let code = far.wait(|e| match e {
        EventKind::Stopped { stream, code } if *stream == id => Some(*code),
        _ => None,
    });
    assert_eq!(code, 18);
    // Both sides are over: nothing is left of it.
    let write = far.connection.write(id, Bytes::from_static(b"late"));
    assert!(matches!(write, Err(BridgeError::UnknownStream | BridgeError::Ended)), "{write:?}");
}

#[test]
fn sources_and_sinks_move_bytes_without_us() {
    let Pair { mut near, mut far, _engines } = pair();
    let (size, mut seen) = (5_000_000, HashMap::new());
    let path = std::env::temp_dir().join(format!("tquic-bridge-{}", std::process::id()));
    let mut file = std::fs::File::create(&path).unwrap();
    for at in (0..size).step_by(50_000) {
        file.write_all(&pattern_slice(at, 50_000)).unwrap();
        let missing = 50_000 - pattern_slice(at, 50_000).len() as u64;
        file.write_all(&pattern_slice(at + 50_000 - missing, missing)).unwrap();
    }
    let copy = path.with_extension("copy");
    let sources = [
        (Source::Pattern(size), Sink::Verify),
        (Source::open(&path, 0).unwrap(), Sink::Verify),
        (Source::Zeros(size), Sink::Hash),
        (Source::Bytes(Bytes::from(vec![0; size as usize])), Sink::Hash),
        (Source::open(&path, 1).unwrap(), Sink::Verify),
        (
            Source::open(&path, size - 10).unwrap(),
            Sink::File { file: std::fs::File::create(&copy).unwrap(), offset: 5, hash: true },
        ),
    ];
    for (n, (source, sink)) in sources.into_iter().enumerate() {
        // The sink is there before the first byte: the stream is the sink's end's own.
        let id = far.connection.open(Direction::Bidirectional).unwrap();
        far.connection.attach_sink(id, sink, 0).unwrap();
        far.connection.write(id, Bytes::from_static(b"go")).unwrap();
        assert_eq!(near.stream_opened(), id);
        near.connection.attach_source(id, source, true).unwrap();
        let again = near.connection.attach_source(id, Source::Zeros(1), true);
        assert_eq!(again, Err(BridgeError::Ended));
        let (sent, got) = (near.pumped(id, true), far.pumped(id, false));
        assert_eq!((sent.bytes, sent.error, &got.error), (got.bytes, None, &None), "{n}");
        assert!(!far.events.iter().any(|e| matches!(e, EventKind::Data { .. })));
        seen.insert(n, got);
    }
    let mismatches = |n: usize| seen[&n].mismatches;
    assert_eq!((mismatches(0), mismatches(1)), (0, 0));
    assert!(mismatches(4) > size / 2, "shifted by one, nearly every byte is wrong");
    assert!(seen[&2].digest.is_some());
    assert_eq!(seen[&2].digest, seen[&3].digest);
    let (copied, original) = (std::fs::read(&copy).unwrap(), std::fs::read(&path).unwrap());
    assert_eq!(copied[..5], [0; 5]);
    assert_eq!(copied[5..], original[original.len() - 10..]);
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(copy).unwrap();
}

#[test]
fn a_chain_of_sources_comes_in_order_and_writing_goes_on_behind_it() {
    let Pair { mut near, mut far, _engines } = pair();
    let path = std::env::temp_dir().join(format!("tquic-chain-{}", std::process::id()));
    std::fs::write(&path, b"0123456789").unwrap();
    let piece = |range| Source::File { file: std::fs::File::open(&path).unwrap(), range };
    let chain = Source::Chain(
        [
            Source::Bytes(Bytes::from_static(b"head ")),
            piece(2..5),
            Source::Bytes(Bytes::new()),
            piece(0..0),
            Source::Bytes(Bytes::from_static(b" ")),
            piece(8..10),
        ]
        .into(),
    );
    assert_eq!(chain.remaining(), 11);
    let id = near.connection.open(Direction::Bidirectional).unwrap();
    near.connection.attach_source(id, chain, false).unwrap();
    let sent = near.pumped(id, true);
    assert_eq!((sent.bytes, sent.error), (11, None));
    assert_eq!(near.connection.write_last(id, Bytes::from_static(b" end")), Ok(4));
    let more = near.connection.write(id, Bytes::from_static(b"x"));
    assert!(matches!(more, Err(BridgeError::Ended)), "{more:?}");
    assert_eq!(far.stream_opened(), id);
    assert_eq!(far.read(id), b"head 234 89 end");
    // A file that is shorter than was said.
    let id = near.connection.open(Direction::Bidirectional).unwrap();
    near.connection.attach_source(id, Source::Chain([piece(5..20)].into()), true).unwrap();
    assert!(near.pumped(id, true).error.is_some());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn frames_of_a_held_stream_go_into_a_file() {
    let Pair { near, mut far, _engines } = pair();
    let path = std::env::temp_dir().join(format!("tquic-frames-{}", std::process::id()));
    let held = |e: &EventKind| matches!(e, EventKind::Held { .. }).then_some(());
    let id = near.connection.open(Direction::Bidirectional).unwrap();
    // A DATA frame of four bytes, two of which cross.
    near.connection.write(id, Bytes::from_static(b"\x00\x04he")).unwrap();
    assert_eq!(far.stream_opened(), id);
    far.wait(|e| {
        matches!(e, EventKind::Data { data, .. } if &data[..] == b"\x00\x04he").then_some(())
    });
    far.connection.consumed(id, 4);
    far.connection.hold(id).unwrap();
    far.wait(held);
    near.connection.write_last(id, Bytes::from_static(b"ad\x00\x03er2\x01\x02xy more")).unwrap();
    far.settle();
    assert!(!far.events.iter().any(|e| matches!(e, EventKind::Data { .. })));
    let file = std::fs::File::create(&path).unwrap();
    far.connection.attach_frames(Frames::new(id, file, 1, 2, Vec::new())).unwrap();
    let outcome = far.wait(|e| match e {
        EventKind::Unframed { outcome, .. } => Some(outcome.clone()),
        _ => None,
    });
    let header = b"\x01\x02".to_vec();
    assert_eq!(outcome, FramesOutcome { bytes: 5, header, ..FramesOutcome::default() });
    assert_eq!(far.read(id), b"xy more");
    assert_eq!(std::fs::read(&path).unwrap(), b"\0ader2");
    std::fs::remove_file(path).unwrap();
    // What is released crosses again.
    let id = near.connection.open(Direction::Bidirectional).unwrap();
    near.connection.write(id, Bytes::from_static(b"one ")).unwrap();
    assert_eq!(far.stream_opened(), id);
    far.connection.hold(id).unwrap();
    far.wait(held);
    near.connection.write_last(id, Bytes::from_static(b"two")).unwrap();
    far.connection.release(id).unwrap();
    assert_eq!(far.read(id), b"one two");
}

#[test]
fn streams_that_are_given_up_wait_until_the_program_takes_their_events() {
    const STREAMS: usize = 4000;
    let Pair { mut near, far, _engines } = pair();
    for _ in 0..STREAMS {
        let id = near.connection.open(Direction::Bidirectional).unwrap();
        near.connection.write(id, Bytes::from_static(b"x")).unwrap();
        near.connection.reset(id, 1).unwrap();
        near.connection.stop(id, 1).unwrap();
    }
    // Until the peer lets no more in, for nobody has taken anything there.
    near.settle();
    let mut waiting = far.bridge.poll_events(usize::MAX);
    // 4,096 of any kind, and up to three of each stream that may be open at a time.
    assert!((4000..=4096 + 3 * 128).contains(&waiting.len()), "{}", waiting.len());
    let mut opened = 0;
    while opened < STREAMS {
        opened +=
            waiting.iter().filter(|e| matches!(e.kind, EventKind::StreamOpened { .. })).count();
        assert!(opened == STREAMS || far.bridge.wait(Some(LONG)), "only {opened} came");
        waiting = far.bridge.poll_events(usize::MAX);
    }
}

#[test]
fn commands_that_are_held_back_arrive_after_the_release() {
    let Pair { near, mut far, _engines } = pair();
    let id = near.connection.open(Direction::Bidirectional).unwrap();
    near.bridge.hold();
    for letter in [b"a", b"b", b"c"] {
        near.connection.write(id, Bytes::copy_from_slice(letter)).unwrap();
    }
    near.connection.finish(id).unwrap();
    near.bridge.release();
    assert_eq!(far.stream_opened(), id);
    assert_eq!(far.read(id), b"abc");
    // Many are not held back, nor is the end. The writes alone are many: the shard, which may still be
    // awake, may have taken the streams already.
    near.bridge.hold();
    let ids: Vec<StreamId> =
        (0..200).map(|_| near.connection.open(Direction::Bidirectional).unwrap()).collect();
    for id in &ids {
        near.connection.write_last(*id, Bytes::from_static(b"x")).unwrap();
    }
    assert_eq!(far.stream_opened(), ids[0]);
    near.connection.close(7, b"bye").unwrap();
    assert!(matches!(far.closed(), ConnectionError::PeerClose { code: 7, .. }));
}

#[test]
fn datagrams_have_credit_too() {
    let Pair { mut near, mut far, _engines } = pair();
    let max = near.connection.max_datagram();
    assert!((1000..1500).contains(&max), "{max}");
    let large = near.connection.send_datagram(Bytes::from(vec![0; max + 1]));
    assert!(matches!(large, Err(BridgeError::DatagramTooLarge { .. })));
    // More than may cross at a time: who does not consume gets no more than the bound.
    let (mut sent, mut refused) = (0, 0);
    while sent < 3000 {
        if near.connection.send_datagram(Bytes::from(vec![1; 1000])).unwrap() {
            sent += 1;
        } else {
            refused += 1;
            near.wait(|e| matches!(e, EventKind::DatagramsWritable).then_some(()));
        }
    }
    assert!(near.connection.send_datagram(Bytes::from_static(b"last")).unwrap());
    far.settle();
    let last = |e: &EventKind| matches!(e, EventKind::Datagram(d) if &d[..] == b"last");
    let mut rounds = 0;
    // What has not crossed waits, the newest of it at least, and crosses for what was consumed.
    while !far.events.iter().any(last) {
        let size = |e: &EventKind| if let EventKind::Datagram(d) = e { d.len() } else { 0 };
        let crossed = far.events.iter().map(size).sum::<usize>();
        let count = far.events.iter().filter(|e| size(e) > 0).count();
        assert!(crossed > 0 && crossed <= (1 << 20) + 2000, "{crossed}, refused {refused}");
        far.events.clear();
        far.connection.consumed_datagrams(count, crossed);
        let first = far.wait(|e| match e {
            EventKind::Datagram(d) => Some(d.clone()),
            _ => None,
        });
        far.events.push(EventKind::Datagram(first));
        far.settle();
        rounds += 1;
    }
    assert!(rounds > 0, "3 MB fit in no single window");
}

#[test]
fn datagrams_wait_and_none_is_dropped() {
    let datagrams = DatagramConfig { send_queue: 4096, ..DatagramConfig::default() };
    let transport = TransportConfig { datagrams, ..TransportConfig::default() };
    let Pair { mut near, far: _far, _engines } = pair_with(transport);
    let mut all = 0;
    // 1,024 bytes go ahead to the connection, 3,072 wait before it.
    for _ in 0..20 {
        near.bridge.hold();
        let mut taken = 0;
        while near.connection.send_datagram(Bytes::from(vec![1; 400])).unwrap() {
            taken += 1;
            assert!(taken < 10_000, "the queue has no end");
        }
        near.bridge.release();
        assert!(taken > 0);
        all += taken;
        near.wait(|e| matches!(e, EventKind::DatagramsWritable).then_some(()));
    }
    // One that is larger than the whole queue goes once it is empty.
    while !near.connection.send_datagram(Bytes::from(vec![1; 1100])).unwrap() {
        near.wait(|e| matches!(e, EventKind::DatagramsWritable).then_some(()));
    }
    let start = Instant::now();
    loop {
        near.connection.request_stats(7).unwrap();
        let stats = near.wait(|e| match e {
            EventKind::Stats { tag: 7, snapshot } => Some(snapshot.datagrams),
            _ => None,
        });
        assert_eq!((stats.dropped_unsent, stats.dropped_too_large), (0, 0), "{stats:?}");
        if stats.sent == all + 1 {
            return;
        }
        assert!(start.elapsed() < LONG, "not all were sent: {stats:?}");
        std::thread::yield_now();
    }
}

#[test]
fn the_end_is_told_to_both_with_its_fields() {
    let Pair { mut near, mut far, _engines } = pair();
    near.connection.request_stats(99).unwrap();
    near.connection.ping().unwrap();
    near.connection.ping().unwrap();
    let rtt = near.wait(|e| match e {
        EventKind::PingAcked { pings: 2, rtt } => Some(*rtt),
        _ => None,
    });
    assert!(!rtt.is_zero() && rtt < LONG, "{rtt:?}");
    near.wait(|e| {
        matches!(e, EventKind::Stats { tag: 99, snapshot } if snapshot.paths.len() == 1)
            .then_some(())
    });
    near.connection.close(41, b"good bye").unwrap();
    let here = CloseFields::of(&near.closed());
    let there = CloseFields::of(&far.closed());
    assert_eq!((here.kind, there.kind), ("local_application", "peer_application"));
    assert_eq!((here.code, there.code), (Some(41), Some(41)));
    assert_eq!(there.reason, "good bye");
    assert!(there.message.contains("peer") && !there.clean);
    // What comes too late is told why, too.
    let late = [
        near.connection.open(Direction::Bidirectional).unwrap_err(),
        far.connection.ping().unwrap_err(),
    ];
    let why = late.map(|error| match error {
        BridgeError::Closed(why) => CloseFields::of(&why),
        other => panic!("{other}"),
    });
    assert_eq!(
        why.map(|why| (why.kind, why.code)),
        [(here.kind, Some(41)), (there.kind, Some(41))]
    );
}

#[test]
fn the_end_of_the_engine_is_told() {
    let Pair { mut near, mut far, _engines } = pair();
    let (server, client) = _engines;
    drop(client);
    assert!(matches!(near.closed(), ConnectionError::LocalClose { code: 0, .. }));
    assert!(matches!(far.closed(), ConnectionError::PeerClose { code: 0, .. }));
    drop(server);
}

#[cfg(unix)]
#[test]
fn the_descriptor_is_readable_while_events_wait() {
    use std::os::fd::AsFd;
    use tquic_net::os::{Events, Interest, Poller};

    let Pair { near, mut far, _engines } = pair();
    let mut poller = Poller::new().unwrap();
    let mut events = Events::with_capacity(4);
    far.settle();
    poller.add(&far.bridge.as_fd(), 1, Interest::Readable).unwrap();
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert_eq!(events.iter().count(), 0);
    for _ in 0..3 {
        for _ in 0..2 {
            let id = near.connection.open(Direction::Unidirectional).unwrap();
            near.connection.write(id, Bytes::from_static(b"news")).unwrap();
        }
        poller.wait(&mut events, Some(LONG)).unwrap();
        assert_eq!(events.iter().count(), 1);
        far.settle();
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.iter().count(), 0);
    }
}

#[test]
fn a_listener_tells_when_no_more_connections_can_come() {
    let (server, identity) = (engine(2), Identity::new());
    let bridge = Bridge::new().unwrap();
    let open = || {
        let (acceptor, entry) = bridge.entry(&TransportConfig::default(), None);
        let listening = listen(&server, &identity, "127.0.0.1:0", acceptor);
        entry.name(listening.id);
        listening.id
    };
    let (first, second) = (open(), open());
    let told = |expected| {
        assert!(bridge.wait(Some(LONG)));
        let events = bridge.poll_events(2);
        let [BridgeEvent { key, kind: EventKind::Unlistened { listener } }] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((*key, *listener), (ConnectionKey::NONE, expected));
    };
    assert!(!bridge.wait(Some(Duration::ZERO)));
    server.unlisten(first);
    told(first);
    // Whatever the reason for which nobody can come.
    drop(server);
    told(second);
}
