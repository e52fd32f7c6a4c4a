//! Admission of new connections (RFC 9000 section 8.1): who gets state, who must first show that it
//! receives at its address, who is turned away.

use tquic_crypto::retry;
use tquic_crypto::token::{RetryToken, TOKEN_ID_LEN, Token, TokenError, TokenKind, TokenLifetimes};
use tquic_wire::header::{self, LongHeader};
use tquic_wire::{ConnectionId, TransportErrorCode, Version, Writer};

use crate::config::{AcceptConfig, RetryPolicy};
use crate::connection::{Connection, ServerSetup};
use crate::endpoint::route::{Batch, deliver};
use crate::endpoint::{ConnectionHandle, Endpoint, Reply};
use crate::time::Instant;

/// RFC 9000 section 7.2: a client's first connection ID has at least this many bytes.
const MIN_FIRST_DCID: usize = 8;

/// The header of a first Initial packet, free of the datagram's borrow.
pub(super) struct First {
    version: Version,
    dcid: ConnectionId,
    scid: ConnectionId,
    token: Vec<u8>,
}

impl From<&LongHeader<'_>> for First {
    fn from(h: &LongHeader<'_>) -> Self {
        Self { version: h.version, dcid: h.dcid, scid: h.scid, token: h.token.to_vec() }
    }
}

impl First {
    fn header(&self) -> LongHeader<'_> {
        LongHeader {
            version: self.version,
            ty: tquic_wire::PacketType::Initial,
            dcid: self.dcid,
            scid: self.scid,
            token: &self.token,
            pn_offset: 0,
            packet_len: 0,
        }
    }
}

/// What the packet's token proves.
enum Proof {
    Nothing,
    Address,
    Retried(RetryToken),
    /// A Retry token that a connection began with before: a late copy.
    Spent,
    /// A Retry token that does not hold: RFC 9000 section 8.1.2.
    Invalid,
}

/// The name of a Retry token in the filter: the unpredictable ID that came with it.
fn spent_name(retry_scid: &ConnectionId) -> [u8; TOKEN_ID_LEN] {
    let mut name = [0; TOKEN_ID_LEN];
    for (to, from) in name.iter_mut().zip(retry_scid.as_slice()) {
        *to = *from;
    }
    name
}

impl Endpoint {
    pub(super) fn accept(&mut self, batch: &mut Batch<'_>, first: &First, datagram: &mut [u8]) {
        let Some(accept) = self.accept.clone() else {
            self.stats.dropped += 1;
            return;
        };
        if !accept.transport.versions.contains(&first.version) {
            return self.negotiate_version(batch, first.dcid.as_slice(), first.scid.as_slice());
        }
        if first.dcid.len() < MIN_FIRST_DCID {
            self.stats.dropped += 1;
            return;
        }
        // Before the token: the client can use it again.
        if let Some(why) = self.fullness(&accept) {
            // RFC 9000 section 5.2.2: nothing is kept, and the client need not wait for a timeout.
            let code = TransportErrorCode::CONNECTION_REFUSED;
            return self.refuse(batch, &first.header(), code, why);
        }
        let proof = self.check_token(batch, &accept, first);
        if matches!(proof, Proof::Invalid) {
            let code = TransportErrorCode::INVALID_TOKEN;
            return self.refuse(batch, &first.header(), code, "the Retry token is not valid");
        }
        if matches!(proof, Proof::Spent) {
            self.stats.dropped += 1;
            return;
        }
        let busy = self.half_open >= accept.retry_above;
        let wants_retry = match accept.retry {
            RetryPolicy::Always => true,
            RetryPolicy::WhenBusy => busy,
            RetryPolicy::Never => false,
        };
        let retried_from = match &proof {
            Proof::Retried(token) => Some(token.original_dcid),
            // With `Always`, only a Retry's own token will do.
            Proof::Nothing if wants_retry => return self.send_retry(batch, first),
            Proof::Address if accept.retry == RetryPolicy::Always => {
                return self.send_retry(batch, first);
            }
            _ => None,
        };
        let setup = ServerSetup {
            transport: accept.transport,
            tls: accept.tls,
            addresses: batch.addresses,
            version: first.version,
            dcid: first.dcid,
            scid: first.scid,
            retried_from,
            address_validated: !matches!(proof, Proof::Nothing),
            preferred: accept.preferred,
        };
        self.admit(batch, setup, datagram);
    }

