"""Errors of HTTP/3: the codes of RFC 9114 section 8.1, RFC 9204 section 6 and RFC 9297 section 5.2,
and the exceptions that carry one."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from tquic.errors import QuicError, Side, StreamError


class ErrorCode(IntEnum):
    """Application error codes, by their names in RFC 9114 section 8.1, RFC 9204 section 6 and
    RFC 9297 section 5.2.
    """

    H3_DATAGRAM_ERROR = 0x0033
    H3_NO_ERROR = 0x0100
    H3_GENERAL_PROTOCOL_ERROR = 0x0101
    H3_INTERNAL_ERROR = 0x0102
    H3_STREAM_CREATION_ERROR = 0x0103
    H3_CLOSED_CRITICAL_STREAM = 0x0104
    H3_FRAME_UNEXPECTED = 0x0105
    H3_FRAME_ERROR = 0x0106
    H3_EXCESSIVE_LOAD = 0x0107
    H3_ID_ERROR = 0x0108
    H3_SETTINGS_ERROR = 0x0109
    H3_MISSING_SETTINGS = 0x010A
    H3_REQUEST_REJECTED = 0x010B
    H3_REQUEST_CANCELLED = 0x010C
    H3_REQUEST_INCOMPLETE = 0x010D
    H3_MESSAGE_ERROR = 0x010E
    H3_CONNECT_ERROR = 0x010F
    H3_VERSION_FALLBACK = 0x0110
    QPACK_DECOMPRESSION_FAILED = 0x0200
    QPACK_ENCODER_STREAM_ERROR = 0x0201
    QPACK_DECODER_STREAM_ERROR = 0x0202


class SessionErrorCode(IntEnum):
    """What WebTransport adds to them, by the names of draft-ietf-webtrans-http3-16 section 9.5."""

    WT_FLOW_CONTROL_ERROR = 0x045D4487
    WT_ALPN_ERROR = 0x0817B3DD
    WT_SESSION_GONE = 0x170D7B68
    WT_REQUIREMENTS_NOT_MET = 0x212C0D48
    WT_BUFFERED_STREAM_REJECTED = 0x3994BD84


class H3Error(Exception):
    """The peer broke a rule of HTTP/3.

    ``code`` is what to close the connection or reset the stream with, ``reason`` says which rule.
    """

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code.name} (0x{self.code:04x}): {self.reason}"


class FieldSectionTooLarge(H3Error):
    """A header or trailer section is larger than this side takes.

    It concerns one stream, not the connection (RFC 9114 section 4.2.2): a server may answer 431, a
    client gives the response up.
    """


class FlowControlError(Exception):
    """The peer broke a rule of the flow control of a WebTransport session: reset its CONNECT stream
    with ``code`` (draft-ietf-webtrans-http3-16 section 5.6)."""

    code: Final = SessionErrorCode.WT_FLOW_CONTROL_ERROR

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code.name} (0x{self.code:08x}): {self.reason}"


class LocalProtocolError(QuicError):
    """This side was about to break a rule of HTTP/3: nothing was sent, and nothing has changed."""


class RequestFailed(StreamError, ConnectionResetError):
    """A request came to no good end; the connection goes on.

    Attributes:
        by: ``"peer"`` if it gave the request up; ``"local"`` if what it sent breaks a rule.
        code: the error code.
        code_name: its name, such as ``"H3_REQUEST_CANCELLED"``.
        unprocessed: the server has done nothing for the request, and will not: it may be sent
            again, whatever its method (RFC 9114 section 4.1.1).
    """

    def __init__(self, code: int, reason: str = "", *, by: Side | None = "peer") -> None:
        self.code_name = code_name(code)
        what = f"{self.code_name}: {reason}" if reason else self.code_name
        whose = "the peer gave the request up" if by == "peer" else "the request has failed"
        super().__init__(f"{whose}: {what}")
        self.code = code
        self.by = by
        self.reason = reason

    @property
    def unprocessed(self) -> bool:
        """See the class."""
        return self.code == ErrorCode.H3_REQUEST_REJECTED

    def __reduce__(self) -> tuple[object, ...]:
        return _request_failed, (self.code, self.reason, self.by)


def _request_failed(code: int, reason: str, by: Side | None) -> RequestFailed:
    return RequestFailed(code, reason, by=by)


def code_name(code: int) -> str:
    """The name of an application error code; the number if it has none."""
    return _NAMES.get(code) or f"{code:#x}"


_NAMES: Final = {int(one): one.name for codes in (ErrorCode, SessionErrorCode) for one in codes}
