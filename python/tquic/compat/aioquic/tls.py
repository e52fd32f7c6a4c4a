"""TLS under aioquic's names: enumerations, session tickets, what a handshake agreed on."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NoReturn, TypeAlias

from tquic.session import SessionStore
from tquic.stats import HandshakeInfo

__all__ = [
    "AlertDescription",
    "AlpnHandler",
    "CipherSuite",
    "Context",
    "KeySchedule",
    "SessionTicket",
    "SessionTicketFetcher",
    "SessionTicketHandler",
]


class AlertDescription(IntEnum):
    """TLS alerts (RFC 8446 section 6): a QUIC error code is 0x100 more (RFC 9001 section 4.8)."""

    close_notify = 0
    unexpected_message = 10
    bad_record_mac = 20
    record_overflow = 22
    handshake_failure = 40
    bad_certificate = 42
    unsupported_certificate = 43
    certificate_revoked = 44
    certificate_expired = 45
    certificate_unknown = 46
    illegal_parameter = 47
    unknown_ca = 48
    access_denied = 49
    decode_error = 50
    decrypt_error = 51
    protocol_version = 70
    insufficient_security = 71
    internal_error = 80
    inappropriate_fallback = 86
    user_canceled = 90
    missing_extension = 109
    unsupported_extension = 110
    unrecognized_name = 112
    bad_certificate_status_response = 113
    unknown_psk_identity = 115
    certificate_required = 116
    no_application_protocol = 120


class CipherSuite(IntEnum):
    """Cipher suites (RFC 8446 appendix B.4)."""

    AES_128_GCM_SHA256 = 0x1301
    AES_256_GCM_SHA384 = 0x1302
    CHACHA20_POLY1305_SHA256 = 0x1303
    EMPTY_RENEGOTIATION_INFO_SCSV = 0x00FF


# What aioquic's tickets have, and the engine does not tell.
_UNTOLD: Final = {
    "age_add",
    "max_early_data_size",
    "not_valid_after",
    "obfuscated_age",
    "other_extensions",
    "resumption_secret",
    "ticket",
}


class SessionTicket:
    """What a client needs to resume a session: for `QuicConfiguration.session_ticket`.

    A handle: the tickets themselves stay in the engine, those that later connections with this one
    are given included. Each is used once. They cannot be written down: pickling raises `TypeError`.
    """

    def __init__(self, store: SessionStore, server_name: str, cipher_suite: CipherSuite) -> None:
        self._store = store
        self.server_name = server_name
        self.cipher_suite = cipher_suite
        self.not_valid_before: datetime.datetime = datetime.datetime.now(datetime.UTC)

    @property
    def is_valid(self) -> bool:
        """Whether a ticket is left."""
        return len(self._store) > 0

    def __getattr__(self, name: str) -> NoReturn:
        if name in _UNTOLD:
            raise AttributeError(
                f"SessionTicket.{name}: a ticket is a handle here, its content stays in the engine"
            )
        raise AttributeError(f"'SessionTicket' object has no attribute {name!r}")

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "session tickets cannot be pickled: they stay in the memory of the process they came to"
        )

    def __repr__(self) -> str:
        return f"<SessionTicket of {self.server_name}>"


AlpnHandler: TypeAlias = Callable[[str], None]
"""Called with the application protocol."""
SessionTicketFetcher: TypeAlias = Callable[[bytes], SessionTicket | None]
"""Server: that it is given allows resumption; it is never called."""
SessionTicketHandler: TypeAlias = Callable[[SessionTicket], None]
"""Client: called with each ticket. Server: see `SessionTicketFetcher`."""


class KeySchedule:
    """As much of it as is known outside of the engine."""

    def __init__(self, cipher_suite: CipherSuite) -> None:
        self.cipher_suite = cipher_suite


class Context:
    """What the handshake of a connection has agreed on so far: `QuicConnection.tls`."""

    def __init__(self) -> None:
        self.alpn_negotiated: str | None = None
        self.early_data_accepted: bool = False
        self.session_resumed: bool = False
        self.key_schedule: KeySchedule | None = None
        self._peer_chain: tuple[bytes, ...] = ()

    def _learn(self, info: HandshakeInfo, alpn: str | None) -> None:
        self.alpn_negotiated = alpn
        self.early_data_accepted = info.early_data
        self.session_resumed = info.resumed
        self.key_schedule = KeySchedule(cipher_suite(info))
        self._peer_chain = info.peer_certificates

    @property
    def _peer_certificate(self) -> Any:
        """The peer's certificate as an object of the package cryptography, if it showed one."""
        return _parse(self._peer_chain[0]) if self._peer_chain else None

    @property
    def _peer_certificate_chain(self) -> list[Any]:
        """The certificates that came with it."""
        return [_parse(der) for der in self._peer_chain[1:]]


def cipher_suite(info: HandshakeInfo) -> CipherSuite:
    """The cipher suite that a handshake agreed on."""
    return CipherSuite[info.cipher.removeprefix("TLS_")]


def _parse(der: bytes) -> Any:
    from cryptography import x509  # not needed otherwise

    return x509.load_der_x509_certificate(der)
