"""Sockets with the interface, names and numbers of the TQUIC kernel API guide::

    from tquic.socket import *

    s = socket(AF_INET, SOCK_DGRAM, IPPROTO_QUIC)
    s.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_ALPN, b"h3")
    s.connect(("example.com", 4433))
    s.sendmsg([b"hello"], [(SOL_TQUIC, TQUIC_STREAM_ID, (0).to_bytes(8, "little"))], MSG_FIN)
    data, ancillary, flags, address = s.recvmsg(65536, 1024)

Calls and values are those of C, as in Python's own `socket`; beside them are methods with types:
`socket.open_stream`, `socket.send_stream`, `socket.recv_stream`, `socket.add_path`, `socket.info`.
The descriptor (`socket.fileno`) is readable and writable when the socket is: it can be waited for
with `select`, `poll`, `epoll` and event loops. Linux only. Numbers from 300 on are ours.
"""

from __future__ import annotations

import atexit
import errno
import math
import select
import socket as _socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias, TypeVar

from tquic import _engine
from tquic._numbers import (
    IPPROTO_QUIC,
    IPPROTO_TQUIC,
    IPPROTO_TQUIC_DOC,
    MSG_FIN,
    MSG_ZEROCOPY,
    QLOG_MASK_ALL,
    SOL_TQUIC,
    TQUIC_ACK_DELAY,
    TQUIC_ALLOW_SELF_SIGNED,
    TQUIC_CA,
    TQUIC_CERT,
    TQUIC_CERT_VERIFY,
    TQUIC_DATAGRAM,
    TQUIC_ECN,
    TQUIC_ERROR,
    TQUIC_EXPECTED_HOSTNAME,
    TQUIC_INFO,
    TQUIC_KEY,
    TQUIC_MAX_CONNECTIONS,
    TQUIC_MAX_DATAGRAM,
    TQUIC_MAX_STREAMS_UNI,
    TQUIC_MIGRATION,
    TQUIC_OFFLOAD_CAP_AF_XDP,
    TQUIC_OFFLOAD_CAP_CPU_AES,
    TQUIC_OFFLOAD_CAP_CPU_VAES,
    TQUIC_OFFLOAD_CAP_CRYPTO,
    TQUIC_OFFLOAD_CAP_GRO,
    TQUIC_OFFLOAD_CAP_GSO,
    TQUIC_OFFLOAD_CAP_XDP_ZEROCOPY,
    TQUIC_OFFLOAD_CRYPTO,
    TQUIC_PACING,
    TQUIC_PATH_INFO,
    TQUIC_PATH_PRIORITY,
    TQUIC_PATH_WEIGHT,
    TQUIC_QLOG_ENABLE,
    TQUIC_QLOG_MODE_DISABLED,
    TQUIC_QLOG_MODE_FILE,
    TQUIC_QLOG_MODE_NETLINK,
    TQUIC_QLOG_MODE_RING,
    TQUIC_QLOG_MODE_UNIX,
    TQUIC_QLOG_PATH,
    TQUIC_QLOG_RING,
    TQUIC_QLOG_SEV_BASE,
    TQUIC_QLOG_SEV_CORE,
    TQUIC_QLOG_SEV_DEBUG,
    TQUIC_QLOG_SEV_EXTRA,
    TQUIC_QLOG_STATS,
    TQUIC_SESSION_TICKET,
    TQUIC_SO_DATAGRAM,
    TQUIC_SOCKOPT_ADD_PATH,
    TQUIC_SOCKOPT_AF_XDP,
    TQUIC_SOCKOPT_ALPN,
    TQUIC_SOCKOPT_CONGESTION,
    TQUIC_SOCKOPT_INITIAL_MAX_DATA,
    TQUIC_SOCKOPT_INITIAL_MAX_STREAM_DATA_BIDI,
    TQUIC_SOCKOPT_INITIAL_MAX_STREAMS_BIDI,
    TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT,
    TQUIC_SOCKOPT_MULTIPATH_ENABLE,
    TQUIC_SOCKOPT_OFFLOAD_ENABLE,
    TQUIC_SOCKOPT_OFFLOAD_INFO,
    TQUIC_SOCKOPT_SCHEDULER,
    TQUIC_SOCKOPT_STREAM_OPEN,
    TQUIC_SOCKOPT_ZEROCOPY,
    TQUIC_STREAM_FIN,
    TQUIC_STREAM_FLAG_DATAGRAM,
    TQUIC_STREAM_FLAG_FIN,
    TQUIC_STREAM_FLAG_NEW,
    TQUIC_STREAM_FLAG_RESET,
    TQUIC_STREAM_FLAG_UNI,
    TQUIC_STREAM_ID,
    TQUIC_STREAM_INFO,
    TQUIC_STREAM_PRIORITY,
    TQUIC_STREAM_RESET,
)
from tquic._structs import (
    ErrorInfo,
    Info,
    OffloadInfo,
    PathInfo,
    PathValue,
    QlogArgs,
    QlogStats,
    StreamInfo,
    pack_sockaddr,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "AF_INET",
    "AF_INET6",
    "IPPROTO_QUIC",
    "IPPROTO_TQUIC",
    "IPPROTO_TQUIC_DOC",
    "MSG_DONTWAIT",
    "MSG_ERRQUEUE",
    "MSG_FIN",
    "MSG_PEEK",
    "MSG_ZEROCOPY",
    "QLOG_MASK_ALL",
    "SHUT_RD",
    "SHUT_RDWR",
    "SHUT_WR",
    "SOCK_DGRAM",
    "SOL_SOCKET",
    "SOL_TQUIC",
    "SO_ERROR",
    "TQUIC_ACK_DELAY",
    "TQUIC_ALLOW_SELF_SIGNED",
    "TQUIC_CA",
    "TQUIC_CERT",
    "TQUIC_CERT_VERIFY",
    "TQUIC_DATAGRAM",
    "TQUIC_ECN",
    "TQUIC_ERROR",
    "TQUIC_EXPECTED_HOSTNAME",
    "TQUIC_INFO",
    "TQUIC_KEY",
    "TQUIC_MAX_CONNECTIONS",
    "TQUIC_MAX_DATAGRAM",
    "TQUIC_MAX_STREAMS_UNI",
    "TQUIC_MIGRATION",
    "TQUIC_OFFLOAD_CAP_AF_XDP",
    "TQUIC_OFFLOAD_CAP_CPU_AES",
    "TQUIC_OFFLOAD_CAP_CPU_VAES",
    "TQUIC_OFFLOAD_CAP_CRYPTO",
    "TQUIC_OFFLOAD_CAP_GRO",
    "TQUIC_OFFLOAD_CAP_GSO",
    "TQUIC_OFFLOAD_CAP_XDP_ZEROCOPY",
    "TQUIC_OFFLOAD_CRYPTO",
    "TQUIC_PACING",
    "TQUIC_PATH_INFO",
    "TQUIC_PATH_PRIORITY",
    "TQUIC_PATH_WEIGHT",
    "TQUIC_QLOG_ENABLE",
    "TQUIC_QLOG_MODE_DISABLED",
    "TQUIC_QLOG_MODE_FILE",
    "TQUIC_QLOG_MODE_NETLINK",
    "TQUIC_QLOG_MODE_RING",
    "TQUIC_QLOG_MODE_UNIX",
    "TQUIC_QLOG_PATH",
    "TQUIC_QLOG_RING",
    "TQUIC_QLOG_SEV_BASE",
    "TQUIC_QLOG_SEV_CORE",
    "TQUIC_QLOG_SEV_DEBUG",
    "TQUIC_QLOG_SEV_EXTRA",
    "TQUIC_QLOG_STATS",
    "TQUIC_SESSION_TICKET",
    "TQUIC_SOCKOPT_ADD_PATH",
    "TQUIC_SOCKOPT_AF_XDP",
    "TQUIC_SOCKOPT_ALPN",
    "TQUIC_SOCKOPT_CONGESTION",
    "TQUIC_SOCKOPT_INITIAL_MAX_DATA",
    "TQUIC_SOCKOPT_INITIAL_MAX_STREAMS_BIDI",
    "TQUIC_SOCKOPT_INITIAL_MAX_STREAM_DATA_BIDI",
    "TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT",
    "TQUIC_SOCKOPT_MULTIPATH_ENABLE",
    "TQUIC_SOCKOPT_OFFLOAD_ENABLE",
    "TQUIC_SOCKOPT_OFFLOAD_INFO",
    "TQUIC_SOCKOPT_SCHEDULER",
    "TQUIC_SOCKOPT_STREAM_OPEN",
    "TQUIC_SOCKOPT_ZEROCOPY",
    "TQUIC_SO_DATAGRAM",
    "TQUIC_STREAM_FIN",
    "TQUIC_STREAM_FLAG_DATAGRAM",
    "TQUIC_STREAM_FLAG_FIN",
    "TQUIC_STREAM_FLAG_NEW",
    "TQUIC_STREAM_FLAG_RESET",
    "TQUIC_STREAM_FLAG_UNI",
    "TQUIC_STREAM_ID",
    "TQUIC_STREAM_INFO",
    "TQUIC_STREAM_PRIORITY",
    "TQUIC_STREAM_RESET",
    "ErrorInfo",
    "Info",
    "Message",
    "OffloadInfo",
    "PathInfo",
    "PathValue",
    "QlogArgs",
    "QlogStats",
    "StreamInfo",
    "pack_sockaddr",
    "socket",
]

