//! What the relay learns from cleartext headers: the facts by which interop cases are judged.

use super::header::{Kind, Packets};
use crate::packet::Ecn;
use std::collections::{BTreeMap, BTreeSet};

/// Most values remembered of anything that peers choose.
const MAX_REMEMBERED: usize = 4096;

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From a client to the server.
    ToServer,
    /// From the server to a client.
    ToClient,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ToServer, Self::ToClient];

    /// A name for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ToServer => "to_server",
            Self::ToClient => "to_client",
        }
    }
}

/// Packets of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindFacts {
    /// How many were sent.
    pub packets: u64,
    /// Versions in their headers; none in a short header.
    pub versions: BTreeSet<u32>,
}

/// What peers sent, seen before the links touched it. Damaged or lost packets count: they were sent.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Packets by direction and kind.
    pub kinds: BTreeMap<(Direction, Kind), KindFacts>,
    /// Source connection IDs of the server's Initial packets: one for each handshake.
    pub server_initial_scids: BTreeSet<Vec<u8>>,
    /// Client Initial packets that carry a token.
    pub initials_with_token: u64,
    /// Those whose token a Retry packet brought before.
    pub initials_with_retry_token: u64,
    /// Most client Initial packets of a flow before the server's first answer reached the relay:
    /// more than a ClientHello needs show that it was repeated.
    pub initials_before_answer: u64,
    /// Datagrams by ECN field as sent, by direction, in the order of [`Ecn::ALL`].
    pub ecn: BTreeMap<Direction, [u64; 4]>,
    /// How far servers went before clients were known to be there.
    pub amplification: Amplification,
    retry_tokens: BTreeSet<Vec<u8>>,
}

/// The server's limit before address validation (RFC 9000 section 8.1), over all flows. Flows of
/// which an Initial packet carried a token are left out: the token may validate the address.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amplification {
    /// Flows that were watched until the client's first Handshake packet reached the server.
    pub flows_completed: u64,
    /// Most bytes from a server, and the bytes that had reached it by then, at the worst moment.
    pub worst: (u64, u64),
    /// Datagrams that took a server beyond three times what had reached it.
    pub datagrams_over_limit: u64,
}

impl Amplification {
    /// The worst ratio of bytes from the server to bytes that had reached it.
    pub fn worst_ratio(&self) -> f64 {
        let (sent, received) = self.worst;
        if sent == 0 { 0.0 } else { sent as f64 / received.max(1) as f64 }
    }
}

/// One client's ledger: one address and port as the relay sees them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ledger {
    reached_server: u64,
    left_server: u64,
    initials: u64,
    validated: bool,
}

impl Facts {
    /// A datagram that a peer sent, as it entered the relay.
    pub(super) fn sent(
        &mut self,
        direction: Direction,
        datagram: &[u8],
        tos: u8,
        ledger: &mut Ledger,
    ) {
        self.ecn.entry(direction).or_default()[usize::from(Ecn::from_tos(tos).as_tos())] += 1;
        for packet in Packets::of(datagram) {
            let facts = self.kinds.entry((direction, packet.kind)).or_default();
            facts.packets += 1;
            if packet.kind != Kind::Short {
                remember(&mut facts.versions, &packet.version);
            }
            match (direction, packet.kind) {
                (Direction::ToServer, Kind::Initial) => self.client_initial(packet.token, ledger),
                (Direction::ToClient, Kind::Initial) => {
                    remember(&mut self.server_initial_scids, packet.scid);
                }
                (Direction::ToClient, Kind::Retry) => {
                    remember(&mut self.retry_tokens, packet.token);
                }
                _ => {}
            }
        }
        if direction == Direction::ToClient {
            self.charge(datagram.len() as u64, ledger);
        }
    }

    /// A datagram that the relay handed to the server; a damaged one cannot be read any more.
    pub(super) fn reached_server(&mut self, datagram: &[u8], intact: bool, ledger: &mut Ledger) {
        if ledger.validated {
            return;
        }
        ledger.reached_server += datagram.len() as u64;
        // RFC 9000 section 8.1: a Handshake packet shows that the client got the server's keys.
        if intact && Packets::of(datagram).any(|packet| packet.kind == Kind::Handshake) {
            ledger.validated = true;
            self.amplification.flows_completed += 1;
        }
    }

