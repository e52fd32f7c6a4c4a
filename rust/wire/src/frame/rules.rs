//! Which frame is legal in which packet, and what it means for acknowledgment: RFC 9000 table 3
//! (sections 12.4, 12.5, 17.2.3 and 17.2.4; RFC 9001 section 8.3) and its extensions, as one table.

use super::ty;
use crate::types::PacketType;

// Packet types that may carry a frame.
const I: u8 = 1;
const H: u8 = 1 << 1;
const Z: u8 = 1 << 2;
const O: u8 = 1 << 3;
// The "Spec" column of table 3.
/// Packets of only such frames are not ack-eliciting.
const NOT_ELICITING: u8 = 1;
/// Packets of only such frames do not count toward bytes in flight.
const NOT_IN_FLIGHT: u8 = 1 << 1;
/// Packets of only such frames probe a path.
const PROBING: u8 = 1 << 2;
/// The content is flow controlled.
const FLOW_CONTROLLED: u8 = 1 << 3;

struct Row {
    first: u64,
    last: u64,
    name: &'static str,
    packets: u8,
    spec: u8,
}

const fn row(first: u64, last: u64, name: &'static str, packets: u8, spec: u8) -> Row {
    Row { first, last, name, packets, spec }
}

/// Types we do not know: in no packet, and no frame of ours.
const UNKNOWN: Row = row(u64::MAX, u64::MAX, "UNKNOWN", 0, 0);

#[rustfmt::skip]
const TABLE: [Row; 34] = [
    row(ty::PADDING, ty::PADDING, "PADDING", I | H | Z | O, NOT_ELICITING | PROBING),
    row(ty::PING, ty::PING, "PING", I | H | Z | O, 0),
    row(ty::ACK, ty::ACK_ECN, "ACK", I | H | O, NOT_ELICITING | NOT_IN_FLIGHT),
    row(ty::RESET_STREAM, ty::RESET_STREAM, "RESET_STREAM", Z | O, 0),
    row(ty::STOP_SENDING, ty::STOP_SENDING, "STOP_SENDING", Z | O, 0),
    row(ty::CRYPTO, ty::CRYPTO, "CRYPTO", I | H | O, 0),
    row(ty::NEW_TOKEN, ty::NEW_TOKEN, "NEW_TOKEN", O, 0),
    row(ty::STREAM, ty::STREAM_LAST, "STREAM", Z | O, FLOW_CONTROLLED),
    row(ty::MAX_DATA, ty::MAX_DATA, "MAX_DATA", Z | O, 0),
    row(ty::MAX_STREAM_DATA, ty::MAX_STREAM_DATA, "MAX_STREAM_DATA", Z | O, 0),
    row(ty::MAX_STREAMS_BIDI, ty::MAX_STREAMS_UNI, "MAX_STREAMS", Z | O, 0),
    row(ty::DATA_BLOCKED, ty::DATA_BLOCKED, "DATA_BLOCKED", Z | O, 0),
    row(ty::STREAM_DATA_BLOCKED, ty::STREAM_DATA_BLOCKED, "STREAM_DATA_BLOCKED", Z | O, 0),
    row(ty::STREAMS_BLOCKED_BIDI, ty::STREAMS_BLOCKED_UNI, "STREAMS_BLOCKED", Z | O, 0),
    row(ty::NEW_CONNECTION_ID, ty::NEW_CONNECTION_ID, "NEW_CONNECTION_ID", Z | O, PROBING),
    // RFC 9000 section 12.5: it is not possible to send this in 0-RTT packets, table 3 or not.
    row(ty::RETIRE_CONNECTION_ID, ty::RETIRE_CONNECTION_ID, "RETIRE_CONNECTION_ID", O, 0),
    row(ty::PATH_CHALLENGE, ty::PATH_CHALLENGE, "PATH_CHALLENGE", Z | O, PROBING),
    row(ty::PATH_RESPONSE, ty::PATH_RESPONSE, "PATH_RESPONSE", O, PROBING),
    row(ty::CONNECTION_CLOSE, ty::CONNECTION_CLOSE, "CONNECTION_CLOSE", I | H | Z | O,
        NOT_ELICITING),
    // RFC 9000 section 12.5: errors of the application only in the application data space.
    row(ty::CONNECTION_CLOSE_APP, ty::CONNECTION_CLOSE_APP, "CONNECTION_CLOSE", Z | O,
        NOT_ELICITING),
    row(ty::HANDSHAKE_DONE, ty::HANDSHAKE_DONE, "HANDSHAKE_DONE", O, 0),
    // draft-ietf-quic-ack-frequency-12 section 3: neither frame can be sent in 0-RTT packets.
    row(ty::IMMEDIATE_ACK, ty::IMMEDIATE_ACK, "IMMEDIATE_ACK", O, 0),
    // draft-ietf-quic-reliable-stream-reset-10 section 4: only in the application data space.
    row(ty::RESET_STREAM_AT, ty::RESET_STREAM_AT, "RESET_STREAM_AT", Z | O, 0),
    // RFC 9221 section 5: under 0-RTT or 1-RTT keys.
    row(ty::DATAGRAM, ty::DATAGRAM_LEN, "DATAGRAM", Z | O, 0),
    // draft-ietf-quic-multipath-21 section 4: all its frames only in 1-RTT packets.
    row(ty::PATH_ACK, ty::PATH_ACK_ECN, "PATH_ACK", O, NOT_ELICITING | NOT_IN_FLIGHT),
    row(ty::ACK_FREQUENCY, ty::ACK_FREQUENCY, "ACK_FREQUENCY", O, 0),
    row(ty::PATH_ABANDON, ty::PATH_ABANDON, "PATH_ABANDON", O, 0),
    row(ty::PATH_STATUS_BACKUP, ty::PATH_STATUS_BACKUP, "PATH_STATUS_BACKUP", O, 0),
    row(ty::PATH_STATUS_AVAILABLE, ty::PATH_STATUS_AVAILABLE, "PATH_STATUS_AVAILABLE", O, 0),
    row(ty::PATH_NEW_CONNECTION_ID, ty::PATH_NEW_CONNECTION_ID, "PATH_NEW_CONNECTION_ID", O, 0),
    row(ty::PATH_RETIRE_CONNECTION_ID, ty::PATH_RETIRE_CONNECTION_ID,
        "PATH_RETIRE_CONNECTION_ID", O, 0),
    row(ty::MAX_PATH_ID, ty::MAX_PATH_ID, "MAX_PATH_ID", O, 0),
    row(ty::PATHS_BLOCKED, ty::PATHS_BLOCKED, "PATHS_BLOCKED", O, 0),
    row(ty::PATH_CIDS_BLOCKED, ty::PATH_CIDS_BLOCKED, "PATH_CIDS_BLOCKED", O, 0),
];

