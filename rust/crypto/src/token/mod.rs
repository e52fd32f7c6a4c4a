//! Address validation tokens (RFC 9000 sections 8.1 and 8.1.1): Retry tokens and those of `NEW_TOKEN`
//! frames.
//!
//! A token is opaque to everyone but the servers that share the key: 16 random bytes, then an
//! AEAD-sealed body. Each token has its own AEAD key, derived from the random bytes, so the number
//! of tokens is not bounded by the size of a nonce.

mod replay;

use std::net::{IpAddr, SocketAddr};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use tquic_wire::{ConnectionId, DecodeError, Reader, Version};
use zeroize::Zeroizing;

use crate::aead::IV_LEN;
use crate::hkdf::expand;

pub use replay::ReplayFilter;

/// Length of the random part that names a token, in bytes.
pub const TOKEN_ID_LEN: usize = 16;

/// What a server sealed into a Retry token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryToken {
    /// The Destination Connection ID of the client's first Initial packet: goes into the
    /// transport parameter `original_destination_connection_id`.
    pub original_dcid: ConnectionId,
    /// The Source Connection ID of the Retry packet: goes into the transport parameter
    /// `retry_source_connection_id`, and must be the destination of the client's next packets.
    pub retry_scid: ConnectionId,
    /// When the token was made, in seconds on the server's clock.
    pub issued: u64,
}

/// A token of a `NEW_TOKEN` frame, from an earlier connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressToken {
    /// Names the token, for [`ReplayFilter`].
    pub id: [u8; TOKEN_ID_LEN],
    /// When the token was made, in seconds on the server's clock.
    pub issued: u64,
}

/// A token that proved to be ours, still valid, and given to this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The client answers a Retry.
    Retry(RetryToken),
    /// The client has been here before.
    Address(AddressToken),
}

/// The kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// From a Retry packet.
    Retry,
    /// From a `NEW_TOKEN` frame.
    Address,
}

/// Why a token does not validate the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not made by a server with our key for this QUIC version, or damaged. Go on as if there were
    /// no token (RFC 9000 section 8.1.3).
    NotOurs,
    /// Ours, but given to another address. Of a Retry token: close with `INVALID_TOKEN` (RFC 9000
    /// section 8.1.2); of the other kind: go on as if there were no token.
    OtherAddress(TokenKind),
    /// Ours, but too old; to be treated like [`Self::OtherAddress`].
    Expired(TokenKind),
}

impl std::fmt::Display for TokenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotOurs => "the token was not made by this server",
            Self::OtherAddress(TokenKind::Retry) => "the Retry token was given to another address",
            Self::OtherAddress(TokenKind::Address) => "the token was given to another address",
            Self::Expired(TokenKind::Retry) => "the Retry token has expired",
            Self::Expired(TokenKind::Address) => "the token has expired",
        })
    }
}

impl std::error::Error for TokenError {}

/// For how long tokens are good, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLifetimes {
    /// Retry tokens, which are used at once or never.
    pub retry: u64,
    /// Tokens of `NEW_TOKEN` frames.
    pub address: u64,
}

/// Makes and checks tokens.
pub struct TokenKey(Prk);

