//! Trains on their way to the sockets: written by connections, sent several at a time, kept when a
//! socket is full.

use tquic_core::tx::Transmit;
use tquic_net::udp::{MAX_SEGMENTS, SLOT_SIZE};

use super::service::Place;

/// Trains that one socket call takes together. More saves hardly any time, and the receiver could
/// start later.
pub(super) const BATCH: usize = 8;
/// Trains that exist at a time, those kept for full sockets included.
const SLOTS: usize = 32;

/// A train that waits for its socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Train {
    /// Whose it is.
    pub place: Place,
    pub transmit: Transmit,
    slot: usize,
    /// Bytes at the start that were sent already (sockets without GSO may stop in the middle).
    sent: usize,
}

/// The memory of all trains of a shard.
pub(super) struct Outbox {
    arena: Box<[u8]>,
    /// Used last first: that memory is still in the cache.
    free: Vec<usize>,
}

impl Outbox {
    pub fn new() -> Self {
        Self { arena: vec![0; SLOTS * SLOT_SIZE].into(), free: (0..SLOTS).rev().collect() }
    }

    /// Whether there is no room for another train.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Lets `write` fill a buffer; the train it wrote, if any. `None` too if there is no room.
    pub fn fill(
        &mut self,
        place: Place,
        write: impl FnOnce(&mut [u8]) -> Option<Transmit>,
    ) -> Option<Train> {
        let slot = *self.free.last()?;
        let transmit = write(self.arena.get_mut(slot * SLOT_SIZE..(slot + 1) * SLOT_SIZE)?)?;
        debug_assert!(transmit.len.div_ceil(transmit.segment.max(1)) <= MAX_SEGMENTS);
        self.free.pop();
        Some(Train { place, transmit, slot, sent: 0 })
    }

    /// The bytes still to be sent.
    pub fn data(&self, train: &Train) -> &[u8] {
        let start = train.slot * SLOT_SIZE;
        self.arena.get(start + train.sent..start + train.transmit.len).unwrap_or_default()
    }

    /// `bytes` of it have left.
    pub fn advance(train: &mut Train, bytes: usize) {
        train.sent += bytes;
    }

    /// The train has left, or never will.
    pub fn release(&mut self, train: &Train) {
        debug_assert!(!self.free.contains(&train.slot));
        self.free.push(train.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tquic_core::path::FourTuple;

    fn transmit(len: usize) -> Transmit {
        let any = "127.0.0.1:1".parse().unwrap();
        let addresses = FourTuple { local: any, remote: any };
        Transmit { addresses, ecn: None, segment: 1200, len }
    }

    #[test]
    fn room_is_bounded_and_comes_back() {
        let mut outbox = Outbox::new();
        let mut trains = Vec::new();
        while !outbox.is_full() {
            let n = trains.len() as u8;
            let train = outbox.fill(Place::default(), |buf| {
                buf[..2400].fill(n);
                Some(transmit(2400))
            });
            trains.push(train.unwrap());
        }
        assert_eq!(trains.len(), SLOTS);
        assert!(outbox.fill(Place::default(), |_| unreachable!()).is_none());
        for (n, train) in trains.iter_mut().enumerate() {
            Outbox::advance(train, 1200);
            assert_eq!(outbox.data(train), [n as u8; 1200]);
            outbox.release(train);
        }
        assert!(outbox.fill(Place::default(), |_| None).is_none());
        assert_eq!(outbox.free.len(), SLOTS);
    }
}
