//! Session tickets on the server, each bound to the QUIC version that gave it.

use std::sync::Arc;

use rustls::server::{ProducesTickets, StoresServerSessions};
use tquic_wire::Version;

use super::tickets::SharedVersion;

/// The versions of one connection, as tickets see them.
#[derive(Debug)]
pub(super) struct TicketVersions {
    /// Of the client's first packets: RFC 9369 section 5 lets only tickets of this version pass.
    pub original: Version,
    /// Tickets given out belong to the negotiated version.
    pub negotiated: SharedVersion,
}

impl TicketVersions {
    /// Marks the content of a new ticket.
    fn mark(&self, content: &[u8]) -> Vec<u8> {
        [&self.negotiated.get().0.to_be_bytes()[..], content].concat()
    }

    /// The content of a marked ticket, if it is of the right version.
    fn check(&self, marked: &[u8]) -> Option<Vec<u8>> {
        marked.strip_prefix(&self.original.0.to_be_bytes()[..]).map(<[u8]>::to_vec)
    }
}

/// Tickets that hold the session themselves, encrypted.
#[derive(Debug)]
pub(super) struct StatelessTickets {
    pub inner: Arc<dyn ProducesTickets>,
    pub versions: TicketVersions,
}

impl ProducesTickets for StatelessTickets {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(&self.versions.mark(plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.versions.check(&self.inner.decrypt(cipher)?)
    }
}

/// Tickets that name a session in our memory, each good for one use.
#[derive(Debug)]
pub(super) struct StatefulTickets {
    pub inner: Arc<dyn StoresServerSessions>,
    pub versions: TicketVersions,
}

impl StoresServerSessions for StatefulTickets {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.inner.put(key, self.versions.mark(&value))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.versions.check(&self.inner.get(key)?)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.versions.check(&self.inner.take(key)?)
    }

    fn can_cache(&self) -> bool {
        self.inner.can_cache()
    }
}
