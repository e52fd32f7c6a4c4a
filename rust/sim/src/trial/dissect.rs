//! What a datagram is, as far as anyone can see who has no keys.

use tquic_wire::header::{self, Long};

/// The packets of a datagram, in short.
pub fn describe(mut datagram: &[u8]) -> String {
    let mut packets = Vec::new();
    while let Some(&first) = datagram.first() {
        if !header::is_long(first) {
            packets.push(format!("short({})", datagram.len()));
            break;
        }
        match header::parse_long(datagram) {
            Ok(Long::Protected(h)) => {
                let token = if h.token.is_empty() { "" } else { " with token" };
                packets.push(format!("{:?}({}{token}, {:?})", h.ty, h.packet_len, h.version));
                datagram = datagram.get(h.packet_len.max(1)..).unwrap_or_default();
                continue;
            }
            Ok(Long::Retry { .. }) => packets.push("Retry".to_owned()),
            Ok(Long::VersionNegotiation { .. }) => packets.push("Version Negotiation".to_owned()),
            Ok(Long::UnknownVersion { .. }) => packets.push("unknown version".to_owned()),
            Err(e) => packets.push(format!("unreadable: {e}")),
        }
        break;
    }
    packets.join(" + ")
}
