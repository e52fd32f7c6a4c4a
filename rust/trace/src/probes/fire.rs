//! Events become calls of probes.

use std::net::{IpAddr, SocketAddr};

use tquic_core::cc::Phase;
use tquic_core::events::ConnectionError;
use tquic_core::path::Ecn;
use tquic_core::time::{Instant, nanos};
use tquic_core::trace::{Direction, Event, Life, Move, Packet, Subject};
use tquic_wire::{Direction as StreamDirection, Frame, PacketType, Side, Version};

use super::{Probe, is_attached};
use crate::qlog::frames;

/// A connection's probes.
pub struct Probes {
    /// The first eight bytes of the Destination Connection ID of the client's first packet, big-endian:
    /// the same number at both ends.
    conn_id: u64,
    is_server: bool,
    version: Version,
    began: Instant,
    established: bool,
    /// What the handshake agreed on, as far as it is known.
    cipher_suite: u64,
    early_data: bool,
}

impl Probes {
    /// Those of `subject`.
    pub fn new(subject: &Subject) -> Self {
        Self {
            conn_id: conn_id(subject.original_dcid.as_slice()),
            is_server: subject.side == Side::Server,
            version: subject.version,
            began: subject.began,
            established: false,
            cipher_suite: 0,
            early_data: false,
        }
    }

    /// Calls the probes that the event is for.
    pub fn on_event(&mut self, now: Instant, event: &Event<'_>) {
        let id = self.conn_id;
        match *event {
            Event::ConnectionStarted { version, scid, dcid, .. } => {
                self.version = version;
                let (scid, dcid) = (scid.as_slice(), dcid.as_slice());
                let (s, d) = (scid.as_ptr() as u64, dcid.as_ptr() as u64);
                let (s_len, d_len) = (scid.len() as u64, dcid.len() as u64);
                let server = u64::from(self.is_server);
                super::connection_new(id, server, u64::from(version.0), s, s_len, d, d_len);
            }
            Event::VersionInformation { chosen, .. } => self.version = chosen,
            Event::ParametersSet { local: false, cipher, early_data, .. } => {
                self.cipher_suite = cipher.map_or(0, suite_number);
                self.early_data = early_data;
            }
            Event::ConnectionStateUpdated { old: Some(_), new } => self.on_state(now, new),
            Event::ConnectionClosed { error, bytes_sent, bytes_received } => {
                let (code, application) = error_code(error);
                super::connection_closed(id, code, application, bytes_sent, bytes_received);
            }
            Event::PacketSent { packet, bytes_in_flight, cwnd, .. } => {
                let (number, kind, size, path) = facts(&packet);
                super::packet_sent(id, number, kind, size, path, bytes_in_flight, cwnd);
                self.on_stream_frames(&packet, true);
            }
            Event::PacketReceived { packet, ecn } => {
                let (number, kind, size, path) = facts(&packet);
                super::packet_received(id, number, kind, size, path, ecn.map_or(0, ecn_bits));
                self.on_stream_frames(&packet, false);
            }
            Event::PacketDropped { ty, size, reason } => {
                let kind = ty.map_or(UNKNOWN_TYPE, type_number);
                super::packet_dropped(id, kind, size as u64, reason as u64);
            }
            Event::PacketLost { pn, size, path, trigger, total_lost, .. } => {
                let (size, path) = (u64::from(size), u64::from(path));
                super::packet_lost(id, pn, size, trigger as u64, path, total_lost);
            }
            Event::StreamOpened { id: stream, local } => {
                let both = stream.direction() == StreamDirection::Bidirectional;
                super::stream_opened(id, stream.0, u64::from(both), u64::from(local));
            }
            Event::StreamClosed { id: stream, error_code, bytes_sent, bytes_received } => {
                super::stream_closed(id, stream.0, error_code, bytes_sent, bytes_received);
            }
            Event::CongestionStateUpdated { path, old, new, cwnd, ssthresh } => {
                let old = old.map_or(phase_number(new), phase_number);
                let (new, ssthresh) = (phase_number(new), ssthresh.unwrap_or(u64::MAX));
                super::cc_state_changed(id, old, new, cwnd, ssthresh, u64::from(path));
            }
            Event::MetricsUpdated { path, new, .. } => {
                let micros = |time| nanos(time) / 1000;
                let (smoothed, min) = (micros(new.smoothed_rtt), micros(new.min_rtt));
                let (flight, rate) = (new.bytes_in_flight, new.pacing_rate.unwrap_or(0));
                let path = u64::from(path);
                super::cc_metrics_updated(id, new.cwnd, flight, smoothed, min, rate, path);
            }
            Event::PathUpdated(update) => self.on_move(update),
            Event::SchedulerDecision { path, candidates, reason, .. } => {
                let (path, candidates) = (u64::from(path), u64::from(candidates));
                super::scheduler_decision(id, path, reason as u64, candidates);
            }
            _ => {}
        }
    }

