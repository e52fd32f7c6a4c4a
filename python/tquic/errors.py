"""Every exception that this package raises on purpose.

One tree: ``except QuicError`` catches all of them. Those that end a connection are
`ConnectionClosed`, which also is a built-in `ConnectionError`, so that code written for sockets
catches it; time-outs are a built-in `TimeoutError` too.

Every exception says which side was the cause (`by`), with which code by its RFC name
(`code_name`), in which frame, and why, in a sentence for people; and it has a number of the table
of `tquic.codes` (`tquic_err`). Those that are an `OSError` have the `errno` that sockets would.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Literal, Self

from tquic import codes

__all__ = [
    "AlpnError",
    "ApplicationClosed",
    "CertificateError",
    "CertificateExpired",
    "CertificateNameMismatch",
    "CertificateRequired",
    "ConfigError",
    "ConnectionClosed",
    "ConnectionRefused",
    "DatagramError",
    "EngineError",
    "HandshakeError",
    "HandshakeTimeout",
    "IdleTimeout",
    "MigrationError",
    "PathError",
    "PinMismatch",
    "QuicError",
    "StatelessReset",
    "StreamClosed",
    "StreamError",
    "StreamReset",
    "StreamStopped",
    "TransportClosed",
    "UntrustedCertificate",
    "VersionError",
    "WriteBufferFull",
]

Side = Literal["local", "peer"]


class QuicError(Exception):
    """The root of all exceptions of this package.

    Attributes:
        by: whose doing it is: ``"local"`` (this end), ``"peer"``, or `None` where nobody said
            anything.
        code: the error code on the wire, if there is one.
        code_name: its name in the RFC, such as ``"PROTOCOL_VIOLATION"``; for codes of applications
            the number, such as ``"0x100"``; otherwise ``""``.
        frame: name of the frame that was in error or brought it, such as ``"STREAM"``, if one did.
        reason: why, for people; from the peer it may be anything.
    """

    by: Side | None = "local"
    code: int | None = None
    code_name: str = ""
    frame: str | None = None
    reason: str = ""

    _err: ClassVar[int] = codes.TQUIC_ERR_INTERNAL_ERROR
    # For those that are an OSError.
    _errno: ClassVar[int | None] = None

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.reason = message

    @property
    def tquic_err(self) -> int:
        """Its number in the table of `tquic.codes`, ``TQUIC_ERR_...``."""
        return self._err

    @property
    def tquic_err_name(self) -> str:
        """The name of `tquic_err` in the RFC, such as ``"INTERNAL_ERROR"``."""
        return codes.name(self.tquic_err)


class ConfigError(QuicError, ValueError):
    """A setting that cannot be used: outside its limits, or a certificate that cannot be read."""


class EngineError(QuicError, RuntimeError):
    """The engine cannot do it: it has been shut down, or is overloaded."""


class ConnectionClosed(QuicError, ConnectionError):
    """A connection is over: `by` says who ended it, `code` is that of CONNECTION_CLOSE (RFC 9000
    section 19.19).
    """

    _errno = errno.ECONNABORTED

    def __init__(
        self,
        message: str,
        *,
        by: Side | None = None,
        code: int | None = None,
        code_name: str = "",
        frame: str | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.by = by
        self.code = code
        self.code_name = code_name
        self.frame = frame
        self.reason = reason
        self.errno: int | None = self._errno

    @property
    def clean(self) -> bool:
        """Whether this is an ordinary end: nobody reported an error."""
        return False


class ApplicationClosed(ConnectionClosed):
    """One of the applications closed, with its own code: CONNECTION_CLOSE of type 0x1d."""

    _err = codes.TQUIC_ERR_APPLICATION_ERROR
    _errno = errno.ECONNRESET

    @property
    def clean(self) -> bool:
        """Whether the code is 0, or for HTTP/3 H3_NO_ERROR."""
        return self.code == 0 or self.code_name == "H3_NO_ERROR"


class TransportClosed(ConnectionClosed):
    """One end found an error against the protocol: CONNECTION_CLOSE of type 0x1c."""

    _errno = errno.EPROTO

    @property
    def tquic_err(self) -> int:
        """The code itself."""
        return self._err if self.code is None else self.code

    @property
    def clean(self) -> bool:
        """Whether the code is NO_ERROR."""
        return self.code == 0


class ConnectionRefused(TransportClosed, ConnectionRefusedError):
    """The server takes no connection: CONNECTION_REFUSED, or nobody listens at that port."""

    _err = codes.TQUIC_ERR_CONNECTION_REFUSED
    _errno = errno.ECONNREFUSED


class HandshakeError(TransportClosed):
    """TLS failed: CRYPTO_ERROR (RFC 9001 section 4.8). `alert` is the number of the TLS alert."""

    @property
    def alert(self) -> int:
        """The TLS alert (RFC 8446 section 6)."""
        return (self.code or 0) & 0xFF

    @property
    def alert_name(self) -> str:
        """The name of the alert, such as ``"unknown_ca"``."""
        return codes.alert_name(self.alert)


class CertificateError(HandshakeError):
    """A certificate is not acceptable: the peer's to us, or ours to the peer (see `by`)."""


