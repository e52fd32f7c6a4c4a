//! Two sets, a path that loses, delays, reorders and repeats, and applications that do anything:
//! bytes stay exact, limits hold, memory is bounded and nothing stalls.

use super::*;
use crate::stream::{Priority, ReadError, StreamError};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Clone, Copy, Debug)]
enum Op {
    Open(bool),
    Write(u8, u16),
    Finish(u8),
    Reset(u8),
    ResetAt(u8, u16),
    Stop(u8),
    Close(u8),
    Read(u8, u32),
    ReadWith(u8, u16),
    Priority(u8, u8, bool),
    Send(u16),
    Deliver(u8),
    Ack(u8),
    Lose(u8),
    Events,
    Wait(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => any::<bool>().prop_map(Op::Open),
        6 => any::<(u8, u16)>().prop_map(|(s, n)| Op::Write(s, n % 9000)),
        2 => any::<u8>().prop_map(Op::Finish),
        1 => any::<u8>().prop_map(Op::Reset),
        1 => any::<(u8, u16)>().prop_map(|(s, n)| Op::ResetAt(s, n)),
        1 => any::<u8>().prop_map(Op::Stop),
        1 => any::<u8>().prop_map(Op::Close),
        4 => any::<(u8, u32)>().prop_map(|(s, n)| Op::Read(s, n % 70_000)),
        2 => any::<(u8, u16)>().prop_map(|(s, n)| Op::ReadWith(s, n)),
        1 => any::<(u8, u8, bool)>().prop_map(|(s, u, i)| Op::Priority(s, u % 8, i)),
        10 => (60u16..1500).prop_map(Op::Send),
        10 => any::<u8>().prop_map(Op::Deliver),
        6 => any::<u8>().prop_map(Op::Ack),
        3 => any::<u8>().prop_map(Op::Lose),
        3 => Just(Op::Events),
        2 => any::<u16>().prop_map(Op::Wait),
    ]
}

#[derive(Clone, Debug)]
struct Flight {
    packet: Packet,
    delivered: bool,
    lost: bool,
}

/// What an application knows of one stream.
#[derive(Debug, Default)]
struct Model {
    written: u64,
    finished: bool,
    reset: bool,
    /// How much of a stream that was reset is to be delivered nevertheless.
    promised: u64,
    read: u64,
    ended: bool,
    stopped: bool,
}

struct End {
    set: StreamSet,
    flights: Vec<Flight>,
    ids: Vec<StreamId>,
    models: HashMap<StreamId, Model>,
}

fn content(sender: Side, id: StreamId, from: u64, len: usize) -> Vec<u8> {
    let salt = id.0 * 31 + sender as u64 * 7;
    (from..from + len as u64).map(|i| (i ^ (i >> 8) ^ salt) as u8).collect()
}

impl End {
    fn new(side: Side, config: &StreamConfig) -> Self {
        let set = ready(side, config);
        Self { set, flights: Vec::new(), ids: Vec::new(), models: HashMap::new() }
    }

    fn pick(&self, sel: u8) -> Option<StreamId> {
        (!self.ids.is_empty()).then(|| self.ids[usize::from(sel) % self.ids.len()])
    }

    fn check(&mut self, id: StreamId, from: u64, data: &[u8]) {
        let model = self.models.entry(id).or_default();
        assert_eq!(model.read, from);
        assert_eq!(data, content(self.set.side.opposite(), id, from, data.len()));
        model.read += data.len() as u64;
    }

