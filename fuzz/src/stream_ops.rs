//! Two sets of streams joined by a path that loses, delays, reorders and repeats, against a naive
//! model: every byte written, in order, once.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tquic_core::recovery::{Token, Tokens};
use tquic_core::rng::Rng;
use tquic_core::stream::{Priority, ReadError, StreamConfig, StreamEvent, StreamSet};
use tquic_core::time::Instant;
use tquic_core::tx::FrameWriter;
use tquic_wire::{
    Direction, Frame, FrameIter, Side, StreamId, TransportErrorCode, TransportParameters,
};

use super::frames;
use super::source::Source;

/// A packet on its way, or waiting for its fate.
struct Packet {
    payload: Vec<u8>,
    tokens: Vec<Token>,
    delivered: bool,
    lost: bool,
}

/// What was done to one stream, as its sender and its reader see it.
#[derive(Default)]
struct Model {
    written: Vec<u8>,
    finished: bool,
    /// Either end gave it up: nothing is promised any more.
    broken: bool,
    /// But for the beginning of what was reset by RESET_STREAM_AT.
    promised: usize,
    read: usize,
    ended: bool,
}

struct End {
    set: StreamSet,
    flights: Vec<Packet>,
    ids: Vec<StreamId>,
}

struct World {
    ends: [End; 2],
    /// By sender (0 or 1) and stream.
    models: HashMap<(usize, StreamId), Model>,
    now: Instant,
    count: u8,
}

fn config(narrow: bool) -> StreamConfig {
    if !narrow {
        return StreamConfig::default();
    }
    StreamConfig {
        stream_window: 3000,
        max_stream_window: 20_000,
        connection_window: 4000,
        max_connection_window: 30_000,
        max_streams_bidi: 3,
        max_streams_uni: 2,
        send_buffer: 10_000,
        turn: 2,
        ..StreamConfig::default()
    }
}

impl World {
    fn new(narrow: bool) -> Self {
        let config = config(narrow);
        let mut limits = TransportParameters::default();
        config.advertise(&mut limits);
        let end = |side| {
            let mut set = StreamSet::new(side, &config, &mut Rng::from_seed([7; 32]));
            set.set_peer_limits(&limits);
            End { set, flights: Vec::new(), ids: Vec::new() }
        };
        let ends = [end(Side::Client), end(Side::Server)];
        Self { ends, models: HashMap::new(), now: Instant::from_nanos(1), count: 0 }
    }

    fn write(&mut self, at: usize, id: StreamId, len: usize) {
        let data: Vec<u8> = (0..len).map(|i| self.count.wrapping_add((i % 251) as u8)).collect();
        self.count = self.count.wrapping_add(101);
        if self.ends[at].set.write(id, Bytes::from(data.clone())).is_ok() {
            let model = self.models.entry((at, id)).or_default();
            assert!(!model.finished, "a write after the end was taken");
            model.written.extend_from_slice(&data);
        }
    }

    fn read(&mut self, at: usize, id: StreamId, max: usize) -> bool {
        let model = self.models.entry((1 - at, id)).or_default();
        match self.ends[at].set.read(id, max) {
            Ok(Some(chunk)) => {
                assert_eq!(chunk.offset, model.read as u64);
                assert!(chunk.data.len() <= max);
                let end = model.read + chunk.data.len();
                assert_eq!(
                    Some(&chunk.data[..]),
                    model.written.get(model.read..end),
                    "other bytes"
                );
                model.read = end;
                if chunk.fin {
                    assert!(model.finished && end == model.written.len(), "ended too early");
                    model.ended = true;
                }
                !chunk.data.is_empty() || chunk.fin
            }
            Ok(None) => false,
            Err(ReadError::Reset { .. }) => {
                assert!(model.broken, "a reset that nobody sent");
                assert!(model.read >= model.promised, "a reset that takes too much");
                false
            }
            Err(_) => false,
        }
    }

    fn send(&mut self, at: usize, room: usize) -> bool {
        let mut buf = vec![0; room];
        let mut tokens = Tokens::new();
        let mut fw = FrameWriter::new(&mut buf, &mut tokens);
        let set = &mut self.ends[at].set;
        set.write_control(&mut fw, self.now);
        while set.has_data() && set.write_frame(&mut fw) {}
        let len = fw.position();
        if len == 0 {
            return false;
        }
        buf.truncate(len);
        let tokens = tokens.to_vec();
        self.ends[at].flights.push(Packet { payload: buf, tokens, delivered: false, lost: false });
        true
    }

