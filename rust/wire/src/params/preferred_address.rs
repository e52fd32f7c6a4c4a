//! The preferred_address parameter (RFC 9000 sections 18.2 and 9.6).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use crate::cid::{ConnectionId, ResetToken};
use crate::error::DecodeError;
use crate::reader::Reader;

/// An address that the server asks the client to move to after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreferredAddress {
    /// The IPv4 address; `None`, on the wire `0.0.0.0:0`, when there is none.
    pub ipv4: Option<SocketAddrV4>,
    /// The IPv6 address; `None`, on the wire `[::]:0`, when there is none.
    pub ipv6: Option<SocketAddrV6>,
    /// The connection ID with sequence number 1, to be used there; never empty.
    pub cid: ConnectionId,
    /// The stateless reset token that goes with it.
    pub reset_token: ResetToken,
}

impl PreferredAddress {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (ip, port) = (Ipv4Addr::from(r.array::<4>()?), r.u16()?);
        let ipv4 = (!ip.is_unspecified() || port != 0).then(|| SocketAddrV4::new(ip, port));
        let (ip, port) = (Ipv6Addr::from(r.array::<16>()?), r.u16()?);
        let ipv6 = (!ip.is_unspecified() || port != 0).then(|| SocketAddrV6::new(ip, port, 0, 0));
        let cid = ConnectionId::read(r)?;
        // RFC 9000 section 18.2: a server MUST NOT include a zero-length connection ID.
        if cid.is_empty() {
            return Err(DecodeError::InvalidValue("empty connection ID"));
        }
        Ok(Self { ipv4, ipv6, cid, reset_token: ResetToken::new(r.array()?) })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let ipv4 = self.ipv4.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        out.extend_from_slice(&ipv4.ip().octets());
        out.extend_from_slice(&ipv4.port().to_be_bytes());
        let ipv6 = self.ipv6.unwrap_or(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0));
        out.extend_from_slice(&ipv6.ip().octets());
        out.extend_from_slice(&ipv6.port().to_be_bytes());
        out.push(self.cid.len() as u8);
        out.extend_from_slice(self.cid.as_slice());
        out.extend_from_slice(self.reset_token.as_bytes());
    }
}
