//! What a connection and the writer thread share: a buffer with a bound.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tquic_wire::ConnectionId;

use super::SEPARATOR;
use super::writer::Writer;

/// Bytes that wait for the writer, of all connections together; more are dropped.
const TOTAL: usize = 64 << 20;
/// A buffer that is filled to this part wakes the writer before its time: 1 / `PART`.
const PART: usize = 4;

/// Bytes that wait, of all connections.
static WAITING: AtomicUsize = AtomicUsize::new(0);
/// Events of all connections that found no room.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Events that found no room, of all connections of this process. Those that newer ones pushed out of
/// a ring are not among them.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records on their way.
#[derive(Default)]
pub(super) struct Batch {
    /// Each begins with a record separator and ends with a line feed (RFC 7464).
    pub text: Vec<u8>,
    /// How many.
    pub records: u64,
    /// Events dropped before of which one of the records tells.
    pub noted: u64,
    /// What each is, for outputs that want to know.
    pub marks: Vec<Mark>,
    /// When the first was written, in nanoseconds since the connection began.
    pub began: u64,
}

impl Batch {
    pub fn clear(&mut self) {
        self.text.clear();
        self.marks.clear();
        (self.records, self.noted) = (0, 0);
    }

    /// Puts these behind its own.
    pub fn append(&mut self, other: &mut Self) {
        self.text.extend_from_slice(&other.text);
        self.marks.append(&mut other.marks);
        self.records += other.records;
        self.noted += other.noted;
        other.clear();
    }
}

/// What a record is, for those who do not read JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Bytes of the record.
    pub len: u32,
    /// Bit of its kind in the mask of events; 64 for what is none of these.
    pub kind: u8,
    pub path: u32,
    /// Nanoseconds since the connection began.
    pub time: u64,
}

/// Where the writer takes a log.
#[derive(Clone, Debug)]
pub(super) enum Place {
    File(PathBuf),
    #[cfg(target_os = "linux")]
    Unix(PathBuf),
    #[cfg(target_os = "linux")]
    Netlink,
}

/// A connection's log.
pub(super) struct Log {
    /// Destination Connection ID of the client's first packet.
    pub id: ConnectionId,
    pub is_client: bool,
    /// The first record.
    pub header: Vec<u8>,
    /// When it began, in nanoseconds since 1970.
    pub began: u64,
    pub place: Place,
    pub buffer: Mutex<Buffer>,
    dropped: AtomicU64,
}

#[derive(Default)]
pub(super) struct Buffer {
    /// Batches as they came, not put together: nothing is copied in the thread of a connection.
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the pieces.
    size: usize,
    marks: VecDeque<Mark>,
    /// No more will come since then.
    closed: Option<Instant>,
    /// Whoever had the header: files are 1, sockets count their connections. 0: nobody yet.
    pub introduced: u64,
    /// Messages sent.
    pub messages: u64,
}

impl Log {
    pub fn new(
        id: ConnectionId,
        is_client: bool,
        began: u64,
        header: Vec<u8>,
        place: Place,
    ) -> Self {
        let (buffer, dropped) = (Mutex::default(), AtomicU64::new(0));
        Self { id, is_client, header, began, place, buffer, dropped }
    }

    /// Events of this log that are gone.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub fn drop_events(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
        DROPPED.fetch_add(count, Ordering::Relaxed);
    }

    /// What waits, and since when nothing more will come.
    pub fn take(&self) -> (Vec<Vec<u8>>, VecDeque<Mark>, Option<Instant>) {
        let mut buffer = lock(&self.buffer);
        let pieces = std::mem::take(&mut buffer.pieces);
        let (size, closed) = (std::mem::take(&mut buffer.size), buffer.closed);
        let marks = std::mem::take(&mut buffer.marks);
        WAITING.fetch_sub(size, Ordering::Relaxed);
        (pieces.into(), marks, closed)
    }

    /// What could not be delivered now goes before what has come since.
    #[cfg(target_os = "linux")]
    pub fn put_back(&self, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        WAITING.fetch_add(rest.len(), Ordering::Relaxed);
        let mut buffer = lock(&self.buffer);
        buffer.size += rest.len();
        buffer.pieces.push_front(rest.to_vec());
    }
}

/// Records in a text.
pub(super) fn records(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == SEPARATOR).count() as u64
}

/// A connection's end of its log. Never waits.
pub(super) struct Sink {
    log: Arc<Log>,
    limit: usize,
    /// The writer knows the log.
    known: bool,
    /// Events dropped that the log does not tell of yet.
    untold: u64,
}

impl Sink {
    /// Holds at most `limit` bytes back.
    pub fn new(log: Log, limit: usize) -> Self {
        Self { log: Arc::new(log), limit, known: false, untold: 0 }
    }

