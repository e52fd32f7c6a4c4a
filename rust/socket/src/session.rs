//! A connection as a socket sees it: one queue of what came, streams by their numbers.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use tquic_core::events::{ConnectionError, PathChange};
use tquic_core::stream::Priority;
use tquic_engine::bridge::{BridgeConnection, BridgeError, ConnectedInfo, EventKind};
use tquic_wire::{Direction, StreamId};

use crate::abi::*;
use crate::errno::{Errno, Failure};

/// Streams that one call may open at most, those before the one that it names included.
const MAX_OPENED: u64 = 256;

/// Messages that wait to be read, and paths that are remembered, at most. Bytes of streams and
/// datagrams have bounds of their own, but ends and resets have none.
const MAX_WAITING: usize = if cfg!(test) { 1000 } else { 65_536 };
const MAX_PATHS: usize = 64;

/// A message to send.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// The stream; without, the one that was used last, or this end's first.
    pub stream: Option<u64>,
    /// The data.
    pub data: Bytes,
    /// Whether the stream ends behind it.
    pub fin: bool,
    /// Whether it is an unreliable datagram.
    pub datagram: bool,
    /// Gives the stream up with this code instead of sending.
    pub reset: Option<u64>,
    /// The urgency of the stream from now on, 0 to 7.
    pub priority: Option<u8>,
    /// Whether the buffer is lent until a notification, if the option ZEROCOPY is on.
    pub zerocopy: bool,
}

/// A message that came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The data, in pieces.
    pub data: Vec<Bytes>,
    /// What it belongs to. `None`: the connection has ended in good order.
    pub info: Option<StreamInfo>,
    /// With which code the peer gave the stream up.
    pub reset: Option<u64>,
    /// Bytes of a datagram that did not fit, and are lost.
    pub truncated: usize,
}

impl Received {
    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.data.iter().map(Bytes::len).sum()
    }

    /// Whether there is no data.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

enum Item {
    Data { stream: StreamId, data: Bytes, fin: bool },
    Reset { stream: StreamId, code: u64 },
    Datagram(Bytes),
}

/// A stream that is not over.
struct Stream {
    /// Opened by the peer, and the program was not told yet.
    fresh: bool,
    sends: bool,
    reads: bool,
}

/// See the module.
pub(crate) struct Session {
    pub connection: BridgeConnection,
    pub remote: SocketAddr,
    pub info: Option<Box<ConnectedInfo>>,
    pub error: Option<ConnectionError>,
    /// How paths that were opened here fared.
    pub paths: HashMap<u32, PathChange>,
    /// How often there was reason to try again to open one.
    pub path_hopes: u64,
    incoming: VecDeque<Item>,
    streams: HashMap<StreamId, Stream>,
    /// Streams opened here so far, by direction.
    opened: [u64; 2],
    /// Bidirectional streams that the peer has opened so far.
    peer_opened: u64,
    current: Option<StreamId>,
    /// A message was refused for want of room, and none was announced since.
    blocked: bool,
    reading_over: bool,
    writing_over: bool,
    /// Streams whose end the peer has not acknowledged: what closing waits for.
    unfinished: HashSet<StreamId>,
}

impl Session {
    pub fn new(connection: BridgeConnection, remote: SocketAddr) -> Self {
        Self {
            connection,
            remote,
            info: None,
            error: None,
            paths: HashMap::new(),
            path_hopes: 0,
            incoming: VecDeque::new(),
            streams: HashMap::new(),
            opened: [0; 2],
            peer_opened: 0,
            current: None,
            blocked: false,
            reading_over: false,
            writing_over: false,
            unfinished: HashSet::new(),
        }
    }

    /// Whether `recv` has something to say.
    pub fn is_readable(&self) -> bool {
        !self.incoming.is_empty() || self.error.is_some() || self.reading_over
    }

    /// Whether `send` may have something to say.
    pub fn is_writable(&self) -> bool {
        self.error.is_some() || self.writing_over || (self.info.is_some() && !self.blocked)
    }

