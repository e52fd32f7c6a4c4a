//! All streams of one connection: the table, who may open what, and when a stream is gone.

mod app;
mod index;
mod rx;
mod tx;

use super::StreamConfig;
use super::assembler::ChunkPool;
use super::event::{EventQueue, StreamEvent, kind};
use super::flow::{RecvWindow, SendCredit};
use super::ranges::RangeSet;
use super::recv::{RecvPart, RecvState};
use super::schedule::{Scheduler, Work};
use super::send::{SendPart, SendState};
use crate::delivery::{Blocked, Latest};
use crate::rng::Rng;
use crate::time::Duration;
use index::Index;
use slab::Slab;
use std::collections::VecDeque;
use tquic_wire::{Direction, Side, StreamId, TransportParameters};

const DIRECTIONS: [Direction; 2] = [Direction::Bidirectional, Direction::Unidirectional];

#[derive(Debug)]
struct Stream {
    id: StreamId,
    send: Option<SendPart>,
    recv: Option<RecvPart>,
    /// Events that wait, see `event::kind`.
    events: u8,
    in_events: bool,
    in_control: bool,
}

/// A stream began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamNote {
    /// By either end.
    Opened(StreamId),
    /// Both ends are done with it.
    Closed {
        /// The stream.
        id: StreamId,
        /// Of whoever reset it; 0 if nobody did.
        error_code: u64,
        /// Bytes of it that were sent, each counted once.
        bytes_sent: u64,
        /// Bytes of it that came, each counted once.
        bytes_received: u64,
    },
}

impl Stream {
    fn closed(&self) -> StreamNote {
        let (send, recv) = (self.send.as_ref(), self.recv.as_ref());
        let codes = [send.and_then(SendPart::reset_code), recv.and_then(RecvPart::reset_code)];
        StreamNote::Closed {
            id: self.id,
            error_code: codes.into_iter().flatten().next().unwrap_or_default(),
            bytes_sent: send.map_or(0, SendPart::sent),
            bytes_received: recv.map_or(0, RecvPart::highest),
        }
    }
}

/// Streams of one kind that we open.
#[derive(Debug, Default)]
struct Local {
    /// How many were opened.
    opened: u64,
    /// How many the peer allows.
    limit: u64,
    blocked: Blocked,
    /// Whether the application was refused one.
    wanted: bool,
}

/// Streams of one kind that the peer opens.
#[derive(Debug)]
struct Remote {
    /// How many were opened; the peer opens lower ones along with a higher one.
    opened: u64,
    /// How many of these the application was told of.
    announced: u64,
    /// Opened along with a higher one but never mentioned: they take no memory yet.
    silent: RangeSet,
    /// How many were closed.
    closed: u64,
    /// How many may be open at a time.
    concurrent: u64,
    /// The limit that the peer knows.
    limit: Latest,
}

impl Remote {
    fn new(concurrent: u64) -> Self {
        Self {
            opened: 0,
            announced: 0,
            silent: RangeSet::default(),
            closed: 0,
            concurrent,
            limit: Latest::known(concurrent),
        }
    }

    /// Raises the limit when enough streams are gone, or at once when the peer has used all. RFC
    /// 9000 section 4.6 leaves the pace to us; section 13.3 asks for few frames.
    fn grant(&mut self, asked: bool) {
        let limit = (self.closed + self.concurrent).min(StreamId::MAX_STREAMS);
        let gain = limit - self.limit.value();
        if asked || gain >= (self.concurrent / 8).max(1) || self.opened >= self.limit.value() {
            self.limit.raise(limit);
        }
    }
}

/// Numbers about a set of streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Streams that take memory.
    pub streams: usize,
    /// Bytes of memory that hold received data, spare buffers not counted.
    pub receive_memory: usize,
    /// Bytes written by the application and not yet acknowledged.
    pub send_buffered: u64,
}

/// All streams of one connection.
#[derive(Debug)]
pub struct StreamSet {
    side: Side,
    config: StreamConfig,
    streams: Slab<Stream>,
    index: Index,
    /// By `Direction as usize`.
    local: [Local; 2],
    /// By `Direction as usize`.
    remote: [Remote; 2],
    /// What the peer allows on a new stream: bidirectional of ours, bidirectional of its own,
    /// unidirectional of ours.
    initial_limits: [u64; 3],
    /// Whether the peer takes RESET_STREAM_AT.
    peer_reset_at: bool,
    scheduler: Scheduler,
    pool: ChunkPool,
    /// Bytes that all streams together have written and that are not acknowledged.
    held: u64,
    /// Whether a stream may wait for a limit before it reads on in a file.
    reads_ahead: bool,
    /// Connection flow control, sending.
    credit: SendCredit,
    blocked: Blocked,
    /// Connection flow control, receiving.
    window: RecvWindow,
    /// Bytes of `window` that the peer has used: the sum of the highest offsets of all streams.
    received: u64,
    /// Streams with control frames to write.
    control: VecDeque<usize>,
    events: EventQueue,
    rtt: Duration,
    /// What was opened and closed, if somebody wants to know.
    notes: Option<Vec<StreamNote>>,
    /// Whether `StreamEvent::FinalSize` is told.
    final_sizes: bool,
}

