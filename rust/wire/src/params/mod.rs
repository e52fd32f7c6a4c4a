//! Transport parameters (RFC 9000 section 18) and those of the extensions we speak.

mod decode;
mod encode;
mod preferred_address;
mod version_information;

#[cfg(test)]
mod tests;

pub use decode::ParamError;
pub use preferred_address::PreferredAddress;
pub use version_information::VersionInformation;

use crate::cid::{ConnectionId, ResetToken};

/// Parameter codepoints.
pub mod id {
    /// RFC 9000 section 18.2, as those up to [`RETRY_SOURCE_CONNECTION_ID`].
    pub const ORIGINAL_DESTINATION_CONNECTION_ID: u64 = 0x00;
    /// Integer.
    pub const MAX_IDLE_TIMEOUT: u64 = 0x01;
    /// 16 bytes.
    pub const STATELESS_RESET_TOKEN: u64 = 0x02;
    /// Integer.
    pub const MAX_UDP_PAYLOAD_SIZE: u64 = 0x03;
    /// Integer.
    pub const INITIAL_MAX_DATA: u64 = 0x04;
    /// Integer.
    pub const INITIAL_MAX_STREAM_DATA_BIDI_LOCAL: u64 = 0x05;
    /// Integer.
    pub const INITIAL_MAX_STREAM_DATA_BIDI_REMOTE: u64 = 0x06;
    /// Integer.
    pub const INITIAL_MAX_STREAM_DATA_UNI: u64 = 0x07;
    /// Integer.
    pub const INITIAL_MAX_STREAMS_BIDI: u64 = 0x08;
    /// Integer.
    pub const INITIAL_MAX_STREAMS_UNI: u64 = 0x09;
    /// Integer.
    pub const ACK_DELAY_EXPONENT: u64 = 0x0a;
    /// Integer.
    pub const MAX_ACK_DELAY: u64 = 0x0b;
    /// No value.
    pub const DISABLE_ACTIVE_MIGRATION: u64 = 0x0c;
    /// See [`super::PreferredAddress`].
    pub const PREFERRED_ADDRESS: u64 = 0x0d;
    /// Integer.
    pub const ACTIVE_CONNECTION_ID_LIMIT: u64 = 0x0e;
    /// Connection ID.
    pub const INITIAL_SOURCE_CONNECTION_ID: u64 = 0x0f;
    /// Connection ID.
    pub const RETRY_SOURCE_CONNECTION_ID: u64 = 0x10;
    /// RFC 9368 section 3.
    pub const VERSION_INFORMATION: u64 = 0x11;
    /// No value. draft-ietf-quic-reliable-stream-reset-10 section 3.
    pub const RESET_STREAM_AT: u64 = 0x1d;
    /// RFC 9221 section 3.
    pub const MAX_DATAGRAM_FRAME_SIZE: u64 = 0x20;
    /// draft-ietf-quic-multipath-21 section 2.1.
    pub const INITIAL_MAX_PATH_ID: u64 = 0x3e;
    /// RFC 9287 section 3.
    pub const GREASE_QUIC_BIT: u64 = 0x2ab2;
    /// draft-ietf-quic-ack-frequency-12 section 3.
    pub const MIN_ACK_DELAY: u64 = 0xff04_de1b;

    /// The reserved parameter number `n`, which peers ignore (RFC 9000 section 18.1).
    #[must_use]
    pub const fn reserved(n: u32) -> u64 {
        31 * n as u64 + 27
    }
}

