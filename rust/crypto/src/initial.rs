//! Initial secrets and keys (RFC 9001 section 5.2).

use ring::hkdf::{HKDF_SHA256, Salt};
use tquic_wire::{ConnectionId, Side, Version};
use zeroize::Zeroizing;

use crate::hkdf::{expand_label, labels};
use crate::{DirectionKeys, Keys, Suite, TrafficSecret};

/// The Initial keys of a connection, which anyone who saw the client's first packet can derive:
/// they keep off accidents, not attackers.
///
/// `client_dcid` is the Destination Connection ID of the client's first Initial packet, or of its
/// first one after a Retry.
#[must_use]
pub fn initial_keys(version: Version, client_dcid: &ConnectionId, side: Side) -> Keys {
    let (client, server) = initial_secrets(version, client_dcid);
    let client = DirectionKeys::derive(version, &client);
    let server = DirectionKeys::derive(version, &server);
    match side {
        Side::Client => Keys { local: client, remote: server },
        Side::Server => Keys { local: server, remote: client },
    }
}

/// The Initial secrets of the client and the server, in this order.
pub(crate) fn initial_secrets(
    version: Version,
    client_dcid: &ConnectionId,
) -> (TrafficSecret, TrafficSecret) {
    let salt = Salt::new(HKDF_SHA256, &labels(version).initial_salt);
    let initial = salt.extract(client_dcid.as_slice());
    let secret = |label: &[u8]| {
        let mut bytes = Zeroizing::new([0; 32]);
        expand_label(&initial, label, &mut bytes[..]);
        TrafficSecret::new(Suite::Aes128Gcm, &bytes[..]).expect("SHA-256 gives 32 bytes")
    };
    (secret(b"client in"), secret(b"server in"))
}
