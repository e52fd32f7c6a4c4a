"""Settings of connections and servers: plain values, checked once, never changed."""

from __future__ import annotations

import ipaddress
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from typing import Any, Final, Literal, Self, TypeAlias, get_args

from tquic import _engine, _load
from tquic._material import (
    ClientMaterial,
    Credential,
    ServerMaterial,
    certificates_in,
    check_server_name,
    content_of,
    pin_of,
)
from tquic._scheduler import Scheduler as PathScheduler
from tquic.bpf import SchedulerProgram, load_scheduler
from tquic.errors import ConfigError
from tquic.multipath import local_address
from tquic.session import SessionStore

__all__ = [
    "CipherSuite",
    "ClientAuth",
    "Config",
    "Congestion",
    "Credential",
    "Group",
    "QlogFormat",
    "QlogMode",
    "RetryPolicy",
    "Scheduler",
    "SchedulerChoice",
    "Severity",
    "SniCallback",
    "Version",
]

SniCallback: TypeAlias = Callable[[str], tuple[Credential, Credential] | None]
"""Finds a certificate and its key for a host name, in lower case."""

CipherSuite: TypeAlias = Literal[
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"
]
"""Cipher suites of TLS 1.3 (RFC 8446 appendix B.4)."""
ClientAuth: TypeAlias = Literal["none", "optional", "required"]
"""Whether a server asks clients for a certificate; see `Config.client_auth`."""
Congestion: TypeAlias = Literal[
    "newreno", "cubic", "bbr", "bbr2", "bbr3", "prague", "copa", "lia", "olia", "balia"
]
"""Congestion controllers; see `Config.congestion`."""
Group: TypeAlias = Literal["X25519MLKEM768", "x25519", "secp256r1", "secp384r1"]
"""Key-exchange groups; the first is a hybrid with a post-quantum part."""
Scheduler: TypeAlias = Literal[
    "minrtt", "roundrobin", "weighted", "aggregate", "blest", "ecf", "redundant"
]
"""What puts several paths in order, by its name; see `Config.scheduler`."""
SchedulerChoice: TypeAlias = (
    Scheduler | str | os.PathLike[str] | SchedulerProgram | Callable[[], PathScheduler]
)
"""A scheduler by its name; one in C: the path of its object, which ends in ``.o``, or what
`tquic.bpf.load_scheduler` gave; one in Python: what makes it for each connection, such as a
subclass of `tquic.multipath.Scheduler`."""
QlogMode: TypeAlias = Literal["file", "ring", "unix", "netlink"]
"""Where qlog events go; see `Config.qlog_mode`."""

QlogFormat: TypeAlias = Literal["newest", "0.3"]
"""Versions of qlog; see `Config.qlog_format`."""
RetryPolicy: TypeAlias = Literal["when-busy", "always", "never"]
"""When a server sends Retry; see `Config.retry`."""
Severity: TypeAlias = Literal["core", "base", "extra", "debug"]
"""How important a qlog event is; see `Config.qlog_severity`."""
Version: TypeAlias = Literal["v1", "v2"]
"""QUIC versions: RFC 9000 and RFC 9369."""

_logger = logging.getLogger("tquic.tls")

_KiB: Final = 1 << 10
_MiB: Final = 1 << 20
_GiB: Final = 1 << 30

