"""aioquic's settings, and what they are as a `tquic.Config`."""

from __future__ import annotations

import os
import re
import ssl
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO, cast

from tquic.compat.aioquic.quic.logger import QuicLogger
from tquic.compat.aioquic.quic.packet import QuicProtocolVersion
from tquic.compat.aioquic.tls import CipherSuite, SessionTicket
from tquic.config import CipherSuite as CipherName
from tquic.config import ClientAuth, Config, Congestion, Version
from tquic.errors import ConfigError
from tquic.session import SessionStore

__all__ = ["SMALLEST_MAX_DATAGRAM_SIZE", "QuicConfiguration", "client_config", "server_config"]

SMALLEST_MAX_DATAGRAM_SIZE: Final = 1200
"""Bytes of UDP payload that every path must carry (RFC 9000 section 14)."""

NO_ALPN: Final = "aioquic"
"""Offered where the program names no protocol: QUIC cannot go without (RFC 9001 section 8.1)."""

_CONGESTION: Final[dict[str, Congestion]] = {"reno": "newreno", "cubic": "cubic"}
_VERSIONS: Final[dict[int, Version]] = {
    QuicProtocolVersion.VERSION_1: "v1",
    QuicProtocolVersion.VERSION_2: "v2",
}
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----\r?\n?", re.DOTALL)


@dataclass
class QuicConfiguration:
    """Settings of a connection or a server, with aioquic's names and defaults.

    They are read when a connection or server begins. What cannot be had is told by a `UserWarning`
    then, what cannot be done without by a `ConfigError` (a `ValueError`).
    """

    alpn_protocols: list[str] | None = None
    """Application protocols, best first. QUIC needs one: with `None` the other end must be
    configured through this module too, without one."""

    congestion_control_algorithm: str = "reno"
    """``"reno"`` or ``"cubic"``."""

    connection_id_length: int = 8
    """Not used: the engine decides."""

    idle_timeout: float = 60.0
    """A connection silent for so many seconds is over. A handshake may take as long."""

    is_client: bool = True
    """Which side this is for."""

    max_data: int = 1_048_576
    """Receive window of a connection at its start, in bytes; it grows up to 24 MiB, or stays as it
    is if it is more."""

    max_datagram_size: int = SMALLEST_MAX_DATAGRAM_SIZE
    """Largest UDP payload to send, in bytes. With the default, the engine looks for what the path
    carries, up to 1472."""

    max_stream_data: int = 1_048_576
    """Receive window of a stream at its start, in bytes; it grows up to 16 MiB, or stays as it is
    if it is more."""

    quic_logger: QuicLogger | None = None
    """Not supported."""

    secrets_log_file: TextIO | None = None
    """An open file; the engine appends TLS secrets to the file of that name. Other objects that can
    be written to have none."""

    server_name: str | None = None
    """Client: the name that the server's certificate must be for. Default: the host."""

    session_ticket: SessionTicket | None = None
    """Client: what a `session_ticket_handler` was given."""

    token: bytes = b""
    """Client: what a `token_handler` was given."""

    cadata: bytes | None = None
    """Certificates of CAs to trust, in PEM."""
    cafile: str | None = None
    """File of such."""
    capath: str | None = None
    """Directory of such files."""
    certificate: Any = None
    """Our certificate: PEM in bytes, or an object of the package cryptography."""
    certificate_chain: list[Any] = field(default_factory=list)
    """Those that come with it."""
    cipher_suites: list[CipherSuite] | None = None
    """Cipher suites, best first. Default all three."""
    initial_rtt: float = 0.1
    """Round-trip time assumed before the first sample, in seconds."""
    max_datagram_frame_size: int | None = None
    """Largest DATAGRAM frame accepted, in bytes; `None` refuses datagrams."""
    original_version: int | None = None
    """Client: the version to begin with, instead of the first of `supported_versions`."""
    private_key: Any = None
    """Our private key: PEM in bytes, or an object of the package cryptography."""
    quantum_readiness_test: bool = False
    """Not supported."""
    supported_versions: list[int] = field(
        default_factory=lambda: [QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2]
    )
    """Versions of QUIC, best first."""
    verify_mode: int | None = None
    """Client: `ssl.CERT_NONE` takes any server certificate. Server: `ssl.CERT_OPTIONAL` and
    `ssl.CERT_REQUIRED` ask clients for one. Default: clients verify, servers do not ask."""

    def load_cert_chain(
        self,
        certfile: str | os.PathLike[str],
        keyfile: str | os.PathLike[str] | None = None,
        password: bytes | str | None = None,
    ) -> None:
        """Reads our certificate, those that come with it, and the private key; PEM.

        Args:
            certfile: the certificates, ours first; the key too, if there is no `keyfile`.
            keyfile: the private key.
            password: of an encrypted key; needs the package cryptography.

        Raises:
            OSError: a file cannot be read.
            ConfigError: there is no certificate in it.
        """
        certificates: list[bytes] = []
        keys: list[bytes] = []
        for block in _PEM.finditer(Path(certfile).read_bytes()):
            (certificates if block[1] == b"CERTIFICATE" else keys).append(block[0])
        if not certificates:
            raise ConfigError(f"{os.fspath(certfile)} has no certificate in PEM")
        self.certificate, *self.certificate_chain = certificates
        if keyfile is not None:
            self.private_key = _decrypted(Path(keyfile).read_bytes(), password)
        elif keys:
            self.private_key = _decrypted(b"".join(keys), password)

    def load_verify_locations(
        self,
        cafile: str | None = None,
        capath: str | None = None,
        cadata: bytes | None = None,
    ) -> None:
        """Sets the CAs to trust; see the fields of these names."""
        self.cafile = cafile
        self.capath = capath
        self.cadata = cadata


