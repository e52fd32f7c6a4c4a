//! Version negotiation (RFC 9000 section 6, RFC 9368, RFC 9369).

use tquic_wire::params::VersionInformation;
use tquic_wire::{Side, TransportErrorCode, Version};

use crate::connection::Identity;
use crate::error::TransportError;

/// The version a server goes on with, given what the client's ClientHello says. All versions that we
/// speak are compatible with each other (RFC 9369 section 3).
pub(crate) fn choose(
    wanted: &[Version],
    original: Version,
    client: Option<&VersionInformation>,
) -> Result<Version, TransportError> {
    let Some(client) = client else { return Ok(original) };
    // RFC 9368 section 4: the chosen version must be the one of the packets.
    if client.chosen != original {
        return Err(negotiation_error("the client's chosen version is not that of its packets"));
    }
    Ok(wanted.iter().copied().find(|v| client.available.contains(v)).unwrap_or(original))
}

/// The version a client starts again with after a Version Negotiation packet.
pub(crate) fn retry_with(
    wanted: &[Version],
    offered: &[Version],
    tried: Version,
) -> Option<Version> {
    // RFC 9000 section 6.2: a packet that lists the version tried is to be ignored.
    if offered.contains(&tried) {
        return None;
    }
    wanted.iter().copied().find(|v| offered.contains(v))
}

/// A client checks that nobody meddled with the choice (RFC 9368 section 4).
pub(crate) fn authenticate(
    ids: &Identity,
    wanted: &[Version],
    server: Option<&VersionInformation>,
) -> Result<(), TransportError> {
    if ids.side == Side::Server {
        return Ok(());
    }
    let Some(server) = server else {
        // RFC 9368 section 8: servers without the parameter are fine as long as nothing changed.
        return if ids.negotiated_from.is_none() && ids.version == ids.original_version {
            Ok(())
        } else {
            Err(negotiation_error("the version changed and the server does not confirm it"))
        };
    };
    if server.chosen != ids.version {
        return Err(negotiation_error("the server's chosen version is not that of its packets"));
    }
    if ids.negotiated_from.is_some() {
        // Would we have chosen the same, had we known what the server really speaks?
        let best = wanted.iter().find(|v| server.available.contains(v));
        if best != Some(&ids.original_version) {
            return Err(negotiation_error("version negotiation was tampered with"));
        }
    }
    Ok(())
}

fn negotiation_error(reason: &'static str) -> TransportError {
    TransportError::new(TransportErrorCode::VERSION_NEGOTIATION_ERROR, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tquic_wire::ConnectionId;

    const V1: Version = Version::V1;
    const V2: Version = Version::V2;

    fn info(chosen: Version, available: &[Version]) -> VersionInformation {
        VersionInformation { chosen, available: available.to_vec() }
    }

    #[test]
    fn server_upgrades_where_the_client_can() {
        assert_eq!(choose(&[V2, V1], V1, Some(&info(V1, &[V1, V2]))), Ok(V2));
        assert_eq!(choose(&[V2, V1], V1, Some(&info(V1, &[V1]))), Ok(V1));
        assert_eq!(choose(&[V2, V1], V1, None), Ok(V1));
        assert!(choose(&[V2, V1], V1, Some(&info(V2, &[V1, V2]))).is_err());
    }

    /// A client that began with `original`, is at `version`, and may have started again for a
    /// Version Negotiation packet.
    fn client(original: Version, version: Version, again: bool) -> Identity {
        let none = ConnectionId::EMPTY;
        Identity {
            side: Side::Client,
            version,
            original_version: original,
            original_dcid: none,
            initial_dcid: none,
            local: none,
            peer: None,
            retry: None,
            token: Vec::new(),
            grease: 1,
            negotiated_from: again.then(|| vec![V2]),
        }
    }

    #[test]
    fn client_notices_a_choice_that_was_meddled_with() {
        let check = |ids: &Identity, server: Option<VersionInformation>| {
            authenticate(ids, &[V1, V2], server.as_ref()).map_err(|error| error.code)
        };
        let refused = Err(TransportErrorCode::VERSION_NEGOTIATION_ERROR);
        // Nobody speaks of versions: fine unless something changed.
        assert_eq!(check(&client(V1, V1, false), None), Ok(()));
        assert_eq!(check(&client(V1, V2, false), None), refused);
        assert_eq!(check(&client(V2, V2, true), None), refused);
        // The server confirms what its packets say, or does not.
        assert_eq!(check(&client(V1, V2, false), Some(info(V2, &[V1, V2]))), Ok(()));
        assert_eq!(check(&client(V1, V1, false), Some(info(V2, &[V1, V2]))), refused);
        // Sent to version 2 by a packet that nobody authenticates, though the server speaks the
        // preferred version 1; and by one that told the truth.
        assert_eq!(check(&client(V2, V2, true), Some(info(V2, &[V1, V2]))), refused);
        assert_eq!(check(&client(V2, V2, true), Some(info(V2, &[]))), refused);
        assert_eq!(check(&client(V2, V2, true), Some(info(V2, &[V2]))), Ok(()));
    }

    #[test]
    fn client_ignores_a_packet_that_lists_what_it_tried() {
        assert_eq!(retry_with(&[V1, V2], &[V1, V2], V1), None);
        assert_eq!(retry_with(&[V1, V2], &[V2], V1), Some(V2));
        assert_eq!(retry_with(&[V1], &[V2], V1), None);
    }
}
