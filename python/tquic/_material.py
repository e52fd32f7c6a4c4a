"""What TLS needs besides plain settings: certificates, keys and pins, read from where they are."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from tquic import _engine
from tquic.errors import ConfigError

Credential: TypeAlias = str | bytes | os.PathLike[str]
"""A certificate or key: the path of a file, or the content itself as `bytes`; PEM or DER."""


class ClientMaterial(NamedTuple):
    """What the engine needs of a client besides plain settings."""

    roots: list[bytes]
    system_roots: bool
    pins: list[bytes]
    cert: bytes | None
    key: bytes | None
    password: bytes | None
    keylog: str | None
    tickets: _engine.TicketStore | None


class ServerMaterial(NamedTuple):
    """What the engine needs of a server besides plain settings."""

    cert: bytes
    key: bytes
    password: bytes | None
    client_roots: list[bytes]
    certificates: list[tuple[str, bytes, bytes]]
    lookup: Callable[[str], tuple[bytes, bytes, bytes | None] | None] | None
    keylog: str | None


# RFC 1123 section 2.1, and the underscore that many names have.
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
# What a name must not end in: it would be taken for an IPv4 address.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def check_server_name(name: object) -> None:
    """Refuses what no certificate can be for."""
    if not isinstance(name, str):
        raise ConfigError(f"server_name must be text, not {type(name).__name__}")
    labels = name.removesuffix(".").split(".")
    is_host = all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])
    if not ((is_host and len(name) <= 253) or _is_address(name)):
        raise ConfigError(
            f"server_name: {name!r} is neither a host name (in ASCII) nor an IP address"
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    # Certificates know no scopes.
    return "%" not in name


def pin_of(text: str) -> bytes:
    """The digest of a pin."""
    prefix, _, digest = text.partition("//")
    try:
        content = base64.b64decode(digest, validate=True)
    except binascii.Error:
        content = b""
    if prefix != "sha256" or len(content) != 32:
        raise ConfigError(f"pins: {text!r} is no pin: write sha256// and 44 digits of base64")
    return content


# Files of certificates are not larger.
_MAX_CERTIFICATES: Final = 4 << 20


def certificates_in(folder: str | os.PathLike[str]) -> list[bytes]:
    """Every file of certificates in a folder (`Config.ca_path`)."""
    found = []
    try:
        for path in sorted(Path(folder).iterdir()):
            if path.is_file() and path.stat().st_size <= _MAX_CERTIFICATES:
                content = path.read_bytes()
                if b"-----BEGIN CERTIFICATE-----" in content:
                    found.append(content)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise ConfigError(f"ca_path: cannot read {os.fspath(folder)}: {reason}") from error
    if not found:
        raise ConfigError(f"ca_path: there is no certificate in {os.fspath(folder)}")
    return found


_PEM: Final = "-----BEGIN "


def content_of(name: str, credential: Credential) -> bytes:
    """What a credential holds; `name` is the setting to blame if its file cannot be read."""
    if isinstance(credential, bytes):
        return credential
    if isinstance(credential, str) and _PEM in credential:
        # Never in the message: it may be a private key.
        raise ConfigError(f"{name}: a text is the path of a file; give the content itself as bytes")
    try:
        return Path(credential).read_bytes()
    except (OSError, ValueError) as error:
        # ValueError: a path with a null byte.
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise ConfigError(f"{name}: cannot read {os.fspath(credential)}: {reason}") from error
