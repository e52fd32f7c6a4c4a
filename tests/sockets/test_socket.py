"""Sockets as programs for Python's own `socket` use them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import struct
import threading
from collections.abc import Callable

import pytest

import tquic
from tquic.socket import *

from .conftest import LONG, Identity

Make = Callable[..., socket]
Pair = Callable[..., tuple[socket, socket]]


def test_streams_with_types(pair: Pair) -> None:
    client, server = pair()
    one, two = client.open_stream(), client.open_stream(unidirectional=True)
    assert (one, two) == (0, 2)
    assert client.send_stream(two, b"one way", fin=True) == 7
    message = server.recv_stream()
    assert message is not None
    assert (message.data, message.stream_id, message.fin) == (b"one way", 2, True)
    assert message.flags & ~TQUIC_STREAM_FLAG_FIN == TQUIC_STREAM_FLAG_NEW | TQUIC_STREAM_FLAG_UNI
    client.send_stream(one, b"a", priority=1)
    assert server.recv(10) == b"a"
    # To the stream that was used last.
    server.sendall(b"answer", MSG_FIN)
    message = client.recv_stream(3)
    assert message == (b"ans", 0, 0, None)
    assert client.recv_stream() == (b"wer", 0, TQUIC_STREAM_FLAG_FIN, None)
    client.reset_stream(one, 42)
    message = server.recv_stream()
    assert message is not None
    assert (message.reset, message.flags) == (42, TQUIC_STREAM_FLAG_RESET)
    with pytest.raises(BrokenPipeError):
        client.send_stream(one, b"more")
    client.close()
    assert server.recv_stream() is None
    assert client.fileno() == -1
    with pytest.raises(OSError, match="closed") as bad:
        client.send(b"x")
    assert bad.value.errno == errno.EBADF


def test_much_data_both_ways(pair: Pair) -> None:
    client, server = pair()
    data = os.urandom(1 << 20) * 12

    def echo() -> None:
        while message := server.recv_stream():
            server.send_stream(message.stream_id, message.data, fin=message.fin)
            if message.fin:
                return

    thread = threading.Thread(target=echo)
    thread.start()
    sender = threading.Thread(target=client.send_stream, args=(0, data), kwargs={"fin": True})
    sender.start()
    got = bytearray()
    while True:
        message = client.recv_stream(1 << 18)
        assert message is not None
        got += message.data
        if message.fin:
            break
    thread.join(LONG)
    sender.join(LONG)
    assert got == data


def test_close_delivers_what_was_written(pair: Pair) -> None:
    client, server = pair()
    client.settimeout(0)
    size = client.send_stream(0, bytes(4_000_000))
    client.close()
    read = 0
    while data := server.recv(1 << 20):
        read += len(data)
    assert read == size > 0


def test_timeouts(pair: Pair) -> None:
    client, _ = pair()
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.setblocking(False)
    assert (client.gettimeout(), client.getblocking()) == (0, False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    client.setblocking(True)
    with pytest.raises(BlockingIOError):
        client.recv(1, MSG_DONTWAIT)
    with pytest.raises(ValueError, match="range"):
        client.settimeout(-1)


def test_peek_truncate_and_recv_into(pair: Pair) -> None:
    client, server = pair(lambda end: end.setsockopt(SOL_TQUIC, TQUIC_SO_DATAGRAM, 1))
    client.send(b"hello")
    assert server.recv(2, MSG_PEEK) == b"he"
    buffer = bytearray(3)
    assert (server.recv_into(buffer), buffer) == (3, b"hel")
    assert server.recvfrom(10) == (b"lo", client.getsockname())
    assert client.getsockopt(SOL_TQUIC, TQUIC_MAX_DATAGRAM) > 1000  # type: ignore[operator]
    client.send_datagram(b"short")
    data, ancillary, flags, _ = server.recvmsg(3, 64)
    assert (data, bool(flags & 0x20)) == (b"sho", True)
    assert StreamInfo.unpack(ancillary[0][2]).flags == TQUIC_STREAM_FLAG_DATAGRAM
    with pytest.raises(OSError, match="bytes at most") as long:
        client.send_datagram(bytes(5000))
    assert long.value.errno == errno.EMSGSIZE
    client.send(b"x")
    # No room for ancillary data.
    assert server.recvmsg(3)[1:3] == ([], 0x8)


def test_what_polls_sees(make: Make) -> None:
    listener, client = make(server=True), make()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    client.setblocking(False)
    with pytest.raises(BlockingIOError) as begun:
        client.connect(listener.getsockname())
    assert begun.value.errno == errno.EINPROGRESS
    assert client.connect_ex(listener.getsockname()) == errno.EALREADY
    assert select.select([listener], [], [], LONG)[0] == [listener]
    server, _ = listener.accept()
    poller = select.epoll()
    poller.register(client, select.EPOLLIN | select.EPOLLOUT)
    assert poller.poll(LONG) == [(client.fileno(), select.EPOLLOUT)]
    server.send(b"news")
    poller.modify(client, select.EPOLLIN)
    assert poller.poll(LONG) == [(client.fileno(), select.EPOLLIN)]
    assert client.recv(2) == b"ne"
    assert poller.poll(0) == [(client.fileno(), select.EPOLLIN)]
    assert client.recv(100) == b"ws"
    assert poller.poll(0) == []
    # Until there is no room.
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 1 << 30:
            sent += client.send(bytes(1 << 20))
    assert sent < 1 << 30
    poller.modify(client, select.EPOLLOUT)
    assert poller.poll(0) == []
    poller.close()
    server.settimeout(LONG)
    while sent > 0:
        sent -= len(server.recv(1 << 20))
    assert select.select([], [client], [], LONG)[1] == [client]
    server.close()


async def test_event_loops_wait_for_it(pair: Pair) -> None:
    client, server = pair()
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(client, readable.set)
    await asyncio.to_thread(server.send, b"hello")
    await asyncio.wait_for(readable.wait(), LONG)
    loop.remove_reader(client)
    assert client.recv(10) == b"hello"


async def test_against_the_asyncio_interface(make: Make, identity: Identity) -> None:
    async def handler(connection: tquic.Connection) -> None:
        stream = await connection.accept_stream()
        await stream.write(b"re: " + await stream.read())
        stream.finish()
        await connection.wait_closed()

    config = tquic.Config(cert=identity.cert, key=identity.key)
    async with tquic.serve("127.0.0.1", 0, handler, config=config) as server:
        client = make()

        def talk() -> tquic.socket.Message | None:
            client.connect(server.address)
            client.sendall(b"question", MSG_FIN)
            return client.recv_stream()

        message = await asyncio.to_thread(talk)
        assert message is not None
        assert message.data == b"re: question"
        await asyncio.to_thread(client.close)


def test_ipv6_and_names(make: Make) -> None:
    listener, client = make(AF_INET6, server=True), make(AF_INET6)
    listener.bind(("::1", 0))
    listener.listen()
    client.connect(("::1", listener.getsockname()[1]))
    assert client.getpeername() == listener.getsockname()
    assert client.getsockname()[0] == "::1"
    other = make()
    with pytest.raises(OSError, match="family"):
        other._native.connect("::1", 1)


def test_options_are_told_from_wrong_ones(pair: Pair, make: Make) -> None:
    with pytest.raises(OSError, match="family") as wrong:
        socket(1, SOCK_DGRAM, IPPROTO_QUIC)
    assert wrong.value.errno == errno.EAFNOSUPPORT
    with pytest.raises(OSError, match="SOCK_DGRAM"):
        socket(AF_INET, SOCK_DGRAM, 17)
    for number in (253, 263):
        socket(AF_INET, SOCK_DGRAM, number).close()
    fd = make()
    for option, value, number in [
        (TQUIC_SOCKOPT_CONGESTION, "fast", errno.EINVAL),
        (TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT, 1 << 40, errno.ERANGE),
        (9999, 1, errno.ENOPROTOOPT),
        (TQUIC_SOCKOPT_STREAM_OPEN, StreamInfo(0).pack(), errno.ENOTCONN),
        (TQUIC_SOCKOPT_ADD_PATH, pack_sockaddr("127.0.0.1"), errno.ENOTCONN),
    ]:
        with pytest.raises(OSError, match=r"\w") as refused:
            fd.setsockopt(SOL_TQUIC, option, value)
        assert refused.value.errno == number, option
    with pytest.raises(OSError, match="SOL_TQUIC"):
        fd.setsockopt(SOL_SOCKET, 1, 1)
    with pytest.raises(OSError, match="not connected"):
        fd.getpeername()
    bare = socket()
    with pytest.raises(OSError, match="TQUIC_CERT"):
        bare.listen()
    bare.close()
    client, _ = pair()
    with pytest.raises(OSError, match="set before") as late:
        client.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_ALPN, "h3")
    assert late.value.errno == errno.EISCONN
    with pytest.raises(OSError, match="unknown type"):
        client.sendmsg([b"x"], [(SOL_TQUIC, 9999, b"")])
    with pytest.raises(OSError, match="8 bytes"):
        client.sendmsg([b"x"], [(SOL_TQUIC, TQUIC_STREAM_ID, b"1")])


def test_an_untrusted_server(make: Make) -> None:
    listener = make(server=True)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    client = socket()
    client.settimeout(LONG)
    with pytest.raises(OSError, match=r"\w"):
        client.connect(listener.getsockname())
    assert client.getsockopt(SOL_SOCKET, SO_ERROR) == errno.EPROTO
    assert client.error().code & 0x100
    assert client.connect_ex(("127.0.0.1", 1)) == errno.EISCONN
    client.close()
    careless = socket()
    careless.setsockopt(SOL_TQUIC, TQUIC_CERT_VERIFY, 0)
    careless.connect(listener.getsockname())
    careless.close()


def test_backups_and_weights(pair: Pair) -> None:
    client, _ = pair(lambda end: end.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_MULTIPATH_ENABLE, 1))
    client.add_path("127.0.0.3")
    client.set_path_backup(1, backup=True)
    client.set_path_weight(1, 100)
    assert client.paths()[1].state == 0x101
    assert client.info().paths == 2
    with pytest.raises(OSError, match="path"):
        client.set_path_weight(9, 1)


def test_shutdown(pair: Pair) -> None:
    client, server = pair()
    client.send(b"last")
    client.shutdown(1)
    got = b""
    while message := server.recv_stream():
        got += message.data
        if message.fin:
            break
    assert got == b"last"
    with pytest.raises(BrokenPipeError):
        client.send(b"x")
    server.shutdown(0)
    assert server.recv(1) == b""
    with pytest.raises(ValueError, match="SHUT_RD"):
        server.shutdown(7)


def test_numbers_are_those_of_the_engine() -> None:
    from tquic import _engine, _numbers, socket

    known = dict(_engine.socket_numbers())
    named = {name for name in vars(_numbers) if name.isupper()}
    assert named <= set(socket.__all__)
    named -= {"MSG_ZEROCOPY", "QLOG_MASK_ALL"}
    assert {name: getattr(_numbers, name) for name in named} == known
    assert struct.calcsize("=IIQII") == len(QlogArgs(0).pack())


def test_a_child_has_sockets_of_its_own(pair: Pair) -> None:
    client, server = pair()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            fresh = socket()
            fresh.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    client.send(b"still here")
    assert server.recv(20) == b"still here"
