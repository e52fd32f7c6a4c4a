//! What can be wrong with bytes, and the codes that tell it to the peer.

use std::borrow::Cow;
use std::fmt;

/// Why bytes could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The input ends inside a value.
    UnexpectedEnd,
    /// A field has a value the specification forbids; the text says which.
    InvalidValue(&'static str),
    /// A frame of a type we do not know, and so cannot skip (RFC 9000 section 12.4).
    UnknownFrameType,
    /// A frame type in more bytes than it needs (RFC 9000 section 12.4).
    FrameTypeNotMinimal,
}

impl DecodeError {
    /// The reason in words, fit for a CONNECTION_CLOSE frame.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::UnexpectedEnd => "input ends inside a value",
            Self::InvalidValue(reason) => reason,
            Self::UnknownFrameType => "unknown frame type",
            Self::FrameTypeNotMinimal => "frame type is not in its shortest encoding",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for DecodeError {}

/// A transport error code (RFC 9000 section 20.1), as CONNECTION_CLOSE of type 0x1c carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransportErrorCode(pub u64);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl TransportErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            const fn registered_name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The connection closes without an error.
    NO_ERROR = 0x00;
    /// The endpoint met an error of its own.
    INTERNAL_ERROR = 0x01;
    /// The server refused the connection.
    CONNECTION_REFUSED = 0x02;
    /// More data than the advertised limits permit.
    FLOW_CONTROL_ERROR = 0x03;
    /// A stream beyond the advertised stream limit.
    STREAM_LIMIT_ERROR = 0x04;
    /// A frame for a stream that was not in a state that permits it.
    STREAM_STATE_ERROR = 0x05;
    /// The final size of a stream changed, or data lies beyond it.
    FINAL_SIZE_ERROR = 0x06;
    /// A frame that was badly formatted.
    FRAME_ENCODING_ERROR = 0x07;
    /// Transport parameters that were badly formatted, missing or invalid.
    TRANSPORT_PARAMETER_ERROR = 0x08;
    /// More connection IDs than active_connection_id_limit.
    CONNECTION_ID_LIMIT_ERROR = 0x09;
    /// An error against the protocol that no other code covers.
    PROTOCOL_VIOLATION = 0x0a;
    /// A client's Initial carried an invalid token.
    INVALID_TOKEN = 0x0b;
    /// The application closed the connection during the handshake.
    APPLICATION_ERROR = 0x0c;
    /// More data in CRYPTO frames than can be buffered.
    CRYPTO_BUFFER_EXCEEDED = 0x0d;
    /// An error in a key update.
    KEY_UPDATE_ERROR = 0x0e;
    /// The confidentiality or integrity limit of the AEAD is reached.
    AEAD_LIMIT_REACHED = 0x0f;
    /// No network path supports QUIC.
    NO_VIABLE_PATH = 0x10;
    /// Version information does not fit the version in use (RFC 9368 section 10.2).
    VERSION_NEGOTIATION_ERROR = 0x11;
    /// The application abandons the path (draft-ietf-quic-multipath-21 section 4.2.1, as the next
    /// three).
    APPLICATION_ABANDON_PATH = 0x3e;
    /// There are no resources for the path.
    PATH_RESOURCE_LIMIT_REACHED = 0x3e75;
    /// The path performs badly or is about to fail.
    PATH_UNSTABLE_OR_POOR = 0x3e76;
    /// There is no connection ID to use on the path.
    NO_CID_AVAILABLE_FOR_PATH = 0x3e77;
}

impl TransportErrorCode {
    /// The code of a TLS alert: CRYPTO_ERROR, 0x100 plus the alert (RFC 9001 section 4.8).
    #[must_use]
    pub const fn crypto(alert: u8) -> Self {
        Self(0x100 | alert as u64)
    }

    /// The TLS alert, when this is a CRYPTO_ERROR.
    #[must_use]
    pub const fn tls_alert(self) -> Option<u8> {
        if self.0 >> 8 == 1 { Some(self.0 as u8) } else { None }
    }

    /// The RFC name, such as `FLOW_CONTROL_ERROR` or `CRYPTO_ERROR(0x12a bad_certificate)`.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        if let Some(name) = self.registered_name() {
            return Cow::Borrowed(name);
        }
        let code = self.0;
        Cow::Owned(match self.tls_alert().map(alert_name) {
            Some(Some(alert)) => format!("CRYPTO_ERROR({code:#x} {alert})"),
            Some(None) => format!("CRYPTO_ERROR({code:#x})"),
            None => format!("UNKNOWN_ERROR({code:#x})"),
        })
    }
}

impl fmt::Display for TransportErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl fmt::Debug for TransportErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The names of RFC 8446 section 6 and RFC 7301 section 3.2.
const fn alert_name(alert: u8) -> Option<&'static str> {
    Some(match alert {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (code, name) in [
            (TransportErrorCode::NO_ERROR, "NO_ERROR"),
            (TransportErrorCode(0x03), "FLOW_CONTROL_ERROR"),
            (TransportErrorCode(0x11), "VERSION_NEGOTIATION_ERROR"),
            (TransportErrorCode::crypto(42), "CRYPTO_ERROR(0x12a bad_certificate)"),
            (TransportErrorCode::crypto(255), "CRYPTO_ERROR(0x1ff)"),
            (TransportErrorCode(0x12), "UNKNOWN_ERROR(0x12)"),
            (TransportErrorCode(0x200), "UNKNOWN_ERROR(0x200)"),
        ] {
            assert_eq!(code.name(), name);
            assert_eq!(code.to_string(), name);
        }
    }

    #[test]
    fn alerts() {
        assert_eq!(TransportErrorCode::crypto(120).tls_alert(), Some(120));
        assert_eq!(TransportErrorCode::crypto(0).0, 0x100);
        assert_eq!(TransportErrorCode::INTERNAL_ERROR.tls_alert(), None);
        assert_eq!(TransportErrorCode(0x1_0100).tls_alert(), None);
    }
}
