//! Trains on their way to the sockets: written by connections, sent several at a time, kept when a
//! socket is full.

use std::io;

use tquic_core::tx::Transmit;
use tquic_net::udp::{Buffer, MAX_SEGMENTS, SLOT_SIZE};

use super::service::Place;

/// Trains that one socket call takes together. More saves hardly any time, and the receiver could
/// start later.
pub(super) const BATCH: usize = 8;
/// Trains that exist at a time: those kept for full sockets, and those that the kernel has on loan.
const SLOTS: usize = 32;
/// Of these, so many are never lent: there is always a slot for trains that are copied.
const OWN: usize = 2 * BATCH;

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
pub(crate) struct Outbox {
    slots: Vec<Buffer>,
    /// Used last first: that memory is still in the cache. The kernel may still have some.
    free: Vec<usize>,
}

impl Outbox {
    pub fn new() -> io::Result<Self> {
        let slots: Vec<Buffer> =
            (0..SLOTS).map(|_| Buffer::new(SLOT_SIZE)).collect::<io::Result<_>>()?;
        Ok(Self { slots, free: (0..SLOTS).rev().collect() })
    }

    /// Whether there is no room for another train.
    pub(super) fn is_full(&self) -> bool {
        self.last_free().is_none()
    }

    /// The place in `free` of a slot to write to.
    fn last_free(&self) -> Option<usize> {
        self.free.iter().rposition(|&slot| self.slots.get(slot).is_some_and(|b| !b.is_lent()))
    }

    /// Trains that may be lent to the kernel now.
    pub(super) fn lendable(&self) -> usize {
        let lent = self.slots.iter().filter(|slot| slot.is_lent()).count();
        (SLOTS - OWN).saturating_sub(lent)
    }

    /// The buffer that a train lies in.
    pub(super) fn buffer(&self, train: &Train) -> Option<&Buffer> {
        self.slots.get(train.slot)
    }

    /// Lets `write` fill a buffer; the train it wrote, if any. `None` too if there is no room.
    pub(super) fn fill(
        &mut self,
        place: Place,
        write: impl FnOnce(&mut [u8]) -> Option<Transmit>,
    ) -> Option<Train> {
        let at = self.last_free()?;
        let slot = *self.free.get(at)?;
        let transmit = write(self.slots.get_mut(slot)?.writable()?)?;
        debug_assert!(transmit.len.div_ceil(transmit.segment.max(1)) <= MAX_SEGMENTS);
        self.free.remove(at);
        Some(Train { place, transmit, slot, sent: 0 })
    }

    /// The bytes still to be sent.
    pub(super) fn data(&self, train: &Train) -> &[u8] {
        let slot = self.slots.get(train.slot);
        slot.and_then(|slot| slot.get(train.sent..train.transmit.len)).unwrap_or_default()
    }

    /// `bytes` of it have left.
    pub(super) fn advance(train: &mut Train, bytes: usize) {
        train.sent += bytes;
    }

    /// The train has left, or never will; if it is on loan, the slot comes back later.
    pub(super) fn release(&mut self, train: &Train) {
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
        let mut outbox = Outbox::new().unwrap();
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

    #[cfg(target_os = "linux")]
    #[test]
    fn some_slots_are_never_lent() {
        use tquic_net::udp::{self, SocketOptions, UdpSocket};

        let options = SocketOptions { zerocopy: true, ..SocketOptions::default() };
        let open = || UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        let (sockets, peer) = ([open(), open()], open());
        let mut outbox = Outbox::new().unwrap();
        let mut send = |socket: &UdpSocket| {
            let train = outbox.fill(Place::default(), |_| Some(transmit(50 * 1200))).unwrap();
            let lent = outbox.lendable() > 0;
            let transmit = udp::Transmit {
                remote: peer.local_addr(),
                local_ip: None,
                ecn: None,
                segment_size: 1200,
                data: outbox.data(&train),
                buffer: outbox.buffer(&train).filter(|_| lent),
            };
            assert_eq!(socket.send(&[transmit]).unwrap().trains, 1);
            outbox.release(&train);
            assert!(!outbox.is_full());
            lent
        };
        let lent = sockets.iter().flat_map(|socket| [socket; SLOTS]).filter(|s| send(s)).count();
        assert_eq!(lent, SLOTS - OWN);
        assert_eq!(sockets[0].stats().zerocopy_sends, (SLOTS - OWN) as u64);
        assert!(sockets[0].take_refusals().is_empty());
        assert_eq!(outbox.lendable(), SLOTS - OWN, "they came back");
    }
}
