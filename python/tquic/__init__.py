"""A QUIC engine for Python with a Rust core.

`connect` and `serve` are the way in, for asyncio (and uvloop)::

    async with tquic.connect("example.com", 4433) as conn:
        stream = conn.open_stream()
        await stream.write(b"hello")
        stream.finish()
        print(await stream.read())

`Config` has every setting, `TlsContext` those of TLS in the shape of `ssl.SSLContext`,
`tquic.errors` every exception. `tquic.sync` is the same for threads, `tquic.anyio` for trio,
`tquic.h3` is HTTP/3; the command ``tquic`` does much without a program.
"""

from tquic import _startup as _startup

# isort: split

import logging

from tquic._engine import __version__, build_info
from tquic.bpf import get_include
from tquic.client import connect
from tquic.config import Config
from tquic.connection import Connection
from tquic.engine import Engine
from tquic.errors import (
    AlpnError,
    ApplicationClosed,
    CertificateError,
    CertificateExpired,
    CertificateNameMismatch,
    CertificateRequired,
    ConfigError,
    ConnectionClosed,
    ConnectionRefused,
    DatagramError,
    EngineError,
    HandshakeError,
    HandshakeTimeout,
    IdleTimeout,
    MigrationError,
    PathError,
    PinMismatch,
    QuicError,
    StatelessReset,
    StreamClosed,
    StreamError,
    StreamReset,
    StreamStopped,
    TransportClosed,
    UntrustedCertificate,
    VersionError,
    WriteBufferFull,
)
from tquic.many import ConnectionSet, Histogram, Pattern
from tquic.server import Server, serve
from tquic.session import SessionStore
from tquic.stats import ConnectionStats, HandshakeInfo, PathStats, ShardStats, XdpStats
from tquic.stream import Stream
from tquic.streams import open_connection, start_server
from tquic.tls import TlsContext, public_key_pin

__all__ = [
    "AlpnError",
    "ApplicationClosed",
    "CertificateError",
    "CertificateExpired",
    "CertificateNameMismatch",
    "CertificateRequired",
    "Config",
    "ConfigError",
    "Connection",
    "ConnectionClosed",
    "ConnectionRefused",
    "ConnectionSet",
    "ConnectionStats",
    "DatagramError",
    "Engine",
    "EngineError",
    "HandshakeError",
    "HandshakeInfo",
    "HandshakeTimeout",
    "Histogram",
    "IdleTimeout",
    "MigrationError",
    "PathError",
    "PathStats",
    "Pattern",
    "PinMismatch",
    "QuicError",
    "Server",
    "SessionStore",
    "ShardStats",
    "StatelessReset",
    "Stream",
    "StreamClosed",
    "StreamError",
    "StreamReset",
    "StreamStopped",
    "TlsContext",
    "TransportClosed",
    "UntrustedCertificate",
    "VersionError",
    "WriteBufferFull",
    "XdpStats",
    "__version__",
    "build_info",
    "connect",
    "get_include",
    "open_connection",
    "public_key_pin",
    "serve",
    "start_server",
]

# What the engine notices of the machine is for programs that set up logging. What fails in the
# program's own functions is told as everywhere in Python: on stderr, if nobody says otherwise.
logging.getLogger("tquic.engine").addHandler(logging.NullHandler())