# Written down here, not imported: so they have a place in the reference.
AF_INET: Final = _socket.AF_INET
"""IPv4."""
AF_INET6: Final = _socket.AF_INET6
"""IPv6."""
SOCK_DGRAM: Final = _socket.SOCK_DGRAM
"""The type of QUIC's sockets."""
SOL_SOCKET: Final = _socket.SOL_SOCKET
"""The level of what all sockets have: `SO_ERROR`."""
SO_ERROR: Final = _socket.SO_ERROR
"""Read only: why the connection failed, as an error number; 0 while it has not."""
SHUT_RD: Final = _socket.SHUT_RD
"""For `socket.shutdown`: nothing more is read."""
SHUT_WR: Final = _socket.SHUT_WR
"""For `socket.shutdown`: nothing more is written."""
SHUT_RDWR: Final = _socket.SHUT_RDWR
"""For `socket.shutdown`: neither."""
MSG_DONTWAIT: Final = _socket.MSG_DONTWAIT
"""A call does not wait, whatever the socket's timeout."""
MSG_PEEK: Final = _socket.MSG_PEEK
"""What is received stays there to be received again."""
MSG_ERRQUEUE: Final = _socket.MSG_ERRQUEUE
"""Receives what ``MSG_ZEROCOPY`` has to tell, not data."""

