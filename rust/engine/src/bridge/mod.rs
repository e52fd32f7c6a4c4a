//! The bridge: an application that does what another language says, and tells it what happens.
//!
//! Commands of a connection go through its own mailbox, events of all connections through one queue
//! with a descriptor to poll. Everything that crosses is bounded: what a stream sends by its send
//! buffer, what it receives by what was said to be consumed, datagrams and events likewise.

mod app;
mod desk;
mod entry;
mod event;
mod gate;
mod mailbox;
pub(crate) mod notify;
mod queue;
mod streams;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use tquic_core::cc::{AckBatch, Congestion, Decision};
use tquic_core::config::TransportConfig;
use tquic_core::events::ConnectionError;
use tquic_core::stream::Priority;
use tquic_wire::{Direction, Side, StreamId};

use crate::application::Application;
use crate::config::{Accepted, Acceptor, ConnectRequest};
use crate::engine::{Engine, EngineError, Prepared};
use crate::key::ConnectionKey;
use crate::pump::{Frames, Sink, Source};
use crate::shard::clock;
use app::{Announcement, BridgeApp};
use mailbox::{Attachment, Bounds, BridgeCommand, Calls, Mailbox};
use queue::EventQueue;

pub use entry::Entry;
pub use event::{BridgeEvent, CloseFields, ConnectedInfo, EventKind};
pub use gate::Gate;

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeError {
    /// The connection is over, and why; its last event may not have been taken yet.
    Closed(Arc<ConnectionError>),
    /// No such stream: never opened, or over on both sides.
    UnknownStream,
    /// The stream was finished, reset, stopped by the peer, or is fed by a source.
    Ended,
    /// The stream does not go this way.
    WrongDirection,
    /// Too many commands, or streams to be opened, wait.
    Busy,
    /// More than one packet carries, or more than the peer takes.
    DatagramTooLarge {
        /// The most now; 0 if the peer takes none, or before the handshake is complete.
        max: usize,
    },
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(why) => why.fmt(f),
            Self::UnknownStream => f.write_str("no such stream"),
            Self::Ended => f.write_str("the stream takes no more data"),
            Self::WrongDirection => f.write_str("the stream does not go this way"),
            Self::Busy => f.write_str("too much waits to be done on this connection"),
            Self::DatagramTooLarge { max: 0 } => {
                f.write_str("the peer does not accept datagrams (yet)")
            }
            Self::DatagramTooLarge { max } => {
                write!(f, "a datagram can have {max} bytes at most")
            }
        }
    }
}

impl std::error::Error for BridgeError {}

/// What streams are answered while a gate is shut.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// When.
    pub gate: Arc<Gate>,
    /// What is sent, the end behind it.
    pub answer: Bytes,
    /// Error code with which the rest of what the client sends is stopped.
    pub code: u64,
}

/// The end of the bridge that belongs to the other language: all its connections' events.
pub struct Bridge {
    queue: Arc<EventQueue>,
    calls: Arc<Calls>,
}

impl Bridge {
    /// A bridge without connections.
    pub fn new() -> io::Result<Self> {
        Ok(Self { queue: Arc::new(EventQueue::new()?), calls: Arc::default() })
    }

    /// Begins a connection. It tells `Connected` or `Closed`; streams can be opened and written at
    /// once, for 0-RTT.
    pub fn connect(
        &self,
        engine: &Engine,
        request: ConnectRequest,
    ) -> Result<BridgeConnection, EngineError> {
        let (connection, prepared) = self.prepare(engine, request)?;
        prepared.begin()?;
        Ok(connection)
    }

    /// The same for a connection that begins later: what is written before goes out with its first
    /// packets, as 0-RTT if a ticket allows it.
    pub fn prepare(
        &self,
        engine: &Engine,
        request: ConnectRequest,
    ) -> Result<(BridgeConnection, Prepared), EngineError> {
        let bounds = Bounds::of(&request.transport);
        let mut connection = None;
        let prepared = engine.prepare(request, |key, inbox| {
            let (inbox, calls) = (inbox.clone(), self.calls.clone());
            let mailbox = Arc::new(Mailbox::new(key, Side::Client, inbox, bounds, calls));
            connection = Some(BridgeConnection { mailbox: mailbox.clone() });
            Box::new(BridgeApp::new(mailbox, self.queue.clone(), None, None))
        })?;
        Ok((connection.ok_or(EngineError::Ended)?, prepared))
    }

