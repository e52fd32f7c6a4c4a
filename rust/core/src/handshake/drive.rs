//! What follows from what TLS says: keys, parameters, completion, confirmation.

use tquic_crypto::KeyChange;
use tquic_wire::{Side, Space, TransportErrorCode, TransportParameters};

use crate::connection::{Connection, State};
use crate::error::TransportError;
use crate::events::{EndpointEvent, Event};
use crate::handshake::{ZeroRtt, parameters, version};
use crate::keys::OneRttKeys;
use crate::time::Instant;

impl Connection {
    /// Handshake bytes arrived: TLS reads them, and we do what it says.
    pub(crate) fn drive_handshake(&mut self, now: Instant) -> Result<(), TransportError> {
        if !self.handshake.is_started() {
            let Some(encoded) = self.handshake.client_hello()? else { return Ok(()) };
            self.accept_client_hello(&encoded)?;
        } else {
            self.handshake.read()?;
            if self.handshake.take_ticket() {
                self.events.push(Event::TicketReceived);
            }
        }
        self.learn_parameters()?;
        if self.ids.side == Side::Server && self.keys.zero_rtt.is_none() {
            self.keys.zero_rtt = self.handshake.zero_rtt_keys().map(Box::new);
            if self.keys.zero_rtt.is_some() {
                self.handshake.zero_rtt = ZeroRtt::Accepted;
                self.handshake.keys_changed();
            }
        }
        while let Some(change) = self.handshake.write()? {
            self.install(now, change)?;
        }
        if self.handshake.take_completion()? {
            self.on_complete(now);
        }
        Ok(())
    }

    fn accept_client_hello(&mut self, encoded: &[u8]) -> Result<(), TransportError> {
        let theirs = decode_parameters(Side::Client, encoded)?;
        let chosen = version::choose(
            &self.config.versions,
            self.ids.original_version,
            theirs.version_information.as_ref(),
        )?;
        self.change_version(chosen);
        let ours = self.server_parameters();
        self.handshake
            .start(self.ids.original_version, chosen, ours)
            .map_err(|e| super::tls_error(&e))
    }

    fn learn_parameters(&mut self) -> Result<(), TransportError> {
        if self.handshake.parameters_seen {
            return Ok(());
        }
        let Some(encoded) = self.handshake.peer_parameters() else { return Ok(()) };
        let theirs = decode_parameters(self.ids.side.opposite(), encoded)?;
        self.handshake.parameters_seen = true;
        parameters::authenticate(&self.ids, &theirs)?;
        version::authenticate(
            &self.ids,
            &self.config.versions,
            theirs.version_information.as_ref(),
        )?;
        self.apply_parameters(theirs)
    }

    fn apply_parameters(&mut self, theirs: TransportParameters) -> Result<(), TransportError> {
        if self.handshake.zero_rtt == ZeroRtt::Offered && self.handshake.early_data_accepted() {
            if !parameters::keeps_promises(&self.peer, &theirs) {
                // RFC 9000 section 7.4.1.
                return Err(TransportError::violation(
                    "the server accepted 0-RTT and lowered the limits it had given",
                ));
            }
            self.handshake.zero_rtt = ZeroRtt::Accepted;
        }
        self.streams.set_peer_limits(&theirs);
        self.datagrams.set_peer_limit(theirs.max_datagram_frame_size);
        let path = &mut self.paths[0];
        if let Some(token) = theirs.stateless_reset_token {
            path.remote_cids.set_initial_token(token);
            self.events.push_endpoint(EndpointEvent::ResetToken(token));
        }
        if let Some(preferred) = &theirs.preferred_address {
            path.remote_cids.add_preferred(preferred.cid, preferred.reset_token);
        }
        let limit = u16::try_from(theirs.max_udp_payload_size).unwrap_or(u16::MAX);
        path.active_mut().mtu.lower_limit(limit);
        self.peer = theirs;
        self.negotiate_multipath()
    }

