"""Error codes: those of QUIC (RFC 9000 section 20.1) under the names that C programs use, too.

`QuicError.tquic_err` is always one of these, also for errors that never go over the network.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "TQUIC_ERR_AEAD_LIMIT_REACHED",
    "TQUIC_ERR_APPLICATION_ERROR",
    "TQUIC_ERR_CONNECTION_ID_LIMIT_ERROR",
    "TQUIC_ERR_CONNECTION_REFUSED",
    "TQUIC_ERR_CRYPTO_BUFFER_EXCEEDED",
    "TQUIC_ERR_CRYPTO_ERROR",
    "TQUIC_ERR_FINAL_SIZE_ERROR",
    "TQUIC_ERR_FLOW_CONTROL_ERROR",
    "TQUIC_ERR_FRAME_ENCODING_ERROR",
    "TQUIC_ERR_INTERNAL_ERROR",
    "TQUIC_ERR_INVALID_TOKEN",
    "TQUIC_ERR_KEY_UPDATE_ERROR",
    "TQUIC_ERR_NO_ERROR",
    "TQUIC_ERR_NO_VIABLE_PATH",
    "TQUIC_ERR_PROTOCOL_VIOLATION",
    "TQUIC_ERR_STREAM_LIMIT_ERROR",
    "TQUIC_ERR_STREAM_STATE_ERROR",
    "TQUIC_ERR_TRANSPORT_PARAMETER_ERROR",
    "TQUIC_ERR_VERSION_NEGOTIATION_ERROR",
    "alert_name",
    "name",
]

TQUIC_ERR_NO_ERROR: Final = 0x00
"""An ordinary end."""
TQUIC_ERR_INTERNAL_ERROR: Final = 0x01
"""Something failed that is no fault of the other end."""
TQUIC_ERR_CONNECTION_REFUSED: Final = 0x02
"""The server takes no connection."""
TQUIC_ERR_FLOW_CONTROL_ERROR: Final = 0x03
"""More was sent than allowed."""
TQUIC_ERR_STREAM_LIMIT_ERROR: Final = 0x04
"""More streams were opened than allowed."""
TQUIC_ERR_STREAM_STATE_ERROR: Final = 0x05
"""A frame or call does not fit the state of the stream."""
TQUIC_ERR_FINAL_SIZE_ERROR: Final = 0x06
"""The end of a stream contradicts what was said before."""
TQUIC_ERR_FRAME_ENCODING_ERROR: Final = 0x07
"""A frame cannot be read."""
TQUIC_ERR_TRANSPORT_PARAMETER_ERROR: Final = 0x08
"""A transport parameter is wrong or missing."""
TQUIC_ERR_CONNECTION_ID_LIMIT_ERROR: Final = 0x09
"""More connection IDs than allowed."""
TQUIC_ERR_PROTOCOL_VIOLATION: Final = 0x0A
"""Any other error against the protocol."""
TQUIC_ERR_INVALID_TOKEN: Final = 0x0B
"""A Retry token is wrong."""
TQUIC_ERR_APPLICATION_ERROR: Final = 0x0C
"""The application closed or gave up a stream."""
TQUIC_ERR_CRYPTO_BUFFER_EXCEEDED: Final = 0x0D
"""Too much handshake data."""
TQUIC_ERR_KEY_UPDATE_ERROR: Final = 0x0E
"""A key update was wrong."""
TQUIC_ERR_AEAD_LIMIT_REACHED: Final = 0x0F
"""A key was used up."""
TQUIC_ERR_NO_VIABLE_PATH: Final = 0x10
"""The network does not carry QUIC there."""
TQUIC_ERR_VERSION_NEGOTIATION_ERROR: Final = 0x11
"""No QUIC version in common (RFC 9368 section 7)."""
TQUIC_ERR_CRYPTO_ERROR: Final = 0x100
"""The first of 256: the low byte is the TLS alert (RFC 9001 section 4.8)."""

_NAMES: Final[dict[int, str]] = {
    value: key.removeprefix("TQUIC_ERR_")
    for key, value in list(globals().items())
    if key.startswith("TQUIC_ERR_") and key != "TQUIC_ERR_CRYPTO_ERROR"
}

# RFC 8446 section 6, RFC 7301 section 3.2.
_ALERTS: Final[dict[int, str]] = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}


def alert_name(alert: int) -> str:
    """The name of a TLS alert, such as ``"unknown_ca"``; the number if it has none."""
    return _ALERTS.get(alert, str(alert))


def name(code: int) -> str:
    """The name of a QUIC error code in its RFC, such as ``"PROTOCOL_VIOLATION"``."""
    if known := _NAMES.get(code):
        return known
    if 0x100 <= code <= 0x1FF:
        alert = _ALERTS.get(code & 0xFF)
        return f"CRYPTO_ERROR({code:#x} {alert})" if alert else f"CRYPTO_ERROR({code:#x})"
    return f"UNKNOWN_ERROR({code:#x})"