    fn write(&mut self, id: StreamId, len: usize) {
        let model = self.models.entry(id).or_default();
        let data = content(self.set.side, id, model.written, len);
        match self.set.write(id, Bytes::from(data)) {
            Ok(()) => {
                assert!(!model.finished && !model.reset);
                model.written += len as u64;
            }
            Err(StreamError::Full) => assert_eq!(self.set.writable(id), 0),
            Err(StreamError::Finished) => assert!(model.finished || model.reset),
            Err(StreamError::Stopped(_)) => model.reset = true,
            Err(StreamError::Unknown | StreamError::WrongDirection) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn read(&mut self, id: StreamId, max: usize) -> bool {
        match self.set.read(id, max) {
            Ok(Some(chunk)) => {
                assert!(chunk.data.len() <= max);
                self.check(id, chunk.offset, &chunk.data);
                self.models.entry(id).or_default().ended |= chunk.fin;
                true
            }
            Err(ReadError::Reset { reliable_size, .. }) => {
                let model = self.models.entry(id).or_default();
                assert!(model.read >= reliable_size && !model.ended);
                false
            }
            Ok(None) | Err(_) => false,
        }
    }

    fn reset(&mut self, id: StreamId, size: u64) {
        let model = self.models.entry(id).or_default();
        let size = size.min(model.written);
        if self.set.reset_at(id, 1, size).is_ok() {
            let before = if model.reset { model.promised } else { u64::MAX };
            (model.reset, model.promised) = (true, before.min(size));
        }
    }

    fn read_with(&mut self, id: StreamId, limit: usize) {
        let mut seen = Vec::new();
        let result = self.set.read_with(id, |offset, bytes| {
            let used = bytes.len().min(limit);
            seen.push((offset, bytes[..used].to_vec()));
            used
        });
        let total: usize = seen.iter().map(|(_, bytes)| bytes.len()).sum();
        for (offset, bytes) in seen {
            self.check(id, offset, &bytes);
        }
        if let Ok(consumed) = result {
            assert_eq!(consumed.bytes, total);
            self.models.entry(id).or_default().ended |= consumed.fin;
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.set.poll_event() {
            if let StreamEvent::Opened { id } = event {
                self.ids.push(id);
            }
        }
    }
}

/// What the application does with one of its streams.
fn use_stream(op: Op, me: &mut End, id: StreamId) {
    let mut note = |done: bool, f: fn(&mut Model)| {
        if done {
            f(me.models.entry(id).or_default());
        }
    };
    match op {
        Op::Write(_, n) => me.write(id, n.into()),
        Op::Finish(_) => note(me.set.finish(id).is_ok(), |m| m.finished = true),
        Op::Reset(_) => me.reset(id, 0),
        Op::ResetAt(_, n) => me.reset(id, n.into()),
        Op::Stop(_) => note(me.set.stop(id, 2).is_ok(), |m| m.stopped = true),
        Op::Close(_) => note(me.set.close(id, 3).is_ok(), |m| {
            m.promised = if m.reset { m.promised } else { 0 };
            (m.stopped, m.reset) = (true, true);
        }),
        Op::Read(_, n) => {
            me.read(id, n as usize);
        }
        Op::ReadWith(_, n) => me.read_with(id, n.into()),
        Op::Priority(_, urgency, incremental) => {
            let _ = me.set.set_priority(id, Priority { urgency, incremental });
        }
        _ => unreachable!("{op:?}"),
    }
}

/// What the path does with one of the packets under way.
fn use_packet(op: Op, me: &mut End, other: &mut End, index: usize) {
    let flight = &mut me.flights[index];
    match op {
        Op::Deliver(_) => {
            flight.delivered = true;
            receive(&mut other.set, &flight.packet).unwrap();
        }
        Op::Ack(_) if flight.delivered => {
            let flight = me.flights.swap_remove(index);
            acked(&mut me.set, &flight.packet);
        }
        Op::Lose(_) => {
            // Declared lost: perhaps too early, so that it still arrives.
            flight.lost = true;
            lost(&mut me.set, &flight.packet);
        }
        _ => {}
    }
}

fn apply(op: Op, me: &mut End, other: &mut End, now: &mut Instant) {
    match op {
        Op::Open(both) => {
            let dir = if both { Bidirectional } else { Unidirectional };
            me.ids.extend(me.set.open(dir));
        }
        Op::Send(size) => {
            if let Some(packet) = build(&mut me.set, *now, size.into()) {
                me.flights.push(Flight { packet, delivered: false, lost: false });
            }
        }
        Op::Deliver(i) | Op::Ack(i) | Op::Lose(i) => {
            if !me.flights.is_empty() {
                use_packet(op, me, other, usize::from(i) % me.flights.len());
            }
        }
        Op::Events => me.events(),
        Op::Wait(us) => *now += Duration::from_micros(us.into()),
        Op::Write(s, _)
        | Op::Finish(s)
        | Op::Reset(s)
        | Op::ResetAt(s, _)
        | Op::Stop(s)
        | Op::Close(s)
        | Op::Read(s, _)
        | Op::ReadWith(s, _)
        | Op::Priority(s, _, _) => {
            if let Some(id) = me.pick(s) {
                use_stream(op, me, id);
            }
        }
    }
}

/// One round of a path that has become perfect; tells whether anything moved.
fn flush(me: &mut End, other: &mut End, now: Instant) -> bool {
    let mut moved = !me.flights.is_empty();
    for flight in std::mem::take(&mut me.flights) {
        if flight.lost && !flight.delivered {
            continue;
        }
        if !flight.delivered {
            receive(&mut other.set, &flight.packet).unwrap();
        }
        acked(&mut me.set, &flight.packet);
    }
    while let Some(packet) = build(&mut me.set, now, MTU) {
        moved = true;
        receive(&mut other.set, &packet).unwrap();
        acked(&mut me.set, &packet);
    }
    other.events();
    for id in other.ids.clone() {
        while other.read(id, 50_000) {
            moved = true;
        }
    }
    moved
}

fn settle(a: &mut End, b: &mut End, now: Instant) {
    for _ in 0..10_000 {
        let moved = flush(a, b, now);
        if !(flush(b, a, now) | moved) {
            return;
        }
    }
    panic!("never comes to rest");
}

/// What the sender wrote has arrived, unless one side gave the stream up.
fn compare(sender: &End, receiver: &End) {
    for (id, sent) in &sender.models {
        let none = Model::default();
        let got = receiver.models.get(id).unwrap_or(&none);
        if !sent.reset && !got.stopped {
            assert_eq!(got.read, sent.written, "{id:?} stalled");
            assert_eq!(got.ended, sent.finished, "{id:?}");
        }
        if sent.reset && !got.stopped {
            assert!(got.read >= sent.promised, "{id:?} lacks what was promised");
        }
        assert!(got.read <= sent.written);
    }
}

fn run(config: &StreamConfig, ops: &[(bool, Op)]) {
    let (mut a, mut b) = (End::new(Client, config), End::new(Server, config));
    let mut now = Instant::ZERO;
    for &(first, op) in ops {
        let (me, other) = if first { (&mut a, &mut b) } else { (&mut b, &mut a) };
        apply(op, me, other, &mut now);
        for end in [&a, &b] {
            let streams = end.set.stats();
            let bound = end.set.config.max_connection_window as usize * 9 / 4;
            assert!(streams.receive_memory <= bound + streams.streams * 1024);
        }
    }
    settle(&mut a, &mut b, now);
    compare(&a, &b);
    compare(&b, &a);
    // Twice: the first close may be the first word about a stream.
    for _ in 0..2 {
        for end in [&mut a, &mut b] {
            for id in end.ids.clone() {
                let _ = end.set.close(id, 0);
            }
        }
        settle(&mut a, &mut b, now);
    }
    assert_empty(&mut a.set);
    assert_empty(&mut b.set);
    // All credit is settled: what one side has used is what the other has counted.
    assert_eq!(a.set.credit.limit() - a.set.credit.left(), b.set.received);
    assert_eq!(b.set.credit.limit() - b.set.credit.left(), a.set.received);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn wide_windows(ops in prop::collection::vec((any::<bool>(), op()), 1..300)) {
        run(&StreamConfig::default(), &ops);
    }

    #[test]
    fn narrow_windows(ops in prop::collection::vec((any::<bool>(), op()), 1..300)) {
        let config = StreamConfig {
            stream_window: 3000,
            max_stream_window: 20_000,
            connection_window: 4000,
            max_connection_window: 30_000,
            max_streams_bidi: 3,
            max_streams_uni: 2,
            send_buffer: 10_000,
            turn: 2,
            ..StreamConfig::default()
        };
        run(&config, &ops);
    }
}

#[test]
fn readers_of_unknown_streams_are_told() {
    let mut end = End::new(Client, &StreamConfig::default());
    assert_eq!(end.set.read(StreamId(1), 1), Err(ReadError::Unknown));
}
