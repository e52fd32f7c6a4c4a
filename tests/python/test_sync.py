"""The blocking interface: threads, select, timeouts, Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import logging
import random
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tquic
import tquic.sync

MB = 1_000_000
LIMIT = 60.0


def echo(connection: tquic.sync.Connection) -> None:
    for stream in connection:
        for chunk in stream:
            stream.write(chunk)
        stream.finish()


@pytest.fixture
def server(server_config: tquic.Config) -> Iterator[tquic.sync.Server]:
    with tquic.sync.serve("127.0.0.1", 0, echo, config=server_config) as server:
        yield server


@pytest.fixture
def client(
    server: tquic.sync.Server, client_config: tquic.Config
) -> Iterator[tquic.sync.Connection]:
    with tquic.sync.connect(*server.address, config=client_config, timeout=LIMIT) as connection:
        yield connection


@pytest.fixture
def pair(server_config: tquic.Config, client_config: tquic.Config) -> Iterator[Any]:
    with (
        tquic.sync.serve("127.0.0.1", 0, config=server_config, timeout=LIMIT) as server,
        tquic.sync.connect(*server.address, config=client_config, timeout=LIMIT) as near,
        server.accept(LIMIT) as far,
    ):
        yield near, far


def test_ways_of_reading_and_writing(client: tquic.sync.Connection) -> None:
    stream = client.open_stream()
    assert stream.write(b"a line\nten bytes.and the rest") == 29
    stream.finish()
    assert stream.readuntil() == b"a line\n"
    assert stream.readexactly(10) == b"ten bytes."
    place = bytearray(3)
    assert stream.read_into(place) == 3
    assert place == b"and"
    assert stream.read(1) == b" "
    assert b"".join(bytes(chunk) for chunk in stream) == b"the rest"
    assert stream.read() == b""
    assert stream.at_eof()
    stream.wait_finished()
    other = client.open_stream()
    assert other.write(b"all of it", finish=True) == 9
    assert other.read() == b"all of it"
    with pytest.raises(EOFError):
        stream.readexactly(1)
    with pytest.raises(tquic.StreamClosed):
        stream.write(b"x")
    assert (stream.readable, stream.writable, stream.early) == (True, True, False)
    assert stream.connection is client


def test_what_a_connection_can_do(pair: Any) -> None:
    near, far = pair
    assert (near.is_client, far.is_client) == (True, False)
    assert near.alpn == far.alpn == "tquic"
    assert 0 < near.ping() < 60
    assert near.paths()[0].remote == near.remote_address
    assert near.send_datagram(b"datagram")
    assert far.recv_datagram() == b"datagram"
    near.drain_datagrams()
    stream = near.open_stream(unidirectional=True)
    stream.set_priority(1)
    stream.write(bytes(100_000))
    stream.finish()
    assert len(far.accept_stream().read()) == 100_000
    near.flush()
    assert near.update_keys()
    near.migrate("127.0.0.2")
    assert near.paths()[0].local[0] == "127.0.0.2"
    far.close(9, "enough")
    near.wait_closed()
    assert near.exception.code == 9
    with pytest.raises(tquic.ApplicationClosed, match="enough"):
        near.open_stream()
    with pytest.raises(tquic.ApplicationClosed):
        list(near)


def test_resets(pair: Any) -> None:
    near, far = pair
    there = near.open_stream()
    there.write(b"x")
    here = far.accept_stream()
    assert here.read(1) == b"x"
    there.reset(5)
    with pytest.raises(tquic.StreamReset):
        here.read()
    there.stop(6)

    def go_on() -> None:
        while True:
            here.write(bytes(10_000))

    with pytest.raises(tquic.StreamStopped):
        go_on()


def test_files(pair: Any, tmp_path: Path) -> None:
    near, far = pair
    data = random.Random(1).randbytes(3 * MB)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    there = near.open_stream(unidirectional=True)
    sending = threading.Thread(target=there.send_file, args=(source,))
    sending.start()
    assert far.accept_stream().recv_to_file(target) == len(data)
    sending.join()
    assert target.read_bytes() == data

    there = near.open_stream(unidirectional=True)
    there.write(b"begin")
    here = far.accept_stream()
    here.settimeout(0.01)
    with pytest.raises(TimeoutError):
        here.recv_to_file(target)
    with pytest.raises(tquic.StreamClosed):
        here.read()


def test_file_objects(client: tquic.sync.Connection) -> None:
    stream = client.open_stream()
    with stream.makefile("wb") as out:
        print("one", "two", sep="\n", file=(text := io.TextIOWrapper(out)))
        text.detach()
    stream.finish()
    with stream.makefile("rb") as lines:
        assert list(lines) == [b"one\n", b"two\n"]
    with pytest.raises(ValueError, match="mode"):
        stream.makefile("r")  # type: ignore[call-overload]


def test_timeouts_lose_nothing(pair: Any) -> None:
    near, far = pair
    there = near.open_stream()
    there.write(b"half")
    here = far.accept_stream()
    here.settimeout(0.02)
    for read in (lambda: here.readexactly(8), here.read, lambda: here.readuntil(b"!")):
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            read()
        assert time.monotonic() - begun >= 0.02
    there.write(b"done")
    there.finish()
    here.settimeout(LIMIT)
    assert here.readexactly(8) == b"halfdone"
    far.settimeout(0.01)
    for wait in (far.accept_stream, far.recv_datagram, far.wait_closed):
        with pytest.raises(TimeoutError):
            wait()
    with pytest.raises(ValueError, match="timeout"):
        far.settimeout(-1)


def test_a_reader_that_stops_blocks_the_writer(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    data = random.Random(2).randbytes(10 * MB)
    small = client_config.replace(send_buffer=1 << 20, write_buffer=12 * MB)
    with (
        tquic.sync.serve("127.0.0.1", 0, config=server_config, timeout=LIMIT) as server,
        tquic.sync.connect(*server.address, config=small, timeout=LIMIT) as near,
        server.accept(LIMIT) as far,
    ):
        there = near.open_stream(unidirectional=True)
        there.settimeout(0.05)
        # All of it is queued all the same.
        with pytest.raises(TimeoutError):
            there.write(data)
        with pytest.raises(TimeoutError):
            there.drain()
        there.settimeout(0)
        with pytest.raises(BlockingIOError):
            there.write(b"refused")
        there.settimeout(LIMIT)
        here = far.accept_stream()
        got: list[bytes] = []
        reading = threading.Thread(target=lambda: got.append(here.read()))
        reading.start()
        there.drain()
        there.finish()
        reading.join()
        assert got == [data]


def test_a_server_that_is_not_there(client_config: tquic.Config) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        address = silent.getsockname()
        with pytest.raises(TimeoutError) as caught:
            tquic.sync.connect(*address, config=client_config, timeout=0.1)
        assert not isinstance(caught.value, tquic.HandshakeTimeout)
        with pytest.raises(tquic.HandshakeTimeout, match="no handshake"):
            tquic.sync.connect(*address, config=client_config.replace(handshake_timeout=0.05))


def test_threads_on_different_streams(client: tquic.sync.Connection) -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            data = random.Random(seed).randbytes(300_000)
            for _ in range(5):
                stream = client.open_stream()
                stream.write(data)
                stream.finish()
                assert stream.read() == data
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert not failures
    assert not client._inner._streams


def test_a_thread_ends_what_another_waits_for(client: tquic.sync.Connection) -> None:
    stream = client.open_stream()
    stream.write(b"x")
    assert stream.read(1) == b"x"
    failed: list[BaseException] = []

    def read() -> None:
        try:
            stream.read(1)
        except tquic.StreamClosed as error:
            failed.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    while not stream._inner._in.busy:
        time.sleep(0.001)
    with pytest.raises(RuntimeError, match="another"):
        stream.read(1)
    stream.stop()
    reading.join(LIMIT)
    assert failed


def test_select(pair: Any) -> None:
    near, far = pair
    for one, other in ((near, far), (far, near)):
        there = one.open_stream()
        there.write(b"first")
        here = other.accept_stream()
        assert here.readexactly(5) == b"first"
        here.settimeout(0)
        assert here.fileno() == other.fileno()
        with pytest.raises(BlockingIOError):
            here.read(100)
        for number in range(20):
            there.write(b"%d" % number)
            got = b""
            while got != b"%d" % number:
                # Other events may wake it as well: acknowledgements, say.
                assert select.select([here], [], [], LIMIT)[0] == [here]
                try:
                    got += here.read(100)
                except BlockingIOError:
                    continue
            with pytest.raises(BlockingIOError):
                here.read(100)
        assert here.pending() == 0


def test_handlers(
    server_config: tquic.Config, client_config: tquic.Config, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(connection: tquic.sync.Connection) -> None:
        if connection.accept_stream().read() == b"fail":
            raise ZeroDivisionError

    with tquic.sync.serve("127.0.0.1", 0, handler, config=server_config) as server:
        for text, code in ((b"fine", 0), (b"fail", 1)):
            with (
                caplog.at_level(logging.ERROR, "tquic.server"),
                tquic.sync.connect(*server.address, config=client_config) as connection,
            ):
                stream = connection.open_stream()
                stream.write(text)
                stream.finish()
                connection.settimeout(LIMIT)
                connection.wait_closed()
                assert connection.exception is not None
                assert connection.exception.code == code
        with pytest.raises(RuntimeError, match="handler"):
            server.accept()
        assert server.accepting
    assert "ZeroDivisionError" in caplog.text
    assert not server.accepting
    assert not server._handlers


def test_connections_leave_nothing(server: tquic.sync.Server, client_config: tquic.Config) -> None:
    def connections(count: int) -> None:
        for _ in range(count):
            with tquic.sync.connect(*server.address, config=client_config) as connection:
                stream = connection.open_stream()
                stream.write(b"x")
                assert stream.readexactly(1) == b"x"

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0

    connections(5)
    gc.collect()
    before = descriptors()
    connections(50)
    gc.collect()
    # A handler of the last ones may be about to end.
    assert descriptors() <= before + 4
    assert threading.active_count() < 10


def test_a_forgotten_connection_is_closed(pair: Any, client_config: tquic.Config) -> None:
    with tquic.sync.serve("127.0.0.1", 0, config=pair[1].config, timeout=LIMIT) as server:
        connections = [tquic.sync.connect(*server.address, config=client_config)]
        far = server.accept(LIMIT)
        with pytest.warns(ResourceWarning, match="not closed"):
            connections.clear()
        far.wait_closed()


def test_a_closed_connection_is_not_forgotten(pair: Any, client_config: tquic.Config) -> None:
    """Nobody looks at what happens to it after it was closed."""
    with tquic.sync.serve("127.0.0.1", 0, config=pair[1].config, timeout=LIMIT) as server:
        connections = [tquic.sync.connect(*server.address, config=client_config)]
        far = server.accept(LIMIT)
        connections[0].close()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            connections.clear()
        assert not told
        far.wait_closed()


def test_blocking_and_asyncio_meet(server: tquic.sync.Server, client_config: tquic.Config) -> None:
    async def ask() -> bytes:
        async with tquic.connect(*server.address, config=client_config) as connection:
            stream = connection.open_stream()
            await stream.write(b"x")
            stream.finish()
            return await stream.read()

    assert asyncio.run(ask()) == b"x"


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize("others", [0, 1])
def test_ctrl_c_reaches_a_blocked_read(others: int, tmp_path: Path, identity: Any) -> None:
    script = f"""