/// What an endpoint says about itself during the handshake.
///
/// Integers are variable-length integers on the wire, so at most [`crate::MAX_VARINT`]. A field at
/// its default is not sent. Which parameters must be present is for the caller to check (RFC 9000
/// section 7.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportParameters {
    /// Destination connection ID of the client's first Initial. Server only.
    pub original_destination_connection_id: Option<ConnectionId>,
    /// Idle timeout in milliseconds; 0, the default, for none.
    pub max_idle_timeout: u64,
    /// Token for a stateless reset of the handshake's connection ID. Server only.
    pub stateless_reset_token: Option<ResetToken>,
    /// Largest UDP payload in bytes that the endpoint receives, at least 1200; default 65527.
    pub max_udp_payload_size: u64,
    /// Bytes the peer may send on the connection; default 0.
    pub initial_max_data: u64,
    /// Bytes the peer may send on a bidirectional stream that the sender of this opens; default 0.
    pub initial_max_stream_data_bidi_local: u64,
    /// Bytes the peer may send on a bidirectional stream that it opens itself; default 0.
    pub initial_max_stream_data_bidi_remote: u64,
    /// Bytes the peer may send on a unidirectional stream; default 0.
    pub initial_max_stream_data_uni: u64,
    /// Bidirectional streams the peer may open, at most 2^60; default 0.
    pub initial_max_streams_bidi: u64,
    /// Unidirectional streams the peer may open, at most 2^60; default 0.
    pub initial_max_streams_uni: u64,
    /// Exponent of the ACK Delay field, at most 20; default 3.
    pub ack_delay_exponent: u64,
    /// Longest delay of an acknowledgment in milliseconds, below 2^14; default 25.
    pub max_ack_delay: u64,
    /// Whether the peer must not migrate away from the handshake's address.
    pub disable_active_migration: bool,
    /// Where the server would rather be. Server only.
    pub preferred_address: Option<PreferredAddress>,
    /// Connection IDs the endpoint stores, at least 2, the default.
    pub active_connection_id_limit: u64,
    /// Source connection ID of the endpoint's first Initial.
    pub initial_source_connection_id: Option<ConnectionId>,
    /// Source connection ID of the Retry packet, if one was sent. Server only.
    pub retry_source_connection_id: Option<ConnectionId>,
    /// Versions for compatible negotiation (RFC 9368).
    pub version_information: Option<VersionInformation>,
    /// Largest DATAGRAM frame in bytes, type and length included; 0, the default, for no support
    /// (RFC 9221).
    pub max_datagram_frame_size: u64,
    /// Whether the endpoint takes RESET_STREAM_AT frames
    /// (draft-ietf-quic-reliable-stream-reset-10).
    pub reset_stream_at: bool,
    /// Whether the endpoint accepts packets with the fixed bit cleared (RFC 9287).
    pub grease_quic_bit: bool,
    /// Least delay of an acknowledgment in microseconds, at most `max_ack_delay`. `Some` means
    /// ACK_FREQUENCY and IMMEDIATE_ACK frames are welcome.
    pub min_ack_delay: Option<u64>,
    /// Largest path ID at the start, below 2^32. `Some` means multipath is supported.
    pub initial_max_path_id: Option<u64>,
    /// A parameter to exercise that peers ignore what they do not know, see [`id::reserved`].
    /// Written only: never set by decoding.
    pub grease: Option<(u64, Vec<u8>)>,
}

impl Default for TransportParameters {
    /// The values that hold for what a peer leaves out (RFC 9000 section 18.2).
    fn default() -> Self {
        Self {
            original_destination_connection_id: None,
            max_idle_timeout: 0,
            stateless_reset_token: None,
            max_udp_payload_size: 65527,
            initial_max_data: 0,
            initial_max_stream_data_bidi_local: 0,
            initial_max_stream_data_bidi_remote: 0,
            initial_max_stream_data_uni: 0,
            initial_max_streams_bidi: 0,
            initial_max_streams_uni: 0,
            ack_delay_exponent: 3,
            max_ack_delay: 25,
            disable_active_migration: false,
            preferred_address: None,
            active_connection_id_limit: 2,
            initial_source_connection_id: None,
            retry_source_connection_id: None,
            version_information: None,
            max_datagram_frame_size: 0,
            reset_stream_at: false,
            grease_quic_bit: false,
            min_ack_delay: None,
            initial_max_path_id: None,
            grease: None,
        }
    }
}

/// The parameters we know.
#[rustfmt::skip]
const KNOWN: [(u64, &str); 23] = [
    (id::ORIGINAL_DESTINATION_CONNECTION_ID, "original_destination_connection_id"),
    (id::MAX_IDLE_TIMEOUT, "max_idle_timeout"),
    (id::STATELESS_RESET_TOKEN, "stateless_reset_token"),
    (id::MAX_UDP_PAYLOAD_SIZE, "max_udp_payload_size"),
    (id::INITIAL_MAX_DATA, "initial_max_data"),
    (id::INITIAL_MAX_STREAM_DATA_BIDI_LOCAL, "initial_max_stream_data_bidi_local"),
    (id::INITIAL_MAX_STREAM_DATA_BIDI_REMOTE, "initial_max_stream_data_bidi_remote"),
    (id::INITIAL_MAX_STREAM_DATA_UNI, "initial_max_stream_data_uni"),
    (id::INITIAL_MAX_STREAMS_BIDI, "initial_max_streams_bidi"),
    (id::INITIAL_MAX_STREAMS_UNI, "initial_max_streams_uni"),
    (id::ACK_DELAY_EXPONENT, "ack_delay_exponent"),
    (id::MAX_ACK_DELAY, "max_ack_delay"),
    (id::DISABLE_ACTIVE_MIGRATION, "disable_active_migration"),
    (id::PREFERRED_ADDRESS, "preferred_address"),
    (id::ACTIVE_CONNECTION_ID_LIMIT, "active_connection_id_limit"),
    (id::INITIAL_SOURCE_CONNECTION_ID, "initial_source_connection_id"),
    (id::RETRY_SOURCE_CONNECTION_ID, "retry_source_connection_id"),
    (id::VERSION_INFORMATION, "version_information"),
    (id::RESET_STREAM_AT, "reset_stream_at"),
    (id::MAX_DATAGRAM_FRAME_SIZE, "max_datagram_frame_size"),
    (id::INITIAL_MAX_PATH_ID, "initial_max_path_id"),
    (id::GREASE_QUIC_BIT, "grease_quic_bit"),
    (id::MIN_ACK_DELAY, "min_ack_delay"),
];

/// The name of a parameter in its specification; `unknown` for one we do not know.
#[must_use]
pub fn name(id: u64) -> &'static str {
    KNOWN.iter().find(|known| known.0 == id).map_or("unknown", |known| known.1)
}
