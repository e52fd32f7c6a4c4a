//! A connection after (or in the middle of) a real handshake, and a peer with real keys that seals
//! frames which may be anything, damages what it sealed, and lets time pass.

use std::time::Duration;

use bytes::Bytes;
use tquic_core::events::Event;
use tquic_crypto::Level;
use tquic_wire::{ConnectionId, Direction, Side, StreamId};

use super::frames;
use super::rogue::arena::{Arena, LEVELS, quiet};
use super::rogue::{Draft, Rogue};
use super::source::Source;

/// Datagrams kept to be sent again.
const KEPT: usize = 8;

struct Play<'a> {
    arena: Arena,
    source: Source<'a>,
    kept: Vec<Vec<u8>>,
}

/// The script: role and stage first, then what happens.
pub fn connection(data: &[u8]) {
    let mut source = Source::new(data);
    let flags = source.u8();
    let under = if flags & 1 == 0 { Side::Server } else { Side::Client };
    let mut transport = quiet();
    transport.grease = flags & 8 != 0;
    transport.mtu_discovery = flags & 16 != 0;
    transport.ecn = flags & 32 != 0;
    let mut arena = Arena::with(under, transport, |accept| accept);
    if flags & 64 != 0 {
        arena.script.scid = ConnectionId::EMPTY;
    }
    match flags >> 1 & 3 {
        0 => arena.begin(),
        1 => arena.half_handshake(),
        _ => arena.handshake(),
    }
    let mut play = Play { arena, source, kept: Vec::new() };
    while !play.source.is_empty() {
        play.act();
        play.check();
    }
    play.end();
}

