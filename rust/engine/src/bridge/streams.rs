//! The streams of a bridged connection, in its shard.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tquic_core::stream::{ReadError, StreamEvent, StreamSet};
use tquic_wire::{Direction, Side, StreamId};

use super::event::{receives, sends};
use super::mailbox::{Attachment, BridgeCommand, Credit, READ_TOTAL, READ_WINDOW, Shared};
use super::{EventKind, Refusal};
use crate::pump::{Frames, Inflow, Outflow};

/// One stream.
struct Stream {
    /// The peer's limit has let it in. Until then its commands wait.
    opened: bool,
    deferred: VecDeque<BridgeCommand>,
    /// Bytes written by commands and not acknowledged, as `Credit::outstanding` counts them.
    outstanding: u64,
    /// In `Streams::sending`.
    watched: bool,
    /// In `Streams::readable`.
    listed: bool,
    /// Bytes that crossed.
    read: u64,
    /// Whether each side still has something to do.
    sends: bool,
    reads: bool,
    source: Option<Outflow>,
    sink: Option<Inflow>,
    frames: Option<Frames>,
    /// Nothing crosses until something is attached.
    held: bool,
    /// Answered here: the other language hears nothing more of it.
    refused: bool,
}

/// See the module.
pub(super) struct Streams {
    side: Side,
    streams: HashMap<StreamId, Stream>,
    /// Opened here, not yet let in, by direction.
    waiting: [VecDeque<StreamId>; 2],
    /// Opened here without waiting, since the last batch.
    let_in: usize,
    /// With something to read, credit or not.
    readable: VecDeque<StreamId>,
    /// With bytes that wait for acknowledgement.
    sending: Vec<StreamId>,
    /// Opened by the peer since the last batch.
    fresh: Vec<StreamId>,
    /// Over on both sides.
    over: Vec<StreamId>,
    /// Stopped by the peer since the last batch.
    stopped: Vec<StreamId>,
    /// Whose source has ended without the stream.
    unfed: Vec<StreamId>,
    /// Bytes accepted that no stream will send.
    refunds: Vec<(StreamId, u64)>,
}

impl Streams {
    pub fn new(side: Side) -> Self {
        Self {
            side,
            streams: HashMap::new(),
            waiting: Default::default(),
            let_in: 0,
            readable: VecDeque::new(),
            sending: Vec::new(),
            fresh: Vec::new(),
            over: Vec::new(),
            stopped: Vec::new(),
            unfed: Vec::new(),
            refunds: Vec::new(),
        }
    }

    fn insert(&mut self, id: StreamId, opened: bool) {
        let stream = Stream {
            opened,
            deferred: VecDeque::new(),
            outstanding: 0,
            watched: false,
            listed: false,
            read: 0,
            sends: sends(id, self.side),
            reads: receives(id, self.side),
            source: None,
            sink: None,
            frames: None,
            held: false,
            refused: false,
        };
        self.streams.insert(id, stream);
    }

    /// Streams that have credit again.
    pub fn feed(&mut self, hungry: &mut Vec<StreamId>) {
        for id in hungry.drain(..) {
            self.list(id);
        }
    }

    /// There is something to read.
    fn list(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.reads
            && !std::mem::replace(&mut stream.listed, true)
        {
            self.readable.push_back(id);
        }
    }