impl StreamSet {
    /// No streams, and no permission to open any before `set_peer_limits`.
    pub fn new(side: Side, config: &StreamConfig, rng: &mut Rng) -> Self {
        let config = config.clamped();
        Self {
            side,
            streams: Slab::new(),
            index: Index::new(rng),
            local: [Local::default(), Local::default()],
            remote: [Remote::new(config.max_streams_bidi), Remote::new(config.max_streams_uni)],
            initial_limits: [0; 3],
            peer_reset_at: false,
            scheduler: Scheduler::new(config.turn),
            pool: ChunkPool::default(),
            held: 0,
            reads_ahead: false,
            credit: SendCredit::default(),
            blocked: Blocked::default(),
            window: RecvWindow::new(config.connection_window, config.max_connection_window),
            received: 0,
            control: VecDeque::new(),
            events: EventQueue::default(),
            rtt: Duration::ZERO,
            notes: None,
            final_sizes: false,
            config,
        }
    }

    /// Takes over the peer's limits: those remembered for 0-RTT first, the real ones when the
    /// handshake gives them. Limits never fall (RFC 9000 section 7.4.1: the caller has checked
    /// that an accepted 0-RTT lowered none).
    pub fn set_peer_limits(&mut self, params: &TransportParameters) {
        self.initial_limits = [
            params.initial_max_stream_data_bidi_remote,
            params.initial_max_stream_data_bidi_local,
            params.initial_max_stream_data_uni,
        ];
        self.peer_reset_at = params.reset_stream_at;
        self.raise_data_limit(params.initial_max_data);
        for slot in self.slots() {
            let stream = &mut self.streams[slot];
            let limit = initial_limit(self.side, self.initial_limits, stream.id);
            if let Some(send) = &mut stream.send {
                send.raise_limit(limit);
                // A server that has rejected 0-RTT may have forgotten the extension, too.
                if !params.reset_stream_at && send.reduce(0) {
                    self.push_control(slot);
                }
            }
            self.sync(slot);
        }
        self.raise_streams_limit(Direction::Bidirectional, params.initial_max_streams_bidi);
        self.raise_streams_limit(Direction::Unidirectional, params.initial_max_streams_uni);
    }

    /// The server rejected 0-RTT: whatever was sent did not happen, and the remembered limits are
    /// void (RFC 9001 section 4.6.2). All stream data will be sent again under the limits that
    /// `set_peer_limits` brings next.
    pub fn on_zero_rtt_rejected(&mut self) {
        self.credit = SendCredit::default();
        self.blocked.clear();
        self.initial_limits = [0; 3];
        for local in &mut self.local {
            local.limit = 0;
            local.blocked.clear();
        }
        // No limit of ours can have been raised: the server has sent nothing yet.
        for slot in self.slots() {
            let stream = &mut self.streams[slot];
            if let Some(send) = &mut stream.send {
                send.restart();
            }
            if let Some(recv) = &mut stream.recv {
                recv.stop.on_lost();
            }
            self.sync(slot);
            self.push_control(slot);
        }
    }

    /// The connection's smoothed round-trip time, which tunes receive windows.
    pub fn on_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    /// Whether `take_notes` is going to be called, at least once for each batch of packets.
    pub fn note_changes(&mut self, wanted: bool) {
        match wanted {
            true => drop(self.notes.get_or_insert_default()),
            false => self.notes = None,
        }
    }

    /// Has `StreamEvent::FinalSize` told from now on: for who shares out credit among streams.
    pub fn tell_final_sizes(&mut self) {
        self.final_sizes = true;
    }