    fn client_initial(&mut self, token: &[u8], ledger: &mut Ledger) {
        if ledger.left_server == 0 {
            ledger.initials += 1;
            self.initials_before_answer = self.initials_before_answer.max(ledger.initials);
        }
        if !token.is_empty() {
            self.initials_with_token += 1;
            self.initials_with_retry_token += u64::from(self.retry_tokens.contains(token));
            ledger.validated = true;
        }
    }

    fn charge(&mut self, bytes: u64, ledger: &mut Ledger) {
        ledger.left_server += bytes;
        if ledger.validated {
            return;
        }
        let now = (ledger.left_server, ledger.reached_server);
        let worst = &mut self.amplification.worst;
        let ratio = |(sent, received): (u64, u64)| sent as f64 / received.max(1) as f64;
        if ratio(now) > ratio(*worst) {
            *worst = now;
        }
        if now.0 > now.1.saturating_mul(3) {
            self.amplification.datagrams_over_limit += 1;
        }
    }
}

/// Adds to a set of values that peers choose, up to a bound.
fn remember<T, Q>(set: &mut BTreeSet<T>, value: &Q)
where
    T: Ord + core::borrow::Borrow<Q>,
    Q: Ord + ToOwned<Owned = T> + ?Sized,
{
    if set.len() < MAX_REMEMBERED && !set.contains(value) {
        set.insert(value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::tests::long_packet;
    use super::*;

    fn initial(scid: &[u8], token: &[u8], size: usize) -> Vec<u8> {
        long_packet(0, 1, scid, Some(token), size)
    }

    #[test]
    fn a_handshake_is_read_from_its_headers() {
        let (mut facts, mut ledger) = (Facts::default(), Ledger::default());
        let hello = initial(b"c", b"", 1200);
        for _ in 0..2 {
            facts.sent(Direction::ToServer, &hello, 0b10, &mut ledger);
        }
        // Only one of the two arrives.
        facts.reached_server(&hello, true, &mut ledger);
        let answer = [initial(b"s", b"", 1200), long_packet(2, 1, b"s", None, 1000)].concat();
        facts.sent(Direction::ToClient, &answer, 0b11, &mut ledger);
        assert_eq!(facts.amplification.datagrams_over_limit, 0);
        facts.sent(Direction::ToClient, &answer, 0b11, &mut ledger);
        assert_eq!(facts.amplification.datagrams_over_limit, 1);
        assert_eq!(facts.amplification.worst, (2 * answer.len() as u64, hello.len() as u64));
        // A damaged Handshake packet validates nothing.
        let handshake = long_packet(2, 1, b"c", None, 50);
        facts.reached_server(&handshake, false, &mut ledger);
        assert_eq!(facts.amplification.flows_completed, 0);
        facts.reached_server(&handshake, true, &mut ledger);
        assert_eq!(facts.amplification.flows_completed, 1);
        // From here on, the server may send what it likes.
        let before = facts.amplification;
        facts.sent(Direction::ToClient, &vec![0x40; 9000], 0, &mut ledger);
        assert_eq!(facts.amplification, before);

        assert_eq!(facts.initials_before_answer, 2);
        assert_eq!(facts.server_initial_scids.len(), 1);
        let initials = &facts.kinds[&(Direction::ToServer, Kind::Initial)];
        assert_eq!((initials.packets, initials.versions.contains(&1)), (2, true));
        assert_eq!(facts.ecn[&Direction::ToServer], [0, 0, 2, 0]);
        assert_eq!(facts.ecn[&Direction::ToClient], [1, 0, 0, 2]);
    }

    #[test]
    fn a_retry_token_is_recognised() {
        let (mut facts, mut ledger) = (Facts::default(), Ledger::default());
        let mut retry = long_packet(3, 1, b"s", None, 0);
        retry.truncate(retry.len() - 2);
        retry.extend([b"token", &[7; 16][..]].concat());
        facts.sent(Direction::ToServer, &initial(b"c", b"", 1200), 0, &mut ledger);
        facts.sent(Direction::ToClient, &retry, 0, &mut ledger);
        facts.sent(Direction::ToServer, &initial(b"c", b"token", 1200), 0, &mut ledger);
        facts.sent(Direction::ToServer, &initial(b"c", b"other", 1200), 0, &mut ledger);
        assert_eq!((facts.initials_with_token, facts.initials_with_retry_token), (2, 1));
        assert_eq!(facts.kinds[&(Direction::ToClient, Kind::Retry)].packets, 1);
    }
}