    pub fn on_event(
        &mut self,
        event: StreamEvent,
        set: &mut StreamSet,
        out: &mut VecDeque<EventKind>,
    ) {
        match event {
            StreamEvent::Opened { id } => {
                self.insert(id, true);
                self.fresh.push(id);
                out.push_back(EventKind::StreamOpened { stream: id });
            }
            StreamEvent::Readable { id } | StreamEvent::Reset { id, .. } => self.list(id),
            StreamEvent::Writable { id } => self.drive_source(id, set, out),
            StreamEvent::Finished { id } => {
                if !self.is_refused(id) {
                    out.push_back(EventKind::Finished { stream: id });
                }
                self.end_sending(id);
            }
            StreamEvent::Stopped { id, code } => {
                // The source learns it from its own write.
                self.drive_source(id, set, out);
                // It is reset already; this says that we are done with it.
                let _ = set.reset(id, code);
                if !self.is_refused(id) {
                    out.push_back(EventKind::Stopped { stream: id, code });
                }
                self.stopped.push(id);
                self.end_sending(id);
            }
            StreamEvent::FinalSize { id, outgoing, size } => {
                out.push_back(EventKind::FinalSize { stream: id, outgoing, size });
            }
            StreamEvent::StreamsAvailable { .. } => {}
        }
    }