    pub fn on_event(&mut self, event: EventKind) {
        match event {
            EventKind::Connected(info) => self.info = Some(info),
            EventKind::StreamOpened { stream } => {
                let sends = stream.direction() == Direction::Bidirectional;
                if sends {
                    self.peer_opened = self.peer_opened.max(stream.index() + 1);
                }
                self.streams.insert(stream, Stream { fresh: true, sends, reads: true });
            }
            EventKind::Data { stream, data, fin } if self.reading_over => {
                self.drop_unread(Item::Data { stream, data, fin });
            }
            EventKind::Data { stream, data, fin } => {
                self.incoming.push_back(Item::Data { stream, data, fin });
            }
            EventKind::Reset { stream, code, .. } => {
                self.incoming.push_back(Item::Reset { stream, code });
            }
            EventKind::Stopped { stream, .. } | EventKind::Finished { stream } => {
                self.unfinished.remove(&stream);
                self.end(stream, |stream| stream.sends = false);
                self.blocked = false;
            }
            EventKind::Writable { .. } | EventKind::DatagramsWritable => self.blocked = false,
            EventKind::Datagram(data) => self.incoming.push_back(Item::Datagram(data)),
            EventKind::Closed(error) => {
                self.unfinished.clear();
                self.error = Some(error);
            }
            EventKind::Path { id, change } => {
                if self.paths.len() >= MAX_PATHS {
                    self.paths.retain(|_, old| !matches!(old, PathChange::Abandoned { .. }));
                }
                self.paths.insert(id, change);
            }
            EventKind::PathsAvailable => self.path_hopes += 1,
            _ => {}
        }
        if self.incoming.len() > MAX_WAITING {
            // Over already is as good.
            let _ = self.connection.close(1, b"too many messages wait to be read");
        }
    }

    fn end(&mut self, id: StreamId, how: impl FnOnce(&mut Stream)) {
        if let Some(stream) = self.streams.get_mut(&id) {
            how(stream);
            if !stream.sends && !stream.reads {
                self.streams.remove(&id);
            }
        }
    }

    // ---- Receiving ----

    /// The next message, of at most `room` bytes; with `peek` it stays.
    pub fn recv(&mut self, room: usize, peek: bool) -> Result<Received, Failure> {
        let Some(first) = self.incoming.front() else { return self.recv_nothing() };
        let (stream, kind) = match first {
            Item::Datagram(_) => return Ok(self.recv_datagram(room, peek)),
            Item::Reset { stream, code } => (*stream, Some(*code)),
            Item::Data { stream, .. } => (*stream, None),
        };
        let mut received = Received::default();
        let mut flags = self.flags(stream, peek);
        self.current = Some(stream);
        if let Some(code) = kind {
            flags |= TQUIC_STREAM_FLAG_RESET;
            received.reset = Some(code);
            if !peek {
                self.incoming.pop_front();
                self.end(stream, |stream| stream.reads = false);
            }
        } else if self.take(stream, room, peek, &mut received.data) {
            flags |= TQUIC_STREAM_FLAG_FIN;
        }
        received.info = Some(StreamInfo { stream_id: stream.0, flags });
        Ok(received)
    }

    fn recv_nothing(&self) -> Result<Received, Failure> {
        match &self.error {
            _ if self.reading_over => Ok(Received::default()),
            Some(error) if error.is_clean() => Ok(Received::default()),
            Some(error) => Err(Failure::of_end(error)),
            None => Err(Failure::again()),
        }
    }

    fn recv_datagram(&mut self, room: usize, peek: bool) -> Received {
        let Some(Item::Datagram(data)) = self.incoming.front() else { return Received::default() };
        let fits = data.slice(..data.len().min(room));
        let size = data.len();
        if !peek {
            self.incoming.pop_front();
            self.connection.consumed_datagrams(1, size);
        }
        Received {
            truncated: size - fits.len(),
            data: vec![fits],
            info: Some(StreamInfo { stream_id: 0, flags: TQUIC_STREAM_FLAG_DATAGRAM }),
            reset: None,
        }
    }

    fn flags(&mut self, id: StreamId, peek: bool) -> u32 {
        let mut flags = 0;
        if id.direction() == Direction::Unidirectional {
            flags |= TQUIC_STREAM_FLAG_UNI;
        }
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.fresh
        {
            flags |= TQUIC_STREAM_FLAG_NEW;
            stream.fresh = peek;
        }
        flags
    }