    /// For [`Engine::listen`]: connections come as `Accepted` events. `transport` are the
    /// listener's settings; `refusal` is for the bidirectional streams that clients open while its
    /// gate is shut, if they are not to wait.
    pub fn acceptor(&self, transport: &TransportConfig, refusal: Option<Refusal>) -> Acceptor {
        self.entry(transport, refusal).0
    }

    /// The same, with the way to hear of the listener's end.
    pub fn entry(
        &self,
        transport: &TransportConfig,
        refusal: Option<Refusal>,
    ) -> (Acceptor, Entry) {
        let bounds = Bounds::of(transport);
        let (queue, calls) = (self.queue.clone(), self.calls.clone());
        let (entry, threshold) = Entry::new(queue.clone());
        let acceptor = move |accepted: &Accepted| -> Box<dyn Application> {
            let (key, inbox, calls) = (accepted.key, accepted.inbox.clone(), calls.clone());
            let mailbox = Arc::new(Mailbox::new(key, Side::Server, inbox, bounds, calls));
            let connection = BridgeConnection { mailbox: mailbox.clone() };
            let (listener, remote) = (accepted.listener, accepted.remote);
            let event = EventKind::Accepted { connection, listener, remote };
            let announcement = Some(Announcement { event, _threshold: threshold.clone() });
            Box::new(BridgeApp::new(mailbox, queue.clone(), announcement, refusal.clone()))
        };
        (Arc::new(acceptor), entry)
    }

    /// Takes up to `max` events, the oldest first.
    pub fn poll_events(&self, max: usize) -> Vec<BridgeEvent> {
        self.queue.poll(max, clock())
    }

    /// A gate for [`ListenRequest::gate`](crate::ListenRequest::gate) and [`Refusal`]: shut while
    /// events have been waiting for about `limit`, and have been for a while.
    pub fn gate(&self, limit: Duration) -> Arc<Gate> {
        self.queue.gate(limit)
    }

    /// Holds calls to the shards back until `release`: commands given meanwhile go in one batch.
    /// Those that close a connection, and more than about a hundred, do not wait.
    pub fn hold(&self) {
        self.calls.hold();
    }

    /// See [`hold`](Self::hold).
    pub fn release(&self) {
        self.calls.release();
    }

    /// Waits for events: false if `timeout` passed without any.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.queue.wait(timeout)
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Bridge {
    /// Readable while events wait. Only to be polled: `poll_events` clears it.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.queue.notifier().fd()
    }
}

/// A bridged connection. Methods return at once; what they begin happens in the connection's thread.
#[derive(Clone)]
pub struct BridgeConnection {
    mailbox: Arc<Mailbox>,
}

impl fmt::Debug for BridgeConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BridgeConnection").field(&self.key()).finish()
    }
}

impl BridgeConnection {
    /// Its name, as in events and for [`Engine`].
    pub fn key(&self) -> ConnectionKey {
        self.mailbox.key()
    }

    /// Which end this is.
    pub fn side(&self) -> Side {
        self.mailbox.side()
    }

    /// Opens a stream. It can be written at once, and the peer hears of it no earlier than that.
    pub fn open(&self, direction: Direction) -> Result<StreamId, BridgeError> {
        self.mailbox.open(direction)
    }

    /// Writes bytes, as many as the stream's send buffer takes: answers how many. If not all, a
    /// `Writable` event tells when half of the buffer is free.
    pub fn write(&self, stream: StreamId, data: Bytes) -> Result<usize, BridgeError> {
        self.check_sends(stream)?;
        self.mailbox.write(stream, data, false)
    }

    /// The same; if all was accepted, the stream ends there, as with `finish`.
    pub fn write_last(&self, stream: StreamId, data: Bytes) -> Result<usize, BridgeError> {
        self.check_sends(stream)?;
        self.mailbox.write(stream, data, true)
    }

    /// Bytes written and not yet acknowledged by the peer.
    pub fn buffered(&self, stream: StreamId) -> u64 {
        self.mailbox.buffered(stream)
    }