    /// Streams opened and closed since the last time.
    pub fn take_notes(&mut self) -> Vec<StreamNote> {
        self.notes.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// Numbers about the set; looks at every stream.
    pub fn stats(&self) -> StreamStats {
        let mut stats = StreamStats { streams: self.streams.len(), ..StreamStats::default() };
        for (_, stream) in &self.streams {
            stats.receive_memory += stream.recv.as_ref().map_or(0, RecvPart::allocated);
            stats.send_buffered += stream.send.as_ref().map_or(0, SendPart::buffered);
        }
        stats
    }

    /// Lets go of spare buffers; for connections that have become idle.
    pub fn trim(&mut self) {
        self.pool.clear();
    }

    /// Whether no stream takes memory.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// State of the sending part; `None` without such a part or stream.
    pub fn send_state(&self, id: StreamId) -> Option<SendState> {
        self.streams.get(self.index.get(id)?)?.send.as_ref().map(SendPart::state)
    }

    /// State of the receiving part; `None` without such a part or stream.
    pub fn recv_state(&self, id: StreamId) -> Option<RecvState> {
        self.streams.get(self.index.get(id)?)?.recv.as_ref().map(RecvPart::state)
    }

    /// The next thing to tell the application.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        for dir in DIRECTIONS {
            let remote = &mut self.remote[dir as usize];
            if remote.announced < remote.opened {
                let id = StreamId::new(self.side.opposite(), dir, remote.announced);
                remote.announced += 1;
                return Some(StreamEvent::Opened { id });
            }
            if core::mem::take(&mut self.events.available[dir as usize]) {
                return Some(StreamEvent::StreamsAvailable { dir });
            }
        }
        while let Some(&slot) = self.events.slots.front() {
            if let Some(event) = self.take_event(slot) {
                return Some(event);
            }
            self.events.slots.pop_front();
            self.streams[slot].in_events = false;
            self.release(slot);
        }
        None
    }

    fn take_event(&mut self, slot: usize) -> Option<StreamEvent> {
        let stream = &mut self.streams[slot];
        let id = stream.id;
        loop {
            let bit = stream.events & stream.events.wrapping_neg();
            stream.events &= !bit;
            let event = match bit {
                0 => return None,
                kind::READABLE => Some(StreamEvent::Readable { id }),
                kind::WRITABLE => Some(StreamEvent::Writable { id }),
                kind::FINISHED => Some(StreamEvent::Finished { id }),
                kind::STOPPED => stream
                    .send
                    .as_ref()
                    .and_then(SendPart::stopped)
                    .map(|code| StreamEvent::Stopped { id, code }),
                kind::RESET => stream
                    .recv
                    .as_ref()
                    .and_then(RecvPart::unread_reset)
                    .map(|code| StreamEvent::Reset { id, code }),
                kind::FINAL_SENT => stream
                    .send
                    .as_ref()
                    .and_then(SendPart::final_size)
                    .map(|size| StreamEvent::FinalSize { id, outgoing: true, size }),
                _ => stream
                    .recv
                    .as_ref()
                    .and_then(RecvPart::final_size)
                    .map(|size| StreamEvent::FinalSize { id, outgoing: false, size }),
            };
            if event.is_some() {
                return event;
            }
        }
    }

    fn push_event(&mut self, slot: usize, kind: u8) {
        let stream = &mut self.streams[slot];
        stream.events |= kind;
        if !stream.in_events {
            stream.in_events = true;
            self.events.slots.push_back(slot);
        }
    }

    /// One direction was given up, and its size is known.
    fn push_final_size(&mut self, slot: usize, kind: u8) {
        if self.final_sizes {
            self.push_event(slot, kind);
        }
    }

    fn push_control(&mut self, slot: usize) {
        let stream = &mut self.streams[slot];
        if !stream.in_control {
            stream.in_control = true;
            self.control.push_back(slot);
        }
    }

    fn slots(&self) -> Vec<usize> {
        self.streams.iter().map(|(slot, _)| slot).collect()
    }

    /// Makes a stream.
    fn create(&mut self, id: StreamId) -> usize {
        let ours = id.initiator() == self.side;
        let both = id.direction() == Direction::Bidirectional;
        let limit = initial_limit(self.side, self.initial_limits, id);
        let window = RecvWindow::new(self.config.stream_window, self.config.max_stream_window);
        let slot = self.streams.insert(Stream {
            id,
            send: (both || ours).then(|| SendPart::new(limit)),
            recv: (both || !ours).then(|| RecvPart::new(window)),
            events: 0,
            in_events: false,
            in_control: false,
        });
        self.index.insert(id, slot);
        self.scheduler.register(slot, id.0, self.config.priority);
        if let Some(notes) = &mut self.notes {
            notes.push(StreamNote::Opened(id));
        }
        slot
    }

    /// The stream of that ID, made now if the peer opened it along with a higher one.
    fn find(&mut self, id: StreamId) -> Option<usize> {
        if let Some(slot) = self.index.get(id) {
            return Some(slot);
        }
        if id.initiator() == self.side {
            return None;
        }
        let silent = &mut self.remote[id.direction() as usize].silent;
        if !silent.contains(id.index()) {
            return None;
        }
        silent.remove(id.index()..id.index() + 1);
        Some(self.create(id))
    }

    /// Whether the peer allows the stream to be mentioned: always, but for streams that a rejected
    /// 0-RTT left beyond the new limit.
    fn is_permitted(&self, id: StreamId) -> bool {
        id.initiator() != self.side || id.index() < self.local[id.direction() as usize].limit
    }

    /// Puts the stream into the lists where it belongs after its sending part has changed.
    fn sync(&mut self, slot: usize) {
        let id = self.streams[slot].id;
        let permitted = self.is_permitted(id);
        let Some(send) = &mut self.streams[slot].send else { return };
        count(&mut self.held, send);
        let (owed, fresh) = (send.has_owed(), send.has_fresh());
        let blocked = !fresh && send.note_blocked();
        self.scheduler.set(slot, Work::Owed, permitted && owed);
        self.scheduler.set(slot, Work::Fresh, permitted && fresh);
        if blocked {
            self.push_control(slot);
        }
        self.note_blocked();
    }

    /// Tells a stream that reads ahead of a file that more can be sent.
    fn tell_room(&mut self, slot: usize) {
        if self.streams[slot].send.as_mut().is_some_and(SendPart::take_room) {
            self.push_event(slot, kind::WRITABLE);
        }
    }

    /// Takes note of it if the connection's limit keeps new bytes back.
    fn note_blocked(&mut self) {
        if self.credit.left() == 0 && self.scheduler.has(Work::Fresh) {
            self.blocked.at(self.credit.limit());
        }
    }

    /// Lets the stream go if both sides are done with it and nothing waits in a queue. Only then
    /// may the peer open another: one that opens and resets streams at line rate (HTTP/2's "rapid
    /// reset") gets no new ones before the application has ended its work on the old.
    fn release(&mut self, slot: usize) {
        let stream = &self.streams[slot];
        let open = stream.in_events
            || stream.in_control
            || stream.send.as_ref().is_some_and(|s| !(s.done && s.state().is_terminal()))
            || stream.recv.as_ref().is_some_and(|r| !r.is_done());
        if open {
            return;
        }
        let id = stream.id;
        self.scheduler.forget(slot);
        self.index.remove(id);
        let stream = self.streams.remove(slot);
        self.held -= stream.send.as_ref().map_or(0, |send| send.counted);
        if let Some(notes) = &mut self.notes {
            notes.push(stream.closed());
        }
        if stream.recv.as_ref().is_some_and(RecvPart::is_large) {
            // A transfer has ended. The next allocates again; an idle connection holds nothing.
            self.pool.clear();
        }
        if self.streams.is_empty() {
            self.shrink();
        }
        if id.initiator() != self.side {
            let remote = &mut self.remote[id.direction() as usize];
            remote.closed += 1;
            remote.grant(false);
        }
    }

    /// Gives back the memory of a time with many streams.
    fn shrink(&mut self) {
        const KEPT: usize = 64;
        if self.streams.capacity() > KEPT {
            self.streams = Slab::new();
            self.scheduler.shrink();
            self.index.shrink();
            self.control = VecDeque::new();
            self.events.slots = VecDeque::new();
        }
    }

    fn raise_data_limit(&mut self, limit: u64) {
        if limit > self.credit.limit() {
            self.credit.raise(limit);
            self.blocked.clear();
            self.note_blocked();
            if core::mem::take(&mut self.reads_ahead) {
                for slot in self.slots() {
                    self.tell_room(slot);
                }
            }
        }
    }

    /// RFC 9000 section 4.6: only a larger limit counts.
    fn raise_streams_limit(&mut self, dir: Direction, limit: u64) {
        let local = &mut self.local[dir as usize];
        if limit <= local.limit {
            return;
        }
        let held = local.limit.min(local.opened)..local.opened.min(limit);
        local.limit = limit;
        local.blocked.clear();
        if core::mem::take(&mut local.wanted) {
            self.events.available[dir as usize] = true;
        }
        // Only after a rejected 0-RTT are there streams that waited for this.
        for index in held {
            if let Some(slot) = self.index.get(StreamId::new(self.side, dir, index)) {
                self.sync(slot);
                self.push_control(slot);
            }
        }
    }
}

/// Brings the sum of what is held up to date with one stream.
fn count(held: &mut u64, send: &mut SendPart) {
    let buffered = send.buffered();
    *held = *held - send.counted + buffered;
    send.counted = buffered;
}

/// The peer's initial limit for data that we send (RFC 9000 section 18.2: "local" and "remote" are
/// as the peer sees them).
fn initial_limit(side: Side, limits: [u64; 3], id: StreamId) -> u64 {
    let [ours_bidi, peers_bidi, ours_uni] = limits;
    match (id.initiator() == side, id.direction()) {
        (true, Direction::Bidirectional) => ours_bidi,
        (true, Direction::Unidirectional) => ours_uni,
        (false, Direction::Bidirectional) => peers_bidi,
        (false, Direction::Unidirectional) => 0,
    }
}

#[cfg(test)]
mod tests;
