"""TLS settings in the shape of `ssl.SSLContext`, for programs that have code for that."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args

from tquic import _engine
from tquic._kinds import check_kind
from tquic._material import content_of
from tquic.config import CipherSuite, Config, Credential
from tquic.errors import ConfigError
from tquic.session import SessionStore

__all__ = ["TlsContext", "public_key_pin"]

_Path: TypeAlias = str | os.PathLike[str]
_ServerName: TypeAlias = Callable[[str], tuple[Credential, Credential] | None]


def public_key_pin(certificate: Credential) -> str:
    """The pin of the public key in a certificate, for `Config.pins`: ``"sha256//BASE64"``.

    Args:
        certificate: a file's path, or content as `bytes`; PEM or DER. Of a chain, the first counts.

    Raises:
        ConfigError: it cannot be read.
    """
    return _engine.public_key_pin(content_of("certificate", certificate))


class TlsContext:
    """TLS settings that can be changed, with the names of `ssl.SSLContext`.

    A `ssl.SSLContext` itself cannot be used for QUIC: Python's ssl module does not give out the
    keys. This one collects the settings; `config` makes a `Config` of them, which is what
    connections use. `connect` and `serve` do that when they are given a context as ``tls``. Later
    changes do not reach what was begun before.

    At the start, a client's `verify_mode` is `ssl.CERT_REQUIRED`, with `check_hostname`, and a
    server's `ssl.CERT_NONE`, as with ``PROTOCOL_TLS_CLIENT`` and ``PROTOCOL_TLS_SERVER`` there.
    Unlike there, the CAs of the system are trusted if no others are named.

    Args:
        server_side: whether it is for `serve`.
    """

    def __init__(self, *, server_side: bool = False) -> None:
        self.server_side: Final = server_side
        """Whether it is for `serve`."""
        self._roots: list[bytes] = []
        self._ca_path: _Path | None = None
        self._system_ca = False
        self._chain: tuple[bytes, bytes] | None = None
        self._password: bytes | None = None
        self._named: dict[str, tuple[bytes, bytes]] = {}
        self._alpn: tuple[str, ...] | None = None
        self._ciphers: tuple[CipherSuite, ...] | None = None
        self._verify_mode = ssl.CERT_NONE if server_side else ssl.CERT_REQUIRED
        self._check_hostname = not server_side
        self._pins: list[str] = []
        self.sni_callback: _ServerName | None = None
        """Server: called with a host name for which no certificate was added; answers a certificate
        and its key, or `None` for the default. Other arguments than `ssl.SSLContext` gives, because
        a context cannot be exchanged in the middle of a handshake; see `Config.sni_callback`."""
        self.keylog_filename: _Path | None = None
        """File to which secrets are appended, for debugging."""
        self.session_store: SessionStore | None = None
        """Client: where session tickets are kept."""

    # ---- Certificates of our own ----

    def load_cert_chain(
        self,
        certfile: Credential,
        keyfile: Credential | None = None,
        password: str | bytes | Callable[[], str | bytes] | None = None,
    ) -> None:
        """Loads the certificate chain to show, and its private key.

        Args:
            certfile: PEM (or DER) file, end entity first, or its content as `bytes`.
            keyfile: PEM (or DER) file of the key, or its content. Default: it stands in `certfile`.
            password: of an encrypted key, or a function that is asked for it.

        Raises:
            ConfigError: a file cannot be read. What is in it is looked at by `config`.
        """
        chain = content_of("certfile", certfile)
        self._chain = (chain, chain if keyfile is None else content_of("keyfile", keyfile))
        if callable(password):
            password = password()
        self._password = password.encode() if isinstance(password, str) else password

    def add_cert_chain(self, name: str, certfile: Credential, keyfile: Credential) -> None:
        """Server: another certificate, for clients that ask for this name.

        Args:
            name: host name; ``"*.example.com"`` stands for any one label in front.
            certfile: see `load_cert_chain`.
            keyfile: see `load_cert_chain`; an encrypted one must have the same password.

        Raises:
            ConfigError: a file cannot be read.
        """
        check_kind("name", name, str)
        self._named[name.lower()] = (
            content_of("certfile", certfile),
            content_of("keyfile", keyfile),
        )

    # ---- Whom to trust ----

    def load_verify_locations(
        self,
        cafile: Credential | None = None,
        capath: _Path | None = None,
        cadata: str | bytes | None = None,
    ) -> None:
        """Trusts more CAs; may be called several times.

        Args:
            cafile: PEM file.
            capath: folder of PEM files, whatever their names.
            cadata: PEM text, or DER of one certificate or several in a row.

        Raises:
            ConfigError: a file cannot be read.
            TypeError: there is no argument.
        """
        if cafile is None and capath is None and cadata is None:
            raise TypeError("cafile, capath and cadata cannot be all omitted")
        if cafile is not None:
            self._roots.append(content_of("cafile", cafile))
        if capath is not None:
            if self._ca_path is not None and Path(self._ca_path) != Path(capath):
                raise ConfigError("load_verify_locations: one capath can be had, not two")
            self._ca_path = capath
        if isinstance(cadata, str):
            self._roots.append(cadata.encode())
        elif cadata is not None:
            self._roots += _split_der(cadata)

    def load_default_certs(self, purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH) -> None:
        """Trusts the CAs of the system on top of others; without others they are trusted anyway.

        Args:
            purpose: only `ssl.Purpose.SERVER_AUTH`: servers name the CAs of their clients.

        Raises:
            ConfigError: another purpose.
        """
        if purpose is not ssl.Purpose.SERVER_AUTH:
            raise ConfigError("load_default_certs: a server must name the CAs of its clients")
        self._system_ca = True

    def set_default_verify_paths(self) -> None:
        """The same as `load_default_certs`."""
        self.load_default_certs()

    @property
    def verify_mode(self) -> ssl.VerifyMode:
        """Client: `ssl.CERT_NONE` takes any certificate, the others mean the same. Server: whether
        clients must show a certificate, may, or are not asked.
        """
        return self._verify_mode

    @verify_mode.setter
    def verify_mode(self, mode: ssl.VerifyMode) -> None:
        mode = ssl.VerifyMode(mode)
        if mode is ssl.CERT_NONE and self._check_hostname:
            raise ValueError("cannot set verify_mode to CERT_NONE when check_hostname is enabled")
        self._verify_mode = mode

    @property
    def check_hostname(self) -> bool:
        """Client: whether the certificate must be for the server's name."""
        return self._check_hostname

    @check_hostname.setter
    def check_hostname(self, check: bool) -> None:
        if check and self._verify_mode is ssl.CERT_NONE:
            self._verify_mode = ssl.CERT_REQUIRED
        self._check_hostname = bool(check)

    def add_pin(self, pin: str) -> None:
        """Client: the server's public key must be this one, or another that was added.

        Args:
            pin: as `public_key_pin` gives it, ``"sha256//BASE64"``.

        Raises:
            ConfigError: it is no pin.
        """
        Config(pins=(pin,))
        self._pins.append(pin)

    # ---- The handshake ----

    def set_alpn_protocols(self, protocols: Iterable[str]) -> None:
        """Sets the application protocols, best first. Default: those of `Config`."""
        self._alpn = tuple(protocols)

    def set_ciphers(self, ciphers: str) -> None:
        """Sets the cipher suites, best first.

        Args:
            ciphers: names of TLS 1.3 suites (IANA) with colons between, such as
                ``"TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"``.

        Raises:
            ConfigError: one is not known; OpenSSL's words for TLS 1.2 mean nothing here.
        """
        check_kind("ciphers", ciphers, str)
        known: dict[str, CipherSuite] = {name: name for name in get_args(CipherSuite)}
        chosen = []
        for name in ciphers.split(":"):
            if name not in known:
                raise ConfigError(f"ciphers must be of {', '.join(known)}, not {name!r}")
            chosen.append(known[name])
        self._ciphers = tuple(chosen)

    def get_ciphers(self) -> list[dict[str, Any]]:
        """The cipher suites in use, best first: dictionaries with a ``"name"``."""
        chosen = self._ciphers or Config().ciphers
        return [{"name": name, "protocol": "TLSv1.3"} for name in chosen]

    @property
    def minimum_version(self) -> ssl.TLSVersion:
        """Always `ssl.TLSVersion.TLSv1_3`: QUIC has no other (RFC 9001 section 4.2)."""
        return ssl.TLSVersion.TLSv1_3

    @minimum_version.setter
    def minimum_version(self, version: ssl.TLSVersion) -> None:
        # Lower minima allow 1.3, too, and are common in code that is older.
        if version == ssl.TLSVersion.MAXIMUM_SUPPORTED:
            return
        _check_version(version <= ssl.TLSVersion.TLSv1_3, "minimum_version")

    @property
    def maximum_version(self) -> ssl.TLSVersion:
        """Always `ssl.TLSVersion.TLSv1_3`."""
        return ssl.TLSVersion.TLSv1_3

    @maximum_version.setter
    def maximum_version(self, version: ssl.TLSVersion) -> None:
        allowed = (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.MAXIMUM_SUPPORTED)
        _check_version(version in allowed, "maximum_version")

    # ---- What comes out ----

    def config(self, base: Config | None = None, **settings: Any) -> Config:
        """The settings as a `Config`.

        Args:
            base: the settings that are not TLS's. Default `Config()`.
            settings: more of them; they come before those of this context.

        Raises:
            ConfigError: they do not fit together.
        """
        if base is not None:
            check_kind("base", base, Config)
        changes: dict[str, Any] = {
            "keylog": self.keylog_filename,
            "key_password": self._password,
            "alpn": self._alpn,
            "ciphers": self._ciphers,
            "session_store": self.session_store,
        }
        if self._chain is not None:
            changes["cert"], changes["key"] = self._chain
        roots = b"\n".join(map(_as_pem, self._roots)) if self._roots else None
        if self.server_side:
            changes |= self._of_server(roots)
        else:
            changes |= {
                "ca": roots,
                "ca_path": self._ca_path,
                "system_ca": self._system_ca,
                "check_hostname": self._check_hostname,
                "insecure": self._verify_mode is ssl.CERT_NONE,
                "pins": tuple(self._pins) or None,
            }
        given = {name: value for name, value in changes.items() if value is not None}
        return (base or Config()).replace(**given | settings)

    def _of_server(self, roots: bytes | None) -> dict[str, Any]:
        if self._ca_path is not None:
            raise ConfigError("a server's CAs come from cafile or cadata, not from capath")
        asked = {ssl.CERT_OPTIONAL: "optional", ssl.CERT_REQUIRED: "required"}
        certificates = tuple((name, *pair) for name, pair in self._named.items())
        return {
            "client_ca": roots,
            "client_auth": asked.get(self._verify_mode),
            "certificates": certificates or None,
            "sni_callback": self.sni_callback,
        }

    def __repr__(self) -> str:
        side = "server" if self.server_side else "client"
        return f"<TlsContext of a {side}, {self._verify_mode.name}>"


