"""`tquic serve` over HTTP/3: folders, applications, several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tquic
from tquic.sync import h3

from .support import CONTENT, ENVIRONMENT, PATIENCE, Get, Server, command, serving
from .support import tquic as run

APP = """
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for answer in ("startup", "shutdown"):
            await receive()
            print(answer, flush=True)
            await send({"type": f"lifespan.{answer}.complete"})
        return
    if scope["path"] == "/die":
        os._exit(3)
    body = b"%d %s" % (os.getpid(), scope["path"].encode())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture
def pair(certs: Path) -> list[object]:
    return ["--cert", certs / "cert.pem", "--key", certs / "key.pem"]


@pytest.fixture
def connect(certs: Path) -> Callable[[Server], h3.ClientConnection]:
    def connecting(server: Server) -> h3.ClientConnection:
        config = tquic.Config(ca=certs / "ca.pem")
        return h3.connect(f"https://{server.place}", config=config)

    return connecting


Connect = Callable[[Server], h3.ClientConnection]


def test_both_protocols_at_one_port(
    www: Path, pair: list[object], get: Get, connect: Connect, tmp_path: Path
) -> None:
    with serving("serve", www, *pair) as server:
        with connect(server) as client:
            for name, content in CONTENT.items():
                assert client.get(f"/{name.replace(' ', '%20')}").read() == content
            assert client.get("/nothing").status == 404
            assert b"small.txt" in client.get("/").read()
        config = tquic.Config(ca=tmp_path / "ca.pem", alpn=("hq-interop",))
        config = config.replace(ca=Path(str(pair[1])).parent / "ca.pem")
        with tquic.sync.connect(server.host, server.port, config=config) as conn:
            stream = conn.open_stream()
            stream.write(b"GET /small.txt\r\n")
            stream.finish()
            assert stream.read() == CONTENT["small.txt"]
        assert server.end() == 0


def test_writable(www: Path, pair: list[object], connect: Connect, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with serving("serve", folder, *pair, "--writable", "--body-size", "1M") as server:
        with connect(server) as client:
            assert client.put("/new", content=b"content").status == 201
            assert client.put("/new", content=bytes(2_000_000)).status == 413
        assert server.end() == 0
    assert (folder / "new").read_bytes() == b"content"
    assert len(list(folder.iterdir())) == 1


def test_an_application(
    pair: list[object], connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    with serving_app("shop:app", *pair, "--access-log", "--retry") as server:
        with connect(server) as client:
            assert client.get("/x").read().endswith(b" /x")
        server.process.send_signal(signal.SIGTERM)
        out, err = server.process.communicate(timeout=PATIENCE)
    assert server.process.returncode == 0
    assert out == "shutdown\n"
    assert '"GET /x HTTP/3" 200' in err


def serving_app(*arguments: object) -> AppServer:
    return AppServer(arguments)


class AppServer(Server):
    """Applications may print before they are ready."""

    def __init__(self, arguments: tuple[object, ...]) -> None:
        process = subprocess.Popen(
            command("serve", *arguments, "--port", 0),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        assert process.stdout is not None
        line = ""
        while not line.startswith("listening on "):
            line = process.stdout.readline()
            assert line, process.communicate()[1]
        host, _, port = line.removeprefix("listening on ").strip().rpartition(":")
        super().__init__(process, host, int(port), "")

    def __enter__(self) -> AppServer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.communicate(timeout=PATIENCE)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux steers packets to processes")
def test_workers(
    pair: list[object], connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.py").write_text(APP)
    monkeypatch.chdir(tmp_path)

    def pids(server: Server, wanted: int) -> set[bytes]:
        """Of the processes that answer."""
        seen: set[bytes] = set()
        deadline = time.monotonic() + PATIENCE
        while len(seen) < wanted:
            assert time.monotonic() < deadline, seen
            with connect(server) as client:
                # All requests of one connection go to one process, whatever their number.
                answers = {client.get("/").read().split()[0] for _ in range(5)}
            assert len(answers) == 1
            seen |= answers
        return seen

    with serving_app("shop:app", *pair, "--workers", 3, "--retry") as server:
        first = pids(server, 3)
        assert b"%d" % server.process.pid not in first
        with pytest.raises(tquic.QuicError), connect(server) as client:
            client.get(
                "/die",
            ).read()
        # Tickets of one are good at the others.
        store = tquic.SessionStore()
        ca = Path(str(pair[1])).parent / "ca.pem"
        config = tquic.Config(ca=ca, alpn=("h3",), session_store=store)
        resumed = []
        for _ in range(8):
            with tquic.sync.connect(server.host, server.port, config=config) as conn:
                while not len(store):
                    conn.ping()
                resumed.append(conn.info.resumed)
        # The first has none, and rustls takes none in a process that has not made one itself: the
        # one that takes the place of another.
        assert resumed.count(True) >= 6
        # Another takes its place.
        assert len(first & pids(server, 3)) == 2
        server.process.send_signal(signal.SIGTERM)
        out, err = server.process.communicate(timeout=PATIENCE)
    assert server.process.returncode == 0
    assert "ended with status 3; another takes its place" in err
    assert out.count("shutdown\n") == 3
    for pid in first:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_sigterm_lets_a_download_end(
    www: Path, pair: list[object], connect: Connect, tmp_path: Path
) -> None:
    size = 100_000_000
    with (www / "drained.bin").open("wb") as file:
        file.truncate(size)
    try:
        with serving("serve", www, *pair, "--workers", 2) as server:
            with connect(server) as client:
                response = client.get("/drained.bin")
                got = len(response.read_chunk())
                server.process.send_signal(signal.SIGTERM)
                while chunk := response.read_chunk():
                    got += len(chunk)
            assert got == size
            assert server.process.wait(PATIENCE) == 0
    finally:
        (www / "drained.bin").unlink()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c(www: Path, workers: int) -> None:
    with serving("serve", www, "--workers", workers) as server:
        assert server.end(signal.SIGINT) == 130


@pytest.mark.parametrize("workers", [1, 2])
def test_applications_that_cannot_be_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "empty.py").write_text("")
    monkeypatch.chdir(tmp_path)
    for name, sentence in [
        ("broken:app", "broken:app: ZeroDivisionError: division by zero"),
        ("empty:app", "the module empty has no app"),
        ("nothing_there:app", "there is no module nothing_there"),
    ]:
        done = run("serve", name, "--port", 0, "--workers", workers)
        assert done.returncode == 1
        assert sentence in done.stderr
        assert done.stdout == ""
