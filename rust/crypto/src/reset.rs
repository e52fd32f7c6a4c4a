//! Stateless reset tokens (RFC 9000 section 10.3).

use ring::hmac;
use tquic_wire::{ConnectionId, ResetToken};

/// Separates this key from every other use of the same secret: a stateless reset must never be
/// computable from what another mechanism signs for a peer (RFC 9000 section 21.11).
const LABEL: &[u8] = b"tquic stateless reset";

/// Makes the stateless reset token of each connection ID that we issue, without keeping state.
pub struct ResetKey(hmac::Key);

impl ResetKey {
    /// A key from a secret. Servers that share connection IDs share the secret.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let key = hmac::sign(&master, LABEL);
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    /// The token of a connection ID: HMAC-SHA256 cut to 16 bytes (RFC 9000 section 10.3.2).
    #[must_use]
    pub fn token_for(&self, cid: &ConnectionId) -> ResetToken {
        let tag = hmac::sign(&self.0, cid.as_slice());
        let mut token = [0; 16];
        token.copy_from_slice(&tag.as_ref()[..16]);
        ResetToken::new(token)
    }
}

impl std::fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResetKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cid(bytes: &[u8]) -> ConnectionId {
        ConnectionId::new(bytes).unwrap()
    }

    /// RFC 9000 section 10.3.2.
    #[test]
    fn depends_on_key_and_id() {
        let key = ResetKey::new(&[1; 32]);
        assert_eq!(key.token_for(&cid(b"abcdefgh")), key.token_for(&cid(b"abcdefgh")));
        assert_ne!(key.token_for(&cid(b"abcdefgh")), key.token_for(&cid(b"abcdefgi")));
        assert_ne!(key.token_for(&cid(b"")), key.token_for(&cid(&[0])));
        let other = ResetKey::new(&[2; 32]);
        assert_ne!(key.token_for(&cid(b"abcdefgh")), other.token_for(&cid(b"abcdefgh")));
    }

    /// The key is not the secret itself, so that a plain HMAC under the secret gives nothing away.
    #[test]
    fn is_not_a_plain_hmac_of_the_secret() {
        let plain = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]), b"abcdefgh");
        let mut token = [0; 16];
        token.copy_from_slice(&plain.as_ref()[..16]);
        assert_ne!(ResetKey::new(&[1; 32]).token_for(&cid(b"abcdefgh")), ResetToken::new(token));
    }
}