Ancillary: TypeAlias = "tuple[int, int, bytes]"
"""Level, type and data, as `socket.socket.recvmsg` has it."""

T = TypeVar("T")

# Not in Python's module: the origin of notifications of MSG_ZEROCOPY.
_ORIGIN_ZEROCOPY: Final = 5
# IP_RECVERR and IPV6_RECVERR, under which they come.
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
# How long a path is waited for where the socket has no timeout: its own validation gives up before.
_PATH_PATIENCE: Final = 30.0
# How long the end of the process waits for what was written.
_EXIT_PATIENCE: Final = 5.0


class Message(NamedTuple):
    """What `socket.recv_stream` answers."""

    data: bytes
    """The data; empty at an end without any."""
    stream_id: int
    """The stream it came on; 0 for datagrams."""
    flags: int
    """``TQUIC_STREAM_FLAG_...``"""
    reset: int | None = None
    """With which code the peer gave the stream up."""

    @property
    def fin(self) -> bool:
        """Whether the stream ends behind it."""
        return bool(self.flags & TQUIC_STREAM_FLAG_FIN)


class socket:  # noqa: N801
    """A QUIC socket; see the module.

    Args:
        family: AF_INET or AF_INET6.
        type: SOCK_DGRAM, and nothing else.
        proto: IPPROTO_QUIC, or one of its other numbers.

    Raises:
        OSError: as C has it: EAFNOSUPPORT, EPROTONOSUPPORT.
    """

    def __init__(
        self, family: int = AF_INET, type: int = SOCK_DGRAM, proto: int = IPPROTO_QUIC
    ) -> None:
        if family not in (AF_INET, AF_INET6):
            raise OSError(errno.EAFNOSUPPORT, "family must be AF_INET or AF_INET6")
        if type != SOCK_DGRAM or proto not in (IPPROTO_QUIC, IPPROTO_TQUIC, IPPROTO_TQUIC_DOC):
            raise OSError(errno.EPROTONOSUPPORT, "QUIC is SOCK_DGRAM with IPPROTO_QUIC")
        self._family = family
        self._timeout: float | None = _socket.getdefaulttimeout()
        self._native = _engine.Socket(family == AF_INET6)

    @classmethod
    def _of(cls, family: int, native: _engine.Socket) -> Self:
        made = cls.__new__(cls)
        made._family = family
        made._timeout = _socket.getdefaulttimeout()
        made._native = native
        return made

    # ---- What it is ----

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return self._family

    @property
    def type(self) -> int:
        """SOCK_DGRAM."""
        return SOCK_DGRAM

    @property
    def proto(self) -> int:
        """IPPROTO_QUIC."""
        return IPPROTO_QUIC

    def __repr__(self) -> str:
        fd = self.fileno()
        return f"<tquic.socket {'closed' if fd < 0 else f'fd={fd}'}>"

    def fileno(self) -> int:
        """The descriptor, only to be polled; -1 after `close`."""
        return self._native.fileno()

    def getsockname(self) -> tuple[str, int]:
        """Our address. Port 0 has become a real one after `listen` and `connect`."""
        return self._native.name()

    def getpeername(self) -> tuple[str, int]:
        """The peer's address.

        Raises:
            OSError: ENOTCONN.
        """
        return self._native.peer_name()

    # ---- Waiting ----

    def settimeout(self, value: float | None) -> None:
        """Sets how long calls wait, in seconds: 0 not at all, `None` for ever (the default)."""
        if value is not None and not value >= 0:
            raise ValueError("Timeout value out of range")
        self._timeout = value

    def gettimeout(self) -> float | None:
        """How long calls wait; see `settimeout`."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """``settimeout(None)`` or ``settimeout(0)``."""
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """Whether calls wait at all."""
        return self._timeout != 0

    def _wait(self, events: int, flags: int, work: Callable[[], T]) -> T:
        """Does `work` until it does not say that it would block."""
        timeout = 0 if flags & MSG_DONTWAIT else self._timeout
        limit = None
        while True:
            try:
                return work()
            except BlockingIOError:
                if timeout == 0:
                    raise
                if limit is None and timeout is not None:
                    limit = time.monotonic() + timeout
                left = None if limit is None else limit - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError("timed out") from None
                # Looked up at each call: gevent replaces it.
                poller = select.poll()
                poller.register(self.fileno(), events)
                poller.poll(None if left is None else math.ceil(left * 1000))

    # ---- Becoming something ----

    def bind(self, address: tuple[str, int]) -> None:
        """Sets the local address: (numeric host or name, port); ``""`` is any."""
        self._native.bind(*self._resolved(address))

    def listen(self, backlog: int = 128) -> None:
        """Takes connections; TQUIC_CERT and TQUIC_KEY are needed before.

        Raises:
            OSError: EINVAL without a certificate, EADDRINUSE.
        """
        self._native.listen(max(backlog, 1))

    def accept(self) -> tuple[socket, tuple[str, int]]:
        """Waits for the next connection; answers its socket and the client's address."""
        native, address = self._wait(select.POLLIN, 0, self._native.accept)
        return type(self)._of(self._family, native), address

    def connect(self, address: tuple[str, int]) -> None:
        """Connects, and waits until the handshake is complete.

        A host that is not numeric is also what the certificate must be for, unless
        TQUIC_EXPECTED_HOSTNAME was set.

        Raises:
            BlockingIOError: EINPROGRESS: the socket becomes writable when it is decided.
            OSError: ECONNREFUSED, ETIMEDOUT, EPROTO (see `error`), ...
        """
        host, port = self._resolved(address)
        if host != address[0] and not self._native.option(TQUIC_EXPECTED_HOSTNAME):
            self._native.set_option(TQUIC_EXPECTED_HOSTNAME, address[0].encode(), 0)
        self._native.connect(host, port)
        self._wait(select.POLLOUT, 0, self._native.progress)

    def connect_ex(self, address: tuple[str, int]) -> int:
        """As `connect`, but answers the error number, 0 for none."""
        try:
            self.connect(address)
        except OSError as error:
            if error.errno is None:
                raise
            return error.errno
        return 0

    def _resolved(self, address: tuple[str, int]) -> tuple[str, int]:
        host, port = address[:2]
        if not host:
            return ("::" if self._family == AF_INET6 else "0.0.0.0"), port
        found = _socket.getaddrinfo(host, port, self._family, SOCK_DGRAM)
        return str(found[0][4][0]), port

    # ---- Sending ----

    def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
        flags: int = 0,
        address: None = None,
    ) -> int:
        """Sends to the stream that TQUIC_STREAM_ID names; answers how many bytes were taken.

        Streams are opened by their first use. Without a name it is the stream that was used last,
        or the first bidirectional one of this end. A socket that waits takes everything, unless
        the buffer is lent: then perhaps less.

        Args:
            buffers: the data.
            ancdata: (SOL_TQUIC, type, data): TQUIC_STREAM_ID, TQUIC_STREAM_PRIORITY,
                TQUIC_STREAM_RESET, TQUIC_STREAM_FIN, TQUIC_DATAGRAM.
            flags: MSG_FIN, MSG_DONTWAIT, MSG_ZEROCOPY (see TQUIC_SOCKOPT_ZEROCOPY).
            address: connections have one peer: none.

        Raises:
            BlockingIOError: there is no room.
            BrokenPipeError: the stream takes no more.
            OSError: EINVAL, EMSGSIZE (datagrams), ENOTCONN, and how the connection ended.
        """
        parts = list(buffers)
        zerocopy = bool(flags & MSG_ZEROCOPY)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        named = _named(ancdata)
        fin = bool(flags & MSG_FIN) or TQUIC_STREAM_FIN in named
        return self._send_all(
            data,
            flags,
            stream=named.get(TQUIC_STREAM_ID),
            fin=fin,
            datagram=TQUIC_DATAGRAM in named,
            reset=named.get(TQUIC_STREAM_RESET),
            priority=named.get(TQUIC_STREAM_PRIORITY),
            zerocopy=zerocopy,
        )

    def _send_all(
        self,
        data: ReadableBuffer,
        flags: int = 0,
        *,
        stream: int | None = None,
        fin: bool = False,
        datagram: bool = False,
        reset: int | None = None,
        priority: int | None = None,
        zerocopy: bool = False,
    ) -> int:
        view, sent = memoryview(data).cast("B"), 0
        while True:
            rest = view[sent:] if sent else data

            def work(rest: ReadableBuffer = rest) -> int:
                return self._native.send(
                    rest,
                    stream=stream,
                    fin=fin,
                    datagram=datagram,
                    reset=reset,
                    priority=priority,
                    zerocopy=zerocopy,
                )

            try:
                sent += self._wait(select.POLLOUT, flags, work)
            except OSError:
                # What has gone has gone.
                if sent:
                    return sent
                raise
            # A loan has one number for each call.
            if sent >= len(view) or reset is not None or zerocopy:
                return sent

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """`sendmsg` without ancillary data."""
        return self.sendmsg([data], (), flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """Sends everything.

        Raises:
            TimeoutError: only part of it was taken in time.
        """
        if self.send(data, flags) < memoryview(data).nbytes:
            raise TimeoutError("timed out: only part of it was sent")

    def shutdown(self, how: int) -> None:
        """Ends one or both directions of all streams; what was written is still delivered.

        Args:
            how: SHUT_RD, SHUT_WR or SHUT_RDWR.
        """
        if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
            raise ValueError("how must be SHUT_RD, SHUT_WR or SHUT_RDWR")
        self._native.shutdown(how != SHUT_WR, how != SHUT_RD)

    # ---- Receiving ----

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0
    ) -> tuple[bytes, list[Ancillary], int, tuple[str, int] | None]:
        """Waits for a message of any stream: data, ancillary data, flags and the peer's address.

        The ancillary data is TQUIC_STREAM_INFO, a `StreamInfo`; where the peer gave the stream up
        TQUIC_STREAM_RESET as well. Without data and ancillary data the connection has ended in good
        order.

        Args:
            bufsize: the most bytes; the rest of a stream's stays, that of a datagram is lost
                (MSG_TRUNC).
            ancbufsize: bytes of ancillary data, with headers; what does not fit is left out
                (MSG_CTRUNC).
            flags: MSG_PEEK, MSG_DONTWAIT; MSG_ERRQUEUE asks for notifications of MSG_ZEROCOPY and
                never waits.

        Raises:
            BlockingIOError: there is nothing.
            OSError: how the connection ended, if not in good order.
        """
        if flags & MSG_ERRQUEUE:
            return self._notification(ancbufsize)
        data, info, reset, truncated = self._recv(bufsize, flags)
        ancillary: list[Ancillary] = []
        if info is not None:
            ancillary.append((SOL_TQUIC, TQUIC_STREAM_INFO, StreamInfo(*info).pack()))
        if reset is not None:
            ancillary.append((SOL_TQUIC, TQUIC_STREAM_RESET, struct.pack("=Q", reset)))
        ancillary, out = _fitting(ancillary, ancbufsize)
        if truncated:
            out |= _socket.MSG_TRUNC
        return data, ancillary, out, self.getpeername()

    def _recv(self, size: int, flags: int) -> tuple[bytes, tuple[int, int] | None, int | None, int]:
        peek = bool(flags & MSG_PEEK)
        return self._wait(select.POLLIN, flags, lambda: self._native.recv(size, peek))

    def _notification(
        self, ancbufsize: int
    ) -> tuple[bytes, list[Ancillary], int, tuple[str, int] | None]:
        first, last = self._native.recv_error()
        error = struct.pack("=IBBBBII", 0, _ORIGIN_ZEROCOPY, 0, 0, 0, first, last)
        six = self._family == AF_INET6
        level = _socket.IPPROTO_IPV6 if six else _socket.IPPROTO_IP
        kind = _IPV6_RECVERR if six else _IP_RECVERR
        ancillary, out = _fitting([(level, kind, error)], ancbufsize)
        return b"", ancillary, MSG_ERRQUEUE | out, None

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """The data of the next message; ``b""`` is the end of a stream, or of the connection."""
        return self._recv(bufsize, flags)[0]

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """The same into a buffer."""
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, tuple[str, int]]:
        """`recv`, and the peer's address."""
        return self.recv(bufsize, flags), self.getpeername()

    # ---- Options ----

    def setsockopt(self, level: int, optname: int, value: int | str | ReadableBuffer) -> None:
        """Sets an option of SOL_TQUIC: bytes laid out as in C; an integer is an ``int``.

        Raises:
            OSError: EINVAL, ERANGE, ENOPROTOOPT, EOPNOTSUPP, EISCONN: too late; the text says why.
        """
        if level != SOL_TQUIC:
            raise OSError(errno.ENOPROTOOPT, "options are at the level SOL_TQUIC")
        if isinstance(value, int):
            value = struct.pack("=q" if value > 0xFFFF_FFFF else "=I", value)
        elif isinstance(value, str):
            value = value.encode()
        timeout = _PATH_PATIENCE if self._timeout is None else self._timeout
        self._native.set_option(optname, bytes(value), timeout)

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> int | bytes:
        """Reads an option: as an integer, or with a length at most so many bytes laid out as in C.

        Raises:
            OSError: ENOPROTOOPT, ENOTCONN.
        """
        if level == SOL_SOCKET and optname == SO_ERROR:
            return self._native.error
        if level == SOL_SOCKET and optname == _socket.SO_ACCEPTCONN:
            return int(self._native.listening)
        if level != SOL_TQUIC:
            raise OSError(errno.ENOPROTOOPT, "options are at the level SOL_TQUIC")
        # What is too much for the room, this one leaves out at its beginning.
        room = bytes(buflen) if optname == TQUIC_QLOG_RING else b""
        value = self._native.option(optname, room)
        if buflen:
            return value[:buflen]
        return int.from_bytes(value[:8], sys.byteorder)

    # ---- The same with types ----

    def open_stream(self, stream: int | None = None, *, unidirectional: bool = False) -> int:
        """TQUIC_SOCKOPT_STREAM_OPEN: opens a stream, by default the next, and answers its ID."""
        flags = TQUIC_STREAM_FLAG_UNI if unidirectional else 0
        if stream is not None:
            self.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_STREAM_OPEN, StreamInfo(stream, flags).pack())
            return stream
        value = self._native.option(TQUIC_SOCKOPT_STREAM_OPEN, StreamInfo(0, flags).pack())
        return StreamInfo.unpack(value).stream_id

    def send_stream(
        self,
        stream: int | None,
        data: ReadableBuffer,
        *,
        fin: bool = False,
        priority: int | None = None,
    ) -> int:
        """`sendmsg` to a stream; `fin` ends it."""
        return self._send_all(data, stream=stream, fin=fin, priority=priority)

    def recv_stream(self, bufsize: int = 65_536) -> Message | None:
        """`recvmsg` with its stream; `None` when the connection has ended in good order."""
        data, info, reset, _ = self._recv(bufsize, 0)
        return None if info is None else Message(data, *info, reset)

    def reset_stream(self, stream: int, code: int = 0) -> None:
        """Gives up sending on a stream (RESET_STREAM)."""
        self._send_all(b"", stream=stream, reset=code)

    def send_datagram(self, data: ReadableBuffer) -> None:
        """Sends an unreliable datagram; TQUIC_SO_DATAGRAM must be on at the peer."""
        self._send_all(data, datagram=True)

    def add_path(self, host: str, port: int = 0) -> None:
        """TQUIC_SOCKOPT_ADD_PATH: another path from a local address; waits until it works."""
        self.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_ADD_PATH, pack_sockaddr(host, port))

    def set_path_backup(self, path: int, *, backup: bool) -> None:
        """TQUIC_PATH_PRIORITY: whether a path is used only when no other can be."""
        self.setsockopt(SOL_TQUIC, TQUIC_PATH_PRIORITY, PathValue(path, int(not backup)).pack())

    def set_path_weight(self, path: int, weight: int) -> None:
        """TQUIC_PATH_WEIGHT: the capacity of a path in Mbit/s, 0 as measured."""
        self.setsockopt(SOL_TQUIC, TQUIC_PATH_WEIGHT, PathValue(path, weight).pack())

    def info(self) -> Info:
        """TQUIC_INFO: state and counters."""
        return Info.unpack(self._native.option(TQUIC_INFO))

    def paths(self) -> tuple[PathInfo, ...]:
        """TQUIC_PATH_INFO: the paths of the connection."""
        return PathInfo.unpack_all(self._native.option(TQUIC_PATH_INFO))

    def error(self) -> ErrorInfo:
        """TQUIC_ERROR: why the connection ended."""
        return ErrorInfo.unpack(self._native.option(TQUIC_ERROR))

    def qlog_stats(self) -> QlogStats:
        """TQUIC_QLOG_STATS: events written down, and lost."""
        return QlogStats.unpack(self._native.option(TQUIC_QLOG_STATS))

    def qlog_ring(self) -> str:
        """TQUIC_QLOG_RING: the newest events, as a qlog file would have them.

        Raises:
            OSError: EINVAL: this is not the mode, or the handshake is not over.
        """
        return bytes(self._native.option(TQUIC_QLOG_RING)).decode()

    def offload(self) -> OffloadInfo:
        """TQUIC_SOCKOPT_OFFLOAD_INFO: what this host can do."""
        return OffloadInfo.unpack(self._native.option(TQUIC_SOCKOPT_OFFLOAD_INFO))

    # ---- The end ----

    def close(self) -> None:
        """Closes it. What was written is delivered behind it, within 5 s."""
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: object,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _named(ancdata: Iterable[tuple[int, int, ReadableBuffer]]) -> dict[int, int]:
    """The values of ancillary data, by type."""
    known = {
        TQUIC_STREAM_ID: 8,
        TQUIC_STREAM_PRIORITY: 4,
        TQUIC_STREAM_RESET: 8,
        TQUIC_STREAM_FIN: 0,
        TQUIC_DATAGRAM: 0,
    }
    named = {}
    for level, kind, data in ancdata:
        if level != SOL_TQUIC or kind not in known:
            raise OSError(errno.EINVAL, "ancillary data of an unknown type")
        value = bytes(data)
        if len(value) < known[kind]:
            raise OSError(errno.EINVAL, f"ancillary data {kind} has {known[kind]} bytes")
        named[kind] = int.from_bytes(value[: known[kind]], sys.byteorder)
    return named


def _fitting(ancillary: list[Ancillary], room: int) -> tuple[list[Ancillary], int]:
    """What fits into a control buffer, and the flag for what does not."""
    fits: list[Ancillary] = []
    for entry in ancillary:
        if _socket.CMSG_LEN(len(entry[2])) > room:
            return fits, _socket.MSG_CTRUNC
        room -= _socket.CMSG_SPACE(len(entry[2]))
        fits.append(entry)
    return fits, 0


atexit.register(_engine.finish_sockets, _EXIT_PATIENCE)