    fn on_state(&mut self, now: Instant, new: Life) {
        let over = matches!(new, Life::Closing | Life::Draining | Life::Closed);
        if self.established || over || new < Life::HandshakeComplete {
            return;
        }
        self.established = true;
        let time = nanos(now - self.began) / 1000;
        let (version, early) = (u64::from(self.version.0), u64::from(self.early_data));
        super::connection_established(self.conn_id, time, version, self.cipher_suite, early);
    }

    /// Data on its way, as STREAM frames carry it; what is sent again is told again.
    fn on_stream_frames(&self, packet: &Packet<'_>, is_send: bool) {
        if !is_attached(Probe::stream_data) {
            return;
        }
        frames::each(packet, |frame, tail| {
            if let Frame::Stream(f) = frame {
                let length = (f.data.len() + tail) as u64;
                let (fin, send) = (u64::from(f.fin), u64::from(is_send));
                super::stream_data(self.conn_id, f.id.0, f.offset, length, fin, send);
            }
        });
    }

    fn on_move(&self, update: Move) {
        let id = self.conn_id;
        match update {
            Move::Created { path, addresses } => {
                let (local, remote) = (octets(&addresses.local), octets(&addresses.remote));
                let (l, r) = (local.as_ptr() as u64, remote.as_ptr() as u64);
                let ports = [addresses.local, addresses.remote].map(|a| u64::from(a.port()));
                super::path_created(id, u64::from(path), l, r, ports[0], ports[1]);
            }
            Move::Validated { path, time, .. } => {
                super::path_validated(id, u64::from(path), nanos(time) / 1000);
            }
            Move::Closed { path, ended, .. } => {
                super::path_closed(id, u64::from(path), u64::from(ended));
            }
            Move::Migrated { path, by, .. } => {
                let path = u64::from(path);
                super::migration(id, path, path, u64::from(by == Direction::Local));
            }
        }
    }
}

/// What probes call a connection.
pub(crate) fn conn_id(original_dcid: &[u8]) -> u64 {
    original_dcid.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte))
}

fn facts(packet: &Packet<'_>) -> (u64, u64, u64, u64) {
    (packet.pn, type_number(packet.ty), packet.size as u64, u64::from(packet.path))
}

/// Of a packet whose header could not be read.
const UNKNOWN_TYPE: u64 = 255;

/// The Long Packet Type bits of QUIC v1 (RFC 9000 section 17.2), then the others.
fn type_number(ty: PacketType) -> u64 {
    match ty {
        PacketType::Initial => 0,
        PacketType::ZeroRtt => 1,
        PacketType::Handshake => 2,
        PacketType::Retry => 3,
        PacketType::OneRtt => 4,
        PacketType::VersionNegotiation => 5,
    }
}

/// Phases are numbered as they are declared, slow start with 0.
fn phase_number(phase: Phase) -> u64 {
    phase as u64
}

/// The two bits of the IP header.
fn ecn_bits(ecn: Ecn) -> u64 {
    ecn as u64
}

/// The number of a cipher suite (RFC 8446 appendix B.4).
fn suite_number(name: &str) -> u64 {
    match name {
        "TLS_AES_128_GCM_SHA256" => 0x1301,
        "TLS_AES_256_GCM_SHA384" => 0x1302,
        "TLS_CHACHA20_POLY1305_SHA256" => 0x1303,
        _ => 0,
    }
}

/// The code of a CONNECTION_CLOSE frame, and 1 if it is the application's; `u64::MAX` if there was no
/// such frame.
fn error_code(error: &ConnectionError) -> (u64, u64) {
    match error {
        ConnectionError::Local(e) | ConnectionError::Peer(e) => (e.code.0, 0),
        ConnectionError::LocalClose { code, .. } | ConnectionError::PeerClose { code, .. } => {
            (*code, 1)
        }
        _ => (u64::MAX, 0),
    }
}

/// 16 bytes; IPv4 is mapped (RFC 4291 section 2.5.5.2).
fn octets(address: &SocketAddr) -> [u8; 16] {
    match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_the_same_number_at_both_ends() {
        assert_eq!(conn_id(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), 0x0102_0304_0506_0708);
        assert_eq!(conn_id(&[]), 0);
    }
}
