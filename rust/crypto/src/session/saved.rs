//! Session tickets that can be written down, for use by another process.

use std::sync::Arc;

use rustls::quic::Connection;
use rustls_pki_types::ServerName;
use tquic_wire::Version;
use zeroize::Zeroizing;

use super::tap::TicketSecret;
use super::tickets::{SharedVersion, TicketStore};
use crate::Suite;

/// The first byte of a ticket that is written down: others are of another format.
const FORMAT: u8 = 1;
/// A ticket that is larger is not kept: certificate chains have some KiB.
const MAX_SIZE: usize = 128 << 10;
/// RFC 8446 section 4.6.1: clients MUST NOT use tickets for longer than 7 days.
const MAX_LIFETIME: u32 = 604_800;
/// Unfinished handshake messages kept at most; rustls takes no longer ones.
const MAX_MESSAGE: usize = 68 << 10;
/// RFC 8446 section 4.
const NEW_SESSION_TICKET: u8 = 4;
/// RFC 8446 section 4.2.
const EXTENSION_EARLY_DATA: u16 = 42;

/// All that is needed to resume a session.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SavedTicket {
    /// The server, as it was asked for.
    pub server: String,
    pub version: Version,
    pub suite: Suite,
    /// When it came, in seconds since 1970.
    pub issued: u64,
    pub lifetime: u32,
    pub age_add: u32,
    pub early_data: bool,
    pub psk: Zeroizing<Vec<u8>>,
    pub ticket: Vec<u8>,
    /// The server's transport parameters.
    pub parameters: Vec<u8>,
    pub alpn: Vec<u8>,
    /// SHA-256 of the certificate that this client showed, or nothing.
    pub identity: Vec<u8>,
    /// The server's certificates, which were verified when the ticket came.
    pub chain: Vec<Vec<u8>>,
}

impl SavedTicket {
    /// The server as the store knows it; `None` if that can be no server's name.
    pub fn name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.server.clone()).ok()
    }

    pub fn expires(&self) -> u64 {
        self.issued.saturating_add(u64::from(self.lifetime.min(MAX_LIFETIME)))
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend(self.issued.to_be_bytes());
        for number in [self.version.0, self.lifetime, self.age_add, u32::from(self.early_data)] {
            out.extend(number.to_be_bytes());
        }
        let fields: [&[u8]; 7] = [
            self.server.as_bytes(),
            self.suite.name().as_bytes(),
            &self.psk,
            &self.ticket,
            &self.parameters,
            &self.alpn,
            &self.identity,
        ];
        for field in fields.into_iter().chain(self.chain.iter().map(Vec::as_slice)) {
            // Every field is bounded far below 4 GiB by TLS.
            out.extend((field.len() as u32).to_be_bytes());
            out.extend(field);
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_SIZE {
            return None;
        }
        let mut reader = Reader(bytes);
        if reader.take(1)? != [FORMAT] {
            return None;
        }
        let issued = u64::from_be_bytes(reader.array()?);
        let version = Version(reader.number()?);
        let (lifetime, age_add, early_data) =
            (reader.number()?, reader.number()?, reader.number()? != 0);
        let server = String::from_utf8(reader.field()?.to_vec()).ok()?;
        let suite = Suite::from_name(std::str::from_utf8(reader.field()?).ok()?)?;
        let psk = Zeroizing::new(reader.field()?.to_vec());
        let mut next = || reader.field().map(<[u8]>::to_vec);
        let (ticket, parameters, alpn, identity) = (next()?, next()?, next()?, next()?);
        let mut chain = Vec::new();
        while !reader.0.is_empty() {
            chain.push(reader.field()?.to_vec());
        }
        let usable = !ticket.is_empty()
            && ticket.len() <= usize::from(u16::MAX)
            && psk.len() == suite.secret_len()
            && (1..=255).contains(&alpn.len())
            && !chain.is_empty();
        usable.then_some(Self {
            server,
            version,
            suite,
            issued,
            lifetime,
            age_add,
            early_data,
            psk,
            ticket,
            parameters,
            alpn,
            identity,
            chain,
        })
    }

    /// The handshake message that brought the ticket, with another nonce, which says nothing.
    pub fn message(&self) -> Vec<u8> {
        let mut body = self.lifetime.to_be_bytes().to_vec();
        body.extend(self.age_add.to_be_bytes());
        body.extend([1, 0]);
        body.extend((self.ticket.len() as u16).to_be_bytes());
        body.extend(&self.ticket);
        if self.early_data {
            // RFC 9001 section 4.6.1: the size is always this.
            body.extend([0, 8, 0, EXTENSION_EARLY_DATA as u8, 0, 4, 0xff, 0xff, 0xff, 0xff]);
        } else {
            body.extend([0, 0]);
        }
        let mut message = (body.len() as u32).to_be_bytes().to_vec();
        message[0] = NEW_SESSION_TICKET;
        message.extend(body);
        message
    }
}

impl std::fmt::Debug for SavedTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SavedTicket").field("server", &self.server).finish_non_exhaustive()
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn field(&mut self) -> Option<&'a [u8]> {
        let len = self.number()? as usize;
        self.take(len)
    }
}

/// Writes down the tickets that come to one connection.
pub(super) struct TicketSaver {
    pub store: TicketStore,
    pub server: String,
    pub version: SharedVersion,
    /// SHA-256 of our own certificate, or nothing.
    pub identity: Vec<u8>,
    pub time: Arc<dyn rustls::time_provider::TimeProvider>,
    /// The beginning of a message.
    pub pending: Vec<u8>,
}