impl TokenKey {
    /// A key from a secret. Servers that accept each other's tokens share the secret.
    ///
    /// The secret may be that of [`ResetKey`](crate::ResetKey): the keys made of it differ.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(Salt::new(HKDF_SHA256, b"tquic address validation token").extract(secret))
    }

    /// Seals a Retry token for the client at `client`, whose port is checked too. `random` must be
    /// fresh and unpredictable.
    #[must_use]
    pub fn seal_retry(
        &self,
        random: [u8; TOKEN_ID_LEN],
        version: Version,
        client: SocketAddr,
        token: &RetryToken,
    ) -> Vec<u8> {
        let mut body = body(KIND_RETRY, client.ip(), token.issued);
        body.extend_from_slice(&client.port().to_be_bytes());
        for cid in [&token.original_dcid, &token.retry_scid] {
            body.push(cid.len() as u8);
            body.extend_from_slice(cid.as_slice());
        }
        self.seal(random, version, body)
    }

    /// Seals a token for a `NEW_TOKEN` frame, for the client at `client`. `random` must be fresh
    /// and unpredictable.
    #[must_use]
    pub fn seal_address(
        &self,
        random: [u8; TOKEN_ID_LEN],
        version: Version,
        client: IpAddr,
        issued: u64,
    ) -> Vec<u8> {
        self.seal(random, version, body(KIND_ADDRESS, client, issued))
    }

    /// Checks the token of an Initial packet of `version` that came from `client`.
    ///
    /// `now` is in seconds on the clock of those who made the token; one from the future is good,
    /// because clocks of servers that share a key differ a little. Whether a token is used a second
    /// time is for [`ReplayFilter`] to say.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when the token does not validate the address.
    pub fn open(
        &self,
        version: Version,
        client: SocketAddr,
        now: u64,
        lifetimes: &TokenLifetimes,
        token: &[u8],
    ) -> Result<Token, TokenError> {
        let (id, sealed) = token.split_first_chunk().ok_or(TokenError::NotOurs)?;
        let (key, nonce) = self.key(id);
        let mut body = sealed.to_vec();
        let body = key.open_in_place(nonce, aad(version), &mut body);
        let body = Body::read(body.map_err(|_| TokenError::NotOurs)?);
        // What authenticates is of our own making, but a server with the same key may be newer.
        let body = body.map_err(|_| TokenError::NotOurs)?;

        let (kind, lifetime, port) = match &body.retry {
            Some((_, port)) => (TokenKind::Retry, lifetimes.retry, *port),
            None => (TokenKind::Address, lifetimes.address, client.port()),
        };
        if body.ip != octets(client.ip()) || port != client.port() {
            return Err(TokenError::OtherAddress(kind));
        }
        if now.saturating_sub(body.issued) > lifetime {
            return Err(TokenError::Expired(kind));
        }
        Ok(match body.retry {
            Some((token, _)) => Token::Retry(token),
            None => Token::Address(AddressToken { id: *id, issued: body.issued }),
        })
    }

    fn seal(&self, random: [u8; TOKEN_ID_LEN], version: Version, body: Vec<u8>) -> Vec<u8> {
        let (key, nonce) = self.key(&random);
        let mut body = body;
        key.seal_in_place_append_tag(nonce, aad(version), &mut body)
            .expect("a token is far shorter than the limit of the AEAD");
        [&random[..], &body].concat()
    }

    /// The key and nonce of the token named by `id`.
    fn key(&self, id: &[u8; TOKEN_ID_LEN]) -> (LessSafeKey, Nonce) {
        let mut okm = Zeroizing::new([0; 32 + IV_LEN]);
        expand(&self.0, &[id], &mut okm[..]);
        let (key, nonce) = okm.split_at(32);
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes");
        let nonce = Nonce::try_assume_unique_for_key(nonce).expect("the nonce has 12 bytes");
        (LessSafeKey::new(key), nonce)
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").finish_non_exhaustive()
    }
}

const KIND_RETRY: u8 = 0;
const KIND_ADDRESS: u8 = 1;

/// RFC 9369 section 5: a token is good only for the version that gave it.
fn aad(version: Version) -> Aad<[u8; 4]> {
    Aad::from(version.0.to_be_bytes())
}

/// An address in one form: an IPv4 client reached through an IPv6 socket is the same client.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The fields that both kinds begin with.
fn body(kind: u8, client: IpAddr, issued: u64) -> Vec<u8> {
    let mut body = Vec::with_capacity(96);
    body.push(kind);
    body.extend_from_slice(&issued.to_be_bytes());
    body.extend_from_slice(&octets(client));
    body
}

struct Body {
    issued: u64,
    ip: [u8; 16],
    /// With the client's port.
    retry: Option<(RetryToken, u16)>,
}

impl Body {
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let kind = r.u8()?;
        let issued = r.u64()?;
        let ip = r.array()?;
        let retry = match kind {
            KIND_ADDRESS => None,
            KIND_RETRY => {
                let port = r.u16()?;
                let (original_dcid, retry_scid) = (cid(&mut r)?, cid(&mut r)?);
                Some((RetryToken { original_dcid, retry_scid, issued }, port))
            }
            _ => return Err(DecodeError::InvalidValue("unknown kind of token")),
        };
        if r.is_empty() {
            Ok(Self { issued, ip, retry })
        } else {
            Err(DecodeError::InvalidValue("the token is longer than its content"))
        }
    }
}

fn cid(r: &mut Reader<'_>) -> Result<ConnectionId, DecodeError> {
    let len = r.u8()?;
    ConnectionId::new(r.bytes(usize::from(len))?)
        .ok_or(DecodeError::InvalidValue("the connection ID is too long"))
}

#[cfg(test)]
mod tests;