    fn install(&mut self, now: Instant, change: KeyChange) -> Result<(), TransportError> {
        match change {
            KeyChange::Handshake(keys) => self.keys.handshake = Some(Box::new(keys)),
            KeyChange::OneRtt(keys, secrets) => {
                let Some(suite) = self.handshake.suite() else {
                    return Err(TransportError::internal("1-RTT keys without a cipher suite"));
                };
                let interval = self.config.key_update_interval;
                self.keys.one_rtt = Some(OneRttKeys::new(suite, keys, secrets, interval));
                if self.ids.side == Side::Client {
                    self.end_zero_rtt(now);
                }
            }
        }
        self.handshake.keys_changed();
        Ok(())
    }

    /// Client: 1-RTT keys are there, 0-RTT is over (RFC 9000 section 17.2.3, RFC 9001 sections 4.9.3
    /// and 5.6).
    fn end_zero_rtt(&mut self, now: Instant) {
        self.keys.zero_rtt = None;
        if self.handshake.zero_rtt == ZeroRtt::Offered {
            self.handshake.zero_rtt = ZeroRtt::Rejected;
            // RFC 9001 section 4.6.2: everything sent early is sent again.
            self.requeue_data_space(now);
            self.streams.on_zero_rtt_rejected();
            self.streams.set_peer_limits(&self.peer);
            self.events.push(Event::ZeroRttRejected);
        }
    }

    fn on_complete(&mut self, now: Instant) {
        self.state = State::Established;
        self.timers.handshake = None;
        self.restart_idle(now);
        self.replenish_cids();
        self.events.push(Event::Connected);
        self.events.push_endpoint(EndpointEvent::HandshakeOver);
        if self.ids.side == Side::Server {
            // RFC 9001 section 4.1.2: for a server, complete is confirmed.
            self.control.handshake_done();
            self.confirm_handshake(now);
            self.events.push_endpoint(EndpointEvent::WantsToken);
            if self.keys.zero_rtt.is_some() {
                // RFC 9001 section 4.9.3: kept a while for reordered packets.
                self.timers.zero_rtt_keys = Some(now + self.pto() * 3);
            }
        }
    }

    /// Both ends know that the handshake is complete (RFC 9001 section 4.1.2).
    pub(crate) fn confirm_handshake(&mut self, now: Instant) {
        if self.handshake.is_confirmed() {
            return;
        }
        self.handshake.confirm();
        self.handshake.release();
        self.discard_space(now, Space::Initial);
        self.discard_space(now, Space::Handshake);
        if self.ids.side == Side::Client {
            self.try_preferred_address(now);
            if self.multipath.is_some() {
                self.events.push(Event::PathsAvailable);
            }
        }
    }

    /// Issues connection IDs up to what the peer stores.
    pub(crate) fn replenish_cids(&mut self) {
        let limit = self.peer.active_connection_id_limit;
        for path in self.paths.iter_mut().filter(|p| p.standing.may_send()) {
            for cid in path.local_cids.replenish(limit, &self.factory, &mut self.rng) {
                self.events.push_endpoint(EndpointEvent::CidIssued(cid));
            }
        }
        self.replenish_spares();
    }

    /// RFC 9001 sections 4.9 and 4.9.2: keys and everything else of a packet-number space go.
    pub(crate) fn discard_space(&mut self, now: Instant, space: Space) {
        let keys = match space {
            Space::Initial => {
                self.keys.initial_original = None;
                &mut self.keys.initial
            }
            Space::Handshake => &mut self.keys.handshake,
            Space::Data => return,
        };
        if keys.take().is_none() {
            return;
        }
        if space == Space::Initial && self.ids.side == Side::Server {
            self.events.push_endpoint(EndpointEvent::CidRetired(self.ids.initial_dcid));
        }
        self.paths[0].discard_space(now, space);
        self.handshake.discard(space);
    }
}

fn decode_parameters(sender: Side, encoded: &[u8]) -> Result<TransportParameters, TransportError> {
    TransportParameters::decode(sender, encoded).map_err(|e| {
        TransportError::new(TransportErrorCode::TRANSPORT_PARAMETER_ERROR, e.to_string())
    })
}