/// What a NewSessionTicket message says.
struct NewTicket<'a> {
    lifetime: u32,
    age_add: u32,
    nonce: &'a [u8],
    ticket: &'a [u8],
    early_data: bool,
}

impl TicketSaver {
    /// Keeps the tickets in handshake bytes that rustls accepted, with the secrets it made of them.
    pub fn on_handshake_bytes(
        &mut self,
        tls: &Connection,
        data: &[u8],
        mut secrets: Vec<TicketSecret>,
    ) {
        self.pending.extend(data);
        while let Some(len) = message_len(&self.pending) {
            let rest = self.pending.split_off(len);
            let message = std::mem::replace(&mut self.pending, rest);
            if let Some((&NEW_SESSION_TICKET, body)) = message.split_first()
                && let Some(new) = body.get(3..).and_then(parse)
                && let Some(at) = secrets.iter().position(|(nonce, _)| nonce == new.nonce)
            {
                let (_, psk) = secrets.swap_remove(at);
                self.keep(tls, &new, psk);
            }
        }
        if self.pending.len() > MAX_MESSAGE {
            self.pending.clear();
        }
    }

    fn keep(&self, tls: &Connection, new: &NewTicket<'_>, psk: Zeroizing<Vec<u8>>) -> Option<()> {
        let suite = Suite::from_tls(tls.negotiated_cipher_suite()?.suite())?;
        let saved = SavedTicket {
            server: self.server.clone(),
            version: self.version.get(),
            suite,
            issued: self.time.current_time()?.as_secs(),
            lifetime: new.lifetime,
            age_add: new.age_add,
            early_data: new.early_data,
            psk,
            ticket: new.ticket.to_vec(),
            parameters: tls.quic_transport_parameters()?.to_vec(),
            alpn: tls.alpn_protocol()?.to_vec(),
            identity: self.identity.clone(),
            chain: tls.peer_certificates()?.iter().map(|c| c.to_vec()).collect(),
        };
        self.store.put(saved);
        Some(())
    }
}

fn message_len(bytes: &[u8]) -> Option<usize> {
    let header: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let len = 4 + (u32::from_be_bytes(header) & 0xff_ffff) as usize;
    (bytes.len() >= len).then_some(len)
}

/// RFC 8446 section 4.6.1.
fn parse(body: &[u8]) -> Option<NewTicket<'_>> {
    let mut reader = Reader(body);
    let (lifetime, age_add) = (reader.number()?, reader.number()?);
    let [nonce_len] = reader.array()?;
    let nonce = reader.take(usize::from(nonce_len))?;
    let ticket_len = u16::from_be_bytes(reader.array()?);
    let ticket = reader.take(usize::from(ticket_len))?;
    let extensions_len = u16::from_be_bytes(reader.array()?);
    let mut extensions = Reader(reader.take(usize::from(extensions_len))?);
    let mut early_data = false;
    while !extensions.0.is_empty() {
        let kind = u16::from_be_bytes(extensions.array()?);
        let len = u16::from_be_bytes(extensions.array()?);
        let value = extensions.take(usize::from(len))?;
        early_data |= kind == EXTENSION_EARLY_DATA && value != [0; 4];
    }
    Some(NewTicket { lifetime, age_add, nonce, ticket, early_data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> SavedTicket {
        SavedTicket {
            server: "server.example".to_owned(),
            version: Version::V1,
            suite: Suite::Aes256Gcm,
            issued: 1_748_736_000,
            lifetime: 3600,
            age_add: 0x0102_0304,
            early_data: true,
            psk: Zeroizing::new(vec![7; 48]),
            ticket: vec![1, 2, 3],
            parameters: vec![4],
            alpn: b"h3".to_vec(),
            identity: Vec::new(),
            chain: vec![vec![5; 300], vec![6; 200]],
        }
    }

    #[test]
    fn tickets_survive() {
        let ticket = sample();
        assert_eq!(SavedTicket::decode(&ticket.encode()), Some(ticket.clone()));
        assert_eq!(ticket.expires(), 1_748_739_600);
        assert!(!format!("{ticket:?}").contains('7'));
        let other = SavedTicket { psk: Zeroizing::new(vec![7; 32]), ..ticket.clone() };
        assert_eq!(SavedTicket::decode(&other.encode()), None, "not this suite's hash");
        let mut other = ticket.encode();
        other[0] = 0;
        assert_eq!(SavedTicket::decode(&other), None, "another format");
    }

    #[test]
    fn messages_are_read_as_they_are_written() {
        for early_data in [true, false] {
            let ticket = SavedTicket { early_data, ..sample() };
            let message = ticket.message();
            assert_eq!(message_len(&message), Some(message.len()));
            let new = parse(&message[4..]).unwrap();
            assert_eq!((new.lifetime, new.age_add), (3600, 0x0102_0304));
            assert_eq!(
                (new.ticket, new.early_data, new.nonce),
                (&[1, 2, 3][..], early_data, &[0][..])
            );
        }
    }

    proptest! {
        #[test]
        fn damaged_tickets_do_no_harm(cut in 0usize..700, at in 0usize..700, to: u8) {
            let mut bytes = sample().encode();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
            bytes.truncate(cut);
            let _ = SavedTicket::decode(&bytes);
            let _ = parse(&bytes);
        }
    }
}
