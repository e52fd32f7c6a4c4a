//! Errors of the protocol: what ends a connection, on which side, and why.

use core::fmt;
use std::borrow::Cow;

pub use tquic_wire::TransportErrorCode;

/// A reason to close a connection with CONNECTION_CLOSE of type 0x1c (RFC 9000 section 20.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportError {
    /// The code sent to the peer.
    pub code: TransportErrorCode,
    /// The type of the frame that caused it, where one did.
    pub frame: Option<u64>,
    /// What happened, for people.
    pub reason: Cow<'static, str>,
}

impl TransportError {
    /// An error without a frame type.
    pub fn new(code: TransportErrorCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, frame: None, reason: reason.into() }
    }

    /// The same error, blamed on a frame of type `frame`.
    #[must_use]
    pub fn in_frame(mut self, frame: u64) -> Self {
        self.frame = Some(frame);
        self
    }

    /// PROTOCOL_VIOLATION.
    pub fn violation(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(TransportErrorCode::PROTOCOL_VIOLATION, reason)
    }

    /// INTERNAL_ERROR.
    pub fn internal(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(TransportErrorCode::INTERNAL_ERROR, reason)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.reason)?;
        match self.frame {
            Some(ty) => write!(f, " (in {})", tquic_wire::frame::rules::name(ty)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TransportError {}
