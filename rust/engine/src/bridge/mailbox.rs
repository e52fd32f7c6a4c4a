//! What the two sides of a bridged connection share: commands, and how much may still cross.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tquic_core::cc::{Congestion, Decision};
use tquic_core::events::ConnectionError;
use tquic_core::stream::Priority;
use tquic_wire::{Direction, Side, StreamId};

use super::BridgeError;
use super::desk::Desk;
use crate::key::ConnectionKey;
use crate::pump::{Frames, Sink, Source};
use crate::shard::Inbox;

/// Bytes of a stream that cross before they are said to be consumed.
pub(super) const READ_WINDOW: u64 = 1 << 20;
/// Bytes of all streams of a connection that cross before they are said to be consumed.
pub(super) const READ_TOTAL: u64 = 16 << 20;
/// Bytes of datagrams that cross, or wait to be sent, each counting `DATAGRAM_COST` more.
pub(super) const DATAGRAM_WINDOW: usize = 1 << 20;
pub(super) const DATAGRAM_COST: usize = 64;
/// Events of one connection that wait for the other language, about: streams are not read above.
pub(super) const MAX_BACKLOG: usize = 4096;
/// Commands that wait for the shard.
const MAX_COMMANDS: usize = 1 << 16;
/// Streams that wait for the peer to let them in.
const MAX_UNOPENED: usize = 4096;
/// Writes up to this size are gathered.
const SMALL_WRITE: usize = 4096;
const GATHERED: usize = 64 * 1024;

/// Commands for which a shard is woken though calls are held back: from there on both sides work.
const HELD_COMMANDS: usize = 128;

/// Calls of a bridge's connections to their shards, which can be held back while many commands are
/// given one after another: waking a thread costs more than they do.
#[derive(Default)]
pub(super) struct Calls {
    holding: AtomicBool,
    held: Mutex<Vec<(Arc<Inbox>, ConnectionKey)>>,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Vec<(Arc<Inbox>, ConnectionKey)>> {
        // Nothing that can panic runs under the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn hold(&self) {
        self.holding.store(true, SeqCst);
    }

    /// Makes all calls that were held back.
    pub fn release(&self) {
        let held = {
            let mut held = self.lock();
            self.holding.store(false, SeqCst);
            std::mem::take(&mut *held)
        };
        for (inbox, key) in held {
            inbox.wake(key);
        }
    }

    /// Whether the call is held back.
    fn keep(&self, inbox: &Arc<Inbox>, key: ConnectionKey) -> bool {
        if !self.holding.load(SeqCst) {
            return false;
        }
        let mut held = self.lock();
        // It may have been released in between.
        let holding = self.holding.load(SeqCst);
        if holding {
            held.push((inbox.clone(), key));
        }
        holding
    }
}

/// What the shard is to do with a connection.
pub(super) enum BridgeCommand {
    Open(StreamId),
    Write(StreamId, Bytes),
    /// Several short writes.
    Gathered(StreamId, BytesMut),
    Finish(StreamId),
    /// With the code, and how much is delivered nevertheless.
    Reset(StreamId, u64, u64),
    Stop(StreamId, u64),
    Priority(StreamId, Priority),
    Attach(StreamId, Attachment),
    /// Lets nothing of a stream cross, or lets it go on.
    Hold(StreamId, bool),
    TellFinalSizes,
    Datagram(Bytes),
    Stats(u64),
    Ping,
    Hurry,
    Poke,
    ChangeCid,
    /// For one path, or all.
    Congestion(Option<u32>, Congestion),
    /// Path, batch, and what was decided on it.
    Decide(u32, u64, Decision),
    Close(u64, Vec<u8>),
}

/// What is attached to a stream.
pub(super) enum Attachment {
    Source(Source, bool),
    /// With the position in the stream for which its offset is meant.
    Sink(Sink, u64),
    Frames(Frames),
}