# The smallest and the largest value of every number. Times are in seconds, sizes in bytes.
_LIMITS: Final[dict[str, tuple[float, float]]] = {
    "idle_timeout": (0, 86_400),
    "keep_alive": (0.1, 86_400),
    "reinject_after": (0.001, 60),
    "handshake_timeout": (0.001, 3600),
    "linger": (0, 3600),
    "stream_window": (_KiB, 4 * _GiB),
    "max_stream_window": (_KiB, 4 * _GiB),
    "connection_window": (_KiB, 4 * _GiB),
    "max_connection_window": (_KiB, 4 * _GiB),
    "max_bidi_streams": (0, 1 << 60),
    "max_uni_streams": (0, 1 << 60),
    "send_buffer": (_KiB, 4 * _GiB),
    "write_buffer": (0, _GiB),
    "initial_rtt": (0.000_001, 60),
    "initial_window": (1200, _GiB),
    "mtu": (1200, 65_507),
    "max_ack_delay": (0, 16.383),
    "active_connection_id_limit": (2, 64),
    "key_update_interval": (1, 1 << 62),
    "max_paths": (1, 16),
    "max_datagram_frame_size": (0, 65_535),
    "datagram_queue": (_KiB, _GiB),
    "datagram_receive_queue": (_KiB, _GiB),
    "qlog_buffer": (64 * _KiB, _GiB),
    "retry_above": (0, 1 << 20),
    "max_handshakes": (1, 1 << 20),
    "max_connections": (1, 1 << 24),
    "overload_delay": (0.0, 3600),
}

_SEQUENCES: Final = (
    "alpn",
    "ciphers",
    "groups",
    "pins",
    "certificates",
    "versions",
    "paths",
    "preferred_address",
)

# Sequences of texts whose members nothing else looks at first.
_TEXTS: Final = ("alpn", "pins", "paths")