class UntrustedCertificate(CertificateError):
    """The certificate is not signed by a trusted CA."""


class CertificateNameMismatch(CertificateError):
    """The server's certificate is for other names than the one we wanted to reach."""


class PinMismatch(CertificateError):
    """The server's public key is none of those in `Config.pins`; the reason says which it is."""


class CertificateExpired(CertificateError):
    """The certificate is past its end or before its beginning."""


class CertificateRequired(CertificateError):
    """The server wants a certificate of the client, and there was none."""


class AlpnError(HandshakeError):
    """No application protocol in common (RFC 7301)."""


class VersionError(ConnectionClosed):
    """No QUIC version in common. `offered` are the versions that the peer speaks."""

    offered: tuple[int, ...]

    _err = codes.TQUIC_ERR_VERSION_NEGOTIATION_ERROR
    _errno = errno.EPROTONOSUPPORT

    def __init__(self, message: str, *, offered: tuple[int, ...] = ()) -> None:
        super().__init__(message, reason=message)
        self.offered = offered


class HandshakeTimeout(ConnectionClosed, TimeoutError):
    """The handshake did not complete in time; most often nobody answers at that address."""

    _err = codes.TQUIC_ERR_NO_VIABLE_PATH
    _errno = errno.ETIMEDOUT


class IdleTimeout(ConnectionClosed, TimeoutError):
    """Nothing was received for the idle timeout (RFC 9000 section 10.1)."""

    _err = codes.TQUIC_ERR_NO_VIABLE_PATH
    _errno = errno.ETIMEDOUT


class StatelessReset(ConnectionClosed, ConnectionResetError):
    """The peer no longer knows the connection (RFC 9000 section 10.3): it was restarted."""

    _errno = errno.ECONNRESET


class StreamError(QuicError):
    """Something about one stream; the connection goes on."""


class StreamClosed(StreamError):
    """This end has finished, reset or stopped this direction of the stream, or never had it."""

    _err = codes.TQUIC_ERR_STREAM_STATE_ERROR


class StreamReset(StreamError, ConnectionResetError):
    """The peer gave up sending: RESET_STREAM. `code` is the application's."""

    code: int
    by: Side | None = "peer"
    frame: str | None = "RESET_STREAM"

    _err = codes.TQUIC_ERR_APPLICATION_ERROR

    def __init__(self, code: int) -> None:
        super().__init__(f"the peer reset the stream with code {code:#x}")
        self.code = code  # pyright: ignore[reportIncompatibleVariableOverride]
        self.code_name = f"{code:#x}"
        self.errno: int | None = errno.ECONNRESET

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self.code,)


class StreamStopped(StreamError, BrokenPipeError):
    """The peer no longer wants to receive: STOP_SENDING. `code` is the application's."""

    code: int
    by: Side | None = "peer"
    frame: str | None = "STOP_SENDING"

    _err = codes.TQUIC_ERR_APPLICATION_ERROR

    def __init__(self, code: int) -> None:
        super().__init__(f"the peer stopped the stream with code {code:#x}")
        self.code = code  # pyright: ignore[reportIncompatibleVariableOverride]
        self.code_name = f"{code:#x}"
        self.errno: int | None = errno.EPIPE

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self.code,)


class WriteBufferFull(StreamError, BufferError):
    """`Stream.write` was called again and again without waiting: await it, or `Stream.drain`."""

    _err = codes.TQUIC_ERR_FLOW_CONTROL_ERROR


class DatagramError(QuicError):
    """A datagram cannot be sent. `max_size` is the most that could be sent now, if any can."""

    max_size: int | None

    _err = codes.TQUIC_ERR_PROTOCOL_VIOLATION

    def __init__(self, message: str, *, max_size: int | None = None) -> None:
        super().__init__(message)
        self.max_size = max_size


class PathError(QuicError):
    """A path cannot be opened, does not work, or is not there (multipath)."""

    _err = codes.TQUIC_ERR_NO_VIABLE_PATH


class MigrationError(QuicError):
    """The connection cannot move, or the new path does not work; it goes on over the old one."""

    _err = codes.TQUIC_ERR_NO_VIABLE_PATH
