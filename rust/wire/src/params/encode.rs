//! From transport parameters to bytes.

use super::{TransportParameters, id};
use crate::cid::{ConnectionId, ResetToken};
use crate::types::Side;
use crate::varint;

impl TransportParameters {
    /// Appends the parameters as `side` sends them. Fields at their default are left out, and
    /// server-only ones when `side` is the client.
    ///
    /// # Panics
    /// If an integer exceeds [`crate::MAX_VARINT`].
    pub fn encode(&self, side: Side, out: &mut Vec<u8>) {
        if !side.is_client() {
            self.encode_server_only(out);
        }
        self.encode_integers(out);
        for (id, flag) in [
            (id::DISABLE_ACTIVE_MIGRATION, self.disable_active_migration),
            (id::RESET_STREAM_AT, self.reset_stream_at),
            (id::GREASE_QUIC_BIT, self.grease_quic_bit),
        ] {
            if flag {
                put(out, id, &[]);
            }
        }
        let cid = self.initial_source_connection_id.as_ref();
        put_option(out, id::INITIAL_SOURCE_CONNECTION_ID, cid.map(ConnectionId::as_slice));
        if let Some(information) = &self.version_information {
            let mut value = Vec::new();
            information.encode(&mut value);
            put(out, id::VERSION_INFORMATION, &value);
        }
        if let Some((id, value)) = &self.grease {
            put(out, *id, value);
        }
    }

    fn encode_server_only(&self, out: &mut Vec<u8>) {
        let cid = self.original_destination_connection_id.as_ref();
        put_option(out, id::ORIGINAL_DESTINATION_CONNECTION_ID, cid.map(ConnectionId::as_slice));
        let token = self.stateless_reset_token.as_ref();
        let token = token.map(ResetToken::as_bytes).map(<[u8; ResetToken::LEN]>::as_slice);
        put_option(out, id::STATELESS_RESET_TOKEN, token);
        if let Some(address) = &self.preferred_address {
            let mut value = Vec::new();
            address.encode(&mut value);
            put(out, id::PREFERRED_ADDRESS, &value);
        }
        let cid = self.retry_source_connection_id.as_ref();
        put_option(out, id::RETRY_SOURCE_CONNECTION_ID, cid.map(ConnectionId::as_slice));
    }

    fn encode_integers(&self, out: &mut Vec<u8>) {
        let default = Self::default();
        for (id, value, default) in [
            (id::MAX_IDLE_TIMEOUT, self.max_idle_timeout, default.max_idle_timeout),
            (id::MAX_UDP_PAYLOAD_SIZE, self.max_udp_payload_size, default.max_udp_payload_size),
            (id::INITIAL_MAX_DATA, self.initial_max_data, 0),
            (id::INITIAL_MAX_STREAM_DATA_BIDI_LOCAL, self.initial_max_stream_data_bidi_local, 0),
            (id::INITIAL_MAX_STREAM_DATA_BIDI_REMOTE, self.initial_max_stream_data_bidi_remote, 0),
            (id::INITIAL_MAX_STREAM_DATA_UNI, self.initial_max_stream_data_uni, 0),
            (id::INITIAL_MAX_STREAMS_BIDI, self.initial_max_streams_bidi, 0),
            (id::INITIAL_MAX_STREAMS_UNI, self.initial_max_streams_uni, 0),
            (id::ACK_DELAY_EXPONENT, self.ack_delay_exponent, default.ack_delay_exponent),
            (id::MAX_ACK_DELAY, self.max_ack_delay, default.max_ack_delay),
            (
                id::ACTIVE_CONNECTION_ID_LIMIT,
                self.active_connection_id_limit,
                default.active_connection_id_limit,
            ),
            (id::MAX_DATAGRAM_FRAME_SIZE, self.max_datagram_frame_size, 0),
        ] {
            if value != default {
                put_integer(out, id, value);
            }
        }
        for (id, value) in [
            (id::INITIAL_MAX_PATH_ID, self.initial_max_path_id),
            (id::MIN_ACK_DELAY, self.min_ack_delay),
        ] {
            if let Some(value) = value {
                put_integer(out, id, value);
            }
        }
    }
}

fn put(out: &mut Vec<u8>, id: u64, value: &[u8]) {
    varint::append(out, id);
    varint::append(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn put_option(out: &mut Vec<u8>, id: u64, value: Option<&[u8]>) {
    if let Some(value) = value {
        put(out, id, value);
    }
}

fn put_integer(out: &mut Vec<u8>, id: u64, value: u64) {
    varint::append(out, id);
    varint::append(out, varint::size(value) as u64);
    varint::append(out, value);
}