/// The credit of a stream.
#[derive(Debug, Default)]
pub(super) struct Credit {
    /// Bytes accepted for sending and not acknowledged.
    pub outstanding: u64,
    /// Tell when no more than this is outstanding.
    pub notify: Option<u64>,
    /// Bytes that crossed and were not consumed.
    pub unread: u64,
    /// The shard has more and waits for `unread` to fall.
    pub starved: bool,
    /// No more writes: finished, reset, or fed by a source.
    pub ended: bool,
}

/// What is shared under the lock.
pub(super) struct Shared {
    pub commands: VecDeque<BridgeCommand>,
    pub streams: HashMap<StreamId, Credit>,
    /// Streams whose unread bytes fell low enough.
    pub hungry: Vec<StreamId>,
    /// Bytes of all streams that crossed and were not consumed, those of streams that are gone too.
    pub unread: u64,
    /// The shard waits for `unread` to fall.
    pub starved: bool,
    /// Streams opened here, by direction.
    next: [u64; 2],
    pub unopened: usize,
    /// Datagrams accepted and not yet given to the connection.
    pub datagrams_out: usize,
    /// One was refused.
    pub datagrams_refused: bool,
    pub datagrams_in: usize,
    pub datagrams_starved: bool,
    pub closed: Option<Arc<ConnectionError>>,
}

/// See the module.
pub(super) struct Mailbox {
    key: ConnectionKey,
    side: Side,
    inbox: Arc<Inbox>,
    shared: Mutex<Shared>,
    /// The shard has been asked to look, or will be.
    called: AtomicBool,
    calls: Arc<Calls>,
    /// Events in the queue.
    backlog: AtomicUsize,
    /// The shard waits for the backlog to shrink.
    paused: AtomicBool,
    pub max_datagram: AtomicUsize,
    /// Whether the peer knows RESET_STREAM_AT.
    pub can_reset_at: AtomicBool,
    pub desk: Desk,
    send_buffer: u64,
}

impl Mailbox {
    pub fn new(
        key: ConnectionKey,
        side: Side,
        inbox: Arc<Inbox>,
        send_buffer: u64,
        calls: Arc<Calls>,
    ) -> Self {
        Self {
            calls,
            key,
            side,
            inbox,
            shared: Mutex::new(Shared {
                commands: VecDeque::new(),
                streams: HashMap::new(),
                hungry: Vec::new(),
                unread: 0,
                starved: false,
                next: [0; 2],
                unopened: 0,
                datagrams_out: 0,
                datagrams_refused: false,
                datagrams_in: 0,
                datagrams_starved: false,
                closed: None,
            }),
            called: AtomicBool::new(false),
            backlog: AtomicUsize::new(0),
            paused: AtomicBool::new(false),
            max_datagram: AtomicUsize::new(0),
            can_reset_at: AtomicBool::new(false),
            desk: Desk::default(),
            send_buffer,
        }
    }

    pub fn key(&self) -> ConnectionKey {
        self.key
    }

    pub fn side(&self) -> Side {
        self.side
    }

