//! Frame type codepoints.

/// RFC 9000 section 19.1.
pub const PADDING: u64 = 0x00;
/// RFC 9000 section 19.2.
pub const PING: u64 = 0x01;
/// RFC 9000 section 19.3.
pub const ACK: u64 = 0x02;
/// ACK with ECN counts, RFC 9000 section 19.3.2.
pub const ACK_ECN: u64 = 0x03;
/// RFC 9000 section 19.4.
pub const RESET_STREAM: u64 = 0x04;
/// RFC 9000 section 19.5.
pub const STOP_SENDING: u64 = 0x05;
/// RFC 9000 section 19.6.
pub const CRYPTO: u64 = 0x06;
/// RFC 9000 section 19.7.
pub const NEW_TOKEN: u64 = 0x07;
/// STREAM without any of its bits, RFC 9000 section 19.8.
pub const STREAM: u64 = 0x08;
/// Bit of STREAM: the last bytes of the stream.
pub const STREAM_FIN: u64 = 0x01;
/// Bit of STREAM: a Length field is present.
pub const STREAM_LEN: u64 = 0x02;
/// Bit of STREAM: an Offset field is present.
pub const STREAM_OFF: u64 = 0x04;
/// STREAM with all of its bits.
pub const STREAM_LAST: u64 = 0x0f;
/// RFC 9000 section 19.9.
pub const MAX_DATA: u64 = 0x10;
/// RFC 9000 section 19.10.
pub const MAX_STREAM_DATA: u64 = 0x11;
/// RFC 9000 section 19.11.
pub const MAX_STREAMS_BIDI: u64 = 0x12;
/// RFC 9000 section 19.11.
pub const MAX_STREAMS_UNI: u64 = 0x13;
/// RFC 9000 section 19.12.
pub const DATA_BLOCKED: u64 = 0x14;
/// RFC 9000 section 19.13.
pub const STREAM_DATA_BLOCKED: u64 = 0x15;
/// RFC 9000 section 19.14.
pub const STREAMS_BLOCKED_BIDI: u64 = 0x16;
/// RFC 9000 section 19.14.
pub const STREAMS_BLOCKED_UNI: u64 = 0x17;
/// RFC 9000 section 19.15.
pub const NEW_CONNECTION_ID: u64 = 0x18;
/// RFC 9000 section 19.16.
pub const RETIRE_CONNECTION_ID: u64 = 0x19;
/// RFC 9000 section 19.17.
pub const PATH_CHALLENGE: u64 = 0x1a;
/// RFC 9000 section 19.18.
pub const PATH_RESPONSE: u64 = 0x1b;
/// An error of QUIC, RFC 9000 section 19.19.
pub const CONNECTION_CLOSE: u64 = 0x1c;
/// An error of the application, RFC 9000 section 19.19.
pub const CONNECTION_CLOSE_APP: u64 = 0x1d;
/// RFC 9000 section 19.20.
pub const HANDSHAKE_DONE: u64 = 0x1e;
/// draft-ietf-quic-ack-frequency-12 section 5.
pub const IMMEDIATE_ACK: u64 = 0x1f;
/// draft-ietf-quic-reliable-stream-reset-10 section 4.
pub const RESET_STREAM_AT: u64 = 0x24;
/// DATAGRAM up to the end of the packet, RFC 9221 section 4.
pub const DATAGRAM: u64 = 0x30;
/// DATAGRAM with a Length field, RFC 9221 section 4.
pub const DATAGRAM_LEN: u64 = 0x31;
/// draft-ietf-quic-multipath-21 section 4.1.
pub const PATH_ACK: u64 = 0x3e;
/// PATH_ACK with ECN counts, draft-ietf-quic-multipath-21 section 4.1.
pub const PATH_ACK_ECN: u64 = 0x3f;
/// draft-ietf-quic-ack-frequency-12 section 4.
pub const ACK_FREQUENCY: u64 = 0xaf;
/// draft-ietf-quic-multipath-21 section 4.2.
pub const PATH_ABANDON: u64 = 0x3e75;
/// draft-ietf-quic-multipath-21 section 4.3.
pub const PATH_STATUS_BACKUP: u64 = 0x3e76;
/// draft-ietf-quic-multipath-21 section 4.3.
pub const PATH_STATUS_AVAILABLE: u64 = 0x3e77;
/// draft-ietf-quic-multipath-21 section 4.4.
pub const PATH_NEW_CONNECTION_ID: u64 = 0x3e78;
/// draft-ietf-quic-multipath-21 section 4.5.
pub const PATH_RETIRE_CONNECTION_ID: u64 = 0x3e79;
/// draft-ietf-quic-multipath-21 section 4.6.
pub const MAX_PATH_ID: u64 = 0x3e7a;
/// draft-ietf-quic-multipath-21 section 4.7.
pub const PATHS_BLOCKED: u64 = 0x3e7b;
/// draft-ietf-quic-multipath-21 section 4.7.
pub const PATH_CIDS_BLOCKED: u64 = 0x3e7c;

/// Whether frames of this type belong to the multipath extension.
#[inline]
#[must_use]
pub const fn is_multipath(ty: u64) -> bool {
    matches!(ty, PATH_ACK | PATH_ACK_ECN | PATH_ABANDON..=PATH_CIDS_BLOCKED)
}