def client_config(configuration: QuicConfiguration, *, store: SessionStore | None = None) -> Config:
    """The settings of a client.

    Raises:
        ConfigError: a setting cannot be used.
    """
    if not configuration.is_client:
        raise ConfigError("this is the configuration of a server: set is_client=True")
    cert, key = _identity(configuration)
    return Config(
        **_common(configuration),
        cert=cert,
        key=key,
        ca=_authorities(configuration),
        insecure=configuration.verify_mode == ssl.CERT_NONE,
        server_name=configuration.server_name,
        session_store=store,
        # Only what is sent before the handshake is complete becomes early data.
        early_data=store is not None,
    )


def server_config(configuration: QuicConfiguration, *, tickets: bool, retry: bool) -> Config:
    """The settings of a server.

    Raises:
        ConfigError: a setting cannot be used.
    """
    if configuration.is_client:
        raise ConfigError("this is the configuration of a client: set is_client=False")
    if configuration.token:
        raise ConfigError("a token is only for clients")
    cert, key = _identity(configuration)
    if cert is None:
        raise ConfigError("a server needs a certificate and its key: see load_cert_chain")
    asks: dict[int | None, ClientAuth] = {
        ssl.CERT_OPTIONAL: "optional",
        ssl.CERT_REQUIRED: "required",
    }
    auth = asks.get(configuration.verify_mode, "none")
    return Config(
        **_common(configuration),
        cert=cert,
        key=key,
        client_auth=auth,
        client_ca=_authorities(configuration) if auth != "none" else None,
        resumption=tickets,
        early_data=tickets,
        retry="always" if retry else "when-busy",
    )


def _common(configuration: QuicConfiguration) -> dict[str, Any]:
    _warn(configuration)
    size = configuration.max_datagram_size
    if size < SMALLEST_MAX_DATAGRAM_SIZE:
        raise ConfigError(
            f"max_datagram_size must be at least {SMALLEST_MAX_DATAGRAM_SIZE}, not {size}"
        )
    algorithm = configuration.congestion_control_algorithm
    if algorithm not in _CONGESTION:
        raise ConfigError(
            f"congestion_control_algorithm must be of {', '.join(_CONGESTION)}, not {algorithm!r}"
        )
    settings: dict[str, Any] = {
        "alpn": tuple(configuration.alpn_protocols or (NO_ALPN,)),
        "congestion": _CONGESTION[algorithm],
        "idle_timeout": float(configuration.idle_timeout),
        "connection_window": configuration.max_data,
        "stream_window": configuration.max_stream_data,
        "keylog": _keylog(configuration.secrets_log_file),
        "initial_rtt": configuration.initial_rtt,
        # Programs for aioquic say 65536, which no datagram can have.
        "max_datagram_frame_size": min(configuration.max_datagram_frame_size or 0, 65_535),
        **_versions(configuration),
        # aioquic's programs write without waiting; what they did not wait for is kept up to here.
        "write_buffer": 1 << 30,
    }
    settings["max_connection_window"] = max(
        configuration.max_data, _default("max_connection_window")
    )
    settings["max_stream_window"] = max(
        configuration.max_stream_data, _default("max_stream_window")
    )
    if configuration.idle_timeout:
        settings["handshake_timeout"] = min(float(configuration.idle_timeout), 3600.0)
    if size != SMALLEST_MAX_DATAGRAM_SIZE:
        settings["mtu"] = size
    if configuration.cipher_suites is not None:
        settings["ciphers"] = _ciphers(configuration.cipher_suites)
    return settings


