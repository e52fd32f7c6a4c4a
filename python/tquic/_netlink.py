"""The network interfaces of this machine, and news of them (rtnetlink, Linux)."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

__all__ = ["Interface", "interfaces", "news"]

# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h
_ROUTE: Final = 0
_NEWLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 18, 20, 22
_ERROR, _DONE = 2, 3
_REQUEST_DUMP: Final = 0x301
_GROUPS: Final = 0x1 | 0x10 | 0x100
_IFNAME: Final = 3
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
# Not usable (yet): tentative, duplicate, deprecated.
_UNUSABLE: Final = 0x40 | 0x08 | 0x20
_UP, _LOOPBACK, _RUNNING = 0x1, 0x8, 0x40

_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """A network interface as it is now."""

    name: str
    """Its name, such as ``"eth0"``."""
    running: bool
    """Whether it is up and has a carrier."""
    loopback: bool
    """Whether it leads nowhere else."""
    addresses: tuple[str, ...]
    """Its usable addresses, those of the link alone left out."""


def news() -> socket.socket:
    """A socket that becomes readable when an interface or an address comes, goes or changes; what
    can be read says no more than that.

    Raises:
        OSError: this system has no rtnetlink.
    """
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        raise OSError("watching interfaces needs rtnetlink, which only Linux has")
    told = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE)
    told.setblocking(False)
    told.bind((0, _GROUPS))
    return told


def interfaces() -> list[Interface]:
    """All interfaces, in the order of their numbers.

    Raises:
        OSError: this system has no rtnetlink, or does not answer.
    """
    found: dict[int, Interface] = {}
    for kind, body in _dump(_GETLINK):
        if kind == _NEWLINK:
            _, _, index, flags, _ = _LINK.unpack_from(body)
            name = dict(_attributes(body[_LINK.size :])).get(_IFNAME, b"")
            found[index] = Interface(
                name=name.rstrip(b"\0").decode(errors="replace"),
                running=flags & (_UP | _RUNNING) == _UP | _RUNNING,
                loopback=bool(flags & _LOOPBACK),
                addresses=(),
            )
    for kind, body in _dump(_GETADDR):
        if kind == _NEWADDR:
            _, _, flags, scope, index = _ADDRESS.unpack_from(body)
            attributes = dict(_attributes(body[_ADDRESS.size :]))
            if _IFA_FLAGS in attributes:
                (flags,) = struct.unpack_from("=I", attributes[_IFA_FLAGS])
            packed = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS))
            known = found.get(index)
            if packed is None or known is None or flags & _UNUSABLE:
                continue
            # Scope 0 is the whole network.
            if scope == 0 or known.loopback:
                address = str(ipaddress.ip_address(packed))
                found[index] = replace(known, addresses=(*known.addresses, address))
    return [found[index] for index in sorted(found)]


def _dump(kind: int) -> Iterator[tuple[int, bytes]]:
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        raise OSError("listing interfaces needs rtnetlink, which only Linux has")
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE) as asked:
        asked.settimeout(1.0)
        body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        asked.sendto(
            _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST_DUMP, 1, 0) + body, (0, 0)
        )
        while True:
            for answer, content in _messages(asked.recv(1 << 18)):
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    (code,) = struct.unpack_from("=i", content)
                    raise OSError(-code, os.strerror(-code))
                yield answer, content


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            return
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        # The upper bits are flags.
        yield kind & 0x3FFF, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