    /// Why nobody is let in now.
    fn fullness(&self, accept: &AcceptConfig) -> Option<&'static str> {
        let full = self.connections.len() >= accept.max_connections
            || self.half_open >= accept.max_handshakes;
        match (full, self.overloaded) {
            (true, _) => Some("too many connections"),
            (false, true) => Some("too much to do, try again later"),
            (false, false) => None,
        }
    }

    fn admit(&mut self, batch: &mut Batch<'_>, setup: ServerSetup, datagram: &mut [u8]) {
        let retry_scid = setup.retried_from.map(|_| setup.dcid);
        let rng = self.rng.fork();
        let connection = Connection::server(setup, self.factory.clone(), rng, batch.now);
        let handle = self.insert(connection, true);
        self.take_events(batch.now, handle);
        let len = datagram.len();
        deliver(self, batch, handle, datagram, len);
        // A packet that does not authenticate leaves nothing behind.
        let genuine = self.entry(handle).is_some_and(|e| e.connection.stats().packets_received > 0);
        if genuine {
            self.stats.accepted += 1;
            if let Some(scid) = retry_scid {
                // Only now: a damaged packet must not use up its token.
                self.tokens.retried.first_use(&spent_name(&scid), self.tokens.seconds(batch.now));
            }
            self.fresh.push_back(handle);
        } else {
            self.stats.dropped += 1;
            self.remove(handle);
        }
    }

    fn check_token(&mut self, batch: &Batch<'_>, accept: &AcceptConfig, first: &First) -> Proof {
        if first.token.is_empty() {
            return Proof::Nothing;
        }
        let now = self.tokens.seconds(batch.now);
        let lifetimes = TokenLifetimes {
            retry: accept.retry_token_lifetime.as_secs(),
            address: accept.token_lifetime.as_secs(),
        };
        let client = batch.addresses.remote;
        match self.tokens.key.open(first.version, client, now, &lifetimes, &first.token) {
            Ok(Token::Retry(token)) if token.retry_scid != first.dcid => Proof::Invalid,
            Ok(Token::Retry(token)) => match self.tokens.retried.knows(&spent_name(&first.dcid)) {
                true => Proof::Spent,
                false => Proof::Retried(token),
            },
            Ok(Token::Address(token)) if self.tokens.used.first_use(&token.id, now) => {
                Proof::Address
            }
            Err(
                TokenError::OtherAddress(TokenKind::Retry) | TokenError::Expired(TokenKind::Retry),
            ) => Proof::Invalid,
            // RFC 9000 section 8.1.3: otherwise as if there were no token.
            Ok(Token::Address(_)) | Err(_) => Proof::Nothing,
        }
    }

    fn send_retry(&mut self, batch: &mut Batch<'_>, first: &First) {
        let scid = self.factory.generate(&mut self.rng);
        let token = RetryToken {
            original_dcid: first.dcid,
            retry_scid: scid,
            issued: self.tokens.seconds(batch.now),
        };
        let random = self.rng.array();
        let remote = batch.addresses.remote;
        let sealed = self.tokens.key.seal_retry(random, first.version, remote, &token);
        let mut data = vec![0; 7 + first.scid.len() + scid.len() + sealed.len()];
        let mut w = Writer::new(&mut data);
        let unused = self.rng.u64() as u8 & 0x0f;
        header::write_retry(&mut w, unused, first.version, &first.scid, &scid, &sealed);
        let tag = retry::integrity_tag(first.version, &first.dcid, &data);
        data.extend_from_slice(&tag);
        self.stats.retries += 1;
        batch.replies.push(Reply { addresses: batch.addresses, data });
    }

    /// A token for the client's next connection (RFC 9000 section 8.1.3).
    pub(super) fn give_token(&mut self, now: Instant, handle: ConnectionHandle) {
        let issued = self.tokens.seconds(now);
        let random = self.rng.array();
        let Some(entry) = self.connections.get_mut(handle.index as usize) else { return };
        let connection = &mut entry.connection;
        let Some(path) = connection.path(0) else { return };
        let client = path.active().addresses.remote.ip();
        let token = self.tokens.key.seal_address(random, connection.version(), client, issued);
        connection.send_token(token);
    }
}