import threading, time, tquic, tquic.sync
from pathlib import Path
folder = Path({str(tmp_path)!r})
config = tquic.Config(cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))
with tquic.sync.serve("127.0.0.1", 0, config=config, timeout=60) as server:
    trusting = tquic.Config(ca=str(folder / "ca.pem"))
    with tquic.sync.connect(*server.address, config=trusting) as near:
        far = server.accept(60)
        there, here = near.open_stream(), None
        there.write(b"x")
        here = far.accept_stream()
        for _ in range({others}):
            # It leads; the main thread follows.
            threading.Thread(target=lambda: near.wait_closed(), daemon=True).start()
            time.sleep(0.1)
        try:
            print("reading", flush=True)
            there.read()
        except KeyboardInterrupt:
            here.write(b"still works")
            here.finish()
            print(there.read().decode(), flush=True)
"""
    (tmp_path / "ca.pem").write_bytes(identity.ca)
    (tmp_path / "cert.pem").write_bytes(identity.cert)
    (tmp_path / "key.pem").write_bytes(identity.key)
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "reading\n", child.communicate(timeout=LIMIT)
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=LIMIT)
    finally:
        child.kill()
    assert out == "still works\n", err
    assert child.returncode == 0, err


def test_a_server_that_one_thread_polls(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    with tquic.sync.serve("127.0.0.1", 0, config=server_config) as server:
        poller = selectors.DefaultSelector()
        poller.register(server, selectors.EVENT_READ)
        accepted: list[tquic.sync.Connection] = []

        def take(wanted: int) -> None:
            while len(accepted) < wanted:
                assert poller.select(LIMIT)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        accepted.append(server.accept(timeout=0))

        for number in range(1, 4):
            with tquic.sync.connect(*server.address, config=client_config):
                take(number)
        assert poller.select(0) == []
        server.stop_accepting()
        assert poller.select(LIMIT)
        with pytest.raises(tquic.EngineError):
            server.accept(timeout=0)
        poller.close()
    with (
        tquic.sync.serve("127.0.0.1", 0, lambda _: None, config=server_config) as server,
        pytest.raises(RuntimeError, match="the handler takes care"),
    ):
        server.fileno()