_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "ciphers": get_args(CipherSuite),
    "client_auth": get_args(ClientAuth),
    "congestion": get_args(Congestion),
    "groups": get_args(Group),
    "qlog_format": get_args(QlogFormat),
    "qlog_mode": get_args(QlogMode),
    "qlog_severity": get_args(Severity),
    "retry": get_args(RetryPolicy),
    "versions": get_args(Version),
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a connection or a server; one object may serve any number of both.

    Times are in seconds, sizes in bytes. `Config()` is a client that trusts the system's CAs.
    Nothing can be changed later: `replace` makes another one.

    Raises:
        ConfigError: a value is outside its limits. Certificates are only read when the
            configuration is first used.
    """

    # ---- TLS, both sides ----

    alpn: tuple[str, ...] = ("tquic",)
    """Application protocols, best first; QUIC cannot go without (RFC 9001 section 8.1). Default
    ``("tquic",)``; 1 to 255 bytes each."""

    cert: Credential | None = None
    """Certificate chain, end entity first. Servers need one; a client shows it to servers that ask.
    Default none."""

    key: Credential | None = None
    """Private key of `cert`: PKCS #8, PKCS #1 or SEC 1. Default none."""

    key_password: str | bytes | None = None
    """Password of `key` and of those in `certificates`, where they are encrypted: PKCS #8 with
    PBES2, PBKDF2 and AES-CBC, as OpenSSL writes it today. Default none."""

    ciphers: tuple[CipherSuite, ...] = get_args(CipherSuite)
    """Cipher suites by their IANA names, best first. Default all three."""

    groups: tuple[Group, ...] = ("X25519MLKEM768", "x25519", "secp256r1")
    """Key-exchange groups, best first. Default these three; ``"secp384r1"`` is possible too."""

    early_data: bool = False
    """Client: send early data (0-RTT) where a ticket in `session_store` allows it. Server: accept
    it. Early data can be replayed by an attacker within limits (RFC 9001 section 9.2). Default
    off."""

    keylog: str | os.PathLike[str] | None = None
    """File to which TLS secrets are appended, for debugging. Default: what the environment variable
    ``SSLKEYLOGFILE`` says, else none."""

    # ---- TLS, client ----

    ca: Credential | None = None
    """Certificates of the CAs to trust; a self-signed server certificate is possible too. Default:
    those of the system, or of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``."""

    ca_path: str | os.PathLike[str] | None = None
    """Folder whose files are certificates of CAs to trust, PEM; others in it are left out. Comes on
    top of `ca`. Default none."""

    system_ca: bool = False
    """Trust the CAs of the system on top of `ca` and `ca_path`. Default off: without these two
    they are trusted anyway."""

    check_hostname: bool = True
    """Whether the server's certificate must be for `server_name`; its CA must be trusted in any
    case. Default on."""

    pins: tuple[str, ...] = ()
    """The server's own public key must be one of these, whoever signed its certificate: the SHA-256
    of SubjectPublicKeyInfo (RFC 7469 section 2.4), written ``"sha256//BASE64"``; see
    `public_key_pin`. Comes on top of all other checks; with `insecure` it is the only one. Another
    key raises `PinMismatch`. Default none: any key."""

    insecure: bool = False
    """Take any server certificate: anybody on the way can be the server. For tests. Default off."""

    server_name: str | None = None
    """The name that the server's certificate must be for: a host name in ASCII or an IP address.
    Default: the host given to `connect`."""

    session_store: SessionStore | None = None
    """Where session tickets and address tokens are kept for later connections. Default none:
    sessions are not resumed."""

    # ---- TLS, server ----

    certificates: tuple[tuple[str, Credential, Credential], ...] = ()
    """More certificates: (name, certificate, key) for clients that ask for this name (SNI).
    ``"*.example.com"`` stands for any one label in front; the exact name comes first. `cert` is for
    all the others. Default none."""

    sni_callback: SniCallback | None = None
    """Called with the name that a client asks for, if no certificate given here is for it; answers
    a certificate and its key, or `None` for `cert`. Runs on a thread of its own, one call at a
    time. A handshake waits for it at most 0.25 s, and other connections of the same engine thread
    with it, then it goes on with `cert`; answers are kept for 60 s. Default none."""

    client_auth: ClientAuth = "none"
    """Whether clients must show a certificate signed by `client_ca`. With ``"optional"`` none at
    all is fine, but not one of another CA. Default ``"none"``."""

    client_ca: Credential | None = None
    """CAs of client certificates. Default none."""

    resumption: bool = True
    """Give clients tickets to resume their sessions. Default on."""

    # ---- Time ----

    idle_timeout: float = 30.0
    """A connection silent for this long is over (RFC 9000 section 10.1); 0 means never. The smaller
    value of both ends counts. Default 30 s, at most 86400 s."""

    keep_alive: float | None = None
    """Send a PING when nothing was received for this long. Default off; 0.1 to 86400 s."""

    handshake_timeout: float = 10.0
    """A handshake that takes longer is given up. Default 10 s; 0.001 to 3600 s."""

    linger: float = 5.0
    """How long leaving ``async with`` waits for the peer to acknowledge what was written. Default
    5 s; at most 3600 s."""

    # ---- Streams ----

    stream_window: int = 2 * _MiB
    """Receive window of a new stream. Default 2 MiB; 1 KiB to 4 GiB."""

    max_stream_window: int = 16 * _MiB
    """Where automatic tuning of a stream's window stops. Default 16 MiB; 1 KiB to 4 GiB."""

    connection_window: int = 3 * _MiB
    """Receive window of a connection at its start. Default 3 MiB; 1 KiB to 4 GiB."""

    max_connection_window: int = 24 * _MiB
    """Where automatic tuning of the connection's window stops: bounds the memory that a peer can
    take. Default 24 MiB; 1 KiB to 4 GiB."""

    max_bidi_streams: int = 128
    """Bidirectional streams that the peer may have open at a time. Default 128; at most 2^60."""

    max_uni_streams: int = 128
    """Unidirectional streams that the peer may have open at a time. Default 128; at most 2^60."""

    send_buffer: int = 8 * _MiB
    """Bytes of one stream that may wait in the engine for their acknowledgement. Bounds the
    throughput of one stream to this per round trip. Default 8 MiB; 1 KiB to 4 GiB."""

    reset_stream_at: bool = True
    """Take streams of which the peer gives up the end only: RESET_STREAM_AT
    (draft-ietf-quic-reliable-stream-reset-10); see `Stream.reset`. Default on."""

    write_buffer: int = 16 * _MiB
    """Bytes of one stream that may wait for room in `send_buffer` because `Stream.write` was not
    awaited; more raise `WriteBufferFull`. Default 16 MiB; up to 1 GiB."""

    # ---- Congestion control and loss ----

    congestion: Congestion = "cubic"
    """Congestion controller: ``"newreno"`` (RFC 9002), ``"cubic"`` (RFC 9438), ``"bbr"``,
    ``"bbr2"`` and ``"bbr3"`` (BBR, versions 1 to 3), ``"prague"`` (L4S, RFC 9331), ``"copa"`` (by
    delay), or over all paths together ``"lia"`` (RFC 6356), ``"olia"`` or ``"balia"``. Default
    ``"cubic"``."""

    initial_rtt: float = 0.333
    """Round-trip time assumed before the first sample. Default 0.333 s; 1 us to 60 s."""

    initial_window: int | None = None
    """Congestion window at the start. Default by RFC 9002 section 7.2, about 14 KB; 1200 bytes to
    1 GiB."""

    pacing: bool = True
    """Spread packets over the round trip. Default on."""

    ack_frequency: bool = True
    """Ask the peer, where it can, to acknowledge less often. Default on."""

    max_ack_delay: float = 0.025
    """How long acknowledgements are held back at most. Default 0.025 s; at most 16.383 s."""

    # ---- Packets ----

    mtu: int = 1472
    """Largest UDP payload that is tried. Default 1472 (Ethernet with IPv4); 1200 to 65507."""

    mtu_discovery: bool = True
    """Search for the largest packet that the path carries (RFC 8899). Default on."""

    ecn: bool = True
    """Use explicit congestion notification (RFC 9000 section 13.4). Default on."""

    grease: bool = True
    """Send reserved values now and then so that they stay usable (RFC 9287). Default on."""

    versions: tuple[Version, ...] = ("v1", "v2")
    """QUIC versions, most wanted first; a server changes to its own first where the client can (RFC
    9368). Default v1 (RFC 9000), then v2 (RFC 9369)."""

    initial_version: Version | None = None
    """Version of a client's first packet, one of `versions`: with ``versions=("v2", "v1")`` and
    ``initial_version="v1"`` servers that know v2 change to it, others are not bothered. Default the
    first of `versions`."""

    active_connection_id_limit: int = 8
    """Connection IDs of the peer that are kept. Default 8; 2 to 64."""

    key_update_interval: int | None = None
    """Update packet keys after this many packets. Default: before the cipher's limit (RFC 9001
    section 6.6); at least 1."""

    max_paths: int = 1
    """Paths that may be open at a time (draft-ietf-quic-multipath-21). With more than one multipath
    is offered, as both ends must. Default 1; at most 16."""

    paths: tuple[str, ...] = ()
    """Client: the networks to use, each written ``"eth0"``, ``"192.0.2.7"`` or
    ``"192.0.2.7@eth0"``. The handshake goes over the first, the others become paths as soon as the
    server allows it; one that cannot be opened is told to the log. `max_paths` must allow as many.
    Default none: one path, wherever the system sends."""

    scheduler: SchedulerChoice = "minrtt"
    """What puts several paths in order: ``"minrtt"`` the smallest round-trip time, ``"aggregate"``
    the earliest arrival, ``"roundrobin"`` the longest wait, ``"weighted"`` the least sent for its
    capacity, ``"blest"`` and ``"ecf"`` as minrtt but holding back slow paths, ``"redundant"``
    everything on every path; or a scheduler in C or Python, see `SchedulerChoice`. Default
    minrtt."""

    reinject_after: float | None = None
    """What has been under way on a path for so long is sent on another as well, within 5 % of all
    bytes. Default: only when nothing new is left to send; 1 ms to 60 s."""

    max_datagram_frame_size: int = 65_535
    """Largest DATAGRAM frame accepted (RFC 9221); 0 refuses datagrams. Default and limit 65535."""

    datagram_queue: int = 1 * _MiB
    """Bytes of datagrams that wait to be sent; more are not taken. Each counts 64 bytes more than
    it has. Default 1 MiB; 1 KiB to 1 GiB."""

    datagram_receive_queue: int = 4 * _MiB
    """Bytes of datagrams that wait to be read, counted alike; the oldest make room for newer ones.
    As many again, but 1 MiB at most, may have crossed to the program, and stay. Default 4 MiB, more
    than one look at the socket brings; 1 KiB to 1 GiB."""

    # ---- Seeing inside ----

    qlog: str | os.PathLike[str] | None = None
    """Folder for qlog files, one for each connection: ``ID_client.sqlog`` or ``ID_server.sqlog``,
    where the ID is the first connection ID that the client used; in other modes than ``"file"`` see
    `qlog_mode`. Default: what the environment variable ``QLOGDIR`` says, else none."""

    qlog_mode: QlogMode = "file"
    """Where events go. ``"file"``: into files in the folder `qlog`, or nowhere if there is none.
    ``"ring"``: the newest stay in memory (`tquic.qlog.rings`), and those of a connection that fails
    are written into the folder `qlog`, if there is one. ``"unix"``: to who listens at the Unix
    socket `qlog`, by default that of ``tquic qlog listen``. ``"netlink"``: to the netlink multicast
    group. Default ``"file"``; the last two are on Linux only."""

    qlog_events: tuple[str, ...] = ()
    """Names of the events to write, as `tquic.qlog.EVENTS` has them. Default: all."""

    qlog_severity: Severity = "extra"
    """The least important events that are written: ``"core"`` is packets, losses, measures and
    parameters, ``"base"`` also states, keys and streams, ``"extra"`` everything. Default
    ``"extra"``."""

    qlog_format: QlogFormat = "newest"
    """Version of qlog: ``"newest"`` is draft-ietf-quic-qlog-main-schema-14 with quic-events-13,
    ``"0.3"`` is what qvis and older tools read. Default ``"newest"``."""

    qlog_buffer: int = 1 * _MiB
    """Bytes of one connection's records that wait to be written, or that its ring keeps; more are
    dropped, and the log says how many. Default 1 MiB; 64 KiB to 1 GiB."""

    # ---- Server ----

    migration: bool = True
    """Allow clients to change their address (RFC 9000 section 9). Default on."""

    retry: RetryPolicy = "when-busy"
    """When clients must prove their address before anything is kept for them (Retry, RFC 9000
    section 8.1.2). With ``"always"`` tokens of earlier connections do not count. Default: when at
    least `retry_above` handshakes are under way."""

    retry_above: int = 256
    """See `retry`. Default 256; at most 1048576. 0 asks everybody who has no token."""

    max_handshakes: int = 16_384
    """Handshakes under way above which clients are refused. Default 16384; 1 to 1048576."""

    max_connections: int = 100_000
    """Connections above which clients are refused. Default 100000; 1 to 16777216."""

    overload_delay: float | None = None
    """Seconds that events may wait for the program. Where they wait longer for twice that time on
    end, what would is refused: new connections with CONNECTION_REFUSED, and by HTTP/3 servers new
    requests with status 503. Default: 0.5 s for HTTP/3 servers, and others refuse nothing, like
    all with 0; at most 3600."""

    preferred_address: tuple[tuple[str, int], ...] = ()
    """Numeric addresses and ports at which this server would rather be reached after the handshake
    (RFC 9000 section 9.6); it listens there too. Default none; one IPv4 and one IPv6 at most."""

    token_key: bytes | None = None
    """32 secret bytes from which stateless-reset and address tokens are made: with them, a server
    that was restarted ends the connections of its predecessor at once. Default random."""

    def __post_init__(self) -> None:
        for name in _SEQUENCES:
            # What is kept cannot change.
            object.__setattr__(self, name, _tuple(name, getattr(self, name)))
        for name, limits in _LIMITS.items():
            _check_number(name, getattr(self, name), *limits)
        for name, known in _CHOICES.items():
            _check_choice(name, getattr(self, name), known)
        if not self.alpn:
            raise ConfigError("alpn must name at least one protocol")
        for protocol in self.alpn:
            if not 1 <= len(protocol.encode()) <= 255:
                raise ConfigError("alpn: a protocol name has 1 to 255 bytes")
        if self.initial_version not in (None, *self.versions):
            raise ConfigError("initial_version must be one of versions")
        if (self.cert is None) != (self.key is None):
            raise ConfigError("cert and key belong together: give both or none")
        if self.client_auth != "none" and self.client_ca is None:
            raise ConfigError("client_auth needs client_ca, the CAs that sign client certificates")
        if self.token_key is not None and len(self.token_key) != 32:
            raise ConfigError("token_key must have 32 bytes")
        _check_store(self.session_store)
        check_scheduler(self.scheduler)
        _check_paths(self)
        _check_addresses(self.preferred_address)
        _check_qlog(self)
        check_server_name(self.server_name or "localhost")
        for pin in self.pins:
            pin_of(pin)
        _check_certificates(self.certificates)

    def replace(self, **changes: Any) -> Self:
        """A copy in which some settings are different."""
        return replace(self, **changes)

    @classmethod
    def from_env(cls, base: Self | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """Settings from variables ``TQUIC_...``: that of ``idle_timeout`` is
        ``TQUIC_IDLE_TIMEOUT``.

        Times may be written ``"500ms"``, sizes ``"10M"``, several values with commas. An empty
        variable does not count.

        Args:
            base: what the others are. Default `Config()`.
            environ: the variables. Default `os.environ`.

        Raises:
            ConfigError: a value cannot be used, or there is no such setting; it names the variable.
        """
        environ = _load.environment(environ)
        return _load.build(cls, base, _load.of_environ(cls, environ))

    @classmethod
    def from_toml(
        cls,
        source: str | os.PathLike[str],
        *,
        section: str | None = "tquic",
        base: Self | None = None,
    ) -> Self:
        """Settings from a TOML file, under their names here::

            [tquic]
            idle_timeout = "30s"
            congestion = "cubic"
            cert = "server.pem"     # as seen from the folder of this file
            key = "server.key"

        Args:
            source: path of the file, or its text.
            section: the table, with dots for one in another; `None` is the whole file. A missing
                table says nothing.
            base: what the others are. Default `Config()`.

        Raises:
            ConfigError: the file cannot be read, a value cannot be used, or there is no such
                setting; it names the file and the line.
        """
        return _load.build(cls, base, _load.of_toml(cls, source, section))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        section: str | None = "tquic",
        environ: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> Self:
        """Settings from everywhere: keywords before variables before the file before what holds for
        the whole system (`tquic.sysctl`) before defaults.

        Args:
            path: TOML file. Default: the one that the variable ``TQUIC_CONFIG`` names, else none.
            section: see `from_toml`.
            environ: see `from_env`.
            changes: settings, as for `Config`; sizes and times may be texts, too.

        Raises:
            ConfigError: see `from_env` and `from_toml`.
        """
        environ = _load.environment(environ)
        path = path or environ.get("TQUIC_CONFIG") or None
        settings = _load.of_sysctl(environ)
        settings |= _load.of_toml(cls, path, section) if path is not None else {}
        settings |= _load.of_environ(cls, environ)
        settings |= _load.of_keywords(cls, changes)
        return _load.build(cls, None, settings)

    def __repr__(self) -> str:
        # Defaults say nothing, secrets must not stand in logs.
        changed = (
            f"{f.name}={'...' if f.name in _SECRET else repr(getattr(self, f.name))}"
            for f in fields(self)
            if getattr(self, f.name) != f.default
        )
        return f"Config({', '.join(changed)})"

    def __getstate__(self) -> dict[str, Any]:
        # Without what the engine has made of them: that is this process's.
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def _scheduler(self) -> tuple[str, _engine.BpfProgram | None]:
        """The named scheduler, and the program that decides before it."""
        chosen = self.scheduler
        if isinstance(chosen, SchedulerProgram):
            return _FALLBACK, chosen._native
        if isinstance(chosen, str) and not chosen.endswith(".o"):
            return chosen, None
        if not isinstance(chosen, (str, os.PathLike)):
            # One in Python begins when the connection does.
            return _FALLBACK, None
        try:
            return _FALLBACK, load_scheduler(chosen)._native
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"scheduler: cannot read {os.fspath(chosen)}: {reason}") from error
        except ConfigError as error:
            raise ConfigError(f"scheduler: {os.fspath(chosen)}: {error}") from error

    @cached_property
    def _transport(self) -> _engine.Transport:
        return _engine.Transport(self)

    @property
    def _qlog(self) -> tuple[str, str | None, int, int, bool, int] | None:
        place = self.qlog
        if self.qlog_mode in ("file", "ring"):
            place = place or os.environ.get("QLOGDIR")
        if not place and self.qlog_mode == "file":
            return None
        kinds = _qlog_kinds()
        bits = [kinds[name] for name in self.qlog_events or kinds]
        severity = get_args(Severity).index(self.qlog_severity)
        old = self.qlog_format == "0.3"
        where = os.fspath(place) if place else None
        return self.qlog_mode, where, sum(set(bits)), severity, old, self.qlog_buffer

    @property
    def _local_addresses(self) -> list[tuple[tuple[str, int] | None, str | None]]:
        return [local_address(text) for text in self.paths]

    def _reached(self, servers: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Those servers' addresses that the first path can reach: of its family."""
        local = self._local_addresses[0][0] if self.paths else None
        if local is None:
            return servers
        return [server for server in servers if (":" in server[0]) == (":" in local[0])]

    @cached_property
    def _client_tls(self) -> _engine.ClientTls:
        material = ClientMaterial(
            roots=self._roots,
            system_roots=not self.insecure and (self.system_ca or not self._roots),
            pins=[pin_of(pin) for pin in self.pins],
            cert=None if self.cert is None else content_of("cert", self.cert),
            key=None if self.key is None else content_of("key", self.key),
            password=self._password,
            keylog=self._keylog,
            tickets=None,
        )
        store = self.session_store
        if store is None:
            return _engine.ClientTls(self, material)
        same = (
            *(self.alpn, self.ciphers, self.groups, self.early_data, self.insecure),
            *(self.check_hostname, self.pins, tuple(material.roots), material.system_roots),
            *(material.cert, material.key, material.keylog),
        )
        return store._client_tls(
            same, lambda tickets: _engine.ClientTls(self, material._replace(tickets=tickets))
        )

    @cached_property
    def _roots(self) -> list[bytes]:
        roots = [] if self.ca is None else [content_of("ca", self.ca)]
        if self.ca_path is not None:
            roots += certificates_in(self.ca_path)
        return roots

    @cached_property
    def _server_tls(self) -> _engine.ServerTls:
        if self.cert is None or self.key is None:
            raise ConfigError("a server needs a certificate: set cert and key")
        material = ServerMaterial(
            cert=content_of("cert", self.cert),
            key=content_of("key", self.key),
            password=self._password,
            client_roots=[]
            if self.client_ca is None
            else [content_of("client_ca", self.client_ca)],
            certificates=[
                (
                    name,
                    content_of(f"certificates, {name}", c),
                    content_of(f"certificates, {name}", k),
                )
                for name, c, k in self.certificates
            ],
            lookup=self._lookup if self.sni_callback is not None else None,
            keylog=self._keylog,
        )
        return _engine.ServerTls(self, material)

    def _lookup(self, name: str) -> tuple[bytes, bytes, bytes | None] | None:
        assert self.sni_callback is not None
        try:
            found = self.sni_callback(name)
            if found is None:
                return None
            cert, key = (content_of(f"sni_callback({name!r})", part) for part in found)
        except Exception:
            _logger.exception("sni_callback failed for %s: the default certificate is shown", name)
            return None
        return cert, key, self._password

    @property
    def _password(self) -> bytes | None:
        password = self.key_password
        return password.encode() if isinstance(password, str) else password

    @property
    def _keylog(self) -> str | None:
        path = self.keylog or os.environ.get("SSLKEYLOGFILE")
        return os.fspath(path) if path else None


_SECRET: Final = {"key", "key_password", "token_key", "certificates"}


@cache
def _qlog_kinds() -> dict[str, int]:
    return {name.lower(): bit for name, bit in _engine.qlog_kinds()}


def _check_number(name: str, value: object, low: float, high: float) -> None:
    default = Config.__dataclass_fields__[name].default
    if value is None and default is None:
        return
    whole = isinstance(default, int) or name in _WHOLE
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        kind = "a whole number" if whole else "a number"
        raise ConfigError(f"{name} must be {kind}, not {value!r}")
    if not low <= value <= high:
        raise ConfigError(f"{name} must be from {low} to {high}, not {value!r}")


# Whole numbers whose default is None.
_WHOLE: Final = {"initial_window", "key_update_interval"}


def _tuple(name: str, value: object) -> tuple[object, ...]:
    if not isinstance(value, (tuple, list)):
        raise ConfigError(f"{name} must be a tuple or a list")
    for one in value if name in _TEXTS else ():
        if not isinstance(one, str):
            raise ConfigError(f"{name} must hold texts, not {one!r}")
    return tuple(value)


def _check_store(store: object) -> None:
    if not isinstance(store, SessionStore | None):
        raise ConfigError(f"session_store must be a SessionStore, not {store!r}")


def _check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    several = isinstance(Config.__dataclass_fields__[name].default, tuple)
    if several and (not isinstance(value, tuple) or not value):
        raise ConfigError(f"{name} must be a tuple of at least one of {', '.join(known)}")
    chosen = value if isinstance(value, tuple) else (value,)
    for one in chosen:
        if one not in known:
            raise ConfigError(f"{name} must be of {', '.join(known)}, not {one!r}")


# What decides where a scheduler in C or Python does not.
_FALLBACK: Final = "minrtt"


def check_scheduler(chosen: object) -> None:
    """Raises `ConfigError` for what is no scheduler; a file is not looked at."""
    if isinstance(chosen, str):
        known = get_args(Scheduler)
        if chosen not in known and not chosen.endswith(".o"):
            raise ConfigError(
                f"scheduler must be of {', '.join(known)}, or an object ending in .o, not "
                f"{chosen!r}"
            )
    elif not (isinstance(chosen, (os.PathLike, SchedulerProgram)) or callable(chosen)):
        raise ConfigError(
            f"scheduler must be a name, an object's path or program, or a class, not {chosen!r}"
        )


def _check_addresses(addresses: tuple[tuple[str, int], ...]) -> None:
    families = set()
    for host, port in addresses:
        try:
            families.add(ipaddress.ip_address(host).version)
        except ValueError:
            raise ConfigError(f"preferred_address: {host!r} is not a numeric address") from None
        if not 1 <= port <= 65_535:
            raise ConfigError("preferred_address: the port must be from 1 to 65535")
    if len(families) < len(addresses):
        raise ConfigError("preferred_address: one IPv4 and one IPv6 address at most")


def _check_paths(config: Config) -> None:
    if len(config.paths) > config.max_paths:
        raise ConfigError(f"paths: max_paths must be at least {len(config.paths)} for so many")
    try:
        _ = config._local_addresses
    except ValueError as error:
        raise ConfigError(f"paths: {error}") from None


def _check_qlog(config: Config) -> None:
    if config.qlog_mode in ("unix", "netlink") and sys.platform != "linux":
        raise ConfigError(f"qlog_mode: {config.qlog_mode!r} needs Linux")
    names = config.qlog_events
    if unknown := set(names) - set(_qlog_kinds()):
        raise ConfigError(f"qlog_events: there is no event {min(unknown)}")


def _check_certificates(certificates: tuple[tuple[str, Credential, Credential], ...]) -> None:
    names = [name for name, _, _ in certificates]
    if len(set(map(str.lower, names))) < len(names):
        raise ConfigError("certificates: a name stands there twice")
