//! An endpoint and whatever falls into its port: first packets of many clients, Version Negotiation,
//! Retry, resets, and bytes that mean nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tquic_core::config::RetryPolicy;
use tquic_crypto::{Level, retry};
use tquic_wire::header::{write_retry, write_version_negotiation};
use tquic_wire::{ConnectionId, Side, Version, Writer};

use super::frames;
use super::rogue::arena::{Arena, quiet};
use super::rogue::{Draft, Rogue, Script};
use super::source::Source;

const CLIENTS: u64 = 6;

struct Port<'a> {
    arena: Arena,
    source: Source<'a>,
    /// Bytes that each address sent.
    given: HashMap<SocketAddr, usize>,
    clients: Vec<Rogue>,
    seen: usize,
}

/// The script: policy first, then what arrives.
pub fn endpoint(data: &[u8]) {
    let mut source = Source::new(data);
    let flags = source.u8();
    let under = if flags & 1 == 0 { Side::Server } else { Side::Client };
    let mut arena = Arena::with(under, quiet(), |mut accept| {
        accept.retry = match flags >> 1 & 3 {
            0 => RetryPolicy::Always,
            1 => RetryPolicy::Never,
            _ => RetryPolicy::WhenBusy,
        };
        accept.retry_above = 2;
        accept.max_handshakes = 4;
        accept
    });
    if under == Side::Client {
        arena.begin();
    }
    let mut port = Port { arena, source, given: HashMap::new(), clients: Vec::new(), seen: 0 };
    while !port.source.is_empty() {
        port.act();
        port.check();
    }
    port.end();
}

