//! Packets without protection: Retry and Version Negotiation. Both come from whoever likes to send
//! them, so a client believes them only before it has heard anything authentic.

use tquic_crypto::{initial_keys, retry};
use tquic_wire::{ConnectionId, PacketType, Side, Space, Version};

use crate::connection::{Connection, State};
use crate::events::ConnectionError;
use crate::handshake::version;
use crate::rx::Arrival;
use crate::time::Instant;
use crate::trace::DropReason;

/// A Retry packet, free of the datagram's borrow.
pub(crate) struct Retry {
    pub(crate) version: Version,
    pub(crate) dcid: ConnectionId,
    pub(crate) scid: ConnectionId,
    pub(crate) token: Vec<u8>,
}

impl Connection {
    fn heard_nothing(&self) -> bool {
        self.ids.side == Side::Client
            && matches!(self.state, State::Handshaking)
            && self.ids.peer.is_none()
    }

    /// RFC 9000 sections 17.2.5.1 and 17.2.5.2.
    pub(crate) fn on_retry(&mut self, arrival: &Arrival, packet: &[u8], r: &Retry) {
        let acceptable = self.heard_nothing()
            && self.ids.retry.is_none()
            && r.version == self.ids.version
            && r.dcid == self.ids.local
            && r.scid != self.ids.initial_dcid
            && retry::verify(r.version, &self.ids.initial_dcid, packet);
        if !acceptable {
            let ty = Some(PacketType::Retry);
            return self.drop_packet(arrival.now, ty, packet.len(), DropReason::Rejected);
        }
        self.ids.retry = Some(r.scid);
        self.ids.initial_dcid = r.scid;
        self.ids.token.clone_from(&r.token);
        let fresh = initial_keys(self.ids.version, &r.scid, Side::Client);
        self.keys.initial = Some(Box::new(fresh));
        self.keys.initial_original = None;
        self.paths[0].remote_cids.replace_initial(r.scid);
        // Packet numbers go on (RFC 9000 section 17.2.5.3), the content is sent again.
        self.resend_everything(arrival.now);
    }

    /// RFC 9000 section 6.2.
    pub(crate) fn on_version_negotiation(
        &mut self,
        now: Instant,
        (ours, size): (bool, usize),
        offered: Vec<Version>,
    ) {
        let tried = self.ids.version;
        let unwanted = !ours || !self.heard_nothing() || self.ids.negotiated_from.is_some();
        if unwanted || offered.contains(&tried) {
            let ty = Some(PacketType::VersionNegotiation);
            return self.drop_packet(now, ty, size, DropReason::Rejected);
        }
        let Some(next) = version::retry_with(&self.config.versions, &offered, tried) else {
            // RFC 9000 section 15: reserved versions are there to be ignored.
            let offered = offered.into_iter().filter(|version| !version.is_reserved()).collect();
            return self.vanish(ConnectionError::VersionMismatch { offered });
        };
        self.ids.negotiated_from = Some(offered);
        self.ids.version = next;
        self.ids.original_version = next;
        // A new first flight with a new Destination Connection ID (RFC 9368 section 2.1).
        let dcid = ConnectionId::new(&self.rng.array::<8>()).unwrap_or_default();
        self.ids.initial_dcid = dcid;
        self.ids.original_dcid = dcid;
        self.paths[0].remote_cids.replace_initial(dcid);
        self.resend_everything(now);
        if let Err(error) = self.start_client() {
            self.vanish(error.into());
        }
    }

    /// What was sent so far went to nobody: 0-RTT data too is sent again.
    fn resend_everything(&mut self, now: Instant) {
        self.requeue_data_space(now);
        self.paths[0].recovery.on_retry(now);
        self.handshake.send[0].restart();
    }

    /// Everything in flight in the Data space (0-RTT) is to be sent again, without a word to
    /// congestion control.
    pub(crate) fn requeue_data_space(&mut self, now: Instant) {
        let (recovery, mut router) = self.recovery_and_router(now, 0);
        recovery.requeue(Space::Data, &mut router);
    }
}