impl Play<'_> {
    fn level(&mut self) -> Level {
        let levels = [Level::OneRtt, Level::OneRtt, Level::Handshake, Level::Initial];
        let level = levels[usize::from(self.source.u8() % 4)];
        if self.arena.rogue().can_send(level) { level } else { Level::Initial }
    }

    fn draft(&mut self) -> Draft {
        let level = self.level();
        let mut payload = Vec::new();
        for _ in 0..=self.source.below(4) {
            payload.extend_from_slice(&frames::frame(&mut self.source));
        }
        Draft::new(level, payload)
    }

    fn send(&mut self, datagram: Vec<u8>) {
        self.arena.deliver(&datagram);
        if self.kept.len() == KEPT {
            self.kept.remove(0);
        }
        self.kept.push(datagram);
    }

    fn seal(&mut self, draft: Draft) -> Vec<u8> {
        self.arena.rogue().seal(draft)
    }

    fn act(&mut self) {
        if self.arena.rogue.is_none() {
            return;
        }
        match self.source.u8() % 20 {
            0..6 => {
                let draft = self.draft();
                let datagram = self.seal(draft);
                self.send(datagram);
            }
            6 => {
                let payload = self.source.bytes(100).to_vec();
                let draft = Draft::new(self.level(), payload);
                let datagram = self.seal(draft);
                self.send(datagram);
            }
            7 => self.odd_header(),
            8 => self.damaged(),
            9 => self.coalesced(),
            10 => self.again(),
            11 => self.junk(),
            12 => {
                let nanos = 1 << (10 + self.source.u8() % 21);
                self.arena.advance(Duration::from_nanos(nanos));
            }
            13 | 14 => self.application(),
            15 => self.arena.flush(&LEVELS),
            16 => {
                let rogue = self.arena.rogue();
                rogue.acknowledge = !rogue.acknowledge;
            }
            17 => self.arena.rogue().update_keys(),
            18 => {
                let port = 6000 + u16::from(self.source.u8() % 8);
                self.arena.rogue_at.set_port(port);
            }
            _ => {
                let count = self.source.number() >> 8;
                let level = self.level();
                if self.arena.rogue().next_pn(level) < 1 << 60 {
                    self.arena.rogue().skip_pn(level, count.min(1 << 60));
                }
            }
        }
    }

    /// A packet with reserved bits, another ID, number, version or token.
    fn odd_header(&mut self) {
        let mut draft = self.draft();
        let s = &mut self.source;
        match s.u8() % 7 {
            0 => draft.first_bits = s.u8() & 0x1c,
            1 => draft.pn = Some(s.number()),
            2 => draft.dcid = ConnectionId::new(s.bytes(20)),
            3 => draft.scid = ConnectionId::new(s.bytes(20)),
            4 => draft.version = Some(tquic_wire::Version(0x6b33_43cf)),
            5 => draft.token = Some(s.bytes(40).to_vec()),
            _ => draft.padded = false,
        }
        let datagram = self.seal(draft);
        self.send(datagram);
    }

    fn damaged(&mut self) {
        let draft = self.draft();
        let mut datagram = self.seal(draft);
        for _ in 0..=self.source.below(3) {
            let at = self.source.below(datagram.len() as u64) as usize;
            datagram[at] ^= self.source.u8() | 1;
        }
        if self.source.coin() {
            let len = self.source.below(datagram.len() as u64) as usize;
            datagram.truncate(len);
        }
        self.send(datagram);
    }

    fn coalesced(&mut self) {
        let mut datagram = Vec::new();
        for _ in 0..=self.source.below(3) {
            let draft = Draft { padded: false, ..self.draft() };
            let packet = self.seal(draft);
            datagram.extend_from_slice(&packet);
        }
        if self.source.coin() && datagram.len() < 1200 {
            datagram.resize(1200, 0);
        }
        self.send(datagram);
    }

    fn again(&mut self) {
        if !self.kept.is_empty() {
            let index = self.source.below(self.kept.len() as u64) as usize;
            let datagram = self.kept[index].clone();
            self.arena.deliver(&datagram);
        }
    }

    /// What is no packet of ours, with the engine's connection ID in it or not.
    fn junk(&mut self) {
        let mut datagram = self.source.bytes(200).to_vec();
        if self.source.coin() && datagram.len() > 20 {
            let dcid = self.arena.rogue().dcid;
            datagram[1..=dcid.len()].copy_from_slice(dcid.as_slice());
        }
        self.arena.deliver(&datagram);
    }

    fn application(&mut self) {
        let Some(handle) = self.arena.handle else { return };
        let (now, s) = (self.arena.now, &mut self.source);
        let Some(c) = self.arena.endpoint.connection(handle) else { return };
        let id = StreamId(s.number() % 64);
        match s.u8() % 14 {
            0 => drop(c.streams().open(Direction::Bidirectional)),
            1 => drop(c.streams().open(Direction::Unidirectional)),
            2 | 3 => drop(c.streams().write(id, Bytes::from_static(&[7; 3000]))),
            4 => drop(c.streams().finish(id)),
            5 => drop(c.streams().reset(id, 5)),
            6 => drop(c.streams().stop(id, 5)),
            7 | 8 => drop(c.streams().read(id, 1 << 16)),
            9 => drop(c.datagrams().send(Bytes::from_static(&[9; 100]))),
            10 => drop(c.update_keys(now)),
            11 => c.ping(),
            12 => {
                let local = std::net::SocketAddr::from(([192, 0, 2, 1], 4000 + u16::from(s.u8())));
                let _ = c.migrate(now, local);
            }
            _ if s.u8() % 16 == 0 => c.close(now, 1, b"enough"),
            _ => {}
        }
        self.arena.pump();
    }

    /// The promises that hold at any time.
    fn check(&mut self) {
        let handle = self.arena.handle;
        let Some(c) = handle.and_then(|h| self.arena.endpoint.peek(h)) else { return };
        if let Some(path) = c.path(0) {
            assert!(path.tuples().len() <= 4);
        }
        let stats = c.streams().stats();
        assert!(stats.receive_memory <= (24 << 20) * 9 / 4 + stats.streams * 1024);
        self.limit_holds();
        // Keeps the script short of memory of its own.
        if self.arena.sent.len() > 2000 {
            self.arena.sent.drain(..1000);
        }
        if let Some(rogue) = &mut self.arena.rogue
            && rogue.heard.len() > 2000
        {
            rogue.heard.drain(..1000);
        }
    }

    /// RFC 9000 section 8.1, at a server, as long as the handshake has not shown who is there.
    fn limit_holds(&mut self) {
        let a = &mut self.arena;
        let started = a.rogue.as_ref().is_some_and(|r: &Rogue| r.next_pn(Level::Handshake) > 0);
        if a.under == Side::Server && !started && a.sent.len() < 1000 {
            let sent: usize = a.sent.iter().map(|s| s.data.len()).sum();
            assert!(sent as u64 <= 3 * a.given, "{sent} bytes for {}", a.given);
        }
    }

    /// The peer falls silent: everything comes to an end, and nothing is left of it.
    fn end(&mut self) {
        if let Some(rogue) = &self.arena.rogue {
            rogue.heard.iter().for_each(|h| drop(h.frames()));
        }
        for _ in 0..100 {
            self.arena.advance(Duration::from_secs(60));
            if self.arena.endpoint.is_empty() {
                break;
            }
        }
        assert!(self.arena.endpoint.is_empty(), "the connection does not end");
        assert_eq!(self.arena.endpoint.half_open(), 0);
        let closed = self.arena.events.iter().filter(|e| matches!(e, Event::Closed(_))).count();
        assert!(closed <= 1, "told {closed} times");
    }
}
