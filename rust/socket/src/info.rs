//! What options tell of connections and of the host, as C structs.

use std::time::Duration;

use tquic_core::connection::PathStats;
use tquic_core::events::ConnectionError;
use tquic_engine::ConnectionSnapshot;
use tquic_engine::bridge::CloseFields;
use tquic_net::xdp;

use crate::abi::*;
use crate::errno::{Errno, Failure};

/// States of a socket in `struct tquic_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    Idle = 0,
    Connecting = 1,
    Connected = 2,
    Closed = 3,
    Listening = 4,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// `struct tquic_info`.
pub(crate) fn info(phase: Phase, version: u32, stats: Option<&ConnectionSnapshot>) -> Vec<u8> {
    let none = ConnectionSnapshot::default();
    let stats = stats.unwrap_or(&none);
    let (counters, first) = (&stats.connection, stats.paths.first());
    let lost = stats.paths.iter().map(|path| path.lost_packets).sum::<u64>();
    let mut out = Vec::with_capacity(96);
    for word in [phase as u32, version] {
        out.extend_from_slice(&word.to_ne_bytes());
    }
    for word in [
        counters.bytes_sent,
        counters.bytes_received,
        counters.packets_sent,
        counters.packets_received,
        lost,
        first.map_or(0, |path| micros(path.srtt)),
        first.map_or(0, |path| micros(path.min_rtt)),
        first.map_or(0, |path| path.cwnd),
        first.map_or(0, |path| path.in_flight),
    ] {
        out.extend_from_slice(&word.to_ne_bytes());
    }
    let paths = u32::try_from(stats.paths.len()).unwrap_or(u32::MAX);
    for word in [paths, first.map_or(0, |path| path.mtu.into())] {
        out.extend_from_slice(&word.to_ne_bytes());
    }
    out
}

/// `struct tquic_qlog_stats`.
pub(crate) fn qlog(stats: &ConnectionSnapshot) -> Vec<u8> {
    let events = stats.connection.events;
    [events.told.to_ne_bytes(), events.lost.to_ne_bytes()].concat()
}

/// The ring of a connection, if it has one: of its newest records as many as there is `room` for, all
/// if it is 0.
pub(crate) fn ring(id: Option<&[u8]>, is_client: bool, room: usize) -> Result<Vec<u8>, Failure> {
    let rings = tquic_trace::qlog::rings();
    let ours = rings.iter().find(|r| Some(r.id().as_slice()) == id && r.is_client() == is_client);
    let why = "QLOG_RING: TQUIC_QLOG_MODE_RING was not set, or the handshake is not over";
    let text = ours.ok_or_else(|| Failure::new(Errno::INVALID, why))?.text();
    if room == 0 || text.len() <= room {
        return Ok(text.into_bytes());
    }
    let tail = text.as_bytes().get(text.len() - room..).unwrap_or_default();
    let first = tail.iter().position(|byte| *byte == 0x1e).unwrap_or(tail.len());
    Ok(tail.get(first..).unwrap_or_default().to_vec())
}

/// An array of `struct tquic_path_info`.
pub(crate) fn paths(paths: &[PathStats]) -> Vec<u8> {
    let mut out = Vec::with_capacity(paths.len() * 64);
    for path in paths {
        let state = match path.state {
            "validating" => 0_u32,
            "open" => 1,
            _ => 2,
        };
        for word in [path.id, state | u32::from(path.backup) << 8] {
            out.extend_from_slice(&word.to_ne_bytes());
        }
        for word in [
            micros(path.srtt),
            micros(path.min_rtt),
            path.cwnd,
            path.in_flight,
            path.bytes_sent,
            path.bytes_received,
            path.lost_packets,
        ] {
            out.extend_from_slice(&word.to_ne_bytes());
        }
    }
    out
}

/// Bytes of the reason in `struct tquic_error`, its end included.
const REASON: usize = 112;

/// `struct tquic_error`: all zero while there is no error.
pub(crate) fn error(error: Option<&ConnectionError>) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + REASON);
    let fields = error.map(CloseFields::of);
    let (code, application, by_peer) = fields.as_ref().map_or((0, false, false), |fields| {
        let application = fields.kind.ends_with("application");
        (fields.code.unwrap_or(0), application, fields.kind.starts_with("peer"))
    });
    out.extend_from_slice(&code.to_ne_bytes());
    let flags = u32::from(application) | u32::from(by_peer) << 1;
    out.extend_from_slice(&flags.to_ne_bytes());
    let errno = error.filter(|e| !e.is_clean()).map_or(0, |e| Failure::of_end(e).errno.0);
    out.extend_from_slice(&errno.to_ne_bytes());
    let reason = fields.map(|fields| fields.message).unwrap_or_default();
    let mut end = reason.len().min(REASON - 1);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&reason.as_bytes()[..end]);
    out.resize(16 + REASON, 0);
    out
}

/// `struct tquic_offload_info`: what this host can do, and what of it is in use.
pub(crate) fn offload(xdp: Option<&xdp::Stats>) -> Vec<u8> {
    let mut caps = cpu();
    let loopback = std::net::Ipv4Addr::LOCALHOST;
    let probe = tquic_net::udp::probe(loopback.into(), &tquic_net::udp::SocketOptions::default());
    if let Ok(probe) = probe {
        if probe.capabilities.gso_max_segments > 1 {
            caps |= TQUIC_OFFLOAD_CAP_GSO;
        }
        if probe.capabilities.gro {
            caps |= TQUIC_OFFLOAD_CAP_GRO;
        }
    }
    // What is there is used, but for AF_XDP, which has to be asked for.
    let zero_copy =
        if xdp.is_some_and(|xdp| xdp.zero_copy) { TQUIC_OFFLOAD_CAP_XDP_ZEROCOPY } else { 0 };
    let possible = if xdp::is_available() { TQUIC_OFFLOAD_CAP_AF_XDP } else { 0 };
    let used = if xdp.is_some() { TQUIC_OFFLOAD_CAP_AF_XDP } else { 0 };
    [caps | possible | used | zero_copy, caps | used | zero_copy]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect()
}

#[cfg(target_arch = "x86_64")]
fn cpu() -> u32 {
    let mut caps = 0;
    if is_x86_feature_detected!("aes") {
        caps |= TQUIC_OFFLOAD_CAP_CPU_AES;
    }
    if is_x86_feature_detected!("vaes") && is_x86_feature_detected!("vpclmulqdq") {
        caps |= TQUIC_OFFLOAD_CAP_CPU_VAES;
    }
    caps
}

#[cfg(target_arch = "aarch64")]
fn cpu() -> u32 {
    if std::arch::is_aarch64_feature_detected!("aes") { TQUIC_OFFLOAD_CAP_CPU_AES } else { 0 }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu() -> u32 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_have_the_size_of_the_header() {
        assert_eq!(info(Phase::Idle, 0, None).len(), 88);
        assert_eq!(error(None), vec![0; 128]);
        assert_eq!(paths(&[]).len(), 0);
        let reason = "\u{e4}".repeat(80).into_bytes();
        let closed = error(Some(&ConnectionError::PeerClose { code: 7, reason }));
        assert_eq!((integer(&closed[..8]), closed.len()), (Some(7), 128));
        assert_eq!(integer(&closed[8..12]), Some(3));
        assert!(std::str::from_utf8(&closed[16..]).is_ok());
    }

    #[test]
    fn no_card_here_seals_packets() {
        let caps = offload(None);
        assert_eq!(caps.len(), 8);
        assert_eq!(integer(&caps[..4]).unwrap() as u32 & TQUIC_OFFLOAD_CAP_CRYPTO, 0);
    }
}
