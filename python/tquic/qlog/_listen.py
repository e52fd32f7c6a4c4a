"""Listens to the qlog of running processes: at a Unix socket, or in the netlink group."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import stat
import struct
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tquic import _engine
from tquic.qlog._read import Record, records

__all__ = ["Heard", "Listener"]

# linux/netlink.h, asm/socket.h
_USERSOCK: Final = 2
_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_RCVBUFFORCE: Final = 33
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
# Attributes of a message, and what an event that is a header says of itself.
_EVENT, _CONNECTION, _JSON, _DROPPED, _ROLE = 1, 3, 6, 9, 10
_IS_HEADER: Final = 0x100
_ROLES: Final = {1: "client", 2: "server"}

_ROOM: Final = 16 << 20
_MESSAGE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Heard:
    """Events of one connection that came together."""

    process: int
    """The process that told; with netlink the port of its socket, which mostly is the same."""
    id: str
    """The first connection ID that the client used, in hexadecimal."""
    role: str
    """``"client"`` or ``"server"``: which end told."""
    header: Record | None
    """The first record of its log, when this is the beginning."""
    events: list[Record]
    """The events, in order."""
    dropped: int
    """Events of this connection that found no room in its process, so far."""
    over: bool = False
    """Whether nothing more will come. Netlink does not say."""


class Listener(ABC):
    """Hears of connections whose `Config.qlog_mode` is ``"unix"`` or ``"netlink"``: a context
    manager to iterate over. Linux only."""

    lost: int = 0
    """Events that got lost between their process and this listener, as far as it is known: netlink
    messages that came faster than they were read."""

    @staticmethod
    def unix(path: str | os.PathLike[str] | None = None) -> Listener:
        """At a Unix socket, which only this user and root may use.

        Args:
            path: where. Default ``qlog.sock`` in ``TQUIC_RUNTIME_DIR``, or in ``tquic`` in
                ``XDG_RUNTIME_DIR``, or in ``/tmp/tquic-UID``.

        Raises:
            OSError: it cannot be made; EADDRINUSE: another listener is there.
        """
        return _Unix(path)

    @staticmethod
    def netlink() -> Listener:
        """In the netlink multicast group.

        Raises:
            PermissionError: this needs CAP_NET_ADMIN.
            OSError: this system has no netlink.
        """
        return _Netlink()

    @abstractmethod
    def hear(self, timeout: float | None = None) -> list[Heard]:
        """What came; waits for something, at most for ``timeout`` seconds."""

    @abstractmethod
    def close(self) -> None:
        """Listens no more."""

    def __iter__(self) -> Iterator[Heard]:
        while True:
            yield from self.hear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Unix(Listener):
    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = _prepared() if path is None else Path(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            _forget_stale(self._path)
            listener.bind(os.fspath(self._path))
            self._path.chmod(0o600)
            listener.listen(64)
        except BaseException:
            listener.close()
            raise
        self._listener = listener
        self._room = bytearray(_MESSAGE)
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)

    def hear(self, timeout: float | None = None) -> list[Heard]:
        until = None if timeout is None else time.monotonic() + timeout
        heard: list[Heard] = []
        while not heard:
            left = None if until is None else max(0.0, until - time.monotonic())
            ready = self._selector.select(left)
            for key, _ in ready:
                one = key.fileobj
                assert isinstance(one, socket.socket)
                if one is self._listener:
                    self._accept()
                else:
                    heard += self._read(one)
            if not ready and left is not None:
                break
        return heard

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            one, _ = self._listener.accept()
            one.setblocking(False)
            self._selector.register(one, selectors.EVENT_READ)

    def _read(self, one: socket.socket) -> Iterator[Heard]:
        # So many, then others have their turn.
        for _ in range(64):
            try:
                size = one.recv_into(self._room)
            except BlockingIOError:
                return
            except OSError:
                size = 0
            if size == 0:
                self._selector.unregister(one)
                one.close()
                return
            if (heard := _enveloped(bytes(self._room[:size]))) is not None:
                yield heard

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        self._path.unlink(missing_ok=True)


def _prepared() -> Path:
    """The socket's usual place, in a folder that nobody else can enter."""
    path = _engine.qlog_socket()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = path.parent.lstat()
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o077 or not stat.S_ISDIR(facts.st_mode):
        raise PermissionError(errno.EPERM, "not a folder of this user alone", str(path.parent))
    return path


def _forget_stale(path: Path) -> None:
    """Removes the socket of a listener that was killed."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return


def _enveloped(message: bytes) -> Heard | None:
    envelope, *rest = records(message) or [{}]
    if envelope.get("tquic_qlog") != 1:
        return None
    header = rest.pop(0) if rest and "trace" in rest[0] else None
    try:
        process, dropped = int(envelope["pid"]), int(envelope["dropped"])
        name, role = str(envelope["group_id"]), str(envelope["role"])
    except (KeyError, TypeError, ValueError):
        return None
    over = envelope.get("end") is True
    return Heard(process, name, role, header, rest, dropped, over)


class _Netlink(Listener):
    def __init__(self) -> None:
        family = getattr(socket, "AF_NETLINK", None)
        if family is None:
            raise OSError(errno.EAFNOSUPPORT, "there is netlink on Linux only")
        group, self._family = _engine.qlog_netlink()
        self._socket = socket.socket(family, socket.SOCK_RAW, _USERSOCK)
        # The last number of each sender.
        self._numbers: dict[int, int] = {}
        try:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _ROOM)
            # One without a port of its own gets nothing.
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except BaseException:
            self._socket.close()
            raise

    def hear(self, timeout: float | None = None) -> list[Heard]:
        self._socket.settimeout(timeout)
        try:
            datagram, (port, _) = self._socket.recvfrom(_MESSAGE)
        except TimeoutError:
            return []
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                # Some are missing: their numbers will tell how many.
                return []
            raise
        return list(self._messages(datagram, port))

    def _messages(self, datagram: bytes, port: int) -> Iterator[Heard]:
        at = 0
        while at + _HEADER.size + 4 <= len(datagram):
            length, kind, _, number, _ = _HEADER.unpack_from(datagram, at)
            if length < _HEADER.size + 4 or at + length > len(datagram):
                return
            if kind == self._family:
                before = self._numbers.get(port)
                self._numbers[port] = number
                if before is not None:
                    self.lost += (number - before - 1) & 0xFFFF_FFFF
                heard = _event(_attributes(datagram[at + _HEADER.size + 4 : at + length]), port)
                if heard is not None:
                    yield heard
            at += (length + 3) & ~3

    def close(self) -> None:
        self._socket.close()


def _attributes(content: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(content):
        length, kind = _ATTRIBUTE.unpack_from(content, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = content[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def _event(attributes: dict[int, bytes], port: int) -> Heard | None:
    def number(kind: int) -> int:
        return int.from_bytes(attributes.get(kind, b""), sys.byteorder)

    text = attributes.get(_JSON, b"").rstrip(b"\0")
    found: list[dict[str, Any]] = records(b"\x1e" + text)
    if not found:
        return None
    is_header = number(_EVENT) == _IS_HEADER
    return Heard(
        process=port,
        id=attributes.get(_CONNECTION, b"").hex(),
        role=_ROLES.get(number(_ROLE), "unknown"),
        header=found[0] if is_header else None,
        events=[] if is_header else found,
        dropped=number(_DROPPED),
    )