    /// Takes up to `room` bytes of the stream from the front of the queue; whether its end came, too.
    fn take(&mut self, id: StreamId, room: usize, peek: bool, out: &mut Vec<Bytes>) -> bool {
        let (mut left, mut ended, mut at) = (room, false, 0);
        while let Some(Item::Data { stream, data, fin }) = self.incoming.get_mut(at)
            && *stream == id
            && (left > 0 || data.is_empty())
        {
            let whole = data.len() <= left;
            let piece = if whole { data.clone() } else { data.slice(..left) };
            left -= piece.len();
            ended = whole && *fin;
            if !whole {
                if !peek {
                    *data = data.slice(piece.len()..);
                }
                out.push(piece);
                break;
            }
            out.push(piece);
            match peek {
                true => at += 1,
                false => drop(self.incoming.pop_front()),
            }
            if ended {
                break;
            }
        }
        if !peek {
            self.connection.consumed(id, (room - left) as u64);
            if ended {
                self.end(id, |stream| stream.reads = false);
            }
        }
        ended
    }

    /// Ends reading: what is there is dropped, and the peer is asked to stop.
    pub fn shut_reading(&mut self) {
        self.reading_over = true;
        while let Some(item) = self.incoming.pop_front() {
            self.drop_unread(item);
        }
        let open: Vec<_> =
            self.streams.iter().filter(|(_, s)| s.reads).map(|(id, _)| *id).collect();
        for id in open {
            // If it is over already, so much the better.
            let _ = self.connection.stop(id, 0);
            self.end(id, |stream| stream.reads = false);
        }
    }

    fn drop_unread(&mut self, item: Item) {
        match item {
            Item::Data { stream, data, fin } => {
                self.connection.consumed(stream, data.len() as u64);
                if fin {
                    self.end(stream, |stream| stream.reads = false);
                } else {
                    let _ = self.connection.stop(stream, 0);
                }
            }
            Item::Reset { stream, .. } => self.end(stream, |stream| stream.reads = false),
            Item::Datagram(data) => self.connection.consumed_datagrams(1, data.len()),
        }
    }

    // ---- Sending ----

    /// Sends a message, or its beginning: answers how many bytes were taken.
    pub fn send(&mut self, message: Outgoing) -> Result<usize, Failure> {
        match &self.error {
            Some(error) if error.is_clean() => {
                return Err(Failure::new(Errno::PIPE, "the connection has ended"));
            }
            Some(error) => return Err(Failure::of_end(error)),
            None if self.info.is_none() => return Err(Failure::again()),
            None if self.writing_over => {
                return Err(Failure::new(Errno::PIPE, "sending was shut down"));
            }
            None => {}
        }
        if message.datagram {
            if self.connection.max_datagram() == 0 {
                return Err(BridgeError::DatagramTooLarge { max: 0 }.into());
            }
            let size = message.data.len();
            let taken = self.connection.send_datagram(message.data)?;
            self.blocked = !taken;
            return if taken { Ok(size) } else { Err(Failure::again()) };
        }
        let stream = self.stream_to_send(message.stream)?;
        self.current = Some(stream);
        if let Some(urgency) = message.priority {
            let priority = Priority { urgency: urgency.min(7), incremental: false };
            self.connection.set_priority(stream, priority)?;
        }
        if let Some(code) = message.reset {
            self.connection.reset(stream, code)?;
            self.unfinished.remove(&stream);
            self.end(stream, |stream| stream.sends = false);
            return Ok(0);
        }
        self.write(stream, message.data, message.fin)
    }

    fn write(&mut self, stream: StreamId, data: Bytes, fin: bool) -> Result<usize, Failure> {
        let size = data.len();
        if size == 0 {
            if fin {
                self.connection.finish(stream)?;
            }
            return Ok(0);
        }
        let taken = match fin {
            true => self.connection.write_last(stream, data),
            false => self.connection.write(stream, data),
        };
        match taken {
            Ok(0) => {
                self.blocked = true;
                Err(Failure::again())
            }
            // Only for as long as it takes the connection's thread to look; nothing tells when.
            Err(BridgeError::Busy) => Err(Failure::again()),
            Ok(taken) => {
                self.blocked = taken < size;
                Ok(taken)
            }
            Err(why) => Err(why.into()),
        }
    }