/// Types below this have one byte, and their row by index.
const ONE_BYTE: usize = 64;
const NO_ROW: u8 = TABLE.len() as u8;

const INDEX: [u8; ONE_BYTE] = {
    let mut index = [NO_ROW; ONE_BYTE];
    let mut row = 0;
    while row < TABLE.len() {
        let mut ty = TABLE[row].first;
        while ty <= TABLE[row].last && ty < ONE_BYTE as u64 {
            index[ty as usize] = row as u8;
            ty += 1;
        }
        row += 1;
    }
    index
};

#[inline]
fn row_of(ty: u64) -> &'static Row {
    if ty < ONE_BYTE as u64 {
        TABLE.get(usize::from(INDEX[ty as usize])).unwrap_or(&UNKNOWN)
    } else {
        TABLE.iter().find(|row| (row.first..=row.last).contains(&ty)).unwrap_or(&UNKNOWN)
    }
}

/// Whether a frame of type `ty` may stand in a packet of this type. If not, RFC 9000 section 12.4
/// asks for PROTOCOL_VIOLATION; a type we do not know is never permitted.
#[inline]
#[must_use]
pub fn permitted(ty: u64, packet: PacketType) -> bool {
    let bit = match packet {
        PacketType::Initial => I,
        PacketType::Handshake => H,
        PacketType::ZeroRtt => Z,
        PacketType::OneRtt => O,
        PacketType::Retry | PacketType::VersionNegotiation => 0,
    };
    row_of(ty).packets & bit != 0
}

/// Whether a packet with such a frame is to be acknowledged (RFC 9000 section 13.2).
#[inline]
#[must_use]
pub fn is_ack_eliciting(ty: u64) -> bool {
    row_of(ty).spec & NOT_ELICITING == 0
}

/// Whether a packet with such a frame counts toward bytes in flight (RFC 9002 section 2).
///
/// CONNECTION_CLOSE and PADDING do, although they are not ack-eliciting.
#[inline]
#[must_use]
pub fn is_in_flight(ty: u64) -> bool {
    row_of(ty).spec & NOT_IN_FLIGHT == 0
}

/// Whether a packet of only such frames probes a path instead of migrating to it (RFC 9000 section
/// 9.1).
#[inline]
#[must_use]
pub fn is_probing(ty: u64) -> bool {
    row_of(ty).spec & PROBING != 0
}

/// Whether flow control limits what the frame carries (RFC 9000 section 4).
#[inline]
#[must_use]
pub fn is_flow_controlled(ty: u64) -> bool {
    row_of(ty).spec & FLOW_CONTROLLED != 0
}

