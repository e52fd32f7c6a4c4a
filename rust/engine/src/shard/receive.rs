//! From the sockets to the connections.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrayvec::ArrayVec;
use tquic_net::udp::{MAX_TRAINS, Refusal, Transmit};

use super::service::{Listener, Place, Service, Slot, panic_message};
use super::socket::from_socket;
use super::token::LINKS;
use super::{Shard, Sockets};
use crate::config::Accepted;
use tquic_core::endpoint::Reply;
use tquic_core::error::TransportError;

impl Shard {
    pub(super) fn receive_ready(&mut self) {
        // Extended: what `collect` gives is moved as a whole, room and all.
        let mut ready: ArrayVec<_, { super::EVENTS }> = ArrayVec::new();
        ready.extend(self.events.iter());
        for event in &ready {
            if event.token == LINKS {
                self.on_links();
                continue;
            }
            if event.writable
                && let Err(error) = self.sockets.on_writable(event.token, &mut self.poller)
            {
                self.warn(&format!("a socket cannot be watched: {error}"));
            }
            if event.readable {
                self.receive(event.token);
            }
            if event.error {
                self.receive_refusals(event.token);
            }
        }
        if !self.outbox.is_full() {
            self.resume_waiting();
        }
    }

    /// One call, which is up to a MiB: what is left is reported again after the connections have
    /// had their turn. Reading on first costs more, for the bytes leave the cache before they are
    /// used.
    fn receive(&mut self, socket: usize) {
        let result = self.sockets.recv(socket, &mut self.scratch.recv);
        if self.sockets.on_received(socket, self.now, result.is_ok(), &mut self.poller)
            && let Err(error) = &result
        {
            self.warn(&format!("receiving failed: {error}"));
        }
        if result.is_err() {
            return;
        }
        let (now, replies) = (self.now, &mut self.scratch.replies);
        let mut panics = Vec::new();
        for slot in self.scratch.recv.slots() {
            let Some(at) = self.sockets.addressee(socket, &slot) else { continue };
            let Some(entry) = self.sockets.get(at) else { continue };
            let service = entry.service;
            let Some(s) = self.services.get_mut(service) else { continue };
            if let Some(gate) = s.listener.as_ref().and_then(|l| l.gate.as_ref()) {
                s.endpoint.set_overloaded(gate.is_shut());
            }
            let addresses = entry.four_tuple(slot.remote, slot.local_ip);
            let ecn = slot.ecn.map(from_socket);
            let result = catch_unwind(AssertUnwindSafe(|| {
                s.endpoint.receive(now, addresses, ecn, (slot.data, slot.stride), replies);
            }));
            if let Err(panic) = result {
                panics.push((service, s.endpoint.take_in_hand(), panic));
            }
            if !replies.is_empty() {
                send_replies(&mut self.sockets, at, replies);
                replies.clear();
            }
        }
        for (service, handle, panic) in panics {
            self.contain(handle.map(|handle| Place { service, handle }), &*panic);
        }
    }

    /// Tells connections what ICMP says about their datagrams.
    fn receive_refusals(&mut self, socket: usize) {
        let Some(entry) = self.sockets.get(socket) else { return };
        for Refusal { remote, quote } in entry.socket.take_refusals() {
            if let Some(service) = self.services.get_mut(entry.service) {
                service.endpoint.on_port_unreachable(self.now, remote, &quote);
            }
        }
    }

    /// Gives new connections their applications.
    pub(super) fn admit(&mut self) {
        let fresh = |(service, s): (usize, &mut Service)| {
            s.listener.as_ref()?;
            Some(Place { service, handle: s.endpoint.poll_accepted()? })
        };
        while let Some(place) = self.services.iter_mut().find_map(fresh) {
            self.admit_one(place);
        }
    }

    fn admit_one(&mut self, place: Place) {
        let Some(service) = self.services.get_mut(place.service) else { return };
        let Some(Listener { id, acceptor, max_payload, .. }) = &service.listener else { return };
        let Some(acceptor) = acceptor else { return };
        let Some(connection) = service.endpoint.connection(place.handle) else { return };
        let Some(path) = connection.path(0) else { return };
        let addresses = path.active().addresses;
        connection.limit_mtu(self.mtus.payload(self.now, addresses.remote, *max_payload));
        let key = self.inbox.key();
        let accepted = Accepted {
            key,
            listener: *id,
            local: addresses.local,
            remote: addresses.remote,
            inbox: self.inbox.clone(),
        };
        match catch_unwind(AssertUnwindSafe(|| acceptor(&accepted))) {
            Ok(application) => {
                self.enter(place, Slot::new(place.handle, key, application));
            }
            Err(panic) => {
                connection.fail(self.now, TransportError::internal("no application"));
                self.counters.panics += 1;
                let what = panic_message(&*panic);
                self.warn(&format!("no application for a new connection: {what}"));
            }
        }
    }

    /// Puts a connection's slot into the tables.
    pub(super) fn enter(&mut self, place: Place, slot: Slot) {
        self.keys.insert(slot.key, place);
        let Some(service) = self.services.get_mut(place.service) else { return };
        if let Some(old) = service.table.insert(slot) {
            self.leave(old);
        }
    }
}

/// Answers that belong to no connection; what a full socket does not take is lost, as datagrams may
/// be.
fn send_replies(sockets: &mut Sockets, socket: usize, replies: &[Reply]) {
    for some in replies.chunks(MAX_TRAINS) {
        let Some(entry) = sockets.get(socket) else { return };
        let mut batch: ArrayVec<Transmit<'_>, MAX_TRAINS> = ArrayVec::new();
        batch.extend(some.iter().map(|reply| Transmit {
            remote: reply.addresses.remote,
            local_ip: entry.source(reply.addresses.local),
            ecn: None,
            segment_size: reply.data.len(),
            data: &reply.data,
            buffer: None,
        }));
        sockets.send_now(socket, &batch);
    }
}
