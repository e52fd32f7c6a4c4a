"""Frame and stream types (RFC 9114 section 11.2, RFC 9218 section 7.2); frames as bytes."""

from __future__ import annotations

from typing import Final

from tquic.h3._codec import encode_frame_header

DATA: Final = 0x00
HEADERS: Final = 0x01
CANCEL_PUSH: Final = 0x03
SETTINGS: Final = 0x04
PUSH_PROMISE: Final = 0x05
GOAWAY: Final = 0x07
MAX_PUSH_ID: Final = 0x0D
# No frame, but the beginning of a stream (draft-ietf-webtrans-http3-16 section 4.3).
WT_STREAM: Final = 0x41
PRIORITY_UPDATE_REQUEST: Final = 0xF0700
PRIORITY_UPDATE_PUSH: Final = 0xF0701

NAMES: Final = {
    DATA: "DATA",
    HEADERS: "HEADERS",
    CANCEL_PUSH: "CANCEL_PUSH",
    SETTINGS: "SETTINGS",
    PUSH_PROMISE: "PUSH_PROMISE",
    GOAWAY: "GOAWAY",
    MAX_PUSH_ID: "MAX_PUSH_ID",
    PRIORITY_UPDATE_REQUEST: "PRIORITY_UPDATE",
    PRIORITY_UPDATE_PUSH: "PRIORITY_UPDATE",
}

# Of unidirectional streams: RFC 9114 section 6.2, RFC 9204 section 4.2.
CONTROL_STREAM: Final = 0x00
PUSH_STREAM: Final = 0x01
ENCODER_STREAM: Final = 0x02
DECODER_STREAM: Final = 0x03
# draft-ietf-webtrans-http3-16 section 4.2
SESSION_STREAM: Final = 0x54


def encode_frame(frame_type: int, payload: bytes) -> bytes:
    """A whole frame."""
    return encode_frame_header(frame_type, len(payload)) + payload
