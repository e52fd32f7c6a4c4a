"""`tquic tunnel`: TCP connections through one QUIC connection."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from .support import ENVIRONMENT, PATIENCE, Server, command, serving, tquic

SIZE = 5_000_000


class Echo:
    """A TCP server that sends back what it has got, once that has ended."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    @staticmethod
    def _one(connection: socket.socket) -> None:
        with connection:
            content = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            connection.sendall(content)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.socket.close()


@contextmanager
def tunnel(server: Server, to: str, *options: object) -> Iterator[int]:
    """The client's port."""
    process = subprocess.Popen(
        command("tunnel", "client", server.place, f"0:{to}", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.fullmatch(rf"forwarding 127\.0\.0\.1:(\d+) to {re.escape(to)}\n", line)
    try:
        assert match is not None, process.communicate()[1]
        yield int(match[1])
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        process.communicate()


def through(port: int, content: bytes) -> bytes:
    with (
        ThreadPoolExecutor(1) as executor,
        socket.create_connection(("127.0.0.1", port), PATIENCE) as connection,
    ):

        def send() -> None:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)

        sending = executor.submit(send)
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        # Linux tells of a reset once: whichever call comes first.
        if error := sending.exception(PATIENCE):
            raise ConnectionResetError from error
        return received


def test_bytes_and_ends_go_through(echo: Echo) -> None:
    with serving("tunnel", "server", "--allow", echo.place) as server:
        paths = ("--path", "127.0.0.1", "--path", "127.0.0.2@lo")
        with tunnel(server, echo.place, "--cacert", server.ca, *paths) as port:
            content = os.urandom(SIZE)
            assert through(port, content) == content
            assert through(port, b"") == b""
            results: dict[int, bytes] = {}

            def one(number: int) -> None:
                results[number] = through(port, bytes([number]) * 1000)

            threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert results == {number: bytes([number]) * 1000 for number in range(20)}


def test_other_targets_are_refused(echo: Echo) -> None:
    with serving("tunnel", "server", "--allow", "127.0.0.1:9") as server:
        with (
            tunnel(server, echo.place, "--cacert", server.ca) as port,
            pytest.raises(ConnectionResetError),
        ):
            through(port, b"")
        # Allowed, but nobody is there.
        with (
            tunnel(server, "127.0.0.1:9", "--cacert", server.ca) as port,
            pytest.raises(ConnectionResetError),
        ):
            through(port, b"")


def test_clients_show_a_certificate(echo: Echo, tmp_path: Path) -> None:
    assert tquic("cert", "--out", tmp_path).returncode == 0
    ca, cert, key = (tmp_path / f"{name}.pem" for name in ("ca", "cert", "key"))
    identity = ("--cert", cert, "--key", key)
    with serving("tunnel", "server", "--allow", echo.place, "--client-ca", ca, *identity) as server:
        with tunnel(server, echo.place, "--cacert", ca, *identity) as port:
            assert through(port, b"known") == b"known"
        done = tquic("tunnel", "client", server.place, f"0:{echo.place}", "--cacert", ca)
        assert done.returncode == 1
        assert "requires a client certificate" in done.stderr


def test_the_server_comes_back(echo: Echo, tmp_path: Path) -> None:
    assert tquic("cert", "--out", tmp_path).returncode == 0
    identity = ("--cert", tmp_path / "cert.pem", "--key", tmp_path / "key.pem")
    options = ("tunnel", "server", "--allow", echo.place, *identity)
    with (
        serving(*options) as server,
        tunnel(server, echo.place, "--cacert", tmp_path / "ca.pem") as port,
    ):
        assert through(port, b"first") == b"first"
        assert server.end() == 0
        again = subprocess.Popen(
            command(*options, "--port", server.port),
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        assert again.stdout is not None
        try:
            assert again.stdout.readline().startswith("listening")
            assert through(port, b"second") == b"second"
        finally:
            again.terminate()
            again.communicate()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["server"], "--allow"),
        (["server", "--allow", "db"], "HOST:PORT"),
        (["client", "localhost:1", "80"], "[BIND:]PORT:HOST:PORT"),
        (["client", "localhost:1", "99999:a:1"], "[BIND:]PORT:HOST:PORT"),
        (["client", "localhost:1", "1:a:1", "--cert", "x"], "belong together"),
    ],
)
def test_wrong_usage(arguments: list[str], sentence: str) -> None:
    done = tquic("tunnel", *arguments)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr


def test_nobody_there() -> None:
    done = tquic("tunnel", "client", "127.0.0.1:9", "0:a:1", "--insecure")
    assert done.returncode == 1
    assert "nobody listens" in done.stderr