/// The RFC name of a frame type; `UNKNOWN` for one we do not know.
#[must_use]
pub fn name(ty: u64) -> &'static str {
    row_of(ty).name
}

#[cfg(test)]
mod tests {
    use super::*;
    use PacketType::{Handshake, Initial, OneRtt, Retry, VersionNegotiation, ZeroRtt};

    /// RFC 9000 table 3 as printed there, with the extension frames.
    const PRINTED: &[(u64, &str, &str, &str)] = &[
        (0x00, "PADDING", "IH01", "NP"),
        (0x01, "PING", "IH01", ""),
        (0x02, "ACK", "IH_1", "NC"),
        (0x03, "ACK", "IH_1", "NC"),
        (0x04, "RESET_STREAM", "__01", ""),
        (0x05, "STOP_SENDING", "__01", ""),
        (0x06, "CRYPTO", "IH_1", ""),
        (0x07, "NEW_TOKEN", "___1", ""),
        (0x08, "STREAM", "__01", "F"),
        (0x0f, "STREAM", "__01", "F"),
        (0x10, "MAX_DATA", "__01", ""),
        (0x11, "MAX_STREAM_DATA", "__01", ""),
        (0x12, "MAX_STREAMS", "__01", ""),
        (0x13, "MAX_STREAMS", "__01", ""),
        (0x14, "DATA_BLOCKED", "__01", ""),
        (0x15, "STREAM_DATA_BLOCKED", "__01", ""),
        (0x16, "STREAMS_BLOCKED", "__01", ""),
        (0x17, "STREAMS_BLOCKED", "__01", ""),
        (0x18, "NEW_CONNECTION_ID", "__01", "P"),
        (0x19, "RETIRE_CONNECTION_ID", "___1", ""),
        (0x1a, "PATH_CHALLENGE", "__01", "P"),
        (0x1b, "PATH_RESPONSE", "___1", "P"),
        (0x1c, "CONNECTION_CLOSE", "IH01", "N"),
        (0x1d, "CONNECTION_CLOSE", "__01", "N"),
        (0x1e, "HANDSHAKE_DONE", "___1", ""),
        (0x1f, "IMMEDIATE_ACK", "___1", ""),
        (0x30, "DATAGRAM", "__01", ""),
        (0x31, "DATAGRAM", "__01", ""),
        (0x3e, "PATH_ACK", "___1", "NC"),
        (0x3f, "PATH_ACK", "___1", "NC"),
        (0xaf, "ACK_FREQUENCY", "___1", ""),
        (0x3e75, "PATH_ABANDON", "___1", ""),
        (0x3e76, "PATH_STATUS_BACKUP", "___1", ""),
        (0x3e77, "PATH_STATUS_AVAILABLE", "___1", ""),
        (0x3e78, "PATH_NEW_CONNECTION_ID", "___1", ""),
        (0x3e79, "PATH_RETIRE_CONNECTION_ID", "___1", ""),
        (0x3e7a, "MAX_PATH_ID", "___1", ""),
        (0x3e7b, "PATHS_BLOCKED", "___1", ""),
        (0x3e7c, "PATH_CIDS_BLOCKED", "___1", ""),
    ];

    #[test]
    fn as_printed() {
        for &(ty, name, packets, spec) in PRINTED {
            assert_eq!(super::name(ty), name, "{ty:#x}");
            for (packet, letter) in
                [(Initial, 'I'), (Handshake, 'H'), (ZeroRtt, '0'), (OneRtt, '1')]
            {
                assert_eq!(permitted(ty, packet), packets.contains(letter), "{name} {packet:?}");
            }
            assert!(!permitted(ty, Retry) && !permitted(ty, VersionNegotiation));
            assert_eq!(is_ack_eliciting(ty), !spec.contains('N'), "{name}");
            assert_eq!(is_in_flight(ty), !spec.contains('C'), "{name}");
            assert_eq!(is_probing(ty), spec.contains('P'), "{name}");
            assert_eq!(is_flow_controlled(ty), spec.contains('F'), "{name}");
        }
    }

    #[test]
    fn unknown_types() {
        for ty in [0x20, 0x2f, 0x32, 0x3d, 0x40, 0xae, 0xb0, 0x3e74, 0x3e7d, u64::MAX] {
            assert_eq!(name(ty), "UNKNOWN");
            assert!(!permitted(ty, OneRtt));
        }
    }

    #[test]
    fn rows_do_not_overlap() {
        assert!(TABLE.windows(2).all(|pair| pair[0].last < pair[1].first));
        assert!(TABLE.iter().all(|row| row.first <= row.last));
    }
}