    pub fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing that can panic runs under the lock.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_shared(&self) -> Result<MutexGuard<'_, Shared>, BridgeError> {
        let shared = self.lock();
        match &shared.closed {
            Some(why) => Err(BridgeError::Closed(why.clone())),
            None => Ok(shared),
        }
    }

    /// Has the shard look into the mailbox.
    fn call(&self) {
        if !self.called.swap(true, SeqCst) && !self.calls.keep(&self.inbox, self.key) {
            self.inbox.wake(self.key);
        }
    }

    /// The same behind a command, of which so many wait.
    fn call_for(&self, commands: usize) {
        self.call();
        if commands == HELD_COMMANDS {
            // A call may be held back; the shard begins with what there is. Once too often is
            // harmless.
            self.inbox.wake(self.key);
        }
    }

    /// The shard looks now: what comes later calls again.
    pub fn on_look(&self) {
        self.called.store(false, SeqCst);
    }

    pub fn on_queued(&self, events: usize) {
        self.backlog.fetch_add(events, SeqCst);
    }

    pub fn on_taken(&self, events: usize) {
        let left = self.backlog.fetch_sub(events, SeqCst) - events;
        if left <= MAX_BACKLOG / 2 && self.paused.swap(false, SeqCst) {
            self.call();
        }
    }

    /// Whether too many events wait, `more` about to join them; if so the shard will be called when
    /// they are fewer.
    pub fn pauses(&self, more: usize) -> bool {
        if self.backlog.load(SeqCst) + more < MAX_BACKLOG {
            return false;
        }
        self.paused.store(true, SeqCst);
        // They may have been taken in between, when nobody knew that we wait.
        if self.backlog.load(SeqCst) <= MAX_BACKLOG / 2 && more < MAX_BACKLOG / 2 {
            return !self.paused.swap(false, SeqCst);
        }
        true
    }

    /// A command that concerns the connection.
    pub fn push(&self, command: BridgeCommand) -> Result<(), BridgeError> {
        let now = matches!(command, BridgeCommand::Close(..));
        self.push_locked(&mut *self.open_shared()?, command)?;
        self.call();
        if now {
            // Nobody may be left to release it.
            self.inbox.wake(self.key);
        }
        Ok(())
    }

    fn push_locked(&self, shared: &mut Shared, command: BridgeCommand) -> Result<(), BridgeError> {
        if shared.commands.len() >= MAX_COMMANDS {
            return Err(BridgeError::Busy);
        }
        shared.commands.push_back(command);
        Ok(())
    }

    /// A command that concerns a stream; `ends` what is written on it.
    pub fn push_stream(
        &self,
        stream: StreamId,
        command: BridgeCommand,
        ends: bool,
    ) -> Result<(), BridgeError> {
        let mut shared = self.open_shared()?;
        let credit = shared.streams.get(&stream).ok_or(BridgeError::UnknownStream)?;
        if ends && credit.ended && matches!(command, BridgeCommand::Attach(..)) {
            return Err(BridgeError::Ended);
        }
        self.push_locked(&mut shared, command)?;
        if let Some(credit) = shared.streams.get_mut(&stream) {
            credit.ended |= ends;
        }
        let commands = shared.commands.len();
        drop(shared);
        self.call_for(commands);
        Ok(())
    }

    pub fn open(&self, direction: Direction) -> Result<StreamId, BridgeError> {
        let mut shared = self.open_shared()?;
        if shared.unopened >= MAX_UNOPENED {
            return Err(BridgeError::Busy);
        }
        let stream = StreamId::new(self.side, direction, shared.next[direction as usize]);
        self.push_locked(&mut shared, BridgeCommand::Open(stream))?;
        shared.next[direction as usize] += 1;
        shared.unopened += 1;
        shared.streams.insert(stream, Credit::default());
        let commands = shared.commands.len();
        drop(shared);
        // There is nothing to send before it is written, reset or stopped, and those call.
        if commands >= HELD_COMMANDS {
            self.call_for(commands);
        }
        Ok(stream)
    }

    /// Accepts as much as there is room for; if that is all and `last`, the stream ends there.
    pub fn write(
        &self,
        stream: StreamId,
        mut data: Bytes,
        last: bool,
    ) -> Result<usize, BridgeError> {
        let mut shared = self.open_shared()?;
        let Shared { commands, streams, .. } = &mut *shared;
        let credit = streams.get_mut(&stream).ok_or(BridgeError::UnknownStream)?;
        if credit.ended {
            return Err(BridgeError::Ended);
        }
        let full = commands.len() >= MAX_COMMANDS;
        let room = if full { 0 } else { self.send_buffer.saturating_sub(credit.outstanding) };
        let accepted = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let ends = last && accepted == data.len();
        if accepted < data.len() {
            credit.notify = Some(credit.notify.unwrap_or(0).max(self.send_buffer / 2));
        }
        credit.outstanding += accepted as u64;
        credit.ended = ends;
        if accepted > 0 {
            data.truncate(accepted);
            push_write(commands, stream, data);
        }
        if ends {
            commands.push_back(BridgeCommand::Finish(stream));
        }
        let waiting = shared.commands.len();
        drop(shared);
        if accepted > 0 || ends || full {
            self.call_for(waiting);
        }
        Ok(accepted)
    }

    pub fn notify_below(&self, stream: StreamId, bytes: u64) -> Result<bool, BridgeError> {
        let mut shared = self.open_shared()?;
        let credit = shared.streams.get_mut(&stream).ok_or(BridgeError::UnknownStream)?;
        let already = credit.outstanding <= bytes;
        credit.notify = (!already).then_some(bytes);
        Ok(already)
    }

    pub fn buffered(&self, stream: StreamId) -> u64 {
        self.lock().streams.get(&stream).map_or(0, |credit| credit.outstanding)
    }

    pub fn room(&self, stream: StreamId) -> u64 {
        let shared = self.lock();
        let credit = shared.streams.get(&stream).filter(|credit| !credit.ended);
        credit.map_or(0, |credit| self.send_buffer.saturating_sub(credit.outstanding))
    }

    pub fn consumed(&self, stream: StreamId, bytes: u64) {
        let mut shared = self.lock();
        shared.unread = shared.unread.saturating_sub(bytes);
        let mut call = shared.unread <= READ_TOTAL / 2 && std::mem::take(&mut shared.starved);
        if let Some(credit) = shared.streams.get_mut(&stream) {
            credit.unread = credit.unread.saturating_sub(bytes);
            if credit.unread <= READ_WINDOW / 2 && std::mem::take(&mut credit.starved) {
                shared.hungry.push(stream);
                call = true;
            }
        }
        drop(shared);
        if call {
            self.call();
        }
    }

    pub fn send_datagram(&self, data: Bytes) -> Result<bool, BridgeError> {
        let max = self.max_datagram.load(SeqCst);
        if data.len() > max {
            return Err(BridgeError::DatagramTooLarge { max });
        }
        let mut shared = self.open_shared()?;
        let cost = data.len() + DATAGRAM_COST;
        if shared.datagrams_out + cost > DATAGRAM_WINDOW || shared.commands.len() >= MAX_COMMANDS {
            shared.datagrams_refused = true;
            return Ok(false);
        }
        shared.datagrams_out += cost;
        shared.commands.push_back(BridgeCommand::Datagram(data));
        drop(shared);
        self.call();
        Ok(true)
    }

    pub fn consumed_datagrams(&self, count: usize, bytes: usize) {
        let mut shared = self.lock();
        let cost = bytes + count * DATAGRAM_COST;
        shared.datagrams_in = shared.datagrams_in.saturating_sub(cost);
        let wanted = shared.datagrams_in <= DATAGRAM_WINDOW / 2;
        if wanted && std::mem::take(&mut shared.datagrams_starved) {
            drop(shared);
            self.call();
        }
    }
}

/// Queues a write, gathering short ones: a queue of single bytes would take a hundred times their
/// memory.
fn push_write(commands: &mut VecDeque<BridgeCommand>, stream: StreamId, data: Bytes) {
    if data.len() > SMALL_WRITE {
        commands.push_back(BridgeCommand::Write(stream, data));
        return;
    }
    match commands.back_mut() {
        Some(BridgeCommand::Gathered(same, buffer))
            if *same == stream && buffer.len() + data.len() <= GATHERED =>
        {
            buffer.extend_from_slice(&data);
        }
        Some(BridgeCommand::Write(same, before))
            if *same == stream && before.len() <= SMALL_WRITE =>
        {
            let mut buffer = BytesMut::with_capacity(4 * SMALL_WRITE);
            buffer.extend_from_slice(before);
            buffer.extend_from_slice(&data);
            commands.pop_back();
            commands.push_back(BridgeCommand::Gathered(stream, buffer));
        }
        _ => commands.push_back(BridgeCommand::Write(stream, data)),
    }
}
