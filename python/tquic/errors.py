"""Every exception that this package raises on purpose.

One tree: ``except QuicError`` catches all of them. Those that end a connection are
`ConnectionClosed`, which also is a built-in `ConnectionError`, so that code written for sockets
catches it; time-outs are a built-in `TimeoutError` too.

A connection's exception says which side ended it (`by`), with which code by its RFC name
(`code_name`), in which frame, and why, in a sentence for people.
"""

from __future__ import annotations

from typing import Literal, Self

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
    """The root of all exceptions of this package."""


class ConfigError(QuicError, ValueError):
    """A setting that cannot be used: outside its limits, or a certificate that cannot be read."""


class EngineError(QuicError, RuntimeError):
    """The engine cannot do it: it has been shut down, or is overloaded."""


class ConnectionClosed(QuicError, ConnectionError):
    """A connection is over.

    Attributes:
        by: who ended it: ``"local"`` (this end), ``"peer"``, or `None` where nobody said anything
            (time-outs, a stateless reset, no common version).
        code: the error code of CONNECTION_CLOSE (RFC 9000 section 19.19), if there is one.
        code_name: its name in the RFC, such as ``"PROTOCOL_VIOLATION"``; for codes of applications
            the number, such as ``"0x100"``; otherwise ``""``.
        frame: name of the frame that was in error, such as ``"STREAM"``, if one was.
        reason: why, for people; from the peer it may be anything.
    """

    by: Side | None
    code: int | None
    code_name: str
    frame: str | None
    reason: str

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

    @property
    def clean(self) -> bool:
        """Whether this is an ordinary end: nobody reported an error."""
        return False


class ApplicationClosed(ConnectionClosed):
    """One of the applications closed, with its own code: CONNECTION_CLOSE of type 0x1d."""

    @property
    def clean(self) -> bool:
        """Whether the code is 0."""
        return self.code == 0


class TransportClosed(ConnectionClosed):
    """One end found an error against the protocol: CONNECTION_CLOSE of type 0x1c."""

    @property
    def clean(self) -> bool:
        """Whether the code is NO_ERROR."""
        return self.code == 0


class ConnectionRefused(TransportClosed, ConnectionRefusedError):
    """The server takes no connection: CONNECTION_REFUSED, or it is overloaded."""


class HandshakeError(TransportClosed):
    """TLS failed: CRYPTO_ERROR (RFC 9001 section 4.8). `alert` is the number of the TLS alert."""

    @property
    def alert(self) -> int:
        """The TLS alert (RFC 8446 section 6)."""
        return (self.code or 0) & 0xFF


class CertificateError(HandshakeError):
    """A certificate is not acceptable: the peer's to us, or ours to the peer (see `by`)."""


class UntrustedCertificate(CertificateError):
    """The certificate is not signed by a trusted CA."""


class CertificateNameMismatch(CertificateError):
    """The server's certificate is for other names than the one we wanted to reach."""


class CertificateExpired(CertificateError):
    """The certificate is past its end or before its beginning."""


class CertificateRequired(CertificateError):
    """The server wants a certificate of the client, and there was none."""


class AlpnError(HandshakeError):
    """No application protocol in common (RFC 7301)."""


class VersionError(ConnectionClosed):
    """No QUIC version in common. `offered` are the versions that the peer speaks."""

    offered: tuple[int, ...]

    def __init__(self, message: str, *, offered: tuple[int, ...] = ()) -> None:
        super().__init__(message, reason=message)
        self.offered = offered


class HandshakeTimeout(ConnectionClosed, TimeoutError):
    """The handshake did not complete in time; most often nobody answers at that address."""


class IdleTimeout(ConnectionClosed, TimeoutError):
    """Nothing was received for the idle timeout (RFC 9000 section 10.1)."""


class StatelessReset(ConnectionClosed, ConnectionResetError):
    """The peer no longer knows the connection (RFC 9000 section 10.3): it was restarted."""


class StreamError(QuicError):
    """Something about one stream; the connection goes on."""


class StreamClosed(StreamError):
    """This end has finished, reset or stopped this direction of the stream, or never had it."""


class StreamReset(StreamError, ConnectionResetError):
    """The peer gave up sending: RESET_STREAM. `code` is the application's."""

    code: int

    def __init__(self, code: int) -> None:
        super().__init__(f"the peer reset the stream with code {code:#x}")
        self.code = code

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self.code,)


class StreamStopped(StreamError, BrokenPipeError):
    """The peer no longer wants to receive: STOP_SENDING. `code` is the application's."""

    code: int

    def __init__(self, code: int) -> None:
        super().__init__(f"the peer stopped the stream with code {code:#x}")
        self.code = code

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        return type(self), (self.code,)


class WriteBufferFull(StreamError, BufferError):
    """`Stream.write` was called again and again without waiting: await it, or `Stream.drain`."""


class DatagramError(QuicError):
    """A datagram cannot be sent. `max_size` is the most that could be sent now, if any can."""

    max_size: int | None

    def __init__(self, message: str, *, max_size: int | None = None) -> None:
        super().__init__(message)
        self.max_size = max_size


class MigrationError(QuicError):
    """The connection cannot move, or the new path does not work; it goes on over the old one."""