def _default(name: str) -> int:
    return cast(int, Config.__dataclass_fields__[name].default)


def _warn(configuration: QuicConfiguration) -> None:
    """Tells what is asked for and cannot be had."""
    lost = {
        "alpn_protocols=None: QUIC needs an application protocol, so a private name is used, which "
        "only other programs that use tquic.compat.aioquic without one know": (
            not configuration.alpn_protocols
        ),
        "connection_id_length: the engine decides": configuration.connection_id_length != 8,
        "original_version: neither QUIC version 1 nor version 2": (
            configuration.original_version not in (None, *_VERSIONS)
        ),
        "quic_logger: nothing is written to it": configuration.quic_logger is not None,
        "quantum_readiness_test: the ClientHello has its ordinary size": (
            configuration.quantum_readiness_test
        ),
        "secrets_log_file: secrets go only to files that have a name": (
            configuration.secrets_log_file is not None
            and _keylog(configuration.secrets_log_file) is None
        ),
    }
    for what, true in lost.items():
        if true:
            # At the caller of `connect` or `serve`, as near as one can get.
            warnings.warn(f"tquic.compat.aioquic: {what}", UserWarning, stacklevel=5)


def _keylog(file: TextIO | None) -> str | None:
    name = getattr(file, "name", None)
    return name if isinstance(name, str) and not name.startswith("<") else None


def _versions(configuration: QuicConfiguration) -> dict[str, Any]:
    known = tuple(_VERSIONS[v] for v in configuration.supported_versions if v in _VERSIONS)
    if not known:
        raise ConfigError("supported_versions has neither QUIC version 1 nor version 2")
    first = configuration.original_version
    return {"versions": known, "initial_version": None if first is None else _VERSIONS.get(first)}


def _ciphers(suites: list[CipherSuite]) -> tuple[CipherName, ...]:
    names = (
        f"TLS_{CipherSuite(suite).name}"
        for suite in suites
        if suite != CipherSuite.EMPTY_RENEGOTIATION_INFO_SCSV
    )
    return cast(tuple[CipherName, ...], tuple(names))


def _authorities(configuration: QuicConfiguration) -> bytes | None:
    found = [configuration.cadata] if configuration.cadata else []
    paths = [Path(configuration.cafile)] if configuration.cafile else []
    if configuration.capath:
        paths += sorted(path for path in Path(configuration.capath).iterdir() if path.is_file())
    found += [path.read_bytes() for path in paths]
    return b"\n".join(found) if found else None


def _identity(configuration: QuicConfiguration) -> tuple[bytes | None, bytes | None]:
    if configuration.certificate is None:
        return None, None
    if configuration.private_key is None:
        raise ConfigError("private_key is missing: see load_cert_chain")
    chain = [configuration.certificate, *configuration.certificate_chain]
    return b"\n".join(map(_certificate_pem, chain)), _key_pem(configuration.private_key)


def _certificate_pem(certificate: Any) -> bytes:
    if isinstance(certificate, bytes):
        return certificate
    from cryptography.hazmat.primitives.serialization import Encoding  # its object, so it is there

    return cast(bytes, certificate.public_bytes(Encoding.PEM))


def _key_pem(key: Any) -> bytes:
    if isinstance(key, bytes):
        return key
    from cryptography.hazmat.primitives import serialization  # its object, so it is there

    return cast(
        bytes,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _decrypted(pem: bytes, password: bytes | str | None) -> bytes:
    if b"ENCRYPTED" not in pem:
        return pem
    if password is None:
        raise ConfigError("the private key is encrypted: give its password")
    try:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise ConfigError(
            "the private key is encrypted: to read it, install the package cryptography"
        ) from error
    secret = password.encode() if isinstance(password, str) else password
    return _key_pem(load_pem_private_key(pem, secret))