impl Port<'_> {
    fn address(&mut self) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, self.source.below(8) as u8], 5000))
    }

    fn give(&mut self, from: SocketAddr, datagram: &[u8]) {
        *self.given.entry(from).or_default() += datagram.len();
        self.arena.deliver_from(from, datagram);
    }

    fn act(&mut self) {
        let from = self.address();
        let datagram = match self.source.u8() % 10 {
            0 => {
                let mut data = self.source.bytes(255).to_vec();
                if self.source.coin() {
                    data.resize(1200, 0);
                }
                data
            }
            1..4 => self.first(),
            4 => self.later(),
            5 => self.version_negotiation(),
            6 => self.retry(),
            7 => self.short(),
            8 => self.unknown_version(),
            _ => {
                let millis = u64::from(self.source.u8()) * 20;
                self.arena.advance(Duration::from_millis(millis));
                return;
            }
        };
        if datagram.is_empty() || !self.source.u8().is_multiple_of(8) {
            return self.give(from, &datagram);
        }
        let mut damaged = datagram;
        let at = self.source.below(damaged.len() as u64) as usize;
        damaged[at] ^= self.source.u8() | 1;
        self.give(from, &damaged);
    }

    /// The first packet of a client: a ClientHello, or anything.
    fn first(&mut self) -> Vec<u8> {
        let s = &mut self.source;
        let mut script = Script::default();
        let len = 8 + s.below(13) as usize;
        script.first_dcid = ConnectionId::new(&vec![s.u8(); len]).unwrap();
        script.scid = ConnectionId::new(&vec![s.u8(); s.below(21) as usize]).unwrap();
        if s.coin() {
            script.token = s.bytes(100).to_vec();
        }
        if s.u8().is_multiple_of(8) {
            script.version = Version::V2;
        }
        let mut rogue = Rogue::client(&mut script);
        let datagram = if s.coin() {
            rogue.flight(&[Level::Initial]).remove(0)
        } else {
            let payload = frames::frame(s);
            rogue.seal(Draft::new(Level::Initial, payload))
        };
        if self.clients.len() as u64 == CLIENTS {
            self.clients.remove(0);
        }
        self.clients.push(rogue);
        datagram
    }

    /// Another packet of a client that has begun.
    fn later(&mut self) -> Vec<u8> {
        if self.clients.is_empty() {
            return Vec::new();
        }
        let index = self.source.below(self.clients.len() as u64) as usize;
        let payload = frames::frame(&mut self.source);
        self.clients[index].seal(Draft::new(Level::Initial, payload))
    }

    /// The connection IDs that the engine's client knows, mostly.
    fn known_ids(&mut self) -> (Vec<u8>, Vec<u8>) {
        let known = self.arena.rogue.as_ref().map(|r| r.dcid).unwrap_or_default();
        let original = match (self.arena.under, self.arena.handle) {
            (Side::Client, Some(h)) => self.arena.endpoint.peek(h).map(|c| c.original_dcid()),
            _ => None,
        };
        let original = original.unwrap_or_default();
        if self.source.u8().is_multiple_of(4) {
            return (self.source.bytes(255).to_vec(), self.source.bytes(255).to_vec());
        }
        (known.as_slice().to_vec(), original.as_slice().to_vec())
    }

    fn version_negotiation(&mut self) -> Vec<u8> {
        let (dcid, scid) = self.known_ids();
        let versions: Vec<_> = (0..self.source.below(5))
            .map(|_| match self.source.u8() % 4 {
                0 => Version::V1,
                1 => Version::V2,
                _ => Version(u32::from(self.source.u16())),
            })
            .collect();
        let mut out = vec![0; 7 + dcid.len() + scid.len() + 4 * versions.len()];
        write_version_negotiation(&mut Writer::new(&mut out), 0, &dcid, &scid, &versions);
        out
    }

    fn retry(&mut self) -> Vec<u8> {
        let (dcid, odcid) = self.known_ids();
        let id = |bytes: &[u8]| ConnectionId::new(&bytes[..bytes.len().min(20)]).unwrap();
        let (dcid, odcid) = (id(&dcid), id(&odcid));
        let scid = id(self.source.bytes(20));
        let token = self.source.bytes(100);
        let version = if self.source.u8().is_multiple_of(4) { Version::V2 } else { Version::V1 };
        let mut out = vec![0; 7 + dcid.len() + scid.len() + token.len()];
        write_retry(&mut Writer::new(&mut out), 0, version, &dcid, &scid, token);
        let tag = retry::integrity_tag(version, &odcid, &out);
        out.extend_from_slice(&tag);
        out
    }

    fn short(&mut self) -> Vec<u8> {
        let mut out = vec![self.source.u8() & 0x7f; 1 + usize::from(self.source.u8())];
        let id = self.source.array::<8>();
        for (to, from) in out.iter_mut().skip(1).zip(id) {
            *to = from;
        }
        out
    }

    fn unknown_version(&mut self) -> Vec<u8> {
        let mut out = vec![0; 1200];
        out[0] = 0x80 | self.source.u8();
        out[1..5].copy_from_slice(&self.source.array::<4>());
        let mut at = 5;
        for _ in 0..2 {
            let id = self.source.bytes(255);
            out[at] = id.len() as u8;
            out[at + 1..at + 1 + id.len()].copy_from_slice(id);
            at += 1 + id.len();
        }
        out
    }

    fn check(&mut self) {
        let a = &self.arena;
        assert!(a.endpoint.half_open() <= 4, "{} half open", a.endpoint.half_open());
        if a.under == Side::Server {
            // Nobody completes a handshake, so nobody's address is proven.
            assert!(a.endpoint.len() <= 4, "{} connections", a.endpoint.len());
            let mut sent: HashMap<SocketAddr, usize> = HashMap::new();
            for s in &a.sent {
                *sent.entry(s.addresses.remote).or_default() += s.data.len();
            }
            for (to, bytes) in sent {
                let given = self.given.get(&to).copied().unwrap_or(0);
                assert!(bytes <= 3 * given, "{bytes} bytes for {given}");
            }
        }
        assert!(self.arena.sent.len() - self.seen < 1000, "one datagram, a thousand answers");
        self.seen = self.arena.sent.len();
    }

    fn end(&mut self) {
        self.arena.advance(Duration::from_secs(600));
        assert!(self.arena.endpoint.is_empty(), "connections that do not end");
        assert_eq!(self.arena.endpoint.half_open(), 0);
    }
}