    /// Bytes that the stream takes now: what `write` would accept.
    pub fn room(&self, stream: StreamId) -> u64 {
        self.mailbox.room(stream)
    }

    /// Asks for one `Writable` event when no more than `bytes` are unacknowledged. True, and no
    /// event, if that is so already.
    pub fn notify_below(&self, stream: StreamId, bytes: u64) -> Result<bool, BridgeError> {
        self.mailbox.notify_below(stream, bytes)
    }

    /// Ends the stream behind what was written. `Finished` tells that the peer has everything.
    pub fn finish(&self, stream: StreamId) -> Result<(), BridgeError> {
        self.check_sends(stream)?;
        self.mailbox.push_stream(stream, BridgeCommand::Finish(stream), true)
    }

    /// Gives up sending.
    pub fn reset(&self, stream: StreamId, code: u64) -> Result<(), BridgeError> {
        self.reset_at(stream, code, 0)
    }

    /// Whether the peer knows RESET_STREAM_AT, as far as that is known.
    pub fn can_reset_at(&self) -> bool {
        self.mailbox.can_reset_at.load(SeqCst)
    }

    /// Gives up sending, but delivers the first `reliable_size` bytes, which must have been accepted
    /// by `write`; nothing if the peer does not know RESET_STREAM_AT.
    pub fn reset_at(
        &self,
        stream: StreamId,
        code: u64,
        reliable_size: u64,
    ) -> Result<(), BridgeError> {
        self.check_sends(stream)?;
        let command = BridgeCommand::Reset(stream, code, reliable_size);
        self.mailbox.push_stream(stream, command, true)
    }

    /// Gives up reading: no more `Data` after what is in the queue already.
    pub fn stop(&self, stream: StreamId, code: u64) -> Result<(), BridgeError> {
        self.check_receives(stream)?;
        self.mailbox.push_stream(stream, BridgeCommand::Stop(stream, code), false)
    }

    /// Changes when the stream is served in relation to others.
    pub fn set_priority(&self, stream: StreamId, priority: Priority) -> Result<(), BridgeError> {
        self.check_sends(stream)?;
        self.mailbox.push_stream(stream, BridgeCommand::Priority(stream, priority), false)
    }

    /// `bytes` that came in `Data` events have been used: others may cross.
    pub fn consumed(&self, stream: StreamId, bytes: u64) {
        self.mailbox.consumed(stream, bytes);
    }

    /// Fills the stream from a source in the connection's thread, behind what was written; then
    /// finishes it, if `finish`. `Pumped` tells the end; until then nothing can be written.
    pub fn attach_source(
        &self,
        stream: StreamId,
        source: Source,
        finish: bool,
    ) -> Result<(), BridgeError> {
        self.check_sends(stream)?;
        let attachment = Attachment::Source(source, finish);
        self.mailbox.push_stream(stream, BridgeCommand::Attach(stream, attachment), true)
    }

    /// Empties the stream into a sink in the connection's thread, behind what has crossed already.
    /// `Pumped` tells the end; there are no more `Data` events. The sink's offset is meant for the
    /// byte at `position` of the stream: what has crossed from there on, and is on its way in `Data`
    /// events, gets its place left free.
    pub fn attach_sink(
        &self,
        stream: StreamId,
        sink: Sink,
        position: u64,
    ) -> Result<(), BridgeError> {
        self.attach(stream, Attachment::Sink(sink, position))
    }

    /// Lets no more of the stream cross: `Held` comes behind what did. Then attach something, or
    /// release it.
    pub fn hold(&self, stream: StreamId) -> Result<(), BridgeError> {
        self.check_receives(stream)?;
        self.mailbox.push_stream(stream, BridgeCommand::Hold(stream, true), false)
    }

    /// Lets a stream that was held go on.
    pub fn release(&self, stream: StreamId) -> Result<(), BridgeError> {
        self.check_receives(stream)?;
        self.mailbox.push_stream(stream, BridgeCommand::Hold(stream, false), false)
    }

    /// Empties a stream that is held into a file, for as long as it brings HTTP/3's DATA frames.
    /// `Unframed` tells the end; what follows comes in `Data` events.
    pub fn attach_frames(&self, frames: Frames) -> Result<(), BridgeError> {
        self.attach(frames.id(), Attachment::Frames(frames))
    }