    /// Whether each record's mark is wanted.
    pub fn wants_marks(&self) -> bool {
        #[cfg(target_os = "linux")]
        return matches!(self.log.place, Place::Netlink);
        #[cfg(not(target_os = "linux"))]
        false
    }

    pub fn dropped(&self) -> u64 {
        self.log.dropped()
    }

    /// How many events were dropped, if `len` more bytes can be taken now and there are any to report.
    pub fn take_dropped_before(&mut self, len: usize) -> Option<u64> {
        if self.untold == 0 {
            return None;
        }
        let room = self.log.buffer.try_lock().is_ok_and(|b| b.size + len <= self.limit);
        room.then(|| std::mem::take(&mut self.untold))
    }

    /// Takes records: what finds no room is dropped; while the writer holds the buffer, they stay with
    /// the caller.
    pub fn push(&mut self, batch: &mut Batch) {
        let Ok(mut buffer) = self.log.buffer.try_lock() else {
            if batch.text.len() > self.limit {
                self.drop_batch(batch);
            }
            return;
        };
        let len = batch.text.len();
        let full = buffer.size + len > self.limit || WAITING.load(Ordering::Relaxed) + len > TOTAL;
        if full {
            drop(buffer);
            return self.drop_batch(batch);
        }
        buffer.take_in(batch);
        let filled = buffer.size;
        drop(buffer);
        self.introduce();
        let part = self.limit / PART;
        if filled > part && filled - len <= part {
            Writer::get(Writer::hurry);
        }
    }

    fn drop_batch(&mut self, batch: &mut Batch) {
        self.untold += batch.records + batch.noted;
        self.log.drop_events(batch.records);
        batch.clear();
    }

    /// No more will come but this, and what `note` says of events that were dropped and not told of.
    pub fn close(&mut self, rest: &mut Batch, note: impl FnOnce(u64) -> Batch) {
        self.push(rest);
        let mut buffer = lock(&self.log.buffer);
        // The connection is over and the buffer ours: what the writer's lock kept out still fits.
        if buffer.size + rest.text.len() <= self.limit {
            buffer.take_in(rest);
        }
        if self.untold > 0 {
            buffer.take_in(&mut note(self.untold));
        }
        buffer.closed = Some(Instant::now());
        drop(buffer);
        self.introduce();
    }

    fn introduce(&mut self) {
        if !std::mem::replace(&mut self.known, true) {
            Writer::get(|writer| writer.adopt(self.log.clone()));
        }
    }
}

impl Buffer {
    /// Whether the connection ended so long ago.
    #[cfg(target_os = "linux")]
    pub fn is_closed_for(&self, time: Duration) -> bool {
        self.closed.is_some_and(|at| at.elapsed() >= time)
    }

    fn take_in(&mut self, batch: &mut Batch) {
        let text = &mut batch.text;
        WAITING.fetch_add(text.len(), Ordering::Relaxed);
        self.size += text.len();
        match self.pieces.back_mut() {
            Some(last) if last.capacity() - last.len() >= text.len() => last.append(text),
            _ if text.is_empty() => {}
            _ => self.pieces.push_back(std::mem::take(text)),
        }
        self.marks.extend(batch.marks.drain(..));
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(text: &str, records: u64) -> Batch {
        Batch { text: text.into(), records, ..Batch::default() }
    }

    fn sink(name: &str) -> Sink {
        let path = std::env::temp_dir().join(format!("tquic-qlog-{name}-{}", std::process::id()));
        let log = Log::new(ConnectionId::default(), true, 0, Vec::new(), Place::File(path));
        Sink::new(log, 100)
    }

    #[test]
    fn a_full_buffer_drops_and_counts() {
        let (mut sink, before) = (sink("full"), dropped());
        let mut many = batch(&"\u{1e}{}\n".repeat(30), 30);
        sink.push(&mut many);
        assert_eq!((many.text.len(), many.records, sink.dropped()), (0, 0, 30));
        assert!(dropped() >= before + 30);
        assert_eq!(sink.take_dropped_before(101), None);
        assert_eq!(sink.take_dropped_before(100), Some(30));
        assert_eq!(sink.take_dropped_before(100), None);
    }

    #[test]
    fn the_writer_holding_the_buffer_costs_nothing_but_patience() {
        let mut sink = sink("held");
        let log = sink.log.clone();
        let held = lock(&log.buffer);
        let mut one = batch("\u{1e}{}\n", 1);
        sink.push(&mut one);
        assert_eq!((one.text.len(), sink.dropped()), (4, 0));
        drop(held);
    }
}
