//! The newest records of each connection, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tquic_wire::ConnectionId;

use super::log::{Batch, lock};
use super::{Form, note};

/// Rings of connections that failed which are kept for whoever asks afterwards.
const KEPT: usize = 16;
/// Pieces of this size are forgotten at once.
const PIECE: usize = 16 << 10;

static RINGS: Mutex<Rings> = Mutex::new(Rings { open: BTreeMap::new(), failed: VecDeque::new() });
static NEXT: AtomicU64 = AtomicU64::new(0);

struct Rings {
    open: BTreeMap<u64, Arc<Ring>>,
    failed: VecDeque<Arc<Ring>>,
}

/// A connection's newest records.
pub struct Ring {
    id: ConnectionId,
    is_client: bool,
    header: Vec<u8>,
    form: Form,
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// With the number of records in each.
    pieces: VecDeque<(Arc<[u8]>, u64)>,
    /// Being filled.
    open: (Vec<u8>, u64),
    bytes: usize,
    /// Records that newer ones pushed out.
    overwritten: u64,
    failed: bool,
}

impl Ring {
    /// Destination Connection ID of the client's first packet.
    pub fn id(&self) -> &ConnectionId {
        &self.id
    }

    /// Whether we are the client.
    pub fn is_client(&self) -> bool {
        self.is_client
    }

    /// Whether the connection has ended, and not because it was to.
    pub fn has_failed(&self) -> bool {
        lock(&self.held).failed
    }

    /// A whole log: the header, a record that says how many are missing, and the newest records.
    pub fn text(&self) -> String {
        // The connection's thread must not find this locked for longer than this takes.
        let (pieces, open, overwritten) = {
            let held = lock(&self.held);
            (held.pieces.clone(), held.open.0.clone(), held.overwritten)
        };
        let mut text = self.header.clone();
        if overwritten > 0 {
            let why = "newer ones pushed them out of the ring";
            text.extend_from_slice(&note(self.form, 0, overwritten, why).text);
        }
        pieces.iter().for_each(|(piece, _)| text.extend_from_slice(piece));
        text.extend_from_slice(&open);
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// All rings: those of connections that live, then those of the last that failed.
pub fn rings() -> Vec<Arc<Ring>> {
    let rings = lock(&RINGS);
    rings.open.values().chain(&rings.failed).cloned().collect()
}

/// A connection's end of its ring.
pub(super) struct RingEnd {
    ring: Arc<Ring>,
    number: Option<u64>,
    overwritten: u64,
}

impl RingEnd {
    pub fn new(
        id: ConnectionId,
        is_client: bool,
        header: Vec<u8>,
        form: Form,
        limit: usize,
    ) -> Self {
        let ring = Ring { id, is_client, header, form, limit, held: Mutex::default() };
        Self { ring: Arc::new(ring), number: None, overwritten: 0 }
    }

    pub fn overwritten(&self) -> u64 {
        self.overwritten
    }

    /// Takes records. While somebody reads, they stay with the caller.
    pub fn push(&mut self, batch: &mut Batch) {
        if self.number.is_none() {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            self.number = Some(number);
            lock(&RINGS).open.insert(number, self.ring.clone());
        }
        if let Ok(mut held) = self.ring.held.try_lock() {
            held.take_in(batch, self.ring.limit);
            self.overwritten = held.overwritten;
        }
    }

    /// The connection is over; if it failed, the text is for the file.
    pub fn close(&mut self, rest: &mut Batch, failed: bool) -> Option<String> {
        {
            let mut held = lock(&self.ring.held);
            held.take_in(rest, self.ring.limit);
            held.failed = failed;
        }
        let mut rings = lock(&RINGS);
        if let Some(number) = self.number {
            rings.open.remove(&number);
        }
        if !failed {
            return None;
        }
        if rings.failed.len() == KEPT {
            rings.failed.pop_front();
        }
        rings.failed.push_back(self.ring.clone());
        drop(rings);
        Some(self.ring.text())
    }
}

impl Held {
    fn take_in(&mut self, batch: &mut Batch, limit: usize) {
        self.bytes += batch.text.len();
        self.open.0.extend_from_slice(&batch.text);
        self.open.1 += batch.records;
        batch.clear();
        if self.open.0.len() >= PIECE {
            let (text, records) = std::mem::take(&mut self.open);
            self.pieces.push_back((text.into(), records));
        }
        while self.bytes > limit
            && let Some((piece, records)) = self.pieces.pop_front()
        {
            self.bytes -= piece.len();
            self.overwritten += records;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(limit: usize) -> RingEnd {
        let id = ConnectionId::new(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes()).unwrap();
        RingEnd::new(id, true, b"\x1ehead\n".to_vec(), Form::New, limit)
    }

    fn push(end: &mut RingEnd, from: u64, to: u64) {
        for n in from..to {
            let text = format!("\u{1e}{n:0>99}\n");
            end.push(&mut Batch { text: text.into(), records: 1, ..Batch::default() });
        }
    }

    fn found(end: &RingEnd) -> Option<Arc<Ring>> {
        rings().into_iter().find(|ring| Arc::ptr_eq(ring, &end.ring))
    }

    #[test]
    fn the_newest_stay_and_the_others_are_counted() {
        let mut end = end(64 << 10);
        push(&mut end, 0, 100);
        let ring = found(&end).unwrap();
        assert_eq!(ring.text().matches('\u{1e}').count(), 101);
        push(&mut end, 100, 5000);
        let text = ring.text();
        assert!(text.len() <= (64 << 10) + 300 && text.len() > 48 << 10, "{}", text.len());
        assert!(text.ends_with("4999\n"));
        let kept = text.matches('\u{1e}').count() as u64 - 2;
        assert_eq!(end.overwritten(), 5000 - kept);
        assert!(text.contains(&format!("\"code\":{}", 5000 - kept)), "{}", &text[..300]);
    }

    #[test]
    fn those_of_connections_that_failed_stay_for_a_while() {
        let mut good = end(64 << 10);
        push(&mut good, 0, 3);
        assert_eq!(good.close(&mut Batch::default(), false), None);
        assert!(found(&good).is_none());
        let mut bad = end(64 << 10);
        push(&mut bad, 0, 3);
        let mut last = Batch { text: b"\x1elast\n".to_vec(), records: 1, ..Batch::default() };
        let text = bad.close(&mut last, true).unwrap();
        assert!(text.starts_with("\u{1e}head\n") && text.ends_with("\u{1e}last\n"));
        assert!(found(&bad).unwrap().has_failed());
        for _ in 0..KEPT {
            let mut other = end(64 << 10);
            push(&mut other, 0, 1);
            other.close(&mut Batch::default(), true);
        }
        assert!(found(&bad).is_none());
    }
}