    fn attach(&self, stream: StreamId, sink: Attachment) -> Result<(), BridgeError> {
        self.check_receives(stream)?;
        self.mailbox.push_stream(stream, BridgeCommand::Attach(stream, sink), false)
    }

    /// Sends an unreliable datagram. False if too many wait; `DatagramsWritable` tells when there
    /// is room.
    pub fn send_datagram(&self, data: Bytes) -> Result<bool, BridgeError> {
        self.mailbox.send_datagram(data)
    }

    /// Bytes of the largest datagram now; 0 if the peer takes none, or before the handshake.
    pub fn max_datagram(&self) -> usize {
        self.mailbox.max_datagram.load(SeqCst)
    }

    /// `count` datagrams with `bytes` together have been used: others may cross.
    pub fn consumed_datagrams(&self, count: usize, bytes: usize) {
        self.mailbox.consumed_datagrams(count, bytes);
    }

    /// Asks the peer for a sign of life; `PingAcked` tells when it came.
    pub fn ping(&self) -> Result<(), BridgeError> {
        self.mailbox.push(BridgeCommand::Ping)
    }

    /// Asks the peer to acknowledge at once what was written so far.
    pub fn hurry(&self) -> Result<(), BridgeError> {
        self.mailbox.push(BridgeCommand::Hurry)
    }

    /// Has `FinalSize` told from now on.
    pub fn tell_final_sizes(&self) -> Result<(), BridgeError> {
        self.mailbox.push(BridgeCommand::TellFinalSizes)
    }

    /// Makes the connection look again for something to send: its scheduler has a new plan.
    pub fn poke(&self) -> Result<(), BridgeError> {
        self.mailbox.push(BridgeCommand::Poke)
    }

    /// Uses another of the connection IDs that the peer issued, if one is left.
    pub fn change_connection_id(&self) -> Result<(), BridgeError> {
        self.mailbox.push(BridgeCommand::ChangeCid)
    }

    /// Changes the congestion controller of a path, or of all.
    pub fn set_congestion(&self, path: Option<u32>, kind: Congestion) -> Result<(), BridgeError> {
        self.mailbox.desk.hand_over();
        self.mailbox.push(BridgeCommand::Congestion(path, kind))
    }

    /// Puts the caller in place of the congestion controllers of a path, or of all: it waits for
    /// batches with the ticket it gets here ([`Self::next_batch`]) and answers each
    /// ([`Self::decide`]). Whoever did so before is done.
    pub fn control_congestion(&self, path: Option<u32>) -> Result<u64, BridgeError> {
        let ticket = self.mailbox.desk.hand_over();
        self.mailbox.push(BridgeCommand::Congestion(path, Congestion::External))?;
        Ok(ticket)
    }

    /// Waits for the next batch of acknowledgements, with the ID of its path. `None`: somebody else
    /// has taken over, or the connection is over.
    pub fn next_batch(&self, ticket: u64) -> Option<(u32, AckBatch)> {
        self.mailbox.desk.wait(ticket)
    }

    /// Answers batch `sequence` of a path.
    pub fn decide(&self, path: u32, sequence: u64, decision: Decision) -> Result<(), BridgeError> {
        self.mailbox.push(BridgeCommand::Decide(path, sequence, decision))
    }

    /// Asks for a `Stats` event with this mark.
    pub fn request_stats(&self, tag: u64) -> Result<(), BridgeError> {
        self.mailbox.push(BridgeCommand::Stats(tag))
    }

    /// Closes the connection, after the commands given before. Data not acknowledged is given up.
    pub fn close(&self, code: u64, reason: &[u8]) -> Result<(), BridgeError> {
        self.mailbox.push(BridgeCommand::Close(code, reason.to_vec()))
    }

    fn check_sends(&self, stream: StreamId) -> Result<(), BridgeError> {
        let right = event::sends(stream, self.side());
        if right { Ok(()) } else { Err(BridgeError::WrongDirection) }
    }

    fn check_receives(&self, stream: StreamId) -> Result<(), BridgeError> {
        let right = event::receives(stream, self.side());
        if right { Ok(()) } else { Err(BridgeError::WrongDirection) }
    }
}