    /// Answers a stream of the peer without asking anybody.
    pub fn refuse(
        &mut self,
        id: StreamId,
        refusal: &Refusal,
        set: &mut StreamSet,
        out: &mut VecDeque<EventKind>,
    ) {
        self.insert(id, true);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.refused = true;
        }
        // The order of RFC 9114 section 4.1: a whole answer, then no more of the request. The stream
        // has just been opened; only the peer's own STOP_SENDING can be in the way.
        let _ = set.write(id, refusal.answer.clone());
        let _ = set.finish(id);
        let _ = set.stop(id, refusal.code);
        self.end_reading(id);
        out.push_back(EventKind::Refused { stream: id });
    }

    fn is_refused(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.refused)
    }

    fn end_sending(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.sends = false;
        if !stream.reads {
            self.over.push(id);
        }
    }

    fn end_reading(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.reads = false;
        if !stream.sends {
            self.over.push(id);
        }
    }

    fn drive_source(&mut self, id: StreamId, set: &mut StreamSet, out: &mut VecDeque<EventKind>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let outcome = stream.source.as_mut().and_then(|source| source.drive(set));
        if let Some(outcome) = outcome {
            let goes_on = stream.source.take().is_some_and(|source| !source.finishes());
            if goes_on && outcome.error.is_none() {
                self.unfed.push(id);
            }
            out.push_back(EventKind::Pumped { stream: id, outgoing: true, outcome });
        }
    }

    /// Does what concerns a stream.
    pub fn execute(
        &mut self,
        command: BridgeCommand,
        set: &mut StreamSet,
        out: &mut VecDeque<EventKind>,
    ) {
        let id = match &command {
            BridgeCommand::Open(id) => {
                let waiting = &mut self.waiting[id.direction() as usize];
                let opened = waiting.is_empty() && set.open(id.direction()).is_some();
                if opened {
                    self.let_in += 1;
                } else {
                    waiting.push_back(*id);
                }
                self.insert(*id, opened);
                return;
            }
            BridgeCommand::Write(id, _)
            | BridgeCommand::Gathered(id, _)
            | BridgeCommand::Finish(id)
            | BridgeCommand::Reset(id, ..)
            | BridgeCommand::Stop(id, _)
            | BridgeCommand::Priority(id, _)
            | BridgeCommand::Attach(id, _)
            | BridgeCommand::Hold(id, _) => *id,
            // The others are not for streams.
            _ => return,
        };
        match self.streams.get_mut(&id) {
            Some(stream) if !stream.opened => stream.deferred.push_back(command),
            _ => self.apply(id, command, set, out),
        }
    }

    /// Refusals are not told: the stream was reset, stopped or finished meanwhile, and that was.
    fn apply(
        &mut self,
        id: StreamId,
        command: BridgeCommand,
        set: &mut StreamSet,
        out: &mut VecDeque<EventKind>,
    ) {
        match command {
            BridgeCommand::Write(_, data) => self.write(id, data, set),
            BridgeCommand::Gathered(_, data) => self.write(id, data.freeze(), set),
            BridgeCommand::Finish(_) => {
                let _ = set.finish(id);
            }
            BridgeCommand::Reset(_, code, reliable_size) => {
                if set.reset_at(id, code, reliable_size).is_err() {
                    // What came before did not arrive at the stream.
                    let _ = set.reset(id, code);
                }
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.source = None;
                }
                self.end_sending(id);
            }
            BridgeCommand::Stop(_, code) => {
                let _ = set.stop(id, code);
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.sink = None;
                    stream.frames = None;
                }
                self.end_reading(id);
            }
            BridgeCommand::Priority(_, priority) => {
                let _ = set.set_priority(id, priority);
            }
            BridgeCommand::Attach(_, Attachment::Source(source, finish)) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.source = Some(Outflow::new(id, source, finish));
                    self.drive_source(id, set, out);
                }
            }
            BridgeCommand::Attach(_, Attachment::Sink(mut sink, position)) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    sink.skip(stream.read.saturating_sub(position));
                    stream.sink = Some(Inflow::new(id, sink, stream.read));
                    self.list(id);
                }
            }
            BridgeCommand::Attach(_, Attachment::Frames(frames)) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.frames = Some(frames);
                    stream.held = false;
                    self.list(id);
                }
            }
            BridgeCommand::Hold(_, held) => {
                if let Some(stream) = self.streams.get_mut(&id)
                    && stream.reads
                {
                    stream.held = held;
                    match held {
                        true => out.push_back(EventKind::Held { stream: id }),
                        false => self.list(id),
                    }
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, id: StreamId, data: Bytes, set: &mut StreamSet) {
        let len = data.len() as u64;
        let written = set.write(id, data).is_ok();
        match self.streams.get_mut(&id) {
            Some(stream) if written => {
                stream.outstanding += len;
                if !std::mem::replace(&mut stream.watched, true) {
                    self.sending.push(id);
                }
            }
            _ => self.refunds.push((id, len)),
        }
    }

    /// Opens streams that wait, as far as the peer allows; answers how many have been opened since
    /// the last batch.
    pub fn open_waiting(&mut self, set: &mut StreamSet, out: &mut VecDeque<EventKind>) -> usize {
        let mut opened = std::mem::take(&mut self.let_in);
        for direction in [Direction::Bidirectional, Direction::Unidirectional] {
            while let Some(&wanted) = self.waiting[direction as usize].front() {
                let Some(id) = set.open(direction) else { break };
                // Nobody else opens streams on this connection.
                debug_assert_eq!(id, wanted);
                self.waiting[direction as usize].pop_front();
                opened += 1;
                let Some(stream) = self.streams.get_mut(&id) else { continue };
                stream.opened = true;
                for command in std::mem::take(&mut stream.deferred) {
                    self.apply(id, command, set, out);
                }
            }
        }
        opened
    }

    /// Brings across what may cross, and settles the credit of both directions. `paused` tells
    /// whether too many events wait.
    pub fn cross(
        &mut self,
        set: &mut StreamSet,
        shared: &mut Shared,
        out: &mut VecDeque<EventKind>,
        paused: impl Fn(usize) -> bool,
    ) {
        for id in self.fresh.drain(..) {
            shared.streams.insert(id, Credit::default());
        }
        for id in self.unfed.drain(..) {
            if let Some(credit) = shared.streams.get_mut(&id) {
                credit.ended = false;
            }
        }
        for id in self.stopped.drain(..) {
            if let Some(credit) = shared.streams.get_mut(&id) {
                credit.ended = true;
            }
        }
        for _ in 0..self.readable.len() {
            if paused(out.len()) {
                break;
            }
            if shared.unread >= READ_TOTAL {
                shared.starved = true;
                break;
            }
            let Some(id) = self.readable.pop_front() else { break };
            if self.read(id, set, shared, out) {
                self.end_reading(id);
            }
        }
        self.settle(set, shared, out);
        for id in self.over.drain(..) {
            // Twice in the list is once too often, but harmless.
            self.streams.remove(&id);
            shared.streams.remove(&id);
        }
    }

    /// Reads one stream; true if that was its end.
    fn read(
        &mut self,
        id: StreamId,
        set: &mut StreamSet,
        shared: &mut Shared,
        out: &mut VecDeque<EventKind>,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        stream.listed = false;
        if !stream.reads || stream.held {
            return false;
        }
        if let Some(frames) = &mut stream.frames {
            let Some(outcome) = frames.drive(set) else { return false };
            stream.frames = None;
            let over = outcome.ended || outcome.error.is_some();
            out.push_back(EventKind::Unframed { stream: id, outcome });
            if over {
                return true;
            }
        }
        if let Some(sink) = &mut stream.sink {
            let Some(outcome) = sink.drive(set) else { return false };
            stream.sink = None;
            out.push_back(EventKind::Pumped { stream: id, outgoing: false, outcome });
            return true;
        }
        let Some(credit) = shared.streams.get_mut(&id) else { return false };
        loop {
            if credit.unread >= READ_WINDOW {
                credit.starved = true;
                return false;
            }
            let max = (READ_WINDOW - credit.unread) as usize;
            match set.read(id, max) {
                Ok(Some(chunk)) => {
                    let len = chunk.data.len() as u64;
                    credit.unread += len;
                    shared.unread += len;
                    stream.read += len;
                    let fin = chunk.fin;
                    out.push_back(EventKind::Data { stream: id, data: chunk.data, fin });
                    if fin {
                        return true;
                    }
                }
                Ok(None) => return false,
                Err(ReadError::Reset { code, reliable_size }) => {
                    out.push_back(EventKind::Reset { stream: id, code, reliable_size });
                    return true;
                }
                Err(_) => return false,
            }
        }
    }

    /// Brings across everything that was received, without credit: the connection is over.
    pub fn deliver_rest(&mut self, set: &mut StreamSet, out: &mut VecDeque<EventKind>) {
        let mut reading: Vec<_> =
            self.streams.iter_mut().filter(|(_, stream)| stream.reads && stream.opened).collect();
        reading.sort_unstable_by_key(|(id, _)| **id);
        for (&id, stream) in reading {
            if let Some(frames) = &mut stream.frames {
                let Some(outcome) = frames.drive(set) else { continue };
                let over = outcome.ended || outcome.error.is_some();
                out.push_back(EventKind::Unframed { stream: id, outcome });
                if over {
                    continue;
                }
            }
            if let Some(sink) = &mut stream.sink {
                if let Some(outcome) = sink.drive(set) {
                    out.push_back(EventKind::Pumped { stream: id, outgoing: false, outcome });
                }
                continue;
            }
            while let Ok(Some(chunk)) = set.read(id, usize::MAX) {
                let fin = chunk.fin;
                out.push_back(EventKind::Data { stream: id, data: chunk.data, fin });
            }
        }
    }

    /// Gives back the credit of what was acknowledged.
    fn settle(&mut self, set: &mut StreamSet, shared: &mut Shared, out: &mut VecDeque<EventKind>) {
        for (id, len) in self.refunds.drain(..) {
            if let Some(credit) = shared.streams.get_mut(&id) {
                credit.outstanding = credit.outstanding.saturating_sub(len);
            }
        }
        self.sending.retain(|id| {
            let Some(stream) = self.streams.get_mut(id) else { return false };
            let left = stream.outstanding.min(set.buffered(*id));
            let freed = stream.outstanding - left;
            stream.outstanding = left;
            stream.watched = left > 0;
            if let Some(credit) = shared.streams.get_mut(id) {
                credit.outstanding = credit.outstanding.saturating_sub(freed);
                let buffered = credit.outstanding;
                if credit.notify.is_some_and(|below| buffered <= below) {
                    credit.notify = None;
                    out.push_back(EventKind::Writable { stream: *id, buffered });
                }
            }
            left > 0
        });
    }
}
