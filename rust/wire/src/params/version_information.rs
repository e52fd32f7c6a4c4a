//! The version_information parameter (RFC 9368 section 3).

use crate::error::DecodeError;
use crate::reader::Reader;
use crate::types::Side;
use crate::version::Version;

/// The version in use and those the sender has besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInformation {
    /// The version the sender chose for the connection.
    pub chosen: Version,
    /// Of a client: the versions its first flight is compatible with, the preferred one first,
    /// `chosen` among them. Of a server: those fully deployed, in no order. At most
    /// [`Self::MAX_AVAILABLE`], reserved ones included.
    pub available: Vec<Version>,
}

impl VersionInformation {
    /// The most versions we accept from a peer; real lists have a handful.
    pub const MAX_AVAILABLE: usize = 128;

    pub(super) fn decode(sender: Side, r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let chosen = Version(r.u32()?);
        if r.remaining() / 4 > Self::MAX_AVAILABLE {
            return Err(DecodeError::InvalidValue("more than 128 versions"));
        }
        let mut available = Vec::with_capacity(r.remaining() / 4);
        while !r.is_empty() {
            available.push(Version(r.u32()?));
        }
        // RFC 9368 section 4: a Chosen or Available Version of zero is a parsing failure.
        if chosen.0 == 0 || available.contains(&Version(0)) {
            return Err(DecodeError::InvalidValue("version 0"));
        }
        // RFC 9368 section 4: so is, at a server, a Chosen Version that is not available.
        if sender.is_client() && !available.contains(&chosen) {
            return Err(DecodeError::InvalidValue("chosen version is not among the available"));
        }
        Ok(Self { chosen, available })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.chosen.0.to_be_bytes());
        for version in &self.available {
            out.extend_from_slice(&version.0.to_be_bytes());
        }
    }
}
