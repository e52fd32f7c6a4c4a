//! Transport parameters: what we tell, and whether what the peer tells is true (RFC 9000 section 7).

use tquic_wire::params::VersionInformation;
use tquic_wire::{Side, TransportErrorCode, TransportParameters, Version};

use crate::config::TransportConfig;
use crate::connection::Identity;
use crate::error::TransportError;
use crate::rng::Rng;
use crate::space::min_ack_delay;

/// The parameters that do not depend on the role's secrets: a server adds its reset token and
/// preferred address.
pub(crate) fn ours(config: &TransportConfig, ids: &Identity, rng: &mut Rng) -> TransportParameters {
    let mut p = fixed(config, ids);
    p.version_information = Some(VersionInformation {
        chosen: ids.version,
        available: available_versions(config, rng),
    });
    if config.grease {
        // RFC 9000 section 18.1: identifiers 31 * N + 27 are reserved to exercise ignorance.
        let length = 1 + rng.below(8) as usize;
        p.grease = Some((31 * rng.below(1 << 20) + 27, rng.array::<8>()[..length].to_vec()));
    }
    p
}

/// Those of them that nothing random is in.
pub(crate) fn fixed(config: &TransportConfig, ids: &Identity) -> TransportParameters {
    let mut p = TransportParameters {
        max_idle_timeout: config.max_idle_timeout.as_millis() as u64,
        max_ack_delay: config.max_ack_delay.as_millis() as u64,
        disable_active_migration: config.disable_active_migration,
        active_connection_id_limit: config.active_connection_id_limit,
        initial_source_connection_id: Some(ids.local),
        grease_quic_bit: config.grease,
        min_ack_delay: Some(min_ack_delay(config.max_ack_delay).as_micros() as u64),
        ..TransportParameters::default()
    };
    // Draft-ietf-quic-multipath-21 section 2.1: path IDs begin at 0.
    p.initial_max_path_id = config.max_paths.map(|paths| u64::from(paths) - 1);
    config.streams.advertise(&mut p);
    config.datagrams.advertise(&mut p);
    if ids.side == Side::Server {
        p.original_destination_connection_id = Some(ids.original_dcid);
        p.retry_source_connection_id = ids.retry;
    }
    p
}

/// RFC 9368 section 3; with a reserved version that peers must skip (RFC 9000 section 15).
fn available_versions(config: &TransportConfig, rng: &mut Rng) -> Vec<Version> {
    let mut versions = config.versions.clone();
    if config.grease {
        versions.push(Version::reserved(rng.u64() as u32));
    }
    versions
}

/// RFC 9000 section 7.3: the connection IDs in the parameters must be those on the packets.
pub(crate) fn authenticate(
    ids: &Identity,
    theirs: &TransportParameters,
) -> Result<(), TransportError> {
    let wrong =
        |what| Err(TransportError::new(TransportErrorCode::TRANSPORT_PARAMETER_ERROR, what));
    if theirs.initial_source_connection_id.is_none()
        || theirs.initial_source_connection_id != ids.peer
    {
        return wrong("initial_source_connection_id is absent or not that of the packets");
    }
    if ids.side == Side::Server {
        return Ok(());
    }
    if theirs.original_destination_connection_id != Some(ids.original_dcid) {
        return wrong("original_destination_connection_id is absent or not the one that was sent");
    }
    if theirs.retry_source_connection_id != ids.retry {
        return wrong("retry_source_connection_id does not match the Retry packet");
    }
    // RFC 9000 section 18.2.
    if theirs.preferred_address.is_some() && ids.peer.is_some_and(|cid| cid.is_empty()) {
        return wrong("preferred_address of a server with an empty connection ID");
    }
    Ok(())
}

/// RFC 9000 section 7.4.1: a server that accepts 0-RTT must not take back what it allowed before.
pub(crate) fn keeps_promises(old: &TransportParameters, new: &TransportParameters) -> bool {
    new.active_connection_id_limit >= old.active_connection_id_limit
        && new.initial_max_data >= old.initial_max_data
        && new.initial_max_stream_data_bidi_local >= old.initial_max_stream_data_bidi_local
        && new.initial_max_stream_data_bidi_remote >= old.initial_max_stream_data_bidi_remote
        && new.initial_max_stream_data_uni >= old.initial_max_stream_data_uni
        && new.initial_max_streams_bidi >= old.initial_max_streams_bidi
        && new.initial_max_streams_uni >= old.initial_max_streams_uni
        && new.max_datagram_frame_size >= old.max_datagram_frame_size
        // draft-ietf-quic-reliable-stream-reset-10 section 3.
        && (new.reset_stream_at || !old.reset_stream_at)
        && (new.disable_active_migration || !old.disable_active_migration)
}