    fn deliver(&mut self, from: usize, index: usize) {
        let [a, b] = &mut self.ends;
        let (sender, receiver) = if from == 0 { (a, b) } else { (b, a) };
        let packet = &mut sender.flights[index];
        packet.delivered = true;
        for frame in FrameIter::new(&packet.payload) {
            let result = give(&mut receiver.set, &frame.expect("a frame that does not parse"));
            assert_eq!(result, Ok(()), "an honest peer was refused");
        }
    }

    fn events(&mut self, at: usize) {
        while let Some(event) = self.ends[at].set.poll_event() {
            match event {
                StreamEvent::Opened { id } => self.ends[at].ids.push(id),
                StreamEvent::Reset { id, .. } => {
                    assert!(self.models.entry((1 - at, id)).or_default().broken);
                }
                StreamEvent::Stopped { id, .. } => {
                    assert!(self.models.entry((at, id)).or_default().broken);
                }
                StreamEvent::Finished { id } => {
                    assert!(self.models.entry((at, id)).or_default().finished);
                }
                _ => {}
            }
        }
    }

    fn operate(&mut self, s: &mut Source<'_>) {
        let at = usize::from(s.coin());
        let (op, ids) = (s.u8() % 16, self.ends[at].ids.len() as u64);
        if op == 0 || ids == 0 {
            let dir = if s.coin() { Direction::Bidirectional } else { Direction::Unidirectional };
            let opened = self.ends[at].set.open(dir);
            return self.ends[at].ids.extend(opened);
        }
        let id = self.ends[at].ids[s.below(ids) as usize];
        let flights = self.ends[at].flights.len() as u64;
        match op {
            1..4 => self.write(at, id, usize::from(s.u16() % 5000)),
            4 if self.ends[at].set.finish(id).is_ok() => {
                self.models.entry((at, id)).or_default().finished = true;
            }
            5 => {
                let model = self.models.entry((at, id)).or_default();
                let promise = s.below(model.written.len() as u64 + 1);
                if self.ends[at].set.reset_at(id, 1, promise).is_ok() {
                    let before = if model.broken { model.promised } else { usize::MAX };
                    model.promised = before.min(promise as usize);
                    model.broken = true;
                }
            }
            6 if self.ends[at].set.stop(id, 2).is_ok() => {
                let model = self.models.entry((1 - at, id)).or_default();
                (model.broken, model.promised) = (true, 0);
            }
            7 => {
                let priority = Priority { urgency: s.u8() % 8, incremental: s.coin() };
                let _ = self.ends[at].set.set_priority(id, priority);
            }
            8 | 9 => {
                self.read(at, id, usize::from(s.u16()));
            }
            10 | 11 => {
                self.send(at, 60 + usize::from(s.u16() % 1400));
            }
            12 if flights > 0 => self.deliver(at, s.below(flights) as usize),
            13 if flights > 0 => {
                let index = s.below(flights) as usize;
                if self.ends[at].flights[index].delivered {
                    let packet = self.ends[at].flights.swap_remove(index);
                    packet.tokens.into_iter().for_each(|t| self.ends[at].set.on_acked(t));
                }
            }
            14 if flights > 0 => {
                let packet = &mut self.ends[at].flights[s.below(flights) as usize];
                if !packet.lost {
                    packet.lost = true;
                    let tokens = packet.tokens.clone();
                    tokens.into_iter().for_each(|t| self.ends[at].set.on_lost(t));
                }
            }
            15 => {
                self.now += Duration::from_millis(u64::from(s.u8()));
                self.events(at);
            }
            _ => {}
        }
        for end in &self.ends {
            assert!(end.ids.len() <= 4096);
        }
    }