    fn stream_to_send(&mut self, wanted: Option<u64>) -> Result<StreamId, Failure> {
        let side = self.connection.side();
        let first = StreamId::new(side, Direction::Bidirectional, 0);
        // Where the last message came on a stream that only the peer sends on, ours goes elsewhere.
        let current = self
            .current
            .filter(|id| id.direction() == Direction::Bidirectional || id.initiator() == side);
        let id = wanted.map(StreamId).or(current).unwrap_or(first);
        if id.initiator() == side {
            self.open_up_to(id)?;
        } else if id.direction() == Direction::Unidirectional {
            let why = format!("only the peer sends on stream {id}");
            return Err(Failure::new(Errno::INVALID, why));
        }
        match self.streams.get(&id) {
            Some(stream) if stream.sends => Ok(id),
            Some(_) => Err(Failure::new(Errno::PIPE, format!("stream {id} takes no more data"))),
            None if id.initiator() == side || id.index() < self.peer_opened => {
                Err(Failure::new(Errno::PIPE, format!("stream {id} is over")))
            }
            None => {
                Err(Failure::new(Errno::INVALID, format!("the peer has not opened stream {id}")))
            }
        }
    }

    /// Opens a stream of this end, and those of its kind before it (RFC 9000 section 3.2: they are
    /// open then, too).
    fn open_up_to(&mut self, id: StreamId) -> Result<(), Failure> {
        let kind = id.direction() as usize;
        if id.index() >= self.opened[kind] + MAX_OPENED {
            let why = format!("stream {id} is more than {MAX_OPENED} streams ahead");
            return Err(Failure::new(Errno::INVALID, why));
        }
        while self.opened[kind] <= id.index() {
            let opened = self.connection.open(id.direction())?;
            self.opened[kind] += 1;
            let reads = opened.direction() == Direction::Bidirectional;
            self.streams.insert(opened, Stream { fresh: false, sends: true, reads });
            self.unfinished.insert(opened);
        }
        Ok(())
    }

    /// TQUIC_SOCKOPT_STREAM_OPEN: opens the stream that is named.
    pub fn open(&mut self, info: StreamInfo) -> Result<(), Failure> {
        let id = StreamId(info.stream_id);
        let unidirectional = info.flags & TQUIC_STREAM_FLAG_UNI != 0;
        if unidirectional && id.direction() == Direction::Bidirectional {
            let why = format!("{id} is the ID of a bidirectional stream");
            return Err(Failure::new(Errno::INVALID, why));
        }
        if id.initiator() != self.connection.side() {
            return Err(Failure::new(Errno::INVALID, format!("{id} is the peer's to open")));
        }
        if id.index() < self.opened[id.direction() as usize] {
            return Err(Failure::new(Errno::ALREADY, format!("stream {id} was opened before")));
        }
        self.check_up()?;
        self.open_up_to(id)?;
        self.current = Some(id);
        Ok(())
    }

    /// The same, read: opens the next stream of a kind and tells its ID.
    pub fn open_next(&mut self, flags: u32) -> Result<StreamInfo, Failure> {
        self.check_up()?;
        let direction = match flags & TQUIC_STREAM_FLAG_UNI {
            0 => Direction::Bidirectional,
            _ => Direction::Unidirectional,
        };
        let index = self.opened[direction as usize];
        let id = StreamId::new(self.connection.side(), direction, index);
        self.open_up_to(id)?;
        self.current = Some(id);
        Ok(StreamInfo { stream_id: id.0, flags: flags & TQUIC_STREAM_FLAG_UNI })
    }

    /// Fails unless the connection is up.
    pub fn check_up(&self) -> Result<(), Failure> {
        match &self.error {
            Some(error) => Err(Failure::of_end(error)),
            None if self.info.is_none() => Err(not_connected()),
            None => Ok(()),
        }
    }

    /// Ends sending: every stream ends behind what was written to it.
    pub fn shut_writing(&mut self) {
        self.writing_over = true;
        // Of the peer's streams, too: it may wait for their end.
        let open = self.streams.iter().filter(|(_, s)| s.sends).map(|(id, _)| *id);
        for id in open.collect::<Vec<_>>() {
            if self.connection.finish(id).is_ok() {
                self.unfinished.insert(id);
            }
        }
    }

    /// Whether the peer has everything that was sent.
    pub fn is_flushed(&self) -> bool {
        self.unfinished.is_empty()
    }

    /// The addresses, as far as they are known.
    pub fn local(&self) -> Option<SocketAddr> {
        self.info.as_ref().and_then(|info| info.addresses).map(|addresses| addresses.local)
    }
}

pub(crate) fn not_connected() -> Failure {
    Failure::new(Errno::NOT_CONNECTED, "the socket is not connected")
}