def settled(config: Config | None, tls: TlsContext | None, *, server_side: bool) -> Config:
    """The settings of `connect` or `serve` from its two arguments."""
    if config is not None:
        check_kind("config", config, Config)
    if tls is None:
        return config or Config()
    check_kind("tls", tls, TlsContext, ": Python's ssl module does not give out the keys")
    if tls.server_side != server_side:
        raise ConfigError(f"tls: this takes a TlsContext(server_side={server_side})")
    return tls.config(config)


def _check_version(allowed: bool, name: str) -> None:
    if not allowed:
        raise ConfigError(f"{name}: QUIC has TLS 1.3 and nothing else (RFC 9001 section 4.2)")


_PEM: Final = b"-----BEGIN "


def _as_pem(content: bytes) -> bytes:
    if _PEM in content:
        return content
    body = base64.encodebytes(content)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"


def _split_der(content: bytes) -> list[bytes]:
    """Certificates in a row: each is one DER value that says how long it is."""
    if _PEM in content:
        return [content]
    found = []
    while content:
        size = 2
        if len(content) >= 4 and content[1] & 0x80:
            octets = content[1] & 0x7F
            size += octets + int.from_bytes(content[2 : 2 + octets], "big")
        elif len(content) >= 2:
            size += content[1]
        if content[0] != 0x30 or size > len(content):
            raise ConfigError("cadata: it is neither PEM nor DER")
        found.append(content[:size])
        content = content[size:]
    return found