    /// The path becomes perfect, and everything still on its way arrives or is lost.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut moved = false;
            for at in [0, 1] {
                while self.send(at, 1400) {}
                for index in 0..self.ends[at].flights.len() {
                    let packet = &self.ends[at].flights[index];
                    if !packet.delivered && !packet.lost {
                        self.deliver(at, index);
                    }
                    moved = true;
                }
                for packet in std::mem::take(&mut self.ends[at].flights) {
                    if packet.delivered {
                        packet.tokens.into_iter().for_each(|t| self.ends[at].set.on_acked(t));
                    }
                }
                self.events(1 - at);
                for id in self.ends[1 - at].ids.clone() {
                    while self.read(1 - at, id, 50_000) {
                        moved = true;
                    }
                }
            }
            if !moved {
                return;
            }
        }
        panic!("never comes to rest");
    }
}

fn give(set: &mut StreamSet, frame: &Frame<'_>) -> Result<(), tquic_core::error::TransportError> {
    match *frame {
        Frame::Stream(ref frame) => set.on_stream(frame),
        Frame::ResetStream { id, error_code, final_size } => {
            set.on_reset_stream(id, error_code, final_size)
        }
        Frame::ResetStreamAt { id, error_code, final_size, reliable_size } => {
            set.on_reset_stream_at(id, error_code, final_size, reliable_size)
        }
        Frame::StopSending { id, error_code } => set.on_stop_sending(id, error_code),
        Frame::MaxStreamData { id, max } => set.on_max_stream_data(id, max),
        Frame::MaxStreams { dir, max } => set.on_max_streams(dir, max),
        Frame::StreamDataBlocked { id, .. } => set.on_stream_data_blocked(id),
        Frame::StreamsBlocked { dir, limit } => set.on_streams_blocked(dir, limit),
        Frame::MaxData(max) => {
            set.on_max_data(max);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The script; with its first bit set a rule-breaking peer has the last word.
pub fn stream_ops(data: &[u8]) {
    let mut s = Source::new(data);
    let flags = s.u8();
    let mut world = World::new(flags & 2 == 0);
    if flags & 1 == 1 {
        return hostile(&mut world, &mut s);
    }
    while !s.is_empty() {
        world.operate(&mut s);
    }
    world.settle();
    for ((_, id), model) in &world.models {
        assert!(model.read >= model.promised, "{id:?} lacks what was promised");
        if !model.broken {
            assert_eq!(model.read, model.written.len(), "{id:?} stalled");
            assert_eq!(model.ended, model.finished, "{id:?} has no end");
        }
    }
}

/// Frames that may be anything; the set refuses them or keeps its bounds.
fn hostile(world: &mut World, s: &mut Source<'_>) {
    let codes = [
        TransportErrorCode::FLOW_CONTROL_ERROR,
        TransportErrorCode::STREAM_LIMIT_ERROR,
        TransportErrorCode::STREAM_STATE_ERROR,
        TransportErrorCode::FINAL_SIZE_ERROR,
        TransportErrorCode::FRAME_ENCODING_ERROR,
    ];
    while !s.is_empty() {
        if s.u8().is_multiple_of(4) {
            // The application under attack acts meanwhile.
            script_op(world, s);
            world.ends[0].flights.clear();
            continue;
        }
        let bytes = frames::frame(s);
        for frame in FrameIter::new(&bytes) {
            let Ok(frame) = frame else { break };
            let end = &mut world.ends[0];
            if let Err(e) = give(&mut end.set, &frame) {
                assert!(codes.contains(&e.code), "{e}");
                return;
            }
            let stats = end.set.stats();
            assert!(stats.receive_memory <= (24 << 20) * 9 / 4 + stats.streams * 1024);
            assert!(stats.streams <= 2 * 128 + 2 * 4096);
            while end.set.poll_event().is_some() {}
        }
    }
}

fn script_op(world: &mut World, s: &mut Source<'_>) {
    let end = &mut world.ends[0];
    let id = StreamId(s.number());
    match s.u8() % 8 {
        0 => drop(end.set.open(Direction::Bidirectional)),
        1 => drop(end.set.write(id, Bytes::from_static(&[1; 500]))),
        2 => drop(end.set.finish(id)),
        3 => drop(end.set.reset(id, 3)),
        4 => drop(end.set.stop(id, 3)),
        5 => drop(end.set.close(id, 3)),
        6 => drop(end.set.read(id, 1000)),
        _ => drop(world.send(0, 1200)),
    }
}
